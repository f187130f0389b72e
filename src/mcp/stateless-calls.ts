// The calls of 2026-07-28 at one server: no session, any number at once, each answered on its own response
// (streamable-http; basic/transports/stdio).
import type { PlainResponse } from '../kit/plain-response.ts'
import type { Refusal } from '../kit/refusal.ts'
import type { PeerEvents, SessionPeer } from './json-rpc-peer.ts'
import {
  type DescribedMessage,
  type Id,
  type Rpc,
  type CallsInFlight,
  createCallsInFlight,
  describeMessage,
  forWriting,
  isId,
  metaOf,
  paramsOf,
  statusOf,
  isRecord,
} from './json-rpc.ts'
import { type ResponseWriter, createResponseWriter } from './response-writer.ts'
import type { Posted } from './session.ts'
import { logLevelKey, subscriptionKey } from './translate.ts'

interface CallInFlight {
  readonly clientId: Id
  readonly output: ResponseWriter
  /** `subscriptions/listen`. */
  readonly listens: boolean
  /** It has waited for a whole interval of comments. */
  late: boolean
}

export interface StatelessCallsOptions {
  readonly peer: () => SessionPeer
  /** One slow reader may make the server wait: everybody behind it is the same person. */
  readonly alone: boolean
  readonly unexpected: (what: string) => void
}

/** Calls in flight, by our ids. */
interface CallsState extends StatelessCallsOptions {
  readonly inFlight: CallsInFlight<number, CallInFlight>
  /**
   * The one call whose log messages are let through: on this transport nothing tells whose a message is
   * (server/utilities/logging).
   */
  logging: number | undefined
}

const withSubscription = (holder: Rpc, id: Id): Rpc => ({
  ...holder,
  _meta: { ...(isRecord(holder['_meta']) ? holder['_meta'] : {}), [subscriptionKey]: id },
})

const forget = (state: CallsState, id: number): void => {
  state.inFlight.delete(id)
  if (state.logging === id) state.logging = undefined
}

const subscription = ({ inFlight }: CallsState, id: unknown): CallInFlight | undefined => {
  const found = typeof id === 'number' ? inFlight.get(id) : undefined
  return found?.listens ? found : undefined
}

const notify = (state: CallsState, message: Rpc, text: string): void => {
  const { peer, unexpected, inFlight, logging } = state
  const id = metaOf(message)[subscriptionKey]
  if (id !== undefined) {
    const found = subscription(state, id)
    if (!found) return unexpected('a notification of no subscription')
    const whole = forWriting(text, message)
    found.output.event(
      JSON.stringify({ ...whole, params: withSubscription(paramsOf(whole), found.clientId) }),
    )
  } else if (message['method'] === 'notifications/message' && logging !== undefined)
    inFlight.get(logging)?.output.event(text)
  else if (message['method'] === 'notifications/cancelled') {
    // The server has torn a subscription down; it cancels nothing else (basic/patterns/cancellation).
    const requestId = paramsOf(message)['requestId'] as number
    const found = subscription(state, requestId)
    if (!found) return
    forget(state, requestId)
    peer().cancel(requestId, 'ended by the server')
    found.output.end()
  } else unexpected('a notification of no call')
}

/**
 * A server may leave log messages out, and must not send them to another call; so while one call is told of
 * them, a second asks for none.
 */
const quieted = ({ logging }: CallsState, said: DescribedMessage): DescribedMessage => {
  if (logging === undefined || !(logLevelKey in metaOf(said.message))) return said
  const whole = forWriting(said.text, said.message)
  const { [logLevelKey]: _level, ...meta } = metaOf(whole)
  return describeMessage({ ...whole, params: { ...paramsOf(whole), _meta: meta } })
}

const request = (
  state: CallsState,
  said: DescribedMessage,
  { signal, refused }: Pick<Posted, 'signal' | 'refused'>,
): Promise<PlainResponse> => {
  const { peer, alone, inFlight } = state
  const { message } = said
  const clientId = message['id'] as Id
  const listens = message['method'] === 'subscriptions/listen'
  let id = 0
  const output: ResponseWriter = createResponseWriter(
    {
      // Closing the stream is the cancellation (streamable-http, cancellation); this transport has a message
      // for it.
      gone() {
        peer().cancel(id, 'the client closed the stream')
        forget(state, id)
      },
      slow: () => alone && peer().hold(output),
      caughtUp: () => alone && peer().release(output),
    },
    signal,
  )
  const sent = quieted(state, said)
  id = peer().call(sent, {
    patient: listens,
    progress: (text) => output.event(text),
    answer(text, answer) {
      forget(state, id)
      const { result } = answer
      output.answer(
        listens && isRecord(result)
          ? JSON.stringify({ ...answer, id: clientId, result: withSubscription(result, clientId) })
          : text,
        statusOf(answer),
      )
    },
    failed(refusal: Refusal) {
      forget(state, id)
      output.fail(refusal, listens ? undefined : () => refused(refusal, clientId))
      // A subscription whose server is gone just ends, without a result (basic/patterns/subscriptions,
      // graceful closure).
      if (listens) output.end()
    },
  })
  inFlight.set(id, { clientId, output, listens, late: false })
  if (isId(metaOf(sent.message)[logLevelKey])) state.logging = id
  return output.reply
}

export type StatelessCalls = ReturnType<typeof createStatelessCalls>

export const createStatelessCalls = (options: StatelessCallsOptions) => {
  const state: CallsState = { ...options, inFlight: createCallsInFlight(), logging: undefined }
  const { inFlight, peer, unexpected } = state
  const events: PeerEvents = {
    notification: (message, text) => notify(state, message, text),
    // This revision has no requests of servers; one is answered nevertheless, so that the server does not
    // wait for ever.
    request(message) {
      unexpected('a request of the server')
      const error = { code: -32601, message: 'Method not found' }
      peer().tell({ jsonrpc: '2.0', id: message['id'], error })
    },
    ended: () => undefined,
  }
  return {
    /** Carries one request. */
    request: (said: DescribedMessage, call: Pick<Posted, 'signal' | 'refused'>): Promise<PlainResponse> =>
      request(state, said, call),
    events,
    /** Calls without an answer; subscriptions, which have none to wait for, are not counted. */
    pending: (): number => inFlight.calls().filter(({ listens }) => !listens).length,
    comment(): void {
      for (const call of inFlight.calls()) {
        // What stands between client and gateway is to see a sign of life: the answer becomes a stream.
        if (call.late) call.output.open()
        call.late = true
        call.output.comment()
      }
    },
    /** Ends the subscriptions in order: with a result, as the server itself would. */
    close(): void {
      for (const [id, { listens, clientId, output }] of inFlight.entries()) {
        if (!listens) continue
        forget(state, id)
        peer().cancel(id, 'the server is put to sleep')
        const result = withSubscription({ resultType: 'complete' }, clientId)
        output.answer(JSON.stringify({ jsonrpc: '2.0', id: clientId, result }))
      }
    },
  }
}
