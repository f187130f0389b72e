// The protected resource's side of a token (RFC 6750, RFC 9728 §5): one bearer token in, the principal at
// that address out, or the challenge that tells the client what to do.
import { decodeJwt } from 'jose'
import { levelNamed, lowerOf } from '../kit/levels.ts'
import { type RefusalCode, type RequestFacts, Refusal } from '../kit/refusal.ts'
import { httpsHost } from '../kit/urls.ts'
import type { AuthenticateBearer, ProvenRequest, Signer } from '../ports/modules.ts'
import type { Consented, Principal } from '../ports/people.ts'

import type { Runtime } from '../ports/runtime.ts'
import type { Address, Directory } from '../ports/services.ts'
import type { Dpop } from './dpop.ts'
import type { Grant } from './grant.ts'
import type { Grants } from './grants.ts'
import { resourceMetadataUrl } from './metadata.ts'
import { type PersonalTokenCheck, type RefusedToken, personalPrefix } from './personal-token.ts'
import { type AccessClaims, accessClaimsOf, accessTokenType, isTokenOf, subjectOf } from './tokens.ts'

export interface BearerDeps {
  readonly runtime: Pick<Runtime, 'now' | 'digest'>
  readonly directory: Directory
  readonly signer: Signer
  readonly grants: Pick<Grants, 'live' | 'lately'>
  readonly personal: PersonalTokenCheck
  /** Absent where tokens are bound to nothing. */
  readonly dpop?: Dpop | undefined
}

/** Longest credentials looked at, characters; ours have about 700. */
const maxToken = 8_192
/** Verified tokens kept. Only valid ones are, so that a flood of invalid ones evicts none of them. */
const maxVerified = 5_000

// RFC 6750 §2.1, RFC 9449 §7.1 and RFC 9110 §11.1: the scheme in any case, then exactly one b64token.
const credentials = /^(?:bearer|(dpop)) +([A-Za-z0-9\-._~+/]+=*) *$/i

const quoted = (text: string): string => `"${text.replaceAll(/["\\]/g, "'")}"`

/** A header with a valid token: its claims, and the principal of the grant as it was read last. */
interface VerifiedToken {
  readonly claims: AccessClaims
  /** The service where a personal access token was presented last: it has a grant for each. */
  readonly personalAt?: string
  /** Epoch ms at which this entry was last moved to the young end. */
  touchedAt: number
  grant?: Grant
  principal?: Principal
  /** It came with the scheme DPoP: the digest of the token, which a proof must contain. */
  readonly ath?: string
}

/** How often using a token moves it to the young end of the list. */
const touchMs = 1000

/**
 * Headers with verified tokens, the least recently used forgotten first. Undefined for a header whose token
 * is not valid, or not any more.
 */
const createVerifiedTokens = ({ signer, personal, runtime }: BearerDeps) => {
  const now = (): number => runtime.now()
  const verified = new Map<string, VerifiedToken>()
  const keep = (header: string, known: VerifiedToken): VerifiedToken => {
    if (verified.size >= maxVerified) verified.delete(verified.keys().next().value as string)
    verified.set(header, known)
    return known
  }
  const verify = async (
    header: string,
    token: string,
    byKey: boolean,
  ): Promise<VerifiedToken | undefined> => {
    const claims = accessClaimsOf(await signer.verify(token, accessTokenType))
    if (!claims) return undefined
    const known = { claims, touchedAt: now() }
    return keep(header, byKey ? { ...known, ath: runtime.digest(token) } : known)
  }
  const verifyPersonal = async (
    header: string,
    token: string,
    address: Address,
  ): Promise<VerifiedToken | RefusedToken> => {
    const claims = await personal.claims(token, address)
    return 'code' in claims
      ? claims
      : keep(header, { claims, personalAt: address.service.id, touchedAt: now() })
  }
  const recall = (header: string): VerifiedToken | undefined => {
    const known = verified.get(header)
    if (!known) return undefined
    const time = now()
    if (known.claims.exp * 1000 <= time) {
      verified.delete(header)
      return undefined
    }
    if (time - known.touchedAt > touchMs) {
      known.touchedAt = time
      verified.delete(header)
      verified.set(header, known)
    }
    return known
  }
  return { recall, verify, verifyPersonal, forget: (header: string) => void verified.delete(header) }
}

