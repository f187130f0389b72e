// `npm run prove transports`: real clients and servers of HTTP+SSE and WebSocket through Postern: SDK 1's
// transports, mcp-remote (with a token, and with a login in Chromium), server-everything in its `sse` mode,
// and server-memory behind supergateway's WebSocket bridge. Prints one line for each pair; ends with 1 when
// one fails. --workers: in workerd.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { WebSocket } from 'ws'
import { openInWorkerd, openOnSocket } from '../test/runtimes/runtimes.ts'
import { ana, tokenOf } from '../test/runtimes/people.ts'
import { mcpRemote } from './clients/mcp-remote.ts'
import type { Upstream } from './clients/trial.ts'
import { openChromium } from './harness/chromium.ts'
import { freePort } from './harness/free-port.ts'
import { createHome } from './harness/home.ts'
import { ensurePeer } from './harness/peers.ts'
import { person } from './harness/postern.ts'
import { run, startProcess } from './harness/process.ts'

interface Talk {
  connect(transport: object): Promise<void>
  listTools(): Promise<{ readonly tools: readonly { readonly name: string }[] }>
  callTool(
    call: object,
    schema?: undefined,
    options?: object,
  ): Promise<{ readonly content?: readonly { readonly text?: string }[] }>
  close(): Promise<void>
}
type Made = new (url: URL, options?: object) => object

const clients = await ensurePeer('clients')
const bridges = await ensurePeer('transports')
const sdk = createRequire(join(clients, 'package.json'))
const load = async (name: string): Promise<Record<string, Made>> =>
  (await import(pathToFileURL(sdk.resolve(`@modelcontextprotocol/sdk/client/${name}.js`)).href)) as Record<
    string,
    Made
  >
const { SSEClientTransport, StreamableHTTPClientTransport, WebSocketClientTransport, Client } = {
  ...(await load('sse')),
  ...(await load('streamableHttp')),
  ...(await load('websocket')),
  ...(await load('index')),
}

const [ssePort, wsPort] = [await freePort(), await freePort()]
const bin = (folder: string, name: string): string => join(folder, 'node_modules', '.bin', name)
const servers = [
  startProcess(process.execPath, {
    args: [bin(clients, 'mcp-server-everything'), 'sse'],
    env: { ...process.env, PORT: String(ssePort) } as Record<string, string>,
    cwd: clients,
  }),
  startProcess(process.execPath, {
    args: [
      bin(bridges, 'supergateway'),
      '--stdio',
      bin(bridges, 'mcp-server-memory'),
      '--outputTransport',
      'ws',
      '--port',
      String(wsPort),
    ],
    env: { ...process.env, PATH: `${join(process.execPath, '..')}:${process.env['PATH']}` } as Record<
      string,
      string
    >,
    cwd: bridges,
  }),
]
const answers = async (url: string): Promise<void> => {
  for (let left = 100; left > 0; left--) {
    const up = await fetch(url, { signal: AbortSignal.timeout(1000) }).then(
      (response) => response.body?.cancel().then(() => true) ?? true,
      () => false,
    )
    if (up) return
    await new Promise((again) => setTimeout(again, 200))
  }
  throw new Error(`nothing at ${url}`)
}
await Promise.all([answers(`http://127.0.0.1:${ssePort}/`), answers(`http://127.0.0.1:${wsPort}/`)])
const house = await (process.argv.includes('--workers') ? openInWorkerd : openOnSocket)({
  upstream: 'http://127.0.0.1:9/mcp',
  config: {
    local_users: [ana, person],
    mcp_services: {
      everything: { url: `http://127.0.0.1:${ssePort}/sse` },
      memory: { url: `ws://127.0.0.1:${wsPort}/message` },
    },
  },
})

// SDK 1 gives its WebSocket no headers, and browsers' WebSocket takes none: the program around it brings one
// that does.
let bearer = ''
Object.assign(globalThis, {
  WebSocket: class extends WebSocket {
    constructor(url: URL, protocols: string) {
      super(url, protocols, { headers: { authorization: `Bearer ${bearer}` } })
    }
  },
})

