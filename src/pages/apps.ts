// The apps that a person allowed to use services: what each may use, since when, and how to end it.
import { type Drawable, type Markup, html } from '../kit/html.ts'
import type { ConnectedAppsView } from '../ports/pages.ts'
import {
  type PageContext,
  badge,
  caution,
  clientName,
  day,
  initial,
  named,
  page,
  account as personOf,
  alsoAccounts,
  post,
  ownPath,
  readAddress,
  readName,
} from './layout.ts'

type App = ConnectedAppsView['apps'][number]

const action = (
  { csrf }: ConnectedAppsView,
  fields: Readonly<Record<string, string>>,
  label: string,
): Markup =>
  post(
    '/account/apps',
    { csrf, ...fields },
    html`${fields['action'] !== 'sign-out' && alsoAccounts('Also disconnect my accounts at the MCP servers of these services, and revoke the tokens. My other apps lose these accounts too.')}<button class="slim danger">${label}</button>`,
  )

const inWords = (parts: readonly Markup[]): Markup =>
  html`${parts.map((part, i) => html`${i > 0 && (i === parts.length - 1 ? ' and ' : ', ')}${part}`)}`

const servicesOf = ({ services }: App): Markup => {
  const shown = services
    .slice(0, 12)
    .map((name) => html`<strong>${named(readName(name, name).text)}</strong>`)
  const rest = services.length - shown.length
  return inWords(rest > 0 ? [...shown, html`${rest} more`] : shown)
}

const redirectsOf = ({ redirects }: App): Markup => {
  const shown = redirects
    .slice(0, 3)
    .map((host) => named(`${readAddress(host).slice(0, 80)}${host.endsWith(':') ? ' links' : ''}`))
  return inWords(redirects.length > 3 ? [...shown, html`${redirects.length - 3} more`] : shown)
}

const networkText = (network: string): Markup =>
  named(network === 'loopback' ? 'this computer' : readAddress(network).slice(0, 45))

const waysOf = (app: App): Markup => {
  const { redirects, device } = app
  return html`${redirects.length > 0 && html`Sends you back to ${redirectsOf(app)}. `}${device && html`Device: it asked from ${networkText(device.from)}, and you approved it from ${networkText(device.approvedFrom)}.`}`
}

const time = (ms: number): Markup => html`<time datetime="${new Date(ms).toISOString()}">${day(ms)}</time>`

const beganBy = ({ client, byCompany, exchanged }: App): string => {
  if (client.kind === 'personal') return 'Created'
  if (byCompany) return 'Connected by your company'
  return exchanged ? 'Got access by exchanging the token of another app' : 'Allowed'
}

const historyOf = (app: App): Markup => {
  const { since, lastUsed, from } = app
  return html`${beganBy(app)} on ${time(since)}. ${lastUsed === undefined ? 'Not used yet.' : html`Last used on ${time(lastUsed)}${from !== undefined && html` from ${networkText(from)}`}.`}`
}

/** Opens in place: without a script too, nothing ends by one click. */
const confirm = (label: string, says: Drawable, button: Markup): Markup =>
  html`<details class="tight confirm"><summary>${label}</summary><p>${says}</p>${button}</details>`

/** What comes back by itself is kept away first of all, and ended for now second. */
const endOf = (
  view: ConnectedAppsView,
  { client: { id }, byCompany, exchanged }: App,
  name: string,
): Markup => {
  const says = html`${named(name)} loses access at once, and its open connections end within five seconds.`
  if (!byCompany && !exchanged)
    return confirm('End access', says, action(view, { action: 'end', client: id }, 'End access'))
  return confirm(
    'End access',
    html`${says} ${byCompany ? 'Your company connected it' : 'It exchanges tokens of another app'}, so it gets access again by itself. Block it to keep it away until an administrator unblocks it.`,
    html`${action(view, { action: 'block', client: id }, 'Block')}${action(view, { action: 'end', client: id }, 'End now')}`,
  )
}

const appBlock = (view: ConnectedAppsView, app: App): Markup => {
  const client = clientName(app.client)
  return html`<section class="client tight">
<div class="line"><div class="line"><span class="tile" aria-hidden="true">${initial(client.text)}</span><h2>${named(client.text)}</h2></div>${badge(app.client)}</div>
${client.cautions.map(caution)}
<p>Can use ${servicesOf(app)}</p>
<p class="muted">${historyOf(app)} ${waysOf(app)}</p>
${endOf(view, app, client.text)}
</section>`
}

const none = html`<p>No app has access. When an MCP client asks for access and you allow it, it appears here.</p>
<p><a href="/">Your services</a></p>`

export const connectedAppsPage = (gateway: PageContext, view: ConnectedAppsView): Response => {
  const person = personOf(view.person)
  const several = view.apps.length > 1
  const body = html`<div class="card stack">
<h1 tabindex="-1" autofocus>Connected apps</h1>
<p class="who"><span>Signed in as <strong>${named(person.name)}</strong>${person.detail && html` <span class="muted">${named(person.detail)}</span>`}</span><a href="${ownPath(view.switchAccount)}">Switch account</a></p>
${view.apps.length === 0 ? none : html`<p class="muted">These apps can use your services as you.</p>`}
${view.apps.map((app) => appBlock(view, app))}
<div class="tight">${several && confirm('End access of all apps', html`All ${view.apps.length} apps lose access at once.`, action(view, { action: 'end-all' }, 'End access of all apps'))}
${confirm('Sign out everywhere', 'Ends your session in this browser and in all others, and your personal access tokens. Apps keep their access.', action(view, { action: 'sign-out' }, 'Sign out everywhere'))}</div>
${view.apps.length > 0 && html`<p><a href="/">Your services</a></p>`}
</div>`
  return page(gateway, { title: 'Connected apps', width: 'middle', body })
}
