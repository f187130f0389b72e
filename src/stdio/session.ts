// One session of a client of 2025 and the server process it has to itself: calls, notifications and answers one way, and everything the server says the other.
import { Refusal, type ReportRefused } from '../kit/refusal.ts'
import {
  type Id,
  type Rpc,
  type DescribedMessage,
  isId,
  isRecord,
  kindOf,
  paramsOf,
  describeMessage,
} from '../mcp/json-rpc.ts'
import type { AbortListener, PlainResponse } from '../kit/plain-response.ts'
import type { StdioCall } from '../ports/stdio-call.ts'
import type { PeerEvents } from './incoming-messages.ts'
import type { JsonRpcPeer } from './json-rpc-peer.ts'
import type { Pool } from './process-pool.ts'
import { type Streams, type StreamOutput, createStreams } from '../mcp/session-streams.ts'

// The calls of one session that are going: answered on their way back, cancelled by the client's own id.

/** Takes the answer to one call, or that there will be none. */
type Finish = (text: string | undefined) => void

/** How one request was posted: its way back, with whom it shares it, and how its caller is told what went wrong. */
export interface Sent {
  readonly way: StreamOutput
  readonly finish: Finish
  readonly batch: boolean
  readonly refused: ReportRefused
}

export interface SessionCalls {
  /** Sends one request; `finish` as `gather` made it. */
  call(said: DescribedMessage, sent: Sent): void
  /** The client waits no longer; servers do not answer a cancelled call, so nothing of it is left (basic/utilities/cancellation). */
  cancel(notification: Rpc): void
}

/** The one way back of what was posted together. The answers of a batch go together, once all are there (2025-03-26 transports). */
export const gather = (way: StreamOutput, batch: boolean, count: number): Finish => {
  const answers: string[] = []
  let open = count
  return (text) => {
    open--
    if (text !== undefined) answers.push(text)
    if (open > 0) return
    if (answers.length === 0) way.end()
    else way.answer(batch ? `[${answers.join(',')}]` : (answers[0] as string))
  }
}

/** Tells 1 from "1". */
export const keyOf = (id: unknown): string => JSON.stringify(id) ?? ''

export const createSessionCalls = (channel: () => JsonRpcPeer): SessionCalls => {
  const going = new Map<string, { readonly id: number; readonly finish: Finish }>()
  return {
    call(said, { way, finish, batch, refused }) {
      const clientId = said.message['id'] as Id
      const key = keyOf(clientId)
      let id = 0
      const done = (): void => {
        if (going.get(key)?.id === id) going.delete(key)
      }
      const failed = (refusal: Refusal): void => {
        done()
        if (batch) finish(refused(refusal, clientId))
        else way.fail(refusal, () => refused(refusal, clientId))
      }
      const answer = (text: string): void => {
        done()
        finish(text)
      }
      try {
        id = channel().call(said, { answer, progress: way.tell, failed })
        going.set(key, { id, finish })
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        failed(error)
      }
    },
    cancel(notification) {
      const { requestId, reason } = paramsOf(notification)
      const key = keyOf(requestId)
      const found = going.get(key)
      if (!found) return
      going.delete(key)
      channel().cancel(found.id, typeof reason === 'string' ? reason : 'cancelled by the client')
      found.finish(undefined)
    },
  }
}

const accepted: PlainResponse = { status: 202, headers: [], body: '' }
/** Requests of the server that wait for the client at once. */
const mostAsked = 256

export interface Session {
  /** Filled in by the answer to `initialize`. */
  version: string | undefined
  readonly streams: Streams
  /** What the session's process says goes here. */
  readonly events: PeerEvents
  /** One message, or the elements of a batch, that a client posted. */
  post(
    messages: readonly DescribedMessage[],
    batch: boolean,
    call: Pick<StdioCall, 'signal' | 'refused'>,
  ): Promise<PlainResponse>
  /** Requests of the server that the client has not answered. */
  readonly asked: number
  touch(): void
  /** Epoch ms of the last request of the client. */
  readonly touchedAt: number
}

export interface SessionOptions {
  readonly now: () => number
  readonly channel: () => JsonRpcPeer
  /** Whether clients of a version understand a stream that begins with an event that has only an id. */
  readonly primes: (version: string) => boolean
  /** Streams for every call of such a client, and not only for those that take a while. */
  readonly atOnce: boolean
  readonly stray: (what: string) => void
}

