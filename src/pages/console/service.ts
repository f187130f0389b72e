// One service: how clients connect to it, its tools and who may call them, and the processes behind it.
import { type ClientRecipe, clientRecipes } from '../../kit/client-recipes.ts'
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type {
  AccessMatrix,
  ConsoleFrame,
  ServiceProcess,
  ServiceTool,
  ServiceView,
} from '../../ports/console.ts'
import {
  type PageContext,
  breakable,
  initial,
  named,
  post,
  readAddress,
  readName,
  readText,
} from '../layout.ts'
import { sumOf, took } from './charts.ts'
import { sectionsOf } from './matrix.ts'
import { audienceOf, credentialsOf, statusOf } from './services.ts'
import { consolePage, counted, empty, icons, linkTo, quoted, timeAgo } from './shell.ts'

const pathOf = ({ service }: Pick<ServiceView, 'service'>): string => `/console/services/${service.id}`

// Connect.

const recipe = (card: ClientRecipe): Markup => html`<section class="card recipe"><h3>${card.client}</h3>
${card.note && html`<p class="muted sm">${card.note}</p>`}
${card.commands.map((command) => html`<code class="copy" data-what="command for ${card.client}">${breakable(command)}</code>`)}
${card.links.length > 0 && html`<div class="btns">${card.links.map(({ href, label }) => html`<a class="btn sm" href="${href}" rel="noreferrer">${label}</a>`)}</div>`}
${card.snippet && html`<p class="muted sm"><code>${card.snippet.file}</code></p><code class="copy" data-what="configuration for ${card.client}">${card.snippet.text}</code>`}
${card.steps.length > 0 && html`<ol class="sm muted plain">${card.steps.map((step) => html`<li>${step}</li>`)}</ol>`}</section>`

const facts = (view: ServiceView, { now }: ConsoleFrame): Markup => {
  const { service, where, added, grants } = view
  const { counts } = service
  const sums = counts && sumOf(counts.slots)
  return html`<section class="card"><div class="card-head"><h2>About</h2></div><div class="card-body"><dl class="kv">
<dt>Server</dt><dd><code>${readText(where, 200)}</code></dd>
<dt>Credentials</dt><dd>${credentialsOf(service)}</dd>
<dt>Who may use it</dt><dd>${audienceOf(service)}</dd>
<dt>Access</dt><dd><a href="${linkTo('/account/access', { service: service.id })}">${counted(grants, 'grant')}</a></dd>
${sums && html`<dt>Calls, 24 h</dt><dd><a href="${linkTo('/console/activity', { q: `service:${service.id} kind:call` })}">${(sums.allowed + sums.denied + sums.failed).toLocaleString('en')}</a>, ${counted(sums.failed, 'error')}, p95 ${took(counts.p95)}</dd>`}
<dt>Set</dt><dd>${added ? html`added by ${named(readText(added.by, 80))}, ${timeAgo(added.at, now)}` : html`in the configuration: <code>mcp_services.${service.id}</code>`}</dd>
</dl></div></section>`
}

const connect = (view: ServiceView, frame: ConsoleFrame): Markup => {
  const { service, reachable } = view
  return html`${facts(view, frame)}
<div class="recipes">${clientRecipes({ name: service.id, url: service.url, reachable }).map(recipe)}</div>`
}

// Tools.

const cell = (tool: ServiceTool, allowed: boolean): Markup => {
  if (allowed && tool.held) return html`<td><span class="status warn">Until reviewed</span></td>`
  return allowed
    ? html`<td><span class="verdict ok-text">${icons.ok}<span>Allowed</span></span></td>`
    : html`<td><span class="verdict faint">${icons.dash}<span>Never</span></span></td>`
}

const toolRow = (tool: ServiceTool): Markup =>
  html`<tr${tool.held && html` class="mark"`}><th scope="row"><code class="strong">${readText(tool.name, 128)}</code>${tool.held && html` <span class="tag warn">Changed</span>`}<span class="sub">${readText(tool.about ?? '', 160)}</span></th>${tool.allowed.map((allowed) => cell(tool, allowed))}</tr>`

/** Read only: who may call what is written in the configuration, and in stored rules. */
export const matrix = ({ groups, tools }: AccessMatrix, name: string): Markup => {
  const columns = groups ?? []
  return html`<section class="card"><div class="scroll" tabindex="0" role="region" aria-label="Tools of ${name}"><table class="table tight matrix"><caption class="vh">Tools of ${name}, and who may call them</caption>
<thead><tr><th scope="col">Tool</th>${columns.map((group) => html`<th scope="col">${named(readText(group, 60))}</th>`)}</tr></thead>
<tbody>${sectionsOf(tools).map((section) => html`<tr class="group"><th colspan="${columns.length + 1}" scope="colgroup">${section.title} <span class="faint">${section.tools.length}, ${section.about}</span></th></tr>${section.tools.map(toolRow)}`)}</tbody></table></div></section>`
}

export const accessSay = ({ groups }: AccessMatrix): string => {
  if (!groups)
    return 'There are no access rules for this service: everyone who can sign in can call every tool.'
  if (groups.length === 0) return 'No group may use this service. Rules may name single users.'
  return 'What people may do who are in one group and no other. Rules for single users and apps come on top.'
}

