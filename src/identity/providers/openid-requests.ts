// Requests to an OpenID provider: over the guarded outbound function, what the provider says of itself believed for
// an hour, and what can go wrong told with all that is known of it.
import { type JSONWebKeySet, type JWTPayload, createLocalJWKSet, errors, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import type { ProviderConfig } from '../../config/schema.ts'
import { asFetch } from '../../kit/http.ts'
import { type RefusalCode, Refusal } from '../../kit/refusal.ts'
import { type Normalizing, normalized } from '../../kit/token-response.ts'
import { sameIssuer } from '../../kit/urls.ts'
import type { Outbound } from '../../ports/runtime.ts'
import { issuerFor, isTenantOf } from './openid-person.ts'

const freshMs = 3_600_000
/** A person waits for all requests of one step together. */
const stepMs = 9_000
const requestMs = 5_000
const refetchMs = 30_000
const keysMs = 300_000

interface LibraryRequest {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: unknown
}

export interface ProviderRequestOptions {
  readonly [oauth.customFetch]: (url: string, request: LibraryRequest) => Promise<Response>
  readonly [oauth.allowInsecureRequests]: boolean
}

/**
 * Library options for one step of a sign-in: every request is guarded, and all of them share nine seconds.
 * `urls`: what the operator wrote of the provider.
 */
export const guardedFetch = (
  outbound: Outbound,
  now: () => number,
  urls: string | readonly string[],
  options: Normalizing = { keepIdToken: true },
): ProviderRequestOptions => {
  const written = [urls].flat().map((url) => new URL(url))
  const deadline = now() + stepMs
  const within: Outbound = (url, exchange) => {
    const left = deadline - now()
    if (left <= 0) throw new Refusal('outbound.failed', 'identity provider timed out')
    // The operator wrote these origins of the provider down: they may be anywhere, and nothing else may.
    return outbound(url, {
      ...exchange,
      timeoutMs: Math.min(requestMs, left),
      maxBytes: 262_144,
      origins: written.map(({ origin }) => origin),
    })
  }
  const fetch = asFetch(within)
  return {
    // Only the token endpoint is POSTed to: its answers come in the same odd forms as those of upstreams.
    [oauth.customFetch]: async (url, { method, headers, body }) => {
      const response = await fetch(url, {
        method,
        headers,
        ...(body instanceof URLSearchParams ? { body } : {}),
      })
      return method === 'POST' ? normalized(response, options) : response
    },
    [oauth.allowInsecureRequests]: written.some(({ protocol }) => protocol === 'http:'),
  }
}

export interface ProviderMetadata {
  get(guarded: ProviderRequestOptions): Promise<oauth.AuthorizationServer>
  /** Checks the signature of the ID token in `response` with the provider's published keys. */
  verify(as: oauth.AuthorizationServer, response: Response, guarded: ProviderRequestOptions): Promise<void>
  /** The claims of a JWT that is signed with one of those keys. Throws what jose throws. */
  claims(jwt: string, wanted: WantedJwt, guarded: ProviderRequestOptions): Promise<JWTPayload>
}

interface WantedJwt {
  readonly audience: string
  /** Media types of the header, in lower case; one without a type counts as `jwt`. */
  readonly types: readonly string[]
  readonly toleranceSeconds: number
}

/** Keys that only the provider has: `none` and signatures with the client secret are never believed (RFC 8725 §3.1). */
const algorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
]

