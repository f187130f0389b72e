// A client on a line (an event stream with POSTs beside it, or a WebSocket) in front of a server that speaks Streamable HTTP: one session there for each line here.
import { isEventStream } from '../kit/events.ts'
import { readBounded } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { readEvents } from './event-reader.ts'
import { headersFor, refusalOf } from './legacy-sse-dial.ts'
import { errorText, isRequest, keyOf, messagesOf, versionOf } from './rpc-text.ts'
import type { Spoken } from './rpc-text.ts'

export interface LineClientDeps {
  /** One Streamable HTTP request to the service. Rejects with `upstream.*`. */
  readonly ask: (request: { readonly method: string; readonly headers: Headers; readonly body?: string; readonly signal: AbortSignal }) => Promise<Response>
  /** To the client; a promise holds the server's stream back. */
  readonly tell: (message: string) => void | Promise<void>
  readonly service: string
  readonly timeoutMs: number
  /** Largest message of the server, bytes. */
  readonly maxBytes: number
  /** For what is said when the client is gone already. */
  readonly defer: (work: Promise<unknown>) => void
  /** Messages whose answer is not there yet. */
  readonly most: number
}

export interface LineClient {
  /** Takes the client's messages; answers come by `tell`. `headers`: flat list of what the server is told of this call. Throws `calls.limited`. */
  receive(messages: readonly Spoken[], headers: readonly string[]): void
  /** The client is gone: nothing goes on, and the server forgets the session. */
  close(): void
}

interface Call {
  /** Ids without an answer, by key. */
  readonly open: Map<string, unknown>
  /** It is `initialize`. */
  readonly opens: boolean
}

const isStream = (response: Response): response is Response & { readonly body: ReadableStream<Uint8Array> } => response.body !== null && isEventStream(response.headers.get('content-type') ?? undefined)

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true },
    )
  })

const accept = 'application/json, text/event-stream'
const reopenMs = [1000, 2000, 5000, 15_000, 30_000] as const

interface Talk {
  session: string | undefined
  version: string | undefined
  /** What the server is told of the caller, as of the last message. */
  about: readonly string[]
}

const fieldsOf = ({ session, version, about }: Talk, more: Readonly<Record<string, string>> = {}): Headers =>
  headersFor(about, {
    accept,
    ...more,
    ...(session === undefined ? {} : { 'mcp-session-id': session }),
    ...(version === undefined ? {} : { 'mcp-protocol-version': version }),
  })

/** A deadline for the head of an answer; its body may stream for ever. */
const createAsk =
  ({ ask, service, timeoutMs }: LineClientDeps, signal: AbortSignal) =>
  async (init: { readonly method: string; readonly headers: Headers; readonly body?: string }): Promise<Response> => {
    const waiting = new AbortController()
    const late = setTimeout(() => waiting.abort(), timeoutMs)
    try {
      return await ask({ ...init, signal: AbortSignal.any([signal, waiting.signal]) })
    } catch (error) {
      if (error instanceof Refusal) throw error
      if (waiting.signal.aborted) throw new Refusal('upstream.timeout', `${service}: nothing for ${timeoutMs} ms`)
      throw new Refusal('upstream.unreachable', `${service}: ${error instanceof Error ? error.message : String(error)}`)
    } finally {
      clearTimeout(late)
    }
  }

type Asked = ReturnType<typeof createAsk>
type Pass = (text: string, call: Call) => Promise<void>

