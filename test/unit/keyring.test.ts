// Sealing, message authentication and the rotation of root secrets.
import { describe, expect, test } from 'vitest'
import { encodeBase64url, encodeHex } from '../../src/kit/bytes.ts'
import { createKeyRing, createWebCiphers } from '../../src/kit/keyring.ts'
import { createNodeCiphers, createRandomBytes } from '../../src/node/crypto.ts'

const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
const [old, recent, stranger] = [random(32), random(32), random(48)]
const both = [
  ['WebCrypto', createWebCiphers(random)],
  ['node:crypto', createNodeCiphers(random)],
] as const

describe.each(both)('by %s', (_, ciphers) => {
  const ringWith = (
    secrets: readonly Uint8Array<ArrayBuffer>[],
    sealing?: Uint8Array<ArrayBuffer>,
  ): ReturnType<typeof createKeyRing> => createKeyRing(secrets, random, sealing, ciphers)
  const ringOf = (...secrets: Uint8Array<ArrayBuffer>[]): ReturnType<typeof createKeyRing> =>
    ringWith(secrets)

  describe('sealing', () => {
    test.each([
      '',
      'text',
      'ünï — 日本語 \u{1F511}',
      '\uFEFFwith a mark',
      '{"a":"\\u0000"}',
      'x'.repeat(300_000),
    ])('gives back exactly what was sealed (%#)', async (text) => {
      const ring = await ringOf(recent)
      expect(await ring.open(await ring.seal(text, 'grant:1'), 'grant:1')).toBe(text)
    })

    test('the same text seals differently each time and never shows through', async () => {
      const ring = await ringOf(recent)
      const [a, b] = [await ring.seal('a-canary', 'grant:1'), await ring.seal('a-canary', 'grant:1')]
      expect(a).not.toBe(b)
      expect(a).not.toContain('a-canary')
      expect(a).toMatch(new RegExp(`^s1\\.${ring.current}\\.[A-Za-z0-9_-]+$`))
    })

    test('never opens under another context [H-S11]', async () => {
      const ring = await ringOf(recent)
      const sealed = await ring.seal('secret', 'grant:1')
      for (const context of ['grant:2', 'session:1', '', 'grant:1 ', 'GRANT:1'])
        expect(await ring.open(sealed, context)).toBeUndefined()
    })

    test('never opens after one character was changed, cut or added, wherever [H-S11]', async () => {
      const ring = await ringOf(recent)
      const sealed = await ring.seal('secret', 'grant:1')
      for (let i = 0; i < sealed.length; i++) {
        for (const other of ['A', 'B', '.', '=']) {
          const altered = sealed.slice(0, i) + other + sealed.slice(i + 1)
          if (altered !== sealed)
            expect(await ring.open(altered, 'grant:1'), `character ${i}`).toBeUndefined()
        }
        expect(await ring.open(sealed.slice(0, i), 'grant:1'), `cut at ${i}`).toBeUndefined()
      }
      for (const altered of [
        `${sealed}A`,
        `${sealed}.x`,
        `${sealed}.`,
        ` ${sealed}`,
        `${sealed}\n`,
        sealed.toUpperCase(),
      ])
        expect(await ring.open(altered, 'grant:1')).toBeUndefined()
    })

    test('what was never sealed does not open', async () => {
      const ring = await ringOf(recent)
      for (const text of [
        '',
        '.',
        '..',
        's1',
        's1..',
        `s1.${ring.current}.`,
        `s1.${ring.current}.AAAA`,
        'null',
        '{"state":"live"}',
        `s2.${ring.current}.${'A'.repeat(80)}`,
      ]) {
        expect(await ring.open(text, 'grant:1')).toBeUndefined()
      }
    })
  })

  describe('a sealing secret of its own', () => {
    test('seals in place of the root: nothing sealed with it opens for whoever holds the root alone', async () => {
      const ring = await ringWith([recent], stranger)
      const sealed = await ring.seal('secret', 'grant:1')
      expect(await ring.open(sealed, 'grant:1')).toBe('secret')
      expect(await (await ringOf(recent)).open(sealed, 'grant:1')).toBeUndefined()
      expect(sealed).toContain(`s1.${(await ringOf(stranger)).current}.`)
    })

    test('opens what the root sealed before there was one, and what a former one sealed', async () => {
      const before = await (await ringOf(recent)).seal('kept', 'grant:1')
      const former = await (await ringWith([recent], old)).seal('kept too', 'grant:1')
      const ring = await ringWith([recent, old], stranger)
      expect([await ring.open(before, 'grant:1'), await ring.open(former, 'grant:1')]).toEqual([
        'kept',
        'kept too',
      ])
    })

    test('authenticates nothing: that stays with the root', async () => {
      const [plain, ring] = [await ringOf(recent), await ringWith([recent], stranger)]
      expect(ring.current).toBe(plain.current)
      expect(await ring.mac('refresh', 'text')).toEqual(await plain.mac('refresh', 'text'))
      expect(await ring.mac('refresh', 'text', (await ringOf(stranger)).current)).toBeUndefined()
    })

    test('is as long as a root', async () =>
      expect(ringWith([recent], random(31))).rejects.toThrow(RangeError))
  })

  describe('rotation', () => {
    test('a ring that still holds the old root opens what the old one sealed, and seals with the new', async () => {
      const before = await ringOf(old)
      const after = await ringOf(recent, old)
      expect(await after.open(await before.seal('kept', 'grant:1'), 'grant:1')).toBe('kept')
      expect(after.current).not.toBe(before.current)
      expect(await after.seal('fresh', 'grant:1')).toContain(`s1.${after.current}.`)
    })

    test('once the old root is gone, what it sealed is absent', async () => {
      const sealed = await (await ringOf(old)).seal('gone', 'grant:1')
      expect(await (await ringOf(recent)).open(sealed, 'grant:1')).toBeUndefined()
      expect(await (await ringOf(stranger)).open(sealed, 'grant:1')).toBeUndefined()
    })

    test('a key id claimed for the wrong root does not open', async () => {
      const [before, after] = [await ringOf(old), await ringOf(recent, old)]
      const sealed = await before.seal('kept', 'grant:1')
      expect(await after.open(sealed.replace(before.current, after.current), 'grant:1')).toBeUndefined()
    })

    test('codes under an old key id are computed as before; an unknown id has none', async () => {
      const [before, after] = [await ringOf(old), await ringOf(recent, old)]
      const was = encodeBase64url((await before.mac('refresh', 'grant.1')) as Uint8Array)
      expect(encodeBase64url((await after.mac('refresh', 'grant.1', before.current)) as Uint8Array)).toBe(was)
      expect(encodeBase64url((await after.mac('refresh', 'grant.1')) as Uint8Array)).not.toBe(was)
      expect(await (await ringOf(recent)).mac('refresh', 'grant.1', before.current)).toBeUndefined()
    })

    test('processes that hold the same root agree on its id, codes and sealed values', async () => {
      const [one, two] = [await ringOf(recent), await ringOf(new Uint8Array(recent))]
      expect(one.current).toBe(two.current)
      expect(await one.mac('csrf', 'x')).toEqual(await two.mac('csrf', 'x'))
      expect(await two.open(await one.seal('shared', 'k'), 'k')).toBe('shared')
    })
  })

  test('codes for different purposes or messages differ', async () => {
    const ring = await ringOf(recent)
    const codes = await Promise.all([
      ring.mac('a', 'x'),
      ring.mac('b', 'x'),
      ring.mac('a', 'y'),
      ring.mac('ax', ''),
      ring.mac('', 'ax'),
    ])
    expect(new Set(codes.map((code) => encodeBase64url(code as Uint8Array))).size).toBe(5)
  })

  test('short or missing roots are refused', async () => {
    await expect(ringOf()).rejects.toThrow(RangeError)
    await expect(ringOf(recent, random(31))).rejects.toThrow(RangeError)
  })
})

