// The OpenAPI document of the operator's API: it names what is routed, and what each operation takes and answers is what
// it says. Every operation is called, with a token and without a cookie.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type * as z from 'zod'
import { apiOperations } from '../../src/admin/api-schemas.ts'
import { type Handlers, routeTable } from '../../src/routes.ts'
import { signInAs } from '../runtimes/administrator.ts'
import { form } from '../runtimes/login.ts'
import { ana, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { type RuledUpstream, call, openRuledUpstream, rpc } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, openInProcess } from '../runtimes/runtimes.ts'
import { path, send } from './token-page.ts'

type Json = Readonly<Record<string, unknown>>

/** Routes are listed, and none of their handlers is called. */
const anyHandlers: Handlers = new Proxy(() => undefined, {
  get: (_target, name) => (name === 'then' ? undefined : anyHandlers),
}) as unknown as Handlers

interface DocumentedOperation {
  readonly parameters: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: { readonly content: Json }
  readonly responses: Readonly<Record<string, { readonly content?: Json }>>
}

const secret = 'Wm6nB3vC8xZ1lK4jH7gF0dS5aP2oI9uY'
const operations = apiOperations()

describe('the OpenAPI document of the API', () => {
  let upstream: RuledUpstream
  let gateway: RuntimeGateway
  let token: string
  let document: { openapi: string; paths: Record<string, Record<string, DocumentedOperation>> }
  /** `METHOD path status` of what was answered as documented. */
  const answered = new Set<string>()

  const ask = (method: string, at: string, init: RequestInit = {}) =>
    gateway.fetch(`${gateway.origin}${at}`, { method, ...init })
  beforeAll(async () => {
    upstream = await openRuledUpstream()
    gateway = await openInProcess({
      upstream: upstream.url,
      config: {
        local_users: [ana, yamada],
        admins: ['local:ana', 'service:operator'],
        auditors: ['local:ana', 'service:operator'],
        audit: {},
        flows: {},
        access: { default: 'everyone' },
        dynamic_registration: { grant_types: ['client_credentials'] },
        assertion_issuers: {
          ci: {
            type: 'workload',
            issuer: 'https://ci.example',
            rules: [{ claims: { repository_id: '7' }, service_account: 'operator' }],
          },
        },
        service_accounts: { operator: { services: ['/api'], owner: 'local:ana', groups: ['ops'] } },
        clients: {
          ops: {
            name: 'Ops',
            grant_types: ['client_credentials'],
            service_account: 'operator',
            token_endpoint_auth_method: 'client_secret_post',
            client_secret: secret,
          },
        },
        mcp_services: {
          pinned: {
            url: upstream.url,
            access: { pinning: 'quarantine' },
            audit: { bodies: { arguments: true, results: true } },
          },
        },
      },
    })
    const answer = await ask(
      'POST',
      '/oauth/token',
      form({
        grant_type: 'client_credentials',
        client_id: 'ops',
        client_secret: secret,
        resource: `${gateway.origin}/api`,
      }),
    )
    token = ((await answer.json()) as { access_token: string }).access_token
    document = (await (await ask('GET', '/api/openapi.json')).json()) as typeof document
  })
  afterAll(async () => {
    await gateway.close()
    await upstream.close()
  })

  /** Sends what the document allows and expects an answer that it describes. */
  const operate = async (
    operation: string,
    at = operation.split(' ')[1] as string,
    body?: unknown,
  ): Promise<Json> => {
    const [method = ''] = operation.split(' ')
    const known = operations[operation]
    expect(Object.keys(operations)).toContain(operation)
    if (body !== undefined)
      expect([operation, known?.body?.safeParse(body).error]).toEqual([operation, undefined])
    const answer = await ask(method, at, {
      headers: {
        authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    expect([operation, Object.keys(known?.answers ?? {})]).toEqual([
      operation,
      expect.arrayContaining([String(answer.status)]),
    ])
    const type: z.ZodType | undefined = known?.answers[answer.status]
    answered.add(`${operation} ${answer.status}`)
    if (!type) {
      expect([operation, text]).toEqual([operation, ''])
      return {}
    }
    const media = known?.type ?? 'application/json'
    expect(answer.headers.get('content-type')?.split(';')[0]).toBe(media)
    const value: unknown = media === 'application/json' ? JSON.parse(text) : text
    expect([operation, type.safeParse(value).error?.issues]).toEqual([operation, undefined])
    return media === 'application/json' ? (value as Json) : {}
  }
  const all = (answer: Json, name: string) => answer[name] as readonly Json[]

  it('names every operation that is routed, and none that is not', async () => {
    expect(document.openapi).toBe('3.1.0')
    const routed = routeTable({ handlers: anyHandlers, registration: true })
      .flatMap(({ paths, methods }) => paths.map((at) => [at, Object.keys(methods)] as const))
      .filter(([at]) => at.startsWith('/api/') && at !== '/api/openapi.json')
    const documented = Object.entries(document.paths).map(([at, methods]) => [
      at,
      Object.keys(methods).map((method) => method.toUpperCase()),
    ])
    expect(Object.fromEntries(documented)).toEqual(
      Object.fromEntries(routed.map(([at, methods]) => [at.replaceAll(/:(\w+)/g, '{$1}'), methods])),
    )
    expect(Object.keys(operations).toSorted()).toEqual(
      routed.flatMap(([at, methods]) => methods.map((method) => `${method} ${at}`)).toSorted(),
    )
    for (const [at, methods] of Object.entries(document.paths)) {
      const url = at.replaceAll(/\{\w+\}/g, 'x')
      for (const [method, { parameters }] of Object.entries(methods)) {
        expect([at, method, (await ask(method.toUpperCase(), url)).status]).toEqual([at, method, 401])
        expect(parameters.filter((one) => one.in === 'path').map(({ name }) => `{${name}}`)).toEqual(
          at.match(/\{\w+\}/g) ?? [],
        )
      }
      const other = await ask('PATCH', url)
      expect([other.status, other.headers.get('allow')]).toEqual([
        405,
        Object.keys(methods).join(', ').toUpperCase(),
      ])
    }
    expect(document.paths['/api/grants']?.['get']?.parameters.map(({ name }) => name)).toContain('user')
  })

  it('has a schema for every body that is sent and answered', () => {
    for (const [operation, { body, answers }] of Object.entries(operations)) {
      const [method = '', at = ''] = operation.split(' ')
      const found = document.paths[at.replaceAll(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]
      expect([operation, found?.requestBody !== undefined]).toEqual([operation, body !== undefined])
      for (const [status, type] of Object.entries(answers))
        expect([operation, status, found?.responses[status]?.content !== undefined]).toEqual([
          operation,
          status,
          type !== undefined,
        ])
    }
  })

  it('services are listed, checked, added and removed as it says', async () => {
    const { services } = await operate('GET /api/services')
    expect((services as readonly Json[]).map(({ id }) => id)).toEqual(['echo', 'pinned'])
    const added = { id: 'added', service: { url: 'https://192.0.2.1/mcp' } }
    // Nothing is fetched from there, and it says so.
    await operate('POST /api/services', '/api/services', { ...added, check: true })
    await gateway.supply('added', { url: upstream.url })
    await operate('DELETE /api/services/:id', '/api/services/added')
    await operate('GET /api/services/:id', '/api/services/pinned')
    await operate('GET /api/processes')
    await operate('PUT /api/services/:id/disabled', '/api/services/echo/disabled')
    expect((await operate('GET /api/lock'))['disabled']).toMatchObject([{ service: 'echo' }])
    await operate('DELETE /api/services/:id/disabled', '/api/services/echo/disabled')
    await operate('PUT /api/lock')
    expect((await operate('GET /api/lock'))['locked']).toBe(true)
    await operate('DELETE /api/lock')
  })

  it('grants are listed, ended, blocked and let in again as it says', async () => {
    const access = await tokenOf(gateway, yamada, `${gateway.origin}/echo/mcp`)
    expect((await callerOf(gateway, `${gateway.origin}/echo/mcp`, access).post(call('search'))).status).toBe(
      200,
    )
    const [grant] = all(await operate('GET /api/grants', '/api/grants?user=local:yamada'), 'grants')
    const id = String(grant?.['id'])
    expect(await operate('GET /api/grants/:id', `/api/grants/${id}`)).toEqual(grant)
    expect(await operate('DELETE /api/grants', '/api/grants?user=local:yamada&dry_run=1')).toMatchObject({
      would_end: { grants: 1 },
    })
    await operate('POST /api/grants/:id/block', `/api/grants/${id}/block`)
    expect(all(await operate('GET /api/blocks'), 'blocks')).toMatchObject([
      { user: 'local:yamada', client: grant?.['client'], grant: id, by: 'service:operator' },
    ])
    await operate('POST /api/grants/:id/unblock', `/api/grants/${id}/unblock`)
    expect(await operate('GET /api/blocks')).toEqual({ blocks: [] })
    const unknown = await ask('POST', `/api/grants/${id}/unblock`, {
      headers: { authorization: `Bearer ${token}` },
    })
    expect([unknown.status, ((await unknown.json()) as Json)['code']]).toEqual([404, 'block.unknown'])
    await tokenOf(gateway, yamada, `${gateway.origin}/echo/mcp`)
    const again = async () =>
      String(all(await operate('GET /api/grants', '/api/grants?user=local:yamada'), 'grants')[0]?.['id'])
    await operate('POST /api/grants/:id/end', `/api/grants/${await again()}/end`)
    await tokenOf(gateway, yamada, `${gateway.origin}/echo/mcp`)
    await operate('DELETE /api/grants/:id', `/api/grants/${await again()}`)
    await tokenOf(gateway, yamada, `${gateway.origin}/echo/mcp`)
    await operate('DELETE /api/grants/:id', `/api/grants/${await again()}?revoke_upstream=1`)
    await operate('POST /api/blocks', '/api/blocks', { domain: 'app.example', dry_run: true })
    await operate('POST /api/blocks', '/api/blocks', { domain: 'app.example' })
    await operate('DELETE /api/blocks', '/api/blocks?domain=app.example')
    await operate('DELETE /api/sessions', '/api/sessions?user=local:yamada')
  })

  it('programs are listed, and their tokens ended, as it says', async () => {
    expect(all(await operate('GET /api/service-accounts'), 'service_accounts')).toEqual([
      await operate('GET /api/service-accounts/:id', '/api/service-accounts/operator'),
    ])
    expect(await operate('GET /api/service-accounts/:id', '/api/service-accounts/operator')).toMatchObject({
      user: 'service:operator',
      owner: 'local:ana',
      services: ['/api'],
      clients: ['ops'],
      grants: 1,
    })
    const registered = await ask('POST', '/oauth/register', {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ grant_types: ['client_credentials'] }),
    })
    const client = ((await registered.json()) as { client_id: string }).client_id
    const bound = await operate('POST /api/client-bindings', '/api/client-bindings', {
      client,
      account: 'operator',
    })
    expect(bound).toMatchObject({ client, account: 'operator', by: 'service:operator' })
    expect(await operate('GET /api/client-bindings')).toEqual({
      client_bindings: [bound],
      unbound_clients: [],
      truncated: false,
    })
    await operate('DELETE /api/client-bindings', `/api/client-bindings?client=${client}`)
    expect(all(await operate('GET /api/assertion-issuers'), 'assertion_issuers')).toMatchObject([
      { id: 'ci', type: 'workload', keys: 'metadata', service_accounts: ['operator'] },
    ])
    const mine = await signInAs(gateway, ana)
    const form = await mine.browser.go(path)
    await send(mine, gateway.origin, {
      'action': 'create',
      'id': /name="id" value="(\w{12})"/.exec(form.body)?.[1] ?? '',
      'name': 'CI',
      'service.echo': 'on',
      'lifetime': '3600',
      'permission': 'read',
    })
    expect(all(await operate('GET /api/tokens', '/api/tokens?user=local:ana'), 'tokens')).toMatchObject([
      { name: 'CI', services: ['echo'] },
    ])
    const [{ id } = { id: '' }] = all(await operate('GET /api/tokens'), 'tokens')
    await operate('DELETE /api/tokens/:id', `/api/tokens/${String(id)}?leaked=1`)
    expect(await operate('GET /api/tokens')).toEqual({ tokens: [] })
  })

  it('access rules are listed, added, removed and tried as it says', async () => {
    const record = { userId: 'local:yamada', servers: ['echo'], permissions: ['write'] }
    await operate('POST /api/access', '/api/access', record)
    const added = await operate('POST /api/access', '/api/access', {
      deny: { people: ['local:yamada'], services: ['pinned'] },
    })
    expect(all(await operate('GET /api/access'), 'rules')).toHaveLength(2)
    await operate('GET /api/access/:id', `/api/access/${String(added['id'])}`)
    const access = await tokenOf(gateway, ana, `${gateway.origin}/pinned/mcp`)
    const caller = callerOf(gateway, `${gateway.origin}/pinned/mcp`, access)
    expect((await caller.post(rpc('tools/list'))).status).toBe(200)
    expect((await caller.post(call('search'))).status).toBe(200)
    const replay = async () =>
      operate('POST /api/policy/replay', '/api/policy/replay', {
        access: { deny: [{ everyone: true, services: ['pinned'] }], default: 'everyone' },
        since: '1d',
      })
    await expect.poll(async () => Number((await replay())['refused'])).toBeGreaterThan(0)
    expect(await replay()).toMatchObject({ people: ['local:ana'], shut_out: ['local:ana'] })
    await operate('DELETE /api/access/:id', `/api/access/${String(added['id'])}`)
    await operate('DELETE /api/access', '/api/access?userId=local:yamada')
    const wrong = await ask('POST', '/api/policy/replay', {
      headers: { 'authorization': `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ access: { allow: [{ everyone: true, permissions: ['wirte'] }] } }),
    })
    expect([wrong.status, ((await wrong.json()) as Json)['code']]).toEqual([400, 'rule.invalid'])
  })

  it('definitions of tools are shown and decided as it says', async () => {
    const access = await tokenOf(gateway, ana, `${gateway.origin}/pinned/mcp`)
    await callerOf(gateway, `${gateway.origin}/pinned/mcp`, access).post(rpc('tools/list'))
    const listed = async () => all(await operate('GET /api/tools', '/api/tools?service=pinned'), 'tools')
    await expect.poll(async () => (await listed()).length).toBeGreaterThan(0)
    const [tool] = all(await operate('GET /api/tools', '/api/tools?service=pinned&tool=search'), 'tools')
    const named = { service: 'pinned', tool: 'search' }
    await operate('POST /api/tools', '/api/tools', { ...named, action: 'block' })
    await operate('POST /api/tools', '/api/tools', { ...named, action: 'approve', digest: tool?.['digest'] })
  })

  it('flows and the audit trail are read as it says', async () => {
    const [flow] = all(await operate('GET /api/flows'), 'flows')
    await operate('GET /api/flows/:id', `/api/flows/${String(flow?.['id'])}`)
    const bodies = async () => {
      const found = await operate('GET /api/audit', '/api/audit?q=kind:call')
      return all(found, 'events').flatMap(
        ({ detail }) => (detail as Json | undefined)?.['body'] ?? [],
      ) as string[]
    }
    await expect.poll(async () => (await bodies()).length).toBeGreaterThan(0)
    await operate('GET /api/audit/bodies/:hash', `/api/audit/bodies/${(await bodies())[0] ?? ''}`)
    await operate('GET /api/audit/export')
    expect((await operate('POST /api/audit/verify'))['ok']).toBe(true)
  })

  it('and every operation has been called', () => {
    const called = new Set([...answered].map((one) => one.split(' ').slice(0, 2).join(' ')))
    expect(Object.keys(operations).filter((one) => !called.has(one))).toEqual([])
  })
})
