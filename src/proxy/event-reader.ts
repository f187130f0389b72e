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

const isSilence = (error: unknown): boolean => error instanceof Refusal && error.code === 'upstream.timeout'

/** Longest wait for the end of a stream that has said all it had to say, milliseconds. */
const lingerMs = 1000

/** Reads on to the end, so that the connection can be used again; a server that leaves its stream open loses it. */
const drain = async (reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> => {
  const late = setTimeout(() => void reader.cancel().catch(() => undefined), lingerMs)
  try {
    while (!(await reader.read()).done);
  } finally {
    clearTimeout(late)
  }
}

/**
 * Resolves at the end of the stream. Rejects with `upstream.answer` for an event larger than `maxBytes` or text that is not UTF-8, and with what the stream
 * failed with; an event that was cut off is not told. `enough`: asked after each event; once it answers true, nothing else is told.
 */
export const readEvents = async (body: ReadableStream<Uint8Array>, maxBytes: number, deal: (event: HeardEvent) => void | Promise<void>, enough?: () => boolean): Promise<void> => {
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
  /** Some servers leave out the blank line behind their last event, and some of them the end of the stream too; what was cut off is no JSON, and not told. */
  const rest = async (): Promise<void> => {
    parser.feed('\n\n')
    for (const event of heard.splice(0)) if (isJson(event.data)) await deal(event)
  }
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      pending += piece.value.byteLength
      parser.feed(decoder.decode(piece.value, { stream: true }))
      for (const event of heard.splice(0)) await deal(event)
      if (enough?.()) {
        drain(reader).catch(() => undefined)
        return
      }
      if (pending > maxBytes) throw new Refusal('upstream.answer', `an event of more than ${maxBytes} bytes`)
    }
    await rest()
  } catch (error) {
    await reader.cancel().catch(() => undefined)
    if (isSilence(error) && enough) await rest()
    if (!(isSilence(error) && enough?.())) throw error
  }
}