/** Chooses the words of the refusal alone: nothing is decided by what an unverified token says of itself. */
const hasExpired = (token: string, now: number): boolean => {
  try {
    return (decodeJwt(token).exp ?? Infinity) * 1000 <= now
  } catch {
    return false
  }
}

/** A token presented at an address, and where its challenge points. */
interface TokenAttempt {
  readonly address: Address
  readonly origin: string
  /** Absent where tokens are bound to nothing. */
  readonly dpop?: {
    /** The address takes no bearer tokens, or none was sent. */
    readonly alone: boolean
    readonly algorithms: string
    readonly nonce: string | undefined
  }
}

// RFC 9449 §7.1. Clients that know of bearer tokens alone read the first challenge of a field.
const challengeOf = (parts: readonly string[], { dpop }: TokenAttempt): string => {
  const params = parts.join(', ')
  if (!dpop) return `Bearer ${params}`
  const algorithms = `algs=${quoted(dpop.algorithms)}`
  return dpop.alone ? `DPoP ${params}, ${algorithms}` : `Bearer ${params}, DPoP ${algorithms}`
}

type About = TokenAttempt & {
  readonly about: RequestFacts
  readonly say?: string | undefined
  readonly status?: number
}

// RFC 6750 §3: no error when no credentials were sent; otherwise the registered code and a sentence.
const refuse = (
  code: RefusalCode,
  why: string,
  { about, say = new Refusal(code).say, status, ...attempt }: About,
): Refusal => {
  const { address, origin, dpop } = attempt
  const { row } = new Refusal(code)
  const error =
    code === 'token.missing' ? [] : [`error=${quoted(row.oauth)}`, `error_description=${quoted(say)}`]
  const parts = [
    ...error,
    `resource_metadata=${quoted(resourceMetadataUrl(origin, address.path))}`,
    `scope=${quoted(address.service.scopes.join(' '))}`,
  ]
  return new Refusal(code, why, {
    say,
    ...(status !== undefined && { status }),
    headers: {
      'www-authenticate': challengeOf(parts, attempt),
      ...(dpop?.nonce !== undefined && { 'dpop-nonce': dpop.nonce }),
    },
    about: { ...about, service: address.service.id },
  })
}

/** The scopes of the token. Throws `scope.insufficient` when the service needs one that it lacks. */
const grantedScopes = (scope: string, attempt: TokenAttempt, grant: Grant): readonly string[] => {
  const scopes = scope.split(' ')
  const missing = attempt.address.service.scopes.filter((needed) => !scopes.includes(needed))
  if (missing.length > 0)
    throw refuse('scope.insufficient', `lacks ${missing.join(' ')}`, {
      ...attempt,
      about: { client: grant.clientId, person: subjectOf(grant), flow: grant.flow },
    })
  return scopes
}

/** What the person let the app do, and of that what the token says: a refresh may ask for less. */
const consentedBy = (consented: Consented, scopes: readonly string[], own: readonly string[]): Consented => {
  const named = levelNamed(scopes, own)
  return named === undefined ? consented : { ...consented, level: lowerOf(named, consented.level) }
}

/** Throws `scope.insufficient`. */
const principalOf = (grant: Grant, claims: AccessClaims, attempt: TokenAttempt): Principal => {
  const scopes = grantedScopes(claims.scope, attempt, grant)
  const own = attempt.address.service.scopes
  return {
    person: grant.person,
    personKey: subjectOf(grant),
    clientId: grant.clientId,
    clientName: grant.clientName,
    redirectHost: grant.redirectUri === undefined ? '' : httpsHost(grant.redirectUri),
    grantId: grant.id,
    ...(grant.actor && { actor: grant.actor }),
    ...(grant.flow !== undefined && { flow: grant.flow }),
    scopes,
    ...(grant.consented && { consented: consentedBy(grant.consented, scopes, own) }),
    ...(grant.kind &&
      grant.consented && { most: lowerOf(claims.most ?? grant.consented.level, grant.consented.level) }),
    resource: grant.resource,
    expiresAt: claims.exp * 1000,
    ...(claims.jkt !== undefined && { jkt: claims.jkt }),
  }
}

