// What an identity provider is to the sign-in: somewhere to send the browser, and a person that comes back. And
// whether the operator's rules let that person in.
import type { ProviderConfig } from '../../config/schema.ts'
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
}

/** Who signed in, and the tokens that the provider issued for them. */
export interface AuthenticatedPerson {
  readonly person: Person
  readonly tokens: Omit<ProviderTokens, 'person'>
  /** Why the person may not come in, with what the provider said of them. */
  readonly denied?: DeniedReason | undefined
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
   * Where to send the browser, and what must be kept until it returns. `state` is ours; nothing of the client
   * that asked for this sign-in is passed on. `retry`: the path by which the person tries again, for
   * refusals. Throws `provider.unreachable` or `provider.untrusted`.
   */
  begin(options: {
    readonly state: string
    readonly again?: 'login' | 'switch' | undefined
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
  /** Why this person may not come in; undefined when they may. */
  denied(person: Person): DeniedReason | undefined
}

type Rules = Pick<ProviderConfig, 'allowed_logins' | 'allowed_emails' | 'allowed_domains' | 'allowed_groups'>

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
  if (!admits(rules.allowed_logins, person.login && folded(person.login)))
    return {
      why: `allowed_logins: ${person.login ?? 'the provider sent no username, which'} is not in it`,
      hint: 'Accounts on the administrator’s list.',
    }
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
