// The answer to one HTTP request while it comes into being: one JSON object when the last message is also the
// first, an event stream otherwise (Streamable HTTP, sending messages to the server).
import type { AbortListener, PlainResponse, Sink, Source } from '../kit/plain-response.ts'
import { createKeepAlive, keepAliveComment } from '../kit/sse.ts'

/**
 * Unsent characters beyond which the server behind is asked to wait, and beyond which this reader is given
 * up.
 */
const slowCharacters = 1_048_576
const lostCharacters = 33_554_432

export interface ResponseEvents {
  /** The caller left, or was given up, before the answer was complete. */
  gone(): void
  /** The caller reads more slowly than the server writes; and has caught up. */
  slow(): void
  caughtUp(): void
}

/** The writing of an event stream to whoever reads it, at the speed they read. */
const createResponseStream = (events: ResponseEvents) => {
  let sink: Sink | undefined
  let early = ''
  let ended = false
  let unsent = 0
  let slow = false

  /** Whoever waits because of this reader need not any more. */
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
    /** Where it goes; what was written before goes first. */
    attach(to: Sink): Source {
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
    end(): void {
      ended = true
      sink?.end()
    },
    comment(): void {
      if (unsent === 0) sink?.write(keepAliveComment)
    },
    caughtUp,
  }
}

export interface EventFields {
  /** Makes it an event that a client can resume behind. */
  readonly id?: string
  readonly retryMs?: number
  /** `message` where there is data. */
  readonly name?: string
}

export interface ResponseWriter {
  readonly reply: Promise<PlainResponse>
  /** Begins an event stream, unless an answer has begun. */
  open(): void
  /** Writes one event with this data, on one line. */
  event(data: string, fields?: EventFields): void
  /** The last message: as JSON while nothing has begun, as an event otherwise. */
  answer(text: string, status?: number, headers?: readonly string[]): void
  /** Nothing more will come: 202 without a body when nothing has begun. */
  end(): void
  /** Refused: rejects the reply while nothing has begun; `text` is the last message of a stream that has. */
  fail(error: unknown, text?: () => string): void
  /** A comment, where nothing was written for a while. */
  comment(): void
  readonly state: 'waiting' | 'streaming' | 'over'
}

/** One event. */
export const frame = (
  data: string,
  { id, retryMs, name = data === '' ? undefined : 'message' }: EventFields = {},
): string =>
  `${id === undefined ? '' : `id: ${id}\n`}${retryMs === undefined ? '' : `retry: ${retryMs}\n`}${name === undefined ? '' : `event: ${name}\n`}data: ${data}\n\n`

export const streamHeaders = ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-cache, no-transform']
const jsonHeaders = ['Content-Type', 'application/json', 'Cache-Control', 'no-store']

/** `signal` aborts when the caller leaves. */
export const createResponseWriter = (events: ResponseEvents, signal: AbortListener): ResponseWriter => {
  const { promise: reply, resolve, reject } = Promise.withResolvers<PlainResponse>()
  // Nobody may be listening any more when it is refused.
  reply.catch(() => undefined)
  let state: ResponseWriter['state'] = 'waiting'
  // Most calls are answered in one piece and never need it.
  let stream: ReturnType<typeof createResponseStream> | undefined
  const close = (): boolean => {
    if (state === 'over') return false
    state = 'over'
    signal.removeEventListener('abort', aborted)
    stream?.caughtUp()
    return true
  }
  const gone = (): void => {
    if (!close()) return
    // Nobody waits for the answer any more; whoever carries the call does.
    reject(signal.reason)
    events.gone()
  }
  const aborted = (): void => {
    gone()
    stream?.end()
  }
  signal.addEventListener('abort', aborted, { once: true })

  const writer: ResponseWriter = {
    reply,
    open() {
      if (state !== 'waiting') return
      state = 'streaming'
      stream = createResponseStream({ ...events, gone })
      resolve({ status: 200, headers: streamHeaders, body: stream.attach })
    },
    event(data, fields) {
      writer.open()
      if (state === 'streaming') stream?.write(frame(data, fields))
    },
    answer(text, status = 200, headers = []) {
      if (state === 'waiting' && close())
        resolve({ status, headers: [...jsonHeaders, ...headers], body: text })
      // Nothing follows where the answer is over.
      writer.event(text)
      writer.end()
    },
    end() {
      if (!close()) return
      if (stream) stream.end()
      else resolve({ status: 202, headers: [], body: '' })
    },
    fail(error, text) {
      if (state === 'waiting' && close()) reject(error)
      if (text && state === 'streaming') writer.answer(text())
    },
    comment() {
      if (state === 'streaming') stream?.comment()
    },
    get state() {
      return state
    },
  }
  return writer
}

/** A response that takes longer begins as a stream, so that the caller sees that the gateway is alive. */
const streamAfterMs = 1000

/**
 * A response that looks after itself: it opens its stream in time, and comments while it is silent. `gone`:
 * the caller left before the last message; called once.
 */
export const createTimedResponse = (
  timer: (ms: number, run: () => void) => () => void,
  keepAliveMs: number,
  signal: AbortListener,
  gone: () => void,
) => {
  let room: PromiseWithResolvers<void> | undefined
  const writer = createResponseWriter(
    {
      gone() {
        stop()
        gone()
      },
      slow: () => void (room = Promise.withResolvers()),
      caughtUp: () => room?.resolve(),
    },
    signal,
  )
  const alive = createKeepAlive(timer, keepAliveMs, writer.comment)
  const open = (): void => {
    if (writer.state !== 'waiting') return
    writer.open()
    alive.wrote()
  }
  const cancel = timer(streamAfterMs, open)
  const stop = (): void => {
    cancel()
    alive.stop()
  }
  if (signal.aborted) {
    writer.fail(signal.reason)
    stop()
    gone()
  }
  return {
    reply: writer.reply,
    /** Begins an event stream, unless an answer has begun. */
    open,
    /** Sends a message that is not the last. Returns a promise while the reader is behind. */
    write(text: string, fields?: EventFields): Promise<void> | undefined {
      if (writer.state === 'over') return undefined
      writer.event(text, fields)
      alive.wrote()
      return room?.promise
    },
    /** Sends the last message; without one, ends with 202 if nothing was sent. */
    finish(text?: string, status?: number): void {
      stop()
      if (text !== undefined) writer.answer(text, status)
      writer.end()
    },
    /** Rejects the reply while nothing was sent; `text` is the last message of a stream that has begun. */
    fail(error: unknown, text?: () => string): void {
      stop()
      writer.fail(error, text)
      writer.end()
    },
    state: (): ResponseWriter['state'] => writer.state,
  }
}
