// One process for the sessions of everybody: each session has its own ids, progress, streams and
// subscriptions, and none can be asked anything. The gateway itself sends `initialize` to the process, so it
// knows no client, and nothing of one session reaches another.
import { Refusal } from '../kit/refusal.ts'
import { type CallEvents, type SessionPeer, askPeer } from '../mcp/json-rpc-peer.ts'
import { type DescribedMessage, type Id, type Rpc, paramsOf, withId, isRecord } from '../mcp/json-rpc.ts'
import { offeredVersion, ownClient } from '../mcp/revisions.ts'
import type { SessionUser } from '../mcp/streamable-http.ts'
import type { Timer } from '../ports/runtime.ts'
import type { ProcessPool } from './process-pool.ts'
import type { ProcessPeer } from './process-reports.ts'

const never = new AbortController().signal
/** Sessions on one process; the one unused for longest ends. */
const mostSessions = 10_000

export interface SharedProcessOptions {
  readonly pool: ProcessPool
  readonly now: () => number
  readonly timer: Timer
  readonly about: { readonly version: string }
  readonly owner: string
  /** Longest wait for its answer to `initialize`, milliseconds. */
  readonly startMs: number
  readonly unexpected: (what: string) => void
}

export interface SharedProcess {
  /** The process as one session sees it. */
  connect(user: SessionUser): SessionPeer
  /** Fails calls during which the server said nothing. */
  expire(silenceMs: number): void
}

/** A session as the process knows it. */
interface SharedSession {
  readonly user: SessionUser
  /** Resources it subscribed to. */
  readonly resources: Set<string>
}

/** The process while it runs, and its answer to `initialize`. */
interface Initialized {
  readonly peer: ProcessPeer
  readonly result: Rpc
}

/** Which sessions a notification is for. Log messages are about somebody's call, and nothing says whose. */
const audience = (sessions: ReadonlySet<SharedSession>, message: Rpc): readonly SharedSession[] => {
  const method = String(message['method'])
  if (method === 'notifications/resources/updated')
    return [...sessions].filter(({ resources }) => resources.has(String(paramsOf(message)['uri'])))
  return method.endsWith('/list_changed') ? [...sessions] : []
}

const initialize = async (
  peer: ProcessPeer,
  { about, startMs, timer }: SharedProcessOptions,
): Promise<Initialized> => {
  const late = Promise.withResolvers<never>()
  const cancel = timer(startMs, () =>
    late.reject(new Refusal('upstream.timeout', `no answer to initialize${peer.complaint()}`)),
  )
  try {
    const params = { protocolVersion: offeredVersion, capabilities: {}, clientInfo: ownClient(about) }
    const { result, error } = await Promise.race([askPeer(peer, 'initialize', params, true), late.promise])
    if (isRecord(result)) return { peer, result }
    throw new Refusal('process.ended', `initialize was answered ${JSON.stringify(error).slice(0, 200)}`, {
      say: 'The MCP server does not support a protocol revision that can be shared.',
    })
  } catch (error) {
    peer.close()
    throw error
  } finally {
    cancel()
  }
}

interface Host {
  readonly sessions: Set<SharedSession>
  /**
   * The running process, started when there is none, and subscribed to what the sessions want. Rejects as
   * `Pool.start` does.
   */
  get(): Promise<Initialized>
  /** The process, while it runs and has answered `initialize`. */
  running(): Initialized | undefined
}

const createHost = (options: SharedProcessOptions): Host => {
  const { pool, now, owner, unexpected } = options
  const sessions = new Set<SharedSession>()
  let running: Initialized | undefined
  let starting: Promise<Initialized> | undefined

  const start = async (): Promise<Initialized> => {
    const started: { peer?: ProcessPeer } = {}
    const forget = (): void => {
      running = undefined
    }
    const peer = await pool.start(
      owner,
      {
        request(message) {
          const say = 'This server is shared, so no single client can receive this request.'
          const answer =
            message['method'] === 'ping' ? { result: {} } : { error: { code: -32601, message: say } }
          started.peer?.tell({ jsonrpc: '2.0', id: message['id'], ...answer })
        },
        notification(message, text) {
          const hearing = audience(sessions, message)
          if (hearing.length === 0) unexpected('a notification for nobody')
          for (const { user } of hearing) user.notification(message, text)
        },
        idle: () => (started.peer?.pending() === 0 ? now() - started.peer.usedAt() : 0),
        busy: () => (started.peer?.pending() ?? 0) > 0,
        leave() {
          started.peer?.close()
          forget()
        },
        ended: forget,
      },
      never,
    )
    started.peer = peer
    const initialized = await initialize(peer, options)
    peer.tell({ jsonrpc: '2.0', method: 'notifications/initialized' })
    for (const uri of new Set([...sessions].flatMap(({ resources }) => [...resources])))
      askPeer(peer, 'resources/subscribe', { uri }).catch(() => undefined)
    if (!peer.closed()) running = initialized
    return initialized
  }

  return {
    sessions,
    running: () => running,
    get() {
      if (running) return Promise.resolve(running)
      starting ??= start().finally(() => (starting = undefined))
      return starting
    },
  }
}

