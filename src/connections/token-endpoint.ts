// The requests of the token endpoint: a code, a refresh token or the gateway's own credentials for tokens,
// and their revocation. Answers are read in one form.
import { scopeWords } from '../kit/discovery.ts'
import { importPKCS8 } from 'jose'
import * as oauth from 'oauth4webapi'
import { Refusal } from '../kit/refusal.ts'
import { sameIssuer } from '../kit/urls.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { RequestTokens } from './access-tokens.ts'
import { type Account, type Granted, type Secrets, serviceOf } from './accounts.ts'
import type { ClientRegistration, ClientRegistrations } from './client-registration.ts'
import type { Proofs } from './dpop.ts'
import { type FetchOptions, type Partner, createGuardedFetch, errorOf } from './upstream.ts'

/** The party to the request: which server, as which client. */
export interface Party {
  readonly as: oauth.AuthorizationServer
  readonly registration: Pick<ClientRegistration, 'clientId' | 'method' | 'secret'>
  readonly upstream: Partner
  readonly resource: string | undefined
  /** Whether requests carry a proof of a key, which a token may be bound to. */
  readonly proven?: boolean
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
  // The library wants one. A platform's assertion may be all that the gateway is known by; then none is sent.
  client_id: registration.clientId || 'none',
  [oauth.clockTolerance]: 60,
})

/**
 * RFC 6749 §2.3.1 and appendix B, escaping no more than a form does: servers that forget to decode still
 * understand most names.
 */
const formEncoded = (text: string): string => new URLSearchParams([['', text]]).toString().slice(1)
const basic =
  (secret: string): oauth.ClientAuth =>
  (_as, { client_id: id }, _body, headers) =>
    headers.set('authorization', `Basic ${btoa(`${formEncoded(id)}:${formEncoded(secret)}`)}`)

const authentication = async ({ registration, upstream }: Party): Promise<oauth.ClientAuth> => {
  const { method, secret = '' } = registration
  switch (method) {
    case 'client_secret_basic':
      return basic(secret)
    case 'client_secret_post':
      return oauth.ClientSecretPost(secret)
    case 'private_key_jwt': {
      const { private_key: pem } = upstream.auth
      if (pem === undefined) throw new Refusal('fault', 'private_key_jwt without a key')
      return oauth.PrivateKeyJwt(await keyOf(pem))
    }
    case 'none':
      return registration.clientId === '' ? () => undefined : oauth.None()
  }
}

