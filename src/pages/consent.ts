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
import {
  type PageContext,
  account,
  badge,
  breakable,
  caution,
  clientName,
  inWords,
  initial,
  named,
  page,
  post,
  ownPath,
  readAddress,
  readName,
  readText,
} from './layout.ts'

/** Scopes that mean the same everywhere. The others are defined by the service and shown by name. */
const known: Readonly<Record<string, string>> = {
  offline_access: 'Keep access when you’re not using it',
  openid: 'Confirm your identity',
  profile: 'Read your name',
  email: 'Read your email address',
}

const longestShown = 110

const address = (uri: string): Markup => {
  const whole = readAddress(uri)
  if (whole.length <= longestShown) return html`<code>${breakable(whole)}</code>`
  return html`<details><summary><code>${whole.slice(0, longestShown)}…</code> Show full address</summary><code>${whole}</code></details>`
}

const networkText = (network: string): string =>
  network === 'loopback' ? 'this computer' : readAddress(network).slice(0, 45)

const timeText = (ms: number): Markup =>
  html`<time datetime="${new Date(ms).toISOString()}">${new Date(ms).toISOString().slice(11, 16)} UTC</time>`

/** On the consent page, in place of the address that Allow leads to. */
const deviceFact = ({ askedAt, from, elsewhere }: NonNullable<ConsentView['device']>): Markup => {
  const says = html`A device at <strong>${networkText(from)}</strong> asked for this at ${timeText(askedAt)}.${elsewhere && ' That is another network than yours.'}`
  const sent = html`If somebody sent you this link or code, they would get access as you. Choose “I did not start this”.`
  return html`<div class="note warn goes">${deviceIcon}<div><p>${says}</p><p>${sent}</p></div></div>`
}

/** For who was led here by somebody else: ends the request, and tells the administrators. */
const deviceReport = html`<button class="slim danger" name="decision" value="report">I did not start this</button>`

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
    ? html`This sends access to an app on this device that opens ${scheme}: links. Continue only if you just started it.`
    : redirect.loopback
      ? 'This sends access to an app running on this computer. Continue only if you just started it.'
      : elsewhere && html`This sends access to ${named(host)}, not to ${named(readAddress(client.host))}.`
  const says = html`<div>Sends you back to <strong class="host">${host}</strong>${warning !== false && html`<p>${warning}</p>`}<div>${address(redirect.uri)}</div></div>`
  return warning === false
    ? html`<div class="fact goes">${backIcon}${says}</div>`
    : html`<div class="note warn goes">${warnIcon}${says}</div>`
}

const meaning = (scope: string, service: string): Drawable =>
  scope === 'mcp'
    ? html`Use ${named(service)} on your behalf and read the results`
    : (known[scope] ??
      html`Permission <code>${readAddress(scope).slice(0, 80)}</code> (defined by this service)`)

/** Of the operator's own API (oauth/api-tokens.ts). */
const administers = html`<p class="label">This app can</p><ul class="scopes"><li><span>Administer this gateway as you: services, access rules, the access of all users, and the audit trail</span></li></ul>
<p class="note warn">${warnIcon}<span>Allow this only if you trust the app with the whole gateway.</span></p>`

const permissions = (scopes: ConsentView['scopes'], service: string): Markup => {
  const step = scopes.some((scope) => !scope.fresh)
  const entry = (scope: ConsentView['scopes'][number]) => html`<li>
<span>${meaning(scope.name, service)}</span>
${step && (scope.fresh ? html`<span class="chip new">New</span>` : html`<span class="chip old">Already allowed</span>`)}</li>`
  // What is asked for the first time comes first.
  const sorted = scopes.toSorted((a, b) => Number(b.fresh) - Number(a.fresh))
  const rest = sorted.length > 6 ? sorted.slice(5) : []
  return html`<ul class="scopes">${sorted.slice(0, sorted.length - rest.length).map(entry)}</ul>${
    rest.length > 0 &&
    html`<details><summary>Show ${rest.length} more</summary><ul class="scopes">${rest.map(entry)}</ul></details>`
  }`
}

/** What has changed since the person allowed this client, in one sentence. */
const since = ({ again, scopes, access }: ConsentView): string | undefined => {
  if (again === 'changed') return 'You allowed this app before, but its registration details have changed.'
  if (again === undefined || access?.more) return undefined
  return scopes.some(({ fresh }) => fresh)
    ? 'You allowed this app before. It now requests more permissions.'
    : 'You allowed this app before. Nothing has changed since.'
}

const apps = html`<a href="/account/apps">Connected apps</a>`
const duration = ({ staysMs, accessMs }: ConsentView): Markup => {
  if (staysMs !== undefined)
    return html`Access lasts until you revoke it in ${apps} or it goes unused for ${inWords(staysMs)}.`
  const time = accessMs === undefined ? 'a short time' : inWords(accessMs)
  return html`Access lasts for ${time}, then the app has to ask again. You can revoke it in ${apps}.`
}

