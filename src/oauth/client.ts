// A client as the authorization server knows it, wherever that knowledge comes from: the configuration, a metadata document or a registration.
import type { JSONWebKeySet } from 'jose'
import type { ClientKind, ClientView } from '../ports/pages.ts'

/** How a client proves who it is at the token endpoint (RFC 7591 §2, OIDC Core §9). */
export const authMethods = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const
export type AuthMethod = (typeof authMethods)[number]

export const grantTypes = ['authorization_code', 'refresh_token'] as const
export type GrantType = (typeof grantTypes)[number]

export interface Client {
  readonly id: string
  /** Untrusted text unless the kind is `registered`. */
  readonly name: string
  readonly kind: ClientKind
  /** Host of the metadata document. */
  readonly host?: string
  readonly redirectUris: readonly string[]
  readonly authMethod: AuthMethod
  readonly grantTypes: readonly GrantType[]
  /** SHA-256 of the secret, base64url. */
  readonly secretDigest?: string
  readonly jwks?: JSONWebKeySet
  readonly jwksUri?: string
  /** Changes whenever what the client says of itself changes; a remembered consent holds for one digest only. */
  readonly digest: () => string
}

/** The legs differ in what a client's absence means: a page for the person, or a 401 that makes the client register again. */
export type Leg = 'authorize' | 'token'

export const clientView = (client: Client): ClientView => ({ id: client.id, name: client.name, kind: client.kind, ...(client.host === undefined ? {} : { host: client.host }) })

/**
 * Whether a grant of this client gets a refresh token (MCP authorization, "Refresh Tokens"): when it registered the grant type, or asked for offline_access.
 * A client that says nothing of grant types gets one too: the default of RFC 7591 §2 (authorization_code alone) would send its people to the browser every hour.
 */
export const mayRefresh = (client: Client, scopes: readonly string[]): boolean => client.grantTypes.includes('refresh_token') || scopes.includes('offline_access')

/** A client as an authorization request met it: what its person is shown, and by what a change since then is seen. */
export interface ClientSnapshot extends ClientView {
  /** Whether its grants get a refresh token. */
  readonly refreshable: boolean
  /** Whether it proves who it is at the token endpoint. */
  readonly proves: boolean
  readonly digest: string
}

export const snapshotOf = async (client: Client, scopes: readonly string[]): Promise<ClientSnapshot> => ({
  ...clientView(client),
  refreshable: mayRefresh(client, scopes),
  proves: client.authMethod !== 'none',
  digest: client.digest(),
})
