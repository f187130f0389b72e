// The requests of the token endpoint: a code, a refresh token or the gateway's own credentials for tokens,
// and their revocation. Answers are read in one form.
import { importPKCS8 } from 'jose'
import * as oauth from 'oauth4webapi'
import type { Secrets } from './accounts.ts'
import { type ClientRegistration, authenticationOf } from './client-registration.ts'
import type { FetchOptions } from './oauth-fetch.ts'
import { type Partner, scopeWords } from './upstream.ts'

/** Tokens as they came. */
export interface Granted {
  readonly access: string
  readonly refresh?: string
  /** Milliseconds; absent where the server did not say. */
  readonly lifetimeMs?: number
  /** Absent: those that were asked for (RFC 6749 §5.1). */
  readonly scopes?: readonly string[]
}

/** The party to the request: which server, as which client. */
export interface Party {
  readonly as: oauth.AuthorizationServer
  readonly registration: Pick<ClientRegistration, 'clientId' | 'method' | 'secret'>
  readonly upstream: Partner
  readonly resource: string | undefined
}

const algorithms = ['ES256', 'RS256', 'EdDSA', 'ES384'] as const

/**
 * The operator's key for private_key_jwt. Throws RangeError for what is no PKCS #8 key in PEM of a kind in
 * use.
 */
const keyOf = async (pem: string): Promise<CryptoKey> => {
  for (const algorithm of algorithms) {
    const key = await importPKCS8(pem, algorithm).catch(() => undefined)
    if (key) return key
  }
  throw new RangeError(
    'upstream_auth.private_key is no PKCS #8 private key (EC P-256, P-384, Ed25519 or RSA) in PEM',
  )
}

const clientOf = ({ registration }: Party): oauth.Client => ({
  client_id: registration.clientId,
  [oauth.clockTolerance]: 60,
})

const authentication = async ({ registration, upstream }: Party): Promise<oauth.ClientAuth> => {
  const { private_key: pem } = upstream.auth
  return authenticationOf(
    registration,
    registration.method === 'private_key_jwt' && pem !== undefined ? await keyOf(pem) : undefined,
  )
}

const read = (answer: oauth.TokenEndpointResponse): Granted => {
  // A token bound to a key that we do not have is none (RFC 9449 §5).
  if (answer.token_type !== 'bearer') throw new TypeError(`token_type ${answer.token_type.slice(0, 40)}`)
  const { access_token: access, refresh_token: refresh, expires_in: seconds, scope } = answer
  return {
    access,
    ...(refresh !== undefined && { refresh }),
    ...(seconds !== undefined && { lifetimeMs: seconds * 1000 }),
    ...(scope !== undefined && { scopes: scopeWords(scope) }),
  }
}

const resourceOf = ({ resource }: Party): Record<string, string> =>
  resource === undefined ? {} : { resource }

/** `answer`: parameters that the library validated. */
export const exchangeCode = async (
  party: Party,
  answer: URLSearchParams,
  redirectUri: string,
  verifier: string,
  through: FetchOptions,
): Promise<Granted> => {
  const { as } = party
  const client = clientOf(party)
  const response = await oauth.authorizationCodeGrantRequest(
    as,
    client,
    await authentication(party),
    answer,
    redirectUri,
    verifier,
    { ...through, additionalParameters: resourceOf(party) },
  )
  return read(await oauth.processAuthorizationCodeResponse(as, client, response))
}

export const exchangeRefresh = async (
  party: Party,
  refresh: string,
  through: FetchOptions,
): Promise<Granted> => {
  const { as } = party
  const client = clientOf(party)
  const response = await oauth.refreshTokenGrantRequest(as, client, await authentication(party), refresh, {
    ...through,
    additionalParameters: resourceOf(party),
  })
  return read(await oauth.processRefreshTokenResponse(as, client, response))
}

/** RFC 6749 §4.4: the gateway as itself. */
export const exchangeCredentials = async (
  party: Party,
  scopes: readonly string[] | undefined,
  through: FetchOptions,
): Promise<Granted> => {
  const { as } = party
  const client = clientOf(party)
  const parameters = { ...resourceOf(party), ...(scopes && { scope: scopes.join(' ') }) }
  const response = await oauth.clientCredentialsGrantRequest(
    as,
    client,
    await authentication(party),
    parameters,
    through,
  )
  const { refresh: _, ...granted } = read(await oauth.processClientCredentialsResponse(as, client, response))
  return granted
}

/** RFC 7009. Rejects when the server does not confirm it. */
export const revokeTokens = async (
  party: Party,
  { access, refresh }: Secrets,
  through: FetchOptions,
): Promise<void> => {
  const client = clientOf(party)
  const kinds = [
    ...(refresh === undefined ? [] : [[refresh, 'refresh_token'] as const]),
    [access, 'access_token'] as const,
  ]
  for (const [token, hint] of kinds) {
    const response = await oauth.revocationRequest(party.as, client, await authentication(party), token, {
      ...through,
      additionalParameters: { token_type_hint: hint },
    })
    await oauth.processRevocationResponse(response)
  }
}
