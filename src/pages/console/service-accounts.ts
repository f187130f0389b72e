// Service accounts and the issuers whose assertions give tokens: whose they are, since when nobody used them, what was
// refused, and what becomes of an assertion, gate by gate.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { TestedAssertion, TestedGate } from '../../ports/assertions.ts'
import type {
  AssertionIssuerRow,
  ConsoleFrame,
  ServiceAccountRow,
  ServiceAccountsView,
} from '../../ports/console.ts'
import { type PageContext, initial, named, post, readAddress, readName, readText } from '../layout.ts'
import { consolePage, counted, empty, icons, linkTo, off, status, timeAgo } from './shell.ts'

const path = '/console/accounts'
const idleMs = 90 * 86_400_000
const mostNamed = 4

const listed = (values: readonly string[]): Markup =>
  html`${named(readText(values.slice(0, mostNamed).join(', '), 160))}${values.length > mostNamed && ` and ${values.length - mostNamed} more`}`

// Accounts.

const lastUse = ({ lastUsed }: ServiceAccountRow, now: number): Drawable =>
  lastUsed === undefined
    ? html`<span class="faint">None recorded in 400 days</span>`
    : timeAgo(Math.min(lastUsed, now), now)

const stateOf = ({ lastUsed, blocked }: ServiceAccountRow, now: number): Markup => {
  if (blocked) return status('bad', 'Blocked')
  if (lastUsed === undefined) return status('off', 'No use recorded')
  return now - lastUsed >= idleMs ? status('warn', 'Idle for 90 days') : status('ok', 'In use')
}

const callersOf = ({ clients, issuers }: ServiceAccountRow): Drawable => {
  if (clients.length + issuers.length === 0) return html`<span class="faint">None</span>`
  return html`${clients.length > 0 && listed(clients)}${issuers.length > 0 && html`<span class="sub">Assertions of ${listed(issuers)}</span>`}`
}

const servicesOf = (
  { services, permissions }: ServiceAccountRow,
  { services: known }: ConsoleFrame,
): Markup => {
  const names = services.map((id) =>
    id === '*' ? 'All' : readName(known.find((one) => one.id === id)?.name ?? id, id).text,
  )
  return html`${names.length === 0 ? html`<span class="faint">None</span>` : listed(names)}${permissions && html`<span class="sub">${listed(permissions)}</span>`}`
}

const accountRow = (account: ServiceAccountRow, frame: ConsoleFrame): Markup => {
  const { id, name, owner } = account
  return html`<tr><th scope="row"><span class="cell-name"><span class="tile" aria-hidden="true">${icons.accounts}</span><span><a class="name" href="${linkTo('/console/people', { user: `service:${id}` })}">${named(readName(name, id).text)}</a><span class="sub"><code>${readText(id, 60)}</code></span></span></span></th>
<td>${stateOf(account, frame.now)}</td>
<td data-l="Owner">${owner === undefined ? html`<span class="faint">Not set</span>` : named(readText(owner, 80))}</td>
<td data-l="Clients">${callersOf(account)}</td>
<td data-l="Services">${servicesOf(account, frame)}</td>
<td data-l="Last use">${lastUse(account, frame.now)}</td></tr>`
}

const accountTable = ({ accounts }: ServiceAccountsView, frame: ConsoleFrame): Markup =>
  html`<section class="card" aria-labelledby="accounts-title"><div class="card-head"><h2 id="accounts-title">Service accounts</h2></div><div class="scroll"><table class="table fold"><caption class="vh">Service accounts, in the order of the configuration</caption>
<thead><tr><th scope="col">Account</th><th scope="col">Status</th><th scope="col">Owner</th><th scope="col">Clients</th><th scope="col">Services</th><th scope="col">Last use</th></tr></thead>
<tbody>${accounts.map((account) => accountRow(account, frame))}</tbody></table></div></section>`

// Clients that registered themselves.

type Unbound = ServiceAccountsView['unbound']['clients'][number]

