// Streamable HTTP in front of an MCP server, whatever transport leads to it: sessions begun by `initialize`,
// each with a connection of its own, POST, GET and DELETE (2025-11-25 transports).
import { fieldOf, readMediaType } from '../kit/http.ts'
import type { PlainResponse } from '../kit/plain-response.ts'
import { Refusal } from '../kit/refusal.ts'
import type { PeerEvents, SessionPeer, StartTimer } from './json-rpc-peer.ts'
import {
  type DescribedMessage,
  type Id,
  type Rpc,
  forWriting,
  kindOf,
  readStrictJson,
  isRecord,
} from './json-rpc.ts'
import { isModern, revisions } from './revisions.ts'
import { type Posted, type Session, createSession } from './session.ts'

// What HTTP asks of a request before anything of it is read.

export interface SessionRequest extends Posted {
  readonly method: string
  readonly body: Uint8Array | undefined
  /** What the body says, where it has been read already (mcp/json-rpc.ts). */
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
  /** Whether this owner may go on with a session of that one. Absent: if they are the same. */
  readonly mayUse?: (session: string, owner: string) => boolean
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

/** Throws `mcp.invalid` for messages sent together in a revision that has no batches. */
export const checkBatch = (batch: boolean, version = ''): void => {
  if (!batch || batching.has(version)) return
  throw new Refusal('mcp.invalid', 'batch', {
    say: `MCP ${version} does not support batches. Send one message per request.`,
  })
}

const checkInitialize = (message: Rpc, batch: boolean, headers: readonly string[]): void => {
  if (!batch && fieldOf(headers, 'mcp-session-id') === undefined) return
  throw new Refusal('mcp.invalid', 'initialize in a batch or a session', {
    say: 'Send initialize alone and without a session id.',
    rpcId: message['id'] as Id,
  })
}

/** An endpoint at work. */
interface Endpoint extends StreamableHttpOptions {
  readonly all: Map<string, OpenSession>
}

/** A session whose connection is there, and that has no id yet. */
const openSession = async (at: Endpoint, owner: string, request: SessionRequest): Promise<OpenSession> => {
  const { now, unexpected, holdMs, all } = at
  const made: { opened?: OpenSession } = {}
  const peer = (): SessionPeer => (made.opened as OpenSession).peer
  const session = createSession({ now, unexpected, peer, atOnce: holdMs > 0 })
  const ended = (): void => {
    session.streams.close()
    all.delete(made.opened?.id ?? '')
  }
  const leave = (): void => {
    ended()
    made.opened?.peer.close()
  }
  const busy = (): boolean => made.opened !== undefined && peer().pending() > 0
  const idle = (): number =>
    !made.opened || busy() ? 0 : now() - Math.max(peer().usedAt(), session.touchedAt)
  const { request: ask, notification } = session
  const user = { request: ask, notification, ended, leave, busy, idle }
  const opened = { owner, session, peer: await at.connect(owner, request, user), id: undefined, leave }
  made.opened = opened
  return opened
}

/** Sends `initialize` on a connection of its own. The session begins with the server's yes; without one nothing is left behind. */
const initialize = async (
  at: Endpoint,
  owner: string,
  said: DescribedMessage,
  request: SessionRequest,
): Promise<PlainResponse> => {
  const { signal, refused, headers, sessionId } = request
  const opened = await openSession(at, owner, request)
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
  const cancelLate = at.timer(at.startMs, () =>
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
    session.touchedAt = at.now()
    opened.id = sessionId?.() ?? at.newId()
    at.all.set(opened.id, opened)
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
  { all, now, mayUse }: Endpoint,
  owner: string,
  headers: readonly string[],
): OpenSession => {
  const id = fieldOf(headers, 'mcp-session-id')
  if (id === undefined) throw new Refusal('session.missing', 'Mcp-Session-Id missing')
  const found = all.get(id)
  if (!found || (found.owner !== owner && !mayUse?.(found.owner, owner)))
    throw new Refusal(
      'session.unknown',
      found ? 'session belongs to another user, or to more permissions' : 'session unknown or expired',
    )
  found.session.touchedAt = now()
  return found
}

export type StreamableHttp = ReturnType<typeof createStreamableHttp>

export const createStreamableHttp = (options: StreamableHttpOptions) => {
  const at: Endpoint = { ...options, all: new Map() }
  const { all, now, holdMs, sessionMs } = at

  const post = (
    owner: string,
    { batch, messages }: PostedMessages,
    request: SessionRequest,
  ): Promise<PlainResponse> => {
    const first = messages.find(
      ({ message }) => message['method'] === 'initialize' && kindOf(message) === 'request',
    )
    if (first) {
      checkInitialize(first.message, batch, request.headers)
      return initialize(at, owner, first, request)
    }
    const { session } = findSession(at, owner, request.headers)
    checkBatch(batch, session.version)
    return session.post(messages, batch, request)
  }

  return {
    /** A POST whose checks are done. Throws and rejects with `Refusal`. */
    post,
    /** Answers one request of a client. Rejects with `Refusal`. */
    async handle(owner: string, request: SessionRequest): Promise<PlainResponse> {
      checkRequest(request)
      const { method, headers, signal } = request
      if (method === 'POST') return post(owner, readMessages(request), request)
      const { session, leave } = findSession(at, owner, headers)
      if (method === 'DELETE') {
        leave()
        return { status: 204, headers: [], body: '' }
      }
      const reply = session.streams.listen(signal, fieldOf(headers, 'last-event-id'))
      if (reply) return reply
      const say = 'The Last-Event-ID does not belong to this session.'
      throw new Refusal('request.malformed', 'Last-Event-ID', { say })
    },
    /**
     * Opens streams for calls that take a while, comments on idle ones (`comment`), and ends sessions that
     * nobody uses.
     */
    tick(comment: boolean): void {
      const limit = now() - sessionMs
      for (const { session, peer, leave } of all.values()) {
        session.streams.tick(graceMs, holdMs, comment)
        const unused = Math.max(session.touchedAt, peer.usedAt()) <= limit && peer.pending() === 0
        if (unused && !session.streams.connected()) leave()
      }
    },
    /**
     * Fails calls during which a server said nothing; where it waits for the client itself, `waitMs` counts.
     */
    expire(silenceMs: number, waitMs: number): void {
      for (const { session, peer } of all.values()) peer.expire(session.asked.size > 0 ? waitMs : silenceMs)
    },
    size: (): number => all.size,
  }
}
