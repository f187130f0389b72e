// The transport to a server of 2024-11-05: GET opens its event stream, the `endpoint` event says where
// messages are POSTed (MCP 2024-11-05 transports, HTTP with SSE).
import { fieldsWithout, readBounded } from '../../kit/http.ts'
import { upstreamRefusal } from '../../kit/log.ts'
import { Refusal } from '../../kit/refusal.ts'
import { isStream, readEvents } from '../../kit/sse.ts'
import type { Connect, Transport } from '../../mcp/json-rpc-peer.ts'
import type { Fetch } from '../../ports/call.ts'
import type { Timer } from '../../ports/runtime.ts'
import { redirectOf } from '../client-response.ts'

export interface ServerSseDeps {
  readonly timer: Timer
  readonly fetch: Fetch
  /** The event stream's URL, as configured. */
  readonly url: string
  /** For messages of refusals: the service's id. */
  readonly service: string
  /** Largest message of the server, bytes. */
  readonly maxBytes: number
}

/** Fields about a request's own body and answer; the requests to the server have others. */
const own = new Set([
  'accept',
  'accept-encoding',
  'content-type',
  'content-length',
  'mcp-session-id',
  'last-event-id',
])

export const forwardedFields = (flat: readonly string[]): string[] => fieldsWithout(flat, own)

const headersFor = (flat: readonly string[], more: Readonly<Record<string, string>>): Headers => {
  const headers = new Headers()
  const fields = forwardedFields(flat)
  for (let i = 0; i + 1 < fields.length; i += 2) headers.append(fields[i] as string, fields[i + 1] as string)
  for (const [name, value] of Object.entries(more)) headers.set(name, value)
  // fetch undoes a Content-Encoding behind our back.
  headers.set('accept-encoding', 'identity')
  return headers
}

/**
 * What a status that is no success means to the caller; the same as in every other answer of an upstream.
 * `authenticate`: its WWW-Authenticate fields.
 */
export const refusalOf = (
  status: number,
  service: string,
  authenticate: readonly string[] = [],
  location?: string | null,
): Refusal => {
  const why = `${service} answered ${status}`
  if (status === 401 || status === 407)
    return new Refusal('upstream.credential', why, { refused: { status, authenticate } })
  if (status === 403) return new Refusal('upstream.answer', why, { refused: { status, authenticate } })
  if (status >= 300 && status < 400) return redirectOf(service, status, location ?? undefined)
  return new Refusal('upstream.answer', why)
}

/** As one field; who reads it takes the first Bearer challenge in it. */
const challengesOf = (headers: Headers): readonly string[] => {
  const field = headers.get('www-authenticate')
  return field === null ? [] : [field]
}

/** On the server's own origin, whatever it says: a message is never sent elsewhere. */
const endpointOf = (said: string, url: string, service: string): string => {
  const endpoint = URL.canParse(said, url) ? new URL(said, url) : undefined
  if (!endpoint || endpoint.origin !== new URL(url).origin)
    throw new Refusal('upstream.answer', `${service} named an endpoint elsewhere`)
  return endpoint.href
}

const forgotten = (service: string): Refusal =>
  new Refusal('session.unknown', `${service} has forgotten the session`)

const post = async (
  { fetch, service }: ServerSseDeps,
  endpoint: string,
  message: string,
  headers: readonly string[],
  signal: AbortSignal,
): Promise<void> => {
  const init = {
    method: 'POST',
    headers: headersFor(headers, { 'content-type': 'application/json', accept: '*/*' }),
    body: message,
    redirect: 'manual' as const,
    signal,
  }
  const response = await fetch(endpoint, init)
  // Read, so that the connection serves again; what it says is no message.
  await readBounded(response.body, 65_536).catch(() => undefined)
  if (response.status === 404) throw forgotten(service)
  if (response.status < 200 || response.status > 299)
    throw refusalOf(response.status, service, challengesOf(response.headers))
}

/** The body of the event stream. */
const ask = async (
  { fetch, url, service }: ServerSseDeps,
  headers: readonly string[],
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> => {
  const response = await fetch(url, {
    headers: headersFor(headers, { accept: 'text/event-stream', 'cache-control': 'no-store' }),
    redirect: 'manual',
    signal,
  })
  if (response.status === 200 && isStream(response)) return response.body
  await response.body?.cancel().catch(() => undefined)
  throw response.status === 200
    ? new Refusal('upstream.answer', `${service} answered without an event stream`)
    : refusalOf(response.status, service, challengesOf(response.headers), response.headers.get('location'))
}

/** Sends messages, each with a POST that the server has `timeoutMs` to take. */
const createSend =
  (
    deps: ServerSseDeps,
    endpoint: string,
    connection: AbortSignal,
    timeoutMs: number,
    lost: (why: Refusal) => void,
  ): Transport['send'] =>
  async (message, headers) => {
    const late = new AbortController()
    const cancel = deps.timer(timeoutMs, () => late.abort())
    try {
      await post(deps, endpoint, message, headers, AbortSignal.any([connection, late.signal]))
    } catch (error) {
      const why = late.signal.aborted
        ? new Refusal('upstream.timeout', deps.service)
        : upstreamRefusal(error, deps.service)
      if (why.code === 'session.unknown') lost(why)
      throw why
    } finally {
      cancel()
    }
  }

/** Holds back whoever reads the stream, between `pause` and `resume`. */
const createGate = () => {
  let shut: PromiseWithResolvers<void> | undefined
  return {
    pause: (): void => void (shut ??= Promise.withResolvers()),
    resume(): void {
      shut?.resolve()
      shut = undefined
    },
    passed: (): Promise<void> | undefined => shut?.promise,
  }
}

export const createServerSse = (deps: ServerSseDeps): Connect => {
  const { url, service, maxBytes, timer } = deps
  return async ({ headers, timeoutMs }, events) => {
    const connection = new AbortController()
    const named = Promise.withResolvers<string>()
    const gate = createGate()
    let open = false
    const over = (why: Refusal): void => {
      named.reject(why)
      connection.abort()
      gate.resume()
      if (!open) return
      open = false
      events.onclose(why)
    }
    const read = async (): Promise<void> => {
      const body = await ask(deps, headers, connection.signal)
      let endpoint: string | undefined
      await readEvents(body, maxBytes, ({ event, data }) => {
        if (event === 'endpoint' && endpoint === undefined) {
          endpoint = endpointOf(data, url, service)
          named.resolve(endpoint)
        } else if (event === 'message') {
          events.onmessage(data)
          return gate.passed()
        }
        return undefined
      })
      throw new Error('the stream ended')
    }
    const late = timer(timeoutMs, () =>
      over(new Refusal('upstream.timeout', `${service}: no endpoint within ${timeoutMs} ms`)),
    )
    read().catch((error: unknown) =>
      over(
        open
          ? new Refusal('upstream.closed', `${service}: ${String(error)}`)
          : upstreamRefusal(error, service),
      ),
    )
    try {
      const endpoint = await named.promise
      open = true
      return {
        send: createSend(deps, endpoint, connection.signal, timeoutMs, over),
        close: () => over(new Refusal('session.unknown', 'the connection was closed')),
        pause: gate.pause,
        resume: gate.resume,
      }
    } finally {
      late()
    }
  }
}
