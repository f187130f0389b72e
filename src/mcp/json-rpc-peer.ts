// One MCP server as a JSON-RPC peer, whatever transport leads to it: calls go out under ids of our own, and
// each answer and progress report finds the caller it belongs to.
import { Refusal } from '../kit/refusal.ts'
import {
  type PendingCalls,
  type CallEvents,
  type IncomingOptions,
  type PeerEvents,
  createIncomingMessages,
} from './incoming-messages.ts'
import {
  type DescribedMessage,
  type Id,
  type Rpc,
  describeMessage,
  forWriting,
  isId,
  metaOf,
  oneLine,
  paramsOf,
  withId,
} from './json-rpc.ts'
import type { Transport, TransportEvents } from './transport.ts'

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

export interface JsonRpcPeerDeps extends Pick<
  IncomingOptions,
  'now' | 'timer' | 'unexpected' | 'unreadable'
> {
  /** Display name of the service, for sentences that callers read. */
  readonly name: string
}

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

const createHolders = (transport: () => Transport): Pick<JsonRpcPeer, 'hold' | 'release'> => {
  const holders = new Set<object>()
  return {
    hold(who) {
      if (holders.size === 0) transport().pause()
      holders.add(who)
    },
    release(who) {
      if (holders.delete(who) && holders.size === 0) transport().resume()
    },
  }
}

const expire = (calls: PendingCalls, before: number, name: string, cancel: JsonRpcPeer['cancel']): void => {
  for (const [id, call] of calls) {
    if (call.events.patient || call.heardAt > before) continue
    cancel(id, 'timeout')
    call.events.failed(
      new Refusal('upstream.timeout', 'no output for the call within the timeout', {
        say: `Request to ${name} timed out`,
      }),
    )
  }
}

const failAll = (calls: PendingCalls, refusal: Refusal): void => {
  const lost = [...calls.values()]
  calls.clear()
  for (const call of lost) call.events.failed(refusal)
}

const asRefusal = (error: unknown): Refusal =>
  error instanceof Refusal ? error : new Refusal('fault', String(error))

interface PeerState {
  transport: Transport | undefined
  nextId: number
  usedAt: number
  spoke: boolean
  closed: Refusal | undefined
}

const openTransport = ({ transport, closed }: PeerState): Transport => {
  if (closed) throw closed
  return transport as Transport
}

/** Sends without anybody who would hear of a failure. */
const tellQuietly = ({ transport, closed }: PeerState, message: Rpc): void => {
  if (closed) return
  try {
    transport?.send(JSON.stringify(message), noHeaders)?.catch(() => undefined)
  } catch {
    // The server does not read, or is gone; both are dealt with elsewhere.
  }
}

const createCall =
  ({
    calls,
    state,
    now,
    open,
    forget,
  }: {
    readonly calls: PendingCalls
    readonly state: PeerState
    readonly now: () => number
    readonly open: () => Transport
    readonly forget: (id: number) => boolean
  }): JsonRpcPeer['call'] =>
  (said, events, headers = noHeaders) => {
    const transport = open()
    const id = state.nextId++
    const { message } = said
    const { progressToken } = metaOf(message)
    const token = isId(progressToken) ? progressToken : undefined
    state.usedAt = now()
    const sent = transport.send(outgoing(said, id, token), headers)
    calls.set(id, { events, clientId: message['id'] as Id, token, heardAt: state.usedAt })
    if (sent) {
      events.sending?.(sent)
      sent.catch((error: unknown) => {
        if (forget(id)) events.failed(asRefusal(error))
      })
    }
    return id
  }

export const createJsonRpcPeer = (deps: JsonRpcPeerDeps, events: PeerEvents): JsonRpcPeer => {
  const { now } = deps
  const calls: PendingCalls = new Map()
  const state: PeerState = {
    transport: undefined,
    nextId: 1,
    usedAt: now(),
    spoke: false,
    closed: undefined,
  }
  const incoming = createIncomingMessages({ ...deps, calls, events, answered: () => (state.spoke = true) })
  const open = (): Transport => openTransport(state)
  const forget = (id: number): boolean => {
    if (!calls.delete(id)) return false
    incoming.settled(id)
    return true
  }
  const cancel: JsonRpcPeer['cancel'] = (id, reason) => {
    if (forget(id))
      tellQuietly(state, {
        jsonrpc: '2.0',
        method: 'notifications/cancelled',
        params: { requestId: id, reason },
      })
  }

  return {
    ...createHolders(() => state.transport as Transport),
    cancel,
    heard: {
      onmessage(text) {
        state.usedAt = now()
        incoming.line(text)
      },
      onoversized: incoming.oversized,
      onclose(why) {
        if (state.closed) return
        state.closed = why
        incoming.close()
        failAll(calls, why)
        events.ended()
      },
    },
    attach: (transport) => void (state.transport = transport),
    call: createCall({ calls, state, now, open, forget }),
    send({ message, text }, headers = noHeaders) {
      state.usedAt = now()
      if (message['id'] === undefined) incoming.notified()
      return open().send(oneLine(text, message), headers)
    },
    tell: (message) => tellQuietly(state, message),
    expire: (silenceMs) => expire(calls, now() - silenceMs, deps.name, cancel),
    pending: () => calls.size,
    usedAt: () => state.usedAt,
    closed: () => state.closed,
    spoke: () => state.spoke,
    complaint: () => '',
    close: () => state.transport?.close(),
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
