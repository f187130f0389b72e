// The process that serves one person's calls of 2026-07-28: any number at once, each with its own way back.
import type { Refusal } from '../kit/refusal.ts'
import type { BridgeCall, BridgeReply } from '../ports/bridge.ts'
import type { Channel } from './channel.ts'
import type { ChannelEvents } from './channel-events.ts'
import { createOutlet, type Outlet } from './outlet.ts'
import { forWriting, type Id, isId, isRecord, metaOf, paramsOf, type Rpc, type Said, saying, statusOf } from '../mcp/rpc.ts'

const subscriptionId = 'io.modelcontextprotocol/subscriptionId'
const logLevel = 'io.modelcontextprotocol/logLevel'

interface Going {
  readonly clientId: Id
  readonly outlet: Outlet
  /** `subscriptions/listen`. */
  readonly listens: boolean
  /** It has waited for a whole interval of comments. */
  late: boolean
}

export interface Personal {
  readonly events: ChannelEvents
  /** Carries one request. */
  request(said: Said, call: Pick<BridgeCall, 'signal' | 'refused'>): Promise<BridgeReply>
  comment(): void
  /** Calls without an answer; subscriptions, which have none to wait for, are not counted. */
  readonly calls: number
  /** Ends the subscriptions in order: with a result, as the server itself would. */
  close(): void
}

export interface PersonalOptions {
  readonly channel: () => Channel
  /** One slow reader may make the server wait: everybody behind it is the same person. */
  readonly alone: boolean
  readonly stray: (what: string) => void
}

/** Calls that are going, by our ids. */
interface Desk extends PersonalOptions {
  readonly going: Map<number, Going>
  /** The one call whose log messages are let through: on this transport nothing tells whose a message is (server/utilities/logging). */
  logging: number | undefined
}

const withSubscription = (holder: Rpc, id: Id): Rpc => ({ ...holder, _meta: { ...(isRecord(holder['_meta']) ? holder['_meta'] : {}), [subscriptionId]: id } })

const forget = (desk: Desk, id: number): void => {
  desk.going.delete(id)
  if (desk.logging === id) desk.logging = undefined
}

const finish = (outlet: Outlet, text: string, status: number): void => {
  if (outlet.state === 'waiting') outlet.json(text, status)
  else {
    outlet.event(text)
    outlet.end()
  }
}

const subscription = ({ going }: Desk, id: unknown): Going | undefined => {
  const found = typeof id === 'number' ? going.get(id) : undefined
  return found?.listens ? found : undefined
}

const told = (desk: Desk, message: Rpc, text: string): void => {
  const { channel, stray, going, logging } = desk
  const id = metaOf(message)[subscriptionId]
  if (id !== undefined) {
    const found = subscription(desk, id)
    if (!found) return stray('a notification of no subscription')
    const whole = forWriting(text, message)
    found.outlet.event(JSON.stringify({ ...whole, params: withSubscription(paramsOf(whole), found.clientId) }))
  } else if (message['method'] === 'notifications/message' && logging !== undefined) going.get(logging)?.outlet.event(text)
  else if (message['method'] === 'notifications/cancelled') {
    // The server has torn a subscription down; it cancels nothing else (basic/patterns/cancellation).
    const requestId = paramsOf(message)['requestId'] as number
    const found = subscription(desk, requestId)
    if (!found) return
    forget(desk, requestId)
    channel().cancel(requestId, 'ended by the server')
    found.outlet.end()
  } else stray('a notification of no call')
}

/** A server may leave log messages out, and must not send them to another call; so while one call is told of them, a second asks for none. */
const quieted = ({ logging }: Desk, said: Said): Said => {
  if (logging === undefined || !(logLevel in metaOf(said.message))) return said
  const whole = forWriting(said.text, said.message)
  const { [logLevel]: _level, ...meta } = metaOf(whole)
  return saying({ ...whole, params: { ...paramsOf(whole), _meta: meta } })
}

const request = (desk: Desk, said: Said, { signal, refused }: Pick<BridgeCall, 'signal' | 'refused'>): Promise<BridgeReply> => {
  const { channel, alone, going } = desk
  const { message } = said
  const clientId = message['id'] as Id
  const listens = message['method'] === 'subscriptions/listen'
  const state = { id: 0 }
  const outlet: Outlet = createOutlet(
    {
      // Closing the stream is the cancellation (streamable-http, cancellation); this transport has a message for it.
      gone() {
        channel().cancel(state.id, 'the client closed the stream')
        forget(desk, state.id)
      },
      slow: () => alone && channel().hold(outlet),
      caughtUp: () => alone && channel().release(outlet),
    },
    signal,
  )
  const sent = quieted(desk, said)
  state.id = channel().call(sent, {
    patient: listens,
    progress: (text) => outlet.event(text),
    answer(text, answer) {
      forget(desk, state.id)
      const { result } = answer
      finish(outlet, listens && isRecord(result) ? JSON.stringify({ ...answer, id: clientId, result: withSubscription(result, clientId) }) : text, statusOf(answer))
    },
    failed(refusal: Refusal) {
      forget(desk, state.id)
      if (outlet.state === 'waiting') outlet.refuse(refusal)
      // A subscription whose server is gone just ends, without a result (basic/patterns/subscriptions, graceful closure).
      else if (listens) outlet.end()
      else finish(outlet, refused(refusal, clientId), 200)
    },
  })
  going.set(state.id, { clientId, outlet, listens, late: false })
  if (isId(metaOf(sent.message)[logLevel])) desk.logging = state.id
  return outlet.reply
}

export const createPersonal = (options: PersonalOptions): Personal => {
  const desk: Desk = { ...options, going: new Map(), logging: undefined }
  const { going, channel, stray } = desk
  return {
    request: (said, call) => request(desk, said, call),
    events: {
      notification: (message, text) => told(desk, message, text),
      // This revision has no requests of servers; an older habit is answered, so that the server does not wait for ever.
      request(message) {
        stray('a request of the server')
        channel().send(saying({ jsonrpc: '2.0', id: message['id'], error: { code: -32601, message: 'Method not found' } }))
      },
      ended: () => undefined,
    },
    get calls() {
      return [...going.values()].filter(({ listens }) => !listens).length
    },
    comment() {
      for (const call of going.values()) {
        // What stands between client and gateway is to see a sign of life: the answer becomes a stream.
        if (call.late) call.outlet.open()
        call.late = true
        call.outlet.comment()
      }
    },
    close() {
      for (const [id, { listens, clientId, outlet }] of going) {
        if (!listens) continue
        forget(desk, id)
        channel().cancel(id, 'the server is put to sleep')
        finish(outlet, JSON.stringify({ jsonrpc: '2.0', id: clientId, result: withSubscription({ resultType: 'complete' }, clientId) }), 200)
      }
    },
  }
}
