// A browser's session: what it is made of, when it ends.
import { expect, test } from 'vitest'
import { createSessions, sessionCookieOf } from '../../src/identity/session.ts'
import { createCompleteSignIn } from '../../src/identity/sign-in-request.ts'
import type { Person } from '../../src/ports/people.ts'
import { codeOf, context, createJar, createWorld, origin } from './identity-world.ts'

const ana: Person = {
  provider: 'local',
  subject: 'ana',
  name: 'Ana',
  email: 'ana@example.com',
  groups: ['staff'],
}
const minute = 60_000

const signedIn = async () => {
  const world = await createWorld()
  const jar = createJar()
  const start = async (): Promise<string> => {
    const cookie = await world.sessions.start(ana, jar.request('/'))
    jar.keep(new Response(null, { headers: { 'set-cookie': cookie } }))
    return cookie
  }
  return { ...world, jar, start, cookie: await start() }
}

test('a session cookie belongs to this host alone, is out of reach of scripts, and does not travel with cross-site posts', async () => {
  const { cookie } = await signedIn()
  expect(cookie).toMatch(/^__Host-postern-session-8080=[A-Za-z0-9_-]{43}; /)
  for (const attribute of ['Path=/', 'Secure', 'HttpOnly', 'SameSite=Lax', 'Max-Age=28800'])
    expect(cookie.split('; ')).toContain(attribute)
  expect(cookie).not.toMatch(/domain/i)
})

test('a session knows its person, and its form token is another one for every session', async () => {
  const { sessions, jar, start } = await signedIn()
  const first = await sessions.of(jar.request('/'))
  expect(first?.person).toEqual(ana)
  await start()
  const second = await sessions.of(jar.request('/'))
  expect(second?.csrf).toMatch(/^[A-Za-z0-9_-]{43}$/)
  expect(second?.csrf).not.toBe(first?.csrf)
})

test('a dump of the store holds neither the cookie nor the person [H-S11]', async () => {
  const { store, jar } = await signedIn()
  const records = await store.list('')
  expect(records.map(({ key }) => key)).toEqual([expect.stringMatching(/^session:[A-Za-z0-9_-]{43}$/)])
  const dump = JSON.stringify(records)
  expect(dump).not.toContain(jar.cookies.get('__Host-postern-session-8080'))
  expect(dump).not.toContain('ana')
})

test('a record moved to the key of another session opens nothing [H-S11]', async () => {
  const { store, sessions, jar, start } = await signedIn()
  const [first] = await store.list('')
  await start()
  const [other] = (await store.list('')).filter(({ key }) => key !== first?.key)
  await store.put(other!.key, first!.value)
  expect(await sessions.of(jar.request('/'))).toBeUndefined()
})

test('a new sign-in has a new id, and the former one is dead [H-E20]', async () => {
  const { sessions, jar, start, logged } = await signedIn()
  const before = jar.request('/')
  expect(logged).toEqual([])
  await start()
  expect(logged).toEqual(['session.rotated'])
  expect(await sessions.of(before)).toBeUndefined()
  expect((await sessions.of(jar.request('/')))?.person).toEqual(ana)
})

test('a session cookie that somebody planted is not taken over at sign-in [H-E20]', async () => {
  const { sessions } = await createWorld()
  const planted = 'A'.repeat(43)
  const cookie = await sessions.start(
    ana,
    new Request(origin, { headers: { cookie: `__Host-postern-session-8080=${planted}` } }),
  )
  expect(cookie).not.toContain(planted)
  expect(
    await sessions.of(new Request(origin, { headers: { cookie: `__Host-postern-session-8080=${planted}` } })),
  ).toBeUndefined()
})

test('two session cookies are none: which of them counts is not guessed', async () => {
  const { sessions, jar } = await signedIn()
  const value = jar.cookies.get('__Host-postern-session-8080')
  expect(
    await sessions.of(
      new Request(origin, {
        headers: { cookie: `__Host-postern-session-8080=${value}; __Host-postern-session-8080=${value}` },
      }),
    ),
  ).toBeUndefined()
})

test('a session unused for an hour is over, and use keeps it', async () => {
  const { sessions, clock, jar } = await signedIn()
  clock.now += 50 * minute
  expect((await sessions.of(jar.request('/')))?.person).toEqual(ana)
  clock.now += 50 * minute
  expect((await sessions.of(jar.request('/')))?.person).toEqual(ana)
  clock.now += 60 * minute
  expect(await sessions.of(jar.request('/'))).toBeUndefined()
})

test('after eight hours a session is over however busy it was', async () => {
  const { sessions, clock, jar } = await signedIn()
  for (let passed = 0; passed < 480; passed += 40) {
    expect((await sessions.of(jar.request('/')))?.person).toEqual(ana)
    clock.now += 40 * minute
  }
  expect(await sessions.of(jar.request('/'))).toBeUndefined()
})

test('use is written down at most once a minute', async () => {
  const { sessions, store, clock, jar } = await signedIn()
  const marks = new Set<string>()
  for (let i = 0; i < 12; i++) {
    clock.now += 10_000
    await sessions.of(jar.request('/'))
    const [record] = await store.list('session:')
    marks.add((await store.get(record!.key))!.mark)
  }
  expect(marks.size).toBe(3)
})

test('a session that ends while a page slides its expiry stays ended', async () => {
  const { runtime, sessions, store, clock, jar } = await signedIn()
  clock.now += 2 * minute
  // The slowest page there can be: the session ends between its read and its write.
  const meanwhile = {
    ...store,
    get: async (key: string) =>
      Promise.all([store.get(key), sessions.end(jar.request('/'))]).then(([entry]) => entry),
  }
  const late = createSessions({
    runtime: { ...runtime, store: meanwhile },
    issuer: origin,
    mayStillSignIn: (person) => person,
    idleMs: 3_600_000,
    absoluteMs: 28_800_000,
  })
  await late.of(jar.request('/'))
  expect(await store.list('session:')).toEqual([])
})

test('the cookie has a name of its own for each gateway on this computer, whose ports browsers do not tell apart', () => {
  expect(
    [
      'http://localhost:8080',
      'http://127.0.0.1:3000',
      'http://[::1]:1',
      'http://localhost',
      'https://gw.example.com',
      'https://gw.example.com:8443',
    ].map(sessionCookieOf),
  ).toEqual([
    '__Host-postern-session-8080',
    '__Host-postern-session-3000',
    '__Host-postern-session-1',
    ...Array.from({ length: 3 }, () => '__Host-postern-session'),
  ])
})

test('signing out ends the session and removes the cookie', async () => {
  const { sessions, store, jar } = await signedIn()
  const before = jar.request('/')
  const cookie = await sessions.end(before)
  expect(cookie).toBe('__Host-postern-session-8080=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Lax')
  expect(await sessions.of(before)).toBeUndefined()
  expect(await store.list('session:')).toEqual([])
})

test.each(['blocked', 'deactivated'] as const)(
  'somebody who is %s while a session begins has none afterwards, in any browser',
  async (out) => {
    const { sessions, store, jar } = await signedIn()
    const answers = [undefined, out]
    const recorded: unknown[] = []
    const complete = createCompleteSignIn({
      sessions,
      blocks: { covers: () => Promise.resolve(answers.shift()) },
      record: (event) => void recorded.push(event),
    })
    expect((await sessions.of(jar.request('/')))?.person).toEqual(ana)
    const signIn = complete({ person: ana, target: {}, request: createJar().request('/login'), context })
    expect(await codeOf(signIn)).toBe(`person.${out}`)
    expect([await store.list('session:'), recorded, answers]).toEqual([[], [], []])
  },
)
