// Proofs of tokens that are bound to a key (RFC 9449): what is in them, which nonce, and what is sent again.
import { createHash, randomBytes } from 'node:crypto'
import { EmbeddedJWK, calculateJwkThumbprint, decodeJwt, jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import {
  type Proofs,
  createProofs,
  keepingKeys,
  provenTransports,
  sendProven,
} from '../../src/connections/dpop.ts'
import { es256 } from '../../src/node/crypto.ts'
import type { LocatedCall, RuntimeTransports, SessionLocation, TextSocket } from '../../src/ports/runtime.ts'

const url = 'https://u.example/mcp?tenant=1'
const digest = (text: string): string => createHash('sha256').update(text).digest('base64url')
const runtime = {
  now: () => 1_700_000_000_000,
  random: (n: number) => new Uint8Array(randomBytes(n)),
  digest,
}
const create = (): Proofs => createProofs(runtime)

type Fetched = { readonly url: string; readonly headers: Headers; readonly body: unknown }

/** Transports that answer what they are told, and what was sent on them. */
const connectionsOf = (proofs: Proofs, answers: (() => Response)[], sockets: (() => TextSocket)[] = []) => {
  const sent: Fetched[] = []
  const opened: (readonly string[])[] = []
  const own = {
    fetch: async (input: string, init: RequestInit = {}) => {
      sent.push({ url: input, headers: init.headers as Headers, body: init.body })
      return answers.shift()?.() ?? new Response('{}')
    },
    socket: async (_: string, { headers }: { headers: readonly string[] }) => {
      opened.push(headers)
      return sockets.shift()?.() ?? ({ send: () => undefined } as unknown as TextSocket)
    },
  }
  const transports = provenTransports({ ...own, publicOnly: own } as unknown as RuntimeTransports, proofs)
  return { transports, sent, opened }
}
const shown = (token: string): Headers => new Headers({ authorization: `DPoP ${token}` })
const proofOf = ({ headers }: Fetched) => decodeJwt(headers.get('dpop') ?? '')
const challenge = (nonce: string, error = 'use_dpop_nonce') =>
  new Response('{}', {
    status: 401,
    headers: { 'www-authenticate': `DPoP error="${error}"`, 'dpop-nonce': nonce },
  })

describe.each([
  ['by WebCrypto', runtime],
  ['by the runtime', { ...runtime, es256 }],
])('a proof %s', (_, made) => {
  it('is signed with its public key, for this method, URL and token alone', async () => {
    const proofs = createProofs(made)
    const key = await proofs.createKey()
    const proof = await proofs.proof(key, { method: 'POST', url: `${url}#part`, token: 'at' })
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, {
      typ: 'dpop+jwt',
      currentDate: new Date(runtime.now()),
    })
    expect(payload).toEqual({
      jti: expect.stringMatching(/^[\w-]{22}$/),
      htm: 'POST',
      htu: 'https://u.example/mcp',
      iat: 1_700_000_000,
      ath: digest('at'),
    })
    expect(protectedHeader.jwk).not.toHaveProperty('d')
    expect(await calculateJwkThumbprint(protectedHeader.jwk ?? {})).toBe(await proofs.thumbprint(key))
  })
})

describe('a call', () => {
  const held = async () => {
    const proofs = create()
    proofs.credential('at', await proofs.createKey())
    return proofs
  }

  it('is sent once more with the nonce that is wanted, body and all, and no third time', async () => {
    const { transports, sent } = connectionsOf(await held(), [() => challenge('n1'), () => challenge('n2')])
    const answer = await transports.fetch(url, { method: 'POST', headers: shown('at'), body: 'one' })
    expect(answer.status).toBe(401)
    expect(sent.map((one) => [proofOf(one)['nonce'], one.body])).toEqual([
      [undefined, 'one'],
      ['n1', 'one'],
    ])
    await transports.fetch(url, { headers: shown('at') })
    expect(proofOf(sent[2] as Fetched)).toMatchObject({ nonce: 'n2', htm: 'GET' })
    expect(new Set(sent.map((one) => proofOf(one)['jti'])).size).toBe(3)
  })

  it('is not sent again for another error, nor for a nonce that no header can hold', async () => {
    const { transports, sent } = connectionsOf(await held(), [
      () => challenge('n1', 'invalid_token'),
      () => challenge(`"${'n'.repeat(600)}`, 'invalid_token'),
    ])
    await transports.fetch(url, { headers: shown('at') })
    await transports.fetch(url, { headers: shown('at') })
    await transports.fetch(url, { headers: shown('at') })
    expect(sent.map((one) => proofOf(one)['nonce'])).toEqual([undefined, 'n1', 'n1'])
  })

  it('has the nonces of its own origin alone', async () => {
    const { transports, sent } = connectionsOf(await held(), [() => challenge('n1', 'invalid_token')])
    await transports.fetch(url, { headers: shown('at') })
    await transports.publicOnly.fetch('https://other.example/mcp', { headers: shown('at') })
    expect(sent.map((one) => proofOf(one)['nonce'])).toEqual([undefined, undefined])
  })

  it('is not made with a token whose key is not here', async () => {
    const { transports, sent } = connectionsOf(await held(), [])
    await expect(transports.fetch(url, { headers: shown('another') })).rejects.toThrow('key')
    expect(sent).toEqual([])
  })

  it('without a bound token is sent as it is', async () => {
    const { transports, sent, opened } = connectionsOf(await held(), [])
    const headers = new Headers({ authorization: 'Bearer at' })
    await transports.fetch(url, { headers })
    await transports.fetch(url)
    await transports.socket(
      'wss://u.example/mcp',
      { headers: ['Authorization', 'Bearer at'] } as never,
      {} as never,
    )
    expect(sent[0]?.headers).toBe(headers)
    expect(headers.has('dpop')).toBe(false)
    expect(opened).toEqual([['Authorization', 'Bearer at']])
  })

  it('on a WebSocket is proven by the handshake, once more with a nonce', async () => {
    const refusal = { status: 401, authenticate: ['DPoP error="use_dpop_nonce"'], nonce: 'n1' }
    const refuse = (): never => {
      throw Object.assign(new Error('answered 401'), refusal)
    }
    const { transports, opened } = connectionsOf(await held(), [], [refuse])
    const headers = ['Authorization', 'DPoP at']
    await transports.socket('wss://u.example/mcp', { headers } as never, {} as never)
    expect(opened.map((fields) => decodeJwt(fields[3] ?? ''))).toEqual([
      expect.objectContaining({ htm: 'GET', htu: 'https://u.example/mcp', ath: digest('at') }),
      expect.objectContaining({ nonce: 'n1' }),
    ])
  })
})

