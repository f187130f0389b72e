// Assertions (RFC 7521, RFC 7523): a JWT by which an issuer that the operator lists says who somebody is. What holds of
// every kind is checked here, in one order, and each check refuses with a code of its own; what only an ID-JAG or only
// a workload has is in id-jag.ts and workload.ts.
import { type JWTVerifyGetKey, compactVerify, createLocalJWKSet, errors } from 'jose'
import type { AssertionIssuer } from '../config/assertion-keys.ts'
import { decodeBase64url } from '../kit/bytes.ts'
import { type RefusalCode, Refusal } from '../kit/refusal.ts'
import { assertionAlgorithms, parseStrictJson, strictText } from './client.ts'
import type { IssuerKeys, KnownKeys } from './issuer-keys.ts'

export type AssertionClaims = Readonly<Record<string, unknown>>

/** The media type of an ID-JAG (draft-ietf-oauth-identity-assertion-authz-grant). */
export const idJagType = 'oauth-id-jag+jwt'
/** Tokens that are for something else and never an assertion. */
const otherTypes = new Set(['at+jwt', 'dpop+jwt', 'logout+jwt', 'secevent+jwt'])

export interface ListedIssuer {
  readonly id: string
  readonly entry: AssertionIssuer
}

/** An assertion as it says of itself. */
interface ReadAssertion {
  readonly header: AssertionClaims
  readonly claims: AssertionClaims
  /** Header and payload as they were sent. */
  readonly signed: string
}

/** One whose issuer signed it, for this server, now. */
export interface Assertion extends ReadAssertion {
  readonly issuer: ListedIssuer
  readonly subject: string
  /** Epoch ms. */
  readonly expiresAt: number
}

export const refuse = (code: RefusalCode & `assertion.${string}`, why: string): Refusal =>
  new Refusal(code, why.slice(0, 500))

const longest = 8_192
const leewayMs = 60_000
/** Keys that are tried for an assertion that names none (RFC 7515 §4.1.4 leaves `kid` to the issuer). */
const mostTried = 10

const membersOf = (part: string): AssertionClaims | undefined => {
  const bytes = decodeBase64url(part)
  try {
    const value: unknown = bytes && parseStrictJson(strictText(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as AssertionClaims)
      : undefined
  } catch {
    // Not UTF-8, not JSON, or JSON that parsers read differently (Refusal).
    return undefined
  }
}

/** Throws `assertion.malformed`, `assertion.encrypted` or `assertion.critical`. */
export const readAssertion = (text: string): ReadAssertion => {
  const parts = text.length > longest ? [] : text.split('.')
  const [head = '', payload = '', signature = ''] = parts
  if (parts.length === 5 && membersOf(head)?.['enc'] !== undefined)
    throw refuse('assertion.encrypted', 'a JWE')
  const [header, claims] = [membersOf(head), membersOf(payload)]
  if (parts.length !== 3 || !header || !claims || !decodeBase64url(signature))
    throw refuse('assertion.malformed', `${text.length} characters in ${parts.length} parts`)
  if ('crit' in header) throw refuse('assertion.critical', JSON.stringify(header['crit']))
  return { header, claims, signed: `${head}.${payload}` }
}

/** In lower case and without `application/` (RFC 7515 §4.1.9). */
export const typeOf = ({ header }: Pick<ReadAssertion, 'header'>): string =>
  typeof header['typ'] === 'string' ? header['typ'].toLowerCase().replace(/^application\//, '') : ''

const spiffe = /^spiffe:\/\/([a-z0-9._-]{1,255})\/./

const isBy = ({ entry }: ListedIssuer, { iss, sub }: AssertionClaims): boolean => {
  if (entry.trust_domain === undefined) return iss !== undefined && iss === entry.issuer
  const domain = typeof sub === 'string' ? spiffe.exec(sub)?.[1] : undefined
  return domain === entry.trust_domain && (iss === undefined || iss === entry.issuer)
}

/**
 * Whose word it is. An ID-JAG is told apart by its type alone, so that no other token of the same issuer passes for one.
 * Throws `assertion.type`, `assertion.self` or `assertion.issuer`.
 */
export const issuerOf = (
  assertion: ReadAssertion,
  listed: readonly ListedIssuer[],
  origins: readonly string[],
): ListedIssuer => {
  const type = typeOf(assertion)
  const { iss, tenant } = assertion.claims
  if (otherTypes.has(type)) throw refuse('assertion.type', type)
  if (typeof iss === 'string' && origins.includes(iss.replace(/\/$/, ''))) throw refuse('assertion.self', iss)
  const known = listed.filter((issuer) => isBy(issuer, assertion.claims))
  const wanted = type === idJagType ? 'id_jag' : 'workload'
  const found = known.filter(({ entry }) => entry.type === wanted)
  const issuer = found.find(({ entry }) => entry.tenant === tenant) ?? found[0]
  if (issuer) return issuer
  throw known.length > 0
    ? refuse('assertion.type', `${type || 'no typ'} of ${known.map(({ id }) => id).join(', ')}`)
    : refuse('assertion.issuer', `iss ${String(iss)}`)
}

const verifyOne = async (text: string, key: Parameters<typeof compactVerify>[1]): Promise<boolean> => {
  try {
    await compactVerify(text, key, { algorithms: [...assertionAlgorithms] })
    return true
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) return false
    throw error
  }
}

const verifyByAny = async (text: string, keys: JWTVerifyGetKey): Promise<boolean> => {
  try {
    await compactVerify(text, keys, { algorithms: [...assertionAlgorithms] })
    return true
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) return false
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    let tried = 0
    for await (const key of error) {
      if (++tried > mostTried) return false
      if (await verifyOne(text, key)) return true
    }
    return false
  }
}

