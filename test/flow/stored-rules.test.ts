// Access rules that administrators store while the gateway runs: what they may say, whom they let in, and how soon.
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { type Caller, ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'
import { type RuledUpstream, openRuledUpstream, told } from '../runtimes/ruled-upstream.ts'
import { type TestGateway, openInProcess, openInWorkerd, runtimes } from '../runtimes/runtimes.ts'
import { dialSocket } from '../runtimes/socket-client.ts'
import { type SocketUpstream, openSocketUpstream } from '../runtimes/socket-upstream.ts'
import { serverScript } from '../stdio/world.ts'

const rpc = (method: string, params: object = {}) => ({ jsonrpc: '2.0', id: 7, method, params })
const call = (name: string, args: object = {}) => rpc('tools/call', { name, arguments: args })

interface Answer {
  readonly result?: { readonly tools?: readonly { name: string }[]; readonly content?: [{ text: string }] }
  readonly error?: { readonly code: number; readonly data: Readonly<Record<string, unknown>> }
}

const asked = async (caller: Caller, message: object): Promise<Answer> =>
  (await (await caller.post(message)).json()) as Answer

describe.each(runtimes)('stored access rules %s', (_, open) => {
  let upstream: RuledUpstream
  let streamed: RuledUpstream
  let socket: SocketUpstream
  let house: TestGateway
  let admin: Administrator
  let caller: Caller
  /** A token with every level, of a user who may do nothing any more: whoever may not is given none. */
  const letIn = async (resource: string, service: string): Promise<string> => {
    const record = { userId: 'local:yamada', servers: [service], permissions: ['admin'] }
    await admin.ask('POST', '/api/access', record)
    const token = await tokenOf(house, yamada, resource)
    await admin.ask('DELETE', '/api/access?userId=local:yamada')
    return token
  }
  beforeAll(async () => {
    ;[upstream, streamed, socket] = await Promise.all([
      openRuledUpstream(),
      openRuledUpstream(true),
      openSocketUpstream(),
    ])
    house = await open({
      upstream: upstream.url,
      config: {
        local_users: [ana, yamada],
        admins: ['local:ana'],
        access: { groups: { crew: { members: ['local:ana'] } } },
        mcp_services: {
          ruled: { url: upstream.url, access: { groups: ['crew'], permissions: ['write'] } },
          other: { url: upstream.url },
          streamed: { url: streamed.url },
          socketed: {
            url: socket.url,
            access: { tools: { spawn: 'write' }, deny: [{ tools: ['hidden_*'] }] },
          },
          ...(open !== openInWorkerd && {
            command: {
              command: process.execPath,
              args: [serverScript, '--modern'],
              sandbox: 'none' as const,
            },
          }),
        },
      },
    })
    admin = await signInAs(house, ana)
    const resource = `${house.origin}/ruled/mcp`
    caller = callerOf(house, resource, await letIn(resource, 'ruled'))
  }, 120_000)
  afterAll(async () => {
    await house?.close()
    await Promise.all([upstream, streamed, socket].map((server) => server?.close()))
  })

  const ask = async (method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
    const answer = await admin.ask(method, `/api/access${path}`, body, headers)
    const said = answer.body === '' ? {} : (JSON.parse(answer.body) as Record<string, unknown>)
    return { status: answer.status, body: said, id: String(said['id']) }
  }
  const rules = async () => (await ask('GET', '')).body['rules'] as { id: string }[]
  afterEach(async () => {
    for (const { id } of await rules()) await ask('DELETE', `/${id}`)
  })
  const changes = () =>
    house.log
      .filter(({ event }) => event === 'access.changed')
      .map(({ fields: { before, after, by } }) => ({ before, after, by }))

  it('let a user in with the next message, and out again', async () => {
    expect((await asked(caller, call('search'))).error?.data['code']).toBe('policy.service')
    const since = changes().length
    const record = { userId: 'local:yamada', servers: ['ruled'] }
    const kept = await ask('POST', '', record)
    expect(kept).toMatchObject({
      status: 201,
      body: { record: { ...record, permissions: ['read'], groups: [] }, by: 'local:ana', in_force: true },
    })
    expect((await asked(caller, call('search'))).error).toBeUndefined()
    expect((await asked(caller, rpc('tools/list'))).result?.tools?.map(({ name }) => name)).toEqual([
      'search',
      'query',
    ])
    expect((await asked(caller, call('create'))).error?.data).toMatchObject({
      code: 'policy.permission',
      rule: `stored:${kept.id}`,
    })
    // More of the same user is the same record.
    await ask('POST', '', { ...record, servers: ['other'], permissions: ['write'] })
    expect((await asked(caller, call('create'))).error).toBeUndefined()
    await ask('DELETE', '?userId=local:yamada&permissions=write&servers=other')
    expect((await asked(caller, call('create'))).error?.data['code']).toBe('policy.permission')
    expect((await ask('DELETE', '?userId=local:yamada')).status).toBe(204)
    expect((await asked(caller, call('search'))).error?.data['code']).toBe('policy.service')
    const own = { ...record, permissions: ['read'], groups: [] }
    const more = { ...own, servers: ['ruled', 'other'], permissions: ['read', 'write'] }
    expect(changes().slice(since)).toEqual([
      { before: undefined, after: own, by: 'local:ana' },
      { before: own, after: more, by: 'local:ana' },
      { before: more, after: own, by: 'local:ana' },
      { before: own, after: undefined, by: 'local:ana' },
    ])
  })

  it('make a user a member of a group of the configuration', async () => {
    await ask('POST', '', { userId: 'TARO@example.com', groups: ['crew'] })
    expect((await asked(caller, call('create'))).error).toBeUndefined()
  })

  it('deny what the configuration grants, and take text as it is', async () => {
    await ask('POST', '', { userId: 'local:yamada', groups: ['crew'] })
    const { body, id } = await ask('POST', '', {
      deny: { people: ['local:yamada'], tools: ['cre*', '${HOME}'], reason: 'Not now.' },
    })
    expect(body['deny']).toMatchObject({ tools: ['cre*', '${HOME}'] })
    expect((await asked(caller, call('create'))).error?.data).toMatchObject({ rule: `stored:${id}` })
    expect((await asked(caller, call('search'))).error).toBeUndefined()
    expect((await ask('GET', `/${id}`)).body).toMatchObject({ id, by: 'local:ana' })
    expect((await ask('DELETE', `/${id}`)).status).toBe(204)
    expect((await ask('DELETE', `/${id}`)).status).toBe(404)
    expect((await asked(caller, call('create'))).error).toBeUndefined()
  })

  it('are for administrators alone, from pages of this gateway', async () => {
    const other = await signInAs(house, yamada)
    const record = { userId: 'local:yamada', servers: ['*'], permissions: ['admin'] }
    for (const [method, body] of [['GET'], ['POST', record], ['DELETE']] as const) {
      expect([method, (await other.ask(method, '/api/access', body)).status]).toEqual([method, 403])
      const headers = [{ origin: 'https://evil.example' }, { 'x-csrf-token': other.csrf }]
      for (const each of method === 'GET' ? [] : headers)
        expect([method, (await admin.ask(method, '/api/access', body, { ...each })).status]).toEqual([
          method,
          403,
        ])
      const bare = await house.fetch(`${house.origin}/api/access`, { method, body: body ? '{}' : null })
      expect([method, bare.status]).toEqual([method, 401])
    }
    expect(await rules()).toEqual([])
  })

  const taskMethods = ['tasks/get', 'tasks/result', 'tasks/update', 'tasks/cancel']
  const grant = (service: string, permission: string) =>
    ask('POST', '', { userId: 'local:yamada', servers: [service], permissions: [permission] })
  const refused = {
    message: 'Access denied: create needs write; you have read.',
    data: { code: 'policy.permission', need: 'write' },
  }

  it('let nobody have the results of a tool that they may not use any more', async () => {
    for (const [service, server] of [
      ['ruled', upstream],
      ['streamed', streamed],
    ] as const) {
      const resource = `${house.origin}/${service}/mcp`
      const at = callerOf(house, resource, await letIn(resource, service))
      await grant(service, 'write')
      for (const name of ['create', 'search'])
        expect(
          (await told(await at.post(rpc('tools/call', { name, arguments: {}, task: {} })))).result,
        ).toEqual({
          task: { taskId: `task of ${name}`, status: 'working' },
        })
      const question = (method: string, tool = 'create') => rpc(method, { taskId: `task of ${tool}` })
      for (const method of taskMethods)
        expect((await told(await at.post(question(method)))).error).toBeUndefined()
      await ask('DELETE', '?userId=local:yamada')
      await grant(service, 'read')
      server.heard.length = 0
      const [before] = await rules()
      for (const method of taskMethods)
        expect((await told(await at.post(question(method)))).error).toMatchObject({
          ...refused,
          data: { ...refused.data, rule: `stored:${before?.id}` },
        })
      const meta = {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientCapabilities': {},
      }
      const modern = await at.post(rpc('tasks/get', { taskId: 'task of create', _meta: meta }), {
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': 'tasks/get',
        'mcp-name': 'task of create',
      })
      expect([modern.status, (await told(modern)).error]).toMatchObject([200, refused])
      // A name that is none, and a task that no call is known of.
      for (const taskId of [undefined, 7, 'task of nobody'])
        expect((await told(await at.post(rpc('tasks/get', { taskId })))).error).toMatchObject({
          message: 'Unknown task.',
          data: { code: 'task.unknown' },
        })
      await at.post({ jsonrpc: '2.0', method: 'tasks/cancel', params: { taskId: 'task of create' } })
      const batch = await at.post([question('tasks/result'), { ...question('tasks/get', 'search'), id: 8 }], {
        'mcp-protocol-version': '2025-03-26',
      })
      const answers = [...(await batch.text()).matchAll(/"id":(\d),"(result|error)"/g)]
      expect(answers.map(([, id, what]) => `${id} ${what}`).toSorted()).toEqual(['7 error', '8 result'])
      expect(
        server.heard.flatMap(({ body }) =>
          /tasks\/|tools\/call/.test(body) ? [JSON.parse(body) as unknown] : [],
        ),
      ).toEqual([[{ ...question('tasks/get', 'search'), id: 8 }]])
    }
  })

  it('let nobody have them over a WebSocket', async () => {
    if (open === openInProcess) return
    await grant('socketed', 'write')
    const token = await tokenOf(house, yamada, `${house.origin}/socketed/mcp`)
    const spoken = await dialSocket(`${house.origin.replace('http', 'ws')}/socketed/mcp`, {
      headers: { authorization: `Bearer ${token}` },
    })
    let asked = 100
    // Beside answers it is told that its lists have changed.
    const say = async (method: string, params: object): Promise<unknown> => {
      const message = { ...rpc(method, params), id: ++asked }
      spoken.socket.send(JSON.stringify(message))
      const answer = () => spoken.said.find(({ id }) => id === message.id)
      await until(() => answer() !== undefined, 'the answer')
      return answer()
    }
    const spawned = await say('tools/call', { name: 'spawn', arguments: {}, task: {} })
    expect(spawned).toMatchObject({ result: { task: { taskId: 'task-1' } } })
    expect(await say('tasks/result', { taskId: 'task-1' })).toMatchObject({ result: { content: [{}] } })
    await ask('DELETE', '?userId=local:yamada')
    await grant('socketed', 'read')
    socket.said.length = 0
    for (const method of taskMethods)
      expect(await say(method, { taskId: 'task-1' })).toMatchObject({
        error: { message: 'Access denied: spawn needs write; you have read.', data: refused.data },
      })
    expect(socket.said.filter((text) => !text.includes('tools/list'))).toEqual([])
    spoken.socket.close()
  })

  it('tell a stdio server what it may do for its caller', async () => {
    if (open === openInWorkerd) return
    const url = `${house.origin}/command/mcp`
    const at = callerOf(house, url, await letIn(url, 'command'))
    const permissions = async (): Promise<unknown> => {
      const meta = {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientCapabilities': {},
      }
      const message = rpc('tools/call', { name: 'echo', arguments: {}, _meta: meta })
      const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'echo' }
      const { error } = (await (await at.post(message, headers)).json()) as Answer
      return error?.data['code']
    }
    expect(await permissions()).toBe('policy.service')
    await ask('POST', '', { userId: 'local:yamada', servers: ['command'], permissions: ['execute'] })
    expect(await permissions()).toBeUndefined()
  })
})

