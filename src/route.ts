// One route of the table, the default endpoints at hosts of services, refusals as responses, and what is known of
// a request for the log line of its refusal.
import type { BrowserSessions } from './identity/session.ts'
import { refusalOf } from './kit/log.ts'
import { personKey } from './kit/records.ts'
import { type RequestFacts, Refusal, rpcError } from './kit/refusal.ts'
import { redirectHost } from './kit/urls.ts'
import type { PendingRequests } from './oauth/authorization-requests.ts'
import type { Clients } from './oauth/clients.ts'
import type { DescribeFlow, Handler } from './ports/modules.ts'
import type { Pages, ProblemView } from './ports/pages.ts'
import type { Directory, ServiceHost } from './ports/services.ts'

// A refusal becomes the response for the surface that asked: a page, OAuth JSON, JSON-RPC or plain JSON.

/**
 * Who reads the response: a person, an OAuth client, an MCP client, any program, or (`both`) a program unless
 * it asks for a page.
 */
export type Surface = 'page' | 'oauth' | 'mcp' | 'json' | 'both'

export interface RefusalContext {
  readonly surface: Surface
  readonly requestId: string
  /** The Accept header of the request. */
  readonly accept: string
  readonly pages: Pages
  readonly problemFor: (refusal: Refusal, requestId: string) => ProblemView
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
const oauthError = (refusal: Refusal) => ({ error: refusal.row.oauth, error_description: ascii(refusal.say) })

/**
 * RFC 6749 §5.2 allows further members. The caller can quote the code and the request ID to whoever helps
 * them.
 */
const oauthBody = (refusal: Refusal, requestId: string) => ({
  ...oauthError(refusal),
  code: refusal.code,
  request_id: requestId,
})

const rpcBody = (refusal: Refusal, requestId: string) => ({
  jsonrpc: '2.0',
  id: refusal.detail.rpcId ?? null,
  error: rpcError(refusal, requestId),
})

const wantsPage = (accept: string): boolean => !/application\/json/.test(accept) || /text\/html/.test(accept)

const challenged = (refusal: Refusal): boolean => refusal.row.status === 401 || refusal.row.status === 403

/** Where an authorization error is sent: only to a redirect URI that belongs to the client. */
const clientLocation = (refusal: Refusal, { redirectTo }: RefusalContext): string | undefined => {
  const { redirect } = refusal.detail
  const state = redirect?.state === undefined ? {} : { state: redirect.state }
  return redirect && redirectTo(redirect.uri, { ...oauthError(refusal), ...state })
}

/** The page of a refusal. A client that nobody has approved gets a link on it and no redirect. */
const problemPage = (refusal: Refusal, location: string | undefined, context: RefusalContext): Response => {
  const { redirect } = refusal.detail
  const client = { name: redirect?.ask ?? '', host: redirectHost(redirect?.uri ?? ''), href: location ?? '' }
  const view = context.problemFor(refusal, context.requestId)
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
    surface === 'mcp' && !challenged(refusal) ? rpcBody(refusal, requestId) : oauthBody(refusal, requestId)
  return json(refusal.row.status, body, surface === 'oauth' ? { pragma: 'no-cache', ...headers } : headers)
}

/**
 * Anything thrown that is not a Refusal is a fault of the gateway. At the token endpoint it is reported as
 * temporary, so that no client signs its user out.
 */
export const asRefusal = (thrown: unknown, tokenEndpoint: boolean): Refusal => {
  const refusal = refusalOf(thrown)
  if (thrown instanceof Refusal || !tokenEndpoint) return refusal
  return new Refusal('storage.unavailable', refusal.why, {
    say: 'The gateway could not finish this request. Try again in a moment.',
    headers: { 'retry-after': '1' },
  })
}

export interface Route {
  readonly paths: readonly string[]
  /** For docs/reference/endpoints.md. */
  readonly description: string
  readonly surface: Surface
  /** Browser clients of other origins may read the response; never pages. */
  readonly cors: boolean
  readonly methods: Readonly<Partial<Record<'GET' | 'POST' | 'PUT' | 'DELETE', Handler>>>
  /** A GET begins, continues or finishes something, so that HEAD and a prefetch must not reach it. */
  readonly changesState?: boolean
  /**
   * Which Host headers reach it. Absent: the issuer's. `known`: those of services as well. `services`: only
   * those. `any`: every Host header, because health probes connect by address.
   */
  readonly hosts?: 'known' | 'services' | 'any'
  /**
   * Cookies belong to the issuer's host, so a browser that used another name of the gateway is redirected
   * there first.
   */
  readonly issuerOnly?: boolean
}

/** The Host header as received. Some runtimes keep it only in the URL. */
export const hostOf = (request: Request): string => request.headers.get('host') ?? new URL(request.url).host

// The default endpoints at hosts of services, which lead old clients to the authorization server.

const redirect = (location: string): Response =>
  new Response(null, { status: 307, headers: { location, 'cache-control': 'no-store' } })

/**
 * Clients of MCP 2025-03-26 drop the path of the MCP URL and expect `/authorize`, `/token` and `/register` at
 * its origin, with or without metadata. They are redirected to the issuer with method and body kept (RFC 9110
 * §15.4.8), so that no page, cookie or form is ever on a host of a service. They send no `resource`, so the
 * redirect adds it.
 */
export const defaultEndpoints = (directory: Directory): readonly Route[] => {
  const toIssuer =
    (path: string): Handler =>
    async (request) => {
      const { search } = new URL(request.url)
      return redirect(`${directory.issuer}${path}${search}`)
    }
  const authorize: Handler = async (request) => {
    const { searchParams } = new URL(request.url)
    const resource = (directory.host(hostOf(request)) as ServiceHost).addresses[0]?.resource
    if (!searchParams.has('resource') && resource !== undefined) searchParams.set('resource', resource)
    return redirect(`${directory.issuer}/oauth/authorize?${searchParams.toString()}`)
  }
  const defaults = { description: '', hosts: 'services' } as const
  return [
    { ...defaults, paths: ['/authorize'], surface: 'page', cors: false, methods: { GET: authorize } },
    {
      ...defaults,
      paths: ['/token'],
      surface: 'oauth',
      cors: true,
      methods: { POST: toIssuer('/oauth/token') },
    },
    {
      ...defaults,
      paths: ['/register'],
      surface: 'oauth',
      cors: true,
      methods: { POST: toIssuer('/oauth/register') },
    },
  ]
}

// What becomes known of a request while it is handled, for the log line of its refusal. The functions that
// find it out are wrapped here, so that no handler has to pass it on.

export interface KnownFacts {
  /** What is known so far, and what the URL of the request says. */
  of(request: Request): RequestFacts
  sessions(inner: BrowserSessions): BrowserSessions
  pendingRequests(inner: PendingRequests): PendingRequests
  clients(inner: Clients): Clients
  describeFlow(inner: DescribeFlow): DescribeFlow
}

const serviceIn = /^\/(?:connect|services|api\/services)\/([^/]+)$/
const providerIn = /^\/(?:login|oauth\/callback)\/([^/]+)$/
/** A value that does not have the form of our IDs may be anything, and is not logged. */
const flowShape = /^[\w-]{32}$/
const clientIn = /^\/(?:oauth\/)?register\/([^/]+)$/

/** Unverified: an ID from the URL is better than none. */
const factsInUrl = (request: Request, directory: Directory): RequestFacts => {
  const { pathname, searchParams } = new URL(request.url)
  const [client, flow, resource] = ['client_id', 'flow', 'resource'].map(
    (name) => searchParams.get(name) ?? undefined,
  )
  const facts = {
    client: clientIn.exec(pathname)?.[1] ?? client,
    flow: flow !== undefined && flowShape.test(flow) ? flow : undefined,
    service:
      serviceIn.exec(pathname)?.[1] ??
      (resource === undefined
        ? directory.locate(pathname, undefined)?.address.service.id
        : directory.resolve(resource)?.service.id),
    provider: providerIn.exec(pathname)?.[1],
  }
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined))
}

