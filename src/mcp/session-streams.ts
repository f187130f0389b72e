// On which stream of a session a message goes: exactly one (2025-11-25 transports, multiple connections).
import { Refusal } from '../kit/refusal.ts'
import type { AbortListener, PlainResponse } from '../kit/plain-response.ts'
import { type ResponseWriter, createResponseWriter } from './response-writer.ts'

// What a session's event streams have said, so that a client that lost its connection can take up where it
// was (2025-11-25 transports, resumability).

export interface StoredEvent {
  readonly id: string
  readonly data: string
}

export interface EventStore {
  /** Keeps one event of a stream and gives it its id: unique in the session, and naming the stream. */
  add(stream: number, data: string): string
  /** The stream of an event id; undefined for an id that was never given out. */
  streamOf(id: string): number | undefined
  /** What that stream said after the event, as far as it is kept. */
  after(id: string): readonly StoredEvent[]
}

const mostEvents = 2000
const mostCharacters = 8_388_608

export const createEventStore = (): EventStore => {
  const kept: (StoredEvent & { readonly stream: number; readonly at: number })[] = []
  let count = 0
  let size = 0
  const read = (id: string): { readonly stream: number; readonly at: number } | undefined => {
    const [, stream, at] = /^(\d{1,15})-(\d{1,15})$/.exec(id) ?? []
    return at !== undefined && Number(at) > 0 && Number(at) <= count
      ? { stream: Number(stream), at: Number(at) }
      : undefined
  }
  return {
    add(stream, data) {
      const at = ++count
      const id = `${stream}-${at}`
      kept.push({ id, stream, at, data })
      size += data.length
      while (kept.length > mostEvents || (size > mostCharacters && kept.length > 1))
        size -= kept.shift()?.data.length ?? 0
      return id
    },
    streamOf: (id) => read(id)?.stream,
    after(id) {
      const from = read(id)
      return from ? kept.filter(({ stream, at }) => stream === from.stream && at > from.at) : []
    },
  }
}

// The event streams of one session and what was said on each: a stream outlives the connection it is read on
// (2025-11-25 transports, resumability).

/** How long a client waits before it takes up a stream again, milliseconds. */
const retryMs = 500
const mostStreams = 256

export interface Stream {
  readonly number: number
  /** Of a GET: carries what belongs to no call. */
  readonly standing: boolean
  /** Epoch ms. */
  waitsSince: number
  /** The connection that reads it, if one does. */
  output: ResponseWriter | undefined
  attachedAt: number
  over: boolean
}

export interface StreamSetOptions {
  readonly now: () => number
  /**
   * Whether clients of this session know events that carry an id alone (2025-11-25, a stream begins with
   * one). Read when a stream opens.
   */
  readonly primes: () => boolean
  /** Whether the session has its name: the answer that gives it is no stream. */
  readonly named: () => boolean
  /** Such clients get a stream for every call. */
  readonly atOnce: boolean
  /** The server behind should wait, because this reader is slow; and go on. */
  readonly hold: (who: object) => void
  readonly release: (who: object) => void
}

export interface StreamSet {
  create(standing: boolean): Stream
  /** Reads the stream on this connection from now on; one that read it before ends. */
  attach(stream: Stream, signal: AbortListener): ResponseWriter
  /** Begins the event stream, unless an answer has begun. */
  open(stream: Stream): void
  write(stream: Stream, data: string): void
  finish(stream: Stream): void
  forget(stream: Stream): void
  /** The newest of its kind that somebody reads. */
  newest(standing: boolean): Stream | undefined
  /**
   * The stream behind an event id, new when it is forgotten already, and what it said after that event.
   * Undefined for an id that was never given out.
   */
  behind(
    lastEventId: string,
  ):
    | { readonly stream: Stream; readonly events: readonly { readonly id: string; readonly data: string }[] }
    | undefined
  readonly all: Iterable<Stream>
}

const createAttach =
  ({ now, hold, release }: StreamSetOptions): StreamSet['attach'] =>
  (stream, signal) => {
    const output: ResponseWriter = createResponseWriter(
      {
        // Leaving is no cancellation: the stream goes on, and may be taken up again (2025-11-25 transports).
        gone() {
          if (stream.output === output) stream.output = undefined
        },
        slow: () => hold(output),
        caughtUp: () => release(output),
      },
      signal,
    )
    stream.output?.end()
    stream.output = output
    stream.attachedAt = now()
    return output
  }

export const createStreamSet = (options: StreamSetOptions): StreamSet => {
  const { now, primes } = options
  const store = createEventStore()
  const streams = new Map<number, Stream>()
  let numbers = 0

  /** Streams that are over, or that nobody reads, are forgotten when there are many. */
  const prune = (): void => {
    for (const [number, { over, standing, output }] of streams) {
      if (streams.size <= mostStreams) return
      if (over || (standing && output === undefined)) streams.delete(number)
    }
  }

  const create: StreamSet['create'] = (standing) => {
    if (streams.size > mostStreams) prune()
    const stream: Stream = {
      number: ++numbers,
      standing,
      waitsSince: now(),
      output: undefined,
      attachedAt: 0,
      over: false,
    }
    streams.set(stream.number, stream)
    return stream
  }

  const open: StreamSet['open'] = ({ number, output }) => {
    if (output?.state !== 'waiting') return
    output.open()
    if (primes()) output.event('', store.add(number, ''), retryMs)
  }

  return {
    create,
    open,
    attach: createAttach(options),
    write(stream, data) {
      open(stream)
      const id = store.add(stream.number, data)
      stream.output?.event(data, id)
    },
    finish(stream) {
      stream.over = true
      stream.output?.end()
      stream.output = undefined
    },
    forget: ({ number }) => void streams.delete(number),
    newest: (standing) =>
      [...streams.values()].findLast(
        (stream) => stream.standing === standing && !stream.over && stream.output !== undefined,
      ),
    behind(lastEventId) {
      const number = store.streamOf(lastEventId)
      return number === undefined
        ? undefined
        : {
            stream: streams.get(number) ?? create(true),
            events: store.after(lastEventId).filter(({ data }) => data !== ''),
          }
    },
    all: { [Symbol.iterator]: () => streams.values() },
  }
}

