// Sign-in with plain OAuth 2.0 (RFC 6749 §4.1, with PKCE). There is no ID token: the access token opens an API of the
// provider, which says whose token it is.
import * as oauth from 'oauth4webapi'
import { encodeBase64url } from '../../kit/bytes.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { ProviderTokens } from '../../ports/modules.ts'
import type { Person } from '../../ports/people.ts'
import type { ClientAuthMethod } from '../../ports/services.ts'
import {
  type OpenIdStep,
  type ProviderRequestOptions,
  guardedFetch,
  providerRefusal,
} from './openid-requests.ts'
import { type IdentityProvider, type ProviderDeps, type RoundTripSecrets, denialOf } from './provider.ts'

export interface OAuth2Server {
  readonly issuer: string
  readonly authorization: string
  readonly token: string
  /** How the gateway shows its secret. */
  readonly method: Exclude<ClientAuthMethod, 'private_key_jwt'>
}

type Begin = IdentityProvider['begin']
type FinishOptions = Parameters<IdentityProvider['finish']>[0]

/** Where the browser goes. The operator's own parameters come first: they may add, never replace. */
const beginOAuth2 =
  ({ runtime, settings, redirectUri }: ProviderDeps, { authorization }: OAuth2Server): Begin =>
  ({ state, again }) => {
    // Nonces are for ID tokens.
    const secrets: RoundTripSecrets = { nonce: '', verifier: encodeBase64url(runtime.random(32)) }
    const url = new URL(authorization)
    const query: Record<string, string> = {
      ...settings.extra_params,
      // Not part of OAuth; servers that do not know it pass over it (RFC 6749 §3.1).
      ...(again ? { prompt: 'select_account' } : {}),
      response_type: 'code',
      client_id: settings.client_id,
      redirect_uri: redirectUri,
      ...(settings.scopes.length > 0 ? { scope: settings.scopes.join(' ') } : {}),
      state,
      code_challenge: runtime.digest(secrets.verifier),
      code_challenge_method: 'S256',
    }
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    return Promise.resolve({ url: url.href, secrets })
  }

const authenticationBy = (method: OAuth2Server['method'], secret = ''): oauth.ClientAuth => {
  if (method === 'none') return oauth.None()
  return method === 'client_secret_basic' ? oauth.ClientSecretBasic(secret) : oauth.ClientSecretPost(secret)
}

type Tokens = Omit<ProviderTokens, 'person'>

/** Checks what the browser brought back. */
const validatedAnswer = (
  { settings }: ProviderDeps,
  server: OAuth2Server,
  { params, state }: Pick<FinishOptions, 'params' | 'state'>,
): URLSearchParams =>
  oauth.validateAuthResponse({ issuer: server.issuer }, { client_id: settings.client_id }, params, state)

/** Redeems the code. `guarded` drops ID tokens, which nobody would check. */
const redeemOAuth2 = async (
  { id, settings, redirectUri }: ProviderDeps,
  { issuer, token, method }: OAuth2Server,
  answer: { readonly params: URLSearchParams; readonly verifier: string },
  guarded: ProviderRequestOptions,
): Promise<Tokens> => {
  const as: oauth.AuthorizationServer = { issuer, token_endpoint: token }
  const client: oauth.Client = { client_id: settings.client_id }
  const response = await oauth.authorizationCodeGrantRequest(
    as,
    client,
    authenticationBy(method, settings.client_secret),
    answer.params,
    redirectUri,
    answer.verifier,
    guarded,
  )
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, response)
  return {
    accessToken: tokens.access_token,
    refreshToken: tokens.refresh_token,
    expiresIn: tokens.expires_in,
    scope: tokens.scope,
    provider: id,
    issuer,
    tokenEndpoint: token,
    clientId: settings.client_id,
    method,
  }
}

export interface ApiAnswer {
  /** Undefined where the API does not say it to this token: 403 or 404. */
  readonly value: unknown
  readonly headers: Headers
}

/** Reads from the provider's API as the person. Throws `provider.unreachable` and `provider.untrusted`. */
const readApi = async (
  url: string,
  { accessToken }: Pick<Tokens, 'accessToken'>,
  guarded: ProviderRequestOptions,
): Promise<ApiAnswer> => {
  const headers = new Headers({ accept: 'application/json' })
  const response = await oauth.protectedResourceRequest(
    accessToken,
    'GET',
    new URL(url),
    headers,
    null,
    guarded,
  )
  const { status } = response
  // Some APIs say with 403 that there were too many requests.
  if (status === 429 || status >= 500 || response.headers.get('x-ratelimit-remaining') === '0')
    throw new Refusal('provider.unreachable', `${url} answered ${status}`)
  if (status === 403 || status === 404) return { value: undefined, headers: response.headers }
  if (status !== 200) throw new Refusal('provider.untrusted', `${url} answered ${status}`)
  const value: unknown = await response.json().catch(() => {
    throw new Refusal('provider.unreachable', `${url} answered 200, expected JSON`)
  })
  return { value, headers: response.headers }
}

export type ReadApi = (url: string) => Promise<ApiAnswer>

/** Who the access token belongs to, and why there may be no address. */
type ReadPerson = (read: ReadApi) => Promise<{ readonly person: Person; readonly unverified: string }>

/** A provider of plain OAuth 2.0. `urls`: what the operator wrote of it; `readPerson` asks its API. */
export const createOAuth2SignIn = (
  deps: ProviderDeps,
  server: OAuth2Server,
  urls: readonly string[],
  readPerson: ReadPerson,
): IdentityProvider => {
  const { runtime, id, settings } = deps
  return {
    id,
    name: settings.name ?? id,
    begin: beginOAuth2(deps, server),
    async finish({ params, state, secrets: { verifier }, retry }) {
      let step: OpenIdStep = 'authorization'
      try {
        const guarded = guardedFetch(runtime.outbound, runtime.now, urls, {})
        const answer = validatedAnswer(deps, server, { params, state })
        step = 'token'
        const tokens = await redeemOAuth2(deps, server, { params: answer, verifier }, guarded)
        step = 'userinfo'
        const { person, unverified } = await readPerson((url) => readApi(url, tokens, guarded))
        return { person, tokens, denied: denialOf(person, settings, unverified) }
      } catch (thrown) {
        throw providerRefusal(thrown, { provider: id, step, retry })
      }
    },
    denied: (person) => denialOf(person, settings),
  }
}
