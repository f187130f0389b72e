// A store in Vault keeps the contract against a stand-in that follows the documented API, and what becomes of operations when
// Vault does not play along.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { freePort } from '../../scripts/harness/free-port.ts'
import { type VaultSettings, vaultKeys } from '../../src/config/storage-keys.ts'
import type { Refusal } from '../../src/kit/refusal.ts'
import { timer } from '../../src/node/runtime.ts'
import { openVaultStore } from '../../src/node/vault.ts'
import type { Log, Timer } from '../../src/ports/runtime.ts'
import { type VaultStandIn, startVault } from '../reference/vault.ts'
import { storeContract } from './store.ts'

type Opened = Awaited<ReturnType<typeof openVaultStore>>
type Line = Parameters<Log>

let vault: VaultStandIn
let shared: readonly [Opened, Opened]
const opened = new Set<Opened>()

/** Time limits are not what most of these tests are about, and a computer may be slow. */
const patient: Timer = (ms, run) => timer(ms < 100 ? ms : ms * 20, run)

const openKept = (settings: Partial<VaultSettings> = {}, lines: Line[] = [], wait = patient) =>
  openVaultStore({
    settings: vaultKeys.parse({
      url: vault.url,
      ...(settings.auth_method === undefined ? { token: vault.addToken().id } : {}),
      ...settings,
    }),
    now: Date.now,
    timer: wait,
    random: (n) => new Uint8Array(randomBytes(n)),
    log: (...line) => void lines.push(line),
    product: '0.0.0-test',
  })
const open = async (...args: Parameters<typeof openKept>): Promise<Opened> => {
  const made = await openKept(...args)
  opened.add(made)
  return made
}
const why = (settings: Partial<VaultSettings>): Promise<string> =>
  openKept(settings).then(
    ({ close }) => (close(), 'opened'),
    (error: Refusal) => error.why,
  )

beforeAll(async () => {
  vault = await startVault()
  shared = [await openKept(), await openKept()]
})
beforeEach(() => {
  vault.secrets.clear()
  vault.state.fault = () => undefined
})
afterEach(() => {
  for (const { close } of opened) close()
  opened.clear()
  Object.assign(vault.state, {
    sealed: false,
    standby: false,
    initialized: true,
    mountVersion: '2',
    namespace: '',
  })
})
afterAll(async () => {
  for (const { close } of shared ?? []) close()
  await vault.close()
})

storeContract('Vault over two clients', () => ({
  store: shared[0].store,
  other: shared[1].store,
  async advance(ms) {
    // Its clock is known to a second, and each hears of it with every answer.
    vault.advance(ms + 2000)
    for (const { store } of shared) await store.get('time')
  },
  grainMs: 10_000,
}))

