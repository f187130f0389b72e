// Reads an event stream to its end (WHATWG HTML §9.2), no faster than its events are dealt with.
import { createParser } from 'eventsource-parser'
import { Refusal } from '../kit/refusal.ts'

export interface HeardEvent {
  /** `message` where the stream names none. */
  readonly event: string
  readonly id: string | undefined
  readonly data: string
}

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/**
 * Resolves at the end of the stream. Rejects with `upstream.answer` for an event larger than `maxBytes` or text that is not UTF-8, and with what the stream
 * failed with; an event that was cut off is not told.
 */
export const readEvents = async (body: ReadableStream<Uint8Array>, maxBytes: number, deal: (event: HeardEvent) => void | Promise<void>): Promise<void> => {
  const heard: HeardEvent[] = []
  let pending = 0
  const parser = createParser({
    onEvent({ event = 'message', id, data }) {
      pending = 0
      heard.push({ event, id, data })
    },
  })
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const reader = body.getReader()
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      pending += piece.value.byteLength
      parser.feed(decoder.decode(piece.value, { stream: true }))
      for (const event of heard.splice(0)) await deal(event)
      if (pending > maxBytes) throw new Refusal('upstream.answer', `an event of more than ${maxBytes} bytes`)
    }
    // Some servers leave out the blank line behind their last event; what was cut off is no JSON, and not told.
    parser.feed('\n\n')
    for (const event of heard.splice(0)) if (isJson(event.data)) await deal(event)
  } catch (error) {
    await reader.cancel().catch(() => undefined)
    throw error
  }
}
