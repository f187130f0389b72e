// Grants: one person's permission for one client at one resource. One sealed record each, and every change of
// state is one compare-and-set of it.
import type { Config } from '../config/schema.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import { type Records, createRecords, personKey } from '../kit/records.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Audit, AuditEvent, MayStillSignIn } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { FindAddress, Service } from '../ports/services.ts'

/** What a grant remembers of its refresh tokens. Members that 0.1.0 did not write may be absent. */
export interface Rotation {
  /** The newest refresh token handed out; nobody has presented it yet. */
  readonly generation: number
  /** When each generation was first presented, epoch ms: the newest of them, and those within the grace. */
  readonly usedAt: Readonly<Record<number, number>>
  /** From which network (a keyed digest). */
  readonly usedBy?: Readonly<Record<number, string>>
  /** The successor of a generation, where that is not the next number. */
  readonly next?: Readonly<Record<number, number>>
  /**
   * Generations that were replaced before anybody used them: by which, and from which network that one was
   * asked for.
   */
  readonly replaced?: Readonly<Record<number, { readonly to: number; readonly by: string }>>
  /** When and to which network the newest was handed out. */
  readonly handed?: { readonly at: number; readonly by: string }
  /**
   * The root key under which each generation was made: the same parent yields the same successor after a
   * rotation of roots too.
   */
  readonly keyIds: Readonly<Record<number, string>>
}

export interface Grant extends Rotation {
  readonly id: string
  /**
   * `code`: allowed, the code not yet exchanged. `live`: tokens are out. `revoked`: nothing of it works any
   * more.
   */
  readonly state: 'code' | 'live' | 'revoked'
  readonly person: Person
  readonly clientId: string
  readonly clientName: string
  /**
   * Where the code was sent, and whether the request said so (the token request must then repeat it, RFC 6749
   * §4.1.3).
   */
  readonly redirectUri: string
  readonly redirectSent: boolean
  readonly resource: string
  /**
   * The generation of the service that was consented to; absent in grants of 0.1.0 that were not used since.
   */
  readonly serviceGeneration?: string
  readonly scopes: readonly string[]
  /** PKCE S256 challenge. */
  readonly challenge: string
  readonly codeDigest: string
  readonly codeExpiresAt: number
  readonly refreshable: boolean
  /** Goes into every refresh token's MAC, so that none can be computed from the grant's id. */
  readonly salt: string
  readonly createdAt: number
  readonly authTime: number
  readonly redeemedAt?: number
  readonly revokedReason?: string
}

/** A grant as it was read, with the version a change must find. */
export interface ReadGrant {
  readonly grant: Grant
  readonly mark: string
}

export type NewGrant = Pick<
  Grant,
  | 'person'
  | 'clientId'
  | 'clientName'
  | 'redirectUri'
  | 'redirectSent'
  | 'resource'
  | 'serviceGeneration'
  | 'scopes'
  | 'challenge'
  | 'refreshable'
  | 'authTime'
>

export interface Grants {
  /** Keeps a new grant in state `code` and returns it with the code's secret. */
  create(grant: NewGrant): Promise<{ readonly grant: Grant; readonly secret: string }>
  read(id: string): Promise<ReadGrant | undefined>
  /** The grant if it is live; the result may be 500 ms old, and callers that ask at once share one read. */
  live(id: string): Promise<Grant | undefined>
  /** The same from the cache alone; undefined when it is not there. */
  lately(id: string): Grant | undefined
  /** The code was exchanged: state `live`. False when the record changed since it was read. */
  redeem(read: ReadGrant): Promise<boolean>
  /**
   * A refresh token was presented: the grant with what is remembered of its refresh tokens now. False when the
   * record changed since it was read.
   */
  rotate(read: ReadGrant, rotated: Grant): Promise<boolean>
  /** Ends the grant, whatever it is at the moment. */
  revoke(id: string, reason: string): Promise<void>
  /** Removes a grant whose code was never sent. */
  discard(id: string): Promise<void>
  /** Ends all grants of a client and returns how many there were. */
  revokeOfClient(clientId: string, reason: string): Promise<number>
}

/** How long an expired code is remembered: a late request is refused as expired, not as unknown. */
const knownAfterMs = 600_000

