// Sessions of legacy clients at a modern server, which has none: what the client sent with `initialize`,
// sealed in the store for its person and client, so that every process has them; and their GET streams.
import { newId } from '../../kit/bytes.ts'
import { type Records, createRecords } from '../../kit/records.ts'
import { Refusal } from '../../kit/refusal.ts'
import { type Rpc, metaOf, paramsOf } from '../../mcp/json-rpc.ts'
import { envelopeOf } from '../../mcp/revisions.ts'
import { subscriptionKey } from '../../mcp/translate.ts'
import type { Runtime } from '../../ports/runtime.ts'
import { gatewaySessions } from '../callers.ts'
import {
  type Server,
  type Caller,
  createResponse,
  discard,
  isForCaller,
  readMessages,
  sendModern,
} from './exchange.ts'

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

type Sessions = Pick<Records<ClientSession>, 'get' | 'put' | 'take' | 'list'>

const idPrefix = gatewaySessions.revision
/** A session ends after this time without use. */
const idleMs = 24 * 3_600_000
/** How often the time of the last use is written. */
const writeMs = 3_600_000
const maxPerOwner = 32
/** Sessions of callers that cannot be told apart. */
const maxAnonymous = 1000

export const newSessionId = ({ random, peers }: Pick<Runtime, 'random' | 'peers'>): string =>
  idPrefix + newId(random, 32, peers?.node)

export const isClientSession = (id: string | undefined): id is string => id?.startsWith(idPrefix) === true

/** Anonymous callers write nothing to the store: their sessions are in the memory of this process. */
const createAnonymous = (): Sessions => {
  const sessions = new Map<string, ClientSession>()
  return {
    async get(name) {
      const value = sessions.get(name)
      return value && { value, mark: '', former: false }
    },
    async put(name, value) {
      sessions.delete(name)
      if (sessions.size >= maxAnonymous) sessions.delete(sessions.keys().next().value as string)
      sessions.set(name, value)
      return ''
    },
    async take(name) {
      sessions.delete(name)
      return undefined
    },
    list: async () => [],
  }
}

export type ClientSessions = ReturnType<typeof createClientSessions>

export const createClientSessions = ({ runtime }: Server) => {
  const { now, digest } = runtime
  const stored: Sessions = createRecords(runtime, 'client-session:')
  const anonymous = createAnonymous()
  const sessionsOf = (owner: string): Sessions => (owner === '' ? anonymous : stored)
  /** Holds the owner, so that nobody finds a session of somebody else. */
  const nameOf = (id: string, owner: string): string => `${digest(owner)}:${digest(id)}`

  const change = async (
    id: string,
    owner: string,
    changeOf: (session: ClientSession) => Partial<ClientSession>,
  ): Promise<ClientSession> => {
    const [sessions, name] = [sessionsOf(owner), nameOf(id, owner)]
    for (let tries = 0; tries < 8; tries++) {
      const found = await sessions.get(name)
      if (!found) throw new Refusal('session.unknown', 'ended meanwhile')
      const next = { ...found.value, ...changeOf(found.value), writtenAt: now() }
      if ((await sessions.put(name, next, { ttlMs: idleMs, only: found.mark })) !== undefined) return next
    }
    throw new Refusal('storage.unavailable', 'a session changed eight times while it was written')
  }

  return {
    change,
    /**
     * Stores a session. Returns its id, which may be given. If the owner has too many, the one used longest ago
     * ends.
     */
    async begin(session: Omit<ClientSession, 'writtenAt'>, id = newSessionId(runtime)): Promise<string> {
      const { owner } = session
      const sessions = sessionsOf(owner)
      // Some more may be there, if several began at the same moment.
      const after = `${digest(owner)}:`
      const some = await sessions.list({ after, limit: 2 * maxPerOwner })
      const own = some.filter(({ id: name }) => name.startsWith(after))
      const latestFirst = own.toSorted((one, other) => other.value.writtenAt - one.value.writtenAt)
      for (const { id: name } of latestFirst.slice(maxPerOwner - 1)) await sessions.take(name)
      await sessions.put(nameOf(id, owner), { ...session, writtenAt: now() }, { ttlMs: idleMs })
      return id
    },
    /** Throws `session.unknown` for a session that is not this owner's. */
    async find(id: string, owner: string): Promise<ClientSession> {
      const found = await sessionsOf(owner).get(nameOf(id, owner))
      if (found?.value.owner !== owner)
        throw new Refusal('session.unknown', 'never begun here by this caller, or ended')
      return now() - found.value.writtenAt > writeMs ? change(id, owner, () => ({})) : found.value
    },
    async end(id: string, owner: string): Promise<void> {
      await sessionsOf(owner).take(nameOf(id, owner))
    },
  }
}

