// The consent page: one question, then who is signed in, the service, the permissions, how long they last and
// where Allow leads; then the buttons. Everything a decision needs stands above the buttons and on the first
// screen (MCP 2026-07-28, security considerations).
import { type Drawable, type Markup, html } from '../kit/html.ts'
import type { ClientView, ConsentView } from '../ports/pages.ts'
import {
  arrowIcon,
  backIcon,
  clockIcon,
  deviceIcon,
  infoIcon,
  okIcon,
  onwardIcon,
  serviceIcon,
  unreachedIcon,
  warnIcon,
} from './assets.ts'
import { accessFields } from './consent-access.ts'
import { type PlainMessage, say, sayCounted, sayDuration } from './language.ts'
import {
  type PageContext,
  account,
  badge,
  breakable,
  cautionsOf,
  clientName,
  initial,
  nameText,
  named,
  page,
  post,
  ownPath,
  readAddress,
  readName,
  readText,
} from './layout.ts'

/** Scopes that mean the same everywhere. The others are defined by the service and shown by name. */
const known: Readonly<Record<string, PlainMessage>> = {
  offline_access: 'Keep access when you’re not using it',
  openid: 'Confirm your identity',
  profile: 'Read your name',
  email: 'Read your email address',
}

const longestShown = 110

const address = (uri: string): Markup => {
  const whole = readAddress(uri)
  if (whole.length <= longestShown) return html`<code>${breakable(whole)}</code>`
  return html`<details><summary><code>${whole.slice(0, longestShown)}…</code> ${say('Show full address')}</summary><code>${whole}</code></details>`
}

const networkText = (network: string): Drawable =>
  network === 'loopback' ? say('this computer') : readAddress(network).slice(0, 45)

const timeText = (ms: number): Markup =>
  html`<time datetime="${new Date(ms).toISOString()}">${new Date(ms).toISOString().slice(11, 16)} UTC</time>`

/** On the consent page, in place of the address that Allow leads to. */
const deviceFact = ({ askedAt, from, elsewhere }: NonNullable<ConsentView['device']>): Markup => {
  const network = html`<strong>${networkText(from)}</strong>`
  const says = html`${say('A device at {network} asked for this at {time}.', { network, time: timeText(askedAt) })}${elsewhere && html` ${say('That is another network than yours.')}`}`
  const sent = say(
    'If somebody sent you this link or code, they would get access as you. Choose “I did not start this”.',
  )
  return html`<div class="note warn goes">${deviceIcon}<div><p>${says}</p><p>${sent}</p></div></div>`
}

/** For who was led here by somebody else: ends the request, and tells the administrators. */
const deviceReport = html`<button class="slim danger" name="decision" value="report">${say('I did not start this')}</button>`

/** Where Allow leads, and why that deserves a second look; undefined: it is where one would expect. */
const goesTo = ({ redirect, client, device }: ConsentView): Drawable => {
  if (!redirect) return device && deviceFact(device)
  const scheme = readAddress(redirect.uri.split(':', 1)[0] ?? '')
  const host = redirect.native ? `${scheme}:` : readAddress(redirect.host)
  // A verified client may redirect to another domain than the one that was verified.
  const elsewhere =
    client.kind === 'document' &&
    client.host !== undefined &&
    client.host.toLowerCase() !== redirect.host.toLowerCase()
  const warning = redirect.native
    ? say(
        'This sends access to an app on this device that opens {scheme}: links. Continue only if you just started it.',
        { scheme },
      )
    : redirect.loopback
      ? say('This sends access to an app running on this computer. Continue only if you just started it.')
      : elsewhere &&
        say('This sends access to {host}, not to {other}.', {
          host: named(host),
          other: named(readAddress(client.host)),
        })
  const says = html`<div>${say('Sends you back to {host}', { host: html`<strong class="host">${host}</strong>` })}${warning !== false && html`<p>${warning}</p>`}<div>${address(redirect.uri)}</div></div>`
  return warning === false
    ? html`<div class="fact goes">${backIcon}${says}</div>`
    : html`<div class="note warn goes">${warnIcon}${says}</div>`
}

const meaning = (scope: string, service: string): Drawable => {
  if (scope === 'mcp')
    return say('Use {service} on your behalf and read the results', { service: named(service) })
  const meant = Object.hasOwn(known, scope) ? known[scope] : undefined
  if (meant !== undefined) return say(meant)
  return say('Permission {scope} (defined by this service)', {
    scope: html`<code>${readAddress(scope).slice(0, 80)}</code>`,
  })
}

