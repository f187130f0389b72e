// One row of the table of addresses, and which host a request names.
import { refusalOf } from './kit/log.ts'
import { Refusal, rpcError } from './kit/refusal.ts'
import { redirectHost } from './kit/urls.ts'
import type { Handler } from './ports/modules.ts'
import type { Pages, ProblemView } from './ports/pages.ts'
import type { Directory, ServiceHost } from './ports/services.ts'

// Turns refusals into answers: one refusal, drawn for the surface that asked (page, OAuth JSON, MCP, plain JSON).

/** Who reads the answer: a person, an OAuth client, an MCP client, anybody who fetches JSON, or (`both`) a program unless it asks for a page. */
export type Surface = 'page' | 'oauth' | 'mcp' | 'json' | 'both'

export interface Drawing {
  readonly surface: Surface
  readonly requestId: string
  /** What the caller said it reads (`Accept`). */
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

/** RFC 6749 §5.2 and §4.1.2.1: registered code, ASCII description. In a redirect nothing else: there `code` means an authorization code. */
const oauthError = (refusal: Refusal) => ({ error: refusal.row.oauth, error_description: ascii(refusal.say) })

/** RFC 6749 §5.2 leaves room for further members: what the caller can name to whoever helps them. */
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

/** Where an authorization error goes: only ever a redirect URI that was found to be the client's. */
const clientLocation = (refusal: Refusal, { redirectTo }: Drawing): string | undefined => {
  const { redirect } = refusal.detail
  const state = redirect?.state === undefined ? {} : { state: redirect.state }
  return redirect && redirectTo(redirect.uri, { ...oauthError(refusal), ...state })
}

/** The page of a refusal, with a link to a client that nobody approved: no browser is sent there unasked. */
const problemPage = (refusal: Refusal, location: string | undefined, drawing: Drawing): Response => {
  const { redirect } = refusal.detail
  const client = { name: redirect?.ask ?? '', host: redirectHost(redirect?.uri ?? ''), href: location ?? '' }
  const view = drawing.problemFor(refusal, drawing.requestId)
  return drawing.pages.problem(location === undefined ? view : { ...view, client })
}

/** The answer to a refusal. */
export const drawRefusal = (refusal: Refusal, drawing: Drawing): Response => {
  // RFC 9110 §10.2.3: who finds us unable is told when to try again; official clients keep their session then.
  const headers = { ...(refusal.row.status === 503 && { 'retry-after': '1' }), ...refusal.detail.headers }
  const location = clientLocation(refusal, drawing)
  if (location !== undefined && refusal.detail.redirect?.ask === undefined) {
    return new Response(null, { status: 303, headers: { location, 'cache-control': 'no-store', ...headers } })
  }
  const { surface, requestId } = drawing
  if (
    (surface === 'page' && wantsPage(drawing.accept)) ||
    (surface === 'both' && /text\/html/.test(drawing.accept))
  ) {
    const page = problemPage(refusal, location, drawing)
    for (const [name, value] of Object.entries(headers)) page.headers.set(name, value)
    return page
  }
  const body =
    surface === 'mcp' && !challenged(refusal) ? rpcBody(refusal, requestId) : oauthBody(refusal, requestId)
  return json(refusal.row.status, body, surface === 'oauth' ? { pragma: 'no-cache', ...headers } : headers)
}

/** What was thrown, as a refusal: anything that is not one is a fault of ours (at the token endpoint a transient one, so that no client logs its person out). */
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
  /** What stands there, for docs/reference/endpoints.md. */
  readonly what: string
  readonly surface: Surface
  /** Browser clients of other origins may read the answer (protocol.md A12, C22); never pages. */
  readonly cors: boolean
  readonly on: Readonly<Partial<Record<'GET' | 'POST' | 'PUT' | 'DELETE', Handler>>>
  /** A GET begins, continues or finishes something, so that HEAD and a prefetch must not reach it. */
  readonly acts?: boolean
  /** Reached by any Host: probes come by address. */
  readonly anyHost?: boolean
  /** Also at hosts that belong to services; everything else of the plain way is at the issuer alone. */
  readonly everyHost?: boolean
  /** Cookies live on the issuer's host, so a person who came by another name of it is sent there first. */
  readonly onIssuer?: boolean
}

/** The Host header as it came; some runtimes keep it in the URL alone. */
export const hostOf = (request: Request): string => request.headers.get('host') ?? new URL(request.url).host

// The default endpoints at hosts of services: the way of old clients to the one authorization server.

const moved = (location: string): Response =>
  new Response(null, { status: 307, headers: { location, 'cache-control': 'no-store' } })

/**
 * Where clients of MCP 2025-03-26 go: they drop the path of the MCP URL and expect `/authorize`, `/token` and `/register` at its origin, with or without metadata.
 * They are sent on to the issuer, body and method kept (RFC 9110 §15.4.8), so that no page, cookie or form is ever on a host of a service. They know no `resource`
 * either, so the one they mean is added on the way.
 */
export const defaultEndpoints = (directory: Directory): readonly Route[] => {
  const onward =
    (path: string): Handler =>
    async (request) => {
      const { search } = new URL(request.url)
      return moved(`${directory.issuer}${path}${search}`)
    }
  const authorize: Handler = async (request) => {
    const { searchParams } = new URL(request.url)
    const resource = (directory.host(hostOf(request)) as ServiceHost).addresses[0]?.resource
    if (!searchParams.has('resource') && resource !== undefined) searchParams.set('resource', resource)
    return moved(`${directory.issuer}/oauth/authorize?${searchParams.toString()}`)
  }
  return [
    { paths: ['/authorize'], what: '', surface: 'page', cors: false, on: { GET: authorize } },
    { paths: ['/token'], what: '', surface: 'oauth', cors: true, on: { POST: onward('/oauth/token') } },
    { paths: ['/register'], what: '', surface: 'oauth', cors: true, on: { POST: onward('/oauth/register') } },
  ]
}
