// What the revision bridge asks of the server behind it, the JSON-RPC messages of the responses, and its own
// responses to clients.
import { encodeBase64url } from '../../kit/bytes.ts'
import { readBounded } from '../../kit/http.ts'
import type { RefusedRequest } from '../../kit/log.ts'
import { stdioResponse } from '../../kit/plain-response.ts'
import { type ReportRefused, Refusal } from '../../kit/refusal.ts'
import { type ReadUntil, readEvents, isStream } from '../../kit/sse.ts'
import { standardHeaders } from '../../mcp/envelope.ts'
import { type Rpc, messagesToWrite, isRecord } from '../../mcp/json-rpc.ts'
import { createTimedResponse } from '../../mcp/response-writer.ts'
import type { Principal } from '../../ports/people.ts'
import type { Runtime } from '../../ports/runtime.ts'
import type { Service } from '../../ports/services.ts'

/** The caller on whose behalf requests are made. */
export interface Caller {
  readonly principal: Principal | undefined
  /** Whose sessions these are; empty on services without sign-in. */
  readonly owner: string
  /** The URL of the server, with the query of the caller's request. */
  readonly url: string
  /** Headers of the caller's request, with identity and credential. */
  readonly headers: Headers
  readonly signal: AbortSignal
  /** How refusals of the call are logged, and how they read on a stream that has begun. */
  readonly asked: RefusedRequest
  readonly refused: ReportRefused
  /** The session id that the caller was already told, if this call begins a session. */
  readonly sessionId?: (() => string | undefined) | undefined
}

/**
 * One request of Streamable HTTP to the server, whatever its transport. Rejects with `upstream.*` and with
 * network errors.
 */
export type DirectUpstream = (
  request: Request,
  about: Pick<Caller, 'principal' | 'asked' | 'refused' | 'sessionId'>,
) => Promise<Response>

/** One server, as the revision bridge uses it. */
export interface Server {
  readonly service: Pick<Service, 'id' | 'name' | 'timeoutMs'>
  readonly runtime: Pick<
    Runtime,
    'now' | 'timer' | 'random' | 'digest' | 'store' | 'keys' | 'log' | 'defer' | 'about'
  >
  readonly direct: DirectUpstream
  readonly keepAliveMs: number
  /**
   * False where nothing outlives the request that created it (Workers): no call can wait, and no stream of
   * the server can be read.
   */
  readonly lasting: boolean
}

export const newId = ({ runtime }: Pick<Server, 'runtime'>): string => encodeBase64url(runtime.random(12))

export const requestIdOf = ({ headers }: Pick<Caller, 'headers'>): string => headers.get('x-request-id') ?? ''

type Field = readonly [string, string]

export interface UpstreamRequest {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  readonly headers?: readonly Field[]
  readonly body?: string
  /** Default: the caller's. */
  readonly signal?: AbortSignal
  /**
   * The request is the gateway's own, so it outlives the caller's; the server may be silent for this long.
   */
  readonly ownMs?: number
  /** True while the server waits for the client: its silence is no error then. */
  readonly waits?: () => boolean
  /** The response is a subscription, which is silent until something happens. */
  readonly subscribes?: boolean
}

/** Largest message of a server, bytes. */
const maxBytes = 67_108_864

const ownFields = new Set(['accept', 'accept-encoding', 'content-type', 'content-length', 'last-event-id'])

/** The caller's headers without those that describe the caller's own request, and the headers of this one. */
const headersFor = (caller: Headers, fields: readonly Field[]): Headers => {
  const headers = new Headers()
  for (const [name, value] of caller)
    if (!ownFields.has(name) && !name.startsWith('mcp-')) headers.append(name, value)
  for (const [name, value] of fields) headers.append(name, value)
  return headers
}

/**
 * A Request that is aborted with the signal. By itself it follows the signal only as long as somebody holds
 * the Request.
 */
export const abortableRequest = (
  url: string,
  init: RequestInit & { readonly signal: AbortSignal },
): Request => {
  const request = new Request(url, init)
  init.signal.addEventListener('abort', () => void request, { once: true })
  return request
}

/** How long the server may be silent: before the head of its response, and between two pieces of the body. */
interface SilenceLimit {
  readonly signal: AbortSignal
  /** Rejects with `upstream.timeout` if the work takes longer. */
  within<T>(work: Promise<T>): Promise<T>
}

const createSilenceLimit = (
  { runtime, service }: Server,
  { ownMs = Infinity, waits }: UpstreamRequest,
): SilenceLimit => {
  const ms = Math.min(service.timeoutMs, ownMs)
  const late = new AbortController()
  const expired = Promise.withResolvers<never>()
  expired.promise.catch(() => undefined)
  let stop = (): void => undefined
  const start = (): void => {
    stop = runtime.timer(ms, () => {
      if (waits?.()) return start()
      const refusal = new Refusal('upstream.timeout', `${service.id}: nothing for ${ms} ms`, {
        say: `Request to ${service.name} timed out`,
      })
      late.abort(refusal)
      return expired.reject(refusal)
    })
  }
  return {
    signal: late.signal,
    async within(work) {
      start()
      try {
        return await Promise.race([work, expired.promise])
      } finally {
        stop()
      }
    },
  }
}

