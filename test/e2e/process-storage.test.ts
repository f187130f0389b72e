// The database of a running gateway locked, moved away and damaged: what is still answered, what is refused
// and how, and that everything goes on afterwards.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Browser, createBrowser, type Page } from '../runtimes/browser.ts'
import {
  allow,
  type Asking,
  authorizeUrl,
  type Client,
  logIn,
  person,
  redeem,
  refresh,
  register,
  type Tokens,
} from '../runtimes/login.ts'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let state: ReturnType<typeof temporaryState>
let upstream: Upstream
let gateway: PosternProcess
let client: Client
let tokens: Tokens
/** A code that was not redeemed yet, and a person in front of the question. */
let asking: Asking
let code: string
let browser: Browser
let question: Page

const begin = (port = 0) =>
  startProcess({
    config: { local_users: [person], mcp_services: { echo: { url: upstream.url } } },
    stateDir: state.dir,
    port,
  })
const portOf = ({ origin }: PosternProcess): number => Number(new URL(origin).port)
const database = (): string => join(state.dir, 'postern.db')

beforeEach(async () => {
  state = temporaryState()
  upstream = await openUpstream()
  gateway = await begin()
  ;({ client, tokens, browser } = await logIn(gateway))
  asking = authorizeUrl(gateway, client)
  code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
  question = await browser.go(authorizeUrl(gateway, client, { prompt: 'consent' }).url)
})
afterEach(async () => {
  await gateway.end('SIGKILL')
  await upstream.close()
  state.remove()
})