export const createSession = ({ now, channel, primes, atOnce, stray }: SessionOptions): Session => {
  const calls = createSessionCalls(channel)
  const asked = new Set<string>()
  let touchedAt = now()

  const take = (said: DescribedMessage): void => {
    const { message } = said
    if (message['method'] === 'notifications/cancelled') calls.cancel(message)
    else if (kindOf(message) !== 'response' || asked.delete(keyOf(message['id']))) channel().send(said)
    else stray('an answer of the client to no question')
  }

  const session: Session = {
    version: undefined,
    streams: createStreams({
      now,
      primes: () => session.version !== undefined && primes(session.version),
      named: () => session.version !== undefined,
      atOnce,
      hold: (who) => channel().hold(who),
      release: (who) => channel().release(who),
    }),
    events: {
      request(message, text) {
        if (asked.size >= mostAsked) {
          channel().send(
            describeMessage({
              jsonrpc: '2.0',
              id: message['id'],
              error: { code: 1429, message: 'Too many requests are waiting for the client.' },
            }),
          )
          return
        }
        asked.add(keyOf(message['id']))
        session.streams.tell(text, true)
      },
      notification(message, text) {
        const [{ method }, { requestId }] = [message, paramsOf(message)]
        if (method === 'notifications/cancelled' && isId(requestId)) asked.delete(keyOf(requestId))
        session.streams.tell(text, method === 'notifications/message' || method === 'notifications/cancelled')
      },
      ended: () => session.streams.close(),
    },
    post(messages, batch, { signal, refused }) {
      touchedAt = now()
      let count = 0
      for (const { message } of messages) if (kindOf(message) === 'request') count++
      const way = count === 0 ? undefined : session.streams.way(signal)
      const finish = way && gather(way, batch, count)
      for (const said of messages) {
        if (way && finish && kindOf(said.message) === 'request')
          calls.call(said, { way, finish, batch, refused })
        else take(said)
      }
      return way ? way.reply : Promise.resolve(accepted)
    },
    get asked() {
      return asked.size
    },
    touch: () => void (touchedAt = now()),
    get touchedAt() {
      return touchedAt
    },
  }
  return session
}

// A session together with its process, from the first `initialize` to the end of either: the process is the session's whole life.

export interface SessionProcess {
  readonly owner: string
  readonly session: Session
  readonly channel: Pick<JsonRpcPeer, 'call' | 'pending' | 'usedAt' | 'expire'>
  /** Of its process (`ServerProcess.complaint`). */
  complaint(): string
  /** Filled in when the session has a name. */
  id: string | undefined
  /** Ends session and process. */
  leave(): void
}

export interface SessionProcessDeps {
  readonly pool: Pool
  readonly now: () => number
  readonly primes: (version: string) => boolean
  /** Every call of a client that is primed gets an event stream, however soon it is answered. */
  readonly atOnce: boolean
  readonly stray: (what: string) => void
  /** The session is over, for whatever reason. */
  readonly forget: (lodging: SessionProcess) => void
}

/** A process with nobody in it yet but this session. Rejects as `Pool.start` does. */
export const startSession = async (
  owner: string,
  signal: AbortListener,
  { pool, now, primes, atOnce, stray, forget }: SessionProcessDeps,
): Promise<SessionProcess> => {
  const home: { channel?: JsonRpcPeer; lodging?: SessionProcess } = {}
  const session = createSession({ now, channel: () => home.channel as JsonRpcPeer, primes, atOnce, stray })
  const over = (): void => {
    session.streams.close()
    if (home.lodging) forget(home.lodging)
  }
  const leave = (): void => {
    over()
    home.channel?.stop()
  }
  const channel = await pool.start(
    owner,
    {
      ...session.events,
      idle: () =>
        !home.channel || home.channel.pending() > 0
          ? 0
          : now() - Math.max(home.channel.usedAt(), session.touchedAt),
      busy: () => home.channel !== undefined && home.channel.pending() > 0,
      leave,
      ended: over,
    },
    signal,
  )
  home.channel = channel
  home.lodging = { owner, session, channel, id: undefined, leave, complaint: channel.process.complaint }
  return home.lodging
}

export interface InitializeResult {
  readonly lodging: SessionProcess
  readonly said: DescribedMessage
  readonly call: StdioCall
  /** Longest wait for the answer, milliseconds. */
  readonly startMs: number
  /** The server has accepted: names the session. */
  readonly accepted: (lodging: SessionProcess) => string
}

/** Sends `initialize`. The session begins with the server's yes; without one nothing is left behind. */
export const initializeProcess = ({
  lodging,
  said,
  call,
  startMs,
  accepted,
}: InitializeResult): Promise<PlainResponse> => {
  const { session, channel } = lodging
  const way = session.streams.way(call.signal)
  const over = (): void => {
    clearTimeout(late)
    call.signal.removeEventListener('abort', leave)
  }
  const leave = (): void => {
    over()
    lodging.leave()
  }
  const failed = (refusal: Refusal): void => {
    way.fail(refusal, () => call.refused(refusal, said.message['id']))
    leave()
  }
  const late = setTimeout(
    () => failed(new Refusal('upstream.timeout', `no answer to initialize${lodging.complaint()}`)),
    startMs,
  )
  call.signal.addEventListener('abort', leave, { once: true })
  if (call.signal.aborted) leave()
  const answer = (text: string, { result }: Rpc): void => {
    if (!isRecord(result) || typeof result['protocolVersion'] !== 'string') {
      // A server of 2026-07-28 alone names its revisions in the error (basic/versioning); the client should see it.
      way.answer(text, 400)
      leave()
      return
    }
    over()
    session.version = result['protocolVersion']
    session.touch()
    way.answer(text, 200, ['Mcp-Session-Id', accepted(lodging)])
  }
  try {
    channel.call(said, { answer, progress: way.tell, failed, patient: true })
  } catch (error) {
    failed(error as Refusal)
  }
  return way.reply
}
