// Modern clients at legacy servers and legacy clients at modern servers, in every runtime. The clients are
// the official SDK; the servers are the reference server, limited to one of the two.
import { Client, SSEClientTransport } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { askModern, type RevisionWorld, openRevisionWorld, textOf } from '../runtimes/revisions.ts'
import { runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { ana, tokenOf } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'

const clientOf = (mode: 'legacy' | 'auto', more: object = {}): Client => {
  const client = new Client(
    { name: 'revisions', version: '1' },
    {
      capabilities: { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} },
      versionNegotiation: { mode },
      ...more,
    },
  )
  client.setRequestHandler('elicitation/create', () => ({
    action: 'accept' as const,
    content: { username: 'ana', email: 'ana@example.com', ok: true },
  }))
  client.setRequestHandler('sampling/createMessage', () => ({
    role: 'assistant' as const,
    model: 'none',
    content: { type: 'text' as const, text: 'sampled' },
  }))
  return client
}

describe.each(runtimes)('Revisions %s', (where, open) => {
  let world: RevisionWorld
  const lasting = where !== 'in workerd'

  beforeAll(async () => {
    world = await openRevisionWorld(open)
  }, 120_000)
  afterAll(() => world?.close())

  const ways = [
    ['2025 and before', 'a server of 2026-07-28', 'modern', 'legacy'],
    ['2026-07-28', 'a server of 2025 and before', 'legacy', 'auto'],
  ] as const

  describe.each(ways)('a client of %s at %s', (_client, _server, service, mode) => {
    let client: Client
    beforeAll(async () => {
      client = await world.connect(clientOf(mode), service)
    })
    afterAll(() => client?.close())

    it('is initialized in its own revision, and offered only what can be translated [C20]', async () => {
      expect([client.getProtocolEra(), client.getServerVersion()?.name]).toEqual([
        mode === 'auto' ? 'modern' : 'legacy',
        'postern-reference',
      ])
      const offered = client.getServerCapabilities()
      expect(Object.keys(offered ?? {}).sort()).toEqual([
        'completions',
        'logging',
        'prompts',
        'resources',
        'tools',
      ])
      // Where nothing of the server's own accord can reach the client, nothing promises that it will.
      const changes = lasting || service === 'modern'
      expect([offered?.tools?.listChanged, offered?.resources?.subscribe]).toEqual([
        changes ? true : undefined,
        lasting ? true : undefined,
      ])
    })

    it('lists, calls, reads, gets and completes [C20]', async () => {
      const { tools } = await client.listTools()
      expect(tools.length).toBeGreaterThan(20)
      expect(textOf(await client.callTool({ name: 'test_simple_text', arguments: {} }))).toContain(
        'simple text response',
      )
      expect(await client.callTool({ name: 'test_error_handling', arguments: {} })).toMatchObject({
        isError: true,
      })
      expect((await client.readResource({ uri: 'test://static-text' })).contents).toHaveLength(1)
      expect((await client.listResources()).resources.length).toBe(3)
      expect((await client.listResourceTemplates()).resourceTemplates.length).toBe(1)
      expect((await client.listPrompts()).prompts.length).toBe(5)
      expect((await client.getPrompt({ name: 'test_simple_prompt' })).messages).toHaveLength(1)
      expect(
        (
          await client.complete({
            ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' },
            argument: { name: 'arg1', value: 'par' },
          })
        ).completion.values,
      ).toEqual(['paris', 'park', 'party'])
    })

    it('sends parameters that are repeated in headers, whatever their value [C9, C20]', async () => {
      await client.listTools()
      expect(
        JSON.parse(
          textOf(
            await client.callTool({ name: 'test_custom_headers', arguments: { region: 'tōkyō', limit: 3 } }),
          ),
        ),
      ).toEqual({ region: 'tōkyō', limit: 3 })
    })

    it('receives progress [C20]', async () => {
      const seen: number[] = []
      await client.callTool(
        { name: 'test_tool_with_progress', arguments: {} },
        { onprogress: ({ progress }) => void seen.push(progress) },
      )
      expect(seen.slice(0, 2)).toEqual([0, 50])
    })

    it('gets an error for a resource that does not exist [C20]', async () => {
      await expect(client.readResource({ uri: 'test://nothing' })).rejects.toThrow('test://nothing')
    })

    itWhere(lasting)(
      'gets the server’s elicitation, and the call continues with the answer [C5, C12, C20]',
      async () => {
        expect(
          textOf(await client.callTool({ name: 'test_elicitation', arguments: { message: 'Who?' } })),
        ).toContain('"username":"ana"')
        expect(
          textOf(await client.callTool({ name: 'test_sampling', arguments: { prompt: 'Say something' } })),
        ).toBe('LLM response: sampled')
        expect(textOf(await client.callTool({ name: 'test_streaming_elicitation', arguments: {} }))).toBe(
          'Confirmed.',
        )
      },
    )

    itWhere(!lasting)('gets an error for an elicitation where no call can wait [C20]', async () => {
      const said = await client
        .callTool({ name: 'test_elicitation', arguments: { message: 'Who?' } })
        .then(textOf, String)
      expect(said).toMatch(/capabilit|not support|this client cannot provide/i)
    })
  })

  itWhere(lasting)(
    'change notifications reach the client that listens, and no other [C11, C20]',
    async () => {
      for (const [service, mode] of [
        ['modern', 'legacy'],
        ['legacy', 'auto'],
      ] as const) {
        const changed: string[] = []
        const client = clientOf(mode, {
          listChanged: {
            tools: { autoRefresh: false, debounceMs: 0, onChanged: () => void changed.push('tools') },
          },
        })
        const upstream = world[service]
        const before = upstream.heard.length
        await world.connect(client, service)
        await until(
          () =>
            upstream.heard
              .slice(before)
              .some(({ http, message }) => http === 'GET' || message?.['method'] === 'subscriptions/listen'),
          'the stream',
        )
        await client.callTool({ name: 'test_trigger_tool_change', arguments: {} })
        await until(() => changed.length > 0, `the change at ${service}`)
        await client.close()
      }
    },
  )

  itWhere(lasting)(
    'a legacy client receives updates of a resource from the moment it subscribes [C20]',
    async () => {
      const client = await world.connect(clientOf('legacy'), 'modern')
      const updated: string[] = []
      client.setNotificationHandler(
        'notifications/resources/updated',
        ({ params }) => void updated.push(params.uri),
      )
      const watching = (): boolean =>
        world.modern.heard.some(({ message }) =>
          JSON.stringify(message ?? '').includes('"resourceSubscriptions":["test://watched-resource"]'),
        )
      await client.subscribeResource({ uri: 'test://watched-resource' })
      await until(watching, 'the subscription')
      // The subscription is told to the server before its changes are.
      for (let tries = 0; tries < 50 && updated.length === 0; tries++)
        await client.callTool({ name: 'test_trigger_resource_update', arguments: {} })
      expect(updated[0]).toBe('test://watched-resource')
      await client.close()
    },
  )

  it('an HTTP+SSE client gets the elicitations of a modern server [C6, C20]', async () => {
    const url = `${world.house.origin}/modern/sse`
    const token = await tokenOf(world.house, ana, url)
    const client = clientOf('legacy')
    await client.connect(
      new SSEClientTransport(new URL(url), {
        fetch: world.house.fetch as typeof fetch,
        requestInit: { headers: { authorization: `Bearer ${token}` } },
      }),
    )
    expect(textOf(await client.callTool({ name: 'test_simple_text', arguments: {} }))).toContain(
      'simple text response',
    )
    expect(
      textOf(await client.callTool({ name: 'test_elicitation', arguments: { message: 'Who?' } })),
    ).toContain('"username":"ana"')
    await client.close()
  })

  it('a log level set once applies to each request, and one set with a request to that request [C20]', async () => {
    const client = await world.connect(clientOf('legacy'), 'modern')
    const logs: unknown[] = []
    client.setNotificationHandler('notifications/message', ({ params }) => void logs.push(params.level))
    await client.callTool({ name: 'test_tool_with_logging', arguments: {} })
    expect(logs).toEqual([])
    await client.setLoggingLevel('debug')
    await client.callTool({ name: 'test_tool_with_logging', arguments: {} })
    expect(logs.length).toBe(3)
    await client.close()
    const caller = await world.at('legacy')
    const quiet = await (
      await askModern(caller, 'tools/call', { name: 'test_tool_with_logging', arguments: {} })
    ).text()
    expect(quiet).not.toContain('notifications/message')
    const loud = await askModern(
      caller,
      'tools/call',
      { name: 'test_tool_with_logging', arguments: {} },
      {},
      { 'io.modelcontextprotocol/logLevel': 'debug' },
    )
    expect((await loud.text()).split('notifications/message').length - 1).toBe(3)
  })
})
