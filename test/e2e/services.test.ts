// Services that are added and removed from the command line while the gateway runs as two other processes on
// one state directory.
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { openLegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { compileCache, commandLine } from '../runtimes/process.ts'
import { call, holdsAfter, until } from '../runtimes/proxied.ts'
import { openSocketUpstream } from '../runtimes/socket-upstream.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { serverScript } from '../stdio/world.ts'
import { createPlace, errorOf, type Place, postern } from './cli-process.ts'

interface Running {
  readonly origin: string
  /** Signs the built-in person in. */
  readonly link: string
  stop(): Promise<void>
}

let place: Place
let upstream: Upstream
let gateways: readonly Running[]

const answers: Readonly<Record<string, unknown>> = {
  initialize: {
    protocolVersion: '2025-11-25',
    capabilities: { tools: {} },
    serverInfo: { name: 'calc', version: '2.0' },
  },
  'tools/list': { tools: [{ name: 'add' }, { name: 'wipe', annotations: { destructiveHint: true } }] },
}

const post = async (origin: string, path: string): Promise<number> =>
  (
    await fetch(`${origin}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify(call()),
    })
  ).status

const start = async (): Promise<Running> => {
  const child = spawn(
    process.execPath,
    [commandLine, '--port', '0', '--state', 'state', '--print-sign-in-link'],
    {
      cwd: place.path,
      env: { PATH: process.env['PATH'], HOME: place.home, ...compileCache },
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  const line = await new Promise<string>((resolve) =>
    createInterface({ input: child.stdout }).once('line', resolve),
  )
  const { url: origin, sign_in_link: link } = JSON.parse(line) as { url: string; sign_in_link: string }
  return {
    origin,
    link,
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve())
        child.kill('SIGINT')
      }),
  }
}

/** Every process answers so from a second on. */
const everywhere = async (path: string, status: number): Promise<void> => {
  await Promise.all(
    gateways.map(({ origin }) =>
      holdsAfter(1000, async () => (await post(origin, path)) === status, `${status} at ${path}`),
    ),
  )
}

beforeAll(async () => {
  place = createPlace()
  upstream = await openUpstream((request, response, body) => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n')
      return
    }
    const { id, method = '' } = (body === '' ? {} : JSON.parse(body)) as { id?: unknown; method?: string }
    if (id === undefined) response.writeHead(202).end()
    else
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ jsonrpc: '2.0', id, result: answers[method] ?? {} }))
  })
  gateways = [await start(), await start()]
}, 120_000)
afterAll(async () => {
  await Promise.all(gateways.map(({ stop }) => stop()))
  await upstream.close()
  place.remove()
})

/** Of a listing: what was added; the demo that runs is listed, too. */
const registered = (out: string): readonly unknown[] =>
  (JSON.parse(out) as { services: { from: string }[] }).services.filter(({ from }) => from === 'registered')

const services = (...args: string[]) => postern(place, ['services', ...args, '--state', 'state', '--json'])

it('is looked at step by step, served within a second in both processes, listed, and gone with its open streams within five', async () => {
  for (const { origin } of gateways) expect(await post(origin, '/calc/mcp')).toBe(404)
  const added = await services('add', 'calc', upstream.url, '--public', '--name', 'Calculator')
  expect([added.code, added.err]).toEqual([0, ''])
  const { steps, url } = JSON.parse(added.out) as {
    url: string
    steps: { step: string; result: string; say: string }[]
  }
  expect(steps.map(({ step, result }) => `${step} ${result}`)).toEqual([
    'reachable yes',
    'mcp yes',
    'authorization no',
    'tools yes',
  ])
  expect(steps.at(-1)?.say).toBe('2 tools found, 1 destructive: add, wipe.')
  // Where it is really served: nobody else knows a free port.
  expect(url).toBe(`${gateways[1]?.origin}/calc/mcp`)
  await everywhere('/calc/mcp', 200)
  expect(registered((await services('ls')).out)).toMatchObject([
    {
      id: 'calc',
      name: 'Calculator',
      url: upstream.url,
      from: 'registered',
      addedBy: 'cli',
      network: 'anywhere',
    },
  ])
  expect(errorOf(await services('add', 'calc', upstream.url))).toMatchObject({ code: 'service.taken' })

  const streams = await Promise.all(
    gateways.map(({ origin }) => fetch(`${origin}/calc/mcp`, { headers: { accept: 'text/event-stream' } })),
  )
  let ended = 0
  for (const stream of streams)
    stream.text().then(
      () => ended++,
      () => ended++,
    )
  expect((await services('rm', 'calc')).code).toBe(0)
  await until(() => ended === 2, 'both streams to end')
  for (const { origin } of gateways) expect(await post(origin, '/calc/mcp')).toBe(404)
  expect(errorOf(await services('rm', 'calc'))).toMatchObject({ code: 'service.unknown' })
}, 120_000)

it('may be a command on this computer: started, asked, listed without its arguments, served', async () => {
  const added = await postern(place, [
    'services',
    'add',
    'local',
    '--state',
    'state',
    '--',
    process.execPath,
    serverScript,
    '--token=secret',
  ])
  expect([added.code, added.out.split('\n').map((line) => line.replace(/[^ -~]/g, '?'))]).toEqual([
    0,
    [
      '? Server is reachable.',
      expect.stringMatching(/^\? Speaks MCP 20/),
      '? No upstream auth; protected only by this gateway.',
      expect.stringMatching(/^\? \d+ tools? found/),
      `? local is now served at ${gateways[1]?.origin}/local/mcp`,
      '',
    ],
  ])
  const listed = await services('ls')
  expect(registered(listed.out)).toMatchObject([
    { id: 'local', command: process.execPath, from: 'registered' },
  ])
  expect(listed.out).not.toContain('secret')
  await everywhere('/local/mcp', 401)
  expect(
    errorOf(await services('add', 'broken', '--', process.execPath, '--eval', 'process.exit(3)')),
  ).toMatchObject({
    code: 'service.unusable',
    message: expect.stringMatching(
      /^The MCP server exited with code .*The service was not added; --force adds it anyway\.$/,
    ),
  })
  expect((await services('rm', 'local')).code).toBe(0)
}, 120_000)

it('is examined by the doctor, as is every service that runs, and clients are connected to it', async () => {
  await services('add', 'seen', upstream.url)
  const { code, out } = await postern(place, ['doctor', '--state', 'state', '--json'])
  const { ok, self, targets } = JSON.parse(out) as {
    ok: boolean
    self: { result: string }
    targets: { url: string; steps: { step: string; result: string }[] }[]
  }
  expect({ code, ok, self: self.result }).toEqual({ code: 0, ok: true, self: 'pass' })
  const seen = targets.find(({ url }) => url.endsWith('/seen/mcp'))
  expect(seen?.url).toBe(`${gateways[1]?.origin}/seen/mcp`)
  expect(targets.some(({ url }) => url.endsWith('/demo/mcp'))).toBe(true)
  // The first has every step; the others have the same authorization server.
  expect(Object.fromEntries(targets[0]?.steps.map(({ step, result }) => [step, result]) ?? [])).toEqual({
    reachable: 'warn',
    challenge: 'pass',
    resource: 'pass',
    server: 'pass',
    registration: 'pass',
    authorize: 'pass',
    token: 'pass',
    browser: 'pass',
    call: 'skip',
  })
  const url = `${gateways[1]?.origin}/seen/mcp`
  const connect = (...args: string[]) => postern(place, ['connect', ...args, '--state', 'state'])
  expect(errorOf(await connect('cursor'))).toMatchObject({ code: 'usage' })
  expect((await connect('claude-code', '--service', 'seen')).out).toBe(
    `Claude Code → ${url}\n  claude mcp add --transport http seen ${url}\n1. Run the command, then type /mcp inside Claude Code and choose Authenticate.\n`,
  )
  const file = join(place.home, '.cursor/mcp.json')
  expect(errorOf(await connect('cursor', '--service', 'seen', '--write'))).toMatchObject({
    message: `Add seen to ${file}? Confirm with --yes.`,
  })
  expect((await connect('cursor', '--service', 'seen', '--write', '--yes')).out).toBe(
    `Added seen to ${file}. Restart Cursor to use it.\n`,
  )
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ mcpServers: { seen: { url } } })
  await services('rm', 'seen')
}, 120_000)

it('may speak HTTP+SSE or WebSockets, and is found out either way', async () => {
  const [legacy, sockets] = [await openLegacyUpstream(), await openSocketUpstream()]
  const stepsOf = async (id: string, url: string) =>
    (
      JSON.parse((await services('add', id, url, '--public')).out) as {
        steps: { step: string; result: string; say: string }[]
      }
    ).steps.map(({ step, result, say }) => `${step} ${result}: ${say}`)
  expect(await stepsOf('old', legacy.url)).toEqual([
    'reachable yes: Server is reachable (status 405).',
    'mcp yes: Speaks MCP 2024-11-05 (HTTP+SSE).',
    'authorization no: No upstream auth; protected only by this gateway.',
    'tools unknown: Tools are listed when a client connects.',
  ])
  expect((await stepsOf('socket', sockets.url)).slice(0, 3)).toEqual([
    'reachable yes: Server is reachable.',
    'mcp yes: Speaks MCP 2025-11-25: s 1 over WebSocket.',
    'authorization no: No upstream auth; protected only by this gateway.',
  ])
  // Known everywhere: a call without a session is told so, by the server itself while nobody has found out
  // which kind it is.
  for (const [id, status] of [
    ['old', 405],
    ['socket', 400],
  ] as const)
    await everywhere(`/${id}/mcp`, status)
  const initialize = {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
  }
  for (const id of ['old', 'socket']) {
    const answer = await fetch(`${gateways[0]?.origin}/${id}/mcp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify(initialize),
    })
    expect([id, answer.status, await answer.text()]).toEqual([
      id,
      200,
      expect.stringContaining('"serverInfo"'),
    ])
    expect((await services('rm', id)).code).toBe(0)
  }
  await Promise.all([legacy.close(), sockets.close()])
}, 120_000)

