// A code that is used twice (OAuth 2.1 §4.1.3): within two seconds by one impatient client, later by somebody
// who stole it. Measured at the resource, with moved time.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import {
  allow,
  authorizeUrl,
  type Client,
  redeem,
  refresh,
  register,
  type Tokens,
} from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({ upstream: upstream.url })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  interface Redeemed {
    readonly client: Client
    readonly code: string
    readonly verifier: string
    readonly tokens: Tokens
  }
  const redeemed = async (metadata: Record<string, unknown> = {}): Promise<Redeemed> => {
    const client = await register(house, metadata)
    const asking = authorizeUrl(house, client)
    const code =
      (await allow(createBrowser(house.fetch, house.origin), asking.url)).searchParams.get('code') ?? ''
    const tokens = (await (await redeem(house, client, code, asking.verifier)).json()) as Tokens
    return { client, code, verifier: asking.verifier, tokens }
  }
  const again = async (
    { client, code, verifier }: Redeemed,
    more: Record<string, string> = {},
  ): Promise<unknown[]> => {
    const answer = await redeem(house, client, code, verifier, more)
    return [answer.status, ((await answer.json()) as { error: string }).error]
  }
  const refused = [400, 'invalid_grant']
  const call = async ({ tokens }: Redeemed): Promise<number> => {
    const headers = {
      authorization: `Bearer ${tokens.access_token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    }
    return (
      await house.fetch(`${house.origin}/echo/mcp`, {
        method: 'POST',
        headers,
        body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
      })
    ).status
  }
  const replays = ({ client }: Redeemed): number =>
    house.log.filter(({ event, fields }) => event === 'code.replayed' && fields['client'] === client.id)
      .length

  it('within two seconds is refused and takes nothing from the first', async () => {
    const first = await redeemed()
    expect(await again(first)).toEqual(refused)
    house.advance(1_000)
    expect([
      await call(first),
      (await refresh(house, first.client, first.tokens.refresh_token)).status,
      replays(first),
    ]).toEqual([200, 200, 0])
  })

  it.each([
    ['two seconds later', 2_001, {}],
    ['after the code would have expired', 301_000, {}],
    ['at the end of the access token', 3_590_000, {}],
    ['by a client whose grant cannot be refreshed', 60_000, { grant_types: ['authorization_code'] }],
  ])(
    '%s ends the grant: the access token is refused at once, and refreshing is over',
    async (_, later, metadata) => {
      const first = await redeemed(metadata)
      expect(await call(first)).toBe(200)
      house.advance(later)
      expect(await again(first)).toEqual(refused)
      house.advance(1_000)
      expect([await call(first), replays(first)]).toEqual([401, 1])
      if (first.tokens.refresh_token !== undefined)
        expect((await refresh(house, first.client, first.tokens.refresh_token)).status).toBe(400)
    },
  )

  it('later ends the grant whatever else the request says, when it holds the verifier, and nothing when it does not', async () => {
    const first = await redeemed()
    house.advance(10_000)
    expect(await again({ ...first, verifier: 'w'.repeat(43) })).toEqual(refused)
    house.advance(1_000)
    expect(await call(first)).toBe(200)
    expect(await again(first, { redirect_uri: 'http://127.0.0.1:5000/other' })).toEqual(refused)
    house.advance(1_000)
    expect([await call(first), replays(first)]).toEqual([401, 1])
  })

  it('later by another client with the verifier ends the grant too: code and verifier are both known to somebody else', async () => {
    const first = await redeemed()
    const thief = await register(house)
    expect(await again({ ...first, client: thief })).toEqual(refused)
    house.advance(10_000)
    expect([await call(first), await again({ ...first, client: thief })]).toEqual([200, refused])
    house.advance(1_000)
    expect([await call(first), replays(first)]).toEqual([401, 1])
  })
})
