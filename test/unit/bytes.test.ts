// Bytes, text and digests.
import { expect, test } from 'vitest'
import {
  decodeBase64,
  decodeBase64url,
  encodeBase64,
  encodeBase64url,
  encodeHex,
  sameBytes,
  sameText,
  utf8,
  utf8Text,
} from '../../src/kit/bytes.ts'
import { digest } from '../../src/node/crypto.ts'

const all = Uint8Array.from({ length: 256 }, (_, i) => i)

test('every byte survives base64 and base64url at every length modulo 3', () => {
  for (const length of [0, 1, 2, 3, 4, 255, 256]) {
    const bytes = all.subarray(0, length)
    expect(decodeBase64(encodeBase64(bytes))).toEqual(new Uint8Array(bytes))
    expect(decodeBase64url(encodeBase64url(bytes))).toEqual(new Uint8Array(bytes))
  }
})

test('large values are encoded in one piece', () => {
  const large = new Uint8Array(1_000_000).fill(0xfb)
  expect(decodeBase64url(encodeBase64url(large))?.length).toBe(1_000_000)
})

test('base64url has one spelling per value: padding, other alphabets, whitespace and stray bits are refused', () => {
  for (const text of ['YQ==', 'YR', 'YWJ', 'Y', 'a+b_', 'a/b_', ' YQ', 'YQ\n', 'Y=', 'YQ.', 'ÿQ'])
    expect(decodeBase64url(text), text).toBeUndefined()
  expect(decodeBase64url('')).toEqual(new Uint8Array())
  expect(decodeBase64url('YQ')).toEqual(utf8('a'))
})

test('base64 is taken padded or not, and nothing else is', () => {
  expect(decodeBase64('YQ==')).toEqual(utf8('a'))
  expect(decodeBase64('YQ')).toEqual(utf8('a'))
  for (const text of ['Y', 'YQ=', 'Y Q==', 'YQ==\n', 'a-b_', '=YQ='])
    expect(decodeBase64(text), text).toBeUndefined()
})

test('hex is lower case, two digits a byte', () =>
  expect(encodeHex(new Uint8Array([0, 15, 255]))).toBe('000fff'))

test('a digest is SHA-256 in 43 characters', () =>
  expect(digest('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0'))

test('equality looks at every byte and never at a prefix alone', () => {
  expect(sameBytes(utf8('abc'), utf8('abc'))).toBe(true)
  expect(sameBytes(utf8('abc'), utf8('abd'))).toBe(false)
  expect(sameBytes(utf8('abc'), utf8('abcd'))).toBe(false)
  expect(sameText('é', 'é')).toBe(true)
  expect(sameText('é', 'e\u0301')).toBe(false)
  expect(sameText('', '')).toBe(true)
})

test('malformed UTF-8 becomes U+FFFD, never an error', () =>
  expect(utf8Text(new Uint8Array([0x61, 0xff]))).toBe('a\uFFFD'))

test('a digest is the SHA-256 of the UTF-8 at every length, as WebCrypto makes it', async () => {
  const byWebCrypto = async (text: string) =>
    encodeBase64url(new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(text))))
  const texts = [
    ...Array.from({ length: 300 }, (_, length) => 'x'.repeat(length)),
    'x'.repeat(100_000),
    'é€😀',
    '\uFEFFa',
    '\uD800',
  ]
  for (const text of texts) expect(digest(text)).toBe(await byWebCrypto(text))
  // FIPS 180-4, the two-block message.
  const twoBlocks = digest('abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq')
  expect(encodeHex(decodeBase64url(twoBlocks) ?? new Uint8Array())).toBe(
    '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1',
  )
})
