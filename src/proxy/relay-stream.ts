// A stream of events on its way through web standards: no faster than it is read, with comments where it is silent, and with an end when its caller may not hear it any more.
import { utf8 } from '../kit/bytes.ts'
import { fieldOf } from '../kit/http.ts'
import { createKeepAlive, endsLine, keepAliveComment } from '../kit/sse.ts'
import type { Admission, AnswerHead, Outcome } from '../ports/call.ts'

export interface RelayedEvents {
  readonly source: ReadableStream<Uint8Array>
  readonly ended: (result: Outcome['result'], bytes: number) => void
  /** The upstream is to hear that nobody listens. */
  readonly leave: () => void
}

const comment = utf8(keepAliveComment)

type About = Pick<Admission, 'watch' | 'keepAliveMs' | 'method' | 'upstream'>

/** What the gateway's own streams and bridges say of themselves is not said again; a coded body takes no plain text. */
const isSilent = ({ upstream }: About, { headers }: AnswerHead): boolean =>
  upstream.kind === 'http' && fieldOf(headers, 'content-encoding') === undefined

const timer = (ms: number, run: () => void): (() => void) => {
  const timeout = setTimeout(run, ms)
  return () => clearTimeout(timeout)
}

export const relayEvents = (
  { source, ended, leave }: RelayedEvents,
  about: About,
  head: AnswerHead,
): ReadableStream<Uint8Array> => {
  const reader = source.getReader()
  let bytes = 0
  let atLine = true
  let over = false
  const settle = (result: Outcome['result']): boolean => {
    if (over) return false
    over = true
    alive?.stop()
    unwatch?.()
    ended(result, bytes)
    return true
  }
  const drop = (): void => {
    leave()
    reader.cancel().catch(() => undefined)
  }
  let out: ReadableStreamDefaultController<Uint8Array> | undefined
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => void (out = controller),
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (over) return
        if (done) {
          settle('answered')
          controller.close()
          return
        }
        alive?.wrote()
        bytes += value.byteLength
        atLine = endsLine(value)
        controller.enqueue(value)
      } catch (error) {
        // Cut off, never closed: a truncated answer must not look complete.
        if (settle('failed')) controller.error(error)
      }
    },
    cancel() {
      if (settle('aborted')) drop()
    },
  })
  const alive = isSilent(about, head)
    ? createKeepAlive(timer, about.keepAliveMs, () => {
        if (atLine && (out?.desiredSize ?? 0) > 0) out?.enqueue(comment)
      })
    : undefined
  const unwatch = about.watch?.(() => {
    if (!settle('aborted')) return
    // A stream that is listened to may end at any time; an answer that lacks its rest must not look whole.
    if (about.method === 'GET') out?.close()
    else out?.error(new Error('The access has ended.'))
    drop()
  })
  return stream
}
