// What belongs to one caller: so many calls and streams at once, so much memory, and their own sessions. Nobody's
// thousand calls stand in the way of another's ten.
import { Refusal } from '../kit/refusal.ts'
import type { Audit } from '../ports/modules.ts'
import type { RunningCall, RunningCalls } from '../ports/call.ts'
import type { Principal, Settled } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'

/** Whom calls are counted for: the person, or the address where nobody signs in. */
export const callerKey = (principal: Principal | undefined, ip: string): string =>
  principal ? principal.personKey : `ip:${ip}`

/**
 * Takes a place for a caller; the function it returns gives it back, once. Throws `calls.limited` when all
 * are taken.
 */
export type TakePermit = (caller: string, call: RunningCall) => () => void

/**
 * The calls in progress, in places that are used again. A Set makes a new table every so many calls, and each former one
 * keeps calls, with their bodies, in memory until the next full collection.
 */
export const createRunningCalls = (): RunningCalls => {
  const places: (RunningCall | undefined)[] = []
  const free: number[] = []
  return {
    add(call) {
      const place = free.pop() ?? places.length
      places[place] = call
      return place
    },
    remove(place) {
      places[place] = undefined
      free.push(place)
    },
    all: () => places.filter((call) => call !== undefined),
  }
}

/** `running`: holds the calls in progress. */
export const createConcurrencyLimit = (most: number, running?: RunningCalls): TakePermit => {
  const taken = new Map<string, number>()
  return (caller, call) => {
    const before = taken.get(caller) ?? 0
    if (before >= most)
      throw new Refusal('calls.limited', `${caller} has ${before} calls in progress`, {
        headers: { 'retry-after': '1' },
      })
    taken.set(caller, before + 1)
    const place = running?.add(call) ?? 0
    let given = false
    return () => {
      if (given) return
      given = true
      running?.remove(place)
      const left = (taken.get(caller) ?? 1) - 1
      if (left > 0) taken.set(caller, left)
      else taken.delete(caller)
    }
  }
}

// How much of what callers send is kept in memory while their calls are going: bounded for each caller, and
// for all of them together.

/** What one call, or one message of a WebSocket, keeps in memory. */
export interface HeldBytes {
  /**
   * It keeps this many bytes now. Throws `calls.bytes` when that is more than the caller, or everybody, may
   * keep.
   */
  grow(bytes: number): void
  release(): void
}

export interface BodyBudget {
  open(principal: Principal | undefined, ip: string): HeldBytes
}

/**
 * Bodies up to this size are not counted: their number is bounded by `max_concurrent_calls`, and nobody's
 * large bodies keep them out.
 */
export const uncountedBytes = 16_384

/**
 * A value of JSON costs about this much once it is read, however few characters it was: `[],` is an object of
 * its own.
 */
const bytesOfValue = 40

/** What is kept of a message beside its bytes: its text, and the values that were read from it. */
export const weightOf = (bytes: number, values: number): number => 2 * bytes + bytesOfValue * values

interface Pool {
  held: number
  readonly most: number
}

/** One caller's share of their pool. */
const share = 4

const tooMuch = (why: string): Refusal => new Refusal('calls.bytes', why, { headers: { 'retry-after': '1' } })

/**
 * `bytes`: what all callers together may keep. Half of it is for people who signed in, so that strangers at
 * services without login take nothing from them; one caller may keep a quarter of a half. Whoever keeps
 * nothing else may send one message of any size that `max_body` allows, while their half has room.
 */
