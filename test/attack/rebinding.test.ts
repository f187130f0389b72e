// A server that an administrator added, whose name begins to mean a machine inside. On the Node door;
// Cloudflare's network reaches the public internet alone.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Lookup, createOutbound, globalAddresses } from '../../src/node/outbound.ts'
import { signInAs } from '../runtimes/administrator.ts'
import { type TestGateway, openOnSocket } from '../runtimes/runtimes.ts'
import { underAnyName } from '../runtimes/named.ts'
import { ana, callerOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { createListeners } from '../unit/listeners.ts'

const listeners = createListeners()
let house: TestGateway
let upstream: Upstream
let answers = ['1.1.1.1']
const asked: string[] = []

const lookup: Lookup = (host) => {
  asked.push(host)
  return Promise.resolve(answers.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })))
}

const guarded = createOutbound({ allowOrigins: [], lookup })

beforeAll(async () => {
  upstream = await openUpstream()
  house = await openOnSocket({
    upstream: upstream.url,
    config: { admins: ['local:ana'], local_users: [ana], domain_root: 'root.localhost' },
    lookup,
    // What stands at the name while it means a public address.
    outbound: async (url, options = {}) => {
      if (!new URL(url).hostname.endsWith('.example')) return guarded(url, options)
      if (url.endsWith('/sse')) return { status: 405, headers: new Headers(), body: new Uint8Array() }
      await globalAddresses(new URL(url).hostname, lookup)
      if (options.body === undefined) return { status: 404, headers: new Headers(), body: new Uint8Array() }
      const { id } = JSON.parse(options.body) as { id?: unknown }
      return {
        status: 200,
        headers: new Headers({ 'content-type': 'application/json' }),
        body: new TextEncoder().encode(
          JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion: '2025-11-25', tools: [] } }),
        ),
      }
    },
  })
})
afterAll(async () => {
  listeners.close()
  await house.close()
  await upstream.close()
})

it('never leads inside when its name is resolved again, by call, by stream, by session or by encoded host [H-C6]', async () => {
  const { port, seen } = await listeners.trap()
  const admin = await signInAs(house, ana)
  const added = await admin.ask('POST', '/api/services', {
    id: 'turning',
    service: { url: `https://turning.example:${port}/mcp`, auth_required: false },
  })
  expect([added.status, asked.length > 0]).toEqual([201, true])
  expect(JSON.parse((await admin.ask('GET', '/api/services/turning')).body)).toMatchObject({
    network: 'public',
  })
  // What was approved is served at its encoded host as well.
  const encoded = (await (await house.fetch(`${house.origin}/encode?domain=turning.example`)).json()) as {
    url: string
    registered: boolean
  }
  const fetch = underAnyName(house, true)
  expect([encoded.registered, encoded.url]).toEqual([true, expect.stringContaining('-enc.root.localhost:')])
  for (const address of ['127.0.0.1', '::ffff:127.0.0.1', '169.254.169.254', '10.0.0.1']) {
    answers = [address]
    const caller = callerOf(house, `${house.origin}/turning/mcp`, '')
    const refused = {
      jsonrpc: '2.0',
      error: { code: 1502, message: 'The gateway is not allowed to connect to that address.' },
    }
    for (const answer of [
      await caller.post(call()),
      await caller.post({ ...call(), method: 'initialize' }),
      await caller.get(),
    ])
      expect([answer.status, await answer.json()]).toMatchObject([502, refused])
    expect((await callerOf({ ...house, fetch }, encoded.url, '').post(call())).status).toBe(502)
    const stream = await callerOf(house, `${house.origin}/turning/sse`, '').get()
    const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader()
    const endpoint = /data: (\S+)/.exec((await reader?.read())?.value ?? '')?.[1] ?? ''
    await callerOf(house, `${house.origin}${endpoint}`, '').post({ ...call(), method: 'initialize' })
    expect((await reader?.read())?.value).toContain('1502')
    await reader?.cancel()
  }
  expect(seen).toEqual({ connections: 0, bytes: 0 })
  // The operator reads what happened.
  expect(
    house.log.filter(
      ({ event, fields }) =>
        event === 'refused' && String(fields['why']).includes('turning.example resolves to'),
    ).length,
  ).toBeGreaterThan(0)
})

it('never looks inside for a server on a connection, though a first look outside invites to it', async () => {
  const { port, seen } = await listeners.trap()
  const admin = await signInAs(house, ana)
  answers = ['127.0.0.1']
  for (const [url, say] of [
    [`https://line.example:${port}/sse`, 'No MCP server at this URL.'],
    [`wss://line.example:${port}/`, 'Only public https URLs can be added here.'],
    [`wss://127.0.0.1:${port}/`, 'Only public https URLs can be added here.'],
    [
      `ws://line.example:${port}/`,
      'Use a wss:// URL. Plain ws:// is allowed only when the service is added on the gateway',
    ],
  ] as const) {
    const answer = await admin.ask('POST', '/api/services', { id: 'line', service: { url } })
    expect([url, answer.status, JSON.parse(answer.body)]).toMatchObject([
      url,
      422,
      { code: 'service.unusable', error_description: expect.stringContaining(say) },
    ])
  }
  expect(seen).toEqual({ connections: 0, bytes: 0 })
})

it('never makes the gateway believe addresses inside because the addition names them as its sign-in', async () => {
  const { port, seen } = await listeners.trap()
  answers = ['1.1.1.1']
  const admin = await signInAs(house, ana)
  const inside = `http://127.0.0.1:${port}`
  const service = {
    url: 'https://named.example/mcp',
    upstream_auth: { type: 'oauth', issuer: inside, client_id: 'x', allow_origins: [inside] },
  }
  const added = await admin.ask('POST', '/api/services', { id: 'named', service })
  expect(added.status).toBe(201)
  const page = await admin.browser.go(`${house.origin}/connect/named`)
  const end = await admin.browser.submit(page, '/connect/named', {})
  expect(end.status).toBeGreaterThanOrEqual(400)
  expect(seen).toEqual({ connections: 0, bytes: 0 })
})
