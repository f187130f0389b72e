// The audit trail of a running gateway, read from the command line: what people and apps did is found, also what
// was refused, and the arguments of tools are not.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { form, logIn, person } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type Place, type Ran, createPlace, errorOf, postern } from './cli-process.ts'

type Row = Readonly<Record<string, unknown>> & { readonly detail?: Readonly<Record<string, unknown>> }

const state = temporaryState()
let place: Place
let upstream: RuledUpstream
let gateway: PosternProcess
beforeAll(async () => {
  place = createPlace()
  upstream = await openRuledUpstream()
  gateway = await startProcess({
    config: {
      local_users: [person],
      flows: {},
      audit: {
        retention: '30d',
        sinks: { archive: { url: `file://${join(state.dir, 'archive.jsonl')}` } },
      },
      mcp_services: {
        echo: {
          url: upstream.url,
          access: { everyone: true, permissions: ['write'], tools: { delete_all: 'admin', search: 'read' } },
        },
      },
    },
    stateDir: state.dir,
  })
})
afterAll(async () => {
  await gateway.end()
  await upstream.close()
  state.remove()
  place.remove()
})

const audit = (...args: string[]): Promise<Ran> => postern(place, ['audit', ...args, '--state', state.dir])
/** Asked again until the writer has written, at most 150 ms after the event. */
const query = async (...terms: string[]): Promise<readonly Row[]> => {
  for (let tries = 0; ; tries++) {
    const { out, err } = await audit('query', ...terms, '-o', 'json')
    expect(err).toBe('')
    const rows = out
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Row)
    if (rows.length > 0 || tries === 5) return rows
  }
}
const call = (name: string, args: object, id = 1) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args },
})

