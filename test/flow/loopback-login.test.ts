// `postern login` on a computer with a browser: its answer comes to a loopback address, or is pasted.
import { PassThrough } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { type Surroundings, hasBrowser } from '../../src/cli/login-loopback.ts'
import { login } from '../../src/cli/login.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { allow } from '../runtimes/login.ts'
import { ana, callerOf } from '../runtimes/people.ts'
import { type Told, listen } from '../runtimes/printed.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, openOnSocket } from '../runtimes/runtimes.ts'

let upstream: RuledUpstream
let gateway: RuntimeGateway
let service: string
let told: Told
beforeAll(async () => {
  upstream = await openRuledUpstream()
  gateway = await openOnSocket({
    upstream: upstream.url,
    config: { local_users: [ana], device: { clients: ['postern-cli'] } },
  })
  service = `${gateway.origin}/echo/mcp`
})
afterAll(async () => {
  await gateway.close()
  await upstream.close()
})
beforeEach(() => void (told = listen()))
afterEach(() => void vi.restoreAllMocks())

/** A computer with a display; `arrive` gets the address to which the gateway sent the browser. */
const desk = (
  arrive: (back: URL) => Promise<void>,
  { decision = 'allow', input }: { readonly decision?: string; readonly input?: PassThrough } = {},
) => {
  const visits: Promise<void>[] = []
  const surroundings: Surroundings = {
    env: { DISPLAY: ':0' },
    platform: 'linux',
    ...(input && { input }),
    open: (url) =>
      void visits.push(
        allow(createBrowser(gateway.fetch, gateway.origin), url, ana, { decision }).then(arrive),
      ),
  }
  return { surroundings, visited: () => Promise.all(visits) }
}
const follow = async (url: URL | string) => {
  const response = await fetch(url, { redirect: 'manual' })
  return [response.status, /<h1>(.*?)<\/h1>/.exec(await response.text())?.[1]]
}

it('signs in through the browser and prints the token alone on standard output', async () => {
  const { surroundings, visited } = desk(async (back) =>
    expect(await follow(back)).toEqual([200, 'Back to the terminal']),
  )
  await login(service, {}, undefined, surroundings)
  await visited()
  const token = told('out').trim()
  expect(told('out')).toBe(`${token}\n`)
  const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' }
  expect((await callerOf(gateway, service, token).post(list)).status).toBe(200)
  expect(told('err')).toContain(`${gateway.origin}/oauth/authorize?`)
})

it('waits on for its own answer, whatever else comes to its address', async () => {
  const { surroundings, visited } = desk(async (back) => {
    const changed = (change: (params: URLSearchParams) => void, path = back.pathname): URL => {
      const url = new URL(back)
      url.pathname = path
      change(url.searchParams)
      return url
    }
    const others = [
      changed((params) => params.set('state', 'another')),
      changed((params) => params.delete('state')),
      changed((params) => params.append('state', 'another')),
      changed((params) => params.set('iss', 'https://evil.example')),
      changed((params) => params.delete('iss')),
      changed((params) => params.append('iss', 'https://evil.example')),
      changed((params) => params.append('code', 'another')),
      changed((params) => params.delete('code')),
    ]
    for (const other of others)
      expect([other.search, await follow(other)]).toEqual([other.search, [400, 'Not this login']])
    expect(await follow(changed(() => undefined, '/elsewhere'))).toEqual([404, 'Not found'])
    expect(await follow(back.href.replace('127.0.0.1', 'localhost'))).toEqual([404, 'Not found'])
    expect((await fetch(back, { method: 'POST' })).status).toBe(404)
    expect(told('out')).toBe('')
    expect(await follow(back)).toEqual([200, 'Back to the terminal'])
  })
  await login(service, {}, undefined, surroundings)
  await visited()
  expect(told('out')).toMatch(/^eyJ\S+\n$/)
})

it('takes the address that is pasted, and says when it is another one', async () => {
  const input = new PassThrough()
  const { surroundings, visited } = desk(
    async (back) => {
      const other = new URL(back)
      other.searchParams.set('state', 'another')
      input.write(`${other.href}\nno address\n`)
      await expect.poll(() => told('err').split('Paste the whole address').length).toBe(3)
      input.write(`  ${back.href}\n`)
    },
    { input },
  )
  await login(service, {}, undefined, surroundings)
  await visited()
  expect(told('out')).toMatch(/^eyJ\S+\n$/)
})

it('says that the user denied it', async () => {
  const { surroundings, visited } = desk(async (back) => void (await follow(back)), { decision: 'deny' })
  await expect(login(service, {}, undefined, surroundings)).rejects.toThrow('Access was denied.')
  await visited()
  expect(told('out')).toBe('')
})

it('is at hand where there is a display, and nobody who sits at another computer', () => {
  const at = (env: Record<string, string>, platform: NodeJS.Platform = 'linux') =>
    hasBrowser({ env, platform, open: () => undefined })
  expect([
    at({ DISPLAY: ':0' }),
    at({ WAYLAND_DISPLAY: 'wayland-0' }),
    at({}, 'darwin'),
    at({}, 'win32'),
    at({}),
    at({ DISPLAY: ':0', SSH_CONNECTION: '192.0.2.1 1 192.0.2.2 22' }),
    at({ SSH_TTY: '/dev/pts/0' }, 'darwin'),
  ]).toEqual([true, true, true, true, false, false, false])
})