/** Messages kept for a client that has no stream open; the oldest go first. */
const mostWaiting = 256
const mostWaitingCharacters = 1_048_576
/** A call of a client of a revision before 2025-11-25 that takes longer than this is answered as a stream. */
const lateMs = 5000

/** Where the answer to one call goes, and what is said before it. */
export interface StreamOutput {
  readonly reply: Promise<PlainResponse>
  /**
   * No stream is opened for the call before its message has been taken: until then it may be refused as a
   * whole.
   */
  delay(taken: Promise<void>): void
  /** A message that belongs to the call, before its answer. */
  tell(data: string): void
  /** The last message. */
  answer(data: string, status?: number, headers?: readonly string[]): void
  /** Nothing was left to answer. */
  end(): void
  /** `text`: what is said on a stream that has begun. */
  fail(refusal: Refusal, text: () => string): void
}

export interface Streams {
  output(signal: AbortListener): StreamOutput
  /**
   * A GET: a new standing stream, or the one that `lastEventId` belongs to, from there. Undefined for an id
   * that was never given out.
   */
  listen(signal: AbortListener, lastEventId: string | undefined): Promise<PlainResponse> | undefined
  /**
   * A message of the server's own accord: with the calls first (`related`), or on a standing stream first.
   */
  tell(data: string, related: boolean): void
  /**
   * Opens streams for calls that take longer than `graceMs`, comments on idle ones, and lets go of those held
   * longer than `holdMs` (0: never).
   */
  tick(graceMs: number, holdMs: number, comment: boolean): void
  readonly connected: boolean
  close(): void
}

/** Messages that wait for a client to listen. */
interface Backlog {
  add(data: string): void
  take(): readonly string[]
}

const createBacklog = (): Backlog => {
  const kept: string[] = []
  let size = 0
  return {
    add(data) {
      kept.push(data)
      size += data.length
      while (kept.length > mostWaiting || (size > mostWaitingCharacters && kept.length > 1))
        size -= kept.shift()?.length ?? 0
    },
    take() {
      size = 0
      return kept.splice(0)
    },
  }
}

const createOutput = (
  set: StreamSet,
  signal: AbortListener,
  atOnce: boolean,
  now: () => number,
): StreamOutput => {
  const stream = set.create(false)
  const { reply } = set.attach(stream, signal)
  if (atOnce) set.open(stream)
  return {
    reply,
    delay(taken) {
      stream.waitsSince = Number.POSITIVE_INFINITY
      taken.then(
        () => (stream.waitsSince = now()),
        () => undefined,
      )
    },
    tell: (data) => set.write(stream, data),
    answer(data, status, headers) {
      if (stream.over) return
      if (stream.output?.state === 'waiting') {
        stream.output.json(data, status, headers)
        // Complete in one piece: there is nothing to take up again.
        set.forget(stream)
      } else set.write(stream, data)
      set.finish(stream)
    },
    end: () => set.finish(stream),
    fail(refusal, text) {
      if (stream.over) return
      if (stream.output?.state === 'waiting') stream.output.refuse(refusal)
      else set.write(stream, text())
      set.finish(stream)
    },
  }
}

export const createStreams = (options: StreamSetOptions): Streams => {
  const { now, primes, named } = options
  const set = createStreamSet(options)
  const backlog = createBacklog()
  /**
   * Clients of revisions before 2025-11-25 know no streams that are taken up again; theirs is opened so that
   * what stands between sees a sign of life.
   */
  const opens = (waitedMs: number, graceMs: number): boolean =>
    primes() ? waitedMs >= graceMs : named() && waitedMs >= Math.max(graceMs, lateMs)
  return {
    output: (signal) => createOutput(set, signal, options.atOnce && primes(), now),
    listen(signal, lastEventId) {
      const behind =
        lastEventId === undefined ? { stream: set.create(true), events: [] } : set.behind(lastEventId)
      if (!behind) return undefined
      const { stream, events } = behind
      const output = set.attach(stream, signal)
      output.open()
      for (const { id, data } of events) output.event(data, id)
      if (stream.over) set.finish(stream)
      else if (stream.standing) for (const data of backlog.take()) set.write(stream, data)
      return output.reply
    },
    tell(data, related) {
      const stream = set.newest(!related) ?? set.newest(related)
      if (stream) set.write(stream, data)
      else backlog.add(data)
    },
    tick(graceMs, holdMs, comment) {
      for (const stream of set.all) {
        const { output } = stream
        if (output?.state === 'waiting' && opens(now() - stream.waitsSince, graceMs)) set.open(stream)
        else if (
          output?.state === 'streaming' &&
          holdMs > 0 &&
          primes() &&
          !stream.standing &&
          now() - stream.attachedAt >= holdMs
        ) {
          output.end()
          stream.output = undefined
        } else if (comment) output?.comment()
      }
    },
    get connected() {
      return [...set.all].some((stream) => stream.output !== undefined)
    },
    close() {
      for (const stream of set.all) {
        if (stream.output?.state === 'waiting')
          stream.output.refuse(new Refusal('session.unknown', 'the session ended before the answer'))
        set.finish(stream)
      }
    },
  }
}
