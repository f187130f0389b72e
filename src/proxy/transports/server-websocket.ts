// A server behind a WebSocket: one JSON-RPC message in each text frame, subprotocol `mcp` (the custom transport
// that SDKs and bridges share). As a transport for sessions of Streamable HTTP, and as the other end of a
// client's WebSocket.
import { Refusal } from '../../kit/refusal.ts'
import type { Connect } from '../../mcp/json-rpc-peer.ts'
import { messagesOf, messagesToWrite } from '../../mcp/json-rpc.ts'
import type { ListAnswers } from '../../ports/call.ts'
import type { UpstreamCredential, UpstreamCredentials } from '../../ports/modules.ts'
import type { Timer, ConnectSocket, RuntimeTransports, TextSocket } from '../../ports/runtime.ts'
import type { Service } from '../../ports/services.ts'
import type { PermittedCall } from '../admitted-call.ts'
import { rewriteMessages } from '../answer-messages.ts'
import { type ListAccess, type TrimFor, isReadableBy } from '../lists.ts'
import { type ReplyToServer, createMessageFilter } from '../server-messages.ts'
import { type MakeInternalCall, type ClientMessagesDeps, createClientMessages } from './client-messages.ts'
import { forwardedFields, refusalOf } from './server-sse.ts'
import { mostMessageBytes } from './session-endpoint.ts'

// The heartbeat of a WebSocket: a ping at each beat, and an end when two beats brought nothing (RFC 6455
// §5.5.2), because a peer that vanished closes nothing.

export interface Heartbeat {
  /** The peer was heard. */
  alive(): void
  /** A message of the peer. True: it answered a beat, and nobody else is to hear of it. */
  hear(text: string): boolean
  stop(): void
}

/** Of the ids of our own requests; nobody else's begin like this. */
const mark = 'postern-beat-'

const answers = (text: string): boolean =>
  text.includes(mark) &&
  messagesOf(text).some(
    ({ message }) =>
      message['method'] === undefined && typeof message['id'] === 'string' && message['id'].startsWith(mark),
  )

/**
 * `socket`: once it is there. `dead`: called at most once, after the socket has been cut. Where the runtime
 * sends no ping frames the ping is that of MCP (2025-11-25 utilities, Ping): idle sockets are cut on the way
 * otherwise. Who never answered one of those may not know them, and is left alone.
 */
export const createHeartbeat = (
  timer: Timer,
  everyMs: number,
  socket: () => TextSocket | undefined,
  dead: () => void,
): Heartbeat => {
  let heard = true
  let answered = false
  let beats = 0
  let stopped = false
  const beat = (): void => {
    const open = socket()
    if (open && !heard && (open.ping || answered)) {
      stopped = true
      open.cut()
      dead()
      return
    }
    if (open) {
      heard = false
      beats++
      if (open.ping) open.ping()
      else
        Promise.resolve(
          open.send(JSON.stringify({ jsonrpc: '2.0', id: `${mark}${beats}`, method: 'ping' })),
        ).catch(() => undefined)
    }
    // After what runs now: a clock that jumps over several beats must leave time for the answer to one.
    queueMicrotask(() => {
      if (!stopped) cancel = timer(everyMs, beat)
    })
  }
  let cancel = timer(everyMs, beat)
  return {
    alive: () => void (heard = true),
    hear(text) {
      heard = true
      const own = beats > 0 && answers(text)
      answered ||= own
      return own
    },
    stop() {
      stopped = true
      cancel()
    },
  }
}

/** Holds the sender back while what it sent is still on its way to the other end. */
export const holdBack = (
  sender: TextSocket | undefined,
  slow: void | Promise<void>,
  failed: () => void = () => undefined,
): void => {
  if (!slow) return
  sender?.pause?.()
  slow.then(() => sender?.resume?.(), failed)
}

/** Codes that may stand in a close frame (RFC 6455 §7.4); the others are for the inside of one end. */
export const closeCode = (code: number): number => {
  if (code === 1005) return 1000
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1006) || (code >= 3000 && code <= 4999)
    ? code
    : 1011
}

export interface ServerWebSocketDeps {
  readonly timer: Timer
  readonly socket: ConnectSocket
  readonly url: string
  readonly service: string
  readonly maxBytes: number
  readonly heartbeatMs: number
}

/** What went wrong with a handshake, as the caller may hear it. */
export const handshakeRefusal = (error: unknown, service: string): Refusal => {
  if (error instanceof Refusal) return error
  const { status, authenticate, code, message } = error as {
    readonly status?: number
    readonly authenticate?: readonly string[]
    readonly code?: string
    readonly message?: string
  }
  if (status !== undefined) return refusalOf(status, service, authenticate)
  return new Refusal(
    code === 'ETIMEDOUT' ? 'upstream.timeout' : 'upstream.unreachable',
    `${service}: ${code ?? message ?? String(error)}`,
  )
}

