// Where a server's endpoint is, as far as it is not the URL that was configured: another path of the same
// origin, shown by a redirect, or found for a URL without a path; and whether the server is there.
import { isLostConnection } from '../kit/log.ts'
import { isRepeatableText } from '../mcp/envelope.ts'
import type { Fetch, Upstream } from '../ports/call.ts'
import type { Service, ServiceState } from '../ports/services.ts'
import type { RuntimeTransports } from '../ports/runtime.ts'

/** Path and query of the endpoint, without what a caller's own query adds. */
export interface EndpointPath {
  readonly pathname: string
  /** With its `?`, or empty. */
  readonly search: string
}

/** A request and the head of its answer. */
export interface EndpointAnswer {
  readonly method: string
  /** Path and query as sent. */
  readonly path: string
  /** The request named a session: a 404 is about that. */
  readonly session: boolean
  readonly status: number
  readonly location: string | undefined
  readonly type: string | undefined
}

export interface Endpoint {
  readonly origin: string
  /** As configured. */
  readonly written: EndpointPath
  /** Where calls go at the moment; the same object until that changes. */
  current(): EndpointPath
  /**
   * Whether it is known that the endpoint is where calls go; `elsewhere` wants to hear every answer until
   * then.
   */
  settled(): boolean
  /**
   * The path and query to ask instead, where the answer says so and nothing is given away by it; undefined:
   * the answer stands.
   */
  elsewhere(answered: EndpointAnswer): string | undefined
}

/** What was found out is asked anew after this long, because servers are moved. */
const knownMs = 600_000
/** A URL without a path at which neither place answered is not searched again for this long. */
const nowhereMs = 60_000
/** So often one request may be sent to another path. */
export const mostMoves = 2

const pathnameOf = (path: string): string => {
  const mark = path.indexOf('?')
  return mark === -1 ? path : path.slice(0, mark)
}

const isRedirect = (status: number): boolean => status === 307 || status === 308
const isNothing = (status: number): boolean => status === 404 || status === 405

/** Whether `elsewhere` has to be asked; quick, because every answer comes by here. */
export const mayMove = (endpoint: Endpoint, status: number): boolean =>
  isRedirect(status) || !endpoint.settled()

/** Whether an answer may be one of an MCP server: nobody settles on somebody's home page. */
const isMcp = ({ status, type = '' }: EndpointAnswer): boolean =>
  status === 202 ||
  status === 401 ||
  status === 403 ||
  /^\s*(?:application\/json|text\/event-stream)\s*(?:;|$)/i.test(type)

/**
 * A redirect that keeps method and body (307, 308; RFC 9110 §15.4.8, §15.4.9) within the origin is followed:
 * no credential goes anywhere new. Every other redirect stands, and is told. A URL without a path means
 * `/mcp`, and `/` where there is nothing at `/mcp`.
 */
export const createEndpoint = (
  { url, withoutPath = false }: { readonly url: string; readonly withoutPath?: boolean | undefined },
  now: () => number,
): Endpoint => {
  const { origin, pathname, search } = new URL(url)
  const written: EndpointPath = { pathname, search }
  let known: { readonly path: EndpointPath; readonly until: number } | undefined
  let settledUntil = withoutPath ? 0 : Infinity

  const current = (): EndpointPath => {
    if (!known) return written
    if (now() < known.until) return known.path
    known = undefined
    return written
  }
  const learn = (path: EndpointPath): void => void (known = { path, until: now() + knownMs })
  const settle = (ms: number): undefined => void (settledUntil = Math.max(settledUntil, now() + ms))

  /** Where a redirect leads within the origin. */
  const redirected = (path: string, location: string): string | undefined => {
    const from = `${origin}${path}`
    const to = URL.canParse(location, from) ? new URL(location, from) : undefined
    const next = to && `${to.pathname}${to.search}`
    if (!to || to.origin !== origin || to.username !== '' || to.password !== '' || next === path)
      return undefined
    if (pathnameOf(path) === current().pathname && to.search === new URL(from).search)
      learn({ pathname: to.pathname, search: current().search })
    return next
  }

  /** For a URL without a path: the other place. */
  const another = (answered: EndpointAnswer): string | undefined => {
    const { path, method, session, status } = answered
    const here = current()
    if (method !== 'POST' || session || pathnameOf(path) !== here.pathname) return undefined
    const query = path.slice(here.pathname.length)
    if (here === written) {
      if (!isNothing(status)) return settle(knownMs)
      learn({ pathname: '/', search })
      return `/${query}`
    }
    if (!isNothing(status) && isMcp(answered)) return settle(knownMs)
    // Nothing there either: the answer of the first place is the one that counts.
    known = undefined
    settle(nowhereMs)
    return isNothing(status) ? `${written.pathname}${query}` : undefined
  }

  return {
    origin,
    written,
    current,
    settled: () => settledUntil === Infinity || now() < settledUntil,
    elsewhere(answered) {
      const { path, status, location } = answered
      if (isRedirect(status)) return location === undefined ? undefined : redirected(path, location)
      return settledUntil === Infinity ? undefined : another(answered)
    },
  }
}

