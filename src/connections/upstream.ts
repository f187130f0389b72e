// An upstream with a sign-in: its URL, the operator's settings, the origins that the operator configured, and
// the guarded requests to its authorization server.
import * as oauth from 'oauth4webapi'
import { utf8Text } from '../kit/bytes.ts'
import { asFetch } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { type Normalizing, normalized } from '../kit/token-response.ts'
import { withoutQuery } from '../kit/urls.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service, UpstreamAuth } from '../ports/services.ts'
import { type Proving, type Send, sendProven } from './dpop.ts'

export interface AuthorizedUpstream {
  /** Id of the service. */
  readonly id: string
  readonly name: string
  /** The MCP endpoint. */
  readonly url: URL
  /** The other URL where it may be, for a URL without a path. */
  readonly alternative?: URL | undefined
  /** Of the endpoint: what an account is for, whatever the service is called. */
  readonly origin: string
  readonly auth: UpstreamAuth
  /**
   * Origins that may be private or plain http, because the operator wrote them for this upstream; what an
   * upstream says of itself is never added.
   */
  readonly origins: readonly string[]
}

/** The settings that token requests need, and the origins they may go to. */
export type Partner = Pick<AuthorizedUpstream, 'auth' | 'origins'>

export const silent: UpstreamAuth = { type: 'auto', headers: {}, extra_params: {}, allow_origins: [] }

/** Undefined for a service that is not reached over HTTP: nobody signs in to it. */
export const upstreamOf = (service: Service): AuthorizedUpstream | undefined => {
  if (service.upstream.kind !== 'http') return undefined
  const { auth = silent } = service
  // A WebSocket server signs people in like any other: over HTTP, at the same URL.
  const url = new URL(service.upstream.url.replace(/^ws/, 'http'))
  const written = [
    url.href,
    auth.issuer,
    auth.authorization_endpoint,
    auth.token_endpoint,
    auth.revocation_endpoint,
  ]
  // An administrator who added it over HTTP may not open the gateway's network.
  const origins = service.upstream.publicOnly
    ? []
    : [
        ...written.flatMap((url) => (url !== undefined && URL.canParse(url) ? [new URL(url).origin] : [])),
        ...auth.allow_origins,
      ]
  const alternative = service.upstream.withoutPath ? { alternative: new URL(`/${url.search}`, url) } : {}
  return { id: service.id, name: service.name, url, ...alternative, origin: url.origin, auth, origins }
}

/** The path of the accounts page. */
export const connectPath = (service: string): string => `/connect/${service}`

/** Types of `upstream_auth` whose tokens are got without a browser. */
const directTypes: ReadonlySet<string> = new Set([
  'id_jag',
  'token_exchange',
  'client_credentials',
  'workload',
])
export const isDirect = ({ auth }: Pick<AuthorizedUpstream, 'auth'>): boolean => directTypes.has(auth.type)

/** Whether people may have accounts there that calls are made with. */
export const isPersonal = ({ auth }: AuthorizedUpstream): boolean =>
  auth.type === 'oauth' || auth.type === 'auto'

/**
 * What the upstream, or the authorization server it names, says cannot be believed. Nothing is sent there.
 */
export const untrusted = ({ name }: Pick<AuthorizedUpstream, 'name'>, why: string): Refusal =>
  new Refusal('connection.untrusted', `${name}: ${why}`, {
    page: { facts: [{ name: 'MCP server', value: name }] },
  })

/** The upstream's authorization server does not answer as it should; it may later. */
export const unreachable = ({ name }: Pick<AuthorizedUpstream, 'name'>, why: string): Refusal =>
  new Refusal('connection.unreachable', `${name}: ${why}`, {
    headers: { 'retry-after': '5' },
    page: { facts: [{ name: 'MCP server', value: name }] },
  })

// What an endpoint of an authorization server said when it refused a request, as the operator may read it.

/** Longest part of somebody else's prose that is kept. */
const longestText = 300

const members = ['error_description', 'message', 'detail', 'title', 'error'] as const

