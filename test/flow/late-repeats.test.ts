// The thief who keeps step with a client, and the client that lost an answer, at a whole gateway: its
// callers' addresses are those that its runtime knows.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { type Client, logIn, refresh } from '../runtimes/login.ts'
import { fromNetwork } from '../runtimes/networks.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const [home, office] = ['192.0.2.1', '2001:db8:7::1']
const hour = 3_600_000

describe.each(runtimes)('%s', (_, open) => {
  let upstream: Upstream
  let house: TestGateway
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({ upstream: upstream.url, config: { trusted_proxies: ['127.0.0.1'] } })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  const present = async (client: Client, token: unknown, ip: string): Promise<unknown> => {
    const answer = await refresh(fromNetwork(house, ip), client, String(token))
    const body = (await answer.json()) as Record<string, unknown>
    return answer.status === 200 ? body['refresh_token'] : `${answer.status} ${String(body['error'])}`
  }
  const told = (event: string, client: Client): readonly unknown[] =>
    house.log
      .filter(({ event: name, fields }) => name === event && fields['client'] === client.id)
      .map(({ fields }) => [fields['reason'], fields['ip']])

  it('a lost answer is asked for again after a night, from the same network and from another one', async () => {
    const { client, tokens } = await logIn(house)
    const second = await present(client, tokens.refresh_token, home)
    house.advance(12 * hour)
    expect(await present(client, tokens.refresh_token, home)).toBe(second)
    house.advance(hour)
    const other = await present(client, tokens.refresh_token, office)
    expect(other).not.toBe(second)
    expect(await present(client, other, office)).toMatch(/^pr_/)
    expect(told('refresh.repeated', client)).toEqual([
      ['same_successor', home],
      ['successor_replaced', office],
    ])
    expect(told('refresh.reuse', client)).toEqual([])
  })

  it('never does a thief in another network keep step with the client for a second round', async () => {
    const { client, tokens } = await logIn(house)
    const mine = await present(client, tokens.refresh_token, home)
    house.advance(hour / 2)
    const theirs = await present(client, tokens.refresh_token, office)
    house.advance(hour / 2)
    expect([await present(client, mine, home), await present(client, theirs, office)]).toEqual([
      '400 invalid_grant',
      '400 invalid_grant',
    ])
    expect([told('refresh.repeated', client), told('refresh.reuse', client)]).toEqual([
      [['successor_replaced', office]],
      [['refresh_reuse', home]],
    ])
  })
})
