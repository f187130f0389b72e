// What a signed-in person finds at `/`, and what a browser finds at an MCP URL: how to connect each client to
// a service.
import { type ClientRecipe, clientRecipes } from '../kit/client-recipes.ts'
import { type Drawable, type Markup, html, isolated } from '../kit/html.ts'
import { languageOf, languages } from '../kit/language.ts'
import { documentationAt } from '../kit/refusal.ts'
import type { ClientView, ConnectView, EncodeView, HomeView, Pages, PagesFor } from '../ports/pages.ts'
import { accessPage } from './access.ts'
import { accountTokensPage } from './account-tokens.ts'
import { connectUpstreamPage } from './accounts.ts'
import { connectedAppsPage } from './apps.ts'
import { chevron, createAssets, failedIcon, infoIcon, okIcon, serviceIcon, unreachedIcon } from './assets.ts'
import { type Branding, createBrand } from './brand.ts'
import { consentPage, copyRedirectPage, deviceDonePage } from './consent.ts'
import { say, sayAgain } from './language.ts'
import {
  type PageContext,
  breakable,
  caution,
  clientName,
  initial,
  nameText,
  named,
  page,
  account as personOf,
  post,
  leadsToClient,
  readAddress,
  readName,
  readText,
} from './layout.ts'
import { createConsolePages } from './console/pages.ts'
import { devicePage, loginPage } from './login.ts'
import { problemPage } from './problem.ts'

type ServiceView = ConnectView['service']

const copyable = (text: string, what: Drawable): Markup =>
  html`<code class="copy" data-what="${what}">${breakable(text)}</code>`

const clientCard = (
  card: ClientRecipe,
): Markup => html`<section class="client tight${card.available ? '' : ' off'}">
<h3>${card.client}</h3>
${card.note && html`<p class="muted">${sayAgain(card.note)}</p>`}
${card.commands.map((command) => copyable(command, say('command for {client}', { client: card.client })))}
${card.links.length > 0 && html`<div class="links">${card.links.map((link) => html`<a class="button slim" href="${link.href}" rel="noreferrer">${sayAgain(link.label)}</a>`)}</div>`}
${card.snippet && html`<p class="muted"><code>${card.snippet.file}</code></p>${copyable(card.snippet.text, say('configuration for {client}', { client: card.client }))}`}
${card.steps.length === 1 && html`<p class="muted">${sayAgain(card.steps[0] ?? '')}</p>`}
${card.steps.length > 1 && html`<ol>${card.steps.map((step) => html`<li>${sayAgain(step)}</li>`)}</ol>`}
</section>`

/** The likely client first; the others are one click away. */
const cards = (service: ServiceView, reachable: boolean): Markup => {
  const [likely, ...others] = clientRecipes({ name: service.id, url: service.url, reachable })
  return html`${likely && clientCard(likely)}<details class="tight"><summary>${say('Other clients')}</summary><div class="clients">${others.map(clientCard)}</div></details>`
}

const mcpUrl = (service: ServiceView): Markup =>
  html`<code class="copy url" data-what="${say('MCP URL')}">${breakable(readAddress(service.url))}</code>`

const about = (service: ServiceView): Markup => {
  const description = readText(service.description, 300)
  return html`${description && html`<p>${named(description)}</p>`}${!service.authRequired && html`<p class="note info">${infoIcon}<span>${say('Public: no sign-in required. Callers are anonymous.')}</span></p>`}`
}

/** Where the person stands with a server that has a login of its own; what has ended stands above all services. */
const accountLine = ({ id, account }: HomeView['services'][number]): Drawable => {
  if (account === 'granted')
    return html`<p class="muted">${say('Your company grants access with your sign-in.')}</p>`
  if (account === 'live')
    return html`<p class="muted">${say('Account connected.')} <a href="/connect/${id}">${say('Manage accounts')}</a></p>`
  return (
    account === 'missing' &&
    html`<p class="note info">${infoIcon}<span>${say('Requires an account.')} <a href="/connect/${id}">${say('Connect')}</a></span></p>`
  )
}

