// What HTTP asks of a request before anything of it is read: in front of a command the gateway itself is the MCP endpoint (streamable-http of every revision).
import { encodeBase64url } from '../kit/bytes.ts'
import { fieldOf, readMediaType } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { metaKeys } from '../mcp/envelope.ts'
import { type Id, type Rpc, type DescribedMessage, forWriting, kindOf, metaOf } from '../mcp/json-rpc.ts'
import { readStrictJson } from '../mcp/json.ts'
import { isModern, revisions } from '../mcp/revisions.ts'
import type { PlainResponse } from '../kit/plain-response.ts'
import type { StdioCall } from '../ports/stdio-call.ts'
import { type PersonProcessesOptions, createPersonProcesses } from './person-process.ts'
import type { Pool } from './process-pool.ts'
import { type SessionProcess, initializeProcess, startSession } from './session.ts'
import { createShared } from './shared-sessions.ts'

/** As the transport asks for it, and nearly every client writes it. */
const usual = 'application/json, text/event-stream'

const accepts = (accept: string | undefined, type: string): boolean =>
  accept === undefined ||
  accept === usual ||
  accept
    .split(',')
    .some((part) =>
      [type, `${type.slice(0, type.indexOf('/'))}/*`, '*/*'].includes(
        (part.split(';')[0] as string).trim().toLowerCase(),
      ),
    )

/** The header alone, where there is no body or its message carries no envelope. */
const modernHeader = (headers: readonly string[]): boolean => {
  const version = fieldOf(headers, 'mcp-protocol-version')
  return version !== undefined && isModern(version.trim())
}

/** Whether a message is served without a session: its envelope says so or, where it has none, the header (2026-07-28 basic/versioning). */
export const isModernCall = (message: Rpc, headers: readonly string[]): boolean => {
  const claim = metaOf(message)[metaKeys.version]
  return typeof claim === 'string'
    ? isModern(claim)
    : message['method'] !== 'initialize' && modernHeader(headers)
}

/** Throws `request.method`, `request.accept` or `request.media-type`. */
export const checkRequest = ({ method, headers }: StdioCall): void => {
  const accept = fieldOf(headers, 'accept')
  if (method === 'POST') {
    const type = fieldOf(headers, 'content-type') ?? ''
    if (type !== 'application/json' && readMediaType(type)?.essence !== 'application/json') {
      const say = 'Send the message with Content-Type: application/json.'
      throw new Refusal('request.media-type', `Content-Type ${type.slice(0, 80)}`, { say })
    }
    if (!accepts(accept, 'application/json') || !accepts(accept, 'text/event-stream'))
      throw new Refusal('request.accept', `Accept ${String(accept).slice(0, 80)}`)
    return
  }
  // Streams by GET and sessions that end by DELETE belong to the revisions before 2026-07-28.
  if (modernHeader(headers))
    throw new Refusal('request.method', `${method} in a revision without sessions`, {
      headers: { allow: 'POST' },
    })
  if (method === 'GET' && !accepts(accept, 'text/event-stream'))
    throw new Refusal('request.accept', `Accept ${String(accept).slice(0, 80)}`)
}

const checked = (value: unknown): Rpc => {
  if (kindOf(value) === undefined) throw new Refusal('mcp.invalid', 'not a JSON-RPC message')
  return value as Rpc
}

/** The messages of a body, each known to be one. Throws `mcp.parse` and `mcp.invalid`. */
export const readMessages = ({
  body = new Uint8Array(),
  json = readStrictJson(body),
}: Pick<StdioCall, 'body' | 'json'>): {
  readonly batch: boolean
  readonly messages: readonly DescribedMessage[]
} => {
  const { text, value } = json
  if (!Array.isArray(value)) return { batch: false, messages: [{ message: checked(value), text }] }
  if (value.length === 0) throw new Refusal('mcp.invalid', 'an empty batch')
  const whole = forWriting(text, value) as readonly unknown[]
  return {
    batch: true,
    messages: value.map((message: unknown, at) => ({
      message: checked(message),
      text: JSON.stringify(whole[at]),
    })),
  }
}

// The endpoint for clients of 2025 and before: sessions begun by `initialize`, each with a process of its own, POST, GET and DELETE (2025-11-25 transports).

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
  post(
    owner: string,
    messages: readonly DescribedMessage[],
    batch: boolean,
    call: StdioCall,
  ): Promise<PlainResponse>
  get(owner: string, call: StdioCall): Promise<PlainResponse>
  delete(owner: string, call: StdioCall): Promise<PlainResponse>
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
  throw new Refusal('mcp.invalid', 'initialize in a batch or a session', {
    say: 'Send initialize alone and without a session id.',
    rpcId: message['id'] as Id,
  })
}

