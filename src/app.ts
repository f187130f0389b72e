// The HTTP application: Hono routes each request by path and method, middleware checks it, and one error
// handler turns refusals into responses.
import { type Context, Hono, type MiddlewareHandler } from 'hono'
import { secureHeaders } from 'hono/secure-headers'
import { type RequestUrl, hostOf, isAskedAhead, requestUrl, transportSecurity } from './kit/http.ts'
import { levelOf, refusalOf, refusedFields } from './kit/log.ts'
import {
  type DocumentationOf,
  Refusal,
  type RequestFacts,
  errorUri,
  oauthErrorBody,
  rpcError,
} from './kit/refusal.ts'
import { redirectHost } from './kit/urls.ts'
import { problemFor } from './pages/problem-texts.ts'
import type { Fetch } from './ports/call.ts'
import type { Handler, Route, Surface } from './ports/modules.ts'
import type { Pages, PagesFor } from './ports/pages.ts'
import type { Log, RequestContext } from './ports/runtime.ts'
import type { Directory } from './ports/services.ts'
import { type createFetchProxy, headOf } from './proxy/fetch.ts'
import type { Cors, HostCheck, LocateCall } from './proxy/resolve.ts'
import type { AdmitSocket } from './proxy/transports/client-websocket.ts'
import { defaultEndpoints } from './default-endpoints.ts'
import { type Handlers, routeTable } from './routes.ts'
import type { ServicesRefresh } from './services/registry.ts'

interface AppOptions {
  readonly handlers: Handlers
  /** Whether RFC 7591 registration is open. */
  readonly registration: boolean
  readonly directory: Directory
  readonly cors: Cors
  readonly hostCheck: HostCheck
  readonly pages: PagesFor
  readonly log: Log
  readonly documentationOf?: DocumentationOf
  /** Whose request this is, as far as is known. */
  readonly factsOf: (request: Request) => RequestFacts
  /** The `DPoP-Nonce` of its answer. */
  readonly nonceOf: (request: Request) => string | undefined
  readonly redirectTo: (uri: string, params: Readonly<Record<string, string>>) => string
}

type Env = {
  readonly Bindings: { readonly context: RequestContext }
  readonly Variables: { route: Route }
}

/** No legitimate form or JSON body comes near 64 kB, but for those of routes that say so. */
const maxBodyBytes = 65_536

const pathOf = (request: Request): string => new URL(request.url).pathname
const wantsHtml = (request: Request): boolean => (request.headers.get('accept') ?? '').includes('text/html')

/**
 * The path that Hono matches. Its first segment says at which hosts a route exists; a path that must not
 * match the table has none. A path at a host of a service belongs to the service first, whatever the table
 * has there.
 */
const routingPath = (directory: Directory, request: Request, context: RequestContext | undefined): string => {
  if (context?.unroutable) return '/'
  const path = pathOf(request)
  const host = directory.hosted ? hostOf(request) : undefined
  if (host === undefined || !directory.host(host)) return `/issuer${path}`
  return directory.locate(path, host) ? '/' : `/services${path}`
}

const routedPaths = ({ paths, hosts }: Route): readonly string[] => [
  ...(hosts === 'services' ? [] : paths.map((path) => `/issuer${path}`)),
  ...(hosts === undefined ? [] : paths.map((path) => `/services${path}`)),
]

/**
 * For requests that a proxy in front may have read differently: no path of the gateway is percent-encoded,
 * and no body compressed.
 */
const refuseAmbiguous = (request: Request): void => {
  const path = pathOf(request)
  if (path.includes('%')) throw new Refusal('route.unknown', path)
  const coding = request.headers.get('content-encoding')
  if (coding !== null && coding.toLowerCase() !== 'identity')
    throw new Refusal('request.encoding', coding.slice(0, 40), {
      say: 'Send the body without a Content-Encoding.',
    })
}

const redirect = (status: 307 | 308, location: string): Response =>
  new Response(null, { status, headers: { location, 'cache-control': 'no-store' } })

/**
 * Plain http at an https gateway: a page is redirected; any other request may have exposed a secret already.
 */
const toHttps = (
  request: Request,
  { plainHttp }: RequestContext,
  origin: string | undefined,
): Response | undefined => {
  if (origin === undefined || !plainHttp || !origin.startsWith('https:')) return undefined
  const { pathname, search } = new URL(request.url)
  if (request.method !== 'GET' && request.method !== 'HEAD')
    throw new Refusal('request.plain-http', `${request.method} ${pathname}`)
  return redirect(308, `${origin}${pathname}${search}`)
}

/**
 * A browser that used another name of a loopback gateway is redirected to the issuer, whose host has the
 * cookies.
 */
