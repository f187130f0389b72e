// Identity providers by type: what need not be written of one, because its type or its ID says it.

export const providerTypes = ['openid', 'github'] as const
export type ProviderType = (typeof providerTypes)[number]

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
  readonly scopes?: string[] | undefined
  readonly allowed_groups?: readonly string[] | undefined
}

/** What every provider has once the configuration is settled. */
interface SettledProvider {
  readonly type: ProviderType
  readonly issuer: string
  readonly scopes: string[]
}

/** The type of a provider, as written or by its ID. An unknown text counts as `openid`. */
export const typeOf = (id: string, { type, issuer }: Pick<Written, 'type' | 'issuer'>): ProviderType =>
  providerTypes.find((known) => known === type) ??
  (id === 'github' && issuer === undefined ? 'github' : 'openid')

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

/** `groups`: whether access depends on groups. Throws RangeError for an OpenID provider without an issuer. */
export const normalizeProvider = <Provider extends Written>(
  id: string,
  provider: Provider,
  groups: boolean,
): Provider & SettledProvider => {
  const type = typeOf(id, provider)
  if (type === 'github') {
    const reading = groups || provider.allowed_groups !== undefined ? ['read:org'] : []
    return {
      ...provider,
      type,
      name: provider.name ?? 'GitHub',
      // The issuer that GitHub names in its metadata (RFC 8414 §2).
      issuer: `${(provider.base_url ?? github).replace(/\/$/, '')}/login/oauth`,
      scopes: provider.scopes ?? ['read:user', 'user:email', ...reading],
    }
  }
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
