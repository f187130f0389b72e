// Signing keys: one set for all processes, rotated without a failure, kept in memory when the store is gone.
// And the rule of refresh generations, alone.
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify, type JSONWebKeySet } from 'jose'
import { describe, expect, it } from 'vitest'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { es256 } from '../../src/node/crypto.ts'
import { createSigner, keysInUse, signingKey } from '../../src/oauth/signing-keys.ts'
import type { Store } from '../../src/ports/store.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { random } from './oauth-world.ts'

const day = 86_400_000
const hour = 3_600_000

const setUp = async () => {
  const clock = { now: Date.UTC(2026, 0, 1) }
  const state = { down: false }
  const inner = createMemoryStore({ now: () => clock.now })
  const guarded =
    <Args extends unknown[], T>(work: (...args: Args) => Promise<T>) =>
    (...args: Args): Promise<T> =>
      state.down ? Promise.reject(new Refusal('storage.unavailable', 'down')) : work(...args)
  const store: Store = {
    get: guarded(inner.get),
    put: guarded(inner.put),
    take: guarded(inner.take),
    list: guarded(inner.list),
  }
  const secret = random(32)
  const logged: string[] = []
  const process = async (keys = [secret]) =>
    createSigner({
      runtime: {
        now: () => clock.now,
        defer: () => undefined,
        random,
        store,
        keys: await createKeyRing(keys, random),
        log: (_, event) => void logged.push(event),
      },
      issuer: 'https://gw.test',
      rotationMs: 90 * day,
      overlapMs: hour,
    })
  return { clock, state, store, process, secret, logged }
}
const token = (signer: Awaited<ReturnType<Awaited<ReturnType<typeof setUp>>['process']>>) =>
  signer.sign({ sub: 'x' }, { typ: 'at+jwt', lifetimeMs: hour })

