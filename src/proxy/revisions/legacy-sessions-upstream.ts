// Sessions that the gateway keeps at servers of 2025 and before for clients that have none: one for a person by one client and what it can be asked, and nobody else's.
import { type Records, createRecords } from '../../kit/records.ts'
import { createSingleFlight } from '../../kit/single-flight.ts'
import { isEventStream } from '../../kit/sse.ts'
import type { ParamHeader } from '../../mcp/headers.ts'
import { type Rpc, isRecord } from '../../mcp/json-rpc.ts'
import { offeredVersion } from '../../mcp/revisions.ts'
import type { Runtime } from '../../ports/runtime.ts'
import { type Caller, type SendNotification, answerOf, readReplies, nothing } from './exchange.ts'

// The gateway introduces a client that has no handshake to a server that wants one (2025-11-25 lifecycle, initialization).

/** What the server said when the session was begun. */
export interface InitializeResult {
  /** Undefined for servers that have no sessions. */
  readonly id?: string | undefined
  readonly version: string
  readonly capabilities: Rpc
  readonly server: Rpc
  readonly instructions?: string | undefined
}

/** Fields of a request in the session. */
export const sessionFields = ({ id, version }: InitializeResult): readonly (readonly [string, string])[] => [
  ...(id === undefined ? [] : [['mcp-session-id', id] as const]),
  ['mcp-protocol-version', version],
]

const requestId = 'postern-initialize'

/** A Response: what the server answered instead, which is the caller's to see; undefined: it is no server of that era. */
export const initializeUpstream = async (
  tell: SendNotification,
  service: string,
  caller: Caller,
  { client, capabilities }: { readonly client: Rpc; readonly capabilities: Rpc },
): Promise<InitializeResult | Response | undefined> => {
  const params = { protocolVersion: offeredVersion, capabilities, clientInfo: client }
  const response = await tell(
    caller,
    [],
    JSON.stringify({ jsonrpc: '2.0', id: requestId, method: 'initialize', params }),
  )
  if (!response.ok) {
    // A refusal of the caller is theirs to see; any other says that it is no such server.
    if ([401, 403, 407, 429].includes(response.status) || response.status >= 500) return response
    await nothing(response)
    return undefined
  }
  const result = (await answerOf(response, requestId))?.['result']
  if (!isRecord(result) || typeof result['protocolVersion'] !== 'string') return undefined
  const { protocolVersion: version, capabilities: offered, serverInfo, instructions } = result
  const about: InitializeResult = {
    id: response.headers.get('mcp-session-id') ?? undefined,
    version: version as string,
    capabilities: isRecord(offered) ? offered : {},
    server: isRecord(serverInfo) ? serverInfo : { name: service, version: '0' },
    instructions: typeof instructions === 'string' ? instructions : undefined,
  }
  await nothing(
    await tell(
      caller,
      sessionFields(about),
      JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' }),
    ),
  )
  return about
}

// What a server of 2025 and before says of its own accord in one session: one event stream by GET for everybody here who listens, open while anybody does.

/** True when the message was for it: a request is answered once. */
type Listener = (message: Rpc) => boolean

export interface UpstreamStream {
  /** Hears every message from now on; resolves to what ends that, once the stream is there or the server has none. */
  listen(listener: Listener): Promise<() => void>
  readonly busy: boolean
  close(): void
}

export interface UpstreamStreamOptions {
  /** Opens the stream. */
  readonly get: (signal: AbortSignal) => Promise<Response>
  /** A request that was for nobody. */
  readonly unheard: (message: Rpc) => void
}

/** Longest wait for the stream before whoever needs it goes on without. */
const patienceMs = 3000
const reopenMs = [0, 1000, 2000, 5000, 15_000, 30_000] as const

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })

/** Reads the stream, again and again, until `signal` or until the server turns out to have none: then it resolves to true. */
const read = async (
  get: UpstreamStreamOptions['get'],
  signal: AbortSignal,
  ready: () => void,
  deal: (message: Rpc) => void,
): Promise<boolean> => {
  for (let failures = 0; !signal.aborted && failures < reopenMs.length; failures++) {
    await pause(reopenMs[failures] as number, signal)
    const response = await get(signal).catch(() => undefined)
    if (!response) continue
    if (response.ok && isEventStream(response.headers.get('content-type') ?? undefined)) {
      ready()
      await readReplies(response, (message) => {
        failures = 0
        deal(message)
      }).catch(() => undefined)
      continue
    }
    await nothing(response)
    // 2025-11-25 transports, listening for messages.
    if (response.status === 405 || response.status === 404) return true
  }
  return false
}

