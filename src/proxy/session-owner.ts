// Whose session is it: `Mcp-Session-Id` of an upstream, bound to the person and client it was first told to
// (security best practices, session hijacking).
import { Refusal } from '../kit/refusal.ts'
import type { Audit } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'

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

export interface McpSessionsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'digest'>
  readonly record: Audit
}

const keyOf = (id: string, service: Service, digest: Runtime['digest']): string =>
  `mcp-session:${service.id}:${digest(id)}`
// A digest, so that the record tells nobody who it was.
const ownerDigest = (principal: Principal, digest: Runtime['digest']): string =>
  digest(JSON.stringify([principal.personKey, principal.clientId]))

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
    if (stored.owner !== ownerDigest(principal, digest)) {
      record({
        event: 'session.foreign',
        service: service.id,
        person: principal.personKey,
        client: principal.clientId,
        session: key.slice(-43),
      })
      throw new Refusal('session.unknown', 'session belongs to another user')
    }
    if (now() - stored.writtenAt > slideMs) await slide(id, service, stored, principal)
  }
}

export const createMcpSessions = (deps: McpSessionsDeps): McpSessions => {
  const { store, now, digest } = deps.runtime
  const memory = createMemory()
  const checkStored = createCheckStored(deps, memory)
  return {
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
      if (mark !== undefined) memory.keep(id, service, { key, owner, writtenAt: now() }, principal)
      else if ((await store.get(key))?.value !== owner)
        throw new Refusal('upstream.session', 'gave the same session id to two callers')
    },
    async forget(id, service) {
      memory.delete(id, service)
      await store.take(keyOf(id, service, digest))
    },
  }
}