const transports: Readonly<Record<string, readonly [Made | undefined, string]>> = {
  'SDK 1 SSE': [SSEClientTransport, 'sse'],
  'SDK 1 Streamable HTTP': [StreamableHTTPClientTransport, 'mcp'],
  'SDK 1 WebSocket': [WebSocketClientTransport, 'ws'],
}

const talk = async (client: string, service: string): Promise<string> => {
  const [Transport, last] = transports[client] as readonly [Made, string]
  bearer = await tokenOf(house, ana, `${house.origin}/${service}/${last === 'sse' ? 'sse' : 'mcp'}`)
  const url = new URL(
    `${last === 'ws' ? house.origin.replace('http', 'ws') : house.origin}/${service}/${last}`,
  )
  const session = new (Client as unknown as new (about: object, options: object) => Talk)(
    { name: 'transports', version: '1' },
    { capabilities: {} },
  )
  await session.connect(
    new Transport(url, { requestInit: { headers: { authorization: `Bearer ${bearer}` } } }),
  )
  const { tools } = await session.listTools()
  if (service === 'memory') {
    const { content } = await session.callTool({ name: 'read_graph', arguments: {} })
    await session.close()
    return `${tools.length} tools, ${content?.[0]?.text?.replaceAll(/\s+/g, '') ?? 'nothing'}`
  }
  const { content } = await session.callTool({ name: 'echo', arguments: { message: 'hello' } })
  let reports = 0
  await session.callTool(
    { name: 'trigger-long-running-operation', arguments: { duration: 1, steps: 3 } },
    undefined,
    { onprogress: () => void reports++ },
  )
  await session.close()
  return `${tools.length} tools, "${content?.[0]?.text}", ${reports} progress reports`
}

const remote = async (): Promise<string> => {
  const token = await tokenOf(house, ana, `${house.origin}/everything/sse`)
  const process_ = await run(process.execPath, {
    args: [
      bin(clients, 'mcp-remote-client'),
      `${house.origin}/everything/sse`,
      '--transport',
      'sse-only',
      '--allow-http',
      '--header',
      `Authorization:Bearer ${token}`,
    ],
    env: process.env as Record<string, string>,
    cwd: clients,
    timeoutMs: 30_000,
  })
  const said = process_.output()
  if (!said.includes('echo')) throw new Error(said.slice(-800))
  return 'connected by SSE, listed the tools'
}

const chromium = await openChromium()
const tools: Readonly<Record<string, Upstream>> = {
  everything: { service: 'everything', tool: 'echo', input: { message: 'hello' }, answer: /Echo: hello/ },
  memory: { service: 'memory', tool: 'read_graph', input: {}, answer: /entities/ },
}

/**
 * As people start it: it finds out the transport, registers, opens the browser, and calls with the token it
 * got.
 */
const login = async (service: string): Promise<string> => {
  const home = createHome()
  try {
    await mcpRemote.run({
      upstream: tools[service] as Upstream,
      url: `${house.origin}/${service}/sse`,
      home,
      peers: clients,
      allow: chromium.allow,
    })
    return 'signed in with Chromium, called by SSE'
  } finally {
    home.remove()
  }
}

const pairs = ['everything', 'memory'].flatMap((service) =>
  Object.keys(transports).map((client) => [`${client} → ${service}`, () => talk(client, service)] as const),
)
let failed = 0
const remotes = [
  ['mcp-remote --transport sse-only → everything', remote],
  ['mcp-remote and a browser → everything', () => login('everything')],
  ['mcp-remote and a browser → memory', () => login('memory')],
] as const
for (const [name, attempt] of [...pairs, ...remotes]) {
  const said = await attempt().catch((error: unknown) => {
    failed++
    return `FAILED ${error instanceof Error ? error.message : String(error)}`
  })
  process.stdout.write(`${name.padEnd(46)} ${said}\n`)
}
await chromium.close()
await house.close()
await Promise.all(servers.map((server) => server.stop()))
process.exitCode = failed === 0 ? 0 : 1
