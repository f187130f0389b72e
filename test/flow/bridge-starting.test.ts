// A command that takes long to start: its callers hear so on an event stream once some seconds have passed,
// and what fails before that keeps its own status.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ProcessEvents, SpawnServer } from '../../src/ports/runtime.ts'
import { type RuntimeGateway, openInProcess, openOnSocket } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf } from '../runtimes/people.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import {
  eventsOf,
  lastOf,
  openWorld,
  serverScript,
  type StdioClient,
  until,
  type World,
} from '../stdio/world.ts'

let world: World | undefined
afterEach(async () => {
  await world?.close()
  world = undefined
})

/** Processes that say nothing until the test lets them. */
const openSlow = (options: Partial<Parameters<typeof openWorld>[0]> = {}) => {
  const begun: { events: ProcessEvents; sent: string[] }[] = []
  const spawn: SpawnServer = (_plan, events) => {
    const process = { events, sent: [] as string[] }
    begun.push(process)
    const stop = async (): Promise<void> => events.ended({ kind: 'stopped', say: 'stopped', why: 'stopped' })
    return {
      pid: 1,
      send: (line) => process.sent.push(line) > 0,
      pause: () => undefined,
      resume: () => undefined,
      conceal: (text) => text,
      stderr: () => '/home/ana/secret',
      complaint: () => '; it last wrote: /home/ana/secret',
      stop,
    }
  }
  world = openWorld({
    spawn,
    still: true,
    plan: { command: '/usr/bin/npx' },
    ...options,
    bridge: { name: 'github', startMs: 45_000, timeoutMs: 300_000, ...options.bridge },
  })
  return {
    begun,
    say: (message: object, at = 0) => begun[at]?.events.line(JSON.stringify({ jsonrpc: '2.0', ...message })),
  }
}
/** Lets what was begun go on without time. */
const turn = (): Promise<void> => setImmediate()
const progress = (
  token: unknown,
  seconds: number,
  message = 'Starting github: npm may be downloading packages',
) => ({
  jsonrpc: '2.0',
  method: 'notifications/progress',
  params: { progressToken: token, progress: -seconds, message },
})
const initialize = (meta: object = {}) => ({
  jsonrpc: '2.0',
  id: 'init',
  method: 'initialize',
  params: {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'test', version: '1' },
    _meta: meta,
  },
})
const introduced = {
  protocolVersion: '2025-11-25',
  capabilities: {},
  serverInfo: { name: 's', version: '1' },
}

const begin = async (client: StdioClient, body: object): Promise<Response> => {
  const asked = client.fetch('POST', body)
  await turn()
  world?.advance(5000)
  return asked
}