/** Of the operator's own API (oauth/api-tokens.ts). */
const administers = html`<p class="label">${say('This app can')}</p><ul class="scopes"><li><span>${say('Administer this gateway as you: services, access rules, the access of all users, and the audit trail')}</span></li></ul>
<p class="note warn">${warnIcon}<span>${say('Allow this only if you trust the app with the whole gateway.')}</span></p>`

const permissions = (scopes: ConsentView['scopes'], service: string): Markup => {
  const step = scopes.some((scope) => !scope.fresh)
  const entry = (scope: ConsentView['scopes'][number]) => html`<li>
<span>${meaning(scope.name, service)}</span>
${step && (scope.fresh ? html`<span class="chip new">${say('New')}</span>` : html`<span class="chip old">${say('Already allowed')}</span>`)}</li>`
  // What is asked for the first time comes first.
  const sorted = scopes.toSorted((a, b) => Number(b.fresh) - Number(a.fresh))
  const rest = sorted.length > 6 ? sorted.slice(5) : []
  return html`<ul class="scopes">${sorted.slice(0, sorted.length - rest.length).map(entry)}</ul>${
    rest.length > 0 &&
    html`<details><summary>${sayCounted(rest.length, 'Show {n} more', 'Show {n} more')}</summary><ul class="scopes">${rest.map(entry)}</ul></details>`
  }`
}

/** What has changed since the person allowed this client, in one sentence. */
const since = ({ again, scopes, access }: ConsentView): Markup | undefined => {
  if (again === 'changed')
    return say('You allowed this app before, but its registration details have changed.')
  if (again === undefined || access?.more) return undefined
  return scopes.some(({ fresh }) => fresh)
    ? say('You allowed this app before. It now requests more permissions.')
    : say('You allowed this app before. Nothing has changed since.')
}

const apps = html`<a href="/account/apps">${say('Connected apps')}</a>`
const duration = ({ staysMs, accessMs }: ConsentView): Markup => {
  if (staysMs !== undefined)
    return say('Access lasts until you revoke it in {apps} or it goes unused for {time}.', {
      apps,
      time: sayDuration(staysMs),
    })
  if (accessMs === undefined)
    return say('Access lasts for a short time, then the app has to ask again. You can revoke it in {apps}.', {
      apps,
    })
  return say('Access lasts for {time}, then the app has to ask again. You can revoke it in {apps}.', {
    apps,
    time: sayDuration(accessMs),
  })
}

const why = (view: ConsentView, client: string, service: string, gateway: PageContext): Markup => {
  const description = readText(view.service.description, 140)
  const asked = say(
    'An app that calls itself “{client}” asked {gateway} for access to {service} on your behalf. No app gets access without your approval. You are asked again when the app, its redirect URI or its permissions change.',
    { client: named(client), gateway: URL.parse(gateway.issuer)?.host, service: named(service) },
  )
  const answers = view.device
    ? say(
        'The app learns of your answer by itself. Cancel tells the app that you denied access. If you did not start this, choose “I did not start this”.',
      )
    : say(
        'Allow sends the app a single-use code, never your password. Cancel tells the app that you denied access. If you did not start this, choose Cancel.',
      )
  const id = html`<code>${readAddress(view.client.id).slice(0, 300)}</code>`
  const about = html`${description !== '' && html`${named(description)} `}<code>${readAddress(view.service.resource).slice(0, 300)}</code>`
  return html`<details class="tight"><summary>${say('Why am I seeing this?')}</summary>
<p>${asked}</p>
<p>${answers}</p>
<p class="muted">${say('Client ID: {id}', { id })}</p>
<p class="muted">${say('Service: {service}', { service: about })}</p></details>`
}

/** With access rules the tools say what the service's own scope means. */
const abilities = (view: ConsentView, client: string, service: string): Markup => {
  const { access, scopes } = view
  const about = readText(view.service.description, 140)
  const described = about !== '' && html`<p class="about">${named(about)}</p>`
  if (view.service.id === '/api')
    return html`<fieldset class="perms"><legend class="vh">${say('What the app can do')}</legend>${administers}</fieldset>`
  if (!access)
    return html`<fieldset class="perms"><legend class="vh">${say('What the app can do')}</legend><p class="label">${say('This app can')}</p>${permissions(scopes, service)}${described}</fieldset>`
  const label = access.more
    ? say('{client} asked for more access', { client: named(client) })
    : say('With {service}, {client} can', { service: named(service), client: named(client) })
  const others = scopes.filter(({ name }) => name !== 'mcp')
  const also = others.length > 0 && html`<div class="also">${permissions(others, service)}</div>`
  return accessFields(access, label, also)
}

