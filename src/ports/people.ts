// Who is calling, and what they have allowed: the words that sign-in, grants, policy and the proxy share.
import type { Permission } from '../kit/levels.ts'

/**
 * A person as an identity provider described them. The key is `provider:subject`; e-mail is never a key (two
 * accounts may share one).
 */
export interface Person {
  readonly provider: string
  /** The provider's stable subject, as sent (`sub`, or the local username). */
  readonly subject: string
  /** The name they log in with, where the provider has one. */
  readonly login?: string
  /** Present only when the provider says it is verified. */
  readonly email?: string
  /** Display name. */
  readonly name?: string
  /** https URL of a picture. */
  readonly avatar?: string
  /** The organization that the account belongs to, where the provider has several. */
  readonly tenant?: string
  readonly groups: readonly string[]
  /**
   * What of it the provider pushed (SCIM) and did not tell at the sign-in: those of the groups, and `groupsUnknown`
   * where it is `unclear` which user this is.
   */
  readonly provisioned?: { readonly groups: readonly string[]; readonly unclear?: true }
  /** The provider has groups of this person and did not say which. */
  readonly groupsUnknown?: true
}

/**
 * The person as they are known here: as they signed in last, or as the provider has pushed them; undefined for whom
 * nobody has seen.
 */
export type FindKnownPerson = (provider: string, subject: string) => Promise<Person | undefined>

/** What a person let an app do. */
export interface Consented {
  readonly level: Permission
  /** Tools that they unticked. */
  readonly excluded: readonly string[]
}

/** What a valid access token stands for at one resource. */
export interface Principal {
  readonly person: Person
  /** Provider and subject as one text (kit/records.ts), worked out once because every call asks for it. */
  readonly personKey: string
  readonly clientId: string
  /** The client's display name at the time of consent; untrusted text. */
  readonly clientName: string
  /** The host that the code of the grant went to, where that was https; empty where it went elsewhere. */
  readonly redirectHost?: string
  readonly grantId: string
  /** Who acts for the person, nearest first (RFC 8693 §4.1); absent where the client was given access by the person. */
  readonly actor?: readonly string[]
  /** ID of the flow that the grant came of (ports/flow-record.ts). */
  readonly flow?: string
  readonly scopes: readonly string[]
  /** What the person let the app do; absent of a grant that was made before the service had access rules. */
  readonly consented?: Consented
  /** The highest level that any token of this grant can have; absent where a person can be asked for more. */
  readonly most?: Permission
  /** Thumbprint of the key that the token is bound to (RFC 9449); absent: a bearer token. */
  readonly jkt?: string
  /** Canonical resource URL the token is bound to (RFC 8707). */
  readonly resource: string
  /** Epoch ms. */
  readonly expiresAt: number
}

/** Whom the process that received a call let in; the process that keeps the session asks whether that still holds. */
export interface Settled {
  /** Where they were let in. */
  readonly service: string
  readonly generation: string | undefined
  /** Undefined at a service without login. */
  readonly principal: Principal | undefined
}

// What people have allowed apps, and who may not be allowed anything.

/**
 * A user (key or verified e-mail address), a client or all clients of a domain, or those of a user. `domain`: the host
 * of a client's metadata document, or one above it.
 */
export interface BlockedParty {
  readonly user?: string
  readonly client?: string
  readonly domain?: string
}

/** `by`: who blocked them; `at`: epoch ms. */
export interface Block extends BlockedParty {
  /** ID of the grant that somebody blocked, where it was one. */
  readonly grant?: string
  readonly by: string
  readonly at: number
}

/** A grant, as administrators are told of it. Texts of clients are untrusted. */
export interface ListedGrant {
  readonly id: string
  readonly user: string
  readonly email?: string
  readonly client: string
  readonly client_name: string
  readonly client_kind: string
  readonly service?: string
  readonly resource: string
  readonly scopes: readonly string[]
  /** How it began: `code`, `device`, `client_credentials`, `exchange`, `personal` or `test`. */
  readonly kind: string
  /** Of an exchange: who acts for the user, nearest first. */
  readonly actor?: readonly string[]
  /** Empty where it began without a redirect. */
  readonly redirect_host: string
  readonly created_at: string
  readonly last_used_at?: string
  readonly last_used_from?: string
}

/** Accounts at MCP servers that a person connected. `services`: absent for all, and the tokens of their provider. */
export interface AccountsOf {
  readonly person: Pick<Person, 'provider' | 'subject'>
  readonly services?: readonly string[]
}

/** Accounts that were removed with the access of apps. */
export interface EndedAccounts {
  readonly accounts: number
  /** Whose tokens their authorization server revoked. */
  readonly revoked: number
  /** Not known yet: their authorization server has not answered. */
  readonly pending: number
  /** Services whose tokens stay good until they expire: nobody revokes them, or it failed. */
  readonly not_revoked: readonly string[]
}

/** What ended, or would; with accounts where their end was asked for. */
export interface Impact extends Partial<EndedAccounts> {
  readonly grants: number
  readonly users: number
  readonly clients: number
}

