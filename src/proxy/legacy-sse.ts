// Clients of 2024-11-05 (transports, HTTP with SSE): an event stream that names where to POST, messages taken with 202, answers on the stream.
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Upstream } from '../ports/calls.ts'
import type { Audit } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Passed } from './passed.ts'
import { createEventWriter } from './event-writer.ts'
import { createLineClient } from './line-client.ts'
import type { LineClient } from './line-client.ts'
import { foreign, ownerOf } from './owner.ts'
import { mostMessageBytes } from './reach.ts'
import type { Reach } from './reach.ts'
import { messagesOf } from './rpc-text.ts'

type Call = Passed['call']
type Service = Call['address']['service']

export interface LegacyDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'defer'>
  readonly reach: (service: Service) => Reach
  /** Ends what is open when the caller may not come in any more; what it returns stops watching. */
  readonly watch: (call: Call, end: () => void) => () => void
  readonly record: Audit
  readonly keepAliveMs: number
  /** Messages of one client whose answer is not there yet. */
  readonly most: number
}

interface Session {
  readonly owner: string
  readonly service: Service
  readonly client: LineClient
}

/** Where messages are POSTed, below the address of the stream: under the same resource, so the same token opens it. */
const messagePath = '/message'

const flat = (headers: Headers): string[] => [...headers].flat()

export interface LegacyFront {
  /** Where an admitted call at an HTTP+SSE address goes. Throws `request.method`, `route.unknown`, `session.unknown` and `calls.limited`. */
  upstream(passed: Passed): Upstream
}

export const createLegacyFront = ({ runtime, reach, watch, record, keepAliveMs, most }: LegacyDeps): LegacyFront => {
  const sessions = new Map<string, Session>()

  const open = ({ call, principal }: Passed) => (request: Request): Promise<Response> => {
    const { service, path } = call.address
    const id = encodeBase64url(runtime.random(32))
    const ended = (): void => {
      sessions.delete(id)
      unwatch()
      client.close()
    }
    const stream = createEventWriter({ keepAliveMs, gone: ended })
    const client = createLineClient({
      ask: ({ method, headers, body, signal }) => reach(service).ask(new Request('http://line.invalid/mcp', { method, headers, signal, ...(body === undefined ? {} : { body }) }), principal),
      tell(message) {
        stream.write(message, { event: 'message' })
        return stream.room()
      },
      service: service.id,
      timeoutMs: service.timeoutMs,
      maxBytes: mostMessageBytes,
      defer: runtime.defer,
      most,
    })
    const unwatch = watch(call, () => stream.end())
    request.signal.addEventListener('abort', () => stream.end(), { once: true })
    sessions.set(id, { owner: ownerOf(principal), service, client })
    // A path alone: on the origin the client used, whichever of ours that is.
    stream.write(`${path}${messagePath}?sessionId=${id}`, { event: 'endpoint' })
    return Promise.resolve(new Response(stream.body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' } }))
  }

  const take = ({ call, principal, body = new Uint8Array() }: Passed) => {
    const { service } = call.address
    const session = sessions.get(new URLSearchParams(call.query).get('sessionId') ?? '')
    if (!session) throw new Refusal('session.unknown', 'no stream with that id in this process')
    if (session.owner !== ownerOf(principal) || session.service !== service) throw foreign(record, service.id, principal)
    const spoken = messagesOf(new TextDecoder().decode(body))
    return (request: Request): Promise<Response> => {
      session.client.receive(spoken, flat(request.headers))
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
