// What the gateway itself asks of a server in the other era's words, and the messages of its answers.
import { readBounded } from '../../kit/http.ts'
import { type RefusedRequest, isLostConnection, networkReason } from '../../kit/log.ts'
import { Refusal, type ReportRefused } from '../../kit/refusal.ts'
import { type EventWriter, createEventWriter, isEventStream, readEvents } from '../../kit/sse.ts'
import { type Rpc, isRecord } from '../../mcp/json-rpc.ts'
import { parseExactText } from '../../mcp/json.ts'
import type { Principal } from '../../ports/people.ts'

/** One request of Streamable HTTP to the server, whatever it is behind. Rejects with `upstream.*` and what its network says. */
export type RevisionCall = (
  request: Request,
  about: Pick<Caller, 'principal' | 'asked' | 'refused' | 'sessionId'>,
) => Promise<Response>

/** The caller of whose requests these are made: what the server is told of them, and when they leave. */
export interface Caller {
  readonly principal: Principal | undefined
  /** Whose sessions these are; empty where nobody signs in. */
  readonly owner: string
  /** The server's address, with what the caller's own query adds to it. */
  readonly url: string
  /** Fields of the caller's own request, identity and credential included. */
  readonly headers: Headers
  readonly signal: AbortSignal
  /** How refusals of the call are logged; and how they are told on a stream that has begun. */
  readonly asked: RefusedRequest
  readonly refused: ReportRefused
  /** Whether the server waits for somebody, so that its silence is no fault. */
  readonly waits?: () => boolean
  /** The request is a subscription: its stream speaks when something happens, so its silence is no fault. */
  readonly subscribes?: boolean
  /** The id that the caller was told already of the session that this call begins. */
  readonly sessionId?: (() => string | undefined) | undefined
}

/** Largest message of a server, bytes. */
const mostBytes = 67_108_864

const ownFields = new Set(['accept', 'accept-encoding', 'content-type', 'content-length', 'last-event-id'])

/** What the server is told of the caller, and then what this request is. The caller's own MCP headers are about another request. */
const fieldsOf = (headers: Headers, more: readonly (readonly [string, string])[]): Headers => {
  const fields = new Headers()
  for (const [name, value] of headers)
    if (!ownFields.has(name) && !name.startsWith('mcp-')) fields.append(name, value)
  for (const [name, value] of more) fields.append(name, value)
  return fields
}

/** A Request whose signal follows this one for as long as anybody listens: by itself it does so only while somebody holds the Request. */
export const requestOf = (
  url: string,
  init: {
    readonly method: string
    readonly headers: Headers
    readonly signal: AbortSignal
    readonly body?: string
  },
): Request => {
  const request = new Request(url, init)
  init.signal.addEventListener('abort', () => void request, { once: true })
  return request
}

export interface SendNotificationDeps {
  readonly ask: RevisionCall
  /** Id of the service. */
  readonly service: string
  /** Display name of the service, for the sentence that callers read. */
  readonly name: string
  /** Longest silence of the server, milliseconds: until the first byte of an answer, and between two bytes of it. */
  readonly timeoutMs: number
}

/** Ends the wait for a byte after `timeoutMs`. The time starts again while `waits` says that the server itself waits for somebody. */
const createDeadline = (
  { service, name, timeoutMs }: SendNotificationDeps,
  waits: (() => boolean) | undefined,
) => {
  const late = new AbortController()
  const expire = (): void => {
    if (waits?.()) timer = setTimeout(expire, timeoutMs)
    else
      late.abort(
        new Refusal('upstream.timeout', `${service}: nothing for ${timeoutMs} ms`, {
          say: `Request to ${name} timed out`,
        }),
      )
  }
  let timer = setTimeout(expire, timeoutMs)
  return { signal: late.signal, stop: () => clearTimeout(timer) }
}

/** The next piece of a body, or the refusal of a deadline of its own. */
const readInTime = async (
  reader: ReadableStreamDefaultReader<Uint8Array>,
  deps: SendNotificationDeps,
  waits: (() => boolean) | undefined,
): Promise<ReadableStreamReadResult<Uint8Array>> => {
  const deadline = createDeadline(deps, waits)
  const { promise, reject } = Promise.withResolvers<never>()
  deadline.signal.addEventListener('abort', () => reject(deadline.signal.reason as Refusal), { once: true })
  try {
    return await Promise.race([reader.read(), promise])
  } finally {
    deadline.stop()
  }
}

/** The same answer, whose body fails with `upstream.timeout` when the server falls silent. Any byte counts, comments included; the time that the reader takes does not. */
const withSilenceLimit = (
  response: Response,
  deps: SendNotificationDeps,
  waits: (() => boolean) | undefined,
): Response => {
  if (!response.body) return response
  const reader = response.body.getReader()
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await readInTime(reader, deps, waits)
          if (done) controller.close()
          else controller.enqueue(value)
        } catch (error) {
          controller.error(error)
          reader.cancel(error).catch(() => undefined)
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  )
  return new Response(body, response)
}