export interface GrantsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'defer' | 'digest'>
  readonly config: Pick<Config, 'code_lifetime' | 'access_token_lifetime' | 'refresh_token_lifetime'>
  readonly record: Audit
  readonly mayStillSignIn: MayStillSignIn
  readonly find: FindAddress
}

// The client's tag makes all grants of one client neighbours in the store, so that they are found without an
// index that could disagree with them.
const tagOf = ({ digest }: Pick<Runtime, 'digest'>, clientId: string): string =>
  digest(`client ${clientId}`).slice(0, 8)

const newGrant = (
  grant: NewGrant,
  { runtime, config }: GrantsDeps,
): { readonly grant: Grant; readonly secret: string } => {
  const now = runtime.now()
  const secret = encodeBase64url(runtime.random(24))
  const made: Grant = {
    ...grant,
    id: tagOf(runtime, grant.clientId) + encodeBase64url(runtime.random(18)),
    state: 'code',
    codeDigest: runtime.digest(secret),
    codeExpiresAt: now + config.code_lifetime * 1000,
    salt: encodeBase64url(runtime.random(16)),
    generation: 0,
    usedAt: {},
    keyIds: { 0: runtime.keys.current },
    createdAt: now,
  }
  return { grant: made, secret }
}

/** How long the record is kept after a change, ms. */
const ttlOf = ({ state, refreshable }: Grant, config: GrantsDeps['config']): number => {
  const accessMs = config.access_token_lifetime * 1000
  if (state === 'code') return config.code_lifetime * 1000 + knownAfterMs
  // A revoked grant is kept while one of its tokens may still be presented; after that an absent grant means
  // the same.
  if (state === 'revoked' || !refreshable) return accessMs + 60_000
  return Math.max(config.refresh_token_lifetime * 1000, accessMs)
}

/**
 * The time of a look-up must not tell whether a grant exists (hostile case G21): when there is none, a record
 * of the same size is opened all the same.
 */
const createDecoy = ({ keys }: Pick<Runtime, 'keys'>): (() => Promise<void>) => {
  let sealed: string | undefined
  return async () => {
    sealed ??= await keys.seal(JSON.stringify({ grant: 'x'.repeat(900) }), 'decoy')
    JSON.parse((await keys.open(sealed, 'decoy')) ?? '')
  }
}

/** Whether another service has come under the id of the one that was consented to. */
const isReplaced = ({ serviceGeneration, createdAt }: Grant, { generation, addedAt = 0 }: Service): boolean =>
  serviceGeneration === undefined ? addedAt > createdAt : serviceGeneration !== generation

/**
 * The grant with its person and its service as the configuration has them now. When it no longer admits that
 * person, or names another service, the grant counts as revoked. Nothing is written, so the grant works again
 * when the person or the service comes back.
 */
const asOfNow = async (grant: Grant, { mayStillSignIn, find }: GrantsDeps): Promise<Grant> => {
  const service = (await find(grant.resource))?.service
  if (service && isReplaced(grant, service))
    return { ...grant, state: 'revoked', revokedReason: 'service_replaced' }
  const person = mayStillSignIn(grant.person, grant.resource)
  return person ? { ...grant, person } : { ...grant, state: 'revoked', revokedReason: 'person_not_admitted' }
}

/** A grant as it is kept, and as it counts now. */
const createReads = (
  records: Records<Grant>,
  deps: GrantsDeps,
): { readonly readKept: Grants['read']; readonly read: Grants['read'] } => {
  const openDecoy = createDecoy(deps.runtime)
  const readKept: Grants['read'] = async (id) => {
    const kept = await records.get(id)
    if (!kept) await openDecoy()
    return kept && { grant: kept.value, mark: kept.mark }
  }
  return {
    readKept,
    async read(id) {
      const kept = await readKept(id)
      return kept && { grant: await asOfNow(kept.grant, deps), mark: kept.mark }
    },
  }
}

// Whether a grant is live, from a cache of half a second, with one read of the store for all callers that ask
// at once.

const liveForMs = 500
const maxLive = 10_000

type GrantStatus = Pick<Grants, 'live' | 'lately'> & { readonly forget: (id: string) => void }

