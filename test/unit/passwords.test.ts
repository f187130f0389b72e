// Password hashes.
import { describe, expect, test } from 'vitest'
import { decodeBase64, encodeBase64 } from '../../src/kit/bytes.ts'
import { formatPhc, parsePhc } from '../../src/kit/password-hash.ts'
import { createPasswords as createNodePasswords } from '../../src/node/passwords.ts'
import { createPasswords as createWorkerPasswords } from '../../src/worker/passwords.ts'

const [node, worker] = [createNodePasswords(), createWorkerPasswords({ now: () => 0 })]
// The reference implementation's own test vector, and RFC 7914 §12 (N = 16384, r = 8, p = 1).
const argon2Vector = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'
const rfc7914 =
  '7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887'
const unpadded = (bytes: Uint8Array): string => encodeBase64(bytes).replaceAll('=', '')
const scryptVector = `$scrypt$ln=14,r=8,p=1$${unpadded(new TextEncoder().encode('SodiumChloride'))}$${unpadded(Uint8Array.from(rfc7914.match(/../g)!, (pair) => Number.parseInt(pair, 16)))}`

describe.each([
  ['Node (argon2id)', node, /^\$argon2id\$v=19\$m=47104,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/],
  ['Workers (scrypt)', worker, /^\$scrypt\$ln=14,r=8,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/],
])('on %s', (_, passwords, shape) => {
  test('a password verifies against its own hash and no other does', async () => {
    const phc = await passwords.hash('correct horse')
    expect(phc).toMatch(shape)
    expect(await passwords.verify('correct horse', phc)).toBe(true)
    for (const wrong of ['', 'correct hors', 'correct horse ', 'Correct horse'])
      expect(await passwords.verify(wrong, phc)).toBe(false)
  })
  test('two hashes of one password differ', async () =>
    expect(await passwords.hash('same')).not.toBe(await passwords.hash('same')))
  test('any text is a password: long, empty, beyond ASCII', async () => {
    for (const password of ['', 'pässwörd \u{1F511}', 'x'.repeat(5000)])
      expect(await passwords.verify(password, await passwords.hash(password))).toBe(true)
  })
  test('a hash made today is not outdated', async () =>
    expect(passwords.outdated(await passwords.hash('x'))).toBe(false))
  test('a hash that was altered, or is none, verifies nothing', async () => {
    const phc = await passwords.hash('x')
    for (const altered of [
      phc.slice(0, -1) + (phc.endsWith('A') ? 'Q' : 'A'),
      phc.slice(0, -4),
      `${phc}=`,
      ` ${phc}`,
      '',
      'x',
      '$',
      '$argon2i$v=19$m=8,t=1,p=1$c29tc2FsdA$AAAA',
      '$2b$10$abcdefghijklmnopqrstuv',
      '$scrypt$ln=30,r=8,p=1$c29tc2FsdHNvbWVzYWx0$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc',
    ]) {
      expect(await passwords.verify('x', altered), altered).toBe(false)
    }
  })
})

test('the hashes of other implementations verify', async () => {
  expect(await node.verify('password', argon2Vector)).toBe(true)
  expect(await node.verify('passwore', argon2Vector)).toBe(false)
  for (const passwords of [node, worker]) {
    expect(await passwords.verify('pleaseletmein', scryptVector)).toBe(true)
    expect(await passwords.verify('pleaseletmeout', scryptVector)).toBe(false)
  }
})

test("weaker parameters than today's are outdated, stronger ones are not", () => {
  const argon2 = (params: string): string => argon2Vector.replace('m=65536,t=2,p=1', params)
  expect(node.outdated(argon2Vector)).toBe(false)
  for (const recommended of [
    'm=47104,t=1,p=1',
    'm=19456,t=2,p=1',
    'm=12288,t=3,p=1',
    'm=9216,t=4,p=1',
    'm=7168,t=5,p=1',
  ])
    expect(node.outdated(argon2(recommended)), recommended).toBe(false)
  for (const weak of [
    argon2('m=7167,t=60,p=1'),
    argon2('m=19456,t=1,p=1'),
    argon2Vector.replace('v=19', 'v=16'),
    scryptVector,
    'none',
  ])
    expect(node.outdated(weak), weak).toBe(true)
  expect(worker.outdated(scryptVector)).toBe(false)
  expect(worker.outdated(scryptVector.replace('ln=14', 'ln=15'))).toBe(false)
  for (const weak of [
    scryptVector.replace('ln=14', 'ln=13'),
    scryptVector.replace('r=8', 'r=4'),
    argon2Vector,
  ])
    expect(worker.outdated(weak), weak).toBe(true)
})

test('on Workers an argon2id hash is a fault of the configuration, not a wrong password', async () => {
  await expect(worker.verify('password', argon2Vector)).rejects.toThrow('scrypt')
})

test('a PHC string is read as it is written', () => {
  expect(formatPhc(parsePhc(argon2Vector)!)).toBe(argon2Vector)
  expect(parsePhc(argon2Vector)).toMatchObject({
    id: 'argon2id',
    version: 19,
    params: { m: 65536, t: 2, p: 1 },
    salt: decodeBase64('c29tZXNhbHQ='),
  })
  for (const text of [
    '$argon2id$v=19$m=1$c29t$CTFhFdXPJO1aFaMaO6Mm5Q',
    '$argon2id$v=19$$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q',
    '$argon2id$v=19$m=1x$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q',
    `${argon2Vector}\n`,
    `x${argon2Vector}`,
  ])
    expect(parsePhc(text), text).toBeUndefined()
})

test('however many sign in at once, each hears of their own password', async () => {
  const people = Array.from({ length: 7 }, (_, i) => `password ${i}`)
  const hashes = await Promise.all(people.map((password) => node.hash(password)))
  const answers = await Promise.all(
    people.flatMap((password, i) => [
      node.verify(password, hashes[i] as string),
      node.verify(password, hashes[(i + 1) % 7] as string),
    ]),
  )
  expect(answers).toEqual(people.flatMap(() => [true, false]))
})
