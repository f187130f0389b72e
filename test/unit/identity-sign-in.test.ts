// Signing in with a password or the terminal's link, and signing out: the rules, without a network.
import { describe, expect, test } from 'vitest'
import { sessionCookieOf } from '../../src/identity/session.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import type { DescribeFlow } from '../../src/ports/modules.ts'
import {
  codeOf,
  createJar,
  createWorld,
  hiddenOf,
  origin,
  refusalOf,
  context,
  type WorldOptions,
} from './identity-world.ts'

const users = [
  {
    username: 'ana',
    password: 'correct horse',
    email: 'ana@example.com',
    name: 'Ana Example',
    groups: ['staff'],
  },
  { username: 'bo', password_hash: '$scrypt$kept-elsewhere' },
]

const { ip } = context

const atLogin = async (options: WorldOptions = { config: { local_users: users } }, path = '/login') => {
  const world = await createWorld(options)
  const jar = createJar()
  const page = jar.keep(await world.signIn.page(jar.request(path), context))
  const hidden = page.status === 200 ? await hiddenOf(page.clone()) : {}
  const typed = (
    username: string,
    password: string,
    more: Record<string, string> = {},
    headers: Record<string, string> = {},
  ) => world.signIn.password(jar.post('/login', { ...hidden, username, password, ...more }, headers), context)
  return { ...world, jar, page, hidden, typed }
}

const flow: DescribeFlow = (id) => {
  const service = {
    id: 'echo',
    name: 'Echo',
    description: '',
    upstream: { kind: 'http', url: '' },
    authRequired: true,
    scopes: ['mcp'],
    timeoutMs: 1,
    maxBodyBytes: 1,
    identity: { preset: 'all', headers: {}, assertion: true },
  } as const
  return Promise.resolve(
    id === 'flow1'
      ? {
          client: { id: 'c', name: 'Claude', kind: 'dynamic' },
          address: { service, path: '/echo/mcp', resource: `${origin}/echo/mcp` },
          redirect: { uri: 'http://127.0.0.1:5000/cb', state: 's' },
        }
      : undefined,
  )
}

describe('a password', () => {
  test('that fits begins a session and leads home by 303', async () => {
    const { typed, jar, sessions, events } = await atLogin()
    const answer = jar.keep(await typed('ana', 'correct horse'))
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    expect(jar.cookies.get('__Host-postern-way')).toBe('local')
    const session = await sessions.of(jar.request('/'))
    expect(session?.person).toEqual({
      provider: 'local',
      subject: 'ana',
      login: 'ana',
      name: 'Ana Example',
      email: 'ana@example.com',
      groups: ['staff'],
    })
    expect(events).toEqual([
      { event: 'sign-in', person: 'local:ana', provider: 'local', ip, request_id: context.requestId },
    ])
  })

  test('leads back to the flow that asked for it, or to the page that did', async () => {
    const asked = await atLogin({ config: { local_users: users }, describeFlow: flow }, '/login?flow=flow1')
    expect(await asked.page.text()).toContain('Claude')
    expect((await asked.typed('ana', 'correct horse')).headers.get('location')).toBe(
      '/oauth/consent?flow=flow1',
    )
    const page = await atLogin(undefined, '/login?return_to=%2Factivity%3Fday%3D1')
    expect((await page.typed('ana', 'correct horse')).headers.get('location')).toBe('/activity?day=1')
  })

  test('is the same password however the keyboard composed its letters (RFC 8265 §4.2)', async () => {
    const { typed } = await atLogin({
      config: { local_users: [{ username: 'zoë', password: 'cafe\u0301 noir' }] },
    })
    expect((await typed('zoe\u0308', 'caf\u00e9 noir')).status).toBe(303)
  })

  test('that is wrong, a name that is unknown and an empty field read exactly alike [H-P5]', async () => {
    const { typed, sessions, jar } = await atLogin()
    const answers = await Promise.all([
      typed('ana', 'wrong horse'),
      typed('ada', 'correct horse'),
      typed('ana', ''),
      typed('', 'correct horse'),
    ])
    const texts = await Promise.all(
      answers.map(async (answer) => (await answer.text()).replaceAll(/value="(ana|ada)?"/g, 'value=""')),
    )
    expect(answers.map(({ status }) => status)).toEqual([401, 401, 401, 401])
    expect(texts[0]).toContain('Invalid credentials')
    expect(texts[1]).toBe(texts[0])
    expect(await sessions.of(jar.request('/'))).toBeUndefined()
  })

  test('costs one hash, whoever it is about, and nothing before the first is asked for [H-P5]', async () => {
    const { typed, passwords } = await atLogin({
      config: { local_users: [{ username: 'ana', password: 'correct horse' }] },
    })
    for (const name of ['ana', 'nobody', 'no body']) await typed(name, 'x')
    expect([passwords.hashed, passwords.verified]).toEqual([['x', 'x', 'x'], []])
    const kept = await atLogin({
      config: {
        local_users: ['$scrypt$ln=14$YW5h$aGFzaA', '$scrypt$ln=15$Ym8$aGFzaA'].map((hash, i) => ({
          username: `u${i}`,
          password_hash: hash,
        })),
      },
    })
    for (const name of ['u1', 'nobody', 'nobody']) await kept.typed(name, 'x')
    expect([
      kept.passwords.hashed.length,
      kept.passwords.verified.length,
      kept.passwords.verified[0],
    ]).toEqual([0, 3, '$scrypt$ln=15$Ym8$aGFzaA'])
    expect(kept.passwords.verified[1]).toBe(kept.passwords.verified[2])
  })

  test('of somebody else never fits, even when the unknown name is measured against it', async () => {
    const { typed } = await atLogin({ config: { local_users: [users[0]!] } })
    expect((await typed('nobody', 'correct horse')).status).toBe(401)
  })

  test('of a megabyte is cut short before it is hashed', async () => {
    const { typed } = await atLogin()
    expect(await codeOf(typed('ana', 'x'.repeat(1_000_000)))).toBe('request.too-large')
    expect((await typed('ana', `correct horse${'x'.repeat(2000)}`)).status).toBe(401)
  })

  test('is counted by address and name, so that a stranger slows down themselves alone [H-P5]', async () => {
    const tooMany = (kind: string, key: string) =>
      kind === 'sign-in' && key.startsWith('198.51.100.1 ')
        ? Promise.reject(new Refusal('rate.limited'))
        : Promise.resolve()
    const { typed, jar, hidden, signIn } = await atLogin({ config: { local_users: users }, limit: tooMany })
    const stranger = { requestId: 'r', ip: '198.51.100.1' }
    expect(
      await codeOf(
        signIn.password(jar.post('/login', { ...hidden, username: 'ana', password: 'guess' }), stranger),
      ),
    ).toBe('rate.limited')
    expect((await typed('ana', 'correct horse')).status).toBe(303)
  })

  test('typed in a browser that this name used before has a count of its own', async () => {
    const { typed, jar, limited } = await atLogin()
    jar.keep(await typed('ana', 'correct horse'))
    jar.cookies.delete(sessionCookieOf(origin))
    limited.length = 0
    await typed('ana', 'wrong')
    expect(limited).toEqual([expect.stringMatching(/^sign-in [A-Za-z0-9_-]{22}$/)])
    limited.length = 0
    await typed('bo', 'wrong')
    expect(limited).toEqual([`sign-in-address ${ip}`, expect.stringMatching(/^sign-in 192\.0\.2\.7 /)])
  })
})