/** A JWT signed with a key of the set. */
const verifiedJwt = async (
  jwt: string,
  keys: JSONWebKeySet,
  { audience, types, toleranceSeconds }: WantedJwt,
  nowMs: number,
): Promise<JWTPayload> => {
  const { payload, protectedHeader } = await jwtVerify(jwt, createLocalJWKSet(keys), {
    algorithms,
    audience,
    clockTolerance: toleranceSeconds,
    currentDate: new Date(nowMs),
    requiredClaims: ['iss', 'aud', 'iat', 'exp'],
  })
  const type = (protectedHeader.typ ?? 'jwt').toLowerCase().replace(/^application\//, '')
  if (!types.includes(type)) throw new Refusal('provider.untrusted', `typ ${type.slice(0, 40)}`)
  if ((payload.iat ?? Infinity) * 1000 > nowMs + toleranceSeconds * 1000)
    throw new Refusal('provider.clock', skewText('iat', (payload.iat ?? 0) - nowMs / 1000))
  return payload
}

const isKeySet = (value: unknown): value is JSONWebKeySet => isObject(value) && Array.isArray(value['keys'])

/** The provider's published keys, kept for five minutes, and read anew for a key that is not among them. */
const createPublishedKeys = (now: () => number) => {
  let kept: { readonly keys: JSONWebKeySet; readonly at: number } | undefined
  const read = async (
    { jwks_uri: url }: oauth.AuthorizationServer,
    guarded: ProviderRequestOptions,
  ): Promise<JSONWebKeySet> => {
    if (url === undefined) throw new Refusal('provider.untrusted', 'the provider publishes no keys')
    const response = await guarded[oauth.customFetch](url, {
      method: 'GET',
      headers: { accept: 'application/json' },
    })
    const keys: unknown = response.status === 200 ? await response.json().catch(() => undefined) : undefined
    if (!isKeySet(keys))
      throw new Refusal('provider.unreachable', `${url} answered ${response.status}, expected keys`)
    kept = { keys, at: now() }
    return keys
  }
  return async <T>(
    as: oauth.AuthorizationServer,
    guarded: ProviderRequestOptions,
    use: (keys: JSONWebKeySet) => Promise<T>,
  ): Promise<T> => {
    const former = kept && now() < kept.at + keysMs ? kept : undefined
    try {
      return await use(former?.keys ?? (await read(as, guarded)))
    } catch (thrown) {
      if (!(thrown instanceof errors.JWKSNoMatchingKey) || !former || now() < former.at + refetchMs)
        throw thrown
      return use(await read(as, guarded))
    }
  }
}

type Configured = Pick<ProviderConfig, 'issuer' | 'type'>

/**
 * The issuer as the provider spells it, which is what its tokens say. Throws `provider.issuer` where that is
 * another one.
 */
const publishedIssuer = async (response: Response, { issuer, type }: Configured): Promise<URL> => {
  const document: unknown =
    response.status === 200
      ? await response
          .clone()
          .json()
          .catch(() => undefined)
      : undefined
  const published =
    typeof document === 'object' && document !== null && 'issuer' in document ? document.issuer : undefined
  // Whatever is no metadata at all is refused by the library, in its own words.
  if (typeof published !== 'string') return new URL(issuer)
  if (!sameIssuer(published, issuer) && !(type === 'entra' && isTenantOf(published, issuer)))
    throw new Refusal(
      'provider.issuer',
      `issuer mismatch: metadata says ${published.slice(0, 300)}, configured is ${issuer}`,
    )
  return new URL(published)
}

export const createProviderMetadata = (settings: Configured, now: () => number): ProviderMetadata => {
  let kept: { readonly as: oauth.AuthorizationServer; readonly at: number } | undefined
  let refetchedAt = -Infinity
  const withKeys = createPublishedKeys(now)

  const read = async (guarded: ProviderRequestOptions): Promise<oauth.AuthorizationServer> => {
    const response = await oauth.discoveryRequest(new URL(settings.issuer), { ...guarded, algorithm: 'oidc' })
    const as = await oauth.processDiscoveryResponse(await publishedIssuer(response, settings), response)
    kept = { as, at: now() }
    return as
  }

  // The library keeps keys per metadata object; a copy has none, so that a `kid` of a rotated key is looked
  // up at once, but at most every 30 s.
  const withoutKeys = (as: oauth.AuthorizationServer): oauth.AuthorizationServer | undefined => {
    if (now() < refetchedAt + refetchMs) return undefined
    refetchedAt = now()
    const copy = { ...as }
    kept = { as: copy, at: kept?.at ?? now() }
    return copy
  }

  const get: ProviderMetadata['get'] = async (guarded) => {
    const former = kept
    if (former && now() < former.at + freshMs) return former.as
    return read(guarded).catch((failure: unknown) => {
      // A provider that is down for discovery may still sign people in.
      if (former) return former.as
      throw failure
    })
  }

  return {
    get,
    async claims(jwt, wanted, guarded) {
      const as = await get(guarded)
      const claims = await withKeys(as, guarded, (keys) => verifiedJwt(jwt, keys, wanted, now()))
      if (claims.iss === issuerFor(as.issuer, claims['tid'], settings)) return claims
      throw new Refusal('provider.untrusted', `iss is ${textOf(claims.iss)}, expected ${as.issuer}`)
    },
    async verify(as, response, guarded) {
      try {
        await oauth.validateApplicationLevelSignature(as, response, guarded)
      } catch (failure) {
        const again =
          failure instanceof oauth.OperationProcessingError && failure.code === oauth.KEY_SELECTION
            ? withoutKeys(as)
            : undefined
        if (!again) throw failure
        await oauth.validateApplicationLevelSignature(again, response, guarded)
      }
    },
  }
}

// What can go wrong, as refusals, with all that is known of it for the operator.

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

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Claims whose values may stand in a log; a nonce may not. */
const loggedClaims = new Set(['iss', 'aud', 'azp', 'sub', 'issuer'])
const textOf = (value: unknown): string =>
  (value === undefined ? 'nothing' : JSON.stringify(value)).slice(0, 300)

/** What the library keeps beside its message: the value that came and the one that was expected. */
const detailOf = (cause: unknown): string => {
  if (!isObject(cause)) return ''
  const { claim = cause['attribute'], claims = cause['body'], expected } = cause
  if (typeof claim !== 'string' || !isObject(claims) || !loggedClaims.has(claim)) return ''
  return ` (got ${textOf(claims[claim])}, expected ${textOf(expected)})`
}

const responseText = ({ status, headers }: Response): string =>
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

/** About the gateway as a client, in the words of the standard and in those of GitHub. */
const aboutClient = new Set([
  'invalid_client',
  'unauthorized_client',
  'incorrect_client_credentials',
  'redirect_uri_mismatch',
  'application_suspended',
])

// RFC 6749 §4.1.2.1 and OpenID Connect Core §3.1.2.6.
const codeOfAuthorization = (error: string): RefusalCode => {
  if (error === 'server_error' || error === 'temporarily_unavailable') return 'provider.unreachable'
  return aboutClient.has(error) || error === 'invalid_scope' || error === 'invalid_request'
    ? 'provider.client'
    : 'provider.denied'
}

// RFC 6749 §5.2: these are about the gateway, whoever the person is.
const codeOfToken = (error: string): RefusalCode => {
  if (aboutClient.has(error)) return 'provider.client'
  return error === 'server_error' || error === 'temporarily_unavailable'
    ? 'provider.unreachable'
    : 'provider.untrusted'
}

// Wrong status, or not JSON: a proxy's error page, an outage.
const broken = new Set<string | undefined>([oauth.RESPONSE_IS_NOT_CONFORM, oauth.RESPONSE_IS_NOT_JSON])

type Reason = readonly [RefusalCode, string]

const reasonOfChallenge = (thrown: oauth.WWWAuthenticateChallengeError, step: OpenIdStep): Reason => {
  if (step === 'token')
    return [
      'provider.client',
      `IdP rejected client credentials (${thrown.status}): check client_id and client_secret`,
    ]
  const schemes = thrown.cause
    .map(({ scheme, parameters }) => `${scheme} ${parameters.error ?? ''}`.trim())
    .join(', ')
  return ['provider.untrusted', `answered ${thrown.status} with a challenge (${schemes.slice(0, 200)})`]
}

/** A response that the library could not process. */
const reasonOfProcessing = (thrown: oauth.OperationProcessingError, step: OpenIdStep): Reason => {
  const { code, cause, message } = thrown
  if (code === oauth.JWT_TIMESTAMP_CHECK) return ['provider.clock', skewOf(cause) || message]
  if (cause instanceof Response) {
    const { status } = cause
    // Nobody publishes metadata below a misspelt issuer.
    if (step === 'metadata' && status >= 400 && status < 500 && status !== 429)
      return ['provider.issuer', `${responseText(cause)}: no metadata at the configured issuer`]
    if (code === oauth.RESPONSE_IS_NOT_CONFORM) return ['provider.unreachable', responseText(cause)]
    if (code === oauth.RESPONSE_IS_NOT_JSON)
      return ['provider.unreachable', `${responseText(cause)}, expected JSON`]
  }
  // Everything else that a response can make the library or WebCrypto throw is a response that cannot be
  // believed.
  return [broken.has(code) ? 'provider.unreachable' : 'provider.untrusted', `${message}${detailOf(cause)}`]
}

/** Code and reason of whatever was thrown while talking to the provider. */
export const reasonOf = (thrown: unknown, step: OpenIdStep): Reason => {
  if (thrown instanceof Refusal) {
    if (thrown.code === 'outbound.refused') return ['provider.untrusted', thrown.why]
    return [thrown.code === 'outbound.failed' ? 'provider.unreachable' : thrown.code, thrown.why]
  }
  if (thrown instanceof oauth.AuthorizationResponseError)
    return [codeOfAuthorization(thrown.error), `error ${described(thrown)}`]
  if (thrown instanceof oauth.ResponseBodyError)
    return [codeOfToken(thrown.error), `answered ${thrown.status} with error ${described(thrown)}`]
  if (thrown instanceof oauth.WWWAuthenticateChallengeError) return reasonOfChallenge(thrown, step)
  if (thrown instanceof oauth.OperationProcessingError) return reasonOfProcessing(thrown, step)
  return ['provider.untrusted', thrown instanceof Error ? thrown.message : String(thrown)]
}

/**
 * The refusal for anything that was thrown while talking to the provider. Its prose is for the log alone,
 * never for a page.
 */
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
