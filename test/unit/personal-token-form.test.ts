// The form of personal access tokens, by which scanners and people know them.
import { crc32 } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { logText } from '../../src/kit/log.ts'
import { isTokenId, newPersonalToken, newTokenId, readPersonalToken } from '../../src/oauth/personal-token.ts'
import { random } from './oauth-world.ts'

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

describe('the form', () => {
  it('is the published one, with the CRC-32 of what stands before it', () => {
    for (let i = 0; i < 200; i++) {
      const id = newTokenId({ random })
      const { token, secret } = newPersonalToken({ random }, id)
      expect(token).toMatch(/^ppat_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}$/)
      expect(readPersonalToken(token)).toEqual({ id, secret })
      const read = [...token.slice(-6)].reduce((sum, digit) => sum * 62 + alphabet.indexOf(digit), 0)
      expect(read).toBe(crc32(token.slice(0, -6)))
    }
  })

  it('never holds with one character changed, more or less', () => {
    const { token } = newPersonalToken({ random }, newTokenId({ random }))
    for (let i = 0; i < token.length; i++) {
      const other = token[i] === 'x' ? 'y' : 'x'
      expect(readPersonalToken(token.slice(0, i) + other + token.slice(i + 1))).toBeUndefined()
      expect(readPersonalToken(token.slice(0, i) + token.slice(i + 1))).toBeUndefined()
    }
    for (const text of [`${token}a`, ` ${token}`, `${token}\n`, token.toUpperCase(), '', 'ppat_'])
      expect(readPersonalToken(text)).toBeUndefined()
  })

  it('uses each digit alike, whatever the bytes are', () => {
    const all = (n: number) => Uint8Array.from({ length: n }, () => 255)
    let calls = 0
    const mostly = (n: number) => (calls++ < 3 ? all(n) : random(n))
    expect(isTokenId(newTokenId({ random: mostly }))).toBe(true)
    expect(isTokenId('a'.repeat(11))).toBe(false)
  })

  it('leaves no secret in prose of a log', () => {
    const { token } = newPersonalToken({ random }, newTokenId({ random }))
    const said = logText(`the server said: ${token} is odd`)
    expect(said).toBe(`the server said: ${token.slice(0, 9)}[redacted] is odd`)
  })
})
