// Programs: service accounts, and the clients that act as them (what a client may ask the token endpoint for, and
// whether the account that it names is there); the clients that may be signed in to on a device; and
// the header for personal access tokens.
import { serviceAccounts } from '../../kit/records.ts'
import { ownClient } from '../device-keys.ts'
import { didYouMean } from '../shape.ts'
import { type Path, printable } from '../tree.ts'
import { hasRules } from './access.ts'
import { ownHeaders, sameHeader } from './services.ts'
import type { RawConfig, Report, Rule } from './draft.ts'

const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange'

const grantsOf = (draft: RawConfig, id: string): readonly string[] =>
  draft.has('clients', id, 'grant_types')
    ? draft.texts('clients', id, 'grant_types').map(({ value }) => value)
    : ['authorization_code', 'refresh_token']

const devicesOf = (draft: RawConfig): readonly string[] =>
  draft.has('device') ? draft.texts('device', 'clients').map(({ value }) => value) : []

/** Whether a device can do without a redirect URI of this client. */
const isOnDevices = (draft: RawConfig, id: string): boolean =>
  devicesOf(draft).some((listed) => listed === id || listed === '*')

/** Whether assertions are all that it comes with. */
const isAsserted = (draft: RawConfig, id: string): boolean =>
  draft
    .keys('assertion_issuers')
    .some((issuer) => draft.texts('assertion_issuers', issuer, 'clients').some(({ value }) => value === id))

/** Whether a client has redirect URIs exactly where its people come back to it. */
const redirects = (draft: RawConfig, report: Report, path: Path, grants: readonly string[]): void => {
  if (draft.lost(...path, 'redirect_uris') || draft.lost(...path, 'grant_types')) return
  const count = draft.texts(...path, 'redirect_uris').length
  const uses = grants.includes('authorization_code')
  if (
    uses &&
    count === 0 &&
    !isOnDevices(draft, String(path.at(-1))) &&
    !isAsserted(draft, String(path.at(-1))) &&
    !draft.misspelt(...path, 'redirect_uris')
  )
    report.key(path, 'needs redirect_uris, because grant_types has authorization_code')
  if (!uses && count > 0)
    report.key(
      [...path, 'redirect_uris'],
      'has no effect, because grant_types does not have authorization_code: add it, or remove this key',
    )
  if (!uses && grants.includes('refresh_token'))
    report.fault(
      [...path, 'grant_types'],
      'has refresh_token without authorization_code: only users’ grants have refresh tokens',
    )
}

/** Whether a client names an account exactly where it acts as one, and proves who it is then. */
const account = (draft: RawConfig, report: Report, path: Path, grants: readonly string[]): void => {
  const at = [...path, 'service_account']
  const uses = grants.includes('client_credentials')
  const named = draft.text(...at)
  if (!uses) {
    if (named !== undefined)
      report.key(at, 'has no effect, because grant_types does not have client_credentials: add it')
    return
  }
  if (draft.text(...path, 'token_endpoint_auth_method') === 'none')
    report.key(
      [...path, 'grant_types'],
      'has client_credentials, for which the client must authenticate: set token_endpoint_auth_method to client_secret_basic, client_secret_post or private_key_jwt',
    )
  const known = draft.keys('service_accounts')
  if (named === undefined) {
    if (!draft.lost(...at) && !draft.misspelt(...at))
      report.key(path, 'needs service_account, because grant_types has client_credentials')
  } else if (!known.includes(named) && !draft.misspelt('service_accounts'))
    report.fault(
      at,
      `names "${printable(named)}", which is not in service_accounts${didYouMean(named, known)}`,
    )
}

/** Whether a client that has the grant for token exchange may exchange anything. */
const exchanger = (draft: RawConfig, report: Report, path: Path, grants: readonly string[]): void => {
  if (!grants.includes(exchangeGrant) || draft.lost('token_exchange') || draft.misspelt('token_exchange'))
    return
  const named = draft.positions('token_exchange').map((i) => draft.text('token_exchange', i, 'client'))
  if (!named.includes(String(path.at(-1))))
    report.fault(
      [...path, 'grant_types'],
      'has token-exchange, but no entry of token_exchange names this client: add one',
    )
}

const clientGrants: Rule = (draft, report) => {
  for (const id of draft.keys('clients')) {
    const path = ['clients', id]
    const grants = grantsOf(draft, id)
    redirects(draft, report, path, grants)
    account(draft, report, path, grants)
    exchanger(draft, report, path, grants)
  }
}

/** A warning: it may be added while the gateway runs. */
const unknownService = (id: string, services: readonly string[]): string =>
  `names "${printable(id)}", which is not in mcp_services${didYouMean(id, services)}`

