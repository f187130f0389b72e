// An issuer of assertions as companies and platforms run them: OpenID metadata, a key set that rotates, and claims as
// they send them. It signs whatever a test wants, and misbehaves on request.
import { type IncomingMessage, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
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
    if (request.url === '/token') return void exchange(request).then((answer) => send(200, answer))
    if (request.url !== '/jwks') return void send(404, '{}')
    asked++
    if (fault === 'fails') return void send(500, '{}')
    if (fault === 'redirects') return void send(302, '', { location: 'http://127.0.0.1:1/jwks' })
    if (fault === 'is no key set') return void send(200, '{"keys":"none"}')
    if (fault === 'is large') return void send(200, JSON.stringify({ keys: [], x: 'x'.repeat(400_000) }))
    send(200, JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  /** Of a person who signed in: an ID-JAG for the server and the resource that are named (RFC 8693). */
  const exchange = async (request: IncomingMessage): Promise<string> => {
    const form = new URLSearchParams(await text(request))
    const now = Math.floor(Date.now() / 1000)
    const claims = {
      iss: url,
      sub: form.get('subject_token'),
      aud: form.get('audience'),
      resource: form.get('resource'),
      client_id: form.get('client_id'),
      scope: form.get('scope') ?? undefined,
      jti: crypto.randomUUID(),
      iat: now,
      exp: now + 300,
    }
    return JSON.stringify({
      access_token: await signWith(keys[0] as SigningKey, claims, { typ: 'oauth-id-jag+jwt' }),
      issued_token_type: 'urn:ietf:params:oauth:token-type:id-jag',
      token_type: 'N_A',
      expires_in: 300,
    })
  }
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
