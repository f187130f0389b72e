// Two processes of one gateway on one file: their clocks differ, their keys change under load, one learns the
// new secret before the other, and access rules change in one of them.
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  allow,
  authorizeUrl,
  type Client,
  form,
  logIn,
  type LoginTarget,
  redeem,
  refresh,
  register,
  type Tokens,
} from '../runtimes/login.ts'
import { signInAs } from '../runtimes/administrator.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { ana, callerOf } from '../runtimes/people.ts'
import type { TestGateway } from '../runtimes/runtimes.ts'
import { createProver } from '../runtimes/proofs.ts'
import { createTwins, type Twin, type Twins } from '../runtimes/twins.ts'
import { openFarServer } from '../runtimes/remote-server.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let upstream: Upstream
let twins: Twins
beforeEach(async () => {
  upstream = await openUpstream()
  twins = createTwins(upstream.url)
})
afterEach(async () => {
  await twins.close()
  await upstream.close()
})

const secret = (): string => randomBytes(32).toString('base64url')
const call = async ({ origin, fetch }: LoginTarget, { access_token }: Tokens): Promise<number> =>
  (
    await fetch(`${origin}/echo/mcp`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${access_token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
    })
  ).status
const refreshed = async (house: LoginTarget, client: Client, { refresh_token }: Tokens): Promise<Tokens> => {
  const response = await refresh(house, client, refresh_token)
  expect(response.status).toBe(200)
  return (await response.json()) as Tokens
}
const kidOf = ({ access_token }: Tokens): string =>
  (JSON.parse(Buffer.from(access_token.split('.')[0] as string, 'base64url').toString()) as { kid: string })
    .kid
const published = async ({ origin, fetch }: LoginTarget): Promise<string[]> =>
  ((await (await fetch(`${origin}/oauth/jwks`)).json()) as { keys: { kid: string }[] }).keys.map(
    ({ kid }) => kid,
  )
const unreadable = ({ log }: Twin): unknown[] => log.filter(({ event }) => event === 'record.unreadable')
const faults = (...those: readonly Twin[]): unknown[] =>
  those.flatMap(({ log }) => log.filter(({ event }) => /fault|failed/.test(event)))

describe('two processes whose clocks are a minute apart', () => {
  it('accept what the other has just issued, at every step of a login [H-T8]', async () => {
    const shared = { session_secret: secret() }
    const [behind, ahead] = [await twins.open(shared), await twins.open(shared, 60_000)]
    for (const house of [twins.inTurn(behind, ahead), twins.inTurn(ahead, behind)]) {
      const { client, tokens } = await logIn(house)
      expect([await call(behind, tokens), await call(ahead, tokens)]).toEqual([200, 200])
      let latest = tokens
      for (const at of [ahead, behind, ahead, behind]) {
        latest = await refreshed(at, client, latest)
        expect([await call(behind, latest), await call(ahead, latest)]).toEqual([200, 200])
      }
    }
  })
})

describe('limits', () => {
  it('hold over both processes: calls of a user, and wrong passwords [H-P5] [H-R9]', async () => {
    const shared = { session_secret: secret(), rate_limits: [{ calls: 30 }] }
    const both = [await twins.open(shared), await twins.open(shared)] as const
    const { tokens } = await logIn(twins.inTurn(...both))
    const statuses: number[] = []
    for (let i = 0; i < 40; i++) statuses.push(await call(both[i % 2] as Twin, tokens))
    const served = statuses.filter((status) => status === 200).length
    expect([served, statuses.slice(-8).every((status) => status === 429)]).toEqual([30, true])
    twins.advance(60_000)
    expect([await call(both[0], tokens), await call(both[1], tokens)]).toEqual([200, 200])

    const guess = async (at: Twin): Promise<number> => {
      const browser = createBrowser(at.fetch, at.origin)
      const page = await browser.go('/login')
      return (await browser.submit(page, '/login', { username: 'ana', password: 'wrong' })).status
    }
    for (let i = 0; i < 10; i++) expect([i, await guess(both[i % 2] as Twin)]).toEqual([i, 401])
    expect([await guess(both[0]), await guess(both[1])]).toEqual([429, 429])
  })
})

