// What an identity provider is to the sign-in: somewhere to send the browser, and a person that comes back. And
// whether the operator's rules let that person in.
import type { ProviderConfig } from '../../config/schema.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { ProviderTokens } from '../../ports/modules.ts'
import type { Person } from '../../ports/people.ts'
import type { Runtime } from '../../ports/runtime.ts'

/** Secrets of one round trip; sealed in the store until the browser comes back. */
export interface RoundTripSecrets {
  readonly nonce: string
  /** PKCE code verifier (RFC 7636 §4.1). */
  readonly verifier: string
}

/** A rule of the operator that keeps a person out. */
export interface DeniedReason {
  /** For the operator's log. */
  readonly why: string
  /** For the person; tells no more than they need to choose another account. */
  readonly hint: string
  /** For the administrator to mend: groups, and what the provider does not say. */
  readonly forAdmin?: true
}

/** Who signed in, and the tokens that the provider issued for them. */
export interface AuthenticatedPerson {
  readonly person: Person
  /** The session at the provider (`sid`), which a logout token may name alone. */
  readonly session?: string | undefined
  readonly tokens: Omit<ProviderTokens, 'person'>
  /** Why the person may not come in, with what the provider said of them. */
  readonly denied?: DeniedReason | undefined
}

/** Tokens of a person who signed in before. Nobody has validated the ID token. */
export interface LaterTokens {
  readonly accessToken: string
  readonly idToken?: string | undefined
}

/** Throws `provider.untrusted` for another person than the one who signed in. */
export const samePerson = (subject: string, { subject: former }: Person): void => {
  if (subject !== former)
    throw new Refusal('provider.untrusted', 'the provider describes another user than the one who signed in')
}

/** What every provider is made of. */
export interface ProviderDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'outbound' | 'digest'>
  readonly id: string
  readonly settings: ProviderConfig
  /** Where the provider sends the browser back. */
  readonly redirectUri: string
}

export interface IdentityProvider {
  readonly id: string
  /** What the button says. */
  readonly name: string
  /**
   * The path at which alone its responses arrive, where it has one of its own: no other provider can pass on a
   * response as if it were this one's (RFC 9700 §4.4.2).
   */
  readonly callback?: string
  /**
   * Where to send the browser, and what must be kept until it returns. `state` is ours; nothing of the client
   * that asked for this sign-in is passed on. `retry`: the path by which the person tries again, for
   * refusals. Throws `provider.unreachable` or `provider.untrusted`.
   */
  begin(options: {
    readonly state: string
    readonly again?: 'login' | 'switch' | undefined
    readonly maxAge?: number | undefined
    readonly retry: string
  }): Promise<{ readonly url: string; readonly secrets: RoundTripSecrets }>
  /**
   * The person whom the provider authenticated. Throws `provider.denied`, `provider.unreachable` or
   * `provider.untrusted`.
   */
  finish(options: {
    readonly params: URLSearchParams
    readonly state: string
    readonly secrets: RoundTripSecrets
    readonly retry: string
  }): Promise<AuthenticatedPerson>
  /**
   * The person as the provider describes them by now. `tokens`: new ones, or those of the sign-in where it gave no
   * refresh token. Undefined: it takes the access token no more. Throws `provider.*`. Absent where nobody can be
   * asked.
   */
  profile?(tokens: LaterTokens, former: Person): Promise<Person | undefined>
  /**
   * The claims of a JWT for this gateway that the provider signed and that has not expired. Throws `provider.*`.
   * Absent where the provider signs none.
   */
  verify?(jwt: string, types: readonly string[]): Promise<Claims>
  /** Access tokens are good until they are revoked: one that is refused means that the user is gone. */
  readonly tokensLast?: true
  /** The person whom the form on the sign-in page names, where there is no server to go to. */
  direct?(form: { get(name: string): string | null | undefined }): Omit<AuthenticatedPerson, 'tokens'>
  /** Why this person may not come in; undefined when they may. */
  denied(person: Person): DeniedReason | undefined
}

type Rules = Partial<
  Pick<
    ProviderConfig,
    'type' | 'allowed_logins' | 'allowed_tenants' | 'allowed_emails' | 'allowed_domains' | 'allowed_groups'
  >
>

// Beyond ASCII, lower-casing maps different letters onto one (U+212A becomes k): such text equals only
// itself.
const folded = (text: string): string => (/^[\x21-\x7E]+$/.test(text) ? text.toLowerCase() : text)

