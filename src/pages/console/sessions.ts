// Browser sessions and personal access tokens: whose they are, since when, and the end of one.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ConsoleFrame, SessionsView, TokensView } from '../../ports/console.ts'
import type { ListedSession, ListedToken } from '../../ports/people.ts'
import { type PageContext, day, initial, named, post, readName, readText } from '../layout.ts'
import { commandOf, consolePage, counted, empty, icons, linkTo, status, timeAgo } from './shell.ts'

const paths = { sessions: '/console/sessions', tokens: '/console/tokens' } as const
type Kind = keyof typeof paths

interface Listed {
  readonly asked?: string | undefined
  readonly page: { readonly at: number; readonly count: number }
}

// What both pages have.

const search = (kind: Kind, { asked }: Listed, find: string): Markup =>
  html`<form class="bar" role="search" aria-label="${find}" method="get" action="${paths[kind]}"><span class="search"><label class="vh" for="q">${find}</label>${icons.search}<input class="input" id="q" name="q" type="search" value="${asked}" placeholder="${find}" autocomplete="off"></span><button class="btn">Find</button></form>`

const pagesOf = (kind: Kind, { asked, page }: Listed): Drawable => {
  if (page.count === 1) return undefined
  const to = (at: number, label: string): Markup =>
    html`<a class="btn sm" href="${linkTo(paths[kind], { q: asked, page: String(at) })}">${label}</a>`
  return html`<div class="card-foot"><span>Page ${page.at} of ${page.count}</span><span class="btns">${page.at > 1 && to(page.at - 1, 'Before')}${page.at < page.count && to(page.at + 1, 'Next')}</span></div>`
}

const nothing = (kind: Kind, asked: string | undefined, none: Markup): Markup =>
  asked === undefined
    ? none
    : html`<section class="card empty"><h2>Nothing matches ${named(readText(asked, 60))}</h2><p><a href="${paths[kind]}">Show all</a></p></section>`

const personCell = (user: string, email: string | undefined): Markup => {
  const shown = readText(email ?? user.slice(user.indexOf(':') + 1), 80) || 'Unnamed user'
  return html`<th scope="row"><span class="cell-name"><span class="tile person" aria-hidden="true">${initial(shown)}</span><span><a class="name" href="${linkTo('/console/people', { user })}">${named(shown)}</a><span class="sub">${named(readText(user, 80))}</span></span></span></th>`
}

/** Opens in place, so that nothing ends by one click, without a script too. */
const endCell = (says: string, form: Markup): Markup =>
  html`<td class="num corner"><details class="menu"><summary class="btn sm">End</summary><div class="pop ask"><p>${says}</p>${form}</div></details></td>`

// Sessions.

const sessionRow = (session: ListedSession, { own }: SessionsView, { csrf, now }: ConsoleFrame): Markup => {
  const { id, user, email, signedInAt, seenAt, endsAt } = session
  const form = post(
    paths.sessions,
    { csrf, action: 'end', session: id },
    html`<button class="btn destroy">End session</button>`,
  )
  return html`<tr>${personCell(user, email)}
<td>${id === own ? status('ok', 'This browser') : status('ok', 'Signed in')}</td>
<td data-l="Signed in">${timeAgo(signedInAt, now)}</td>
<td data-l="Last seen">${timeAgo(seenAt, now)}</td>
<td data-l="Ends">${until(endsAt, now)}</td>
${endCell('This browser has to sign in again. Apps keep their access.', form)}</tr>`
}

const until = (at: number, now: number): Markup => {
  const minutes = Math.max(1, Math.round((at - now) / 60_000))
  const iso = new Date(at).toISOString()
  return html`<time datetime="${iso}" title="${iso.slice(0, 19).replace('T', ' ')} UTC">in ${minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`}</time>`
}

const sessionTable = (view: SessionsView, frame: ConsoleFrame): Markup =>
  html`<section class="card"><div class="scroll open-menus"><table class="table fold"><caption class="vh">Browser sessions, the one used last first</caption>
