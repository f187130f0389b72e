// On which stream of a session a message goes: exactly one (2025-11-25 transports, multiple connections).
import type { Refusal } from '../kit/refusal.ts'
import type { BridgeReply, Leave } from '../ports/bridge.ts'
import { createStreamSet, type StreamSet, type StreamSetOptions } from './stream-set.ts'

/** Messages kept for a client that has no stream open; the oldest go first. */
const mostWaiting = 256
const mostWaitingCharacters = 1_048_576
/** A call of an older client that takes longer than this is answered as a stream. */
const lateMs = 5000

/** One call's way back to its caller. */
export interface Way {
  readonly reply: Promise<BridgeReply>
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
  way(signal: Leave): Way
  /** A GET: a new standing stream, or the one that `lastEventId` belongs to, from there. Undefined for an id that was never given out. */
  stand(signal: Leave, lastEventId: string | undefined): Promise<BridgeReply> | undefined
  /** A message of the server's own accord: with the calls first (`related`), or on a standing stream first. */
  tell(data: string, related: boolean): void
  /** Opens streams for calls that take longer than `graceMs`, comments on idle ones, and lets go of those held longer than `holdMs` (0: never). */
  tick(graceMs: number, holdMs: number, comment: boolean): void
  readonly connected: boolean
  close(): void
}

interface Kept {
  add(data: string): void
  take(): readonly string[]
}

const createKept = (): Kept => {
  const kept: string[] = []
  let size = 0
  return {
    add(data) {
      kept.push(data)
      size += data.length
      while (kept.length > mostWaiting || (size > mostWaitingCharacters && kept.length > 1)) size -= kept.shift()?.length ?? 0
    },
    take() {
      size = 0
      return kept.splice(0)
    },
  }
}

const createWay = (set: StreamSet, signal: Leave, atOnce: boolean): Way => {
  const stream = set.create(false)
  const { reply } = set.attach(stream, signal)
  if (atOnce) set.open(stream)
  return {
    reply,
    tell: (data) => set.write(stream, data),
    answer(data, status, headers) {
      if (stream.over) return
      if (stream.outlet?.state === 'waiting') {
        stream.outlet.json(data, status, headers)
        // Complete in one piece: there is nothing to take up again.
        set.forget(stream)
      } else set.write(stream, data)
      set.finish(stream)
    },
    end: () => set.finish(stream),
    fail(refusal, text) {
      if (stream.over) return
      if (stream.outlet?.state === 'waiting') stream.outlet.refuse(refusal)
      else set.write(stream, text())
      set.finish(stream)
    },
  }
}

export const createStreams = (options: StreamSetOptions): Streams => {
  const { now, primes, named } = options
  const set = createStreamSet(options)
  const kept = createKept()
  /** Clients of before 2025-11-25 know no streams that are taken up again; theirs is opened so that what stands between sees a sign of life. */
  const opens = (waitedMs: number, graceMs: number): boolean => (primes() ? waitedMs >= graceMs : named() && waitedMs >= Math.max(graceMs, lateMs))
  return {
    way: (signal) => createWay(set, signal, options.atOnce && primes()),
    stand(signal, lastEventId) {
      const behind = lastEventId === undefined ? { stream: set.create(true), told: [] } : set.behind(lastEventId)
      if (!behind) return undefined
      const { stream, told } = behind
      const outlet = set.attach(stream, signal)
      outlet.open()
      for (const { id, data } of told) outlet.event(data, id)
      if (stream.over) set.finish(stream)
      else if (stream.standing) for (const data of kept.take()) set.write(stream, data)
      return outlet.reply
    },
    tell(data, related) {
      const stream = set.newest(!related) ?? set.newest(related)
      if (stream) set.write(stream, data)
      else kept.add(data)
    },
    tick(graceMs, holdMs, comment) {
      for (const stream of set.all) {
        const { outlet } = stream
        if (outlet?.state === 'waiting' && opens(now() - stream.openedAt, graceMs)) set.open(stream)
        else if (outlet?.state === 'streaming' && holdMs > 0 && primes() && !stream.standing && now() - stream.attachedAt >= holdMs) {
          outlet.end()
          stream.outlet = undefined
        } else if (comment) outlet?.comment()
      }
    },
    get connected() {
      return [...set.all].some((stream) => stream.outlet !== undefined)
    },
    close() {
      for (const stream of set.all) set.finish(stream)
    },
  }
}
