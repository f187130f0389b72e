// A proof of possession by itself: what is read of it, and what makes it a proof of something else.
import { SignJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import {
  type ProofFault,
  type ProvenUse,
  type ReadProof,
  canonicalUrl,
  createVerifyProof,
  misuseOf,
  proofAlgorithms,
  readProof,
} from '../../src/oauth/dpop-proof.ts'
import { digest, es256Check } from '../../src/node/crypto.ts'
import { athOf, createProver } from '../runtimes/proofs.ts'

const url = 'https://gw.test/echo/mcp'
const now = Date.UTC(2026, 0, 1)
const prover = await createProver()
const use: ProvenUse = { method: 'POST', url, now, windowMs: 300_000 }
const read = (field: string | undefined) => readProof(field, digest) as ReadProof & ProofFault
const codeOf = async (of: Partial<Parameters<typeof prover.proof>[0]>, more: Partial<ProvenUse> = {}) => {
  const found = read(await prover.proof({ url, now, ...of }))
  return found.code ?? misuseOf(found, { ...use, ...more })?.code
}

describe('what is read', () => {
  it.each(proofAlgorithms)('a proof signed with %s is good, and of its key', async (alg) => {
    const one = await createProver(alg)
    const found = read(await one.proof({ url, now, token: 't' }))
    expect([found.jkt, found.alg, found.ath]).toEqual([one.jkt, alg, athOf('t')])
    for (const verify of [createVerifyProof(es256Check), createVerifyProof(undefined)]) {
      // The second time with the key that was kept.
      expect([await verify(found), await verify(found)]).toEqual([true, true])
      const forged = { ...found, text: found.text.replace(/\.[^.]{8}/, '.AAAAAAAA') }
      expect(await verify(forged)).toBe(false)
    }
  })

  it('the runtime checks signatures as WebCrypto does, whatever their numbers are', async () => {
    const ecdsa = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
    const { publicKey, privateKey } = await crypto.subtle.generateKey(ecdsa, true, ['sign', 'verify'])
    const check = es256Check(await crypto.subtle.exportKey('jwk', publicKey))
    const data = new Uint8Array(40)
    const order = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
    // Every 256th number begins with a zero and is a byte shorter in DER; every second has one more.
    for (let i = 0; i < 1000; i++) {
      const good = new Uint8Array(await crypto.subtle.sign(ecdsa, privateKey, data))
      const other = Uint8Array.from(good)
      other[i % 64] = (good[i % 64] as number) ^ (1 << (i % 8))
      expect([check(data, good), check(data, other)]).toEqual([true, false])
    }
    const good = new Uint8Array(await crypto.subtle.sign(ecdsa, privateKey, data))
    const [zeros, n] = [new Uint8Array(32), Buffer.from(order, 'hex')]
    for (const bad of [
      good.subarray(0, 63),
      Uint8Array.of(...good, 0),
      new Uint8Array(0),
      Buffer.concat([zeros, zeros]),
      Buffer.concat([zeros, good.subarray(32)]),
      Buffer.concat([good.subarray(0, 32), zeros]),
      Buffer.concat([n, n]),
    ])
      expect(check(data, bad)).toBe(false)
    for (const no of [{ kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' }, (await createProver('ES384')).jwk])
      expect(() => es256Check(no)).toThrow()
  })

  it('none, several, too long, or no JWT at all', async () => {
    const good = await prover.proof({ url })
    expect(read(undefined).code).toBe('proof.missing')
    for (const bad of [
      '',
      'x',
      `${good}, ${good}`,
      `${good}.x`,
      'a.b.c',
      good.replace('.', ''),
      'x'.repeat(5000),
    ])
      expect(read(bad).code, bad.slice(0, 20)).toBe('proof.malformed')
    const long = await prover.proof({ url, claims: { more: 'x'.repeat(4096) } })
    expect(read(long).code).toBe('proof.malformed')
  })

  it('a JWT of another type or algorithm', async () => {
    for (const typ of ['JWT', 'at+jwt', undefined])
      expect(await codeOf({ header: { typ } })).toBe('proof.type')
    const secret = new Uint8Array(32)
    const symmetric = await new SignJWT({ jti: '1', htm: 'POST', htu: url, iat: 1 })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'HS256', jwk: prover.jwk as never })
      .sign(secret)
    expect(read(symmetric).code).toBe('proof.algorithm')
    const [, payload = ''] = symmetric.split('.')
    const none = Buffer.from(JSON.stringify({ typ: 'dpop+jwt', alg: 'none', jwk: prover.jwk }))
    expect(read(`${none.toString('base64url')}.${payload}.AA`).code).toBe('proof.algorithm')
    expect(await codeOf({ header: { alg: 'ES256', crit: ['b64'], b64: true } })).toBe('proof.malformed')
  })

  it('case 67: a private key, one of another kind, and RSA keys that are too short or too long', async () => {
    const withKey = (jwk: unknown) => codeOf({ header: { jwk } })
    const rsa = (await createProver('RS256')).jwk
    for (const jwk of [
      undefined,
      'text',
      { ...prover.jwk, d: 'AA' },
      { kty: 'oct', k: 'AAAA' },
      { ...prover.jwk, crv: 'P-384' },
      { ...prover.jwk, y: undefined },
      { ...prover.jwk, x: 'no base64!' },
      rsa,
    ])
      expect(await withKey(jwk), JSON.stringify(jwk)).toBe('proof.key')
    const signed = await (await createProver('RS256')).proof({ url })
    const [, payload = '', signature = ''] = signed.split('.')
    const withModulus = (jwk: object) =>
      read(
        [
          Buffer.from(JSON.stringify({ typ: 'dpop+jwt', alg: 'RS256', jwk: { ...rsa, ...jwk } })).toString(
            'base64url',
          ),
          payload,
          signature,
        ].join('.'),
      ).code
    const modulus = (bits: number) =>
      Buffer.from([0x80, ...new Uint8Array(bits / 8 - 1)]).toString('base64url')
    expect(withModulus({ n: modulus(2048) })).toBeUndefined()
    expect(withModulus({ n: modulus(4096) })).toBeUndefined()
    for (const n of [modulus(1024), modulus(2040), modulus(4104), modulus(5120)])
      expect(withModulus({ n })).toBe('proof.key')
    expect(withModulus({ n: modulus(16_384) })).toBe('proof.malformed')
    expect(withModulus({ e: 'A'.repeat(342) })).toBe('proof.key')
  })

  it('claims that are missing, or of another type', async () => {
    for (const claims of [
      { jti: undefined },
      { jti: '' },
      { jti: 'x'.repeat(257) },
      { jti: 'ä' },
      { jti: 7 },
      { htm: undefined },
      { htu: 7 },
      { iat: '1' },
      { iat: undefined },
    ])
      expect(await codeOf({ claims }), JSON.stringify(claims)).toBe('proof.malformed')
  })
})

describe('what a proof is for', () => {
  it('case 61: another key', async () => {
    expect(await codeOf({}, { jkt: prover.jkt })).toBeUndefined()
    expect(await codeOf({}, { jkt: (await createProver()).jkt })).toBe('proof.key')
  })

  it('case 62: another method, another URL', async () => {
    expect(await codeOf({ method: 'GET' })).toBe('proof.method')
    expect(await codeOf({ method: 'post' })).toBe('proof.method')
    for (const htu of [
      'https://gw.test/other/mcp',
      'https://gw.test/echo',
      'https://other.test/echo/mcp',
      '',
    ])
      expect(await codeOf({ url: htu }), htu).toBe('proof.url')
  })

  it('case 63: one URL in every spelling, and none that is another one', async () => {
    for (const htu of [
      'HTTPS://GW.test:443/echo/mcp',
      'https://gw.test/echo/mcp/',
      'https://gw.test/%65cho/mcp?token=1#x',
      'wss://gw.test/echo/mcp',
    ])
      expect(canonicalUrl(htu), htu).toBe(url)
    for (const htu of [
      'http://gw.test/echo/mcp',
      'https://gw.test:8443/echo/mcp',
      'https://gw.test/ECHO/mcp',
      'https://gw.test/echo%2Fmcp',
      'https://ana@gw.test/echo/mcp',
      'ftp://gw.test/echo/mcp',
      '/echo/mcp',
    ])
      expect(canonicalUrl(htu), htu).not.toBe(url)
    expect(canonicalUrl('https://gw.test/a%2fb')).toBe('https://gw.test/a%2Fb')
  })

  it('case 64: another access token', async () => {
    const token = 'access'
    expect(await codeOf({ token }, { ath: athOf(token) })).toBeUndefined()
    for (const given of [{}, { token: 'other' }, { claims: { ath: 7 } }])
      expect(await codeOf(given, { ath: athOf(token) })).toBe('proof.token')
  })

  it('case 66: another time', async () => {
    for (const off of [-299, 0, 299]) expect(await codeOf({ now: now + off * 1000 })).toBeUndefined()
    for (const off of [-360, -301, 301, 360])
      expect(await codeOf({ now: now + off * 1000 })).toBe('proof.time')
  })
})
