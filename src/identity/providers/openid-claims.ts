// From the claims of an OpenID provider to a person, and whether the operator's rules let that person in.
import type { Config } from '../../config/schema.ts'
import type { Person } from '../../ports/people.ts'
import type { DeniedReason } from './provider.ts'

export type Claims = Readonly<Record<string, unknown>>
type Rules = Pick<Config['oauth_providers'][string], 'allowed_emails' | 'allowed_domains' | 'allowed_groups'>

/** What decides how the provider's word is read. */
export interface PersonSettings extends Pick<
  Config['oauth_providers'][string],
  'groups_claim' | 'email_verified'
> {
  readonly issuer: string
}

const most = { text: 256, groups: 500, url: 2048 } as const

const short = (value: unknown, length: number = most.text): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= length && !/\p{Cc}/u.test(value)
    ? value
    : undefined

/**
 * Plain addresses only: one `@`, no quotes, no space. What needs more to be read could be read in two ways.
 */
const plainEmail = (value: unknown): string | undefined => {
  const email = short(value, 254)
  return email && /^[^@\s"(),:;<>[\\\]]+@[^@\s"(),:;<>[\\\]]+$/.test(email) ? email : undefined
}

// Some providers send the boolean as text; nothing else means yes (OpenID Connect Core §5.1).
const verified = (claims: Claims): boolean =>
  claims['email_verified'] === true || claims['email_verified'] === 'true'

/** Microsoft's own word for it: the tenant has proven that the address's domain is its own. */
const ownedDomain = (claims: Claims): boolean => [true, 'true', 1, '1'].includes(claims['xms_edov'] as string)

/**
 * Microsoft Entra, one tenant by its id or domain: that tenant's administrators, and nobody else, give out
 * its addresses.
 */
const oneTenant =
  /^https:\/\/login\.microsoftonline\.com\/(?!(?:common|organizations|consumers|9188040d-6c67-4c5b-b112-36a304b66dad)(?:\/|$))[^/]+\/v2\.0\/?$/i

/**
 * Whether an address counts of which the provider does not say that it is verified: what is written, else
 * only where the provider is the authority for its addresses.
 */
const trusts = ({
  issuer,
  email_verified: written,
}: Pick<PersonSettings, 'issuer' | 'email_verified'>): boolean =>
  (written ?? (oneTenant.test(issuer) ? 'trust' : 'claim')) === 'trust'

/** When the provider says that an address is not verified, that is final. */
const counts = (claims: Claims, settings: Pick<PersonSettings, 'issuer' | 'email_verified'>): boolean => {
  if (verified(claims)) return true
  if (claims['email_verified'] !== undefined && claims['email_verified'] !== null) return false
  return trusts(settings) || (oneTenant.test(settings.issuer) && ownedDomain(claims))
}

const own = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, name)
    ? (value as Claims)[name]
    : undefined

/**
 * A claim by its name or by its path: `groups`, `cognito:groups`, `https://example.com/roles`,
 * `realm_access.roles`. A name may hold dots itself, so the longest name that is there comes first.
 */
export const claimAt = (value: unknown, path: string): unknown => {
  const whole = own(value, path)
  if (whole !== undefined) return whole
  for (let dot = path.lastIndexOf('.'); dot > 0; dot = path.lastIndexOf('.', dot - 1)) {
    const found = claimAt(own(value, path.slice(0, dot)), path.slice(dot + 1))
    if (found !== undefined) return found
  }
  return undefined
}

const groupsOf = (value: unknown): readonly string[] => {
  const list = Array.isArray(value) ? value : [value]
  return [...new Set(list.map((entry) => short(entry)).filter((entry) => entry !== undefined))].slice(
    0,
    most.groups,
  )
}

const httpsUrl = (value: unknown): string | undefined => {
  const url = short(value, most.url)
  return url && URL.canParse(url) && new URL(url).protocol === 'https:' ? url : undefined
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
export interface Unverified {
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
  const person = {
    provider,
    subject: sent.claims['sub'] as string,
    groups: groupsOf(groups),
    ...(login ? { login } : {}),
    ...(email ? { email } : {}),
    ...(name ? { name } : {}),
    ...(avatar ? { avatar } : {}),
  }
  return { person, ...(unverified && { unverified }) }
}

/** Why an address does not count, and what the operator may do about it. */
export const unverifiedWords = ({ email, said }: Unverified, provider: string): string =>
  `the provider does not say that ${email} is verified (email_verified ${said === undefined ? 'is absent' : `is ${JSON.stringify(said).slice(0, 40)}`}); ` +
  `if it gives out only addresses that it has checked, set oauth_providers.${provider}.email_verified: trust`

// Beyond ASCII, lower-casing maps different letters onto one (U+212A becomes k): such text equals only
// itself.
const folded = (text: string): string => (/^[\x21-\x7E]+$/.test(text) ? text.toLowerCase() : text)

/** Whether a list that the operator wrote admits this folded value; `*` admits everybody. */
const admits = (list: readonly string[] | undefined, value: string | undefined): boolean =>
  list === undefined ||
  list.some((entry) => entry === '*' || (value !== undefined && folded(entry) === value))

/**
 * Why a person may not come in; undefined when they may. Every rule that is written must hold, and an empty
 * list admits nobody. `unverified`: why there is no address.
 */
export const denialOf = (person: Person, rules: Rules, unverified?: string): DeniedReason | undefined => {
  const { groups } = person
  const email = person.email === undefined ? undefined : folded(person.email)
  const why = (key: string): string =>
    person.email === undefined
      ? `${key}: ${unverified ?? 'the provider sent no email address'}`
      : `${key}: ${person.email} is not in it`
  if (!admits(rules.allowed_emails, email))
    return {
      why: why('allowed_emails'),
      hint:
        email === undefined
          ? 'Accounts with a verified email address.'
          : 'Accounts on the administrator’s list.',
    }
  if (!admits(rules.allowed_domains, email?.slice(email.indexOf('@') + 1)))
    return {
      why: why('allowed_domains'),
      hint: `Accounts with a verified email address at ${rules.allowed_domains?.join(', ')}.`,
    }
  const allowed = rules.allowed_groups
  if (allowed && !allowed.some((group) => group === '*' || groups.includes(group)))
    return {
      why: `allowed_groups: none of its groups (${groups.slice(0, 20).join(', ') || 'the provider sent none; see groups_claim'}) is in it`,
      hint: 'Members of the groups that the administrator allowed.',
    }
  return undefined
}
