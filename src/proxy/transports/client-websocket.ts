// The decision about one WebSocket: the checks of a proxied call, made before the handshake is answered (security.md O2–O8; the framing is in docs/reference/transports.md).
import type { Config } from '../../config/schema.ts'
import { utf8 } from '../../kit/bytes.ts'
import { aboutRequest, refusalOf } from '../../kit/log.ts'
import { Refusal, type ReportRefused } from '../../kit/refusal.ts'
import { type Envelope, errorId, readEnvelope } from '../../mcp/envelope.ts'
import type { Head } from '../../ports/call.ts'
import type { Audit, AuthenticateBearer } from '../../ports/modules.ts'
import type { Principal } from '../../ports/people.ts'
import type { TextSocket, SocketEvents } from '../../ports/transport.ts'
import { socketEvent } from '../audit.ts'
import { type TakePermit, callerKey } from '../concurrency.ts'
import { factsOf, refusalResponse } from '../error-response.ts'
import type { ResolvedRequest } from '../resolve.ts'
import type { Revalidation, EndReason } from '../revalidate.ts'
import { closeCode, createHeartbeat, holdBack } from './server-websocket.ts'
import {
  type UpstreamSocket,
  type UpstreamSocketDeps,
  type MessagesDeps,
  type Opening,
  createUpstreamSocket,
  createMessages,
} from './websocket-relay.ts'

// A client's WebSocket and what is behind it: a WebSocket server, message for message, or any other server by one session of Streamable HTTP.

