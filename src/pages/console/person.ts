// One user and one client: what they can use, the access that they have, and its end.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ClientPageView, ConsoleFrame, PersonService, PersonView } from '../../ports/console.ts'
import type { Block, ListedGrant } from '../../ports/people.ts'
import {
  type PageContext,
  alsoAccounts,
  initial,
  named,
  post,
  readAddress,
  readName,
  readText,
} from '../layout.ts'
import { kindTag } from './people.ts'
import { consolePage, counted, icons, linkTo, quoted, status, timeAgo } from './shell.ts'

/** A button that opens a question; without a script too, nothing ends by one click. */
const ask = (label: string, says: Drawable, form: Markup, look = ''): Markup =>
  html`<details class="menu"><summary class="btn ${look}">${label}</summary><div class="pop ask"><p>${says}</p>${form}</div></details>`

const blockedNote = (blocked: Block | undefined, says: string, { now }: ConsoleFrame): Drawable =>
  blocked &&
  html`<p class="note bad">${icons.bad}<span><b>Blocked</b> by ${named(readText(blocked.by, 80))}, ${timeAgo(blocked.at, now)}. ${says}</span></p>`

const also = alsoAccounts(
  'Also remove their accounts at MCP servers, and revoke the tokens. Other apps of the same users lose these accounts too.',
)

// Grants, from both sides.

const serviceName = ({ service, resource }: ListedGrant, { services }: ConsoleFrame): Markup =>
  service === undefined
    ? html`<span class="muted">${readAddress(resource).slice(0, 120)} (removed)</span>`
    : html`<a href="/console/services/${service}">${named(readName(services.find(({ id }) => id === service)?.name ?? service, service).text)}</a>`

const grantRow = (grant: ListedGrant, side: 'user' | 'client', path: string, frame: ConsoleFrame): Markup => {
  const {
    id,
    user,
    email,
    client,
    client_name: app,
    client_kind: kind,
    scopes,
    last_used_at: used,
    last_used_from: from,
  } = grant
  const appName = readName(app, 'Unnamed app').text
  const who = readText(email ?? user, 80)
  const other =
    side === 'user'
      ? html`<a class="strong" href="${linkTo('/console/clients', { client })}">${named(appName)}</a> ${kindTag(kind)}`
      : html`<a class="strong" href="${linkTo('/console/people', { user })}">${named(who)}</a>`
  return html`<li><span class="tile ${side === 'user' ? 'client' : 'person'}" aria-hidden="true">${initial(side === 'user' ? appName : who)}</span><span>${other}<br><span class="muted">${serviceName(grant, frame)}${scopes.length > 0 && `: ${readText(scopes.join(' '), 80)}`}</span></span><span class="end row"><span class="faint xs">${used === undefined ? 'never used' : timeAgo(Date.parse(used), frame.now)}${from !== undefined && html` from ${named(from === 'loopback' ? 'this computer' : readAddress(from).slice(0, 45))}`}</span>${ask('End', html`${named(appName)} loses access as ${named(who)} at once. The user can allow it again.`, post(path, { csrf: frame.csrf, action: 'end', grant: id }, html`${also}<button class="btn destroy">End access</button>`), 'sm danger')}</span></li>`
}

const mostShown = 100

const grantList = (
  grants: readonly ListedGrant[],
  side: 'user' | 'client',
  path: string,
  frame: ConsoleFrame,
): Markup => {
  const title = side === 'user' ? 'Apps' : 'Users'
  const newest = grants.toSorted((one, other) =>
    (other.last_used_at ?? other.created_at).localeCompare(one.last_used_at ?? one.created_at),
  )
  return html`<section class="card" aria-labelledby="grants"><div class="card-head"><h2 id="grants">${title} with access</h2><p>${counted(grants.length, 'grant')}</p></div>
${grants.length === 0 ? html`<p class="card-body muted sm">Nobody has allowed anything.</p>` : html`<ul class="list">${newest.slice(0, mostShown).map((grant) => grantRow(grant, side, path, frame))}</ul>`}
${grants.length > mostShown && html`<p class="card-foot">${counted(grants.length - mostShown, 'other grant')} not shown.</p>`}</section>`
}

// One user.

const because = ({ because: why, rule }: PersonService): Drawable => {
  if (why === 'open') return 'Open to everyone who can sign in'
  if (why === 'public') return 'Public: nobody signs in'
  if (why === 'provider') return 'Takes users of another identity provider'
  return why === 'rules'
    ? 'By the access rules'
    : html`No rule allows it${rule !== undefined && html` <code>${readText(rule, 80)}</code>`}`
}

const toolsOf = ({ allowed, tools, because: why }: PersonService): Markup => {
  if (why === 'denied' || why === 'provider') return status('off', 'None')
  if (tools === 0) return status('ok', 'Tools not known yet')
  if (allowed === 0) return status('off', 'None')
  return allowed === tools ? status('ok', `All ${tools}`) : status('ok', `${allowed} of ${tools}`)
}

const canUse = ({ services, about, user }: PersonView): Drawable => {
  if (!about || services.length === 0) return undefined
  return html`<section class="card" aria-labelledby="can"><div class="card-head"><h2 id="can">What this user can use</h2></div><div class="scroll"><table class="table tight fold"><caption class="vh">Services that ${readText(user, 80)} can use</caption><thead><tr><th scope="col">Service</th><th scope="col">Tools</th><th scope="col">Because</th></tr></thead><tbody>${services.map((service) => html`<tr><th scope="row"><a class="strong" href="/console/services/${service.id}?tab=tools">${named(readName(service.name, service.id).text)}</a></th><td>${toolsOf(service)}</td><td class="muted">${because(service)}</td></tr>`)}</tbody></table></div></section>`
}

