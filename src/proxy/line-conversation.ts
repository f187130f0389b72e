// One session over one line: answers and progress go to the call they belong to, all else to the stream that listens, or waits for one.
import { Refusal } from '../kit/refusal.ts'
import type { SayRefused } from '../kit/refusal.ts'
import type { Line, LineEvents } from '../ports/lines.ts'
import { createEventWriter } from './event-writer.ts'
import type { EventWriter } from './event-writer.ts'
import { createLineCalls } from './line-calls.ts'
import { isRequest, isResponse, messagesOf, reportedOf } from './rpc-text.ts'
import type { Spoken } from './rpc-text.ts'

export interface Conversation extends LineEvents {
  readonly owner: string
  use(line: Line): void
  /** Rejects with what the line refuses. `refused`: how the caller of the request is told that no answer will come. */
  post(messages: readonly Spoken[], request: Request, refused: SayRefused): Promise<Response>
  /** The stream of what belongs to no call; one at a time. Throws `session.listening`. */
  listen(signal: AbortSignal): Response
  close(): void
  /** Epoch ms of its last use; now, while anybody is on it. */
  idleSince(): number
}

export interface ConversationOptions {
  readonly id: string
  readonly owner: string
  readonly now: () => number
  readonly keepAliveMs: number
  readonly over: () => void
}

/** What nobody listens to yet, in characters; beyond it the oldest is lost, as it would be without a gateway. */
const mostHeld = 1_048_576

const createHeld = () => {
  const texts: string[] = []
  let size = 0
  return {
    add(text: string): void {
      texts.push(text)
      size += text.length
      while (size > mostHeld && texts.length > 1) size -= (texts.shift() as string).length
    },
    release(stream: EventWriter): void {
      size = 0
      for (const text of texts.splice(0)) stream.write(text)
    },
  }
}

const streamed = (stream: EventWriter, session: string, signal: AbortSignal): Response => {
  if (signal.aborted) stream.end()
  else signal.addEventListener('abort', () => stream.end(), { once: true })
  return new Response(stream.body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform', 'mcp-session-id': session } })
}

const deliver = async (line: Line | undefined, messages: readonly Spoken[], about: readonly string[]): Promise<void> => {
  if (!line) throw new Refusal('session.unknown', 'connection closed')
  // One by one: these transports have no batches, and an order.
  for (const { text } of messages) await line.send(text, about)
}

export const createConversation = ({ id, owner, now, keepAliveMs, over }: ConversationOptions): Conversation => {
  let usedAt = now()
  let line: Line | undefined
  let listener: EventWriter | undefined
  let done = false
  const used = (): void => void (usedAt = now())
  const calls = createLineCalls({ keepAliveMs, used })
  const held = createHeld()
  const message = async (said: string): Promise<void> => {
    for (const spoken of messagesOf(said)) {
      const stream = calls.reporting(reportedOf(spoken.message)) ?? listener ?? calls.latest()
      if (isResponse(spoken.message)) await calls.answer(spoken.message['id'], spoken.text)
      else if (stream) stream.write(spoken.text)
      else held.add(spoken.text)
      await stream?.room()
    }
  }
  const finish = (why: string): void => {
    if (done) return
    done = true
    over()
    calls.fail(new Refusal('upstream.unreachable', why))
    listener?.end()
  }
  const unheard = (): void => {
    listener = undefined
    used()
  }
  const close = (): void => {
    line?.close()
    finish('closed')
  }
  return {
    owner,
    use: (made) => void (line = made),
    message,
    ended: finish,
    async post(messages, request, refused) {
      used()
      const requests = messages.flatMap(({ message }) => (isRequest(message) ? [message] : []))
      const stream = requests.length > 0 ? calls.open(requests, refused) : undefined
      if (stream && !listener) held.release(stream)
      await deliver(done ? undefined : line, messages, [...request.headers].flat()).catch((error: unknown) => {
        stream?.end()
        if (error instanceof Refusal && error.code === 'session.unknown') close()
        throw error
      })
      return stream ? streamed(stream, id, request.signal) : new Response(null, { status: 202 })
    },
    listen(signal) {
      if (listener) throw new Refusal('session.listening', 'a GET stream is already open')
      listener = createEventWriter({ keepAliveMs, gone: unheard })
      held.release(listener)
      return streamed(listener, id, signal)
    },
    close,
    idleSince: () => (calls.size > 0 || listener ? now() : usedAt),
  }
}
