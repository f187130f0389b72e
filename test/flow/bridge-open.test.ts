// What clients hold open at a command ends with their access.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, openInProcess, openOnSocket } from '../runtimes/runtimes.ts'
import { form, logIn, person } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { endsWithin } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { serverScript } from '../stdio/world.ts'

const meta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}
const subscription = {
  jsonrpc: '2.0',
  id: 1,
  method: 'subscriptions/listen',
  params: { _meta: meta, notifications: { toolsListChanged: true } },
}
const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
}

const runtimes = [
  ['in process', openInProcess],
  ['on a node socket', openOnSocket],
] as const

describe.each(runtimes)('%s, what is open at a command', (_name, open) => {
  let house: TestGateway
  let upstream: Upstream
  beforeAll(async () => {
    upstream = await openUpstream((_, response) => response.end('{}'))
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [person],
        mcp_services: {
          small: { command: process.execPath, args: [serverScript, '--modern'], sandbox: 'none' },
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await house?.close()
    await upstream?.close()
  }, 60_000)

  it('ends within five seconds when the grant is revoked', async () => {
    const resource = `${house.origin}/small/mcp`
    const { client, tokens } = await logIn(house, resource)
    const caller = callerOf(house, resource, tokens.access_token)
    const begun = await caller.post(initialize)
    await begun.text()
    const session = {
      'mcp-session-id': begun.headers.get('mcp-session-id') ?? '',
      'mcp-protocol-version': '2025-11-25',
    }
    const streams = await Promise.all([
      caller.get(session),
      caller.post(subscription, {
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'subscriptions/listen',
      }),
    ])
    expect(streams.map(({ status, headers }) => [status, headers.get('content-type')])).toEqual([
      [200, 'text/event-stream'],
      [200, 'text/event-stream'],
    ])
    const ends = Promise.all(
      streams.map((stream) =>
        stream.text().then(
          () => 'ended',
          () => 'cut',
        ),
      ),
    )
    await house.fetch(
      `${house.origin}/oauth/revoke`,
      form({ token: tokens.refresh_token, client_id: client.id }),
    )
    // What was asked and not answered must not look answered.
    expect(await endsWithin(5000, house, ends)).toEqual(['ended', 'cut'])
    expect((await caller.get(session)).status).toBe(401)
  }, 60_000)
})
