// Settings: what is set and where it came from, the signing keys, and what can be tested.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ConsoleFrame } from '../../ports/console.ts'
import type { LastCheck, ListedProvider, PublishedKey, Setting, SettingsView } from '../../ports/settings.ts'
import { type PageContext, day, named, post, readAddress, readText } from '../layout.ts'
import { consolePage, counted, icons, status, timeAgo } from './shell.ts'

const path = '/console/settings'

// Where each key is shown, and what it is called.

const sections = [
  ['general', 'General'],
  ['sign-in', 'Identity providers'],
  ['lifetimes', 'Sessions and tokens'],
  ['clients', 'Clients'],
  ['access', 'Access and limits'],
  ['routes', 'Services and URLs'],
  ['records', 'Records and metrics'],
  ['storage', 'Storage'],
  ['keys', 'Keys'],
  ['browsers', 'Browsers'],
] as const

type SectionId = (typeof sections)[number][0]

const labels: Readonly<Record<string, string>> = {
  issuer: 'Public URL',
  'branding.name': 'Name on all pages',
  'branding.color': 'Color of the main button',
  'branding.logo': 'Logo',
  docs_url: 'Documentation',
  host: 'Listens on',
  port: 'Port',
  trusted_proxies: 'Trusted proxies',
  allowed_hosts: 'Other host names',
  admins: 'Administrators',
  auditors: 'Auditors',
  admin_commands: 'Commands over the API',
  log_level: 'Log level',
  debug: 'Debug',
  heartbeat: 'Heartbeat of streams',
  single_provider: 'Skip the sign-in page',
  access_token_lifetime: 'Access token',
  refresh_token_lifetime: 'Unused access ends',
  refresh_grace: 'Repeated refresh',
  refresh_late_repeat: 'Late repeated refresh',
  code_lifetime: 'Authorization code',
  session_timeout: 'Browser session',
  dynamic_registration: 'Dynamic registration',
  client_metadata_documents: 'Client ID documents',
  client_lifetime: 'Unused registration ends',
  rate_limits: 'Rate limits',
  access: 'Access rules',
  max_concurrent_calls: 'Concurrent calls',
  max_open_streams: 'Open streams',
  'access.default': 'Without rules',
  'access.stored': 'Stored rules',
  'access.disclose': 'Denials name',
  default_service: 'Default service',
  domain_root: 'Domain root',
  base_domain: 'Base domain',
  protocol_versions: 'MCP revisions',
  device: 'Device login',
  dpop: 'DPoP',
  metrics: 'Metrics',
  telemetry: 'Traces',
  'personal_tokens.self_service': 'Users create tokens',
  'personal_tokens.max_lifetime': 'Tokens live at most',
  'personal_tokens.default_lifetime': 'Tokens live by default',
  copy_redirect_url: 'Copy the redirect URL',
  audit: 'Audit trail',
  flows: 'Flow record',
  'storage.type': 'Storage',
  session_secret: 'Root secret',
  previous_secrets: 'Previous root secrets',
  token_encryption_key: 'Token encryption key',
  key_rotation: 'A new key every',
}

const sectionByRoot: Readonly<Record<string, SectionId>> = {
  oauth_providers: 'sign-in',
  single_provider: 'sign-in',
  access_token_lifetime: 'lifetimes',
  refresh_token_lifetime: 'lifetimes',
  refresh_grace: 'lifetimes',
  refresh_late_repeat: 'lifetimes',
  code_lifetime: 'lifetimes',
  session_timeout: 'lifetimes',
  personal_tokens: 'lifetimes',
  device: 'sign-in',
  dpop: 'clients',
  copy_redirect_url: 'clients',
  dynamic_registration: 'clients',
  client_metadata_documents: 'clients',
  client_lifetime: 'clients',
  access: 'access',
  rate_limits: 'access',
  max_concurrent_calls: 'access',
  max_open_streams: 'access',
  default_service: 'routes',
  domain_root: 'routes',
  base_domain: 'routes',
  protocol_versions: 'routes',
  audit: 'records',
  metrics: 'records',
  telemetry: 'records',
  flows: 'records',
  storage: 'storage',
  session_secret: 'keys',
  previous_secrets: 'keys',
  token_encryption_key: 'keys',
  key_rotation: 'keys',
  cors: 'browsers',
}

