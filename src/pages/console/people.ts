// People and clients: who has access, from both sides of the same grants.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ConsoleFrame, HolderSummary, HoldersView } from '../../ports/console.ts'
import { type PageContext, initial, named, post, readAddress, readName, readText } from '../layout.ts'
import { consolePage, counted, empty, icons, linkTo, status, timeAgo } from './shell.ts'

const words = {
  people: {
    path: '/console/people',
    title: 'People',
    one: 'person',
    many: 'people',
    key: 'user',
    find: 'Find a user',
  },
  clients: {
    path: '/console/clients',
    title: 'Clients',
    one: 'client',
    many: 'clients',
    key: 'client',
    find: 'Find a client',
  },
} as const

export const kindWords: Readonly<Record<string, readonly [look: string, word: string]>> = {
  registered: ['auth', 'Registered'],
  document: ['ok', 'Verified domain'],
  dynamic: ['warn', 'Unverified name'],
  personal: ['', 'Personal access token'],
}

export const kindTag = (kind: string | undefined): Drawable => {
  const [look, word] = kindWords[kind ?? ''] ?? ['', kind ?? '']
  return kind !== undefined && html`<span class="tag ${look}">${word}</span>`
}

const nameOf = ({ name, id }: HolderSummary, side: HoldersView['side']): string =>
  side === 'people' ? readText(name, 80) || 'Unnamed user' : readName(name, 'Unnamed app').text || id

const services = ({ services: all }: HolderSummary): string => {
  const shown = all.slice(0, 2).map((name) => readText(name, 40))
  return all.length > 2 ? `${shown.join(', ')} and ${all.length - 2} more` : shown.join(', ')
}

const mostIds = 20

/** The same app under many client IDs: each is a registration of its own. */
const registrations = (ids: readonly string[]): Markup =>
  html` <details><summary class="more">${icons.chevron}${counted(ids.length, 'registration')}</summary><ul class="xs">${ids.slice(0, mostIds).map((id) => html`<li><a href="${linkTo(words.clients.path, { client: id })}"><code>${readAddress(id).slice(0, 80)}</code></a></li>`)}</ul>${ids.length > mostIds && html`<span class="faint">and ${ids.length - mostIds} more</span>`}</details>`

const row = (holder: HolderSummary, { side }: HoldersView, { now }: ConsoleFrame): Markup => {
  const { path, key } = words[side]
  const { id, detail, kind, ids, others, grants, lastUsed, blocked } = holder
  const shown = nameOf(holder, side)
  const below =
    side === 'people'
      ? readText(detail ?? '', 80)
      : detail && `sends back to ${readAddress(detail).slice(0, 80)}`
  return html`<tr><th scope="row"><span class="cell-name"><span class="tile ${side === 'people' ? 'person' : 'client'}" aria-hidden="true">${initial(shown)}</span><span><a class="name" href="${linkTo(path, { [key]: id })}">${named(shown)}</a><span class="sub">${named(below ?? '')}</span></span></span></th>
<td class="nowrap">${blocked ? status('bad', 'Blocked') : side === 'clients' ? kindTag(kind) : status('ok', 'Has access')}</td>
<td data-l="${side === 'people' ? 'Apps' : 'Users'}">${others.toLocaleString('en')}${side === 'clients' && ids.length > 1 && registrations(ids)}</td>
<td data-l="Services">${named(services(holder))}</td>
<td class="num" data-l="Grants">${grants.toLocaleString('en')}</td>
<td class="num faint">${lastUsed === undefined ? 'Never used' : timeAgo(lastUsed, now)}</td></tr>`
}

const pagesOf = ({ side, asked, page }: HoldersView): Drawable => {
  if (page.count === 1) return undefined
  const to = (at: number, label: string): Markup =>
    html`<a class="btn sm" href="${linkTo(words[side].path, { q: asked, page: String(at) })}">${label}</a>`
  return html`<div class="card-foot"><span>Page ${page.at} of ${page.count}</span><span class="btns">${page.at > 1 && to(page.at - 1, 'Before')}${page.at < page.count && to(page.at + 1, 'Next')}</span></div>`
}

const blockRow = (
  { user, client, domain, by, at }: HoldersView['blocks'][number],
  { side }: HoldersView,
  { csrf, now }: ConsoleFrame,
): Markup => {
  const party = {
    ...(user !== undefined && { user }),
    ...(client !== undefined && { client }),
    ...(domain !== undefined && { domain }),
  }
  const whole = (text: string): Markup => html`<code>${readAddress(text).slice(0, 120)}</code>`
  const app =
    client === undefined ? (domain === undefined ? undefined : html`apps of ${whole(domain)}`) : whole(client)
  const who = user === undefined ? html`everybody` : named(readText(user, 80))
  return html`<li><span class="bad-text">${icons.bad}</span><span>${app === undefined ? who : html`${app} for ${who}`}</span><span class="end row"><span class="faint xs">by ${named(readText(by, 60))}, ${timeAgo(at, now)}</span>${post(words[side].path, { csrf, action: 'unblock', ...party }, html`<button class="btn sm">Unblock</button>`)}</span></li>`
}

const blocks = (view: HoldersView, frame: ConsoleFrame): Drawable =>
  view.blocks.length > 0 &&
  html`<section class="card" aria-labelledby="blocked"><div class="card-head"><h2 id="blocked">Blocked</h2></div><ul class="list">${view.blocks.map((block) => blockRow(block, view, frame))}</ul></section>`

const list = (view: HoldersView, frame: ConsoleFrame): Markup => {
  const { side, found, count, asked } = view
  const { many, path } = words[side]
  if (count === 0)
    return empty(`No ${many} yet`, 'They appear here when a user has allowed an app to use a service.')
  if (found.length === 0)
    return html`<section class="card empty"><h2>Nothing matches ${named(readText(asked ?? '', 60))}</h2><p><a href="${path}">Show all ${many}</a></p></section>`
  return html`<section class="card"><div class="scroll"><table class="table fold"><caption class="vh">${words[side].title}, most recently used first</caption>
<thead><tr><th scope="col">${side === 'people' ? 'User' : 'Client'}</th><th scope="col">${side === 'people' ? 'Status' : 'Identity'}</th><th scope="col">${side === 'people' ? 'Apps' : 'Users'}</th><th scope="col">Services</th><th class="num" scope="col">Grants</th><th class="num" scope="col">Last used</th></tr></thead>
<tbody>${found.map((holder) => row(holder, view, frame))}</tbody></table></div>${pagesOf(view)}</section>`
}

export const holdersPage = (gateway: PageContext, frame: ConsoleFrame, view: HoldersView): Response => {
  const { side, count, asked, more } = view
  const { title, path, one, many, find } = words[side]
  return consolePage(gateway, frame, {
    page: side,
    title,
    lead: html`<p>${more && 'More than '}${counted(count, one, many)} ${count === 1 && !more ? 'has' : 'have'} access.${more && ' Those of the first 1,000 grants are shown.'}</p>`,
    body: html`${count > 0 && html`<form class="bar" role="search" aria-label="${title}" method="get" action="${path}"><span class="search"><label class="vh" for="q">${find}</label>${icons.search}<input class="input" id="q" name="q" type="search" value="${asked}" placeholder="${find}" autocomplete="off"></span><button class="btn">Find</button></form>`}${list(view, frame)}${blocks(view, frame)}`,
    commands: [`postern ${side} ls`, ...(view.blocks.length > 0 ? ['postern blocks ls'] : [])],
  })
}
