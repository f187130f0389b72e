// A person's accounts at the server behind a service: connect one, choose the default, disconnect.
import { type Drawable, type Markup, html } from '../kit/html.ts'
import type { ConnectUpstreamView } from '../ports/pages.ts'
import { okIcon } from './assets.ts'
import {
  type PageContext,
  caution,
  day,
  named,
  page,
  account as personOf,
  post,
  ownPath,
  readAddress,
  readName,
  readText,
} from './layout.ts'

type Account = ConnectUpstreamView['accounts'][number]

const words = (scopes: readonly string[]): Markup =>
  html`${scopes.slice(0, 12).map((scope, i) => html`${i > 0 && ', '}<code>${readAddress(scope).slice(0, 80)}</code>`)}${scopes.length > 12 && html` and ${scopes.length - 12} more`}`

const button = (
  view: ConnectUpstreamView,
  fields: Readonly<Record<string, string>>,
  label: string,
  primary = false,
): Markup =>
  post(
    `/connect/${view.service.id}`,
    {
      csrf: view.csrf,
      ...(view.forAccount && { link: view.forAccount.link }),
      ...(view.returnTo === undefined ? {} : { return_to: view.returnTo }),
      ...fields,
    },
    html`<button class="${primary ? 'primary' : 'slim'}">${label}</button>`,
  )

/** The first account needs no name of its own, and `default` is a word for programs. */
const nameOf = (one: Account): string =>
  one.name === 'default' ? 'Your account' : readName(one.name, 'Your account').text

const state = (one: Account, alone: boolean): Markup => {
  if (one.ended) return html`<span class="badge warn">Reconnect needed</span>`
  if (one.wanted.length > 0) return html`<span class="badge warn">Permission needed</span>`
  return one.chosen || alone
    ? html`<span class="badge ok">${okIcon}<span>${alone ? 'Connected' : 'Default'}</span></span>`
    : html`<span class="chip old">Connected</span>`
}

const history = ({ connectedAt, renewedAt, issuer }: Account): Markup => {
  const [first, last] = [day(connectedAt), day(renewedAt)]
  return html`Connected on <time>${first}</time> at ${named(URL.parse(issuer)?.host ?? readAddress(issuer))}${last !== first && html`, last refreshed on <time>${last}</time>`}.`
}

const accountBlock = (view: ConnectUpstreamView, one: Account): Markup => {
  const needed = one.ended || one.wanted.length > 0
  return html`<section class="client tight">
<div class="line"><h2>${named(nameOf(one))}</h2>${state(one, view.accounts.length === 1)}</div>
<p class="muted">${history(one)}</p>
${one.scopes.length > 0 && html`<p class="muted">Permissions: ${words(one.scopes)}</p>`}
${one.wanted.length > 0 && html`<p>The server also requires ${words(one.wanted)}.</p>`}
<div class="links">${button(view, { action: 'connect', account: one.name }, one.wanted.length > 0 && !one.ended ? 'Grant permission' : 'Reconnect', needed && one.chosen)}${!one.chosen && button(view, { action: 'choose', account: one.name }, 'Make default')}${button(view, { action: 'disconnect', account: one.name }, 'Disconnect')}</div>
</section>`
}

/** A problem with the default account stands above everything else. */
const trouble = ({ accounts }: ConnectUpstreamView): Drawable => {
  const used = accounts.find((one) => one.chosen)
  if (used?.ended) return caution('Calls fail until you reconnect this account.')
  return (
    used &&
    used.wanted.length > 0 &&
    caution('Some calls fail until you grant the permission that the server requires.')
  )
}

const another = (
  view: ConnectUpstreamView,
): Markup => html`<details class="tight"><summary>Connect another account</summary>
${post(
  `/connect/${view.service.id}`,
  {
    csrf: view.csrf,
    action: 'connect',
    ...(view.returnTo === undefined ? {} : { return_to: view.returnTo }),
  },
  html`<div><label for="account">Label</label><input id="account" name="account" maxlength="60" required autocomplete="off"></div><button class="slim">Connect</button>`,
  'stack',
)}</details>`

/**
 * A server that deleted the registration shows its error there and sends nobody back: only the person can
 * tell.
 */
const unknownThere = (
  view: ConnectUpstreamView,
  host: string,
): Markup => html`<details class="tight"><summary>“Unknown client” error?</summary>
<p>Servers sometimes delete client registrations. This gateway can register again.</p>
${button(view, { action: 'anew', ...(view.accounts.length > 0 && { account: view.accounts.find((one) => one.chosen)?.name ?? '' }) }, `Register again and continue to ${host}`)}</details>`

