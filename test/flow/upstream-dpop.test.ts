// Servers that take tokens bound to a key alone (RFC 9449): what they and their authorization server are shown, at the
// code, the refresh, each call and its second try.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type BoundUpstream, openBoundUpstream } from '../providers/bound-upstream.ts'
import { signInAtProvider } from '../providers/openid-provider.ts'
import { logInThrough } from '../runtimes/connecting.ts'
import type { Caller } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'

describe.each(runtimes)('%s', (_name, open) => {
  let bound: BoundUpstream
  let house: TestGateway
  let caller: Caller
  beforeAll(async () => {
    bound = await openBoundUpstream()
    house = await open({
      upstream: bound.url,
      config: {
        mcp_services: {
          bound: { url: bound.url, upstream_auth: { type: 'oauth', allow_origins: [bound.issuer] } },
        },
      },
    })
    const way = (url: string): Promise<string> => signInAtProvider(url, 'olga')
    caller = (await logInThrough(house, 'bound', { way })).caller
  })
  afterAll(async () => {
    await house.close()
    await bound.close()
  })
  const since = (from: number) => bound.requests.slice(from)

  it('a code is redeemed with a proof, once the nonce that is wanted is in it, and the calls prove the same key', async () => {
    expect((await caller.post(call())).status).toBe(200)
    expect(bound.tokens).toEqual([{ grant: 'authorization_code', jkt: expect.stringMatching(/./) }])
    expect(bound.errors).toEqual(['use_dpop_nonce'])
    expect(bound.requests.map(({ scheme, refused }) => [scheme, refused])).toEqual([
      ['DPoP', 'nonce'],
      ['DPoP', undefined],
    ])
    const [first, second] = bound.requests
    expect([first?.body, first?.jkt]).toEqual([second?.body, bound.tokens[0]?.jkt])
    expect(first?.proof).not.toHaveProperty('nonce')
    expect(second?.proof).toMatchObject({ htm: 'POST', htu: bound.url, nonce: 'rs-1' })
  })

  it('each call has a proof of its own, and the nonce of the last answer', async () => {
    const from = bound.requests.length
    const answers = await Promise.all([1, 2, 3].map(() => caller.post(call())))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    const jtis = since(from).map(({ proof, refused }) => (refused === undefined ? proof['jti'] : refused))
    expect(new Set(jtis).size).toBe(3)
    expect(answers.map(({ headers }) => headers.get('dpop-nonce'))).toEqual([null, null, null])
  })

  it('a new nonce costs the same request once more, and no refresh', async () => {
    const from = bound.requests.length
    bound.renewNonce()
    expect((await caller.post(call())).status).toBe(200)
    expect(since(from).map(({ refused }) => refused)).toEqual(['nonce', undefined])
    expect(since(from)[0]?.token).toBe(since(from)[1]?.token)
    expect(bound.tokens).toHaveLength(1)
  })

  it('a token that is refused is renewed for the same key', async () => {
    const from = bound.requests.length
    bound.forget()
    expect((await caller.post(call())).status).toBe(200)
    expect(since(from).map(({ refused }) => refused)).toEqual(['token', undefined])
    expect(bound.tokens.map(({ grant, jkt }) => [grant, jkt])).toEqual([
      ['authorization_code', bound.tokens[0]?.jkt],
      ['refresh_token', bound.tokens[0]?.jkt],
    ])
  })

  it('a stream that the caller opens has a proof for its own method', async () => {
    const from = bound.requests.length
    const answer = await caller.get()
    expect([answer.status, await answer.text()]).toEqual([200, ': here\n\n'])
    expect(since(from).map(({ method, proof, refused }) => [method, proof['htm'], refused])).toEqual([
      ['GET', 'GET', undefined],
    ])
  })

  it('72 proofs and headers of the caller never reach the server, nor its nonce the caller', async () => {
    const from = bound.requests.length
    const answer = await caller.post(call(), { dpop: 'a.proof.of-the-caller' })
    expect([answer.status, answer.headers.get('dpop-nonce')]).toEqual([200, null])
    expect(since(from).map(({ refused }) => refused)).toEqual([undefined])
    expect(JSON.stringify(house.log)).not.toMatch(/"d":|eyJ0eXAiOiJkcG9w/)
  })
})