describe('initialize of a command that takes long to start', () => {
  it('is answered by a stream that says so every five seconds under the caller’s token, and begins the session that its head names', async () => {
    const { say } = openSlow()
    const ana = (world as World).client('ana')
    const answer = await begin(ana, initialize({ progressToken: 'p' }))
    const session = answer.headers.get('mcp-session-id') ?? ''
    expect([
      answer.status,
      answer.headers.get('content-type'),
      answer.headers.get('cache-control'),
      session,
    ]).toEqual([200, 'text/event-stream', 'no-cache, no-transform', expect.stringMatching(/^[\w-]{32}$/)])
    world?.advance(4999)
    world?.advance(1)
    const events = eventsOf(answer)
    expect([(await events.next())?.message, (await events.next())?.message]).toEqual([
      progress('p', 40),
      progress('p', 35),
    ])
    say({ id: 1, result: introduced })
    expect((await events.rest()).map(({ message }) => message)).toEqual([
      { jsonrpc: '2.0', id: 'init', result: introduced },
    ])
    const notified = await ana.fetch(
      'POST',
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' },
    )
    expect(notified.status).toBe(202)
  })

  it('gets comments where it has no token, and nothing of what the process writes', async () => {
    const { say } = openSlow()
    const answer = await begin((world as World).client('ana'), initialize())
    world?.advance(14_999)
    world?.advance(1)
    say({ id: 1, result: introduced })
    expect(await answer.text()).toBe(
      `: keep-alive\n\n: keep-alive\n\nevent: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', id: 'init', result: introduced })}\n\n`,
    )
  })

  it('keeps its status where it fails before that, and is answered whole where it is quick', async () => {
    const { begun, say } = openSlow()
    const failing = (world as World).client('ana').fetch('POST', initialize({ progressToken: 'p' }))
    await turn()
    world?.advance(4999)
    begun[0]?.events.ended({
      kind: 'refused',
      say: 'The MCP server could not be started: its command was not found.',
      why: 'ENOENT',
    })
    const refused = await failing
    expect([refused.status, refused.headers.get('x-refusal'), refused.headers.get('content-type')]).toEqual([
      502,
      'process.ended',
      'application/json',
    ])
    const quick = (world as World).client('bea').fetch('POST', initialize({ progressToken: 'p' }))
    await turn()
    say({ id: 1, result: introduced }, 1)
    expect([
      (await quick).status,
      (await quick).headers.get('content-type'),
      await (await quick).json(),
    ]).toEqual([200, 'application/json', { jsonrpc: '2.0', id: 'init', result: introduced }])
  })

  it('is told on the stream, in the same words, that the process ended or was too late; its session does not exist', async () => {
    const { begun } = openSlow()
    const ana = (world as World).client('ana')
    const answer = await begin(ana, initialize({ progressToken: 7 }))
    begun[0]?.events.ended({ kind: 'exit', say: 'The MCP server ended with code 1.', why: 'code 1' })
    expect((await eventsOf(answer).rest()).map(({ message }) => message)).toEqual([
      progress(7, 40),
      {
        jsonrpc: '2.0',
        id: 'init',
        error: {
          code: 1502,
          message: 'The MCP server ended with code 1.',
          data: { code: 'process.ended', request_id: 'request' },
        },
      },
    ])
    const after = await ana.fetch(
      'POST',
      { jsonrpc: '2.0', id: 1, method: 'ping' },
      { 'mcp-session-id': answer.headers.get('mcp-session-id') ?? '' },
    )
    expect([after.status, after.headers.get('x-refusal')]).toEqual([404, 'session.unknown'])
  })

  it('ends the start when its caller leaves the stream', async () => {
    openSlow()
    const answer = await begin((world as World).client('ana'), initialize({ progressToken: 'p' }))
    await answer.body?.cancel()
    await until(() => (world as World).bridge.processes().length === 0, 'the end of the process')
  })

  it('waits for a place, and says so', async () => {
    openSlow({ bridge: { maxProcesses: 1 } })
    const first = (world as World).client('ana').fetch('POST', initialize())
    const answer = await begin((world as World).client('bea'), initialize({ progressToken: 'p' }))
    expect((await eventsOf(answer).next())?.message).toEqual(
      progress('p', 40, 'Waiting for a free process of github'),
    )
    await (await first).body?.cancel()
  })
})

describe('a call of 2026-07-28 at a command that takes long to start', () => {
  it('hears of the start, then of the server’s own progress, and gets its answer on the same stream', async () => {
    const { begun, say } = openSlow()
    const asked = (world as World)
      .client('ana')
      .modern('tools/call', { name: 'count', arguments: {}, _meta: { progressToken: 'p' } }, { id: 'call' })
    await turn()
    world?.advance(5000)
    const events = eventsOf(await asked)
    expect((await events.next())?.message).toEqual(progress('p', 40))
    say({ id: 1, result: { resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities: {} } })
    await until(
      () => begun[0]?.sent.some((line) => line.includes('tools/list')) === true,
      'the list of tools',
    )
    const list = JSON.parse(begun[0]?.sent.find((line) => line.includes('tools/list')) ?? '') as {
      id: number
    }
    say({ id: list.id, result: { resultType: 'complete', tools: [] } })
    await until(() => begun[0]?.sent.some((line) => line.includes('tools/call')) === true, 'the call')
    const { id } = JSON.parse(begun[0]?.sent.find((line) => line.includes('tools/call')) ?? '') as {
      id: number
    }
    say({ method: 'notifications/progress', params: { progressToken: id, progress: 0 } })
    say({ id, result: { resultType: 'complete', content: [] } })
    expect((await events.rest()).map(({ message }) => message)).toEqual([
      { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 'p', progress: 0 } },
      { jsonrpc: '2.0', id: 'call', result: { resultType: 'complete', content: [] } },
    ])
  })
})

