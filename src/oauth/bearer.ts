// The protected resource's side of a token (RFC 6750, RFC 9728 §5): one bearer token in, the principal at
// that address out, or the challenge that tells the client what to do.
import { decodeJwt } from 'jose'
import { levelNamed, lowerOf } from '../kit/levels.ts'
import { type RefusalCode, type RequestFacts, Refusal } from '../kit/refusal.ts'
import { httpsHost } from '../kit/urls.ts'
import type { AuthenticateBearer, Signer } from '../ports/modules.ts'
import type { Consented, Principal } from '../ports/people.ts'

import type { Runtime } from '../ports/runtime.ts'
import type { Address, Directory } from '../ports/services.ts'
import type { Grant } from './grant.ts'
import type { Grants } from './grants.ts'
import { resourceMetadataUrl } from './metadata.ts'
import { type PersonalTokenCheck, type RefusedToken, personalPrefix } from './personal-token.ts'
import { type AccessClaims, accessClaimsOf, accessTokenType, isTokenOf, subjectOf } from './tokens.ts'

export interface BearerDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly directory: Directory
  readonly signer: Signer
  readonly grants: Pick<Grants, 'live' | 'lately'>
  readonly personal: PersonalTokenCheck
}

/** Longest credentials looked at, characters; ours have about 700. */
const maxToken = 8_192
/** Verified tokens kept. Only valid ones are, so that a flood of invalid ones evicts none of them. */
const maxVerified = 5_000

// RFC 6750 §2.1 and RFC 9110 §11.1: the scheme in any case, then exactly one b64token.
const bearer = /^bearer +([A-Za-z0-9\-._~+/]+=*) *$/i

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
}

/** How often using a token moves it to the young end of the list. */
const touchMs = 1000

/**
 * Headers with verified tokens, the least recently used forgotten first. Undefined for a header whose token
 * is not valid, or not any more.
 */
const createVerifiedTokens = (
  { signer, personal }: Pick<BearerDeps, 'signer' | 'personal'>,
  now: () => number,
) => {
  const verified = new Map<string, VerifiedToken>()
  const keep = (header: string, known: VerifiedToken): VerifiedToken => {
    if (verified.size >= maxVerified) verified.delete(verified.keys().next().value as string)
    verified.set(header, known)
    return known
  }
  const verify = async (header: string, token: string): Promise<VerifiedToken | undefined> => {
    const claims = accessClaimsOf(await signer.verify(token, accessTokenType))
    return claims && keep(header, { claims, touchedAt: now() })
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
}

// RFC 6750 §3: no error when no credentials were sent; otherwise the registered code and a sentence.
const refuse = (
  code: RefusalCode,
  why: string,
  {
    address,
    origin,
    about,
    say = new Refusal(code).say,
  }: TokenAttempt & { readonly about: RequestFacts; readonly say?: string | undefined },
): Refusal => {
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
    headers: { 'www-authenticate': `Bearer ${parts.join(', ')}` },
    about: { ...about, service: address.service.id },
  })
}

/** The scopes of the token. Throws `scope.insufficient` when the service needs one that it lacks. */
const grantedScopes = (scope: string, { address, origin }: TokenAttempt, grant: Grant): readonly string[] => {
  const scopes = scope.split(' ')
  const missing = address.service.scopes.filter((needed) => !scopes.includes(needed))
  if (missing.length > 0)
    throw refuse('scope.insufficient', `lacks ${missing.join(' ')}`, {
      address,
      origin,
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
    ...(grant.kind && grant.consented && { most: grant.consented.level }),
    resource: grant.resource,
    expiresAt: claims.exp * 1000,
  }
}

const unheld = (grant: Grant, attempt: TokenAttempt): Refusal =>
  refuse('personal-token.ended', `no access rules at ${attempt.address.service.id} that hold it`, {
    ...attempt,
    about: { client: grant.clientId, person: subjectOf(grant) },
    say: 'Nothing holds this personal access token to its permissions: the service has no access rules any more.',
  })

/**
 * The one bearer token that was sent, verified. Throws `token.missing`, `token.repeated`, `token.malformed`,
 * `token.expired` or `personal-token.*`.
 */
const verifiedToken = async (
  { recall, verify, verifyPersonal }: ReturnType<typeof createVerifiedTokens>,
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
  const token = header.length <= maxToken ? bearer.exec(header)?.[1] : undefined
  if (token === undefined) throw no('token.malformed', 'not one bearer token')
  if (token.startsWith(personalPrefix)) {
    const found = await verifyPersonal(header, token, attempt.address)
    if ('code' in found) throw no(found.code, found.why, found.say)
    return found
  }
  const verified = await verify(header, token)
  if (verified) return verified
  throw hasExpired(token, now())
    ? no('token.expired', 'expired')
    : no('token.malformed', 'signature, issuer or type')
}

export const createAuthenticateBearer = ({
  runtime,
  directory,
  signer,
  grants,
  personal,
}: BearerDeps): AuthenticateBearer => {
  const tokens = createVerifiedTokens({ signer, personal }, () => runtime.now())
  // RFC 8707 §2: a token works at the service it was asked for and nowhere else. A service may have two
  // addresses; a client that names no resource gets the first.
  const isFor = (audience: string, { resource, service }: Address): boolean =>
    audience === resource ||
    directory.addresses.some((other) => other.resource === audience && other.service.id === service.id)
  /** The principal whom the same header and the same reading of its grant have shown before. */
  const remembered = (header: string | undefined, address: Address): Principal | undefined => {
    const known = header === undefined ? undefined : tokens.recall(header)
    if (!known?.principal || !isFor(known.claims.aud, address)) return undefined
    return known.grant === grants.lately(known.claims.gid) ? known.principal : undefined
  }

  const judge = async (authorization: readonly string[], attempt: TokenAttempt): Promise<Principal> => {
    const { address } = attempt
    const verified = await verifiedToken(tokens, authorization, attempt, () => runtime.now())
    const { claims } = verified
    if (!isFor(claims.aud, address))
      throw refuse('token.audience', `${claims.aud} at ${address.resource}`, {
        ...attempt,
        about: { client: claims.client_id, flow: (await grants.live(claims.gid))?.flow },
      })
    const grant = await grants.live(claims.gid)
    // The same reading of the grant has been judged before.
    if (grant && grant === verified.grant && verified.principal) return verified.principal
    if (!grant || !isTokenOf(grant, claims)) {
      if (verified.personalAt !== undefined) {
        // Read anew, it says what has become of it.
        tokens.forget(authorization[0] as string)
        await verifiedToken(tokens, authorization, attempt, () => runtime.now())
      }
      throw refuse('token.revoked', `grant ${claims.gid}`, {
        ...attempt,
        about: { client: claims.client_id, person: grant && subjectOf(grant) },
      })
    }
    if (grant.token && !personal.isHeld(grant, address.service)) throw unheld(grant, attempt)
    verified.grant = grant
    verified.principal = principalOf(grant, claims, attempt)
    return verified.principal
  }

  return (authorization, address, origin = directory.issuer) => {
    const principal = authorization.length === 1 ? remembered(authorization[0], address) : undefined
    return principal ?? judge(authorization, { address, origin })
  }
}