export const createServerWebSocket =
  ({ timer, socket: open, url, service, maxBytes, heartbeatMs }: ServerWebSocketDeps): Connect =>
  async ({ headers, timeoutMs }, events) => {
    let closed = false
    let socket: TextSocket | undefined
    const over = (why: Refusal): void => {
      heartbeat.stop()
      if (closed) return
      closed = true
      events.onclose(why)
    }
    const lost = (why: string): void => over(new Refusal('upstream.closed', `${service} ${why}`))
    const heartbeat = createHeartbeat(
      timer,
      heartbeatMs,
      () => socket,
      () => lost('answers no ping'),
    )
    const heard = {
      text(message: string): void {
        if (!heartbeat.hear(message) && !closed) events.onmessage(message)
      },
      binary(): void {
        socket?.close(1003, 'text only')
        lost('sent a binary frame')
      },
      alive: heartbeat.alive,
      closed: (code: number): void => lost(`closed with ${code}`),
    }
    try {
      socket = await open(url, { headers: forwardedFields(headers), timeoutMs, maxBytes }, heard)
    } catch (error) {
      heartbeat.stop()
      closed = true
      throw handshakeRefusal(error, service)
    }
    const { send, close, pause, resume } = socket
    return {
      send(message) {
        if (closed) throw new Refusal('session.unknown', `${service}: the socket is closed`)
        return send(message)
      },
      close() {
        close(1000, '')
        over(new Refusal('session.unknown', 'the connection was closed'))
      },
      pause: () => pause?.(),
      resume: () => resume?.(),
    }
  }

// The server's side of a client's WebSocket: another WebSocket, each message to which has passed the steps of a
// call, or a session of Streamable HTTP.

export interface UpstreamSocketDeps extends Pick<
  ListAccess,
  'rulesOf' | 'catalog' | 'watchLists' | 'tasks' | 'newest'
> {
  readonly transports: RuntimeTransports
  readonly log: ClientMessagesDeps['log']
  /** What a WebSocket server is shown of the caller's right to be there. */
  readonly credentials: Pick<UpstreamCredentials, 'after'>
  readonly ask: MakeInternalCall
  readonly timer: Timer
  readonly heartbeatMs: number
  readonly defer: (work: Promise<unknown>) => void
  /** Messages without an answer, where each is a call of its own. */
  readonly most: number
  readonly budget: ClientMessagesDeps['budget']
  /** Absent: every list is passed on as it came. */
  readonly trim: TrimFor | undefined
  /** The server says that its lists have changed. */
  readonly changed: (service: Service) => void
}

/** A client's WebSocket whose handshake has passed its steps. */
export interface OpenedCall extends PermittedCall {
  /** Flat list of what the server behind is told. */
  readonly headers: readonly string[]
}

export interface UpstreamSocket {
  /** A promise while the server takes no more. Throws `calls.limited`. */
  send(text: string): void | Promise<void>
  close(code: number, reason: string): void
  /** Each message is a call, which is written down as such. */
  readonly calls?: true
}

export interface UpstreamSocketEvents {
  tell(text: string): void | Promise<void>
  /** The server closed, or was lost (1006). */
  closed(code: number, reason: string): void
}

type HttpUpstream = Extract<Service['upstream'], { kind: 'http' }>

/** The message as its client reads it, empty where it does not; undefined for one that cannot be read. */
const rewritten = (message: string, answers: ListAnswers): string | undefined => {
  try {
    return rewriteMessages(message, answers) ?? message
  } catch {
    return undefined
  }
}

/** What is read of all that the server says; undefined: nothing. */
const answersOn = (
  { trim: trimFor, rulesOf, catalog, changed, newest }: UpstreamSocketDeps,
  { address: { service }, principal: admitted }: OpenedCall,
  reply: ReplyToServer,
): ListAnswers | undefined => {
  const principal = admitted && newest(admitted)
  const trim = trimFor?.({ service, principal })
  const rules = rulesOf(service)
  // Any answer may come here, and a server tells what it is asked in the words of its client.
  const about = { methods: ['tools/call', 'resources/read'], listens: true, modern: true, announces: true }
  const message =
    rules?.answers &&
    createMessageFilter(
      () => rules.answers,
      { ...about, isReadable: isReadableBy(rules, catalog, service, principal) },
      reply,
    )
  return trim || message ? { trim, message, changed: () => changed(service) } : undefined
}

const hearTask = ({ tasks, rulesOf }: UpstreamSocketDeps, call: OpenedCall, message: string): void => {
  if (!(call.principal ?? rulesOf(call.address.service))) return
  // What opened the connection asked for nothing: the messages on it are calls of their own.
  const { head, address, principal } = call
  const connection = { head: { ...head, within: true as const }, address, principal }
  for (const said of messagesToWrite(message)) tasks.hear(said, connection)
}

