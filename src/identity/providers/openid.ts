// Any OpenID Connect provider: discovery, PKCE, nonce, `iss`, and an ID token whose signature is always checked.
import * as oauth from 'oauth4webapi'
import type { ProviderConfig } from '../../config/schema.ts'
import { encodeBase64url } from '../../kit/bytes.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { ProviderTokens } from '../../ports/modules.ts'
import type { ClientAuthMethod } from '../../ports/services.ts'
import {
  type TokenClaims,
  isEnough,
  personAgain,
  personFrom,
  tenantIssuer,
  unverifiedWords,
} from './openid-person.ts'
import {
  type OpenIdStep,
  type ProviderMetadata,
  type ProviderRequestOptions,
  createProviderMetadata,
  guardedFetch,
  providerRefusal,
  skewText,
} from './openid-requests.ts'
import {
  type IdentityProvider,
  type LaterTokens,
  type ProviderDeps,
  type RoundTripSecrets,
  denialOf,
  samePerson,
} from './provider.ts'

const toleranceSeconds = 60

/** Where browsers may be sent: https, or the very origin that the operator configured without it. */
const browserUrl = (endpoint: string | undefined, issuer: string): URL => {
  const url = endpoint !== undefined && URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (
    url &&
    (url.protocol === 'https:' || (url.protocol === 'http:' && url.origin === new URL(issuer).origin))
  )
    return url
  throw new Refusal('provider.untrusted', 'authorization_endpoint is not an http(s) URL')
}

/**
 * How to ask for a fresh sign-in or another account in the values this provider understands (OpenID Connect
 * Core §3.1.2.1).
 */
const promptFor = (
  again: 'login' | 'switch',
  as: oauth.AuthorizationServer,
  { type }: ProviderConfig,
): string => {
  const listed = as['prompt_values_supported']
  const known = Array.isArray(listed) ? listed : type === 'google' ? ['select_account'] : ['login']
  const wanted = again === 'switch' ? ['select_account', 'login'] : ['login', 'select_account']
  return wanted.find((value) => known.includes(value)) ?? 'login'
}

/**
 * What the library leaves to its caller (OpenID Connect Core §3.1.3.7): we trust no audience but ourselves,
 * and no token from the future.
 */
const claimsOf = (tokens: oauth.TokenEndpointResponse, clientId: string, nowMs: number): oauth.IDToken => {
  const claims = oauth.getValidatedIdTokenClaims(tokens)
  if (!claims) throw new Refusal('provider.untrusted', 'ID token missing')
  const audiences = [claims.aud].flat()
  if (audiences.length !== 1 || audiences[0] !== clientId)
    throw new Refusal(
      'provider.untrusted',
      `the ID token is for ${JSON.stringify(audiences).slice(0, 300)}, expected ${clientId} alone`,
    )
  if (claims.azp !== undefined && claims.azp !== clientId)
    throw new Refusal(
      'provider.untrusted',
      `the ID token was issued to ${JSON.stringify(claims.azp).slice(0, 100)}, expected ${clientId}`,
    )
  if (claims.iat > nowMs / 1000 + toleranceSeconds)
    throw new Refusal('provider.clock', skewText('iat', claims.iat - nowMs / 1000))
  if (claims.sub === '' || claims.sub.length > 255 || /\p{Cc}/u.test(claims.sub))
    throw new Refusal('provider.untrusted', 'sub is empty, too long or contains control characters')
  return claims
}

const methodFor = (secret: string | undefined, as: oauth.AuthorizationServer): ClientAuthMethod => {
  if (secret === undefined) return 'none'
  const methods = as.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
  return methods.includes('client_secret_basic') || !methods.includes('client_secret_post')
    ? 'client_secret_basic'
    : 'client_secret_post'
}

const authenticationBy = (method: ClientAuthMethod, secret = ''): oauth.ClientAuth =>
  method === 'none'
    ? oauth.None()
    : method === 'client_secret_post'
      ? oauth.ClientSecretPost(secret)
      : oauth.ClientSecretBasic(secret)

interface TokenAnswer {
  readonly claims: oauth.IDToken
  readonly accessToken: string
}