describe('postern audit', () => {
  const hidden = 'argument-4f6b2a'

  beforeAll(async () => {
    const browser = createBrowser(gateway.fetch, gateway.origin)
    await browser.submit(await browser.go('/login'), '/login', { ...person, password: 'wrong' })
    const { tokens } = await logIn(gateway, undefined, browser)
    const caller = callerOf(gateway, `${gateway.origin}/echo/mcp`, tokens.access_token)
    const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' }
    for (const message of [
      list,
      { ...list, params: { cursor: 'two' } },
      call('search', { q: hidden, n: 1 }),
      call('search', { n: 1, q: hidden }),
      call('search', { q: 'else' }),
      call('delete_all', { q: hidden }),
      call('create', { fails: true }),
    ])
      await (await caller.post(message)).text()
  })

  it('finds a sign-in, a failed one with the name tried, the consent and the grant', async () => {
    expect(await query('kind:sign-in')).toMatchObject([
      { person: 'local:ana', decision: 'allowed', ip: '127.0.0.1', detail: { provider: 'local' } },
    ])
    expect(await query('kind:sign-in.failed')).toMatchObject([{ name: 'ana', decision: 'denied' }])
    const [granted] = await query('kind:grant.issued', 'user:ana')
    expect(await query(`grant:${String(granted?.['grant'])}`, 'kind:consent.allowed')).toHaveLength(1)
    // The calls are part of the same login.
    const [call] = await query('tool:search', `grant:${String(granted?.['grant'])}`)
    expect(call?.['flow']).toBe(granted?.['flow'])
    expect(call?.['flow']).toEqual(expect.any(String))
  })

  it('finds a call with its tool and a digest of its arguments, which are the same for the same arguments', async () => {
    const calls = await query('tool:search', 'user:ana', 'decision:allowed')
    expect(calls).toHaveLength(3)
    const [other, second, first] = calls
    expect(first).toMatchObject({
      kind: 'call',
      service: 'echo',
      method: 'tools/call',
      status: 200,
      ms: expect.any(Number),
    })
    expect(first?.['digest']).toMatch(/^[\w-]{22}$/)
    expect(second?.['digest']).toBe(first?.['digest'])
    expect(other?.['digest']).not.toBe(first?.['digest'])
    const match = (args: string) => audit('match', '--tool', 'search', '--arguments', args, '--json')
    const matched = (await match(`{"n":1, "q":"${hidden}"}`)).out.trim().split('\n')
    expect(matched.map((line) => (JSON.parse(line) as Row)['request'])).toEqual([
      second?.['request'],
      first?.['request'],
    ])
    expect(await match(`{"n":2,"q":"${hidden}"}`)).toMatchObject({ code: 0, out: '' })
    expect(errorOf(await match('{n}'))['message']).toMatch(/^--arguments must be/)
  })

  it('finds the rule of an allowed call, whether the tool failed, what was known of its caller, and its list', async () => {
    const [created] = await query('tool:create')
    expect(created).toMatchObject({ decision: 'allowed', rule: expect.stringContaining('echo'), is_error: 1 })
    const [found] = await query('tool:search', 'error:0')
    expect(found).toMatchObject({ rule: created?.['rule'], subject: created?.['subject'] })
    const reader = openAuditReader(join(state.dir, 'audit.db'))
    expect(reader?.subject(String(found?.['subject']))).toEqual({
      person: expect.objectContaining({ provider: 'local', subject: 'ana', groups: [] }),
      client: found?.['client'],
      redirect: '',
      scopes: expect.any(Array),
    })
    reader?.close()
    expect(await query('kind:list')).toMatchObject([
      { service: 'echo', person: 'local:ana', detail: { total: 2, shown: 0, held: 2 } },
      { service: 'echo', person: 'local:ana', detail: { total: 3, shown: 3, held: 0 } },
    ])
  })

  it('finds who was refused before they were known, once for many', async () => {
    const stranger = callerOf(gateway, `${gateway.origin}/echo/mcp`, 'wrong')
    for (let i = 0; i < 5; i++) expect((await stranger.post(call('search', {}))).status).toBe(401)
    const token = await gateway.fetch(`${gateway.origin}/oauth/token`, form({ grant_type: 'refresh_token' }))
    await gateway.fetch(`${gateway.origin}/oauth/authorize?client_id=nobody`)
    expect(token.status).toBe(401)
    expect(await query('kind:bearer.refused', 'code:token.malformed')).toMatchObject([
      { service: 'echo', decision: 'denied', ip: '127.0.0.1', status: 401, detail: { count: 1 } },
    ])
    expect(await query('kind:token.refused,authorize.refused')).toMatchObject([
      { kind: 'authorize.refused', code: 'client.unknown' },
      { kind: 'token.refused', decision: 'denied' },
    ])
  })

  it('finds a refused call with its code, and the log line by its request id', async () => {
    const [denied] = await query('-decision:allowed', 'service:echo', 'tool:delete*')
    expect(denied).toMatchObject({
      name: 'delete_all',
      code: 'policy.permission',
      digest: expect.any(String),
    })
    expect(upstream.called()).not.toContain('delete_all')
    await expect.poll(() => gateway.lines.join('\n')).toContain(String(denied?.['request']))
  })

  it('prints a table, CSV, and an export that ends with its digest; none has an argument', async () => {
    const [table, csv, exported] = await Promise.all([
      audit('query', 'kind:call'),
      audit('query', 'kind:call', '-o', 'csv', '--limit', '2'),
      audit('export', 'user:ana'),
    ])
    expect(table.out).toMatch(/✗ local:ana +echo +tools\/call delete_all +policy\.permission/)
    expect(csv.out.split('\r\n')[0]).toBe(
      'chain,seq,at,kind,person,actor,client,service,method,name,decision,code,rule,status,is_error,ms,ip,request,flow,grant,digest,subject,detail,hash',
    )
    expect(csv.out.trim().split('\r\n')).toHaveLength(3)
    const lines = exported.out.trim().split('\n')
    expect(JSON.parse(lines.at(0) ?? '')).toMatchObject({ format: 'postern-audit-v1', filter: ['user:ana'] })
    expect(JSON.parse(lines.at(-1) ?? '')).toEqual({
      rows: lines.length - 2,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    for (const { out } of [table, csv, exported]) expect(out).not.toContain(hidden)
  })

  it('shows the events of a request, and says that there are none', async () => {
    const [denied] = await query('tool:delete*')
    const shown = await audit('show', String(denied?.['request']), '--body')
    expect(
      shown.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([denied])
    expect(errorOf(await audit('show', 'no-such-request', '--json'))['message']).toMatch(/^There is no event/)
  })

  it('says what is wrong with a search', async () => {
    expect(errorOf(await audit('query', 'colour:red'))['message']).toMatch(/^Unknown field "colour"/)
    expect(errorOf(await audit('query', '--limit', '0'))['message']).toMatch(/^--limit must be/)
  })

  it('verifies the trail of a running gateway, and of one that has ended in order', async () => {
    const running = await audit('verify')
    expect(running).toMatchObject({ code: 0, err: '' })
    expect(running.out).toMatch(
      /has no end yet[^]*✓ Unchanged: \d+ events in \d+ chains?, signed with \S{16}\./,
    )
    expect((await audit('verify', '--strict')).code).toBe(1)
    const [keys, all] = [join(state.dir, 'keys.json'), join(state.dir, 'all.jsonl')]
    writeFileSync(keys, await (await gateway.fetch(`${gateway.origin}/audit/jwks`)).text())
    writeFileSync(all, (await audit('export')).out)
    expect(await audit('verify', '--key', keys)).toMatchObject({ code: 0, err: '' })
    expect((await audit('verify', '--key', keys, '--export', all)).out).toMatch(/^✓ Unchanged: \d+ events/)
    writeFileSync(all, readFileSync(all, 'utf8').replace('"search"', '"other"'))
    expect(await audit('verify', '--key', keys, '--export', all)).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^✗ the export is not complete/),
    })
    expect(errorOf(await audit('verify', '--key', all))['message']).toMatch(/^Cannot use the key/)
    await gateway.end()
    expect(await audit('verify', '--strict')).toMatchObject({ code: 0 })
    const [stopped] = await query('kind:gateway.stopped')
    const own = `chain:${String(stopped?.['chain'])}`
    const [last] = await query(own, 'kind:audit.*,gateway.stopped')
    expect(last?.['kind']).toBe('audit.closed')
    // What was sent elsewhere is what the gateway has written, to the last row.
    const exported = (await audit('export', own)).out.trim().split('\n').slice(1, -1)
    const archived = readFileSync(join(state.dir, 'archive.jsonl'), 'utf8').trim().split('\n')
    expect(archived.filter((line) => line.includes(`"chain":${JSON.stringify(stopped?.['chain'])}`))).toEqual(
      exported,
    )
    // The commands have left events, too.
    const used = await query('user:cli', 'actor:cli')
    expect(new Set(used.map((row) => row['kind']))).toEqual(new Set(['audit.exported', 'audit.verified']))
    expect(used.find((row) => row['kind'] === 'audit.exported')?.detail).toEqual({
      format: 'jsonl',
      filter: [own],
      everybody: true,
      by: 'cli',
    })
    expect(await audit('verify', '--strict', '--key', keys)).toMatchObject({ code: 0, err: '' })
  })

  it('is what a service waits for that must not run without it; others go on', async () => {
    const other = temporaryState()
    const open = { url: upstream.url, auth_required: false }
    const house = await startProcess({
      config: { audit: {}, mcp_services: { free: open, strict: { ...open, audit: { required: true } } } },
      stateDir: other.dir,
    })
    const ping = (service: string, id: number) =>
      callerOf(house, `${house.origin}/${service}/mcp`, '').post({ jsonrpc: '2.0', id, method: 'ping' })
    /** The status of a call, asked until it is this one. */
    const settles = async (status: number) => {
      for (let tries = 0; tries < 400; tries++) {
        const answer = await ping('strict', 1000 + tries)
        const text = await answer.text()
        if (answer.status === status) return text
        await pause(50)
      }
      throw new Error(`never ${status}`)
    }
    await settles(200)
    const lock = new DatabaseSync(join(other.dir, 'audit.db'))
    lock.exec('BEGIN IMMEDIATE')
    expect(await settles(503)).toContain('"code":"audit.unavailable"')
    const heard = upstream.heard.length
    expect((await ping('strict', 1)).status).toBe(503)
    expect(upstream.heard.length).toBe(heard)
    const free = await ping('free', 2)
    expect(free.status).toBe(200)
    const health = await house.fetch(`${house.origin}/health`)
    expect([health.status, await health.json()]).toMatchObject([
      200,
      { status: 'degraded', audit: { healthy: false }, storage: { healthy: true } },
    ])
    lock.exec('ROLLBACK')
    lock.close()
    await settles(200)
    await house.end()
    expect(house.lines.filter((line) => line.includes('The audit trail cannot be written'))).toHaveLength(1)
    const found = await postern(place, ['audit', 'query', 'service:free', '-o', 'json', '--state', other.dir])
    expect(found.out).toContain(String(free.headers.get('x-request-id')))
    expect(await postern(place, ['audit', 'verify', '--strict', '--state', other.dir])).toMatchObject({
      code: 0,
    })
    other.remove()
  }, 60_000)

  it('says where no trail is kept', async () =>
    expect(errorOf(await postern(place, ['audit', 'query', '--state', place.path]))).toMatchObject({
      code: 'audit.none',
    }))

  it('keeps a gateway from starting whose trail cannot be opened', async () => {
    const other = temporaryState()
    mkdirSync(join(other.dir, 'audit.db'))
    const starting = startProcess({ config: { audit: {} }, stateDir: other.dir })
    await expect(starting).rejects.toThrow(/storage\.unusable.*audit\.db/)
    rmSync(other.dir, { recursive: true })
  })
})
