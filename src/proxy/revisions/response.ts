// The response to one POST of a client: a JSON message, or an event stream if there is more than one message
// or the first takes long.
import { stdioResponse } from '../../kit/plain-response.ts'
import { type ResponseWriter, createResponseWriter } from '../../mcp/response-writer.ts'
import type { Server } from './upstream-request.ts'

export interface PendingResponse {
  /** Rejects with the error given to `fail` before anything was sent. */
  readonly response: Promise<Response>
  /** Sends a message that is not the last. Returns a promise while the reader is behind. */
  write(text: string): Promise<void> | undefined
  /** Sends the last message; without one, ends with 202 if nothing was sent. */
  finish(text?: string, status?: number): void
  /** Responds with a whole other response. Returns false, and does nothing, if something was sent already. */
  replace(response: Response): boolean
  /** No response will come. `text` is the last message of a stream that has begun. */
  fail(error: unknown, text: () => string): void
  readonly over: boolean
}

/** A response that takes longer begins as a stream, so that the caller sees that the gateway is alive. */
const streamAfterMs = 1000

/** A JSON response of the gateway itself. */
export const jsonResponse = (message: object, headers: Readonly<Record<string, string>> = {}): Response =>
  Response.json(message, { headers: { 'cache-control': 'no-store', ...headers } })

/**
 * Opens the stream of a response that takes long, and writes comments while it is silent. `wrote`: something
 * else was written.
 */
const startKeepAlive = (
  { runtime, keepAliveMs }: Server,
  { open, comment }: Pick<ResponseWriter, 'open' | 'comment'>,
): { readonly wrote: () => void; readonly stop: () => void } => {
  const wrote = (): void => {
    stop()
    stop = runtime.timer(keepAliveMs, () => {
      comment()
      wrote()
    })
  }
  let stop = runtime.timer(streamAfterMs, () => {
    open()
    wrote()
  })
  return { wrote, stop: () => stop() }
}

/** `gone`: the caller left before the last message; called once. */
export const createResponse = (server: Server, signal: AbortSignal, gone: () => void): PendingResponse => {
  let room: PromiseWithResolvers<void> | undefined
  let replacement: Response | undefined
  const writer = createResponseWriter(
    {
      gone() {
        keepAlive.stop()
        gone()
      },
      slow: () => void (room = Promise.withResolvers()),
      caughtUp: () => room?.resolve(),
    },
    signal,
  )
  const response = writer.reply.then((plain) => replacement ?? stdioResponse(plain))
  response.catch(() => undefined)
  const keepAlive = startKeepAlive(server, writer)
  const end = (): void => {
    keepAlive.stop()
    writer.end()
  }
  if (signal.aborted) {
    writer.refuse(signal.reason)
    keepAlive.stop()
    gone()
  }
  return {
    response,
    write(text) {
      if (writer.state === 'over') return undefined
      writer.event(text)
      keepAlive.wrote()
      return room?.promise
    },
    finish(text, status) {
      if (text !== undefined && writer.state === 'waiting') writer.json(text, status)
      else if (text !== undefined) writer.event(text)
      end()
    },
    replace(whole) {
      if (writer.state !== 'waiting') return false
      replacement = whole
      end()
      return true
    },
    fail(error, text) {
      if (writer.state === 'waiting') writer.refuse(error)
      else writer.event(text())
      end()
    },
    get over() {
      return writer.state === 'over'
    },
  }
}
