// One warm process on standard input and output behind each bridge: calls a second through one session,
// bridge and process on one core.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { obtainToken } from '../scripts/harness/authorize.ts'
import { freePort } from '../scripts/harness/free-port.ts'
import { ensurePeer, root } from '../scripts/harness/peers.ts'
import { person } from '../scripts/harness/postern.ts'
import { drive, type Measured, turnByTurn } from './calls.ts'
import { type Build, startGateway, thisCheckout } from './gateway.ts'
import { pause, type Running, start } from './machine.ts'

export interface BridgeCandidate {
  readonly name: string
  /** What it does for each call besides passing it on. */
  readonly job: string
  readonly url: string
  readonly token: string
  readonly process: Running
}

type Command = readonly string[]

/** A server that costs next to nothing, and one as they are written today. */
export const stdioServers = async (): Promise<readonly (readonly [string, Command])[]> => [
  ['a tiny server', [process.execPath, join(root, 'bench/stdio-server.ts')]],
  [
    'server-everything',
    [process.execPath, join(await ensurePeer('clients'), 'node_modules/.bin/mcp-server-everything'), 'stdio'],
  ],
]

const token = 'bench'

export const startPosternBridge = async (
  folder: string,
  [command, ...args]: Command,
  build: Build = thisCheckout,
): Promise<BridgeCandidate> => {
  // A server that is isolated costs more to start and nothing for a call; here all are started alike.
  const service = { command, args, sandbox: 'none' }
  const config = { local_users: [person], max_concurrent_calls: 100_000, mcp_services: { bridged: service } }
  const { origin, running } = await startGateway(folder, config, build)
  const url = `${origin}/bridged/mcp`
  return {
    name: build.name,
    job: 'token, audience, policy input, session owner, audit record',
    url,
    token: await obtainToken(url),
    process: running,
  }
}

const startMinimalBridge = async (command: Command): Promise<BridgeCandidate> => {
  const running = start(process.execPath, [join(root, 'bench/minimal-bridge.ts'), token, ...command], {
    place: 'gateway',
  })
  const [, port] = await running.until(/listening (\d+)/)
  return {
    name: 'minimal bridge',
    job: 'cached token, method and tool',
    url: `http://127.0.0.1:${port}/mcp`,
    token,
    process: running,
  }
}

/** Published bridges keep their sessions only when they are asked to. */
const startPublished = async (
  name: string,
  args: (port: number) => readonly string[],
): Promise<BridgeCandidate> => {
  const peer = await ensurePeer('stdio')
  const port = await freePort()
  const running = start(process.execPath, [join(peer, 'node_modules/.bin', name), ...args(port)], {
    place: 'gateway',
  })
  const { version } = JSON.parse(readFileSync(join(peer, 'node_modules', name, 'package.json'), 'utf8')) as {
    version: string
  }
  return {
    name: `${name} ${version}`,
    job: 'nothing',
    url: `http://127.0.0.1:${port}/mcp`,
    token,
    process: running,
  }
}

export const startBridges = (folder: string, command: Command): Promise<readonly BridgeCandidate[]> =>
  Promise.all([
    startPosternBridge(folder, command),
    startMinimalBridge(command),
    startPublished('supergateway', (port) => [
      '--stdio',
      command.map((word) => `"${word}"`).join(' '),
      '--outputTransport',
      'streamableHttp',
      '--stateful',
      '--logLevel',
      'none',
      '--port',
      String(port),
    ]),
    startPublished('mcp-proxy', (port) => [
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--server',
      'stream',
      '--',
      ...command,
    ]),
  ])

const headersOf = (candidate: BridgeCandidate, session: string): Record<string, string> => ({
  authorization: `Bearer ${candidate.token}`,
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  ...(session === '' ? {} : { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }),
})

/** Begins a session; empty where the bridge keeps none. */
const beginSession = async (candidate: BridgeCandidate): Promise<string> => {
  const { name, url } = candidate
  const post = (body: object, session = '') =>
    fetch(url, {
      method: 'POST',
      headers: headersOf(candidate, session),
      body: JSON.stringify({ jsonrpc: '2.0', ...body }),
    })
  for (let tries = 0; tries < 100; tries++) {
    const begun = await post({
      id: 0,
      method: 'initialize',
      params: {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'bench', version: '1' },
      },
    }).catch(() => undefined)
    if (begun?.status === 200 && (await begun.text()).includes('"result"')) {
      const session = begun.headers.get('mcp-session-id') ?? ''
      if (session !== '') await (await post({ method: 'notifications/initialized' }, session)).text()
      return session
    }
    await pause(100)
  }
  throw new Error(`${name} begins no session:\n${candidate.process.output()}`)
}

export interface BridgeLoad {
  readonly connections: number
  readonly rounds: number
  readonly seconds: number
}

/** Every turn of each, all in one session and so with one process. */
export const measureBridges = async (
  candidates: readonly BridgeCandidate[],
  { connections, rounds, seconds }: BridgeLoad,
): Promise<Map<string, Measured[]>> => {
  const sessions = new Map<string, string>()
  for (const candidate of candidates) sessions.set(candidate.name, await beginSession(candidate))
  const turns = await turnByTurn(
    candidates,
    rounds,
    ({ name, url, token: TOKEN, process: { pid } }, round) => {
      // Ids of their own for each turn: what was cut off at the end of the one before is nobody's any more.
      const env = { TOKEN, SESSION: sessions.get(name) ?? '', BASE: String((round + 1) * 1_000_000) }
      const length = round < 0 ? Math.min(2, seconds) : seconds
      return drive({ name, url, pids: [pid], connections, seconds: length, script: 'stdio.lua', env })
    },
  )
  for (const candidate of candidates) {
    const session = sessions.get(candidate.name) ?? ''
    if (session === '') continue
    await (await fetch(candidate.url, { method: 'DELETE', headers: headersOf(candidate, session) })).text()
  }
  return turns
}
