// Dynamic registration: what real clients send is accepted, what is echoed is enforced, and nobody registers
// more than they should.
import { describe, expect, it } from 'vitest'
import { ask, codeFor, exchange, logIn, refresh, register } from './oauth-steps.ts'
import { createWorld, get, origin, post, postJson, run, type World } from './oauth-world.ts'

const base = {
  client_name: 'App',
  redirect_uris: ['https://app.test/cb'],
  token_endpoint_auth_method: 'none',
}
const send = ({ handlers }: World, body: unknown, headers?: Record<string, string>) =>
  run(handlers.register, postJson('/oauth/register', body, headers))
const stored = async (world: World) => (await world.store.list('client:')).length

describe('a registration', () => {
  it('[A8] [H-B1] of a public client gets an unguessable id, no secret, and an echo of what is enforced', async () => {
    const world = await createWorld()
    const { status, headers, body } = await send(world, {
      ...base,
      redirect_uris: ['http://127.0.0.1:5000/cb'],
    })
    expect([status, headers.get('cache-control')]).toEqual([201, 'no-store'])
    expect(body['client_id']).toMatch(/^client_[\w-]{22}$/)
    expect(body).toMatchObject({
      client_name: 'App',
      redirect_uris: ['http://127.0.0.1:5000/cb'],
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      client_id_issued_at: world.clock.now / 1000,
      registration_client_uri: `${origin}/oauth/register/${String(body['client_id'])}`,
    })
    expect(Object.keys(body)).not.toContain('client_secret')
    expect(Object.keys(body)).not.toContain('client_secret_expires_at')
  })

  it.each([
    [undefined, 'client_secret_basic'],
    ['client_secret_basic', 'client_secret_basic'],
    ['client_secret_post', 'client_secret_post'],
  ])(
    '[H-B2] with method %s is told %s, has a secret that ends, and must use just that',
    async (method, told) => {
      const world = await createWorld()
      const { body } = await send(world, { ...base, token_endpoint_auth_method: method })
      expect(body).toMatchObject({
        token_endpoint_auth_method: told,
        client_secret: expect.stringMatching(/^[\w-]{43}$/) as string,
        client_secret_expires_at: world.clock.now / 1000 + 7_776_000,
      })
      const client = { id: String(body['client_id']), redirectUri: 'https://app.test/cb' }
      const secret = String(body['client_secret'])
      const code = await codeFor(world, client)
      const basic = { authorization: `Basic ${btoa(`${client.id}:${secret}`)}` }
      const fields = {
        grant_type: 'authorization_code',
        code,
        redirect_uri: client.redirectUri,
        code_verifier: 'v'.repeat(43),
      }
      const byBasic = (headers: Record<string, string>) =>
        run(world.handlers.token, post('/oauth/token', fields, headers))
      const byPost = (client_secret: string) =>
        run(world.handlers.token, post('/oauth/token', { ...fields, client_id: client.id, client_secret }))
      const wrong = [
        await byPost(''),
        await byPost('x'),
        await byBasic({ authorization: `Basic ${btoa(`${client.id}:x`)}` }),
        told === 'client_secret_post' ? await byBasic(basic) : await byPost(secret),
      ]
      expect(wrong.map(({ status, body: { error } }) => [status, error])).toEqual(
        Array.from({ length: 4 }, () => [401, 'invalid_client']),
      )
      expect(wrong[2]?.headers.get('www-authenticate')).toMatch(/^Basic /)
      expect(
        (await run(world.handlers.token, post('/oauth/token', { ...fields, client_secret: secret }, basic)))
          .body['error'],
      ).toBe('invalid_request')
      expect((told === 'client_secret_post' ? await byPost(secret) : await byBasic(basic)).status).toBe(200)
    },
  )

  it('tells a client that lives for ever so', async () => {
    const world = await createWorld({ config: { client_lifetime: 0 } })
    expect(
      (await send(world, { ...base, token_endpoint_auth_method: 'client_secret_post' })).body[
        'client_secret_expires_at'
      ],
    ).toBe(0)
  })

  it('[H-B7] of Cursor keeps all three of its redirect URIs; an unusable one is dropped, not the request', async () => {
    const world = await createWorld()
    const cursor = [
      'cursor://anysphere.cursor-mcp/oauth/callback',
      'https://www.cursor.com/agents/mcp/oauth/callback',
      'http://localhost:8787/callback',
    ]
    expect(await send(world, { ...base, redirect_uris: cursor, application_type: 'web' })).toMatchObject({
      status: 201,
      body: { redirect_uris: cursor, application_type: 'web' },
    })
    expect(
      await send(world, { ...base, redirect_uris: [...cursor, 'javascript:alert(1)', 'http://app.test/cb'] }),
    ).toMatchObject({ status: 201, body: { redirect_uris: cursor } })
  })

  it('[H-B4, H-B8] takes loopback in its forms and no look-alike', async () => {
    const world = await createWorld()
    const good = ['http://localhost:1/cb', 'http://127.0.0.1/cb', 'http://[::1]:9/cb', 'http://127.0.0.1/']
    const bad = [
      'http://app.example/cb',
      'http://localhost.evil.test/',
      'http://127.0.0.1.evil.test/',
      'http://localtest.me/',
      'http://0.0.0.0/',
      'http://127.1/',
      'http://2130706433/',
      'https://app.test/cb#f',
      'data:text/html,x',
      'urn:x',
      '',
    ]
    for (const uri of good) expect((await send(world, { ...base, redirect_uris: [uri] })).status).toBe(201)
    for (const uri of bad)
      expect([uri, (await send(world, { ...base, redirect_uris: [uri] })).body['error']]).toEqual([
        uri,
        'invalid_redirect_uri',
      ])
  })

  it('says of plain http in a home network why it is refused, and what to do', async () => {
    const world = await createWorld()
    const say =
      'No redirect URI is acceptable. Plain http is allowed only for localhost, 127.0.0.1 and [::1], because the authorization code would be sent unencrypted. Use an https redirect URI, through a tunnel or with a certificate from your own CA: see docs/guide/production.md#on-a-home-network'
    for (const uri of [
      'http://192.168.1.20:5678/rest/oauth2-credential/callback',
      'HTTP://librechat.lan:3080/cb',
      'http://[fd00::1]/cb',
    ]) {
      const { status, body } = await send(world, { ...base, redirect_uris: [uri] })
      expect([status, body['error'], body['error_description']]).toEqual([400, 'invalid_redirect_uri', say])
    }
  })

  it('[H-B9] beyond its limits is refused and keeps nothing', async () => {
    const world = await createWorld()
    const answers = [
      await send(world, {
        ...base,
        redirect_uris: Array.from({ length: 51 }, (_, i) => `https://app.test/${i}`),
      }),
      await send(world, { ...base, client_name: 'x'.repeat(10_240) }),
      await send(world, { ...base, filler: 'x'.repeat(1_048_577) }),
      await send(world, {
        ...base,
        ...Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`m${i}`, 1])),
      }),
      await send(world, {
        ...base,
        ...Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`m${i}`, 1])),
      }),
      await send(world, { ...base, redirect_uris: [`https://app.test/${'x'.repeat(5000)}`] }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([400, 400, 413, 413, 400, 400])
    expect(await stored(world)).toBe(0)
  })

  it('[H-B10] has a name without characters that change how others are read', async () => {
    const world = await createWorld()
    const name = async (client_name: string) =>
      (await send(world, { ...base, client_name })).body['client_name']
    expect(await name('Cl\u202Eedua\u200B\n\n\n AI\0')).toBe('Cledua AI')
    expect(await name('\u202E\u200B')).toBeUndefined()
    expect(await name('<img src=x onerror=alert(1)>')).toBe('<img src=x onerror=alert(1)>')
  })

  it('[H-B11] drops links that are not plain https, and fetches none', async () => {
    const world = await createWorld()
    const { status, body } = await send(world, {
      ...base,
      logo_uri: 'javascript:alert(1)',
      client_uri: 'data:,x',
      policy_uri: 'http://169.254.169.254/',
      tos_uri: 'https://app.test/tos',
    })
    expect([status, body['logo_uri'], body['client_uri'], body['policy_uri'], body['tos_uri']]).toEqual([
      201,
      undefined,
      undefined,
      undefined,
      'https://app.test/tos',
    ])
    expect(world.web.asked).toEqual([])
  })

  it('[H-B13] for other grants is refused, or shows what was dropped', async () => {
    const world = await createWorld()
    const wrong = [
      { grant_types: ['password'] },
      { grant_types: ['implicit'] },
      { grant_types: ['client_credentials'] },
      { grant_types: ['urn:ietf:params:oauth:grant-type:token-exchange'] },
      { response_types: ['token'] },
      { grant_types: 'authorization_code' },
    ]
    for (const more of wrong)
      expect((await send(world, { ...base, ...more })).body['error']).toBe('invalid_client_metadata')
    expect(
      (
        await send(world, {
          ...base,
          grant_types: ['authorization_code', 'password'],
          response_types: ['code', 'token'],
        })
      ).body,
    ).toMatchObject({ grant_types: ['authorization_code'], response_types: ['code'] })
  })

  it('[H-B15, H-B20] ignores what only the server may say, and statements that prove nothing', async () => {
    const world = await createWorld()
    const { body } = await send(world, {
      ...base,
      client_id: 'mine',
      client_secret: 'mine',
      registration_access_token: 'mine',
      first_party: true,
      skip_consent: true,
      user_id: 'root',
      software_statement: 'eyJhbGciOiJub25lIn0.eyJpc3MiOiJBbnRocm9waWMifQ.',
    })
    expect(JSON.stringify(body)).not.toMatch(/mine|first_party|skip_consent|user_id|software_statement/)
    expect((await ask(world, { id: 'mine', redirectUri: 'https://app.test/cb' })).code).toBe('client.unknown')
  })

  it('[H-B17] comes as JSON or as a form, and as nothing else', async () => {
    const world = await createWorld()
    const form = await run(
      world.handlers.register,
      post('/oauth/register', 'client_name=My MCP Client&redirect_uris=http://localhost:8080/callback'),
    )
    expect(form).toMatchObject({
      status: 201,
      body: {
        client_name: 'My MCP Client',
        redirect_uris: ['http://localhost:8080/callback'],
        token_endpoint_auth_method: 'client_secret_basic',
      },
    })
    const two = await run(
      world.handlers.register,
      post(
        '/oauth/register',
        'redirect_uris=https://a.test/&redirect_uris=https://b.test/&token_endpoint_auth_method=none&grant_types=authorization_code refresh_token',
      ),
    )
    expect(two.body).toMatchObject({
      redirect_uris: ['https://a.test/', 'https://b.test/'],
      grant_types: ['authorization_code', 'refresh_token'],
    })
    for (const type of [
      'text/plain',
      'multipart/form-data; boundary=x',
      'application/json; charset=utf-16',
      'application/xml',
    ])
      expect([type, (await send(world, base, { 'content-type': type })).body['error']]).toEqual([
        type,
        'invalid_client_metadata',
      ])
    for (const body of [
      '',
      '{',
      '[]',
      'null',
      '"x"',
      '{"redirect_uris":"https://app.test/cb"}',
      '{"redirect_uris":[1]}',
      '{}',
      // A kty that names a property of every object is no key type.
      JSON.stringify({ ...base, jwks: { keys: [{ kty: 'constructor' }] } }),
    ])
      expect((await send(world, body)).status).toBe(400)
  })

  it('treats null and empty members as absent', async () => {
    const world = await createWorld()
    expect(
      await send(world, {
        ...base,
        client_uri: null,
        contacts: null,
        jwks: null,
        jwks_uri: null,
        scope: null,
        grant_types: null,
        application_type: null,
      }),
    ).toMatchObject({ status: 201 })
    const empty = await send(world, {
      redirect_uris: ['https://app.test/cb'],
      client_name: '',
      logo_uri: '',
      jwks_uri: '',
      scope: '',
      token_endpoint_auth_method: '',
      grant_types: [],
      response_types: [],
      contacts: [],
    })
    expect(empty).toMatchObject({
      status: 201,
      body: {
        token_endpoint_auth_method: 'client_secret_basic',
        grant_types: ['authorization_code', 'refresh_token'],
      },
    })
  })

  it('keeps no secret that could be read from a dump', async () => {
    const world = await createWorld()
    const { body } = await send(world, { ...base, token_endpoint_auth_method: 'client_secret_post' })
    const dump = JSON.stringify(await world.store.list(''))
    for (const secret of [body['client_secret'], body['registration_access_token'], 'App', 'app.test'])
      expect(dump).not.toContain(secret)
  })
})

