// The server's side of a client's WebSocket: another WebSocket, each message to which has passed the steps of
// a call, or a session of Streamable HTTP.
import { Refusal } from '../../kit/refusal.ts'
import type { Envelope } from '../../mcp/envelope.ts'
import { cancelledId, isResponse, keyOf, messagesOf } from '../../mcp/json-rpc.ts'
import type { Trim } from '../../ports/call.ts'
import type { UpstreamCredential, UpstreamCredentials } from '../../ports/modules.ts'
import type { RuntimeTransports, TextSocket, Timer } from '../../ports/runtime.ts'
import type { Service } from '../../ports/services.ts'
import type { PermittedCall } from '../admitted-call.ts'
import { type TrimFor, rewriteLists } from '../lists.ts'
import { type MakeInternalCall, type ClientMessagesDeps, createClientMessages } from './client-messages.ts'
import type { ConnectionSteps } from './connection-steps.ts'
import { createHeartbeat, handshakeFields, handshakeRefusal, holdBack } from './server-websocket.ts'
import { mostMessageBytes } from './session-endpoint.ts'

export interface UpstreamSocketDeps {
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
  readonly trim?: TrimFor | undefined
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

/** The message with its lists rewritten; undefined for one that cannot be read. */
const trimmed = (message: string, trim: Trim): string | undefined => {
  try {
    return rewriteLists(message, { trim }) ?? message
  } catch {
    return undefined
  }
}

const overSocket = async (
  { url, publicOnly }: HttpUpstream,
  { transports, timer, heartbeatMs, trim: trimFor }: UpstreamSocketDeps,
  { address, principal, headers }: OpenedCall,
  events: UpstreamSocketEvents,
): Promise<UpstreamSocket> => {
  const { id, timeoutMs } = address.service
  const trim = trimFor?.({ service: address.service, principal })
  let socket: TextSocket | undefined
  const closed = (code: number, reason: string): void => {
    beat.stop()
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
    const shown = trim ? trimmed(message, trim) : message
    if (shown !== undefined) holdBack(socket, events.tell(shown))
    else {
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
      { headers: handshakeFields(headers), timeoutMs, maxBytes: mostMessageBytes },
      { text, binary, alive: beat.alive, closed },
    )
  } catch (error) {
    beat.stop()
    throw handshakeRefusal(error, id)
  }
  const open = socket
  return {
    send: (text) => open.send(text),
    close(code, reason) {
      beat.stop()
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

export interface MessagesDeps {
  readonly connections: Pick<ConnectionSteps, 'messages'>
  readonly now: () => number
}

interface Pending {
  readonly key: string
  readonly permit: () => void
  /** Epoch ms after which nobody waits for the answer any more. */
  readonly until: number
}

export interface Messages {
  /**
   * Rejects with the refusal of a message that the server must not hear. `text`: of a notification, for the
   * request that it cancels.
   */
  admit(envelope: Envelope, text: string): Promise<void>
  /** Something that the server said. */
  heard(text: string): void
  /** The socket is closed. */
  end(): void
}

/** A request keeps its permit until its answer has passed. */
export const createMessages = ({ connections, now }: MessagesDeps, call: OpenedCall): Messages => {
  const judge = connections.messages(call)
  let pending: Pending[] = []
  let ended = false

  /** Gives back what is no longer waited for: the answer to `key`, and what took longer than a call may. */
  const settle = (key: string | undefined): void => {
    const at = now()
    const index = pending.findIndex((each) => each.key === key)
    pending = pending.filter((each, i) => {
      const stays = i !== index && each.until > at
      if (!stays) each.permit()
      return stays
    })
  }

  return {
    async admit(envelope, text) {
      const [message] = envelope.messages
      if (message?.kind === 'request') settle(undefined)
      const permit = await judge(envelope)
      if (message?.method === 'notifications/cancelled') {
        for (const { message: said } of messagesOf(text)) settle(keyOf(cancelledId(said)))
      }
      if (message?.kind !== 'request') return
      if (ended) return permit()
      pending.push({ key: keyOf(message.id), permit, until: now() + call.address.service.timeoutMs })
    },
    heard(text) {
      if (pending.length === 0) return
      for (const { message } of messagesOf(text)) if (isResponse(message)) settle(keyOf(message['id']))
    },
    end() {
      ended = true
      for (const { permit } of pending) permit()
      pending = []
    },
  }
}
