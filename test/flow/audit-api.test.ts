// The API of the audit trail: auditors read everybody's events, everybody else their own, and what was read that
// leaves the gateway is an event itself.
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { credentials, openFlowWorld, type FlowWorld } from '../runtimes/flow-world.ts'
import { logIn } from '../runtimes/login.ts'
import { ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { type WorkerGateway, openInProcess, openInWorkerd } from '../runtimes/runtimes.ts'
import { type Upstream, openUpstream } from '../runtimes/upstream.ts'

interface Found {
  readonly events: readonly (Readonly<Record<string, unknown>> & {
    readonly detail?: Readonly<Record<string, unknown>>
  })[]
  readonly next?: string
  readonly partial?: true
}

/** Answers as JSON or as a stream, compressed wherever it may be. */
const answerOf = (request: IncomingMessage, response: ServerResponse, body: string): void => {
  if (request.method === 'GET')
    return void response.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: {}\n\n')
  const { id, params } = JSON.parse(body) as { id: number; params: { name: string } }
  const result = { structuredContent: { PIN: 'result-secret', ok: 'grün' }, isError: false }
  const text = JSON.stringify({ jsonrpc: '2.0', id, result })
  const streamed = params.name === 'stream'
  const coded = String(request.headers['accept-encoding']).includes('gzip')
  response.setHeader('content-type', streamed ? 'text/event-stream' : 'application/json')
  if (coded) response.setHeader('content-encoding', 'gzip')
  const whole = streamed ? `event: message\ndata: ${text}\n\n` : text
  response.end(coded ? gzipSync(whole) : whole)
}
describe.each([
  ['in process', openInProcess],
  ['in workerd', openInWorkerd],
] as const)('the audit trail %s', (where, open) => {
  let world: FlowWorld
  let auditor: Administrator
  let user: Administrator
  let keeping: Upstream

  beforeAll(async () => {
    keeping = await openUpstream(answerOf)
    world = await openFlowWorld(open, {
      audit: {},
      admins: ['local:yamada'],
      auditors: ['ANA@example.com'],
      mcp_services: {
        kept: {
          url: keeping.url,
          audit: { bodies: { arguments: true, results: true, cap: 200, redact: ['**.pin', 'a.*.b'] } },
        },
        needed: { url: keeping.url, audit: { required: true } },
      },
    })
    auditor = world.admin
    const { house } = world
    for (const who of [ana, yamada]) {
      const { tokens } = await logIn(house, undefined, undefined, credentials(who))
      const caller = callerOf(house, `${house.origin}/echo/mcp`, tokens.access_token)
      for (let i = 0; i < 3; i++) expect((await caller.post(call())).status).toBe(200)
    }
    user = await signInAs(house, yamada)
  }, 120_000)
  afterAll(async () => {
    await world.close()
    await keeping.close()
  })

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
      expect(await refused(user, '/api/audit?q=rule:x')).toEqual([
        403,
        'auditor.required',
        expect.any(String),
      ])
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

    // In workerd an export of this size is over before anybody asks.
    itWhere(where === 'in process')(
      'never lets one user take the time of all: four searches and exports at once',
      async () => {
        const cookie = [...user.browser.cookies].map((pair) => pair.join('=')).join('; ')
        const open = (method = 'GET') =>
          world.house.fetch(`${world.house.origin}/api/audit/export`, { method, headers: { cookie } })
        for (let i = 0; i < 5; i++) expect((await open('HEAD')).status).toBe(200)
        const exports = [await open(), await open(), await open(), await open()]
        expect(exports.map(({ status }) => status)).toEqual([200, 200, 200, 200])
        const refused = await open()
        expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
        expect((await user.ask('GET', '/api/audit')).status).toBe(429)
        expect((await auditor.ask('GET', '/api/audit')).status).toBe(200)
        await exports[0]?.body?.cancel()
        expect((await user.ask('GET', '/api/audit')).status).toBe(200)
        for (const one of exports.slice(1)) await one.text()
        expect((await open()).status).toBe(200)
      },
    )

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
    expect([status, JSON.parse(body)]).toMatchObject([
      200,
      { ok: true, chains: 1, keys: [expect.any(String)] },
    ])
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

  describe('arguments and results that a service keeps', () => {
    const bodyOf = async (who: Administrator, hash: unknown) => {
      const { status, body } = await who.ask('GET', `/api/audit/bodies/${String(hash)}`)
      return { status, ...(JSON.parse(body) as Readonly<Record<string, unknown>>) }
    }
    const message = (name: string, args: object, id = 7) => ({
      jsonrpc: '2.0',
      id,
      method: 'tools/call',
      params: { name, arguments: args },
    })

    it.each([
      ['plain', 1],
      ['stream', 2],
    ])('are read by auditors, redacted, of an answer that is %s', async (name, views) => {
      const url = `${world.house.origin}/kept/mcp`
      const caller = callerOf(world.house, url, await tokenOf(world.house, yamada, url))
      const args = { q: 'x', deep: [{ Pin: 'argument-secret' }], a: { any: { b: 'argument-secret', c: 1 } } }
      const gzip = { 'accept-encoding': 'gzip' }
      const answer = await caller.post(message(name, args), gzip)
      expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('result-secret')])
      const { events } = await found(auditor, `service:kept tool:${name}`, 1)
      const hash = events[0]?.detail?.['body']
      expect(hash).toMatch(/^[\w-]{43}$/)
      expect(await bodyOf(auditor, hash)).toEqual({
        status: 200,
        body: hash,
        time: expect.any(String),
        person: 'local:yamada',
        request: events[0]?.['request'],
        arguments: { q: 'x', deep: [{ Pin: '[redacted]' }], a: { any: { b: '[redacted]', c: 1 } } },
        result: { structuredContent: { PIN: '[redacted]', ok: 'grün' }, isError: false },
      })
      expect(await bodyOf(user, hash)).toMatchObject({ status: 403, code: 'auditor.required' })
      const viewed = await found(auditor, 'kind:admin.viewed user:ana', views)
      expect(viewed.events[0]).toMatchObject({ detail: { what: 'body', of: events[0]?.['request'] } })
      for (const other of ['x', 'a'.repeat(43)])
        expect(await bodyOf(auditor, other)).toMatchObject({ status: 404, code: 'audit.body-unknown' })
    })

    it('are cut, and each message of a batch has its own; the service beside keeps none', async () => {
      const url = `${world.house.origin}/kept/mcp`
      const caller = callerOf(world.house, url, await tokenOf(world.house, ana, url))
      await (await caller.post(message('long', { text: 'é'.repeat(300) }))).text()
      const { events } = await found(auditor, 'service:kept tool:long', 1)
      const kept = await bodyOf(auditor, events[0]?.detail?.['body'])
      expect(kept).toMatchObject({ arguments: `{"text":"${'é'.repeat(191)}`, cut: ['arguments'] })
      const others = await search(auditor, 'service:echo kind:call')
      expect(others.events.filter(({ detail }) => detail?.['body'] !== undefined)).toEqual([])
    })
  })

  it('a stream that is listened to is an event when it opens, and when it is over', async () => {
    const url = `${world.house.origin}/kept/mcp`
    const caller = callerOf(world.house, url, await tokenOf(world.house, ana, url))
    await (await caller.get()).text()
    const { events } = await found(auditor, 'kind:stream.opened,stream.closed', 2)
    expect(events).toMatchObject([
      { kind: 'stream.closed', person: 'local:ana', service: 'kept', detail: { end: 'answered' } },
      { kind: 'stream.opened', person: 'local:ana', service: 'kept' },
    ])
    expect(events[0]?.['request']).toBe(events[1]?.['request'])
  })

  itWhere(where === 'in workerd')(
    'what cannot be written is tried again, and no service that needs it is called meanwhile',
    async () => {
      const house = world.house as WorkerGateway
      const url = `${house.origin}/needed/mcp`
      const caller = callerOf(house, url, await tokenOf(house, ana, url))
      const health = async () => (await (await house.fetch(`${house.origin}/health`)).json()) as object
      const status = async () => (await caller.post(call())).status
      expect([await status(), await health()]).toMatchObject([200, { audit: { healthy: true } }])
      await house.tell('__trail?away=1')
      await expect.poll(status, { timeout: 10_000 }).toBe(503)
      expect(await health()).toMatchObject({ status: 'degraded', audit: { healthy: false } })
      expect(await (await caller.post(call())).json()).toMatchObject({
        error: { data: { code: 'audit.unavailable' } },
      })
      const admin = await user.ask('POST', '/api/blocks', { client: 'https://x.example/c.json' })
      expect([admin.status, JSON.parse(admin.body)]).toMatchObject([503, { code: 'audit.unavailable' }])
      // Others go on.
      const other = callerOf(
        house,
        `${house.origin}/kept/mcp`,
        await tokenOf(house, ana, `${house.origin}/kept/mcp`),
      )
      expect((await other.post(call())).status).toBe(200)
      await house.tell('__trail?away=0')
      await expect.poll(status, { timeout: 10_000 }).toBe(200)
      // Nothing was lost, and nothing is there twice.
      const { events } = await found(auditor, 'service:needed code:audit.unavailable', 2)
      expect(events.length).toBeGreaterThanOrEqual(2)
      expect(new Set(events.map(({ request }) => request)).size).toBe(events.length)
      const { body } = await auditor.ask('POST', '/api/audit/verify', {})
      expect(JSON.parse(body)).toMatchObject({ ok: true, chains: 1 })
    },
  )
})
