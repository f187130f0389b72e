// A bridge's answer as web standards.
import { utf8 } from '../kit/bytes.ts'
import { isEventStream } from '../kit/events.ts'
import type { BridgeReply, Sink, Source } from '../ports/bridge.ts'

/** Bytes that wait for the reader before the bridge is told that it is slow. */
const slowBytes = 65_536

export const bridgeResponse = ({ status, headers, body }: BridgeReply): Response => {
  const fields = new Headers()
  for (let i = 0; i + 1 < headers.length; i += 2) fields.append(headers[i] as string, headers[i + 1] as string)
  if (typeof body === 'string') return new Response(status === 204 || body === '' ? null : body, { status, headers: fields })
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

/** A message as an event; the lines of one that has several are told apart (WHATWG HTML §9.2). */
const eventOf = (text: string): string => `event: message\n${text.split(/\r\n|\r|\n/).map((line) => `data: ${line}\n`).join('')}\n`

const pipe = async (reader: ReadableStreamDefaultReader<Uint8Array>, sink: Sink, room: () => Promise<void>): Promise<void> => {
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
      if (text !== '') sink.write(eventOf(text))
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