/** Throws `assertion.algorithm`, `assertion.key`, `assertion.keys-unreachable` or `assertion.signature`. */
const verifySignature = async (
  text: string,
  { header }: ReadAssertion,
  { id, entry }: ListedIssuer,
  issuerKeys: IssuerKeys,
): Promise<void> => {
  const { alg, kid } = header
  if (!(assertionAlgorithms as readonly unknown[]).includes(alg))
    throw refuse('assertion.algorithm', JSON.stringify(alg))
  if (kid !== undefined && typeof kid !== 'string') throw refuse('assertion.key', 'kid is no text')
  const { keys }: KnownKeys = await issuerKeys.of(id, entry, kid)
  let verified: boolean
  try {
    verified = await verifyByAny(text, createLocalJWKSet({ keys: [...keys] }))
  } catch (error) {
    // No key of that kid and algorithm, or one that cannot be used, such as RSA of less than 2048 bits.
    throw refuse('assertion.key', `${id}, kid ${kid}: ${error instanceof Error ? error.message : 'unusable'}`)
  }
  if (!verified) throw refuse('assertion.signature', `${id}, kid ${kid}`)
}

/** What is accepted as `aud`. */
export interface Audience {
  readonly any: readonly string[]
  /** Others may be named beside it. */
  readonly contains: boolean
}

/** Throws `assertion.audience` or `assertion.audiences`. */
const checkAudience = ({ aud }: AssertionClaims, { any, contains }: Audience): void => {
  const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  const fits = (one: unknown): boolean => typeof one === 'string' && any.includes(one)
  if (!named.some(fits)) throw refuse('assertion.audience', JSON.stringify(aud) ?? 'no aud')
  if (named.length > 1 && !contains) throw refuse('assertion.audiences', JSON.stringify(aud))
}

const isTime = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)
const isText = (value: unknown, most: number): value is string =>
  typeof value === 'string' && value !== '' && value.length <= most && !/\p{Cc}/u.test(value)

/** Claims that must be there, and those that must be right where they are there. */
const checkTypes = (claims: AssertionClaims, required: readonly string[]): void => {
  const wrong = Object.entries({
    exp: isTime,
    iat: isTime,
    nbf: isTime,
    jti: (value: unknown) => isText(value, 256),
    sub: (value: unknown) => isText(value, 255),
    client_id: (value: unknown) => isText(value, 2048),
  }).find(([name, isRight]) =>
    claims[name] === undefined ? required.includes(name) : !isRight(claims[name]),
  )
  if (wrong) throw refuse('assertion.claims', `${wrong[0]} is missing or not as it must be`)
}

/** Throws `assertion.expired`, `assertion.early`, `assertion.future` or `assertion.lifetime`. */
const checkTimes = (claims: AssertionClaims, mostMs: number, now: number): number => {
  const at = (name: string): number | undefined =>
    claims[name] === undefined ? undefined : Number(claims[name]) * 1000
  const [expires = 0, issued, notBefore = 0] = [at('exp'), at('iat'), at('nbf')]
  if (expires + leewayMs <= now) throw refuse('assertion.expired', `${now - expires} ms ago`)
  if (notBefore > now + leewayMs) throw refuse('assertion.early', `in ${notBefore - now} ms`)
  if (issued !== undefined && issued > now + leewayMs)
    throw refuse('assertion.future', `in ${issued - now} ms`)
  // Without `iat` only what is left is known.
  const lives = expires - (issued ?? now)
  if (lives > mostMs) throw refuse('assertion.lifetime', `${lives} ms`)
  return expires
}

export const defaultLifetimeMs = { id_jag: 600_000, workload: 3_600_000 } as const

/**
 * An assertion that is bound to a key (RFC 9449 §6) is good with a proof of that key. `key`: of the proof that came. Throws
 * `assertion.claims`, `assertion.proof` or `assertion.proof-key`.
 */
export const checkKey = ({ cnf }: AssertionClaims, key: string | undefined): void => {
  if (cnf === undefined) return
  const { jkt } = (cnf ?? {}) as { readonly jkt?: unknown }
  if (typeof jkt !== 'string') throw refuse('assertion.claims', 'cnf names no key by its thumbprint')
  if (key === undefined) throw refuse('assertion.proof', `key ${jkt}`)
  if (key !== jkt) throw refuse('assertion.proof-key', `${key}, not ${jkt}`)
}

/** What is asked of the assertion beside its signature. */
export interface Wanted {
  readonly audience: Audience
  readonly required: readonly string[]
  readonly now: number
  /** Told who has signed it, before the rest is looked at. */
  readonly signed?: ((issuer: ListedIssuer) => void) | undefined
}

/** The checks that every kind has, after its issuer is known. */
export const verifyAssertion = async (
  text: string,
  read: ReadAssertion,
  issuer: ListedIssuer,
  keys: IssuerKeys,
  { audience, required, now, signed }: Wanted,
): Promise<Assertion> => {
  await verifySignature(text, read, issuer, keys)
  signed?.(issuer)
  checkAudience(read.claims, audience)
  checkTypes(read.claims, required)
  const { type, max_lifetime: seconds } = issuer.entry
  const mostMs = seconds === undefined ? defaultLifetimeMs[type] : seconds * 1000
  const expiresAt = checkTimes(read.claims, mostMs, now)
  return { ...read, issuer, subject: String(read.claims['sub']), expiresAt }
}
