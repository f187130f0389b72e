// grant_type=refresh_token (RFC 6749 §6): rotation that survives a lost response or parallel processes, and
// that detects a stolen token (RFC 9700 §4.14.2).
//
// A lost answer, two processes of one client that share a stored token, and a thief who keeps step with the
// client look alike: each presents a token that was presented before. Until the successor is used nobody can
// tell, so a late repeat from another network is given a new successor in place of the unused one. A lost
// answer costs nothing then, because nobody holds the replaced one; a client or a thief who does shows itself
// by presenting it.
import { networkOf } from '../kit/addresses.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import type { KeyRing } from '../kit/keyring.ts'
import { levelScopes } from '../kit/levels.ts'
import { Refusal } from '../kit/refusal.ts'
import type { FindAddress } from '../ports/services.ts'
import type { Client } from './client.ts'
import type { Grant, ReadGrant, Rotation } from './grant.ts'
import {
  type GrantDeps,
  type GrantHandler,
  type TokenRequest,
  checkKey,
  confirmPerson,
  factsOf,
  one,
  refreshKeyOf,
  sameResource,
  tokenResponse,
} from './parameters.ts'
import type { RefreshClaim } from './tokens.ts'

// Which generation answers the one that was presented, and what is remembered of each.

/** What a repeat means that comes after the grace, while the successor is unused. */
export type LateRepeat = 'by-network' | 'allow' | 'refuse'

export interface Presented {
  readonly generation: number
  readonly now: number
  readonly graceMs: number
  readonly lateRepeat: LateRepeat
  /** Whether a digest is that of the network the request came from; one that 0.1.0 did not keep may be. */
  readonly isHere: (network: string | undefined) => boolean
}

/** `late`: it came after the grace, while the successor was unused. */
export type RefreshVerdict =
  | { readonly kind: 'advance' }
  | { readonly kind: 'repeat'; readonly successor: number; readonly late: boolean }
  | { readonly kind: 'replace'; readonly parent: number }
  | { readonly kind: 'reuse' }

/** Generations remembered within the grace; beyond it a client loops. */
const maxRemembered = 200

const reuse = { kind: 'reuse' } as const

/**
 * The generation for which the presented one stands: itself, or its replacement, for who comes from where
 * that was asked for. Undefined for everybody else.
 */
const heirOf = (
  { replaced = {} }: Rotation,
  { generation, lateRepeat, isHere }: Presented,
): number | undefined => {
  let heir = generation
  for (let by = replaced[heir]; by; by = replaced[heir]) {
    if (lateRepeat === 'refuse' || (lateRepeat === 'by-network' && !isHere(by.by))) return undefined
    heir = by.to
  }
  return heir
}

/** A repeat while the successor is unused. */
const judgeRepeat = (
  { generation, usedAt, usedBy = {}, handed }: Rotation,
  parent: number,
  { now, graceMs, lateRepeat, isHere }: Presented,
): RefreshVerdict => {
  const since = Math.max(usedAt[parent] ?? -Infinity, handed?.at ?? -Infinity)
  if (now - since < graceMs) return { kind: 'repeat', successor: generation, late: false }
  if (lateRepeat === 'refuse') return reuse
  const known =
    lateRepeat === 'allow' || isHere(usedBy[parent]) || (handed !== undefined && isHere(handed.by))
  return known ? { kind: 'repeat', successor: generation, late: true } : { kind: 'replace', parent }
}

/** What presenting a refresh token of a live grant means now. */
export const judgeRefresh = (rotation: Rotation, presented: Presented): RefreshVerdict => {
  const heir = heirOf(rotation, presented)
  if (heir === undefined) return reuse
  if (heir === rotation.generation) return { kind: 'advance' }
  const successor = rotation.next?.[heir] ?? heir + 1
  if (successor === rotation.generation) return judgeRepeat(rotation, heir, presented)
  const used = rotation.usedAt[successor]
  return used !== undefined && presented.now - used < presented.graceMs
    ? { kind: 'repeat', successor, late: false }
    : reuse
}

/** A presentation that changes the grant. */
export interface RotationStep {
  readonly now: number
  readonly graceMs: number
  /** Of the root key that makes the new generation. */
  readonly keyId: string
  /** Digest of the network it came from. */
  readonly by: string
}

const kept = <T>(
  entries: Readonly<Record<number, T>>,
  keep: (generation: number, value: T) => boolean,
): Record<number, T> =>
  Object.fromEntries(
    Object.entries(entries)
      .filter(([generation, value]) => keep(Number(generation), value))
      .slice(-maxRemembered),
  )

/** After the newest refresh token was presented; what lies beyond the grace is forgotten. */
export const movedOn = <R extends Rotation>(rotation: R, { now, graceMs, keyId, by }: RotationStep): R => {
  const { generation, usedBy = {}, next = {}, replaced = {} } = rotation
  const made = generation + 1
  const usedAt = kept({ ...rotation.usedAt, [generation]: now }, (_, at) => at === now || now - at < graceMs)
  // It, or its replacement, would still be answered: it was used a moment ago, or its successor was.
  const answered = (of: number): boolean =>
    replaced[of] ? answered(replaced[of].to) : of in usedAt || (next[of] ?? of + 1) in usedAt
  return {
    ...rotation,
    generation: made,
    usedAt,
    usedBy: kept({ ...usedBy, [generation]: by }, (of) => of in usedAt),
    next: kept(next, (_, successor) => successor in usedAt),
    replaced: kept(replaced, (_, { to }) => answered(to)),
    handed: { at: now, by },
    keyIds: kept({ ...rotation.keyIds, [made]: keyId }, (of) => of in usedAt || of >= generation),
  }
}

