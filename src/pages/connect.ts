// What a signed-in person finds at `/`, and what a browser finds at an MCP URL: how to connect each client to a service.
import { connectCards, type ConnectCard } from '../kit/connect-cards.ts'
import { type Drawable, html, isolated, type Markup } from '../kit/html.ts'
import type { ConnectView, HomeView } from '../ports/pages.ts'
import { infoIcon } from './icons.ts'
import { account as personOf, breakable, caution, initial, named, page, post, type Gateway } from './shell.ts'
import { readAddress, readName, readText } from './untrusted.ts'

type ServiceView = ConnectView['service']

const copyable = (text: string, what: string): Markup => html`<code class="copy" data-what="${what}">${breakable(text)}</code>`

const clientCard = (card: ConnectCard): Markup => html`<section class="client tight${card.available ? '' : ' off'}">
<h3>${card.client}</h3>
${card.note && html`<p class="muted">${card.note}</p>`}
${card.commands.map((command) => copyable(command, `command for ${card.client}`))}
${card.links.length > 0 && html`<div class="links">${card.links.map((link) => html`<a class="button slim" href="${link.href}" rel="noreferrer">${link.label}</a>`)}</div>`}
${card.snippet && html`<p class="muted"><code>${card.snippet.file}</code></p>${copyable(card.snippet.text, `configuration for ${card.client}`)}`}
${card.steps.length === 1 && html`<p class="muted">${card.steps[0]}</p>`}
${card.steps.length > 1 && html`<ol>${card.steps.map((step) => html`<li>${step}</li>`)}</ol>`}
</section>`

const cards = (service: ServiceView, reachable: boolean): Markup =>
  html`<div class="clients">${connectCards({ name: service.id, url: service.url, reachable }).map(clientCard)}</div>`

const mcpUrl = (service: ServiceView): Markup => html`<code class="copy url" data-what="MCP URL">${breakable(readAddress(service.url))}</code>`

const about = (service: ServiceView): Markup => {
  const description = readText(service.description, 300)
  return html`${description && html`<p>${named(description)}</p>`}${!service.authRequired && html`<p class="note info">${infoIcon}<span>Public: no sign-in required. Callers are anonymous.</span></p>`}`
}

const accountWords = {
  missing: ['Requires an account.', 'Connect'],
  live: ['Account connected.', 'Manage accounts'],
  ended: ['Your account needs attention.', 'Reconnect'],
} as const

/** Where the person stands with a server that has a login of its own, and the way to their accounts. */
const accountLine = ({ id, account }: HomeView['services'][number]): Drawable => {
  if (account === undefined) return undefined
  const [say, label] = accountWords[account]
  const link = html`<a href="/connect/${id}">${label}</a>`
  if (account === 'live') return html`<p class="muted">${say} ${link}</p>`
  return account === 'ended' ? caution(html`${say} ${link}`) : html`<p class="note info">${infoIcon}<span>${say} ${link}</span></p>`
}

const serviceBlock = (service: HomeView['services'][number], reachable: boolean, alone: boolean): Markup => html`<section class="card stack">
<h2>${named(readName(service.name, service.id).text)}</h2>
${about(service)}
${accountLine(service)}
${mcpUrl(service)}
${alone ? cards(service, reachable) : html`<details><summary>Connect a client</summary>${cards(service, reachable)}</details>`}
</section>`

const nothingYet = html`<section class="card stack"><h2>No services yet</h2>
<p>To add an MCP server, an administrator runs this command on the gateway’s host, with a name and the server’s URL:</p>
${copyable('postern services add demo https://mcp.example.com/mcp', 'command')}
<p class="muted">The service appears here without a restart. It can also be added under <code>mcp_services</code> in the configuration.</p></section>`

export const homePage = (gateway: Gateway, view: HomeView): Response => {
  const person = personOf(view.person)
  const body = html`<div class="stack" data-signed-in>
<div class="line"><h1 tabindex="-1" autofocus>Your services</h1>
<div class="line"><span class="tile round" aria-hidden="true">${initial(person.name)}</span><span><strong>${named(person.name)}</strong>${person.detail && html` <span class="muted">${named(person.detail)}</span>`}</span>${post('/logout', { csrf: view.csrf }, html`<button class="slim">Sign out</button>`)}</div></div>
${view.services.length > 0 && html`<p class="muted">Add one of these URLs to your MCP client. Your browser opens so you can approve access.</p>`}
${view.services.length > 0 ? view.services.map((service) => serviceBlock(service, view.reachable, view.services.length === 1)) : nothingYet}
${view.encodes && html`<p><a href="/encode">Get the URL of a server by its domain</a></p>`}
</div>`
  return page(gateway, { title: 'Your services', width: 'wide', body, headers: isolated, foot: `Postern ${gateway.version}` })
}

export const connectPage = (gateway: Gateway, view: ConnectView): Response => {
  const name = readName(view.service.name, view.service.id).text
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>${named(name)} is an MCP server</h1>
${about(view.service)}
<p>This is an MCP endpoint, not a web page. Add the URL to an MCP client${view.service.authRequired && ' and sign in when asked'}.</p>
${mcpUrl(view.service)}
<h2>Connect a client</h2>
${cards(view.service, view.reachable)}
<p><a href="${gateway.issuer}/">Your services</a></p>
</div>`
  return page(gateway, { title: name, width: 'wide', body, headers: isolated })
}