const accountPick = ({ accounts }: ServiceAccountsView, client: string): Markup =>
  html`<select class="input half" name="account" aria-label="Service account for ${client}" required><option value="">Choose an account</option>${accounts.map(({ id, name }) => html`<option value="${id}">${readText(readName(name, id).text, 28)}</option>`)}</select>`

const unboundRow = (one: Unbound, view: ServiceAccountsView, { csrf, now }: ConsoleFrame): Markup => {
  const { text, cautions } = readName(one.name, one.client)
  const form = post(
    path,
    { csrf, action: 'bind', client: one.client },
    html`${accountPick(view, text)} <button class="btn primary">Bind</button>`,
  )
  return html`<tr><th scope="row"><span class="cell-name"><span class="tile" aria-hidden="true">${initial(text)}</span><span><span class="strong">${named(readText(text, 40))}</span><span class="sub"><code>${readText(one.client, 60)}</code></span>${cautions.map((caution) => html`<span class="sub">${caution}</span>`)}</span></span></th>
<td>${status('warn', 'Not bound')}</td>
<td data-l="Since">${timeAgo(Math.min(one.at, now), now)}<span class="sub"><code>${readText(one.method, 40)}</code></span></td>
<td class="num corner"><details class="menu"><summary class="btn sm">Bind</summary><div class="pop"><p>It then gets tokens as the account that you choose.</p>${form}</div></details></td></tr>`
}

const boundRow = (
  { client, account, at, by }: ServiceAccountsView['bound'][number],
  { accounts }: ServiceAccountsView,
  { csrf, now }: ConsoleFrame,
): Markup => {
  const known = accounts.find(({ id }) => id === account)
  const form = post(
    path,
    { csrf, action: 'unbind', client },
    html`<button class="btn destroy">Unbind</button>`,
  )
  return html`<tr><th scope="row"><span class="cell-name"><span class="tile" aria-hidden="true">${icons.accounts}</span><span><span class="sub"><code>${readAddress(client).slice(0, 52)}</code></span></span></span></th>
<td>${known ? status('ok', 'Bound') : status('bad', 'No such account')}<span class="sub">${named(known ? readName(known.name, account).text : readText(account, 32))}</span></td>
<td data-l="Since">${timeAgo(Math.min(at, now), now)}<span class="sub">by ${named(readText(by, 40))}</span></td>
<td class="num corner"><details class="menu"><summary class="btn sm">Unbind</summary><div class="pop ask"><p>The tokens that it has end within a second, and it gets no more. What users allowed this client stays.</p>${form}</div></details></td></tr>`
}

const otherForm = (view: ServiceAccountsView, { csrf }: ConsoleFrame): Markup =>
  html`<div class="card-foot">${post(
    path,
    { csrf, action: 'bind' },
    html`<label class="vh" for="other-client">client_id of another client, or the URL of its metadata document</label><input class="input" id="other-client" name="client" required maxlength="2048" placeholder="client_id, or URL of a metadata document" autocomplete="off" autocapitalize="none" spellcheck="false">${accountPick(view, 'this client')}<button class="btn">Bind</button>`,
    'bar',
  )}</div>`

const clientTable = (view: ServiceAccountsView, frame: ConsoleFrame): Drawable => {
  const { bound, unbound, registrable, accounts } = view
  if (accounts.length === 0 || (!registrable && bound.length === 0)) return undefined
  const rows = [
    ...unbound.clients.map((one) => unboundRow(one, view, frame)),
    ...bound.map((one) => boundRow(one, view, frame)),
  ]
  return html`<section class="card" aria-labelledby="clients-title"><div class="card-head"><h2 id="clients-title">Registered clients</h2></div>${
    rows.length === 0
      ? html`<div class="card-body"><p class="faint">No client has registered client_credentials.</p></div>`
      : html`<div class="scroll open-menus"><table class="table fold"><caption class="vh">Clients with client_credentials that registered themselves, those that are not bound first</caption>
<thead><tr><th scope="col">Client</th><th scope="col">Status</th><th scope="col">Since</th><th scope="col"><span class="vh">Change</span></th></tr></thead>
<tbody>${rows}</tbody></table></div>`
  }${unbound.truncated && html`<div class="card-foot"><span>There are more. Bind those by their client_id.</span></div>`}${unbound.clients.length > 0 && html`<div class="card-foot"><span>Anyone can register, under any name. Compare the client_id with the one that your program has.</span></div>`}${registrable && otherForm(view, frame)}</section>`
}

