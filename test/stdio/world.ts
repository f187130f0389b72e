// A bridge over real processes without a gateway in front: any number of people and clients, and a clock that
// tests move.
import { mkdtempSync, rmSync } from 'node:fs'
import { randomFillSync } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import { Refusal, rpcErrorText } from '../../src/kit/refusal.ts'
import { digest } from '../../src/node/crypto.ts'
import { type NodeSpawn, createNodeSpawn } from '../../src/node/process/spawn.ts'
import type { Principal } from '../../src/ports/people.ts'
import type { ProcessPlan, SpawnServer } from '../../src/ports/runtime.ts'
import { timer } from '../../src/node/runtime.ts'
import { stdioResponse } from '../../src/kit/plain-response.ts'
import { type Bridge, type BridgeOptions, createBridge } from '../../src/stdio/bridge.ts'

export const serverScript = fileURLToPath(new URL('server-process.mjs', import.meta.url))

export interface WorldOptions {
  readonly flags?: readonly string[]
  readonly plan?: Partial<Omit<ProcessPlan, 'owner' | 'about'>>
  readonly bridge?: Partial<Omit<BridgeOptions, 'plan'>>
  /** The environment of the gateway itself. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Where the gateway keeps its state; otherwise a folder of its own. */
  readonly stateDir?: string
  /** The configuration and what it was read from. */
  readonly privateFiles?: readonly string[]
  /** Time passes by `advance` alone. */
  readonly still?: boolean
  /** Instead of real timers. */
  readonly startTimer?: typeof timer
  /** Instead of real processes. */
  readonly spawn?: SpawnServer
}

export interface Told {
  readonly id: string | undefined
  readonly data: string
  readonly message: {
    readonly id?: unknown
    readonly method?: string
    readonly params?: Record<string, unknown>
    readonly result?: Record<string, unknown>
    readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown }
  }
}

export interface Events {
  /** The next event with data, in at most five seconds; undefined at the end of the stream. */
  next(): Promise<Told | undefined>
  /** Everything until the end. */
  rest(): Promise<Told[]>
  /** The client closes the connection. */
  leave(): Promise<void>
}

export interface World {
  readonly bridge: Bridge
  readonly processes: NodeSpawn
  readonly log: {
    readonly level: string
    readonly event: string
    readonly fields: Readonly<Record<string, unknown>>
  }[]
  readonly stateDir: string
  client(subject?: string): StdioClient
  /** What each may do from now on; otherwise what their scopes say. */
  readonly permissions: Map<string, readonly string[]>
  /** Moves the bridge's clock and lets it look around. */
  advance(ms: number): void
  close(): Promise<void>
}

const modernMeta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}

export const eventsOf = (response: Response): Events => {
  const reader = (response.body as ReadableStream<Uint8Array>)
    .pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>)
    .pipeThrough(new EventSourceParserStream())
    .getReader()
  const next = async (): Promise<Told | undefined> => {
    const timer = setTimeout(() => void reader.cancel(), 20_000)
    try {
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return undefined
        if (value.data !== '')
          return { id: value.id, data: value.data, message: JSON.parse(value.data) as Told['message'] }
      }
    } finally {
      clearTimeout(timer)
    }
  }
  return {
    next,
    leave: () => reader.cancel(),
    async rest() {
      const all: Told[] = []
      for (let told = await next(); told; told = await next()) all.push(told)
      return all
    },
  }
}

/** What the tool of a one-message answer said, as JSON. */
export const saidBy = (message: Told['message'] | undefined): Record<string, unknown> => {
  const content = message?.result?.['content'] as { text: string }[] | undefined
  if (content?.[0] === undefined) throw new Error(`no result: ${JSON.stringify(message)}`)
  return JSON.parse(content[0].text) as Record<string, unknown>
}

export interface StdioClient {
  /**
   * One HTTP request; what is refused comes back as the hall would draw it, with the refusal's code in
   * `x-refusal`.
   */
  fetch(
    method: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
    signal?: AbortSignal,
  ): Promise<Response>
  /** Begins a session; later requests belong to it. */
  initialize(version?: string, params?: object): Promise<Told['message']>
  readonly session: Readonly<Record<string, string>>
  /** A request of the session and the last message about it, however it came. */
  request(method: string, params?: object, id?: number | string): Promise<Told['message']>
  tool(name: string, args?: object, id?: number | string): Promise<Told['message']>
  notify(method: string, params?: object): Promise<Response>
  /** A request of 2026-07-28. */
  modern(
    method: string,
    params?: { readonly _meta?: object } & Record<string, unknown>,
    more?: {
      readonly id?: number | string
      readonly headers?: Readonly<Record<string, string>>
      readonly signal?: AbortSignal
    },
  ): Promise<Response>
  modernTool(name: string, args?: object, id?: number | string): Promise<Told['message']>
}

export const lastOf = async (response: Response): Promise<Told['message']> => {
  if (response.headers.get('content-type')?.startsWith('text/event-stream'))
    return (await eventsOf(response).rest()).at(-1)?.message ?? {}
  return (await response.json()) as Told['message']
}

const refused = (error: unknown): Response => {
  if (!(error instanceof Refusal)) throw error
  return new Response(rpcErrorText(error, error.detail.rpcId, 'request'), {
    status: error.row.status,
    headers: {
      'content-type': 'application/json',
      'x-refusal': error.code,
      'x-why': encodeURIComponent(error.why),
      ...error.detail.headers,
    },
  })
}

