// What all users have allowed, for administrators: who may use what through which app, who is blocked, and the end
// of both.
import { type Drawable, type Markup, html } from '../kit/html.ts'
import type { AccessView } from '../ports/pages.ts'
import {
  type PageContext,
  alsoAccounts,
  caution,
  clientName,
  day,
  named,
  page,
  post,
  readAddress,
  readName,
  readText,
} from './layout.ts'

type Grant = AccessView['grants'][number]
type Filter = AccessView['filter']

const path = '/account/access'

const linkTo = (filter: Filter, at = 1): string => {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(filter)) if (value !== undefined) query.set(name, value)
  if (at > 1) query.set('page', String(at))
  return query.size > 0 ? `${path}?${query}` : path
}

const counted = (count: number, one: string, several = `${one}s`): string =>
  `${count} ${count === 1 ? one : several}`

const isFiltered = ({ user, client, service }: Filter): boolean =>
  user !== undefined || client !== undefined || service !== undefined

const endsAccess: ReadonlySet<string | undefined> = new Set(['end', 'end-all', 'block'])

/** The action of the forms: what the page shows is what comes back. */
const act = (
  { csrf, filter }: AccessView,
  fields: Readonly<Record<string, string>>,
  label: string,
  danger = true,
): Markup =>
  post(
    linkTo(filter),
    { csrf, ...fields },
    html`${endsAccess.has(fields['action']) && alsoAccounts('Also remove their accounts at MCP servers, and revoke the tokens. Other apps of the same users lose these accounts too.')}<button class="slim${danger && ' danger'}">${label}</button>`,
  )

/** Opens in place: without a script too, nothing ends by one click. */
const confirm = (label: string, says: Drawable, button: Markup): Markup =>
  html`<details class="tight confirm"><summary>${label}</summary><p>${says}</p>${button}</details>`

// The filter.

const search = ({ filter, services }: AccessView): Markup =>
  html`<form method="get" action="${path}" class="filter">
<div><label for="user">User</label><input id="user" name="user" value="${filter.user?.slice(0, 300)}" placeholder="ana@example.com" autocomplete="off" autocapitalize="none" spellcheck="false"></div>
<div><label for="client">Client ID</label><input id="client" name="client" value="${filter.client?.slice(0, 2048)}" autocomplete="off" autocapitalize="none" spellcheck="false"></div>
<div><label for="service">Service</label><select id="service" name="service"><option value="">All services</option>${services.map(
    ({ id, name }) =>
      html`<option value="${id}"${filter.service === id && ' selected'}>${readName(name, id).text}</option>`,
  )}</select></div>
<button>Show</button>
</form>`

const findingOf = ({ total, filter }: AccessView): Markup => {
  const { grants, users, clients, more } = total
  if (grants === 0) return isFiltered(filter) ? html`Nothing matches this filter` : html`No app has access`
  const apps = `${more ? 'More than ' : ''}${counted(clients, 'app')}`
  return html`${apps} of ${counted(users, 'user')} ${clients === 1 && !more ? 'has' : 'have'} access`
}

// What can be done to all that the filter shows.

const endAll = (view: AccessView): Drawable => {
  const { grants, users, clients, more } = view.total
  if (!isFiltered(view.filter) || grants === 0) return undefined
  const whole = `${more ? 'More than ' : ''}${counted(grants, 'grant')} of ${counted(users, 'user')} and ${counted(clients, 'app')}`
  return confirm(
    'End all of this access',
    `${whole} end at once, and open connections within five seconds. The users can allow the apps again.`,
    act(view, { action: 'end-all' }, 'End all of this access'),
  )
}

