// Sign-in with plain OAuth 2.0 (RFC 6749 §4.1, with PKCE). There is no ID token: the access token opens an API of the
// provider, which says whose token it is. And any such provider, by three URLs and a profile whose members the operator
// may name.
import * as oauth from 'oauth4webapi'
import type { ProviderConfig } from '../../config/schema.ts'
import { encodeBase64url } from '../../kit/bytes.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { ProviderTokens } from '../../ports/modules.ts'
import type { Person } from '../../ports/people.ts'
import type { ClientAuthMethod } from '../../ports/services.ts'
import {
  type Claims,
  type IdentityProvider,
  type ProviderDeps,
  type RoundTripSecrets,
  claimAt,
  denialOf,
  groupsOf,
  httpsUrl,
  isObject,
  plainEmail,
  samePerson,
  short,
} from './provider.ts'
import {
  type OpenIdStep,
  type ProviderRequestOptions,
  guardedFetch,
  providerRefusal,
} from './openid-requests.ts'

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

const refusedName = 'TokenRefused'
const tokenRefused = (url: string): Error =>
  Object.assign(new Error(`${url} answered 401`), { name: refusedName })

/**
 * Reads from the provider's API as the person. Throws `provider.unreachable` and `provider.untrusted`, and an error
 * of its own where the token is not good.
 */
const readApi = async (
  url: string,
  { accessToken }: Pick<Tokens, 'accessToken'>,
  guarded: ProviderRequestOptions,
): Promise<ApiAnswer> => {
  const headers = new Headers({ accept: 'application/json' })
  const response = await oauth
    .protectedResourceRequest(accessToken, 'GET', new URL(url), headers, null, guarded)
    .catch((thrown: unknown) => {
      const refused = thrown instanceof oauth.WWWAuthenticateChallengeError && thrown.status === 401
      throw refused ? tokenRefused(url) : thrown
    })
  const { status } = response
  if (status === 401) throw tokenRefused(url)
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
  const guard = (): ProviderRequestOptions => guardedFetch(runtime.outbound, runtime.now, urls, {})
  return {
    id,
    name: settings.name ?? id,
    begin: beginOAuth2(deps, server),
    async profile(tokens, former) {
      try {
        const guarded = guard()
        const { person } = await readPerson((url) => readApi(url, tokens, guarded))
        samePerson(person.subject, former)
        return person
      } catch (thrown) {
        if (thrown instanceof Error && thrown.name === refusedName) return undefined
        throw providerRefusal(thrown, { provider: id, step: 'userinfo', retry: '/login' })
      }
    },
    async finish({ params, state, secrets: { verifier }, retry }) {
      let step: OpenIdStep = 'authorization'
      try {
        const guarded = guard()
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

// Any provider of plain OAuth 2.0.

type Settings = Pick<ProviderConfig, 'claim_paths' | 'groups_claim' | 'email_verified'>
type Member = keyof NonNullable<Settings['claim_paths']>

/** The first member that is there; many APIs write `null` for what they do not say. */
const memberOf = (profile: Claims, member: Member, { claim_paths: paths }: Settings): unknown =>
  paths?.[member].map((path) => claimAt(profile, path)).find((value) => value !== undefined && value !== null)

const subjectOf = (value: unknown): string => {
  const subject = Number.isSafeInteger(value) ? String(value) : short(value, 255)
  if (subject === undefined)
    throw new Refusal(
      'provider.untrusted',
      'the profile has no usable user ID: name the member in claims.subject',
    )
  return subject
}

interface Profile {
  readonly person: Person
  readonly unverified: string
}

/** An address counts where the provider says that it is verified, or where the operator vouches for all of them. */
export const personOf = (profile: Claims, provider: string, settings: Settings): Profile => {
  const member = (name: Member): unknown => memberOf(profile, name, settings)
  const said = member('email_verified')
  const counts =
    said === true || said === 'true' || (said === undefined && settings.email_verified === 'trust')
  const written = plainEmail(member('email'))
  const email = counts ? written : undefined
  const [login, name, avatar] = [short(member('login')), short(member('name')), httpsUrl(member('avatar'))]
  const groups = claimAt(profile, settings.groups_claim)
  return {
    person: {
      provider,
      subject: subjectOf(member('subject')),
      groups: groupsOf(groups),
      ...(login ? { login } : {}),
      ...(email ? { email } : {}),
      ...(name ? { name } : {}),
      ...(avatar ? { avatar } : {}),
    },
    unverified:
      written === undefined
        ? 'the profile has no email address'
        : `the provider does not say that ${written} is verified; if it gives out only addresses that it has checked, set oauth_providers.${provider}.email_verified: trust`,
  }
}

export const createOAuth2Provider = (deps: ProviderDeps): IdentityProvider => {
  const { id, settings } = deps
  const {
    authorization_url: authorization = '',
    token_url: token = '',
    userinfo_url: userinfo = '',
  } = settings
  const server: OAuth2Server = {
    issuer: settings.issuer,
    authorization,
    token,
    method:
      settings.client_secret === undefined
        ? 'none'
        : (settings.token_endpoint_auth_method ?? 'client_secret_post'),
  }
  return createOAuth2SignIn(deps, server, [authorization, token, userinfo], async (read) => {
    const { value } = await read(userinfo)
    if (!isObject(value)) throw new Refusal('provider.untrusted', `${userinfo} answered with no JSON object`)
    return personOf(value, id, settings)
  })
}
