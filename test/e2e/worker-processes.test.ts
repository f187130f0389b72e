// `--workers 2`: two processes on one port, as one gateway.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { logIn, person } from '../runtimes/login.ts'
import { type Caller, callerOf } from '../runtimes/people.ts'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'
import { beginLegacy } from '../runtimes/revisions.ts'

const state = temporaryState()
let postern: PosternProcess
let caller: Caller
let metrics = ''

interface Line {
  readonly event?: string
  readonly url?: string
  readonly audit?: boolean
}
const lines = (): Line[] => postern.lines.map((line) => JSON.parse(line) as Line)
const pids = (): number[] =>
  readdirSync(join(state.dir, 'running'))
    .map((name) => Number.parseInt(name, 10))
    .toSorted((one, other) => one - other)

beforeAll(async () => {
  const server = fileURLToPath(new URL('../stdio/server-process.mjs', import.meta.url))
  postern = await startProcess({
    stateDir: state.dir,
    signInLink: false,
    flags: ['--workers', '2'],
    config: {
      local_users: [{ ...person }],
      metrics: { port: 0 },
      audit: {},
      mcp_services: { stdio: { command: process.execPath, args: [server], sandbox: 'none' } },
    },
  })
  const resource = `${postern.origin}/stdio/mcp`
  caller = callerOf(postern, resource, (await logIn(postern, resource)).tokens.access_token)
})
afterAll(async () => {
  if (postern.child.exitCode === null) await postern.end('SIGKILL')
  state.remove()
})

/** Each on a connection of its own, which are handed out in turn. */
const fresh = { connection: 'close' }
const ping = { jsonrpc: '2.0', id: 2, method: 'ping' }

const counted = async (pattern: RegExp): Promise<number> => {
  const text = await (await fetch(metrics)).text()
  return Number(pattern.exec(text)?.[1])
}

describe('Two workers', () => {
  it('print one first line, and keep one log of whole lines', async () => {
    await expect.poll(() => lines().some(({ event }) => event === 'metrics.listening')).toBe(true)
    metrics = lines().find(({ event }) => event === 'metrics.listening')?.url ?? ''
    expect(lines().filter(({ event }) => event === 'listening')).toHaveLength(1)
    expect(lines()[0]).toMatchObject({ event: 'listening', url: postern.origin })
    expect(lines().filter(({ event }) => event === 'gateway.started')).toHaveLength(2)
    expect(pids()).toHaveLength(2)
  })

  it('serve one session of a stdio server, whichever is asked, and count together', async () => {
    const { session } = await beginLegacy(caller)
    const statuses: number[] = []
    for (let i = 0; i < 8; i++) statuses.push((await caller.post(ping, { ...session, ...fresh })).status)
    expect(statuses).toEqual(statuses.map(() => 200))
    expect(
      await counted(/^postern_calls_total\{service="stdio",method="ping",outcome="answered"\} (\d+)/m),
    ).toBe(8)
    expect(await counted(/^postern_store_up (\d+)/m)).toBe(1)
    expect(await counted(/^postern_build_info\{[^}]*\} (\d+)/m)).toBe(1)
  })

  it('replace one that is killed, while the other serves', async () => {
    const [killed] = pids()
    process.kill(killed as number, 'SIGKILL')
    await expect
      .poll(() => lines().some(({ event }) => event === 'worker.died'), { timeout: 20_000 })
      .toBe(true)
    expect((await postern.fetch(`${postern.origin}/healthz`, { headers: fresh })).status).toBe(200)
    await expect
      .poll(() => lines().filter(({ event }) => event === 'gateway.started').length, { timeout: 30_000 })
      .toBe(3)
    // Sessions of the one that is gone are a 404, and the client begins anew.
    const { begun } = await beginLegacy(caller)
    expect(begun.status).toBe(200)
  })

  it('end together in order', async () => {
    expect(await postern.end('SIGTERM')).toBe(0)
    expect(lines().filter(({ event }) => event === 'gateway.stopped')).toHaveLength(2)
    expect(pids()).toEqual([])
  })
})
