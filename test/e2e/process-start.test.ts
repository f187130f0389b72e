// How Postern begins as a process: what it makes, what it says to a program and to a person, where it
// listens, and when it refuses to.
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'
import { until } from '../runtimes/proxied.ts'
import { createPlace, errorOf, type Place, postern, posternOnTerminal } from './cli-process.ts'

let state: ReturnType<typeof temporaryState>
let place: Place
let running: PosternProcess | undefined

beforeEach(() => {
  state = temporaryState()
  place = createPlace()
})
afterEach(async () => {
  await running?.end('SIGKILL')
  running = undefined
  state.remove()
  place.remove()
})

const begin = async (
  options: Omit<Parameters<typeof startProcess>[0], 'stateDir'> = {},
): Promise<PosternProcess> => (running = await startProcess({ stateDir: state.dir, ...options }))
const portOf = ({ origin }: PosternProcess): number => Number(new URL(origin).port)
const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8)

const connects = (port: number, host: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, host)
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

/** Something else on this address; undefined where the computer does not have it. */
const occupy = (
  host: string,
  port = 0,
): Promise<{ readonly port: number; leave(): Promise<void> } | undefined> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, host, () =>
      resolve({
        port: (server.address() as { port: number }).port,
        leave: () => new Promise((left) => void server.close(() => left())),
      }),
    )
  })
const hasIpv6 = await occupy('::1').then(async (taken) => (await taken?.leave(), taken !== undefined))

describe('a start off a terminal', () => {
  it('says first, as one JSON line, where it listens and how to sign in, and names each service once', async () => {
    const { first, lines, fetch } = await begin()
    expect(lines[0]).toBe(JSON.stringify(first))
    expect(first).toMatchObject({
      event: 'listening',
      url: expect.stringMatching(/^http:\/\/localhost:\d+$/) as unknown,
      mcp: [{ service: 'demo', url: `${first.url}/demo/mcp` }],
    })
    const signsIn = async () =>
      (await fetch(first.sign_in_link as string)).headers
        .getSetCookie()
        .some((line) => line.startsWith(`__Host-postern-session-${new URL(first.url).port}=`))
    expect([await signsIn(), await signsIn()]).toEqual([true, false])
  })

  it('never puts a sign-in link in the log unless it is asked to, and says how to make one', async () => {
    const { first, lines, end, fetch, origin } = await begin({ signInLink: false, flags: ['--debug'] })
    expect(first).not.toHaveProperty('sign_in_link')
    expect(first.sign_in_command).toBe(`postern admin link --state ${state.dir}`)
    const made = await postern(place, ['admin', 'link', '--state', state.dir])
    await fetch(made.out.trim())
    await fetch(`${origin}/nowhere`)
    await end()
    expect(lines.join('\n')).not.toMatch(/[?&]t=|[\w-]{43}/)
  })

  it('still takes the former name of the flag for the link, with a warning', async () => {
    const { first, lines } = await begin({ signInLink: false, flags: ['--print-login-link'] })
    expect(first.sign_in_link).toMatch(/\/\?t=[\w-]{43}$/)
    const named = () => lines.filter((line) => line.includes('--print-login-link'))
    await until(() => named().length > 0, 'the warning')
    expect(named().map((line) => JSON.parse(line) as unknown)).toEqual([
      {
        level: 'warn',
        ts: expect.any(String) as unknown,
        event: 'config.warning',
        message: 'flag --print-login-link – is the former name of --print-sign-in-link; use the new one',
      },
    ])
  })

  it('prints nothing but JSON lines', async () => {
    const { lines, fetch, origin, end } = await begin({ flags: ['--debug'] })
    await fetch(`${origin}/nowhere`)
    await end()
    expect(lines.length).toBeGreaterThan(1)
    for (const line of lines) expect(JSON.parse(line)).toHaveProperty('event')
  })

  it.skipIf(process.platform === 'win32')(
    'keeps keys and database in a directory of its own, for its owner alone [H-U8]',
    async () => {
      const dir = join(state.dir, 'new', 'state')
      await begin({ flags: ['--state', dir] })
      expect(mode(dir)).toBe('700')
      const files = readdirSync(dir)
      expect(files).toEqual(expect.arrayContaining(['postern.db', 'root.key']))
      expect(files.map((name) => `${name} ${mode(join(dir, name))}`)).toEqual(
        files.map((name) => `${name} ${name === 'running' ? '700' : '600'}`),
      )
    },
  )

  it('takes the port from the flag, else from PORT', async () => {
    const free = await occupy('127.0.0.1')
    await free?.leave()
    const port = free?.port as number
    const byVariable = await begin({ env: { PORT: String(port) }, port: null })
    expect(portOf(byVariable)).toBe(port)
    await byVariable.end()
    const byFlag = await begin({ env: { PORT: '1' }, port })
    expect(portOf(byFlag)).toBe(port)
  })
})

