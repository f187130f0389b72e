// One session of a client of 2025 and the server process it has to itself: calls, notifications and answers one way, and everything the server says the other.
import type { BridgeCall, BridgeReply } from '../ports/bridge.ts'
import type { Channel } from './channel.ts'
import type { ChannelEvents } from './channel-events.ts'
import { isId, kindOf, paramsOf, type Said, saying } from '../mcp/rpc.ts'
import { createSessionCalls, gather, keyOf } from './session-calls.ts'
import { createStreams, type Streams } from './streams.ts'

const accepted: BridgeReply = { status: 202, headers: [], body: '' }
/** Requests of the server that wait for the client at once. */
const mostAsked = 256

export interface Session {
  /** Filled in by the answer to `initialize`. */
  version: string | undefined
  readonly streams: Streams
  /** What the session's process says goes here. */
  readonly events: ChannelEvents
  /** One message, or the elements of a batch, that a client posted. */
  post(messages: readonly Said[], batch: boolean, call: Pick<BridgeCall, 'signal' | 'refused'>): Promise<BridgeReply>
  /** Requests of the server that the client has not answered. */
  readonly asked: number
  touch(): void
  /** Epoch ms of the last request of the client. */
  readonly touchedAt: number
}

export interface SessionOptions {
  readonly now: () => number
  readonly channel: () => Channel
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

  const take = (said: Said): void => {
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
          channel().send(saying({ jsonrpc: '2.0', id: message['id'], error: { code: 1429, message: 'Too many requests are waiting for the client.' } }))
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
        if (way && finish && kindOf(said.message) === 'request') calls.call(said, { way, finish, batch, refused })
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
