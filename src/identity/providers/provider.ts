// What an identity provider is to the sign-in: somewhere to send the browser, and a person that comes back.
import type { ProviderTokens } from '../../ports/modules.ts'
import type { Person } from '../../ports/people.ts'

/** Secrets of one round trip; sealed in the store until the browser comes back. */
export interface RoundTrip {
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

/** Whom a provider vouches for, and what it gave us to speak to others in that person's name. */
export interface AuthenticatedPerson {
  readonly person: Person
  readonly tokens: Omit<ProviderTokens, 'person'>
  /** What keeps the person out, said with what the provider told of them. */
  readonly bar?: DeniedReason | undefined
}

export interface IdentityProvider {
  readonly id: string
  /** What the button says. */
  readonly name: string
  /**
   * Where to send the browser, and what must be kept until it returns. `state` is ours; nothing of the client that waits behind this sign-in is passed on.
   * `retry`: the path by which the person tries again, for refusals. Throws `provider.unreachable` or `provider.untrusted`.
   */
  begin(options: {
    readonly state: string
    readonly again?: 'login' | 'switch' | undefined
    readonly retry: string
  }): Promise<{ readonly url: string; readonly trip: RoundTrip }>
  /** The person that the provider vouches for. Throws `provider.denied`, `provider.unreachable` or `provider.untrusted`. */
  finish(options: {
    readonly answer: URLSearchParams
    readonly state: string
    readonly trip: RoundTrip
    readonly retry: string
  }): Promise<AuthenticatedPerson>
  /** What keeps this person out; undefined when nothing does. */
  bars(person: Person): DeniedReason | undefined
}