const toolsTab = (view: ServiceView): Markup => {
  const { access, service } = view
  if (access.tools.length === 0)
    return empty(
      'No tools are known yet',
      'They are remembered when a client lists them through this gateway.',
    )
  return html`${
    service.waiting > 0 &&
    html`<div class="note warn act">${icons.warn}<div class="row between"><span><b>${counted(service.waiting, 'definition')} changed.</b> Review what the server says now.</span><a class="btn sm" href="${linkTo('/console/access', { service: service.id })}">Review</a></div></div>`
  }<p class="muted sm">${accessSay(access)}</p>${matrix(access, readName(service.name, service.id).text)}`
}

// Processes.

const process = (
  { owner, pid, startedAt, endedAt, why, stderr }: ServiceProcess,
  { now }: ConsoleFrame,
): Markup =>
  html`<section class="card"><div class="card-head"><h2 class="row"><span class="status ${endedAt === undefined ? 'ok' : 'bad'}">${endedAt === undefined ? 'Running' : 'Ended'}</span><span>${named(readText(owner, 120))}</span></h2><p>${pid !== undefined && `process ${pid}, `}started ${timeAgo(startedAt, now)}${endedAt !== undefined && html`, ended ${timeAgo(endedAt, now)}`}</p></div>
<div class="card-body stack">${why !== undefined && html`<p>${readText(why, 400)}</p>`}${
    stderr === ''
      ? html`<p class="muted sm">Nothing on standard error.</p>`
      : html`<pre class="stderr">${stderr
          .split('\n')
          .slice(-40)
          .map((line) => `${readText(line, 400)}\n`)}</pre>`
  }</div></section>`

const processes = ({ processes: known = [] }: ServiceView, frame: ConsoleFrame): Drawable =>
  known.length === 0
    ? empty(
        'No process is running',
        'One is started by the first call, and what it writes to standard error is shown here.',
      )
    : known.map((one) => process(one, frame))

// The page.

const tabs = (view: ServiceView): Markup => {
  const { tab, access, service, processes: known } = view
  const link = (key: ServiceView['tab'], label: string, count?: number): Markup =>
    html`<a href="${linkTo(pathOf(view), { tab: key === 'connect' ? undefined : key })}"${key === tab && html` aria-current="true"`}>${label}${count !== undefined && html`<span class="count">${count}</span>`}</a>`
  return html`<nav class="tabs" aria-label="Service">${link('connect', 'Connect')}${link('tools', 'Tools', access.tools.length)}<a href="${linkTo('/console/access', { service: service.id })}">Access</a><a href="${linkTo('/console/activity', { q: `service:${service.id}` })}">Activity</a>${known && link('processes', 'Processes', known.length)}</nav>`
}

const disableForm = (view: ServiceView, { csrf }: ConsoleFrame): Markup => {
  const { service, disabled, grants } = view
  if (disabled)
    return post(pathOf(view), { csrf, action: 'enable' }, html`<button class="btn">Enable</button>`)
  return html`<details class="menu"><summary class="btn">Disable</summary><div class="pop ask"><p>Every MCP request to ${named(readName(service.name, service.id).text)} is refused until you enable it again. ${counted(grants, 'grant')} ${grants === 1 ? 'stays' : 'stay'} as they are.</p>${post(pathOf(view), { csrf, action: 'disable' }, html`<button class="btn destroy">Disable service</button>`)}</div></details>`
}

/** Of one that was added while the gateway runs; those of the configuration are changed there. */
const removeForm = (view: ServiceView, { csrf }: ConsoleFrame): Drawable =>
  view.added &&
  html`<details class="menu"><summary class="btn danger">Remove</summary><div class="pop ask"><p>Added by ${named(readText(view.added.by, 80))}. Clients no longer reach it, and open streams end within five seconds.</p>${post(pathOf(view), { csrf, action: 'remove' }, html`<button class="btn destroy">Remove service</button>`)}</div></details>`

export const servicePage = (gateway: PageContext, frame: ConsoleFrame, view: ServiceView): Response => {
  const { service, description, disabled, tab } = view
  const name = readName(service.name, service.id).text
  return consolePage(gateway, frame, {
    page: 'services',
    title: name,
    heading: html`<span class="row"><span class="tile service" aria-hidden="true">${initial(name)}</span>${named(name)}</span>`,
    above: html`<nav class="crumb" aria-label="Breadcrumb"><a href="/console/services">Services</a>${icons.chevron}<span>${service.id}</span></nav>`,
    lead: html`<p class="row">${statusOf(service)}<code class="url">${breakable(readAddress(service.url))}</code></p>${description && html`<p>${named(readText(description, 300))}</p>`}`,
    actions: html`${disableForm(view, frame)}${removeForm(view, frame)}`,
    body: html`${tabs(view)}${
      disabled &&
      html`<p class="note">${icons.bad}<span><b>Disabled</b> by ${named(readText(disabled.by, 80))}, ${timeAgo(disabled.at, frame.now)}. Every MCP request to it is refused.</span></p>`
    }${tab === 'tools' ? toolsTab(view) : tab === 'processes' ? processes(view, frame) : connect(view, frame)}`,
    commands: [
      tab === 'tools'
        ? `postern tools ls --service ${quoted(service.id)}`
        : `postern services show ${quoted(service.id)}`,
    ],
  })
}
