// What the Workers runtime does to requests that Node does not: it cuts off work with its caller, runs many
// isolates, and has no process to keep anything in.
import { createHash, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, openInWorkerd } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, logIn, redeem, refresh, register } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { startWorkerd, type Workerd } from '../runtimes/workerd.ts'

const many = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i))
const rpc = (token: string, message: object, more: RequestInit = {}): RequestInit => ({
  method: 'POST',
  headers: {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  },
  body: JSON.stringify({ jsonrpc: '2.0', ...message }),
  ...more,
})

describe('shared work', () => {
  let workerd: Workerd | undefined
  afterEach(() => workerd?.close())

  it('outlives the request that began it: whoever waits with a caller who hangs up gets the answer', async () => {
    workerd = await startWorkerd({ entry: 'test/workers/shared-work.ts' })
    for (let round = 0; round < 3; round++) {
      const leaving = new AbortController()
      const begun = await fetch(`${workerd.origin}/begin`, { signal: leaving.signal })
      await begun.body?.getReader().read()
      const before = fetch(`${workerd.origin}/join`)
      leaving.abort()
      const answers = await Promise.all([before, ...many(5, () => fetch(`${workerd?.origin ?? ''}/join`))])
      expect(await Promise.all(answers.map((answer) => answer.text()))).toEqual(many(6, () => 'done'))
    }
  })
})

describe('in workerd', () => {
  let upstream: Upstream
  let house: TestGateway
  beforeAll(async () => {
    upstream = await openUpstream((request, response, body) => {
      response.setHeader('content-type', 'application/json')
      if (request.url !== '/mcp/large')
        return void response.end(
          JSON.stringify({
            jsonrpc: '2.0',
            id: 1,
            result: { sha256: createHash('sha256').update(body).digest('hex') },
          }),
        )
      let left = 512
      response.write('{"jsonrpc":"2.0","id":1,"result":{"text":"')
      const more = (): void => {
        while (left-- > 0)
          if (!response.write(Buffer.alloc(65_536, 97))) return void response.once('drain', more)
        response.end('"}}')
      }
      more()
    })
    house = await openInWorkerd({ upstream: upstream.url, config: { code_lifetime: 600 } })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  const resource = (): string => `${house.origin}/echo/mcp`

  it('of 50 who redeem one code at once exactly one is answered, round after round [A4]', async () => {
    const client = await register(house)
    const browser = createBrowser(house.fetch, house.origin)
    for (let round = 0; round < 4; round++) {
      const asking = authorizeUrl(house, client, { resource: resource() })
      const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
      const answers = await Promise.all(many(50, () => redeem(house, client, code, asking.verifier)))
      expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
        200,
        ...many(49, () => 400),
      ])
    }
  })

  it('of 50 who refresh one token at once all are answered with one successor, generation after generation [A9]', async () => {
    const { client, tokens } = await logIn(house)
    let token = tokens.refresh_token
    for (let round = 0; round < 4; round++) {
      const answers = await Promise.all(many(50, () => refresh(house, client, token)))
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
      const successors = new Set(
        await Promise.all(
          answers.map(async (answer) => ((await answer.json()) as { refresh_token: string }).refresh_token),
        ),
      )
      expect(successors.size).toBe(1)
      token = [...successors][0] ?? ''
    }
  })

  it('a request of four megabytes and an answer of thirty-two pass whole', async () => {
    const { tokens } = await logIn(house)
    const body = JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'x', arguments: { text: randomBytes(1_500_000).toString('hex') } },
    })
    const answer = await house.fetch(resource(), rpc(tokens.access_token, {}, { body }))
    expect(((await answer.json()) as { result: unknown }).result).toEqual({
      sha256: createHash('sha256').update(body).digest('hex'),
    })
    const large = await house.fetch(
      `${resource()}/large`,
      rpc(tokens.access_token, { id: 1, method: 'tools/list' }),
    )
    let size = 0
    for await (const part of large.body ?? []) size += part.byteLength
    expect(size).toBe('{"jsonrpc":"2.0","id":1,"result":{"text":"'.length + 512 * 65_536 + '"}}'.length)
  })
})

describe('the demo server inside a Worker', () => {
  let workerd: Workerd
  beforeAll(async () => {
    workerd = await startWorkerd({
      vars: {
        SESSION_SECRET: randomBytes(32).toString('hex'),
        LOCAL_USER: 'ana',
        LOCAL_PASSWORD: 'correct horse battery',
      },
    })
  })
  afterAll(() => workerd.close())

  it('answers as the person who called, and reports its progress step by step', async () => {
    const house = {
      origin: workerd.origin,
      fetch: (url: string, init?: RequestInit) => fetch(url, { redirect: 'manual', ...init }),
    }
    const url = `${workerd.origin}/demo/mcp`
    const { tokens } = await logIn(house, url)
    const who = await (
      await fetch(
        url,
        rpc(tokens.access_token, { id: 1, method: 'tools/call', params: { name: 'whoami', arguments: {} } }),
      )
    ).text()
    expect(who).toContain('You are ana.')
    expect(who).toContain('\\"bearer_token_arrived\\": false')
    const counting = await fetch(
      url,
      rpc(tokens.access_token, {
        id: 2,
        method: 'tools/call',
        params: { name: 'slow_count', arguments: { to: 4, interval_ms: 60 }, _meta: { progressToken: 'p' } },
      }),
    )
    expect(counting.headers.get('content-type')).toBe('text/event-stream')
    const pieces: string[] = []
    for await (const piece of counting.body?.pipeThrough(new TextDecoderStream()) ?? []) pieces.push(piece)
    expect(pieces.filter((piece) => piece.includes('notifications/progress')).length).toBe(4)
    expect(pieces.at(-1)).toContain('Counted to 4.')
  })
})