const toIssuer = (request: Request, { issuer, origins }: Directory): Response | undefined => {
  const { host, pathname, search } = new URL(request.url)
  const alias = host !== new URL(issuer).host && origins.some((origin) => new URL(origin).host === host)
  return alias && request.method === 'GET' && wantsHtml(request)
    ? redirect(307, `${issuer}${pathname}${search}`)
    : undefined
}

/** A browser throws this away and asks again when the person comes (HTML, speculative loading). */
const notYet = ({ method }: Request): Response =>
  new Response(null, { status: method === 'HEAD' ? 200 : 503, headers: { 'cache-control': 'no-store' } })

/**
 * Handlers bound a body of unknown length while they read it. hono/body-limit is not used: it reads such a
 * body before the handler runs and copies the Request, which fails for the Request of @hono/node-server
 * unless that replaces the global one.
 */
const refuseLargeBody = ({ headers }: Request, { maxBody = maxBodyBytes }: Route): void => {
  if (Number(headers.get('content-length') ?? 0) > maxBody)
    throw new Refusal('request.too-large', `over ${maxBody} bytes`, { headers: { connection: 'close' } })
}

/** What every route asks of a request before its handler sees it. */
const checkRequest = (
  routeOf: (request: Request, context: RequestContext) => Route,
  { hostCheck, directory }: AppOptions,
): MiddlewareHandler<Env> => {
  const early = (route: Route, request: Request, context: RequestContext): Response | undefined => {
    const origin = route.hosts === 'any' ? undefined : hostCheck.host(hostOf(request))
    const secure = toHttps(request, context, origin)
    if (secure) return secure
    refuseAmbiguous(request)
    if (route.cors && request.method === 'OPTIONS') return new Response(null, { status: 204 })
    refuseLargeBody(request, route)
    if (route.changesState && ['GET', 'HEAD'].includes(request.method) && isAskedAhead(request))
      return notYet(request)
    return route.issuerOnly ? toIssuer(request, directory) : undefined
  }
  return async (c, next) => {
    const route = routeOf(c.req.raw, c.env.context)
    c.set('route', route)
    return early(route, c.req.raw, c.env.context) ?? (await next())
  }
}

const refuseMethod = (c: Context<Env>): never => {
  throw new Refusal('request.method', c.req.method, {
    headers: { allow: Object.keys(c.var.route.methods).join(', ') },
  })
}

const pairs = (flat: readonly string[]): [string, string][] =>
  flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? ''] as [string, string]] : []))

/**
 * X-Request-Id, and the CORS headers where other origins may read the response. hono/cors is not used: it
 * tells an origin that is not allowed which methods and headers exist, and it cannot allow `Mcp-Param-*`
 * beside a list (test/flow/cross-origin.test.ts compares every field).
 */
const responseHeaders = ({ cors, nonceOf }: Pick<AppOptions, 'cors' | 'nonceOf'>): MiddlewareHandler<Env> => {
  const crossOrigin = ({ method, headers }: Request, { methods }: Route): readonly string[] => {
    const origin = headers.get('origin') ?? undefined
    if (method !== 'OPTIONS') return cors.answer(origin)
    const requested = headers.get('access-control-request-headers') ?? undefined
    return cors.preflight({ origin, headers: requested, methods: [...Object.keys(methods), 'OPTIONS'] })
  }
  return async (c, next) => {
    await next()
    const { headers } = c.res
    headers.set('x-request-id', c.env.context.requestId)
    const nonce = nonceOf(c.req.raw)
    if (nonce !== undefined) headers.set('dpop-nonce', nonce)
    const { route } = c.var
    for (const [name, value] of route?.cors ? pairs(crossOrigin(c.req.raw, route)) : []) {
      if (name === 'Vary') headers.append(name, value)
      else headers.set(name, value)
    }
  }
}

/**
 * HSTS of an https issuer and nosniff. Pages set the stricter headers themselves (kit/html.ts); JSON needs no
 * others.
 */
const securityHeaders = (issuer: string): MiddlewareHandler<Env> =>
  secureHeaders({
    strictTransportSecurity: transportSecurity(issuer)[1] ?? false,
    crossOriginResourcePolicy: false,
    crossOriginOpenerPolicy: false,
    originAgentCluster: false,
    referrerPolicy: false,
    xDnsPrefetchControl: false,
    xDownloadOptions: false,
    xFrameOptions: false,
    xPermittedCrossDomainPolicies: false,
    xXssProtection: false,
    removePoweredBy: false,
  })

