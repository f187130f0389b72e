// Sessions of clients of 2025 and before whose server has none: what the client said of itself, kept sealed for its person and client alone.
import { encodeBase64url } from '../../kit/bytes.ts'
import { createRecords } from '../../kit/records.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Rpc } from '../../mcp/json-rpc.ts'
import type { Runtime } from '../../ports/runtime.ts'

export interface LegacySession {
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

type New = Omit<LegacySession, 'writtenAt'>

export interface LegacySessions {
  /** Keeps it; its id, which may be given. The one that this owner used longest ago ends where there are too many. */
  begin(session: New, id?: string): Promise<string>
  /** Throws `session.unknown` for what is not this owner's. */
  find(id: string, owner: string): Promise<LegacySession>
  /** Writes a change down. */
  change(
    id: string,
    owner: string,
    change: (session: LegacySession) => Partial<LegacySession>,
  ): Promise<LegacySession>
  end(id: string, owner: string): Promise<void>
}

/** `T` by a name that only its owner can have said. */
interface Shelf {
  read(name: string): Promise<{ readonly value: LegacySession; readonly mark?: string } | undefined>
  /** False when it changed meanwhile. */
  write(name: string, value: LegacySession, mark?: string): Promise<boolean>
  remove(name: string): Promise<unknown>
  /** Of an owner, at most this many. */
  list(
    owner: string,
    limit: number,
  ): Promise<readonly { readonly name: string; readonly value: LegacySession }[]>
}

const prefix = 'postern-session-'
/** A session unused for this long is unknown. */
const lifetimeMs = 24 * 3_600_000
const slideMs = 3_600_000
const mostEach = 32
/** People who are not told apart have this many together. */
const mostStrangers = 1000

/** An id that nobody guesses. */
export const newOlderSession = ({ random }: Pick<Runtime, 'random'>): string =>
  prefix + encodeBase64url(random(32))

export const isLegacySession = (id: string | undefined): id is string => id?.startsWith(prefix) === true

const createKept = (runtime: Pick<Runtime, 'store' | 'keys' | 'log'>): Shelf => {
  const records = createRecords<LegacySession>(runtime, 'client-session:')
  return {
    read: records.get,
    write: async (name, value, mark) =>
      (await records.put(name, value, {
        ttlMs: lifetimeMs,
        ...(mark === undefined ? {} : { only: mark }),
      })) !== undefined,
    remove: records.take,
    async list(owner, limit) {
      const found = await records.list({ after: `${owner}:`, limit })
      return found.flatMap(({ id, value }) => (id.startsWith(`${owner}:`) ? [{ name: id, value }] : []))
    },
  }
}

/** Strangers write nothing into the store: theirs are in the memory of this process, and begun again where they are not. */
const createRemembered = (): Shelf => {
  const sessions = new Map<string, LegacySession>()
  return {
    async read(name) {
      const value = sessions.get(name)
      return value && { value }
    },
    async write(name, value) {
      sessions.delete(name)
      if (sessions.size >= mostStrangers) sessions.delete(sessions.keys().next().value as string)
      sessions.set(name, value)
      return true
    },
    remove: async (name) => sessions.delete(name),
    list: async () => [],
  }
}

export const createLegacySessions = (
  runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>,
): LegacySessions => {
  const [kept, remembered] = [createKept(runtime), createRemembered()]
  const shelfOf = (owner: string): Shelf => (owner === '' ? remembered : kept)
  const nameOf = (id: string, owner: string): string => `${runtime.digest(owner)}:${runtime.digest(id)}`
  const unknown = (why: string): Refusal => new Refusal('session.unknown', why)

  const change: LegacySessions['change'] = async (id, owner, make) => {
    const [shelf, name] = [shelfOf(owner), nameOf(id, owner)]
    for (let tries = 0; tries < 8; tries++) {
      const found = await shelf.read(name)
      if (!found) throw unknown('ended meanwhile')
      const next = { ...found.value, ...make(found.value), writtenAt: runtime.now() }
      if (await shelf.write(name, next, found.mark)) return next
    }
    throw new Refusal('storage.unavailable', 'a session changed eight times while it was written')
  }

  return {
    change,
    async begin(session, id = newOlderSession(runtime)) {
      const { owner } = session
      const shelf = shelfOf(owner)
      // Some more than that may be there, where several began at the same moment.
      const own = [...(await shelf.list(runtime.digest(owner), 2 * mostEach))].sort(
        (a, b) => b.value.writtenAt - a.value.writtenAt,
      )
      for (const { name } of own.slice(mostEach - 1)) await shelf.remove(name)
      await shelf.write(nameOf(id, owner), { ...session, writtenAt: runtime.now() })
      return id
    },
    async find(id, owner) {
      const found = await shelfOf(owner).read(nameOf(id, owner))
      // The name holds the owner, so somebody else's is not found.
      if (!found || found.value.owner !== owner) throw unknown('never begun here by this caller, or ended')
      return runtime.now() - found.value.writtenAt > slideMs ? change(id, owner, () => ({})) : found.value
    },
    end: async (id, owner) => void (await shelfOf(owner).remove(nameOf(id, owner))),
  }
}
