// How upstreams are signed in to: which keys go together, and to whom a credential may be shown.
import { isOriginPattern } from '../../kit/http.ts'
import { callbackPathOf, sameIssuer, shareCallback } from '../../kit/urls.ts'
import { isLoopbackUrl } from '../../kit/addresses.ts'
import { printable } from '../tree.ts'
import type { RawConfig, Report, Rule } from './draft.ts'
import { bearerFault, headerValueFault, ownHeaders, sameHeader } from './services.ts'

/** Keys by the type that reads them; `type` and `allow_origins` belong to all. */
const signIn = [
  'issuer',
  'authorization_endpoint',
  'token_endpoint',
  'revocation_endpoint',
  'client_id',
  'client_secret',
  'token_endpoint_auth_method',
  'scopes',
  'resource',
  'allow_origins',
  'dpop',
]
const exchanged = ['provider', 'subject', 'idp', 'assertion_file', 'assertion_env']
const readBy: Readonly<Record<string, readonly string[]>> = {
  auto: [...signIn, 'client_metadata_url', 'redirect_uri', 'extra_params'],
  none: [],
  static: ['token', 'headers'],
  oauth: [...signIn, 'client_metadata_url', 'redirect_uri', 'extra_params'],
  idp_token: [],
  id_jag: [...signIn, 'private_key', ...exchanged],
  token_exchange: ['scopes', 'resource', 'allow_origins', 'dpop', 'audience', ...exchanged],
  client_credentials: [...signIn, 'private_key'],
  workload: [...signIn, 'private_key', 'assertion_file', 'assertion_env'],
}

/** Types whose tokens are got without a browser. */
const unattended = new Set(['id_jag', 'token_exchange', 'client_credentials', 'workload'])

const belongs = (draft: RawConfig, report: Report, path: readonly string[], type: string): void => {
  for (const key of draft.keys(...path)) {
    if (key === 'type' || (readBy[type] ?? []).includes(key)) continue
    const types = Object.keys(readBy).filter((name) => readBy[name]?.includes(key))
    if (types.length > 0)
      report.key(
        [...path, key],
        `cannot be used with type: ${printable(type)}; it is for ${types.join(', ')}`,
      )
  }
}

const statics = (draft: RawConfig, report: Report, path: readonly string[]): void => {
  const names = draft.keys(...path, 'headers')
  const token = draft.text(...path, 'token')
  if (
    token === undefined &&
    names.length === 0 &&
    !draft.has(...path, 'token') &&
    !draft.has(...path, 'headers')
  )
    report.key([...path, 'type'], 'static needs token or headers')
  const wrong = token === undefined ? undefined : bearerFault(token)
  if (wrong) report.fault([...path, 'token'], wrong)
  const seen = new Map<string, string>()
  for (const name of names) {
    const here = [...path, 'headers', name]
    const [same, before] = [sameHeader(name), seen.get(sameHeader(name))]
    if (same === 'authorization' ? draft.has(...path, 'token') : ownHeaders.test(same))
      report.key(here, 'cannot be set: the gateway or the protocol controls this header')
    if (before !== undefined)
      report.key(
        here,
        `is the same header as "${before}" above (header names are case-insensitive): keep one`,
      )
    seen.set(same, name)
    const value = headerValueFault(draft.text(...here) ?? '')
    if (value) report.fault(here, value)
  }
}

const urls = (draft: RawConfig, report: Report, path: readonly string[]): void => {
  for (const key of [
    ['issuer'],
    ['authorization_endpoint'],
    ['token_endpoint'],
    ['revocation_endpoint'],
    ['redirect_uri'],
    ['idp', 'token_endpoint'],
  ]) {
    const at = [...path, ...key]
    const url = URL.parse(draft.text(...at) ?? '')
    if (!url) continue
    if (url.username || url.password) report.fault(at, 'must not contain a username or password')
    if (url.hash) report.fault(at, 'must not have a fragment (#…)')
    // Codes and secrets travel there.
    if (url.protocol === 'http:' && !isLoopbackUrl(url.href) && !draft.loopback)
      report.fault(at, 'must use https')
  }
  const back = URL.parse(draft.text(...path, 'redirect_uri') ?? '')
  if (back && !/^\/(connect\/callback(\/[\w-]+)?|(oauth\/)?callback)$/.test(back.pathname))
    report.warn(
      [...path, 'redirect_uri'],
      'is not a callback URL of this gateway: use /connect/callback, /oauth/callback, or the one that `postern validate` prints for this authorization server',
    )
  for (const { value, path: here } of draft.texts(...path, 'allow_origins'))
    if (!isOriginPattern(value))
      report.fault(
        here,
        'must be an origin such as "https://auth.example.com", or "http://localhost:*" for any port on localhost',
      )
}