describe('the sign-in form', () => {
  test.each([
    ['without its token', { csrf: '' }, {}],
    ['with the token of another browser', { csrf: 'A'.repeat(43) }, {}],
    ['from another site, as Origin says', {}, { origin: 'https://evil.test' }],
    ['from nowhere, as Origin says', {}, { origin: 'null' }],
    ['from another site, as Fetch Metadata says', {}, { 'sec-fetch-site': 'cross-site' }],
    ['from a sibling host, as Fetch Metadata says', {}, { 'sec-fetch-site': 'same-site' }],
  ])('is refused %s [H-E4, H-E5]', async (_, fields, headers) => {
    const { typed } = await atLogin()
    expect(await codeOf(typed('ana', 'correct horse', fields, headers))).toBe('login.form')
  })

  test('is refused when the browser lost its cookie [H-E4]', async () => {
    const { typed, jar } = await atLogin()
    jar.cookies.clear()
    expect(await codeOf(typed('ana', 'correct horse'))).toBe('login.form')
  })

  test('passes without Origin when its token and cookie fit [H-E5]', async () => {
    const { jar, hidden, signIn } = await atLogin()
    const request = jar.request('/login', {
      method: 'POST',
      body: new URLSearchParams({ ...hidden, username: 'ana', password: 'correct horse' }),
    })
    expect((await signIn.password(request, context)).status).toBe(303)
  })

  test.each([
    ['JSON', 'application/json'],
    ['plain text', 'text/plain'],
  ])('is refused as %s [H-P2]', async (_, type) => {
    const { jar, signIn } = await atLogin()
    expect(
      await codeOf(
        signIn.password(
          jar.request('/login', { method: 'POST', body: '{}', headers: { 'content-type': type, origin } }),
          context,
        ),
      ),
    ).toBe('request.media-type')
  })

  test('is refused with a field sent twice', async () => {
    const { jar, hidden, signIn } = await atLogin()
    const body = `${new URLSearchParams({ ...hidden, username: 'ana', password: 'x' })}&username=bo`
    expect(
      await codeOf(
        signIn.password(
          jar.request('/login', {
            method: 'POST',
            body,
            headers: { 'content-type': 'application/x-www-form-urlencoded', origin },
          }),
          context,
        ),
      ),
    ).toBe('request.malformed')
  })

  test('works in several tabs of one browser side by side', async () => {
    const { typed, jar, signIn } = await atLogin()
    jar.keep(await signIn.page(jar.request('/login'), context))
    expect((await typed('ana', 'correct horse')).status).toBe(303)
  })
})