const partyActions = (view: AccessView): Drawable => {
  const { user, client } = view.filter
  const party = { ...(user !== undefined && { user }), ...(client !== undefined && { client }) }
  if (user === undefined && client === undefined) return undefined
  const who =
    user !== undefined && client !== undefined
      ? 'this app for this user'
      : user !== undefined
        ? 'this user'
        : 'this app'
  const says =
    user === undefined
      ? 'All access of this app ends at once, and nobody can allow it until you unblock it.'
      : client === undefined
        ? 'All access and all browser sessions of this user end at once, and the user cannot sign in until you unblock them.'
        : 'The access of this app as this user ends at once, and the user cannot allow it until you unblock it.'
  return html`${confirm(`Block ${who}`, says, act(view, { action: 'block', ...party }, `Block ${who}`))}
${user !== undefined && confirm('Sign out everywhere', 'Ends all browser sessions and personal access tokens of this user. Apps keep their access.', act(view, { action: 'sign-out', user }, 'Sign out everywhere'))}`
}

// The list.

const userText = (user: string): string => readText(user, 80) || 'Unnamed user'

const kinds: Readonly<Record<string, string>> = {
  registered: 'Registered',
  document: 'Verified domain',
  dynamic: 'Unverified name',
  personal: 'Personal access token',
}

const clientCell = (
  { client, client_name, client_kind, kind, redirect_host }: Grant,
  filter: Filter,
): Markup => {
  const origin =
    kind === 'code'
      ? html`sends back to ${named(readAddress(redirect_host).slice(0, 80))}`
      : kind === 'client_credentials'
        ? 'acts as a service account'
        : kind === 'exchange'
          ? 'acts for its user, by token exchange'
          : kind === 'id_jag'
            ? 'connected by the user’s company'
            : kind === 'workload'
              ? 'a program, by the word of its platform'
              : kind === 'test'
                ? 'for tests'
                : kind === 'device'
                  ? 'on a device'
                  : 'acts as its user'
  const name = readName(client_name, 'Unnamed app').text
  const host = client_kind === 'document' ? URL.parse(client)?.host : undefined
  return html`<a href="${linkTo({ ...filter, client })}">${named(name)}</a>
<span class="muted">${kinds[client_kind]}${host !== undefined && html` ${named(readAddress(host))}`}, ${origin}</span>`
}

/** They come back by themselves: nobody is asked. */
const silentKinds: ReadonlySet<string> = new Set(['client_credentials', 'exchange', 'id_jag', 'workload'])

/** What comes back by itself is kept away first of all, and ended for now second. */
const endOf = (view: AccessView, grant: Grant, user: string): Markup => {
  const { id, client, kind } = grant
  const app = named(clientName({ id: client, name: grant.client_name, kind: 'dynamic' }).text)
  const says = html`${app} loses access as ${named(user)} at once.`
  if (!silentKinds.has(kind))
    return confirm(
      'End',
      html`${says} The user can allow it again.`,
      act(view, { action: 'end', grant: id }, 'End access'),
    )
  const button = (fields: Readonly<Record<string, string>>, label: string): Markup =>
    post(
      linkTo(view.filter),
      { csrf: view.csrf, ...fields },
      html`<button class="slim danger">${label}</button>`,
    )
  const block = button({ action: 'block', client, user: grant.user }, 'Block')
  const end = button({ action: 'end', grant: id }, 'End now')
  return confirm(
    'End',
    html`${says} It asks for the next token by itself: block it to keep it away until you unblock it.`,
    html`<div class="links">${block}${end}</div>`,
  )
}

const time = (text: string): Markup => html`<time datetime="${text}">${day(Date.parse(text))}</time>`

const grantRow = (view: AccessView, grant: Grant): Markup => {
  const { filter, services } = view
  const { user, email, service, resource, scopes, created_at, last_used_at, last_used_from } = grant
  const name = services.find((one) => one.id === service)?.name
  const shownUser = userText(email ?? user)
  return html`<tr>
<th scope="row" data-label="User"><a href="${linkTo({ ...filter, user })}">${named(shownUser)}</a>${email !== undefined && html`<span class="muted">${named(userText(user))}</span>`}</th>
<td data-label="App">${clientCell(grant, filter)}</td>
<td data-label="May use">${
    service === undefined
      ? html`<span class="muted">${readAddress(resource).slice(0, 120)} (removed)</span>`
      : html`<a href="${linkTo({ ...filter, service })}">${named(readName(name ?? service, service).text)}</a>`
  }${scopes.length > 0 && html`<span class="muted">${readText(scopes.join(' '), 120)}</span>`}</td>
<td data-label="Since">${time(created_at)}</td>
<td data-label="Last used">${last_used_at === undefined ? html`<span class="muted">Never</span>` : time(last_used_at)}${last_used_from !== undefined && html`<span class="muted">from ${named(last_used_from === 'loopback' ? 'this computer' : readAddress(last_used_from).slice(0, 45))}</span>`}</td>
<td>${endOf(view, grant, shownUser)}</td>
</tr>`
}

