// A server behind a line, served as Streamable HTTP: each session has a line of its own, and every message finds the stream it belongs to (MCP 2025-11-25 transports).
import { encodeBase64url } from '../../kit/bytes.ts'
import { Refusal, type ReportRefused } from '../../kit/refusal.ts'
import { type EventWriter, createEventWriter } from '../../kit/sse.ts'
import {
  type Rpc,
  type ParsedMessages,
  isRequest,
  isResponse,
  keyOf,
  messagesOf,
  progressOf,
  reportedOf,
} from '../../mcp/json-rpc.ts'
import type { Runtime } from '../../ports/runtime.ts'
import type { Service } from '../../ports/services.ts'
import type { Connect, TransportConnection, TransportEvents, SessionCall } from '../../ports/transport.ts'
import { refusedOf } from '../error-response.ts'
import type { Revalidation } from '../revalidate.ts'
import { gatewaySessions } from '../session-owner.ts'

// The POSTs of one session that wait for answers: which stream an answer or a progress report belongs to.

/** One POST with requests: its stream, and what it still waits for. */
interface Call {
  readonly refused: ReportRefused
  readonly stream: EventWriter
  /** Ids without an answer, by key. */
  readonly waiting: Map<string, unknown>
  readonly tokens: readonly string[]
}

export interface EndpointCalls {
  /** The stream for these requests' answers; `refused`: what is said there when none will come. Throws `mcp.invalid` for an id that is in use. */
  open(requests: readonly Rpc[], refused: ReportRefused): EventWriter
  /** Gives an answer to its call; an answer to nobody is dropped, because its caller left. */
  answer(id: unknown, text: string): Promise<void> | undefined
  /** The stream for reports under that token. */
  reporting(token: unknown): EventWriter | undefined
  latest(): EventWriter | undefined
  /** No answer will come any more. */
  fail(refusal: Refusal): void
  readonly size: number
}

export const createEndpointCalls = ({
  keepAliveMs,
  used,
}: {
  readonly keepAliveMs: number
  readonly used: () => void
}): EndpointCalls => {
  const calls = new Set<Call>()
  const byId = new Map<string, Call>()
  const byToken = new Map<string, Call>()
  const forget = (call: Call): void => {
    calls.delete(call)
    for (const key of call.waiting.keys()) byId.delete(key)
    for (const token of call.tokens) byToken.delete(token)
    used()
  }
  return {
    open(requests, refused) {
      const taken = requests.map((message) => keyOf(message['id'])).find((key) => byId.has(key))
      if (taken !== undefined) throw new Refusal('mcp.invalid', `the id ${taken} is in use`)
      const call: Call = {
        refused,
        stream: createEventWriter({ keepAliveMs, gone: () => forget(call) }),
        waiting: new Map(requests.map((message) => [keyOf(message['id']), message['id']])),
        tokens: requests.flatMap((message) =>
          progressOf(message) === undefined ? [] : [keyOf(progressOf(message))],
        ),
      }
      for (const key of call.waiting.keys()) byId.set(key, call)
      for (const token of call.tokens) byToken.set(token, call)
      calls.add(call)
      return call.stream
    },
    answer(id, text) {
      const key = keyOf(id)
      const call = byId.get(key)
      if (!call) return undefined
      call.waiting.delete(key)
      byId.delete(key)
      call.stream.write(text)
      if (call.waiting.size === 0) call.stream.end()
      return call.stream.room()
    },
    reporting: (token) => (token === undefined ? undefined : byToken.get(keyOf(token))?.stream),
    latest: () => [...calls].at(-1)?.stream,
    fail(refusal) {
      for (const call of calls) {
        for (const id of call.waiting.values()) call.stream.write(call.refused(refusal, id))
        call.stream.end()
      }
    },
    get size() {
      return calls.size
    },
  }
}

// One session over one line: answers and progress go to the call they belong to, all else to the stream that listens, or waits for one.

export interface Conversation extends TransportEvents {
  readonly owner: string
  use(line: TransportConnection): void
  /** Rejects with what the line refuses. `refused`: how the caller of the request is told that no answer will come. */
  post(messages: readonly ParsedMessages[], request: Request, refused: ReportRefused): Promise<Response>
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
  return new Response(stream.body, {
    headers: {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache, no-transform',
      'mcp-session-id': session,
    },
  })
}