export const createUpstreamStream = ({ get, unheard }: UpstreamStreamOptions): UpstreamStream => {
  const listeners = new Set<Listener>()
  let open: { readonly stop: AbortController; readonly ready: Promise<void> } | undefined
  let none = false

  const deal = (message: Rpc): void => {
    let heard = false
    for (const listener of listeners) heard = listener(message) || heard
    if (!heard && message['id'] !== undefined && message['method'] !== undefined) unheard(message)
  }

  const begin = (): Promise<void> => {
    const stop = new AbortController()
    const { promise, resolve } = Promise.withResolvers<void>()
    const late = setTimeout(resolve, patienceMs)
    const ready = promise.finally(() => clearTimeout(late))
    open = { stop, ready }
    const ended = (hasNone: boolean): void => {
      none = hasNone
      resolve()
      if (open?.stop === stop) open = undefined
    }
    read(get, stop.signal, resolve, deal).then(ended, () => ended(false))
    return ready
  }

  const close = (): void => {
    open?.stop.abort()
    open = undefined
  }

  return {
    async listen(listener) {
      listeners.add(listener)
      if (!none) await (open?.ready ?? begin())
      return () => {
        listeners.delete(listener)
        if (listeners.size === 0) close()
      }
    },
    get busy() {
      return listeners.size > 0
    },
    close() {
      listeners.clear()
      close()
    },
  }
}

export interface UpstreamSession {
  readonly about: InitializeResult
  /** What the client behind it can be asked. */
  readonly capabilities: Rpc
  /** What the server says of its own accord; absent where nothing can stay to hear it. */
  readonly stream: UpstreamStream | undefined
  /** The level of its log, once it was set. */
  level: string | undefined
  /** Fields of a request in this session. */
  readonly fields: ReturnType<typeof sessionFields>
  /** The tools that were listed, as far as their calls carry mirrored headers. */
  readonly mirrors: Map<string, readonly ParamHeader[]>
  /** The latest caller, in whose name the gateway speaks for itself. */
  caller: Caller
}

export interface UpstreamSessions {
  /** The session of this caller, begun when there is none. A Response: what the server answered instead, which is the caller's to see; undefined: it is no server of this era. */
  get(caller: Caller, client: Rpc, capabilities: Rpc): Promise<UpstreamSession | Response | undefined>
  /** The server has forgotten it. */
  lost(session: UpstreamSession): Promise<void>
  /** A call is over; a session of nobody's ends with it. */
  done(session: UpstreamSession): void
}

export interface UpstreamSessionsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log' | 'defer' | 'digest'>
  readonly tell: SendNotification
  /** Id of the service. */
  readonly service: string
  /** Whether what is begun in one request goes on after it. */
  readonly lasting: boolean
}

/** A session unused for this long is given up. */
const idleMs = 1_800_000
/** How often use writes down that the session lives. */
const slideMs = 300_000
/** Sessions at one server in this process; the one unused for longest ends. */
const most = 1000
const sweepMs = 60_000

/** As it is stored. */
interface KeptSession {
  readonly about: InitializeResult
  /** Epoch ms of its last use by any process, a few minutes late at most. */
  readonly usedAt: number
}

interface Open {
  readonly session: UpstreamSession
  usedAt: number
  writtenAt: number
}

/** The sessions of this process: in use, idle, too many. `give` ends what nobody needs. */
const createShelf = (now: () => number, give: (key: string, session: UpstreamSession) => void) => {
  const open = new Map<string, Open>()
  let sweptAt = now()
  return {
    open,
    enter(key: string, session: UpstreamSession): Open {
      const entry: Open = { session, usedAt: now(), writtenAt: now() }
      open.set(key, entry)
      return entry
    },
    sweep(): void {
      const time = now()
      if (time - sweptAt < sweepMs && open.size <= most) return
      sweptAt = time
      const oldestFirst = [...open].sort(([, a], [, b]) => a.usedAt - b.usedAt)
      oldestFirst.forEach(([key, { session, usedAt }], i) => {
        if (session.stream?.busy || (usedAt > time - idleMs && i >= oldestFirst.length - most)) return
        open.delete(key)
        give(key, session)
      })
    },
    find: (session: UpstreamSession): string | undefined =>
      [...open].find(([, entry]) => entry.session === session)?.[0],
  }
}

const createMake =
  ({ tell, lasting, runtime }: UpstreamSessionsDeps) =>
  (about: InitializeResult, capabilities: Rpc, caller: Caller): UpstreamSession => {
    const unheard = ({ caller: latest }: UpstreamSession, { id, method }: Rpc): void => {
      const answer =
        method === 'ping'
          ? { result: {} }
          : { error: { code: -32_601, message: 'No client can receive this request.' } }
      runtime.defer(
        tell(
          { ...latest, signal: AbortSignal.timeout(10_000) },
          fields,
          JSON.stringify({ jsonrpc: '2.0', id, ...answer }),
        ).then(nothing, () => undefined),
      )
    }
    const fields = sessionFields(about)
    const stream =
      lasting && caller.owner !== ''
        ? createUpstreamStream({
            get: (signal) => tell({ ...session.caller, signal }, fields),
            unheard: (message) => unheard(session, message),
          })
        : undefined
    const session: UpstreamSession = {
      about,
      capabilities,
      fields,
      level: undefined,
      stream,
      mirrors: new Map(),
      caller,
    }
    return session
  }