it('is not kept when nothing answers, when the configuration would refuse it, or when it belongs to the configuration', async () => {
  expect(errorOf(await services('add', 'nobody', 'http://127.0.0.1:9/mcp'))).toMatchObject({
    code: 'service.unusable',
  })
  expect(errorOf(await services('add', 'oauth', upstream.url))).toMatchObject({ code: 'service.invalid' })
  expect(errorOf(await services('add', 'itself', `${gateways[1]?.origin}/demo/mcp`))).toMatchObject({
    code: 'service.invalid',
    message: expect.stringContaining('points back to this gateway, so calls would loop'),
  })
  expect(errorOf(await services('add', 'two', upstream.url, upstream.url))).toMatchObject({ code: 'usage' })
  expect(registered((await services('ls')).out)).toEqual([])
  place.write(
    'written.yaml',
    `domain_root: example.com\nmcp_services:\n  fixed: { url: "${upstream.url}", auth_required: false, alias: fix }\n`,
  )
  const written = ['--config', 'written.yaml', '--state', 'state', '--json']
  expect(errorOf(await postern(place, ['services', 'rm', 'fixed', ...written]))).toMatchObject({
    code: 'service.configured',
  })
  expect(
    errorOf(await postern(place, ['services', 'add', 'again', upstream.url, '--alias', 'fix', ...written])),
  ).toMatchObject({
    code: 'service.invalid',
    message: expect.stringContaining('is already the alias of "fixed"'),
  })
}, 120_000)