describe('a new signing key', () => {
  it('is known everywhere before it signs, and the former one as long as a token of it lives: no call and no refresh fails [H-T9]', async () => {
    const shared = { session_secret: secret(), key_rotation: 3600, access_token_lifetime: 600 }
    const both = [await twins.open(shared), await twins.open(shared)] as const
    const holders = await Promise.all(Array.from({ length: 4 }, () => logIn(twins.inTurn(...both))))
    let held = holders.map(({ client, tokens }) => ({ client, tokens, before: tokens }))
    const kids = new Set<string>()
    for (let minute = 0; minute < 150; minute++) {
      twins.advance(60_000)
      // A token of up to five minutes ago still lives; the newest was signed by either.
      held = await Promise.all(
        held.map(async ({ client, tokens, before }, i) => ({
          client,
          tokens: await refreshed(both[(minute + i) % 2] as Twin, client, tokens),
          before: minute % 5 === 0 ? tokens : before,
        })),
      )
      const statuses = await Promise.all(
        held.flatMap(({ tokens, before }) =>
          both.flatMap((twin) => [call(twin, tokens), call(twin, before)]),
        ),
      )
      expect(statuses).toEqual(statuses.map(() => 200))
      for (const { tokens } of held) kids.add(kidOf(tokens))
      for (const twin of both)
        expect(await published(twin)).toEqual(expect.arrayContaining(held.map(({ tokens }) => kidOf(tokens))))
    }
    expect(kids.size).toBe(3)
    expect((await published(both[0])).length).toBeLessThanOrEqual(2)
    expect(faults(...both)).toEqual([])
  })
})

describe('a new root secret', () => {
  const [old, next] = [secret(), secret()]

  it('taken up by one process after the other breaks nothing, when both knew both before [H-T9]', async () => {
    // First everybody learns the new secret, then one after the other uses it.
    const first = [
      await twins.open({ session_secret: old, previous_secrets: [next] }),
      await twins.open({ session_secret: old, previous_secrets: [next] }),
    ] as const
    const early = await logIn(twins.inTurn(...first))
    await first[1].close()
    const second = await twins.open({ session_secret: next, previous_secrets: [old] })
    const mixed = await logIn(twins.inTurn(first[0], second))
    let [a, b] = [early.tokens, mixed.tokens]
    for (const at of [second, first[0], second, first[0], second]) {
      a = await refreshed(at, early.client, a)
      b = await refreshed(at, mixed.client, b)
      for (const twin of [first[0], second])
        expect([await call(twin, a), await call(twin, b)]).toEqual([200, 200])
    }
    await first[0].close()
    const third = await twins.open({ session_secret: next, previous_secrets: [old] })
    expect([await call(third, a), await call(third, b)]).toEqual([200, 200])
    expect([
      ...unreadable(first[0]),
      ...unreadable(second),
      ...unreadable(third),
      ...faults(first[0], second, third),
    ]).toEqual([])
  })

  it('parallel refreshes at processes with either secret yield one successor [H-H2, H-T9]', async () => {
    const former = await twins.open({ session_secret: old, previous_secrets: [next] })
    const { client, tokens } = await logIn(former)
    const latter = await twins.open({ session_secret: next, previous_secrets: [old] })
    const house = twins.inTurn(former, latter)
    const answers = await Promise.all(Array.from({ length: 20 }, () => refreshed(house, client, tokens)))
    expect(new Set(answers.map(({ refresh_token }) => refresh_token)).size).toBe(1)
  })

  it('whose predecessor is taken away ends what was never used since: 401 and invalid_grant, never a fault [H-T9]', async () => {
    const before = await twins.open({ session_secret: old })
    const [used, unused] = [await logIn(before), await logIn(before)]
    let running = before
    const browser = createBrowser((url, init) => running.fetch(url, init), before.origin)
    const client = await register(before)
    const asking = authorizeUrl(before, client)
    const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
    await before.close()
    const during = await twins.open({ session_secret: next, previous_secrets: [old] })
    // A day later the client has been used again, and so its registration was written again.
    twins.advance(86_400_000)
    const kept = await refreshed(during, used.client, used.tokens)
    await during.close()
    const after = await twins.open({ session_secret: next })
    running = after
    expect(await call(after, kept)).toBe(200)
    const later = await refreshed(after, used.client, kept)
    expect(await call(after, later)).toBe(200)
    expect(await call(after, unused.tokens)).toBe(401)
    const answers = [
      await refresh(after, used.client, unused.tokens.refresh_token),
      await refresh(after, unused.client, unused.tokens.refresh_token),
      await redeem(after, client, code, asking.verifier),
      await refresh(after, used.client, used.tokens.refresh_token),
    ]
    expect(
      await Promise.all(
        answers.map(async (answer) => [answer.status, ((await answer.json()) as { error: string }).error]),
      ),
    ).toEqual([
      [400, 'invalid_grant'],
      [401, 'invalid_client'],
      [401, 'invalid_client'],
      [400, 'invalid_grant'],
    ])
    // The old browser session is over, and the person signs in again.
    expect((await browser.go(authorizeUrl(after, await register(after)).url)).body).toContain(
      'name="password"',
    )
    expect((await logIn(after)).tokens.token_type).toBe('Bearer')
    expect(faults(after)).toEqual([])
  })
})

