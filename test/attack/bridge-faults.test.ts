// A server on standard input and output that goes wrong in every way, behind a whole gateway: who called is
// told, and nobody else notices.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, openInProcess, openOnSocket } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { endsWithin } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { isAlive, serverScript, until } from '../stdio/world.ts'

const runtimes = [
  ['in process', openInProcess],
  ['on a node socket', openOnSocket],
] as const

const meta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}

interface Said {
  readonly status: number
  readonly result?: Record<string, unknown>
  readonly error?: { readonly code: number; readonly message: string }
}

const call = async (caller: Caller, name: string, args: object = {}): Promise<Said> => {
  const body = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args, _meta: meta } }
  const answer = await caller.post(body, {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': name,
  })
  const text = await answer.text()
  const json = text.startsWith('{')
    ? text
    : (text.split('\n').findLast((line) => line.startsWith('data: {')) ?? '').slice(6)
  const { result, error } = JSON.parse(json) as {
    result?: { content: { text: string }[] }
    error?: Said['error']
  }
  return {
    status: answer.status,
    ...(result ? { result: JSON.parse(result.content[0]?.text ?? 'null') as Record<string, unknown> } : {}),
    ...(error ? { error } : {}),
  }
}

describe.each(runtimes)('never at the expense of the gateway: a server %s', (_name, open) => {
  let house: TestGateway
  let upstream: Upstream
  let caller: Caller
  let other: Caller

  beforeAll(async () => {
    upstream = await openUpstream((_, response) => response.end('{}'))
    const frail = {
      name: 'Frail',
      command: process.execPath,
      args: [serverScript, '--modern'],
      sandbox: 'none' as const,
      timeout: 4000,
    }
    house = await open({
      upstream: upstream.url,
      config: { local_users: [ana, yamada], mcp_services: { frail } },
    })
    const url = `${house.origin}/frail/mcp`
    ;[caller, other] = [
      callerOf(house, url, await tokenOf(house, ana, url)),
      callerOf(house, url, await tokenOf(house, yamada, url)),
    ]
  }, 60_000)
  afterAll(async () => {
    await house?.close()
    await upstream?.close()
  }, 60_000)

  it('never brings down more than its own call, whether it floods, hangs, forks, lies or dies [H-N8] [C17]', async () => {
    const before = Number((await call(other, 'echo')).result?.['pid'])
    const faults: readonly (readonly [string, number, string])[] = [
      ['endless', 502, 'The MCP server was stopped: its message was too large.'],
      ['exit', 502, 'The MCP server exited with code 3.'],
      ['hang', 504, 'Request to Frail timed out'],
      [
        'die-mid-answer',
        502,
        'The MCP server was killed (SIGKILL), possibly because the system ran out of memory.',
      ],
    ]
    const memory = process.memoryUsage.rss()
    for (const [tool, status, message] of faults) {
      // Rested after the failure before.
      house.advance(60_000)
      const calling = call(caller, tool)
      const said = await (tool === 'hang' ? endsWithin(10_000, house, calling) : calling)
      expect([tool, said.status, said.error?.message]).toEqual([tool, status, message])
      expect((await call(other, 'echo', { tool })).result).toMatchObject({ pid: before, tool })
    }
    expect(process.memoryUsage.rss() - memory).toBeLessThan(200_000_000)
    house.advance(60_000)
    for (const tool of ['garbage', 'strangers'])
      expect((await call(caller, tool, { tool })).result).toMatchObject({ tool })
    const { left } = (await call(caller, 'fork')).result as { left: number[] }
    house.advance(60_000)
    await call(caller, 'exit')
    await until(() => !left.some(isAlive), 'the end of what it left behind')
    expect((await call(other, 'echo')).result).toMatchObject({ pid: before })
    expect((await house.fetch(`${house.origin}/healthz`)).status).toBe(200)
  }, 60_000)
})
