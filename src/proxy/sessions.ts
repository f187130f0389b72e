// Whose session is it: `Mcp-Session-Id` of an upstream, bound to the person and client it was first told to (security best practices, session hijacking).
import { encodeBase64url, sha256 } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { personKey } from '../kit/person-key.ts'
import type { Principal } from '../ports/people.ts'
import type { Audit } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'

/** A session unused for this long is unknown. */
const lifetimeMs = 24 * 3_600_000
/** How often using a session writes its new expiry down. */
const slideMs = 3_600_000
const remembered = 10_000

/** A session id is visible ASCII (2025-03-26 transports, session management). */
const legal = /^[\x21-\x7e]{1,1024}$/

export interface McpSessions {
  /** Passes when the session is this caller's at this service; throws `session.unknown` for every other, touching nothing. */
  check(id: string, service: Service, principal: Principal): Promise<void>
  /** Binds an id that the upstream has just given out. Throws `upstream.session` when it is somebody else's already. */
  learn(id: string, service: Service, principal: Principal): Promise<void>
  /** The session is over. */
  forget(id: string, service: Service): Promise<void>
}

interface Bound {
  readonly owner: string
  readonly writtenAt: number
}

export const createMcpSessions = ({ runtime, record }: { readonly runtime: Pick<Runtime, 'now' | 'store'>; readonly record: Audit }): McpSessions => {
  const { store, now } = runtime
  const memory = new Map<string, Bound>()
  const remember = (key: string, bound: Bound): void => {
    memory.delete(key)
    if (memory.size >= remembered) memory.delete(memory.keys().next().value as string)
    memory.set(key, bound)
  }
  const keyOf = async (id: string, service: Service): Promise<string> => `mcp-session:${service.id}:${encodeBase64url(await sha256(id))}`
  // A digest, so that the record tells nobody who it was.
  const ownerOf = async (principal: Principal): Promise<string> => encodeBase64url(await sha256(JSON.stringify([personKey(principal.person), principal.clientId])))

  const write = async (key: string, owner: string): Promise<boolean> => {
    const mark = await store.put(key, owner, { ttlMs: lifetimeMs, only: 'absent' })
    if (mark === undefined) return (await store.get(key))?.value === owner
    remember(key, { owner, writtenAt: now() })
    return true
  }

  /** Moves the expiry, unless the session was ended meanwhile. */
  const slide = async (key: string, bound: Bound): Promise<void> => {
    const entry = await store.get(key)
    if (entry?.value !== bound.owner) {
      memory.delete(key)
      throw new Refusal('session.unknown', 'ended elsewhere')
    }
    await store.put(key, bound.owner, { ttlMs: lifetimeMs, only: entry.mark })
    remember(key, { owner: bound.owner, writtenAt: now() })
  }

  return {
    async check(id, service, principal) {
      if (!legal.test(id)) throw new Refusal('session.unknown', 'malformed')
      const key = await keyOf(id, service)
      const entry = memory.has(key) ? undefined : await store.get(key)
      const bound = memory.get(key) ?? (entry && { owner: entry.value, writtenAt: 0 })
      if (!bound) throw new Refusal('session.unknown', 'never given out here, or ended')
      if (bound.owner !== (await ownerOf(principal))) {
        record({ event: 'session.foreign', service: service.id, person: personKey(principal.person), client: principal.clientId, session: key.slice(-43) })
        throw new Refusal('session.unknown', 'bound to somebody else')
      }
      if (now() - bound.writtenAt > slideMs) await slide(key, bound)
    },
    async learn(id, service, principal) {
      if (!legal.test(id)) throw new Refusal('upstream.session', 'session id is not visible ASCII')
      const key = await keyOf(id, service)
      const owner = await ownerOf(principal)
      if (memory.get(key)?.owner === owner) return
      if (!(await write(key, owner))) throw new Refusal('upstream.session', 'gave the same session id to two callers')
    },
    async forget(id, service) {
      const key = await keyOf(id, service)
      memory.delete(key)
      await store.take(key)
    },
  }
}