/** One for each server over HTTP, shared by every way to it; undefined for all others. */
export type EndpointOf = (service: Service) => Endpoint | undefined

export const createEndpoints = (now: () => number): EndpointOf => {
  const known = new WeakMap<Service, Endpoint>()
  return (service) => {
    const { upstream } = service
    if (upstream.kind !== 'http' || !upstream.url.startsWith('http')) return undefined
    const endpoint = known.get(service) ?? createEndpoint(upstream, now)
    known.set(service, endpoint)
    return endpoint
  }
}

export interface EndpointRequest extends RequestInit {
  readonly headers: Headers
  readonly body?: string
}

/**
 * fetch to an endpoint: what leads elsewhere within the origin is followed, and a request that may be sent
 * twice is, once, where the server was just closing the connection (RFC 9110 §9.2.2).
 */
export const fetchAt = async (
  fetch: Fetch,
  endpoint: Endpoint | undefined,
  url: string,
  init: EndpointRequest,
  repeatable: boolean,
): Promise<Response> => {
  const send = (to: string): Promise<Response> =>
    fetch(to, init).catch((error: unknown) => {
      if (repeatable && init.signal?.aborted !== true && isLostConnection(error)) return fetch(to, init)
      throw error
    })
  let response = await send(url)
  if (!endpoint || !url.startsWith(endpoint.origin)) return response
  let path = url.slice(endpoint.origin.length)
  for (let moves = 0; moves < mostMoves && mayMove(endpoint, response.status); moves++) {
    const { status, headers } = response
    const about = { method: init.method ?? 'GET', path, session: init.headers.has('mcp-session-id'), status }
    const next = endpoint.elsewhere({
      ...about,
      location: headers.get('location') ?? undefined,
      type: headers.get('content-type') ?? undefined,
    })
    if (next === undefined) return response
    await response.body?.cancel().catch(() => undefined)
    path = next
    response = await send(`${endpoint.origin}${next}`)
  }
  return response
}

/** The server for a call whose token is bound to a key: fetch proves each request by itself, the moved ones too. */
export const provenUpstream = (
  { origin, path, publicOnly }: Extract<Upstream, { kind: 'http' }>,
  endpoint: Endpoint | undefined,
  transports: RuntimeTransports,
): Upstream => {
  const { fetch } = publicOnly ? transports.publicOnly : transports
  const url = `${origin}${path}`
  return {
    kind: 'local',
    url,
    async handle(request) {
      const { method, signal } = request
      const body = method === 'POST' ? await request.text() : undefined
      const headers = new Headers(request.headers)
      // fetch would remove a Content-Encoding.
      headers.set('accept-encoding', 'identity')
      const init = { method, headers, signal, redirect: 'manual' as const }
      const repeatable = isRepeatableText(method, body)
      return fetchAt(fetch, endpoint, url, body === undefined ? init : { ...init, body }, repeatable)
    },
  }
}

// Where a call goes: the configured endpoint, what follows it in the request, and a query that carries no
// token.