it('stored access rules hold in every process within a second', async () => {
  const config = { admins: ['local:ana'], access: { default: 'everyone' as const } }
  const [one, other] = [await twins.open(config), await twins.open(config)]
  const { tokens } = await logIn(twins.inTurn(one, other))
  const code = async (house: typeof one): Promise<unknown> => {
    const at = callerOf(house, `${house.origin}/echo/mcp`, tokens.access_token)
    const response = await at.post({ jsonrpc: '2.0', id: 7, method: 'ping' })
    if (response.status !== 200) return response.status
    return ((await response.json()) as { error?: { data: { code: string } } }).error?.data.code
  }
  expect([await code(one), await code(other)]).toEqual([undefined, undefined])
  const admin = await signInAs(one as unknown as TestGateway, ana)
  expect((await admin.ask('POST', '/api/access', { deny: { everyone: true } })).status).toBe(201)
  expect(await code(one)).toBe('policy.denied')
  twins.advance(1000)
  expect(await code(other)).toBe('policy.denied')
  // Nobody is let through by rules that may have changed.
  twins.advance(2000)
  other.breakStorage(10)
  expect(await code(other)).toBe(503)
})

it('proofs of bound tokens are accepted once by both, and clients go to either with one retry at most (case 65)', async () => {
  const first = await twins.open({ dpop: {} })
  const { origin, fetch } = first
  const key = await createProver()
  let nonce: string | undefined
  let retries = 0
  let last: RequestInit = {}
  /** As a client that keeps the newest nonce, and tries again once. */
  const proven = async (twin: Twin, url: string, init: RequestInit, token?: string): Promise<Response> => {
    const send = async () => {
      const dpop = await key.proof({ url, nonce, ...(token !== undefined && { token }) })
      const scheme = token !== undefined && { authorization: `DPoP ${token}` }
      last = { ...init, headers: { ...(init.headers as object), dpop, ...scheme } }
      const answer = await twin.fetch(url, last)
      nonce = answer.headers.get('dpop-nonce') ?? nonce
      return answer
    }
    const answer = await send()
    if (answer.status === 200) return answer
    retries++
    return send()
  }
  const client = await register(first)
  const asking = authorizeUrl(first, client)
  const back = await allow(createBrowser(fetch, origin), asking.url)
  const redeemed = await proven(
    first,
    `${origin}/oauth/token`,
    form({
      grant_type: 'authorization_code',
      code: back.searchParams.get('code') ?? '',
      redirect_uri: client.redirectUri,
      client_id: client.id,
      code_verifier: asking.verifier,
    }),
  )
  const token = ((await redeemed.json()) as Tokens).access_token
  const listing = {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'accept': 'application/json, text/event-stream' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  }
  const at = async (twin: Twin) => (await proven(twin, `${origin}/echo/mcp`, listing, token)).status
  const codes = async (...those: readonly Twin[]) =>
    Promise.all(
      those.map(
        async (twin) =>
          ((await (await twin.fetch(`${origin}/echo/mcp`, last)).json()) as { code: string }).code,
      ),
    )
  for (let times = 0; times < 3; times++) expect(await at(first)).toBe(200)
  const second = await twins.open({ dpop: {} })
  // It is no nonce of its own, or one of both that was used: accepted by neither.
  expect(await codes(first, second)).toEqual(['proof.replayed', 'proof.nonce'])
  for (const twin of [second, first, second, second, first, second]) expect(await at(twin)).toBe(200)
  expect(await codes(first, second)).toEqual(['proof.replayed', 'proof.replayed'])
  expect(retries).toBeLessThan(8)
})