test('what one runtime sealed or authenticated, the other opens and confirms: a store may be taken along', async () => {
  const [web, node] = await Promise.all(
    both.map(([, ciphers]) => createKeyRing([recent], random, undefined, ciphers)),
  )
  for (const text of ['', '\uFEFFünï — 日本語 \u{1F511}', 'x'.repeat(100_000)]) {
    expect(await node?.open((await web?.seal(text, 'grant:1')) ?? '', 'grant:1')).toBe(text)
    expect(await web?.open((await node?.seal(text, 'grant:1')) ?? '', 'grant:1')).toBe(text)
  }
  expect(await node?.mac('refresh', 'ünï')).toEqual(await web?.mac('refresh', 'ünï'))
})

test('random bytes from a pool are never handed out twice, whatever the sizes', () => {
  const randomBytes = createRandomBytes()
  const texts = Array.from({ length: 3000 }, (_, i) => {
    const bytes = randomBytes(12 + (i % 21))
    expect(bytes).toHaveLength(12 + (i % 21))
    return encodeHex(bytes.subarray(0, 12))
  })
  expect(new Set(texts).size).toBe(3000)
  expect(randomBytes(10_000)).toHaveLength(10_000)
  expect(randomBytes(10_000).some((byte) => byte !== 0)).toBe(true)
})
