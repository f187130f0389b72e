// The first message of an answer, whatever it came in, and the answer as it came: what a server says is a verdict on what it speaks, not how it sends it.
import { createParser } from 'eventsource-parser'
import { isEventStream } from '../kit/events.ts'
import { readBounded } from '../kit/http.ts'
import { parseExactText } from '../mcp/exact-json.ts'
import { isRecord, type Rpc } from '../mcp/rpc.ts'

export interface FirstAnswer {
  /** Undefined: it says nothing in MCP, or something else comes before the answer. */
  readonly message: Rpc | undefined
  readonly whole: Response
}

const mostBytes = 67_108_864
/**
 * A stream that is silent this long (ms) is not waited for: inside an event it has said what it has to say, because some leave out the blank line that ends one; before
 * its first event it may be a subscription, which says something when something happens.
 */
const silentMs = 1000

const parsed = (text: string): Rpc | undefined => {
  try {
    const value = parseExactText(text)
    return isRecord(value) ? value : undefined
  } catch {
    // No JSON: it says nothing in MCP.
    return undefined
  }
}

const isAnswer = (message: Rpc | undefined): boolean => message !== undefined && message['method'] === undefined

/** What came so far, and then the rest. */
const rejoined = (pieces: readonly Uint8Array[], reader: ReadableStreamDefaultReader<Uint8Array>, next: Promise<ReadableStreamReadResult<Uint8Array>> | undefined): ReadableStream<Uint8Array> => {
  const waiting = [...pieces]
  let read = next
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const piece = waiting.shift()
      if (piece) {
        controller.enqueue(piece)
        return
      }
      const { done, value } = await (read ?? reader.read())
      read = undefined
      if (done) controller.close()
      else controller.enqueue(value)
    },
    cancel: (reason) => reader.cancel(reason),
  })
}

const firstEvent = async (response: Response, body: ReadableStream<Uint8Array>): Promise<FirstAnswer> => {
  const reader = body.getReader()
  const pieces: Uint8Array[] = []
  const events: string[] = []
  const parser = createParser({ onEvent: ({ data }) => void (data !== '' && events.push(data)) })
  const decoder = new TextDecoder()
  let size = 0
  let next: Promise<ReadableStreamReadResult<Uint8Array>> | undefined
  while (events.length === 0 && size <= mostBytes) {
    next ??= reader.read()
    const timer = Promise.withResolvers<'silent'>()
    const late = setTimeout(() => timer.resolve('silent'), silentMs)
    const read = await Promise.race([next, timer.promise]).finally(() => clearTimeout(late))
    if (read === 'silent' || read.done) {
      // The rest of an event without its end.
      parser.feed('\n\n')
      break
    }
    next = undefined
    pieces.push(read.value)
    size += read.value.byteLength
    parser.feed(decoder.decode(read.value, { stream: true }))
  }
  const message = events.map(parsed)[0]
  return { message: isAnswer(message) ? message : undefined, whole: new Response(rejoined(pieces, reader, next), response) }
}

export const firstAnswer = async (response: Response): Promise<FirstAnswer> => {
  if (!response.body) return { message: undefined, whole: response }
  if (isEventStream(response.headers.get('content-type') ?? undefined)) return firstEvent(response, response.body)
  const body = await readBounded(response.body, mostBytes)
  return { message: parsed(new TextDecoder().decode(body)), whole: new Response(body, response) }
}
