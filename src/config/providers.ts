// Identity providers by type: what need not be written of one, because its type or its ID says it.

export const providerTypes = ['openid', 'github', 'oauth2'] as const
export type ProviderType = (typeof providerTypes)[number]

/** Members of a profile, under the names that providers of plain OAuth give them. The first that is there counts. */
export const claimNames = {
  subject: ['id', 'sub', 'user_id'],
  login: ['login', 'username', 'preferred_username'],
  name: ['name', 'display_name', 'username'],
  email: ['email'],
  email_verified: ['email_verified', 'verified_email'],
  avatar: ['avatar_url', 'picture', 'profile_image_url'],
} as const

/** OpenID providers whose issuer need not be written down. */
const knownIssuers: Readonly<Record<string, { readonly issuer: string; readonly name: string }>> = {
  google: { issuer: 'https://accounts.google.com', name: 'Google' },
}

const knownOf = (id: string) => (Object.hasOwn(knownIssuers, id) ? knownIssuers[id] : undefined)

interface Written {
  readonly name?: string | undefined
  readonly type?: string | undefined
  readonly issuer?: string | undefined
  readonly base_url?: string | undefined
  readonly authorization_url?: string | undefined
  readonly token_url?: string | undefined
  readonly userinfo_url?: string | undefined
  readonly scopes?: string[] | undefined
  readonly allowed_groups?: readonly string[] | undefined
  readonly claims?: Readonly<Partial<Record<keyof typeof claimNames, string | undefined>>> | undefined
}

/** What every provider has once the configuration is settled. */
interface SettledProvider {
  readonly type: ProviderType
  readonly issuer: string
  readonly scopes: string[]
  /** For plain OAuth: where each member of the profile may be, in order. */
  readonly claim_paths?: Readonly<Record<keyof typeof claimNames, readonly string[]>>
}

/** The type of a provider, as written or by its ID. An unknown text counts as `openid`. */
export const typeOf = (
  id: string,
  { type, issuer, authorization_url: url }: Pick<Written, 'type' | 'issuer' | 'authorization_url'>,
): ProviderType => {
  const known = providerTypes.find((one) => one === type)
  if (known !== undefined || issuer !== undefined) return known ?? 'openid'
  if (url !== undefined) return 'oauth2'
  return id === 'github' ? 'github' : 'openid'
}

/** The issuer of an OpenID provider as it was written, or of the provider that is known by this ID. */
export const issuerOf = (id: string, written: string | undefined): string | undefined =>
  written ?? knownOf(id)?.issuer

const github = 'https://github.com'

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
  name: provider.name ?? 'GitHub',
  // The issuer that GitHub names in its metadata (RFC 8414 §2).
  issuer: `${(provider.base_url ?? github).replace(/\/$/, '')}/login/oauth`,
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
  provider: Provider,
  groups: boolean,
): Provider & SettledProvider => {
  const type = typeOf(id, provider)
  if (type === 'github') return settleGitHub(provider, groups)
  if (type === 'oauth2') return settleOAuth2(id, provider)
  const issuer = issuerOf(id, provider.issuer)
  if (issuer === undefined) throw new RangeError(`oauth_providers.${id} needs an issuer`)
  const name = provider.name ?? knownOf(id)?.name
  return {
    ...provider,
    type,
    ...(name === undefined ? {} : { name }),
    issuer,
    scopes: provider.scopes ?? ['openid', 'email', 'profile'],
  }
}