/**
 * The ID token's claims, completed by userinfo (OpenID Connect Core §5.3) where it lacks the address or the
 * groups.
 */
const completed = async (
  as: oauth.AuthorizationServer,
  client: oauth.Client,
  { claims, accessToken }: TokenAnswer,
  settings: ProviderConfig,
  guarded: ProviderRequestOptions,
): Promise<TokenClaims> => {
  if (isEnough(claims, settings) || as.userinfo_endpoint === undefined) return { claims }
  const response = await oauth.userInfoRequest(as, client, accessToken, guarded)
  return { claims, userinfo: await oauth.processUserInfoResponse(as, client, claims.sub, response) }
}

const tokensOf = (
  { id, settings }: ProviderDeps,
  as: oauth.AuthorizationServer,
  method: ClientAuthMethod,
  response: oauth.TokenEndpointResponse,
): Omit<ProviderTokens, 'person'> => ({
  accessToken: response.access_token,
  refreshToken: response.refresh_token,
  idToken: response.id_token,
  expiresIn: response.expires_in,
  scope: response.scope,
  provider: id,
  issuer: as.issuer,
  tokenEndpoint: as.token_endpoint ?? '',
  revocationEndpoint: as.revocation_endpoint,
  clientId: settings.client_id,
  method,
})

interface AuthorizationQuery {
  readonly state: string
  readonly secrets: RoundTripSecrets
  readonly challenge: string
  readonly prompt: string | undefined
  readonly maxAge: number | undefined
}

/** The authorization request. The operator's own parameters come first: they may add, never replace. */
const authorizationQuery = (
  { settings, redirectUri }: ProviderDeps,
  { state, secrets, challenge, prompt, maxAge }: AuthorizationQuery,
): Record<string, string> => ({
  ...settings.extra_params,
  ...(prompt === undefined ? {} : { prompt }),
  ...(maxAge === undefined ? {} : { max_age: String(maxAge) }),
  response_type: 'code',
  client_id: settings.client_id,
  redirect_uri: redirectUri,
  scope: settings.scopes.join(' '),
  state,
  nonce: secrets.nonce,
  code_challenge: challenge,
  code_challenge_method: 'S256',
})

type Begin = IdentityProvider['begin']
type Finish = IdentityProvider['finish']

const createBegin =
  (deps: ProviderDeps, metadata: ProviderMetadata, guard: () => ProviderRequestOptions): Begin =>
  async ({ state, again, maxAge, retry }) => {
    const { runtime, id, settings } = deps
    const secret = (): string => encodeBase64url(runtime.random(32))
    try {
      const as = await metadata.get(guard())
      const url = browserUrl(as.authorization_endpoint, settings.issuer)
      const secrets = { nonce: secret(), verifier: secret() }
      const query = authorizationQuery(deps, {
        state,
        secrets,
        challenge: runtime.digest(secrets.verifier),
        prompt: again && promptFor(again, as, settings),
        maxAge,
      })
      for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
      return { url: url.href, secrets }
    } catch (thrown) {
      throw providerRefusal(thrown, { provider: id, step: 'metadata', retry })
    }
  }

const createFinish =
  (deps: ProviderDeps, metadata: ProviderMetadata, guard: () => ProviderRequestOptions): Finish =>
  async ({ params, state, secrets, retry }) => {
    const { runtime, id, settings, redirectUri } = deps
    const client: oauth.Client = { client_id: settings.client_id, [oauth.clockTolerance]: toleranceSeconds }
    let step: OpenIdStep = 'metadata'
    try {
      const guarded = guard()
      const as = await metadata.get(guarded)
      step = 'authorization'
      const validated = oauth.validateAuthResponse(as, client, params, state)
      step = 'token'
      const method = methodFor(settings.client_secret, as)
      const response = await oauth.authorizationCodeGrantRequest(
        as,
        client,
        authenticationBy(method, settings.client_secret),
        validated,
        redirectUri,
        secrets.verifier,
        guarded,
      )
      const issuer = await tenantIssuer(as.issuer, response, settings)
      const tokens = await oauth.processAuthorizationCodeResponse({ ...as, issuer }, client, response, {
        expectedNonce: secrets.nonce,
        requireIdToken: true,
      })
      const claims = claimsOf(tokens, settings.client_id, runtime.now())
      step = 'keys'
      await metadata.verify(as, response, guarded)
      step = 'userinfo'
      const answer = { claims, accessToken: tokens.access_token }
      const sent = await completed(as, client, answer, settings, guarded)
      const { person, unverified } = personFrom(sent, id, settings)
      const { sid } = claims
      return {
        person,
        session: typeof sid === 'string' ? sid : undefined,
        tokens: tokensOf(deps, as, method, tokens),
        denied: denialOf(person, settings, unverified && unverifiedWords(unverified, id)),
      }
    } catch (thrown) {
      throw providerRefusal(thrown, { provider: id, step, retry })
    }
  }