<thead><tr><th scope="col">User</th><th scope="col">Status</th><th scope="col">Signed in</th><th scope="col">Last seen</th><th scope="col">Ends without use</th><th scope="col"><span class="vh">End</span></th></tr></thead>
<tbody>${view.items.map((session) => sessionRow(session, view, frame))}</tbody></table></div>${pagesOf('sessions', view)}</section>`

export const sessionsPage = (gateway: PageContext, frame: ConsoleFrame, view: SessionsView): Response => {
  const { all, people, more, asked, items } = view
  return consolePage(gateway, frame, {
    page: 'sessions',
    title: 'Sessions',
    lead: html`<p>${more && 'More than '}${counted(all, 'browser')} of ${counted(people, 'user')} ${all === 1 && !more ? 'is' : 'are'} signed in.${more && ' The first 1,000 sessions are shown.'} To end all of one user, sign them out everywhere on their page.</p>`,
    body: html`${search('sessions', view, 'Find a user')}${items.length === 0 ? nothing('sessions', asked, empty('Nobody is signed in', 'Sessions appear here when users sign in with a browser.')) : sessionTable(view, frame)}`,
    commands: ['postern sessions ls', 'postern sessions end ID'],
  })
}

// Tokens.

const dayMs = 86_400_000

const expiry = ({ expiresAt, createdAt }: ListedToken, now: number): Markup => {
  const soon = expiresAt - now < 7 * dayMs && expiresAt - createdAt > 7 * dayMs
  const iso = new Date(expiresAt).toISOString()
  const date = html`<time datetime="${iso}" title="${iso.slice(0, 19).replace('T', ' ')} UTC">${day(expiresAt)}</time>`
  return soon ? status('warn', date) : html`${date}`
}

const mostNamed = 3

const servicesOf = (services: readonly string[], { services: known }: ConsoleFrame): Markup => {
  const shown = services
    .slice(0, mostNamed)
    .map((id) => readName(known.find((one) => one.id === id)?.name ?? id, id).text)
  return html`${named(readText(shown.join(', '), 120))}${services.length > mostNamed && ` and ${services.length - mostNamed} more`}`
}

const tokenRow = (token: ListedToken, frame: ConsoleFrame): Markup => {
  const { id, name, user, kind, services, permission, createdAt, lastUsedAt } = token
  const { csrf, now } = frame
  const button = (label: string, leaked: boolean): Markup =>
    post(
      paths.tokens,
      { csrf, action: 'end', token: id, ...(leaked && { leaked: 'yes' }) },
      html`<button class="btn destroy">${label}</button>`,
    )
  return html`<tr><th scope="row"><span class="cell-name"><span class="tile" aria-hidden="true">${icons.key}</span><span><span class="strong">${named(readName(name, 'Unnamed token').text)}</span>${kind === 'test' && html` <span class="tag">For tests</span>`}<span class="sub"><code>${readText(id, 60)}</code></span></span></span></th>
<td data-l="User"><a href="${linkTo('/console/people', { user })}">${named(readText(user, 60))}</a></td>
<td data-l="Services">${servicesOf(services, frame)}${permission !== undefined && html`<span class="sub">${permission}</span>`}</td>
<td data-l="Last used">${lastUsedAt === undefined ? html`<span class="faint">Never</span>` : timeAgo(lastUsedAt, now)}</td>
<td data-l="Created">${timeAgo(createdAt, now)}</td>
<td data-l="Expires">${expiry(token, now)}</td>
${endCell('Calls with this token are refused at once, and open streams end within five seconds.', html`<div class="row">${button('End token', false)}${button('It leaked: end it', true)}</div>`)}</tr>`
}

const tokenTable = (view: TokensView, frame: ConsoleFrame): Markup =>
  html`<section class="card"><div class="scroll open-menus"><table class="table fold"><caption class="vh">Personal access tokens, newest first</caption>
<thead><tr><th scope="col">Token</th><th scope="col">User</th><th scope="col">Services</th><th scope="col">Last used</th><th scope="col">Created</th><th scope="col">Expires</th><th scope="col"><span class="vh">End</span></th></tr></thead>
<tbody>${view.items.map((token) => tokenRow(token, frame))}</tbody></table></div>${pagesOf('tokens', view)}</section>`

export const tokensPage = (gateway: PageContext, frame: ConsoleFrame, view: TokensView): Response => {
  const { all, people, asked, items } = view
  return consolePage(gateway, frame, {
    page: 'tokens',
    title: 'Tokens',
    lead: html`<p>${counted(all, 'personal access token')} of ${counted(people, 'user')}. A token never lets in more than its user may do now. The token itself is not kept.</p>`,
    body: html`${all > 0 && search('tokens', view, 'Find a token, a user or a service')}${items.length === 0 ? nothing('tokens', asked, empty('No personal access tokens', 'Users create them for programs that cannot open a browser.', 'postern token create --service ID')) : tokenTable(view, frame)}`,
    commands: [commandOf('token ls', {}), 'postern token revoke ID'],
  })
}