/**
 * The response, whose body fails when the server is silent for too long. Any byte counts, comments included;
 * the time that the reader takes does not.
 */
const limited = (response: Response, silence: SilenceLimit): Response => {
  if (!response.body) return response
  const reader = response.body.getReader()
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await silence.within(reader.read())
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

export const send = async (
  server: Server,
  caller: Omit<Caller, 'owner'>,
  request: UpstreamRequest,
): Promise<Response> => {
  const { headers = [], body, method = body === undefined ? 'GET' : 'POST', ownMs, subscribes } = request
  const { signal = ownMs === undefined ? caller.signal : undefined } = request
  const silence = createSilenceLimit(server, request)
  const fields = headersFor(caller.headers, [
    ['accept', method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream'],
    ...(body === undefined ? [] : [['content-type', 'application/json'] as const]),
    ...headers,
  ])
  const upstreamRequest = abortableRequest(caller.url, {
    method,
    headers: fields,
    signal: signal ? AbortSignal.any([signal, silence.signal]) : silence.signal,
    ...(body === undefined ? {} : { body }),
  })
  try {
    const response = await silence.within(server.direct(upstreamRequest, caller))
    return body === undefined || subscribes ? response : limited(response, silence)
  } catch (error) {
    // Transports without HTTP refuse a session that has ended; HTTP servers send a 404.
    if (error instanceof Refusal && error.code === 'session.unknown')
      return new Response(null, { status: error.row.status })
    throw error
  }
}

/** A modern request with an id of its own. */
export const sendModern = async (
  server: Server,
  caller: Caller,
  {
    method,
    params,
    headers = [],
    ...request
  }: Omit<UpstreamRequest, 'method' | 'body'> & { readonly method: string; readonly params: Rpc },
): Promise<{ readonly id: string; readonly response: Response }> => {
  const id = newId(server)
  const response = await send(server, caller, {
    ...request,
    headers: [...standardHeaders(method, params), ...headers],
    body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
  })
  return { id, response }
}

/**
 * Responses that are about the caller, or from a server in trouble: they say nothing about what the server
 * speaks, and are the caller's to see.
 */
export const isForCaller = ({ status }: Response): boolean =>
  [401, 403, 407, 408, 429].includes(status) || status >= 500 || (status >= 300 && status < 400)

/** Hands over each message of a response, in order. Resolves at the end, or as soon as it is `done`. */
export const readMessages = async (
  response: Response,
  onMessage: (message: Rpc) => void | Promise<void>,
  until?: ReadUntil,
): Promise<void> => {
  if (!response.body) return
  const onText = async (text: string): Promise<void> => {
    for (const message of messagesToWrite(text)) await onMessage(message)
  }
  if (isStream(response)) await readEvents(response.body, maxBytes, ({ data }) => onText(data), until)
  else await onText(new TextDecoder().decode(await readBounded(response.body, maxBytes)))
}

/** The JSON-RPC response to a request of the gateway; undefined if there is none. `onOther`: what else is said. */
export const responseTo = async (
  { runtime }: Pick<Server, 'runtime'>,
  response: Response,
  id: string,
  onOther: (message: Rpc) => void | Promise<void> = () => undefined,
): Promise<Rpc | undefined> => {
  let found: Rpc | undefined
  const onMessage = (message: Rpc): void | Promise<void> => {
    if (message['method'] !== undefined) return onOther(message)
    if (message['id'] === id || isRecord(message['error'])) found ??= message
  }
  await readMessages(response, onMessage, { done: () => found !== undefined, timer: runtime.timer })
  return found
}

export const discard = async (response: Response): Promise<void> => {
  await response.body?.cancel().catch(() => undefined)
}

/** A JSON response of the gateway itself. */
export const jsonResponse = (message: object, headers: Readonly<Record<string, string>> = {}): Response =>
  Response.json(message, { headers: { 'cache-control': 'no-store', ...headers } })

export type PendingResponse = ReturnType<typeof createResponse>

/**
 * The response to one request of a client: JSON, or an event stream. Rejects with the error given to `fail`
 * before anything was sent, unless that is a whole other response. `gone`: the caller left before the last
 * message; called once.
 */
export const createResponse = (
  { runtime, keepAliveMs }: Pick<Server, 'runtime' | 'keepAliveMs'>,
  signal: AbortSignal,
  gone: () => void,
) => {
  const { reply, ...pending } = createTimedResponse(runtime.timer, keepAliveMs, signal, gone)
  const response = reply.then(stdioResponse, (reason: unknown) => {
    if (reason instanceof Response) return reason
    throw reason
  })
  response.catch(() => undefined)
  return { ...pending, response }
}
