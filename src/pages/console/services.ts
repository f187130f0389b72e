// Services: all of them in a dense list, those that need somebody first.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ConsoleFrame, ServiceSummary, ServicesView } from '../../ports/console.ts'
import { type PageContext, initial, named, readName, readText } from '../layout.ts'
import { spark, sumOf, took } from './charts.ts'
import { consolePage, counted, empty, icons, linkTo, status } from './shell.ts'

const path = '/console/services'

export const statusOf = ({ state, waiting }: ServiceSummary): Markup => {
  if (state === 'down') return status('bad', 'Down')
  if (waiting > 0) return status('warn', counted(waiting, 'change'))
  if (state === 'disabled') return status('off', 'Disabled')
  return state === 'up' ? status('ok', 'Up') : status('off', 'Not called yet')
}

const credentials: Readonly<Record<string, string>> = {
  auto: 'As it asks',
  none: 'None',
  static: 'Static token',
  oauth: 'Each user’s own',
  idp_token: 'Token of the sign-in',
  id_jag: 'Granted by the company',
  token_exchange: 'Exchanged sign-in',
  client_credentials: 'The gateway’s own',
  workload: 'Its platform’s identity',
}
export const credentialsOf = (service: ServiceSummary): string =>
  credentials[service.credentials] ?? service.credentials

/** A few names, and how many others. */
const someOf = (groups: readonly string[]): string => {
  const shown = groups.slice(0, 2).map((group) => readText(group, 40))
  const more = groups.length - shown.length
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ')
}

export const audienceOf = ({ audience }: ServiceSummary): Markup => {
  if (audience === 'public') return html`<span class="tag warn">Public</span>`
  if (audience === 'everyone') return html`Everyone`
  return audience.groups.length === 0 ? html`Named users` : named(someOf(audience.groups))
}

/** The path of an address; all of it where the service has a host of its own. */
const shortUrl = (url: string, issuer: string): string =>
  url.startsWith(`${issuer}/`) ? url.slice(issuer.length) : url

const callCells = ({ counts, state }: ServiceSummary): Markup => {
  if (!counts)
    return html`<td class="faint" data-l="Calls">0</td><td class="num faint hide-sm">–</td><td class="num faint" data-l="Errors">0</td>`
  const { allowed, denied, failed } = sumOf(counts.slots)
  return html`<td data-l="Calls"><span class="row calls">${spark(counts.slots, 'Calls per hour, last 24 hours', state === 'down')}${(allowed + denied + failed).toLocaleString('en')}</span></td><td class="num hide-sm">${took(counts.p95)}</td><td class="num${failed > 0 && ' bad-text'}" data-l="Errors">${failed.toLocaleString('en')}</td>`
}

const row = (service: ServiceSummary, { counted: hasCalls }: ServicesView, issuer: string): Markup => {
  const { id, name, url, tools } = service
  const shown = readName(name, id).text
  return html`<tr><th scope="row"><span class="cell-name"><span class="tile service" aria-hidden="true">${initial(shown)}</span><span><a class="name" href="${path}/${id}">${named(shown)}</a><span class="sub"><code>${readText(shortUrl(url, issuer), 120)}</code></span></span></span></th>
<td class="nowrap">${statusOf(service)}</td>
<td data-l="Tools">${tools ?? html`<span class="faint">–</span>`}</td>
<td class="hide-sm">${credentialsOf(service)}</td>
<td data-l="For">${audienceOf(service)}</td>${hasCalls && callCells(service)}</tr>`
}

const chips = [
  ['all', 'All'],
  ['attention', 'Needs attention'],
  ['remote', 'Remote'],
  ['command', 'Command'],
] as const

const searchForm = ({
  asked,
  counts,
}: ServicesView): Markup => html`<form class="bar" role="search" aria-label="Services" method="get" action="${path}">
<span class="search"><label class="vh" for="q">Find a service</label>${icons.search}<input class="input" id="q" name="q" type="search" value="${asked.text}" placeholder="Find a service by name or URL" autocomplete="off"></span>${asked.only !== undefined && html`<input type="hidden" name="only" value="${asked.only}">`}<button class="btn">Find</button>
<nav class="row" aria-label="Kind">${chips.map(([only, label]) => html`<a class="seg-link" href="${linkTo(path, { q: asked.text, only: only === 'all' ? undefined : only })}"${(asked.only ?? 'all') === only && html` aria-current="true"`}>${label} ${counts[only]}</a>`)}</nav></form>`

const finding = ({ counts }: ServicesView): string => {
  const all = `${counted(counts.all, 'MCP server')} behind this gateway.`
  if (counts.attention === 0) return all
  return `${all} ${counts.attention === 1 ? 'One needs' : `${counts.attention} need`} attention.`
}

const pagesOf = ({ asked, page }: ServicesView): Drawable => {
  if (page.count === 1) return undefined
  const to = (at: number, label: string): Markup =>
    html`<a class="btn sm" href="${linkTo(path, { q: asked.text, only: asked.only, page: String(at) })}">${label}</a>`
  return html`<div class="card-foot"><span>Page ${page.at} of ${page.count}</span><span class="btns">${page.at > 1 && to(page.at - 1, 'Before')}${page.at < page.count && to(page.at + 1, 'Next')}</span></div>`
}

const list = (view: ServicesView, issuer: string): Markup => {
  if (view.counts.all === 0)
    return empty(
      'No services yet',
      'Add one with its URL, or run this on the gateway’s host. It appears here without a restart.',
      'postern services add demo https://mcp.example.com/mcp',
    )
  if (view.found.length === 0)
    return html`<section class="card empty"><h2>No service matches</h2><p><a href="${path}">Show all services</a></p></section>`
  return html`<section class="card"><div class="scroll"><table class="table fold"><caption class="vh">Services, those that need attention first</caption>
<thead><tr><th scope="col">Service</th><th scope="col">Status</th><th scope="col">Tools</th><th scope="col">Upstream credentials</th><th scope="col">Who may use it</th>${view.counted && html`<th scope="col">Calls, 24 h</th><th class="num" scope="col">p95</th><th class="num" scope="col">Errors</th>`}</tr></thead>
<tbody>${view.found.map((service) => row(service, view, issuer))}</tbody></table></div>${pagesOf(view)}</section>`
}

export const servicesPage = (gateway: PageContext, frame: ConsoleFrame, view: ServicesView): Response =>
  consolePage(gateway, frame, {
    page: 'services',
    title: 'Services',
    lead: html`<p>${finding(view)}</p>`,
    actions: html`<a class="btn primary" href="/console/add">Add service</a>`,
    body: html`${view.counts.all > 0 && searchForm(view)}${list(view, gateway.issuer)}`,
    commands: ['postern services ls'],
  })
