// Tokens that are bound to a key, on what stays open: the proof is judged when it is opened, and by nobody again.
// Clients of HTTP+SSE, whose sessions live elsewhere on Workers, are in test/attack/bound-tokens.test.ts, and servers on a
// connection in test/flow/upstream-dpop.test.ts.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { allow, authorizeUrl, form, register } from '../runtimes/login.ts'
import { endsWithin, until } from '../runtimes/proxied.ts'
import { type Prover, createProver } from '../runtimes/proofs.ts'
import { type RuntimeGateway, openOnSocket } from '../runtimes/runtimes.ts'
import { dialSocket } from '../runtimes/socket-client.ts'
import { type SocketUpstream, openSocketUpstream } from '../runtimes/socket-upstream.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'

let gateway: RuntimeGateway
let upstream: Upstream
let server: SocketUpstream
let key: Prover
/** Of the gateway, which goes ahead of this computer's. */
let ahead = 0
beforeAll(async () => {
  server = await openSocketUpstream()
  upstream = await openUpstream((request, response, body) => {
    if (request.method === 'GET')
      return void response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here\n\n')
    if (request.method === 'DELETE') return void response.writeHead(200).end()
    const { id, method, params } = JSON.parse(body) as {
      readonly id?: number
      readonly method: string
      readonly params?: { readonly protocolVersion?: string }
    }
    if (id === undefined) return void response.writeHead(202).end()
    const opened = {
      protocolVersion: params?.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: 's', version: '1' },
    }
    response.setHeader('content-type', 'application/json')
    if (method === 'initialize') response.setHeader('mcp-session-id', 'theirs')
    const result = method === 'initialize' ? opened : { tools: [] }
    response.end(JSON.stringify({ jsonrpc: '2.0', id, result }))
  })
  gateway = await openOnSocket({
    upstream: upstream.url,
    config: { dpop: { mode: 'required' }, mcp_services: { sock: { url: server.url } } },
  })
  key = await createProver()
}, 120_000)
afterAll(async () => {
  await gateway?.close()
  await Promise.all([upstream?.close(), server?.close()])
})

const post = async (fields: Record<string, string>, nonce?: string) => {
  const url = `${gateway.origin}/oauth/token`
  const init = form(fields)
  const dpop = await key.proof({ url, nonce, now: Date.now() + ahead })
  return gateway.fetch(url, { ...init, headers: { ...(init.headers as object), dpop } })
}
const nonceNow = async () =>
  (await post({ grant_type: 'refresh_token' })).headers.get('dpop-nonce') ?? undefined
const tokenFor = async (id: string) => {
  const app = await register(gateway)
  const asking = authorizeUrl(gateway, app, { resource: `${gateway.origin}/${id}/mcp` })
  const back = await allow(createBrowser(gateway.fetch, gateway.origin), asking.url)
  const fields = {
    grant_type: 'authorization_code',
    code: back.searchParams.get('code') ?? '',
    redirect_uri: app.redirectUri,
    client_id: app.id,
    code_verifier: asking.verifier,
  }
  const answer = await post(fields, await nonceNow())
  return { app, token: ((await answer.json()) as { readonly access_token: string }).access_token }
}
const fieldsFor = async (url: string, token: string, method: string) => ({
  authorization: `DPoP ${token}`,
  dpop: await key.proof({ url, method, token, nonce: await nonceNow(), now: Date.now() + ahead }),
})
const openStream = async (token: string) => {
  const url = `${gateway.origin}/echo/mcp`
  const headers = { accept: 'text/event-stream', ...(await fieldsFor(url, token, 'GET')) }
  return gateway.fetch(url, { headers })
}

it('the next nonce comes with any answer once the one in use is old', async () => {
  const { token } = await tokenFor('echo')
  const url = `${gateway.origin}/echo/mcp`
  const advance = (ms: number): void => {
    ahead += ms
    gateway.advance(ms)
  }
  // Early in a minute, so that the next one is not over while this goes on.
  advance(61_000 - ((Date.now() + ahead) % 60_000))
  const old = await nonceNow()
  const post = async (body: string, nonce = old) => {
    const dpop = await key.proof({ url, token, nonce, now: Date.now() + ahead })
    const headers = {
      'content-type': 'application/json',
      'accept': 'application/json, text/event-stream',
      'authorization': `DPoP ${token}`,
      dpop,
    }
    const answer = await gateway.fetch(url, { method: 'POST', headers, body })
    return { status: answer.status, next: answer.headers.get('dpop-nonce') }
  }
  advance(60_000)
  const listing = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
  const [answered, refused] = [await post(listing), await post('{')]
  expect([answered.status, refused.status]).toEqual([200, 400])
  expect(answered.next).toMatch(/^[\w-]{24}$/)
  expect(refused.next).toMatch(/^[\w-]{24}$/)
  expect(await post(listing, answered.next ?? '')).toMatchObject({ status: 200 })
})

it('a WebSocket needs a proof for its handshake, and none for its messages', async () => {
  const { token } = await tokenFor('sock')
  const url = `${gateway.origin.replace('http', 'ws')}/sock/mcp`
  const headers = await fieldsFor(url, token, 'GET')
  const { socket, said, closing } = await dialSocket(url, { headers })
  for (const id of [1, 2]) {
    const params = { name: 'whoami', arguments: {} }
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params }))
    await until(() => said.length === id, 'an answer')
  }
  expect(said.map(({ error }) => error)).toEqual([undefined, undefined])
  expect(JSON.parse(said[0]?.result?.content?.[0]?.text ?? '{}')).not.toHaveProperty('dpop')
  socket.close()
  await closing
  await expect(dialSocket(url, { headers })).rejects.toThrow('401')
})

it('a stream is not cut when its nonce is old, and ends with its grant (case 71)', async () => {
  const { app, token } = await tokenFor('echo')
  const stream = await openStream(token)
  expect(stream.status).toBe(200)
  let over = false
  const read = stream.text().then(
    () => (over = true),
    () => (over = true),
  )
  for (let minutes = 0; minutes < 10; minutes++) {
    ahead += 60_000
    gateway.advance(60_000)
    // Whoever watches has looked by then.
    expect((await gateway.fetch(`${gateway.origin}/healthz`)).status).toBe(200)
  }
  expect(over).toBe(false)
  await gateway.fetch(`${gateway.origin}/oauth/revoke`, form({ token, client_id: app.id }))
  await endsWithin(5000, gateway, read)
})
