// Tokens of upstreams that are bound to a key (RFC 9449): the key of each account, a proof for every request that
// shows such a token or asks for one, and the nonces that servers want in it.
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK } from 'jose'
import { encodeBase64url, utf8 } from '../kit/bytes.ts'
import type { Fetch } from '../ports/call.ts'
import type { UpstreamCredential } from '../ports/modules.ts'
import type {
  ConnectSocket,
  Runtime,
  RuntimeTransports,
  SessionLocation,
  SessionLocations,
  TextSocket,
  TransportConnectors,
} from '../ports/runtime.ts'

/** A private P-256 key as JWK. Sealed with the tokens of its account, and never in a log, a page or an answer. */
export interface ProofKey {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
  readonly d: string
}

interface ProvenRequest {
  readonly method: string
  readonly url: string
  /** The access token that the request shows; absent at the token endpoint. */
  readonly token?: string
}

export interface Proofs {
  createKey(): Promise<ProofKey>
  /** For `dpop_jkt` (RFC 9449 §10). */
  thumbprint(key: ProofKey): Promise<string>
  proof(key: ProofKey, request: ProvenRequest): Promise<string>
  /** Notes the nonce of an answer, whatever its status (RFC 9449 §8.2). */
  heard(url: string, nonce: string | null | undefined): void
  /** A token as a credential; the key is remembered for the requests that show it. */
  credential(token: string, key: ProofKey): UpstreamCredential
  keyOf(token: string): ProofKey | undefined
}

const algorithm = 'ES256'
const mostKeys = 5_000
const mostTokens = 20_000
const mostOrigins = 10_000

/** The oldest entry makes room. */
const keep = <K, V>(map: Map<K, V>, key: K, value: V, most: number): V => {
  map.delete(key)
  if (map.size >= most) map.delete(map.keys().next().value as K)
  map.set(key, value)
  return value
}

/** RFC 9449 §8.1; longer ones no server needs. */
const isNonce = (value: string): boolean => /^[\x21\x23-\x5B\x5D-\x7E]{1,512}$/.test(value)

/** Without query and fragment (RFC 9449 §4.2). A WebSocket is opened by a request of HTTP. */
const targetOf = (url: string): URL => {
  const target = new URL(url.replace(/^ws/, 'http'))
  target.search = ''
  target.hash = ''
  return target
}

interface ProofSigner {
  /** The header of its proofs, encoded. */
  readonly head: string
  sign(text: string): Promise<Uint8Array>
}

const encoded = (value: object): string => encodeBase64url(utf8(JSON.stringify(value)))

const createSigner = async (key: ProofKey, es256: Runtime['es256']): Promise<ProofSigner> => {
  const { kty, crv, x, y } = key
  const head = encoded({ typ: 'dpop+jwt', alg: algorithm, jwk: { kty, crv, x, y } })
  if (es256) {
    const sign = es256(key)
    return { head, sign: async (text) => sign(utf8(text)) }
  }
  const imported = (await importJWK(key, algorithm)) as CryptoKey
  return {
    head,
    sign: async (text) =>
      new Uint8Array(
        await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, imported, utf8(text) as BufferSource),
      ),
  }
}

export const createProofs = ({
  now,
  random,
  digest,
  es256,
}: Pick<Runtime, 'now' | 'random' | 'digest' | 'es256'>): Proofs => {
  const signers = new Map<string, Promise<ProofSigner>>()
  const nonces = new Map<string, string>()
  const keys = new Map<string, ProofKey>()
  const signerOf = (key: ProofKey): Promise<ProofSigner> => {
    const id = `${key.x}.${key.y}`
    return signers.get(id) ?? keep(signers, id, createSigner(key, es256), mostKeys)
  }
  return {
    async createKey() {
      const { privateKey } = await generateKeyPair(algorithm, { extractable: true })
      const { x = '', y = '', d = '' } = await exportJWK(privateKey)
      return { kty: 'EC', crv: 'P-256', x, y, d }
    },
    thumbprint: ({ kty, crv, x, y }) => calculateJwkThumbprint({ kty, crv, x, y }),
    async proof(key, { method, url, token }) {
      const target = targetOf(url)
      const nonce = nonces.get(target.origin)
      const { head, sign } = await signerOf(key)
      const claims = encoded({
        jti: encodeBase64url(random(16)),
        htm: method,
        htu: target.href,
        iat: Math.floor(now() / 1000),
        ...(token !== undefined && { ath: digest(token) }),
        ...(nonce !== undefined && { nonce }),
      })
      return `${head}.${claims}.${encodeBase64url(await sign(`${head}.${claims}`))}`
    },
    heard(url, nonce) {
      if (nonce != null && isNonce(nonce)) keep(nonces, targetOf(url).origin, nonce, mostOrigins)
    },
    credential(token, key) {
      if (keys.get(token) !== key) keep(keys, token, key, mostTokens)
      return { headers: ['Authorization', `DPoP ${token}`], bound: true }
    },
    keyOf: (token) => keys.get(token),
  }
}

// Requests for tokens.

export type Send = (
  url: string,
  exchange: {
    readonly method: string
    readonly headers: Record<string, string>
    readonly body?: URLSearchParams | string
  },
) => Promise<Response>

/** What a token request is proven with. */
export interface Proving {
  readonly proofs: Proofs
  readonly key: ProofKey
}

/** RFC 9449 §8: the authorization server wants a nonce, and has told one. */
const wantsNonce = async (answer: Response): Promise<boolean> => {
  if ((answer.status !== 400 && answer.status !== 401) || !answer.headers.has('dpop-nonce')) return false
  const body: unknown = await answer
    .clone()
    .json()
    .catch(() => undefined)
  return typeof body === 'object' && body !== null && 'error' in body && body.error === 'use_dpop_nonce'
}