/** The route of a path that is not in the table: an MCP endpoint opened in a browser, or nothing. */
const unlistedRoute = ({ handlers, directory }: AppOptions) => {
  const notFound: Handler = (request) => {
    directory.assertComplete()
    return Promise.reject(new Refusal('route.unknown', pathOf(request)))
  }
  const methods = { GET: notFound, POST: notFound, PUT: notFound, DELETE: notFound }
  return (request: Request, { unroutable }: RequestContext): Route => {
    const mcp = !unroutable && directory.locate(pathOf(request), hostOf(request)) !== undefined
    return mcp
      ? {
          paths: [],
          description: '',
          surface: 'page',
          cors: false,
          methods: { GET: handlers.status.connect },
        }
      : { paths: [], description: '', surface: wantsHtml(request) ? 'page' : 'json', cors: true, methods }
  }
}

// A refusal becomes the response for the surface that asked: a page, OAuth JSON, JSON-RPC or plain JSON.

interface RefusalContext {
  readonly surface: Surface
  readonly requestId: string
  /** The Accept header of the request. */
  readonly accept: string
  readonly pages: Pages
  readonly documentationOf?: DocumentationOf | undefined
  /** `iss` of authorization errors (RFC 9207 §2). */
  readonly redirectTo: (uri: string, params: Readonly<Record<string, string>>) => string
}

const ascii = (text: string): string =>
  text.replaceAll(/ [–—] /g, ': ').replaceAll(/[^\x20-\x21\x23-\x5B\x5D-\x7E]/g, "'")

const json = (status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Response =>
  new Response(JSON.stringify(body), {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers },
  })

/**
 * RFC 6749 §5.2 and §4.1.2.1: registered code, ASCII description. In a redirect nothing else: there `code`
 * means an authorization code.
 */
const oauthError = (refusal: Refusal, { documentationOf }: Pick<RefusalContext, 'documentationOf'>) => ({
  error: refusal.row.oauth,
  error_description: ascii(refusal.say),
  ...errorUri(documentationOf, refusal.code),
})

/**
 * RFC 6749 §5.2 allows further members. The caller can quote the code and the request ID to whoever helps
 * them.
 */
const oauthBody = (refusal: Refusal, { requestId, documentationOf }: RefusalContext) => ({
  ...oauthErrorBody(refusal, requestId, documentationOf),
  error_description: ascii(refusal.say),
})

const rpcBody = (refusal: Refusal, requestId: string) => ({
  jsonrpc: '2.0',
  id: refusal.detail.rpcId ?? null,
  error: rpcError(refusal, requestId),
})

const wantsPage = (accept: string): boolean => !/application\/json/.test(accept) || /text\/html/.test(accept)

const challenged = (refusal: Refusal): boolean => refusal.row.status === 401 || refusal.row.status === 403

/** Where an authorization error is sent: only to a redirect URI that belongs to the client. */
const clientLocation = (refusal: Refusal, context: RefusalContext): string | undefined => {
  const { redirect } = refusal.detail
  const state = redirect?.state === undefined ? {} : { state: redirect.state }
  return redirect && context.redirectTo(redirect.uri, { ...oauthError(refusal, context), ...state })
}

/** The page of a refusal. A client that nobody has approved gets a link on it and no redirect. */
const problemPage = (refusal: Refusal, location: string | undefined, context: RefusalContext): Response => {
  const { redirect, page } = refusal.detail
  const client = { name: redirect?.ask ?? '', host: redirectHost(redirect?.uri ?? ''), href: location ?? '' }
  const view = {
    ...problemFor(refusal.code, refusal.say),
    ...page,
    facts: page?.facts ?? [],
    docs: context.documentationOf?.(refusal.code),
    status: refusal.row.status,
    requestId: context.requestId,
  }
  return context.pages.problem(location === undefined ? view : { ...view, client })
}

export const renderRefusal = (refusal: Refusal, context: RefusalContext): Response => {
  // RFC 9110 §10.2.3: Retry-After says when to try again; official clients keep their session then.
  const headers = { ...(refusal.row.status === 503 && { 'retry-after': '1' }), ...refusal.detail.headers }
  const location = clientLocation(refusal, context)
  if (location !== undefined && refusal.detail.redirect?.ask === undefined) {
    return new Response(null, { status: 303, headers: { location, 'cache-control': 'no-store', ...headers } })
  }
  const { surface, requestId } = context
  if (
    (surface === 'page' && wantsPage(context.accept)) ||
    (surface === 'both' && /text\/html/.test(context.accept))
  ) {
    const page = problemPage(refusal, location, context)
    for (const [name, value] of Object.entries(headers)) page.headers.set(name, value)
    return page
  }
  const body =
    surface === 'mcp' && !challenged(refusal) ? rpcBody(refusal, requestId) : oauthBody(refusal, context)
  return json(refusal.row.status, body, surface === 'oauth' ? { pragma: 'no-cache', ...headers } : headers)
}

/**
 * Anything thrown that is not a Refusal is a fault of the gateway. At the token endpoint it is reported as
 * temporary, so that no client signs its user out.
 */
