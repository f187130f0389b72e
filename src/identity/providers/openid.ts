// Any OpenID Connect provider: discovery, PKCE, nonce, `iss`, and an ID token whose signature is always checked.
import * as oauth from 'oauth4webapi'
import type { ProviderConfig } from '../../config/schema.ts'
import { encodeBase64url } from '../../kit/bytes.ts'
import { Refusal, type RefusalCode } from '../../kit/refusal.ts'
import type { Runtime } from '../../ports/runtime.ts'
import type { ClientAuthMethod } from '../../ports/services.ts'
import {
  type Claims,
  type TokenClaims,
  denialOf,
  isEnough,
  personFrom,
  unverifiedWords,
} from './openid-claims.ts'
import { type FetchOptions, createMetadata, throughGuard } from './openid-metadata.ts'
import type { IdentityProvider, RoundTrip } from './provider.ts'

// What can go wrong at an OpenID provider, in the words of our refusals, and all that is known of it in words for the operator.

/** The request that failed. */
export type OpenIdStep = 'metadata' | 'authorization' | 'token' | 'keys' | 'userinfo'

export interface OpenIdRequest {
  /** Id of the provider. */
  readonly provider: string
  readonly step: OpenIdStep
  /** The path by which the person tries again. */
  readonly retry: string
}

const stepWords: Readonly<Record<OpenIdStep, string>> = {
  metadata: 'metadata',
  authorization: 'authorization response',
  token: 'token endpoint',
  keys: 'keys',
  userinfo: 'userinfo endpoint',
}

type Json = Readonly<Record<string, unknown>>
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Claims whose values may stand in a log; a nonce may not. */
const tellable = new Set(['iss', 'aud', 'azp', 'sub', 'issuer'])
const shown = (value: unknown): string =>
  (value === undefined ? 'nothing' : JSON.stringify(value)).slice(0, 300)

/** What the library keeps beside its sentence: the answer's status, the value that came and the one that was expected. */
const detailOf = (cause: unknown): string => {
  if (!isObject(cause)) return ''
  const { claim = cause['attribute'], claims = cause['body'], expected } = cause
  if (typeof claim !== 'string' || !isObject(claims) || !tellable.has(claim)) return ''
  return ` (got ${shown(claims[claim])}, expected ${shown(expected)})`
}

const answerOf = ({ status, headers }: Response): string =>
  `answered ${status} ${headers.get('content-type') ?? 'without a content type'}`

/** Seconds by which a time in the token lies on the wrong side of now (RFC 7519 §4.1.4 to §4.1.6). */
const skewOf = (cause: unknown): string => {
  if (!isObject(cause) || !isObject(cause['claims']) || typeof cause['claim'] !== 'string') return ''
  const [stamp, now] = [Number(cause['claims'][cause['claim']]), Number(cause['now'])]
  return skewText(cause['claim'], stamp - now)
}

/** `ahead`: seconds from our now to the token's time. */
export const skewText = (claim: string, ahead: number): string =>
  `${claim} of the ID token is ${Math.abs(Math.round(ahead))} s in the ${ahead < 0 ? 'past' : 'future'} by this gateway's clock; 60 s allowed`

const described = ({
  error,
  error_description: text,
}: {
  readonly error: string
  readonly error_description?: string | undefined
}): string => `${error.slice(0, 60)}${text ? `: ${text.slice(0, 300)}` : ''}`

// RFC 6749 §4.1.2.1 and OpenID Connect Core §3.1.2.6.
const codeOfAnswer = (error: string): RefusalCode => {
  if (error === 'server_error' || error === 'temporarily_unavailable') return 'provider.unreachable'
  return error === 'unauthorized_client' || error === 'invalid_scope' || error === 'invalid_request'
    ? 'provider.client'
    : 'provider.denied'
}

// RFC 6749 §5.2: these are about the gateway, whoever the person is.
const codeOfToken = (error: string): RefusalCode => {
  if (error === 'invalid_client' || error === 'unauthorized_client') return 'provider.client'
  return error === 'server_error' || error === 'temporarily_unavailable'
    ? 'provider.unreachable'
    : 'provider.untrusted'
}

// Answers that are no answer: wrong status, not JSON (a proxy's error page, an outage).
const broken = new Set<string | undefined>([oauth.RESPONSE_IS_NOT_CONFORM, oauth.RESPONSE_IS_NOT_JSON])

