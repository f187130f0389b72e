// The event streams of one session and what was said on each: a stream outlives the connection it is read on (2025-11-25 transports, resumability).
import type { Leave } from '../ports/bridge.ts'
import { createHistory } from './history.ts'
import { createOutlet, type Outlet } from './outlet.ts'

/** How long a client waits before it takes up a stream again, milliseconds. */
const retryMs = 500
const mostStreams = 256

export interface Stream {
  readonly number: number
  /** Of a GET: carries what belongs to no call. */
  readonly standing: boolean
  readonly openedAt: number
  /** The connection that reads it, if one does. */
  outlet: Outlet | undefined
  attachedAt: number
  over: boolean
}

export interface StreamSetOptions {
  readonly now: () => number
  /** Whether clients of this session know events that carry an id alone (2025-11-25, a stream begins with one). Read when a stream opens. */
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
  attach(stream: Stream, signal: Leave): Outlet
  /** Begins the event stream, unless an answer has begun. */
  open(stream: Stream): void
  write(stream: Stream, data: string): void
  finish(stream: Stream): void
  forget(stream: Stream): void
  /** The newest of its kind that somebody reads. */
  newest(standing: boolean): Stream | undefined
  /** The stream behind an event id, new when it is forgotten already, and what it said after that event. Undefined for an id that was never given out. */
  behind(lastEventId: string): { readonly stream: Stream; readonly told: readonly { readonly id: string; readonly data: string }[] } | undefined
  readonly all: Iterable<Stream>
}

const createAttach =
  ({ now, hold, release }: StreamSetOptions): StreamSet['attach'] =>
  (stream, signal) => {
    const outlet: Outlet = createOutlet(
      {
        // Leaving is no cancellation: the stream goes on, and may be taken up again (2025-11-25 transports).
        gone() {
          if (stream.outlet === outlet) stream.outlet = undefined
        },
        slow: () => hold(outlet),
        caughtUp: () => release(outlet),
      },
      signal,
    )
    stream.outlet?.end()
    stream.outlet = outlet
    stream.attachedAt = now()
    return outlet
  }

export const createStreamSet = (options: StreamSetOptions): StreamSet => {
  const { now, primes } = options
  const history = createHistory()
  const streams = new Map<number, Stream>()
  let numbers = 0

  /** Streams that are over, or that nobody reads, are forgotten when there are many. */
  const prune = (): void => {
    for (const [number, { over, standing, outlet }] of streams) {
      if (streams.size <= mostStreams) return
      if (over || (standing && outlet === undefined)) streams.delete(number)
    }
  }

  const create: StreamSet['create'] = (standing) => {
    if (streams.size > mostStreams) prune()
    const stream: Stream = { number: ++numbers, standing, openedAt: now(), outlet: undefined, attachedAt: 0, over: false }
    streams.set(stream.number, stream)
    return stream
  }

  const open: StreamSet['open'] = ({ number, outlet }) => {
    if (outlet?.state !== 'waiting') return
    outlet.open()
    if (primes()) outlet.event('', history.add(number, ''), retryMs)
  }

  return {
    create,
    open,
    attach: createAttach(options),
    write(stream, data) {
      open(stream)
      const id = history.add(stream.number, data)
      stream.outlet?.event(data, id)
    },
    finish(stream) {
      stream.over = true
      stream.outlet?.end()
      stream.outlet = undefined
    },
    forget: ({ number }) => void streams.delete(number),
    newest: (standing) => [...streams.values()].findLast((stream) => stream.standing === standing && !stream.over && stream.outlet !== undefined),
    behind(lastEventId) {
      const number = history.streamOf(lastEventId)
      return number === undefined ? undefined : { stream: streams.get(number) ?? create(true), told: history.after(lastEventId).filter(({ data }) => data !== '') }
    },
    all: { [Symbol.iterator]: () => streams.values() },
  }
}
