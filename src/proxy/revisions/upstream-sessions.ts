// Sessions at legacy servers for modern clients, which have none: one for each person, client and set of
// client capabilities, never shared with anybody else.
import { type Records, createRecords } from '../../kit/records.ts'
import { type SingleFlight, createSingleFlight } from '../../kit/single-flight.ts'
import { isStream, keepReading } from '../../kit/sse.ts'
import { type Rpc, isRequest, isRecord } from '../../mcp/json-rpc.ts'
import type { ParamHeader } from '../../mcp/param-headers.ts'
import { offeredVersion } from '../../mcp/revisions.ts'
import { type Caller, type Server, discard, isForCaller, readMessages, responseTo, send } from './exchange.ts'

/** What the server returned for `initialize` (2025-11-25 lifecycle). */
export interface InitializeResult {
  /** Undefined for servers without sessions. */
  readonly id?: string | undefined
  readonly version: string
  readonly capabilities: Rpc
  readonly server: Rpc
  readonly instructions?: string | undefined
}

export interface UpstreamSession {
  /** Undefined for a session of one call, on a service where nobody signs in. */
  readonly key: string | undefined
  readonly initialized: InitializeResult
  /** Headers of each request in the session. */
  readonly headers: readonly (readonly [string, string])[]
  /** Capabilities of the client, as declared to the server. */
  readonly capabilities: Rpc
  /** The GET stream; undefined where none can be kept open. */
  readonly stream: UpstreamStream | undefined
  /** `Mcp-Param-*` headers of the tools that were listed. */
  readonly paramHeaders: Map<string, readonly ParamHeader[]>
  /** Resources with a subscription, and how many streams of the client want it. */
  readonly subscribed: Map<string, number>
  /** The latest caller: the gateway's own requests in the session are made on its behalf. */
  caller: Caller
  /** The log level of the session, once it was set. */
  logLevel: string | undefined
  usedAt: number
  writtenAt: number
}

/** Sends a message in the session. `request`: the gateway's own requests outlive the caller's. */
export const sendInSession = (
  server: Server,
  { headers, caller }: Pick<UpstreamSession, 'headers' | 'caller'>,
  message: Rpc,
  ownMs = 30_000,
): Promise<Response> =>
  send(server, caller, { headers, body: JSON.stringify({ jsonrpc: '2.0', ...message }), ownMs })

const initializeId = 'postern-initialize'

/** A Response is the server's to the caller, for example 401. Undefined: it is not a legacy server. */
const initialize = async (
  server: Server,
  caller: Caller,
  clientInfo: Rpc,
  capabilities: Rpc,
): Promise<InitializeResult | Response | undefined> => {
  const params = { protocolVersion: offeredVersion, capabilities, clientInfo }
  const response = await sendInSession(
    server,
    { headers: [], caller },
    { id: initializeId, method: 'initialize', params },
  )
  if (isForCaller(response)) return response
  if (!response.ok) {
    await discard(response)
    return undefined
  }
  const result = (await responseTo(server, response, initializeId))?.['result']
  if (!isRecord(result) || typeof result['protocolVersion'] !== 'string') return undefined
  const { protocolVersion: version, capabilities: offered, serverInfo, instructions } = result
  const initialized: InitializeResult = {
    id: response.headers.get('mcp-session-id') ?? undefined,
    version: version as string,
    capabilities: isRecord(offered) ? offered : {},
    server: isRecord(serverInfo) ? serverInfo : { name: server.service.id, version: '0' },
    instructions: typeof instructions === 'string' ? instructions : undefined,
  }
  const headers = sessionHeaders(initialized)
  await discard(await sendInSession(server, { headers, caller }, { method: 'notifications/initialized' }))
  return initialized
}

const sessionHeaders = ({ id, version }: InitializeResult): UpstreamSession['headers'] => [
  ...(id === undefined ? [] : [['mcp-session-id', id] as const]),
  ['mcp-protocol-version', version],
]

/** Returns true if the message was for this listener: a request is answered once. */
type Listener = (message: Rpc) => boolean

/** Longest wait for the stream to open. */
const openMs = 3000