it('is added over HTTP by the built-in person of a gateway without people of its own', async () => {
  const [, { origin, link }] = gateways as [Running, Running]
  const browser = createBrowser((url, init) => fetch(url, { redirect: 'manual', ...init }), origin)
  const listed = () => browser.go(`${origin}/api/services`, { headers: { accept: 'application/json' } })
  expect((await listed()).status).toBe(401)
  const home = await browser.go(link)
  expect([(await listed()).status, JSON.parse((await listed()).body)]).toEqual([200, { services: [] }])
  const csrf = /name="csrf" value="([^"]+)"/.exec(home.body)?.[1] ?? ''
  const added = await browser.go(`${origin}/api/services`, {
    method: 'POST',
    headers: { origin, 'content-type': 'application/json', 'x-csrf-token': csrf },
    body: JSON.stringify({ id: 'inner', service: { url: upstream.url } }),
  })
  // What the command may, a browser may not: this server is on the gateway's own network.
  expect([added.status, JSON.parse(added.body)]).toMatchObject([
    422,
    {
      code: 'service.unusable',
      error_description: expect.stringContaining('Only public https URLs can be added here.'),
    },
  ])
}, 120_000)

it('is named by its path alone while no gateway runs whose port is chosen at the start', async () => {
  const other = ['--state', 'elsewhere', '--port', '0']
  expect((await postern(place, ['services', 'add', 'calc', upstream.url, ...other])).out).toContain(
    'calc is now served at /calc/mcp\n',
  )
  expect((await postern(place, ['services', 'show', 'calc', ...other.slice(0, 2)])).out).toContain(
    'http://localhost:8080/calc/mcp',
  )
  expect(errorOf(await postern(place, ['admin', 'link', ...other, '--json']))).toMatchObject({
    code: 'link.port',
  })
  expect((await postern(place, ['admin', 'link', '--state', 'state'])).out).toContain(
    `${gateways[1]?.origin}/?t=`,
  )
}, 120_000)
