// The endpoint for clients of 2025 and before: sessions begun by `initialize`, each with a process of its own, POST, GET and DELETE (2025-11-25 transports).
import { encodeBase64url } from '../kit/bytes.ts'
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { revisions } from '../mcp/revisions.ts'
import type { BridgeCall, BridgeReply } from '../ports/bridge.ts'
import { introduce, lodge, type Lodging } from './lodging.ts'
import type { Pool } from './pool.ts'
import { createShared } from './shared.ts'
import { type Id, kindOf, type Rpc, type Said } from '../mcp/rpc.ts'

export interface LegacyOptions {
  readonly pool: Pool
  readonly now: () => number
  readonly random: (n: number) => Uint8Array
  readonly about: { readonly version: string }
  /** One process for the sessions of everybody. */
  readonly shared: boolean
  /** Longest wait for the answer to `initialize`, milliseconds. */
  readonly startMs: number
  /** A session without a call or a stream for this long ends, milliseconds. */
  readonly sessionMs: number
  /** Event streams of calls are let go of after this long, for clients that know how to take them up again; 0 holds them. Milliseconds. */
  readonly holdMs: number
  readonly stray: (what: string) => void
}

export interface Legacy {
  /** A POST of one message or a batch. Throws and rejects with `Refusal`. */
  post(owner: string, messages: readonly Said[], batch: boolean, call: BridgeCall): Promise<BridgeReply>
  get(owner: string, call: BridgeCall): Promise<BridgeReply>
  delete(owner: string, call: BridgeCall): Promise<BridgeReply>
  tick(comment: boolean): void
  /** Fails calls during which a server said nothing; where it waits for the client itself, `waitMs` counts. */
  expire(silenceMs: number, waitMs: number): void
}

/** A call that is answered sooner than this is answered in one piece; where streams are let go of, every call has one from the start. */
const graceMs = 100
/** From this revision on, streams begin with an event that has only an id (2025-11-25 transports, sending messages). */
const priming = (revisions.find(({ modern }) => !modern) as { readonly version: string }).version
const batching = new Set(revisions.filter(({ batches }) => batches).map(({ version }) => version))

const checkInitialize = (message: Rpc, batch: boolean, headers: readonly string[]): void => {
  if (!batch && fieldOf(headers, 'mcp-session-id') === undefined) return
  throw new Refusal('mcp.invalid', 'initialize in a batch or a session', { say: 'Send initialize alone and without a session id.', rpcId: message['id'] as Id })
}

/** An id that nobody guesses, for a session that begins. */
export const newSession = (random: (n: number) => Uint8Array): string => encodeBase64url(random(24))

export const createLegacy = ({ pool, now, random, about, shared, startMs, sessionMs, holdMs, stray }: LegacyOptions): Legacy => {
  const sessions = new Map<string, Lodging>()
  const forget = ({ id }: Lodging): void => {
    if (id !== undefined) sessions.delete(id)
  }
  const deps = { pool, now, stray, forget, primes: (version: string) => version >= priming, atOnce: holdMs > 0 }
  const house = shared ? createShared('shared', { ...deps, about, startMs }) : undefined

  const find = (owner: string, headers: readonly string[]): Lodging => {
    const id = fieldOf(headers, 'mcp-session-id')
    if (id === undefined) throw new Refusal('session.missing', 'Mcp-Session-Id missing')
    const lodging = sessions.get(id)
    if (!lodging || lodging.owner !== owner) throw new Refusal('session.unknown', lodging ? 'session belongs to another user' : 'session unknown or expired')
    lodging.session.touch()
    return lodging
  }

  const accept = (lodging: Lodging, named: string | undefined): string => {
    const id = named ?? newSession(random)
    lodging.id = id
    sessions.set(id, lodging)
    return id
  }

  const begin = async (owner: string, said: Said, call: BridgeCall): Promise<BridgeReply> =>
    introduce({ lodging: house?.lodge() ?? (await lodge(owner, call.signal, deps)), said, call, startMs, accepted: (lodging) => accept(lodging, call.sessionId?.()) })

  return {
    post(owner, messages, batch, call) {
      const first = messages.find(({ message }) => message['method'] === 'initialize' && kindOf(message) === 'request')
      if (first) {
        checkInitialize(first.message, batch, call.headers)
        return begin(owner, first, call)
      }
      const { session } = find(owner, call.headers)
      if (batch && !batching.has(session.version ?? '')) throw new Refusal('mcp.invalid', 'batch', { say: `MCP ${session.version ?? ''} does not support batches. Send one message per request.` })
      return session.post(messages, batch, call)
    },
    async get(owner, call) {
      const reply = find(owner, call.headers).session.streams.stand(call.signal, fieldOf(call.headers, 'last-event-id'))
      if (!reply) throw new Refusal('request.malformed', 'Last-Event-ID', { say: 'The Last-Event-ID does not belong to this session.' })
      return reply
    },
    async delete(owner, call) {
      find(owner, call.headers).leave()
      return { status: 204, headers: [], body: '' }
    },
    tick(comment) {
      const limit = now() - sessionMs
      for (const { session, channel, leave } of sessions.values()) {
        session.streams.tick(graceMs, holdMs, comment)
        if (!session.streams.connected && channel.pending() === 0 && Math.max(session.touchedAt, channel.usedAt()) <= limit) leave()
      }
    },
    expire(silenceMs, waitMs) {
      house?.expire(silenceMs)
      for (const { session, channel } of sessions.values()) channel.expire(session.asked > 0 ? waitMs : silenceMs)
    },
  }
}
