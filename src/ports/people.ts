// Who is calling: the words that sign-in, grants, policy and the proxy share.

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
  /** The provider has groups of this person and did not say which. */
  readonly groupsUnknown?: true
}

/** What a valid access token stands for at one resource. */
export interface Principal {
  readonly person: Person
  /** Provider and subject as one text (kit/records.ts), worked out once because every call asks for it. */
  readonly personKey: string
  readonly clientId: string
  /** The client's display name at the time of consent; untrusted text. */
  readonly clientName: string
  readonly grantId: string
  readonly scopes: readonly string[]
  /** Canonical resource URL the token is bound to (RFC 8707). */
  readonly resource: string
  /** Epoch ms. */
  readonly expiresAt: number
}