// Issuers.

const types: Readonly<Record<string, string>> = { id_jag: 'Users (ID-JAG)', workload: 'Programs' }

const keysOf = ({ keys = 0, fetchedAt, failure }: AssertionIssuerRow, now: number): Markup => {
  if (failure !== undefined)
    return html`${status('bad', 'No keys')}<span class="sub">${readText(failure, 200)}</span>`
  const since =
    fetchedAt === undefined ? 'In the configuration' : html`Fetched ${timeAgo(Math.min(fetchedAt, now), now)}`
  return html`${status(keys === 0 ? 'warn' : 'ok', counted(keys, 'key'))}<span class="sub">${since}</span>`
}

const refusedOf = (refused: AssertionIssuerRow['refused']): Drawable => {
  if (refused === undefined) return html`<span class="faint">Not counted</span>`
  if (refused.length === 0) return html`<span class="faint">None</span>`
  const link = (code: string): string =>
    linkTo('/console/activity', { q: `kind:assertion.* code:${code}`, period: '24h' })
  return html`<ul>${refused.map(({ code, count }) => html`<li>${count.toLocaleString('en')} <a href="${link(code)}"><code>${readText(code, 60)}</code></a></li>`)}</ul>`
}

const issuerRow = (issuer: AssertionIssuerRow, { now }: ConsoleFrame): Markup =>
  html`<tr><th scope="row"><span class="cell-name"><span class="tile" aria-hidden="true">${icons.key}</span><span><span class="strong">${named(readText(issuer.id, 60))}</span><span class="sub"><code>${readAddress(issuer.issuer).slice(0, 80)}</code></span></span></span></th>
<td class="nowrap" data-l="For">${types[issuer.type] ?? readText(issuer.type, 40)}</td>
<td data-l="Keys">${keysOf(issuer, now)}</td>
<td data-l="Refused in 24 h">${refusedOf(issuer.refused)}</td></tr>`

/** Anybody can send what nobody has signed, so it counts against no issuer. */
const unsignedRow = ({ ofNobody }: ServiceAccountsView): Drawable =>
  ofNobody.length > 0 &&
  html`<tr><th scope="row" colspan="3"><span class="strong">No issuer</span><span class="sub">Unreadable, of an unknown issuer, or without a valid signature</span></th><td data-l="Refused in 24 h">${refusedOf(ofNobody)}</td></tr>`

const refusalNote = ({ counted: isCounted, more }: ServiceAccountsView): Drawable => {
  if (isCounted && !more) return undefined
  const say = isCounted
    ? 'Only the last 1,000 refusals are counted.'
    : 'Refusals are counted from the audit trail, which is not kept or cannot be read here.'
  return html`<div class="card-foot"><span>${say}</span></div>`
}

const issuerTable = (view: ServiceAccountsView, frame: ConsoleFrame): Markup =>
  html`<section class="card" aria-labelledby="issuers-title"><div class="card-head"><h2 id="issuers-title">Issuers</h2></div><div class="scroll"><table class="table fold"><caption class="vh">Issuers of assertions, in the order of the configuration</caption>
<thead><tr><th scope="col">Issuer</th><th scope="col">For</th><th scope="col">Keys</th><th scope="col">Refused in 24 h</th></tr></thead>
<tbody>${view.issuers.map((issuer) => issuerRow(issuer, frame))}${unsignedRow(view)}</tbody></table></div>${refusalNote(view)}</section>`

// What becomes of an assertion.

const marks: Readonly<Record<TestedGate['result'], readonly [look: string, icon: Markup, word: string]>> = {
  'passed': ['ok-text', icons.ok, 'Passed'],
  'refused': ['bad-text', icons.cross, 'Refused'],
  'not reached': ['faint', icons.dash, 'Not reached'],
}