const deliver = async (
  line: TransportConnection | undefined,
  messages: readonly ParsedMessages[],
  about: readonly string[],
): Promise<void> => {
  if (!line) throw new Refusal('session.unknown', 'connection closed')
  // One by one: these transports have no batches, and an order.
  for (const { text } of messages) await line.send(text, about)
}

export const createConversation = ({
  id,
  owner,
  now,
  keepAliveMs,
  over,
}: ConversationOptions): Conversation => {
  let usedAt = now()
  let line: TransportConnection | undefined
  let listener: EventWriter | undefined
  let done = false
  const used = (): void => void (usedAt = now())
  const calls = createEndpointCalls({ keepAliveMs, used })
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
      await deliver(done ? undefined : line, messages, [...request.headers].flat()).catch(
        (error: unknown) => {
          stream?.end()
          if (error instanceof Refusal && error.code === 'session.unknown') close()
          throw error
        },
      )
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

export interface SessionEndpointDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'log'>
  readonly service: Service
  readonly dial: Connect
  readonly watch: Revalidation
  readonly keepAliveMs: number
  /** Lines that one owner may hold open at once. */
  readonly most: number
}

/** Answers one request of a Streamable HTTP client, which has been let in already. `id`: of the session, should it open one. Rejects with `Refusal`. */
export type SessionEndpoint = (request: Request, about: SessionCall, id?: string) => Promise<Response>

/** Largest message of a server on a line, bytes. */
export const mostMessageBytes = 67_108_864

/** A session that nobody used for this long is over. */
export const idleMs = 1_800_000

export const tooMany = (owner: string, open: number): Refusal =>
  new Refusal('calls.limited', `${owner} has ${open} connections open`, { headers: { 'retry-after': '5' } })

/** Ours alone begin like this: by it a session is known for one on a line where nobody remembers it. */
const mark = gatewaySessions.connection
export const sessionOfConnection = (id: string): string => `${mark}${id}`
/** The id in a session on a line; undefined for the sessions of others. */
export const connectionIdOf = (session: string): string | undefined =>
  session.startsWith(mark) ? session.slice(mark.length) : undefined

const flat = (headers: Headers): string[] => [...headers].flat()

/** Whether these messages begin a session. */
export const opensSession = (text: string): boolean =>
  messagesOf(text).some(({ message }) => message['method'] === 'initialize')

export const createSessionEndpoint = ({
  runtime,
  service,
  dial,
  watch,
  keepAliveMs,
  most,
}: SessionEndpointDeps): SessionEndpoint => {
  const conversations = new Map<string, Conversation>()
  const find = (request: Request, owner: string): Conversation => {
    const id = request.headers.get('mcp-session-id')
    if (id === null) throw new Refusal('session.missing', 'Mcp-Session-Id missing')
    const conversation = conversations.get(id)
    if (!conversation || conversation.owner !== owner)
      throw new Refusal('session.unknown', 'no connection for this session in this process')
    return conversation
  }
  const begin = async (request: Request, owner: string, id: string): Promise<Conversation> => {
    let own = 0
    for (const conversation of conversations.values()) if (conversation.owner === owner) own++
    if (own >= most) throw tooMany(owner, own)
    if (conversations.has(id)) throw new Refusal('session.unknown', 'session ID already in use')
    const over = (): void => {
      conversations.delete(id)
      unwatch()
    }
    const conversation = createConversation({ id, owner, now: runtime.now, keepAliveMs, over })
    conversations.set(id, conversation)
    const unwatch = watch.service(
      service,
      conversation.close,
      () => conversation.idleSince() < runtime.now() - idleMs,
    )
    try {
      conversation.use(
        await dial({ headers: flat(request.headers), timeoutMs: service.timeoutMs }, conversation),
      )
      return conversation
    } catch (error) {
      conversation.close()
      throw error
    }
  }
  return async (request, { owner, asked }, id = encodeBase64url(runtime.random(32))) => {
    if (request.method === 'GET') return find(request, owner).listen(request.signal)
    if (request.method === 'DELETE') {
      find(request, owner).close()
      return new Response(null, { status: 200 })
    }
    const text = await request.text()
    const messages = messagesOf(text)
    if (!opensSession(text))
      return find(request, owner).post(messages, request, refusedOf(runtime.log, asked))
    const conversation = await begin(request, owner, sessionOfConnection(id))
    try {
      return await conversation.post(messages, request, refusedOf(runtime.log, asked))
    } catch (error) {
      conversation.close()
      throw error
    }
  }
}