/** What the server answered to `initialize`, for a client that may have asked for an older revision. */
const initializeResult = ({ result }: Initialized, message: Rpc): Rpc => {
  const spoken = String(result['protocolVersion'])
  const wanted = paramsOf(message)['protocolVersion']
  return { ...result, protocolVersion: typeof wanted === 'string' && wanted < spoken ? wanted : spoken }
}

/**
 * Results that the server must not or need not give: that of `initialize`, a level of a log that nobody gets,
 * a subscription it has already.
 */
const ownResult = (
  { sessions }: Host,
  session: SharedSession,
  at: Initialized,
  message: Rpc,
): Rpc | undefined => {
  const uri = String(paramsOf(message)['uri'])
  const others = (): boolean => [...sessions].some((other) => other !== session && other.resources.has(uri))
  switch (message['method']) {
    case 'initialize':
      return initializeResult(at, message)
    case 'logging/setLevel':
      return {}
    case 'resources/subscribe':
      session.resources.add(uri)
      return others() ? {} : undefined
    case 'resources/unsubscribe':
      return session.resources.delete(uri) && !others() ? undefined : {}
    default:
      return undefined
  }
}

/** The gateway sent `initialize` itself, and there are no roots. */
const unsent = new Set(['notifications/initialized', 'notifications/roots/list_changed'])

/** The calls of one session, by the ids of its own; each has the process's id once it is sent. */
type SharedCalls = Map<number, { sent?: { readonly peer: ProcessPeer; readonly id: number } }>

const createCall = (
  host: Host,
  session: SharedSession,
  calls: SharedCalls,
): ((id: number, said: DescribedMessage, events: CallEvents) => void) => {
  const forgetting = (id: number, events: CallEvents): CallEvents => ({
    ...events,
    answer(text, message) {
      calls.delete(id)
      events.answer(text, message)
    },
    failed(refusal) {
      calls.delete(id)
      events.failed(refusal)
    },
  })
  const dispatch = async (id: number, said: DescribedMessage, events: CallEvents): Promise<void> => {
    const at = await host.get()
    const call = calls.get(id)
    if (!call) return
    const { message } = said
    const result = ownResult(host, session, at, message)
    if (result === undefined) {
      call.sent = { peer: at.peer, id: at.peer.call(said, events) }
      return
    }
    const answer = { jsonrpc: '2.0', id: message['id'], result }
    events.answer(withId(JSON.stringify(answer), message, message['id'] as Id), answer)
  }
  return (id, said, events) => {
    calls.set(id, {})
    const own = forgetting(id, events)
    dispatch(id, said, own).catch((error: unknown) =>
      own.failed(error instanceof Refusal ? error : new Refusal('fault', String(error))),
    )
  }
}

/** The peer of one session: its calls go to the shared process, wherever that is in its life. */
const createSharedPeer = (host: Host, session: SharedSession, now: () => number): SessionPeer => {
  const calls: SharedCalls = new Map()
  const call = createCall(host, session, calls)
  let ids = 0
  let usedAt = now()
  return {
    call(said, events) {
      usedAt = now()
      call(++ids, said, events)
      return ids
    },
    cancel(id, reason) {
      const sent = calls.get(id)?.sent
      calls.delete(id)
      sent?.peer.cancel(sent.id, reason)
    },
    send(said) {
      usedAt = now()
      return unsent.has(String(said.message['method'])) ? undefined : host.running()?.peer.send(said)
    },
    tell: (message) => host.running()?.peer.tell(message),
    // One slow reader is nobody else's delay: the response stream gives it up instead.
    hold: () => undefined,
    release: () => undefined,
    // The calls of all sessions are looked after together.
    expire: () => undefined,
    pending: () => calls.size,
    usedAt: () => usedAt,
    complaint: () => host.running()?.peer.complaint() ?? '',
    close() {
      if (!host.sessions.delete(session)) return
      const peer = host.running()?.peer
      const left = new Set([...host.sessions].flatMap(({ resources }) => [...resources]))
      for (const uri of peer ? session.resources : [])
        if (peer && !left.has(uri)) askPeer(peer, 'resources/unsubscribe', { uri }).catch(() => undefined)
    },
  }
}

export const createSharedProcess = (options: SharedProcessOptions): SharedProcess => {
  const host = createHost(options)
  const { sessions } = host
  return {
    connect(user) {
      const session: SharedSession = { user, resources: new Set() }
      sessions.add(session)
      if (sessions.size > mostSessions) {
        const [longest] = [...sessions].sort((a, b) => b.user.idle() - a.user.idle())
        longest?.user.leave()
      }
      return createSharedPeer(host, session, options.now)
    },
    expire: (silenceMs) => host.running()?.peer.expire(silenceMs),
  }
}