/** The same in two words, for a row. */
const accountBadge = ({ account }: HomeView['services'][number]): Drawable => {
  if (account === undefined) return undefined
  if (account === 'ended') return html`<span class="badge warn">${say('Reconnect needed')}</span>`
  if (account === 'missing') return html`<span class="chip old">${say('Account needed')}</span>`
  return html`<span class="badge ok">${okIcon}<span>${say('Connected')}</span></span>`
}

/** A row that opens: what the service is, where the person stands with it, its URL, and each client. */
const serviceRow = (
  service: HomeView['services'][number],
  { reachable, open }: { readonly reachable: boolean; readonly open: boolean },
): Markup => {
  const description = readText(service.description, 90)
  return html`<details class="service" name="service"${open && ' open'}><summary><span class="tile service" aria-hidden="true">${serviceIcon}</span><span class="what"><h2>${named(readName(service.name, service.id).text)}</h2>${description && html`<span>${named(description)}</span>`}</span>${accountBadge(service)}${chevron}</summary>
<div class="stack">${about(description === service.description ? { ...service, description: '' } : service)}
${accountLine(service)}
${mcpUrl(service)}
${cards(service, reachable)}</div></details>`
}

/** What needs the person stands above everything else. */
const troubles = ({ services }: HomeView): readonly Markup[] =>
  services
    .filter(({ account }) => account === 'ended')
    .slice(0, 5)
    .map(({ id, name }) =>
      caution(
        html`${say('{service}: calls fail until you reconnect your account.', { service: html`<strong>${named(readName(name, id).text)}</strong>` })} <a href="/connect/${id}">${say('Reconnect')}</a>`,
      ),
    )

/** So many are seen at once. */
const mostUnsearched = 8

const search = ({ services, query = '' }: HomeView): Drawable =>
  (query !== '' || services.length > mostUnsearched) &&
  html`<form method="get" action="/" class="filter" role="search"><div><label for="q">${say('Find a service')}</label><input id="q" name="q" type="search" value="${query.slice(0, 100)}" autocomplete="off" spellcheck="false"></div><button>${say('Search')}</button></form>`

const serviceList = (view: HomeView): Markup => {
  const { services, reachable, query = '' } = view
  const fits = ({ id, name, description }: ServiceView): boolean =>
    `${id} ${name} ${description}`.toLowerCase().includes(query.toLowerCase())
  const shown = query === '' ? services : services.filter(fits)
  if (shown.length === 0)
    return html`<section class="card stack"><h2>${say('No service matches “{query}”', { query: query.slice(0, 100) })}</h2><p><a href="/">${say('Show all services')}</a></p></section>`
  return html`<section class="card services" aria-label="${say('Services')}">${shown.map((service, i) => serviceRow(service, { reachable, open: i === 0 }))}</section>`
}

const nothingYet = html`<section class="card stack"><h2>${say('No services yet')}</h2>
<p>${say('To add an MCP server, an administrator runs this command on the gateway’s host, with a name and the server’s URL:')}</p>
${copyable('postern services add demo https://mcp.example.com/mcp', say('command'))}
<p class="muted">${say('The service appears here without a restart. It can also be added under {key} in the configuration.', { key: html`<code>mcp_services</code>` })}</p></section>`

