// The answer to one POST while it comes into being: one JSON message, or an event stream where more is said than that, or where it takes long.
import { createEventWriter, type EventWriter } from './event-writer.ts'

export interface EraReply {
  /** Rejects with what `fail` was given before anything was said. */
  readonly response: Promise<Response>
  /** A message that is not the last; a promise while its reader is behind. */
  tell(text: string): Promise<void> | undefined
  /** The last message. */
  answer(text: string, status?: number, headers?: Readonly<Record<string, string>>): void
  /** There is nothing to answer, or nothing more. */
  end(): void
  /** An answer of another's making, whole. Only while nothing was said; false otherwise. */
  pass(response: Response): boolean
  /** No answer will come. `text` is what is said on a stream that has begun. */
  fail(error: unknown, text: () => string): void
  readonly over: boolean
}

export interface EraReplyOptions {
  readonly keepAliveMs: number
  /** Aborts when the caller leaves before an answer began. */
  readonly signal: AbortSignal
  /** The caller left; once, and not after the last message. */
  readonly gone: () => void
}

/** An answer that takes longer than this begins as a stream, so that whoever waits sees that somebody is there. */
const graceMs = 1000
const streamFields = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' }
const jsonFields = { 'content-type': 'application/json', 'cache-control': 'no-store' }

export const createEraReply = ({ keepAliveMs, signal, gone }: EraReplyOptions): EraReply => {
  const { promise, resolve, reject } = Promise.withResolvers<Response>()
  promise.catch(() => undefined)
  let stream: EventWriter | undefined
  let over = false
  const finish = (): boolean => {
    if (over) return false
    over = true
    clearTimeout(late)
    signal.removeEventListener('abort', leave)
    return true
  }
  const leave = (): void => {
    if (!finish()) return
    reject(signal.reason)
    stream?.end()
    gone()
  }
  const open = (): EventWriter => {
    if (stream) return stream
    stream = createEventWriter({ keepAliveMs, gone: leave })
    resolve(new Response(stream.body, { headers: streamFields }))
    return stream
  }
  const complete = (text: string | undefined, whole: () => Response): void => {
    if (!finish()) return
    if (!stream) resolve(whole())
    else if (text !== undefined) stream.write(text)
    stream?.end()
  }
  const late = setTimeout(open, graceMs)
  signal.addEventListener('abort', leave, { once: true })
  if (signal.aborted) leave()
  return {
    response: promise,
    tell(text) {
      if (over) return undefined
      const writer = open()
      writer.write(text)
      return writer.room()
    },
    answer: (text, status = 200, headers = {}) => complete(text, () => new Response(text, { status, headers: { ...jsonFields, ...headers } })),
    end: () => complete(undefined, () => new Response(null, { status: 202 })),
    pass(response) {
      if (stream || !finish()) return false
      resolve(response)
      return true
    },
    fail(error, text) {
      if (!finish()) return
      stream?.write(text())
      stream?.end()
      if (!stream) reject(error)
    },
    get over() {
      return over
    },
  }
}