export const createBodyBudget = (bytes: number): BodyBudget => {
  const half = (): Pool => ({ held: 0, most: bytes / 2 })
  const [people, strangers] = [half(), half()]
  const callers = new Map<string, number>()

  const grow = (pool: Pool, caller: string, more: number, alone: boolean): void => {
    const own = callers.get(caller) ?? 0
    if (!alone && own + more > pool.most / share)
      throw tooMuch(`${caller} keeps ${own} bytes and sends ${more} more`)
    if (pool.held > own && pool.held + more > pool.most)
      throw tooMuch(`all callers keep ${pool.held} bytes, ${caller} sends ${more} more`)
    pool.held += more
    callers.set(caller, own + more)
  }

  return {
    open(principal, ip) {
      const pool = principal ? people : strangers
      let caller: string | undefined
      let held = 0
      return {
        grow(size) {
          if (size <= uncountedBytes || size <= held) return
          caller ??= callerKey(principal, ip)
          grow(pool, caller, size - held, held === (callers.get(caller) ?? 0))
          held = size
        },
        release() {
          if (caller === undefined || held === 0) return
          pool.held -= held
          const left = (callers.get(caller) ?? 0) - held
          if (left > 0) callers.set(caller, left)
          else callers.delete(caller)
          held = 0
        },
      }
    },
  }
}

// Whose conversations they are: a person by one client, or everybody where a service asks for no login.

export const ownerOf = (principal: Principal | undefined): string =>
  principal ? JSON.stringify([principal.personKey, principal.clientId]) : ''

/** The refusal of a conversation that is somebody else's, which is written down. */
export const foreign = (
  record: Audit,
  service: string,
  principal: Principal | undefined,
  session?: string,
): Refusal => {
  record({
    event: 'session.foreign',
    service,
    person: principal?.personKey,
    client: principal?.clientId,
    session,
  })
  return new Refusal('session.unknown', 'session belongs to another user')
}

// Whose session is it: `Mcp-Session-Id` of an upstream, bound to the person and client it was first told to
// (security best practices, session hijacking).

/** A session unused for this long is unknown. */
const lifetimeMs = 24 * 3_600_000
/** How often using a session writes its new expiry down. */
const slideMs = 3_600_000
const mostRemembered = 10_000

/** A session id is visible ASCII (2025-03-26 transports, session management). */
const legal = /^[\x21-\x7e]{1,1024}$/

/**
 * How the ids begin of sessions that the gateway keeps itself: for a server on a connection, and for a client
 * of another revision than the server's.
 */
export const gatewaySessions = { connection: 'line-', revision: 'postern-session-' } as const

/** Whether the gateway may keep this session itself; a server may have given out such an id too. */
export const isGatewaySession = (id: string): boolean =>
  id.startsWith(gatewaySessions.connection) || id.startsWith(gatewaySessions.revision)

export interface McpSessions {
  /**
   * Passes, at once where it was used a moment ago, when the session is this caller's at this service;
   * rejects with `session.unknown` for every other, touching nothing.
   */
  check(id: string, service: Service, principal: Principal): Promise<void> | undefined
  /**
   * Binds an id that the upstream has just given out. Throws `upstream.session` when it is somebody else's
   * already.
   */
  learn(id: string, service: Service, principal: Principal): Promise<void>
  /** The session is over. */
  forget(id: string, service: Service): Promise<void>
  /**
   * Whom another process let in for one of the sessions here, and whether that still holds. Rejects with `token.*` as
   * the check of a token does.
   */
  settled(settled: Settled, service: Service): Promise<Principal>
}

interface Bound {
  /** In the storage. */
  readonly key: string
  readonly owner: string
  readonly writtenAt: number
  /** Who `owner` is. */
  readonly person: string
  readonly client: string
}

type Stored = Pick<Bound, 'key' | 'owner' | 'writtenAt'>

/** What this process remembers of sessions, by service and id. */
const createMemory = () => {
  const known = new Map<string, Bound>()
  const nameOf = (id: string, service: Service): string => `${service.id} ${id}`
  return {
    get: (id: string, service: Service): Bound | undefined => known.get(nameOf(id, service)),
    delete: (id: string, service: Service): void => void known.delete(nameOf(id, service)),
    keep(id: string, service: Service, stored: Stored, principal: Principal): void {
      const name = nameOf(id, service)
      known.delete(name)
      if (known.size >= mostRemembered) known.delete(known.keys().next().value as string)
      known.set(name, { ...stored, person: principal.personKey, client: principal.clientId })
    },
  }
}