const plain = (text: string): string =>
  text
    .replaceAll(/<(script|style)[\s\S]*?<\/\1>|<[^>]*>/gi, ' ')
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .slice(0, longestText)

/** Undefined for what is no JSON object. */
const objectOf = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined
  } catch {
    return undefined
  }
}

/** The sentence of an error answer: a member that holds prose, or the text itself without its markup. */
const sentenceOf = (text: string): string => {
  const value = objectOf(text)
  const found =
    value && members.map((name) => value[name]).find((one) => typeof one === 'string' && one !== '')
  return plain(typeof found === 'string' ? found : text)
}

/** Form fields whose values must not come back into a log, even if the server repeats them. */
const secretFields = [
  ...['code', 'code_verifier', 'refresh_token', 'client_secret', 'client_assertion', 'token'],
  ...['assertion', 'subject_token'],
]

const without = (text: string, sent: URLSearchParams | undefined): string =>
  secretFields
    .flatMap((name) => sent?.get(name) ?? [])
    .reduce((kept, secret) => (secret === '' ? kept : kept.replaceAll(secret, '…')), text)

const errorMember = (text: string): string | undefined => {
  const error = objectOf(text)?.['error']
  return typeof error === 'string' && error !== '' ? error : undefined
}

/** An answer with a status that is no success. */
interface EndpointError extends Error {
  readonly status: number
  /** RFC 6749 §5.2, RFC 7591 §3.2.2; undefined where the answer has none. */
  readonly error: string | undefined
  readonly maxAge: number | undefined
}

const errorName = 'EndpointError'

/** `sent`: the form that was answered. */
export const endpointError = (
  url: string,
  status: number,
  text: string,
  sent?: URLSearchParams,
): EndpointError => {
  // Before anything is cut: of half a secret nothing would be found.
  const clean = without(text, sent)
  const [name, sentence] = [errorMember(clean)?.slice(0, 60), sentenceOf(clean)]
  const words = [name, sentence === '' || sentence === name ? undefined : `"${sentence}"`].filter(
    (word) => word !== undefined,
  )
  const error = new Error(
    `${withoutQuery(url)} answered ${status}${words.length > 0 ? `: ${words.join(' ')}` : ''}`,
  )
  const maxAge = Number(objectOf(text)?.['max_age'] ?? Number.NaN)
  return Object.assign(error, {
    name: errorName,
    status,
    error: errorMember(text),
    maxAge: Number.isSafeInteger(maxAge) && maxAge >= 0 ? maxAge : undefined,
  })
}

const isEndpointError = (thrown: unknown): thrown is EndpointError =>
  thrown instanceof Error && thrown.name === errorName

// What can go wrong at an upstream's authorization server, in the words of our refusals.

/**
 * The error member of a token, registration or revocation answer (RFC 6749 §5.2, RFC 7591 §3.2.2);
 * undefined for everything else: an outage (5xx) and a pace (429) are no verdict.
 */
export const errorOf = (thrown: unknown): string | undefined =>
  isEndpointError(thrown) && thrown.status >= 400 && thrown.status < 500 && thrown.status !== 429
    ? thrown.error
    : undefined

/** RFC 6749 §5.2: only these say that asking again with the same credentials is pointless. Everything else may pass. */
export const isPermanent = (error: string | undefined): boolean =>
  error === 'invalid_grant' || error === 'invalid_client'

/** Whether somebody has decided, so that asking again changes nothing. */
export const isVerdict = (thrown: unknown): thrown is Refusal =>
  thrown instanceof Refusal &&
  (thrown.code === 'upstream.credential' ||
    (thrown.code.startsWith('connection.') && thrown.code !== 'connection.unreachable'))

/** RFC 6749 §5.2: the request itself was refused, credentials or assertion. */
export const isRefused = (thrown: unknown): boolean =>
  isEndpointError(thrown) && (thrown.status === 400 || thrown.status === 401)

/** How old a sign-in may be at most for the server that refused one, seconds (RFC 9470 §3). */
export const maxAgeOf = (thrown: unknown): number | undefined =>
  isEndpointError(thrown) ? thrown.maxAge : undefined

