// An upstream of bytes, as no HTTP library would send them: each tool call names the answer, or the fault,
// that it gets.
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

/** The tool a call names and who makes it, as the gateway said. */
export interface AskedFor {
  readonly name: string
  readonly person: string
  readonly id: unknown
  readonly method: string
}

export type Script = (socket: Socket, asked: AskedFor) => void

export interface ByteUpstream {
  readonly origin: string
  readonly server: Server
  /** Connections so far. */
  connections(): number
  close(): Promise<void>
}

const read = (head: string, body: string): AskedFor => {
  const { id, params } = (body.startsWith('{') ? JSON.parse(body) : {}) as {
    id?: unknown
    params?: { name?: string }
  }
  return {
    name: params?.name ?? '',
    person: /^x-user-email: (.*)$/im.exec(head)?.[1]?.trim() ?? '',
    id,
    method: head.slice(0, head.indexOf(' ')),
  }
}

/** Calls `script` for each whole request; `arrived`, if given, for each connection. */
export const openByteUpstream = async (
  script: Script,
  arrived: (socket: Socket) => void = () => undefined,
): Promise<ByteUpstream> => {
  const sockets = new Set<Socket>()
  let count = 0
  const server = createServer((socket) => {
    count++
    sockets.add(socket)
    let text = ''
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    socket.on('data', (piece: Buffer) => {
      text += piece.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end)
        const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0)
        if (text.length < end + 4 + length) return
        const body = text.slice(end + 4, end + 4 + length)
        text = text.slice(end + 4 + length)
        script(socket, read(head, body))
      }
    })
    arrived(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    connections: () => count,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

/** A whole answer with a length. */
export const whole = (text: string, type = 'application/json', status = '200 OK', more = ''): string =>
  `HTTP/1.1 ${status}\r\nContent-Type: ${type}\r\n${more}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