/** Code and reason of whatever was thrown while talking to the provider. */
export const reasonOf = (thrown: unknown, step: OpenIdStep): readonly [RefusalCode, string] => {
  if (thrown instanceof Refusal) {
    if (thrown.code === 'outbound.refused') return ['provider.untrusted', thrown.why]
    return [thrown.code === 'outbound.failed' ? 'provider.unreachable' : thrown.code, thrown.why]
  }
  if (thrown instanceof oauth.AuthorizationResponseError)
    return [codeOfAnswer(thrown.error), `error ${described(thrown)}`]
  if (thrown instanceof oauth.ResponseBodyError)
    return [codeOfToken(thrown.error), `answered ${thrown.status} with error ${described(thrown)}`]
  if (thrown instanceof oauth.WWWAuthenticateChallengeError) {
    const schemes = thrown.cause
      .map(({ scheme, parameters }) => `${scheme} ${parameters.error ?? ''}`.trim())
      .join(', ')
    return [
      step === 'token' ? 'provider.client' : 'provider.untrusted',
      step === 'token'
        ? `IdP rejected client credentials (${thrown.status}): check client_id and client_secret`
        : `answered ${thrown.status} with a challenge (${schemes.slice(0, 200)})`,
    ]
  }
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  if (!(thrown instanceof oauth.OperationProcessingError)) return ['provider.untrusted', text]
  if (thrown.code === oauth.JWT_TIMESTAMP_CHECK) return ['provider.clock', skewOf(thrown.cause) || text]
  const status = thrown.cause instanceof Response ? thrown.cause.status : undefined
  // Nobody publishes metadata below a misspelt issuer.
  if (step === 'metadata' && status !== undefined && status >= 400 && status < 500 && status !== 429)
    return ['provider.issuer', `${answerOf(thrown.cause as Response)}: no metadata at the configured issuer`]
  if (thrown.code === oauth.RESPONSE_IS_NOT_CONFORM && thrown.cause instanceof Response)
    return ['provider.unreachable', answerOf(thrown.cause)]
  if (thrown.code === oauth.RESPONSE_IS_NOT_JSON && thrown.cause instanceof Response)
    return ['provider.unreachable', `${answerOf(thrown.cause)}, expected JSON`]
  // Everything else that an answer can make the library or WebCrypto throw is an answer that cannot be believed.
  return [
    broken.has(thrown.code) ? 'provider.unreachable' : 'provider.untrusted',
    `${text}${detailOf(thrown.cause)}`,
  ]
}

/** The refusal for anything that was thrown while talking to the provider. Its prose is for the log alone, never for a page. */
export const providerRefusal = (thrown: unknown, { provider, step, retry }: OpenIdRequest): Refusal => {
  const [code, why] = reasonOf(thrown, step)
  const detail = thrown instanceof Refusal && !thrown.code.startsWith('outbound.') ? thrown.detail : {}
  return new Refusal(code, `${provider}: ${stepWords[step]}: ${why}`, {
    ...detail,
    about: { ...detail.about, provider },
    ...(code === 'provider.unreachable' ? { headers: { 'retry-after': '1' } } : {}),
    page: { onward: { label: 'Try again', href: retry }, ...detail.page },
  })
}

export type OpenIdSettings = ProviderConfig

export interface OpenIdDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'outbound' | 'digest'>
  readonly id: string
  readonly settings: OpenIdSettings
  /** The one callback of this gateway. */
  readonly redirectUri: string
}

const toleranceSeconds = 60
const google = 'https://accounts.google.com'

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

/** How to ask for a fresh sign-in or another account in the values this provider understands (OpenID Connect Core §3.1.2.1). */
const promptFor = (again: 'login' | 'switch', as: oauth.AuthorizationServer): string => {
  const listed = as['prompt_values_supported']
  const known = Array.isArray(listed) ? listed : as.issuer === google ? ['select_account'] : ['login']
  const wanted = again === 'switch' ? ['select_account', 'login'] : ['login', 'select_account']
  return wanted.find((value) => known.includes(value)) ?? 'login'
}

/** What the library leaves to its caller (OpenID Connect Core §3.1.3.7): we trust no audience but ourselves, and no token from the future. */
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

