// WebSocket handshakes on Node (RFC 6455 §4.2): decided first, then the server behind is reached, then 101.
import { STATUS_CODES, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Gateway } from '../gateway.ts'
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Answer } from '../ports/calls.ts'
import type { Visit } from '../ports/runtime.ts'
import { inspect } from './hygiene.ts'
import { socketOf } from './upgrade-socket.ts'

export interface Upgrade {
  /** Takes a handshake all the way. False for another protocol, which is left alone. */
  serve(request: IncomingMessage, socket: Duplex, head: Buffer, visit: Visit): boolean
  /** Tells everybody to come back elsewhere (1001). */
  close(): void
}

const send = (socket: Duplex, { status, headers, body }: Answer): void => {
  if (!socket.writable) return
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
  for (let i = 0; i + 1 < headers.length; i += 2) if (headers[i]?.toLowerCase() !== 'connection') head += `${headers[i]}: ${headers[i + 1]}\r\n`
  socket.end(`${head}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`)
}

/** Throws what is wrong with the form of a handshake. Who offers subprotocols must offer ours. */
const check = (request: IncomingMessage): void => {
  const fault = inspect(request)
  if (fault) throw fault
  const { 'sec-websocket-key': key, 'sec-websocket-version': version, 'sec-websocket-protocol': protocols } = request.headers
  if (request.method !== 'GET' || key === undefined || !/^[A-Za-z0-9+/]{22}==$/.test(key)) throw new Refusal('upgrade.malformed', 'not GET, or Sec-WebSocket-Key malformed')
  // RFC 9110 §9.3.1: such a body has no meaning, and behind 101 its bytes would be read as frames.
  const { 'content-length': length, 'transfer-encoding': coding } = request.headers
  if (coding !== undefined || (length !== undefined && length !== '0')) throw new Refusal('upgrade.malformed', 'handshake has a body')
  if (version !== '13') throw new Refusal('upgrade.version', String(version).slice(0, 20), { headers: { 'sec-websocket-version': '13' } })
  if (protocols !== undefined && !protocols.split(',').some((name) => name.trim() === 'mcp')) throw new Refusal('upgrade.malformed', 'Sec-WebSocket-Protocol does not include mcp')
}

export const createUpgrade = ({ admitSocket, refuse }: Pick<Gateway, 'admitSocket' | 'refuse'>): Upgrade => {
  const open = new Set<(code: number, reason: string) => void>()
  const answer = async (request: IncomingMessage, socket: Duplex, head: Buffer, visit: Visit): Promise<void> => {
    check(request)
    // Loaded by the first handshake.
    const { WebSocketServer } = await import('ws')
    const { rawHeaders } = request
    const tunnel = await admitSocket({ method: 'GET', target: request.url ?? '/', host: fieldOf(rawHeaders, 'host'), rawHeaders, ip: visit.ip, requestId: visit.requestId, plainHttp: visit.plainHttp })
    if (socket.destroyed) {
      tunnel.shut(1006, 'left before the handshake')
      return
    }
    const gone = (): void => tunnel.shut(1006, 'left in the handshake')
    socket.once('close', gone)
    const server = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false, maxPayload: tunnel.maxBytes, handleProtocols: () => 'mcp' })
    server.handleUpgrade(request, socket, head, (ws) => {
      socket.off('close', gone)
      open.add(tunnel.shut)
      const { events } = tunnel
      const closed = (code: number, reason: string): void => {
        open.delete(tunnel.shut)
        events.closed(code, reason)
      }
      tunnel.attach(socketOf(ws, { ...events, closed }))
    })
  }
  return {
    serve(request, socket, head, visit) {
      if (request.headers.upgrade?.toLowerCase() !== 'websocket') return false
      // A handshake that breaks off says nothing about anybody.
      socket.on('error', () => undefined)
      answer(request, socket, head, visit).catch((error: unknown) => send(socket, refuse(error, { method: request.method ?? '', target: request.url ?? '', rawHeaders: request.rawHeaders, ...visit })))
      return true
    },
    close() {
      for (const shut of open) shut(1001, 'The gateway is going away.')
    },
  }
}
