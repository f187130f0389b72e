// Assertions at the token endpoint: a company's word for its people (ID-JAG), and a platform's for its programs.
import { describe, expect, it } from 'vitest'
import { signWith } from '../providers/assertion-issuer.ts'
import { type Json, assertionWorld, grantType, bea } from '../runtimes/assertion-world.ts'
import { runtimes } from '../runtimes/runtimes.ts'

describe.each(runtimes)('%s', (_, open) => {
  const world = assertionWorld(open)
  const { advance, now, resource, ask, desk, signed, send, redeem, run, token, read, call, lastEvent } = world

  it('metadata says what there is, and never whose word counts', async () => {
    const answer = await world.gateway.fetch(`${world.gateway.origin}/.well-known/oauth-authorization-server`)
    const text = await answer.text()
    expect(JSON.parse(text)).toMatchObject({
      grant_types_supported: ['authorization_code', 'refresh_token', grantType],
      authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
    })
    expect(text).not.toContain(world.company.url)
  })

  it('the word of the company gives a short token for one service, and no refresh token', async () => {
    const answer = await redeem()
    expect(answer.body).toEqual({
      access_token: token(answer),
      token_type: 'Bearer',
      expires_in: 600,
      scope: 'mcp mcp:read mcp:write',
    })
    expect(read(token(answer))).toMatchObject({
      sub: `corp:${bea}`,
      aud: resource(),
      client_id: 'desk',
    })
    expect((await call(token(answer), 'create')).body.error).toBeUndefined()
    expect(world.upstream.heard.at(-1)?.headers['x-user-id']).toBe(`corp:${bea}`)
    expect(lastEvent('assertion.accepted')).toMatchObject({
      kind: 'id_jag',
      issuer: 'corp',
      subject: bea,
      client: 'desk',
      service: 'ruled',
      scopes: ['mcp', 'mcp:read', 'mcp:write'],
    })
    expect(read(token(await redeem()))['gid']).toBe(read(token(answer))['gid'])
  })

  it('scopes are what request, assertion, entry and service have in common', async () => {
    const scope = async (said: string | undefined, asked?: string) =>
      (await redeem(said === undefined ? {} : { scope: said }, asked === undefined ? {} : { scope: asked }))
        .body
    expect(await scope('mcp:read')).toMatchObject({ scope: 'mcp mcp:read' })
    expect(await scope('mcp:read', 'mcp:write')).toMatchObject({ error: 'invalid_scope' })
    expect(await scope('mcp', 'mcp')).toMatchObject({ scope: 'mcp mcp:read mcp:write' })
    expect(await scope('mcp:admin mcp:write', 'mcp:read')).toMatchObject({ scope: 'mcp mcp:read' })
    expect(await scope('tickets.read')).toMatchObject({ error: 'invalid_scope' })
  })

  it('beyond the assertion access is denied; a narrower request is asked to widen', async () => {
    const limited = token(await redeem({ scope: 'mcp:read' }))
    const denied = await call(limited, 'create')
    expect([denied.status, denied.body.error?.data?.['code']]).toEqual([200, 'account.permission'])
    const narrow = token(await redeem({}, { scope: 'mcp:read' }))
    expect((await call(narrow, 'create')).status).toBe(403)
  })

  it('without a resource in the assertion the request names it; each must be of the entry', async () => {
    const none = { resource: undefined }
    expect(await redeem(none, { resource: resource('second') })).toMatchObject({ status: 200 })
    expect(await redeem(none)).toMatchObject({ status: 400, body: { error: 'invalid_target' } })
    expect(await redeem(none, { resource: 'https://else.example/mcp' })).toMatchObject({
      body: { error: 'invalid_target' },
    })
    const both = { resource: [resource(), resource('second')] }
    expect(await redeem(both)).toMatchObject({ body: { error: 'invalid_target' } })
    expect(read(token(await redeem(both, { resource: resource('second') })))['aud']).toBe(resource('second'))
  })

  it('whom nobody knows is admitted where the entry says so, by the lists', async () => {
    const stranger = (more: Json = {}) =>
      redeem({
        tenant: 'new',
        sub: 'new',
        resource: resource('second'),
        email: 'new@corp.test',
        email_verified: true,
        act: { sub: 'agent-7' },
        ...more,
      })
    expect(await stranger()).toMatchObject({
      status: 200,
      body: { scope: expect.stringContaining('execute') },
    })
    expect(lastEvent('assertion.accepted')).toMatchObject({ issuer: 'anyone', actor: 'agent-7' })
    expect(read(token(await stranger()))['act']).toEqual({ sub: 'agent-7' })
    expect(await stranger({ sub: 'else', email: 'else@else.test' })).toMatchObject({
      body: { code: 'assertion.person' },
    })
  })

  it('what was ended comes back with the next assertion, its old tokens never; a block keeps it away', async () => {
    const before = token(await redeem())
    await world.admin.ask('DELETE', `/api/grants?user=corp:${bea}`)
    advance(1000)
    expect((await call(before)).status).toBe(401)
    const after = token(await redeem())
    expect((await call(after)).status).toBe(200)
    await world.admin.ask('POST', '/api/blocks', { user: `corp:${bea}`, client: 'desk' })
    advance(1000)
    expect((await call(after)).status).toBe(401)
    // 43
    expect((await redeem()).body).toMatchObject({ error: 'invalid_grant', code: 'code.blocked' })
    await world.admin.ask('DELETE', `/api/blocks?user=corp:${bea}&client=desk`)
    expect((await redeem()).status).toBe(200)
  })

  it('people block what their company connected, and only that, until an administrator lifts it', async () => {
    const before = token(await redeem({ resource: resource('second') }))
    const page = await world.browser.go('/account/apps')
    expect(page.body).toMatch(/Connected by your company on/)
    const answer = await world.browser.submit(page, '/account/apps', { action: 'block', client: 'desk' })
    expect(answer.body).toContain('No app has access')
    expect(lastEvent('access.blocked')).toMatchObject({ blocked_client: 'desk', by: `corp:${bea}` })
    advance(1000)
    expect((await call(before, 'search', 'second')).status).toBe(401)
    expect((await redeem()).body).toMatchObject({ code: 'code.blocked' })
    const again = await world.browser.submit(answer, '/account/apps', { action: 'block', client: 'other' })
    expect(again.status).toBe(400)
    await world.admin.ask('DELETE', `/api/blocks?user=corp:${bea}&client=desk`)
    expect((await redeem()).status).toBe(200)
  })

  it('a program gets what its rule says, at each run', async () => {
    const answer = await run()
    expect(read(token(answer))).toMatchObject({
      sub: 'service:nightly',
      client_id: 'workload:actions',
      aud: resource(),
    })
    expect(answer.body['expires_in']).toBe(900)
    expect((await run({ exp: now() + 120 })).body['expires_in']).toBeLessThanOrEqual(240)
    expect((await call(token(answer), 'create')).body.error).toBeUndefined()
    expect(lastEvent('assertion.accepted')).toMatchObject({
      kind: 'workload',
      issuer: 'actions',
      rule: 'assertion_issuers.actions.rules[0]',
    })
    for (const more of [
      { aud: `${world.gateway.origin}/oauth/token` },
      { sub: 'repo:acme/app:release', ref: 'x' },
    ])
      expect(await run(more)).toMatchObject({ status: 200 })
    // A client that says who it is must be known, and is not who gets the token.
    expect(read(token(await run({}, desk)))['client_id']).toBe('workload:actions')
    expect(await run({}, { client_id: 'nobody' })).toMatchObject({ status: 401 })
    expect((await call(token(answer), 'delete_all')).body.error?.data?.['code']).toBe('policy.permission')
  })

  it('a SPIFFE identity needs no issuer and no jti, and comes again until it expires', async () => {
    const svid = {
      aud: world.gateway.origin,
      sub: 'spiffe://prod.example/ns/ci/sa/nightly',
      exp: now() + 600,
    }
    const assertion = await signWith(world.mesh.key, svid)
    expect([(await ask({ assertion })).status, (await ask({ assertion })).status]).toEqual([200, 200])
  })

  it('the flow record tells of a token that was never used, and of an attempt that failed', async () => {
    const flows = async (query: string) => {
      const { body } = await world.admin.ask('GET', `/api/flows?${query}`)
      return (JSON.parse(body) as { flows: readonly Json[] }).flows
    }
    await redeem({ resource: resource('second') })
    advance(20_000)
    await expect
      .poll(async () => (await flows('service=second')).map(({ finding }) => finding))
      .toContainEqual(
        expect.objectContaining({
          code: 'flow.token-unused',
          say: expect.stringContaining('(ID-JAG)'),
        }),
      )
    await redeem({ scope: 'nothing' })
    await expect
      .poll(async () =>
        (await flows('client=desk')).map(({ finding }) => (finding as Json | undefined)?.['code']),
      )
      .toContain('account.scope')
  })

  it('keys rotate, are asked for again once in a while, and are used while their issuer is away', async () => {
    await redeem()
    await world.company.rotate(false)
    const before = world.company.asked()
    expect((await Promise.all([redeem(), redeem(), redeem()])).map(({ status }) => status)).toEqual([
      200, 200, 200,
    ])
    expect(world.company.asked()).toBe(before + 1)
    const unknown = await Promise.all([1, 2, 3].map(() => signed({}, { kid: 'nobody' })))
    for (const assertion of unknown)
      expect((await send(assertion)).body).toMatchObject({ code: 'assertion.key' })
    expect(world.company.asked()).toBe(before + 1)
    world.company.misbehave('fails')
    advance(1_800_000)
    expect((await redeem()).status).toBe(200)
    advance(1_900_000)
    expect(await redeem()).toMatchObject({ status: 503, body: { error: 'temporarily_unavailable' } })
    world.company.misbehave(undefined)
    advance(60_000)
    expect((await redeem()).status).toBe(200)
  })
})
