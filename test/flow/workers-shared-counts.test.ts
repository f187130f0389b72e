// What is counted over the isolates of a Worker and over the lives of its objects: passwords, and calls; and
// how many passwords one isolate checks at a time.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createBrowser, type Page } from '../runtimes/browser.ts'
import { person } from '../runtimes/login.ts'
import { openUpstream } from '../runtimes/upstream.ts'
import { startWorkerd, type Workerd } from '../runtimes/workerd.ts'

const config = {
  session_secret: 'q3Vt8Zx1Lw6Bn4Rk9Yp2Hs7Dg5Fj0Cm_eU',
  local_users: [person],
  mcp_services: { echo: { url: 'https://echo.example/mcp' } },
}
const withCalls = (url: string) => ({
  ...config,
  mcp_services: { open: { url, auth_required: false, rate_limits: [{ calls: 20, within: '1h' }] } },
})
let disk: string
let workerd: Workerd
const start = async (what: object = config): Promise<void> => {
  workerd = await startWorkerd({ vars: { POSTERN_CONFIG: what }, disk, twin: true })
}
beforeEach(async () => {
  disk = mkdtempSync(join(tmpdir(), 'postern-counts-'))
  await start()
})
afterEach(async () => {
  await workerd.close('SIGTERM')
  rmSync(disk, { recursive: true, force: true })
})

type Isolate = 'origin' | 'twin'

/** A new browser at an address, in front of the login page of one of the two isolates. */
const visitor = async (isolate: Isolate, ip: string): Promise<(password: string) => Promise<Page>> => {
  const origin = workerd[isolate]
  const from = (url: string, init: RequestInit = {}) =>
    fetch(url, {
      redirect: 'manual',
      ...init,
      headers: { ...Object.fromEntries(new Headers(init.headers)), 'cf-connecting-ip': ip },
    })
  const browser = createBrowser(from, origin)
  const page = await browser.go('/login')
  return (password) => browser.submit(page, '/login', { username: person.username, password })
}
const guess = async (isolate: Isolate, ip: string, password = 'wrong'): Promise<number> =>
  (await (await visitor(isolate, ip))(password)).status

describe('a count against guessing', () => {
  it('goes on in another isolate, and in the next life of everything [H-P5]', async () => {
    for (let i = 0; i < 10; i++)
      expect([i, await guess(i % 2 === 0 ? 'origin' : 'twin', '192.0.2.1')]).toEqual([i, 401])
    for (const isolate of ['origin', 'twin'] as const)
      expect([isolate, await guess(isolate, '192.0.2.1', person.password)]).toEqual([isolate, 429])
    expect(await guess('twin', '192.0.2.2')).toBe(401)
    await workerd.close('SIGTERM')
    await start()
    for (const isolate of ['twin', 'origin'] as const)
      expect([isolate, await guess(isolate, '192.0.2.1', person.password)]).toEqual([isolate, 429])
  }, 60_000)

  it('for one account is over all addresses and isolates, and a right password is no guess', async () => {
    for (let i = 0; i < 12; i++)
      expect((await (await visitor('origin', '198.51.100.1'))(person.password)).url).toBe(
        `${workerd.origin}/`,
      )
    for (let i = 0; i < 20; i++)
      expect([i, await guess(i % 2 === 0 ? 'origin' : 'twin', `192.0.2.${i}`)]).toEqual([i, 401])
    for (const isolate of ['origin', 'twin'] as const)
      expect([isolate, await guess(isolate, `203.0.113.${isolate.length}`, person.password)]).toEqual([
        isolate,
        429,
      ])
  }, 60_000)
})

describe('a rate limit of calls', () => {
  it('holds over all isolates, and goes on in the next life of everything [H-R8]', async () => {
    const upstream = await openUpstream()
    await workerd.close('SIGTERM')
    await start(withCalls(upstream.url))
    const call = async (isolate: Isolate, ip: string): Promise<number> => {
      const response = await fetch(`${workerd[isolate]}/open/mcp`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          'cf-connecting-ip': ip,
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }),
      })
      await response.text()
      return response.status
    }
    const statuses: number[] = []
    for (let i = 0; i < 24; i++)
      statuses.push(await call(i % 2 === 0 ? 'origin' : 'twin', `2001:db8:1:2::${i}`))
    expect(statuses).toEqual([...Array<number>(20).fill(200), 429, 429, 429, 429])
    expect(await call('twin', '192.0.2.1')).toBe(200)
    await workerd.close('SIGTERM')
    await start(withCalls(upstream.url))
    expect([await call('origin', '2001:db8:1:2::1'), await call('twin', '192.0.2.1')]).toEqual([429, 200])
    await upstream.close()
  }, 60_000)
})

describe('a crowd with wrong passwords', () => {
  it('has few of them checked and is told to come again, and everybody else is answered meanwhile [H-P5]', async () => {
    const crowd = await Promise.all(Array.from({ length: 60 }, (_, i) => visitor('origin', `192.0.2.${i}`)))
    /** How many others had been answered when each check was over. */
    const answeredBefore: number[] = []
    const times: number[] = []
    const guesses = crowd.map(async (visit) => {
      const page = await visit('wrong')
      if (page.status === 401) answeredBefore.push(times.length)
      return [page.status, page.headers.get('retry-after'), /<h1[^>]*>([^<]*)</.exec(page.body)?.[1]]
    })
    const over = Promise.all(guesses).then(() => true)
    while (
      !(await Promise.race([
        over,
        fetch(`${workerd.origin}/.well-known/oauth-authorization-server`).then(timed(times)),
      ]))
    );
    const told = await Promise.all(guesses)
    const checked = answeredBefore.length
    const refused = told.filter(([status]) => status === 503)
    // Those who waited at most a second, one each quarter of it.
    expect(checked).toBeGreaterThanOrEqual(2)
    expect(checked).toBeLessThanOrEqual(12)
    expect(refused).toHaveLength(60 - checked)
    for (const each of refused)
      expect(each).toEqual([503, expect.stringMatching(/^[12]$/), 'Too many sign-in attempts at once'])
    expect(answeredBefore.at(-1)).toBeGreaterThan(answeredBefore[0] as number)
    const failed = () => workerd.lines.filter((line) => line.includes('"event":"sign-in.failed"'))
    await expect.poll(failed).toHaveLength(checked)
  }, 60_000)
})

function timed(times: number[]): (answer: Response) => Promise<false> {
  const from = performance.now()
  return async (answer) => {
    await answer.text()
    times.push(performance.now() - from)
    return false
  }
}
