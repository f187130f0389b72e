// Clients of 2024-11-05 (transports, HTTP with SSE): an event stream that names where to POST, messages taken with 202, answers on the stream.
import { Refusal } from '../kit/refusal.ts'
import type { Upstream } from '../ports/calls.ts'
import type { Audit } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import { createEventWriter } from './event-writer.ts'
import { createLineClient } from './line-client.ts'
import type { LineClient, LineClientDeps } from './line-client.ts'
import { mostMessageBytes } from './line-server.ts'
import type { AskOwn } from './own-calls.ts'
import { foreign, ownerOf } from './owner.ts'
import type { Passed } from './passed.ts'
import { messagesOf } from './rpc-text.ts'
import type { Watch } from './watch.ts'

type Service = Passed['call']['address']['service']

export interface LegacyDeps {
  readonly runtime: Pick<Runtime, 'defer' | 'log'>
  readonly ask: AskOwn
  /** An id for the next session, which nobody guesses. */
  readonly nextId: () => string
  readonly watch: Watch
  readonly record: Audit
  readonly keepAliveMs: number
  /** Messages of one client whose answer is not there yet. */
  readonly most: number
  readonly budget: LineClientDeps['budget']
}

interface Session {
  readonly owner: string
  readonly service: Service
  readonly client: LineClient
}

/** Where messages are POSTed, below the address of the stream: under the same resource, so the same token opens it. */
export const messagePath = '/message'

/** The session that a request to it names. */
export const sessionIn = (query: string): string => new URLSearchParams(query).get('sessionId') ?? ''

export interface LegacyFront {
  /** Where an admitted call at an HTTP+SSE address goes. Throws `request.method`, `route.unknown`, `session.unknown` and `calls.limited`. */
  upstream(passed: Passed): Upstream
}

export const createLegacyFront = ({ runtime, ask, nextId, watch, record, keepAliveMs, most, budget }: LegacyDeps): LegacyFront => {
  const sessions = new Map<string, Session>()

  const open = ({ call, principal }: Passed) => (request: Request): Promise<Response> => {
    const { service, path } = call.address
    const id = nextId()
    const ended = (): void => {
      sessions.delete(id)
      unwatch()
      client.close()
    }
    const stream = createEventWriter({ keepAliveMs, gone: ended })
    const client = createLineClient({
      ask,
      tell(message) {
        stream.write(message, { event: 'message' })
        return stream.room()
      },
      log: runtime.log,
      admitted: { address: call.address, principal },
      lost: () => stream.end(),
      service: service.id,
      timeoutMs: service.timeoutMs,
      maxBytes: mostMessageBytes,
      defer: runtime.defer,
      most,
      budget,
      ip: call.head.ip,
    })
    const unwatch = watch.caller({ call, principal }, () => stream.end())
    request.signal.addEventListener('abort', () => stream.end(), { once: true })
    sessions.set(id, { owner: ownerOf(principal), service, client })
    // A path alone: on the origin the client used, whichever of ours that is.
    stream.write(`${path}${messagePath}?sessionId=${id}`, { event: 'endpoint' })
    return Promise.resolve(new Response(stream.body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' } }))
  }

  const take = ({ call, principal, body = new Uint8Array() }: Passed) => {
    const { head, query, address } = call
    const session = sessions.get(sessionIn(query))
    if (!session) throw new Refusal('session.unknown', 'no stream with that id in this process')
    if (session.owner !== ownerOf(principal) || session.service !== address.service) throw foreign(record, address.service.id, principal)
    const spoken = messagesOf(new TextDecoder().decode(body))
    return (): Promise<Response> => {
      session.client.receive(spoken, { head, path: address.path })
      return Promise.resolve(new Response('Accepted', { status: 202, headers: { 'content-type': 'text/plain; charset=utf-8' } }))
    }
  }

  return {
    upstream(passed) {
      const { head, rest } = passed.call
      const wanted = rest === '' ? 'GET' : rest === messagePath ? 'POST' : undefined
      if (wanted === undefined) throw new Refusal('route.unknown', head.target.slice(0, 200))
      // POST to the stream's own address is how newer clients find out that it is none of theirs.
      if (head.method !== wanted) throw new Refusal('request.method', head.method, { headers: { allow: wanted } })
      return { kind: 'local', url: 'http://line.invalid/sse', handle: wanted === 'GET' ? open(passed) : take(passed) }
    },
  }
}