describe('localhost', () => {
  it.skipIf(!hasIpv6)('is both loopback addresses, whichever a client tries first', async () => {
    const { origin, fetch } = await begin()
    const { port } = new URL(origin)
    for (const host of ['localhost', '127.0.0.1', '[::1]'])
      expect((await fetch(`http://${host}:${port}/healthz`)).status, host).toBe(200)
  })

  it.skipIf(!hasIpv6)(
    'is refused when another program holds one of the two: what is sent to localhost might go there',
    async () => {
      const other = await occupy('::1')
      try {
        const ran = await postern(place, ['--port', String(other?.port), '--state', 'state'])
        expect({ code: ran.code, out: ran.out }).toEqual({ code: 1, out: '' })
        expect(errorOf(ran)).toMatchObject({
          code: 'port.taken',
          message: expect.stringContaining(`Port ${other?.port} on ::1`) as unknown,
        })
        expect(await connects(other?.port as number, '127.0.0.1')).toBe(false)
      } finally {
        await other?.leave()
      }
    },
  )

  it.skipIf(!hasIpv6)('is one of them where the operator names that one', async () => {
    const only4 = await begin({ flags: ['--host', '127.0.0.1'] })
    expect([await connects(portOf(only4), '127.0.0.1'), await connects(portOf(only4), '::1')]).toEqual([
      true,
      false,
    ])
    await only4.end()
    const only6 = await begin({ flags: ['--host', '::1'] })
    expect([
      only6.origin,
      await connects(portOf(only6), '127.0.0.1'),
      await connects(portOf(only6), '::1'),
    ]).toEqual([`http://[::1]:${portOf(only6)}`, false, true])
  })
})

