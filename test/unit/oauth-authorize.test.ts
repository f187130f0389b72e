// The authorization endpoint: where an error may be shown, what is asked of a request, and what goes back to
// the client.
import { describe, expect, it } from 'vitest'
import { approved, ask, authorizeQuery, cookiesOf, decide, register, toConsent } from './oauth-steps.ts'
import { createWorld, get, origin, post, resource, run } from './oauth-world.ts'

const two = { echo: {}, other: {} }

/** Told to the client, at its own redirect URI, with state and iss. */
const told = (error: string, state: string | null = 's-1') => ({
  status: 303,
  error,
  state,
  iss: origin,
  at: 'https://app.test/cb',
})
const seen = ({ status, location }: { status: number; location?: URL }) => ({
  status,
  error: location?.searchParams.get('error'),
  state: location?.searchParams.get('state') ?? null,
  iss: location?.searchParams.get('iss'),
  at: location && `${location.origin}${location.pathname}`,
})

describe('until the redirect URI is known to be of this client, an error is only shown', () => {
  it('[A13] [H-B21, H-D2] to the person: unknown client, foreign redirect URI', async () => {
    const world = await createWorld()
    const client = await register(world)
    const shown = [
      await ask(world, { ...client, id: 'client_aaaaaaaaaaaaaaaaaaaaaa' }),
      await ask(world, { ...client, id: '../../etc' }),
      await ask(world, client, { client_id: undefined }),
      await ask(world, client, { redirect_uri: 'https://evil.test/cb' }),
      await ask(world, client, { redirect_uri: 'javascript:alert(1)' }),
    ]
    expect(shown.map(({ status, code, location }) => [status, code, location])).toEqual([
      [400, 'client.unknown', undefined],
      [400, 'client.unknown', undefined],
      [400, 'client.unknown', undefined],
      [400, 'redirect.mismatch', undefined],
      [400, 'redirect.mismatch', undefined],
    ])
    expect(shown[3]?.refusal?.detail.page?.facts).toContainEqual({
      name: 'Registered',
      value: 'https://app.test/cb',
    })
  })

  it('[A6] [H-D3] for every near miss of a registered URI', async () => {
    const world = await createWorld()
    const client = await register(world)
    const misses = ['/cb/', '/CB', '%2fcb', '/cb?x=1', '/cb#f', '/./cb', '/../cb', '//cb', '\\cb'].map(
      (path) => `https://app.test${path}`,
    )
    const others = [
      'https://app.test:443/cb',
      'https://u@app.test/cb',
      'https://x.app.test/cb',
      'https://app.test.evil.test/cb',
      'https://аpp.test/cb',
      'https://APP.test/cb',
      'http://app.test/cb',
      ' https://app.test/cb',
    ]
    for (const redirect_uri of [...misses, ...others]) {
      const { status, code, location } = await ask(world, client, { redirect_uri })
      expect([redirect_uri, status, code, location]).toEqual([
        redirect_uri,
        400,
        'redirect.mismatch',
        undefined,
      ])
    }
  })

  it('[H-D8] when client_id or redirect_uri is repeated', async () => {
    const world = await createWorld()
    const client = await register(world)
    const query = (await authorizeQuery(client)).toString()
    for (const twice of [`client_id=${client.id}`, 'redirect_uri=https%3A%2F%2Fapp.test%2Fcb']) {
      const { status, location } = await run(
        world.handlers.authorize,
        get(`/oauth/authorize?${query}&${twice}`),
      )
      expect([status, location]).toEqual([400, undefined])
    }
  })
})

describe('a loopback redirect URI', () => {
  it.each(['127.0.0.1', 'localhost', '[::1]'])(
    '[A6] [H-D4] on %s matches at any port, with the same host and path only',
    async (host) => {
      const world = await createWorld()
      const client = await register(world, { redirect_uris: [`http://${host}/cb`] })
      expect((await ask(world, client, { redirect_uri: `http://${host}:49152/cb` })).location?.pathname).toBe(
        '/login',
      )
      const swapped = host === 'localhost' ? '127.0.0.1' : 'localhost'
      for (const other of [
        `http://${swapped}:49152/cb`,
        `http://${host}:49152/cb2`,
        `https://${host}:49152/cb`,
      ])
        expect((await ask(world, client, { redirect_uri: other })).code).toBe('redirect.mismatch')
    },
  )
})

