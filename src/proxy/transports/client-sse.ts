// Clients of 2024-11-05 (transports, HTTP with SSE): an event stream that names where to POST, messages taken
// with 202, answers on the stream.
import { stdioResponse } from '../../kit/plain-response.ts'
import { Refusal } from '../../kit/refusal.ts'
import { textOnOneLine } from '../../kit/sse.ts'
import { type ParsedMessages, messagesOf } from '../../mcp/json-rpc.ts'
import { createTimedResponse } from '../../mcp/response-writer.ts'
import type { Head, Upstream } from '../../ports/call.ts'
import type { Audit } from '../../ports/modules.ts'
import type { Runtime, SessionLocations } from '../../ports/runtime.ts'
import type { Service } from '../../ports/services.ts'
import type { IdentifiedCall } from '../admitted-call.ts'
import { foreign, ownerOf } from '../callers.ts'
import type { Revalidation } from '../revalidate.ts'
import {
  type MakeInternalCall,
  type ClientMessages,
  type ClientMessagesDeps,
  type ConnectionSteps,
  createClientMessages,
} from './client-messages.ts'
import { mostMessageBytes } from './session-endpoint.ts'

export interface ClientSseDeps {
  readonly runtime: Pick<Runtime, 'defer' | 'log' | 'timer'>
  readonly ask: MakeInternalCall
  /** An id for the next session, which nobody guesses. */
  readonly nextId: () => string
  readonly watch: Revalidation
  readonly record: Audit
  readonly keepAliveMs: number
  /** Messages of one client whose answer is not there yet. */
  readonly most: number
  readonly budget: ClientMessagesDeps['budget']
}

interface Session {
  readonly owner: string
  readonly service: Service
  readonly client: ClientMessages
}

/**
 * Where messages are POSTed, below the address of the stream: under the same resource, so the same token
 * opens it.
 */
export const messagePath = '/message'

/** The session that a request to it names. */
export const sessionIn = (query: string): string => new URLSearchParams(query).get('sessionId') ?? ''

export interface ClientSse {
  /**
   * Where an admitted call at an HTTP+SSE address goes. Throws `request.method`, `route.unknown`,
   * `session.unknown` and `calls.limited`.
   */
  upstream(call: IdentifiedCall): Upstream
}

type Sessions = Map<string, Session>

/** An event stream that begins with where messages are to be POSTed. */
const openStream = async (
  deps: ClientSseDeps,
  sessions: Sessions,
  call: IdentifiedCall,
  { signal }: Request,
): Promise<Response> => {
  signal.throwIfAborted()
  const { service, path } = call.address
  const { runtime, ask, most, budget } = deps
  const id = deps.nextId()
  const ended = (): void => {
    sessions.delete(id)
    unwatch()
    client.close()
  }
  const stream = createTimedResponse(runtime.timer, deps.keepAliveMs, signal, ended)
  const end = (): void => {
    if (stream.state() === 'over') return
    stream.finish()
    ended()
  }
  const client = createClientMessages({
    ask,
    tell: (message) => stream.write(textOnOneLine(message)),
    log: runtime.log,
    timer: runtime.timer,
    admitted: call,
    lost: end,
    service: service.id,
    timeoutMs: service.timeoutMs,
    maxBytes: mostMessageBytes,
    defer: runtime.defer,
    most,
    budget,
    ip: call.head.ip,
  })
  const unwatch = deps.watch.caller(call, end)
  sessions.set(id, { owner: ownerOf(call.principal), service, client })
  // A path alone: on the origin the client used, whichever of ours that is.
  stream.write(`${path}${messagePath}?sessionId=${id}`, { name: 'endpoint' })?.catch(() => undefined)
  return stdioResponse(await stream.reply)
}

/** The session that a message is for. Throws `session.unknown`. */
const sessionOf = (
  record: Audit,
  sessions: Sessions,
  { query, address, principal }: IdentifiedCall,
): Session => {
  const session = sessions.get(sessionIn(query))
  if (!session) throw new Refusal('session.unknown', 'no stream with that id in this process')
  if (session.owner !== ownerOf(principal) || session.service !== address.service)
    throw foreign(record, address.service.id, principal)
  return session
}

/** Takes messages, which are answered on the stream. */
const takeMessages = (
  { client }: Session,
  messages: readonly ParsedMessages[],
  { head, address }: IdentifiedCall,
): Response => {
  client.receive(messages, { head, path: address.path })
  return new Response('Accepted', {
    status: 202,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
  })
}

export const createClientSse = (deps: ClientSseDeps): ClientSse => {
  const sessions: Sessions = new Map()
  const handlerOf = (call: IdentifiedCall): ((request: Request) => Promise<Response>) => {
    if (call.head.method === 'GET') return (request) => openStream(deps, sessions, call, request)
    const session = sessionOf(deps.record, sessions, call)
    const messages = messagesOf(new TextDecoder().decode(call.body))
    return async () => takeMessages(session, messages, call)
  }
  return {
    upstream(call) {
      const { head, rest } = call
      const wanted = rest === '' ? 'GET' : rest === messagePath ? 'POST' : undefined
      if (wanted === undefined) throw new Refusal('route.unknown', head.target.slice(0, 200))
      // POST to the stream's own address is how newer clients find out that it is none of theirs.
      if (head.method !== wanted)
        throw new Refusal('request.method', head.method, { headers: { allow: wanted } })
      return { kind: 'local', url: 'http://line.invalid/sse', handle: handlerOf(call) }
    },
  }
}

// The same where this process keeps no session: each request goes to the session object. There it is judged in
// full; here, whether it may have one.

export interface SessionLocationDeps {
  readonly sessionLocations: SessionLocations
  readonly connections: Pick<ConnectionSteps, 'resolve' | 'enter'>
}

/** The answer with `over` called once when nothing more of it will be sent. */
export const until = (response: Response, over: () => void): Response => {
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
    // The object judges the proof, which is good once.
    const call = await connections.resolve({ ...head, proven: true })
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
