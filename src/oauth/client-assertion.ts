// private_key_jwt (RFC 7523 §3, OIDC Core §9): a client proves who it is by a short-lived token signed with a
// key it published; each is good once.
import {
  type JSONWebKeySet,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  createLocalJWKSet,
  decodeProtectedHeader,
  errors,
  jwtVerify,
} from 'jose'
import { decodeBase64, utf8Text } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { createFetchJson } from './client-id-document.ts'
import { type Client, assertionAlgorithms } from './client.ts'
import { endpoints } from './metadata.ts'

export const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

const maxAssertion = 8_192
const maxKeySet = 65_536
const leewayMs = 60_000
const longestMs = 3_600_000
const refetchMs = 30_000

/**
 * Throws `client.auth` unless the assertion is this client's, for this server, now, and unused. Resolves with what uses
 * it up (`AuthenticatedClient.spend`).
 */
export type ProveAssertion = (client: Client, assertion: string) => Promise<() => Promise<void>>

const keySetOf = (text: string): JSONWebKeySet | undefined => {
  try {
    const value = JSON.parse(text) as JSONWebKeySet
    return Array.isArray(value.keys) && value.keys.length > 0 ? value : undefined
  } catch {
    return undefined
  }
}

const headerOf = (assertion: string): { readonly kid?: string } | undefined => {
  try {
    return decodeProtectedHeader(assertion)
  } catch {
    return undefined
  }
}

/** Keys that are tried for an assertion that names none (RFC 7515 §4.1.4 leaves `kid` to the client). */
const mostKeys = 10

const verifyByAny = async (assertion: string, keys: JWTVerifyGetKey, options: JWTVerifyOptions) => {
  try {
    return await jwtVerify(assertion, keys, options)
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    let tried = 0
    for await (const key of error) {
      if (++tried > mostKeys) break
      const found = await jwtVerify(assertion, key, options).catch((thrown: unknown) => {
        if (!(thrown instanceof errors.JWSSignatureVerificationFailed)) throw thrown
      })
      if (found) return found
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

const verifyWith = async (keys: JSONWebKeySet, assertion: string, client: Client, now: number) =>
  verifyByAny(assertion, createLocalJWKSet(keys), {
    algorithms: [...assertionAlgorithms],
    issuer: client.id,
    subject: client.id,
    requiredClaims: ['aud', 'exp'],
    clockTolerance: leewayMs / 1000,
    currentDate: new Date(now),
  }).then(
    ({ payload }) => payload,
    (thrown: unknown) =>
      new Refusal(
        'client.auth',
        `assertion of ${client.id}: ${thrown instanceof Error ? thrown.message : 'unreadable'}`,
      ),
  )

/**
 * The subject of an assertion names the client when the form does not (RFC 7521 §4.2); it is believed only
 * once the signature holds.
 */
export const assertionSubject = (assertion: string): string | undefined => {
  const payload = decodeBase64((assertion.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))
  try {
    const { sub } = JSON.parse(payload ? utf8Text(payload) : '') as { readonly sub?: unknown }
    return typeof sub === 'string' ? sub : undefined
  } catch {
    return undefined
  }
}

export interface AssertionDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'outbound' | 'cache' | 'defer' | 'digest'>
  readonly directory: Directory
}

export const createProveAssertion = ({ runtime, directory }: AssertionDeps): ProveAssertion => {
  const remote = createFetchJson({ runtime, directory })
  const audiences = new Set(
    directory.origins.flatMap((origin) => [
      origin,
      `${origin}/`,
      `${origin}${endpoints.token.path}`,
      `${origin}${endpoints.token.alias}`,
    ]),
  )

  const fetchKeys = async (url: string, since: number): Promise<JSONWebKeySet> => {
    const { text, failure } = await remote(url, {
      maxBytes: maxKeySet,
      staleIfDown: true,
      since,
      fault: (candidate) => (keySetOf(candidate) ? undefined : 'not a key set'),
    })
    if (failure?.kind === 'down')
      throw new Refusal('client.document-unreachable', `keys at ${url}: ${failure.why}`, {
        headers: { 'retry-after': '5' },
      })
    const keys = failure ? undefined : keySetOf(text)
    if (!keys) throw new Refusal('client.auth', `keys at ${url}: ${failure?.why ?? 'unreadable'}`)
    return keys
  }

  /** The client's keys. A key id we have not seen may be new: asked again, at most every 30 s. */
  const keysOf = async (client: Client, kid: string | undefined): Promise<JSONWebKeySet> => {
    if (client.jwks) return client.jwks
    if (!client.jwksUri) throw new Refusal('client.auth', `${client.id} has no keys`)
    const known = await fetchKeys(client.jwksUri, 0)
    return kid === undefined || known.keys.some((key) => key.kid === kid)
      ? known
      : fetchKeys(client.jwksUri, runtime.now() - refetchMs)
  }

  return async (client, assertion) => {
    const header = assertion.length <= maxAssertion ? headerOf(assertion) : undefined
    if (!header) throw new Refusal('client.auth', 'the assertion is not a JWT')
    const claims = await verifyWith(await keysOf(client, header.kid), assertion, client, runtime.now())
    if (claims instanceof Refusal) throw claims
    const now = runtime.now()
    const expiresAt = (claims.exp ?? 0) * 1000
    if (expiresAt > now + longestMs)
      throw new Refusal('client.auth', 'the assertion lives longer than an hour')
    if (claims.iat !== undefined && claims.iat * 1000 > now + leewayMs)
      throw new Refusal('client.auth', 'the assertion was issued in the future')
    // One audience (RFC 7523bis): an assertion that names several servers could be taken from one to another.
    const audience = Array.isArray(claims.aud) && claims.aud.length === 1 ? claims.aud[0] : claims.aud
    if (typeof audience !== 'string' || !audiences.has(audience))
      throw new Refusal('client.auth', 'the assertion is for another server')
    // Without an id it is known by what was signed: the signature itself has several spellings (RFC 4648
    // §3.5; ECDSA: s and n − s).
    const key = `jti:${runtime.digest(JSON.stringify([client.id, claims.jti ?? assertion.slice(0, assertion.lastIndexOf('.'))]))}`
    const used = (): Refusal => new Refusal('client.auth', 'the assertion was used before')
    if (await runtime.store.get(key)) throw used()
    return async () => {
      const ttlMs = Math.max(1, expiresAt - now) + 2 * leewayMs
      if (!(await runtime.store.put(key, '1', { ttlMs, only: 'absent' }))) throw used()
    }
  }
}
