// Personal access tokens: made at the gateway's terminal, used by programs, ended; and what never comes of them.
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { printJson } from '../../src/cli/output.ts'
import { createToken, listTokens, mintToken, revokeToken } from '../../src/cli/tokens.ts'
import { parseConfig } from '../../src/config/schema.ts'
import { ana, callerOf, yamada } from '../runtimes/people.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type RuntimeGateway, configOf, openInProcess, openOnSocket } from '../runtimes/runtimes.ts'
import { signInAs } from '../runtimes/administrator.ts'
import { path, send, shown } from './token-page.ts'

const tool = (name: string) => ({
  jsonrpc: '2.0',
  id: 7,
  method: 'tools/call',
  params: { name, arguments: {} },
})

const rules = {
  local_users: [ana, yamada],
  personal_tokens: { header: 'X-Api-Key' },
  access: {
    allow: [
      { people: ['local:ana'], services: ['ruled'], permissions: ['execute' as const] },
      { people: ['local:ana'], services: ['second'], permissions: ['read' as const] },
    ],
    deny: [{ clients: ['personal'], services: ['third'] }],
  },
}

describe('at the terminal', () => {
  let upstream: RuledUpstream
  let gateway: RuntimeGateway
  beforeAll(async () => {
    upstream = await openRuledUpstream()
    gateway = await openOnSocket({
      upstream: upstream.url,
      config: {
        ...rules,
        mcp_services: Object.fromEntries(
          ['ruled', 'second', 'third'].map((id) => [id, { url: upstream.url }]),
        ),
      },
    })
  }, 60_000)
  afterAll(async () => {
    await gateway.close()
    await upstream.close()
  })
  afterEach(() => vi.restoreAllMocks())

  /** The same configuration and state directory, as a command finds them. */
  const target = (json = true) => ({
    config: parseConfig({
      ...configOf({
        upstream: upstream.url,
        config: {
          ...rules,
          mcp_services: Object.fromEntries(
            ['ruled', 'second', 'third'].map((id) => [id, { url: upstream.url }]),
          ),
        },
      }),
      issuer: gateway.origin,
    }),
    stateDir: gateway.stateDir ?? '',
    env: {},
    json: json ? printJson : undefined,
  })
  /** What a command writes. */
  const output = async (work: () => Promise<void>) => {
    const lines = { out: '', err: '' }
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => ((lines.out += String(text)), true))
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => ((lines.err += String(text)), true))
    try {
      await work()
    } finally {
      vi.restoreAllMocks()
    }
    return lines
  }
  type Made = { readonly token: string; readonly id: string; readonly services: readonly string[] }
  const create = async (options: Parameters<typeof createToken>[1] = {}) =>
    JSON.parse(
      (await output(() => createToken(target(), { user: 'local:ana', service: ['ruled'], ...options }))).out,
    ) as Made
  const call = async (token: string, name = 'search', id = 'ruled', headers = {}) => {
    const answer = await callerOf(gateway, `${gateway.origin}/${id}/mcp`, token).post(tool(name), headers)
    const text = await answer.text()
    const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
    const error = body['error'] as { readonly data?: { readonly code?: string } } | undefined
    return {
      status: answer.status,
      code: error?.data?.code ?? body['code'],
      challenge: answer.headers.get('www-authenticate') ?? '',
    }
  }

  it('a token is printed once and alone, acts as its user, and may do what it was made for and no more [H-W7]', async () => {
    const printed = await output(() =>
      createToken(target(false), {
        user: 'ana@example.com',
        service: ['ruled,second'],
        permissions: 'read',
        expires: '7d',
        name: 'CI',
      }),
    )
    expect(printed.out).toMatch(/^ppat_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}\n$/)
    expect(printed.err).toMatch(/^Acts as local:ana at ruled, second until \d{4}-\d\d-\d\dT/)
    const token = printed.out.trim()
    expect(await call(token)).toMatchObject({ status: 200, code: undefined })
    expect(upstream.heard.at(-1)?.headers).toMatchObject({ 'x-user-id': 'ana' })
    expect(JSON.stringify(upstream.heard.at(-1)?.headers)).not.toContain('ppat_')
    expect((await call(token, 'search', 'second')).status).toBe(200)
    expect(await call(token, 'create')).toMatchObject({ status: 200, code: 'account.permission' })
    expect(await call(token, 'search', 'third')).toMatchObject({
      status: 401,
      code: 'personal-token.unknown',
    })
    const listed = JSON.parse((await output(() => listTokens(target(), {}))).out) as {
      tokens: { name: string; last_used_at?: string }[]
    }
    expect(listed.tokens).toMatchObject([
      { name: 'CI', user: 'local:ana', kind: 'personal', services: ['ruled', 'second'], permission: 'read' },
    ])
    expect(JSON.stringify(gateway.log)).not.toContain(token.slice(18))
  })

  it('an ended token is refused by a running gateway within a second, and its challenge says since when', async () => {
    const { token, id } = await create({ permissions: 'write' })
    expect((await call(token, 'create')).status).toBe(200)
    await output(() => revokeToken(target(), id, {}))
    gateway.advance(600)
    const refused = await call(token, 'create')
    expect(refused).toMatchObject({ status: 401, code: 'personal-token.ended' })
    expect(refused.challenge).toMatch(
      /^Bearer error="invalid_token", error_description="The personal access token ppat_\w{4}\.\.\. was ended on \d{4}-\d\d-\d\d\. Create another one\.", resource_metadata="/,
    )
    await expect(output(() => revokeToken(target(), id, {}))).rejects.toMatchObject({ code: 'token.unknown' })
  })

  it('never is a token made for more than its user may do, or where rules keep tokens out', async () => {
    for (const options of [
      { permissions: 'admin' },
      { service: ['second'], permissions: 'write' },
      { service: ['third'] },
      { user: 'local:yamada' },
    ])
      await expect(create(options)).rejects.toMatchObject({ code: 'personal-token.scope' })
    await expect(create({ user: 'local:nobody' })).rejects.toMatchObject({ code: 'person.unknown' })
    await expect(create({ expires: '91d' })).rejects.toMatchObject({ code: 'request.malformed' })
    for (const options of [{ expires: 'soon' }, { expires: '5' }, { permissions: 'root' }])
      await expect(create(options)).rejects.toThrow(/^--(?:expires|permissions) is /)
  })

  it('a token may come in the header that the operator chose, in any spelling, and never goes on [H-W4, H-W5]', async () => {
    const { token } = await create({ permissions: 'write' })
    for (const name of ['X-Api-Key', 'x-api-key', 'X_Api_Key']) {
      expect(await call('', 'search', 'ruled', { [name]: token })).toMatchObject({
        status: 200,
        code: undefined,
      })
      expect(JSON.stringify(upstream.heard.at(-1)?.headers)).not.toContain('ppat_')
    }
    expect(await call(token, 'search', 'ruled', { 'x-api-key': token })).toMatchObject({
      status: 400,
      code: 'token.repeated',
    })
    expect(await call('', 'search', 'ruled', { 'x-api-key': 'something' })).toMatchObject({ status: 401 })
    expect(await call('', 'search', 'ruled', { 'x-api-key': `Bearer ${token}` })).toMatchObject({
      status: 401,
    })
    expect(await call('', 'search', 'ruled', { 'x-other': token })).toMatchObject({
      status: 401,
      code: 'token.missing',
    })
  })

  it('never is a token taken from the query, the body, a cookie, or as a password [H-W3]', async () => {
    const { token } = await create()
    const url = `${gateway.origin}/ruled/mcp?access_token=${token}`
    expect((await callerOf(gateway, url, '').post(tool('search'))).status).toBe(401)
    expect(await call('', 'search', 'ruled', { cookie: `token=${token}` })).toMatchObject({ status: 401 })
    const inBody = { ...tool('search'), access_token: token }
    expect((await callerOf(gateway, `${gateway.origin}/ruled/mcp`, '').post(inBody)).status).toBe(401)
    const basic = Buffer.from(`ana:${token}`).toString('base64')
    expect(await call('', 'search', 'ruled', { authorization: `Basic ${basic}` })).toMatchObject({
      status: 401,
      code: 'token.malformed',
    })
    expect(await call('', 'search', 'ruled', { authorization: token })).toMatchObject({ status: 401 })
  })

  it('a token for tests is short, and is made in production only on purpose', async () => {
    const options = { user: 'local:ana', service: ['ruled'] }
    const made = JSON.parse((await output(() => mintToken(target(), options))).out) as {
      readonly kind: string
      readonly created_at: string
      readonly expires_at: string
    }
    expect(made.kind).toBe('test')
    expect(Date.parse(made.expires_at) - Date.parse(made.created_at)).toBe(3_600_000)
    const production = { ...target(), env: { NODE_ENV: 'production' } }
    expect(() => mintToken(production, options)).toThrow('--yes')
    const meant = await output(() => mintToken({ ...production, json: undefined }, { ...options, yes: true }))
    expect(meant.err).toContain('Acts as local:ana at ruled')
    await expect(output(() => mintToken(target(), { ...options, expires: '2d' }))).rejects.toMatchObject({
      code: 'request.malformed',
    })
  })

  it('no use gets through after the end, whatever is in progress', async () => {
    const { token, id } = await create()
    let ended = false
    const after: number[] = []
    const uses = Array.from({ length: 50 }, async () => {
      for (let i = 0; i < 3; i++) {
        const late = ended
        const { status } = await call(token)
        if (late) after.push(status)
      }
    })
    await output(() => revokeToken(target(), id, {}))
    gateway.advance(600)
    ended = true
    await Promise.all(uses)
    expect((await call(token)).status).toBe(401)
    expect(new Set(after).has(200)).toBe(false)
  })
})

it('where the administrator creates them, the page makes none and still ends them', async () => {
  const gateway = await openInProcess({
    upstream: 'http://127.0.0.1:9/mcp',
    config: { local_users: [ana], personal_tokens: { self_service: false } },
  })
  const mine = await signInAs(gateway, ana)
  expect((await mine.browser.go(path)).body).toContain('Your administrator creates tokens on this gateway.')
  const fields = {
    'action': 'create',
    'id': 'a'.repeat(12),
    'name': 'x',
    'service.echo': 'on',
    'lifetime': '60',
  }
  const page = await send(mine, gateway.origin, fields)
  expect([page.status, shown.test(page.body)]).toEqual([400, false])
  await gateway.close()
})
