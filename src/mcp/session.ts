// One session of a client of 2025 or before: calls, notifications and answers of the client one way, and
// everything the server says the other.
import type { AbortListener, PlainResponse } from '../kit/plain-response.ts'
import { Refusal, type ReportRefused } from '../kit/refusal.ts'
import type { PeerEvents } from './incoming-messages.ts'
import { type DescribedMessage, type Id, type Rpc, isId, keyOf, kindOf, paramsOf } from './json-rpc.ts'
import type { SessionPeer } from './json-rpc-peer.ts'
import { type StreamOutput, type Streams, createStreams } from './session-streams.ts'

/** What a request of Streamable HTTP carries, as far as the messages in it need to know. */
export interface Posted {
  /** Flat list: name, value, name, value… */
  readonly headers: readonly string[]
  /** Aborts when the caller leaves. */
  readonly signal: AbortListener
  /** How the caller is told that there will be no answer. */
  readonly refused: ReportRefused
}

// The requests of one session that have no answer yet: each is answered where it was posted, and cancelled by
// the client's own id.

/** Takes the answer to one call, or that there will be none. */
type Finish = (text: string | undefined) => void

/** How one request was posted: where its answer goes, and whom it shares that with. */
interface Sent extends Pick<Posted, 'headers' | 'refused'> {
  readonly output: StreamOutput
  readonly finish: Finish
  readonly batch: boolean
}

interface SessionCalls {
  /** Sends one request; `finish` as `gather` made it. */
  call(said: DescribedMessage, sent: Sent): void
  /**
   * The client waits no longer; servers do not answer a cancelled call, so nothing of it is left
   * (basic/utilities/cancellation).
   */
  cancel(notification: Rpc): void
}

/**
 * One answer for what was posted together. The answers of a batch go together, once all are there (2025-03-26
 * transports).
 */
const gather = (output: StreamOutput, batch: boolean, count: number): Finish => {
  const answers: string[] = []
  let open = count
  return (text) => {
    open--
    if (text !== undefined) answers.push(text)
    if (open > 0) return
    if (answers.length === 0) output.end()
    else output.answer(batch ? `[${answers.join(',')}]` : (answers[0] as string))
  }
}

const createSessionCalls = (peer: () => SessionPeer): SessionCalls => {
  const inFlight = new Map<string, { id: number; readonly finish: Finish }>()
  return {
    call(said, { output, finish, batch, refused, headers }) {
      const clientId = said.message['id'] as Id
      const key = keyOf(clientId)
      const call = { id: 0, finish }
      const forget = (): void => {
        if (inFlight.get(key) === call) inFlight.delete(key)
      }
      const failed = (refusal: Refusal): void => {
        forget()
        if (batch) finish(refused(refusal, clientId))
        else output.fail(refusal, () => refused(refusal, clientId))
      }
      const answer = (text: string): void => {
        forget()
        finish(text)
      }
      // Clients post calls at once under one id. Each is answered where it was posted, since ids towards the
      // server are the gateway's own; a cancellation means the newest of them.
      inFlight.set(key, call)
      try {
        call.id = peer().call(said, { answer, progress: output.tell, failed, sending: output.delay }, headers)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        failed(error)
      }
    },
    cancel(notification) {
      const { requestId, reason } = paramsOf(notification)
      const key = keyOf(requestId)
      const found = inFlight.get(key)
      if (!found) return
      inFlight.delete(key)
      peer().cancel(found.id, typeof reason === 'string' ? reason : 'cancelled by the client')
      found.finish(undefined)
    },
  }
}

const accepted: PlainResponse = { status: 202, headers: [], body: '' }
/** Requests of the server that wait for the client at once. */
const mostAsked = 256

export interface Session extends PeerEvents {
  /** Filled in by the answer to `initialize`. */
  version: string | undefined
  readonly streams: Streams
  /** One message, or the elements of a batch, that a client posted. Rejects with `Refusal`. */
  post(messages: readonly DescribedMessage[], batch: boolean, posted: Posted): Promise<PlainResponse>
  /** Requests of the server that the client has not answered. */
  readonly asked: number
  touch(): void
  /** Epoch ms of the last request of the client. */
  readonly touchedAt: number
}

export interface SessionOptions {
  readonly now: () => number
  /** The server behind the session. */
  readonly peer: () => SessionPeer
  /** Whether clients of a version understand a stream that begins with an event that has only an id. */
  readonly primes: (version: string) => boolean
  /** Streams for every call of such a client, and not only for those that take a while. */
  readonly atOnce: boolean
  readonly unexpected: (what: string) => void
}

/** What the server asks of the client, as far as it is not answered. */
const createAsked = ({ peer, unexpected }: SessionOptions, streams: Streams) => {
  const asked = new Set<string>()
  return {
    asked,
    request(message: Rpc, text: string): void {
      if (asked.size < mostAsked) {
        asked.add(keyOf(message['id']))
        streams.tell(text, true)
        return
      }
      const error = { code: 1429, message: 'Too many requests are waiting for the client.' }
      peer().tell({ jsonrpc: '2.0', id: message['id'], error })
    },
    /** The client's answer; one to no request is dropped. */
    answer(said: DescribedMessage, headers: readonly string[]): void | Promise<void> {
      if (asked.delete(keyOf(said.message['id']))) return peer().send(said, headers)
      unexpected('an answer of the client to no question')
    },
  }
}

export const createSession = (options: SessionOptions): Session => {
  const { now, peer, primes, atOnce } = options
  const calls = createSessionCalls(peer)
  let touchedAt = now()
  const streams = createStreams({
    now,
    primes: () => session.version !== undefined && primes(session.version),
    named: () => session.version !== undefined,
    atOnce,
    hold: (who) => peer().hold(who),
    release: (who) => peer().release(who),
  })
  const { asked, request, answer } = createAsked(options, streams)

  const take = (said: DescribedMessage, headers: readonly string[]): void | Promise<void> => {
    if (said.message['method'] === 'notifications/cancelled') return calls.cancel(said.message)
    return kindOf(said.message) === 'response' ? answer(said, headers) : peer().send(said, headers)
  }

  const session: Session = {
    version: undefined,
    streams,
    request,
    notification(message, text) {
      const [{ method }, { requestId }] = [message, paramsOf(message)]
      if (method === 'notifications/cancelled' && isId(requestId)) asked.delete(keyOf(requestId))
      streams.tell(text, method === 'notifications/message' || method === 'notifications/cancelled')
    },
    ended: streams.close,
    post(messages, batch, { headers, signal, refused }) {
      touchedAt = now()
      let count = 0
      for (const { message } of messages) if (kindOf(message) === 'request') count++
      const output = count === 0 ? undefined : streams.output(signal)
      const sent = output && { output, finish: gather(output, batch, count), batch, headers, refused }
      const taken: Promise<void>[] = []
      for (const said of messages) {
        if (sent && kindOf(said.message) === 'request') {
          calls.call(said, sent)
          continue
        }
        const one = take(said, headers)
        if (one) taken.push(one)
      }
      const all = taken.length === 0 ? undefined : Promise.all(taken)
      if (!output) return all ? all.then(() => accepted) : Promise.resolve(accepted)
      all?.catch(() => undefined)
      return output.reply
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
