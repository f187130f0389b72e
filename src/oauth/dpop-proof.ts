// A proof of possession (RFC 9449 §4): a JWT that a client signs for one request, with the key that its tokens are
// bound to. Here it is read and judged by itself; what is remembered of proofs is in dpop.ts.
import { type JWK, compactVerify, importJWK } from 'jose'
import { decodeBase64url, utf8, utf8Text } from '../kit/bytes.ts'
import type { RefusalCode } from '../kit/refusal.ts'
import { withoutQuery } from '../kit/urls.ts'
import type { Runtime } from '../ports/runtime.ts'

/** Asymmetric only: with any other the public key in the header would be the secret (RFC 9449 §4.3). */
export const proofAlgorithms = ['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256'] as const
type ProofAlgorithm = (typeof proofAlgorithms)[number]

export type ProofCode = Extract<RefusalCode, `proof.${string}`>

export interface ProofFault {
  readonly code: ProofCode
  readonly why: string
}

const fault = (code: ProofCode, why: string): ProofFault => ({ code, why })

export const isFault = (found: object): found is ProofFault => 'code' in found

/** What a proof must be for. */
export interface ProvenUse {
  readonly method: string
  /** As `canonicalUrl` writes it. */
  readonly url: string
  /** Digest of the access token that it comes with; absent at the token endpoint. */
  readonly ath?: string
  /** Thumbprint of the key that it must be of. */
  readonly jkt?: string
  /** Epoch ms. */
  readonly now: number
  /** How far `iat` may be from that, ms. */
  readonly windowMs: number
}

/** A proof as it was read; its signature has not been looked at. */
export interface ReadProof {
  readonly text: string
  readonly alg: ProofAlgorithm
  readonly jwk: JWK
  /** Thumbprint of its key (RFC 7638). */
  readonly jkt: string
  readonly jti: string
  readonly htm: string
  readonly htu: string
  /** Epoch ms. */
  readonly issuedAt: number
  readonly ath: unknown
  readonly nonce: unknown
}

type Members = Readonly<Record<string, unknown>>