const rootOf = (key: string): string => /^[^.[]+/.exec(key)?.[0] ?? ''
const sectionOf = (key: string): SectionId => sectionByRoot[rootOf(key)] ?? 'general'

/** What follows from a value for people. */
const consequences: Readonly<Record<string, (text: string) => string>> = {
  access_token_lifetime: () =>
    'Clients renew it by themselves. Access that you end is refused from the next message on; open streams end within five seconds.',
  refresh_token_lifetime: (text) => `An app that nobody has used for ${text} has to ask again.`,
  session_timeout: (text) =>
    `A browser that was not used for ${text} has to sign in again; any browser after 8 hours.`,
  client_lifetime: (text) => `A registration that was not used for ${text} is removed.`,
}

// Values.

const units: Readonly<Record<string, string>> = {
  s: 'second',
  m: 'minute',
  h: 'hour',
  d: 'day',
  ms: 'millisecond',
}

/** `1h30m`: `1 hour 30 minutes`. */
const durationOf = (text: string): string | undefined =>
  /^(?:\d+(?:ms|[smhd]))+$/.test(text)
    ? [...text.matchAll(/(\d+)(ms|[smhd])/g)]
        .map(([, count, unit = '']) => `${count} ${units[unit]}${count === '1' ? '' : 's'}`)
        .join(' ')
    : undefined

const stars = '********'

const textOf = (value: unknown): Drawable => {
  if (value === null) return html`<span class="faint">Not set</span>`
  if (value === stars) return status('ok', 'Set')
  if (value === true) return 'On'
  if (value === false) return 'Off'
  if (typeof value === 'number') return String(value)
  if (typeof value === 'string') return durationOf(value) ?? html`<code>${readText(value, 300)}</code>`
  if (!Array.isArray(value)) return listed(Object.keys(value as object), 'None')
  return value.length > 0 && value.every((one) => one === stars)
    ? status('ok', `${value.length} set`)
    : listed(value, 'None')
}

const mostListed = 12

const listed = (values: readonly unknown[], none: string): Drawable => {
  if (values.length === 0) return html`<span class="faint">${none}</span>`
  const shown = values
    .slice(0, mostListed)
    .map(
      (one, i) =>
        html`${i > 0 && ', '}<code>${readText(typeof one === 'string' ? one : JSON.stringify(one), 120)}</code>`,
    )
  return html`${shown}${values.length > mostListed && `, and ${values.length - mostListed} more`}`
}

/** `postern.yaml:31`: the column is for programs. */
const sourceOf = (from: string | undefined): Drawable => {
  if (from === undefined || from === 'not set') return undefined
  if (from === 'default') return 'Default'
  const variable = /^environment (\S+)$/.exec(from)?.[1]
  return html`<code>${readText(variable ?? from.replace(/^(\S+:\d+):\d+/, '$1'), 80)}</code>`
}

const row = ({ key, value, from }: Setting, more?: Drawable): Markup => {
  const consequence = typeof value === 'string' ? consequences[key]?.(durationOf(value) ?? value) : undefined
  return html`<div class="set"><dt>${labels[key] === undefined ? html`<code>${readText(key, 120)}</code>` : html`${labels[key]}<span class="sub"><code>${key}</code></span>`}</dt><dd>${textOf(value)}${more}${consequence !== undefined && html`<p>${consequence}</p>`}</dd><dd class="from">${sourceOf(from)}</dd></div>`
}

// Tests.

const testForm = (key: string, label: string, { csrf }: ConsoleFrame): Markup =>
  post(path, { csrf, action: 'test', key }, html`<button class="btn sm">${label}</button>`)

const lastText = (last: LastCheck | undefined, { now }: ConsoleFrame): Drawable =>
  last &&
  html`<p class="tested">${status(last.ok ? 'ok' : 'bad', html`<span>${readText(last.say, 400)} <span class="faint">Tested ${timeAgo(last.at, now)} by ${named(readText(last.by, 60))}.</span></span>`)}</p>`

const types: Readonly<Record<string, string>> = {
  google: 'Google',
  entra: 'Microsoft Entra ID',
  okta: 'Okta',
  github: 'GitHub',
  openid: 'OpenID Connect',
  auth0: 'Auth0',
  keycloak: 'Keycloak',
  'cloudflare-access': 'Cloudflare Access',
  oauth2: 'OAuth 2.0',
  mock: 'Mock, for tests',
}

const providerRow = (
  { id, name, type, redirectUri, testable, last }: ListedProvider,
  rows: readonly Setting[],
  frame: ConsoleFrame,
): Markup => {
  const prefix = `oauth_providers.${id}.`
  const own = rows.filter(({ key }) => key.startsWith(prefix))
  return html`<li class="provider"><div class="row between"><div><b class="strong">${named(readText(name, 60))}</b> ${types[type] !== name && html`<span class="muted">${types[type] ?? type}</span> `}<code class="faint">${readText(id, 60)}</code></div>${testable ? testForm(`oauth_providers.${id}`, 'Test connection', frame) : html`<span class="faint sm">Nothing to connect to</span>`}</div>
<p class="muted sm">Redirect URI to register there: <code>${readAddress(redirectUri)}</code></p>${lastText(last, frame)}
${own.length > 0 && html`<details><summary class="more">${icons.chevron}${counted(own.length, 'setting')}</summary><dl class="plain-set">${own.map((one) => row({ ...one, key: one.key.slice(prefix.length) }))}</dl></details>`}</li>`
}

const providersCard = (view: SettingsView, rows: readonly Setting[], frame: ConsoleFrame): Markup => {
  const { providers, counts } = view
  const own = rows.filter(({ key }) => rootOf(key) !== 'oauth_providers')
  return html`${providers.length > 0 ? html`<ul class="list">${providers.map((one) => providerRow(one, rows, frame))}</ul>` : html`<p class="card-body muted sm">No identity provider is configured.${counts.local_users === 0 && ' One person signs in with a link from the terminal.'}</p>`}<dl class="plain-set">${counts.local_users > 0 && html`<div class="set"><dt>Local users<span class="sub"><code>local_users</code></span></dt><dd>${counts.local_users.toLocaleString('en')}</dd><dd class="from"></dd></div>`}${own.map((one) => row(one))}</dl>`
}

// Keys.

const keyTags: Readonly<Record<PublishedKey['state'], readonly [look: string, word: string]>> = {
  next: ['accent', 'Next'],
  signs: ['ok', 'Signs'],
  verifies: ['', 'Verifies only'],
}

const keyRow = ({ id, madeAt, state, at }: PublishedKey, { now }: ConsoleFrame): Markup => {
  const [look, word] = keyTags[state]
  const until =
    at === undefined
      ? undefined
      : state === 'next'
        ? html`, signs from ${exact(at)}`
        : html`, accepted until ${exact(at)}`
  return html`<li>${icons.key}<span><b class="strong">Signing key</b> <code>${id}</code> <span class="muted">ES256, made ${timeAgo(madeAt, now)}${until}</span></span><span class="end"><span class="tag ${look}">${word}</span></span></li>`
}

const exact = (ms: number): Markup => {
  const iso = new Date(ms).toISOString()
  return html`<time datetime="${iso}" title="${iso}">${day(ms)}, ${iso.slice(11, 16)} UTC</time>`
}

const keysCard = ({ keys }: SettingsView, rows: readonly Setting[], frame: ConsoleFrame): Markup => {
  const isMade = keys.keys.some(({ state }) => state === 'next')
  const rotate = isMade
    ? html`<p class="muted sm">The next key is made already.</p>`
    : html`<details><summary class="more">${icons.chevron}Make the next key now</summary><p>A new key is published and signs in ten minutes. Nobody has to sign in again: tokens of the key before stay valid until they expire.</p>${post(path, { csrf: frame.csrf, action: 'rotate' }, html`<button class="btn sm">Rotate key</button>`)}</details>`
  return html`<ul class="list">${keys.keys.map((key) => keyRow(key, frame))}</ul><dl class="plain-set"><div class="set"><dt>Next key</dt><dd>${exact(keys.nextAt)}<p>It is published ten minutes before it signs. Tokens of the key before stay valid until they expire.</p>${rotate}</dd><dd class="from"></dd></div>${rows.map((one) => row(one))}</dl>`
}

// The other sections.

const plain = (rows: readonly Setting[]): Markup =>
  rows.length === 0
    ? html`<p class="card-body muted sm">Nothing is set.</p>`
    : html`<dl>${rows.map((one) => row(one))}</dl>`

const own = (label: string, value: Drawable): Markup =>
  html`<div class="set"><dt>${label}</dt><dd>${value}</dd><dd class="from"></dd></div>`

const general = (view: SettingsView, rows: readonly Setting[], frame: ConsoleFrame): Markup => {
  const { publicUrl, lastProbe } = view
  const issuer = rows.find(({ key }) => key === 'issuer') ?? { key: 'issuer', value: null }
  const shown = {
    ...issuer,
    value: issuer.value ?? publicUrl,
    ...(issuer.from === 'not set' && { from: 'default' }),
  }
  return html`<dl>${row(shown, lastText(lastProbe, frame))}${rows.filter(({ key }) => key !== 'issuer').map((one) => row(one))}</dl>`
}

const storage = ({ about, storageMs, trail }: SettingsView, rows: readonly Setting[]): Markup =>
  html`<dl>${own('Runtime', html`${readText(about.runtime, 60)}, Postern ${readText(about.version, 40)}`)}${own('Response time', `${storageMs.toLocaleString('en', { maximumFractionDigits: 1 })} ms`)}${own('Audit trail', trail === 'off' ? status('off', 'Not kept') : trail === 'written' ? status('ok', 'Written') : status('bad', 'Cannot be written'))}${rows.map((one) => row(one))}</dl>`

const clients = ({ counts }: SettingsView, rows: readonly Setting[]): Markup =>
  html`<dl>${own('Configured clients', counts.clients.toLocaleString('en'))}${own('Service accounts', counts.service_accounts.toLocaleString('en'))}${rows.map((one) => row(one))}</dl>`

const routes = ({ counts }: SettingsView, rows: readonly Setting[]): Markup =>
  html`<dl>${own('Configured services', html`<a href="/console/services">${counts.mcp_services.toLocaleString('en')}</a>`)}${rows.map((one) => row(one))}</dl>`

const bodyOf = (id: SectionId, view: SettingsView, frame: ConsoleFrame): Markup => {
  const rows = view.settings.filter(({ key }) => sectionOf(key) === id)
  if (id === 'general') return general(view, rows, frame)
  if (id === 'sign-in') return providersCard(view, rows, frame)
  if (id === 'keys') return keysCard(view, rows, frame)
  if (id === 'storage') return storage(view, rows)
  if (id === 'clients') return clients(view, rows)
  if (id === 'routes') return routes(view, rows)
  return plain(rows)
}

const card = ([id, title]: (typeof sections)[number], view: SettingsView, frame: ConsoleFrame): Markup =>
  html`<section class="card" id="${id}" aria-labelledby="${id}-title"><div class="card-head"><h2 id="${id}-title">${title}</h2>${id === 'general' && testForm('issuer', 'Test public URL', frame)}</div>${bodyOf(id, view, frame)}</section>`

export const settingsPage = (gateway: PageContext, frame: ConsoleFrame, view: SettingsView): Response =>
  consolePage(gateway, frame, {
    page: 'settings',
    title: 'Settings',
    lead: html`<p>Values from the configuration file and the environment are read-only here. Secrets are never shown.</p>`,
    body: html`<div class="settings"><nav class="subnav" aria-label="Settings">${sections.map(([id, title]) => html`<a href="#${id}">${title}</a>`)}</nav>
<div class="stack">${sections.map((section) => card(section, view, frame))}</div></div>`,
    commands: ['postern config explain', 'postern validate --connect', 'postern keys rotate'],
  })
