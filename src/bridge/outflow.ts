// The writing of an event stream to whoever reads it, at the speed they read.
import { keepAliveComment } from '../kit/events.ts'
import type { Sink, Source } from '../ports/bridge.ts'

/** Unsent characters beyond which the server behind is asked to wait (security.md M15), and beyond which this reader is given up. */
const slowCharacters = 1_048_576
const lostCharacters = 33_554_432

export interface OutflowEvents {
  slow(): void
  caughtUp(): void
  /** The reader left, or was given up. */
  gone(): void
}

export interface Outflow {
  /** Where it goes; what was written before goes first. */
  attach(sink: Sink): Source
  write(text: string): void
  end(): void
  comment(): void
  /** Whoever waits because of this reader need not any more. */
  caughtUp(): void
}

export const createOutflow = (events: OutflowEvents): Outflow => {
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
