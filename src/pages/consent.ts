// The consent page: who asks, where the answer goes, for which service, as whom, for what and how long; then Allow or Cancel.
// Everything a decision needs stands above the buttons and on the first screen (users.md 4.3; MCP 2026-07-28, security considerations).
import { html, type Drawable, type Markup } from '../kit/html.ts'
import type { ConsentView } from '../ports/pages.ts'
import { arrow } from './icons.ts'
import { account, badge, breakable, caution, clientName, initial, inWords, named, page, post, type Gateway } from './shell.ts'
import { ownPath, readAddress, readName, readText } from './untrusted.ts'

const row = (label: string, content: Drawable): Markup => html`<div><dt>${label}</dt><dd>${content}</dd></div>`

/** Scopes that mean the same everywhere; for the rest only the service knows, and its own word for it is shown. */
const known: Readonly<Record<string, string>> = {
  mcp: 'Use its tools and see what they return, as you',
  offline_access: 'Stay connected while you are away',
  openid: 'Know that it is you',
  profile: 'See your name',
  email: 'See your e-mail address',
}

const longestShown = 110

const address = (uri: string): Markup => {
  const whole = readAddress(uri)
  if (whole.length <= longestShown) return html`<code>${breakable(whole)}</code>`
  return html`<details><summary><code>${whole.slice(0, longestShown)}…</code> whole address</summary><code>${whole}</code></details>`
}

const goesTo = ({ redirect, client }: ConsentView): Drawable => {
  const scheme = readAddress(redirect.uri.split(':', 1)[0] ?? '')
  if (redirect.native)
    return [
      html`<strong class="host">${scheme}:</strong>${address(redirect.uri)}`,
      caution(html`An app on this device that opens ${scheme}: links. Continue only if you just started it.`),
    ]
  const host = readAddress(redirect.host)
  const shown = html`<strong class="host${host.length > 40 ? ' long' : ''}">${host}</strong>${address(redirect.uri)}`
  if (redirect.loopback) return [shown, caution(html`An app on this computer (${host.replace(/:\d+$/, '')}). Continue only if you just started it.`)]
  // A verified client may send its answers elsewhere; the person should see that the domain is not the one that was verified.
  const elsewhere = client.kind === 'document' && client.host !== undefined && client.host.toLowerCase() !== redirect.host.toLowerCase()
  return [shown, elsewhere && caution(html`The answer goes to ${named(host)}, not to ${named(readAddress(client.host))}.`)]
}

const access = (scopes: ConsentView['scopes']): Markup => {
  const step = scopes.some((scope) => !scope.fresh)
  const entry = (scope: ConsentView['scopes'][number]) => html`<li>
<span>${known[scope.name] ?? html`Access that the service calls <code>${readAddress(scope.name).slice(0, 80)}</code>`}</span>
${step && (scope.fresh ? html`<span class="chip new">New</span>` : html`<span class="chip old">Already allowed</span>`)}</li>`
  // What is asked for the first time comes first.
  const sorted = scopes.toSorted((a, b) => Number(b.fresh) - Number(a.fresh))
  const rest = sorted.length > 6 ? sorted.slice(5) : []
  return html`<ul class="scopes">${sorted.slice(0, sorted.length - rest.length).map(entry)}</ul>${
    rest.length > 0 && html`<details><summary>and ${rest.length} more</summary><ul class="scopes">${rest.map(entry)}</ul></details>`
  }`
}

/** What has changed since the person allowed this client, in one sentence. */
const since = ({ again, scopes }: ConsentView): string | undefined => {
  if (again === 'changed') return 'You have allowed this app before, but it describes itself differently now.'
  if (again === undefined) return undefined
  return scopes.some(({ fresh }) => fresh) ? 'You have allowed this app before. It now asks for more.' : 'You have allowed this app before. Nothing has changed since.'
}

const howLong = ({ staysMs, accessMs }: ConsentView, client: string): Markup => {
  if (staysMs !== undefined) return html`Stays connected while it is used. After ${inWords(staysMs)} without use, ${named(client)} has to ask again.`
  if (accessMs !== undefined) return html`For ${inWords(accessMs)}; then ${named(client)} has to ask again.`
  return html`For a short time; then ${named(client)} has to ask again.`
}

const why = (view: ConsentView, client: string, service: string, gateway: Gateway): Markup => html`<details class="tight"><summary>Why am I seeing this?</summary>
<p>An app that calls itself “${named(client)}” asked ${URL.parse(gateway.issuer)?.host} to let it use ${named(service)} in your name. No app gets in before you said yes, and you are asked again when the app, the place it answers to or the access changes.</p>
<p>Allow sends the app a code that works once; your password stays here. Cancel tells the app that you said no. If you did not start this, choose Cancel.</p>
<p class="muted">Client id <code>${readAddress(view.client.id).slice(0, 300)}</code></p></details>`

export const consentPage = (gateway: Gateway, view: ConsentView, requestId: string): Response => {
  const client = clientName(view.client)
  const service = readName(view.service.name, view.service.id).text
  const description = readText(view.service.description, 140)
  const person = account(view.person)
  const body = html`<div class="card consent stack">
<div class="head"><div class="pair" aria-hidden="true"><span class="tile">${initial(client.text)}</span>${arrow}<span class="tile service">${initial(service)}</span></div>${badge(view.client)}</div>
<h1 tabindex="-1" autofocus>Let ${named(client.text)} use ${named(service)}?</h1>
${client.cautions.map(caution)}
${since(view) && html`<p class="muted">${since(view)}</p>`}
<dl class="rows">
${row('Answer goes to', goesTo(view))}
${row('Service', html`<strong>${named(service)}</strong>${description && html`<div>${named(description)}</div>`}<div>${address(view.service.resource)}</div>`)}
${row('You are', html`<div class="who"><span><strong>${named(person.name)}</strong>${person.detail && html` <span class="muted">${named(person.detail)}</span>`}</span><a href="${ownPath(view.switchAccount)}">Switch account</a></div>`)}
${row('It may', access(view.scopes))}
${row('How long', howLong(view, client.text))}
${view.upstream && row('Next', html`<strong>${named(readAddress(view.upstream.host))}</strong> will ask you too, on its own pages. That is needed once.`)}
</dl>
${post('/oauth/consent', { flow: view.flow, csrf: view.csrf }, html`<button class="primary" name="decision" value="allow">Allow</button><button name="decision" value="deny">Cancel</button>`, 'decision')}
${why(view, client.text, service, gateway)}
</div>`
  return page(gateway, { title: `Let ${client.text} use ${service}?`, width: 'middle', body, requestId })
}