/** After a late repeat of `parent` from elsewhere: another successor in place of the unused one. */
export const replacedNewest = <R extends Rotation>(
  rotation: R,
  parent: number,
  { now, keyId, by }: RotationStep,
): R => {
  const { generation, next = {}, replaced = {} } = rotation
  const made = generation + 1
  return {
    ...rotation,
    generation: made,
    next: { ...next, [parent]: made },
    replaced: kept({ ...replaced, [generation]: { to: made, by } }, () => true),
    handed: { at: now, by },
    keyIds: kept({ ...rotation.keyIds, [made]: keyId }, (of) => of in rotation.usedAt || of >= generation),
  }
}

// From which network a refresh token is presented, in a form that can be compared and not be read: a keyed
// digest, of one grant alone.

/** The network of one request, as seen by one grant. */
interface Network {
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

const networkFor = async (
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

// The grant.

/** A grant of 0.1.0 is bound to the service of today when it is used. */
const boundToService = async (grant: Grant, find: FindAddress): Promise<Grant> => {
  if (grant.serviceGeneration !== undefined) return grant
  const generation = (await find(grant.resource))?.service.generation
  return generation === undefined ? grant : { ...grant, serviceGeneration: generation }
}

/** Each lost compare-and-set means that another request won, so this many in a row mean a fault. */
const maxAttempts = 100

/** RFC 6749 §6: the same or narrower, for this access token only. */
const narrowed = (form: URLSearchParams, grant: Grant): readonly string[] => {
  const asked = (one(form, 'scope') ?? '').split(' ').filter(Boolean)
  const wider = asked.filter((scope) => !grant.scopes.includes(scope) && scope !== 'offline_access')
  if (wider.length > 0) throw new Refusal('scope.exceeded', wider.join(' ').slice(0, 500))
  // Who names no level means the one there is, as in an authorization request.
  const isKept = (scope: string): boolean =>
    asked.includes(scope) ||
    (levelScopes.includes(scope) && !asked.some((other) => levelScopes.includes(other)))
  const kept = grant.scopes.some((scope) => asked.includes(scope)) ? grant.scopes.filter(isKept) : []
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
  /** What the new access token is bound to. */
  readonly jkt: string | undefined
}

/** The grant and the generation that answer the presented one. */
interface Successor {
  readonly grant: Grant
  readonly generation: number
}

/** From its first proof on the grant of a client that has no other way to say who it is wants that key. */
const boundToKey = ({ read: { grant }, request, jkt }: Reading): Grant => {
  const key = refreshKeyOf(request, jkt)
  return key === undefined || grant.jkt === key ? grant : { ...grant, jkt: key }
}

/**
 * Writes the rotation to the store; undefined when another request changed the grant first. Throws
 * `refresh.reuse`.
 */
const rotate = async (deps: GrantDeps, reading: Reading): Promise<Successor | undefined> => {
  const { runtime, config, find, grants, record } = deps
  const { read, claim, request } = reading
  const grant = boundToKey(reading)
  const network = await networkFor(runtime.keys, grant, request.context.ip)
  const now = runtime.now()
  const graceMs = config.refresh_grace * 1000
  const step = { now, graceMs, keyId: runtime.keys.current, by: network.digest }
  const written = async (rotated: Grant): Promise<Successor | undefined> =>
    (await grants.rotate(read, rotated, request.context.ip))
      ? { grant: rotated, generation: rotated.generation }
      : undefined
  const verdict = judgeRefresh(grant, {
    generation: claim.generation,
    now,
    graceMs,
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
      if (grant !== read.grant && !(await grants.rotate(read, grant, request.context.ip))) return undefined
      if (verdict.late) record({ event: 'refresh.repeated', reason: 'same_successor', ...facts })
      return { grant, generation: verdict.successor }
    case 'advance':
      return written(movedOn(await boundToService(grant, find), step))
    case 'replace': {
      const replaced = await written(replacedNewest(grant, verdict.parent, step))
      if (replaced) record({ event: 'refresh.repeated', reason: 'successor_replaced', ...facts })
      return replaced
    }
  }
}

/** However often it is refreshed: after a year the person is asked again. */
const absoluteMs = 365 * 86_400_000

/** The refusal for a grant that cannot be refreshed any more. */
const endedRefusal = (grant: Grant, now: number): Refusal | undefined => {
  if (grant.state === 'revoked') return new Refusal('refresh.revoked', grant.revokedReason ?? '')
  if (grant.state !== 'live' || !grant.refreshable || now > grant.createdAt + absoluteMs)
    return new Refusal('refresh.unknown', `grant is ${grant.state}`)
  return undefined
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
  // The family lives on: whoever has stolen the token alone gains nothing by it, and costs its client nothing.
  checkKey(grant, request, 'refresh.key')
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
      if (attempt === 0) await confirmPerson(deps, grant)
      if (grant.consented && (await deps.stepUps.isAsking(grant.id)))
        throw new Refusal('refresh.step-up', `grant ${grant.id}`, { headers: { 'retry-after': '30' } })
      const scopes = narrowed(request.form, grant)
      const jkt = request.bind(grant.resource)
      if (attempt === 0) await request.client.spend()
      const successor = await rotate(deps, { read, claim, request, jkt })
      if (!successor) continue
      const refresh = await tokens.refresh(successor.grant, successor.generation)
      if (refresh === undefined)
        throw new Refusal('refresh.unknown', 'root key of the successor token is no longer configured')
      const access = await tokens.access(grant, scopes, jkt)
      record({
        event: 'grant.refreshed',
        generation: successor.generation,
        scopes,
        ...factsOf(grant, request),
      })
      return tokenResponse(tokens, { access, scopes, refresh, jkt })
    }
    throw new Refusal('storage.unavailable', 'grant update conflicts, retries exhausted')
  }
}
