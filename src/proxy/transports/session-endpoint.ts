// HTTP+SSE and WebSocket servers as Streamable HTTP: each session has a connection of its own.
import { newId } from '../../kit/bytes.ts'
import { stdioResponse } from '../../kit/plain-response.ts'
import { Refusal } from '../../kit/refusal.ts'
import { type Connect, createJsonRpcPeer } from '../../mcp/json-rpc-peer.ts'
import { messagesOf } from '../../mcp/json-rpc.ts'
import { type StreamableHttpOptions, createStreamableHttp } from '../../mcp/streamable-http.ts'
import type { Runtime, SessionCall, SessionLocation, SessionLocations } from '../../ports/runtime.ts'
import type { Service } from '../../ports/services.ts'
import { gatewaySessions } from '../callers.ts'
import { refusedOf } from '../outcome.ts'
import type { Revalidation } from '../revalidate.ts'

export interface SessionEndpointDeps {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'random' | 'log' | 'peers'>
  readonly service: Service
  readonly connect: Connect
  readonly watch: Revalidation
  readonly keepAliveMs: number
  /** Connections that one owner may hold open at once. */
  readonly most: number
  /** The server says that a list of its has changed. */
  readonly listsChanged: (service: Service) => void
}

/**
 * Answers one request of a Streamable HTTP client, which has been let in already. `id`: of the session,
 * should it open one. Rejects with `Refusal`.
 */
export type SessionEndpoint = (request: Request, about: SessionCall, id?: string) => Promise<Response>

/** Largest message of a server, bytes. */
export const mostMessageBytes = 67_108_864

/** A session that nobody used for this long is over. */
const idleMs = 1_800_000

const tooMany = (owner: string, open: number): Refusal =>
  new Refusal('calls.limited', `${owner} has ${open} connections open`, { headers: { 'retry-after': '5' } })

/** Only the ids of these sessions begin like this, so that one is recognized in every process. */
const mark = gatewaySessions.connection
export const sessionOfConnection = (id: string): string => `${mark}${id}`
/** The id in such a session; undefined for the sessions of others. */
export const connectionIdOf = (session: string): string | undefined =>
  session.startsWith(mark) ? session.slice(mark.length) : undefined

/**
 * Opens the connection of a session, while its owner has not too many, and closes it when the service is
 * removed.
 */
const createConnections = ({
  runtime: { now, timer },
  service,
  connect,
  watch,
  most,
  listsChanged,
}: SessionEndpointDeps): StreamableHttpOptions['connect'] => {
  const open = new Map<string, number>()
  const count = (owner: string, change: number): void => {
    const own = (open.get(owner) ?? 0) + change
    if (own === 0) open.delete(owner)
    else open.set(owner, own)
  }
  return async (owner, { headers }, user) => {
    const own = open.get(owner) ?? 0
    if (own >= most) throw tooMany(owner, own)
    count(owner, 1)
    let over = false
    const ended = (): void => {
      if (over) return
      over = true
      count(owner, -1)
      unwatch()
      user.ended()
    }
    const peer = createJsonRpcPeer(
      {
        name: service.id,
        now,
        timer,
        unexpected: () => undefined,
        unreadable: () => undefined,
        listChanged: () => listsChanged(service),
      },
      { request: user.request, notification: user.notification, ended },
    )
    const unwatch = watch.service(service, () => (over ? undefined : (user.leave(), ended())))
    try {
      const transport = await connect({ headers, timeoutMs: service.timeoutMs }, peer.heard)
      peer.attach(transport)
      if (over) transport.close()
      return peer
    } catch (error) {
      ended()
      throw error
    }
  }
}

const tickMs = 100

export const createSessionEndpoint = (deps: SessionEndpointDeps): SessionEndpoint => {
  const { runtime, service, keepAliveMs } = deps
  const { now, timer, random, log, peers } = runtime
  const http = createStreamableHttp({
    now,
    timer,
    newId: () => sessionOfConnection(newId(random, 32, peers?.node)),
    connect: createConnections(deps),
    startMs: service.timeoutMs,
    sessionMs: idleMs,
    holdMs: 0,
    unexpected: () => undefined,
  })
  let commentedAt = now()
  let sweeping = false
  const sweep = (): void => {
    const comment = now() - commentedAt >= keepAliveMs
    if (comment) commentedAt = now()
    http.tick(comment)
    sweeping = http.size() > 0
    if (sweeping) timer(tickMs, sweep)
  }
  return async (request, { owner, asked }, id) => {
    const { method, headers, signal } = request
    const body = method === 'POST' ? new Uint8Array(await request.arrayBuffer()) : undefined
    const response = await http.handle(owner, {
      method,
      headers: [...headers].flat(),
      body,
      signal,
      refused: refusedOf(log, asked),
      sessionId: () => (id === undefined ? undefined : sessionOfConnection(id)),
    })
    if (!sweeping) sweep()
    return stdioResponse(response)
  }
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

/** Whether these messages begin a session. */
const opensSession = (text: string): boolean =>
  messagesOf(text).some(({ message }) => message['method'] === 'initialize')

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
