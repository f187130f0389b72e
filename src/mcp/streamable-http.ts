// Streamable HTTP in front of an MCP server, whatever transport leads to it: sessions begun by `initialize`,
// each with a connection of its own, POST, GET and DELETE (2025-11-25 transports).
import { fieldOf, readMediaType } from '../kit/http.ts'
import type { PlainResponse } from '../kit/plain-response.ts'
import { Refusal } from '../kit/refusal.ts'
import type { PeerEvents, SessionPeer, StartTimer } from './json-rpc-peer.ts'
import { type DescribedMessage, type Id, type Rpc, forWriting, kindOf } from './json-rpc.ts'
import { readStrictJson, isRecord } from './json.ts'
import { isModern, revisions } from './revisions.ts'
import { type Posted, type Session, createSession } from './session.ts'

// What HTTP asks of a request before anything of it is read.

export interface SessionRequest extends Posted {
  readonly method: string
  readonly body: Uint8Array | undefined
  /** What the body says, where it has been read already (mcp/json.ts). */
  readonly json?: { readonly text: string; readonly value: unknown } | undefined
  /** The id that the caller was told already of the session that this request begins. */
  readonly sessionId?: (() => string | undefined) | undefined
}

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

/** Throws `request.method`, `request.accept` or `request.media-type`. */
export const checkRequest = ({ method, headers }: Pick<SessionRequest, 'method' | 'headers'>): void => {
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
  if (isModern(fieldOf(headers, 'mcp-protocol-version')?.trim() ?? ''))
    throw new Refusal('request.method', `${method} in a revision without sessions`, {
      headers: { allow: 'POST' },
    })
  if (method === 'GET' && !accepts(accept, 'text/event-stream'))
    throw new Refusal('request.accept', `Accept ${String(accept).slice(0, 80)}`)
}

const checkMessage = (value: unknown): Rpc => {
  if (kindOf(value) === undefined) throw new Refusal('mcp.invalid', 'not a JSON-RPC message')
  return value as Rpc
}

export interface PostedMessages {
  readonly batch: boolean
  readonly messages: readonly DescribedMessage[]
}

/** The messages of a body, each known to be one. Throws `mcp.parse` and `mcp.invalid`. */
export const readMessages = ({
  body = new Uint8Array(),
  json = readStrictJson(body),
}: Pick<SessionRequest, 'body' | 'json'>): PostedMessages => {
  const { text, value } = json
  if (!Array.isArray(value)) return { batch: false, messages: [{ message: checkMessage(value), text }] }
  if (value.length === 0) throw new Refusal('mcp.invalid', 'an empty batch')
  const whole = forWriting(text, value) as readonly unknown[]
  return {
    batch: true,
    messages: value.map((message: unknown, at) => ({
      message: checkMessage(message),
      text: JSON.stringify(whole[at]),
    })),
  }
}

// Sessions, each with its connection: the connection is the session's whole life.

/** Who uses the connection of a session. */
export interface SessionUser extends PeerEvents {
  /** Milliseconds since it was last of use; 0 while it is. */
  idle(): number
  /** Whether anybody waits for an answer. */
  busy(): boolean
  /** Ends the session and its connection. */
  leave(): void
}

export interface StreamableHttpOptions {
  readonly now: () => number
  readonly timer: StartTimer
  /** A connection for a session that begins. Rejects with `Refusal`. */
  readonly connect: (owner: string, request: SessionRequest, user: SessionUser) => Promise<SessionPeer>
  /** An id that nobody guesses. */
  readonly newId: () => string
  /** Longest wait for the answer to `initialize`, milliseconds. */
  readonly startMs: number
  /** A session without a call or a stream for this long ends, milliseconds. */
  readonly sessionMs: number
  /**
   * Event streams of calls are let go of after this long, for clients that know how to take them up again; 0
   * holds them. Milliseconds.
   */
  readonly holdMs: number
  readonly unexpected: (what: string) => void
}

export interface StreamableHttp {
  /** Answers one request of a client. Throws and rejects with `Refusal`. */
  handle(owner: string, request: SessionRequest): Promise<PlainResponse>
  /** A POST whose checks are done. Throws and rejects with `Refusal`. */
  post(owner: string, posted: PostedMessages, request: SessionRequest): Promise<PlainResponse>
  /**
   * Opens streams for calls that take a while, comments on idle ones (`comment`), and ends sessions that
   * nobody uses.
   */
  tick(comment: boolean): void
  /**
   * Fails calls during which a server said nothing; where it waits for the client itself, `waitMs` counts.
   */
  expire(silenceMs: number, waitMs: number): void
  readonly size: number
}

interface OpenSession {
  readonly owner: string
  readonly session: Session
  readonly peer: SessionPeer
  /** Once the server has said yes. */
  id: string | undefined
  leave(): void
}

/**
 * A call that is answered sooner than this is answered in one piece; where streams are let go of, every call
 * has one from the start.
 */
const graceMs = 100
const batching = new Set(revisions.filter(({ batches }) => batches).map(({ version }) => version))

const checkInitialize = (message: Rpc, batch: boolean, headers: readonly string[]): void => {
  if (!batch && fieldOf(headers, 'mcp-session-id') === undefined) return
  throw new Refusal('mcp.invalid', 'initialize in a batch or a session', {
    say: 'Send initialize alone and without a session id.',
    rpcId: message['id'] as Id,
  })
}

type OpenSessions = Map<string, OpenSession>