/** The claims of an ID token that came with refreshed tokens (OpenID Connect Core §12.2), its signature checked. */
const laterClaims = async (
  { settings, runtime }: ProviderDeps,
  metadata: ProviderMetadata,
  { accessToken, idToken }: LaterTokens,
  {
    as,
    client,
    guarded,
  }: { as: oauth.AuthorizationServer; client: oauth.Client; guarded: ProviderRequestOptions },
): Promise<oauth.IDToken | undefined> => {
  if (idToken === undefined) return undefined
  const response = Response.json({ access_token: accessToken, token_type: 'bearer', id_token: idToken })
  const issuer = await tenantIssuer(as.issuer, response, settings)
  const tokens = await oauth.processRefreshTokenResponse({ ...as, issuer }, client, response)
  const claims = claimsOf(tokens, settings.client_id, runtime.now())
  await metadata.verify(as, response, guarded)
  return claims
}

/** A response that says that the access token is no longer good (RFC 6750 §3.1). */
const isTokenRefused = (thrown: unknown): boolean =>
  thrown instanceof oauth.WWWAuthenticateChallengeError
    ? thrown.status === 401
    : thrown instanceof oauth.OperationProcessingError &&
      thrown.cause instanceof Response &&
      thrown.cause.status === 401

const createProfile =
  (
    deps: ProviderDeps,
    metadata: ProviderMetadata,
    guard: () => ProviderRequestOptions,
  ): NonNullable<IdentityProvider['profile']> =>
  async (tokens, former) => {
    const { id, settings } = deps
    const client: oauth.Client = { client_id: settings.client_id, [oauth.clockTolerance]: toleranceSeconds }
    let step: OpenIdStep = 'metadata'
    try {
      const guarded = guard()
      const as = await metadata.get(guarded)
      step = 'keys'
      const claims = await laterClaims(deps, metadata, tokens, { as, client, guarded })
      if (claims) samePerson(claims.sub, former)
      step = 'userinfo'
      if (claims) {
        const sent = await completed(
          as,
          client,
          { claims, accessToken: tokens.accessToken },
          settings,
          guarded,
        )
        return personAgain(sent, former, settings)
      }
      if (as.userinfo_endpoint === undefined) return former
      const response = await oauth.userInfoRequest(as, client, tokens.accessToken, guarded)
      const userinfo = await oauth.processUserInfoResponse(as, client, former.subject, response)
      return personAgain({ userinfo }, former, settings)
    } catch (thrown) {
      if (step === 'userinfo' && isTokenRefused(thrown)) return undefined
      throw providerRefusal(thrown, { provider: id, step, retry: '/login' })
    }
  }

export const createOpenIdProvider = (deps: ProviderDeps): IdentityProvider => {
  const { runtime, id, settings } = deps
  const metadata = createProviderMetadata(settings, runtime.now)
  const guard = (): ProviderRequestOptions => guardedFetch(runtime.outbound, runtime.now, settings.issuer)
  return {
    id,
    name: settings.name ?? id,
    begin: createBegin(deps, metadata, guard),
    finish: createFinish(deps, metadata, guard),
    profile: createProfile(deps, metadata, guard),
    async verify(jwt, types) {
      try {
        const wanted = { audience: settings.client_id, types, toleranceSeconds }
        return await metadata.claims(jwt, wanted, guard())
      } catch (thrown) {
        throw providerRefusal(thrown, { provider: id, step: 'keys', retry: '/login' })
      }
    },
    denied: (person) => denialOf(person, settings),
  }
}
