// A server that is away for a long time, and comes back: in every house.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

describe.each(runtimes)('%s', (_, open) => {
  let house: TestGateway
  let upstream: Upstream
  let away = false
  let caller: Caller
  let other: Caller
  let elsewhere: Caller

  beforeAll(async () => {
    upstream = await openUpstream((request, response, body) => {
      // Taken and never answered, as by a machine that hangs or a network that swallows; and a tool that
      // hangs although its server does not.
      if ((away && request.url === '/mcp') || body.includes('"hang"')) return
      if (request.method === 'POST')
        response
          .setHeader('content-type', 'application/json')
          .end(JSON.stringify({ jsonrpc: '2.0', id: 7, result: {} }))
      else response.writeHead(405).end()
    })
    house = await open({
      upstream: upstream.url.replace('/mcp', '/other'),
      config: {
        local_users: [ana, yamada],
        mcp_services: { far: { name: 'Far', url: upstream.url, timeout: 1000 } },
      },
    })
    const resource = `${house.origin}/far/mcp`
    caller = callerOf(house, resource, await tokenOf(house, ana, resource))
    other = callerOf(house, resource, await tokenOf(house, yamada, resource))
    elsewhere = callerOf(
      house,
      `${house.origin}/echo/mcp`,
      await tokenOf(house, ana, `${house.origin}/echo/mcp`),
    )
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  /** Calls nobody answers, for as long as the service waits. */
  const unanswered = async (name: string): Promise<number[]> => {
    const before = upstream.heard.length
    const calls = [0, 1, 2].map(() => caller.post(call(name)))
    await until(() => upstream.heard.length === before + 3, 'the calls')
    house.advance(2_000)
    return Promise.all(calls.map(async (one) => (await one).status))
  }

  it('never has callers wait for it one after the other, never asks more of it than whether it is there, and never keeps them out once it is back [H-T12]', async () => {
    away = true
    expect(await unanswered('whoami')).toEqual([504, 504, 504])
    const refused = async (who: Caller) => {
      const answer = await who.post(call('whoami', 'mine'))
      return [answer.status, answer.headers.get('retry-after'), await answer.json()]
    }
    const words = [
      502,
      '2',
      {
        jsonrpc: '2.0',
        id: 'mine',
        error: { code: 1502, message: 'Cannot connect to Far', data: { code: 'upstream.unreachable' } },
      },
    ]
    expect(await refused(caller)).toMatchObject(words)
    for (let minute = 0; minute < 3; minute++) {
      house.advance(180_000)
      // The first one finds out that nothing has changed; it is asked for in its place, without a token.
      upstream.heard.length = 0
      expect(await refused(other)).toMatchObject(words)
      expect(
        upstream.heard.map(({ method, headers, body }) => [
          method,
          headers['authorization'],
          headers['x-user-id'],
          body,
        ]),
      ).toEqual([['OPTIONS', undefined, undefined, '']])
      expect(await Promise.all(Array.from({ length: 5 }, () => refused(caller)))).toMatchObject(
        Array.from({ length: 5 }, () => words),
      )
      expect(upstream.heard.length).toBe(1)
      expect((await elsewhere.post(call())).status).toBe(200)
    }
    away = false
    house.advance(2_000)
    for (const who of [other, caller]) expect((await who.post(call())).status).toBe(200)
    // The tokens are as good as before, and nothing was done about them.
    expect(
      house.log.filter(
        ({ event }) => /^(?:grant|refresh|connection|token)\./.test(event) && event !== 'grant.issued',
      ),
    ).toEqual([])
  })

  it('never lets one caller’s hanging calls keep others from a server that answers [H-R10, H-T12]', async () => {
    expect(await unanswered('hang')).toEqual([504, 504, 504])
    expect((await other.post(call())).status).toBe(200)
    expect((await caller.post(call())).status).toBe(200)
  })
})