describe('what a client that was approved is told, with its state and the issuer, and otherwise the person is shown', () => {
  const cases: [string, Record<string, string | undefined>, string][] = [
    ['D6: token', { response_type: 'token' }, 'unsupported_response_type'],
    ['D6: code token', { response_type: 'code token' }, 'unsupported_response_type'],
    ['D6: id_token', { response_type: 'id_token' }, 'unsupported_response_type'],
    ['D6: none', { response_type: 'none' }, 'unsupported_response_type'],
    ['D6: CODE', { response_type: 'CODE' }, 'unsupported_response_type'],
    ['D6: missing', { response_type: undefined }, 'invalid_request'],
    ['response_mode', { response_mode: 'fragment' }, 'invalid_request'],
    ['D7: no challenge', { code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
    ['D7: plain', { code_challenge_method: 'plain' }, 'invalid_request'],
    ['D7: s256', { code_challenge_method: 's256' }, 'invalid_request'],
    ['D7: no method', { code_challenge_method: undefined }, 'invalid_request'],
    ['D7: method alone', { code_challenge: undefined }, 'invalid_request'],
    ['D7: 42 characters', { code_challenge: 'a'.repeat(42) }, 'invalid_request'],
    ['D7: 129 characters', { code_challenge: 'a'.repeat(129) }, 'invalid_request'],
    ['D7: other characters', { code_challenge: `${'a'.repeat(42)}=` }, 'invalid_request'],
    ['D10: unknown', { resource: 'https://evil.test/mcp' }, 'invalid_target'],
    ['D10: relative', { resource: '/echo/mcp' }, 'invalid_target'],
    ['D10: fragment', { resource: `${resource}#x` }, 'invalid_target'],
    ['D10: http', { resource: resource.replace('https', 'http') }, 'invalid_target'],
    ['D10: userinfo', { resource: 'https://gw.test@evil.test/echo/mcp' }, 'invalid_target'],
    ['D10: dot segments', { resource: `${origin}/x/../echo/mcp` }, 'invalid_target'],
    ['D13: request', { request: 'eyJ' }, 'request_not_supported'],
    ['D13: request_uri', { request_uri: 'https://listener.test/' }, 'request_uri_not_supported'],
    ['D13: registration', { registration: '{}' }, 'registration_not_supported'],
    ['D15: none', { prompt: 'none' }, 'login_required'],
    ['D15: none and login', { prompt: 'none login' }, 'invalid_request'],
    ['max_age', { max_age: 'soon' }, 'invalid_request'],
  ]
  it.each(cases)('[A1, A4] [H-D6, H-D7, H-D10, H-D13, H-D15] %s', async (_, more, error) => {
    const world = await createWorld({ services: two })
    expect(seen(await ask(world, await approved(world), { resource, ...more }))).toEqual(told(error))
    const { status, location, body, refusal } = await ask(world, await register(world), { resource, ...more })
    expect([status, location, body['error'], refusal?.detail.redirect]).toEqual([
      refusal?.row.status,
      undefined,
      error,
      { uri: 'https://app.test/cb', state: 's-1', ask: 'Test app' },
    ])
    expect(world.web.asked).toEqual([])
  })

  it('[H-D8] that a parameter was repeated, or two resources named', async () => {
    const world = await createWorld({ services: two })
    const client = await approved(world)
    const query = (await authorizeQuery(client, { resource })).toString()
    const at = async (more: string) =>
      seen(await run(world.handlers.authorize, get(`/oauth/authorize?${query}&${more}`)))
    for (const twice of [
      'code_challenge=x',
      'scope=a&scope=b',
      'response_type=code',
      'prompt=login&prompt=login',
    ])
      expect(await at(twice)).toEqual(told('invalid_request'))
    expect(await at('state=other')).toEqual(told('invalid_request', null))
    expect(await at(`resource=${encodeURIComponent(`${origin}/other/mcp`)}`)).toEqual(told('invalid_target'))
    expect((await at(`resource=${encodeURIComponent(resource)}`)).error).toBeNull()
  })

  it('[A10] that nothing protected is meant: several services and no resource, or one that needs no token', async () => {
    const several = await createWorld({ services: two })
    expect(seen(await ask(several, await approved(several)))).toEqual(told('invalid_target'))
    const open = await createWorld({ services: { echo: { authRequired: false }, other: {} } })
    expect(seen(await ask(open, await approved(open), { resource }))).toEqual(told('invalid_target'))
  })
})

describe('a request that passes', () => {
  it('[A10] [H-D10] may spell its resource in any way that means the same, or leave it out where there is one', async () => {
    const world = await createWorld()
    const client = await register(world)
    for (const named of [
      undefined,
      resource,
      `${resource}/`,
      'HTTPS://GW.TEST/echo/mcp',
      'https://gw.test:443/echo/mcp',
    ]) {
      const asked = await ask(world, client, { resource: named })
      const read = await world.pendingRequests.of(
        asked.location?.searchParams.get('flow') ?? '',
        get('/', { cookie: cookiesOf(asked) }),
      )
      expect(read.pending.resource).toBe(resource)
    }
  })

  it('[A11] gets the default without a scope, what it may have of the scopes it names, and never an error for the rest', async () => {
    const world = await createWorld({ services: { echo: { scopes: ['read', 'write'] } } })
    const client = await register(world)
    const granted = async (scope: string | undefined) => {
      const asked = await ask(world, client, { scope })
      return (
        await world.pendingRequests.of(
          asked.location?.searchParams.get('flow') ?? '',
          get('/', { cookie: cookiesOf(asked) }),
        )
      ).pending.scopes
    }
    expect(await granted(undefined)).toEqual(['read', 'write'])
    expect(await granted('openid email profile')).toEqual(['read', 'write'])
    expect(await granted('write admin')).toEqual(['write'])
    expect(await granted('read offline_access')).toEqual(['read', 'offline_access'])
  })

  it('[H-D9] as a form is read from the body alone', async () => {
    const world = await createWorld()
    const client = await register(world)
    const body = await authorizeQuery(client)
    const disagreeing = await authorizeQuery(
      { ...client, redirectUri: 'https://evil.test/cb' },
      { state: 'query' },
    )
    const asked = await run(world.handlers.authorize, post(`/oauth/authorize?${disagreeing}`, body))
    const { pending } = await world.pendingRequests.of(
      asked.location?.searchParams.get('flow') ?? '',
      get('/', { cookie: cookiesOf(asked) }),
    )
    expect([pending.redirectUri, pending.state]).toEqual(['https://app.test/cb', 's-1'])
    expect(await run(world.handlers.authorize, post('/oauth/authorize', '%ff=%ff'))).toMatchObject({
      status: 400,
    })
  })

  it('[H-D12] gets its state back byte for byte, or none', async () => {
    const world = await createWorld()
    world.signIn()
    const client = await register(world)
    for (const state of [
      '"><script>alert(1)</script>',
      'a b+c%20&=',
      '\u{1F600} \0',
      'x'.repeat(8192),
      undefined,
    ]) {
      const asked = await toConsent(world, client, { state })
      expect(asked.page.text).not.toContain('<script>alert')
      expect((await decide(world, asked, 'allow')).location?.searchParams.get('state')).toBe(state ?? null)
    }
  })

  it('[A4] [H-D16, H-D17] is answered with exactly code, state and iss, by 303, beside the query of its own URI', async () => {
    const world = await createWorld()
    world.signIn()
    const client = await register(world, {
      redirect_uris: ['https://app.test/cb?tenant=a%20b&code=mine&iss=https%3A%2F%2Fevil.test'],
    })
    const answer = await decide(world, await toConsent(world, client), 'allow')
    expect(answer.status).toBe(303)
    expect(answer.location?.search).toMatch(/^\?tenant=a%20b&/)
    expect([...(answer.location?.searchParams.keys() ?? [])].toSorted()).toEqual([
      'code',
      'iss',
      'state',
      'tenant',
    ])
    expect(answer.location?.searchParams.get('iss')).toBe(origin)
    expect(answer.location?.searchParams.get('code')).toMatch(/^pc_/)
    expect(answer.headers.get('cache-control')).toBe('no-store')
  })

  it('[H-D15] with prompt=login or max_age=0 counts no earlier sign-in, and ignores prompts it does not know', async () => {
    const world = await createWorld()
    const client = await register(world)
    for (const more of [{ prompt: 'login' }, { max_age: '0' }, { prompt: 'select_account consent' }]) {
      world.signIn()
      world.clock.now += 1000
      const { page, flow, cookie } = await toConsent(world, client, more)
      expect(page.location?.href).toBe(`${origin}/login?flow=${flow}&prompt=login`)
      world.signIn()
      expect(
        (await run(world.handlers.consentPage, get(`/oauth/consent?flow=${flow}`, { cookie }))).status,
      ).toBe(200)
    }
    expect((await toConsent(world, client, { prompt: 'create', max_age: '3600' })).page.status).toBe(200)
  })
})
