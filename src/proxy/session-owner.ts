// Whose session is it: `Mcp-Session-Id` of an upstream, bound to the person and client it was first told to (security best practices, session hijacking).
import { Refusal } from '../kit/refusal.ts'
import type { Audit } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'

/** A session unused for this long is unknown. */
const lifetimeMs = 24 * 3_600_000
/** How often using a session writes its new expiry down. */
const slideMs = 3_600_000
const remembered = 10_000

/** A session id is visible ASCII (2025-03-26 transports, session management). */
const legal = /^[\x21-\x7e]{1,1024}$/

/** How the ids begin of sessions that the gateway keeps itself: for a server on a connection, and for a client of another revision than the server's. */
export const gatewaySessions = { connection: 'line-', revision: 'postern-session-' } as const

/** Whether the gateway may keep this session itself; a server may have given out such an id too. */
export const isGatewaySession = (id: string): boolean =>
  id.startsWith(gatewaySessions.connection) || id.startsWith(gatewaySessions.revision)

export interface McpSessions {
  /** Passes, at once where it was used a moment ago, when the session is this caller's at this service; rejects with `session.unknown` for every other, touching nothing. */
  check(id: string, service: Service, principal: Principal): Promise<void> | undefined
  /** Binds an id that the upstream has just given out. Throws `upstream.session` when it is somebody else's already. */
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

export const createMcpSessions = ({
  runtime,
  record,
}: {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'digest'>
  readonly record: Audit
}): McpSessions => {
  const { store, now, digest } = runtime
  const memory = new Map<string, Bound>()
  const placeOf = (id: string, service: Service): string => `${service.id} ${id}`
  const remember = (place: string, stored: Stored, principal: Principal): void => {
    memory.delete(place)
    if (memory.size >= remembered) memory.delete(memory.keys().next().value as string)
    memory.set(place, { ...stored, person: principal.personKey, client: principal.clientId })
  }
  const keyOf = (id: string, service: Service): string => `mcp-session:${service.id}:${digest(id)}`
  // A digest, so that the record tells nobody who it was.
  const ownerOf = (principal: Principal): string =>
    digest(JSON.stringify([principal.personKey, principal.clientId]))

  /** Moves the expiry, unless the session was ended meanwhile. */
  const slide = async (place: string, { key, owner }: Stored, principal: Principal): Promise<void> => {
    const entry = await store.get(key)
    if (entry?.value !== owner) {
      memory.delete(place)
      throw new Refusal('session.unknown', 'session ended in another process')
    }
    await store.put(key, owner, { ttlMs: lifetimeMs, only: entry.mark })
    remember(place, { key, owner, writtenAt: now() }, principal)
  }

  const checkStored = async (id: string, service: Service, principal: Principal): Promise<void> => {
    if (!legal.test(id)) throw new Refusal('session.unknown', 'Mcp-Session-Id malformed')
    const place = placeOf(id, service)
    const known = memory.get(place)
    const key = known?.key ?? keyOf(id, service)
    const stored: Stored | undefined =
      known ?? (await store.get(key).then((entry) => entry && { key, owner: entry.value, writtenAt: 0 }))
    if (!stored) throw new Refusal('session.unknown', 'session unknown or expired')
    if (stored.owner !== ownerOf(principal)) {
      record({
        event: 'session.foreign',
        service: service.id,
        person: principal.personKey,
        client: principal.clientId,
        session: key.slice(-43),
      })
      throw new Refusal('session.unknown', 'session belongs to another user')
    }
    if (now() - stored.writtenAt > slideMs) await slide(place, stored, principal)
  }

  return {
    check(id, service, principal) {
      const known = memory.get(placeOf(id, service))
      // Every call of a session comes by here: whoever it was bound to a moment ago is recognised without a digest.
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
      const [place, key, owner] = [placeOf(id, service), keyOf(id, service), ownerOf(principal)]
      if (memory.get(place)?.owner === owner) return
      const mark = await store.put(key, owner, { ttlMs: lifetimeMs, only: 'absent' })
      if (mark !== undefined) remember(place, { key, owner, writtenAt: now() }, principal)
      else if ((await store.get(key))?.value !== owner)
        throw new Refusal('upstream.session', 'gave the same session id to two callers')
    },
    async forget(id, service) {
      memory.delete(placeOf(id, service))
      await store.take(keyOf(id, service))
    },
  }
}