/** Who asks, and as whom. */
const head = (view: ConsentView, client: string, question: Markup): Markup => {
  const person = account(view.person)
  return html`<div class="pair" aria-hidden="true"><span class="tile">${initial(client)}</span>${arrowIcon}<span class="tile service">${serviceIcon}</span></div>
<div><h1 tabindex="-1" autofocus>${question}</h1>
<div class="by">${badge(view.client)}<span>${say('as {person}', { person: html`<strong>${named(person.detail ?? person.name)}</strong>` })}</span><a href="${ownPath(view.switchAccount)}">${say('Switch account')}</a></div></div>`
}

/** In a drawer of its own: who is not sure what it means should not take it for the ordinary way. */
const otherComputer = (
  client: string,
): Markup => html`<details class="tight"><summary>${say('My app runs on another computer')}</summary>
<p>${say('Then your browser cannot return to {client}. You can copy the address instead, and paste it into the app. Whoever receives it can act as you: do this only if you started {client} yourself, never because somebody asked you to.', { client: named(client) })}</p>
<button class="slim" name="decision" value="copy">${say('Allow and show the address')}</button></details>`

export const consentPage = (gateway: PageContext, view: ConsentView): Response => {
  const client = clientName(view.client)
  const service = readName(view.service.name, view.service.id).text
  const question = view.access?.more
    ? ('Give {client} more access to {service}?' as const)
    : ('Allow {client} to use {service}?' as const)
  const ask = say(question, { client: named(client.text), service: named(service) })
  const title = say(question, { client: nameText(client.text), service })
  const form = html`${head(view, client.text, ask)}
${cautionsOf(client)}
${since(view) && html`<p class="muted">${since(view)}</p>`}
${abilities(view, client.text, service)}
${goesTo(view)}
${view.upstream && html`<div class="fact">${onwardIcon}<p>${say('Next, {host} will also ask for your approval, once.', { host: html`<strong>${named(readAddress(view.upstream.host))}</strong>` })}</p></div>`}
<div class="fact">${clockIcon}<p>${duration(view)}</p></div>
<div class="decision"><button class="primary" name="decision" value="allow">${say('Allow')}</button><button name="decision" value="deny">${say('Cancel')}</button></div>
${view.device && deviceReport}
${view.copyable && otherComputer(client.text)}`
  const body = html`<div class="card consent stack">
${post('/oauth/consent', { flow: view.flow, csrf: view.csrf }, form, 'stack')}
${why(view, client.text, service, gateway)}
</div>`
  return page(gateway, { title, width: 'middle', body })
}

/** After the answer to a device. */
export const deviceDonePage = (
  gateway: PageContext,
  view: { readonly client: ClientView; readonly allowed: boolean },
): Response => {
  const client = clientName(view.client).text
  const [title, mark] = view.allowed
    ? [say('Access granted'), html`<p class="badge ok">${okIcon}<span>${say('Access granted.')}</span></p>`]
    : [
        say('Access denied'),
        html`<p class="badge plain">${unreachedIcon}<span>${say('Access denied.')}</span></p>`,
      ]
  const next = view.allowed
    ? html`<p>${say('Return to your device: {client} continues there within a few seconds. You can close this page.', { client: named(client) })}</p>
<p class="note info">${infoIcon}<span>${say('You can end this access at any time in {apps}.', { apps })}</span></p>`
    : html`<p>${say('{client} got no access. You can close this page.', { client: named(client) })}</p>`
  const body = html`<div class="card stack"><h1 tabindex="-1" autofocus>${title}</h1>
${mark}
${next}
</div>`
  return page(gateway, { title, width: 'narrow', body })
}

/** The address is the app’s with a code in it, which is good for a minute. */
export const copyRedirectPage = (
  gateway: PageContext,
  view: { readonly client: ClientView; readonly href: string },
): Response => {
  const client = clientName(view.client).text
  const body = html`<div class="card stack"><h1 tabindex="-1" autofocus>${say('Paste this address into {client}', { client: named(client) })}</h1>
<p>${say('Go to the computer where {client} runs, and paste the address where it asks for the URL or the code. If it does not ask, open the address in a browser on that computer.', { client: named(client) })}</p>
<code class="copy url" data-what="${say('address')}">${breakable(readAddress(view.href))}</code>
<p class="note warn">${warnIcon}<span>${say('Whoever receives this address can act as you. Do not send it to anyone. It works once, within 60 seconds.')}</span></p>
</div>`
  return page(gateway, { title: say('Paste this address'), width: 'middle', body })
}
