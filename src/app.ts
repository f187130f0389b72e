// Every address of the plain way, as one table, and the one place where refusals become answers.
import { Hono } from 'hono'
import type { ServicesApi } from './admin/services-api.ts'
import type { Connections } from './connections/connections.ts'
import type { SignIn } from './identity/sign-in.ts'
import { isAskedAhead, transportSecurity } from './kit/http.ts'
import { levelOf, refusedFields } from './kit/log.ts'
import { Refusal, type RequestFacts } from './kit/refusal.ts'
import type { Consent } from './oauth/consent.ts'
import type { MetadataHandlers } from './oauth/metadata.ts'
import { problemFor } from './pages/problem-texts.ts'
import type { Handler } from './ports/modules.ts'
import type { Pages } from './ports/pages.ts'
import type { Log, RequestContext } from './ports/runtime.ts'
import type { Directory } from './ports/services.ts'
import type { Cors } from './proxy/cors.ts'
import type { HostCheck } from './proxy/resolve.ts'
import { type Route, type Surface, asRefusal, defaultEndpoints, drawRefusal, hostOf } from './route.ts'
import type { ServicesList, Status } from './status.ts'

export interface Handlers {
  readonly metadata: MetadataHandlers
  readonly register: Handler
  readonly manage: Handler
  readonly authorize: Handler
  readonly consent: Consent
  readonly connections: Connections
  readonly token: Handler
  readonly revoke: Handler
  readonly introspect: Handler
  readonly signIn: SignIn
  readonly status: Status
  readonly servicesList: ServicesList
  readonly services: ServicesApi
  readonly encode: Handler
  readonly assets: (path: string) => Response | undefined
}

interface RoutesOptions {
  readonly handlers: Handlers
  /** Whether RFC 7591 registration is open; otherwise its addresses do not exist. */
  readonly registration: boolean
  readonly directory: Directory
  readonly cors: Cors
  readonly front: HostCheck
  readonly pages: Pages
  readonly log: Log
  /** Of whose request this is, as far as is known. */
  readonly factsOf: (request: Request) => RequestFacts
  readonly redirectTo: (uri: string, params: Readonly<Record<string, string>>) => string
}

/** OAuth endpoints accept 64 kB, pages the same: nothing legitimate comes near it. Bodies of unsaid length are bounded where they are read. */
const maxBodyBytes = 65_536

const wellKnown = (name: string): string[] => [
  `/.well-known/${name}`,
  `/.well-known/${name}/*`,
  `/:service/mcp/.well-known/${name}`,
]

