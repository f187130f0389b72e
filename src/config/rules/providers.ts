// Identity providers: where they are, what they are asked for, and whom they let in.
import { isLoopbackUrl } from '../../kit/addresses.ts'
import { type ProviderType, isOpenId, issuerOf, typeOf } from '../providers.ts'
import { type Path, printable } from '../tree.ts'
import type { RawConfig, Report, Rule } from './draft.ts'

const everybody = '*'

/**
 * Identity providers at which anybody in the world may make an account: to be let in by one of them says
 * nothing about a person.
 */
const openIssuers =
  /^https:\/\/(?:accounts\.google\.com|(?:login\.microsoftonline\.com|sts\.windows\.net)\/(?:common|consumers|organizations|9188040d-6c67-4c5b-b112-36a304b66dad)(?:\/.*)?|gitlab\.com|appleid\.apple\.com|www\.facebook\.com|(?:api\.)?login\.yahoo\.com|www\.linkedin\.com(?:\/oauth)?|id\.twitch\.tv\/oauth2|slack\.com|discord\.com|login\.salesforce\.com|access\.line\.me|www\.paypal\.com|bitbucket\.org|oauth\.telegram\.org|orcid\.org)\/?$/i

/** What decides type and issuer. What is at fault was meant all the same, and counts as written. */
const writtenIn = (draft: RawConfig, id: string) => {
  const text = (key: string): string | undefined => {
    const path = ['oauth_providers', id, key]
    return draft.has(...path) ? (draft.text(...path) ?? '') : undefined
  }
  return {
    type: text('type'),
    issuer: text('issuer'),
    authorization_url: text('authorization_url'),
    domain: text('domain'),
    tenant: text('tenant'),
    client_id: text('client_id'),
  }
}

export const typeIn = (draft: RawConfig, id: string): ProviderType => typeOf(id, writtenIn(draft, id))

/** Whether whoever has an account at the provider, and anybody can have one, gets in. */
const admitsEverybody = (draft: RawConfig, id: string): boolean => {
  const type = typeIn(draft, id)
  if (type === 'github') return !draft.has('oauth_providers', id, 'base_url')
  // Nobody but the operator knows who can make an account there.
  if (type === 'oauth2') return true
  // Said by a rule of its own.
  if (type === 'mock') return false
  const issuer = issuerOf(id, writtenIn(draft, id))
  return issuer !== undefined && openIssuers.test(URL.parse(issuer)?.href ?? '')
}

/** Whoever answers at this URL decides who users are. */
const providerUrl = (draft: RawConfig, report: Report, path: Path): void => {
  const written = draft.text(...path)
  const url = written === undefined ? undefined : URL.parse(written)
  if (written === undefined || !url) return
  if (/[?#]/.test(written) || url.username || url.password)
    report.fault(path, 'must not have a query, a fragment or a password')
  if (url.protocol === 'https:') return
  if (!isLoopbackUrl(written))
    report.fault(
      path,
      'must use https, because this server decides who users are. On a home network, use a certificate from your own CA: see docs/guide/production.md#on-a-home-network',
    )
  else if (!draft.loopback)
    report.fault(path, 'must use https: plain http on localhost is allowed only for a gateway on localhost')
}

const insteadOfIssuer: Readonly<Partial<Record<ProviderType, string>>> = {
  entra: ', or `tenant`',
  okta: ', or `domain`',
  auth0: ', or `domain`',
  'cloudflare-access': ', or `domain`',
}

const issuer = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['oauth_providers', id, 'issuer']
  if (draft.has(...path)) providerUrl(draft, report, path)
  else if (issuerOf(id, writtenIn(draft, id)) === undefined)
    report.key(
      ['oauth_providers', id],
      `needs \`issuer\`, the URL below which the provider publishes /.well-known/openid-configuration${insteadOfIssuer[typeIn(draft, id)] ?? '; only `google` works without one'}`,
    )
  for (const key of ['tenant', 'domain'])
    if (draft.has(...path) && draft.has('oauth_providers', id, key))
      report.key(['oauth_providers', id, key], 'cannot be combined with `issuer`: keep one of the two')
  if (typeIn(draft, id) === 'entra')
    for (const { value, path: at } of draft.texts('oauth_providers', id, 'allowed_tenants'))
      if (!/^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(value))
        report.fault(at, 'must be the ID of a tenant, e.g. "5c1a3b0e-8a7e-4a57-9f0e-0d8f0c1f2a3b"')
}

const oauth2Urls = ['authorization_url', 'token_url', 'userinfo_url']

const refreshKeys = ['profile_refresh', 'profile_refresh_grace', 'scim_token']
const openIdKeys = ['issuer', 'groups_claim', 'email_verified', ...refreshKeys]

/** Keys that mean something for one type of provider alone. */
const keysOfType: Readonly<Record<ProviderType, readonly string[]>> = {
  openid: openIdKeys,
  google: [...openIdKeys, 'allowed_tenants'],
  entra: [...openIdKeys, 'tenant', 'allowed_tenants'],
  okta: [...openIdKeys, 'domain'],
  auth0: [...openIdKeys, 'domain'],
  keycloak: openIdKeys,
  'cloudflare-access': [...openIdKeys, 'domain'],
  github: ['base_url', 'allowed_logins', ...refreshKeys],
  oauth2: [
    'issuer',
    'groups_claim',
    'email_verified',
    'allowed_logins',
    ...refreshKeys,
    ...oauth2Urls,
    'token_endpoint_auth_method',
    'claims',
  ],
  mock: ['allow_insecure_mock'],
}

const typeKeys = (draft: RawConfig, report: Report, id: string): void => {
  const type = typeIn(draft, id)
  const own = keysOfType[type]
  for (const key of new Set(Object.values(keysOfType).flat()))
    if (!own.includes(key) && draft.has('oauth_providers', id, key))
      report.key(
        ['oauth_providers', id, key],
        `has no meaning for a provider of type ${type}: remove it, or change \`type\``,
      )
}

/** Keys of a client at a server. */
const clientKeys = ['client_id', 'client_secret', 'scopes', 'extra_params', 'redirect_path']

/** Whoever reaches the gateway can be anybody. */
const mock = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['oauth_providers', id]
  for (const key of clientKeys)
    if (draft.has(...path, key))
      report.key([...path, key], 'has no meaning for a provider of type mock: remove it, or change `type`')
  if (draft.loopback || draft.flag(...path, 'allow_insecure_mock'))
    report.warn(path, 'is a mock: anyone who can reach this gateway can sign in as anyone')
  else
    report.key(
      path,
      'is a mock, with which anyone can sign in as anyone: it is allowed only for a gateway on localhost. If this is intended, set allow_insecure_mock: true',
    )
}