/** Whatever was thrown, to be thrown once more. */
export const errorFrom = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(String(thrown))

type Facts = readonly { readonly name: string; readonly value: string }[]
const about = (upstream: AuthorizedUpstream, more: Facts = []) => ({
  page: { facts: [{ name: 'MCP server', value: upstream.name }, ...more] },
})

/** Answers that may be others in a moment: a timeout, a pace, an outage (RFC 9110 §15.5.9, RFC 6585 §4). */
const passes = (status: number): boolean =>
  status >= 500 || status === 408 || status === 425 || status === 429

/**
 * Whether the gateway itself is turned away, so that asking again is pointless and the operator has to act.
 */
const turnedAway = (thrown: EndpointError, step: ConnectFailure): boolean => {
  if (step === 'registration' || step === 'client_credentials') return true
  const error = errorOf(thrown)
  // RFC 6749 §5.2: 400 is about the request; every other status without an error member is about who asks,
  // or where.
  return error === undefined
    ? thrown.status >= 400 && thrown.status !== 400
    : error === 'invalid_client' || error === 'unauthorized_client'
}

type ConnectFailure = 'registration' | 'code' | 'refresh' | 'client_credentials' | 'assertion'

/**
 * What the server says is somebody else's prose: in the log for the operator, cleaned and cut, and never on
 * a page. `more`: facts for the page.
 */
export const signInRefusal = (
  thrown: unknown,
  upstream: AuthorizedUpstream,
  step: ConnectFailure,
  more?: Facts,
): Refusal => {
  if (thrown instanceof Refusal) {
    if (thrown.code === 'outbound.refused') return untrusted(upstream, thrown.message)
    return thrown.code === 'outbound.failed' ? unreachable(upstream, thrown.message) : thrown
  }
  const why = `${step}: ${thrown instanceof Error ? thrown.message : String(thrown)}`
  if (!isEndpointError(thrown)) {
    // An answer that is no registration will be none the next time either; one that holds no tokens may be
    // a mishap.
    return step === 'registration' ? registrationRefusal(upstream, why, more) : unreachable(upstream, why)
  }
  const error = errorOf(thrown)
  if (passes(thrown.status) || error === 'temporarily_unavailable' || error === 'server_error')
    return unreachable(upstream, why)
  const facts: Facts = [
    ...(more ?? []),
    { name: 'Response', value: `${thrown.status} ${error?.slice(0, 60) ?? ''}`.trim() },
  ]
  if (turnedAway(thrown, step)) return registrationRefusal(upstream, why, facts)
  if (error === undefined) return unreachable(upstream, why)
  return new Refusal('connection.denied', `${upstream.name}: ${why}`, about(upstream, facts))
}

/** The operator has to register the gateway, or to correct what was registered. */
export const registrationRefusal = (upstream: AuthorizedUpstream, why: string, more?: Facts): Refusal => {
  const key = `mcp_services.${upstream.id}.upstream_auth`
  const advice =
    upstream.auth.client_id === undefined
      ? `register an OAuth client there and set ${key}.client_id and issuer`
      : `check ${key}: client_id, client_secret and redirect_uri must match the registration`
  return new Refusal('connection.registration', `${upstream.name}: ${why}; ${advice}`, about(upstream, more))
}

/** An error that the browser brought back from the authorization server (RFC 6749 §4.1.2.1), after `iss` was checked. */
export const responseRefusal = (thrown: unknown, upstream: AuthorizedUpstream): Refusal => {
  if (thrown instanceof oauth.AuthorizationResponseError) {
    const { error, error_description: words } = thrown
    if (error === 'server_error' || error === 'temporarily_unavailable')
      return unreachable(upstream, `authorization error ${error}`)
    const said = typeof words === 'string' ? ` "${sentenceOf(words)}"` : ''
    return new Refusal(
      'connection.denied',
      `${upstream.name}: authorization error ${error.slice(0, 60)}${said}`,
      about(upstream),
    )
  }
  // State, `iss` and missing parameters: the answer is not from whom it should be.
  return untrusted(upstream, thrown instanceof Error ? thrown.message : String(thrown))
}