/** A session whose connection is there, and that has no id yet. */
const openSession = async (
  { now, unexpected, holdMs, connect }: StreamableHttpOptions,
  all: OpenSessions,
  owner: string,
  request: SessionRequest,
): Promise<OpenSession> => {
  const at: { opened?: OpenSession } = {}
  const peer = (): SessionPeer => (at.opened as OpenSession).peer
  const session = createSession({ now, unexpected, peer, atOnce: holdMs > 0 })
  const ended = (): void => {
    session.streams.close()
    all.delete(at.opened?.id ?? '')
  }
  const leave = (): void => {
    ended()
    at.opened?.peer.close()
  }
  const busy = (): boolean => at.opened !== undefined && peer().pending() > 0
  const idle = (): number => (!at.opened || busy() ? 0 : now() - Math.max(peer().usedAt(), session.touchedAt))
  const { request: ask, notification } = session
  const user = { request: ask, notification, ended, leave, busy, idle }
  const opened = { owner, session, peer: await connect(owner, request, user), id: undefined, leave }
  at.opened = opened
  return opened
}

/** Sends `initialize` on a connection of its own. The session begins with the server's yes; without one nothing is left behind. */
const initialize = async (
  all: OpenSessions,
  owner: string,
  said: DescribedMessage,
  request: SessionRequest,
  options: StreamableHttpOptions,
): Promise<PlainResponse> => {
  const { signal, refused, headers, sessionId } = request
  const { now, timer, startMs, newId } = options
  const opened = await openSession(options, all, owner, request)
  const { session, peer } = opened
  const output = session.streams.output(signal)
  const over = (): void => {
    cancelLate()
    signal.removeEventListener('abort', leave)
  }
  const leave = (): void => {
    over()
    opened.leave()
  }
  const failed = (refusal: Refusal): void => {
    output.fail(refusal, () => refused(refusal, said.message['id']))
    leave()
  }
  const cancelLate = timer(startMs, () =>
    failed(new Refusal('upstream.timeout', `no answer to initialize${peer.complaint()}`)),
  )
  signal.addEventListener('abort', leave, { once: true })
  if (signal.aborted) leave()
  const answer = (text: string, { result }: Rpc): void => {
    if (!isRecord(result) || typeof result['protocolVersion'] !== 'string') {
      // A server of 2026-07-28 alone names its revisions in the error (basic/versioning); the client should
      // see it.
      output.answer(text, 400)
      leave()
      return
    }
    over()
    session.version = result['protocolVersion']
    session.touchedAt = now()
    opened.id = sessionId?.() ?? newId()
    all.set(opened.id, opened)
    output.answer(text, 200, ['Mcp-Session-Id', opened.id])
  }
  try {
    peer.call(said, { answer, progress: output.tell, failed, patient: true }, headers)
  } catch (error) {
    failed(error as Refusal)
  }
  return output.reply
}

/** The owner's session that the headers name. Throws `session.missing` and `session.unknown`. */
const findSession = (
  all: OpenSessions,
  owner: string,
  headers: readonly string[],
  now: () => number,
): OpenSession => {
  const id = fieldOf(headers, 'mcp-session-id')
  if (id === undefined) throw new Refusal('session.missing', 'Mcp-Session-Id missing')
  const found = all.get(id)
  if (found?.owner !== owner)
    throw new Refusal(
      'session.unknown',
      found ? 'session belongs to another user' : 'session unknown or expired',
    )
  found.session.touchedAt = now()
  return found
}

export const createStreamableHttp = (options: StreamableHttpOptions): StreamableHttp => {
  const { now, holdMs, sessionMs } = options
  const all: OpenSessions = new Map()
  const find = (owner: string, headers: readonly string[]): OpenSession =>
    findSession(all, owner, headers, now)

  const endpoint: StreamableHttp = {
    async handle(owner, request) {
      checkRequest(request)
      const { method, headers, signal } = request
      if (method === 'POST') return endpoint.post(owner, readMessages(request), request)
      const { session, leave } = find(owner, headers)
      if (method === 'DELETE') {
        leave()
        return { status: 204, headers: [], body: '' }
      }
      const reply = session.streams.listen(signal, fieldOf(headers, 'last-event-id'))
      if (reply) return reply
      throw new Refusal('request.malformed', 'Last-Event-ID', {
        say: 'The Last-Event-ID does not belong to this session.',
      })
    },
    post(owner, { batch, messages }, request) {
      const first = messages.find(
        ({ message }) => message['method'] === 'initialize' && kindOf(message) === 'request',
      )
      if (first) {
        checkInitialize(first.message, batch, request.headers)
        return initialize(all, owner, first, request, options)
      }
      const { session } = find(owner, request.headers)
      if (batch && !batching.has(session.version ?? ''))
        throw new Refusal('mcp.invalid', 'batch', {
          say: `MCP ${session.version ?? ''} does not support batches. Send one message per request.`,
        })
      return session.post(messages, batch, request)
    },
    tick(comment) {
      const limit = now() - sessionMs
      for (const { session, peer, leave } of all.values()) {
        session.streams.tick(graceMs, holdMs, comment)
        if (
          Math.max(session.touchedAt, peer.usedAt()) <= limit &&
          peer.pending() === 0 &&
          !session.streams.connected()
        )
          leave()
      }
    },
    expire(silenceMs, waitMs) {
      for (const { session, peer } of all.values()) peer.expire(session.asked.size > 0 ? waitMs : silenceMs)
    },
    get size() {
      return all.size
    },
  }
  return endpoint
}