const oauth2 = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['oauth_providers', id]
  for (const key of ['issuer', ...oauth2Urls]) providerUrl(draft, report, [...path, key])
  const missing = oauth2Urls.filter((key) => !draft.has(...path, key))
  if (missing.length > 0) report.key(path, `needs ${missing.join(' and ')}, because its type is oauth2`)
  if (draft.has(...path, 'token_endpoint_auth_method') && !draft.has(...path, 'client_secret'))
    report.key([...path, 'token_endpoint_auth_method'], 'has no meaning without client_secret')
}

const openIdScopes = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['oauth_providers', id, 'scopes']
  const scopes = draft.texts(...path)
  if (scopes.length > 0 && !scopes.some(({ value }) => value === 'openid'))
    report.fault(path, 'must include "openid": without it the provider returns no ID token')
}

/** Scopes that were written, and do not tell what the allow lists need. */
const githubScopes = (draft: RawConfig, report: Report, id: string): void => {
  const path: Path = ['oauth_providers', id, 'scopes']
  const scopes = draft.texts(...path).map(({ value }) => value)
  const lacks = (keys: readonly string[], ...enough: readonly string[]): boolean =>
    scopes.length > 0 &&
    keys.some((key) => draft.has('oauth_providers', id, key)) &&
    !enough.some((scope) => scopes.includes(scope))
  if (lacks(['allowed_groups'], 'read:org', 'write:org', 'admin:org'))
    report.fault(path, 'must include "read:org": without it GitHub does not tell groups')
  if (lacks(['allowed_emails', 'allowed_domains'], 'user', 'user:email'))
    report.fault(path, 'must include "user:email": without it GitHub does not tell verified addresses')
}

const github = (draft: RawConfig, report: Report, id: string): void => {
  const at = (key: string): Path => ['oauth_providers', id, key]
  providerUrl(draft, report, at('base_url'))
  if (!/^(?:https?:\/\/[^/]*\/?)?$/i.test(draft.text(...at('base_url')) ?? ''))
    report.fault(at('base_url'), 'must have no path: GitHub Enterprise is the root of its host')
  if (!draft.has(...at('client_secret')))
    report.key(['oauth_providers', id], 'needs client_secret: GitHub has no public clients')
  githubScopes(draft, report, id)
  for (const { value, path } of draft.texts(...at('allowed_groups')))
    if (value !== value.toLowerCase())
      report.fault(path, 'must be in lower case: an organization (acme) or a team (acme/platform)')
  for (const { value, path } of draft.texts(...at('allowed_logins')))
    if (value !== everybody && !/^[a-z\d](?:[a-z\d_-]{0,98}[a-z\d])?$/i.test(value))
      report.fault(path, 'must be a GitHub username, without @, or "*" for everyone')
}

// What the sign-in itself sets (RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1).
const ownParameters = new Set([
  'response_type',
  'response_mode',
  'client_id',
  'client_secret',
  'redirect_uri',
  'scope',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'request',
  'request_uri',
])

