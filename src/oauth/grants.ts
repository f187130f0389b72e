// Grants: one person's permission for one client at one resource. One sealed record each, and every change of
// state is one compare-and-set of it.
import type { Config } from '../config/schema.ts'
import { networkOf } from '../kit/addresses.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import { type Records, createRecords, noteAccountUse, personKey, serviceAccounts } from '../kit/records.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { FlowGrant } from '../ports/flow-record.ts'
import type { Audit, MayStillSignIn, ProvisionPerson } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { FindAddress, Service } from '../ports/services.ts'
import { type GrantsEnd, createGrantsEnd } from './grant-end.ts'
import { type Grant, type NewGrant, type ReadGrant, expiringEvent, noticeOf } from './grant.ts'

export interface Grants extends GrantsEnd {
  /** Keeps a new grant in state `code` and returns it with the code's secret. */
  create(grant: NewGrant): Promise<{ readonly grant: Grant; readonly secret: string }>
  read(id: string): Promise<ReadGrant | undefined>
  /** The grant if it is live; the result may be 500 ms old, and callers that ask at once share one read. */
  live(id: string): Promise<Grant | undefined>
  /** The same from the cache alone, `whenever` however old; undefined when it is not there. */
  lately(id: string, whenever?: boolean): Grant | undefined
  /**
   * The code was exchanged, by `ip`: state `live`. `jkt`: what its refresh tokens are bound to. False when the record
   * changed since it was read.
   */
  redeem(read: ReadGrant, ip: string, jkt?: string): Promise<boolean>
  /**
   * A grant without a code, live from now on; `ip`: its token is handed out to there, to be used at once. `only`: as in
   * the Store; false when that was not met.
   */
  keep(grant: Grant, only: string, ip?: string): Promise<boolean>
  /**
   * A refresh token was presented, by `ip`: the grant with what is remembered of its refresh tokens now. False
   * when the record changed since it was read.
   */
  rotate(read: ReadGrant, rotated: Grant, ip: string): Promise<boolean>
  /** Whatever is remembered of grants is asked for again. */
  forgetAll(): void
  /** Removes a grant whose code was never sent. */
  discard(id: string): Promise<void>
  /**
   * What a person has allowed and nobody has ended, newest first, as kept. A grant of a version that kept no
   * such list is on it once it is used.
   */
  ofPerson(key: string): Promise<readonly Grant[]>
  /** Whether `ofPerson` has read all of them. */
  hasRoom(key: string): Promise<boolean>
  /**
   * Writes over the version read, without making the grant live longer. False when the record changed since it was
   * read.
   */
  amend(read: ReadGrant, changed: Pick<Grant, 'person'> | Pick<Grant, 'lastUse' | 'token'>): Promise<boolean>
  /** Those of them that came of no other grant, or of one that is live. */
  withLiveParent(grants: readonly Grant[]): Promise<readonly Grant[]>
}

/** How long an expired code is remembered: a late request is refused as expired, not as unknown. */
const knownAfterMs = 600_000

export interface GrantsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'defer' | 'digest'>
  readonly config: Pick<Config, 'code_lifetime' | 'access_token_lifetime' | 'refresh_token_lifetime'>
  readonly record: Audit
  readonly mayStillSignIn: MayStillSignIn
  /** Absent where no provider pushes groups. */
  readonly provision?: ProvisionPerson | undefined
  readonly find: FindAddress
  /** A live grant of this person is in use. */
  readonly inUse?: (person: Person) => void
  /** Told of a live grant that this process has not met lately. */
  readonly met?: ((grant: FlowGrant) => void) | undefined
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
    codeExpiresAt: grant.codeExpiresAt ?? now + config.code_lifetime * 1000,
    salt: encodeBase64url(runtime.random(16)),
    generation: 0,
    usedAt: {},
    keyIds: { 0: runtime.keys.current },
    createdAt: now,
  }
  return { grant: made, secret }
}