it('the first token of the gateway at a server is got once for both', async () => {
  const far = await openFarServer()
  const [first, second] = [await twins.open({}), await twins.open({})]
  await first.supply('machine', {
    name: 'Machine',
    url: far.url,
    upstream_auth: {
      type: 'client_credentials',
      issuer: far.origin,
      client_id: 'gateway',
      client_secret: 'a secret of the gateway alone',
    },
  })
  const resource = `${first.origin}/machine/mcp`
  // Requests are what makes them look.
  for (const twin of [first, second])
    await expect.poll(async () => (await twin.fetch(resource)).status, { timeout: 10_000 }).toBe(401)
  const { tokens } = await logIn(first, resource)
  const answers = await Promise.all(
    [first, second, second, first].map(
      async (twin) =>
        (
          await callerOf(twin, resource, tokens.access_token).post({
            jsonrpc: '2.0',
            id: 1,
            method: 'tools/list',
          })
        ).status,
    ),
  )
  expect(answers).toEqual([200, 200, 200, 200])
  expect(far.count('/token', 'client_credentials')).toBe(1)
  await far.close()
})

describe('what an administrator ends in one process, at another whose clock was set back an hour', () => {
  it.each([
    ['of a user', () => '/api/grants?user=local:ana'],
    ['of a client', (client: string) => `/api/grants?client=${client}`],
    ['of a service', () => '/api/grants?service=echo'],
  ])('%s is over for calls, refreshes and codes that were issued before', async (_, path) => {
    const config = { admins: ['local:ana'] }
    const [one, other] = [await twins.open(config), await twins.open(config)]
    const both = twins.inTurn(one, other)
    const admin = await signInAs(one as unknown as TestGateway, ana)
    const { client, tokens } = await logIn(both)
    const asking = authorizeUrl(one, client, { resource: `${one.origin}/echo/mcp` })
    const back = await allow(createBrowser(one.fetch, one.origin), asking.url)
    expect(await call(other, tokens)).toBe(200)
    other.setClock(-3_600_000)
    expect(await call(other, tokens)).toBe(200)
    const ended = await admin.ask('DELETE', path(client.id))
    expect([ended.status, JSON.parse(ended.body)]).toMatchObject([200, { ended: { users: 1, clients: 1 } }])
    twins.advance(500)
    expect([await call(one, tokens), await call(other, tokens)]).toEqual([401, 401])
    for (const house of [one, other]) {
      const code = back.searchParams.get('code') ?? ''
      const answers = [
        await refresh(house, client, tokens.refresh_token),
        await redeem(house, client, code, asking.verifier),
      ]
      for (const answer of answers)
        expect([answer.status, await answer.json()]).toMatchObject([400, { error: 'invalid_grant' }])
    }
  })
})
