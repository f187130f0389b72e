// An HTTP response as plain data: its body is text, or is written piece by piece to whoever sends it, without
// web objects in between; and what it is as web standards, where those are asked for.
import { utf8 } from './bytes.ts'
import { isEventStream, messageEvent } from './sse.ts'

/**
 * What of an AbortSignal is needed to know whether a caller is still there; a runtime may bring a lighter
 * one.
 */
export interface AbortListener {
  readonly aborted: boolean
  readonly reason: unknown
  throwIfAborted(): void
  addEventListener(type: 'abort', leave: () => void, options?: { readonly once: boolean }): void
  removeEventListener(type: 'abort', leave: () => void): void
}

/** Where a body goes that comes piece by piece. */
export interface Sink {
  /** False when the reader is slower than the writer: `drained` says when it has caught up. */
  write(text: string): boolean
  /** The body is complete. */
  end(): void
  /** The body will never be complete, and must not look so. */
  cut(): void
}

/** What the one who writes a body is told by the one who sends it. */
export interface Source {
  drained(): void
  /** The caller left. */
  gone(): void
}

export interface PlainResponse {
  readonly status: number
  /** Flat list: name, value, name, value… */
  readonly headers: readonly string[]
  /** Whole, or begun: called once, and written to the sink from then on. */
  readonly body: string | ((sink: Sink) => Source)
}

// The same as web standards, and the other way round.

/** Bytes that wait for the reader before the writer is told that it is slow. */
const slowBytes = 65_536

export const stdioResponse = ({ status, headers, body }: PlainResponse): Response => {
  const fields = new Headers()
  for (let i = 0; i + 1 < headers.length; i += 2)
    fields.append(headers[i] as string, headers[i + 1] as string)
  if (typeof body === 'string')
    return new Response(status === 204 || body === '' ? null : body, { status, headers: fields })
  let source: Source | undefined
  let slow = false
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        source = body({
          write(text) {
            controller.enqueue(utf8(text))
            slow = (controller.desiredSize ?? 0) <= 0
            return !slow
          },
          end: () => controller.close(),
          cut: () => controller.error(new Error('The answer was cut off.')),
        })
      },
      pull() {
        if (!slow) return
        slow = false
        source?.drained()
      },
      cancel: () => source?.gone(),
    },
    { highWaterMark: slowBytes, size: (chunk) => chunk?.byteLength ?? 0 },
  )
  return new Response(stream, { status, headers: fields })
}

const pipe = async (
  reader: ReadableStreamDefaultReader<Uint8Array>,
  sink: Sink,
  room: () => Promise<void>,
): Promise<void> => {
  const decoder = new TextDecoder()
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    if (!sink.write(decoder.decode(piece.value, { stream: true }))) await room()
  }
  sink.end()
}

/** The other way round: web standards as what is left of a stream that has begun. */
export const deliverResponse = (response: Response, sink: Sink): Source => {
  const cut = (): void => sink.cut()
  if (!response.body || !isEventStream(response.headers.get('content-type') ?? undefined)) {
    response.text().then((text) => {
      if (text !== '') sink.write(messageEvent(text))
      sink.end()
    }, cut)
    return { drained: () => undefined, gone: () => undefined }
  }
  const reader = response.body.getReader()
  let full = Promise.withResolvers<void>()
  let gone = false
  const room = (): Promise<void> => {
    full = Promise.withResolvers<void>()
    return full.promise
  }
  pipe(reader, sink, room).catch(() => {
    if (!gone) cut()
  })
  return {
    drained: () => full.resolve(),
    gone() {
      gone = true
      full.resolve()
      reader.cancel().catch(() => undefined)
    },
  }
}