export const createSendNotification =
  (deps: SendNotificationDeps) =>
  async (
    caller: Omit<Caller, 'owner'>,
    more: readonly (readonly [string, string])[],
    body?: string,
    method = body === undefined ? 'GET' : 'POST',
  ): Promise<Response> => {
    const { url, headers, signal, waits, subscribes } = caller
    const fields = fieldsOf(headers, [
      ['accept', method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream'],
      ...(body === undefined ? [] : [['content-type', 'application/json'] as const]),
      ...more,
    ])
    const deadline = createDeadline(deps, waits)
    try {
      const response = await deps.ask(
        requestOf(url, {
          method,
          headers: fields,
          signal: AbortSignal.any([signal, deadline.signal]),
          ...(body === undefined ? {} : { body }),
        }),
        caller,
      )
      return body === undefined || subscribes ? response : withSilenceLimit(response, deps, waits)
    } catch (error) {
      // Lines and commands refuse a session that is over; servers elsewhere answer so.
      if (error instanceof Refusal && error.code === 'session.unknown')
        return new Response(null, { status: error.row.status })
      throw deadline.signal.aborted ? deadline.signal.reason : error
    } finally {
      deadline.stop()
    }
  }

export type SendNotification = ReturnType<typeof createSendNotification>

/** Answers that say nothing about MCP and are the caller's to see: a login that is wanted, a server in trouble. Never a verdict on what it speaks. */
export const isForeign = ({ status }: Response): boolean =>
  status === 401 ||
  status === 403 ||
  status === 407 ||
  status === 408 ||
  status === 429 ||
  status >= 500 ||
  (status >= 300 && status < 400)

const messages = (text: string): readonly Rpc[] => {
  try {
    const value = parseExactText(text)
    return (Array.isArray(value) ? (value as readonly unknown[]) : [value]).filter(isRecord)
  } catch {
    // No JSON, so no message.
    return []
  }
}

/**
 * Deals with each message of an answer, in order; resolves at its end, or once `enough` says that nothing else is needed. Numbers in them are written again as they
 * came.
 */
export const readReplies = async (
  response: Response,
  deal: (message: Rpc) => void | Promise<void>,
  enough?: () => boolean,
): Promise<void> => {
  if (!response.body) return
  if (isEventStream(response.headers.get('content-type') ?? undefined)) {
    const event = async ({ data }: { readonly data: string }): Promise<void> => {
      for (const message of messages(data)) await deal(message)
    }
    await readEvents(response.body, mostBytes, event, enough)
    return
  }
  for (const message of messages(new TextDecoder().decode(await readBounded(response.body, mostBytes))))
    await deal(message)
}

/** The one answer to a request of the gateway's own; undefined when there is none. */
export const answerOf = async (response: Response, id: string): Promise<Rpc | undefined> => {
  let found: Rpc | undefined
  const deal = (message: Rpc): void => {
    if (message['method'] === undefined && (message['id'] === id || isRecord(message['error'])))
      found ??= message
  }
  await readReplies(response, deal, () => found !== undefined)
  return found
}

export const nothing = (response: Response): Promise<unknown> =>
  response.body?.cancel().catch(() => undefined) ?? Promise.resolve()

export const asRefusal = (error: unknown, service: string): Refusal =>
  error instanceof Refusal
    ? error
    : new Refusal(
        isLostConnection(error) ? 'upstream.closed' : 'upstream.unreachable',
        `${service}: ${networkReason(error)}`,
      )

// The answer to one POST while it comes into being: one JSON message, or an event stream where more is said than that, or where it takes long.

export interface RevisionReply {
  /** Rejects with what `fail` was given before anything was said. */
  readonly response: Promise<Response>
  /** A message that is not the last; a promise while its reader is behind. */
  tell(text: string): Promise<void> | undefined
  /** The last message. */
  answer(text: string, status?: number, headers?: Readonly<Record<string, string>>): void
  /** There is nothing to answer, or nothing more. */
  end(): void
  /** An answer of another's making, whole. Only while nothing was said; false otherwise. */
  pass(response: Response): boolean
  /** No answer will come. `text` is what is said on a stream that has begun. */
  fail(error: unknown, text: () => string): void
  readonly over: boolean
}

export interface RevisionReplyOptions {
  readonly keepAliveMs: number
  /** Aborts when the caller leaves before an answer began. */
  readonly signal: AbortSignal
  /** The caller left; once, and not after the last message. */
  readonly gone: () => void
}

/** An answer that takes longer than this begins as a stream, so that whoever waits sees that somebody is there. */
const graceMs = 1000
const streamFields = { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' }
const jsonFields = { 'content-type': 'application/json', 'cache-control': 'no-store' }

export const createRevisionReply = ({ keepAliveMs, signal, gone }: RevisionReplyOptions): RevisionReply => {
  const { promise, resolve, reject } = Promise.withResolvers<Response>()
  promise.catch(() => undefined)
  let stream: EventWriter | undefined
  let over = false
  const finish = (): boolean => {
    if (over) return false
    over = true
    clearTimeout(late)
    signal.removeEventListener('abort', leave)
    return true
  }
  const leave = (): void => {
    if (!finish()) return
    reject(signal.reason)
    stream?.end()
    gone()
  }
  const open = (): EventWriter => {
    if (stream) return stream
    stream = createEventWriter({ keepAliveMs, gone: leave })
    resolve(new Response(stream.body, { headers: streamFields }))
    return stream
  }
  const complete = (text: string | undefined, whole: () => Response): void => {
    if (!finish()) return
    if (!stream) resolve(whole())
    else if (text !== undefined) stream.write(text)
    stream?.end()
  }
  const late = setTimeout(open, graceMs)
  signal.addEventListener('abort', leave, { once: true })
  if (signal.aborted) leave()
  return {
    response: promise,
    tell(text) {
      if (over) return undefined
      const writer = open()
      writer.write(text)
      return writer.room()
    },
    answer: (text, status = 200, headers = {}) =>
      complete(text, () => new Response(text, { status, headers: { ...jsonFields, ...headers } })),
    end: () => complete(undefined, () => new Response(null, { status: 202 })),
    pass(response) {
      if (stream || !finish()) return false
      resolve(response)
      return true
    },
    fail(error, text) {
      if (!finish()) return
      stream?.write(text())
      stream?.end()
      if (!stream) reject(error)
    },
    get over() {
      return over
    },
  }
}