const why = (view: ConsentView, client: string, service: string, gateway: PageContext): Markup => {
  const description = readText(view.service.description, 140)
  return html`<details class="tight"><summary>Why am I seeing this?</summary>
<p>An app that calls itself “${named(client)}” asked ${URL.parse(gateway.issuer)?.host} for access to ${named(service)} on your behalf. No app gets access without your approval. You are asked again when the app, its redirect URI or its permissions change.</p>
<p>${view.device ? 'The app learns of your answer by itself.' : 'Allow sends the app a single-use code, never your password.'} Cancel tells the app that you denied access. If you did not start this, choose ${view.device ? '“I did not start this”' : 'Cancel'}.</p>
<p class="muted">Client ID: <code>${readAddress(view.client.id).slice(0, 300)}</code></p>
<p class="muted">Service: ${description !== '' && html`${named(description)} `}<code>${readAddress(view.service.resource).slice(0, 300)}</code></p></details>`
}

/** With access rules the tools say what the service's own scope means. */
const abilities = (view: ConsentView, client: string, service: string): Markup => {
  const { access, scopes } = view
  const about = readText(view.service.description, 140)
  const described = about !== '' && html`<p class="about">${named(about)}</p>`
  if (view.service.id === '/api')
    return html`<fieldset class="perms"><legend class="vh">What the app can do</legend>${administers}</fieldset>`
  if (!access)
    return html`<fieldset class="perms"><legend class="vh">What the app can do</legend><p class="label">This app can</p>${permissions(scopes, service)}${described}</fieldset>`
  const label = access.more
    ? html`${named(client)} asked for more access`
    : html`With ${named(service)}, ${named(client)} can`
  const others = scopes.filter(({ name }) => name !== 'mcp')
  const also = others.length > 0 && html`<div class="also">${permissions(others, service)}</div>`
  return accessFields(access, label, also)
}

/** Who asks, and as whom. */
const head = (view: ConsentView, client: string, question: Markup): Markup => {
  const person = account(view.person)
  return html`<div class="pair" aria-hidden="true"><span class="tile">${initial(client)}</span>${arrowIcon}<span class="tile service">${serviceIcon}</span></div>
<div><h1 tabindex="-1" autofocus>${question}</h1>
<div class="by">${badge(view.client)}<span>as <strong>${named(person.detail ?? person.name)}</strong></span><a href="${ownPath(view.switchAccount)}">Switch account</a></div></div>`
}

/** In a drawer of its own: who is not sure what it means should not take it for the ordinary way. */
const otherComputer = (
  client: string,
): Markup => html`<details class="tight"><summary>My app runs on another computer</summary>
<p>Then your browser cannot return to ${named(client)}. You can copy the address instead, and paste it into the app. Whoever receives it can act as you: do this only if you started ${named(client)} yourself, never because somebody asked you to.</p>
<button class="slim" name="decision" value="copy">Allow and show the address</button></details>`

export const consentPage = (gateway: PageContext, view: ConsentView): Response => {
  const client = clientName(view.client)
  const service = readName(view.service.name, view.service.id).text
  const [ask, title] = view.access?.more
    ? [
        html`Give ${named(client.text)} more access to ${named(service)}?`,
        `Give ${client.text} more access to ${service}?`,
      ]
    : [html`Allow ${named(client.text)} to use ${named(service)}?`, `Allow ${client.text} to use ${service}?`]
  const form = html`${head(view, client.text, ask)}
${client.cautions.map(caution)}
${since(view) && html`<p class="muted">${since(view)}</p>`}
${abilities(view, client.text, service)}
${goesTo(view)}
${view.upstream && html`<div class="fact">${onwardIcon}<p>Next, <strong>${named(readAddress(view.upstream.host))}</strong> will also ask for your approval, once.</p></div>`}
<div class="fact">${clockIcon}<p>${duration(view)}</p></div>
<div class="decision"><button class="primary" name="decision" value="allow">Allow</button><button name="decision" value="deny">Cancel</button></div>
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
    ? ['Access granted', html`<p class="badge ok">${okIcon}<span>Access granted.</span></p>`]
    : ['Access denied', html`<p class="badge plain">${unreachedIcon}<span>Access denied.</span></p>`]
  const next = view.allowed
    ? html`<p>Return to your device: ${named(client)} continues there within a few seconds. You can close this page.</p>
<p class="note info">${infoIcon}<span>You can end this access at any time in <a href="/account/apps">Connected apps</a>.</span></p>`
    : html`<p>${named(client)} got no access. You can close this page.</p>`
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
  const body = html`<div class="card stack"><h1 tabindex="-1" autofocus>Paste this address into ${named(client)}</h1>
<p>Go to the computer where ${named(client)} runs, and paste the address where it asks for the URL or the code. If it does not ask, open the address in a browser on that computer.</p>
<code class="copy url" data-what="address">${breakable(readAddress(view.href))}</code>
<p class="note warn">${warnIcon}<span>Whoever receives this address can act as you. Do not send it to anyone. It works once, within 60 seconds.</span></p>
</div>`
  return page(gateway, { title: 'Paste this address', width: 'middle', body })
}