/** Reads the stream to its end. Resolves to true if it is none (2025-11-25 transports, listening for messages). */
const readStream = async (
  response: Response,
  opened: () => void,
  onMessage: (message: Rpc) => void,
): Promise<boolean> => {
  if (response.ok && isStream(response)) {
    opened()
    await readMessages(response, onMessage)
    return false
  }
  await discard(response)
  return response.status === 405 || response.status === 404
}

export type UpstreamStream = ReturnType<typeof createUpstreamStream>

/**
 * The GET stream of a session: open while anybody listens, and opened again when it breaks. `unheard`: a request
 * of the server that no listener took.
 */
const createUpstreamStream = (
  server: Server,
  get: (signal: AbortSignal) => Promise<Response>,
  unheard: (message: Rpc) => void,
) => {
  const listeners = new Set<Listener>()
  let current: { readonly stop: AbortController; readonly ready: Promise<void> } | undefined
  let unsupported = false

  const onMessage = (message: Rpc): void => {
    let heard = false
    for (const listener of listeners) heard = listener(message) || heard
    if (!heard && isRequest(message)) unheard(message)
  }
  const open = (): Promise<void> => {
    const stop = new AbortController()
    const { promise: ready, resolve } = Promise.withResolvers<void>()
    const stopTimer = server.runtime.timer(openMs, resolve)
    const opened = (): void => {
      stopTimer()
      resolve()
    }
    current = { stop, ready }
    const read = async (heard: () => void): Promise<boolean> =>
      readStream(await get(stop.signal), opened, (message) => {
        heard()
        onMessage(message)
      })
    const ended = (none: boolean): void => {
      unsupported = none
      opened()
      if (current?.stop === stop) current = undefined
    }
    keepReading(server.runtime.timer, stop.signal, read).then(ended, () => ended(false))
    return ready
  }
  const close = (): void => {
    current?.stop.abort()
    current = undefined
  }
  return {
    /**
     * Calls the listener with every message from now on. Resolves once the stream is open, or the server turns
     * out to have none, to the function that ends it.
     */
    async listen(listener: Listener): Promise<() => void> {
      listeners.add(listener)
      if (!unsupported) await (current?.ready ?? open())
      return () => {
        listeners.delete(listener)
        if (listeners.size === 0) close()
      }
    },
    busy: (): boolean => listeners.size > 0,
    close(): void {
      listeners.clear()
      close()
    },
  }
}

/** Answers a request of the server that belongs to no call. */
const answerUnheard = (server: Server, session: UpstreamSession, { id, method }: Rpc): void => {
  const answer =
    method === 'ping'
      ? { result: {} }
      : { error: { code: -32_601, message: 'No client can receive this request.' } }
  server.runtime.defer(
    sendInSession(server, session, { id, ...answer }, 10_000).then(discard, () => undefined),
  )
}

const createSession = (
  server: Server,
  key: string | undefined,
  initialized: InitializeResult,
  capabilities: Rpc,
  caller: Caller,
): UpstreamSession => {
  const headers = sessionHeaders(initialized)
  const stream =
    server.lasting && key !== undefined
      ? createUpstreamStream(
          server,
          (signal) => send(server, session.caller, { headers, signal }),
          (message) => answerUnheard(server, session, message),
        )
      : undefined
  const session: UpstreamSession = {
    key,
    initialized,
    headers,
    capabilities,
    stream,
    paramHeaders: new Map(),
    subscribed: new Map(),
    caller,
    logLevel: undefined,
    usedAt: server.runtime.now(),
    writtenAt: server.runtime.now(),
  }
  return session
}

/** Ends the session at the server; its response does not matter. */
const endSession = (server: Server, { stream, initialized, headers, caller }: UpstreamSession): void => {
  stream?.close()
  if (initialized.id === undefined) return
  const ended = send(server, caller, { method: 'DELETE', headers, ownMs: 10_000 })
  server.runtime.defer(ended.then(discard, () => undefined))
}

/** As it is stored. */
interface StoredSession {
  readonly about: InitializeResult
  /** Epoch milliseconds of the last use by any process, a few minutes late at most. */
  readonly usedAt: number
}

export interface UpstreamSessions {
  /** The session of this caller; begins one if there is none. Resolves as `initialize` does. */
  get(caller: Caller, clientInfo: Rpc, capabilities: Rpc): Promise<UpstreamSession | Response | undefined>
  /** The server does not know the session any more. */
  lost(session: UpstreamSession): Promise<void>
  /** A call is over; a session for one call ends with it. */
  done(session: UpstreamSession): void
}