describe('an unused registration', () => {
  it('[H-B21] ends after its lifetime: the token endpoint says invalid_client, authorize says it to the person; use renews it', async () => {
    const world = await createWorld({ config: { client_lifetime: 864_000 } })
    const { client, ...tokens } = await logIn(world)
    world.clock.now += 800_000_000
    const renewed = await refresh(world, client, tokens.refresh)
    expect(renewed.status).toBe(200)
    world.clock.now += 800_000_000
    expect((await refresh(world, client, String(renewed.body['refresh_token']))).status).toBe(200)
    world.clock.now += 864_000_000
    expect(await refresh(world, client, tokens.refresh)).toMatchObject({
      status: 401,
      body: { error: 'invalid_client' },
    })
    expect(await ask(world, client)).toMatchObject({
      status: 400,
      code: 'client.unknown',
      body: {
        error_description: expect.stringMatching(
          /Remove the connector in the app, then add it again/,
        ) as string,
      },
    })
  })
})

describe('registration management', () => {
  const manage = (world: World, id: string, token: string | undefined, init: RequestInit = {}) =>
    run(
      world.handlers.manage,
      new Request(`${origin}/oauth/register/${id}`, {
        ...init,
        headers: {
          'content-type': 'application/json',
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        },
      }),
    )

  it('answers 401 without the token, 403 to the token of another client, 404 where there is no client', async () => {
    const world = await createWorld()
    const [a, b] = [await register(world), await register(world)]
    const answers = [
      manage(world, a.id, undefined),
      manage(world, a.id, 'x'),
      manage(world, a.id, b.access),
      manage(world, 'client_aaaaaaaaaaaaaaaaaaaaaa', a.access),
      manage(world, a.id, a.access),
    ]
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([401, 401, 403, 404, 200])
    expect((await manage(world, a.id, undefined)).headers.get('www-authenticate')).toBe('Bearer')
    const wrong = await manage(world, a.id, 'x')
    expect([wrong.code, wrong.headers.get('www-authenticate')]).toEqual([
      'registration.token-invalid',
      'Bearer error="invalid_token"',
    ])
  })

  it('shows the registration without its secrets, and replaces it', async () => {
    const world = await createWorld()
    const client = await register(world, { token_endpoint_auth_method: 'client_secret_post' })
    const shown = await manage(world, client.id, client.access)
    expect(Object.keys(shown.body)).not.toContain('client_secret')
    const put = (body: unknown) =>
      manage(world, client.id, client.access, { method: 'PUT', body: JSON.stringify(body) })
    expect((await put(base)).status).toBe(400)
    expect((await put({ ...base, client_id: client.id, client_secret: 'guess' })).status).toBe(400)
    const replaced = await put({
      ...base,
      client_id: client.id,
      client_secret: client.secret,
      redirect_uris: ['https://app.test/new'],
    })
    expect(replaced).toMatchObject({
      status: 200,
      body: { redirect_uris: ['https://app.test/new'], token_endpoint_auth_method: 'none' },
    })
    expect((await ask(world, client)).code).toBe('redirect.mismatch')
    const secret = await put({
      ...base,
      client_id: client.id,
      token_endpoint_auth_method: 'client_secret_basic',
    })
    expect(secret.body['client_secret']).toMatch(/^[\w-]{43}$/)
    expect(secret.body['client_secret']).not.toBe(client.secret)
  })

  it('deletes the client, and every token it holds with it', async () => {
    const world = await createWorld()
    const { client, access, refresh: token } = await logIn(world)
    const code = await codeFor(world, client)
    const other = await logIn(world)
    const deleted = await manage(world, client.id, client.access, { method: 'DELETE' })
    expect([deleted.status, deleted.text]).toEqual([204, ''])
    world.clock.now += 1000
    await expect(world.guard([`Bearer ${access}`], world.directory.only as never)).rejects.toMatchObject({
      code: 'token.revoked',
    })
    await expect(
      world.guard([`Bearer ${other.access}`], world.directory.only as never),
    ).resolves.toMatchObject({ person: { provider: 'local', subject: 'ana' } })
    expect((await refresh(world, client, token)).body['error']).toBe('invalid_client')
    expect((await exchange(world, client, code)).body['error']).toBe('invalid_client')
    expect((await manage(world, client.id, client.access)).status).toBe(404)
    expect((await run(world.handlers.authorize, get(`/oauth/authorize?client_id=${client.id}`))).code).toBe(
      'client.unknown',
    )
  })

  it('never admits its token to a service', async () => {
    const world = await createWorld()
    const client = await register(world)
    await expect(
      world.guard([`Bearer ${client.access}`], world.directory.only as never),
    ).rejects.toMatchObject({ code: 'token.malformed' })
  })
})
