// Messages of a client's WebSocket to a WebSocket server: each is judged as a call over HTTP is, before the server hears it.
import { Refusal } from '../../kit/refusal.ts'
import { type Envelope, metaKeys } from '../../mcp/envelope.ts'
import { validateHeaders, encodeHeaderValue } from '../../mcp/headers.ts'
import { cancelledId, isResponse, keyOf, messagesOf } from '../../mcp/json-rpc.ts'
import { isModern } from '../../mcp/revisions.ts'
import type { UpstreamCredential, UpstreamCredentials, AuthenticateBearer } from '../../ports/modules.ts'
import type { Principal } from '../../ports/people.ts'
import type { Service } from '../../ports/services.ts'
import type { RuntimeTransports, TextSocket } from '../../ports/transport.ts'
import { type TakePermit, callerKey } from '../concurrency.ts'
import type { ResolvedRequest } from '../resolve.ts'
import { type MakeInternalCall, type ClientMessagesDeps, createClientMessages } from './client-messages.ts'
import { createHeartbeat, handshakeFields, handshakeRefusal, holdBack } from './server-websocket.ts'
import { mostMessageBytes } from './session-endpoint.ts'

// The server's side of a tunnel: a WebSocket of its own, or a session of Streamable HTTP.

export interface UpstreamSocketDeps {
  readonly transports: RuntimeTransports
  readonly log: ClientMessagesDeps['log']
  /** What a WebSocket server is shown of the caller's right to be there. */
  readonly credentials: Pick<UpstreamCredentials, 'of' | 'after'>
  readonly ask: MakeInternalCall
  readonly heartbeatMs: number
  readonly defer: (work: Promise<unknown>) => void
  /** Messages without an answer, where each is a call of its own. */
  readonly most: number
  readonly budget: ClientMessagesDeps['budget']
}

export interface Opening {
  readonly call: ResolvedRequest
  readonly principal: Principal | undefined
  /** Flat list of what the server behind is told. */
  readonly headers: readonly string[]
  readonly release: () => void
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

const overSocket = async (
  { url, publicOnly }: HttpUpstream,
  { transports, heartbeatMs }: UpstreamSocketDeps,
  { call, headers }: Opening,
  events: UpstreamSocketEvents,
): Promise<UpstreamSocket> => {
  const { id, timeoutMs } = call.address.service
  let socket: TextSocket | undefined
  const closed = (code: number, reason: string): void => {
    beat.stop()
    // A handshake that came to nothing is told by the error, and another may follow.
    if (socket) events.closed(code, reason)
  }
  const beat = createHeartbeat(
    heartbeatMs,
    () => socket,
    () => events.closed(1006, 'The server behind answers no ping.'),
  )
  const text = (message: string): void => {
    if (!beat.hear(message)) holdBack(socket, events.tell(message))
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

/** As in a call over HTTP: what a refused handshake was shown is followed by another credential, once, or by the question to the person. */
const shown = async (
  upstream: HttpUpstream,
  deps: UpstreamSocketDeps,
  opening: Opening,
  events: UpstreamSocketEvents,
): Promise<UpstreamSocket> => {
  const { call, principal, headers } = opening
  const attempt = (credential: UpstreamCredential | undefined): Promise<UpstreamSocket> =>
    overSocket(
      upstream,
      deps,
      credential === undefined ? opening : { ...opening, headers: [...headers, ...credential.headers] },
      events,
    )
  const rebuffed = (
    error: unknown,
    credential: UpstreamCredential | undefined,
    last: boolean,
  ): Promise<UpstreamCredential> => {
    const refused = error instanceof Refusal ? error.detail.refused : undefined
    const next =
      refused &&
      deps.credentials.after({
        address: call.address,
        principal,
        shown: credential,
        ...refused,
        below: call.rest !== '',
        last,
      })
    if (!next) throw error
    return next
  }
  const first = await deps.credentials.of(call.address, principal)
  try {
    return await attempt(first)
  } catch (error) {
    const second = await rebuffed(error, first, false)
    return attempt(second).catch(async (again: unknown) => attempt(await rebuffed(again, second, true)))
  }
}

export const createUpstreamSocket = (
  deps: UpstreamSocketDeps,
  opening: Opening,
  events: UpstreamSocketEvents,
): Promise<UpstreamSocket> => {
  const { call, principal } = opening
  const { service } = call.address
  const { upstream } = service
  if (upstream.kind === 'http' && /^wss?:/.test(upstream.url)) return shown(upstream, deps, opening, events)
  const client = createClientMessages({
    ask: deps.ask,
    tell: events.tell,
    log: deps.log,
    admitted: { address: call.address, principal },
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
    send: (text) => client.receive(messagesOf(text), { head: call.head, path: call.address.path }),
    close: () => client.close(),
    calls: true,
  })
}

export interface MessagesDeps {
  readonly guard: AuthenticateBearer
  /** A request takes one until its answer has passed. */
  readonly callSlot: TakePermit
  /** Revisions that are let through, newest first. */
  readonly supported: readonly string[]
  readonly now: () => number
}

interface Pending {
  readonly key: string
  readonly release: () => void
  /** Epoch ms after which nobody waits for the answer any more. */
  readonly until: number
}

export interface Messages {
  /** Rejects with the refusal of a message that the server must not hear. `text`: of a notification, for the request that it cancels. */
  admit(envelope: Envelope, text: string): Promise<void>
  /** Something that the server said. */
  heard(text: string): void
  /** The socket is closed. */
  end(): void
}

/** A message on a WebSocket has no header fields; what it claims in its body must be whole, and of a revision that is let through. */
const checkRevision = (envelope: Envelope, supported: readonly string[]): void => {
  const [message] = envelope.messages
  const claim = message?.meta?.[metaKeys.version]
  const version = typeof claim === 'string' && isModern(claim) ? claim : undefined
  const name = message?.name === undefined ? undefined : encodeHeaderValue(message.name)
  validateHeaders(
    envelope,
    version === undefined ? nothing : { version, method: message?.method, name },
    supported,
  )
}

const nothing = { version: undefined, method: undefined, name: undefined }

export const createMessages = (deps: MessagesDeps, { call, principal }: Opening): Messages => {
  const { guard, callSlot, supported, now } = deps
  const { address, inbound, origin, head } = call
  const caller = callerKey(principal, head.ip)
  let pending: Pending[] = []

  /** Gives back what is no longer waited for: the answer to `key`, and what took longer than a call may. */
  const settle = (key: string | undefined): void => {
    const at = now()
    const index = pending.findIndex((each) => each.key === key)
    pending = pending.filter((each, place) => {
      const stays = place !== index && each.until > at
      if (!stays) each.release()
      return stays
    })
  }

  return {
    async admit(envelope, text) {
      const [message] = envelope.messages
      if (address.service.authRequired) await guard(inbound.authorization, address, origin)
      checkRevision(envelope, supported)
      if (message?.method === 'notifications/cancelled') {
        for (const { message: said } of messagesOf(text)) settle(keyOf(cancelledId(said)))
      }
      if (message?.kind !== 'request') return
      settle(undefined)
      pending.push({
        key: keyOf(message.id),
        release: callSlot(caller),
        until: now() + address.service.timeoutMs,
      })
    },
    heard(text) {
      if (pending.length === 0) return
      for (const { message } of messagesOf(text)) if (isResponse(message)) settle(keyOf(message['id']))
    },
    end() {
      for (const { release } of pending) release()
      pending = []
    },
  }
}