// The GET stream at a modern server: one `subscriptions/listen` for as long as the stream is read.

const withoutSubscriptionId = (message: Rpc): Rpc => {
  const { [subscriptionKey]: _id, ...meta } = metaOf(message)
  const { _meta, ...params } = paramsOf(message)
  return { ...message, params: { ...params, ...(Object.keys(meta).length > 0 ? { _meta: meta } : {}) } }
}

/**
 * Undefined if the session wants no notifications at the moment: the stream is silent until it subscribes to
 * something.
 */
const listen = async (
  server: Server,
  { changes, subscribed, clientInfo, capabilities }: ClientSession,
  caller: Caller,
  signal: AbortSignal,
): Promise<Response | undefined> => {
  const notifications = {
    ...changes,
    ...(subscribed.length > 0 ? { resourceSubscriptions: subscribed } : {}),
  }
  if (Object.keys(notifications).length === 0) return undefined
  const { response } = await sendModern(server, caller, {
    method: 'subscriptions/listen',
    params: { notifications, _meta: envelopeOf(clientInfo, capabilities) },
    signal,
    subscribes: true,
  })
  return response
}

const createClientStream = (
  server: Server,
  caller: Caller,
  load: () => Promise<ClientSession>,
  ended: () => void,
) => {
  let current: AbortController | undefined
  let latest: AbortController | undefined
  const gone = (): void => {
    current?.abort()
    ended()
  }
  const stream = createResponse(server, caller.signal, gone)
  const stop = (): void => {
    if (stream.state() === 'over') return
    stream.finish()
    gone()
  }
  const relay = (response: Response, subscription: AbortController): void => {
    const over = (): void => {
      // Unless it was replaced by another subscription. The client opens a stream again.
      if (current === subscription) stop()
    }
    readMessages(response, (message) => {
      if (message['method'] === undefined || message['method'] === 'notifications/subscriptions/acknowledged')
        return undefined
      return stream.write(JSON.stringify(withoutSubscriptionId(message)))
    }).then(over, over)
  }
  return {
    open: stream.open,
    response: stream.response,
    stop,
    /** Subscribes anew. Resolves to the server's response if it is an error. */
    async subscribe(): Promise<Response | undefined> {
      const subscription = new AbortController()
      latest = subscription
      const response = await load().then((session) => listen(server, session, caller, subscription.signal))
      if (latest !== subscription || stream.state() === 'over') {
        subscription.abort()
        return undefined
      }
      if (response && !response.ok) return response
      current?.abort()
      current = subscription
      if (response) relay(response, subscription)
      return undefined
    },
  }
}

const noStream = (why: string): Refusal =>
  new Refusal('request.method', why, { headers: { allow: 'POST, DELETE' } })

type ClientStream = ReturnType<typeof createClientStream>

export type ClientStreams = ReturnType<typeof createClientStreams>

/** The GET streams of legacy clients, by session id. */
export const createClientStreams = (server: Server) => {
  const streams = new Map<ClientStream, string>()
  const ofSession = (id: string): readonly ClientStream[] =>
    [...streams].filter(([, session]) => session === id).map(([stream]) => stream)
  return {
    /**
     * Opens a stream. `load`: the session as it is stored now. Throws `request.method` if the server has no
     * notifications.
     */
    async open(id: string, caller: Caller, load: () => Promise<ClientSession>): Promise<Response> {
      const { changes, subscribable } = await load()
      if (Object.keys(changes).length === 0 && !subscribable)
        throw noStream('the server has no notifications')
      caller.signal.throwIfAborted()
      const stream: ClientStream = createClientStream(server, caller, load, () => void streams.delete(stream))
      // Added before it subscribes: it subscribes again if the session changes meanwhile.
      streams.set(stream, id)
      const refused = await stream.subscribe().catch((error: unknown) => {
        stream.stop()
        throw error
      })
      if (!refused) {
        stream.open()
        return stream.response
      }
      stream.stop()
      if (isForCaller(refused)) return refused
      await discard(refused)
      throw noStream(`subscriptions/listen was answered ${refused.status}`)
    },
    /** The session subscribes to other resources now. */
    changed(id: string): void {
      for (const { subscribe, stop } of ofSession(id)) subscribe().then((refused) => refused && stop(), stop)
    },
    /** The session has ended. */
    end(id: string): void {
      for (const { stop } of ofSession(id)) stop()
    },
  }
}
