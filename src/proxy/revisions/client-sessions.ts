// Sessions of legacy clients at a modern server, which has none: what the client sent with `initialize`,
// sealed in the store for its person and client.
import { encodeBase64url } from '../../kit/bytes.ts'
import { createRecords } from '../../kit/records.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Rpc } from '../../mcp/json-rpc.ts'
import type { Runtime } from '../../ports/runtime.ts'
import { gatewaySessions } from '../callers.ts'
import type { Server } from './upstream-request.ts'

export interface ClientSession {
  readonly owner: string
  /** The negotiated revision. */
  readonly version: string
  readonly clientInfo: Rpc
  /** Capabilities of the client, as declared to the server. */
  readonly capabilities: Rpc
  /** List changes that the server declared, as `subscriptions/listen` names them. */
  readonly changes: Rpc
  /** Whether the server declared subscriptions to single resources. */
  readonly subscribable: boolean
  /** The log level that the client set. */
  readonly logLevel?: string | undefined
  /** Resources that the client subscribed to. */
  readonly subscribed: readonly string[]
  /** Epoch milliseconds. */
  readonly writtenAt: number
}

export interface ClientSessions {
  /**
   * Stores a session. Returns its id, which may be given. If the owner has too many, the one used longest ago
   * ends.
   */
  begin(session: Omit<ClientSession, 'writtenAt'>, id?: string): Promise<string>
  /** Throws `session.unknown` for a session that is not this owner's. */
  find(id: string, owner: string): Promise<ClientSession>
  change(
    id: string,
    owner: string,
    change: (session: ClientSession) => Partial<ClientSession>,
  ): Promise<ClientSession>
  end(id: string, owner: string): Promise<void>
}

interface Sessions {
  get(name: string): Promise<{ readonly value: ClientSession; readonly mark?: string } | undefined>
  /** Returns false if the session changed since it was read. */
  put(name: string, value: ClientSession, mark?: string): Promise<boolean>
  remove(name: string): Promise<unknown>
  ofOwner(
    digest: string,
    limit: number,
  ): Promise<readonly { readonly id: string; readonly value: ClientSession }[]>
}

const idPrefix = gatewaySessions.revision
/** A session ends after this time without use. */
const idleMs = 24 * 3_600_000
/** How often the time of the last use is written. */
const writeMs = 3_600_000
const maxPerOwner = 32
/** Sessions of callers that cannot be told apart. */
const maxAnonymous = 1000

export const newSessionId = ({ random }: Pick<Runtime, 'random'>): string =>
  idPrefix + encodeBase64url(random(32))

export const isClientSession = (id: string | undefined): id is string => id?.startsWith(idPrefix) === true

const createStored = (runtime: Server['runtime']): Sessions => {
  const records = createRecords<ClientSession>(runtime, 'client-session:')
  return {
    get: records.get,
    put: async (name, value, mark) =>
      (await records.put(name, value, { ttlMs: idleMs, ...(mark === undefined ? {} : { only: mark }) })) !==
      undefined,
    remove: records.take,
    async ofOwner(digest, limit) {
      const found = await records.list({ after: `${digest}:`, limit })
      return found.filter(({ id }) => id.startsWith(`${digest}:`))
    },
  }
}

/** Anonymous callers write nothing to the store: their sessions are in the memory of this process. */
const createAnonymous = (): Sessions => {
  const sessions = new Map<string, ClientSession>()
  return {
    async get(name) {
      const value = sessions.get(name)
      return value && { value }
    },
    async put(name, value) {
      sessions.delete(name)
      if (sessions.size >= maxAnonymous) sessions.delete(sessions.keys().next().value as string)
      sessions.set(name, value)
      return true
    },
    remove: async (name) => sessions.delete(name),
    ofOwner: async () => [],
  }
}

export const createClientSessions = ({ runtime }: Server): ClientSessions => {
  const { now, digest } = runtime
  const [stored, anonymous] = [createStored(runtime), createAnonymous()]
  const sessionsOf = (owner: string): Sessions => (owner === '' ? anonymous : stored)
  /** Holds the owner, so that nobody finds a session of somebody else. */
  const nameOf = (id: string, owner: string): string => `${digest(owner)}:${digest(id)}`

  const change: ClientSessions['change'] = async (id, owner, changeOf) => {
    const [sessions, name] = [sessionsOf(owner), nameOf(id, owner)]
    for (let tries = 0; tries < 8; tries++) {
      const found = await sessions.get(name)
      if (!found) throw new Refusal('session.unknown', 'ended meanwhile')
      const next = { ...found.value, ...changeOf(found.value), writtenAt: now() }
      if (await sessions.put(name, next, found.mark)) return next
    }
    throw new Refusal('storage.unavailable', 'a session changed eight times while it was written')
  }

  return {
    change,
    async begin(session, id = newSessionId(runtime)) {
      const { owner } = session
      const sessions = sessionsOf(owner)
      // Some more may be there, if several began at the same moment.
      const own = await sessions.ofOwner(digest(owner), 2 * maxPerOwner)
      const latestFirst = [...own].sort((a, b) => b.value.writtenAt - a.value.writtenAt)
      for (const { id: name } of latestFirst.slice(maxPerOwner - 1)) await sessions.remove(name)
      await sessions.put(nameOf(id, owner), { ...session, writtenAt: now() })
      return id
    },
    async find(id, owner) {
      const found = await sessionsOf(owner).get(nameOf(id, owner))
      if (found?.value.owner !== owner)
        throw new Refusal('session.unknown', 'never begun here by this caller, or ended')
      return now() - found.value.writtenAt > writeMs ? change(id, owner, () => ({})) : found.value
    },
    async end(id, owner) {
      await sessionsOf(owner).remove(nameOf(id, owner))
    },
  }
}
