// Servers that take tokens bound to a key alone (RFC 9449): what they and their authorization server are shown, at the
// code, the refresh, each call and its second try; and tokens of the gateway's own that are bound to a key, where the
// server is on a connection.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type BoundUpstream, openBoundUpstream } from '../providers/bound-upstream.ts'
import { signInAtProvider } from '../providers/openid-provider.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { logInThrough } from '../runtimes/connecting.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { type LegacyUpstream, openLegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { allow, authorizeUrl, form, register } from '../runtimes/login.ts'
import type { Caller } from '../runtimes/people.ts'
import { createProver } from '../runtimes/proofs.ts'
import { call } from '../runtimes/proxied.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { dialSocket } from '../runtimes/socket-client.ts'
import { type SocketUpstream, openSocketUpstream } from '../runtimes/socket-upstream.ts'

type Json = Readonly<Record<string, unknown>>

describe.each(runtimes)('%s', (name, open) => {
  let bound: BoundUpstream
  let house: TestGateway
  let caller: Caller
  let old: LegacyUpstream
  let sock: SocketUpstream
  beforeAll(async () => {
    bound = await openBoundUpstream()
    old = await openLegacyUpstream()
    sock = await openSocketUpstream()
    house = await open({
      upstream: bound.url,
      config: {
        dpop: { mode: 'optional' },
        mcp_services: {
          old: { url: old.url, transport: 'sse' },
          sock: { url: sock.url },
          bound: { url: bound.url, upstream_auth: { type: 'oauth', allow_origins: [bound.issuer] } },
        },
      },
    })
    const way = (url: string): Promise<string> => signInAtProvider(url, 'olga')
    caller = (await logInThrough(house, 'bound', { way })).caller
  })
  afterAll(async () => {
    await house.close()
    await Promise.all([bound.close(), old.close(), sock.close()])
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

  /** A token of the gateway for this service that is bound to a key, and what is sent with it. */
  const boundCaller = async (id: string) => {
    const [app, key] = [await register(house), await createProver()]
    const url = `${house.origin}/${id}/mcp`
    const asking = authorizeUrl(house, app, { resource: url })
    const back = await allow(createBrowser(house.fetch, house.origin), asking.url)
    const init = form({
      grant_type: 'authorization_code',
      code: back.searchParams.get('code') ?? '',
      redirect_uri: app.redirectUri,
      client_id: app.id,
      code_verifier: asking.verifier,
    })
    const at = `${house.origin}/oauth/token`
    const redeem = async (nonce?: string) => {
      const dpop = await key.proof({ url: at, nonce })
      return house.fetch(at, { ...init, headers: { ...(init.headers as object), dpop } })
    }
    const nonce = (await redeem()).headers.get('dpop-nonce') ?? ''
    const token = ((await (await redeem(nonce)).json()) as { readonly access_token: string }).access_token
    const shown = async (more: Json = {}, by = key) => ({
      authorization: `DPoP ${token}`,
      dpop: await by.proof({ url, token, nonce, ...more }),
    })
    const post = async (message: Json, headers: Json) => {
      const answer = await house.fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'accept': 'application/json, text/event-stream',
          ...headers,
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...message }),
      })
      const text = await answer.text()
      return { status: answer.status, text, session: answer.headers.get('mcp-session-id') ?? '' }
    }
    return { url, token, shown, post }
  }
  const said = () => [...old.said, ...sock.said]

  it.each(['old', 'sock'])(
    'each call of a session with %s, a server on a connection, needs a proof of its own',
    async (id) => {
      const { url, token, shown, post } = await boundCaller(id)
      const params = {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'a', version: '1' },
      }
      const first = await shown()
      const { status, session } = await post({ method: 'initialize', params }, first)
      expect(status).toBe(200)
      const going = { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }
      const second = await shown()
      expect((await post({ method: 'tools/list' }, { ...going, ...second })).status).toBe(200)
      const before = said()
      const cases: readonly (readonly [string, Json])[] = [
        ['token.bound', { authorization: `Bearer ${token}` }],
        ['proof.missing', { authorization: `DPoP ${token}` }],
        ['proof.replayed', first],
        ['proof.replayed', second],
        ['proof.key', await shown({}, await createProver())],
        ['proof.url', await shown({ url: `${url}/of-another` })],
        ['proof.method', await shown({ method: 'GET' })],
        ['proof.nonce', await shown({ nonce: undefined })],
      ]
      for (const [code, headers] of cases) {
        const answer = await post({ method: 'tools/list' }, { ...going, ...headers })
        expect([answer.status, (JSON.parse(answer.text) as Json)['code']], code).toEqual([401, code])
      }
      expect(said()).toEqual(before)
      expect(JSON.stringify([old.heard, sock.heard])).not.toContain(token)
    },
  )

  itWhere(name !== 'in process')('a WebSocket opens by a proof that was not used before', async () => {
    const { url, token, shown } = await boundCaller('sock')
    const at = url.replace('http', 'ws')
    const headers = await shown({ url: at, method: 'GET' })
    const { socket, said: heard, closing } = await dialSocket(at, { headers })
    socket.send(JSON.stringify(call()))
    await expect.poll(() => heard.map(({ error }) => error)).toEqual([undefined])
    const shaken = sock.heard.length
    for (const again of [headers, { authorization: `Bearer ${token}` }])
      await expect(dialSocket(at, { headers: again })).rejects.toThrow('401')
    expect(sock.heard.length).toBe(shaken)
    socket.close()
    await closing
  })
})