/** An id that nobody guesses, for a session that begins. */
export const newSession = (random: (n: number) => Uint8Array): string => encodeBase64url(random(24))

export const createLegacy = ({
  pool,
  now,
  random,
  about,
  shared,
  startMs,
  sessionMs,
  holdMs,
  stray,
}: LegacyOptions): Legacy => {
  const sessions = new Map<string, SessionProcess>()
  const forget = ({ id }: SessionProcess): void => {
    if (id !== undefined) sessions.delete(id)
  }
  const deps = {
    pool,
    now,
    stray,
    forget,
    primes: (version: string) => version >= priming,
    atOnce: holdMs > 0,
  }
  const house = shared ? createShared('shared', { ...deps, about, startMs }) : undefined

  const find = (owner: string, headers: readonly string[]): SessionProcess => {
    const id = fieldOf(headers, 'mcp-session-id')
    if (id === undefined) throw new Refusal('session.missing', 'Mcp-Session-Id missing')
    const lodging = sessions.get(id)
    if (!lodging || lodging.owner !== owner)
      throw new Refusal(
        'session.unknown',
        lodging ? 'session belongs to another user' : 'session unknown or expired',
      )
    lodging.session.touch()
    return lodging
  }

  const accept = (lodging: SessionProcess, named: string | undefined): string => {
    const id = named ?? newSession(random)
    lodging.id = id
    sessions.set(id, lodging)
    return id
  }

  const begin = async (owner: string, said: DescribedMessage, call: StdioCall): Promise<PlainResponse> =>
    initializeProcess({
      lodging: house?.lodge() ?? (await startSession(owner, call.signal, deps)),
      said,
      call,
      startMs,
      accepted: (lodging) => accept(lodging, call.sessionId?.()),
    })

  return {
    post(owner, messages, batch, call) {
      const first = messages.find(
        ({ message }) => message['method'] === 'initialize' && kindOf(message) === 'request',
      )
      if (first) {
        checkInitialize(first.message, batch, call.headers)
        return begin(owner, first, call)
      }
      const { session } = find(owner, call.headers)
      if (batch && !batching.has(session.version ?? ''))
        throw new Refusal('mcp.invalid', 'batch', {
          say: `MCP ${session.version ?? ''} does not support batches. Send one message per request.`,
        })
      return session.post(messages, batch, call)
    },
    async get(owner, call) {
      const reply = find(owner, call.headers).session.streams.stand(
        call.signal,
        fieldOf(call.headers, 'last-event-id'),
      )
      if (!reply)
        throw new Refusal('request.malformed', 'Last-Event-ID', {
          say: 'The Last-Event-ID does not belong to this session.',
        })
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
        if (
          !session.streams.connected &&
          channel.pending() === 0 &&
          Math.max(session.touchedAt, channel.usedAt()) <= limit
        )
          leave()
      }
    },
    expire(silenceMs, waitMs) {
      house?.expire(silenceMs)
      for (const { session, channel } of sessions.values())
        channel.expire(session.asked > 0 ? waitMs : silenceMs)
    },
  }
}

// The endpoint for clients of 2026-07-28: POST alone and no sessions (streamable-http; basic/transports/stdio).

export interface Modern {
  /** One message of a client of this era. Rejects with `Refusal`. */
  handle(owner: string, said: DescribedMessage, call: StdioCall): Promise<PlainResponse>
  /** Whether a call of this owner needs no start of a process. */
  ready(owner: string): boolean
  comment(): void
  /** Fails calls during which a server said nothing. */
  expire(silenceMs: number): void
}

export const createModern = (options: PersonProcessesOptions): Modern => {
  const homes = createPersonProcesses(options)
  return {
    async handle(owner, said, call) {
      const { message } = said
      const kind = kindOf(message)
      // Clients of this revision have nothing to answer (streamable-http, sending messages).
      if (kind === 'response')
        throw new Refusal('mcp.invalid', 'a response', {
          say: 'This MCP revision does not allow responses from clients.',
        })
      const { personal, tools, channel } = await homes.of(owner)
      call.signal.throwIfAborted()
      if (kind === 'notification') {
        // Cancelling is closing the stream here, and an id alone does not say which of a person's clients it was.
        if (message['method'] !== 'notifications/cancelled') channel.send(said)
        return { status: 202, headers: [], body: '' }
      }
      if (message['method'] === 'tools/call') {
        await tools.check(message, call.headers)
        call.signal.throwIfAborted()
      }
      return personal.request(said, call)
    },
    ready: homes.ready,
    comment() {
      for (const { personal } of homes.settled) personal.comment()
    },
    expire(silenceMs) {
      for (const { channel } of homes.settled) channel.expire(silenceMs)
    },
  }
}
