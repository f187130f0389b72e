// Renewing kept tokens: one request among processes, the successor kept before it is used, and what becomes
// of an account when a process dies in between.
import { describe, expect, it } from 'vitest'
import {
  type AccountTokens,
  type Discard,
  type RequestTokens,
  createAccessTokens,
  createRefreshes,
} from '../../src/connections/access-tokens.ts'
import { type Account, accountIn, createAccountStore, withAccount } from '../../src/connections/accounts.ts'
import { endpointError } from '../../src/connections/upstream.ts'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { digest } from '../../src/node/crypto.ts'
import type { Store } from '../../src/ports/store.ts'
import { timer } from '../../src/node/runtime.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { ana, random } from './oauth-world.ts'

const hour = 3_600_000

const refused = async (error: string, status = 400): Promise<never> => {
  throw endpointError('https://as.test/token', status, JSON.stringify({ error }))
}

/** One store, any number of processes at it, and an authorization server that is a function. */
const createScene = async (
  ask: RequestTokens,
  options: {
    readonly store?: (store: Store) => Store
    readonly refresh?: string | undefined
    readonly discard?: Discard
  } = {},
) => {
  const clock = { now: 1_000_000_000_000 }
  const keys = await createKeyRing([random(32)], random)
  const memory = createMemoryStore({ now: () => clock.now })
  const logged: string[] = []
  const processAt = (store: Store) => {
    const runtime = {
      now: () => clock.now,
      timer,
      digest,
      defer: (work: Promise<unknown>) => void work.catch(() => undefined),
      log: (_level: string, event: string) => void logged.push(event),
      store,
      keys,
    }
    const accounts = createAccountStore({ runtime })
    const refreshes = createRefreshes({
      runtime,
      accounts,
      requestTokens: ask,
      discard: options.discard ?? (() => Promise.resolve()),
    })
    return { accounts, refreshes, accessTokens: createAccessTokens({ runtime, accounts, refreshes }) }
  }
  const first = processAt(options.store?.(memory) ?? memory)
  const second = processAt(memory)
  const id = second.accounts.idOf(ana, 'far')
  const refresh = 'refresh' in options ? options.refresh : 'refresh-0'
  const account: Account = {
    name: 'default',
    issuer: 'https://as.test',
    tokenEndpoint: 'https://as.test/token',
    clientId: 'c',
    method: 'none',
    asked: [],
    granted: [],
    connectedAt: clock.now,
    since: clock.now,
    expiresAt: clock.now + hour,
    generation: 1,
    refreshable: refresh !== undefined,
    sealed: '',
  }
  const sealed = await second.accounts.seal(id, account, {
    access: 'access-0',
    ...(refresh !== undefined && { refresh }),
  })
  await second.accounts.change(id, () => withAccount(undefined, { ...account, sealed }))
  const kept = async () => accountIn((await second.accounts.read(id))?.accounts)
  return { clock, id, first, second, kept, logged, memory }
}

/** Lets everything else run for a while. */
const turns = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await new Promise((resolve) => setImmediate(resolve))
}

const tokenOf = (drawn: unknown): string => (drawn as AccountTokens).access

describe('a token', () => {
  it('is drawn as it is, until its end is near', async () => {
    let asked = 0
    const { clock, first, kept } = await createScene(async () => ({
      access: `access-${++asked}`,
      lifetimeMs: hour,
    }))
    expect(tokenOf(await first.accessTokens.find(ana, 'far'))).toBe('access-0')
    clock.now += hour - 400_000
    expect([tokenOf(await first.accessTokens.find(ana, 'far')), asked]).toEqual(['access-0', 0])
    clock.now += 200_000
    expect(tokenOf(await first.accessTokens.find(ana, 'far'))).toBe('access-0')
    while ((await kept())?.generation === 1) await new Promise((resolve) => setImmediate(resolve))
    clock.now += 1000
    expect([tokenOf(await first.accessTokens.find(ana, 'far')), asked]).toEqual(['access-1', 1])
    expect(await first.accessTokens.find({ ...ana, subject: 'bob' }, 'far')).toEqual({ kind: 'none' })
    expect(await first.accessTokens.find(ana, 'near')).toEqual({ kind: 'none' })
  })

  it('is renewed by one of a hundred callers in two processes, and all go on with its successor [D7] [H-H15]', async () => {
    let asked = 0
    const { clock, first, second } = await createScene(async () => {
      asked++
      await turns(200)
      return { access: `access-${asked}`, refresh: `refresh-${asked}`, lifetimeMs: hour }
    })
    clock.now += hour
    const drawn = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        Promise.resolve((i % 2 === 0 ? first : second).accessTokens.find(ana, 'far')),
      ),
    )
    expect(drawn.map(tokenOf)).toEqual(drawn.map(() => 'access-1'))
    expect(asked).toBe(1)
  })

  it('keeps its refresh token when the answer has no other [H-H16]', async () => {
    const sent: (string | undefined)[] = []
    const { clock, first } = await createScene(async (_id, _account, { refresh }) => {
      sent.push(refresh)
      return { access: `access-${sent.length}`, lifetimeMs: hour }
    })
    clock.now += hour
    await first.accessTokens.find(ana, 'far')
    clock.now += hour
    expect(tokenOf(await first.accessTokens.find(ana, 'far'))).toBe('access-2')
    expect(sent).toEqual(['refresh-0', 'refresh-0'])
  })

  it('that nobody said the end of is used until it is refused, and then renewed', async () => {
    let asked = 0
    const { clock, first } = await createScene(async () => ({ access: `access-${++asked}` }))
    clock.now += hour
    const held = (await first.accessTokens.find(ana, 'far')) as AccountTokens
    clock.now += 1000 * hour
    expect(tokenOf(await first.accessTokens.find(ana, 'far'))).toBe('access-1')
    expect(tokenOf(await first.accessTokens.replace(held))).toBe('access-2')
  })

  it('without a successor is used to its end and then the account has to be connected again', async () => {
    const { clock, first } = await createScene(() => undefined, { refresh: undefined })
    clock.now += hour - 1000
    expect(tokenOf(await first.accessTokens.find(ana, 'far'))).toBe('access-0')
    clock.now += 1000
    expect(await first.accessTokens.find(ana, 'far')).toMatchObject({ kind: 'ended' })
  })
})