export const createKnownFacts = (directory: Directory): KnownFacts => {
  const known = new WeakMap<Request, RequestFacts>()
  const add = (request: Request, facts: RequestFacts): void =>
    void known.set(request, { ...known.get(request), ...facts })
  return {
    of: (request) => ({ ...factsInUrl(request, directory), ...known.get(request) }),
    sessions: (inner) => ({
      ...inner,
      async of(request) {
        const session = await inner.of(request)
        if (session) add(request, { person: personKey(session.person) })
        return session
      },
    }),
    pendingRequests: (inner) => ({
      ...inner,
      async of(id, request) {
        if (flowShape.test(id)) add(request, { flow: id })
        const read = await inner.of(id, request)
        add(request, {
          client: read.pending.clientId,
          service: directory.resolve(read.pending.resource)?.service.id,
        })
        return read
      },
    }),
    clients: (inner) => ({
      ...inner,
      async authenticate(request, form) {
        const clientId = form.get('client_id')
        if (clientId !== null) add(request, { client: clientId })
        const client = await inner.authenticate(request, form)
        add(request, { client: client.id })
        return client
      },
    }),
    describeFlow: (inner) => async (flow, request) => {
      if (flowShape.test(flow)) add(request, { flow })
      const found = await inner(flow, request)
      if (found) add(request, { service: found.address.service.id })
      return found
    },
  }
}