/** Tells the server that nobody needs it any more; what it says to that is its own affair. */
const createLeave =
  ({ tell, runtime }: UpstreamSessionsDeps) =>
  ({ stream, about, caller, fields }: UpstreamSession): void => {
    stream?.close()
    if (about.id !== undefined)
      runtime.defer(
        tell({ ...caller, signal: AbortSignal.timeout(10_000) }, fields, undefined, 'DELETE').then(
          nothing,
          () => undefined,
        ),
      )
  }

/** A session in use: who calls in it, and that it lives. */
const use = async (
  entry: Open,
  caller: Caller,
  now: number,
  write: (about: InitializeResult) => Promise<unknown>,
): Promise<UpstreamSession> => {
  entry.session.caller = caller
  entry.usedAt = now
  if (entry.usedAt - entry.writtenAt >= slideMs) {
    entry.writtenAt = entry.usedAt
    await write(entry.session.about)
  }
  return entry.session
}

/** Ends a session that is idle here. Another process may use it still; then it is only this one's that is over. */
const giveUp = async (
  key: string,
  session: UpstreamSession,
  {
    records,
    leave,
    now,
  }: {
    readonly records: Records<KeptSession>
    readonly leave: (session: UpstreamSession) => void
    readonly now: number
  },
): Promise<void> => {
  session.stream?.close()
  const kept = await records.get(key)
  if (kept && kept.value.usedAt > now - idleMs) return
  if (kept?.value.about.id === session.about.id) await records.take(key)
  leave(session)
}

export const createUpstreamSessions = (deps: UpstreamSessionsDeps): UpstreamSessions => {
  const { runtime, tell, service } = deps
  const { now } = runtime
  const records = createRecords<KeptSession>(runtime, 'upstream-session:')
  const once = createSingleFlight(runtime)
  const make = createMake(deps)
  const leave = createLeave(deps)
  const shelf = createShelf(now, (key, session) => {
    runtime.defer(giveUp(key, session, { records, leave, now: now() }).catch(() => undefined))
  })

  /** Another address is another server. */
  const keyOf = ({ owner, url }: Caller, capabilities: Rpc): string =>
    runtime.digest(JSON.stringify([service, url, owner, capabilities]))

  const begin = async (
    key: string,
    caller: Caller,
    client: Rpc,
    capabilities: Rpc,
  ): Promise<Open | Response | undefined> => {
    const kept = await records.get(key)
    if (kept) return shelf.enter(key, make(kept.value.about, capabilities, caller))
    // It serves whoever asks after this caller too, so their leaving does not end it.
    const about = await initializeUpstream(
      tell,
      service,
      { ...caller, signal: AbortSignal.timeout(30_000) },
      { client, capabilities },
    )
    if (about === undefined || about instanceof Response) return about
    const session = make(about, capabilities, caller)
    if ((await records.put(key, { about, usedAt: now() }, { ttlMs: idleMs, only: 'absent' })) !== undefined)
      return shelf.enter(key, session)
    // Another process was first.
    leave(session)
    const theirs = await records.get(key)
    return theirs && shelf.enter(key, make(theirs.value.about, capabilities, caller))
  }

  return {
    async get(caller, client, capabilities) {
      shelf.sweep()
      if (caller.owner === '') {
        // People who are not told apart have a session for each call, and nobody can be asked in it.
        const about = await initializeUpstream(tell, service, caller, { client, capabilities: {} })
        return about === undefined || about instanceof Response ? about : make(about, {}, caller)
      }
      const key = keyOf(caller, capabilities)
      const found = shelf.open.get(key) ?? (await once(key, () => begin(key, caller, client, capabilities)))
      // Whoever shared the work shares its outcome, and a body is read once.
      return found === undefined || found instanceof Response
        ? found?.clone()
        : use(found, caller, now(), (about) => records.put(key, { about, usedAt: now() }, { ttlMs: idleMs }))
    },
    async lost(session) {
      session.stream?.close()
      const key = shelf.find(session)
      if (key === undefined) return
      shelf.open.delete(key)
      const kept = await records.get(key)
      if (kept?.value.about.id === session.about.id) await records.take(key)
    },
    done(session) {
      if (session.caller.owner === '') leave(session)
    },
  }
}