const createGrantStatus = (runtime: Pick<Runtime, 'now' | 'defer'>, read: Grants['read']): GrantStatus => {
  const { now } = runtime
  const singleFlight = createSingleFlight(runtime)
  const seen = new Map<string, { readonly grant: Grant | undefined; readonly at: number }>()
  const recent = (id: string): { readonly grant: Grant | undefined } | undefined => {
    const known = seen.get(id)
    return known && now() - known.at < liveForMs ? known : undefined
  }
  const ask = async (id: string): Promise<Grant | undefined> => {
    const at = now()
    const found = await read(id)
    const grant = found?.grant.state === 'live' ? found.grant : undefined
    seen.delete(id)
    if (seen.size >= maxLive) seen.delete(seen.keys().next().value as string)
    seen.set(id, { grant, at })
    return grant
  }
  return {
    async live(id) {
      const known = recent(id)
      return known ? known.grant : singleFlight(id, () => ask(id))
    },
    lately: (id) => recent(id)?.grant,
    forget: (id) => void seen.delete(id),
  }
}

// The end of grants.

/**
 * On Workers a page of grants is read with one call to each object and removed with another, and one
 * invocation may make 50 calls.
 */
const grantsAtOnce = 1000

const takeAll = async (store: Runtime['store'], keys: readonly string[]): Promise<void> => {
  if (store.takeMany) await store.takeMany(keys)
  else for (const key of keys) await store.take(key)
}

interface GrantEnding {
  readonly forget: (id: string) => void
  readonly recordRevoked: (grant: Grant, reason: string) => void
}

const createRevokeOfClient =
  (runtime: GrantsDeps['runtime'], { forget, recordRevoked }: GrantEnding): Grants['revokeOfClient'] =>
  async (clientId, reason) => {
    let count = 0
    for await (const found of createRecords<Grant>(runtime, `grant:${tagOf(runtime, clientId)}`).pages(
      grantsAtOnce,
    )) {
      const own = found.flatMap(({ value }) => (value.clientId === clientId ? [value] : []))
      // An absent grant means the same as a revoked one, and is one step instead of two.
      await takeAll(
        runtime.store,
        own.map(({ id }) => `grant:${id}`),
      )
      for (const grant of own) {
        forget(grant.id)
        if (grant.state !== 'revoked') recordRevoked(grant, reason)
      }
      count += own.length
    }
    return count
  }

const revokedEvent = (grant: Grant, reason: string): AuditEvent => ({
  event: 'grant.revoked',
  grant: grant.id,
  client: grant.clientId,
  person: personKey(grant.person),
  resource: grant.resource,
  reason,
})

export const createGrants = (deps: GrantsDeps): Grants => {
  const { runtime, config } = deps
  const records = createRecords<Grant>(runtime, 'grant:')
  const { read, readKept } = createReads(records, deps)
  const { live, lately, forget } = createGrantStatus(runtime, read)
  const swap = async (grant: Grant, mark: string): Promise<boolean> =>
    (await records.put(grant.id, grant, { ttlMs: ttlOf(grant, config), only: mark })) !== undefined
  const recordRevoked = (grant: Grant, reason: string): void => deps.record(revokedEvent(grant, reason))

  return {
    read,
    live,
    lately,
    async revoke(id, reason) {
      for (;;) {
        const found = await readKept(id)
        if (!found || found.grant.state === 'revoked') return
        const { grant, mark } = found
        if (!(await swap({ ...grant, state: 'revoked', revokedReason: reason }, mark))) continue
        forget(id)
        recordRevoked(grant, reason)
        return
      }
    },
    async create(wanted) {
      const made = newGrant(wanted, deps)
      await records.put(made.grant.id, made.grant, { ttlMs: ttlOf(made.grant, config), only: 'absent' })
      return made
    },
    redeem: ({ grant, mark }) => swap({ ...grant, state: 'live', redeemedAt: runtime.now() }, mark),
    rotate: ({ mark }, rotated) => swap(rotated, mark),
    async discard(id) {
      await records.take(id)
    },
    revokeOfClient: createRevokeOfClient(runtime, { forget, recordRevoked }),
  }
}
