// One MCP server as a JSON-RPC peer, whatever transport leads to it: calls go out under ids of our own, and
// each answer and progress report finds the caller it belongs to.
import { Refusal } from '../kit/refusal.ts'
import {
  type DescribedMessage,
  type Id,
  type Rpc,
  type CallsInFlight,
  createCallsInFlight,
  describeMessage,
  forWriting,
  isId,
  kindOf,
  metaOf,
  oneLine,
  paramsOf,
  readLine,
  withId,
} from './json-rpc.ts'
import { type TolerantMessages, createTolerantMessages, repairAnswer } from './tolerant-messages.ts'

/** Runs the function once, after so many milliseconds; what it returns cancels it. */
export type StartTimer = (ms: number, run: () => void) => () => void

/**
 * A connection to an MCP server that carries whole JSON-RPC messages both ways until it ends; the shape is
 * the MCP SDK's Transport.
 */
export interface Transport {
  /**
   * Sends one message. Throws or rejects with `Refusal` when the server did not get it. `headers`: of the
   * request that carries the message, a flat list, for transports that send each message with headers.
   */
  send(message: string, headers: readonly string[]): void | Promise<void>
  /** Ends the connection; `onclose` follows. */
  close(): void
  /** Stops reading what the server writes, and goes on. */
  pause(): void
  resume(): void
}

export interface TransportEvents {
  onmessage(text: string): void
  /** A message beyond every bound, of which only the two ends are known. */
  onoversized(head: string, tail: string): void
  /** The connection is over, whoever ended it; nothing follows. */
  onclose(why: Refusal): void
}

/** Opens a connection. `headers`: a flat list, for the request that opens it. Rejects with `upstream.*`. */
export type Connect = (
  about: { readonly headers: readonly string[]; readonly timeoutMs: number },
  events: TransportEvents,
) => Promise<Transport>

export interface CallEvents {
  /** The message is on its way, on a transport that tells when the server has taken it. */
  sending?(taken: Promise<void>): void
  /** The answer under the caller's id. Nothing follows. */
  answer(text: string, message: Rpc): void
  /** A progress report under the caller's token. */
  progress(text: string): void
  /** No answer will come. */
  failed(refusal: Refusal): void
  /** Silence is no fault: a stream of notifications that may never come. */
  readonly patient?: boolean
}

export interface PeerEvents {
  notification(message: Rpc, text: string): void
  request(message: Rpc, text: string): void
  /** The connection is over; its calls have failed already. */
  ended(): void
}

/** What a session needs of the server behind it. */
export interface SessionPeer {
  /**
   * Sends a request under a new id, which is returned. Throws `upstream.busy` when the server leaves too much
   * unread, and the reason when the connection is over. `headers`: of the request that carries the message.
   */
  call(said: DescribedMessage, events: CallEvents, headers?: readonly string[]): number
  /** Sends a notification or a response of a client. Throws or rejects with `Refusal`. */
  send(said: DescribedMessage, headers?: readonly string[]): void | Promise<void>
  /** Sends a notification or a response of the gateway's own; what the server does not take is dropped. */
  tell(message: Rpc): void
  /**
   * Tells the server that nobody waits any longer, and forgets the call (MCP cancellation; an answer that
   * crosses it is dropped).
   */
  cancel(id: number, reason: string): void
  /** While anybody holds it, nothing more is read of what the server writes. */
  hold(who: object): void
  release(who: object): void
  /** Fails the calls of which nothing was heard for longer than `silenceMs`, and tells the server. */
  expire(silenceMs: number): void
  /** Calls without an answer. */
  pending(): number
  /** Epoch ms of the last message in either direction. */
  usedAt(): number
  /**
   * What the server complained of elsewhere, to be put behind a reason for the operator; empty when nothing
   * is known.
   */
  complaint(): string
  /** Ends the connection; `PeerEvents.ended` follows. */
  close(): void
}

export interface JsonRpcPeer extends SessionPeer {
  /** Begins to send; what is heard on the transport goes to `heard`. */
  attach(transport: Transport): void
  readonly heard: TransportEvents
  /** Why the connection is over; undefined while it is not. */
  closed(): Refusal | undefined
  /** Whether the server has answered anything. */
  spoke(): boolean
}

export interface JsonRpcPeerDeps {
  /** Display name of the service, for sentences that callers read. */
  readonly name: string
  readonly now: () => number
  readonly timer: StartTimer
  /** What a message was that belongs to nobody. */
  readonly unexpected: (what: string) => void
  /** The server says that a list of its has changed, whoever is told so. */
  readonly listChanged?: (() => void) | undefined
  /** It wrote what is no message, or none that can be read. `waited`: while calls were going. */
  readonly unreadable: (text: string, waited: boolean) => void
}

