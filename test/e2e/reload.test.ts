// The configuration file changes while the gateway runs: what is right takes effect, what is wrong leaves
// everything as it was.
import { type ChildProcess, spawn } from 'node:child_process'
import { rename } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { compileCache, commandLine } from '../runtimes/process.ts'
import { call, until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { createPlace, type Place } from './cli-process.ts'

interface Line {
  readonly event: string
  readonly message?: string
  readonly keys?: readonly string[]
  readonly added?: readonly string[]
  readonly removed?: readonly string[]
}

let place: Place
let upstream: Upstream
let child: ChildProcess
let origin: string
const lines: Line[] = []

const write = (services: Readonly<Record<string, string>>, more = ''): string =>
  place.write(
    'postern.yaml',
    `${more}mcp_services:\n${Object.entries(services)
      .map(
        ([id, path]) => `  ${id}: { url: "${new URL(upstream.url).origin}${path}", auth_required: false }\n`,
      )
      .join('')}`,
  )

const post = async (path: string): Promise<number> =>
  (
    await fetch(`${origin}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify(call()),
    })
  ).status

const told = async (event: string, since: number): Promise<Line> => {
  await until(() => lines.slice(since).some((line) => line.event === event), event)
  return lines.slice(since).find((line) => line.event === event) as Line
}

beforeAll(async () => {
  place = createPlace()
  upstream = await openUpstream((request, response, body) => {
    if (request.method === 'GET')
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n')
    else response.writeHead(200, { 'content-type': 'application/json' }).end(body)
  })
  write({ one: '/one', two: '/two' })
  child = spawn(process.execPath, [commandLine, '--port', '0', '--state', 'state'], {
    cwd: place.path,
    env: { PATH: process.env['PATH'], HOME: place.home, ...compileCache },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (text) =>
    lines.push(JSON.parse(text) as Line),
  )
  await until(() => lines.length > 0, 'the gateway', 30_000)
  origin = (lines[0] as unknown as { url: string }).url
}, 120_000)
afterAll(async () => {
  await new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
  await upstream.close()
  place.remove()
})

it('keeps the old one when the new one is wrong, and says what is wrong with it [H-U10]', async () => {
  const since = lines.length
  place.write('postern.yaml', 'mcp_services:\n  one: { ulr: "http://127.0.0.1:1/mcp" }\n')
  child.kill('SIGHUP')
  expect((await told('config.refused', since)).message).toContain(
    'is not a known setting; did you mean "url"?',
  )
  expect(await post('/one/mcp')).toBe(200)
  expect(await post('/two/mcp')).toBe(200)
})

it('adds, removes and moves services, ends the streams of those that are gone, and restarts nothing [H-U10]', async () => {
  const since = lines.length
  const [kept, gone] = await Promise.all(
    ['one', 'two'].map((id) => fetch(`${origin}/${id}/mcp`, { headers: { accept: 'text/event-stream' } })),
  )
  let ended = false
  let keptEnded = false
  gone?.text().then(
    () => (ended = true),
    () => (ended = true),
  )
  // Of whatever transport they are, and at whichever address.
  let others = 0
  const stream = await fetch(`${origin}/two/sse`, { headers: { accept: 'text/event-stream' } })
  stream.text().then(
    () => others++,
    () => others++,
  )
  const sockets = ['/one/ws', '/two/ws'].map(
    (path) => new WebSocket(`${origin.replace('http', 'ws')}${path}`, ['mcp']),
  )
  await Promise.all(sockets.map((socket) => new Promise((resolve) => void socket.once('open', resolve))))
  sockets[1]?.on('close', () => others++)
  const leaving = kept?.body?.getReader()
  void leaving?.closed.then(
    () => (keptEnded = true),
    () => (keptEnded = true),
  )
  write(
    { one: '/one', three: '/three' },
    'base_domain: gw.localhost\nlog_level: debug\naccess_token_lifetime: 600\n',
  )
  // The change itself is enough: nobody sends a signal.
  const reloaded = await told('config.reloaded', since)
  expect(reloaded.keys?.toSorted()).toEqual(['base_domain', 'mcp_services'])
  expect(reloaded).toMatchObject({ added: ['three'], removed: ['two'] })
  expect((await told('config.needs-restart', since)).keys?.toSorted()).toEqual([
    'access_token_lifetime',
    'log_level',
  ])
  expect([await post('/one/mcp'), await post('/two/mcp'), await post('/three/mcp')]).toEqual([200, 404, 200])
  await until(() => ended && others === 2, 'the streams and the socket of the removed service to end')
  expect([keptEnded, sockets[0]?.readyState]).toEqual([false, WebSocket.OPEN])
  sockets[0]?.close()
  await leaving?.cancel()
}, 120_000)

it('keeps the old one when two servers would be at one encoded host, and takes the new one when an alias sets them apart', async () => {
  const jira = (more = '') => `{ url: "https://mcp.atlassian.com/v1/mcp", auth_required: false${more} }`
  const text = (more = '') =>
    `domain_root: gw.localhost\nmcp_services:\n  three: { url: "${new URL(upstream.url).origin}/three", auth_required: false }\n  office: ${jira()}\n  home: ${jira(more)}\n`
  let since = lines.length
  place.write('postern.yaml', text())
  child.kill('SIGHUP')
  expect((await told('config.refused', since)).message).toContain(
    'conflicts with "office": both would be served at',
  )
  expect(await post('/office/mcp')).toBe(404)
  since = lines.length
  place.write('postern.yaml', text(', alias: home'))
  child.kill('SIGHUP')
  expect((await told('config.reloaded', since)).keys?.toSorted()).toEqual([
    'base_domain',
    'domain_root',
    'mcp_services',
  ])
  const encoded = (await (await fetch(`${origin}/encode?domain=mcp.atlassian.com`)).json()) as {
    registered: boolean
  }
  expect(encoded.registered).toBe(true)
}, 120_000)

it('holds changed access rules against the next message, and ends the streams of those alone whom they shut out', async () => {
  const refusal = async (): Promise<string | null> => {
    const response = await fetch(`${origin}/three/mcp`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
      body: JSON.stringify(call()),
    })
    return /"code":"(policy[^"]*)"/.exec(await response.text())?.[1] ?? null
  }
  const file = (more: string, access: string): string =>
    place.write(
      'postern.yaml',
      `${more}mcp_services:\n  three: { url: "${new URL(upstream.url).origin}/three", auth_required: false${access} }\n`,
    )
  const socket = new WebSocket(`${origin.replace('http', 'ws')}/three/ws`, ['mcp'])
  await new Promise((resolve) => void socket.once('open', resolve))
  let closed: number | undefined
  socket.on('close', (code) => void (closed = code))
  const refusals: (string | null)[] = [await refusal()]
  for (const [more, access] of [
    ['', ', access: { anonymous: true, permissions: [admin], unlisted: allow }'],
    ['', ', access: { anonymous: true, deny: [{ tools: ["*"] }], unlisted: allow }'],
    ['access: { default: none }\n', ''],
  ] as const) {
    const since = lines.length
    expect(closed).toBeUndefined()
    file(more, access)
    child.kill('SIGHUP')
    await told('config.reloaded', since)
    refusals.push(await refusal())
  }
  expect(refusals).toEqual([null, null, 'policy.denied', 'policy.service'])
  // Whoever may do nothing at the service any more does not listen to it either.
  await until(() => closed !== undefined, 'the socket to end')
  expect(closed).toBe(4401)
  const since = lines.length
  file('', '')
  child.kill('SIGHUP')
  await told('config.reloaded', since)
  expect(await refusal()).toBe(null)
}, 120_000)

it('stays as it was when the file disappears', async () => {
  const since = lines.length
  await rename(`${place.path}/postern.yaml`, `${place.path}/away`)
  child.kill('SIGHUP')
  expect((await told('config.refused', since)).message).toContain(
    'postern.yaml was not found; keeping the current configuration',
  )
  expect(await post('/three/mcp')).toBe(200)
})