describe('the log of a process', () => {
  it('at level warn keeps the audit trail, start and stop included, and drops what is below', async () => {
    const { lines, fetch, origin, end } = await begin({ flags: ['--log-level', 'warn'] })
    await fetch(`${origin}/oauth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ redirect_uris: ['http://127.0.0.1/cb'] }),
    })
    await fetch(`${origin}/nowhere`)
    expect(await end('SIGTERM')).toBe(0)
    const events = lines.slice(1).map((line) => JSON.parse(line) as Record<string, unknown>)
    const [started, registered, stopped] = events
    expect(events.map(({ level, audit, event }) => [level, audit, event])).toEqual([
      ['info', true, 'gateway.started'],
      ['info', true, 'client.registered'],
      ['info', true, 'gateway.stopped'],
    ])
    expect(started).toMatchObject({ issuer: origin, storage: 'sqlite', services: ['demo'] })
    expect(registered).toMatchObject({
      redirect_uris: ['http://127.0.0.1/cb'],
      request_id: expect.any(String) as unknown,
    })
    expect(stopped).toMatchObject({ issuer: origin, signal: 'SIGTERM', in_order: true })
  })
})

describe('a start on a terminal', () => {
  it.each([
    [
      'info',
      [/^· refused 401 token\.missing POST \/demo\/mcp: no Authorization header \(request [\w-]{16}\)$/],
    ],
    ['warn', []],
  ] as const)(
    'shows refusals at level %s as the level says, one short line each',
    async (level, expected) => {
      const { port, leave } = (await occupy('127.0.0.1')) as { readonly port: number; leave(): Promise<void> }
      await leave()
      const asked = vi.waitFor(
        async () => (await fetch(`http://127.0.0.1:${port}/demo/mcp`, { method: 'POST' })).status,
        { timeout: 30_000 },
      )
      const args = ['--port', String(port), '--state', 'state', '--log-level', level]
      const { screen } = await posternOnTerminal(place, args, { env: { NO_COLOR: '1' }, until: asked })
      expect(await asked).toBe(401)
      const lines = screen.split('\n').filter((line) => /^[·⚠✖] refused/.test(line))
      expect(lines).toHaveLength(expected.length)
      expected.forEach((shape, i) => expect(lines[i]).toMatch(shape))
    },
  )

  it('shows a person where to go, and hears keys', async () => {
    const answers = [
      ['press h for help', 'h'],
      ['h  help', 'l'],
      ['Sign-in link', 'q'],
    ] as const
    const { code, screen } = await posternOnTerminal(place, ['--port', '0', '--state', 'state'], {
      env: { NO_COLOR: '1' },
      answers,
    })
    expect(code).toBe(0)
    const [version = '', empty, dashboard = '', ...rest] = screen.split('\n')
    expect(version).toMatch(
      /^postern \d+\.\d+\.\d+ · node \d+\.\d+\.\d+ · state .*state \(new\) {3}ready in \d+ ms$/,
    )
    expect(empty).toBe('')
    expect(dashboard).toMatch(
      /^ {2}Dashboard {5}http:\/\/localhost:\d+\/\?t=[\w-]{43} {3}\(one-time link, valid 15 minutes\)$/,
    )
    expect(rest.filter((line) => line.includes('MCP server'))).toEqual([
      expect.stringMatching(/^ {2}MCP server {4}http:\/\/localhost:\d+\/demo\/mcp {3}demo: whoami, /),
    ])
    for (const client of ['Claude Code', 'VS Code', 'Inspector'])
      expect(rest.filter((line) => line.startsWith(`  ${client}`))).toHaveLength(1)
    expect(screen.match(/\?t=[\w-]{43}/g)).toHaveLength(2)
  })

  it('prints no link the second time; l prints one', async () => {
    await posternOnTerminal(place, ['--port', '0', '--state', 'state'], {
      env: { NO_COLOR: '1' },
      answers: [['press h for help', 'q']],
    })
    const answers = [
      ['press l for a sign-in link', 'l'],
      ['Sign-in link', 'q'],
    ] as const
    const { code, screen } = await posternOnTerminal(place, ['--port', '0', '--state', 'state'], {
      env: { NO_COLOR: '1' },
      answers,
    })
    expect(code).toBe(0)
    expect(screen).not.toContain('(new)')
    expect(screen.slice(0, screen.indexOf('Next:'))).not.toContain('?t=')
    expect(screen.slice(screen.indexOf('Next:'))).toMatch(
      /Sign-in link {2}http:\/\/localhost:\d+\/\?t=[\w-]{43}/,
    )
  })

  it('is the first one too in a directory that somebody made ahead', async () => {
    mkdirSync(join(place.path, 'state'))
    const { screen } = await posternOnTerminal(place, ['--port', '0', '--state', 'state'], {
      env: { NO_COLOR: '1' },
      answers: [['press h for help', 'q']],
    })
    expect(screen).toMatch(/\(new\)[\s\S]*\?t=/)
  })

  it('stops at Control-C', async () => {
    expect(
      (
        await posternOnTerminal(place, ['--port', '0', '--state', 'state'], {
          answers: [['press h for help', '\u0003']],
        })
      ).code,
    ).toBe(0)
  })
})

describe('a start is refused with one sentence', () => {
  it.each([
    ['a root key that is cut', 'root.key', 'c2hvcnQ=\n', 'state.unusable', 'root.key'],
    ['a root key that is empty', 'root.key', '', 'state.unusable', 'root.key'],
    [
      'a database that is none',
      'postern.db',
      'not a database, but long enough to have a header of one\n'.repeat(50),
      'storage.unusable',
      'postern.db',
    ],
  ])('for %s', async (_, file, text, code, named) => {
    place.write(`state/${file}`, text)
    const ran = await postern(place, ['--port', '0', '--state', 'state'])
    expect({ code: ran.code, out: ran.out }).toEqual({ code: 1, out: '' })
    expect(errorOf(ran)).toMatchObject({ code, message: expect.stringContaining(named) as unknown })
    expect(ran.err).not.toContain('should not happen')
  })

  it('for a database that is a directory', async () => {
    mkdirSync(join(place.path, 'state', 'postern.db'), { recursive: true })
    const ran = await postern(place, ['--port', '0', '--state', 'state'])
    expect([ran.code, errorOf(ran)['code']]).toEqual([1, 'storage.unusable'])
  })

  it('for an address that this computer does not have', async () => {
    writeFileSync(
      join(place.path, 'config.yaml'),
      'host: 192.0.2.1\nissuer: https://mcp.example.com\nlocal_users: [{ username: ana, password: correct horse battery }]\n',
    )
    const ran = await postern(place, ['--port', '0', '--state', 'state'])
    expect([ran.code, errorOf(ran)['code']]).toEqual([1, 'host.unknown'])
  })
})