describe('records in Vault', () => {
  test('are in folders by kind, one version each, and their names say only what the key says', async () => {
    const { store } = shared[0]
    await store.put('grant:abcdefghij', 'one')
    await store.put('grant:abcdefghij', 'two')
    await store.put('services-version', '1')
    await store.put('odd:..', 'x')
    expect([...vault.secrets.keys()].sort()).toEqual([
      'postern/grant/abcdefgh/abcdefghij',
      'postern/odd/~2e~2e/~2e~2e',
      'postern/~none/services/services-version',
    ])
    expect(vault.secrets.get('postern/grant/abcdefgh/abcdefghij')?.versions.size).toBe(1)
    expect(await store.list('')).toEqual([
      { key: 'grant:abcdefghij', value: 'two' },
      { key: 'odd:..', value: 'x' },
      { key: 'services-version', value: '1' },
    ])
  })

  test('whose answers are lost are neither lost nor doubled [H-S7]', async () => {
    const { store } = shared[0]
    let posts = 0
    const cut = new Set([0, 2, 3])
    vault.state.fault = (method) => (method === 'POST' && cut.has(posts++) ? { how: 'cut' } : undefined)
    const mark = await store.put('flow:1', 'one', { only: 'absent' })
    expect(await store.get('flow:1')).toEqual({ value: 'one', mark })
    const next = await store.put('flow:1', 'two', { only: mark! })
    expect(await store.get('flow:1')).toEqual({ value: 'two', mark: next })
    expect(await store.take('flow:1')).toEqual({ value: 'two', mark: next })
    expect([await store.take('flow:1'), await store.get('flow:1')]).toEqual([undefined, undefined])
    expect(posts).toBe(4)
  })

  test('one that was written, and taken before the writer heard of it, is not written again', async () => {
    const [one, other] = shared
    let cut = true
    vault.state.fault = (method) => {
      if (method !== 'POST' || !cut) return undefined
      cut = false
      return { how: 'cut' }
    }
    const writing = one.store.put('flow:1', 'one', { only: 'absent' })
    const taken = await expect
      .poll(() => other.store.take('flow:1').then((entry) => entry?.value), { timeout: 20_000 })
      .toBe('one')
      .then(() => true)
    // Whoever was faster: the record is gone, and does not come back.
    await writing
    expect([taken, await one.store.get('flow:1'), await one.store.list('flow:')]).toEqual([
      true,
      undefined,
      [],
    ])
  })

  test('a name goes an hour after its record, and a writer that comes in between waits', async () => {
    const [one, other] = shared
    const sweep = async (): Promise<number> => {
      vault.advance(61_000)
      await one.store.get('time')
      return one.store.sweep(200)
    }
    await one.store.put('flow:old', 'one', { ttlMs: 1000 })
    await one.store.put('flow:taken', 'one')
    await one.store.take('flow:taken')
    await one.store.put('flow:kept', 'one')
    expect([await sweep(), vault.secrets.size]).toEqual([0, 4])
    vault.advance(2 * 3_600_000)
    expect(await sweep()).toBe(2)
    expect([...vault.secrets.keys()].filter((key) => key.includes('/flow/'))).toEqual([
      'postern/flow/kept/kept',
    ])
    // The next version is the first again, and no mark of the former record fits it.
    const former = '1..AAAAAAAAAAAAAAAAAAAAAA' as NonNullable<Awaited<ReturnType<typeof one.store.put>>>
    await other.store.put('flow:old', 'two')
    expect(await one.store.put('flow:old', 'three', { only: former })).toBeUndefined()
    const path = 'postern/flow/grave/grave'
    const grave = { g: 1, until: vault.now() + 60_000 }
    const version = { data: grave, createdAt: vault.now(), deletedAt: undefined, destroyed: false }
    vault.secrets.set(path, { current: 1, oldest: 1, maxVersions: 0, versions: new Map([[1, version]]) })
    await expect(one.store.put('flow:grave', 'x')).rejects.toMatchObject({ code: 'storage.unavailable' })
    expect(await one.store.get('flow:grave')).toBeUndefined()
    vault.advance(120_000)
    await one.store.get('time')
    expect(await one.store.put('flow:grave', 'x')).toEqual(expect.any(String))
  })

  test('a copy gets each with what is left of its lifetime', async () => {
    const { store, records } = shared[0]
    await store.put('a:1', 'one', { ttlMs: 60_000 })
    await store.put('b:1', 'two')
    await store.put('c:1', 'three')
    await store.take('b:1')
    const page = await records.records('', 10)
    expect(page.map(({ key, value }) => [key, value])).toEqual([
      ['a:1', 'one'],
      ['c:1', 'three'],
    ])
    expect(page[0]?.ttlMs).toBeGreaterThan(50_000)
    expect([page[1]?.ttlMs, await records.records('c:1', 10)]).toEqual([undefined, []])
  })
})

