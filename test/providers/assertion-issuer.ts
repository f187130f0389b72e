// An issuer of assertions as companies and platforms run them: OpenID metadata, a key set that rotates, and claims as
// they send them. It signs whatever a test wants, and misbehaves on request.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { SignJWT, type CryptoKey as Key, exportJWK, generateKeyPair } from 'jose'

type Json = Readonly<Record<string, unknown>>

interface SigningKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: Key
  readonly jwk: Json
}

export interface AssertionIssuer {
  readonly url: string
  /** The private key in use. */
  readonly key: SigningKey
  /** How often the key set was asked for. */
  asked(): number
  /** Signs from now on with another key; the former one stays published or not. */
  rotate(keepFormer: boolean): Promise<void>
  /** The answer to a request for the key set, in place of the set. */
  misbehave(how: Misbehaviour | undefined): void
  sign(claims: Json, header?: Json, key?: SigningKey): Promise<string>
  close(): Promise<void>
}

export type Misbehaviour = 'fails' | 'is large' | 'redirects' | 'is no key set'

const makeKey = async (kid: string, alg: string): Promise<SigningKey> => {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

export const signWith = (key: SigningKey, claims: Json, header: Json = {}): Promise<string> =>
  new SignJWT(claims).setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key.privateKey)

export const openAssertionIssuer = async (alg = 'ES256'): Promise<AssertionIssuer> => {
  let keys = [await makeKey('key-1', alg)]
  let asked = 0
  let fault: Misbehaviour | undefined
  const server = createServer((request, response) => {
    const send = (status: number, body: string, headers: Record<string, string> = {}) =>
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
    if (request.url === '/.well-known/openid-configuration')
      return void send(200, JSON.stringify({ issuer: url, jwks_uri: `${url}/jwks` }))
    if (request.url !== '/jwks') return void send(404, '{}')
    asked++
    if (fault === 'fails') return void send(500, '{}')
    if (fault === 'redirects') return void send(302, '', { location: 'http://127.0.0.1:1/jwks' })
    if (fault === 'is no key set') return void send(200, '{"keys":"none"}')
    if (fault === 'is large') return void send(200, JSON.stringify({ keys: [], x: 'x'.repeat(400_000) }))
    send(200, JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    get key() {
      return keys[0] as SigningKey
    },
    asked: () => asked,
    async rotate(keepFormer) {
      const next = await makeKey(`key-${Math.random().toString(36).slice(2)}`, alg)
      keys = keepFormer ? [next, ...keys] : [next]
    },
    misbehave(how) {
      fault = how
    },
    sign: (claims, header = {}, key = keys[0] as SigningKey) =>
      signWith(key, { iss: url, ...claims }, header),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => void server.close(resolve))
    },
  }
}