// Guarded requests to an authorization server, with one deadline for all requests of a step.

/** A person waits for all requests of one step together. */
const stepMs = 9_000
const requestMs = 5_000
const maxBytes = 262_144

export type FoundDocument =
  | { readonly kind: 'document'; readonly document: Readonly<Record<string, unknown>> }
  | { readonly kind: 'absent' | 'down'; readonly why: string }

interface Exchange {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: URLSearchParams | string | undefined
}

/**
 * Options for the library: every request is guarded, and odd answers are made what the RFCs say before it
 * reads them.
 */
export interface FetchOptions {
  readonly [oauth.customFetch]: (url: string, exchange: Exchange) => Promise<Response>
  readonly [oauth.allowInsecureRequests]: true
}

export interface GuardedFetch {
  /**
   * A JSON object at a URL. `absent`: there is none (4xx, a redirect, or something that is not JSON); `down`:
   * nobody knows (5xx, 429, no connection). Throws `outbound.refused`.
   */
  document(url: string): Promise<FoundDocument>
  /** Status and WWW-Authenticate fields of a request's answer. */
  ask(
    url: string,
    request: {
      readonly method: 'GET' | 'POST'
      readonly headers: Readonly<Record<string, string>>
      readonly body?: string
    },
  ): Promise<{ readonly status: number; readonly authenticate: readonly string[] }>
  readonly through: FetchOptions
}

const fetchOptions = (send: Send, normalizing: Normalizing): FetchOptions => ({
  // The guard decides what may be plain http; the library's own rule knows nothing of the operator's word.
  [oauth.allowInsecureRequests]: true,
  [oauth.customFetch]: async (url, { method, headers, body }) => {
    const sent = { method, headers, ...(body === undefined ? {} : { body }) }
    const answer = await normalized(await send(url, sent), normalizing)
    if (answer.status < 300) return answer
    throw endpointError(
      url,
      answer.status,
      await answer.text(),
      body instanceof URLSearchParams ? body : undefined,
    )
  },
})

interface GuardedFetchOptions extends Normalizing {
  /** What token requests are proven with. */
  readonly proving?: Proving | undefined
}

export const createGuardedFetch = (
  { now, outbound }: Pick<Runtime, 'now' | 'outbound'>,
  { origins }: Pick<AuthorizedUpstream, 'origins'>,
  allMs = stepMs,
  { proving, ...normalizing }: GuardedFetchOptions = {},
): GuardedFetch => {
  const deadline = now() + allMs
  const within: Runtime['outbound'] = (url, options) => {
    const left = deadline - now()
    if (left <= 0) throw new Refusal('outbound.failed', 'authorization server timed out')
    return outbound(url, { ...options, origins, timeoutMs: Math.min(requestMs, left), maxBytes })
  }
  const fetch = asFetch((url, options) => within(url, options))
  return {
    async document(url) {
      const answer = await within(url, { headers: { accept: 'application/json' } }).catch(
        (error: unknown) => {
          if (error instanceof Refusal && error.code === 'outbound.failed') return error
          throw error
        },
      )
      if (answer instanceof Refusal) return { kind: 'down', why: answer.why }
      if (answer.status >= 500 || answer.status === 429)
        return { kind: 'down', why: `${url} answered ${answer.status}` }
      const document = answer.status === 200 ? objectOf(utf8Text(answer.body)) : undefined
      return document
        ? { kind: 'document', document }
        : {
            kind: 'absent',
            why: `${url} answered ${answer.status}${answer.status === 200 ? ' with something that is not JSON' : ''}`,
          }
    },
    async ask(url, { method, headers, body }) {
      const answer = await within(url, {
        method,
        headers,
        headOnly: true,
        ...(body !== undefined && { body }),
      })
      const field = answer.headers.get('www-authenticate')
      return { status: answer.status, authenticate: field === null ? [] : [field] }
    },
    through: fetchOptions(proving ? sendProven(fetch, proving) : fetch, normalizing),
  }
}
