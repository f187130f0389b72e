// A forward proxy on loopback as companies have them: it alone knows the names, and leads each of them to a
// port of this machine.
import { createServer, request as ask, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'

export interface ForwardProxyServer {
  readonly url: string
  readonly port: number
  /** `CONNECT host:port` and `POST http://host/path`, in their order. */
  readonly asked: string[]
  /** Proxy-Authorization of each, or undefined. */
  readonly shown: (string | undefined)[]
  close(): Promise<void>
}

export interface ForwardProxyOptions {
  /** Port of this machine for a host and port; undefined: refused with 403. */
  readonly route: (target: string) => number | undefined
}

const forward = (request: IncomingMessage, response: ServerResponse, port: number): void => {
  const { pathname, search, host } = new URL(request.url ?? '')
  const onward = ask(
    {
      host: '127.0.0.1',
      port,
      method: request.method,
      path: `${pathname}${search}`,
      headers: { ...request.headers, host },
    },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    },
  )
  onward.on('error', () => response.destroy())
  request.pipe(onward)
}

export const openForwardProxy = async ({ route }: ForwardProxyOptions): Promise<ForwardProxyServer> => {
  const asked: string[] = []
  const shown: (string | undefined)[] = []
  const tunnels = new Set<Socket>()
  const note = (request: IncomingMessage): void => {
    asked.push(`${request.method} ${request.url}`)
    shown.push(request.headers['proxy-authorization'])
  }
  const server = createServer((request, response) => {
    note(request)
    const { hostname, port } = new URL(request.url ?? '', 'http://none.invalid')
    const to = route(`${hostname}:${port || '80'}`)
    if (to === undefined) response.writeHead(403).end()
    else forward(request, response, to)
  })
  server.on('connect', (request, socket: Socket) => {
    note(request)
    socket.on('error', () => undefined)
    const to = route(request.url ?? '')
    if (to === undefined) {
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
      return
    }
    const onward = connect(to, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      onward.pipe(socket)
      socket.pipe(onward)
    })
    for (const end of [socket, onward])
      tunnels.add(end.on('error', () => undefined).on('close', () => void tunnels.delete(end)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    asked,
    shown,
    close: () =>
      new Promise((resolve) => {
        for (const end of tunnels) end.destroy()
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