/** Every request with a proof; the same once more where the server wants a nonce. */
export const sendProven =
  (send: Send, { proofs, key }: Proving): Send =>
  async (url, exchange) => {
    const once = async (): Promise<Response> => {
      const dpop = await proofs.proof(key, { method: exchange.method, url })
      const answer = await send(url, { ...exchange, headers: { ...exchange.headers, dpop } })
      proofs.heard(url, answer.headers.get('dpop-nonce'))
      return answer
    }
    const first = await once()
    return (await wantsNonce(first)) ? once() : first
  }

// Calls.

const scheme = 'DPoP '

/** RFC 9449 §9: a challenge that asks for the nonce in the same answer, whatever else it says. */
const challengesNonce = (authenticate: string | null | undefined): boolean =>
  authenticate != null && /\bDPoP\b.*\berror="?use_dpop_nonce\b/i.test(authenticate)

/** The token of a request, where it is bound to a key. */
const boundToken = (authorization: string | null | undefined): string | undefined =>
  authorization?.startsWith(scheme) === true ? authorization.slice(scheme.length) : undefined

/** The key of a token; TypeError where this process does not have it, and the request cannot be made. */
const keyFor = (proofs: Proofs, token: string): ProofKey => {
  const key = proofs.keyOf(token)
  if (!key) throw new TypeError('the key of the access token is not in this process')
  return key
}

const provenFetch = (fetch: Fetch, proofs: Proofs): Fetch => {
  const proven = async (
    token: string,
    input: string,
    init: RequestInit & { readonly headers: Headers },
  ): Promise<Response> => {
    const key = keyFor(proofs, token)
    const method = init.method ?? 'GET'
    const once = async (): Promise<Response> => {
      const headers = new Headers(init.headers)
      headers.set('dpop', await proofs.proof(key, { method, url: input, token }))
      const answer = await fetch(input, { ...init, headers })
      proofs.heard(input, answer.headers.get('dpop-nonce'))
      return answer
    }
    const first = await once()
    if (first.status !== 401 || !first.headers.has('dpop-nonce')) return first
    if (!challengesNonce(first.headers.get('www-authenticate'))) return first
    await first.body?.cancel().catch(() => undefined)
    return once()
  }
  const { endsWithRequest } = fetch
  const sent: typeof globalThis.fetch = (input, init) => {
    const headers = init?.headers
    if (typeof input !== 'string' || !(headers instanceof Headers)) return fetch(input, init)
    const token = boundToken(headers.get('authorization'))
    return token === undefined ? fetch(input, init) : proven(token, input, { ...init, headers })
  }
  return Object.assign(sent, endsWithRequest === undefined ? {} : { endsWithRequest })
}

/** As `ConnectSocket` rejects. */
interface HandshakeError extends Error {
  readonly authenticate: readonly string[]
  readonly nonce: string | undefined
}

const provenSocket =
  (socket: ConnectSocket, proofs: Proofs): ConnectSocket =>
  async (url, about, events) => {
    const at = about.headers.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === 'authorization')
    const token = boundToken(at === -1 ? undefined : about.headers[at + 1])
    if (token === undefined) return socket(url, about, events)
    const key = keyFor(proofs, token)
    const once = async (): Promise<TextSocket> => {
      const dpop = await proofs.proof(key, { method: 'GET', url, token })
      return socket(url, { ...about, headers: [...about.headers, 'DPoP', dpop] }, events)
    }
    return once().catch((error: unknown) => {
      const { authenticate, nonce } = error as Partial<HandshakeError>
      proofs.heard(url, nonce)
      if (nonce === undefined || !challengesNonce(authenticate?.join(', '))) throw error
      return once()
    })
  }

// Sessions that are kept elsewhere, in an isolate that may never have seen the token: the key goes with each call.

const tokenOf = (request: Request): string | undefined => boundToken(request.headers.get('authorization'))

const withKeys = ({ create, at }: SessionLocations, proofs: Proofs): SessionLocations => {
  const sending = (location: SessionLocation): SessionLocation => ({
    client: (request, context) => location.client(request, context),
    async server(request, call) {
      const token = tokenOf(request)
      return location.server(
        request,
        token === undefined ? call : { ...call, proofKey: keyFor(proofs, token) },
      )
    },
  })
  return {
    create: () => sending(create()),
    at(id) {
      const location = at(id)
      return location && sending(location)
    },
  }
}

/** The same session, where it is kept: the key that came with a call proves what that call sends to the server. */
export const keepingKeys = (location: SessionLocation, proofs: Proofs): SessionLocation => ({
  client: (request, context) => location.client(request, context),
  async server(request, { proofKey, ...call }) {
    const token = tokenOf(request)
    if (token !== undefined && proofKey) proofs.credential(token, proofKey as ProofKey)
    return location.server(request, call)
  },
})

/**
 * The same connections, on which whatever shows a bound token carries a proof for that very request, and is sent
 * again once with the nonce that the server wants.
 */
export const provenTransports = (transports: RuntimeTransports, proofs: Proofs): RuntimeTransports => {
  const proven = ({ fetch, socket }: TransportConnectors): TransportConnectors => ({
    fetch: provenFetch(fetch, proofs),
    socket: provenSocket(socket, proofs),
  })
  const { sessionLocations } = transports
  return {
    ...transports,
    ...proven(transports),
    publicOnly: proven(transports.publicOnly),
    ...(sessionLocations && { sessionLocations: withKeys(sessionLocations, proofs) }),
  }
}
