// The answer to one HTTP request while it comes into being: one JSON object when the last message is also the first, an event stream otherwise
// (Streamable HTTP, sending messages to the server).
import type { Refusal } from '../kit/refusal.ts'
import type { BridgeReply, Leave } from '../ports/bridge.ts'
import { createOutflow, type Outflow } from './outflow.ts'

export interface OutletEvents {
  /** The caller left, or was given up, before the answer was complete. */
  gone(): void
  /** The caller reads more slowly than the server writes; and has caught up. */
  slow(): void
  caughtUp(): void
}

export interface Outlet {
  readonly reply: Promise<BridgeReply>
  /** Begins an event stream, unless an answer has begun. */
  open(): void
  /** Writes one event with this data; `id` makes it one a client can resume behind. */
  event(data: string, id?: string, retryMs?: number): void
  /** The whole answer as JSON; only while nothing has begun. */
  json(text: string, status?: number, headers?: readonly string[]): void
  /** Nothing more will come: 202 without a body when nothing has begun. */
  end(): void
  /** Refused: rejects the reply while nothing has begun. */
  refuse(refusal: Refusal): void
  /** A comment, where nothing was written for a while. */
  comment(): void
  readonly state: 'waiting' | 'streaming' | 'over'
}

/** One event. */
export const frame = (data: string, id?: string, retryMs?: number): string =>
  `${id === undefined ? '' : `id: ${id}\n`}${retryMs === undefined ? '' : `retry: ${retryMs}\n`}${data === '' ? '' : 'event: message\n'}data: ${data}\n\n`

export const streamHeaders = ['Content-Type', 'text/event-stream', 'Cache-Control', 'no-cache, no-transform']
const jsonHeaders = ['Content-Type', 'application/json', 'Cache-Control', 'no-store']

interface Deferred {
  readonly reply: Promise<BridgeReply>
  resolve(reply: BridgeReply): void
  reject(error: unknown): void
}

const deferred = (): Deferred => {
  const { promise, resolve, reject } = Promise.withResolvers<BridgeReply>()
  // Nobody may be listening any more when it is refused.
  promise.catch(() => undefined)
  return { reply: promise, resolve, reject }
}

/** `signal` aborts when the caller leaves before an answer began. */
export const createOutlet = (events: OutletEvents, signal: Leave): Outlet => {
  const { reply, resolve, reject } = deferred()
  let state: Outlet['state'] = 'waiting'
  // Most calls are answered in one piece and never need it.
  let outflow: Outflow | undefined
  const close = (): boolean => {
    if (state === 'over') return false
    state = 'over'
    signal.removeEventListener('abort', leave)
    outflow?.caughtUp()
    return true
  }
  const leave = (): void => {
    if (!close()) return
    // Nobody waits for the answer any more; whoever carries the call does.
    reject(signal.reason)
    events.gone()
  }
  signal.addEventListener('abort', leave, { once: true })

  const open = (): void => {
    if (state !== 'waiting') return
    state = 'streaming'
    outflow = createOutflow({ slow: events.slow, caughtUp: events.caughtUp, gone: leave })
    resolve({ status: 200, headers: streamHeaders, body: outflow.attach })
  }

  return {
    reply,
    open,
    event(data, id, retryMs) {
      open()
      if (state === 'streaming') outflow?.write(frame(data, id, retryMs))
    },
    json(text, status = 200, headers = []) {
      if (state === 'waiting' && close()) resolve({ status, headers: [...jsonHeaders, ...headers], body: text })
    },
    end() {
      if (!close()) return
      if (outflow) outflow.end()
      else resolve({ status: 202, headers: [], body: '' })
    },
    refuse(refusal) {
      if (state === 'waiting' && close()) reject(refusal)
    },
    comment() {
      if (state === 'streaming') outflow?.comment()
    },
    get state() {
      return state
    },
  }
}