describe('a refusal', () => {
  it.each(['invalid_grant', 'invalid_client'])('%s ends the account, and nobody asks again', async (code) => {
    let asked = 0
    const { clock, first, second, kept, logged } = await createScene(() => {
      asked++
      return refused(code)
    })
    clock.now += hour
    const drawn = await Promise.all(
      Array.from({ length: 100 }, () => Promise.resolve(first.accessTokens.find(ana, 'far'))),
    )
    expect(drawn.map((one) => one.kind)).toEqual(drawn.map(() => 'ended'))
    expect([asked, (await kept())?.ended, logged]).toEqual([1, code, ['upstream.account-ended']])
    clock.now += hour
    expect(await second.accessTokens.find(ana, 'far')).toEqual({ kind: 'ended', why: code })
    expect(asked).toBe(1)
  })

  it.each([
    ['invalid_request', () => refused('invalid_request')],
    ['invalid_scope', () => refused('invalid_scope')],
    ['unauthorized_client', () => refused('unauthorized_client')],
    ['429', () => refused('invalid_grant', 429)],
    ['an answer that is not JSON', () => Promise.reject(new TypeError('not JSON'))],
    ['no connection', () => Promise.reject(new Refusal('outbound.failed'))],
  ])(
    '%s may pass: the account stays, callers hear that it is for later, and the next but a moment after asks anew',
    async (_name, answer) => {
      let asked = 0
      const { clock, first, kept } = await createScene(() =>
        ++asked === 1 ? answer() : Promise.resolve({ access: 'access-1', lifetimeMs: hour }),
      )
      clock.now += hour
      expect(await first.accessTokens.find(ana, 'far')).toMatchObject({ kind: 'later' })
      clock.now += 1000
      expect([(await first.accessTokens.find(ana, 'far')).kind, asked]).toEqual(['later', 1])
      expect(await kept()).not.toHaveProperty('lease')
      clock.now += 1500
      expect(tokenOf(await first.accessTokens.find(ana, 'far'))).toBe('access-1')
    },
  )
})

describe('an account that is disconnected while its tokens are renewed', () => {
  it.each(['for good', 'and connected anew'])(
    '%s: what comes then is given back, and is nobody’s',
    async (how) => {
      const discarded: unknown[] = []
      const scene = await createScene(
        async () => {
          const { second, id, clock } = scene
          const before = accountIn((await second.accounts.read(id))?.accounts) as Account
          const anew: Account = {
            ...before,
            connectedAt: clock.now,
            since: clock.now,
            expiresAt: clock.now + hour,
          }
          const { lease: _, ...rest } = anew
          const sealed = await second.accounts.seal(id, anew, {
            access: 'access-new',
            refresh: 'refresh-new',
          })
          await second.accounts.change(id, () =>
            how === 'for good' ? { chosen: '', list: [] } : withAccount(undefined, { ...rest, sealed }),
          )
          return { access: 'access-late', refresh: 'refresh-late', lifetimeMs: hour }
        },
        { discard: async (_id, _account, secrets) => void discarded.push(secrets) },
      )
      const { clock, first, second } = scene
      clock.now += hour
      await first.accessTokens.find(ana, 'far')
      expect(discarded).toEqual([{ access: 'access-late', refresh: 'refresh-late' }])
      clock.now += 1000
      expect(await second.accessTokens.find(ana, 'far')).toMatchObject(
        how === 'for good' ? { kind: 'none' } : { access: 'access-new' },
      )
    },
  )
})