describe('a session in another isolate', () => {
  // What goes there goes as JSON, beside a request.
  const isolate = () => {
    const there = create()
    const { transports, sent } = connectionsOf(there, [])
    const told: object[] = []
    const session: SessionLocation = {
      client: async () => new Response(),
      async server(request, call) {
        told.push(call)
        return transports.fetch(url, { headers: new Headers(request.headers) })
      },
    }
    const kept = keepingKeys(session, there)
    const reached: SessionLocation = {
      ...kept,
      server: (request, call) => kept.server(request, JSON.parse(JSON.stringify(call)) as LocatedCall),
    }
    const location = { create: () => reached, at: (id: string) => (id === 's' ? reached : undefined) }
    return { location, sent, told }
  }
  const call: LocatedCall = { owner: 'o', service: 'u', asked: {} as LocatedCall['asked'] }
  const here = async () => {
    const { location, sent, told } = isolate()
    const proofs = create()
    const key = await proofs.createKey()
    proofs.credential('at', key)
    const none = { fetch: () => undefined, socket: () => undefined }
    const own = { ...none, sessionLocations: location, publicOnly: none } as unknown as RuntimeTransports
    const { sessionLocations } = provenTransports(own, proofs)
    const ask = (session: SessionLocation | undefined, token: string, scheme = 'DPoP') =>
      session?.server(new Request(url, { headers: { authorization: `${scheme} ${token}` } }), call)
    return { proofs, key, sent, told, sessionLocations, ask }
  }

  it('proves its requests with the key that comes with each call, whether it is new or found', async () => {
    const { proofs, key, sent, told, sessionLocations, ask } = await here()
    await ask(sessionLocations?.create(), 'at')
    await ask(sessionLocations?.at('s'), 'at')
    expect(sessionLocations?.at('another')).toBeUndefined()
    const [first, second] = await Promise.all(
      sent.map(({ headers }) =>
        jwtVerify(headers.get('dpop') ?? '', EmbeddedJWK, { currentDate: new Date(runtime.now()) }),
      ),
    )
    expect([first?.payload['ath'], second?.payload['ath']]).toEqual([digest('at'), digest('at')])
    expect(await calculateJwkThumbprint(second?.protectedHeader.jwk ?? {})).toBe(await proofs.thumbprint(key))
    // Who keeps the session is told of no key.
    expect(told).toEqual([call, call])
  })

  it('is told of nothing for a bearer token, and is not asked for a token without its key', async () => {
    const { sent, sessionLocations, ask } = await here()
    await ask(sessionLocations?.create(), 'at', 'Bearer')
    expect(sent.map(({ headers }) => headers.get('dpop'))).toEqual([null])
    await expect(ask(sessionLocations?.create(), 'another')).rejects.toThrow('key')
    expect(sent).toHaveLength(1)
  })
})

describe('a request for tokens', () => {
  it('is sent once more where the authorization server wants a nonce, and for nothing else', async () => {
    const proofs = create()
    const key = await proofs.createKey()
    const proofsSent: string[] = []
    const answers = [
      { status: 400, error: 'use_dpop_nonce' },
      { status: 400, error: 'invalid_grant' },
      { status: 400, error: 'invalid_grant' },
    ]
    const send = sendProven(
      async (_, { headers }) => {
        proofsSent.push(headers['dpop'] ?? '')
        const { status = 200, error } = answers.shift() ?? {}
        return Response.json({ error }, { status, headers: { 'dpop-nonce': 'as-1' } })
      },
      { proofs, key },
    )
    const form = { method: 'POST', headers: {}, body: new URLSearchParams({ code: 'c' }) }
    const first = await send('https://as.example/token', form)
    await send('https://as.example/token', form)
    expect(await first.json()).toEqual({ error: 'invalid_grant' })
    expect(proofsSent.map((proof) => decodeJwt(proof)['nonce'])).toEqual([undefined, 'as-1', 'as-1'])
    expect(decodeJwt(proofsSent[0] ?? '')).not.toHaveProperty('ath')
  })
})
