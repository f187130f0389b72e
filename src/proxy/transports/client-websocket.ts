// Clients on a WebSocket: the handshake passes the steps of a connection before it is answered, and each
// message those of a call.
import { utf8 } from '../../kit/bytes.ts'
import { aboutRequest, refusalOf } from '../../kit/log.ts'
import { Refusal } from '../../kit/refusal.ts'
import { type Envelope, errorId, readEnvelope } from '../../mcp/envelope.ts'
import { cancelledId, isResponse, keyOf, messagesOf } from '../../mcp/json-rpc.ts'
import type { Head } from '../../ports/call.ts'
import type { Audit } from '../../ports/modules.ts'
import type { TextSocket, SocketEvents, Timer } from '../../ports/runtime.ts'
import type { AskOnConnection, PermittedCall } from '../admitted-call.ts'
import { socketEvent, factsOf, refusalResponse } from '../outcome.ts'
import type { Revalidation, EndReason } from '../revalidate.ts'
import type { ConnectionSteps } from './client-messages.ts'
import {
  type OpenedCall,
  type UpstreamSocket,
  type UpstreamSocketDeps,
  closeCode,
  createHeartbeat,
  createUpstreamSocket,
  holdBack,
} from './server-websocket.ts'

// What a client says to a WebSocket server: each message has passed the steps of a call.

interface MessagesDeps {
  readonly connections: Pick<ConnectionSteps, 'messages'>
  readonly now: () => number
}

interface Pending {
  readonly key: string
  readonly permit: () => void
  /** Epoch ms after which nobody waits for the answer any more. */
  readonly until: number
}

interface Messages {
  /**
   * Resolves with what the server is to hear of the frame with this text. Rejects with the refusal of a message that
   * it must not hear.
   */
  admit(envelope: Envelope, text: string): Promise<string>
  /** Something that the server said. */
  heard(text: string): void
  /** The socket is closed. */
  end(): void
}

/** A request keeps its permit until its answer has passed. */
const createMessages = (
  { connections, now }: MessagesDeps,
  call: OpenedCall,
  askServer: AskOnConnection,
): Messages => {
  const judge = connections.messages(call, askServer)
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
      const { permit, said } = await judge(envelope, text)
      if (message?.method === 'notifications/cancelled') {
        for (const { message: one } of messagesOf(text)) settle(keyOf(cancelledId(one)))
      }
      if (message?.kind !== 'request') return said
      if (ended) permit()
      else pending.push({ key: keyOf(message.id), permit, until: now() + call.address.service.timeoutMs })
      return said
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

/** How long the server may take for a request of the gateway's own, ms. */
const ownRequestMs = 5000

/** Requests of the gateway's own to the server, whose answers the client does not hear. */
const createOwnRequests = (timer: Timer, send: (text: string) => void | Promise<void>) => {
  const waiting = new Map<unknown, (text: string) => void>()
  const ask: AskOnConnection = async (request) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const cancel = timer(ownRequestMs, () => reject(new Refusal('upstream.timeout', 'no answer')))
    waiting.set(request['id'], resolve)
    try {
      // A server that takes nothing is late too.
      await Promise.race([send(JSON.stringify(request)), promise])
      return await promise
    } finally {
      cancel()
      waiting.delete(request['id'])
    }
  }
  return {
    ask,
    /** Whether it is the answer to one. */
    heard(text: string): boolean {
      if (waiting.size === 0) return false
      const [first, second] = messagesOf(text)
      const heard =
        first && !second && isResponse(first.message) ? waiting.get(first.message['id']) : undefined
      heard?.(text)
      return heard !== undefined
    },
  }
}

// A client's WebSocket and what is behind it: a WebSocket server, message for message, or any other server by
// one session of Streamable HTTP.

export interface TunnelDeps extends UpstreamSocketDeps, MessagesDeps {
  readonly watch: Revalidation
  readonly record: Audit
}

export interface Tunnel {
  /** Largest message of the client, bytes. */
  readonly maxBytes: number
  /** What the client's socket hears. */
  readonly events: SocketEvents
  /** Called once, when the handshake has been answered. */
  attach(client: TextSocket): void
  /** The handshake came to nothing, or this process ends. */
  shut(code: number, reason: string): void
}