/** A session ends after this time without use. */
const idleMs = 1_800_000
/** How often the time of the last use is written. */
const writeMs = 300_000
/** Sessions at one server in this process. */
const maxSessions = 1000
const sweepMs = 60_000

interface State {
  readonly server: Server
  readonly records: Records<StoredSession>
  readonly once: SingleFlight
  readonly open: Map<string, UpstreamSession>
  sweptAt: number
}

const remove = async ({ records }: State, key: string, { initialized }: UpstreamSession): Promise<void> => {
  const stored = await records.get(key)
  if (stored?.value.about.id === initialized.id) await records.take(key)
}

/** Ends a session that is not used in this process, unless another process uses it. */
const giveUp = async (state: State, key: string, session: UpstreamSession): Promise<void> => {
  const { server, records } = state
  session.stream?.close()
  const stored = await records.get(key)
  if (stored && stored.value.usedAt > server.runtime.now() - idleMs) return
  await remove(state, key, session)
  endSession(server, session)
}

const sweep = (state: State): void => {
  const { server, open } = state
  const now = server.runtime.now()
  if (now - state.sweptAt < sweepMs && open.size <= maxSessions) return
  state.sweptAt = now
  const oldestFirst = [...open].sort(([, a], [, b]) => a.usedAt - b.usedAt)
  const surplus = oldestFirst.length - maxSessions
  for (const [i, [key, session]] of oldestFirst.entries()) {
    if (session.stream?.busy() || (session.usedAt > now - idleMs && i >= surplus)) continue
    open.delete(key)
    server.runtime.defer(giveUp(state, key, session).catch(() => undefined))
  }
}

const begin = async (
  { server, records, open }: State,
  key: string,
  caller: Caller,
  clientInfo: Rpc,
  capabilities: Rpc,
): Promise<UpstreamSession | Response | undefined> => {
  const use = (about: InitializeResult): UpstreamSession => {
    const session = createSession(server, key, about, capabilities, caller)
    open.set(key, session)
    return session
  }
  const stored = await records.get(key)
  if (stored) return use(stored.value.about)
  const about = await initialize(server, caller, clientInfo, capabilities)
  if (about === undefined || about instanceof Response) return about
  const record = { about, usedAt: server.runtime.now() }
  if ((await records.put(key, record, { ttlMs: idleMs, only: 'absent' })) !== undefined) return use(about)
  // Another process was first.
  endSession(server, createSession(server, undefined, about, capabilities, caller))
  const theirs = await records.get(key)
  return theirs && use(theirs.value.about)
}

export const createUpstreamSessions = (server: Server): UpstreamSessions => {
  const { now, digest } = server.runtime
  const records = createRecords<StoredSession>(server.runtime, 'upstream-session:')
  const once = createSingleFlight(server.runtime)
  const state: State = { server, records, once, open: new Map(), sweptAt: now() }
  return {
    async get(caller, clientInfo, capabilities) {
      sweep(state)
      if (caller.owner === '') {
        // Callers cannot be told apart, so each call has a session of its own, and the server cannot ask
        // anything in it.
        const about = await initialize(server, caller, clientInfo, {})
        return about === undefined || about instanceof Response
          ? about
          : createSession(server, undefined, about, {}, caller)
      }
      // Another URL is another server.
      const key = digest(JSON.stringify([server.service.id, caller.url, caller.owner, capabilities]))
      const found =
        state.open.get(key) ?? (await once(key, () => begin(state, key, caller, clientInfo, capabilities)))
      // Callers of a single flight share its outcome, and a body can be read once.
      if (found === undefined || found instanceof Response) return found?.clone()
      found.caller = caller
      found.usedAt = now()
      if (found.usedAt - found.writtenAt >= writeMs) {
        found.writtenAt = found.usedAt
        await records.put(key, { about: found.initialized, usedAt: found.usedAt }, { ttlMs: idleMs })
      }
      return found
    },
    async lost(session) {
      session.stream?.close()
      if (session.key === undefined || state.open.get(session.key) !== session) return
      state.open.delete(session.key)
      await remove(state, session.key, session)
    },
    done(session) {
      if (session.key === undefined) endSession(server, session)
    },
  }
}