const grantTable = (view: AccessView): Drawable => {
  const { grants, page: at, filter } = view
  if (grants.length === 0) return undefined
  return html`<table class="list"><caption class="hidden">Access of apps, most recently used first</caption>
<thead><tr><th scope="col">User</th><th scope="col">App</th><th scope="col">May use</th><th scope="col">Since</th><th scope="col">Last used</th><th scope="col"><span class="hidden">End access</span></th></tr></thead>
<tbody>${grants.map((grant) => grantRow(view, grant))}</tbody></table>
${at.count > 1 && html`<nav class="line" aria-label="Pages"><span class="muted">Page ${at.at} of ${at.count}</span><span class="links">${at.at > 1 && html`<a href="${linkTo(filter, at.at - 1)}">Newer</a>`}${at.at < at.count && html`<a href="${linkTo(filter, at.at + 1)}">Older</a>`}</span></nav>`}`
}

const blockedApp = (client: string | undefined, domain: string | undefined): Markup => {
  if (client !== undefined) return html`<code>${readAddress(client).slice(0, 200)}</code>`
  return domain === undefined
    ? html`Any app`
    : html`Apps of <code>${readAddress(domain).slice(0, 200)}</code>`
}

const blockRow = (
  view: AccessView,
  { user, client, domain, by, at }: AccessView['blocks'][number],
): Markup => {
  const party = {
    ...(user !== undefined && { user }),
    ...(client !== undefined && { client }),
    ...(domain !== undefined && { domain }),
  }
  return html`<tr><th scope="row" data-label="User">${user === undefined ? 'Any user' : named(userText(user))}</th>
<td data-label="App">${blockedApp(client, domain)}</td>
<td data-label="Since">${time(new Date(at).toISOString())}<span class="muted">by ${named(readText(by, 80))}</span></td>
<td>${act(view, { action: 'unblock', ...party }, 'Unblock', false)}</td></tr>`
}

const blockTable = (view: AccessView): Drawable =>
  view.blocks.length > 0 &&
  html`<section class="card stack"><h2>Blocked</h2>
<table class="list"><caption class="hidden">Blocked users and apps</caption>
<thead><tr><th scope="col">User</th><th scope="col">App</th><th scope="col">Since</th><th scope="col"><span class="hidden">Unblock</span></th></tr></thead>
<tbody>${view.blocks.map((block) => blockRow(view, block))}</tbody></table></section>`

const quoted = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`

/** The same in a terminal. */
const commandOf = ({ filter }: AccessView): string =>
  [
    'postern grants ls',
    ...Object.entries(filter).flatMap(([name, value]) =>
      value === undefined ? [] : [`--${name} ${quoted(readText(value, 300))}`],
    ),
  ].join(' ')

export const accessPage = (gateway: PageContext, view: AccessView): Response => {
  const body = html`<div class="stack">
<div class="line"><h1 tabindex="-1" autofocus>${findingOf(view)}</h1>${isFiltered(view.filter) && html`<a href="${path}">Show everything</a>`}</div>
<section class="card stack">
${search(view)}
${view.total.more && caution('There are more. Only the first ones found are shown; narrow the list with the filter.')}
${grantTable(view)}
<div class="tight">${endAll(view)}
${partyActions(view)}</div>
</section>
${blockTable(view)}
<p class="muted">Same in a terminal: <code>${commandOf(view)}</code></p>
<p><a href="/">Your services</a></p>
</div>`
  return page(gateway, { title: 'Access', width: 'wide', body })
}