const unheld = (grant: Grant, attempt: TokenAttempt): Refusal =>
  refuse('personal-token.ended', `no access rules at ${attempt.address.service.id} that hold it`, {
    ...attempt,
    about: { client: grant.clientId, person: subjectOf(grant) },
    say: 'Nothing holds this personal access token to its permissions: the service has no access rules any more.',
  })

type Tokens = ReturnType<typeof createVerifiedTokens>

/** `scheme`: only where it is DPoP, which is known where tokens can be bound. */
const tokenIn = (
  header: string,
  { dpop }: TokenAttempt,
): { readonly scheme?: string | undefined; readonly token?: string | undefined } => {
  const [, scheme, token] = (header.length <= maxToken && credentials.exec(header)) || []
  return scheme !== undefined && !dpop ? {} : { scheme, token }
}

/**
 * The one token that was sent, verified. Throws `token.missing`, `token.repeated`, `token.malformed`,
 * `token.expired`, `token.unbound` or `personal-token.*`.
 */
const verifiedToken = async (
  { recall, verify, verifyPersonal }: Tokens,
  authorization: readonly string[],
  attempt: TokenAttempt,
  now: () => number,
): Promise<VerifiedToken> => {
  const no = (code: RefusalCode, why: string, say?: string) =>
    refuse(code, why, { ...attempt, about: {}, say })
  const [header] = authorization
  if (header === undefined) throw no('token.missing', 'no Authorization header')
  if (authorization.length > 1) throw no('token.repeated', `${authorization.length} Authorization headers`)
  const known = recall(header)
  if (known && (known.personalAt ?? attempt.address.service.id) === attempt.address.service.id) return known
  const { scheme, token } = tokenIn(header, attempt)
  if (token === undefined) throw no('token.malformed', 'not one token in a scheme of ours')
  if (token.startsWith(personalPrefix)) {
    if (scheme !== undefined) throw no('token.unbound', 'a personal access token')
    const found = await verifyPersonal(header, token, attempt.address)
    if ('code' in found) throw no(found.code, found.why, found.say)
    return found
  }
  const verified = await verify(header, token, scheme !== undefined)
  if (verified) return verified
  throw hasExpired(token, now())
    ? no('token.expired', 'expired')
    : no('token.malformed', 'signature, issuer or type')
}

/** Which scheme a token has to be sent by. Throws `token.bound` and `token.unbound`. */
const checkScheme = ({ claims, ath }: VerifiedToken, dpop: Dpop | undefined, attempt: TokenAttempt): void => {
  const { service } = attempt.address
  const refuseAs = (code: 'token.bound' | 'token.unbound', why: string): never => {
    throw refuse(code, why, { ...attempt, about: { client: claims.client_id } })
  }
  if (claims.jkt !== undefined)
    return ath === undefined ? refuseAs('token.bound', 'sent as Bearer') : undefined
  const mode = dpop ? dpop.modeAt(claims.client_id, service) : service.dpop
  if (ath !== undefined) refuseAs('token.unbound', 'sent with DPoP')
  if (mode === 'required') refuseAs('token.unbound', `${service.id} with ${claims.client_id} requires DPoP`)
}

/** The proof of a call with a bound token. Throws `proof.*`. */
const checkProof = async (
  { claims, ath }: VerifiedToken,
  dpop: Dpop | undefined,
  attempt: TokenAttempt,
  { principal, request }: { readonly principal: Principal; readonly request: ProvenRequest | undefined },
): Promise<void> => {
  if (claims.jkt === undefined || request?.head.proven) return
  const about = { client: principal.clientId, person: principal.personKey, flow: principal.flow }
  const facts = { ...about, service: attempt.address.service.id }
  const found =
    dpop && ath !== undefined
      ? await dpop.atResource(request, { jkt: claims.jkt, ath, origin: attempt.origin, facts })
      : { code: 'proof.missing' as const, why: 'DPoP is off' }
  if (found) throw refuse(found.code, found.why, { ...attempt, about, status: 401 })
}

const attemptOf = async (
  authorization: readonly string[],
  address: Address,
  origin: string,
  dpop: Dpop | undefined,
): Promise<TokenAttempt> => {
  const mode = dpop?.modeOf(undefined, address.service) ?? 'off'
  if (!dpop || mode === 'off') return { address, origin }
  const alone = mode === 'required' || /^dpop /i.test(authorization[0] ?? '')
  return { address, origin, dpop: { alone, algorithms: dpop.algorithms, nonce: await dpop.fresh() } }
}

