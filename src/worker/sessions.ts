// Sessions on a line, each in a Durable Object of its own: how a request gets there, and how a no comes back.
import { decodeBase64url, encodeBase64url, encodeHex, utf8, utf8Text } from '../kit/bytes.ts'
import { Refusal, type RefusalCode } from '../kit/refusal.ts'
import type { RequestContext } from '../ports/runtime.ts'
import type { SessionLocation, LocatedCall, SessionLocations } from '../ports/transport.ts'

/** What the object is told beside the request itself. Nobody outside can say it: such names are dropped from what callers send. */
export type CallReport = { /** A URL of the gateway that let it in. */ readonly at: string } & (
  | { readonly visit: RequestContext }
  | { readonly call: LocatedCall }
)

const field = 'x-postern-berth'
const refused = 'x-postern-refusal'

const told = (request: Request, about: CallReport): Request => {
  // The URL of a call to a server is of no account, and may be one that is not fetched.
  const url = 'call' in about ? about.at : request.url
  const headers = new Headers(request.headers)
  headers.set(field, encodeBase64url(utf8(JSON.stringify(about))))
  return new Request(new Request(url, request), { headers })
}

/** The request as it came, and what was told with it. */
export const emptyReport = (request: Request): { readonly request: Request; readonly about: CallReport } => {
  const headers = new Headers(request.headers)
  const about = JSON.parse(
    utf8Text(decodeBase64url(headers.get(field) ?? '') ?? new Uint8Array()),
  ) as CallReport
  headers.delete(field)
  return { request: new Request(request, { headers }), about }
}

type No = Pick<Refusal, 'code' | 'why' | 'detail'>

/** Throws what is no refusal. */
export const refusalResponse = (error: unknown): Response => {
  if (!(error instanceof Refusal)) throw error
  const { code, why, detail } = error
  return Response.json({ code, why, detail } satisfies No, { headers: { [refused]: code } })
}

/** An object that was moved or replaced has forgotten its session, and so the session is unknown. */
const lost = (error: unknown): never => {
  throw new Refusal('session.unknown', `session object is gone: ${String(error)}`)
}

/** The session's id and the object's are one: 32 bytes that the platform draws, and knows again. */
export const sessionId = (object: string): string =>
  encodeBase64url(Uint8Array.from(object.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)))

const objectId = (session: string): string | undefined =>
  /^[\w-]{43}$/.test(session) ? encodeHex(decodeBase64url(session) ?? new Uint8Array()) : undefined

/** `at`: a URL of this gateway. */
export const createSessionLocations = (namespace: DurableObjectNamespace, at: string): SessionLocations => {
  const berth = (id: DurableObjectId): SessionLocation => {
    const ask = (request: Request, about: CallReport): Promise<Response> =>
      namespace.get(id).fetch(told(request, about)).catch(lost)
    return {
      client: (request, visit) => ask(request, { at, visit }),
      async server(request, call) {
        const answer = await ask(request, { at, call })
        if (!answer.headers.has(refused)) return answer
        const { code, why, detail } = (await answer.json()) as {
          readonly code: RefusalCode
          readonly why: string
          readonly detail: Refusal['detail']
        }
        throw new Refusal(code, why, detail)
      },
    }
  }
  return {
    create: () => berth(namespace.newUniqueId()),
    at(session) {
      const id = objectId(session)
      try {
        return id === undefined ? undefined : berth(namespace.idFromString(id))
      } catch {
        // The platform never gave out such an id.
        return undefined
      }
    },
  }
}