const clientId = (draft: RawConfig, report: Report, path: readonly string[]): void => {
  const there = (name: string): boolean => draft.has(...path, name)
  // A secret for whichever server the upstream names today would be a gift to whoever changes that name (MCP:
  // credentials belong to their issuer).
  if (there('client_id') && !there('issuer') && !there('token_endpoint'))
    report.key(
      [...path, 'client_id'],
      'needs `issuer` (or both endpoints), so that the credentials go only to the authorization server they belong to',
    )
  if (!there('client_id') && there('client_secret')) report.key([...path, 'client_secret'], 'needs client_id')
}

/** Which endpoints must be written together, and with a client. */
const endpoints = (draft: RawConfig, report: Report, path: readonly string[], type: string): void => {
  const there = (name: string): boolean => draft.has(...path, name)
  if (there('authorization_endpoint') && !there('token_endpoint'))
    report.key([...path, 'authorization_endpoint'], 'needs token_endpoint')
  if (!unattended.has(type) && there('token_endpoint') && !there('authorization_endpoint'))
    report.key([...path, 'token_endpoint'], 'needs authorization_endpoint')
  if (!unattended.has(type) && there('token_endpoint') && !there('client_id'))
    report.key(
      [...path, 'token_endpoint'],
      'needs client_id: the gateway cannot register itself without discovery',
    )
}

/** What the client authenticates with. */
const clientCredential = (draft: RawConfig, report: Report, path: readonly string[], type: string): void => {
  const there = (name: string): boolean => draft.has(...path, name)
  const method = draft.text(...path, 'token_endpoint_auth_method')
  if (method === 'private_key_jwt' && !there('private_key'))
    report.key(
      [...path, 'token_endpoint_auth_method'],
      'private_key_jwt needs private_key, with type: client_credentials, id_jag or workload',
    )
  if ((method === 'client_secret_basic' || method === 'client_secret_post') && !there('client_secret'))
    report.key([...path, 'token_endpoint_auth_method'], `${method} needs client_secret`)
  if (
    (type === 'client_credentials' || type === 'id_jag') &&
    (!there('client_id') || (!there('client_secret') && !there('private_key')))
  )
    report.key([...path, 'type'], `${type} needs client_id, and client_secret or private_key`)
}

/** The JWT that is read anew for each request, and that goes to a server that the operator named. */
const assertion = (draft: RawConfig, report: Report, path: readonly string[], type: string): void => {
  const there = (name: string): boolean => draft.has(...path, name)
  const subject = draft.text(...path, 'subject')
  if (there('assertion_file') && there('assertion_env'))
    report.key([...path, 'assertion_env'], 'cannot be used together with assertion_file')
  if (there('assertion_file') && draft.workers)
    report.key([...path, 'assertion_file'], 'Workers have no files: use assertion_env')
  if (type === 'workload') {
    if (!there('assertion_file') && !there('assertion_env'))
      report.key([...path, 'type'], 'workload needs assertion_file or assertion_env')
    if (!there('issuer') && !there('token_endpoint'))
      report.key(
        [...path, 'type'],
        'workload needs `issuer` or `token_endpoint`, so that the assertion goes only to the authorization server it is for',
      )
  }
  if (type !== 'id_jag' && type !== 'token_exchange') return
  for (const name of ['file', 'env'])
    if (there(`assertion_${name}`) !== (subject === name))
      report.key([...path, 'subject'], `subject: ${name} and assertion_${name} need each other`)
}

const issuesIdTokens = (draft: RawConfig, provider: string): boolean =>
  !['github', 'oauth2', 'mock'].includes(draft.text('oauth_providers', provider, 'type') ?? provider)

/** The provider that is named, and what it is asked with. */
const provider = (draft: RawConfig, report: Report, path: readonly string[], type: string): void => {
  const named = draft.text(...path, 'provider')
  if (named === undefined) return
  if (!draft.keys('oauth_providers').includes(named))
    report.key([...path, 'provider'], `is not in oauth_providers: ${printable(named)}`)
  if ((draft.text(...path, 'subject') ?? 'person') === 'person' && !issuesIdTokens(draft, named))
    report.key(
      [...path, 'provider'],
      `issues no ID tokens: set ${type === 'id_jag' ? '' : '`subject: access_token`, or '}another provider`,
    )
}