const asRefusal = (thrown: unknown, tokenEndpoint: boolean): Refusal => {
  const refusal = refusalOf(thrown)
  if (thrown instanceof Refusal || !tokenEndpoint) return refusal
  return new Refusal('storage.unavailable', refusal.why, {
    say: 'The gateway could not finish this request. Try again in a moment.',
    headers: { 'retry-after': '1' },
  })
}

/** The one place where a refusal, or a fault, becomes a response and a line of the log. */
const refuse = (thrown: Error, c: Context<Env>, options: AppOptions): Response => {
  const { context } = c.env
  const request = c.req.raw
  const surface = c.var.route?.surface ?? 'json'
  const refusal = asRefusal(thrown, surface === 'oauth')
  const facts = {
    ...options.factsOf(request),
    method: request.method,
    path: pathOf(request),
    ip: context.ip,
    requestId: context.requestId,
  }
  options.log(levelOf(refusal), 'refused', refusedFields(refusal, facts))
  return renderRefusal(refusal, {
    surface,
    requestId: context.requestId,
    accept: request.headers.get('accept') ?? '',
    pages: options.pages(request),
    documentationOf: options.documentationOf,
    redirectTo: options.redirectTo,
  })
}

/** Hono hands only Errors to `onError`. */
const errorFrom = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)))

const call = async (handler: Handler, c: Context<Env>): Promise<Response> => {
  try {
    return await handler(c.req.raw, c.env.context)
  } catch (thrown) {
    throw errorFrom(thrown)
  }
}

/** Everything that is not a proxied call. Never rejects. */
export const createApp = (
  options: AppOptions,
): ((request: Request, context: RequestContext) => Promise<Response>) => {
  const { handlers, directory } = options
  const app = new Hono<Env>({
    getPath: (request, hono) => routingPath(directory, request, hono?.env?.context),
  })
  app.use(responseHeaders(options), securityHeaders(directory.issuer))
  for (const route of [...routeTable(options), ...defaultEndpoints(directory)])
    for (const path of routedPaths(route)) {
      app.all(
        path,
        checkRequest(() => route, options),
      )
      for (const [method, handler] of Object.entries(route.methods))
        app.on(method, path, (c) => call(handler, c))
      app.all(path, refuseMethod)
    }
  app.get('*', async (c, next) => {
    const asset = c.env.context.unroutable ? undefined : handlers.assets(pathOf(c.req.raw))
    return asset ?? (await next())
  })
  app.all('*', checkRequest(unlistedRoute(options), options), (c) => {
    const { methods } = c.var.route
    const handler = methods[(c.req.method === 'HEAD' ? 'GET' : c.req.method) as keyof Route['methods']]
    return handler ? call(handler, c) : refuseMethod(c)
  })
  app.onError((thrown, c) => refuse(thrown, c, options))
  return async (request, context) => app.fetch(request, { context })
}

export interface RequestHandling {
  /**
   * Whether a raw request is a proxied call, and where it goes. A browser that opens an MCP URL gets a page
   * instead.
   */
  readonly locateCall: LocateCall
  /** The same as `admit` for a WebSocket handshake. */
  readonly admitSocket: AdmitSocket
  /** Everything that is not a proxied call: OAuth, sign-in, metadata, pages, status. Never rejects. */
  fetch(request: Request, context: RequestContext): Promise<Response>
  /**
   * Proxied calls and everything else through web standards, for runtimes without raw sockets. `at`: the
   * parsed URL, where it is at hand. Never rejects.
   */
  handle(request: Request, context: RequestContext, fetchUpstream: Fetch, at?: RequestUrl): Promise<Response>
}

interface RequestHandlingDeps {
  readonly locateCall: LocateCall
  readonly refresh: ServicesRefresh
  readonly fetchProxy: ReturnType<typeof createFetchProxy>
  readonly admitSocket: AdmitSocket
  readonly app: RequestHandling['fetch']
}

/**
 * Chooses between a proxied call and the application, once the services that the request is about are known.
 */
export const createRequestHandling = ({
  locateCall,
  refresh,
  fetchProxy,
  admitSocket,
  app,
}: RequestHandlingDeps): RequestHandling => {
  return {
    locateCall,
    fetch: app,
    async admitSocket(head) {
      await refresh.request(head.target.split('?', 1)[0] as string, head.host)
      return admitSocket(head)
    },
    async handle(request, context, fetchUpstream, at = requestUrl(request.url)) {
      const refreshing = refresh.request(at.path, at.host)
      if (refreshing) await refreshing
      const { method, headers } = request
      const accept = headers.get('accept') ?? undefined
      const located = at.routable
        ? locateCall(method, at.path, accept, headers.has('authorization'), headers.get('host') ?? at.host)
        : undefined
      if (located) return fetchProxy(request, headOf(request, context, at, located), fetchUpstream)
      return app(request, at.routable ? context : { ...context, unroutable: true })
    },
  }
}