interface Pending {
  readonly events: CallEvents
  readonly clientId: Id
  readonly token: Id | undefined
  heardAt: number
}

/** A peer at work. */
interface Peer extends JsonRpcPeerDeps {
  readonly events: PeerEvents
  /** Calls without an answer. */
  readonly calls: CallsInFlight<number, Pending>
  transport: Transport | undefined
  nextId: number
  usedAt: number
  spoke: boolean
  closed: Refusal | undefined
  /** Notifications that were sent: careless servers answer them with an error that has no id. */
  notified: number
  /** Made when the server first writes what is no message. */
  tolerant: TolerantMessages | undefined
}

// What is sent.

const noHeaders: readonly string[] = []

/**
 * The same request under our id; the progress token becomes that id too, so that it is unique among
 * everybody's (basic/utilities/progress).
 */
const outgoing = ({ message, text }: DescribedMessage, id: number, token: Id | undefined): string => {
  if (token === undefined) return withId(oneLine(text, message), message, id)
  const whole = forWriting(text, message)
  return JSON.stringify({
    ...whole,
    id,
    params: { ...paramsOf(whole), _meta: { ...metaOf(whole), progressToken: id } },
  })
}

const asRefusal = (error: unknown): Refusal =>
  error instanceof Refusal ? error : new Refusal('fault', String(error))

const openTransport = ({ transport, closed }: Peer): Transport => {
  if (closed) throw closed
  return transport as Transport
}

/** Sends without anybody who would hear of a failure. */
const tell = ({ transport, closed }: Peer, message: Rpc): void => {
  if (closed) return
  try {
    transport?.send(JSON.stringify(message), noHeaders)?.catch(() => undefined)
  } catch {
    // The server does not read, or is gone; both are dealt with elsewhere.
  }
}

/** The call is over; undefined where it was before. */
const forget = ({ calls, tolerant }: Peer, id: number): Pending | undefined => {
  const found = calls.get(id)
  if (!found) return undefined
  calls.delete(id)
  tolerant?.settled(id)
  return found
}

const cancel = (peer: Peer, requestId: number, reason: string): void => {
  if (forget(peer, requestId))
    tell(peer, { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId, reason } })
}

const expire = (peer: Peer, before: number): void => {
  for (const [id, { events, heardAt }] of peer.calls.entries()) {
    if (events.patient || heardAt > before) continue
    cancel(peer, id, 'timeout')
    events.failed(
      new Refusal('upstream.timeout', 'no output for the call within the timeout', {
        say: `Request to ${peer.name} timed out`,
      }),
    )
  }
}

const call = (peer: Peer, said: DescribedMessage, events: CallEvents, headers: readonly string[]): number => {
  const transport = openTransport(peer)
  const id = peer.nextId++
  const { message } = said
  const { progressToken } = metaOf(message)
  const token = isId(progressToken) ? progressToken : undefined
  peer.usedAt = peer.now()
  const sent = transport.send(outgoing(said, id, token), headers)
  peer.calls.set(id, { events, clientId: message['id'] as Id, token, heardAt: peer.usedAt })
  if (sent) {
    events.sending?.(sent)
    sent.catch((error: unknown) => {
      if (forget(peer, id)) events.failed(asRefusal(error))
    })
  }
  return id
}

// What the server says.

/** Our ids are numbers; some servers write them as text. */
const numberOf = (id: unknown): number =>
  typeof id === 'string' && /^\d{1,15}$/.test(id) ? Number(id) : (id as number)

const hearAnswer = (peer: Peer, message: Rpc, text: string): void => {
  const id = numberOf(message['id'])
  const found = peer.calls.get(id)
  if (!found) return peer.unexpected('an answer to no call')
  peer.calls.delete(id)
  peer.spoke = true
  // Clients refuse an answer with both members, even where one is null (JSON-RPC 2.0 §5).
  const whole =
    message['error'] === null || message['result'] === null
      ? repairAnswer(forWriting(text, message))
      : undefined
  const { events, clientId } = found
  events.answer(
    whole ? JSON.stringify({ ...whole, id: clientId }) : withId(text, message, clientId),
    whole ?? message,
  )
  peer.tolerant?.settled(id)
}