// Node begins the program when the test has made a file: the time that it takes is the test's own.
const gated =
  "const { existsSync } = require('node:fs'); const [gate, program] = process.argv.slice(1); const wait = setInterval(() => { if (existsSync(gate)) { clearInterval(wait); import(program) } }, 20)"

describe.each([
  ['in process', openInProcess],
  ['on a node socket', openOnSocket],
] as const)('%s, a command that takes long to start', (_where, open) => {
  let house: RuntimeGateway
  let upstream: Upstream
  const folder = mkdtempSync(join(tmpdir(), 'postern-starting-'))
  const gate = (name: string): string => join(folder, name)
  const command = (name: string, ...flags: readonly string[]) => ({
    command: process.execPath,
    args: ['-e', gated, gate(name), serverScript, ...flags],
    sandbox: 'none' as const,
  })

  beforeAll(async () => {
    upstream = await openUpstream((_, response) => void response.end('{}'))
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana],
        mcp_services: {
          legacy: command('legacy', '--plain'),
          modern: command('modern', '--modern-only'),
          broken: command('broken', '--crash'),
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await house?.close()
    await upstream?.close()
    rmSync(folder, { recursive: true, force: true })
  }, 60_000)

  const callerAt = async (id: string): Promise<Caller> =>
    callerOf(house, `${house.origin}/${id}/mcp`, await tokenOf(house, ana, `${house.origin}/${id}/mcp`))
  /** Moves the time once the process is there; then lets the program begin. */
  const slowly = async (id: string, asked: Promise<Response>): Promise<Response> => {
    let answer: Response | undefined
    asked.then(
      (came) => (answer = came),
      () => undefined,
    )
    let looks = 0
    // Time moves slower than the condition is looked at, so that the start never runs out of its own time on
    // a busy machine.
    const heard = (): boolean => {
      if (looks++ % 10 === 0) house.advance(1000)
      return answer !== undefined
    }
    await until(heard, 'the beginning of an answer')
    writeFileSync(gate(id), '')
    return asked
  }

  it.each(['legacy', 'modern'])(
    'tells a client of 2025 whose server is %s, and the session that the head names goes on',
    async (id) => {
      const caller = await callerAt(id)
      const answer = await slowly(id, caller.post(initialize({ progressToken: 'p' })))
      const session = {
        'mcp-session-id': answer.headers.get('mcp-session-id') ?? '',
        'mcp-protocol-version': '2025-11-25',
      }
      const told = (await eventsOf(answer).rest()).map(({ message }) => message)
      expect([
        answer.status,
        told[0]?.method,
        told[0]?.params?.['message'],
        told.at(-1)?.id,
        typeof told.at(-1)?.result?.['serverInfo'],
      ]).toEqual([200, 'notifications/progress', `Starting ${id}`, 'init', 'object'])
      const values = told.slice(0, -1).map(({ params }) => params?.['progress'] as number)
      expect(values).toEqual([...values].sort((a, b) => a - b))
      const called = await caller.post(
        { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'echo', arguments: { n: 1 } } },
        session,
      )
      expect([called.status, (await lastOf(called)).result?.['content']]).toEqual([200, expect.any(Array)])
    },
    60_000,
  )

  it('tells a client of 2025 of the end of the process on the stream, with the code that it would have had', async () => {
    const answer = await slowly('broken', (await callerAt('broken')).post(initialize({ progressToken: 'p' })))
    const last = (await eventsOf(answer).rest()).at(-1)?.message
    expect([answer.status, last?.id, last?.error?.code, last?.error?.data]).toEqual([
      200,
      'init',
      1502,
      { code: 'process.ended', request_id: answer.headers.get('x-request-id') },
    ])
  }, 60_000)
})
