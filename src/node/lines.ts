// Connections on which servers speak for as long as they like: fetch without a limit on silence, and WebSockets.
import type { DialSocket, Lines, SocketEvents } from '../ports/lines.ts'
import { socketOf } from './upgrade-socket.ts'

const dial: DialSocket = async (url, { headers, timeoutMs, maxBytes }, events: SocketEvents) => {
  const { WebSocket } = await import('ws')
  return new Promise((resolve, reject) => {
    const fields: Record<string, string> = {}
    for (let i = 0; i + 1 < headers.length; i += 2) fields[headers[i] as string] = headers[i + 1] as string
    const ws = new WebSocket(url, ['mcp'], { headers: fields, handshakeTimeout: timeoutMs, maxPayload: maxBytes, perMessageDeflate: false, followRedirects: false })
    const socket = socketOf(ws, events)
    ws.once('open', () => resolve(socket))
    ws.once('unexpected-response', (_request, response) => {
      response.destroy()
      reject(Object.assign(new Error(`answered ${response.statusCode}`), { status: response.statusCode ?? 0 }))
      ws.terminate()
    })
    ws.once('error', (error: Error) => reject(/timed out/.test(error.message) ? Object.assign(error, { code: 'ETIMEDOUT' }) : error))
  })
}

/** undici and ws are loaded by the first service that needs them. */
export const createLines = (): Lines => {
  const load = async () => {
    const { Agent, fetch } = await import('undici')
    const dispatcher = new Agent({ bodyTimeout: 0, headersTimeout: 0, keepAliveTimeout: 4000, allowH2: false })
    return (input: string, init: object) => fetch(input, { ...init, dispatcher })
  }
  let loading: ReturnType<typeof load> | undefined
  const ask = async (input: string, init: object) => (await (loading ??= load()))(input, init)
  // The two libraries' types of the same standard differ in name.
  return { fetch: ask as unknown as Lines['fetch'], socket: dial, lasting: true }
}