describe('a stored access rule', () => {
  let house: TestGateway
  let admin: Administrator
  beforeAll(async () => {
    const config = {
      local_users: [ana, yamada],
      admins: ['local:ana'],
      access: { groups: { crew: { members: ['local:ana'] } } },
      mcp_services: { ruled: { url: 'http://localhost:1/mcp' } },
    }
    house = await openInProcess({ upstream: 'http://localhost:1/mcp', config })
    admin = await signInAs(house, ana)
  })
  afterAll(() => house?.close())

  it.each([
    [{ allow: { groups: ['crw'], services: ['ruled'] } }, "rule.groups[0]: 'crw' is a group of no user"],
    [{ allow: { services: ['ruled'] } }, 'grants access to nobody'],
    [{ allow: { everyone: true, permissions: ['own'] } }, 'rule.permissions[0]: must be one of'],
    [{ allow: { everyone: true, servers: ['ruled'] } }, 'rule.servers: is not a known setting'],
    [{ allow: { everyone: true, when: { a: 1 } } }, 'rule.when: needs `tools` or `prompts`'],
    [{ allow: { everyone: true, tools: ['a\\'] } }, 'ends with a backslash'],
    [{ allow: { people: ['okta:ana'] } }, 'names an unknown sign-in method'],
    [{ allow: { everyone: true, clients: ['Claude'] } }, 'is not a client'],
    [{ deny: { tools: ['x'], reason: 'r'.repeat(201) } }, 'rule.reason'],
    [{ deny: { id: 'mine', tools: ['x'] } }, 'leave out `id`'],
    [{ allow: [] }, 'Send {'],
    [{ allow: { everyone: true }, deny: {} }, 'Send {'],
    [{ userId: 'local:yamada', servers: ['rulde'] }, "There is no service 'rulde'"],
    [{ userId: 'local:yamada', groups: ['staff'] }, "'staff' is not declared in `access.groups`"],
    [{ userId: 'yamada', servers: ['ruled'] }, 'must be provider:subject'],
    [{ userId: 'local:yamada', permissions: ['root'] }, 'permissions must be of'],
    [{ userId: 'local:yamada', admin: true }, "'admin' is not a member of a record"],
    [{ servers: ['ruled'] }, 'userId must be'],
  ])('is refused as in the configuration: %j', async (body, say) => {
    const refused = await admin.ask('POST', '/api/access', body)
    const said = JSON.parse(refused.body) as Record<string, unknown>
    expect([refused.status, said['error']]).toEqual([400, 'invalid_request'])
    expect(said['error_description']).toContain(say)
  })

  it('is kept beside those that others store at the same moment', async () => {
    const kept = await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        admin.ask('POST', '/api/access', { deny: { people: ['local:yamada'], tools: [`tool_${i}`] } }),
      ),
    )
    expect(kept.map(({ status }) => status)).toEqual(Array.from({ length: 12 }, () => 201))
    const { rules } = JSON.parse((await admin.ask('GET', '/api/access')).body) as { rules: { id: string }[] }
    expect(new Set(rules.map(({ id }) => id)).size).toBe(12)
  })

  it('is none where the configuration has no rules, and bounded by `access.stored`', async () => {
    const open = { local_users: [ana], admins: ['local:ana'] }
    for (const [access, say] of [
      [undefined, 'The configuration has no access rules'],
      // A section that only pins definitions says nothing about users.
      ['pinned', 'The configuration has no access rules'],
      [{ stored: 'off' as const }, '`access.stored` is off'],
      [{ stored: 'deny' as const }, '`access.stored` is deny'],
    ] as const) {
      const bound = await openInProcess({
        upstream: 'http://localhost:1/mcp',
        config: {
          ...open,
          ...(access === 'pinned'
            ? { mcp_services: { held: { url: 'http://localhost:1/mcp', access: { pinning: 'quarantine' } } } }
            : access && { access }),
        },
      })
      onTestFinished(() => bound.close())
      const asking = await signInAs(bound, ana)
      const refused = await asking.ask('POST', '/api/access', { userId: 'local:ana', servers: ['echo'] })
      expect([refused.status, refused.body]).toEqual([400, expect.stringContaining(say)])
      const denied = await asking.ask('POST', '/api/access', { deny: { tools: ['x'] } })
      expect(denied.status).toBe(say.endsWith('is deny') ? 201 : 400)
    }
  })
})