const hearNotification = (peer: Peer, message: Rpc, text: string): void => {
  if (String(message['method']).endsWith('/list_changed')) peer.listChanged?.()
  if (message['method'] !== 'notifications/progress') return peer.events.notification(message, text)
  const found = peer.calls.get(numberOf(paramsOf(message)['progressToken']))
  if (found?.token === undefined) return peer.unexpected('progress of no call')
  found.heardAt = peer.now()
  const whole = forWriting(text, message)
  found.events.progress(
    JSON.stringify({ ...whole, params: { ...paramsOf(whole), progressToken: found.token } }),
  )
}

/** Gives a message to whom it is for; false for what is no message. */
const hear = (peer: Peer, value: unknown, line: string): boolean => {
  const kind = kindOf(value)
  if (kind === undefined) return false
  const message = value as Rpc
  const text = oneLine(line, message)
  if (kind === 'response') hearAnswer(peer, message, text)
  else if (kind === 'notification') hearNotification(peer, message, text)
  else peer.events.request(message, text)
  return true
}

/** Whoever makes sense of what is no message, from the first of it on. */
const tolerantOf = (peer: Peer): TolerantMessages => {
  const { calls, timer, unreadable } = peer
  peer.tolerant ??= createTolerantMessages({
    timer,
    hear: (value, line) => hear(peer, value, line),
    unreadable: (text) => unreadable(text, calls.size > 0),
    has: (id) => calls.get(id) !== undefined,
    // Streams of notifications only where there is nothing else.
    waiting() {
      const all = calls.entries()
      const impatient = all.filter(([, { events }]) => !events.patient)
      return (impatient.length > 0 ? impatient : all).map(([id]) => id)
    },
    forNotification: () => peer.notified > 0 && peer.notified-- > 0,
    end(id, lost) {
      const found = calls.get(id)
      if (!found) return
      calls.delete(id)
      if ('refusal' in lost) found.events.failed(lost.refusal)
      else found.events.answer(JSON.stringify({ ...lost.error, id: found.clientId }), lost.error)
      peer.tolerant?.settled(id)
    },
  })
  return peer.tolerant
}

const createHeard = (peer: Peer): TransportEvents => ({
  onmessage(line) {
    peer.usedAt = peer.now()
    const read = readLine(line)
    if (read && hear(peer, read.value, line)) peer.tolerant?.interrupt()
    else tolerantOf(peer).line(line)
  },
  onoversized: (head, tail) => tolerantOf(peer).oversized(head, tail),
  onclose(why) {
    if (peer.closed) return
    peer.closed = why
    peer.tolerant?.close()
    const lost = peer.calls.entries()
    for (const [id] of lost) peer.calls.delete(id)
    for (const [, { events }] of lost) events.failed(why)
    peer.events.ended()
  },
})

export const createJsonRpcPeer = (deps: JsonRpcPeerDeps, events: PeerEvents): JsonRpcPeer => {
  const peer: Peer = {
    ...deps,
    events,
    calls: createCallsInFlight(),
    transport: undefined,
    nextId: 1,
    usedAt: deps.now(),
    spoke: false,
    closed: undefined,
    notified: 0,
    tolerant: undefined,
  }
  const holders = new Set<object>()
  return {
    heard: createHeard(peer),
    attach: (transport) => void (peer.transport = transport),
    call: (said, heard, headers = noHeaders) => call(peer, said, heard, headers),
    send({ message, text }, headers = noHeaders) {
      peer.usedAt = peer.now()
      if (message['id'] === undefined) peer.notified++
      return openTransport(peer).send(oneLine(text, message), headers)
    },
    tell: (message) => tell(peer, message),
    cancel: (id, reason) => cancel(peer, id, reason),
    hold(who) {
      if (holders.size === 0) peer.transport?.pause()
      holders.add(who)
    },
    release(who) {
      if (holders.delete(who) && holders.size === 0) peer.transport?.resume()
    },
    expire: (silenceMs) => expire(peer, peer.now() - silenceMs),
    pending: () => peer.calls.size,
    usedAt: () => peer.usedAt,
    closed: () => peer.closed,
    spoke: () => peer.spoke,
    complaint: () => '',
    close: () => peer.transport?.close(),
  }
}

/**
 * A request of the gateway's own. Resolves to the whole answer, which may be an error; rejects with the
 * reason when none will come. `patient`: as of the call.
 */
export const askPeer = (
  peer: Pick<SessionPeer, 'call'>,
  method: string,
  params?: Rpc,
  patient = false,
): Promise<Rpc> =>
  new Promise((resolve, reject) => {
    const events: CallEvents = {
      answer: (_, message) => resolve(message),
      progress: () => undefined,
      failed: reject,
      patient,
    }
    peer.call(describeMessage({ jsonrpc: '2.0', id: 0, method, params }), events)
  })
