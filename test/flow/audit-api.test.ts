// The API of the audit trail: auditors read everybody's events, everybody else their own, and what was read that
// leaves the gateway is an event itself.
import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { credentials, openFlowWorld, type FlowWorld } from '../runtimes/flow-world.ts'
import { logIn } from '../runtimes/login.ts'
import { ana, callerOf, yamada } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openInProcess } from '../runtimes/runtimes.ts'

interface Found {
  readonly events: readonly (Readonly<Record<string, unknown>> & {
    readonly detail?: Readonly<Record<string, unknown>>
  })[]
  readonly next?: string
  readonly partial?: true
}

let world: FlowWorld
let auditor: Administrator
let user: Administrator
beforeAll(async () => {
  world = await openFlowWorld(openInProcess, {
    audit: {},
    admins: ['local:yamada'],
    auditors: ['ANA@example.com'],
  })
  auditor = world.admin
  const { house } = world
  for (const who of [ana, yamada]) {
    const { tokens } = await logIn(house, undefined, undefined, credentials(who))
    const caller = callerOf(house, `${house.origin}/echo/mcp`, tokens.access_token)
    for (let i = 0; i < 3; i++) expect((await caller.post(call())).status).toBe(200)
  }
  user = await signInAs(house, yamada)
})
afterAll(() => world.close())

const search = async (who: Administrator, q: string, more = ''): Promise<Found> => {
  const { status, body } = await who.ask('GET', `/api/audit?q=${encodeURIComponent(q)}${more}`)
  expect(status).toBe(200)
  return JSON.parse(body) as Found
}
/** Asked again until so many are written. */
const found = async (who: Administrator, q: string, count: number): Promise<Found> => {
  for (let tries = 0; ; tries++) {
    const page = await search(who, q)
    if (page.events.length >= count || tries === 500) return page
    await pause(20)
  }
}
const refused = async (who: Administrator, path: string) => {
  const { status, body } = await who.ask('GET', path)
  const { code, error_description: say } = JSON.parse(body) as Record<string, unknown>
  return [status, code, say]
}

describe('GET /api/audit', () => {
  it('finds everybody’s events for auditors, the newest first', async () => {
    const { events } = await found(auditor, 'kind:call', 6)
    expect(events.map(({ person }) => person)).toEqual([
      ...Array.from({ length: 3 }, () => 'local:yamada'),
      ...Array.from({ length: 3 }, () => 'local:ana'),
    ])
    expect(events[0]).toMatchObject({
      kind: 'call',
      service: 'echo',
      method: 'tools/call',
      name: 'whoami',
      decision: 'allowed',
      status: 200,
      time: expect.stringMatching(/^\d{4}-/),
      detail: { http: 'POST' },
    })
    expect(events[0]).not.toHaveProperty('is_error', null)
  })

  it('finds their own for everybody else, administrators included, whatever they ask for', async () => {
    const { events } = await found(user, '', 4)
    expect(new Set(events.map(({ person }) => person))).toEqual(new Set(['local:yamada']))
    for (const q of ['user:local:ana', '-user:local:yamada', 'user:yamada*,local:ana person'])
      expect((await search(user, q)).events).toEqual([])
    expect(await refused(user, '/api/audit?q=rule:x')).toEqual([403, 'auditor.required', expect.any(String)])
    expect((await user.ask('POST', '/api/audit/verify', {})).status).toBe(403)
    expect((await world.house.fetch(`${world.house.origin}/api/audit`)).status).toBe(401)
  })

  it('goes on where a page ended, for the same search of the same user only', async () => {
    const seen: unknown[] = []
    let cursor = ''
    do {
      const page = await search(auditor, 'kind:call', `&limit=4${cursor}`)
      seen.push(...page.events.map(({ seq }) => seq))
      cursor = page.next === undefined ? '' : `&cursor=${page.next}`
    } while (cursor !== '')
    const all = (await search(auditor, 'kind:call')).events.map(({ seq }) => seq)
    expect(seen).toEqual(all)
    const { next } = await search(auditor, 'kind:call', '&limit=1')
    for (const path of [
      `?q=kind:call,sign-in&cursor=${String(next)}`,
      `?q=kind:call&cursor=${String(next).replace('.', '.9')}`,
      '?q=kind:call&cursor=1.2.3',
    ])
      expect((await refused(auditor, `/api/audit${path}`))[0]).toBe(400)
    expect((await refused(user, `/api/audit?q=kind:call&cursor=${String(next)}`))[0]).toBe(400)
  })

  it('says what is wrong with a search', async () => {
    const [status, code, say] = await refused(auditor, '/api/audit?q=colour:red')
    expect([status, code]).toEqual([400, 'request.malformed'])
    expect(say).toMatch(/^Unknown field 'colour'\. Fields: user, client, service/)
    for (const query of ['q=ms:fast', 'q=since:soon', 'limit=0', 'limit=201', `q=${'x'.repeat(2001)}`])
      expect((await refused(auditor, `/api/audit?${query}`))[0]).toBe(400)
    // Quotation marks keep a value together; nothing of it is SQL.
    expect((await search(auditor, `name:"it's; DROP TABLE segment" kind:call`)).events).toEqual([])
    expect((await search(auditor, '-name:"two words" kind:call')).events).toHaveLength(6)
  })

  it('tells no other site', async () => {
    const foreign = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }
    for (const path of ['/api/audit', '/api/audit/export'])
      expect((await auditor.ask('GET', path, undefined, foreign)).status).toBe(403)
  })
})