const createClient = (bridge: Bridge, principal: Principal | undefined): StdioClient => {
  let session: Record<string, string> = {}
  let ids = 0
  const client: StdioClient = {
    get session() {
      return session
    },
    fetch(method, body, headers = {}, signal = new AbortController().signal) {
      const fields = {
        accept: method === 'POST' ? 'application/json, text/event-stream' : 'text/event-stream',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      }
      const bytes =
        body === undefined
          ? undefined
          : new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body))
      return bridge
        .carry({
          method,
          headers: Object.entries(fields).flat(),
          body: bytes,
          principal,
          refused: (refusal, id) => rpcErrorText(refusal, id, 'request'),
          signal,
        })
        .then(stdioResponse)
        .catch(refused)
    },
    async initialize(version = '2025-11-25', params = {}) {
      session = {}
      const response = await client.fetch('POST', {
        jsonrpc: '2.0',
        id: 'init',
        method: 'initialize',
        params: {
          protocolVersion: version,
          capabilities: {},
          clientInfo: { name: 'test', version: '1' },
          ...params,
        },
      })
      const message = await lastOf(response)
      const id = response.headers.get('mcp-session-id')
      if (id === null) return { ...message, error: message.error ?? { code: 0, message: 'no session' } }
      session = { 'mcp-session-id': id, 'mcp-protocol-version': version }
      await client.notify('notifications/initialized')
      return message
    },
    request: async (method, params = {}, id = ++ids) =>
      lastOf(await client.fetch('POST', { jsonrpc: '2.0', id, method, params }, session)),
    tool: (name, args = {}, id) => client.request('tools/call', { name, arguments: args }, id),
    notify: (method, params) =>
      client.fetch('POST', { jsonrpc: '2.0', method, ...(params && { params }) }, session),
    modern(method, params = {}, { id = ++ids, headers = {}, signal } = {}) {
      const name = (params['name'] ?? params['uri']) as string | undefined
      const fields = {
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': method,
        ...(name === undefined ? {} : { 'mcp-name': name }),
        ...headers,
      }
      return client.fetch(
        'POST',
        { jsonrpc: '2.0', id, method, params: { ...params, _meta: { ...modernMeta, ...params._meta } } },
        fields,
        signal,
      )
    },
    modernTool: async (name, args = {}, id = ++ids) =>
      lastOf(await client.modern('tools/call', { name, arguments: args }, { id })),
  }
  return client
}

const principalOf = (subject: string): Principal => ({
  person: { provider: 'local', subject, groups: [] },
  personKey: `local:${subject}`,
  clientId: 'client',
  clientName: 'Test',
  grantId: 'grant',
  scopes: ['mcp'],
  resource: 'http://localhost/small/mcp',
  expiresAt: Number.MAX_SAFE_INTEGER,
})

export const openWorld = ({
  flags = [],
  plan = {},
  bridge: options = {},
  env,
  spawn,
  privateFiles = [],
  still = false,
  startTimer = timer,
  ...world
}: WorldOptions = {}): World => {
  const stateDir = world.stateDir ?? mkdtempSync(join(tmpdir(), 'postern-stdio-'))
  const processes = createNodeSpawn({ stateDir, privateFiles, ...(env && { env }) })
  const log: World['log'] = []
  const permissions: World['permissions'] = new Map()
  let ahead = 0
  const bridge = createBridge(
    {
      name: 'Small',
      shared: false,
      timeoutMs: 20_000,
      startMs: 20_000,
      sessionIdleMs: 300_000,
      sleepMs: 600_000,
      holdMs: 0,
      keepAliveMs: 15_000,
      maxProcesses: 64,
      maxProcessesPerPerson: 8,
      ...options,
      plan: {
        service: 'small',
        command: process.execPath,
        args: [serverScript, ...flags],
        env: {},
        cwd: undefined,
        sandbox: 'none',
        network: true,
        read: [],
        write: [],
        ...plan,
      },
    },
    {
      spawn: spawn ?? processes.spawn,
      now: () => (still ? 1_000_000 : Date.now()) + ahead,
      timer: startTimer,
      random: (n) => randomFillSync(new Uint8Array(n)),
      digest,
      log: (level, event, fields = {}) => void log.push({ level, event, fields }),
      about: { version: '0.0.0-test' },
      alive: () => Promise.resolve(true),
      context: {
        userId: ({ person }) => person.subject,
        permissions: ({ person, scopes }) => permissions.get(person.subject) ?? scopes,
      },
    },
  )
  return {
    permissions,
    bridge,
    processes,
    log,
    stateDir,
    client: (subject) => createClient(bridge, subject === undefined ? undefined : principalOf(subject)),
    advance(ms) {
      ahead += ms
      bridge.tick()
    },
    async close() {
      await bridge.close(0)
      await processes.close()
      rmSync(stateDir, { recursive: true, force: true })
    },
  }
}

/** Whether a process with this id runs. */
export const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** Waits for something that happens elsewhere. */
export const until = async (
  condition: () => boolean | Promise<boolean>,
  what: string,
  ms = 20_000,
): Promise<void> => {
  const deadline = Date.now() + ms
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise((done) => void setTimeout(done, 10))
  }
}