describe('the token of Vault', () => {
  test('of an AppRole is got again by one login for all who wait, when it was revoked [H-S16]', async () => {
    vault.roles.set('role', { secretIds: new Set(['secret']), ttlMs: 3_600_000 })
    const { store } = await open({ auth_method: 'approle', role_id: 'role', secret_id: 'secret' })
    await store.put('k', 'one')
    for (const token of vault.tokens.values()) if (token.ttlMs > 0) token.revoked = true
    vault.requests.length = 0
    const all = await Promise.all(Array.from({ length: 50 }, () => store.get('k')))
    expect(all.map((entry) => entry?.value)).toEqual(Array.from({ length: 50 }, () => 'one'))
    expect(vault.requests.filter((one) => one === 'POST auth/approle/login')).toHaveLength(1)
  })

  test('is renewed at half of its lease; one that cannot be is replaced, or told of', async () => {
    const timers: (readonly [ms: number, run: () => void])[] = []
    const held: Timer = (ms, run) => {
      if (ms < 100_000) return timer(ms * 20, run)
      timers.push([ms, run])
      return () => undefined
    }
    const token = vault.addToken({ ttlMs: 2_000_000 })
    const lines: Line[] = []
    await open({ token: token.id }, lines, held)
    const [ms = 0, run] = timers.at(-1) ?? []
    expect([ms >= 0.8 * 1_000_000, ms <= 1_000_000]).toEqual([true, true])
    vault.advance(1_000_000)
    const before = token.expiresAt as number
    run?.()
    await expect.poll(() => (token.expiresAt as number) > before).toBe(true)
    const stiff = vault.addToken({ ttlMs: 2_000_000, renewable: false })
    await open({ token: stiff.id }, lines, held)
    timers.at(-1)?.[1]()
    await expect.poll(() => lines.map(([, event]) => event)).toContain('storage.token')
    vault.jwts.set('gw', 'jwt-2')
    const folder = mkdtempSync(join(tmpdir(), 'postern-jwt-'))
    const path = join(folder, 'token')
    writeFileSync(path, 'jwt-2\n')
    const kubernetes = { auth_method: 'kubernetes', role: 'gw', jwt_path: path } as const
    const { store } = await open(kubernetes, [], held)
    expect(await store.put('k', 'one')).toEqual(expect.any(String))
    // It rotates: it is read for each login.
    vault.jwts.set('gw', 'jwt-3')
    writeFileSync(path, 'jwt-3\n')
    for (const one of vault.tokens.values()) if (one.ttlMs === 3_600_000) one.revoked = true
    expect((await store.get('k'))?.value).toBe('one')
    rmSync(folder, { recursive: true })
  })

  test('that is wrong, limited, all-powerful or not allowed enough is told so', async () => {
    const place = `${vault.url} (secret/postern)`
    const lines: Line[] = []
    await open({ token: vault.addToken({ policies: ['root'] }).id }, lines)
    expect(lines.filter(([, event]) => event === 'storage.unsafe')).toEqual([
      [
        'warn',
        'storage.unsafe',
        {
          location: place,
          message: 'the gateway has a root token of Vault: create one with the policy of the guide',
        },
      ],
    ])
    vault.roles.set('role', { secretIds: new Set(['secret']), ttlMs: 3_600_000 })
    const approle = { auth_method: 'approle', role_id: 'role' } as const
    const wrapped = vault.wrap({ secret_id: 'secret' })
    expect(await why({ ...approle, secret_id: wrapped, secret_id_wrapped: true })).toBe('opened')
    const readOnly = vault.addToken({
      allows: (capability) => capability === 'read' || capability === 'list',
    })
    expect([
      await why({ token: 'hvs.wrong' }),
      await why({ token: vault.addToken({ numUses: 9 }).id }),
      await why({ token: readOnly.id }),
      await why({ ...approle, secret_id: 'other' }),
      await why({ ...approle, secret_id: wrapped, secret_id_wrapped: true }),
      await why({ auth_method: 'kubernetes', role: 'none', jwt_path: '/nowhere/token' }),
      await why({ mount_point: 'kv' }),
    ]).toEqual([
      `${place}: Vault does not accept the token (it is wrong, expired or revoked): set storage.vault.token`,
      `${place}: the token of Vault may be used a limited number of times: create one without -use-limit`,
      `${place}: the policy of Vault does not allow POST secret/data/postern/meta/store/store: add the policy of the guide`,
      `${place}: Vault does not accept the login at auth/approle (invalid role or secret ID): check storage.vault.role_id and storage.vault.secret_id`,
      `${place}: the wrapped secret ID was opened before, or is too old: treat it as stolen, and make another one`,
      `${place}: cannot read storage.vault.jwt_path, /nowhere/token (ENOENT)`,
      `${vault.url} (kv/postern): there is no KV engine, version 2, at kv: run \`vault secrets enable -path=kv -version=2 kv\`, or set storage.vault.mount_point`,
    ])
  })
})

