// Identity providers by type: what need not be written of one, because its type or its ID says it.

export const providerTypes = [
  'openid',
  'google',
  'entra',
  'okta',
  'auth0',
  'keycloak',
  'cloudflare-access',
  'github',
  'oauth2',
  'mock',
] as const
/** Paths at which the gateway takes what a provider sends back; other gateways told people to register these. */
export const redirectPaths = [
  '/oauth/callback',
  '/callback',
  '/authorize/callback',
  '/oauth/callback/{provider}',
] as const

export type ProviderType = (typeof providerTypes)[number]

/** Whether a provider of this type is discovered and sends ID tokens (OpenID Connect). */
export const isOpenId = (type: ProviderType): boolean => !['github', 'oauth2', 'mock'].includes(type)

/** Members of a profile, under the names that providers of plain OAuth give them. The first that is there counts. */
export const claimNames = {
  subject: ['id', 'sub', 'user_id'],
  login: ['login', 'username', 'preferred_username'],
  name: ['name', 'display_name', 'username'],
  email: ['email'],
  email_verified: ['email_verified', 'verified_email'],
  avatar: ['avatar_url', 'picture', 'profile_image_url'],
} as const

interface Written {
  readonly name?: string | undefined
  readonly type?: string | undefined
  readonly issuer?: string | undefined
  readonly domain?: string | undefined
  readonly tenant?: string | undefined
  readonly client_id?: string | undefined
  readonly base_url?: string | undefined
  readonly authorization_url?: string | undefined
  readonly token_url?: string | undefined
  readonly userinfo_url?: string | undefined
  readonly scopes?: string[] | undefined
  readonly extra_params?: Readonly<Record<string, string>> | undefined
  readonly profile_refresh?: number | undefined
  readonly allowed_groups?: readonly string[] | undefined
  readonly claims?: Readonly<Partial<Record<keyof typeof claimNames, string | undefined>>> | undefined
}

/** What every provider has once the configuration is settled. */
interface SettledProvider {
  readonly type: ProviderType
  readonly issuer: string
  readonly client_id: string
  readonly scopes: string[]
  /** Seconds; 0 for never. */
  readonly profile_refresh: number
  /** For plain OAuth: where each member of the profile may be, in order. */
  readonly claim_paths?: Readonly<Record<keyof typeof claimNames, readonly string[]>>
}

/** Providers that are known by their host. */
const hosts: readonly (readonly [RegExp, ProviderType])[] = [
  [/^accounts\.google\.com$/, 'google'],
  [/^login\.microsoftonline\.(?:com|us)$/, 'entra'],
  [/\.okta(?:preview|-emea)?\.com$/, 'okta'],
  [/\.auth0\.com$/, 'auth0'],
  [/\.cloudflareaccess\.com$/, 'cloudflare-access'],
]

const typeOfIssuer = (issuer: string): ProviderType => {
  const host = URL.parse(issuer)?.hostname ?? ''
  return hosts.find(([known]) => known.test(host))?.[1] ?? 'openid'
}

/**
 * The type of a provider: as written, by its host, by the keys that only one type has, or by its ID. An
 * unknown text counts as `openid`.
 */
export const typeOf = (
  id: string,
  { type, issuer, authorization_url: url }: Pick<Written, 'type' | 'issuer' | 'authorization_url'>,
): ProviderType => {
  const known = providerTypes.find((one) => one === type)
  if (known !== undefined) return known
  if (issuer !== undefined) return typeOfIssuer(issuer)
  if (url !== undefined) return 'oauth2'
  return id === 'github' || id === 'google' ? id : 'openid'
}

/** The issuer of an OpenID provider: as written, or made of what its type needs instead. */
export const issuerOf = (id: string, written: Omit<Written, 'scopes' | 'claims'>): string | undefined => {
  const { issuer, domain, tenant, client_id: client } = written
  if (issuer !== undefined) return issuer
  const type = typeOf(id, written)
  if (type === 'google') return 'https://accounts.google.com'
  if (type === 'entra' && tenant !== undefined)
    return `https://login.microsoftonline.com/${encodeURIComponent(tenant)}/v2.0`
  if (domain === undefined) return undefined
  if (type === 'okta') return `https://${domain}`
  if (type === 'auth0') return `https://${domain}/`
  // Each application has an issuer of its own (Cloudflare Access for SaaS, OIDC).
  return type === 'cloudflare-access' && client !== undefined
    ? `https://${domain}/cdn-cgi/access/sso/oidc/${encodeURIComponent(client)}`
    : undefined
}

/** What stands for the issuer where there is no server (RFC 2606 §2). */
const noServer = 'https://mock.invalid'

