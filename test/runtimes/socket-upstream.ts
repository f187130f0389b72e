// A real MCP server behind a WebSocket on loopback: it answers every request with what it was told in the
// handshake.
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'

export interface SocketUpstream {
  readonly url: string
  /** Handshakes so far. */
  readonly heard: { readonly headers: IncomingHttpHeaders; readonly url: string }[]
  /** Every message, as it came. */
  readonly said: string[]
  readonly open: Set<WebSocket>
  /** Close codes in the order in which sockets closed. */
  readonly closed: number[]
  close(): Promise<void>
}

/**
 * `autoPong: false` plays a peer that has vanished. `allows`: of a handshake's Authorization; the others are
 * answered 401.
 */
export const openSocketUpstream = async ({
  autoPong = true,
  allows = () => true,
}: {
  readonly autoPong?: boolean
  readonly allows?: (authorization: string | undefined) => boolean
} = {}): Promise<SocketUpstream> => {
  const verifyClient: WebSocket.VerifyClientCallbackAsync = ({ req }, tell) =>
    allows(req.headers.authorization)
      ? tell(true)
      : tell(false, 401, 'no', { 'www-authenticate': 'Bearer error="invalid_token"' })
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, autoPong, verifyClient })
  const open = new Set<WebSocket>()
  const closed: number[] = []
  const said: string[] = []
  const heard: SocketUpstream['heard'] = []
  server.on('connection', (socket, { headers, url = '' }) => {
    heard.push({ headers, url })
    open.add(socket)
    socket.on('close', (code) => {
      open.delete(socket)
      closed.push(code)
    })
    socket.on('message', (data: Buffer) => {
      const text = data.toString('utf8')
      said.push(text)
      const { id, method, params } = JSON.parse(text) as {
        id?: unknown
        method: string
        params?: { protocolVersion?: string; name?: string }
      }
      if (id === undefined || params?.name === 'hang') return
      const result =
        method === 'initialize'
          ? {
              protocolVersion: params?.protocolVersion,
              capabilities: { tools: {} },
              serverInfo: { name: 's', version: '1' },
            }
          : method === 'tools/list'
            ? {
                tools: ['open_tool', 'hidden_tool'].map((name) => ({
                  name,
                  inputSchema: { type: 'object' },
                })),
              }
            : params?.name === 'spawn'
              ? { task: { taskId: 'task-1', status: 'working' } }
              : { content: [{ type: 'text', text: JSON.stringify(headers) }] }
      socket.send(JSON.stringify({ jsonrpc: '2.0', id, result }))
    })
  })
  await new Promise((resolve) => server.once('listening', resolve))
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/message`,
    heard,
    said,
    open,
    closed,
    close: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.terminate()
        server.close(() => resolve())
      }),
  }
}
