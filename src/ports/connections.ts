// What other rooms ask of the connections room: the credential of each call, and the upstream's own question as a step of a login.
import type { Standing } from './pages.ts'
import type { Person, Principal } from './people.ts'
import type { Session } from './rooms.ts'
import type { Visit } from './runtime.ts'
import type { Address, Service } from './services.ts'
import type { ClientAuthMethod } from './upstream-auth.ts'

/** What an upstream is shown instead of the caller's token: header fields as a flat list. */
export interface Credential {
  readonly headers: readonly string[]
}

/** An upstream's refusal of a call, and what it had been shown. */
export interface Rebuff {
  readonly address: Address
  readonly principal: Principal | undefined
  readonly shown: Credential | undefined
  readonly status: number
  /** Every WWW-Authenticate field of the answer. */
  readonly authenticate: readonly string[]
  /** The call was for a path below the endpoint: what is refused there says nothing of the endpoint. */
  readonly below: boolean
  /** There was a second try already. */
  readonly last: boolean
}

/** Asked by the proxy for every call. Nothing to show and nothing to wait for is answered at once, without a promise. */
export interface Credentials {
  /** Header names in lower case that only the gateway may send to this service. */
  names(service: Service): readonly string[]
  /** Rejects with `upstream.consent` (the person has to connect an account first) or `connection.unreachable` (no token can be had right now). */
  of(address: Address, principal: Principal | undefined): Credential | undefined | Promise<Credential | undefined>
  /**
   * Another credential, to be tried once. Undefined, at once: there is none, and the refusal is as it was. Rejects with `upstream.consent`, `upstream.scope`,
   * `connection.unreachable` or `upstream.credential`.
   */
  after(rebuff: Rebuff): Promise<Credential> | undefined
}

/** What the consent page announces: after Allow, this host asks the person too. */
export interface UpstreamStep {
  readonly host: string
}

/** The upstream's own question, as a step of a login. */
export interface ConnectStep {
  /** Undefined: nothing to connect, or connected already, or it cannot be found out right now. Never rejects. */
  ahead(address: Address, person: Person): Promise<UpstreamStep | undefined>
  /** Undefined where no account is asked for, as far as is known; nobody is asked. */
  standing(service: Service, person: Person): Promise<Standing | undefined>
  /** Sends the browser there; it comes back to `returnTo`, a path of this gateway. Only after the person agreed. Throws `upstream.*`. */
  begin(to: { readonly address: Address; readonly session: Session; readonly returnTo: string; readonly visit: Visit }): Promise<Response>
}

/** What an identity provider gave when somebody signed in, for services that are shown its access token. */
export interface ProviderTokens {
  readonly provider: string
  readonly person: Person
  readonly issuer: string
  readonly tokenEndpoint: string
  readonly clientId: string
  readonly method: ClientAuthMethod
  readonly accessToken: string
  readonly refreshToken?: string | undefined
  /** Seconds, as the provider said. */
  readonly expiresIn?: number | undefined
  readonly scope?: string | undefined
}

/** Keeps them, sealed, for as long as the person does not sign in anew. */
export type KeepTokens = (tokens: ProviderTokens) => Promise<void>
