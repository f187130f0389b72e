// Sessions that need memory between requests, each in a Durable Object of its own: of an HTTP+SSE client, or
// with an HTTP+SSE or WebSocket server. How a request reaches the object, and how a refusal comes back.
import { DurableObject } from 'cloudflare:workers'
import { decodeBase64url, encodeBase64url, encodeHex, utf8, utf8Text } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { LocatedCall, RequestContext, SessionLocation, SessionLocations } from '../ports/runtime.ts'
import type { WorkerEnvironment } from './configuration.ts'

/**
 * What the object is told beside the request. A caller cannot set it: the header is overwritten with every
 * request.
 */
type CallReport = { /** A URL of the gateway that let it in. */ readonly at: string } & (
  | { readonly context: RequestContext }
  | { readonly call: LocatedCall }
)

const field = 'x-postern-session-object'
const refused = 'x-postern-refusal'

const withReport = (request: Request, about: CallReport): Request => {
  // The URL of a call to a server does not matter and may not be fetchable.
  const url = 'call' in about ? about.at : request.url
  const headers = new Headers(request.headers)
  headers.set(field, encodeBase64url(utf8(JSON.stringify(about))))
  return new Request(new Request(url, request), { headers })
}

/** The request as it was received, and the report that came with it. */
const readReport = (request: Request): { readonly request: Request; readonly about: CallReport } => {
  const headers = new Headers(request.headers)
  const about = JSON.parse(
    utf8Text(decodeBase64url(headers.get(field) ?? '') ?? new Uint8Array()),
  ) as CallReport
  headers.delete(field)
  return { request: new Request(request, { headers }), about }
}

type RefusalParts = Pick<Refusal, 'code' | 'why' | 'detail'>

/** Throws anything that is not a refusal. */
const refusalResponse = (error: unknown): Response => {
  if (!(error instanceof Refusal)) throw error
  const { code, why, detail } = error
  return Response.json({ code, why, detail } satisfies RefusalParts, { headers: { [refused]: code } })
}

/** An object that was moved or replaced has lost its session. */
const lost = (error: unknown): never => {
  throw new Refusal('session.unknown', `session object is gone: ${String(error)}`)
}

/** The session's id is the object's: 32 bytes that the platform draws and recognizes. */
const sessionId = (object: string): string =>
  encodeBase64url(Uint8Array.from(object.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)))

const objectId = (session: string): string | undefined =>
  /^[\w-]{43}$/.test(session) ? encodeHex(decodeBase64url(session) ?? new Uint8Array()) : undefined

/** `at`: a URL of this gateway. */
export const createSessionLocations = (namespace: DurableObjectNamespace, at: string): SessionLocations => {
  const locationOf = (id: DurableObjectId): SessionLocation => {
    const ask = (request: Request, about: CallReport): Promise<Response> =>
      namespace.get(id).fetch(withReport(request, about)).catch(lost)
    return {
      client: (request, context) => ask(request, { at, context }),
      async server(request, call) {
        const answer = await ask(request, { at, call })
        if (!answer.headers.has(refused)) return answer
        const { code, why, detail } = (await answer.json()) as RefusalParts
        throw new Refusal(code, why, detail)
      },
    }
  }
  return {
    create: () => locationOf(namespace.newUniqueId()),
    at(session) {
      const id = objectId(session)
      try {
        return id === undefined ? undefined : locationOf(namespace.idFromString(id))
      } catch {
        // The platform never gave out such an id.
        return undefined
      }
    },
  }
}

/** The session with that id at the gateway that serves `url`. Rejects where there is no gateway. */
export type FindSession = (env: WorkerEnvironment, url: URL, id: string) => Promise<SessionLocation>

/**
 * The class for the entry to export. An object keeps its session in memory between requests and stores
 * nothing; it lives as long as a timer of its session runs (compatibility date 2026-10-01).
 */
export const createSessionObject = (
  findSession: FindSession,
): new (ctx: DurableObjectState, env: WorkerEnvironment) => DurableObject<WorkerEnvironment> =>
  class SessionObject extends DurableObject<WorkerEnvironment> {
    #session: SessionLocation | undefined

    override async fetch(received: Request): Promise<Response> {
      const { request, about } = readReport(received)
      this.#session ??= await findSession(this.env, new URL(about.at), sessionId(this.ctx.id.toString()))
      if ('context' in about) return this.#session.client(request, about.context)
      return this.#session.server(request, about.call).catch(refusalResponse)
    }
  }