describe('GET /api/audit/export', () => {
  const exported = async (who: Administrator, query: string) => {
    const { status, body } = await who.ask('GET', `/api/audit/export${query}`)
    expect(status).toBe(200)
    return body
  }

  it('is complete, can be verified, and is an event', async () => {
    await found(auditor, 'kind:call', 6)
    const lines = (await exported(auditor, '?q=kind:call')).split('\n').slice(0, -1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ format: 'postern-audit-v1', filter: ['kind:call'] })
    const rows = lines.slice(1, -1)
    expect(JSON.parse(lines.at(-1) ?? '')).toEqual({
      rows: 6,
      sha256: createHash('sha256')
        .update(rows.map((row) => `${row}\n`).join(''))
        .digest('hex'),
    })
    expect((await exported(auditor, '?q=kind:call&format=csv')).split('\r\n')).toHaveLength(8)
    const { events } = await found(auditor, 'kind:audit.exported user:ana', 2)
    expect(events[1]).toMatchObject({ detail: { format: 'jsonl', filter: ['kind:call'], everybody: true } })
  })

  it('has only their own events for everybody else, without what the operator alone may know', async () => {
    const lines = (await exported(user, '')).split('\n').slice(0, -1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ filter: ['user:local:yamada'] })
    const rows = lines.slice(1, -1).map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)
    expect(rows.length).toBeGreaterThan(3)
    expect(new Set(rows.map(({ person, rule }) => `${String(person)} ${String(rule)}`))).toEqual(
      new Set(['local:yamada null']),
    )
    expect((await refused(user, '/api/audit/export?format=xml'))[0]).toBe(400)
    expect((await refused(user, '/api/audit/export?q=colour:red'))[0]).toBe(400)
  })
})

it('POST /api/audit/verify says that nothing was changed, and is an event', async () => {
  const { status, body } = await auditor.ask('POST', '/api/audit/verify', {})
  expect([status, JSON.parse(body)]).toMatchObject([200, { ok: true, chains: 1, keys: [expect.any(String)] }])
  expect((await auditor.ask('POST', '/api/audit/verify', {}, { 'x-csrf-token': 'x' })).status).toBe(403)
  const { events } = await found(auditor, 'kind:audit.verified', 1)
  expect(events).toMatchObject([{ person: 'local:ana', detail: { chains: 1, open: 1 } }])
})

describe('the console', () => {
  const pageOf = async (path: string) => (await user.browser.go(path)).body
  const keysIn = (body: string): readonly string[] =>
    [...body.matchAll(/row=([^"&]+)"/g)].map(([, key]) => decodeURIComponent(key ?? ''))

  it('finds the same in Activity, opens one event, and shows administrators nothing of others', async () => {
    await found(user, 'kind:call', 3)
    const list = await pageOf('/console/activity?q=kind:call')
    expect(list).toContain('Your own events.')
    expect(list.match(/<th scope="row" class="a-who strong"><bdi>yamada<\/bdi>/g)).toHaveLength(3)
    expect(list).toContain('<span>Allowed 3</span><span class="d">Denied 0</span>')
    expect(list).toContain('postern audit query kind:call --since 24h')
    const [key = ''] = keysIn(list)
    const one = await pageOf(`/console/activity?q=kind:call&row=${encodeURIComponent(key)}`)
    expect(one).toContain('<tr aria-selected="true">')
    expect(one).toContain('The token was good for <bdi>Echo</bdi>')
    expect(one).toMatch(/href="\/console\/flows\/[0-9a-z]+">The flow it came from/)
    // By its key, of a search that does not find it; one of somebody else is not there.
    expect(await pageOf(`/console/activity?q=kind:none&row=${encodeURIComponent(key)}`)).toContain(
      'class="drawer"',
    )
    const { events } = await search(auditor, 'kind:call user:ana')
    const [{ at, seq, chain } = {}] = events
    expect(await pageOf(`/console/activity?row=${String(at)}.${String(seq)}.${String(chain)}`)).toContain(
      'This event is not there',
    )
    expect(await pageOf('/console/activity?q=usr:ana')).toContain('Unknown field &quot;usr&quot;')
    expect(await pageOf('/console/activity?from=1.1.aaaaaaaaaaaaaaaaaaaaaa')).toContain(
      'The cursor does not belong',
    )
    expect((await auditor.browser.go('/console/activity')).status).toBe(403)
  })

  it('counts the calls of all users by service', async () => {
    const body = await pageOf('/console')
    expect(body).toMatch(
      /<bdi>Echo<\/bdi><\/a><\/th><td class="only-wide"><svg class="spark".*?<\/svg><\/td><td class="num">6<\/td>/,
    )
  })
})