/** The table. Root aliases serve clients that fall back to default endpoints (protocol.md A15). */
export const routeTable = ({
  handlers: h,
  registration,
}: Pick<RoutesOptions, 'handlers' | 'registration'>): readonly Route[] => [
  {
    paths: [...wellKnown('oauth-authorization-server'), ...wellKnown('openid-configuration')],
    what: 'Authorization server metadata (RFC 8414)',
    surface: 'json',
    cors: true,
    on: { GET: h.metadata.authorizationServer },
    everyHost: true,
  },
  {
    paths: wellKnown('oauth-protected-resource'),
    what: 'Protected resource metadata of an MCP endpoint (RFC 9728). At the root, ?service_id= selects the service',
    surface: 'json',
    cors: true,
    on: { GET: h.metadata.protectedResource },
    everyHost: true,
  },
  {
    paths: ['/oauth/jwks', '/jwks'],
    what: 'Public signing keys (RFC 7517)',
    surface: 'json',
    cors: true,
    on: { GET: h.metadata.jwks },
  },
  {
    paths: ['/oauth/authorize', '/authorize'],
    what: 'Authorization endpoint (RFC 6749, RFC 7636, RFC 8707, RFC 9207)',
    surface: 'page',
    cors: false,
    acts: true,
    on: { GET: h.authorize, POST: h.authorize },
    onIssuer: true,
  },
  {
    paths: ['/oauth/consent'],
    what: 'Consent page, and the decision: flow, csrf, decision=allow or deny',
    surface: 'page',
    cors: false,
    acts: true,
    on: { GET: h.consent.page, POST: h.consent.decide },
  },
  {
    paths: ['/oauth/token', '/token'],
    what: 'Token endpoint: authorization_code and refresh_token',
    surface: 'oauth',
    cors: true,
    on: { POST: h.token },
  },
  ...(registration
    ? ([
        {
          paths: ['/oauth/register', '/register'],
          what: 'Dynamic client registration (RFC 7591), JSON or form',
          surface: 'oauth',
          cors: true,
          on: { POST: h.register },
        },
        {
          paths: ['/oauth/register/:id', '/register/:id'],
          what: 'Client configuration endpoint, with the registration access token (RFC 7592)',
          surface: 'oauth',
          cors: true,
          on: { GET: h.manage, PUT: h.manage, DELETE: h.manage },
        },
      ] as const)
    : []),
  {
    paths: ['/oauth/revoke', '/revoke'],
    what: 'Token revocation (RFC 7009)',
    surface: 'oauth',
    cors: true,
    on: { POST: h.revoke },
  },
  {
    paths: ['/oauth/introspect', '/introspect'],
    what: 'Token introspection (RFC 7662)',
    surface: 'oauth',
    cors: true,
    on: { POST: h.introspect },
  },
  {
    paths: ['/oauth/callback', '/oauth/callback/:provider', '/callback'],
    what: 'Redirect URI for identity providers. Register the first one with them',
    surface: 'page',
    cors: false,
    acts: true,
    on: {
      GET: (request, visit) =>
        (h.connections.isReturn(request) ? h.connections.callback : h.signIn.callback)(request, visit),
    },
  },
  {
    paths: ['/connect/callback/:id', '/connect/callback'],
    what: 'Redirect URI for upstream authorization servers. Each has a separate one. The second is the one of version 0.1.0, which `redirect_uri` may still name',
    surface: 'page',
    cors: false,
    acts: true,
    on: { GET: h.connections.callback },
  },
  {
    paths: ['/connect/:service'],
    what: 'Accounts page: a user’s accounts at the server behind a service (connect, choose, disconnect)',
    surface: 'page',
    cors: false,
    acts: true,
    on: { GET: h.connections.page, POST: h.connections.act },
    onIssuer: true,
  },
  {
    paths: ['/oauth/start'],
    what: 'Also the accounts page. ?server= is the service ID or the host of its server',
    surface: 'page',
    cors: false,
    acts: true,
    on: { GET: h.connections.start },
    onIssuer: true,
  },
  {
    paths: ['/oauth/client-metadata/:id', '/oauth/client-metadata.json'],
    what: 'The gateway’s Client ID Metadata Document, one for each upstream authorization server. The second is the one of version 0.1.0',
    surface: 'json',
    cors: true,
    on: { GET: h.connections.document },
  },
  {
    paths: ['/login'],
    what: 'Sign-in page, and sign-in with username and password',
    surface: 'page',
    cors: false,
    acts: true,
    on: { GET: h.signIn.page, POST: h.signIn.password },
    onIssuer: true,
  },
  {
    paths: ['/login/:provider'],
    what: 'Start sign-in with an identity provider',
    surface: 'page',
    cors: false,
    on: { POST: h.signIn.begin },
  },
  {
    paths: ['/logout'],
    what: 'End the browser session',
    surface: 'page',
    cors: false,
    on: { POST: h.signIn.logout },
  },
  {
    paths: ['/'],
    what: 'JSON about the gateway for programs. The signed-in user’s services for browsers. ?t= opens a one-time sign-in link',
    surface: 'page',
    cors: false,
    on: {
      GET: (request, visit) =>
        (new URL(request.url).searchParams.has('t') ? h.signIn.link : h.status.front)(request, visit),
    },
    onIssuer: true,
  },
  {
    paths: ['/health'],
    what: 'Status, version and storage of the gateway, and the status of each service (unknown until its first call). 503 if the storage does not respond, never because of a service. With a single stdio server, also serverId and userId',
    surface: 'json',
    cors: false,
    on: { GET: h.status.health },
    anyHost: true,
  },
  {
    paths: ['/health/:service'],
    what: 'Status of one service (same as /health?server=), with serverId and userId. 503 if its server is unreachable or its command cannot be started',
    surface: 'json',
    cors: false,
    on: { GET: h.status.health },
    anyHost: true,
  },
  {
    paths: ['/healthz'],
    what: 'Liveness check',
    surface: 'json',
    cors: false,
    on: { GET: h.status.live },
    anyHost: true,
  },
  {
    paths: ['/readyz'],
    what: 'Readiness check: 503 while draining or without storage',
    surface: 'json',
    cors: false,
    on: { GET: h.status.ready },
    anyHost: true,
  },
  {
    paths: ['/services'],
    what: 'List of services by ID. Includes their URLs for signed-in users and on a loopback gateway',
    surface: 'json',
    cors: true,
    on: { GET: h.servicesList.services },
  },
  {
    paths: ['/services/:id'],
    what: 'One service, in the same form',
    surface: 'json',
    cors: true,
    on: { GET: h.servicesList.service },
  },
  {
    paths: ['/encode'],
    what: 'Encoded hostname for a server’s domain (?domain=), as JSON or a page',
    surface: 'both',
    cors: false,
    on: { GET: h.encode },
  },
  {
    paths: ['/api/services'],
    what: 'For administrators: list services, add a service (session cookie, X-CSRF-Token)',
    surface: 'json',
    cors: false,
    on: { GET: h.services.list, POST: h.services.add },
  },
  {
    paths: ['/api/services/:id'],
    what: 'For administrators: show a service, remove an added service',
    surface: 'json',
    cors: false,
    on: { GET: h.services.show, DELETE: h.services.remove },
  },
  {
    paths: ['/api/processes'],
    what: 'For administrators: processes of stdio servers, recent failures, and their standard error output',
    surface: 'json',
    cors: false,
    on: { GET: h.services.processes },
  },
]

