// Accounts of users at MCP servers: whose they are, how they stand, and the end of one.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ConnectionRow, ConnectionsView, ConsoleFrame } from '../../ports/console.ts'
import { type PageContext, day, initial, named, post, readAddress, readName, readText } from '../layout.ts'
import { consolePage, counted, empty, icons, linkTo, status, timeAgo } from './shell.ts'

const path = '/console/connections'

const statusOf = ({ state, down, user }: ConnectionRow): Markup => {
  if (state === 'unused') return status('off', 'Not used')
  if (state === 'reconnect')
    return status('warn', user === 'gateway' ? 'Signs in again' : 'User must reconnect')
  if (down) return status('bad', 'Server down')
  return state === 'expiring' ? status('warn', 'Expires soon') : status('ok', 'Connected')
}

const owner = ({ user, email }: ConnectionRow): Markup => {
  if (user === 'gateway') return html`This gateway`
  if (user === undefined)
    return html`<span class="faint" title="Connected before the user was kept with the account">Unknown user</span>`
  return html`<a href="${linkTo('/console/people', { user })}">${named(readText(email ?? user, 60))}</a>`
}

/** What there is to say below the status: why, else when it ends. */
const reasonOf = ({ why, expiresAt, renewable }: ConnectionRow): Drawable => {
  if (why !== undefined) return html`<span class="sub">${named(readText(why, 160))}</span>`
  if (expiresAt === undefined || renewable) return undefined
  const iso = new Date(expiresAt).toISOString()
  return html`<span class="sub">until <time datetime="${iso}" title="${iso.slice(0, 19).replace('T', ' ')} UTC">${day(expiresAt)}</time></span>`
}

const says = ({ user }: ConnectionRow, service: string): string =>
  user === 'gateway'
    ? `The gateway signs in to ${service} again with the next call.`
    : `Calls to ${service} ask this user to connect an account again. Apps keep their access. Tokens are revoked at the server, where it can.`

const row = (one: ConnectionRow, { csrf, now, services }: ConsoleFrame): Markup => {
  const { id, account, service, issuer, scopes, connectedAt, renewedAt, chosen, state } = one
  const name = readName(services.find((known) => known.id === service)?.name ?? service, service).text
  const form = post(
    path,
    { csrf, action: 'end', connection: id, account },
    html`<button class="btn destroy">Disconnect</button>`,
  )
  return html`<tr><th scope="row"><span class="cell-name"><span class="tile service" aria-hidden="true">${initial(name)}</span><span>${state === 'unused' ? html`<span class="strong">${named(name)}</span>` : html`<a class="name" href="/console/services/${service}">${named(name)}</a>`}<span class="sub">${named(readText(account, 60))}${!chosen && ', not the default'}</span></span></span></th>
<td data-l="User">${owner(one)}</td>
<td>${statusOf(one)}${reasonOf(one)}</td>
<td data-l="Permissions">${scopes.length === 0 ? html`<span class="faint">Not named</span>` : named(readText(scopes.join(' '), 120))}<span class="sub">by ${named(readAddress(URL.parse(issuer)?.host ?? issuer).slice(0, 60))}</span></td>
<td data-l="Renewed">${timeAgo(renewedAt, now)}<span class="sub">connected ${timeAgo(connectedAt, now)}</span></td>
<td class="num corner"><details class="menu"><summary class="btn sm">Disconnect</summary><div class="pop ask"><p>${says(one, name)}</p>${state === 'reconnect' && one.user !== 'gateway' && html`<p>To reconnect instead, the user opens <code>/connect/${service}</code> of this gateway.</p>`}${form}</div></details></td></tr>`
}

const pagesOf = ({ asked, needsUser, page }: ConnectionsView): Drawable => {
  if (page.count === 1) return undefined
  const only = needsUser ? 'needs-user' : undefined
  const to = (at: number, label: string): Markup =>
    html`<a class="btn sm" href="${linkTo(path, { q: asked, only, page: String(at) })}">${label}</a>`
  return html`<div class="card-foot"><span>Page ${page.at} of ${page.count}</span><span class="btns">${page.at > 1 && to(page.at - 1, 'Before')}${page.at < page.count && to(page.at + 1, 'Next')}</span></div>`
}

const table = (view: ConnectionsView, frame: ConsoleFrame): Markup =>
  html`<section class="card"><div class="scroll open-menus"><table class="table fold"><caption class="vh">Accounts at MCP servers, renewed last first</caption>
<thead><tr><th scope="col">Account</th><th scope="col">User</th><th scope="col">Status</th><th scope="col">Permissions</th><th scope="col">Renewed</th><th scope="col"><span class="vh">Disconnect</span></th></tr></thead>
<tbody>${view.items.map((one) => row(one, frame))}</tbody></table></div>${pagesOf(view)}</section>`

const find = 'Find an account, a user or a service'

const filterBar = ({ asked, needsUser, all, waiting }: ConnectionsView): Markup => {
  const chip = (label: string, count: number, only: string | undefined): Markup =>
    html`<a class="seg-link" href="${linkTo(path, { q: asked, only })}"${needsUser === (only !== undefined) && html` aria-current="true"`}>${label} ${count.toLocaleString('en')}</a>`
  return html`<form class="bar" role="search" aria-label="${find}" method="get" action="${path}"><span class="search"><label class="vh" for="q">${find}</label>${icons.search}<input class="input" id="q" name="q" type="search" value="${asked}" placeholder="${find}" autocomplete="off"></span>${needsUser && html`<input type="hidden" name="only" value="needs-user">`}<button class="btn">Find</button>
<nav class="row" aria-label="Status">${chip('All', all, undefined)}${chip('Need their user', waiting, 'needs-user')}</nav></form>`
}

const nothing = ({ all, asked }: ConnectionsView): Markup => {
  if (all === 0)
    return empty(
      'No connections',
      'They appear here when a user connects an account at an MCP server that asks for one.',
    )
  return html`<section class="card empty"><h2>${asked === undefined ? 'No connection needs its user' : html`Nothing matches ${named(readText(asked, 60))}`}</h2><p><a href="${path}">Show all</a></p></section>`
}

export const connectionsPage = (
  gateway: PageContext,
  frame: ConsoleFrame,
  view: ConnectionsView,
): Response => {
  const { all, people, more, waiting, items } = view
  return consolePage(gateway, frame, {
    page: 'connections',
    title: 'Connections',
    lead: html`<p>${more && 'More than '}${counted(all, 'account')} of ${counted(people, 'user')} at MCP servers. ${waiting === 0 ? 'None of them needs its user.' : `${counted(waiting, 'account')} ${waiting === 1 ? 'needs its user' : 'need their users'}.`}${more && ' The first 1,000 are shown.'}</p>`,
    body: html`${all > 0 && filterBar(view)}${items.length === 0 ? nothing(view) : table(view, frame)}`,
    commands: ['postern connections ls', 'postern connections rm ID --account NAME'],
  })
}
