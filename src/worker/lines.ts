// Connections on which servers speak for as long as they like, on Workers: plain fetch, and WebSockets that fetch opens.
import type { DialSocket, Lines, LineTools } from '../ports/lines.ts'
import { createBerths } from './berths.ts'
import { socketOf } from './upgrade.ts'

const dial: DialSocket = async (url, { headers, timeoutMs }, events) => {
  const fields = new Headers({ upgrade: 'websocket', 'sec-websocket-protocol': 'mcp' })
  for (let i = 0; i + 1 < headers.length; i += 2) fields.append(headers[i] as string, headers[i + 1] as string)
  const response = await fetch(url.replace(/^ws/, 'http'), { headers: fields, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) })
  if (!response.webSocket) {
    await response.body?.cancel()
    const authenticate = response.headers.get('www-authenticate')
    throw Object.assign(new Error(`answered ${response.status}`), { status: response.status, authenticate: authenticate === null ? [] : [authenticate] })
  }
  const socket = socketOf(response.webSocket, events)
  response.webSocket.accept()
  return socket
}

/** `sessions`: where those live that have to stay. `url`: one of this gateway. */
export const createLines = (sessions: DurableObjectNamespace, url: string): Lines => {
  const tools: LineTools = { fetch: (input, init) => fetch(input, init), socket: dial }
  // Cloudflare's network reaches the public internet alone; names and literal addresses were judged when the server was added.
  return { ...tools, publicOnly: tools, berths: createBerths(sessions, url) }
}