/** How long after its end whoever presents a personal access token is told that it has ended. */
const tokenKnownAfterMs = 7 * 86_400_000

/** How long the record is kept after a change, ms. */
const ttlOf = (
  { state, refreshable, token, createdAt, codeExpiresAt = createdAt }: Grant,
  config: GrantsDeps['config'],
): number => {
  const accessMs = config.access_token_lifetime * 1000
  if (token) return tokenKnownAfterMs + (state === 'revoked' ? 0 : token.expiresAt - createdAt)
  if (state === 'code') return codeExpiresAt - createdAt + knownAfterMs
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

/** Whether its personal access token has expired. */
export const isOver = ({ token }: Grant, now: number): boolean =>
  token !== undefined && token.expiresAt <= now

/**
 * The grant with its person and its service as the configuration has them now. When it no longer admits that
 * person, or names another service, the grant counts as revoked. Nothing is written, so the grant works again
 * when the person or the service comes back.
 */
const asOfNow = async (
  grant: Grant,
  { mayStillSignIn, provision, find, runtime }: GrantsDeps,
): Promise<Grant> => {
  if (grant.state === 'live' && isOver(grant, runtime.now()))
    return { ...grant, state: 'revoked', revokedReason: 'expired' }
  const service = (await find(grant.resource))?.service
  if (service && isReplaced(grant, service))
    return { ...grant, state: 'revoked', revokedReason: 'service_replaced' }
  const known = provision ? await provision(grant.person) : grant.person
  const person = mayStillSignIn(known, grant.resource)
  return person ? { ...grant, person } : { ...grant, state: 'revoked', revokedReason: 'person_not_admitted' }
}

/** A grant as it is kept, and as it counts now. */
const createReads = (
  records: Records<Grant>,
  deps: GrantsDeps,
): { readonly readKept: Grants['read'] } & Pick<Grants, 'read' | 'withLiveParent'> => {
  const openDecoy = createDecoy(deps.runtime)
  const readKept: Grants['read'] = async (id) => {
    const kept = await records.get(id)
    if (!kept) await openDecoy()
    return kept && { grant: kept.value, mark: kept.mark }
  }
  /** Whether the grant that it came of has ended, and with it this one. */
  const isOrphaned = async ({ parent }: Grant): Promise<boolean> => {
    if (!parent) return false
    const grant = (await read(parent.id))?.grant
    return grant?.state !== 'live' || grant.instance !== parent.instance
  }
  const read: Grants['read'] = async (id) => {
    const kept = await readKept(id)
    if (!kept) return undefined
    const grant = await asOfNow(kept.grant, deps)
    const isOver = grant.state === 'live' && (await isOrphaned(grant))
    return {
      grant: isOver ? { ...grant, state: 'revoked', revokedReason: 'parent_ended' } : grant,
      mark: kept.mark,
    }
  }
  return {
    readKept,
    read,
    async withLiveParent(grants) {
      const orphaned = await Promise.all(grants.map(isOrphaned))
      return grants.filter((_, i) => !orphaned[i])
    },
  }
}

// Whether a grant is live, from a cache of half a second, with one read of the store for all callers that ask
// at once.

const liveForMs = 500
const maxLive = 10_000

type GrantStatus = Pick<Grants, 'live' | 'lately' | 'forgetAll'> & { readonly forget: (id: string) => void }

const createGrantStatus = (
  runtime: Pick<Runtime, 'now' | 'defer'>,
  read: Grants['read'],
  noteUse: (grant: Grant, isNew: boolean) => void,
): GrantStatus => {
  const { now } = runtime
  const singleFlight = createSingleFlight(runtime)
  /** `asked`: in which round it was asked for; another one begins when all is forgotten. */
  interface Seen {
    readonly grant: Grant | undefined
    readonly at: number
    readonly asked: number
  }
  const seen = new Map<string, Seen>()
  let round = 0
  const recent = (id: string): { readonly grant: Grant | undefined } | undefined => {
    const known = seen.get(id)
    const age = known ? now() - known.at : -1
    // Below 0 after the clock was set back.
    return age >= 0 && age < liveForMs && known?.asked === round ? known : undefined
  }
  const ask = async (id: string): Promise<Grant | undefined> => {
    const [at, asked] = [now(), round]
    const found = await read(id)
    const grant = found?.grant.state === 'live' ? found.grant : undefined
    if (grant) noteUse(grant, !seen.has(id))
    seen.delete(id)
    if (seen.size >= maxLive) seen.delete(seen.keys().next().value as string)
    seen.set(id, { grant, at, asked })
    return grant
  }
  return {
    async live(id) {
      const known = recent(id)
      return known ? known.grant : singleFlight(`${round} ${id}`, () => ask(id))
    },
    lately: (id, whenever) => (whenever ? seen.get(id) : recent(id))?.grant,
    forget: (id) => void seen.delete(id),
    forgetAll: () => void round++,
  }
}

// The list of each person: an empty record for each grant, beside it. It may name what is gone; what is there
// is read from the grants.

const listPrefix = (digest: Runtime['digest'], key: string): string => `person-grant:${digest(key)}:`
const listKey = (digest: Runtime['digest'], { person, id }: Grant): string =>
  listPrefix(digest, personKey(person)) + id

/** The most recent use is written down once an hour, and the entry on the list is renewed with it. */
const useEveryMs = 3_600_000
/** Of a personal access token, whose holder looks whether somebody else uses it. */
const tokenUseEveryMs = 60_000

const isNoted = ({ lastUse, token }: Grant, now: number): boolean =>
  lastUse !== undefined && now - lastUse.at < (token ? tokenUseEveryMs : useEveryMs)

/** The use of a service account outlives its grants, which end with their tokens. */
const noteAccount = async ({ store, now }: Pick<Runtime, 'store' | 'now'>, grant: Grant): Promise<void> => {
  const { provider, subject } = grant.person
  if (provider === serviceAccounts && !isNoted(grant, now())) await noteAccountUse(store, subject, now())
}

/** When the tokens in use were asked for. */
const tokensSince = ({ createdAt, redeemedAt = 0, handed, usedAt }: Grant): number =>
  Math.max(createdAt, redeemedAt, handed?.at ?? 0, ...Object.values(usedAt))

interface GrantList extends Pick<Grants, 'ofPerson' | 'hasRoom' | 'amend'> {
  add(grant: Grant): Promise<unknown>
  /** The same, if that is due. */
  renew(grant: Grant): Promise<unknown>
  /** A live grant is used: written down after the call, if that is due. */
  readonly noteUse: (grant: Grant) => void
}

const createGrantList = (
  { runtime, config, record }: GrantsDeps,
  records: Records<Grant>,
  { readKept, withLiveParent }: ReturnType<typeof createReads>,
): GrantList => {
  const { store, digest, now } = runtime
  // As long as its tokens may live, though the code may never be exchanged: the exchange writes nothing here.
  const add: GrantList['add'] = (grant) =>
    store.put(listKey(digest, grant), '', {
      ttlMs: ttlOf({ ...grant, state: 'live' }, config) + 2 * useEveryMs,
    })
  const amend: Grants['amend'] = async ({ grant, mark }, changed) => {
    const since = grant.state === 'code' ? grant.createdAt : tokensSince(grant)
    const ttlMs = since + ttlOf(grant, config) - now()
    return (
      ttlMs <= 0 ||
      (await records.put(grant.id, { ...grant, ...changed }, { ttlMs, only: mark })) !== undefined
    )
  }
  const write = async (id: string): Promise<void> => {
    const found = await readKept(id)
    const at = now()
    if (found?.grant.state !== 'live' || isNoted(found.grant, at)) return
    const { grant } = found
    const days = noticeOf(grant, at)
    const token = grant.token && days !== undefined ? { token: { ...grant.token, noticed: days } } : {}
    if ((await amend(found, { lastUse: { ...grant.lastUse, at }, ...token })) && days !== undefined)
      record(expiringEvent(grant, days))
    await add(grant)
    await noteAccount(runtime, grant)
  }
  return {
    add,
    renew: async (grant) => !isNoted(grant, now()) && add(grant),
    noteUse(grant) {
      if (!isNoted(grant, now())) runtime.defer(write(grant.id))
    },
    amend,
    hasRoom: async (key) =>
      (await store.list(listPrefix(digest, key), { limit: mostListed })).length < mostListed,
    async ofPerson(key) {
      const prefix = listPrefix(digest, key)
      const listed = await store.list(prefix, { limit: mostListed })
      const read = await Promise.all(listed.map((entry) => readKept(entry.key.slice(prefix.length))))
      const own = read
        .flatMap((found) => (found && found.grant.state !== 'revoked' ? [found.grant] : []))
        .filter((grant) => personKey(grant.person) === key && !isOver(grant, now()))
        .sort((a, b) => b.createdAt - a.createdAt)
      return withLiveParent(own)
    },
  }
}

/** Grants of one person that are read at once. */
const mostListed = 500

const endOf = ({ runtime, config }: GrantsDeps) => ({
  tagOf: (clientId: string) => tagOf(runtime, clientId),
  listKey: (grant: Grant) => listKey(runtime.digest, grant),
  ttlOf: (grant: Grant) => ttlOf(grant, config),
})

export const createGrants = (deps: GrantsDeps): Grants => {
  const { runtime, config } = deps
  const records = createRecords<Grant>(runtime, 'grant:')
  const reads = createReads(records, deps)
  const { read, readKept, withLiveParent } = reads
  const list = createGrantList(deps, records, reads)
  const { live, lately, forget, forgetAll } = createGrantStatus(runtime, read, (grant, isNew) => {
    list.noteUse(grant)
    deps.inUse?.(grant.person)
    if (isNew) deps.met?.(grant)
  })
  /** Its tokens were asked for; without `ip`, made before anybody used them. */
  const used = async (grant: Grant, mark: string, ip: string | undefined): Promise<boolean> => {
    const next = ip === undefined ? grant : { ...grant, lastUse: { at: runtime.now(), from: networkOf(ip) } }
    return (await records.put(grant.id, next, { ttlMs: ttlOf(next, config), only: mark })) !== undefined
  }

  return {
    read,
    withLiveParent,
    live,
    lately,
    forgetAll,
    async create(wanted) {
      const { grant, secret } = newGrant(wanted, deps)
      await Promise.all([
        records.put(grant.id, grant, { ttlMs: ttlOf(grant, config), only: 'absent' }),
        list.add(grant),
      ])
      return { grant, secret }
    },
    async redeem(found, ip, jkt) {
      const redeemed = ({ grant: { jkt: _, ...grant }, mark }: ReadGrant): Promise<boolean> =>
        used(
          { ...grant, state: 'live', redeemedAt: runtime.now(), ...(jkt !== undefined && { jkt }) },
          mark,
          ip,
        )
      if (await redeemed(found)) return true
      // Only what is said of the person may have changed; whoever redeems changes the state.
      const again = await readKept(found.grant.id)
      return again?.grant.state === 'code' && redeemed(again)
    },
    async keep(grant, only, ip) {
      const [written] = await Promise.all([
        used(grant, only, ip),
        list.add(grant),
        noteAccount(runtime, grant),
      ])
      forget(grant.id)
      return written
    },
    async rotate({ mark }, rotated, ip) {
      const [written] = await Promise.all([used(rotated, mark, ip), list.renew(rotated)])
      return written
    },
    discard: async (id) => void (await records.take(id)),
    ofPerson: list.ofPerson,
    hasRoom: list.hasRoom,
    amend: list.amend,
    ...createGrantsEnd({ ...deps, ...endOf(deps), records, readKept, forget }),
  }
}
