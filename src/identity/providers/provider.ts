// What an identity provider is to the sign-in: somewhere to send the browser, and a person that comes back.
import type { ProviderTokens } from '../../ports/modules.ts'
import type { Person } from '../../ports/people.ts'

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