/** What the server says of its own accord, as long as the client is there. */
const createListen =
  ({ asked, pass, talk, maxBytes, signal }: { readonly asked: Asked; readonly pass: Pass; readonly talk: Talk; readonly maxBytes: number; readonly signal: AbortSignal }) =>
  async (): Promise<void> => {
    let failures = 0
    let resume: string | undefined
    while (!signal.aborted && failures < reopenMs.length) {
      try {
        const response = await asked({ method: 'GET', headers: fieldsOf(talk, { accept: 'text/event-stream', ...(resume === undefined ? {} : { 'last-event-id': resume }) }) })
        if (!isStream(response)) {
          await response.body?.cancel()
          return
        }
        await readEvents(response.body, maxBytes, async ({ id, data }) => {
          failures = 0
          resume = id ?? resume
          await pass(data, { open: new Map(), opens: false })
        })
      } catch {
        // Opened again below; what is lost for good shows in the next call.
      }
      await pause(reopenMs[failures++] as number, signal)
    }
  }

/** Carries messages to the server, and what it says back, until `signal`. */
const createCarry = (deps: LineClientDeps, talk: Talk, signal: AbortSignal) => {
  const { tell, service, maxBytes } = deps
  const asked = createAsk(deps, signal)

  /** Tells the client, and strikes what was answered off the list. */
  const pass: Pass = async (text, call) => {
    for (const spoken of messagesOf(text)) {
      const { message } = spoken
      if (message['method'] === undefined) {
        call.open.delete(keyOf(message['id']))
        if (call.opens) talk.version = versionOf(message)
      }
      await tell(spoken.text)
    }
  }

  const answers = async (response: Response, call: Call): Promise<void> => {
    if (isStream(response)) await readEvents(response.body, maxBytes, ({ data }) => pass(data, call))
    else {
      const text = new TextDecoder().decode(await readBounded(response.body, maxBytes))
      // An error of the server in its own words, whatever its status.
      if (messagesOf(text).some(({ message }) => message['jsonrpc'] === '2.0')) await pass(text, call)
      else if (response.status < 200 || response.status > 299) throw refusalOf(response.status, service)
    }
    if (call.open.size > 0 && !signal.aborted) throw new Refusal('upstream.answer', `${service} ended without an answer`)
  }

  const listen = createListen({ asked, pass, talk, maxBytes, signal })

  return async ({ message, text }: Spoken, about: readonly string[]): Promise<void> => {
    const call: Call = { open: new Map(isRequest(message) ? [[keyOf(message['id']), message['id']]] : []), opens: message['method'] === 'initialize' }
    talk.about = about
    try {
      const response = await asked({ method: 'POST', headers: fieldsOf(talk, { 'content-type': 'application/json' }), body: text })
      if (call.opens) talk.session = response.headers.get('mcp-session-id') ?? undefined
      await answers(response, call)
      if (message['method'] === 'notifications/initialized') listen().catch(() => undefined)
    } catch (error) {
      if (signal.aborted) return
      const refusal = error instanceof Refusal ? error : new Refusal('upstream.answer', String(error))
      for (const id of call.open.values()) await tell(errorText(refusal, id))
    }
  }
}

export const createLineClient = (deps: LineClientDeps): LineClient => {
  const gone = new AbortController()
  const { signal } = gone
  const talk: Talk = { session: undefined, version: undefined, about: [] }
  const deliver = createCarry(deps, talk, signal)
  let going = 0
  // What follows `initialize` waits for its answer, which names the session.
  let ready: Promise<unknown> = Promise.resolve()

  return {
    receive(messages, about) {
      if (going + messages.length > deps.most) throw new Refusal('calls.limited', `${going} messages are on their way`, { headers: { 'retry-after': '1' } })
      for (const spoken of messages) {
        going++
        const opens = spoken.message['method'] === 'initialize'
        const work = ready.then(() => deliver(spoken, about)).finally(() => void going--)
        if (opens) ready = work
      }
    },
    close() {
      if (signal.aborted) return
      const bye = talk.session === undefined ? undefined : { method: 'DELETE', headers: fieldsOf(talk) }
      gone.abort()
      if (bye) deps.defer(deps.ask({ ...bye, signal: AbortSignal.timeout(deps.timeoutMs) }).then((response) => response.body?.cancel(), () => undefined))
    },
  }
}