/** What was presented, and where. */
interface Presented {
  readonly authorization: readonly string[]
  readonly attempt: TokenAttempt
}

/** The refusal of a token whose grant has ended, or is another one now. */
const ended = async (
  { runtime, tokens }: Pick<BearerDeps, 'runtime'> & { readonly tokens: Tokens },
  { claims, personalAt }: VerifiedToken,
  { authorization, attempt }: Presented,
  grant: Grant | undefined,
): Promise<Refusal> => {
  if (personalAt !== undefined) {
    // Read anew, it says what has become of it.
    tokens.forget(authorization[0] as string)
    await verifiedToken(tokens, authorization, attempt, () => runtime.now())
  }
  return refuse('token.revoked', `grant ${claims.gid}`, {
    ...attempt,
    about: { client: claims.client_id, person: grant && subjectOf(grant) },
  })
}

type Judge = (presented: Presented, request: ProvenRequest | undefined) => Promise<Principal>

const createJudge = (
  deps: BearerDeps & { readonly tokens: Tokens },
  isFor: (audience: string, address: Address) => boolean,
): Judge => {
  const { runtime, grants, personal, dpop, tokens } = deps
  const principalFor = async (verified: VerifiedToken, presented: Presented): Promise<Principal> => {
    const { claims } = verified
    const { attempt } = presented
    const grant = await grants.live(claims.gid)
    // The same reading of the grant has been judged before.
    if (grant && grant === verified.grant && verified.principal) return verified.principal
    if (!grant || !isTokenOf(grant, claims)) throw await ended(deps, verified, presented, grant)
    if (grant.token && !personal.isHeld(grant, attempt.address.service)) throw unheld(grant, attempt)
    verified.grant = grant
    verified.principal = principalOf(grant, claims, attempt)
    return verified.principal
  }
  return async (presented, request) => {
    const { authorization, attempt } = presented
    const verified = await verifiedToken(tokens, authorization, attempt, () => runtime.now())
    const { claims } = verified
    if (!isFor(claims.aud, attempt.address))
      throw refuse('token.audience', `${claims.aud} at ${attempt.address.resource}`, {
        ...attempt,
        about: { client: claims.client_id, flow: (await grants.live(claims.gid))?.flow },
      })
    checkScheme(verified, dpop, attempt)
    const principal = await principalFor(verified, presented)
    if (claims.jkt !== undefined) await checkProof(verified, dpop, attempt, { principal, request })
    return principal
  }
}

export const createAuthenticateBearer = (deps: BearerDeps): AuthenticateBearer => {
  const { directory, grants, dpop } = deps
  const tokens = createVerifiedTokens(deps)
  // RFC 8707 §2: a token works at the service it was asked for and nowhere else. A service may have two
  // addresses; a client that names no resource gets the first.
  const isFor = (audience: string, { resource, service }: Address): boolean =>
    audience === resource ||
    directory.addresses.some((other) => other.resource === audience && other.service.id === service.id)
  const judge = createJudge({ ...deps, tokens }, isFor)
  /**
   * The principal whom the same header and the same reading of its grant have shown before. What is bound to a key
   * shows nobody without a proof of its own.
   */
  const remembered = (header: string | undefined, address: Address): Principal | undefined => {
    const known = header === undefined ? undefined : tokens.recall(header)
    if (!known?.principal || known.ath !== undefined || address.service.dpop === 'required') return undefined
    if (!isFor(known.claims.aud, address)) return undefined
    return known.grant === grants.lately(known.claims.gid) ? known.principal : undefined
  }
  const judgeAt = async (
    authorization: readonly string[],
    address: Address,
    origin: string,
    request: ProvenRequest | undefined,
  ): Promise<Principal> =>
    judge({ authorization, attempt: await attemptOf(authorization, address, origin, dpop) }, request)

  return (authorization, address, origin = directory.issuer, request) => {
    const principal = authorization.length === 1 ? remembered(authorization[0], address) : undefined
    return principal ?? judgeAt(authorization, address, origin, request)
  }
}