const allowKeys = [
  'allowed_logins',
  'allowed_tenants',
  'allowed_emails',
  'allowed_domains',
  'allowed_groups',
] as const
/** Keys of a provider that decide who gets in; one level too deep they would only be sent along. */
const notParameters: ReadonlySet<string> = new Set([
  ...allowKeys,
  ...Object.values(keysOfType).flat(),
  'scopes',
])

/** Where the list to set is another one than for OpenID. */
const sentences: Readonly<Partial<Record<ProviderType, string>>> = {
  github:
    'lets anyone with an account there sign in to this public gateway: set allowed_logins (or ALLOWED_GITHUB_USERS), allowed_groups or allowed_domains. If this is intended, set allowed_logins: ["*"]',
  oauth2:
    'lets anyone with an account there sign in to this public gateway: set allowed_domains, allowed_emails, allowed_logins or allowed_groups. If this is intended, set allowed_emails: ["*"]',
}

const allowLists = (draft: RawConfig, report: Report, id: string): void => {
  for (const { value, path } of draft.texts('oauth_providers', id, 'allowed_emails')) {
    if (value !== everybody && !/^[^\s@*]+@[^\s@*]+$/.test(value))
      report.fault(
        path,
        'must be an email address, or "*" for everyone; list whole domains in allowed_domains',
      )
  }
  for (const { value, path } of draft.texts('oauth_providers', id, 'allowed_domains')) {
    if (value !== everybody && !/^[a-z\d-]+(\.[a-z\d-]+)+$/i.test(value))
      report.fault(path, 'must be a domain such as "example.com", without @, or "*" for any domain')
  }
  const listed = allowKeys.some((key) => draft.has('oauth_providers', id, key))
  if (!listed && !draft.loopback && admitsEverybody(draft, id)) {
    report.key(
      ['oauth_providers', id],
      sentences[typeIn(draft, id)] ??
        'lets anyone with an account there sign in to this public gateway: set allowed_domains, allowed_emails or allowed_groups. If this is intended, set allowed_emails: ["*"]',
    )
  }
}

/**
 * To believe any address that anybody wrote into an account of their own is to let everybody in as anybody.
 */
const trustedAddresses = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['oauth_providers', id, 'email_verified']
  if (draft.text(...path) !== 'trust' || !isOpenId(typeIn(draft, id)) || !admitsEverybody(draft, id)) return
  report.fault(
    path,
    'must not be "trust" for a provider that is open to anyone: users there can claim any email address',
  )
}

/** A subject is unique at its provider alone (OpenID Connect Core §5.7). */
const severalWaysIn: Rule = (draft, report) => {
  const ids = [
    ...draft.keys('oauth_providers'),
    ...(draft.positions('local_users').length > 0 ? ['local'] : []),
  ]
  const [first = '', second] = ids
  if (second === undefined) return
  report.warn(
    ['oauth_providers'],
    `has several sign-in methods (${ids.join(', ')}) whose user IDs may collide: servers receive provider:subject, for example ${first}:123456. To send the bare subject, set identity.headers`,
  )
}

const providers: Rule = (draft, report) => {
  for (const id of draft.keys('oauth_providers')) {
    const path = ['oauth_providers', id]
    typeKeys(draft, report, id)
    const type = typeIn(draft, id)
    if (type === 'mock') mock(draft, report, id)
    else if (!draft.has(...path, 'client_id')) report.key(path, 'needs client_id')
    if (type === 'github') github(draft, report, id)
    else if (type === 'oauth2') oauth2(draft, report, id)
    else if (isOpenId(type)) {
      issuer(draft, report, id)
      openIdScopes(draft, report, id)
    }
    for (const name of draft.keys(...path, 'extra_params')) {
      if (ownParameters.has(name))
        report.key([...path, 'extra_params', name], 'cannot be set: the gateway sets this parameter itself')
      else if (notParameters.has(name))
        report.key(
          [...path, 'extra_params', name],
          `is a provider setting, not a parameter: move it to oauth_providers.${id}.${name}`,
        )
    }
    allowLists(draft, report, id)
    trustedAddresses(draft, report, id)
  }
}

/** In the words of the gateway that had this limit. */
const oneProvider: Rule = (draft, report) => {
  const ids = draft.keys('oauth_providers')
  if (draft.flag('single_provider') && ids.length > 1)
    report.key(
      ['oauth_providers'],
      `Only one OAuth provider can be configured per gateway instance. Found ${ids.length} providers: [${ids.map((id) => `'${printable(id)}'`).join(', ')}]. Please configure only one provider due to OAuth 2.1 resource parameter constraints (single_provider: true)`,
    )
}

export const providerRules: readonly Rule[] = [providers, oneProvider, severalWaysIn]