describe('a return path', () => {
  test.each([
    '//evil.test',
    '/\\evil.test',
    'https:evil.test',
    'https://evil.test/',
    'javascript:alert(1)',
    '/\t/evil.test',
    '\\\\evil.test',
    '/%0d%0aSet-Cookie:x',
    'evil.test',
    ' /x',
  ])('%j never leads off this gateway [H-P8]', async (path) => {
    const { typed } = await atLogin(undefined, `/login?return_to=${encodeURIComponent(path)}`)
    const location = (await typed('ana', 'correct horse', { return_to: path })).headers.get('location') ?? ''
    expect(new URL(location, origin).origin).toBe(origin)
    expect(location).toMatch(/^\/([^/\\]|$)/)
  })
})

describe('whoever is signed in already', () => {
  test('just goes on', async () => {
    const { typed, jar, signIn } = await atLogin()
    jar.keep(await typed('ana', 'correct horse'))
    const answer = await signIn.page(jar.request('/login?flow=flow1'), context)
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/oauth/consent?flow=flow1'])
  })

  test.each(['prompt=login', 'switch=1'])(
    'is asked again where that is wanted: %s [H-D15]',
    async (query) => {
      const { typed, jar, signIn } = await atLogin()
      jar.keep(await typed('ana', 'correct horse'))
      const page = await signIn.page(jar.request(`/login?flow=flow1&${query}`), context)
      expect(page.status).toBe(200)
      expect(Object.entries(await hiddenOf(page)).map((field) => field.join('='))).toContain(query)
    },
  )

  test('signs out by a form of that very session, and only by it', async () => {
    const { typed, jar, signIn, sessions } = await atLogin()
    jar.keep(await typed('ana', 'correct horse'))
    const session = await sessions.of(jar.request('/'))
    expect(await codeOf(signIn.logout(jar.post('/logout', { csrf: 'x' }), context))).toBe('login.form')
    expect(
      await codeOf(
        signIn.logout(
          jar.post('/logout', { csrf: session!.csrf }, { 'sec-fetch-site': 'cross-site' }),
          context,
        ),
      ),
    ).toBe('login.form')
    expect(await sessions.of(jar.request('/'))).toEqual(session)
    const answer = jar.keep(await signIn.logout(jar.post('/logout', { csrf: session!.csrf }), context))
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/login'])
    expect(await sessions.of(jar.request('/'))).toBeUndefined()
  })
})

describe('the link of the terminal', () => {
  const opened = async (options: WorldOptions = {}) => {
    const world = await createWorld(options)
    const jar = createJar()
    const secret = await world.links.mint()
    return {
      ...world,
      jar,
      secret,
      open: (t = secret, init: RequestInit = {}) => world.signIn.link(jar.request(`/?t=${t}`, init), context),
    }
  }

  test('signs the built-in person in and leaves the address bar', async () => {
    const { open, jar, sessions } = await opened()
    const answer = jar.keep(await open())
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/'])
    expect((await sessions.of(jar.request('/')))?.person).toEqual({
      provider: 'local',
      subject: 'owner',
      login: 'owner',
      name: 'Owner',
      groups: ['admins'],
    })
  })

  test('works once, of fifty who open it together for one', async () => {
    const { open } = await opened()
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => open()))
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect((await refusalOf(open())).code).toBe('login.link-spent')
  })

  test('works for fifteen minutes', async () => {
    const { open, clock } = await opened()
    clock.now += 15 * 60_000
    expect(await codeOf(open())).toBe('login.link-spent')
  })

  test.each(['', 'x', 'A'.repeat(43), 'A'.repeat(5000), '../../etc'])(
    'of another text is spent: %.20j',
    async (text) => {
      const { open } = await opened()
      expect(await codeOf(open(text))).toBe('login.link-spent')
    },
  )

  test('outlives a preview: HEAD and prefetch do not open it', async () => {
    const { open } = await opened()
    expect(await codeOf(open(undefined, { method: 'HEAD' }))).toBe('request.method')
    expect(await codeOf(open(undefined, { headers: { 'sec-purpose': 'prefetch;prerender' } }))).toBe(
      'request.method',
    )
    expect((await open()).status).toBe(303)
  })

  test('goes back to the flow whose sign-in page this browser shows', async () => {
    const { open, jar, signIn } = await opened({ describeFlow: flow })
    jar.keep(await signIn.page(jar.request('/login?flow=flow1'), context))
    const answer = jar.keep(await open())
    expect(answer.headers.get('location')).toBe('/oauth/consent?flow=flow1')
    expect([...jar.cookies.keys()]).not.toContain('__Host-postern-pending')
  })

  test('is kept nowhere in clear', async () => {
    const { store, secret } = await opened()
    expect(JSON.stringify(await store.list(''))).not.toContain(secret)
  })

  test('exists only where nobody else can sign in', async () => {
    const { open } = await opened({ config: { local_users: users } })
    expect(await codeOf(open())).toBe('login.link-spent')
  })
})
