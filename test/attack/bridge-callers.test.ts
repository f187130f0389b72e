// What a server on standard input and output is told of whoever calls it, and that it holds for nobody else.
import { describe, expect, it } from 'vitest'
import { type ProcessUser, createProcessSlots } from '../../src/stdio/process-slots.ts'
import { saidBy } from '../stdio/world.ts'
import { begun, useWorlds } from '../stdio/worlds.ts'

const world = useWorlds()

describe('never in the name of somebody else: what a server is told of its caller', () => {
  const told = (seen: Record<string, unknown>) =>
    Object.fromEntries(Object.entries(seen).filter(([name]) => name.startsWith('MCP_')))

  it('never says of one what holds for another', async () => {
    const { client } = world()
    const all = [client('ana'), client('bea'), client()]
    const seen = await Promise.all(
      all.map(async (one) => told(saidBy(await (await begun(one)).tool('environment')))),
    )
    expect(seen).toEqual([
      { MCP_USER_ID: 'ana', MCP_SERVER_ID: 'small', MCP_PERMISSIONS: '["mcp"]' },
      { MCP_USER_ID: 'bea', MCP_SERVER_ID: 'small', MCP_PERMISSIONS: '["mcp"]' },
      { MCP_SERVER_ID: 'small' },
    ])
    const shared = await begun(world({ bridge: { shared: true } }).client('ana'))
    expect(told(saidBy(await shared.tool('environment')))).toEqual({ MCP_SERVER_ID: 'small' })
  })

  it('never goes on with a process that was told of more than its caller may do now', async () => {
    const { client, permissions, bridge } = world({ flags: ['--modern'] })
    const ana = client('ana')
    permissions.set('ana', ['read', 'write'])
    await ana.initialize()
    const { pid } = saidBy(await ana.tool('echo'))
    permissions.set('ana', ['read', 'write', 'execute'])
    expect(saidBy(await ana.tool('echo'))['pid']).toBe(pid)
    const { MCP_PERMISSIONS: before } = saidBy(await ana.modernTool('environment'))
    permissions.set('ana', ['read'])
    expect((await ana.tool('echo')).error).toMatchObject({ code: 1404 })
    permissions.set('ana', ['read', 'write', 'execute'])
    await ana.fetch('DELETE', undefined, ana.session)
    permissions.set('ana', ['read'])
    const { MCP_PERMISSIONS: after } = saidBy(await ana.modernTool('environment'))
    expect([before, after]).toEqual(['["read","write","execute"]', '["read"]'])
    expect(new Set(bridge.processes().map(({ owner }) => owner))).toEqual(
      new Set([expect.stringMatching(/^[0-9a-f]{32}$/)]),
    )
  })

  it('never gives somebody more processes for each permission they had', async () => {
    let now = 0
    const slots = createProcessSlots({ perPerson: 1, total: 9, waitMs: 10 }, () => now)
    const user = { idle: () => 0 } as ProcessUser
    const owner = (permission: string) => `0123 ["ana",["${permission}"]]`
    const { signal } = new AbortController()
    await slots.take(owner('read'), user, signal)
    const more = slots.take(owner('write'), user, signal)
    now = 10
    slots.serve()
    await expect(more).rejects.toThrow('1 of this owner')
  })

  it('never takes a name for a variable, a line or a path', async () => {
    const { client } = world()
    const name = 'x\nMCP_PERMISSIONS=["admin"] $(touch touched) 山'
    const rest = { MCP_SERVER_ID: 'small', MCP_PERMISSIONS: '["mcp"]' }
    expect(told(saidBy(await (await begun(client(name))).tool('environment')))).toEqual({
      MCP_USER_ID: name,
      ...rest,
    })
    // No variable holds this one.
    expect(told(saidBy(await (await begun(client('a\0b'))).tool('environment')))).toEqual(rest)
    const own = await begun(world({ plan: { env: { MCP_USER_ID: 'service' } } }).client('ana'))
    expect(saidBy(await own.tool('environment'))['MCP_USER_ID']).toBe('service')
  })
})