/** Whether a list that the operator wrote admits this folded value; `*` admits everybody. */
const admits = (list: readonly string[] | undefined, value: string | undefined): boolean =>
  list === undefined ||
  list.some((entry) => entry === '*' || (value !== undefined && folded(entry) === value))

/**
 * A Google account with an address elsewhere. Google is no authority for such an address: whoever left the
 * organization keeps the account.
 */
const isPersonal = ({ email, tenant }: Person): boolean =>
  email !== undefined && tenant === undefined && !/@(?:gmail|googlemail)\.com$/i.test(email)

const noGroups = ({ groupsUnknown }: Person): string =>
  groupsUnknown
    ? 'the provider has groups of this user and did not send them: for Entra, send only groups assigned to the application, or application roles'
    : 'the provider sent none; see groups_claim'

const forAdmin = (is: boolean): Pick<DeniedReason, 'forAdmin'> => (is ? { forAdmin: true } : {})

const listed = 'Accounts on the administrator’s list.'

type Denial = DeniedReason | undefined

const denialByName = ({ login, tenant }: Person, rules: Rules): Denial => {
  if (!admits(rules.allowed_logins, login && folded(login)))
    return {
      why: `allowed_logins: ${login ?? 'the provider sent no username, which'} is not in it`,
      hint: listed,
    }
  if (!admits(rules.allowed_tenants, tenant && folded(tenant)))
    return {
      why: `allowed_tenants: ${tenant ?? 'the account belongs to no organization, which'} is not in it`,
      hint: 'Accounts of the organizations that the administrator allowed.',
    }
  return undefined
}

const denialByAddress = (person: Person, rules: Rules, unverified?: string): Denial => {
  const email = person.email === undefined ? undefined : folded(person.email)
  const why = (key: string): string =>
    person.email === undefined
      ? `${key}: ${unverified ?? 'the provider sent no email address'}`
      : `${key}: ${person.email} is not in it`
  if (!admits(rules.allowed_emails, email))
    return {
      why: why('allowed_emails'),
      hint: email === undefined ? 'Accounts with a verified email address.' : listed,
      ...forAdmin(email === undefined),
    }
  const domains = rules.allowed_domains
  if (!admits(domains, email?.slice(email.indexOf('@') + 1)))
    return {
      why: why('allowed_domains'),
      hint: `Accounts with a verified email address at ${domains?.join(', ')}.`,
      ...forAdmin(email === undefined),
    }
  if (rules.type === 'google' && domains && !domains.includes('*') && isPersonal(person))
    return {
      why: `allowed_domains: ${person.email} is a personal Google account, of no Google Workspace organization`,
      hint: `Google Workspace accounts at ${domains.join(', ')}.`,
    }
  return undefined
}

const denialByGroup = (person: Person, { allowed_groups: allowed }: Rules): Denial => {
  const { groups } = person
  if (!allowed || allowed.some((group) => group === '*' || groups.includes(group))) return undefined
  return {
    why: `allowed_groups: none of its groups (${groups.slice(0, 20).join(', ') || noGroups(person)}) is in it`,
    hint: 'Members of the groups that the administrator allowed.',
    forAdmin: true,
  }
}

/**
 * Why a person may not come in; undefined when they may. Every rule that is written must hold, and an empty
 * list admits nobody. `unverified`: why there is no address.
 */
export const denialOf = (person: Person, rules: Rules, unverified?: string): Denial =>
  denialByName(person, rules) ?? denialByAddress(person, rules, unverified) ?? denialByGroup(person, rules)

// What a provider says of a person, member by member: bounded, without control characters, and in one shape.

export type Claims = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is Claims =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const most = { text: 256, groups: 500, url: 2048 } as const

export const short = (value: unknown, length: number = most.text): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= length && !/\p{Cc}/u.test(value)
    ? value
    : undefined

/**
 * Plain addresses only: one `@`, no quotes, no space. What needs more to be read could be read in two ways.
 */
export const plainEmail = (value: unknown): string | undefined => {
  const email = short(value, 254)
  return email && /^[^@\s"(),:;<>[\\\]]+@[^@\s"(),:;<>[\\\]]+$/.test(email) ? email : undefined
}

const own = (value: unknown, name: string): unknown =>
  isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined

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

export const groupsOf = (value: unknown): readonly string[] => {
  const list = Array.isArray(value) ? value : [value]
  return [...new Set(list.map((entry) => short(entry)).filter((entry) => entry !== undefined))].slice(
    0,
    most.groups,
  )
}

export const httpsUrl = (value: unknown): string | undefined => {
  const url = short(value, most.url)
  return url && URL.canParse(url) && new URL(url).protocol === 'https:' ? url : undefined
}
