// Servers in isolation, and what is left of any server when the gateway is gone.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { findProgram, inCI } from '../../scripts/system-programs.mjs'
import { processesOf } from '../../src/node/process/reaper.ts'
import { isAlive, saidBy, type StdioClient, until, type World, type WorldOptions } from '../stdio/world.ts'
import { begun, useWorlds } from '../stdio/worlds.ts'

const world = useWorlds()

const bubblewrap = findProgram('bwrap') !== undefined

describe('never after the end of the gateway', () => {
  it.each(['none', ...(bubblewrap ? ['bubblewrap'] : [])])(
    'never leaves a server running, not even when it is killed (sandbox: %s) [H-N10]',
    async (sandbox) => {
      const gateway = spawn(
        process.execPath,
        [fileURLToPath(new URL('../stdio/gateway-process.ts', import.meta.url)), sandbox],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      const line = await new Promise<string>((resolve) =>
        gateway.stdout.once('data', (text: Buffer) => resolve(text.toString())),
      )
      const { server, left } = JSON.parse(line) as { server: number; left: number[] }
      // In a sandbox the ids of what it started are of its own world; the mark finds them.
      const mark = /POSTERN_PROCESS=(\w+)/.exec(readFileSync(`/proc/${server}/environ`, 'latin1'))?.[1] ?? ''
      const pids = sandbox === 'none' ? [server, ...left] : [server]
      expect(pids.every(isAlive)).toBe(true)
      gateway.kill('SIGKILL')
      await until(() => !pids.some(isAlive), 'their end', 10_000)
      await until(() => processesOf(mark).length === 0, 'everything with the mark', 10_000)
    },
    60_000,
  )
})

describe.skipIf(!bubblewrap && !inCI())('never outside: an isolated server', () => {
  const isolated = (options: WorldOptions = {}): World =>
    world({ ...options, plan: { sandbox: 'bubblewrap', ...options.plan } })
  const failure = async (client: StdioClient, tool: string, args: object): Promise<string> =>
    JSON.stringify((await client.tool(tool, args)).result)

  it('never reads secrets of the system, of the gateway or of another person [H-N8] [B8]', async () => {
    const { client, stateDir } = isolated()
    writeFileSync(join(stateDir, 'root.key'), 'secret')
    const bea = await begun(client('bea'))
    const home = String(saidBy(await bea.tool('where'))['home'])
    await bea.tool('write', { path: join(home, 'diary') })
    expect(saidBy(await bea.tool('read', { path: join(home, 'diary') }))).toEqual({ text: 'written' })
    const ana = await begun(client('ana'))
    for (const path of [
      '/etc/shadow',
      join(stateDir, 'root.key'),
      join(home, 'diary'),
      '/root/.bashrc',
      `/proc/${process.pid}/environ`,
    ])
      expect(await failure(ana, 'read', { path })).toMatch(/ENOENT|EACCES/)
    expect(saidBy(await ana.tool('echo'))['pid']).toBeLessThan(10)
  }, 60_000)

  it('never changes anything but its home, /tmp of its own, and what it was given [H-N8] [B8]', async () => {
    const { client, stateDir } = isolated({ plan: { write: [] } })
    const ana = await begun(client('ana'))
    for (const path of ['/usr/postern-was-here', '/etc/postern-was-here', '/postern-was-here'])
      expect(await failure(ana, 'write', { path })).toContain('EROFS')
    for (const path of ['/tmp/postern-was-here', join(stateDir, 'postern-was-here')]) {
      await ana.tool('write', { path })
      expect(existsSync(path)).toBe(false)
    }
    const given = mkdtempSync(join(tmpdir(), 'postern-given-'))
    onTestFinished(() => rmSync(given, { recursive: true }))
    const wider = await begun(isolated({ plan: { write: [given] } }).client('ana'))
    await wider.tool('write', { path: join(given, 'file') })
    expect(readFileSync(join(given, 'file'), 'utf8')).toBe('written')
  }, 60_000)

  it('never shows a path to somebody who is named like it', async () => {
    const given = mkdtempSync(join(tmpdir(), 'postern-named-'))
    onTestFinished(() => rmSync(given, { recursive: true }))
    writeFileSync(join(given, 'diary'), 'secret')
    const named = await begun(isolated().client(given))
    expect(saidBy(await named.tool('environment'))['MCP_USER_ID']).toBe(given)
    expect(await failure(named, 'read', { path: join(given, 'diary') })).toContain('ENOENT')
  }, 60_000)

  it('never reaches the network where it is not to [H-N8] [B8]', async () => {
    const server = createServer((_, response) => response.end('here'))
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done))
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}/`
    const online = await begun(isolated().client('ana'))
    expect(saidBy(await online.tool('reach', { url }))).toEqual({ status: 200 })
    const offline = await begun(isolated({ plan: { network: false } }).client('ana'))
    expect(await failure(offline, 'reach', { url })).toContain('fetch failed')
    server.close()
  }, 60_000)

  it('never runs unisolated where isolation is asked for and missing [B8]', async () => {
    const { client, log } = world({
      plan: { sandbox: 'bubblewrap' },
      env: { PATH: join(process.execPath, '..') },
    })
    expect((await client('ana').initialize()).error?.message).toBe(
      'The MCP server could not be started: isolation is required but not available on this computer.',
    )
    expect(log.find(({ event }) => event === 'process.ended')?.fields['why']).toContain(
      'bubblewrap is not installed',
    )
  })
})
