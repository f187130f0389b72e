// The answer to one HTTP request while it comes into being: one JSON object when the last message is also the
// first, an event stream otherwise (Streamable HTTP, sending messages to the server).
import { keepAliveComment } from '../kit/sse.ts'
import type { AbortListener, PlainResponse, Sink, Source } from '../kit/plain-response.ts'

// The writing of an event stream to whoever reads it, at the speed they read.

/**
 * Unsent characters beyond which the server behind is asked to wait, and beyond which this reader is given
 * up.
 */
const slowCharacters = 1_048_576
const lostCharacters = 33_554_432

export interface ResponseStreamEvents {
  slow(): void
  caughtUp(): void
  /** The reader left, or was given up. */
  gone(): void
}

export interface ResponseStream {
  /** Where it goes; what was written before goes first. */
  attach(sink: Sink): Source
  write(text: string): void
  end(): void
  comment(): void
  /** Whoever waits because of this reader need not any more. */
  caughtUp(): void
}

export const createResponseStream = (events: ResponseStreamEvents): ResponseStream => {
  let sink: Sink | undefined
  let early = ''
  let ended = false
  let unsent = 0
  let slow = false

  const caughtUp = (): void => {
    if (!slow) return
    slow = false
    events.caughtUp()
  }

  const write = (text: string): void => {
    if (!sink) {
      early += text
      return
    }
    if (sink.write(text) && unsent === 0) return
    unsent += text.length
    if (unsent > lostCharacters) {
      sink.cut()
      events.gone()
    } else if (unsent > slowCharacters && !slow) {
      slow = true
      events.slow()
    }
  }

  return {
    attach(to) {
      sink = to
      if (early !== '') write(early)
      early = ''
      if (ended) to.end()
      return {
        drained() {
          unsent = 0
          caughtUp()
        },
        gone: events.gone,
      }
    },
    write,
    end() {
      ended = true
      sink?.end()
    },
    comment() {
      if (unsent === 0) sink?.write(keepAliveComment)
    },
    caughtUp,
  }
}

export interface ResponseEvents {
  /** The caller left, or was given up, before the answer was complete. */
  gone(): void
  /** The caller reads more slowly than the server writes; and has caught up. */
  slow(): void
  caughtUp(): void
}

export interface ResponseWriter {
  readonly reply: Promise<PlainResponse>
  /** Begins an event stream, unless an answer has begun. */
  open(): void
  /** Writes one event with this data; `id` makes it one a client can resume behind. */
  event(data: string, id?: string, retryMs?: number): void
  /** The whole answer as JSON; only while nothing has begun. */
  json(text: string, status?: number, headers?: readonly string[]): void
  /** Nothing more will come: 202 without a body when nothing has begun. */
  end(): void
  /** Refused: rejects the reply while nothing has begun. */
  refuse(error: unknown): void
  /** A comment, where nothing was written for a while. */
  comment(): void
  readonly state: 'waiting' | 'streaming' | 'over'
}

/** One event. */
export const frame = (data: string, id?: string, retryMs?: number): string =>
  `${id === undefined ? '' : `id: ${id}\n`}${retryMs === undefined ? '' : `retry: ${retryMs}\n`}${data === '' ? '' : 'event: message\n'}data: ${data}\n\n`

export const streamHeaders = ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-cache, no-transform']
const jsonHeaders = ['Content-Type', 'application/json', 'Cache-Control', 'no-store']

interface Deferred {
  readonly reply: Promise<PlainResponse>
  resolve(reply: PlainResponse): void
  reject(error: unknown): void
}

const deferred = (): Deferred => {
  const { promise, resolve, reject } = Promise.withResolvers<PlainResponse>()
  // Nobody may be listening any more when it is refused.
  promise.catch(() => undefined)
  return { reply: promise, resolve, reject }
}

/** `signal` aborts when the caller leaves. */
export const createResponseWriter = (events: ResponseEvents, signal: AbortListener): ResponseWriter => {
  const { reply, resolve, reject } = deferred()
  let state: ResponseWriter['state'] = 'waiting'
  // Most calls are answered in one piece and never need it.
  let stream: ResponseStream | undefined
  const close = (): boolean => {
    if (state === 'over') return false
    state = 'over'
    signal.removeEventListener('abort', aborted)
    stream?.caughtUp()
    return true
  }
  const leave = (): void => {
    if (!close()) return
    // Nobody waits for the answer any more; whoever carries the call does.
    reject(signal.reason)
    events.gone()
  }
  const aborted = (): void => {
    leave()
    stream?.end()
  }
  signal.addEventListener('abort', aborted, { once: true })

  const open = (): void => {
    if (state !== 'waiting') return
    state = 'streaming'
    stream = createResponseStream({ slow: events.slow, caughtUp: events.caughtUp, gone: leave })
    resolve({ status: 200, headers: streamHeaders, body: stream.attach })
  }

  return {
    reply,
    open,
    event(data, id, retryMs) {
      open()
      if (state === 'streaming') stream?.write(frame(data, id, retryMs))
    },
    json(text, status = 200, headers = []) {
      if (state === 'waiting' && close())
        resolve({ status, headers: [...jsonHeaders, ...headers], body: text })
    },
    end() {
      if (!close()) return
      if (stream) stream.end()
      else resolve({ status: 202, headers: [], body: '' })
    },
    refuse(error) {
      if (state === 'waiting' && close()) reject(error)
    },
    comment() {
      if (state === 'streaming') stream?.comment()
    },
    get state() {
      return state
    },
  }
}