/** The same name however it is encoded; undefined when it cannot be read. */
const nameOf = (pair: string): string | undefined => {
  const end = pair.indexOf('=')
  try {
    return decodeURIComponent((end === -1 ? pair : pair.slice(0, end)).replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

/**
 * The caller's query without parameters that are not theirs to send: `access_token` (RFC 6750 §2.3) and those
 * the operator configured.
 */
const cleaned = (query: string, reserved: ReadonlySet<string>): string =>
  query
    .split('&')
    .filter((pair) => {
      const name = nameOf(pair)
      return pair !== '' && name !== undefined && name !== 'access_token' && !reserved.has(name)
    })
    .join('&')

export interface Target {
  /** The endpoint as an operator would recognise it: no userinfo, no query. */
  readonly shown: string
  upstream(rest: string, query: string): Upstream
}

/** `endpoint`: where the server's endpoint is found; absent: where the URL says. */
export const createTarget = (service: Service, endpoint?: Endpoint): Target => {
  if (service.upstream.kind === 'local') {
    const { handle } = service.upstream
    const base = 'http://local.invalid/mcp'
    return {
      shown: 'this process',
      upstream: (rest, query) => ({
        kind: 'local',
        handle,
        url: `${base}${rest}${query === '' ? '' : `?${cleaned(query, new Set())}`}`,
      }),
    }
  }
  if (service.upstream.kind === 'bridge') {
    const bridge: Upstream = { kind: 'bridge', carry: service.upstream.carry }
    return { shown: 'its command', upstream: () => bridge }
  }
  const url = new URL(service.upstream.url)
  const server = {
    kind: 'http',
    origin: url.origin,
    host: url.host,
    ...(service.upstream.publicOnly ? { publicOnly: true as const } : {}),
  } as const
  const at = (path: EndpointPath) => {
    const own = path.search.slice(1)
    return {
      path,
      own,
      reserved: new Set(own.split('&').map((pair) => nameOf(pair) ?? '')),
      trimmed: path.pathname.endsWith('/') ? path.pathname.slice(0, -1) : path.pathname,
      plain: { ...server, path: `${path.pathname}${path.search}` } as Upstream,
    }
  }
  let found = at({ pathname: url.pathname, search: url.search })
  return {
    shown: `${url.origin}${url.pathname}`,
    upstream(rest, query) {
      const path = endpoint?.current()
      if (path && path !== found.path) found = at(path)
      if (rest === '' && query === '') return found.plain
      const { own, reserved, trimmed } = found
      const whole = [own, cleaned(query, reserved)].filter(Boolean).join('&')
      return {
        ...server,
        path: `${rest === '' ? found.path.pathname : trimmed + rest}${whole === '' ? '' : `?${whole}`}`,
      }
    },
  }
}

// Whether it is there. Who calls a server that is long away hears so at once, instead of waiting as long as
// everybody before, and is served again soon after it is back.

export interface CircuitBreaker {
  /** Whether a call may go; true at once as long as there is no doubt. */
  gate(): boolean | Promise<boolean>
  /** The server answered something. */
  heard(): void
  /** It answered nothing, and that took this long (ms). */
  missed(tookMs: number): void
  /** As far as calls have shown. */
  readonly state: ServiceState
}

/** So many in a row, and nothing heard meanwhile, make a doubt. */
const mostMissed = 3
/**
 * A failure that is quicker than this costs nobody anything: the next call tries again, and finds the server
 * the moment it is back.
 */
const slowMs = 1000
/**
 * While a server is away it is looked for this often, by the call that comes then; also the longest such a
 * look may take.
 */
const againMs = 2000

/**
 * `look` resolves when the server answers anything at all. Calls that time out are no proof by themselves:
 * anybody may call a tool that hangs, and must not have the others refused. So a doubt is settled by a look
 * of the gateway's own, before anybody is told that the server is away.
 */
export const createCircuitBreaker = ({
  now,
  look,
}: {
  readonly now: () => number
  readonly look: () => Promise<unknown>
}): CircuitBreaker => {
  let missed = 0
  let seen = false
  let away = false
  let lookedAt = -Infinity
  let looking: Promise<boolean> | undefined

  const heard = (): void => {
    missed = 0
    away = false
    seen = true
  }
  const found = (there: boolean): boolean => {
    if (there) heard()
    else away = true
    looking = undefined
    return there
  }
  const begin = (): Promise<boolean> => {
    lookedAt = now()
    looking = look().then(
      () => found(true),
      () => found(false),
    )
    return looking
  }

  return {
    gate() {
      if (missed < mostMissed) return true
      if (now() - lookedAt >= againMs) return begin()
      // Once it is known to be away nobody waits for somebody else's look.
      return away ? false : (looking ?? true)
    },
    heard,
    get state() {
      return away ? 'degraded' : seen ? 'healthy' : 'unknown'
    },
    missed(tookMs) {
      if (tookMs >= slowMs) missed++
    },
  }
}

/** Undefined for a server that is no HTTP server of its own. */
export const circuitBreakerOf = (
  { upstream, timeoutMs }: Service,
  { transports, now }: { readonly transports: RuntimeTransports; readonly now: () => number },
): CircuitBreaker | undefined => {
  if (upstream.kind !== 'http' || !upstream.url.startsWith('http')) return undefined
  const { url, publicOnly } = upstream
  return createCircuitBreaker({
    now,
    // Safe and without a credential; 404 or 401 is an answer as good as any (RFC 9110 §9.3.7).
    async look() {
      const { fetch } = publicOnly ? transports.publicOnly : transports
      const answer = await fetch(url, {
        method: 'OPTIONS',
        redirect: 'manual',
        signal: AbortSignal.timeout(Math.min(againMs, timeoutMs)),
      })
      await answer.body?.cancel()
    },
  })
}