const timed = async <T>(work: Promise<T>): Promise<{ readonly value: T; readonly ms: number }> => {
  const before = performance.now()
  return { value: await work, ms: performance.now() - before }
}
const call = (held = tokens): Promise<Response> =>
  gateway.fetch(`${gateway.origin}/echo/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${held.access_token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  })

/**
 * What needs no storage goes on as if nothing had happened, and nobody waits for who waits for the storage.
 */
const alwaysAnswered = async (): Promise<void> => {
  const { origin, fetch } = gateway
  const asked = [
    [200, fetch(`${origin}/.well-known/oauth-authorization-server`)],
    [200, fetch(`${origin}/.well-known/oauth-protected-resource/echo/mcp`)],
    [200, fetch(`${origin}/oauth/jwks`)],
    [200, fetch(`${origin}/healthz`)],
    [401, fetch(`${origin}/echo/mcp`, { method: 'POST', body: '{}' })],
  ] as const
  const answers = await Promise.all(asked.map(([, answer]) => timed(answer)))
  expect(answers.map(({ value }) => value.status)).toEqual(asked.map(([status]) => status))
  // Whoever waits for the storage waits 800 ms.
  for (const { ms } of answers) expect(ms).toBeLessThan(750)
}

/**
 * Every writer of the token endpoint hears within a second that it may try again; official clients keep their
 * session then (RFC 6749 §5.2 knows no better word).
 */
const toldToTryAgain = async (shots: readonly Promise<Response>[]): Promise<void> => {
  for (const { value, ms } of await Promise.all(shots.map(timed))) {
    expect([value.status, value.headers.get('content-type'), value.headers.get('retry-after')]).toEqual([
      503,
      'application/json',
      '1',
    ])
    expect(((await value.json()) as { error: string }).error).toBe('temporarily_unavailable')
    expect(ms).toBeLessThan(1_500)
  }
}

const tokenRequests = () => [
  ...Array.from({ length: 10 }, () => refresh(gateway, client, tokens.refresh_token)),
  redeem(gateway, client, code, asking.verifier),
]

const readable = (page: Page): void => {
  expect(page.status).toBe(503)
  expect(page.headers.get('content-type')).toContain('text/html')
  expect(page.body).toMatch(/<h1[^>]*>[^<]+<\/h1>/)
  expect(page.body).toContain(page.headers.get('x-request-id'))
}

/** The code, the refresh token, the form and the access token of before are all still good. */
const goesOn = async (): Promise<void> => {
  expect((await redeem(gateway, client, code, asking.verifier)).status).toBe(200)
  expect((await refresh(gateway, client, tokens.refresh_token)).status).toBe(200)
  expect(
    new URL((await browser.submit(question, '/oauth/consent', { decision: 'allow' })).url).searchParams.has(
      'code',
    ),
  ).toBe(true)
  expect((await call()).status).toBe(200)
  expect((await gateway.fetch(`${gateway.origin}/readyz`)).status).toBe(200)
}

describe('a database', () => {
  it('that another process keeps locked holds up nobody who reads, and writers for less than a second [H-S13, H-A17]', async () => {
    const holder = new DatabaseSync(database())
    holder.exec('BEGIN IMMEDIATE')
    const writers = toldToTryAgain(tokenRequests())
    await alwaysAnswered()
    expect((await call()).status).toBe(200)
    await writers
    readable(await browser.submit(question, '/oauth/consent', { decision: 'allow' }))
    const elsewhere = createBrowser(gateway.fetch, gateway.origin)
    readable(await elsewhere.submit(await elsewhere.go('/login'), '/login', person))
    holder.exec('ROLLBACK')
    holder.close()
    await goesOn()
  })

  it.skipIf(process.platform === 'win32')(
    'that is moved away stops every operation and loses none: 503, never 401, and all is well when it is back [H-S2, H-S4, H-S13, H-J9, H-A17]',
    async () => {
      renameSync(database(), `${database()}.away`)
      const answers = [await call()]
      // For half a second the last answer about the grant counts.
      while (answers.at(-1)?.status === 200) answers.push(await call())
      expect([
        answers.at(-1)?.status,
        answers.at(-1)?.headers.get('retry-after'),
        await answers.at(-1)?.json(),
      ]).toEqual([503, '1', { jsonrpc: '2.0', id: null, error: expect.anything() as unknown }])
      await Promise.all([alwaysAnswered(), toldToTryAgain(tokenRequests())])
      for (const path of ['/readyz', '/health'])
        expect((await gateway.fetch(`${gateway.origin}${path}`)).status, path).toBe(503)
      readable(await browser.submit(question, '/oauth/consent', { decision: 'allow' }))
      readable(await browser.go(asking.url))
      await toldToTryAgain([
        gateway.fetch(`${gateway.origin}/oauth/revoke`, {
          method: 'POST',
          body: new URLSearchParams({ token: tokens.refresh_token, client_id: client.id }),
        }),
      ])
      renameSync(`${database()}.away`, database())
      for (let ready = 0; ready !== 200;) ready = (await gateway.fetch(`${gateway.origin}/readyz`)).status
      await goesOn()
      expect(upstream.heard.every(({ headers }) => headers.authorization === undefined)).toBe(true)
    },
  )

  it('with a damaged page refuses what was on it, and serves everybody else [H-S11, H-S13]', async () => {
    // The table gets several pages; the grant in question is neither on the first, with the signing keys, nor
    // on the last, where new records go.
    const many = async () => {
      for (let i = 0; i < 8; i++)
        await register(gateway, { client_uri: `https://example.com/${'x'.repeat(900)}` })
    }
    await many()
    const struck = await logIn(gateway)
    await many()
    const other = await register(gateway)
    const port = portOf(gateway)
    expect(await gateway.end()).toBe(0)
    const file = readFileSync(database())
    const pages = Array.from({ length: file.length / 4096 }, (_, i) =>
      file.subarray(i * 4096, (i + 1) * 4096),
    )
    // Leaves of the table (https://sqlite.org/fileformat.html §1.6), not of the index, which holds the keys
    // of all.
    const damaged = pages.filter(
      (page) => page[0] === 13 && page.includes(`grant:${struck.tokens.refresh_token.slice(3, 35)}`),
    )
    expect(damaged.length).toBeGreaterThan(0)
    expect(damaged.some((page) => page.includes('signing-keys'))).toBe(false)
    for (const page of damaged) page.fill(0xff)
    writeFileSync(database(), file)
    gateway = await begin(port)
    await toldToTryAgain([refresh(gateway, struck.client, struck.tokens.refresh_token)])
    expect((await call(struck.tokens)).status).toBe(503)
    expect([(await refresh(gateway, client, tokens.refresh_token)).status, (await call()).status]).toEqual([
      200, 200,
    ])
    const fresh = authorizeUrl(gateway, other)
    const back = await allow(createBrowser(gateway.fetch, gateway.origin), fresh.url)
    expect((await redeem(gateway, other, back.searchParams.get('code') ?? '', fresh.verifier)).status).toBe(
      200,
    )
    expect(gateway.lines.filter((line) => /fault|unhandled|uncaught/i.test(line))).toEqual([])
  })
})
