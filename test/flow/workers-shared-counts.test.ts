// What is counted against guessing, over the isolates of a Worker and over the lives of its objects; and how
// many passwords one isolate checks at a time.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createBrowser, type Page } from '../runtimes/browser.ts'
import { person } from '../runtimes/login.ts'
import { startWorkerd, type Workerd } from '../runtimes/workerd.ts'

const config = {
  session_secret: 'q3Vt8Zx1Lw6Bn4Rk9Yp2Hs7Dg5Fj0Cm_eU',
  local_users: [person],
  mcp_services: { echo: { url: 'https://echo.example/mcp' } },
}
let disk: string
let workerd: Workerd
const start = async (): Promise<void> => {
  workerd = await startWorkerd({ vars: { POSTERN_CONFIG: config }, disk, twin: true })
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
    expect(workerd.lines.filter((line) => line.includes('"event":"sign-in.failed"'))).toHaveLength(checked)
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
