// The person whom the claims of an OpenID provider describe, with what is particular to some of them.
import type { ProviderConfig } from '../../config/schema.ts'
import { decodeBase64url, utf8Text } from '../../kit/bytes.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Person } from '../../ports/people.ts'
import { type Claims, claimAt, groupsOf, httpsUrl, isObject, plainEmail, short } from './provider.ts'

/** What decides how the provider's word is read. */
type PersonSettings = Pick<ProviderConfig, 'type' | 'groups_claim' | 'email_verified' | 'issuer'>

// Some providers send the boolean as text; nothing else means yes (OpenID Connect Core §5.1).
const verified = (claims: Claims): boolean =>
  claims['email_verified'] === true || claims['email_verified'] === 'true'

/** Microsoft's own word for it: the tenant has proven that the address's domain is its own. */
const ownedDomain = (claims: Claims): boolean => [true, 'true', 1, '1'].includes(claims['xms_edov'] as string)

const manyTenants = /^\/(?:common|organizations|consumers|9188040d-6c67-4c5b-b112-36a304b66dad)(?:\/|$)/i

/** Microsoft Entra, one tenant by its id or domain. */
const isOneTenant = ({ type, issuer }: PersonSettings): boolean =>
  type === 'entra' && !manyTenants.test(new URL(issuer).pathname)

/**
 * Someone of another organization. Microsoft names where guests sign in (`idp`), marks them (`acct` 1), or gives
 * them a name that no member has; the address is then the other organization’s word.
 */
const isGuest = (claims: Claims): boolean =>
  (claims['idp'] !== undefined && claims['idp'] !== claims['iss']) ||
  [1, '1'].includes(claims['acct'] as string) ||
  (typeof claims['preferred_username'] === 'string' && claims['preferred_username'].includes('#EXT#'))

/**
 * Whether an address counts of which the provider does not say that it is verified: what is written, else
 * only where the provider is the authority for its addresses. A tenant's administrators, and nobody else, give
 * out its members' addresses; Cloudflare Access decides by the address itself who gets through.
 */
const trusts = (claims: Claims, settings: PersonSettings): boolean => {
  if (settings.email_verified !== undefined) return settings.email_verified === 'trust'
  return settings.type === 'cloudflare-access' || (isOneTenant(settings) && !isGuest(claims))
}

/** When the provider says that an address is not verified, that is final. */
const counts = (claims: Claims, settings: PersonSettings): boolean => {
  if (verified(claims)) return true
  if (claims['email_verified'] !== undefined && claims['email_verified'] !== null) return false
  return trusts(claims, settings) || (isOneTenant(settings) && ownedDomain(claims))
}

/** What the provider said: in the signed token, and in userinfo where that was asked. */
export interface TokenClaims {
  readonly claims: Claims
  readonly userinfo?: Claims
}

/** Whether the signed token alone says all that is asked of a person. */
export const isEnough = (claims: Claims, settings: PersonSettings): boolean => {
  const addressed =
    claims['email'] !== undefined && (claims['email_verified'] !== undefined || counts(claims, settings))
  return addressed && claimAt(claims, settings.groups_claim) !== undefined
}

/** An address that does not count, and what the provider says of it. */
interface Unverified {
  readonly email: string
  readonly said: unknown
}

/**
 * The address with the word that it is verified, both from one source: never one from each. The signed token
 * wins.
 */
const addressOf = (
  { claims, userinfo = {} }: TokenClaims,
  settings: PersonSettings,
): { readonly email?: string; readonly unverified?: Unverified } => {
  const complete =
    claims['email'] !== undefined && (claims['email_verified'] !== undefined || counts(claims, settings))
  const source = complete || userinfo['email'] === undefined ? claims : userinfo
  const email = plainEmail(source['email'])
  if (email === undefined) return {}
  return counts(source, settings) ? { email } : { unverified: { email, said: source['email_verified'] } }
}

/** A claim that was too large for the token is named, and kept elsewhere (OpenID Connect Core §5.6.2). */
const isElsewhere = (claims: Readonly<Record<string, unknown>>, claim: string): boolean => {
  const { _claim_names: names } = claims
  return typeof names === 'object' && names !== null && Object.hasOwn(names, claim)
}

/** Google says the organization of an account, Microsoft the tenant. */
const hasTenants = (type: ProviderConfig['type']): boolean => type === 'google' || type === 'entra'

/**
 * `claims` as validated by the caller; `sub` is checked there (OpenID Connect Core §5.7: issuer and `sub` are
 * the only key).
 */