const gateItem = ({ say, result, code, why }: TestedGate): Markup => {
  const [look, icon, word] = marks[result]
  return html`<li><span class="${look}">${icon}<span class="vh">${word}: </span></span><span${result === 'not reached' && html` class="faint"`}>${say}${code !== undefined && html`: <code>${code}</code>`}${why !== undefined && why !== '' && html` (${readText(why, 300)})`}</span></li>`
}

const acceptedText = ({ issuer, accepted }: TestedAssertion): Drawable => {
  if (!accepted) return html`<p class="note bad">${icons.bad}<span>No token.</span></p>`
  const { person, service, scopes, rule, actor } = accepted
  return html`<p class="note ok">${icons.ok}<span>A token for <b>${named(readText(person, 100))}</b> at <b>${readText(service, 64)}</b>, with the scopes <code>${scopes.join(' ')}</code>. Issuer: ${named(readText(issuer ?? '', 60))}.${rule !== undefined && html` Rule: <code>${readText(rule, 120)}</code>.`}${actor !== undefined && html` Acting for them: <code>${readText(actor, 120)}</code>.`}</span></p>`
}

const resultCard = (tested: TestedAssertion | undefined): Drawable =>
  tested &&
  html`<section class="card" aria-labelledby="result-title"><div class="card-head"><h2 id="result-title">Result of the test</h2></div><div class="card-body stack">${acceptedText(tested)}<ol class="trace">${tested.gates.map(gateItem)}</ol></div></section>`

const field = (name: string, label: string, hint: string, value: string | undefined): Markup =>
  html`<div class="field"><label for="${name}">${label}</label><input class="input" id="${name}" name="${name}" value="${value}" maxlength="2048" autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="${name}-hint"><p class="hint" id="${name}-hint">${hint}</p></div>`

const testCard = ({ asked }: ServiceAccountsView, { csrf }: ConsoleFrame): Markup =>
  html`<section class="card" id="test" aria-labelledby="test-title"><div class="card-head"><h2 id="test-title">Test an assertion</h2></div><div class="card-body">${post(
    path,
    { csrf, action: 'test' },
    html`<div class="field"><label for="assertion">Assertion</label><textarea class="input code" id="assertion" name="assertion" rows="4" required spellcheck="false" autocapitalize="none" autocomplete="off" aria-describedby="assertion-hint"></textarea><p class="hint" id="assertion-hint">It goes through the checks of the token endpoint. Nothing is issued or used up, and it is not stored or logged.</p></div>
${field('client_id', 'Client', 'Counts as authenticated. Without one, the client that the assertion names.', asked['client_id'])}
${field('resource', 'Service URL', 'Only if the assertion does not name one.', asked['resource'])}
${field('scope', 'Scopes', 'Separated by spaces. Without any, all that are allowed.', asked['scope'])}
<div class="btns"><button class="btn primary">Test</button></div>`,
    'stack',
  )}</div></section>`

export const accountsPage = (
  gateway: PageContext,
  frame: ConsoleFrame,
  view: ServiceAccountsView,
): Response => {
  const { accounts, issuers, tested } = view
  const none = accounts.length + issuers.length === 0
  return consolePage(gateway, frame, {
    page: 'accounts',
    title: 'Service accounts and issuers',
    lead: html`<p>${counted(accounts.length, 'service account')} and ${counted(issuers.length, 'issuer')} of assertions. Both are set in the configuration.</p>`,
    body: none
      ? empty(
          'No service accounts and no issuers',
          'With service_accounts and assertion_issuers in the configuration, programs and apps of a company get tokens without a browser.',
        )
      : html`${resultCard(tested)}${accounts.length > 0 ? html`${accountTable(view, frame)}${clientTable(view, frame)}` : off('The configuration has no service_accounts.')}${issuers.length > 0 ? html`${issuerTable(view, frame)}${testCard(view, frame)}` : off('The configuration has no assertion_issuers.')}`,
    commands: ['postern clients bindings', 'postern issuers ls', 'postern issuers test assertion.jwt'],
  })
}
