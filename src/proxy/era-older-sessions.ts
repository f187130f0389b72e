// Sessions of clients of 2025 and before whose server has none: what the client said of itself, kept sealed for its person and client alone.
import { digest, encodeBase64url } from '../kit/bytes.ts'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Rpc } from '../mcp/rpc.ts'
import type { Runtime } from '../ports/runtime.ts'

export interface OlderSession {
  readonly owner: string
  /** The revision that was settled on. */
  readonly version: string
  readonly client: Rpc
  /** What the client can be asked. */
  readonly capabilities: Rpc
  /** What of the server's can change, as `subscriptions/listen` names it. */
  readonly notices: Rpc
  /** Single resources can be watched. */
  readonly watchable: boolean
  /** The level of the log that the client asked for. */
  readonly level?: string | undefined
  /** Resources it subscribed to. */
  readonly watched: readonly string[]
  /** Epoch ms of the last time this was written. */
  readonly writtenAt: number
}

export interface OlderSessions {
  /** Keeps it; its id. */
  begin(session: Omit<OlderSession, 'writtenAt'>): Promise<string>
  /** Throws `session.unknown` for what is not this owner's. */
  find(id: string, owner: string): Promise<OlderSession>
  /** Writes a change down. */
  change(id: string, change: (session: OlderSession) => Partial<OlderSession>): Promise<OlderSession>
  end(id: string): Promise<void>
}

const prefix = 'postern-era-'
/** A session unused for this long is unknown. */
const lifetimeMs = 24 * 3_600_000
const slideMs = 3_600_000

export const isOlderSession = (id: string | undefined): id is string => id?.startsWith(prefix) === true

export const createOlderSessions = (runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log'>): OlderSessions => {
  const records = createRecords<OlderSession>(runtime, 'era-client:')
  const unknown = (why: string): Refusal => new Refusal('session.unknown', why)
  const change: OlderSessions['change'] = async (id, make) => {
    const key = await digest(id)
    for (let tries = 0; tries < 8; tries++) {
      const kept = await records.get(key)
      if (!kept) throw unknown('ended meanwhile')
      const next = { ...kept.value, ...make(kept.value), writtenAt: runtime.now() }
      if ((await records.put(key, next, { ttlMs: lifetimeMs, only: kept.mark })) !== undefined) return next
    }
    throw new Refusal('storage.unavailable', 'a session changed eight times while it was written')
  }
  return {
    change,
    async begin(session) {
      const id = prefix + encodeBase64url(runtime.random(32))
      await records.put(await digest(id), { ...session, writtenAt: runtime.now() }, { ttlMs: lifetimeMs })
      return id
    },
    async find(id, owner) {
      const kept = await records.get(await digest(id))
      if (!kept) throw unknown('never begun here, or ended')
      if (kept.value.owner !== owner) throw unknown('bound to somebody else')
      return runtime.now() - kept.value.writtenAt > slideMs ? change(id, () => ({})) : kept.value
    },
    end: async (id) => void (await records.take(await digest(id))),
  }
}