export const homePage = (gateway: PageContext, view: HomeView): Response => {
  const person = personOf(view.person)
  const body = html`<div class="stack" data-signed-in>
<div class="line"><h1 tabindex="-1" autofocus>${say('Your services')}</h1>
<div class="line"><span class="tile round" aria-hidden="true">${initial(person.name)}</span><span><strong>${named(person.name)}</strong>${person.detail && html` <span class="muted">${named(person.detail)}</span>`}</span>${view.admin && html`<a href="/console">${say('Console')}</a>`}<a href="/account/apps">${say('Connected apps')}</a><a href="/account/tokens">${say('Tokens')}</a>${post('/logout', { csrf: view.csrf }, html`<button class="slim">${say('Sign out')}</button>`)}</div></div>
${view.services.length > 0 && html`<p class="muted">${say('Add one of these URLs to your MCP client. Your browser opens so you can approve access.')}</p>`}
${troubles(view)}
${search(view)}
${view.services.length > 0 ? serviceList(view) : nothingYet}
${view.encodes && html`<p><a href="/encode">${say('Get the URL of a server by its domain')}</a></p>`}
</div>`
  return page(gateway, {
    title: say('Your services'),
    width: 'wide',
    body,
    headers: isolated,
    foot: `Postern ${gateway.version}`,
  })
}

