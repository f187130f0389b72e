// An event stream that the gateway itself writes (WHATWG HTML §9.2): held back when its reader is slow, kept open by comments, and told when the reader leaves.
import { utf8 } from '../kit/bytes.ts'
import { createKeepAlive, keepAliveComment } from '../kit/events.ts'

export interface EventWriter {
  readonly body: ReadableStream<Uint8Array>
  write(data: string, about?: { readonly event?: string; readonly id?: string }): void
  /** A promise while the reader is behind: it resolves when there is room again, or when the reader left. */
  room(): Promise<void> | undefined
  /** The stream is complete. */
  end(): void
  readonly over: boolean
}

export interface EventWriterOptions {
  readonly keepAliveMs: number
  /** The reader left, or the stream was ended; once. */
  readonly gone: () => void
}

/** What a reader may be behind, bytes, before its writer has to wait. */
const roomBytes = 262_144

const encoded = (data: string, { event, id }: { readonly event?: string; readonly id?: string }): Uint8Array => {
  const head = `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}`
  return utf8(`${head}${data
    .split(/\r\n|\r|\n/)
    .map((line) => `data: ${line}\n`)
    .join('')}\n`)
}

const comment = utf8(keepAliveComment)

export const createEventWriter = ({ keepAliveMs, gone }: EventWriterOptions): EventWriter => {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  let waiting: PromiseWithResolvers<void> | undefined
  let over = false
  const proceed = (): void => {
    waiting?.resolve()
    waiting = undefined
  }
  const finish = (): boolean => {
    if (over) return false
    over = true
    alive.stop()
    proceed()
    return true
  }
  const body = new ReadableStream<Uint8Array>(
    {
      start: (made) => void (controller = made),
      pull: proceed,
      cancel() {
        if (finish()) gone()
      },
    },
    { highWaterMark: roomBytes, size: (piece) => piece?.byteLength ?? 0 },
  )
  const alive = createKeepAlive(keepAliveMs, () => {
    if ((controller?.desiredSize ?? 0) > 0) controller?.enqueue(comment)
  })
  return {
    body,
    write(data, about = {}) {
      if (over || !controller) return
      alive.wrote()
      controller.enqueue(encoded(data, about))
    },
    room() {
      if (over || (controller?.desiredSize ?? 0) > 0) return undefined
      waiting ??= Promise.withResolvers<void>()
      return waiting.promise
    },
    end() {
      if (!finish()) return
      controller?.close()
      gone()
    },
    get over() {
      return over
    },
  }
}
