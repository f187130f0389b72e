// The fast way of a proxied call on Node: raw request in, decision, upstream, raw response out. No web
// objects where nobody needs them.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { fieldOf } from '../../kit/http.ts'
import { Refusal } from '../../kit/refusal.ts'
import type {
  Head,
  ReadBody,
  Refuse,
  Admission,
  ProxiedCalls,
  Piece,
  CallerHead,
  ResponseOutput,
  Deadlines,
  Timed,
} from '../../ports/call.ts'
import type { RequestContext, Timer } from '../../ports/runtime.ts'
import type { LocatedAddress } from '../../ports/services.ts'
import type { ForwardProxies } from '../forward-proxy.ts'
import type { Lookup } from '../outbound.ts'
import { proceed } from '../request-guard.ts'
import { type GatherWrite, type SocketWriter, createUpstreams } from './http-exchange.ts'

export interface ForwardDeps extends ProxiedCalls {
  readonly refuse: Refuse
  readonly now: () => number
  readonly timer: Timer
  readonly lookup?: Lookup | undefined
  /** Forward proxies on the way out; default: none. */
  readonly proxies?: ForwardProxies | undefined
}

export interface Forward {
  /** Takes one proxied request all the way. Never throws. */
  serve(
    request: IncomingMessage,
    response: ServerResponse,
    context: RequestContext,
    located: LocatedAddress,
  ): void
  /**
   * Ends the streams that clients hold open with GET, and the idle upstream connections; calls that are going
   * finish.
   */
  close(): void
}

const hostOf = (rawHeaders: readonly string[]): string | undefined => {
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length === 4 && (name === 'Host' || name.toLowerCase() === 'host')) return rawHeaders[i + 1]
  }
  return undefined
}

type RequestHead = Omit<Head, 'rawHeaders'> & { rawHeaders: readonly string[] }

const headOf = (
  { method = '', url = '/', rawHeaders }: IncomingMessage,
  { ip, peer, requestId, plainHttp }: RequestContext,
  located?: LocatedAddress,
): RequestHead => ({
  method,
  target: url,
  host: hostOf(rawHeaders),
  rawHeaders,
  ip,
  requestId,
  plainHttp,
  // Only the fields of a trusted proxy make them differ.
  proxied: peer !== undefined && peer !== ip,
  located,
})

/** Collects a body of at most `max` bytes; one chunk, the common case, is not copied. */
const readBody = (
  request: IncomingMessage,
  response: ServerResponse,
  max: number,
  grow: (bytes: number) => void,
): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    let whole = false
    let refused = false
    const refuse = (error: Error): void => {
      refused = true
      chunks.length = 0
      reject(error)
    }
    request.on('data', (chunk: Buffer) => {
      if (refused) return
      size += chunk.length
      if (size > max) return refuse(new Refusal('request.too-large', `more than ${max} bytes`))
      try {
        grow(size)
        chunks.push(chunk)
      } catch (error) {
        refuse(error as Error)
      }
    })
    request.on('end', () => {
      whole = true
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))
    })
    // Without an end the body was cut off, and nothing of it may be acted on.
    request.on('close', () => {
      if (!whole) reject(new Refusal('request.malformed', 'request body ended early'))
    })
    proceed(request, response)
  })

// Writes to sockets. Each wakes the process that reads it, and waking one that sleeps costs the writer more
// than the rest of the write.

/** More are not kept waiting for one another: their readers work while the next ones come. */
const mostGathered = 16
/** A larger one (bytes) is cheapest while its bytes are in the processor's cache. */
const largestGathered = 16_384

/** The writes of one turn of the event loop, which are made one after another at its end. */
export interface WriteBatch {
  /** Calls in progress. The write of one that is alone is made at once: no other would join it. */
  calls: number
  readonly gather: GatherWrite
}

export const createWriteBatch = (): WriteBatch => {
  let gathered: SocketWriter[] = []
  let scheduled = false
  const flush = (): void => {
    const writers = gathered
    gathered = []
    for (const writer of writers) writer.flush()
  }
  const turned = (): void => {
    scheduled = false
    flush()
  }
  const batch: WriteBatch = {
    calls: 0,
    gather(writer, bytes) {
      if (batch.calls < 2 || bytes > largestGathered) {
        writer.flush()
        return
      }
      if (gathered.push(writer) === mostGathered) flush()
      else if (!scheduled) {
        scheduled = true
        setImmediate(turned)
      }
    },
  }
  return batch
}

// Where an answer goes: the response of the socket, as one write when it is there at once, unbuffered
// otherwise, with back-pressure and an honest end.

/** Up to this size a piece is joined with its head. */
const smallPiece = 16_384

const latin1 = (piece: Uint8Array): string =>
  Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength).toString('latin1')

const bodiless = (status: number): boolean => status === 204 || status === 304

/**
 * Whoever takes nothing of an answer for this long (ms) gets no more of it. Streams of events are for those
 * who wait.
 */
const stalledMs = 29_000

/** As of `ServerResponse`: the head that was sent. Nothing is done with it any more but to see that there is one. */
interface SentHead {
  _header?: string | null
}

const sent = 'HTTP/1.1'

/**
 * What nobody needs once a stream has begun, which may stay for hours: the head that was sent, and the fields
 * of the request with the token that they brought. The host still tells which service it is for. A service in
 * this process may go by what came with the request as long as its stream runs.
 */
const letGo = (response: ServerResponse, head: RequestHead, local: boolean): void => {
  const { req } = response
  req.headers = {}
  req.rawHeaders = head.host === undefined ? [] : ['Host', head.host]
  if (!local) head.rawHeaders = req.rawHeaders
  const { _header } = response as SentHead
  if (typeof _header === 'string') (response as SentHead)._header = sent
}

