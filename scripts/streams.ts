// `npm run prove streams`: what an open stream that says nothing costs the gateway in memory, for each
// transport on either side, with the figures of a fresh process each.
//   --count 2000   how many are open at once        --only TEXT   clients whose name contains it
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { WebSocket, WebSocketServer } from 'ws'
import { obtainToken } from './harness/authorize.ts'
import { watchMemory } from './harness/memory.ts'
import { person, startPostern } from './harness/postern.ts'
import { table } from './harness/table.ts'

const { values } = parseArgs({
  options: { count: { type: 'string', default: '2000' }, only: { type: 'string', default: '' } },
})
const count = Number(values.count)

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'streams', version: '1' } },
}
const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' }
const answerTo = (message: { readonly id?: unknown; readonly method?: string }): string | undefined =>
  message.id === undefined
    ? undefined
    : JSON.stringify({
        jsonrpc: '2.0',
        id: message.id,
        result: {
          protocolVersion: '2025-06-18',
          capabilities: {},
          serverInfo: { name: 'silent', version: '1' },
        },
      })

/** A server of all three transports that says nothing of its own accord. */
const startServers = async () => {
  const streams = new Map<string, ServerResponse>()
  let sessions = 0
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://here')
    if (request.method === 'GET') {
      const id = String(++sessions)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      if (pathname === '/sse') response.write(`event: endpoint\ndata: /messages?id=${id}\n\n`)
      else response.flushHeaders()
      streams.set(id, response)
      response.on('close', () => streams.delete(id))
      return
    }
    let body = ''
    request.on('data', (piece: Buffer) => (body += piece.toString('utf8')))
    request.on('end', () => {
      const answer = request.method === 'POST' ? answerTo(JSON.parse(body) as object) : undefined
      const stream = pathname === '/messages' ? streams.get(searchParams.get('id') ?? '') : undefined
      if (stream && answer !== undefined) stream.write(`event: message\ndata: ${answer}\n\n`)
      if (stream || answer === undefined) response.writeHead(202).end()
      else
        response
          .writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': `s-${++sessions}` })
          .end(answer)
    })
  })
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket) => {
    socket.on('message', (data: Buffer) => {
      const answer = answerTo(JSON.parse(data.toString('utf8')) as object)
      if (answer !== undefined) socket.send(answer)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Streams and sockets that the gateway holds open here. */
    open: () => streams.size + sockets.clients.size,
    close() {
      server.close()
      server.closeAllConnections()
      sockets.close()
    },
  }
}

interface Client {
  leave(): void
}

const listen = (url: URL, token: string, heard: (text: string, socket: Socket) => boolean): Promise<Client> =>
  new Promise((resolve, reject) => {
    let all = ''
    const socket = connect(Number(url.port), '127.0.0.1', () => {
      socket.write(
        `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nAccept: text/event-stream\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      )
    })
    socket.on('data', (piece: Buffer) => {
      all += piece.toString('utf8')
      if (!all.startsWith('HTTP/1.1 200')) reject(new Error(all.slice(0, 300)))
      else if (heard(all, socket)) resolve({ leave: () => socket.destroy() })
    })
    socket.once('error', reject)
  })

const post = async (url: string, token: string, message: object): Promise<void> => {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify(message),
  })
  await response.arrayBuffer()
  if (!response.ok) throw new Error(`${url} answered ${response.status}`)
}

const overHttp = (url: URL, token: string): Promise<Client> => listen(url, token, () => true)

/** `speaks`: with a session, which has a stream of its own to the server. */
const overSse =
  (speaks: boolean) =>
  async (url: URL, token: string): Promise<Client> => {
    let endpoint = ''
    let answered: (() => void) | undefined
    const client = await listen(url, token, (all) => {
      endpoint = /data: (\/\S+)\n/.exec(all)?.[1] ?? ''
      if (all.includes('serverInfo')) answered?.()
      return endpoint !== ''
    })
    if (!speaks) return client
    const answer = new Promise<void>((resolve) => (answered = resolve))
    await post(`${url.origin}${endpoint}`, token, initialize)
    await answer
    await post(`${url.origin}${endpoint}`, token, initialized)
    return client
  }

const overSocket =
  (speaks: boolean) =>
  (url: URL, token: string): Promise<Client> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(url.href.replace('http', 'ws'), ['mcp'], {
        headers: { authorization: `Bearer ${token}` },
        perMessageDeflate: false,
      })
      const client = { leave: () => socket.terminate() }
      socket.once('error', reject)
      socket.once('open', () => {
        if (speaks) socket.send(JSON.stringify(initialize))
        else resolve(client)
      })
      socket.once('message', () => {
        socket.send(JSON.stringify(initialized))
        resolve(client)
      })
    })

const servers = await startServers()
const services = {
  http: { url: `http://${servers.origin}/mcp`, transport: 'streamable' },
  events: { url: `http://${servers.origin}/sse`, transport: 'sse' },
  sockets: { url: `ws://${servers.origin}/ws` },
}

/** What is opened, where, and how many streams at the server come of each. */
const kinds = [
  ['Streamable HTTP, GET', 'Streamable HTTP', '/http/mcp', overHttp, 1],
  ['HTTP+SSE, nothing said yet', 'none yet', '/http/sse', overSse(false), 0],
  ['HTTP+SSE', 'Streamable HTTP', '/http/sse', overSse(true), 1],
  ['HTTP+SSE', 'HTTP+SSE', '/events/sse', overSse(true), 1],
  ['WebSocket, nothing said yet', 'none yet', '/http/ws', overSocket(false), 0],
  ['WebSocket', 'Streamable HTTP', '/http/ws', overSocket(true), 1],
  ['WebSocket', 'WebSocket', '/sockets/ws', overSocket(false), 1],
] as const

const until = async (condition: () => boolean): Promise<void> => {
  const end = Date.now() + 30_000
  while (!condition() && Date.now() < end) await new Promise((again) => setTimeout(again, 50))
}

const measure = async ([client, server, path, begin, behind]: (typeof kinds)[number]): Promise<string[]> => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-streams-'))
  const { options, of } = watchMemory(folder)
  const [program = process.execPath, ...args] = options.command
  const postern = await startPostern({
    command: [program, ...args],
    env: options.env,
    config: {
      local_users: [person],
      max_open_streams: 1_000_000,
      max_concurrent_calls: 1_000_000,
      mcp_services: services,
    },
  })
  const clients: Client[] = []
  try {
    const token = await obtainToken(`${postern.url}/${path.split('/')[1]}/mcp`)
    // One of each first, so that what is loaded once is not counted.
    ;(await begin(new URL(`${postern.url}${path}`), token)).leave()
    await until(() => servers.open() === 0)
    const before = await of(postern.process)
    while (clients.length < count)
      clients.push(
        ...(await Promise.all(
          Array.from({ length: Math.min(50, count - clients.length) }, () =>
            begin(new URL(`${postern.url}${path}`), token),
          ),
        )),
      )
    await until(() => servers.open() >= behind * count)
    if (servers.open() !== behind * count) throw new Error(`${servers.open()} streams at the server`)
    const after = await of(postern.process)
    const each = (bytes: number): string => ((bytes * 1024) / count).toFixed(1)
    return [client, server, each(after.rss - before.rss), each(after.heapUsed - before.heapUsed)]
  } finally {
    for (const one of clients) one.leave()
    await until(() => servers.open() === 0)
    await postern.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

const rows: string[][] = []
for (const kind of kinds) if (kind[0].includes(values.only)) rows.push(await measure(kind))
servers.close()
console.log(
  `${count} idle streams at once, KiB of the gateway's memory for each (Node ${process.version})\n${table([['client', 'server behind', 'resident', 'heap'], ...rows])}`,
)
process.exit(0)