const claims = ({ about, user }: PersonView): Markup => {
  const fact = (label: string, value: Drawable): Markup => html`<dt>${label}</dt><dd>${value}</dd>`
  const missing = (word: string): Markup => html`<span class="faint">${word}</span>`
  return html`<section class="card" aria-labelledby="said"><div class="card-head"><h2 id="said">What the provider said</h2></div><div class="card-body"><dl class="kv">
${fact('Key', html`<code>${readText(user, 200)}</code>`)}
${about && fact('Email', about.email === undefined ? missing('None that is verified') : named(readText(about.email, 120)))}
${about && fact('Name', about.name === undefined ? missing('None') : named(readText(about.name, 120)))}
${about?.login !== undefined && fact('Login', named(readText(about.login, 120)))}
${about?.tenant !== undefined && fact('Tenant', html`<code>${readText(about.tenant, 120)}</code>`)}
${about && fact('Groups', about.groupsUnknown ? html`<span class="bad-text">Not known</span>` : about.groups.length === 0 ? missing('None') : named(readText(about.groups.join(', '), 600)))}
</dl></div></section>`
}

const finding = ({ about, services }: PersonView): Drawable => {
  if (!about?.groupsUnknown) return undefined
  const shut = services.filter(({ because: why }) => why === 'denied').length
  return html`<p class="note bad">${icons.bad}<span><b>The groups of this user are not known${shut > 0 && `, so ${counted(shut, 'service')} ${shut === 1 ? 'does' : 'do'} not work`}.</b> The identity provider has groups for them and did not send them. See the provider’s section in the guide on sign-in for the permission that is needed.</span></p>`
}

export const personPage = (gateway: PageContext, frame: ConsoleFrame, view: PersonView): Response => {
  const { user, about, grants, blocked, self } = view
  const name = readText(about?.name ?? about?.email ?? user, 80) || 'Unnamed user'
  const path = linkTo('/console/people', { user })
  const { csrf } = frame
  const block = ask(
    'Block',
    'All access and all browser sessions of this user end at once, and the user cannot sign in until you unblock them.',
    post(path, { csrf, action: 'block', user }, html`${also}<button class="btn destroy">Block user</button>`),
    'danger',
  )
  return consolePage(gateway, frame, {
    page: 'people',
    title: name,
    heading: html`<span class="row"><span class="tile person" aria-hidden="true">${initial(name)}</span>${named(name)}</span>`,
    above: html`<nav class="crumb" aria-label="Breadcrumb"><a href="/console/people">People</a>${icons.chevron}<span>${named(readText(user, 80))}</span></nav>`,
    lead: html`<p><a href="${linkTo('/console/activity', { q: `user:${user}` })}">Activity of this user</a></p>`,
    actions: html`${ask('Sign out everywhere', 'All browser sessions and personal access tokens of this user end. Apps keep their access.', post(path, { csrf, action: 'sign-out', user }, html`<button class="btn destroy">Sign out everywhere</button>`))}${blocked ? post(path, { csrf, action: 'unblock', user: blocked.user ?? user }, html`<button class="btn">Unblock</button>`) : !self && block}`,
    body: html`${blockedNote(blocked, 'The user cannot sign in.', frame)}${finding(view)}<div class="cols"><div class="stack">${canUse(view)}${grantList(grants, 'user', path, frame)}</div>${claims(view)}</div>`,
    commands: [`postern people show ${quoted(readText(user, 300))}`],
  })
}

// One client.

export const clientPage = (gateway: PageContext, frame: ConsoleFrame, view: ClientPageView): Response => {
  const { client, grants, blocked } = view
  const first = grants[0]
  const name = readName(first?.client_name ?? '', 'Unnamed app').text
  const path = linkTo('/console/clients', { client })
  const { csrf } = frame
  const users = new Set(grants.map(({ user }) => user)).size
  return consolePage(gateway, frame, {
    page: 'clients',
    title: name,
    heading: html`<span class="row"><span class="tile client" aria-hidden="true">${initial(name)}</span>${named(name)}</span>`,
    above: html`<nav class="crumb" aria-label="Breadcrumb"><a href="/console/clients">Clients</a>${icons.chevron}<span>${named(name)}</span></nav>`,
    lead: html`<p class="row">${kindTag(first?.client_kind)}<code>${readAddress(client).slice(0, 200)}</code></p>${first && html`<p>Sends users back to ${named(readAddress(first.redirect_host).slice(0, 80))}. <a href="${linkTo('/console/activity', { q: `client:${client}` })}">Activity of this client</a></p>`}`,
    actions: html`${grants.length > 0 && ask('End all access', html`${counted(grants.length, 'grant')} of ${counted(users, 'user')} end at once, and open connections within five seconds. The users can allow the app again.`, post(path, { csrf, action: 'end-all' }, html`${also}<button class="btn destroy">End all access</button>`))}${
      blocked
        ? post(path, { csrf, action: 'unblock', client }, html`<button class="btn">Unblock</button>`)
        : ask(
            'Block',
            'All access of this app ends at once, and nobody can allow it until you unblock it.',
            post(
              path,
              { csrf, action: 'block', client },
              html`${also}<button class="btn destroy">Block client</button>`,
            ),
            'danger',
          )
    }`,
    body: html`${blockedNote(blocked, 'Nobody can allow it.', frame)}${grantList(grants, 'client', path, frame)}`,
    commands: [`postern clients show ${quoted(readText(client, 300))}`],
  })
}
