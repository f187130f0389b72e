// A client of MCP 2024-11-05 (HTTP with SSE) in front of a command: the official SDK's client at /sse, a
// process on standard input and output behind it.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Client, SSEClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, openInProcess, openOnSocket } from '../runtimes/runtimes.ts'
import { ana, tokenOf, yamada } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { isAlive, serverScript } from '../stdio/world.ts'

const runtimes = [
  ['in process', openInProcess],
  ['on a node socket', openOnSocket],
] as const

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const textOf = (result: unknown): Record<string, unknown> =>
  JSON.parse((result as { content: { text: string }[] }).content[0]?.text ?? 'null') as Record<
    string,
    unknown
  >

describe.each(runtimes)('a command behind HTTP+SSE %s', (_name, open) => {
  let house: TestGateway
  let upstream: Upstream
  const tokens = new Map<string, string>()
  const connect = async (who = ana): Promise<Client> => {
    const url = `${house.origin}/small/sse`
    const token = tokens.get(who.username) ?? (await tokenOf(house, who, url))
    tokens.set(who.username, token)
    const client = new Client(
      { name: 'flow', version: '1' },
      { capabilities: { roots: {}, sampling: {}, elicitation: {} } },
    )
    client.setRequestHandler('roots/list', () => ({
      roots: [{ uri: `file:///${who.username}`, name: who.username }],
    }))
    client.setRequestHandler('elicitation/create', ({ params }) => ({
      action: 'accept',
      content: { heard: params.message },
    }))
    client.setRequestHandler('sampling/createMessage', () => ({
      role: 'assistant',
      content: { type: 'text', text: `for ${who.username}` },
      model: 'm',
    }))
    await client.connect(
      new SSEClientTransport(new URL(url), {
        fetch: house.fetch as typeof fetch,
        requestInit: { headers: { authorization: `Bearer ${token}` } },
      }),
    )
    return client
  }
  const call = async (
    client: Client,
    name: string,
    args: Record<string, unknown> = {},
  ): Promise<Record<string, unknown>> => textOf(await client.callTool({ name, arguments: args }))

  beforeAll(async () => {
    upstream = await openUpstream((_, response) => response.end('{}'))
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana, yamada],
        mcp_services: { small: { command: process.execPath, args: [serverScript], sandbox: 'none' } },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await house?.close()
    await upstream?.close()
  }, 60_000)

  it('is called, reports progress and asks its client for roots, input and a completion [C5, C6]', async () => {
    const client = await connect()
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain('echo')
    expect(await call(client, 'echo', { n: 1 })).toMatchObject({ n: 1 })
    const seen: number[] = []
    await client.callTool(
      { name: 'progress', arguments: { steps: 3, slowly: true } },
      { onprogress: ({ progress }) => void seen.push(progress) },
    )
    expect(seen).toEqual([1, 2, 3])
    expect(JSON.stringify(await call(client, 'roots'))).toContain('file:///ana')
    expect(JSON.stringify(await call(client, 'elicit', { question: 'Who?' }))).toContain('"heard":"Who?"')
    expect(JSON.stringify(await call(client, 'sample'))).toContain('for ana')
    await client.close()
  })

  it('hears a cancellation, and tells of itself without being asked [C5, C17]', async () => {
    const client = await connect()
    const told = new Promise<void>((resolve) =>
      client.setNotificationHandler('notifications/tools/list_changed', () => resolve()),
    )
    const leaving = new AbortController()
    const hanging = client.callTool({ name: 'hang', arguments: {} }, { signal: leaving.signal })
    await call(client, 'echo')
    leaving.abort('enough')
    await expect(hanging).rejects.toThrow()
    // Two messages of a client of HTTP+SSE are two requests, which may overtake each other.
    await expect.poll(() => call(client, 'cancelled')).toHaveLength(1)
    await call(client, 'announce')
    await told
    await client.close()
  })

  it('is a process for each person, and ends when its client leaves, however long the stream was open [C18]', async () => {
    const [mine, theirs] = [await connect(), await connect(yamada)]
    const [one, two] = [
      Number((await call(mine, 'echo'))['pid']),
      Number((await call(theirs, 'echo'))['pid']),
    ]
    expect(one).not.toBe(two)
    expect(JSON.stringify(await call(theirs, 'roots'))).toContain('file:///yamada')
    // What nobody holds is gone by then.
    collect()
    await mine.close()
    await until(() => !isAlive(one), 'the end of the one')
    expect((await call(theirs, 'echo'))['pid']).toBe(two)
    await theirs.close()
    await until(() => !isAlive(two), 'the end of the other')
  }, 60_000)

  it('that dies in mid-call fails the call in words', async () => {
    const client = await connect()
    await expect(client.callTool({ name: 'exit', arguments: {} })).rejects.toThrow(
      'The MCP server exited with code 3.',
    )
    await client.close()
  })
})
