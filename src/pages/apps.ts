// The apps that a person allowed to use services: what each may use, since when, and how to end it.
import { type Drawable, type Markup, html } from '../kit/html.ts'
import type { ConnectedAppsView } from '../ports/pages.ts'
import { say, sayCounted, sayDate, sayList } from './language.ts'
import {
  type PageContext,
  badge,
  cautionsOf,
  clientName,
  initial,
  named,
  page,
  alsoAccounts,
  post,
  readAddress,
  readName,
  signedInAs,
} from './layout.ts'

type App = ConnectedAppsView['apps'][number]

const action = (
  { csrf }: ConnectedAppsView,
  fields: Readonly<Record<string, string>>,
  label: Drawable,
): Markup =>
  post(
    '/account/apps',
    { csrf, ...fields },
    html`${fields['action'] !== 'sign-out' && alsoAccounts(say('Also disconnect my accounts at the MCP servers of these services, and revoke the tokens. My other apps lose these accounts too.'))}<button class="slim danger">${label}</button>`,
  )

const moreOf = (n: number): Markup => sayCounted(n, '{n} more', '{n} more')

const servicesOf = ({ services }: App): Markup => {
  const shown = services
    .slice(0, 12)
    .map((name) => html`<strong>${named(readName(name, name).text)}</strong>`)
  const rest = services.length - shown.length
  return sayList(rest > 0 ? [...shown, moreOf(rest)] : shown)
}

const redirectsOf = ({ redirects }: App): Markup => {
  const shown = redirects.slice(0, 3).map((host) => {
    const name = readAddress(host).slice(0, 80)
    return host.endsWith(':') ? say('{scheme} links', { scheme: named(name) }) : named(name)
  })
  return sayList(redirects.length > 3 ? [...shown, moreOf(redirects.length - 3)] : shown)
}

const networkText = (network: string): Markup =>
  network === 'loopback' ? say('this computer') : named(readAddress(network).slice(0, 45))

const waysOf = (app: App): Markup => {
  const { redirects, device } = app
  const back = redirects.length > 0 && say('Sends you back to {hosts}.', { hosts: redirectsOf(app) })
  if (!device) return html`${back}`
  const networks = { from: networkText(device.from), approved: networkText(device.approvedFrom) }
  return html`${back && html`${back} `}${say('Device: it asked from {from}, and you approved it from {approved}.', networks)}`
}

const beganBy = ({ client, byCompany, exchanged, since }: App): Markup => {
  const date = { date: sayDate(since) }
  if (client.kind === 'personal') return say('Created on {date}.', date)
  if (byCompany) return say('Connected by your company on {date}.', date)
  return exchanged
    ? say('Got access by exchanging the token of another app on {date}.', date)
    : say('Allowed on {date}.', date)
}

const usedLast = ({ lastUsed, from }: App): Markup => {
  if (lastUsed === undefined) return say('Not used yet.')
  const date = sayDate(lastUsed)
  return from === undefined
    ? say('Last used on {date}.', { date })
    : say('Last used on {date} from {network}.', { date, network: networkText(from) })
}

const historyOf = (app: App): Markup => html`${beganBy(app)} ${usedLast(app)}`

/** Opens in place: without a script too, nothing ends by one click. */
const confirm = (label: Drawable, says: Drawable, button: Markup): Markup =>
  html`<details class="tight confirm"><summary>${label}</summary><p>${says}</p>${button}</details>`

/** What comes back by itself is kept away first of all, and ended for now second. */
const endOf = (
  view: ConnectedAppsView,
  { client: { id }, byCompany, exchanged }: App,
  name: string,
): Markup => {
  const says = say('{client} loses access at once, and its open connections end within five seconds.', {
    client: named(name),
  })
  if (!byCompany && !exchanged)
    return confirm(say('End access'), says, action(view, { action: 'end', client: id }, say('End access')))
  return confirm(
    say('End access'),
    html`${says} ${
      byCompany
        ? say(
            'Your company connected it, so it gets access again by itself. Block it to keep it away until an administrator unblocks it.',
          )
        : say(
            'It exchanges tokens of another app, so it gets access again by itself. Block it to keep it away until an administrator unblocks it.',
          )
    }`,
    html`${action(view, { action: 'block', client: id }, say('Block'))}${action(view, { action: 'end', client: id }, say('End now'))}`,
  )
}

const appBlock = (view: ConnectedAppsView, app: App): Markup => {
  const client = clientName(app.client)
  return html`<section class="client tight">
<div class="line"><div class="line"><span class="tile" aria-hidden="true">${initial(client.text)}</span><h2>${named(client.text)}</h2></div>${badge(app.client)}</div>
${cautionsOf(client)}
<p>${say('Can use {services}', { services: servicesOf(app) })}</p>
<p class="muted">${historyOf(app)} ${waysOf(app)}</p>
${endOf(view, app, client.text)}
</section>`
}

const none = html`<p>${say('No app has access. When an MCP client asks for access and you allow it, it appears here.')}</p>
<p><a href="/">${say('Your services')}</a></p>`

export const connectedAppsPage = (gateway: PageContext, view: ConnectedAppsView): Response => {
  const several = view.apps.length > 1
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>${say('Connected apps')}</h1>
${signedInAs(view)}
${view.apps.length === 0 ? none : html`<p class="muted">${say('These apps can use your services as you.')}</p>`}
${view.apps.map((app) => appBlock(view, app))}
<div class="tight">${several && confirm(say('End access of all apps'), say('All {n} apps lose access at once.', { n: view.apps.length }), action(view, { action: 'end-all' }, say('End access of all apps')))}
${confirm(say('Sign out everywhere'), say('Ends your session in this browser and in all others, and your personal access tokens. Apps keep their access.'), action(view, { action: 'sign-out' }, say('Sign out everywhere')))}</div>
${view.apps.length > 0 && html`<p><a href="/">${say('Your services')}</a></p>`}
</div>`
  return page(gateway, { title: say('Connected apps'), width: 'middle', body })
}