/** How many processes of the gateway there are, and how many of them have heard of an end, after so many ms. */
export interface Confirmation {
  readonly processes: number
  readonly applied: number
  readonly ms: number
}

/** Grants of this user (key or verified e-mail address), client, domain and service, as far as each is named. */
export interface GrantFilter {
  readonly user?: string | undefined
  readonly client?: string | undefined
  readonly domain?: string | undefined
  readonly service?: string | undefined
  /** Those of personal access tokens alone. */
  readonly tokens?: true
}

// Personal access tokens (oauth/personal-tokens.ts).

/** What somebody wants a token for. */
export interface WantedToken {
  /** Absent: a new one. The page sends the one that it was drawn with, so that a form sent twice makes one token. */
  readonly id?: string | undefined
  /** Untrusted text. */
  readonly name: string
  readonly services: readonly string[]
  /** Absent: the least, where access rules say what a tool needs. */
  readonly permission?: Permission | undefined
  /** Absent: `personal_tokens.default_lifetime`. */
  readonly lifetimeMs?: number | undefined
  readonly kind?: 'personal' | 'test'
}

/** A token as it is shown: never the token itself. */
export interface ListedToken {
  readonly id: string
  readonly name: string
  readonly user: string
  readonly kind: string
  readonly services: readonly string[]
  /** Absent where no access rules limit it. */
  readonly permission?: Permission
  /** Epoch ms. */
  readonly createdAt: number
  readonly expiresAt: number
  readonly lastUsedAt?: number
}

/** A browser that is signed in. */
export interface ListedSession {
  /** Not the secret: it names the session to administrators. */
  readonly id: string
  readonly user: string
  readonly email?: string
  /** Epoch ms. */
  readonly signedInAt: number
  /** Up to a minute old. */
  readonly seenAt: number
  /** When it ends without use. */
  readonly endsAt: number
}

/** An account of a user at an MCP server, or of the gateway itself. */
export interface ListedConnection {
  /** With `account`: what it is ended by. */
  readonly id: string
  /** What its user calls it. Untrusted text. */
  readonly account: string
  /** Key of the user, or `gateway`; absent: connected before it was kept, by somebody without access now. */
  readonly user?: string
  readonly service: string
  readonly issuer: string
  readonly scopes: readonly string[]
  /** Epoch ms. */
  readonly connectedAt: number
  /** When its tokens came. */
  readonly renewedAt: number
  /** Of the access token. */
  readonly expiresAt?: number
  /** Whether it is renewed without its user. */
  readonly renewable: boolean
  /** Calls are made with it, where a user has several. */
  readonly chosen: boolean
  /** `reconnect`: its user has to connect again; `expiring`: soon; `unused`: no service uses it. */
  readonly state: 'connected' | 'expiring' | 'reconnect' | 'unused'
  readonly why?: string
}

export interface ConnectionAdmin {
  /** Of the first 1000 users and services, renewed last first. `users`: keys that are known. */
  list(users: readonly string[]): Promise<{
    readonly connections: readonly ListedConnection[]
    readonly truncated: boolean
  }>
  /** Its tokens are revoked, where their server does that. Throws `request.malformed` when it is not there. */
  end(id: string, account: string, by: string): Promise<void>
  /**
   * A one-time link for an administrator, who connects an account for a service account (its key) there. Throws
   * `connection.unknown` and `person.unknown`.
   */
  link(service: string, owner: string): Promise<{ readonly url: string; readonly expiresAt: number }>
}

export interface SessionAdmin {
  /** Those of a user (key or verified e-mail address), or of the first 1000; the one that was used last first. */
  list(user?: string): Promise<{ readonly sessions: readonly ListedSession[]; readonly truncated: boolean }>
  /** Whose it was; undefined when there is none. */
  end(id: string): Promise<string | undefined>
}

/** A client that came by itself, and the service account that it acts as since an administrator said so. */
export interface BoundClient {
  readonly client: string
  /** ID of the service account. */
  readonly account: string
  readonly by: string
  /** Epoch ms. */
  readonly at: number
}

/** A client that registered itself with client_credentials, and acts as no service account yet. */
export interface UnboundClient {
  readonly client: string
  /** As the client calls itself. */
  readonly name: string
  /** How it authenticates. */
  readonly method: string
  /** Epoch ms at which it registered. */
  readonly at: number
}

export interface BoundClients {
  list(): Promise<readonly BoundClient[]>
  /**
   * The newest first. `truncated`: there are more, or more registrations than are looked through. Clients with a
   * metadata document are not among them: nothing of them is kept before they are bound.
   */
  unbound(): Promise<{ readonly clients: readonly UnboundClient[]; readonly truncated: boolean }>
  /** Throws `client.unknown`, `person.unknown` and `request.malformed` for what cannot be bound. */
  bind(client: string, account: string, by: string): Promise<BoundClient>
  /** Ends the grants that it has for itself, and resolves with how many. Throws `client.unknown`. */
  unbind(client: string, by: string): Promise<number>
}