interface Said {
  readonly claims: oauth.IDToken
  readonly accessToken: string
  /** Nothing more need be asked. */
  readonly enough: (claims: Claims) => boolean
}

/** The ID token's claims, completed by userinfo (OpenID Connect Core §5.3) where it lacks the address or the groups. */
const completed = async (
  as: oauth.AuthorizationServer,
  client: oauth.Client,
  { claims, accessToken, enough }: Said,
  through: FetchOptions,
): Promise<TokenClaims> => {
  if (enough(claims) || as.userinfo_endpoint === undefined) return { claims }
  const response = await oauth.userInfoRequest(as, client, accessToken, through)
  return { claims, userinfo: await oauth.processUserInfoResponse(as, client, claims.sub, response) }
}

const tokensOf = ({
  access_token: accessToken,
  refresh_token: refreshToken,
  expires_in: expiresIn,
  scope,
}: oauth.TokenEndpointResponse) => ({ accessToken, refreshToken, expiresIn, scope })

interface Query {
  readonly challenge: string
  readonly settings: OpenIdSettings
  readonly redirectUri: string
  readonly state: string
  readonly trip: RoundTrip
  readonly prompt: string | undefined
}

/** The authorization request. The operator's own parameters come first: they may add, never replace. */
const authorizationQuery = ({
  settings,
  redirectUri,
  state,
  trip,
  challenge,
  prompt,
}: Query): Record<string, string> => ({
  ...settings.extra_params,
  ...(prompt === undefined ? {} : { prompt }),
  response_type: 'code',
  client_id: settings.client_id,
  redirect_uri: redirectUri,
  scope: settings.scopes.join(' '),
  state,
  nonce: trip.nonce,
  code_challenge: challenge,
  code_challenge_method: 'S256',
})

export const createOpenIdProvider = ({
  runtime,
  id,
  settings,
  redirectUri,
}: OpenIdDeps): IdentityProvider => {
  const client: oauth.Client = { client_id: settings.client_id, [oauth.clockTolerance]: toleranceSeconds }
  const metadata = createMetadata(settings.issuer, runtime.now)
  const through = (): FetchOptions => throughGuard(runtime.outbound, runtime.now, settings.issuer)
  const secret = (): string => encodeBase64url(runtime.random(32))

  return {
    id,
    name: settings.name ?? id,
    async begin({ state, again, retry }) {
      try {
        const as = await metadata.get(through())
        const url = browserUrl(as.authorization_endpoint, settings.issuer)
        const trip = { nonce: secret(), verifier: secret() }
        const query = authorizationQuery({
          settings,
          redirectUri,
          state,
          trip,
          challenge: runtime.digest(trip.verifier),
          prompt: again && promptFor(again, as),
        })
        for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
        return { url: url.href, trip }
      } catch (thrown) {
        throw providerRefusal(thrown, { provider: id, step: 'metadata', retry })
      }
    },
    async finish({ answer, state, trip, retry }) {
      let step: OpenIdStep = 'metadata'
      try {
        const web = through()
        const as = await metadata.get(web)
        step = 'authorization'
        const params = oauth.validateAuthResponse(as, client, answer, state)
        step = 'token'
        const method = methodFor(settings.client_secret, as)
        const response = await oauth.authorizationCodeGrantRequest(
          as,
          client,
          authenticationBy(method, settings.client_secret),
          params,
          redirectUri,
          trip.verifier,
          web,
        )
        const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, {
          expectedNonce: trip.nonce,
          requireIdToken: true,
        })
        const claims = claimsOf(tokens, settings.client_id, runtime.now())
        step = 'keys'
        await metadata.verify(as, response, web)
        step = 'userinfo'
        const told = await completed(
          as,
          client,
          { claims, accessToken: tokens.access_token, enough: (known) => isEnough(known, settings) },
          web,
        )
        const { person, unverified } = personFrom(told, id, settings)
        const kept = {
          ...tokensOf(tokens),
          provider: id,
          issuer: as.issuer,
          tokenEndpoint: as.token_endpoint ?? '',
          clientId: settings.client_id,
          method,
        }
        return {
          person,
          tokens: kept,
          bar: denialOf(person, settings, unverified && unverifiedWords(unverified, id)),
        }
      } catch (thrown) {
        throw providerRefusal(thrown, { provider: id, step, retry })
      }
    },
    bars: (person) => denialOf(person, settings),
  }
}
