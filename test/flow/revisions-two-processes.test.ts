// The revision bridge with two processes of one gateway on one storage file, as behind a load balancer.
import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { type RevisionUpstream, openLegacyOnly, openModernOnly } from '../runtimes/revision-upstreams.ts'
import { askModern, beginLegacy, lastOf } from '../runtimes/revisions.ts'
import { logIn } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import type { TestGateway } from '../runtimes/runtimes.ts'
import { createTwins, type Twins } from '../runtimes/twins.ts'

const ends: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})

const open = async (upstream: RevisionUpstream) => {
  const twins: Twins = createTwins(upstream.url)
  ends.push(twins.close, upstream.close)
  const shared = { session_secret: randomBytes(32).toString('base64url') }
  const [a, b] = [await twins.open(shared), await twins.open(shared)]
  const { tokens } = await logIn(a)
  return [a, b].map((twin) =>
    callerOf(twin as unknown as TestGateway, `${twin.origin}/echo/mcp`, tokens.access_token),
  )
}

describe('Two processes', () => {
  it('share the sessions of legacy clients, with their log level and their end [C20]', async () => {
    const [one, other] = await open(await openModernOnly())
    const { session } = await beginLegacy(one!)
    const logging = {
      jsonrpc: '2.0',
      id: 3,
      method: 'tools/call',
      params: { name: 'test_tool_with_logging', arguments: {} },
    }
    expect(await (await other!.post(logging, session)).text()).not.toContain('notifications/message')
    expect(
      (
        await one!.post(
          { jsonrpc: '2.0', id: 2, method: 'logging/setLevel', params: { level: 'debug' } },
          session,
        )
      ).status,
    ).toBe(200)
    expect(await (await other!.post(logging, session)).text()).toContain('notifications/message')
    expect((await other!.delete(session)).status).toBe(200)
    expect((await other!.post(logging, session)).status).toBe(404)
    expect((await (await one!.post(logging, session)).text()).includes('"code":1404')).toBe(true)
  })

  it('share the one session that a person has at a legacy server [C20]', async () => {
    const legacy = await openLegacyOnly()
    const callers = await open(legacy)
    await Promise.all(callers.map(async (caller) => (await askModern(caller, 'tools/list')).text()))
    legacy.heard.length = 0
    for (const caller of callers)
      expect((await lastOf(await askModern(caller, 'prompts/list'))).result).toMatchObject({
        resultType: 'complete',
      })
    const used = legacy.heard
      .filter(({ message }) => message?.['method'] === 'prompts/list')
      .map(({ headers }) => headers.get('mcp-session-id'))
    expect([used.length, new Set(used).size]).toEqual([2, 1])
  })
})