describe('a Vault that does not play along', () => {
  test('sealed, without a leader, over its quota or behind a balancer refuses in words, and is used again [H-S16]', async () => {
    const { store } = await open()
    await store.put('k', 'one')
    const said = async (): Promise<unknown> =>
      store.get('k').then(
        (entry) => entry?.value,
        (error: Refusal) => error.why,
      )
    vault.state.sealed = true
    const sealed = await said()
    vault.state.sealed = false
    vault.state.standby = true
    const leaderless = await said()
    vault.state.standby = false
    const answers: unknown[] = []
    for (const fault of [
      { status: 429, body: '{"errors":["rate limit quota exceeded"]}' },
      { status: 412, body: '{"errors":["required index state not present"]}' },
      { status: 502, body: '<html>Bad Gateway</html>' },
    ]) {
      vault.state.fault = () => ({ how: fault })
      answers.push(await said())
    }
    vault.state.fault = () => undefined
    expect([sealed, leaderless, ...answers, await said()]).toEqual([
      'Vault is sealed: unseal it',
      'Vault has no active server',
      'Vault allows no more requests for now (429): raise its rate limit quota',
      'this server of Vault does not have the latest writes yet (412)',
      'Vault answered 502',
      'one',
    ])
  })

  test('that says nothing is not waited for, and nothing is sent after its time', async () => {
    let hasty = false
    const { store } = await open({}, [], (ms, run) => timer(hasty ? ms / 8 : ms * 20, run))
    vault.state.fault = () => ({ how: 'hang' })
    hasty = true
    const answers = await Promise.allSettled([store.get('k'), store.put('k', 'one'), store.take('k')])
    hasty = false
    expect(answers.map((one) => one.status === 'rejected' && (one.reason as Refusal).code)).toEqual([
      'storage.unavailable',
      'storage.unavailable',
      'storage.unavailable',
    ])
    vault.state.fault = () => undefined
    expect(await store.get('k')).toBeUndefined()
  })

  test('a redirect of a standby is followed to a server that is configured, once, and to no other', async () => {
    const location = `${vault.url}/v1/secret/data/postern/k/k/k`
    const { store } = await open()
    const redirect = (to: string): void => {
      let times = 0
      vault.state.fault = () => (times++ === 0 ? { how: { status: 307, body: '', location: to } } : undefined)
    }
    redirect(location)
    expect(await store.get('k')).toBeUndefined()
    redirect('http://169.254.169.254/v1/secret')
    await expect(store.get('k')).rejects.toMatchObject({
      why: 'a standby of Vault sends the gateway to http://169.254.169.254 (its api_addr): add it to storage.vault.urls',
    })
  })

  test('another server of the cluster is asked where one is away', async () => {
    const { store } = await open({ url: `http://127.0.0.1:${await freePort()}`, urls: [vault.url] })
    expect(await store.put('k', 'one')).toEqual(expect.any(String))
  })

  test('a namespace, and a Vault that was never set up or is sealed at the start', async () => {
    const place = `${vault.url} (secret/postern)`
    vault.state.namespace = 'team/gw'
    expect(await why({ namespace: 'team/gw' })).toBe('opened')
    vault.state.namespace = ''
    vault.state.initialized = false
    const fresh = await why({})
    vault.state.initialized = true
    vault.state.sealed = true
    expect([fresh, await why({})]).toEqual([
      `${place}: Vault is not initialised: run \`vault operator init\``,
      `${place}: Vault is sealed: unseal it`,
    ])
  })
})