type Env = { Bindings: { visit: RequestContext } }

const issuerHost = (directory: Directory): string => new URL(directory.issuer).host

/** The same address on the issuer's own origin, when a browser came by another name of a loopback gateway. */
const homeward = (request: Request, directory: Directory): string | undefined => {
  const url = new URL(request.url)
  if (
    request.method !== 'GET' ||
    url.host === issuerHost(directory) ||
    !directory.origins.some((origin) => new URL(origin).host === url.host)
  )
    return undefined
  return `${directory.issuer}${url.pathname}${url.search}`
}

/** Requests that a server in front may have read otherwise than we would: no address of ours is percent-encoded, and no body compressed. */
const refuseAmbiguous = (request: Request): void => {
  const { pathname } = new URL(request.url)
  if (pathname.includes('%')) throw new Refusal('route.unknown', pathname)
  const coding = request.headers.get('content-encoding')
  if (coding !== null && coding.toLowerCase() !== 'identity')
    throw new Refusal('request.encoding', coding.slice(0, 40), {
      say: 'Send the body without a Content-Encoding.',
    })
}

/** What came over plain http to an https gateway: a page is one redirect away, anything else may have lost a secret already. */
const overHttps = (
  { method, url }: Request,
  { plainHttp }: RequestContext,
  origin: string | undefined,
): Response | undefined => {
  if (origin === undefined || !plainHttp || !origin.startsWith('https:')) return undefined
  const { pathname, search } = new URL(url)
  if (method !== 'GET' && method !== 'HEAD') throw new Refusal('request.plain-http', `${method} ${pathname}`)
  return new Response(null, {
    status: 308,
    headers: { location: `${origin}${pathname}${search}`, 'cache-control': 'no-store' },
  })
}

/** Nothing happens before the person comes: the browser throws this answer away and asks again (HTML, speculative loading). */
const unasked = ({ method }: Request): Response =>
  new Response(null, { status: method === 'HEAD' ? 200 : 503, headers: { 'cache-control': 'no-store' } })

const answerRoute = async (
  route: Route,
  request: Request,
  visit: RequestContext,
  options: RoutesOptions,
): Promise<Response> => {
  refuseAmbiguous(request)
  if (route.cors && request.method === 'OPTIONS') return new Response(null, { status: 204 })
  if (Number(request.headers.get('content-length') ?? 0) > maxBodyBytes)
    throw new Refusal('request.too-large', `over ${maxBodyBytes} bytes`, { headers: { connection: 'close' } })
  if (route.acts && ['GET', 'HEAD'].includes(request.method) && isAskedAhead(request)) return unasked(request)
  const handler = route.on[(request.method === 'HEAD' ? 'GET' : request.method) as keyof Route['on']]
  if (!handler)
    throw new Refusal('request.method', request.method, {
      headers: { allow: Object.keys(route.on).join(', ') },
    })
  const home = route.onIssuer ? homeward(request, options.directory) : undefined
  if (home !== undefined && (request.headers.get('accept') ?? '').includes('text/html'))
    return new Response(null, { status: 307, headers: { location: home, 'cache-control': 'no-store' } })
  return handler(request, visit)
}

const pairs = (flat: readonly string[]): [string, string][] =>
  flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? ''] as [string, string]] : []))

const nowhereIn =
  (directory: Directory, path: string): Handler =>
  async () => {
    directory.assertComplete()
    throw new Refusal('route.unknown', path)
  }

type Finish = (response: Response, request: Request, visit: RequestContext, open?: Route['on']) => Response

