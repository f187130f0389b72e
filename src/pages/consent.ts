// The consent page: one question, then who is signed in, the service, the permissions, how long they last and
// where Allow leads; then the buttons. Everything a decision needs stands above the buttons and on the first
// screen (MCP 2026-07-28, security considerations).
import { type Drawable, type Markup, html } from '../kit/html.ts'
import type { ConsentView } from '../ports/pages.ts'
import { arrow } from './assets.ts'
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

const row = (label: string, content: Drawable): Markup =>
  html`<div><dt>${label}</dt><dd>${content}</dd></div>`

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

const goesTo = ({ redirect, client }: ConsentView): Drawable => {
  const scheme = readAddress(redirect.uri.split(':', 1)[0] ?? '')
  if (redirect.native)
    return [
      html`<strong class="host">${scheme}:</strong>${address(redirect.uri)}`,
      caution(
        html`This sends access to an app on this device that opens ${scheme}: links. Continue only if you just started it.`,
      ),
    ]
  const host = readAddress(redirect.host)
  const shown = html`<strong class="host${host.length > 40 ? ' long' : ''}">${host}</strong>${address(redirect.uri)}`
  if (redirect.loopback)
    return [
      shown,
      caution('This sends access to an app running on this computer. Continue only if you just started it.'),
    ]
  // A verified client may redirect to another domain than the one that was verified.
  const elsewhere =
    client.kind === 'document' &&
    client.host !== undefined &&
    client.host.toLowerCase() !== redirect.host.toLowerCase()
  return [
    shown,
    elsewhere &&
      caution(html`This sends access to ${named(host)}, not to ${named(readAddress(client.host))}.`),
  ]
}

const meaning = (scope: string, service: string): Drawable =>
  scope === 'mcp'
    ? html`Use ${named(service)} on your behalf and read the results`
    : (known[scope] ??
      html`Permission <code>${readAddress(scope).slice(0, 80)}</code> (defined by this service)`)

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
const since = ({ again, scopes }: ConsentView): string | undefined => {
  if (again === 'changed') return 'You allowed this app before, but its registration details have changed.'
  if (again === undefined) return undefined
  return scopes.some(({ fresh }) => fresh)
    ? 'You allowed this app before. It now requests more permissions.'
    : 'You allowed this app before. Nothing has changed since.'
}

const duration = ({ staysMs, accessMs }: ConsentView): string => {
  if (staysMs !== undefined) return `Until it goes unused for ${inWords(staysMs)}`
  if (accessMs !== undefined) return `For ${inWords(accessMs)}, then the app has to ask again`
  return 'For a short time, then the app has to ask again'
}

const why = (
  view: ConsentView,
  client: string,
  service: string,
  gateway: PageContext,
): Markup => html`<details class="tight"><summary>Why am I seeing this?</summary>
<p>An app that calls itself “${named(client)}” asked ${URL.parse(gateway.issuer)?.host} for access to ${named(service)} on your behalf. No app gets access without your approval. You are asked again when the app, its redirect URI or its permissions change.</p>
<p>Allow sends the app a single-use code, never your password. Cancel tells the app that you denied access. If you did not start this, choose Cancel.</p>
<p class="muted">Client ID: <code>${readAddress(view.client.id).slice(0, 300)}</code></p></details>`

export const consentPage = (gateway: PageContext, view: ConsentView): Response => {
  const client = clientName(view.client)
  const service = readName(view.service.name, view.service.id).text
  const description = readText(view.service.description, 140)
  const person = account(view.person)
  const body = html`<div class="card consent stack">
<div class="head"><div class="pair" aria-hidden="true"><span class="tile">${initial(client.text)}</span>${arrow}<span class="tile service">${initial(service)}</span></div>${badge(view.client)}</div>
<h1 tabindex="-1" autofocus>Allow ${named(client.text)} to use ${named(service)}?</h1>
${client.cautions.map(caution)}
${since(view) && html`<p class="muted">${since(view)}</p>`}
<dl class="rows">
${row('Signed in as', html`<div class="who"><span><strong>${named(person.name)}</strong>${person.detail && html` <span class="muted">${named(person.detail)}</span>`}</span><a href="${ownPath(view.switchAccount)}">Switch account</a></div>`)}
${row('Service', html`<strong>${named(service)}</strong>${description && html`<div>${named(description)}</div>`}<div>${address(view.service.resource)}</div>`)}
${row('This app can', permissions(view.scopes, service))}
${row('Access lasts', html`${duration(view)}. You can end it earlier under <a href="/account/apps">Connected apps</a>.`)}
${row('Sends you back to', goesTo(view))}
${view.upstream && row('Next', html`<strong>${named(readAddress(view.upstream.host))}</strong> will also ask for your approval, once.`)}
</dl>
${post('/oauth/consent', { flow: view.flow, csrf: view.csrf }, html`<button class="primary" name="decision" value="allow">Allow</button><button name="decision" value="deny">Cancel</button>`, 'decision')}
${why(view, client.text, service, gateway)}
</div>`
  return page(gateway, { title: `Allow ${client.text} to use ${service}?`, width: 'middle', body })
}