/** More than this at once, and then more than so many a second, is no conversation. */
const burst = 1000
const perSecond = 200

const createPace = (now: () => number): (() => boolean) => {
  let left = burst
  let at = now()
  return () => {
    const time = now()
    left = Math.min(burst, left + ((time - at) * perSecond) / 1000)
    at = time
    return --left >= 0
  }
}

/**
 * The message of a frame. Throws `mcp.parse` and `mcp.invalid`; a frame has one message, so an array is none.
 */
const read = (text: string): Envelope => {
  const envelope = readEnvelope(utf8(text))
  if (envelope.batch) throw new Refusal('mcp.invalid', 'an array in a frame')
  return envelope
}

/** Refusals after which this socket has no right to be open: what its handshake was let in for has ended. */
const endsAccess = (refusal: Refusal): boolean =>
  refusal.row.status === 401 || refusal.code.startsWith('token.')

/**
 * Takes each message of the client to the WebSocket server, in order, once it has been judged. `bytes` of
 * what waits are counted for the caller. Throws `calls.bytes`.
 */
const createDirect = (
  deps: TunnelDeps,
  call: OpenedCall,
  upstream: () => UpstreamSocket,
  ended: () => void,
) => {
  const { record, budget } = deps
  const own = createOwnRequests(deps.timer, (text) => upstream().send(text))
  const messages = createMessages(deps, call, own.ask)
  let before: Promise<unknown> = Promise.resolve()

  const pass = async (envelope: Envelope, text: string): Promise<Refusal | undefined> => {
    try {
      const said = await messages.admit(envelope, text)
      record(socketEvent(call, { what: 'message', envelope }))
      await upstream().send(said)
      return undefined
    } catch (error) {
      const refusal = refusalOf(error)
      record(socketEvent(call, { what: 'message', envelope, refusal: refusal.code, why: refusal.why }))
      return refusal
    }
  }

  return {
    end: messages.end,
    /** Whether what the server said is for the client. */
    heard(text: string): boolean {
      if (own.heard(text)) return false
      messages.heard(text)
      return true
    },
    send(envelope: Envelope, text: string, tell: (text: string) => void | Promise<void>): Promise<void> {
      const holding = budget.open(call.principal, call.head.ip)
      holding.grow(2 * text.length)
      const sent = before
        .then(() => pass(envelope, text))
        .then(async (refusal) => {
          const said =
            refusal &&
            refusalResponse(deps.log, refusal, { id: errorId(envelope), head: call.head, admitted: call })
          if (said !== undefined && envelope.messages[0]?.kind === 'request') await tell(said)
          if (refusal && endsAccess(refusal)) ended()
        })
        .finally(holding.release)
      before = sent.catch(() => undefined)
      return sent
    },
  }
}

/** Both ends of a tunnel: whichever closes first closes the other, once. */
const createEnds = ({ record, now }: TunnelDeps, call: OpenedCall) => {
  const ends: {
    client?: TextSocket
    upstream?: UpstreamSocket
    over: boolean
    messages: number
    readonly last: (() => void)[]
  } = { over: false, messages: 0, last: [call.permit] }
  const finish = (code: number, reason: string): boolean => {
    if (ends.over) return false
    ends.over = true
    for (const work of ends.last) work()
    record(
      socketEvent(call, {
        what: 'closed',
        closeCode: code,
        reason: reason.slice(0, 120),
        messages: ends.messages,
        durationMs: now() - call.startedAt,
      }),
    )
    return true
  }
  const shut = (code: number, reason: string): void => {
    if (!finish(code, reason)) return
    ends.client?.close(closeCode(code), reason)
    ends.upstream?.close(code === 4401 ? 1000 : closeCode(code), '')
  }
  /** The client has closed, or was lost. */
  const closed = (code: number, reason: string): void => {
    if (finish(code, reason)) ends.upstream?.close(closeCode(code === 1006 ? 1001 : code), reason)
  }
  return { ends, shut, closed }
}

