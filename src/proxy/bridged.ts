// A bridge's answer as web standards.
import { utf8 } from '../kit/bytes.ts'
import type { BridgeReply, Source } from '../ports/bridge.ts'

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
