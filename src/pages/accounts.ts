// A person's accounts at the server behind a service: connect one, choose the default, disconnect.
import { type Drawable, type Markup, html } from '../kit/html.ts'
import type { ConnectUpstreamView } from '../ports/pages.ts'
import { okIcon } from './assets.ts'
import { say, sayDate } from './language.ts'
import {
  type PageContext,
  caution,
  named,
  page,
  post,
  ownPath,
  readAddress,
  readName,
  readText,
  signedInAs,
} from './layout.ts'

type Account = ConnectUpstreamView['accounts'][number]

const words = (scopes: readonly string[]): Markup => {
  const list = html`${scopes.slice(0, 12).map((scope, i) => html`${i > 0 && ', '}<code>${readAddress(scope).slice(0, 80)}</code>`)}`
  return scopes.length > 12 ? say('{list} and {n} more', { list, n: scopes.length - 12 }) : list
}

const button = (
  view: ConnectUpstreamView,
  fields: Readonly<Record<string, string>>,
  label: Drawable,
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
const nameOf = (one: Account): Drawable =>
  (one.name === 'default' ? '' : readName(one.name, '').text) || say('Your account')

const state = (one: Account, alone: boolean): Markup => {
  if (one.ended) return html`<span class="badge warn">${say('Reconnect needed')}</span>`
  if (one.wanted.length > 0) return html`<span class="badge warn">${say('Permission needed')}</span>`
  return one.chosen || alone
    ? html`<span class="badge ok">${okIcon}<span>${say(alone ? 'Connected' : 'Default')}</span></span>`
    : html`<span class="chip old">${say('Connected')}</span>`
}

const dayOf = (ms: number): number => Math.floor(ms / 86_400_000)

const history = ({ connectedAt, renewedAt, issuer }: Account): Markup => {
  const date = sayDate(connectedAt)
  const host = named(URL.parse(issuer)?.host ?? readAddress(issuer))
  return dayOf(connectedAt) === dayOf(renewedAt)
    ? say('Connected on {date} at {host}.', { date, host })
    : say('Connected on {date} at {host}, last refreshed on {last}.', {
        date,
        host,
        last: sayDate(renewedAt),
      })
}

const accountBlock = (view: ConnectUpstreamView, one: Account): Markup => {
  const needed = one.ended || one.wanted.length > 0
  return html`<section class="client tight">
<div class="line"><h2><bdi>${nameOf(one)}</bdi></h2>${state(one, view.accounts.length === 1)}</div>
<p class="muted">${history(one)}</p>
${one.scopes.length > 0 && html`<p class="muted">${say('Permissions: {scopes}', { scopes: words(one.scopes) })}</p>`}
${one.wanted.length > 0 && html`<p>${say('The server also requires {scopes}.', { scopes: words(one.wanted) })}</p>`}
<div class="links">${button(view, { action: 'connect', account: one.name }, say(one.wanted.length > 0 && !one.ended ? 'Grant permission' : 'Reconnect'), needed && one.chosen)}${!one.chosen && button(view, { action: 'choose', account: one.name }, say('Make default'))}${button(view, { action: 'disconnect', account: one.name }, say('Disconnect'))}</div>
</section>`
}

/** A problem with the default account stands above everything else. */
const trouble = ({ accounts }: ConnectUpstreamView): Drawable => {
  const used = accounts.find((one) => one.chosen)
  if (used?.ended) return caution(say('Calls fail until you reconnect this account.'))
  return (
    used &&
    used.wanted.length > 0 &&
    caution(say('Some calls fail until you grant the permission that the server requires.'))
  )
}

const another = (
  view: ConnectUpstreamView,
): Markup => html`<details class="tight"><summary>${say('Connect another account')}</summary>
${post(
  `/connect/${view.service.id}`,
  {
    csrf: view.csrf,
    action: 'connect',
    ...(view.returnTo === undefined ? {} : { return_to: view.returnTo }),
  },
  html`<div><label for="account">${say('Label')}</label><input id="account" name="account" maxlength="60" required autocomplete="off"></div><button class="slim">${say('Connect')}</button>`,
  'stack',
)}</details>`

/**
 * A server that deleted the registration shows its error there and sends nobody back: only the person can
 * tell.
 */
const unknownThere = (
  view: ConnectUpstreamView,
  host: string,
): Markup => html`<details class="tight"><summary>${say('“Unknown client” error?')}</summary>
<p>${say('Servers sometimes delete client registrations. This gateway can register again.')}</p>
${button(view, { action: 'anew', ...(view.accounts.length > 0 && { account: view.accounts.find((one) => one.chosen)?.name ?? '' }) }, say('Register again and continue to {host}', { host }))}</details>`

const askingWords = {
  open: '{service} works without an account. You do not need to sign in at {host}.',
  optional:
    '{service} works without an account. You can also sign in at {host}, which some tools may require.',
  unknown:
    'Postern could not determine whether {service} requires an account at {host}. You can try to connect one.',
  account: '{service} requires your own account at {host}.',
} as const

/** Whether the server asks for an account, as far as the gateway could find out. */
const asking = ({ asks }: ConnectUpstreamView, service: string, host: string): Markup => {
  const names = { service: named(service), host: html`<strong>${named(host)}</strong>` }
  return html`<p>${say(askingWords[asks], names)}</p>`
}

const openingText = (view: ConnectUpstreamView, service: string, host: string): Markup =>
  html`${asking(view, service, host)}${view.asks !== 'open' && html`<p>${say('You sign in and approve permissions there. This gateway encrypts the tokens it receives, uses them only for your calls to {service}, and never shares them with the apps you connect.', { service: named(service) })}</p>`}`

const heading = (view: ConnectUpstreamView, service: string): Markup => {
  const name = { service: named(service) }
  if (view.accounts.length > 0)
    return say(view.accounts.length > 1 ? 'Your {service} accounts' : 'Your {service} account', name)
  return say(
    view.asks === 'open' ? '{service} does not require an account' : 'Connect your {service} account',
    name,
  )
}

/** The link back to the app that sent the person here. */
const returnLink = ({ returnTo }: ConnectUpstreamView, done: boolean): Drawable =>
  returnTo !== undefined &&
  html`<p><a href="${ownPath(returnTo)}">${say(done ? 'Continue' : 'Skip for now')}</a></p>`

/** For an administrator with a link. */
const forServiceAccount = (
  view: ConnectUpstreamView,
  account: Drawable,
  { service, host }: { readonly service: string; readonly host: string },
): Markup => html`<div class="card stack">
<h1 tabindex="-1" autofocus>${say('Connect {service} for a service account', { service: named(service) })}</h1>
<p>${say('The account that you sign in to at {host} is used for all calls of the service account {account} to {service}. It replaces the one connected before. It is not connected for you.', { host: html`<strong>${named(host)}</strong>`, account: html`<strong><bdi>${account}</bdi></strong>`, service: named(service) })}</p>
${signedInAs(view)}
${button(view, { action: 'connect' }, say('Continue to {host}', { host }), true)}
${view.introduces && unknownThere(view, host)}
</div>`

const ownAccountsPage = (gateway: PageContext, view: ConnectUpstreamView): Response => {
  const service = readName(view.service.name, view.service.id).text
  const host = readAddress(view.host)
  const title = say('{service} account', { service })
  const none = view.accounts.length === 0
  const open = none && view.asks === 'open'
  const description = readText(view.service.description, 200)
  const live = view.accounts.some((one) => one.chosen && !one.ended && one.wanted.length === 0)
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>${heading(view, service)}</h1>
${description && html`<p class="muted">${named(description)}</p>`}
${none && openingText(view, service, host)}
${trouble(view)}
${live && view.returnTo === undefined && html`<p>${say('Connected. You can return to your app.')}</p>`}
${signedInAs(view)}
${none && !open && button(view, { action: 'connect' }, say('Continue to {host}', { host }), true)}
${open && view.returnTo === undefined && html`<p><a href="${gateway.issuer}/">${say('Your services')}</a></p>`}
${view.accounts.map((one) => accountBlock(view, one))}
${returnLink(view, live || open)}
${!live && !open && view.introduces && unknownThere(view, host)}
${!none && html`<div class="tight">${another(view)}<details class="tight"><summary>${say('How this account is used')}</summary>${openingText(view, service, host)}</details></div>`}
</div>`
  return page(gateway, { title, width: 'middle', body })
}

export const connectUpstreamPage = (gateway: PageContext, view: ConnectUpstreamView): Response => {
  if (!view.forAccount) return ownAccountsPage(gateway, view)
  const service = readName(view.service.name, view.service.id).text
  const account = readName(view.forAccount.name, '').text || say('Service account')
  const body = forServiceAccount(view, account, { service, host: readAddress(view.host) })
  return page(gateway, { title: say('{service} account', { service }), width: 'middle', body })
}
