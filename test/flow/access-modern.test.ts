// What the access rules leave of messages of 2026-07-28, in which a server asks in its results.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openAskingUpstream } from '../runtimes/asking-upstream.ts'
import { type Caller, ana, callerOf, tokenOf } from '../runtimes/people.ts'
import { askModern } from '../runtimes/revisions.ts'
import { type Told, told } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, runtimes } from '../runtimes/runtimes.ts'
import type { Upstream } from '../runtimes/upstream.ts'

const everything = { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } }

/** The messages of a stream. */
const allTold = (text: string): readonly Told[] =>
  [...text.matchAll(/data: (\{.*)/g)].map(([, data = '']) => JSON.parse(data) as Told)

const bodies = ({ heard }: Upstream): readonly Told[] =>
  heard.flatMap(({ body }) => (body === '' ? [] : [JSON.parse(body) as Told]))

describe.each(runtimes)('modern messages under access rules %s', (_where, open) => {
  let modern: Upstream
  let gateway: RuntimeGateway
  const tokens = new Map<string, string>()
  const at = async (id: string): Promise<Caller> => {
    const token = tokens.get(id) ?? (await tokenOf(gateway, ana, `${gateway.origin}/${id}/mcp`))
    tokens.set(id, token)
    return callerOf(gateway, `${gateway.origin}/${id}/mcp`, token)
  }

  beforeAll(async () => {
    modern = await openAskingUpstream(true)
    gateway = await open({
      upstream: modern.url,
      config: {
        local_users: [ana],
        mcp_services: {
          modern: {
            url: modern.url,
            access: {
              groups: ['staff'],
              permissions: ['execute' as const],
              resources: { deny: ['doc://secret/**'] },
              from_server: { sampling: 'deny' as const, roots: 'deny' as const },
              instructions: 'drop' as const,
            },
          },
          pages: {
            url: modern.url,
            access: {
              allow: [
                {
                  groups: ['staff'],
                  permissions: ['execute' as const],
                  tools: ['ask', 'elicitation/*'],
                },
              ],
              resources: { deny: ['ui://secret/**'] },
            },
          },
        },
      },
    })
  }, 60_000)
  afterAll(async () => {
    await gateway?.close()
    await modern?.close()
  })
  beforeEach(() => {
    modern.heard.length = 0
  })

  it('turn required input of a denied kind into an error of the tool (access rule F7)', async () => {
    const caller = await at('modern')
    const call = async (name: string, capabilities = everything): Promise<Told> =>
      told(await askModern(caller, 'tools/call', { name, arguments: {} }, capabilities))
    expect(
      (await told(await askModern(caller, 'server/discover', {}, everything))).result,
    ).not.toHaveProperty('instructions')
    await told(await askModern(caller, 'tools/list', {}, everything))
    expect(bodies(modern).every((body) => !/sampling|roots/.test(JSON.stringify(body)))).toBe(true)
    expect(bodies(modern).some((body) => JSON.stringify(body).includes('elicitation'))).toBe(true)
    const { result } = await call('sampling/createMessage')
    expect(result).toEqual({
      resultType: 'complete',
      content: [
        {
          type: 'text',
          text: 'Access denied: the access rules of this gateway do not let this server ask for sampling.',
        },
      ],
      isError: true,
    })
    expect((await call('acme/ask')).result).toMatchObject({ isError: true })
    expect((await call('elicitation/create')).result).toMatchObject({ resultType: 'input_required' })
  })

  it('let a listed tool’s page be read, unless a rule denies it (access rule F3)', async () => {
    const caller = await at('pages')
    const read = async (uri: string): Promise<unknown> =>
      (await told(await askModern(caller, 'resources/read', { uri }))).error?.data?.['code']
    // No list has been seen yet: the gateway asks for it.
    expect(await read('ui://ask/page')).toBeUndefined()
    expect([
      await read('ui://sampling/page'),
      await read('ui://secret/page'),
      await read('UI://secret/page'),
      await read('doc://public/a'),
    ]).toEqual(['policy.resource', 'policy.denied', 'policy.denied', 'policy.resource'])
    const listed = (await told(await askModern(caller, 'tools/list'))).result?.['tools']
    expect(listed).toMatchObject([
      { name: 'ask', _meta: { ui: { resourceUri: 'ui://ask/page', visibility: ['model'] } } },
      { name: 'elicitation/create', _meta: { ui: { visibility: ['model'] } } },
    ])
    expect(JSON.stringify(listed)).not.toContain('ui://secret')
    const resources = (await told(await askModern(caller, 'resources/list'))).result?.['resources']
    expect(resources).toMatchObject([{ uri: 'ui://ask/page' }])
  })

  it('let a caller alone keep what it read, for a minute at most (access rule F5)', async () => {
    const caller = await at('modern')
    const read = await told(await askModern(caller, 'resources/read', { uri: 'doc://public/a' }))
    expect(read.result).toEqual({ contents: [], ttlMs: 60_000, cacheScope: 'private' })
  })

  it('take out of a subscription what the caller may not read (access rule F3)', async () => {
    const caller = await at('modern')
    const listen = async (notifications: object): Promise<Response> =>
      askModern(caller, 'subscriptions/listen', { notifications })
    const both = { toolsListChanged: true, resourceSubscriptions: ['doc://public/a', 'DOC://secret/b'] }
    const messages = allTold(await (await listen(both)).text())
    expect((bodies(modern)[0] as { params?: object } | undefined)?.params).toMatchObject({
      notifications: { toolsListChanged: true, resourceSubscriptions: ['doc://public/a'] },
    })
    expect(messages.map((message) => (message as { params?: object }).params)).toEqual([
      { notifications: { toolsListChanged: true, resourceSubscriptions: ['doc://public/a'] } },
      { uri: 'doc://public/a' },
      undefined,
    ])
    await (await listen({ ...both, resourceSubscriptions: ['doc://secret/b'] })).text()
    expect(JSON.stringify(bodies(modern).at(-1))).not.toContain('secret')
    modern.heard.length = 0
    const nothing = await told(await listen({ resourceSubscriptions: ['doc://secret/b'] }))
    expect([nothing.error?.data?.['code'], modern.heard]).toEqual(['policy.denied', []])
  })
})
