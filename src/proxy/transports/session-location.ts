// Clients of HTTP+SSE where this process keeps no session: each request goes to the session object. There it
// is judged in full; here, whether it may have one.
import { Refusal } from '../../kit/refusal.ts'
import type { Head } from '../../ports/call.ts'
import type { SessionLocation, SessionLocations, SessionCall } from '../../ports/runtime.ts'
import { messagePath, sessionIn } from './client-sse.ts'
import type { ConnectionSteps } from './connection-steps.ts'
import { type SessionEndpoint, idleMs, connectionIdOf, opensSession, tooMany } from './session-endpoint.ts'

export interface SessionLocationDeps {
  readonly sessionLocations: SessionLocations
  readonly connections: Pick<ConnectionSteps, 'resolve' | 'enter'>
}

/** The answer with `over` called once when nothing more of it will be sent. */
const until = (response: Response, over: () => void): Response => {
  const reader = response.body?.getReader()
  if (!reader) {
    over()
    return response
  }
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (!done) {
          controller.enqueue(value)
          return
        }
        over()
        controller.close()
      } catch (error) {
        over()
        controller.error(error)
      }
    },
    async cancel(reason) {
      over()
      await reader.cancel(reason).catch(() => undefined)
    },
  })
  return new Response(body, { status: response.status, headers: response.headers })
}

/**
 * Undefined for every request that no session of that kind is about; most are seen to be none of these by
 * their path alone. Rejects as the decision about a call does.
 */
export const createSessionLocation = ({
  sessionLocations,
  connections,
}: SessionLocationDeps): ((head: Head, request: Request) => Promise<Response | undefined> | undefined) => {
  const ask = async (head: Head, request: Request): Promise<Response | undefined> => {
    const call = await connections.resolve(head)
    const { address, rest } = call
    if (address.transport !== 'sse') return undefined
    const context = { requestId: head.requestId, ip: head.ip }
    if (head.method === 'POST' && rest === messagePath)
      return sessionLocations.at(sessionIn(call.query))?.client(request, context)
    if (head.method !== 'GET' || rest !== '') return undefined
    const { permit } = await connections.enter(call)
    try {
      return until(await sessionLocations.create().client(request, context), permit)
    } catch (error) {
      permit()
      throw error
    }
  }
  return (head, request) => (/\/sse(?:[/?]|$)/.test(head.target) ? ask(head, request) : undefined)
}

// Sessions of a server on a connection where this process keeps none: each request goes to the session
// object.

export interface RemoteServerDeps {
  readonly sessionLocations: SessionLocations
  readonly now: () => number
  /** Sessions that one owner may begin here within the time after which one that nobody uses is over. */
  readonly most: number
}

/** Which sessions an owner began here and, as far as is known here, did not end. */
const createTally = ({ now, most }: Pick<RemoteServerDeps, 'now' | 'most'>) => {
  const tallies = new Map<string, Map<string, number>>()
  return {
    check(owner: string): void {
      const tally = tallies.get(owner)
      for (const [id, at] of tally ?? []) if (at < now() - idleMs) tally?.delete(id)
      if (tally?.size === 0) tallies.delete(owner)
      if (tally && tally.size >= most) throw tooMany(owner, tally.size)
    },
    begun(owner: string, id: string | null): void {
      if (id === null) return
      const tally = tallies.get(owner) ?? new Map<string, number>()
      tallies.set(owner, tally.set(id, now()))
    },
    ended: (owner: string, id: string): void => void tallies.get(owner)?.delete(id),
  }
}

export const createRemoteServer = (
  service: string,
  { sessionLocations, ...deps }: RemoteServerDeps,
): SessionEndpoint => {
  const tally = createTally(deps)
  const find = (session: string): SessionLocation => {
    const location = sessionLocations.at(connectionIdOf(session) ?? '')
    if (!location) throw new Refusal('session.unknown', 'no session object with this ID')
    return location
  }
  const goOn = async (request: Request, about: SessionCall): Promise<Response> => {
    const session = request.headers.get('mcp-session-id')
    if (session === null) throw new Refusal('session.missing', 'Mcp-Session-Id missing')
    if (request.method === 'DELETE') tally.ended(about.owner, session)
    return find(session).server(request, { service, ...about })
  }
  return async (request, about) => {
    if (request.method !== 'POST') return goOn(request, about)
    const body = await request.text()
    const again = new Request(request.url, {
      method: 'POST',
      headers: request.headers,
      body,
      signal: request.signal,
    })
    if (!opensSession(body)) return goOn(again, about)
    tally.check(about.owner)
    const answer = await sessionLocations.create().server(again, { service, ...about })
    tally.begun(about.owner, answer.headers.get('mcp-session-id'))
    return answer
  }
}
