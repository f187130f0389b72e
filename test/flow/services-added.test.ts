// What an administrator adds over HTTP: looked at step by step, kept, served and removed without a restart; a
// URL, or a command where the operator allows it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Outbound } from '../../src/ports/runtime.ts'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { itWhere } from '../runtimes/it-where.ts'
import { ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { serverScript } from '../stdio/world.ts'

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
}

/** A public server, as the guarded outbound function would find it; `wants`: one that asks for a token. */
const far: Outbound = async (url, { method, body } = {}) => {
  const { pathname } = new URL(url)
  const answer = (status: number, said: unknown, headers: Record<string, string> = {}) => ({
    status,
    headers: new Headers({ 'content-type': 'application/json', ...headers }),
    body: new TextEncoder().encode(said === undefined ? '' : JSON.stringify(said)),
  })
  if (pathname === '/wants')
    return answer(
      401,
      {},
      {
        'www-authenticate':
          'Bearer resource_metadata="https://far.example/.well-known/oauth-protected-resource"',
      },
    )
  if (pathname === '/moved') return answer(301, undefined, { location: 'https://elsewhere.example/mcp' })
  if (pathname === '/page') return answer(200, '<html>', { 'content-type': 'text/html' })
  if (method !== 'POST' || body === undefined) return answer(200, undefined)
  const { id, method: asked } = JSON.parse(body) as { id?: unknown; method: string }
  const results: Readonly<Record<string, unknown>> = {
    initialize: { protocolVersion: '2025-11-25', serverInfo: { name: 'Far\u202E', version: '3' } },
    'tools/list': { tools: [{ name: 'read' }, { name: 'wipe', annotations: { destructiveHint: true } }] },
  }
  return id === undefined
    ? answer(202, undefined)
    : answer(200, { jsonrpc: '2.0', id, result: results[asked] })
}

