// What an upstream speaks is learned from what it says to somebody it knows: refusals, outages and silence
// are no verdict on its revision or its transport.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectAt, linkIn, logInThrough } from '../runtimes/connecting.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import { type TestGateway, openInProcess, openOnSocket } from '../runtimes/runtimes.ts'
import { type LegacyUpstream, openLegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { ana, type Caller } from '../runtimes/people.ts'
import { call, modernCall, modernHeaders } from '../runtimes/proxied.ts'

const runtimes = [
  ['in process', openInProcess],
  ['on a node socket', openOnSocket],
] as const

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'x', version: '1' } },
}
const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? ''

describe.each(runtimes)('%s', (_name, open) => {
  let far: FarServer
  let old: LegacyUpstream
  let moody: LegacyUpstream
  /** Answers that the moody server gives before it is itself: a server of HTTP+SSE. */
  let moods: number[] = []
  let house: TestGateway
  beforeAll(async () => {
    far = await openFarServer()
    const challenge = `Bearer resource_metadata="${far.origin}/about-old"`
    old = await openLegacyUpstream(undefined, ({ authorization = '' }) =>
      far.isGood(authorization.slice(7)) ? undefined : challenge,
    )
    far.script.instead.set('/about-old', () => ({
      body: { resource: old.url, authorization_servers: [far.origin] },
    }))
    moody = await openLegacyUpstream(undefined, () => moods.shift())
    house = await open({
      upstream: moody.url,
      config: {
        local_users: [ana],
        mcp_services: {
          old: { name: 'Old', url: old.url, upstream_auth: { allow_origins: [far.origin] } },
          modern: { url: far.url },
        },
      },
    })
  })
  afterAll(async () => {
    await house.close()
    await Promise.all([far.close(), old.close(), moody.close()])
  })
  beforeEach(() => {
    moods = []
  })

  const clientOf = async (caller: Caller): Promise<Client> => {
    const client = new Client({ name: 'flow', version: '1' })
    await client.connect(
      new StreamableHTTPClientTransport(new URL(caller.url), {
        fetch: house.fetch as typeof fetch,
        requestInit: { headers: { authorization: `Bearer ${caller.token}` } },
      }),
    )
    return client
  }

  it('a server of HTTP+SSE that has nothing at POST is asked with GET who it wants to see, and found to be one once the person is known [D8]', async () => {
    const { caller, consent, browser } = await logInThrough(house, 'old')
    expect(consent.body).toContain('will also ask for your approval')
    expect(old.heard.slice(0, 2).map(({ method }) => method)).toEqual(['POST', 'GET'])
    const client = await clientOf(caller)
    expect(textOf(await client.callTool({ name: 'whoami', arguments: {} }))).toMatch(
      /"authorization":"Bearer access-\d+"/,
    )
    // The token dies at the server: the next session is opened with another, and only then is anybody asked.
    far.expire()
    const again = await clientOf(caller)
    expect(textOf(await again.callTool({ name: 'whoami', arguments: {} }))).toMatch(
      /"authorization":"Bearer access-\d+"/,
    )
    far.revoke()
    const link = linkIn(await (await caller.post(initialize)).text())
    expect(link).toContain(`${house.origin}/connect/old?for=`)
    await connectAt(house, link, { browser })
    expect(textOf(await (await clientOf(caller)).callTool({ name: 'whoami', arguments: {} }))).toMatch(
      /"authorization":"Bearer access-\d+"/,
    )
    await Promise.all([client.close(), again.close()])
  })

  it('refusals, faults and broken connections before that leave open what a server speaks [D8]', async () => {
    const { caller } = await logInThrough(house, 'echo')
    // The broken one is asked again, once: initialize may be (RFC 9110 §9.2.2).
    moods = [500, 503, 0, 0, 429, 403]
    for (const expected of [500, 503, 502, 429, 403])
      expect((await caller.post(initialize)).status).toBe(expected)
    const client = await clientOf(caller)
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain('whoami')
    await client.close()
  })

  it('a 401 to a question of one revision says nothing about the others: with a token each is answered [D8]', async () => {
    const { caller } = await logInThrough(house, 'modern')
    expect(far.asked.find(({ path }) => path === '/mcp')?.headers).toMatchObject({
      'mcp-protocol-version': '2026-07-28',
    })
    for (const [message, headers] of [
      [call(), { 'mcp-protocol-version': '2025-06-18' }],
      [modernCall(), modernHeaders()],
      [call(), { 'mcp-protocol-version': '2025-11-25' }],
    ] as const) {
      const answer = await caller.post(message, headers)
      expect([answer.status, await answer.text()]).toEqual([200, expect.stringMatching(/access-\d+/)])
      expect(far.calls.at(-1)?.headers['mcp-protocol-version']).toBe(headers['mcp-protocol-version'])
    }
  })

  it('an outage while somebody logs in is not remembered as a server that wants nothing [D8]', async () => {
    const fresh = await open({ upstream: far.url, config: { local_users: [ana] } })
    try {
      far.script.instead.set('/mcp', () => ({ status: 503, body: {} }))
      expect((await logInThrough(fresh, 'echo')).consent.body).not.toContain(
        'will also ask for your approval',
      )
      far.script.instead.delete('/mcp')
      fresh.advance(11_000)
      expect((await logInThrough(fresh, 'echo')).consent.body).toContain('will also ask for your approval')
    } finally {
      await fresh.close()
    }
  })
})