describe('the signer', () => {
  it('makes one key, whoever starts first, and seals it', async () => {
    const { process, store } = await setUp()
    const [a, b] = [await process(), await process()]
    const sets = await Promise.all([a.jwks(), b.jwks(), a.jwks(), b.jwks()])
    expect(new Set(sets.map((set) => JSON.stringify(set))).size).toBe(1)
    expect(sets[0]?.keys).toEqual([
      expect.objectContaining({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' }),
    ])
    expect(JSON.stringify(sets)).not.toContain('"d"')
    expect((await store.get('signing-keys'))?.value).toMatch(/^s1\./)
    expect(await b.verify(await token(a), 'at+jwt')).toMatchObject({ sub: 'x', iss: 'https://gw.test' })
  })

  it('signs what every verifier takes, also where the runtime signs by itself, whatever the numbers of the signature are', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    const sign = es256(await exportJWK(privateKey))
    // Every 256th number begins with a zero and is a byte shorter in DER; every second has one more.
    for (let i = 0; i < 1000; i++) {
      const data = crypto.getRandomValues(new Uint8Array(40))
      const signature = sign(data)
      expect([
        signature.length,
        await crypto.subtle.verify(
          { name: 'ECDSA', hash: 'SHA-256' },
          publicKey,
          new Uint8Array(signature),
          data,
        ),
      ]).toEqual([64, true])
    }
    const { process, clock, store, secret } = await setUp()
    const other = createSigner({
      runtime: {
        now: () => clock.now,
        defer: () => undefined,
        random,
        store,
        keys: await createKeyRing([secret], random),
        log: () => undefined,
        es256,
      },
      issuer: 'https://gw.test',
      rotationMs: 90 * day,
      overlapMs: hour,
    })
    const jwt = await token(other)
    expect(await (await process()).verify(jwt, 'at+jwt')).toMatchObject({ sub: 'x', iss: 'https://gw.test' })
    const { payload, protectedHeader } = await jwtVerify(
      jwt,
      createLocalJWKSet((await other.jwks()) as JSONWebKeySet),
      { issuer: 'https://gw.test', typ: 'at+jwt', currentDate: new Date(clock.now) },
    )
    expect([protectedHeader.alg, (payload.exp ?? 0) - (payload.iat ?? 0)]).toEqual(['ES256', hour / 1000])
  })

  it('tells types, issuers and times apart', async () => {
    const { process, clock } = await setUp()
    const signer = await process()
    const jwt = await token(signer)
    expect(await signer.verify(jwt, 'JWT')).toBeUndefined()
    expect(await signer.verify(`${jwt}x`, 'at+jwt')).toBeUndefined()
    clock.now -= 59_000
    expect(await signer.verify(jwt, 'at+jwt')).toMatchObject({ sub: 'x' })
    clock.now -= 10_000
    expect(await signer.verify(jwt, 'at+jwt')).toBeUndefined()
    clock.now += 69_000 + hour
    expect(await signer.verify(jwt, 'at+jwt')).toBeUndefined()
  })

  it('[H-T9] rotates without a moment in which a process does not know the key of another', async () => {
    const { process, clock, logged } = await setUp()
    const [a, b] = [await process(), await process()]
    const kids = new Set<string>()
    await a.jwks()
    clock.now += 90 * day - hour
    for (let minute = 0; minute < 180; minute++) {
      clock.now += 60_000
      const [fromA, fromB] = [await token(a), await token(b)]
      kids.add(JSON.stringify(fromA.split('.')[0]))
      expect([await a.verify(fromB, 'at+jwt'), await b.verify(fromA, 'at+jwt')]).toEqual([
        expect.objectContaining({ sub: 'x' }),
        expect.objectContaining({ sub: 'x' }),
      ])
    }
    expect(kids.size).toBe(2)
    // By the one that made it.
    expect(logged).toEqual(['signing-keys.rotated'])
    expect((await a.jwks()).keys).toHaveLength(1)
  })

  it('makes the next key before it is due, once, and signs with it ten minutes later', async () => {
    const { process, clock } = await setUp()
    const [a, b] = [await process(), await process()]
    const first = (await a.published()).keys[0]
    const old = await token(a)
    const made = await a.rotate('local:ana')
    expect(made).toEqual({ kid: expect.any(String) as string, signsFrom: clock.now + 600_000, made: true })
    expect(await a.rotate('local:ana')).toEqual({ ...made, made: false })
    expect((await a.published()).keys.map(({ kid }) => kid)).toEqual([first?.kid, made.kid])
    const kidOf = (jwt: string): unknown =>
      (JSON.parse(Buffer.from(jwt.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid
    expect(kidOf(await token(a))).toBe(first?.kid)
    clock.now += 600_000
    expect([kidOf(await token(a)), kidOf(await token(b))]).toEqual([made.kid, made.kid])
    expect(await b.verify(old, 'at+jwt')).toMatchObject({ sub: 'x' })
    expect((await b.rotate('local:ana')).made).toBe(true)
  })

  it('works from memory while the store is down, and says so; a process that never saw it cannot', async () => {
    const { process, clock, state, logged } = await setUp()
    const known = await process()
    const jwt = await token(known)
    state.down = true
    clock.now += 10 * 60_000
    expect(await known.verify(jwt, 'at+jwt')).toMatchObject({ sub: 'x' })
    expect(await known.verify(await token(known), 'at+jwt')).toMatchObject({ sub: 'x' })
    expect(logged).toContain('signing-keys.from-memory')
    const fresh = await process()
    await expect(fresh.jwks()).rejects.toMatchObject({ code: 'storage.unavailable' })
    await expect(fresh.verify(jwt, 'at+jwt')).rejects.toMatchObject({ code: 'storage.unavailable' })
  })

  it('answers from a recent copy at once while the store takes its time, and from the store what the copy does not know [H-A17]', async () => {
    const { process, clock, store, logged } = await setUp()
    const slow = { get: store.get, answer: (): unknown => undefined, waits: false }
    store.get = (key) =>
      slow.waits
        ? new Promise((resolve, reject) => (slow.answer = () => slow.get(key).then(resolve, reject)))
        : slow.get(key)
    const [a, b] = [await process(), await process()]
    const jwt = await token(a)
    await b.jwks()
    clock.now += 61_000
    slow.waits = true
    expect(await b.verify(jwt, 'at+jwt')).toMatchObject({ sub: 'x' })
    expect((await b.jwks()).keys).toHaveLength(1)
    slow.waits = false
    slow.answer()
    clock.now += 10 * 60_000
    slow.waits = true
    const late = b.jwks()
    slow.waits = false
    slow.answer()
    expect((await late).keys).toHaveLength(1)
    expect(logged).toEqual([])
  })

  it('leaves keys that another secret sealed as they are: neither verifies nor signs until that secret is back', async () => {
    const { process, logged, store } = await setUp()
    const jwt = await token(await process())
    const before = await store.get('signing-keys')
    const lost = await process([random(32)])
    await expect(lost.verify(jwt, 'at+jwt')).rejects.toMatchObject({ code: 'storage.sealed' })
    await expect(token(lost)).rejects.toMatchObject({ code: 'storage.sealed' })
    expect(logged).toContain('record.unreadable')
    expect(await store.get('signing-keys')).toEqual(before)
    expect(await (await process()).verify(jwt, 'at+jwt')).toMatchObject({ sub: 'x' })
  })

  it('keeps the keys through a change of the root secret, and for good once a process has started with the new one [H-T9]', async () => {
    const { process, secret, store, logged } = await setUp()
    const jwt = await token(await process())
    const next = random(32)
    const before = await store.get('signing-keys')
    expect(await (await process([next, secret])).verify(jwt, 'at+jwt')).toMatchObject({ sub: 'x' })
    expect((await store.get('signing-keys'))?.value).not.toBe(before?.value)
    expect(await (await process([next])).verify(jwt, 'at+jwt')).toMatchObject({ sub: 'x' })
    expect(logged).toEqual([])
  })
})

describe('keys', () => {
  it('are kept until no token of theirs can live', () => {
    const keys = [{ signsFrom: 0 }, { signsFrom: 1_000_000 }]
    expect(signingKey(keys, 999_999)).toBe(keys[0])
    expect(signingKey(keys, 1_000_000)).toBe(keys[1])
    expect(keysInUse(keys, 1_000_000 + hour, hour)).toEqual(keys)
    expect(keysInUse(keys, 1_000_000 + hour + 60_000, hour)).toEqual([keys[1]])
  })
})
