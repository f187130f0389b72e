// Bytes, text and digests.
import { expect, test } from 'vitest'
import { decodeBase64, decodeBase64url, digest, encodeBase64, encodeBase64url, encodeHex, sameBytes, sameText, utf8, utf8Text, sha256 } from '../../src/kit/bytes.ts'
import { shortSha256 } from '../../src/kit/sha256.ts'

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
  for (const text of ['YQ==', 'YR', 'YWJ', 'Y', 'a+b_', 'a/b_', ' YQ', 'YQ\n', 'Y=', 'YQ.', 'ÿQ']) expect(decodeBase64url(text), text).toBeUndefined()
  expect(decodeBase64url('')).toEqual(new Uint8Array())
  expect(decodeBase64url('YQ')).toEqual(utf8('a'))
})

test('base64 is taken padded or not, and nothing else is', () => {
  expect(decodeBase64('YQ==')).toEqual(utf8('a'))
  expect(decodeBase64('YQ')).toEqual(utf8('a'))
  for (const text of ['Y', 'YQ=', 'Y Q==', 'YQ==\n', 'a-b_', '=YQ=']) expect(decodeBase64(text), text).toBeUndefined()
})

test('hex is lower case, two digits a byte', () => expect(encodeHex(new Uint8Array([0, 15, 255]))).toBe('000fff'))

test('a digest is SHA-256 in 43 characters', async () => expect(await digest('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0'))

test('equality looks at every byte and never at a prefix alone', () => {
  expect(sameBytes(utf8('abc'), utf8('abc'))).toBe(true)
  expect(sameBytes(utf8('abc'), utf8('abd'))).toBe(false)
  expect(sameBytes(utf8('abc'), utf8('abcd'))).toBe(false)
  expect(sameText('é', 'é')).toBe(true)
  expect(sameText('é', 'e\u0301')).toBe(false)
  expect(sameText('', '')).toBe(true)
})

test('malformed UTF-8 becomes U+FFFD, never an error', () => expect(utf8Text(new Uint8Array([0x61, 0xff]))).toBe('a\uFFFD'))

test('a digest is SHA-256 at every length, whichever way it is made', async () => {
  for (let length = 0; length < 300; length++) {
    const bytes = crypto.getRandomValues(new Uint8Array(length))
    expect(shortSha256(bytes)).toEqual(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
  }
  // FIPS 180-4, the one- and two-block messages.
  expect(encodeHex(await sha256('abc'))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  expect(encodeHex(await sha256('abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq'))).toBe('248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1')
  for (const length of [2047, 2048, 2049, 100_000]) expect(await sha256('x'.repeat(length))).toEqual(new Uint8Array(await crypto.subtle.digest('SHA-256', utf8('x'.repeat(length)))))
})
