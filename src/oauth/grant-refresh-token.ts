// grant_type=refresh_token (RFC 6749 §6): rotation that survives a lost response or parallel processes, and
// that detects a stolen token.
import { networkOf } from '../kit/addresses.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import type { KeyRing } from '../kit/keyring.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Client } from './client.ts'
import { type Grant, type ReadGrant, endedRefusal } from './grants.ts'
import { one } from './parameters.ts'
import { type LateRepeat, judgeRefresh } from './refresh-token-rotation.ts'
import {
  type GrantHandler,
  type GrantDeps,
  type TokenRequest,
  factsOf,
  sameResource,
  tokenResponse,
} from './token-request.ts'
import type { RefreshClaim } from './tokens.ts'

// From which network a refresh token is presented, in a form that can be compared and not be read: a keyed
// digest, of one grant alone.

/** The network of one request, as seen by one grant. */
export interface Network {
  /** `{key id}.{digest}` */
  readonly digest: string
  /**
   * Whether a kept digest is of this network. One that was never kept may be; one whose key is gone is not.
   */
  is(kept: string | undefined): boolean
}

const digestBytes = 16
const keyIdOf = (digest: string): string => digest.slice(0, digest.indexOf('.'))

/** Every digest that a grant keeps. */
const keptBy = ({ usedBy = {}, handed, replaced = {} }: Grant): readonly string[] => [
  ...Object.values(usedBy),
  ...Object.values(replaced).map(({ by }) => by),
  ...(handed ? [handed.by] : []),
]

export const networkFor = async (
  keys: Pick<KeyRing, 'current' | 'mac'>,
  grant: Grant,
  ip: string,
): Promise<Network> => {
  const digestWith = async (keyId: string): Promise<string> => {
    const mac = await keys.mac('network', `${grant.id}.${grant.salt}.${networkOf(ip)}`, keyId)
    return `${keyId}.${mac ? encodeBase64url(mac.subarray(0, digestBytes)) : ''}`
  }
  const digest = await digestWith(keys.current)
  const former = new Set(
    keptBy(grant)
      .map(keyIdOf)
      .filter((keyId) => keyId !== keys.current),
  )
  const all = new Set([digest, ...(await Promise.all([...former].map(digestWith)))])
  return { digest, is: (kept) => kept === undefined || (!kept.endsWith('.') && all.has(kept)) }
}

/** Each lost compare-and-set means that another request won, so this many in a row mean a fault. */
const maxAttempts = 100

/** RFC 6749 §6: the same or narrower, for this access token only. */
const narrowed = (form: URLSearchParams, grant: Grant): readonly string[] => {
  const asked = (one(form, 'scope') ?? '').split(' ').filter(Boolean)
  const wider = asked.filter((scope) => !grant.scopes.includes(scope) && scope !== 'offline_access')
  if (wider.length > 0) throw new Refusal('scope.exceeded', wider.join(' ').slice(0, 500))
  const kept = grant.scopes.filter((scope) => asked.includes(scope))
  return kept.length > 0 ? kept : grant.scopes
}

/** A client that proves who it is at each request is known by that, wherever it is. */
const lateRepeatOf = (client: Client, configured: LateRepeat): LateRepeat =>
  configured === 'by-network' && client.authMethod !== 'none' ? 'allow' : configured

/** A grant as it was read for one request, and the token that was presented for it. */
interface Reading {
  readonly read: ReadGrant
  readonly claim: RefreshClaim
  readonly request: TokenRequest
}

/** The grant and the generation that answer the presented one. */
interface Successor {
  readonly grant: Grant
  readonly generation: number
}

/**
 * Writes the rotation to the store; undefined when another request changed the grant first. Throws
 * `refresh.reuse`.
 */
const rotate = async (deps: GrantDeps, { read, claim, request }: Reading): Promise<Successor | undefined> => {
  const { runtime, config, grants, record } = deps
  const { grant } = read
  const network = await networkFor(runtime.keys, grant, request.context.ip)
  const verdict = judgeRefresh(grant, {
    generation: claim.generation,
    now: runtime.now(),
    graceMs: config.refresh_grace * 1000,
    lateRepeat: lateRepeatOf(request.client, config.refresh_late_repeat),
    isHere: network.is,
  })
  const facts = { generation: claim.generation, latest: grant.generation, ...factsOf(grant, request) }
  switch (verdict.kind) {
    case 'reuse':
      await grants.revoke(grant.id, 'refresh_reuse')
      record({ event: 'refresh.reuse', reason: 'refresh_reuse', ...facts })
      throw new Refusal(
        'refresh.reuse',
        `generation ${claim.generation} reused, current generation ${grant.generation}`,
      )
    case 'repeat':
      if (verdict.late) record({ event: 'refresh.repeated', reason: 'same_successor', ...facts })
      return { grant, generation: verdict.successor }
    case 'advance': {
      const advanced = await grants.advance(read, network.digest)
      return advanced && { grant: advanced, generation: advanced.generation }
    }
    case 'replace': {
      const replaced = await grants.replace(read, verdict.parent, network.digest)
      if (replaced) record({ event: 'refresh.repeated', reason: 'successor_replaced', ...facts })
      return replaced && { grant: replaced, generation: replaced.generation }
    }
  }
}

/** The grant of the presented token, read anew, when it can be refreshed by this client. */
const readFor = async (
  { runtime, find, tokens }: GrantDeps,
  claim: RefreshClaim,
  request: TokenRequest,
  read: ReadGrant | undefined,
): Promise<ReadGrant> => {
  if (!(await tokens.holdsRefresh(read?.grant, claim)) || !read)
    throw new Refusal('refresh.unknown', 'refresh token unknown')
  const { grant } = read
  if (grant.clientId !== request.client.id)
    throw new Refusal('refresh.unknown', `issued to ${grant.clientId}, presented by ${request.client.id}`)
  request.about(grant)
  const ended = endedRefusal(grant, runtime.now())
  if (ended) throw ended
  await sameResource(request.form, grant, find)
  return read
}

export const createRefreshTokenGrant = (deps: GrantDeps): GrantHandler => {
  const { grants, tokens, record } = deps
  return async (request) => {
    const presented = one(request.form, 'refresh_token')
    if (presented === undefined)
      throw new Refusal('request.malformed', 'refresh_token missing', { say: 'refresh_token is required.' })
    const claim = tokens.readRefresh(presented)
    if (!claim) throw new Refusal('refresh.unknown', 'refresh token malformed')
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const read = await readFor(
        deps,
        claim,
        request,
        await (attempt === 0 ? request.first : grants.read)(claim.grantId),
      )
      const { grant } = read
      const scopes = narrowed(request.form, grant)
      const successor = await rotate(deps, { read, claim, request })
      if (!successor) continue
      const refresh = await tokens.refresh(successor.grant, successor.generation)
      if (refresh === undefined)
        throw new Refusal('refresh.unknown', 'root key of the successor token is no longer configured')
      const access = await tokens.access(grant, scopes)
      record({
        event: 'grant.refreshed',
        generation: successor.generation,
        scopes,
        ...factsOf(grant, request),
      })
      return tokenResponse(tokens, access, scopes, refresh)
    }
    throw new Refusal('storage.unavailable', 'grant update conflicts, retries exhausted')
  }
}