const names: Readonly<Partial<Record<ProviderType, string>>> = {
  google: 'Google',
  entra: 'Microsoft',
  okta: 'Okta',
  auth0: 'Auth0',
  'cloudflare-access': 'Cloudflare Access',
  github: 'GitHub',
}

/** Types whose groups have a scope of their own. Okta’s own server knows it; other servers there may not. */
const groupScope = (type: ProviderType, issuer: string): boolean =>
  type === 'cloudflare-access' || (type === 'okta' && /^https?:\/\/[^/]+\/?$/.test(issuer))

const github = 'https://github.com'

/**
 * A refresh token that was not asked for ends with the user's session at the provider, in many of them after half
 * an hour: only one for offline access says by its end that somebody left. GitHub's access tokens do not expire.
 */
const refreshOf = (
  type: ProviderType,
  { profile_refresh: written, extra_params: params = {} }: Written,
  scopes: readonly string[],
): number => {
  const offline = scopes.includes('offline_access') || params['access_type'] === 'offline'
  return written ?? (type === 'github' || offline ? 900 : 0)
}

/** Whether a rule about access names groups, wherever it stands in this part of the configuration. */
const namesGroups = (value: unknown): boolean => {
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(value).some(
    ([key, below]) =>
      (key === 'groups' && typeof below === 'object' && below !== null && Object.keys(below).length > 0) ||
      namesGroups(below),
  )
}

interface GroupUsers {
  readonly access?: unknown
  readonly mcp_services: Readonly<
    Record<
      string,
      { readonly access?: unknown; readonly identity: { readonly headers: Readonly<Record<string, string>> } }
    >
  >
}

/** Whether access, or a header that the operator wrote, depends on the groups of people. */
export const usesGroups = ({ access, mcp_services: services }: GroupUsers): boolean =>
  namesGroups(access) ||
  Object.values(services).some(
    (service) =>
      namesGroups(service.access) ||
      Object.values(service.identity.headers).some((value) => value.includes('${groups}')),
  )

const settleGitHub = <Provider extends Written>(provider: Provider, groups: boolean) => ({
  ...provider,
  type: 'github' as const,
  name: provider.name ?? names.github,
  // The issuer that GitHub names in its metadata (RFC 8414 §2).
  issuer: `${(provider.base_url ?? github).replace(/\/$/, '')}/login/oauth`,
  profile_refresh: refreshOf('github', provider, []),
  scopes: provider.scopes ?? [
    'read:user',
    'user:email',
    ...(groups || provider.allowed_groups !== undefined ? ['read:org'] : []),
  ],
})

const settleOAuth2 = <Provider extends Written>(id: string, provider: Provider) => {
  const { authorization_url: authorization, token_url: token, userinfo_url: userinfo, claims } = provider
  if (authorization === undefined || token === undefined || userinfo === undefined)
    throw new RangeError(`oauth_providers.${id} needs authorization_url, token_url and userinfo_url`)
  const paths = (member: keyof typeof claimNames): readonly string[] => {
    const written = claims?.[member]
    return written === undefined ? claimNames[member] : [written]
  }
  return {
    ...provider,
    type: 'oauth2' as const,
    issuer: provider.issuer ?? new URL(token).origin,
    scopes: provider.scopes ?? [],
    profile_refresh: refreshOf('oauth2', provider, provider.scopes ?? []),
    claim_paths: {
      subject: paths('subject'),
      login: paths('login'),
      name: paths('name'),
      email: paths('email'),
      email_verified: paths('email_verified'),
      avatar: paths('avatar'),
    },
  }
}

/**
 * `groups`: whether access depends on groups. Throws RangeError for an OpenID provider without an issuer, and
 * for one of plain OAuth without its URLs.
 */
export const normalizeProvider = <Provider extends Written>(
  id: string,
  written: Provider,
  groups: boolean,
): Provider & SettledProvider => {
  const type = typeOf(id, written)
  const provider = { ...written, client_id: written.client_id ?? '' }
  if (type === 'mock')
    return {
      ...provider,
      type,
      name: written.name ?? 'any email address',
      issuer: noServer,
      scopes: [],
      profile_refresh: 0,
    }
  if (type === 'github') return settleGitHub(provider, groups)
  if (type === 'oauth2') return settleOAuth2(id, provider)
  const issuer = issuerOf(id, provider)
  if (issuer === undefined) throw new RangeError(`oauth_providers.${id} needs an issuer`)
  const name = provider.name ?? names[type]
  const asked = (groups || provider.allowed_groups !== undefined) && groupScope(type, issuer)
  const scopes = provider.scopes ?? ['openid', 'email', 'profile', ...(asked ? ['groups'] : [])]
  return {
    ...provider,
    type,
    ...(name === undefined ? {} : { name }),
    issuer,
    scopes,
    profile_refresh: refreshOf(type, written, scopes),
  }
}