export const readAnswer = ({ upstream, proven }: Party, answer: oauth.TokenEndpointResponse): Granted => {
  const bound = answer.token_type === 'dpop'
  // A token bound to a key that we do not have is none (RFC 9449 §5).
  if (bound ? !proven : answer.token_type !== 'bearer')
    throw new TypeError(`token_type ${answer.token_type.slice(0, 40)}`)
  if (!bound && upstream.auth.dpop === 'required')
    throw new Refusal(
      'connection.untrusted',
      'the token is not bound to a key, which upstream_auth.dpop requires',
    )
  const { access_token: access, refresh_token: refresh, expires_in: seconds, scope } = answer
  const { id_token_aside: idToken } = answer
  return {
    access,
    ...(refresh !== undefined && { refresh }),
    ...(seconds !== undefined && { lifetimeMs: seconds * 1000 }),
    ...(scope !== undefined && { scopes: scopeWords(scope) }),
    ...(typeof idToken === 'string' && { idToken }),
    ...(bound && { bound }),
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
  return readAnswer(party, await oauth.processAuthorizationCodeResponse(as, client, response))
}

const exchangeRefresh = async (
  party: Party,
  refresh: string,
  through: FetchOptions,
  more: Readonly<Record<string, string>>,
): Promise<Granted> => {
  const { as } = party
  const client = clientOf(party)
  const response = await oauth.refreshTokenGrantRequest(as, client, await authentication(party), refresh, {
    ...through,
    additionalParameters: { ...resourceOf(party), ...more },
  })
  return readAnswer(party, await oauth.processRefreshTokenResponse(as, client, response))
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
  const { refresh: _, ...granted } = readAnswer(
    party,
    await oauth.processClientCredentialsResponse(as, client, response),
  )
  return granted
}

const requestAnswer = async (
  party: Party,
  grant: string,
  parameters: Readonly<Record<string, string>>,
  through: FetchOptions,
): Promise<oauth.TokenEndpointResponse> => {
  const client = clientOf(party)
  const response = await oauth.genericTokenEndpointRequest(
    party.as,
    client,
    await authentication(party),
    `urn:ietf:params:oauth:grant-type:${grant}`,
    parameters,
    through,
  )
  return oauth.processGenericTokenEndpointResponse(party.as, client, response, {
    // RFC 8693 §2.2.1: what was issued is no access token.
    recognizedTokenTypes: { n_a: () => undefined },
  })
}

/** RFC 7523 §2.1: a JWT of somebody else says who the gateway is, or whom it acts for. */
export const exchangeAssertion = async (
  party: Party,
  assertion: string,
  scopes: readonly string[] | undefined,
  through: FetchOptions,
): Promise<Granted> => {
  const parameters = { assertion, ...resourceOf(party), ...(scopes && { scope: scopes.join(' ') }) }
  const { refresh: _, ...granted } = readAnswer(
    party,
    await requestAnswer(party, 'jwt-bearer', parameters, through),
  )
  return granted
}

/** RFC 8693 §2.1. `issuedType`: as the answer says it. */
export const exchangeToken = async (
  party: Party,
  parameters: Readonly<Record<string, string>>,
  through: FetchOptions,
): Promise<{ readonly answer: oauth.TokenEndpointResponse; readonly issuedType: unknown }> => {
  const answer = await requestAnswer(party, 'token-exchange', parameters, through)
  return { answer, issuedType: answer['issued_token_type'] }
}

/** RFC 7009. Rejects when the server does not confirm it. */
const revokeTokens = async (
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

// Refreshing and revoking saved tokens.

/** Shorter than a lease (access-tokens.ts). */
const askMs = 5_000

const serverOf = ({ issuer, tokenEndpoint, revocationEndpoint }: Account) => ({
  issuer,
  token_endpoint: tokenEndpoint,
  ...(revocationEndpoint !== undefined && { revocation_endpoint: revocationEndpoint }),
})

/**
 * The authorization server of an account's tokens, and the gateway as its client. A client secret that the
 * operator changed is used from the next request on.
 */
const partyOf = (account: Account, upstream: Partner, clientSecret: string | undefined): Party => {
  const {
    client_id: id,
    issuer = account.issuer,
    token_endpoint: endpoint = account.tokenEndpoint,
    client_secret: written,
  } = upstream.auth
  // A secret that was configured later for another server is not sent to this one (MCP: credentials belong to
  // their issuer).
  const configured =
    id === account.clientId && sameIssuer(issuer, account.issuer) && endpoint === account.tokenEndpoint
      ? written
      : undefined
  const secret = configured ?? clientSecret
  return {
    as: serverOf(account),
    registration: {
      clientId: account.clientId,
      method: account.method,
      ...(secret !== undefined && { secret }),
    },
    upstream,
    resource: account.resource,
  }
}

/** A new ID token comes with the new tokens where `openid` is asked for again (OpenID Connect Core §12.1). */
const idTokenScope = ({ asked }: Account, { subjectToken }: Secrets): Readonly<Record<string, string>> =>
  subjectToken !== undefined && asked.includes('openid') ? { scope: asked.join(' ') } : {}

interface AskDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound'>
  readonly clientRegistrations: ClientRegistrations
  readonly proofs: Proofs
  /** The authorization server's settings for a record; undefined if they are no longer configured. */
  readonly partnerFor: (service: string) => Partner | undefined
  /** The next tokens of an account without a browser; undefined for other accounts. */
  readonly renew: RequestTokens
}

export const createTokenRequest = ({
  runtime,
  clientRegistrations,
  proofs,
  partnerFor,
  renew,
}: AskDeps): RequestTokens => {
  const exchange = (account: Account, partner: Partner, secrets: Secrets): Promise<Granted> | undefined => {
    const { proofKey: key } = secrets
    const party = { ...partyOf(account, partner, secrets.clientSecret), proven: key !== undefined }
    // An identity provider says in the ID token who the person is by now.
    const { through } = createGuardedFetch(runtime, partner, askMs, {
      ...(partner.auth.type === 'idp_token' && { keepIdToken: 'aside' }),
      proving: key && { proofs, key },
    })
    if (partner.auth.type === 'client_credentials')
      return exchangeCredentials(party, account.asked.length > 0 ? account.asked : undefined, through)
    return secrets.refresh === undefined
      ? undefined
      : exchangeRefresh(party, secrets.refresh, through, idTokenScope(account, secrets))
  }
  return (id, account, secrets) => {
    const direct = renew(id, account, secrets)
    if (direct) return direct
    const service = serviceOf(id)
    const partner = partnerFor(service)
    return (
      partner &&
      exchange(account, partner, secrets)?.catch(async (thrown: unknown) => {
        // The next person to connect would be refused as an unknown client.
        if (errorOf(thrown) === 'invalid_client')
          await clientRegistrations.forget(account.issuer, service, account.clientId)
        throw thrown
      })
    )
  }
}

/**
 * Revokes tokens if their server has a revocation endpoint (RFC 7009), and answers whether they are revoked. `id`: for
 * the log. Never rejects because of the server.
 */
export type Revoke = (id: string, account: Account, secrets: Secrets, partner: Partner) => Promise<boolean>

export const createRevoke =
  ({ runtime }: { readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'log'> }): Revoke =>
  async (id, account, secrets, partner) => {
    if (account.revocationEndpoint === undefined) return false
    try {
      await revokeTokens(
        partyOf(account, partner, secrets.clientSecret),
        secrets,
        createGuardedFetch(runtime, partner).through,
      )
      return true
    } catch (error) {
      runtime.log('warn', 'upstream.not-revoked', {
        connection: id,
        issuer: account.issuer,
        why: error instanceof Error ? error.message : String(error),
      })
      return false
    }
  }
