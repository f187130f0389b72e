// WebSockets on Workers. The platform responds to pings and sends none.
import type { Gateway } from '../gateway.ts'
import { Refusal } from '../kit/refusal.ts'
import type {
  ConnectSocket,
  RequestContext,
  RuntimeTransports,
  SocketEvents,
  TextSocket,
  TransportConnectors,
} from '../ports/runtime.ts'
import { createSessionLocations } from './sessions.ts'

/** Starts to listen on a socket, which must be accepted before it delivers messages. */
export const socketOf = (ws: WorkerSocket, events: SocketEvents): TextSocket => {
  let over = false
  const closed = (code: number, reason: string): void => {
    if (over) return
    over = true
    events.closed(code, reason)
  }
  const end = (code: number, reason: string): void => {
    try {
      ws.close(code, reason)
    } catch {
      // Closed already.
    }
  }
  ws.addEventListener('message', ({ data }) => {
    if (typeof data === 'string') events.text(data)
    else events.binary()
  })
  ws.addEventListener('close', ({ code, reason }) => {
    closed(code, reason)
    // The program has to complete the closing handshake.
    end(code === 1005 || code === 1006 ? 1000 : code, reason)
  })
  ws.addEventListener('error', () => closed(1006, ''))
  return {
    send(text) {
      if (!over) ws.send(text)
    },
    close: end,
    cut: () => end(1011, ''),
  }
}

const check = (request: Request): void => {
  const protocols = request.headers.get('sec-websocket-protocol')
  if (request.method !== 'GET') throw new Refusal('upgrade.malformed', request.method)
  const { headers, body } = request
  if (
    body !== null ||
    headers.has('transfer-encoding') ||
    !['0', null].includes(headers.get('content-length'))
  ) {
    throw new Refusal('upgrade.malformed', 'handshake has a body')
  }
  if (protocols !== null && !protocols.split(',').some((name) => name.trim() === 'mcp'))
    throw new Refusal('upgrade.malformed', 'Sec-WebSocket-Protocol does not include mcp')
}

const within = (text: string, maxBytes: number): boolean =>
  text.length <= maxBytes &&
  (text.length * 3 <= maxBytes || new TextEncoder().encode(text).byteLength <= maxBytes)

/** Admits the handshake, connects the upstream, then responds with 101. Never rejects. */
export const upgrade = async (
  { admitSocket, refuse }: Pick<Gateway, 'admitSocket' | 'refuse'>,
  request: Request,
  { ip, requestId, plainHttp }: RequestContext,
): Promise<Response> => {
  const rawHeaders = [...request.headers].flat()
  try {
    check(request)
    const url = new URL(request.url)
    const tunnel = await admitSocket({
      method: 'GET',
      target: `${url.pathname}${url.search}`,
      host: request.headers.get('host') ?? url.host,
      rawHeaders,
      ip,
      requestId,
      plainHttp,
    })
    const { 0: theirs, 1: ours } = new WebSocketPair()
    const text = (message: string): void => {
      if (within(message, tunnel.maxBytes)) tunnel.events.text(message)
      else tunnel.shut(1009, 'The message is too large.')
    }
    const socket = socketOf(ours, { ...tunnel.events, text })
    ours.accept()
    tunnel.attach(socket)
    const headers = request.headers.has('sec-websocket-protocol')
      ? { 'sec-websocket-protocol': 'mcp' }
      : undefined
    return new Response(null, { status: 101, webSocket: theirs, ...(headers && { headers }) })
  } catch (error) {
    const {
      status,
      headers: flat,
      body,
    } = refuse(error, {
      method: request.method,
      target: new URL(request.url).pathname,
      rawHeaders,
      ip,
      requestId,
    })
    const headers = new Headers()
    for (let i = 0; i + 1 < flat.length; i += 2) headers.append(flat[i] as string, flat[i + 1] as string)
    return new Response(body, { status, headers })
  }
}

// Connections to servers that may stay silent for long: fetch, and WebSockets that fetch opens.

const dial: ConnectSocket = async (url, { headers, timeoutMs }, events) => {
  const fields = new Headers({ upgrade: 'websocket', 'sec-websocket-protocol': 'mcp' })
  for (let i = 0; i + 1 < headers.length; i += 2)
    fields.append(headers[i] as string, headers[i + 1] as string)
  const response = await fetch(url.replace(/^ws/, 'http'), {
    headers: fields,
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (!response.webSocket) {
    await response.body?.cancel()
    const authenticate = response.headers.get('www-authenticate')
    throw Object.assign(new Error(`answered ${response.status}`), {
      status: response.status,
      authenticate: authenticate === null ? [] : [authenticate],
      nonce: response.headers.get('dpop-nonce') ?? undefined,
    })
  }
  const socket = socketOf(response.webSocket, events)
  response.webSocket.accept()
  return socket
}

/** `sessions`: where those live that have to stay. `url`: one of this gateway. */
export const createTransports = (sessions: DurableObjectNamespace, url: string): RuntimeTransports => {
  const tools: TransportConnectors = { fetch: (input, init) => fetch(input, init), socket: dial }
  // Cloudflare's network only reaches the public internet; names and address literals were checked when the
  // server was added.
  return { ...tools, publicOnly: tools, sessionLocations: createSessionLocations(sessions, url) }
}