const lastWords: Readonly<Record<EndReason, readonly [code: number, reason: string]>> = {
  access: [4401, 'The access has ended.'],
  service: [1001, 'The service is gone, or another one now.'],
  storage: [1013, 'The gateway cannot reach its storage. Connect again.'],
}

/** What the client reads in place of an answer to a message that could not be read. */
const refusedText = ({ log }: TunnelDeps, call: OpenedCall, error: unknown): string =>
  refusalResponse(log, refusalOf(error), { id: null, head: call.head, admitted: call })

/** Opens the server's side, and joins it to the client's. */
const createTunnel = async (deps: TunnelDeps, call: OpenedCall): Promise<Tunnel> => {
  const { ends, shut, closed } = createEnds(deps, call)
  const early: string[] = []
  const tell = (text: string): void | Promise<void> => {
    if (!direct.heard(text)) return undefined
    if (ends.client) return ends.client.send(text)
    early.push(text)
  }
  const direct = createDirect(
    deps,
    call,
    () => upstream,
    () => shut(...lastWords.access),
  )
  ends.last.push(direct.end)
  const upstream = await createUpstreamSocket(deps, call, {
    tell,
    closed: (code, reason) => shut(code === 1006 ? 1011 : code, reason),
  })
  ends.upstream = upstream
  const beat = createHeartbeat(
    deps.timer,
    deps.heartbeatMs,
    () => ends.client,
    () => shut(1011, 'No answer to a ping.'),
  )
  ends.last.push(
    beat.stop,
    deps.watch.caller(call, (why) => shut(...lastWords[why])),
  )
  const mayGoOn = createPace(deps.now)
  const send = (text: string): void | Promise<void> => {
    const envelope = read(text)
    return upstream.calls ? upstream.send(text) : direct.send(envelope, text, tell)
  }
  const take = (text: string): void => {
    if (beat.hear(text) || ends.over) return
    if (!mayGoOn()) {
      shut(1008, 'Too many messages.')
      return
    }
    ends.messages++
    try {
      holdBack(ends.client, send(text), () => shut(1011, 'The server behind is gone.'))
    } catch (error) {
      holdBack(ends.client, tell(refusedText(deps, call, error)))
    }
  }
  deps.record(socketEvent(call, { what: 'opened' }))
  return {
    maxBytes: call.address.service.maxBodyBytes,
    events: { text: take, binary: () => shut(1003, 'Text frames only.'), alive: beat.alive, closed },
    attach(socket) {
      ends.client = socket
      for (const text of early.splice(0)) holdBack(undefined, socket.send(text))
    },
    shut,
  }
}

export interface AdmitSocketDeps extends TunnelDeps {
  readonly connections: ConnectionSteps
}

/**
 * Resolves when the server behind is there, so that the handshake may be answered with 101. Rejects with
 * `Refusal`.
 */
export type AdmitSocket = (head: Head) => Promise<Tunnel>

/** `…/ws` is another name of `…/mcp` for clients that want a path of their own. */
const streamable = (target: string): string => target.replace(/^((?:\/[^/?]+)*)\/ws(?=$|\?)/, '$1/mcp')

/** What the server behind is told with the handshake. */
const fieldsOf = async ({ principal, context, inbound, head }: PermittedCall): Promise<string[]> => {
  const about = principal ? await context.identity.headers(principal) : []
  return [...inbound.forward, 'X-Request-Id', head.requestId, ...about]
}

export const createAdmitSocket =
  (deps: AdmitSocketDeps): AdmitSocket =>
  async (head) => {
    const call = await deps.connections.resolve({ ...head, target: streamable(head.target) })
    const { address, rest } = call
    if (rest !== '' || address.transport === 'sse')
      throw new Refusal('route.unknown', head.target.slice(0, 200))
    try {
      const entered = await deps.connections.enter(call)
      return await createTunnel(deps, { ...entered, headers: await fieldsOf(entered) })
    } catch (error) {
      call.permit()
      // What is wrong with a token says itself whose it is, as far as that is known.
      throw address.service.authRequired && !call.principal ? error : aboutRequest(error, factsOf(call))
    }
  }