interface McpSessionsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'digest'>
  readonly record: Audit
  /** Whether the grant of this principal lives. */
  readonly alive: (principal: Principal) => Promise<boolean>
}

const keyOf = (id: string, service: Service, digest: Runtime['digest']): string =>
  `mcp-session:${service.id}:${digest(id)}`
// A digest, so that the record tells nobody who it was.
const ownerDigest = (principal: Principal, digest: Runtime['digest']): string => digest(ownerOf(principal))

/** As the storage knows it. */
const createCheckStored = (
  { runtime: { store, now, digest }, record }: McpSessionsDeps,
  memory: ReturnType<typeof createMemory>,
) => {
  /** Moves the expiry, unless the session was ended meanwhile. */
  const slide = async (id: string, service: Service, { key, owner }: Stored, principal: Principal) => {
    const entry = await store.get(key)
    if (entry?.value !== owner) {
      memory.delete(id, service)
      throw new Refusal('session.unknown', 'session ended in another process')
    }
    await store.put(key, owner, { ttlMs: lifetimeMs, only: entry.mark })
    memory.keep(id, service, { key, owner, writtenAt: now() }, principal)
  }

  return async (id: string, service: Service, principal: Principal): Promise<void> => {
    if (!legal.test(id)) throw new Refusal('session.unknown', 'Mcp-Session-Id malformed')
    const known = memory.get(id, service)
    const key = known?.key ?? keyOf(id, service, digest)
    const stored: Stored | undefined =
      known ?? (await store.get(key).then((entry) => entry && { key, owner: entry.value, writtenAt: 0 }))
    if (!stored) throw new Refusal('session.unknown', 'session unknown or expired')
    if (stored.owner !== ownerDigest(principal, digest))
      throw foreign(record, service.id, principal, key.slice(-43))
    if (now() - stored.writtenAt > slideMs) await slide(id, service, stored, principal)
  }
}

export const createMcpSessions = (deps: McpSessionsDeps): McpSessions => {
  const { store, now, digest } = deps.runtime
  const memory = createMemory()
  const checkStored = createCheckStored(deps, memory)
  return {
    async settled({ principal, ...at }, { id, generation }) {
      if (!principal || at.service !== id || at.generation !== generation)
        throw new Refusal('token.audience', `let in by another process at ${at.service}`)
      if (principal.expiresAt <= now()) throw new Refusal('token.expired')
      if (!(await deps.alive(principal))) throw new Refusal('token.revoked')
      return principal
    },
    check(id, service, principal) {
      const known = memory.get(id, service)
      // Every call of a session comes by here: whoever it was bound to a moment ago is recognised without a
      // digest.
      if (
        known &&
        known.client === principal.clientId &&
        known.person === principal.personKey &&
        now() - known.writtenAt <= slideMs
      )
        return undefined
      return checkStored(id, service, principal)
    },
    async learn(id, service, principal) {
      if (!legal.test(id)) throw new Refusal('upstream.session', 'session id is not visible ASCII')
      const [key, owner] = [keyOf(id, service, digest), ownerDigest(principal, digest)]
      if (memory.get(id, service)?.owner === owner) return
      const mark = await store.put(key, owner, { ttlMs: lifetimeMs, only: 'absent' })
      if (mark !== undefined) {
        memory.keep(id, service, { key, owner, writtenAt: now() }, principal)
        const { personKey: person, clientId: client, grantId: grant } = principal
        const facts = { service: service.id, person, client, grant, session: key.slice(-43) }
        deps.record({ event: 'session.opened', ...facts })
      } else if ((await store.get(key))?.value !== owner)
        throw new Refusal('upstream.session', 'gave the same session id to two callers')
    },
    async forget(id, service) {
      const known = memory.get(id, service)
      memory.delete(id, service)
      const key = keyOf(id, service, digest)
      if ((await store.take(key)) === undefined) return
      const { person, client } = known ?? {}
      deps.record({ event: 'session.closed', service: service.id, person, client, session: key.slice(-43) })
    },
  }
}