class NodeOutput implements ResponseOutput, SocketWriter {
  bytes = 0
  admitted: Admission | undefined
  reader: { drained(): void; left(): void } | undefined
  readonly stallMs = stalledMs
  private over = false
  private draining = false
  /** The body of an answer whose head is ready, until both are written. */
  private body: string | Buffer | undefined
  private encoding: BufferEncoding = 'latin1'
  private readonly response: ServerResponse
  private readonly head: RequestHead
  private readonly refuse: Refuse
  private readonly batch: WriteBatch

  constructor(response: ServerResponse, head: RequestHead, refuse: Refuse, batch: WriteBatch) {
    this.response = response
    this.head = head
    this.refuse = refuse
    this.batch = batch
    // Whoever left before the gateway was open is not heard to leave.
    if (!response.destroyed) batch.calls++
    response.on('close', () => {
      batch.calls--
      this.reader?.left()
    })
  }

  get gone(): boolean {
    return this.response.destroyed
  }

  get ready(): boolean {
    return !this.response.writableNeedDrain
  }

  begin(head: CallerHead, piece: Piece | undefined): boolean {
    if (this.over) return true
    this.response.writeHead(head.status, head.headers as string[])
    let taken = true
    if (piece === undefined) this.response.flushHeaders()
    else taken = this.put(piece, true)
    letGo(this.response, this.head, this.admitted?.upstream.kind !== 'http')
    return taken
  }

  write(piece: Piece): boolean {
    return this.over || this.put(piece, false)
  }

  /**
   * Pieces lie in memory that the next read overwrites; what Node may still have to send is a copy. As text a
   * small one travels in one write with its head.
   */
  private put(piece: Piece, withHead: boolean): boolean {
    const { response } = this
    let taken: boolean
    if (typeof piece === 'string') {
      this.bytes += Buffer.byteLength(piece)
      taken = response.write(piece)
    } else {
      this.bytes += piece.length
      taken =
        withHead && piece.length <= smallPiece
          ? response.write(latin1(piece), 'latin1')
          : response.write(Buffer.from(piece))
    }
    if (!taken && !this.draining) {
      this.draining = true
      response.once('drain', () => {
        this.draining = false
        this.reader?.drained()
      })
    }
    return taken
  }

  end(): void {
    if (this.over) return
    this.over = true
    this.response.end()
  }

  whole({ status, headers }: CallerHead, body: Piece | undefined): void {
    const { response } = this
    if (this.over) return
    this.over = true
    if (body !== undefined) this.bytes = typeof body === 'string' ? Buffer.byteLength(body) : body.length
    // Complete before its first byte was sent: the length is known, whatever the framing on the other side
    // was.
    const framed = bodiless(status) || fieldOf(headers, 'content-length') !== undefined
    response.writeHead(
      status,
      (framed ? headers : [...headers, 'Content-Length', String(this.bytes)]) as string[],
    )
    if (body !== undefined && !bodiless(status)) {
      if (typeof body === 'string') this.encoding = 'utf8'
      this.body =
        typeof body === 'string' ? body : body.length <= smallPiece ? latin1(body) : Buffer.from(body)
    }
    this.batch.gather(this, this.bytes)
  }

  flush(): void {
    const { response, body, encoding } = this
    this.body = undefined
    if (response.destroyed) return
    if (body === undefined) response.end()
    else response.end(body, encoding)
  }

  abort(): void {
    if (this.over) return
    this.over = true
    this.response.destroy()
  }

  fail(error: unknown): void {
    const { response } = this
    const { head, admitted } = this
    const answer = this.refuse(error, {
      ...head,
      ...(admitted && { rpcId: admitted.rpcId, admitted }),
      gone: response.destroyed,
    })
    if (!response.headersSent && !response.destroyed) this.whole(answer, answer.body)
  }
}

// Time limits of many calls with one timer: a list walked ten times a second costs less than a timer for
// every call.

const tickMs = 100

const createTimeoutWheel = (now: () => number, timer: Timer): Deadlines => {
  // Not a Set: as entries come and go it leaves tables behind that hold on to one another and to every
  // finished call, until the next full collection.
  const items: Timed[] = []
  let ticking = false
  const tick = (): void => {
    const time = now()
    // From the end: whoever leaves meanwhile is replaced by one that has been visited.
    for (let i = items.length - 1; i >= 0; i--) {
      const item = items[i]
      if (!item) continue
      if (item.deadline <= time) item.late()
      else if (item.comment <= time) item.idle()
    }
    ticking = items.length > 0
    if (ticking) timer(tickMs, tick)
  }
  return {
    add(item) {
      item.at = items.push(item) - 1
      if (ticking) return
      ticking = true
      timer(tickMs, tick)
    },
    delete({ at }) {
      const last = items.pop()
      if (!last || at >= items.length) return
      items[at] = last
      last.at = at
    },
    sooner: () => undefined,
  }
}

export const createForward = ({
  admit,
  respond,
  refuse,
  now,
  timer,
  lookup,
  proxies,
}: ForwardDeps): Forward => {
  const batch = createWriteBatch()
  const upstreams = createUpstreams({ gather: batch.gather, now, lookup, proxies })
  const deadlines = createTimeoutWheel(now, timer)
  const streams = new Set<{ conclude(): void }>()
  return {
    serve(request, response, context, located) {
      const head = headOf(request, context, located)
      const read: ReadBody = (max, grow) => readBody(request, response, max, grow)
      const output = new NodeOutput(response, head, refuse, batch)
      admit(head, read)
        .then((admitted) => respond(admitted, { output, sendHttp: upstreams.send, deadlines, streams }))
        .catch((error: unknown) => output.fail(error))
    },
    close() {
      for (const stream of streams) stream.conclude()
      upstreams.close()
    },
  }
}