const objectIn = (part: string): Members | undefined => {
  try {
    const bytes = decodeBase64url(part)
    const value: unknown = bytes && JSON.parse(utf8Text(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Members)
      : undefined
  } catch {
    return undefined
  }
}

// RFC 7638 §3.2: the members that a key is known by, in this order.
const keyMembers = { EC: ['crv', 'kty', 'x', 'y'], OKP: ['crv', 'kty', 'x'], RSA: ['e', 'kty', 'n'] } as const
/** The key that each algorithm takes. */
const keyOf: Readonly<
  Record<ProofAlgorithm, { readonly kty: keyof typeof keyMembers; readonly crv?: string }>
> = {
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
  RS256: { kty: 'RSA' },
  PS256: { kty: 'RSA' },
}
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
const rsaBits = { least: 2048, most: 4096 }
/** Verifying takes time with the exponent: 65537 has four characters. */
const longestExponent = 6

const bitsOf = (text: string): number => {
  const bytes = decodeBase64url(text)
  const first = bytes?.findIndex((byte) => byte !== 0) ?? -1
  if (!bytes || first < 0) return 0
  return (bytes.length - first) * 8 - (Math.clz32(bytes[first] as number) - 24)
}

const isGoodRsa = (jwk: Members): boolean => {
  const bits = bitsOf(String(jwk['n']))
  return bits >= rsaBits.least && bits <= rsaBits.most && String(jwk['e']).length <= longestExponent
}

/** Only what the key is known by, so that nothing else in it counts. Undefined for one that does not fit. */
const publicKey = (value: unknown, alg: ProofAlgorithm): JWK | undefined => {
  if (typeof value !== 'object' || value === null) return undefined
  const given = value as Members
  const { kty, crv } = keyOf[alg]
  if (given['kty'] !== kty || (crv !== undefined && given['crv'] !== crv)) return undefined
  if (privateMembers.some((name) => name in given)) return undefined
  const members = keyMembers[kty].map((name) => [name, given[name]] as const)
  if (members.some(([, member]) => typeof member !== 'string' || !/^[\w-]{1,1024}$/.test(member)))
    return undefined
  return kty === 'RSA' && !isGoodRsa(given) ? undefined : (Object.fromEntries(members) as JWK)
}

/** Longest DPoP field that is looked at, characters. */
const maxProof = 4096
const compact = /^([\w-]+)\.([\w-]+)\.[\w-]+$/
const jtiShape = /^[\x21-\x7E]{1,256}$/

const claimsOf = (
  payload: Members,
): Pick<ReadProof, 'jti' | 'htm' | 'htu' | 'issuedAt' | 'ath' | 'nonce'> | undefined => {
  const { jti, htm, htu, iat, ath, nonce } = payload
  return typeof jti === 'string' &&
    jtiShape.test(jti) &&
    typeof htm === 'string' &&
    typeof htu === 'string' &&
    typeof iat === 'number' &&
    Number.isFinite(iat)
    ? { jti, htm, htu, issuedAt: iat * 1000, ath, nonce }
    : undefined
}

/** `field`: the value of the DPoP header; several headers are joined by a comma, which no proof has. */
export const readProof = (field: string | undefined, digest: Runtime['digest']): ReadProof | ProofFault => {
  if (field === undefined) return fault('proof.missing', 'no DPoP header')
  const text = field.trim()
  const [, head = '', body = ''] = (text.length <= maxProof && compact.exec(text)) || []
  const [header, payload] = [objectIn(head), objectIn(body)]
  if (!header || !payload) return fault('proof.malformed', 'not one compact JWS')
  if (header['typ'] !== 'dpop+jwt') return fault('proof.type', `typ ${String(header['typ']).slice(0, 40)}`)
  const alg = proofAlgorithms.find((known) => known === header['alg'])
  if (!alg) return fault('proof.algorithm', `alg ${String(header['alg']).slice(0, 40)}`)
  // RFC 7515 §4.1.11: an extension that must be understood, and is not.
  if (header['crit'] !== undefined) return fault('proof.malformed', 'crit')
  const jwk = publicKey(header['jwk'], alg)
  if (!jwk) return fault('proof.key', `jwk is no public key for ${alg}`)
  const claims = claimsOf(payload)
  if (!claims) return fault('proof.malformed', 'jti, htm, htu or iat')
  return { text, alg, jwk, jkt: digest(JSON.stringify(jwk)), ...claims }
}

const unreserved = /[\w.~-]/

/** RFC 3986 §6.2.2: what may stand as it is stands so, and the rest in capitals. */
const normalPath = (path: string): string =>
  path
    .replaceAll(/%([\da-f]{2})/gi, (escaped, hex: string) => {
      const character = String.fromCharCode(Number.parseInt(hex, 16))
      return unreserved.test(character) ? character : escaped.toUpperCase()
    })
    .replace(/\/$/, '')

const schemes: Readonly<Record<string, string>> = {
  'http:': 'http:',
  'https:': 'https:',
  'ws:': 'http:',
  'wss:': 'https:',
}

/**
 * One spelling for all that name the same resource: without query, fragment (RFC 9449 §4.3), default port and final
 * slash; a WebSocket is opened by an HTTP request. Undefined for what is no such URL.
 */
export const canonicalUrl = (text: string): string | undefined => {
  if (text.length > 2048 || !URL.canParse(text)) return undefined
  const { protocol, host, pathname, username, password } = new URL(text)
  const scheme = schemes[protocol]
  return scheme === undefined || username !== '' || password !== ''
    ? undefined
    : `${scheme}//${host}${normalPath(pathname)}`
}

/** The first thing that makes it a proof of something else. */
export const misuseOf = (
  proof: ReadProof,
  { method, url, ath, jkt, now, windowMs }: ProvenUse,
): ProofFault | undefined => {
  if (jkt !== undefined && proof.jkt !== jkt) return fault('proof.key', `of ${proof.jkt}, token of ${jkt}`)
  if (proof.htm !== method) return fault('proof.method', `${proof.htm.slice(0, 20)} for ${method}`)
  if (canonicalUrl(proof.htu) !== url) return fault('proof.url', `${withoutQuery(proof.htu)} for ${url}`)
  if (Math.abs(proof.issuedAt - now) > windowMs)
    return fault('proof.time', `iat is off by ${Math.round((proof.issuedAt - now) / 1000)} s`)
  if (ath !== undefined && proof.ath !== ath) return fault('proof.token', 'ath')
  return undefined
}

/** Keys that have signed a good proof; importing one takes as long as half a signature. */
const mostKeys = 5000

/** Whether the proof is signed with the key that it names. */
export type VerifyProof = (proof: ReadProof) => Promise<boolean>

/** Checks the signature of a compact JWS (RFC 7515 §5.2). */
type CheckJws = (text: string) => boolean | Promise<boolean>

const importWith = async (jwk: JWK, alg: ProofAlgorithm): Promise<CheckJws> => {
  const key = await importJWK({ ...jwk }, alg)
  return (text) =>
    compactVerify(text, key, { algorithms: [alg] }).then(
      () => true,
      () => false,
    )
}

const importEs256 = (jwk: JWK, es256Check: NonNullable<Runtime['es256Check']>): CheckJws => {
  const check = es256Check(jwk)
  return (text) => {
    const end = text.lastIndexOf('.')
    const signature = decodeBase64url(text.slice(end + 1))
    return signature !== undefined && check(utf8(text.slice(0, end)), signature)
  }
}

export const createVerifyProof = (es256Check: Runtime['es256Check']): VerifyProof => {
  const keys = new Map<string, CheckJws>()
  return async ({ text, alg, jwk, jkt }) => {
    const name = `${alg} ${jkt}`
    try {
      const known = keys.get(name)
      const check =
        known ?? (alg === 'ES256' && es256Check ? importEs256(jwk, es256Check) : await importWith(jwk, alg))
      if (!(await check(text))) return false
      if (!known) {
        if (keys.size >= mostKeys) keys.delete(keys.keys().next().value as string)
        keys.set(name, check)
      }
      return true
    } catch {
      return false
    }
  }
}
