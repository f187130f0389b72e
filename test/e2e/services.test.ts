// A service added and removed from the command line while the gateway runs as another process.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { call, until } from '../houses/proxied.ts'
import { openUpstream, type Upstream } from '../houses/upstream.ts'
import { createPlace, errorOf, type Place, postern } from './cli-process.ts'

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

let place: Place
let upstream: Upstream
let origin: string
let stop: () => Promise<void>

const answers: Readonly<Record<string, unknown>> = {
  initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'calc', version: '2.0' } },
  'tools/list': { tools: [{ name: 'add' }, { name: 'wipe', annotations: { destructiveHint: true } }] },
}

const post = async (path: string): Promise<number> =>
  (await fetch(`${origin}${path}`, { method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }, body: JSON.stringify(call()) })).status

beforeAll(async () => {
  place = createPlace()
  upstream = await openUpstream((request, response, body) => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n')
      return
    }
    const { id, method = '' } = (body === '' ? {} : JSON.parse(body)) as { id?: unknown; method?: string }
    if (id === undefined) response.writeHead(202).end()
    else response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result: answers[method] ?? {} }))
  })
  const child = spawn(process.execPath, [main, '--port', '0', '--state', 'state'], { cwd: place.path, env: { PATH: process.env['PATH'], HOME: place.home }, stdio: ['ignore', 'pipe', 'ignore'] })
  const [line] = await new Promise<string[]>((resolve) => createInterface({ input: child.stdout }).once('line', (text) => resolve([text])))
  origin = (JSON.parse(line ?? '{}') as { url: string }).url
  stop = () =>
    new Promise((resolve) => {
      child.once('exit', () => resolve())
      child.kill('SIGTERM')
    })
}, 60_000)
afterAll(async () => {
  await stop()
  await upstream.close()
  place.remove()
})

const services = (...args: string[]) => postern(place, ['services', ...args, '--state', 'state', '--json'])

it('is looked at step by step, served within a second in the other process, listed, and gone with its open streams within five', async () => {
  expect(await post('/calc/mcp')).toBe(404)
  const added = await services('add', 'calc', upstream.url, '--public', '--name', 'Calculator')
  expect([added.code, added.err]).toEqual([0, ''])
  const { steps } = JSON.parse(added.out) as { steps: { step: string; result: string; say: string }[] }
  expect(steps.map(({ step, result }) => `${step} ${result}`)).toEqual(['reachable yes', 'mcp yes', 'authorization no', 'tools yes'])
  expect(steps.at(-1)?.say).toBe('2 tools found, 1 destructive: add, wipe.')
  const since = performance.now()
  while ((await post('/calc/mcp')) !== 200) expect(performance.now() - since).toBeLessThan(1000)
  expect(JSON.parse((await services('ls')).out)).toMatchObject({ services: [{ id: 'calc', name: 'Calculator', url: upstream.url, from: 'registered', addedBy: 'cli' }] })
  expect(errorOf(await services('add', 'calc', upstream.url))).toMatchObject({ code: 'service.taken' })

  const stream = await fetch(`${origin}/calc/mcp`, { headers: { accept: 'text/event-stream' } })
  let ended = false
  const reading = stream.text().then(() => (ended = true), () => (ended = true))
  expect((await services('rm', 'calc')).code).toBe(0)
  await until(() => ended, 'the stream to end')
  await reading
  expect(await post('/calc/mcp')).toBe(404)
  expect(errorOf(await services('rm', 'calc'))).toMatchObject({ code: 'service.unknown' })
}, 60_000)

it('is not kept when nothing answers, when the configuration would refuse it, or when it belongs to the configuration', async () => {
  expect(errorOf(await services('add', 'nobody', 'http://127.0.0.1:9/mcp'))).toMatchObject({ code: 'service.unusable' })
  expect(errorOf(await services('add', 'oauth', upstream.url))).toMatchObject({ code: 'service.invalid' })
  expect(JSON.parse((await services('ls')).out)).toEqual({ services: [] })
  place.write('written.yaml', `mcp_services:\n  fixed: { url: "${upstream.url}", auth_required: false }\n`)
  const removed = await postern(place, ['services', 'rm', 'fixed', '--state', 'state', '--json', '--config', 'written.yaml'])
  expect(errorOf(removed)).toMatchObject({ code: 'service.configured' })
}, 60_000)