/** What every answer of the plain way says, and the CORS fields of those that other origins may read: `open`, the methods of the address. */
const createFinish = ({ cors, directory }: Pick<RoutesOptions, 'cors' | 'directory'>): Finish => {
  const always = pairs(transportSecurity(directory.issuer))
  /** The only place where CORS fields are written: each once, whatever the handler said. */
  const crossOrigin = ({ method, headers }: Request, on: Route['on']): [string, string][] => {
    const origin = headers.get('origin') ?? undefined
    if (method !== 'OPTIONS') return pairs(cors.answer(origin))
    const asked = headers.get('access-control-request-headers') ?? undefined
    return pairs(cors.preflight({ origin, headers: asked, methods: [...Object.keys(on), 'OPTIONS'] }))
  }
  return (response, request, visit, open) => {
    for (const [name, value] of always) response.headers.set(name, value)
    response.headers.set('x-request-id', visit.requestId)
    response.headers.set('x-content-type-options', 'nosniff')
    for (const [name, value] of open ? crossOrigin(request, open) : []) {
      if (name === 'Vary') response.headers.append(name, value)
      else response.headers.set(name, value)
    }
    return response
  }
}

/** The plain way. Refusals are drawn for the surface of the route that threw; anything else is a fault with a request id and nothing more. */
export const createRoutes = (
  options: RoutesOptions,
): ((request: Request, visit: RequestContext) => Promise<Response>) => {
  const { handlers, directory, front, pages, log } = options
  const finish = createFinish(options)
  const refused = (thrown: unknown, surface: Surface, request: Request, visit: RequestContext): Response => {
    const refusal = asRefusal(thrown, surface === 'oauth')
    const path = new URL(request.url).pathname
    log(
      levelOf(refusal),
      'refused',
      refusedFields(refusal, {
        ...options.factsOf(request),
        method: request.method,
        path,
        ip: visit.ip,
        requestId: visit.requestId,
      }),
    )
    const problem = (drawn: Refusal, requestId: string) => ({
      ...problemFor(drawn.code, drawn.say),
      ...drawn.detail.page,
      facts: drawn.detail.page?.facts ?? [],
      status: drawn.row.status,
      requestId,
    })
    return drawRefusal(refusal, {
      surface,
      requestId: visit.requestId,
      accept: request.headers.get('accept') ?? '',
      pages,
      problemFor: problem,
      redirectTo: options.redirectTo,
    })
  }
  const serve = async (route: Route, request: Request, visit: RequestContext): Promise<Response> => {
    const open = route.cors ? route.on : undefined
    try {
      const origin = route.anyHost ? undefined : front.host(hostOf(request))
      return finish(
        overHttps(request, visit, origin) ?? (await answerRoute(route, request, visit, options)),
        request,
        visit,
        open,
      )
    } catch (thrown) {
      return finish(refused(thrown, route.surface, request, visit), request, visit, open)
    }
  }
  const rest = async (request: Request, visit: RequestContext): Promise<Response> => {
    const path = new URL(request.url).pathname
    const found = handlers.assets(path)
    if (found && request.method === 'GET') return finish(found, request, visit)
    const mcp = directory.locate(path, hostOf(request)) !== undefined
    const surface: Surface =
      mcp || (request.headers.get('accept') ?? '').includes('text/html') ? 'page' : 'json'
    const nowhere = nowhereIn(directory, path)
    return serve(
      {
        paths: [path],
        what: '',
        surface,
        cors: !mcp,
        on: mcp
          ? { GET: handlers.status.connect }
          : { GET: nowhere, POST: nowhere, PUT: nowhere, DELETE: nowhere },
      },
      request,
      visit,
    )
  }
  const open = (routes: readonly Route[]): Hono<Env> => {
    const app = new Hono<Env>()
    for (const route of routes)
      for (const path of route.paths) app.all(path, (c) => serve(route, c.req.raw, c.env.visit))
    return app.all('*', (c) => rest(c.req.raw, c.env.visit))
  }
  const unroutable = (request: Request, visit: RequestContext): Promise<Response> => {
    const nowhere = nowhereIn(directory, `${new URL(request.url).pathname}, written in another way`)
    const surface: Surface = (request.headers.get('accept') ?? '').includes('text/html') ? 'page' : 'json'
    return serve(
      {
        paths: [],
        what: '',
        surface,
        cors: true,
        on: { GET: nowhere, POST: nowhere, PUT: nowhere, DELETE: nowhere },
      },
      request,
      visit,
    )
  }
  const table = routeTable(options)
  const app = open(table)
  const hosted = open([
    ...table.filter((route) => route.everyHost || route.anyHost),
    ...defaultEndpoints(directory),
  ])
  return async (request, visit) => {
    if (visit.unroutable) return unroutable(request, visit)
    const host = directory.hosted ? hostOf(request) : undefined
    if (host === undefined || !directory.host(host)) return app.fetch(request, { visit })
    // A server's own paths come first at its host, whatever they are called.
    return directory.locate(new URL(request.url).pathname, host)
      ? rest(request, visit)
      : hosted.fetch(request, { visit })
  }
}