const unruledPermissions = (draft: RawConfig, report: Report, path: Path): void => {
  if (!hasRules(draft) && draft.has(...path, 'permissions'))
    report.key(
      [...path, 'permissions'],
      'cannot be enforced without access rules, which say what each tool needs: add `access`, or remove this key',
    )
}

/** As in oauth/api-tokens.ts: the API of the gateway, in the place of a service. */
const apiTarget = '/api'

const accounts: Rule = (draft, report) => {
  if (draft.keys('oauth_providers').includes(serviceAccounts))
    report.key(['oauth_providers', serviceAccounts], 'is reserved for service accounts: use another ID')
  const services = draft.keys('mcp_services')
  for (const id of draft.keys('service_accounts')) {
    const path = ['service_accounts', id]
    for (const { value, path: at } of draft.texts(...path, 'services'))
      if (value !== '*' && value !== apiTarget && !services.includes(value))
        report.warn(at, unknownService(value, services))
    unruledPermissions(draft, report, path)
  }
  const registered = ['dynamic_registration', 'grant_types']
  if (
    draft.has(...registered) &&
    draft.keys('service_accounts').length === 0 &&
    !draft.misspelt('service_accounts')
  )
    report.key(registered, 'has no effect, because service_accounts has no account to bind a client to')
}

/** Of a caller's identity, or what the HTTP stack or a browser writes. */
const claimed =
  /^(x-user|x-mcp|x-remote|x-auth-request|remote|sec|access-control|if)-|^(cookie2|user-agent|referer|date|range)$/

const tokenHeader: Rule = (draft, report) => {
  const at = ['personal_tokens', 'header']
  const name = draft.text(...at)
  if (name === undefined) return
  const same = sameHeader(name)
  if (ownHeaders.test(same) || claimed.test(same))
    report.fault(at, 'cannot be used: this header has another meaning. Choose another one, such as x-api-key')
  for (const id of draft.keys('mcp_services')) {
    const service = ['mcp_services', id]
    const written = [
      ...draft.keys(...service, 'identity', 'headers'),
      ...draft.positions(...service, 'pass_headers').map((i) => draft.text(...service, 'pass_headers', i)),
    ]
    if (written.some((other) => other !== undefined && sameHeader(other) === same))
      report.fault(at, `is also named in mcp_services.${id}: use another header for one of the two`)
  }
}

/** What no entry of `clients` is: the ID of a registration, or a metadata document. */
const clientElsewhere = /^(?:https:\/\/|client_[\w-]{22}$)/

/** An ID of `clients`, of a registration, a metadata document, or the command’s own. */
const deviceClients: Rule = (draft, report) => {
  if (!draft.has('device')) return
  const known = [...draft.keys('clients'), ownClient, '*']
  for (const { value, path } of draft.texts('device', 'clients'))
    if (!known.includes(value) && !clientElsewhere.test(value))
      report.fault(path, `names "${printable(value)}", which is not in clients${didYouMean(value, known)}`)
}

/** Who exchanges tokens authenticates. */
const exchangingClient = (draft: RawConfig, report: Report, at: Path): void => {
  const client = draft.text(...at)
  if (client === undefined) return
  const known = draft.keys('clients')
  if (!known.includes(client)) {
    if (!draft.misspelt('clients'))
      report.fault(at, `names "${printable(client)}", which is not in clients${didYouMean(client, known)}`)
  } else if ((draft.text('clients', client, 'token_endpoint_auth_method') ?? 'none') === 'none')
    report.fault(
      at,
      'names a client that does not authenticate: set its token_endpoint_auth_method to client_secret_basic, client_secret_post or private_key_jwt',
    )
}

const exchanges: Rule = (draft, report) => {
  const clients = draft.keys('clients')
  const services = draft.keys('mcp_services')
  for (const i of draft.positions('token_exchange')) {
    const path = ['token_exchange', i]
    exchangingClient(draft, report, [...path, 'client'])
    for (const { value, path: at } of draft.texts(...path, 'subject_clients'))
      if (!clients.includes(value) && value !== ownClient && !clientElsewhere.test(value))
        report.fault(at, `names "${printable(value)}", which is not in clients${didYouMean(value, clients)}`)
    for (const { value, path: at } of draft.texts(...path, 'services'))
      if (value !== '*' && !services.includes(value)) report.warn(at, unknownService(value, services))
    unruledPermissions(draft, report, path)
  }
}

export const serviceAccountRules: readonly Rule[] = [
  clientGrants,
  deviceClients,
  accounts,
  exchanges,
  tokenHeader,
]