/** Whether the server asks for an account, as far as the gateway could find out. */
const asking = ({ asks }: ConnectUpstreamView, service: string, host: string): Markup => {
  if (asks === 'open')
    return html`<p>${named(service)} works without an account. You do not need to sign in at <strong>${named(host)}</strong>.</p>`
  if (asks === 'optional')
    return html`<p>${named(service)} works without an account. You can also sign in at <strong>${named(host)}</strong>, which some tools may require.</p>`
  if (asks === 'unknown')
    return html`<p>Postern could not determine whether ${named(service)} requires an account at <strong>${named(host)}</strong>. You can try to connect one.</p>`
  return html`<p>${named(service)} requires your own account at <strong>${named(host)}</strong>.</p>`
}

const openingText = (view: ConnectUpstreamView, service: string, host: string): Markup =>
  html`${asking(view, service, host)}${view.asks !== 'open' && html`<p>You sign in and approve permissions there. This gateway encrypts the tokens it receives, uses them only for your calls to ${named(service)}, and never shares them with the apps you connect.</p>`}`

const heading = (view: ConnectUpstreamView, service: string): Markup => {
  if (view.accounts.length > 0)
    return html`Your ${named(service)} ${view.accounts.length > 1 ? 'accounts' : 'account'}`
  return view.asks === 'open'
    ? html`${named(service)} does not require an account`
    : html`Connect your ${named(service)} account`
}

const signedInAs = (view: ConnectUpstreamView): Markup => {
  const person = personOf(view.person)
  return html`<p class="who"><span>Signed in as <strong>${named(person.name)}</strong>${person.detail && html` <span class="muted">${named(person.detail)}</span>`}</span><a href="${ownPath(view.switchAccount)}">Switch account</a></p>`
}

/** The link back to the app that sent the person here. */
const returnLink = ({ returnTo }: ConnectUpstreamView, done: boolean): Drawable =>
  returnTo !== undefined &&
  html`<p><a href="${ownPath(returnTo)}">${done ? 'Continue' : 'Skip for now'}</a></p>`

/** For an administrator with a link. */
const forServiceAccount = (
  view: ConnectUpstreamView,
  account: string,
  { service, host }: { readonly service: string; readonly host: string },
): Markup => html`<div class="card stack">
<h1 tabindex="-1" autofocus>Connect ${named(service)} for a service account</h1>
<p>The account that you sign in to at <strong>${named(host)}</strong> is used for all calls of the service account <strong>${named(account)}</strong> to ${named(service)}. It replaces the one connected before. It is not connected for you.</p>
${signedInAs(view)}
${button(view, { action: 'connect' }, `Continue to ${host}`, true)}
${view.introduces && unknownThere(view, host)}
</div>`

const ownAccountsPage = (gateway: PageContext, view: ConnectUpstreamView): Response => {
  const service = readName(view.service.name, view.service.id).text
  const host = readAddress(view.host)
  const title = `${service} account`
  const none = view.accounts.length === 0
  const open = none && view.asks === 'open'
  const description = readText(view.service.description, 200)
  const live = view.accounts.some((one) => one.chosen && !one.ended && one.wanted.length === 0)
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>${heading(view, service)}</h1>
${description && html`<p class="muted">${named(description)}</p>`}
${none && openingText(view, service, host)}
${trouble(view)}
${live && view.returnTo === undefined && html`<p>Connected. You can return to your app.</p>`}
${signedInAs(view)}
${none && !open && button(view, { action: 'connect' }, `Continue to ${host}`, true)}
${open && view.returnTo === undefined && html`<p><a href="${gateway.issuer}/">Your services</a></p>`}
${view.accounts.map((one) => accountBlock(view, one))}
${returnLink(view, live || open)}
${!live && !open && view.introduces && unknownThere(view, host)}
${!none && html`<div class="tight">${another(view)}<details class="tight"><summary>How this account is used</summary>${openingText(view, service, host)}</details></div>`}
</div>`
  return page(gateway, { title, width: 'middle', body })
}

export const connectUpstreamPage = (gateway: PageContext, view: ConnectUpstreamView): Response => {
  if (!view.forAccount) return ownAccountsPage(gateway, view)
  const service = readName(view.service.name, view.service.id).text
  const account = readName(view.forAccount.name, 'Service account').text
  const body = forServiceAccount(view, account, { service, host: readAddress(view.host) })
  return page(gateway, { title: `${service} account`, width: 'middle', body })
}