export const personFrom = (
  sent: TokenClaims,
  provider: string,
  settings: PersonSettings,
): { readonly person: Person; readonly unverified?: Unverified } => {
  const all = { ...sent.userinfo, ...sent.claims }
  const { email, unverified } = addressOf(sent, settings)
  const login = short(all['preferred_username'])
  const name = short(all['name'])
  const avatar = httpsUrl(all['picture'])
  const groups = claimAt(sent.claims, settings.groups_claim) ?? claimAt(sent.userinfo, settings.groups_claim)
  const tenant = short(sent.claims[settings.type === 'google' ? 'hd' : 'tid'])
  const person = {
    provider,
    subject: sent.claims['sub'] as string,
    groups: groupsOf(groups),
    ...(groups === undefined && isElsewhere(all, settings.groups_claim)
      ? { groupsUnknown: true as const }
      : {}),
    ...(hasTenants(settings.type) && tenant ? { tenant } : {}),
    ...(login ? { login } : {}),
    ...(email ? { email } : {}),
    ...(name ? { name } : {}),
    ...(avatar ? { avatar } : {}),
  }
  return { person, ...(unverified && { unverified }) }
}

/**
 * The person as the provider describes them later. Without a new ID token, what userinfo does not say stays as it
 * was, and an address counts only if it is the same or said to be verified: userinfo does not tell a guest.
 */
export const personAgain = (
  { claims, userinfo }: Partial<TokenClaims>,
  former: Person,
  settings: PersonSettings,
): Person => {
  if (claims) return personFrom({ claims, ...(userinfo && { userinfo }) }, former.provider, settings).person
  if (!userinfo) return former
  const { groups, groupsUnknown, email, ...said } = personFrom(
    { claims: userinfo },
    former.provider,
    settings,
  ).person
  const { email: known, groupsUnknown: unknown, ...kept } = former
  const address =
    userinfo['email'] === undefined ? known : email === known || verified(userinfo) ? email : undefined
  const told = claimAt(userinfo, settings.groups_claim) !== undefined || groupsUnknown
  const incomplete = told ? groupsUnknown : unknown
  return {
    ...kept,
    ...said,
    groups: told ? groups : former.groups,
    ...(address === undefined ? {} : { email: address }),
    ...(incomplete && { groupsUnknown: incomplete }),
  }
}

/** Why an address does not count, and what the operator may do about it. */
export const unverifiedWords = ({ email, said }: Unverified, provider: string): string =>
  `the provider does not say that ${email} is verified (email_verified ${said === undefined ? 'is absent' : `is ${JSON.stringify(said).slice(0, 40)}`}); ` +
  `if it gives out only addresses that it has checked, set oauth_providers.${provider}.email_verified: trust`

const template = '{tenantid}'
const tenantId = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i

/** The tenant of a token that nobody has checked yet. */
const tenantIn = (token: unknown): string | undefined => {
  const payload = typeof token === 'string' ? token.split('.')[1] : undefined
  const bytes = payload === undefined ? undefined : decodeBase64url(payload)
  try {
    const claims: unknown = bytes && JSON.parse(utf8Text(bytes))
    const tenant = isObject(claims) ? claims['tid'] : undefined
    return typeof tenant === 'string' && tenantId.test(tenant) ? tenant : undefined
  } catch {
    return undefined
  }
}

/**
 * The issuer that a token must name. Where Microsoft serves every tenant, its metadata has a place for the
 * tenant's ID: the token must be of the tenant that it says it is of. Throws `provider.untrusted`.
 */
export const tenantIssuer = async (
  issuer: string,
  response: Response,
  { type }: Pick<ProviderConfig, 'type'>,
): Promise<string> => {
  if (type !== 'entra' || !issuer.includes(template)) return issuer
  const answer: unknown = await response
    .clone()
    .json()
    .catch(() => undefined)
  return issuerFor(issuer, isObject(answer) ? tenantIn(answer['id_token']) : undefined, { type })
}

/** The same for a token whose tenant is known. Throws `provider.untrusted` where it names none. */
export const issuerFor = (
  issuer: string,
  tenant: unknown,
  { type }: Pick<ProviderConfig, 'type'>,
): string => {
  if (type !== 'entra' || !issuer.includes(template)) return issuer
  if (typeof tenant !== 'string' || !tenantId.test(tenant))
    throw new Refusal('provider.untrusted', 'the token names no tenant (tid)')
  return issuer.replace(template, tenant)
}

/**
 * Whether the issuer that Microsoft publishes is the one that was configured: a tenant that was named by its
 * domain is published by its ID, and every tenant as the template.
 */
export const isTenantOf = (published: string, configured: string): boolean => {
  const [one, other] = [URL.parse(published), URL.parse(configured)]
  const [, tenant = '', version] = decodeURIComponent(one?.pathname ?? '').split('/')
  if (one?.origin !== other?.origin || version !== 'v2.0') return false
  return manyTenants.test(other?.pathname ?? '')
    ? tenant === template
    : tenantId.test(tenant) && !tenantId.test((other?.pathname ?? '').split('/')[1] ?? '')
}
