// A line to a server of 2024-11-05: GET opens its event stream, the `endpoint` event says where messages are POSTed (MCP 2024-11-05 transports, HTTP with SSE).
import { readBounded } from '../../kit/http.ts'
import { isLostConnection, networkReason } from '../../kit/log.ts'
import { Refusal } from '../../kit/refusal.ts'
import { isEventStream, readEvents } from '../../kit/sse.ts'
import type { Fetch } from '../../ports/call.ts'
import type { Connect, TransportConnection, TransportEvents } from '../../ports/transport.ts'
import { redirectOf } from '../response-headers.ts'

export interface ServerSseDeps {
  readonly fetch: Fetch
  /** The event stream's URL, as configured. */
  readonly url: string
  /** For messages of refusals: the service's id. */
  readonly service: string
  /** Largest message of the server, bytes. */
  readonly maxBytes: number
}

/** Fields about a request's own body and answer; the leg to the server has others. */
const own = new Set([
  'accept',
  'accept-encoding',
  'content-type',
  'content-length',
  'mcp-session-id',
  'last-event-id',
])

export const headersFor = (flat: readonly string[], more: Readonly<Record<string, string>>): Headers => {
  const headers = new Headers()
  for (let i = 0; i + 1 < flat.length; i += 2)
    if (!own.has((flat[i] as string).toLowerCase())) headers.append(flat[i] as string, flat[i + 1] as string)
  for (const [name, value] of Object.entries(more)) headers.set(name, value)
  // fetch undoes a Content-Encoding behind our back.
  headers.set('accept-encoding', 'identity')
  return headers
}

/** What a status that is no success means to the caller; the same as in every other answer of an upstream. `authenticate`: its WWW-Authenticate fields. */
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

const failure = (error: unknown, service: string): Refusal =>
  error instanceof Refusal
    ? error
    : new Refusal(
        isLostConnection(error) ? 'upstream.closed' : 'upstream.unreachable',
        `${service}: ${networkReason(error)}`,
      )

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
  if (response.status === 404) throw new Refusal('session.unknown', `${service} has forgotten the session`)
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
  if (
    response.status === 200 &&
    response.body &&
    isEventStream(response.headers.get('content-type') ?? undefined)
  )
    return response.body
  await response.body?.cancel().catch(() => undefined)
  throw response.status === 200
    ? new Refusal('upstream.answer', `${service} answered without an event stream`)
    : refusalOf(response.status, service, challengesOf(response.headers), response.headers.get('location'))
}

export const createServerSse = (deps: ServerSseDeps): Connect => {
  const { url, service, maxBytes } = deps

  const listen = (
    body: ReadableStream<Uint8Array>,
    events: TransportEvents,
    opened: (endpoint: string) => void,
  ): Promise<void> => {
    let named = false
    return readEvents(body, maxBytes, ({ event, data }) => {
      if (event === 'endpoint' && !named) {
        named = true
        opened(endpointOf(data, url, service))
      } else if (event === 'message') return events.message(data)
      return undefined
    })
  }

  const sender =
    (endpoint: string, line: AbortController, timeoutMs: number): TransportConnection['send'] =>
    async (message, headers) => {
      try {
        await post(
          deps,
          endpoint,
          message,
          headers,
          AbortSignal.any([line.signal, AbortSignal.timeout(timeoutMs)]),
        )
      } catch (error) {
        throw error instanceof Error && error.name === 'TimeoutError'
          ? new Refusal('upstream.timeout', service)
          : failure(error, service)
      }
    }

  return async ({ headers, timeoutMs }, events) => {
    const line = new AbortController()
    const named = Promise.withResolvers<string>()
    const late = setTimeout(() => {
      named.reject(new Refusal('upstream.timeout', `${service}: no endpoint within ${timeoutMs} ms`))
      line.abort()
    }, timeoutMs)
    let open = false
    const ended = (error: unknown): void => {
      named.reject(failure(error, service))
      if (open && !line.signal.aborted) events.ended(error instanceof Error ? error.message : String(error))
    }
    ask(deps, headers, line.signal)
      .then((body) => listen(body, events, named.resolve))
      .then(() => ended('the stream ended'), ended)
    try {
      const endpoint = await named.promise
      open = true
      return { send: sender(endpoint, line, timeoutMs), close: () => line.abort() }
    } catch (error) {
      line.abort()
      throw error
    } finally {
      clearTimeout(late)
    }
  }
}