describe('a process that dies', () => {
  it('before it asks leaves a lease that ends, and the next one asks [H-T3]', async () => {
    let asked = 0
    const { clock, id, second, kept } = await createScene(async () => ({
      access: `access-${++asked}`,
      lifetimeMs: hour,
    }))
    clock.now += hour
    await second.accounts.change(id, (current) =>
      withAccount(current, {
        ...(accountIn(current) as Account),
        lease: { fence: 1, until: clock.now + 20_000 },
      }),
    )
    const waiting = Promise.resolve(second.accessTokens.find(ana, 'far'))
    await turns(200)
    expect(asked).toBe(0)
    clock.now += 20_000
    expect(await waiting).toMatchObject({ kind: expect.stringMatching(/token|later/) as string })
    clock.now += 5000
    expect([tokenOf(await second.accessTokens.find(ana, 'far')), asked, (await kept())?.lease]).toEqual([
      'access-1',
      1,
      undefined,
    ])
  })

  it('between the answer and its record costs one question to the person, and never a loop [H-T3]', async () => {
    let asked = 0
    const { clock, id, second } = await createScene(() => {
      asked++
      return refused('invalid_grant')
    })
    clock.now += hour
    await second.accounts.change(id, (current) =>
      withAccount(current, { ...(accountIn(current) as Account), lease: { fence: 7, until: clock.now - 1 } }),
    )
    for (let i = 0; i < 5; i++) {
      clock.now += 1000
      expect((await second.accessTokens.find(ana, 'far')).kind).toBe('ended')
    }
    expect(asked).toBe(1)
  })
})

describe('storage that fails', () => {
  it('after the answer loses nothing: the tokens wait for it, unused, and the next call has them [D7] [H-T3]', async () => {
    let asked = 0
    let down = false
    const unreliable = (store: Store): Store => ({
      ...store,
      put: (key, value, options) =>
        down ? Promise.reject(new Refusal('storage.unavailable')) : store.put(key, value, options),
    })
    const { clock, first, kept } = await createScene(
      async () => {
        down = true
        return { access: `access-${++asked}`, refresh: `refresh-${asked}`, lifetimeMs: hour }
      },
      { store: unreliable },
    )
    clock.now += hour
    await expect(Promise.resolve(first.accessTokens.find(ana, 'far'))).rejects.toMatchObject({
      code: 'storage.unavailable',
    })
    expect((await kept())?.generation).toBe(1)
    down = false
    clock.now += 1000
    expect([tokenOf(await first.accessTokens.find(ana, 'far')), asked]).toEqual(['access-1', 1])
  })

  it('for a moment is waited out', async () => {
    let failures = 2
    const { clock, first } = await createScene(async () => ({ access: 'access-1', lifetimeMs: hour }), {
      store: (store) => ({
        ...store,
        put: (key, value, options) =>
          options?.only !== 'absent' && failures-- === 1
            ? Promise.reject(new Refusal('storage.unavailable'))
            : store.put(key, value, options),
      }),
    })
    clock.now += hour
    expect(tokenOf(await first.accessTokens.find(ana, 'far'))).toBe('access-1')
  })
})

describe('what lies in the store', () => {
  it('holds no token to read, and none that would open for another person, service, issuer or account [D7]', async () => {
    const { id, second, memory } = await createScene(() => undefined)
    const rows = await memory.list('')
    expect(JSON.stringify(rows)).not.toMatch(/access-0|refresh-0|as\.test|ana/)
    const account = (await second.accounts.read(id))?.accounts.list[0] as Account
    expect(await second.accounts.open(id, account)).toMatchObject({ access: 'access-0' })
    for (const other of [
      { ...account, issuer: 'https://evil.test' },
      { ...account, name: 'other' },
    ])
      expect(await second.accounts.open(id, other)).toBeUndefined()
    expect(
      await second.accounts.open(second.accounts.idOf({ ...ana, subject: 'bob' }, 'far'), account),
    ).toBeUndefined()
    expect(await second.accounts.open(second.accounts.idOf(ana, 'near'), account)).toBeUndefined()
    const [row] = rows
    await memory.put(
      `connection:${second.accounts.idOf({ ...ana, subject: 'bob' }, 'far')}`,
      row?.value ?? '',
    )
    await expect(
      second.accounts.read(second.accounts.idOf({ ...ana, subject: 'bob' }, 'far')),
    ).rejects.toMatchObject({ code: 'storage.sealed' })
  })
})
