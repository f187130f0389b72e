// A personal access token (docs/guide/personal-tokens.md): its form, and the check of one that a caller presents. Each
// token has a grant for each of its services, so whatever ends a grant ends it there.
import { encodeBase64url, sameText, utf8 } from '../kit/bytes.ts'
import { beforeRules, isEnough, scopesUpTo } from '../kit/levels.ts'
import { personalClients } from '../kit/records.ts'
import type { RefusalCode } from '../kit/refusal.ts'
import type { Policy } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { Grant } from './grant.ts'
import type { Grants } from './grants.ts'
import { type AccessClaims, subjectOf } from './tokens.ts'

// The form. Scanners find tokens by it, and a checksum tells a mistyped one from an unknown one before anything is read.

/** What every personal access token begins with. */
export const personalPrefix = 'ppat_'

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const idLength = 12
/** Characters of 5.95 bits each: 190 bits. */
const secretLength = 32
const checkLength = 6
const tokenShape = /^ppat_([0-9A-Za-z]{12})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})$/
const idShape = /^[0-9A-Za-z]{12}$/

/** CRC-32 as in ISO 3309. */
const checksum = (text: string): string => {
  let crc = -1
  for (const byte of utf8(text)) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 1 ? 0xed_b8_83_20 : 0)
  }
  let left = (crc ^ -1) >>> 0
  let written = ''
  for (let i = 0; i < checkLength; i++) {
    written = (digits[left % digits.length] as string) + written
    left = Math.floor(left / digits.length)
  }
  return written
}

/** So many digits, each as likely as any other. */
const randomDigits = ({ random }: Pick<Runtime, 'random'>, length: number): string => {
  let text = ''
  while (text.length < length)
    for (const byte of random(length))
      // 248 is the largest multiple of 62 that a byte reaches.
      if (byte < 248 && text.length < length) text += digits[byte % digits.length] as string
  return text
}

export const newTokenId = (runtime: Pick<Runtime, 'random'>): string => randomDigits(runtime, idLength)
export const isTokenId = (text: string): boolean => idShape.test(text)

/** The token, which is shown once, and the secret of it, of which a digest is kept. */
export const newPersonalToken = (
  runtime: Pick<Runtime, 'random'>,
  id: string,
): { readonly token: string; readonly secret: string } => {
  const secret = randomDigits(runtime, secretLength)
  const token = `${personalPrefix}${id}_${secret}`
  return { token: token + checksum(token), secret }
}

/** Undefined for a text of another form, or with another checksum. */
export const readPersonalToken = (
  text: string,
): { readonly id: string; readonly secret: string } | undefined => {
  const [, id, secret, check] = tokenShape.exec(text) ?? []
  if (id === undefined || secret === undefined || check === undefined) return undefined
  return checksum(text.slice(0, -checkLength)) === check ? { id, secret } : undefined
}

/** What is shown of a token once it was created. */
export const shortToken = (id: string): string => `${personalPrefix}${id.slice(0, 4)}...`

/** The client_id of its grants. */
export const clientOfToken = (id: string): string => personalClients + id
export const tokenOfClient = (clientId: string): string => clientId.slice(personalClients.length)

/** The first characters are the client's, as in every grant (grants.ts). */
export const tokenGrantId = ({ digest }: Pick<Runtime, 'digest'>, id: string, service: string): string => {
  const client = clientOfToken(id)
  return (
    digest(`client ${client}`).slice(0, 8) +
    digest(JSON.stringify(['personal', client, service])).slice(0, 24)
  )
}

/** Tells the grants of one ID apart, as the tokens of a client do (`Grant.instance`). */
export const newInstance = ({ random }: Pick<Runtime, 'random'>): string => encodeBase64url(random(9))

// The check.

/** Why a personal access token is not good, for the log and for whoever sent it. */
export interface RefusedToken {
  readonly code: RefusalCode
  readonly why: string
  readonly say?: string
}

/** Where a token is presented. */
interface TokenPlace {
  readonly service: Pick<Service, 'id' | 'scopes'>
}

export interface PersonalTokenCheck {
  /** What a token says at an address; nothing of it is kept. */
  claims(token: string, at: TokenPlace): Promise<AccessClaims | RefusedToken>
  /** Whether access rules hold it to its permissions. Asked again for every reading of the grant. */
  isHeld(grant: Grant, service: Service): boolean
}

export interface PersonalTokenCheckDeps {
  readonly runtime: Pick<Runtime, 'digest'>
  readonly grants: Pick<Grants, 'read'>
  readonly policy: Pick<Policy, 'of' | 'services'>
}

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

const unknown = (why: string): RefusedToken => ({ code: 'personal-token.unknown', why })

/** Of a grant whose token was presented, so that its holder may be told. */
const endedOf = ({ id, token, clientId, revokedReason = '', revokedAt }: Grant): RefusedToken => {
  const short = shortToken(tokenOfClient(clientId))
  if (revokedReason === 'expired')
    return {
      code: 'personal-token.expired',
      why: `grant ${id}`,
      say: `The personal access token ${short} expired on ${dayOf(token?.expiresAt ?? 0)}. Create another one.`,
    }
  return {
    code: 'personal-token.ended',
    why: `grant ${id}: ${revokedReason}`,
    say:
      revokedAt === undefined
        ? `The personal access token ${short} gives no access to this service any more.`
        : `The personal access token ${short} was ended on ${dayOf(revokedAt)}. Create another one.`,
  }
}

const claimsOf = (grant: Grant, { service }: TokenPlace, expiresAt: number): AccessClaims => ({
  sub: subjectOf(grant),
  aud: grant.resource,
  client_id: grant.clientId,
  // What the service needs of every token, as it is now: no client could ask for more of this one.
  scope: [...new Set([...service.scopes, ...scopesUpTo(grant.consented?.level ?? beforeRules)])].join(' '),
  gid: grant.id,
  jti: grant.id,
  ...(grant.instance !== undefined && { gin: grant.instance }),
  iat: Math.floor(grant.createdAt / 1000),
  exp: Math.floor(expiresAt / 1000),
})

export const createPersonalTokenCheck = ({
  runtime,
  grants,
  policy,
}: PersonalTokenCheckDeps): PersonalTokenCheck => ({
  async claims(text, at) {
    const read = readPersonalToken(text)
    if (!read) return unknown('form or checksum')
    const { service } = at
    const grant = (await grants.read(tokenGrantId(runtime, read.id, service.id)))?.grant
    // An unknown token costs the same work as a wrong secret.
    const isRight = sameText(runtime.digest(read.secret), grant?.token?.digest ?? '-'.repeat(43))
    if (!grant?.token || !isRight)
      return unknown(`${shortToken(read.id)} at ${service.id}${grant ? ': wrong secret' : ''}`)
    return grant.state === 'live' ? claimsOf(grant, at, grant.token.expiresAt) : endedOf(grant)
  },
  isHeld: ({ consented }, service) =>
    isEnough(consented?.level ?? beforeRules, beforeRules) ||
    (policy.services.ruled && policy.of(service)?.choices !== undefined),
})