/** Who is asked for the token, and with what. */
const exchange = (draft: RawConfig, report: Report, path: readonly string[], type: string): void => {
  const subject = draft.text(...path, 'subject') ?? 'person'
  if (type === 'id_jag' && !draft.has(...path, 'issuer'))
    report.key([...path, 'type'], 'id_jag needs `issuer`: the ID-JAG is issued for that authorization server')
  if (type === 'id_jag' && subject === 'access_token')
    report.key([...path, 'subject'], 'access_token is for type: token_exchange')
  provider(draft, report, path, type)
  if (subject === 'file' || subject === 'env') {
    if (!draft.has(...path, 'idp', 'token_endpoint') || !draft.has(...path, 'idp', 'client_id'))
      report.key([...path, 'subject'], `${subject} needs idp.token_endpoint and idp.client_id`)
  } else if (draft.keys('oauth_providers').length === 0 && !draft.misspelt('oauth_providers'))
    report.fault(
      [...path, 'type'],
      `${type} needs oauth_providers: the token comes from the identity provider that users sign in with`,
    )
}

/** Whether each user has a token of their own. */
const isOfUser = (draft: RawConfig, path: readonly string[], type: string): boolean => {
  if (type === 'oauth' || type === 'idp_token') return true
  const subject = draft.text(...path, 'subject')
  return (type === 'id_jag' || type === 'token_exchange') && subject !== 'file' && subject !== 'env'
}

interface Registered {
  readonly id: string
  readonly server: string
  readonly redirectUri: string
}

/** The authorization server of the service, as far as the configuration names it. */
const serverOf = (draft: RawConfig, path: readonly string[]): string | undefined =>
  draft.text(...path, 'issuer') ?? URL.parse(draft.text(...path, 'token_endpoint') ?? '')?.origin

/** The redirect URI that the gateway uses for this authorization server where none is written. */
const ownRedirectUri = async (draft: RawConfig, server: string): Promise<string> =>
  `${draft.text('issuer') ?? '{issuer}'}${await callbackPathOf(server)}`

/** A client that was registered elsewhere must be registered with the redirect URI that will be used. */
const redirectUriAbsent = async (
  draft: RawConfig,
  report: Report,
  path: readonly string[],
  server: string | undefined,
): Promise<void> => {
  if (server === undefined || draft.text(...path, 'client_id') === undefined) return
  const own = await ownRedirectUri(draft, server)
  report.warn(
    [...path, 'client_id'],
    `uses the redirect URI ${own}: register it at ${server}. If another one is registered there, set redirect_uri to it`,
  )
}

/**
 * Where answers come to. One redirect URI for two authorization servers would let each be taken for the
 * other (RFC 9700 §4.4).
 */
const redirects = async (draft: RawConfig, report: Report): Promise<void> => {
  const before: Registered[] = []
  for (const id of draft.keys('mcp_services')) {
    const path = ['mcp_services', id, 'upstream_auth']
    if (unattended.has(draft.text(...path, 'type') ?? '')) continue
    const server = serverOf(draft, path)
    const redirectUri = draft.text(...path, 'redirect_uri')
    if (redirectUri === undefined) {
      await redirectUriAbsent(draft, report, path, server)
      continue
    }
    const client = draft.text(...path, 'client_id') ?? draft.text(...path, 'client_metadata_url')
    if (server === undefined || client === undefined) {
      report.warn(
        [...path, 'redirect_uri'],
        'has no effect without issuer and client_id (or client_metadata_url): a redirect URI belongs to one authorization server',
      )
      continue
    }
    if (!URL.parse(redirectUri)) continue
    const first = before.find((one) => shareCallback(one.redirectUri, redirectUri))
    if (first && !sameIssuer(first.server, server))
      report.warn(
        [...path, 'redirect_uri'],
        `is already used for ${first.server} (mcp_services.${first.id}), and each authorization server needs its own: register ${await ownRedirectUri(draft, server)} at ${server} and set it here`,
      )
    else before.push({ id, server, redirectUri })
  }
}

const upstreams: Rule = async (draft, report) => {
  await redirects(draft, report)
  for (const id of draft.keys('mcp_services')) {
    const path = ['mcp_services', id, 'upstream_auth']
    const type = draft.text(...path, 'type') ?? 'auto'
    belongs(draft, report, path, type)
    if (type === 'static') statics(draft, report, path)
    urls(draft, report, path)
    clientId(draft, report, path)
    endpoints(draft, report, path, type)
    clientCredential(draft, report, path, type)
    assertion(draft, report, path, type)
    if (type === 'id_jag' || type === 'token_exchange') exchange(draft, report, path, type)
    const open =
      draft.has('mcp_services', id, 'auth_required') && !draft.flag('mcp_services', id, 'auth_required')
    if (
      type === 'idp_token' &&
      draft.keys('oauth_providers').length === 0 &&
      !draft.misspelt('oauth_providers')
    )
      report.fault(
        [...path, 'type'],
        'idp_token needs oauth_providers: the token comes from the identity provider that users sign in with',
      )
    if (open && isOfUser(draft, path, type))
      report.fault(
        [...path, 'type'],
        `${type} needs \`auth_required: true\`: without sign-in there is no user to connect an account for`,
      )
  }
}

export const upstreamRules: readonly Rule[] = [upstreams]