const noticesOn = (
  { rulesOf, watchLists }: UpstreamSocketDeps,
  { address: { service }, principal }: OpenedCall,
  { tell }: UpstreamSocketEvents,
): (() => void) =>
  rulesOf(service) ? watchLists({ service, principal }, (message) => void tell(message)) : () => undefined

const overSocket = async (
  { url, publicOnly }: HttpUpstream,
  deps: UpstreamSocketDeps,
  call: OpenedCall,
  events: UpstreamSocketEvents,
): Promise<UpstreamSocket> => {
  const { transports, timer, heartbeatMs } = deps
  const { id, timeoutMs } = call.address.service
  // By the rules of the time: the connection stays while they change.
  const answersNow = (): ListAnswers | undefined =>
    answersOn(deps, call, (response) => holdBack(socket, socket?.send(JSON.stringify(response))))
  let socket: TextSocket | undefined
  let unwatch = (): void => undefined
  const closed = (code: number, reason: string): void => {
    beat.stop()
    unwatch()
    // A handshake that came to nothing is told by the error, and another may follow.
    if (socket) events.closed(code, reason)
  }
  const beat = createHeartbeat(
    timer,
    heartbeatMs,
    () => socket,
    () => events.closed(1006, 'The server behind answers no ping.'),
  )
  const text = (message: string): void => {
    if (beat.hear(message)) return
    if (message.includes('"taskId"')) hearTask(deps, call, message)
    const answers = answersNow()
    const shown = answers ? rewritten(message, answers) : message
    if (shown !== undefined) {
      if (shown !== '') holdBack(socket, events.tell(shown))
    } else {
      // What cannot be read must not reach the caller.
      socket?.close(1003, '')
      closed(1011, 'The server behind sent a message that cannot be read.')
    }
  }
  const binary = (): void => {
    socket?.close(1003, '')
    closed(1011, 'The server behind sent a binary frame.')
  }
  try {
    socket = await (publicOnly ? transports.publicOnly : transports).socket(
      url,
      { headers: forwardedFields(call.headers), timeoutMs, maxBytes: mostMessageBytes },
      { text, binary, alive: beat.alive, closed },
    )
  } catch (error) {
    beat.stop()
    throw handshakeRefusal(error, id)
  }
  const open = socket
  unwatch = noticesOn(deps, call, events)
  return {
    send: (text) => open.send(text),
    close(code, reason) {
      beat.stop()
      unwatch()
      open.close(code, reason)
    },
  }
}

/**
 * As in a call over HTTP: what a refused handshake was shown is followed by another credential, once, or by
 * the question to the person.
 */
const connect = async (
  upstream: HttpUpstream,
  deps: UpstreamSocketDeps,
  call: OpenedCall,
  events: UpstreamSocketEvents,
): Promise<UpstreamSocket> => {
  const { address, principal, headers, rest, context } = call
  const attempt = (credential: UpstreamCredential | undefined): Promise<UpstreamSocket> =>
    overSocket(
      upstream,
      deps,
      credential === undefined ? call : { ...call, headers: [...headers, ...credential.headers] },
      events,
    )
  const another = (
    error: unknown,
    credential: UpstreamCredential | undefined,
    last: boolean,
  ): Promise<UpstreamCredential> => {
    const refused = error instanceof Refusal ? error.detail.refused : undefined
    const next =
      refused &&
      deps.credentials.after({ address, principal, shown: credential, ...refused, below: rest !== '', last })
    if (!next) throw error
    return next
  }
  const first = await context.credential(principal)
  try {
    return await attempt(first)
  } catch (error) {
    const second = await another(error, first, false)
    return attempt(second).catch(async (again: unknown) => attempt(await another(again, second, true)))
  }
}

export const createUpstreamSocket = (
  deps: UpstreamSocketDeps,
  call: OpenedCall,
  events: UpstreamSocketEvents,
): Promise<UpstreamSocket> => {
  const { service, path } = call.address
  const { upstream } = service
  if (upstream.kind === 'http' && /^wss?:/.test(upstream.url)) return connect(upstream, deps, call, events)
  const client = createClientMessages({
    ask: deps.ask,
    tell: events.tell,
    log: deps.log,
    timer: deps.timer,
    admitted: call,
    lost: () => events.closed(1011, 'The server behind has forgotten the session.'),
    service: service.id,
    timeoutMs: service.timeoutMs,
    maxBytes: mostMessageBytes,
    defer: deps.defer,
    most: deps.most,
    budget: deps.budget,
    ip: call.head.ip,
  })
  return Promise.resolve({
    send: (text) => client.receive(messagesOf(text), { head: call.head, path }),
    close: () => client.close(),
    calls: true,
  })
}