describe.each(runtimes)('%s', (where, open) => {
  let house: TestGateway
  let upstream: Upstream
  let admin: Administrator
  const ask = async (
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: Record<string, unknown> }> => {
    const answer = await admin.ask(method, path, body)
    return {
      status: answer.status,
      body: answer.body === '' ? {} : (JSON.parse(answer.body) as Record<string, unknown>),
    }
  }
  const command = { command: process.execPath, args: [serverScript, '--token=secret'], sandbox: 'none' }

  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({
      upstream: upstream.url,
      outbound: far,
      config: {
        admins: ['ANA@example.com'],
        admin_commands: true,
        local_users: [ana, yamada],
        domain_root: 'root.localhost',
      },
    })
    admin = await signInAs(house, ana)
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  itWhere(where !== 'in workerd')(
    'is looked at step by step, and kept only when somebody asks for that [H-P11]',
    async () => {
      const service = { url: 'https://far.example/mcp?key=secret', name: 'Far away' }
      const steps = [
        { step: 'reachable', result: 'yes', say: 'Server is reachable.' },
        { step: 'mcp', result: 'yes', say: 'Speaks MCP 2025-11-25: Far? 3.' },
        { step: 'authorization', result: 'no', say: 'No upstream auth; protected only by this gateway.' },
        { step: 'tools', result: 'yes', say: '2 tools found, 1 destructive: read, wipe.' },
      ]
      expect(await ask('POST', '/api/services', { id: 'far', service, check: true })).toEqual({
        status: 200,
        body: { id: 'far', steps },
      })
      expect((await ask('GET', '/api/services/far')).status).toBe(404)
      expect(await ask('POST', '/api/services', { id: 'far', service })).toEqual({
        status: 201,
        body: { id: 'far', steps },
      })
      expect(await ask('GET', '/api/services/far')).toMatchObject({
        status: 200,
        body: {
          id: 'far',
          name: 'Far away',
          url: 'https://far.example/mcp',
          from: 'registered',
          addedBy: 'local:ana',
          network: 'public',
        },
      })
      expect(JSON.stringify((await ask('GET', '/api/services')).body)).not.toContain('secret')
      expect((await callerOf(house, `${house.origin}/far/mcp`, '').post(initialize)).status).toBe(401)
      // The same domain and path once more would be at the same encoded host.
      expect(
        await ask('POST', '/api/services', { id: 'again', service: { url: 'https://far.example/mcp' } }),
      ).toMatchObject({
        status: 400,
        body: {
          code: 'service.invalid',
          error_description: expect.stringContaining("conflicts with 'far': both would be served at"),
        },
      })
      expect(
        (
          await ask('POST', '/api/services', {
            id: 'again',
            service: { url: 'https://far.example/mcp', alias: 'again' },
          })
        ).status,
      ).toBe(201)
      for (const id of ['again', 'far']) expect((await ask('DELETE', `/api/services/${id}`)).status).toBe(204)
      // The trail says who changed what from what to what, and no key.
      const about = { id: 'far', url: 'https://far.example/mcp', network: 'public' }
      const trail = house.log.filter(
        ({ event, fields }) => /^service\.(added|removed)$/.test(event) && fields['service'] === 'far',
      )
      expect(trail.map(({ event, fields }) => ({ ...fields, event }))).toMatchObject([
        { event: 'service.added', person: 'local:ana', after: about },
        { event: 'service.removed', person: 'local:ana', before: about },
      ])
      expect(JSON.stringify(house.log)).not.toContain('key=secret')
      expect((await callerOf(house, `${house.origin}/far/mcp`, '').post(initialize)).status).toBe(404)
    },
  )

  itWhere(where !== 'in workerd')(
    'is kept when it wants a token of its own, and not when it redirects or speaks something else',
    async () => {
      const add = (path: string) =>
        ask('POST', '/api/services', { id: 'try', service: { url: `https://far.example${path}` } })
      expect(await add('/wants')).toMatchObject({
        status: 201,
        body: {
          steps: [
            { step: 'reachable', say: 'Server is reachable (status 401).' },
            { step: 'mcp', result: 'yes' },
            {
              step: 'authorization',
              result: 'yes',
              say: 'Upstream auth required: each user connects an account.',
            },
          ],
        },
      })
      expect((await ask('DELETE', '/api/services/try')).status).toBe(204)
      expect(await add('/moved')).toMatchObject({
        status: 422,
        body: {
          code: 'service.unusable',
          error_description:
            'The server redirects (301) to https://elsewhere.example/mcp. Use the final URL.',
        },
      })
      expect(await add('/page')).toMatchObject({
        status: 422,
        body: { code: 'service.unusable', error_description: 'No MCP server at this URL.' },
      })
    },
  )

  itWhere(where !== 'in workerd')(
    'may be a command where the operator says so: started, asked, ended, and started again for whoever calls it',
    async () => {
      expect(await ask('POST', '/api/services', { id: 'local', service: command })).toMatchObject({
        status: 201,
        body: {
          steps: [
            { step: 'reachable' },
            { step: 'mcp' },
            { step: 'authorization' },
            { step: 'tools', result: 'yes' },
          ],
        },
      })
      expect(await ask('GET', '/api/services/local')).toMatchObject({
        status: 200,
        body: { id: 'local', command: process.execPath, from: 'registered' },
      })
      expect(JSON.stringify((await ask('GET', '/api/services')).body)).not.toContain('secret')
      const caller = callerOf(
        house,
        `${house.origin}/local/mcp`,
        await tokenOf(house, yamada, `${house.origin}/local/mcp`),
      )
      expect((await caller.post(initialize)).status).toBe(200)
      expect((await ask('DELETE', '/api/services/local')).status).toBe(204)
      expect((await caller.post(initialize)).status).toBe(404)
      expect(
        await ask('POST', '/api/services', {
          id: 'broken',
          service: { ...command, args: ['--eval', 'process.exit(3)'] },
        }),
      ).toMatchObject({
        status: 422,
        body: { code: 'service.unusable', error_description: expect.stringContaining('exited with code 3') },
      })
    },
  )

  itWhere(where === 'in workerd')('is no command where none can be started', async () => {
    expect(await ask('POST', '/api/services', { id: 'local', service: command })).toMatchObject({
      status: 400,
      body: {
        code: 'service.invalid',
        error_description:
          'This gateway cannot start programs. Add the URL of an MCP server instead of a command.',
      },
    })
  })

  it('is no command in anything but a whole, valid addition of an administrator [H-N3]', async () => {
    const other = await signInAs(house, yamada)
    expect((await other.ask('POST', '/api/services', { id: 'local', service: command })).status).toBe(403)
    expect(
      (
        await house.fetch(`${house.origin}/api/services`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ id: 'local', service: command }),
        })
      ).status,
    ).toBe(401)
    for (const service of [
      { ...command, url: 'https://far.example/mcp' },
      { ...command, auth_required: false },
      { command: '' },
      { ...command, args: 'x' },
    ])
      expect([service, (await ask('POST', '/api/services', { id: 'local', service })).body['code']]).toEqual([
        service,
        'service.invalid',
      ])
    for (const path of ['/execute', '/test-connection', '/api/servers'])
      expect((await house.fetch(`${house.origin}${path}`, { method: 'POST', body: '{}' })).status).toBe(404)
  })

  itWhere(where !== 'in workerd')('is added on the console, and removed there', async () => {
    const textOf = (body: string): string =>
      body
        .slice(body.indexOf('<main'))
        .replaceAll(/<[^>]+>/g, ' ')
        .replaceAll(/\s+/g, ' ')
    const send = async (path: string, fields: Record<string, string>, csrf = admin.csrf) => {
      const { status, body, url } = await admin.browser.go(`${house.origin}${path}`, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          'origin': house.origin,
          'sec-fetch-site': 'same-origin',
        },
        body: new URLSearchParams({ csrf, ...fields }).toString(),
      })
      return { status, url, body, text: textOf(body) }
    }
    const add = (source: string, id = '') => send('/console/add', { action: 'add', source, id })
    const added = await add('https://far.example/mcp?key=secret')
    expect(added.text).toMatch(
      / far https:\/\/far\.example\/mcp Passed: Server is reachable\. Passed: Speaks MCP 2025-11-25: Far\? 3\. Not known: No upstream auth; .* Passed: 2 tools found, 1 destructive: read, wipe\. Passed: Added\. Clients reach it at .*\/far\/mcp Open far All services /,
    )
    expect(added.body).not.toContain('key=secret')
    expect(house.log.filter(({ event }) => event === 'service.added').at(-1)?.fields).toMatchObject({
      service: 'far',
      person: 'local:ana',
    })
    // Taken, and no MCP server: what was typed is there to be changed.
    expect((await add('https://far.example/mcp')).text).toMatch(
      /Failed: Not added\. .*service\.taken Change it/,
    )
    const page = await add('https://far.example/page', 'other')
    expect(page.text).toMatch(/Failed: Not added\. .* service\.unusable Change it and try again/)
    expect(page.body).toContain('>https://far.example/page</textarea>')
    for (const [source, say] of [
      ['', 'Enter the URL of an MCP server'],
      ['{"mcpServers"', 'not valid JSON'],
      ['{"a":1}', 'There is no MCP server in this block'],
      ['ws://plain.example/ws', 'Use a wss:// URL.'],
      ['${SECRET}', 'Not added.'],
    ])
      expect((await add(source ?? '')).text).toContain(say)
    const block = {
      mcpServers: {
        one: { url: 'https://one.example/mcp' },
        off: { disabled: true, url: 'x' },
        two: { url: 'https://far.example/page' },
      },
    }
    const several = await add(JSON.stringify(block))
    expect(several.text).toMatch(/ Checking 2 servers .* one .* Added\. .* two .* Not added\. /)
    const another = await signInAs(house, yamada)
    expect([
      (
        await send(
          '/console/add',
          { action: 'add', source: 'https://far.example/mcp', id: 'x' },
          another.csrf,
        )
      ).status,
      (await another.browser.go('/console/add')).status,
      (await ask('GET', '/api/services/x')).status,
    ]).toEqual([403, 403, 404])
    for (const id of ['far', 'one']) {
      expect((await admin.browser.go(`/console/services/${id}`)).body).toContain('value="remove"')
      expect((await send(`/console/services/${id}`, { action: 'remove' })).url).toContain('/console/services')
      expect((await ask('GET', `/api/services/${id}`)).status).toBe(404)
    }
    expect((await send('/console/services/echo', { action: 'remove' })).status).toBe(409)
  })
})