export interface TunnelDeps extends UpstreamSocketDeps, Omit<MessagesDeps, 'now'> {
  readonly watch: Revalidation
  readonly record: Audit
  readonly now: () => number
  readonly heartbeatMs: number
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

/** The message of a frame. Throws `mcp.parse` and `mcp.invalid`; a frame has one message, so an array is none. */
const read = (text: string): Envelope => {
  const envelope = readEnvelope(utf8(text))
  if (envelope.batch) throw new Refusal('mcp.invalid', 'an array in a frame')
  return envelope
}

/** Refusals after which this socket has no right to be open: what its handshake was let in for has ended. */
const endsAccess = (refusal: Refusal): boolean =>
  refusal.row.status === 401 || refusal.code.startsWith('token.')

/**
 * Takes each message of the client to the WebSocket server, in order, once it has been judged. `bytes` of what waits are counted for the caller. Throws `calls.bytes`.
 */
const createDirect = (deps: TunnelDeps, opening: Opening, far: () => UpstreamSocket, ended: () => void) => {
  const { record, budget } = deps
  const { call, principal } = opening
  const messages = createMessages(deps, opening)
  let before: Promise<unknown> = Promise.resolve()

  const pass = async (envelope: Envelope, text: string): Promise<Refusal | undefined> => {
    try {
      await messages.admit(envelope, text)
      record(socketEvent(call, principal, { what: 'message', envelope }))
      await far().send(text)
      return undefined
    } catch (error) {
      const refusal = refusalOf(error)
      record(
        socketEvent(call, principal, { what: 'message', envelope, refusal: refusal.code, why: refusal.why }),
      )
      return refusal
    }
  }

  return {
    messages,
    send(envelope: Envelope, text: string, tell: (text: string) => void | Promise<void>): Promise<void> {
      const holding = budget.open(principal, call.head.ip)
      holding.grow(2 * text.length)
      const sent = before
        .then(() => pass(envelope, text))
        .then(async (refusal) => {
          const said =
            refusal &&
            refusalResponse(deps.log, refusal, {
              id: errorId(envelope),
              head: call.head,
              admitted: { address: call.address, principal },
            })
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
const createEnds = ({ record, now }: TunnelDeps, { call, principal, release }: Opening) => {
  const ends: {
    client?: TextSocket
    far?: UpstreamSocket
    over: boolean
    messages: number
    readonly last: (() => void)[]
  } = { over: false, messages: 0, last: [release] }
  const finish = (code: number, reason: string): boolean => {
    if (ends.over) return false
    ends.over = true
    for (const work of ends.last) work()
    record(
      socketEvent(call, principal, {
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
    ends.far?.close(code === 4401 ? 1000 : closeCode(code), '')
  }
  /** The client has closed, or was lost. */
  const left = (code: number, reason: string): void => {
    if (finish(code, reason)) ends.far?.close(closeCode(code === 1006 ? 1001 : code), reason)
  }
  return { ends, shut, left }
}

const lastWords: Readonly<Record<EndReason, readonly [code: number, reason: string]>> = {
  access: [4401, 'The access has ended.'],
  service: [1001, 'The service is gone, or another one now.'],
  storage: [1013, 'The gateway cannot reach its storage. Connect again.'],
}

export const createTunnel = (deps: TunnelDeps): ((opening: Opening) => Promise<Tunnel>) => {
  const { watch, record, now, heartbeatMs } = deps
  return async (opening) => {
    const { call, principal } = opening
    const { ends, shut, left } = createEnds(deps, opening)
    const paced = createPace(now)
    const early: string[] = []
    const tell = (text: string): void | Promise<void> => {
      direct.messages.heard(text)
      if (ends.client) return ends.client.send(text)
      early.push(text)
    }
    const direct = createDirect(
      deps,
      opening,
      () => far,
      () => shut(4401, 'The access has ended.'),
    )
    ends.last.push(direct.messages.end)
    const refused: ReportRefused = (refusal, id) =>
      refusalResponse(deps.log, refusal, {
        id,
        head: call.head,
        admitted: { address: call.address, principal },
      })
    const far = await createUpstreamSocket(deps, opening, {
      tell,
      closed: (code, reason) => shut(code === 1006 ? 1011 : code, reason),
    })
    ends.far = far
    const beat = createHeartbeat(
      heartbeatMs,
      () => ends.client,
      () => shut(1011, 'No answer to a ping.'),
    )
    ends.last.push(
      beat.stop,
      watch.caller(opening, (why) => shut(...lastWords[why])),
    )

    const take = (text: string): void => {
      if (beat.hear(text) || ends.over) return
      if (!paced()) {
        shut(1008, 'Too many messages.')
        return
      }
      ends.messages++
      try {
        const envelope = read(text)
        holdBack(ends.client, far.calls ? far.send(text) : direct.send(envelope, text, tell), () =>
          shut(1011, 'The server behind is gone.'),
        )
      } catch (error) {
        holdBack(ends.client, tell(refused(refusalOf(error), null)))
      }
    }
    record(socketEvent(call, principal, { what: 'opened' }))
    return {
      maxBytes: call.address.service.maxBodyBytes,
      events: { text: take, binary: () => shut(1003, 'Text frames only.'), alive: beat.alive, closed: left },
      attach(socket) {
        ends.client = socket
        for (const text of early.splice(0)) holdBack(undefined, socket.send(text))
      },
      shut,
    }
  }
}

export interface AdmitSocketDeps extends Omit<TunnelDeps, 'most'> {
  readonly config: Pick<Config, 'max_concurrent_calls'>
  readonly knock: (head: Head) => ResolvedRequest
  readonly guard: AuthenticateBearer
  /** A WebSocket takes the place of an open stream. */
  readonly streamSlot: TakePermit
}

/** Resolves when the server behind is there, so that the handshake may be answered with 101. Rejects with `Refusal`. */
export type AdmitSocket = (head: Head) => Promise<Tunnel>

/** `…/ws` is another name of `…/mcp` for clients that want a path of their own. */
const streamable = (target: string): string => target.replace(/^((?:\/[^/?]+)*)\/ws(?=$|\?)/, '$1/mcp')

export const createAdmitSocket = (deps: AdmitSocketDeps): AdmitSocket => {
  const { config, knock, guard, streamSlot } = deps
  const connect = createTunnel({ ...deps, most: config.max_concurrent_calls })

  const fields = async (call: ResolvedRequest, principal: Principal | undefined): Promise<string[]> => {
    const about = principal ? await call.place.identity.headers(principal) : []
    return [...call.inbound.forward, 'X-Request-Id', call.head.requestId, ...about]
  }

  return async (head) => {
    const call = knock({ ...head, target: streamable(head.target) })
    const { address, inbound, origin, rest } = call
    if (rest !== '' || address.transport === 'sse')
      throw new Refusal('route.unknown', head.target.slice(0, 200))
    const principal = address.service.authRequired
      ? await guard(inbound.authorization, address, origin)
      : undefined
    let release = (): void => undefined
    try {
      release = streamSlot(callerKey(principal, head.ip))
      return await connect({ call, principal, headers: await fields(call, principal), release })
    } catch (error) {
      release()
      throw aboutRequest(error, factsOf({ address, principal }))
    }
  }
}