export const connectPage = (gateway: PageContext, view: ConnectView): Response => {
  const name = readName(view.service.name, view.service.id).text
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>${say('{service} is an MCP server', { service: named(name) })}</h1>
${about(view.service)}
<p>${view.service.authRequired ? say('This is an MCP endpoint, not a web page. Add the URL to an MCP client and sign in when asked.') : say('This is an MCP endpoint, not a web page. Add the URL to an MCP client.')}</p>
${mcpUrl(view.service)}
<h2>${say('Connect a client')}</h2>
${cards(view.service, view.reachable)}
<p><a href="${gateway.issuer}/">${say('Your services')}</a></p>
</div>`
  return page(gateway, { title: name, width: 'wide', body, headers: isolated })
}

// The URL generator: a server's domain in, the URL to give a client out.

type Served = NonNullable<EncodeView['served']>[number]

const copyableUrl = (url: string): Markup =>
  html`<code class="copy url" data-what="${say('URL')}">${breakable(readAddress(url))}</code>`

const older = ({ sse }: Served): Drawable =>
  sse !== undefined &&
  html`<p class="muted">${say('For HTTP+SSE clients: {url}', { url: html`<code>${breakable(readAddress(sse))}</code>` })}</p>`

const servedBlock = (served: readonly Served[]): Markup => {
  const [first, ...others] = served as readonly [Served, ...Served[]]
  if (others.length === 0)
    return html`<section class="tight"><h2>${say('Add this URL to your MCP client')}</h2>${copyableUrl(first.url)}${older(first)}</section>`
  return html`<h2>${say('Add one of these URLs to your MCP client')}</h2>${served.map((each) => html`<section class="tight"><h3>${named(readName(each.name, each.id).text)}</h3>${copyableUrl(each.url)}${older(each)}</section>`)}`
}

const notConfiguredBlock = (
  host: string,
): Markup => html`<section class="tight"><h2>${say('No server configured for this domain')}</h2>
<p>${say('Its hostname would be {host}.', { host: html`<code>${breakable(readAddress(host))}</code>` })}</p>
${caution(say('An administrator must add the server first.'))}</section>`

export const encodePage = (gateway: PageContext, view: EncodeView): Response => {
  const { asked, host, served = [], problem } = view
  const wrong = problem !== undefined && html` aria-invalid="true" aria-describedby="problem"`
  const body = html`<div class="card stack">
<h1 tabindex="-1"${asked !== '' && ' autofocus'}>${say('Get the URL of an MCP server')}</h1>
<p>${say('Each server has its own hostname, derived from its domain. Enter the domain from the server’s original URL.')}</p>
<form method="get" action="/encode" class="stack">
<div><label for="domain">${say('Server domain')}</label>
<input id="domain" name="domain" value="${asked.slice(0, 300)}" placeholder="mcp.example.com" autocomplete="off" autocapitalize="none" spellcheck="false" required${asked === '' && ' autofocus'}${wrong}></div>
${problem !== undefined && html`<p class="note bad" id="problem" role="alert">${failedIcon}<span>${sayAgain(problem)}</span></p>`}
<button${host === undefined && html` class="primary"`}>${say('Get URL')}</button>
</form>
${host !== undefined && (served.length > 0 ? servedBlock(served) : notConfiguredBlock(host))}
</div>`
  return page(gateway, {
    title: say('Get the URL of an MCP server'),
    width: 'middle',
    body,
    headers: isolated,
    ...(problem === undefined ? {} : { status: 400 }),
  })
}

// After a decision that redirects to an installed app: opens it, and offers a button in case the browser does
// not.

export interface GoBackView {
  readonly client: ClientView
  readonly href: string
}

/** Whether the redirect carries an error (RFC 6749 §4.1.2.1). */
const refused = (href: string): boolean => new URLSearchParams(href.split('?', 2)[1] ?? '').has('error')

export const goBackPage = (gateway: PageContext, view: GoBackView): Response => {
  const client = clientName(view.client).text
  const safe = leadsToClient(view.href)
  const no = refused(view.href)
  const said = no
    ? html`${unreachedIcon}<span>${say('Access denied.')}</span>`
    : html`${okIcon}<span>${say('Access granted.')}</span>`
  const back = say('Return to {client}', { client: named(client) })
  const way = html`<a class="button primary" href="${view.href}" rel="noreferrer">${back}</a>
<p class="muted">${say('Your browser should reopen {client}; it may ask for permission. Then you can close this page.', { client: named(client) })}</p>`
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>${back}</h1>
<p class="badge ${no ? 'plain' : 'ok'}">${said}</p>
${safe ? way : html`<p>${say('A browser cannot open the redirect URI of this app safely, so nothing was sent to it. Report this to the app’s developer.')}</p>`}
</div>`
  // A refresh needs neither a script nor a policy for it, unlike a redirect of the form itself, which
  // browsers stop at schemes they do not know.
  const head =
    safe && !/[\s"']/.test(view.href)
      ? html`<meta http-equiv="refresh" content="0; url=${view.href}">`
      : undefined
  const title = say('Return to {client}', { client: nameText(client) })
  return page(gateway, { title, width: 'narrow', body, ...(head ? { head } : {}) })
}

// All pages people look at, as gateway.ts hands them to the modules.

export const createPages = (gateway: PageContext): Pages => ({
  consent: (view) => consentPage(gateway, view),
  login: (view) => loginPage(gateway, view),
  device: (view) => devicePage(gateway, view),
  deviceDone: (view) => deviceDonePage(gateway, view),
  home: (view) => homePage(gateway, view),
  connect: (view) => connectPage(gateway, view),
  connectUpstream: (view) => connectUpstreamPage(gateway, view),
  connectedApps: (view) => connectedAppsPage(gateway, view),
  accountTokens: (view) => accountTokensPage(gateway, view),
  // For administrators, as the console: in English.
  access: (view) => accessPage({ ...gateway, language: 'en' }, view),
  encode: (view) => encodePage(gateway, view),
  goBack: (view) => goBackPage(gateway, view),
  copyRedirect: (view) => copyRedirectPage(gateway, view),
  problem: (view) => problemPage(gateway, view),
})

/** All pages, and the files that they load, with what the operator puts on them. */
export const createSite = (
  gateway: Omit<PageContext, 'brand'>,
  {
    branding,
    docs_url: docs,
  }: { readonly branding?: Branding | undefined; readonly docs_url?: string | undefined },
) => {
  const { brand, brandAssets } = createBrand(branding)
  const about = { ...gateway, brand }
  const inLanguages = new Map(languages.map((language) => [language, createPages({ ...about, language })]))
  const english = createPages(about)
  const pages: PagesFor = ({ headers }) =>
    inLanguages.get(languageOf(headers.get('accept-language'))) ?? english
  return {
    pages,
    consolePages: createConsolePages(about),
    assets: createAssets(brandAssets),
    documentationOf: documentationAt(docs),
  }
}
