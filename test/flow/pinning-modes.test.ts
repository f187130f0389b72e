// Each mode of pinned definitions, and what servers, storage and administrators can do meanwhile.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kit/refusal.ts'
import type { Store } from '../../src/ports/store.ts'
import {
  type PinnedWorld,
  createPinnedWorld,
  isChanged,
  read,
  rpc,
  services,
  write,
} from '../runtimes/pinned-world.ts'
import { until } from '../runtimes/proxied.ts'
import { beginLegacy } from '../runtimes/revisions.ts'
import { openInProcess } from '../runtimes/runtimes.ts'

describe('pinned definitions', () => {
  let world: PinnedWorld
  let storeIs: 'there' | 'away' = 'there'
  const breakable = (inner: Store): Store => {
    const isPins = (key: string): boolean => storeIs === 'away' && key.startsWith('pin')
    const away = () => Promise.reject(new Refusal('storage.unavailable', 'taken away by a test'))
    return {
      get: (key) => (isPins(key) ? away() : inner.get(key)),
      put: (key, value, options) => (isPins(key) ? away() : inner.put(key, value, options)),
      take: (key) => inner.take(key),
      list: (prefix, options) => inner.list(prefix, options),
    }
  }
  beforeAll(async () => {
    const { approved: _, announced: __, commanded: ___, ...others } = services
    world = await createPinnedWorld(openInProcess, Object.keys(others) as (keyof typeof others)[], breakable)
  }, 60_000)
  afterAll(() => world?.close())
  const changedWrite = { ...write, description: 'Writes another file.' }

  it('are only recorded and told with warn, and recorded as approved with allow', async () => {
    for (const id of ['warned', 'allowed'] as const) {
      const caller = await world.begin(id)
      await world.listed(caller)
      world.server.tools = [[read, changedWrite, { name: 'more' }]]
      expect(await world.listed(caller)).toEqual(['read', 'write', 'more'])
      expect([await world.codeOf(caller, 'write'), await world.codeOf(caller, 'more')]).toEqual([
        'passed',
        'passed',
      ])
      await world.untilStates(
        id,
        id === 'warned'
          ? ['more new', 'read approved', 'write changed']
          : ['more approved', 'read approved', 'write approved'],
      )
      const told = (event: string) =>
        world.events(event).flatMap(({ fields }) => (fields['service'] === id ? [fields['name']] : []))
      expect([told('pin.changed'), told('pin.new')]).toEqual([['write'], ['more']])
    }
  })

  it('of the first list are held back until they are approved, where nothing is trusted', async () => {
    const caller = await world.begin('first')
    expect([await world.listed(caller), await world.codeOf(caller, 'read')]).toEqual([[], 'policy.tool'])
    const pins = await world.pinsOf('first', '&state=new')
    expect(pins.map(({ name }) => name)).toEqual(['read', 'write'])
    const [shown] = await world.pinsOf('first', '&tool=read')
    expect(shown?.['changes']).toContainEqual({ path: '/description', is: 'added', after: '"Reads a file."' })
    await world.decide({ service: 'first', tool: 'read', action: 'approve', digest: pins[0]?.['digest'] })
    expect([await world.listed(caller), await world.codeOf(caller, 'read')]).toEqual([['read'], 'passed'])
    // A tool that came later is only warned of.
    world.server.tools = [[read, { name: 'more' }]]
    expect(await world.listed(caller)).toEqual(['read', 'more'])
  })

  it('of prompts are held like those of tools, in completions too', async () => {
    const caller = await world.begin('prompted')
    world.server.prompts = [{ name: 'plan', description: 'Plans.' }]
    const prompts = async () => (await world.told(caller, rpc('prompts/list'))).result?.['prompts']
    const complete = { ref: { type: 'ref/prompt', name: 'plan' }, argument: { name: 'a', value: '' } }
    expect([await prompts(), await world.codeOf(caller, 'plan', 'prompts/get')]).toEqual([
      world.server.prompts,
      'passed',
    ])
    world.server.prompts = [{ name: 'plan', description: 'Plans evil.' }]
    expect([await prompts(), await world.codeOf(caller, 'plan', 'prompts/get')]).toEqual([
      [],
      'policy.prompt',
    ])
    expect((await world.told(caller, rpc('completion/complete', complete))).error?.data?.['code']).toBe(
      'policy.prompt',
    )
    expect(await world.codeOf(caller, 'unheard-of', 'prompts/get')).toBe('policy.prompt')
    const pin = await world.pinOf('prompted', '&prompt=plan', isChanged)
    expect(pin['kind']).toBe('prompt')
    await world.decide({ service: 'prompted', prompt: 'plan', action: 'approve', digest: pin['digest'] })
    expect(await world.codeOf(caller, 'plan', 'prompts/get')).toBe('passed')
    // A server that knows no prompts has none.
    world.server.prompts = undefined
    expect((await world.told(caller, rpc('prompts/list'))).error?.code).toBe(-32601)
  })

  it('of the first list are those of all its pages, whichever the caller asks for', async () => {
    const caller = await world.begin('paged')
    world.server.tools = [[read], [write], [{ name: 'last' }]]
    expect(await world.listed(caller)).toEqual(['read'])
    expect([await world.listed(caller, '1'), await world.listed(caller, '2')]).toEqual([['write'], ['last']])
    expect(await world.codeOf(caller, 'last')).toBe('passed')
  })

  it('of one name that differ are held in every mode, on one page and on several', async () => {
    const caller = await world.begin('twice')
    world.server.tools = [[read, write, { ...write, title: 'Other' }]]
    expect([await world.listed(caller), await world.codeOf(caller, 'write')]).toEqual([
      ['read'],
      'policy.tool',
    ])
    world.server.tools = [[read, write, write]]
    expect([await world.listed(caller), await world.codeOf(caller, 'write')]).toEqual([
      ['read', 'write'],
      'passed',
    ])
    world.server.tools = [[write, { ...write, title: 'Other' }]]
    expect([await world.listed(caller), await world.codeOf(caller, 'write')]).toEqual([[], 'policy.tool'])
  })

  it('that cannot be pinned are held in every mode', async () => {
    const caller = await world.begin('unhashable')
    world.server.tools = [[read, { name: 'huge', description: 'x'.repeat(300_000) }]]
    expect([await world.listed(caller), await world.codeOf(caller, 'huge')]).toEqual([
      ['read'],
      'policy.tool',
    ])
    world.server.tools = [[{ ...read, description: '\ud800' }]]
    expect([await world.listed(caller), await world.codeOf(caller, 'read')]).toEqual([[], 'policy.tool'])
    const [pin] = await world.pinsOf('unhashable', '&tool=huge')
    expect([pin?.['state'], pin?.['digest']]).toEqual(['new', undefined])
  })

  it('need no approval when the server goes back to an approved one', async () => {
    const caller = await world.begin('reverted')
    await world.listed(caller)
    world.server.tools = [[read, changedWrite]]
    expect(await world.listed(caller)).toEqual(['read'])
    world.server.tools = [[read, write]]
    expect([await world.listed(caller), await world.codeOf(caller, 'write')]).toEqual([
      ['read', 'write'],
      'passed',
    ])
    await until(() => world.events('pin.reverted').length === 1, 'the event')
  })

  it('that are blocked stay so, whatever they are, until one is approved', async () => {
    const caller = await world.begin('blocked')
    await world.listed(caller)
    const named = { service: 'blocked', tool: 'write' }
    const [status, { tools }] = await world.decide({ ...named, action: 'block' })
    expect([status, tools]).toMatchObject([200, [{ state: 'blocked', blocked: { by: 'local:ana' } }]])
    expect([await world.listed(caller), await world.codeOf(caller, 'write')]).toEqual([
      ['read'],
      'policy.tool',
    ])
    world.server.tools = [[read, changedWrite]]
    await world.listed(caller)
    world.server.tools = [[read, write]]
    expect(await world.listed(caller)).toEqual(['read'])
    const pin = await world.pinOf('blocked', '&tool=write', ({ digest, approved }) =>
      JSON.stringify(approved).includes(String(digest)),
    )
    await world.decide({ ...named, action: 'approve', digest: pin['digest'] })
    expect(await world.listed(caller)).toEqual(['read', 'write'])
    expect((await world.decide({ ...named, tool: 'none', action: 'block' }))[1]).toMatchObject({
      code: 'pin.unknown',
    })
    expect((await world.decide({ ...named, action: 'forget' }))[0]).toBe(400)
  })

  it('are approved as they were shown, or not at all', async () => {
    const caller = await world.begin('moved')
    await world.listed(caller)
    world.server.tools = [[read, changedWrite]]
    await world.listed(caller)
    const shown = await world.pinOf('moved', '&tool=write', isChanged)
    world.server.tools = [[read, { ...write, description: 'Writes a third file.' }]]
    await world.listed(caller)
    const decision = { service: 'moved', tool: 'write', action: 'approve', digest: shown['digest'] }
    expect(await world.decide(decision)).toMatchObject([409, { code: 'pin.moved' }])
    expect(await world.codeOf(caller, 'write')).toBe('policy.tool')
  })

  it('are asked for again before a call after ten minutes, or sooner where the server says so', async () => {
    const caller = await world.begin('aged')
    await world.codeOf(caller, 'write')
    const asked = () => world.server.lists()
    const before = asked()
    world.gateway.advance(599_000)
    await world.codeOf(caller, 'write')
    expect(asked()).toBe(before)
    world.server.tools = [[read, changedWrite]]
    world.server.more = { ttlMs: 1 }
    world.gateway.advance(2_000)
    expect([await world.codeOf(caller, 'write'), asked()]).toEqual(['policy.tool', before + 1])
    world.gateway.advance(59_000)
    await world.codeOf(caller, 'read')
    world.gateway.advance(2_000)
    await world.codeOf(caller, 'read')
    expect(asked()).toBe(before + 2)
    world.server.more = {}
  })

  it('that cannot be asked for let no call pass in quarantine, and calls go on otherwise', async () => {
    const [strict, other] = [await world.begin('silent'), await world.begin('doubted')]
    for (const caller of [strict, other]) expect(await world.codeOf(caller, 'read')).toBe('passed')
    world.gateway.advance(601_000)
    world.server.broken = true
    const refused = await strict.post(rpc('tools/call', { name: 'read' }))
    expect([refused.status, refused.headers.get('retry-after'), await refused.json()]).toMatchObject([
      503,
      '1',
      { error: { data: { code: 'pin.refresh' } } },
    ])
    expect(await world.codeOf(other, 'read')).toBe('passed')
    expect(world.events('pin.refresh-failed').map(({ fields }) => fields['service'])).toEqual([
      'silent',
      'doubted',
    ])
    world.server.broken = false
    world.gateway.advance(1_001)
    expect(await world.codeOf(strict, 'read')).toBe('passed')
  })

  it('let no call pass in quarantine while the storage is away', async () => {
    const [strict, other] = [await world.begin('away'), await world.begin('trusting')]
    for (const caller of [strict, other]) expect(await world.codeOf(caller, 'read')).toBe('passed')
    world.gateway.advance(1_001)
    storeIs = 'away'
    const refused = await strict.post(rpc('tools/call', { name: 'read' }))
    expect(refused.status).toBe(503)
    // What changes meanwhile is held all the same, though it cannot be written down.
    world.server.tools = [[read, changedWrite, { name: 'bad', description: '\ud800' }]]
    expect(await world.listed(other)).toEqual(['read', 'write'])
    expect([await world.codeOf(other, 'read'), await world.codeOf(other, 'bad')]).toEqual([
      'passed',
      'policy.tool',
    ])
    storeIs = 'there'
    world.gateway.advance(1_001)
    expect([await world.codeOf(strict, 'read'), await world.codeOf(other, 'read')]).toEqual([
      'passed',
      'passed',
    ])
    await world.untilStates('trusting', ['bad new', 'read approved', 'write changed'])
  })

  it('are read before the first call, and a tool on no list does not exist', async () => {
    const caller = await world.begin('unasked')
    expect(await world.codeOf(caller, 'write')).toBe('passed')
    const { error } = await world.told(caller, rpc('tools/call', { name: 'nowhere' }))
    expect([error?.code, error?.message]).toEqual([-32602, 'Unknown tool: nowhere'])
    // Not even without an id, and not among others.
    await caller.post({ jsonrpc: '2.0', method: 'tools/call', params: { name: 'nowhere' } })
    const batch = [rpc('tools/call', { name: 'write' }), { ...rpc('tools/call', { name: 'nowhere' }), id: 8 }]
    await caller.post(batch, { 'mcp-protocol-version': '2025-03-26' })
    expect(world.server.called()).toEqual(['write'])
  })

  it('of more tools than anybody approves are held, and bounded', async () => {
    const caller = await world.begin('many')
    world.server.tools = Array.from({ length: 3 }, (_, page) =>
      Array.from({ length: 1_000 }, (__, i) => ({ name: `tool-${page}-${i}` })),
    )
    expect((await world.listed(caller)).length).toBe(1_000)
    expect((await world.listed(caller, '2')).length).toBe(0)
    expect([await world.codeOf(caller, 'tool-1-999'), await world.codeOf(caller, 'tool-2-0')]).toEqual([
      'passed',
      'policy.unlisted',
    ])
    expect((await world.pinsOf('many')).length).toBe(2_000)
  })

  it('of a command are looked at before a call after it started, or said that they changed', async () => {
    const caller = await world.begin('command')
    const { session } = await beginLegacy(caller)
    const call = async (name: string): Promise<string> => {
      const response = await caller.post(rpc('tools/call', { name, arguments: { text: 'x' } }), session)
      const text = await response.text()
      return /"code":"(policy\.[a-z]+)"/.exec(text)?.[1] ?? (text.includes('"result"') ? 'passed' : text)
    }
    const heard = (event: string) =>
      world.gateway.log.filter((line) => line.event === event && line.fields['service'] === 'command').length
    expect(await call('echo')).toBe('passed')
    expect(heard('process.started')).toBe(1)
    expect((await world.pinsOf('command', '&state=approved')).length).toBeGreaterThan(1)
    await call('announce')
    await until(() => heard('process.list-changed') === 1, 'the announcement')
    expect([await call('echo'), await call('nowhere')]).toEqual(['passed', 'policy.unlisted'])
  })

  it('look to callers like what a rule hides', async () => {
    const caller = await world.begin('ruled')
    await world.listed(caller)
    world.server.tools = [[read, changedWrite, { name: 'more' }]]
    expect(await world.listed(caller)).toEqual(['read'])
    const answer = async (name: string) => {
      const { error, status } = await world.told(caller, rpc('tools/call', { name }))
      return JSON.stringify([status, error]).replaceAll(/"request_id":"[^"]*"|\b(?:write|more)\b/g, '')
    }
    expect(await answer('write')).toBe(await answer('more'))
    const refusals = world.gateway.log.filter(
      ({ event, fields }) => event === 'refused' && fields['refusal'] === 'policy.pinned',
    )
    expect(refusals.length).toBeGreaterThan(0)
  })

  it('need no lower permission than what was approved, whatever they say of themselves', async () => {
    const caller = await world.begin('hinted')
    const [safe, wild] = [{ readOnlyHint: true }, { destructiveHint: true }]
    world.server.tools = [
      [
        { ...write, annotations: wild },
        { ...read, annotations: safe },
      ],
    ]
    expect(await world.listed(caller)).toEqual(['read'])
    world.server.tools = [
      [
        { ...write, annotations: safe },
        { ...read, annotations: wild },
      ],
    ]
    expect([await world.listed(caller), await world.codeOf(caller, 'write')]).toEqual([
      [],
      'policy.permission',
    ])
    expect(await world.codeOf(caller, 'read')).toBe('policy.permission')
    const pin = await world.pinOf('hinted', '&tool=write', isChanged)
    expect(pin['changes']).toMatchObject([
      { path: '/annotations/readOnlyHint', consequence: 'would need read instead of execute' },
    ])
    await world.decide({ service: 'hinted', tool: 'write', action: 'approve', digest: pin['digest'] })
    expect([await world.listed(caller), await world.codeOf(caller, 'write')]).toEqual([['write'], 'passed'])
  })

  it('are shown on the console with who may call which tool, by the rules that decide calls', async () => {
    const { admin } = world
    const rowOf = (body: string, tool: string): readonly string[] => {
      const row = body.split('<tr').find((one) => one.includes(`<code class="strong">${tool}</code>`)) ?? ''
      return [...row.matchAll(/<option value="\w+" selected>([^<]+)/g)].map(([, word = '']) => word)
    }
    const caller = await world.begin('hinted')
    expect([await world.listed(caller), await world.codeOf(caller, 'write')]).toEqual([
      ['read'],
      'policy.permission',
    ])
    const hinted = (await admin.browser.go('/console/access?service=hinted')).body
    expect(hinted).toContain('<th scope="col"><bdi>staff</bdi></th></tr>')
    expect([rowOf(hinted, 'read'), rowOf(hinted, 'write')]).toEqual([
      ['Never', 'Allow'],
      ['Never', 'Never'],
    ])
    const { body: list } = await admin.browser.go('/console/services?q=hinted')
    expect(list).toContain('<td data-l="For"><bdi>staff</bdi></td>')
  })
})
