// The GET stream of clients of 2025 and before in front of a server of 2026-07-28: one subscription there for as long as the stream is read (basic/patterns/subscriptions).
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { envelopeOf } from '../mcp/era.ts'
import { standardHeaders } from '../mcp/mirrors.ts'
import { metaOf, paramsOf, type Rpc } from '../mcp/rpc.ts'
import { subscriptionKey } from '../mcp/translate.ts'
import { createEventWriter } from './event-writer.ts'
import { type Caller, hear, isForeign, nothing, type Tell } from './era-exchange.ts'
import type { OlderSession } from './era-older-sessions.ts'

export interface OlderListen {
  /** The stream. Throws `request.method` where there is nothing that could be said on it. */
  open(id: string, session: OlderSession, caller: Caller): Promise<Response>
  /** What the session watches is another list now. */
  changed(id: string, session: OlderSession): void
  /** The session is over. */
  end(id: string): void
}

export interface OlderListenDeps {
  readonly tell: Tell
  readonly random: (n: number) => Uint8Array
  readonly keepAliveMs: number
}

interface Listener {
  readonly renew: (session: OlderSession) => void
  readonly stop: () => void
}

const plain = (message: Rpc): Rpc => {
  const { [subscriptionKey]: _id, ...meta } = metaOf(message)
  const { _meta, ...params } = paramsOf(message)
  return { ...message, params: { ...params, ...(Object.keys(meta).length > 0 ? { _meta: meta } : {}) } }
}

/** Nothing at all while nothing changes that anybody could tell of: the stream stays silent until something is watched. */
const subscribe = ({ tell, random }: OlderListenDeps, session: OlderSession, caller: Caller, signal: AbortSignal): Promise<Response | undefined> => {
  const notifications = { ...session.notices, ...(session.watched.length > 0 ? { resourceSubscriptions: session.watched } : {}) }
  if (Object.keys(notifications).length === 0) return Promise.resolve(undefined)
  const params = { notifications, _meta: envelopeOf(session.client, session.capabilities) }
  const body = { jsonrpc: '2.0', id: encodeBase64url(random(12)), method: 'subscriptions/listen', params }
  return tell({ ...caller, signal }, standardHeaders('subscriptions/listen', params), JSON.stringify(body))
}

/** The stream of one GET: what the subscription says, and the next one's when what is watched changes. */
const createListener = (deps: OlderListenDeps, caller: Caller, left: () => void): Listener & { readonly body: ReadableStream<Uint8Array>; readonly take: (response: Response | undefined, stop: AbortController) => void } => {
  let current: AbortController | undefined
  const stream = createEventWriter({
    keepAliveMs: deps.keepAliveMs,
    gone() {
      current?.abort()
      left()
    },
  })
  const take = (response: Response | undefined, stop: AbortController): void => {
    const before = current
    current = stop
    before?.abort()
    if (stream.over) stop.abort()
    if (!response) return
    const over = (): void => {
      // Replaced by another subscription, or the client opens a stream again.
      if (current === stop) stream.end()
    }
    hear(response, (message) => {
      if (message['method'] === undefined || message['method'] === 'notifications/subscriptions/acknowledged') return undefined
      stream.write(JSON.stringify(plain(message)))
      return stream.room()
    }).then(over, over)
  }
  return {
    body: stream.body,
    take,
    stop: stream.end,
    renew(changed) {
      const stop = new AbortController()
      subscribe(deps, changed, caller, stop.signal).then(
        (response) => take(response, stop),
        () => stream.end(),
      )
    },
  }
}

export const createOlderListen = (deps: OlderListenDeps): OlderListen => {
  const listeners = new Map<string, Set<Listener>>()
  const silent = (why: string): Refusal => new Refusal('request.method', why, { headers: { allow: 'POST, DELETE' } })
  return {
    async open(id, session, caller) {
      if (Object.keys(session.notices).length === 0 && !session.watchable) throw silent('the server says nothing of its own accord')
      const stop = new AbortController()
      const first = await subscribe(deps, session, caller, stop.signal)
      if (first && isForeign(first)) return first
      if (first && !first.ok) {
        await nothing(first)
        throw silent(`subscriptions/listen was answered ${first.status}`)
      }
      const own = listeners.get(id) ?? new Set<Listener>()
      listeners.set(id, own)
      const listener = createListener(deps, caller, () => {
        own.delete(listener)
        if (own.size === 0) listeners.delete(id)
      })
      own.add(listener)
      if (caller.signal.aborted) listener.stop()
      else caller.signal.addEventListener('abort', listener.stop, { once: true })
      listener.take(first, stop)
      return new Response(listener.body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' } })
    },
    changed: (id, session) => listeners.get(id)?.forEach(({ renew }) => renew(session)),
    end: (id) => listeners.get(id)?.forEach(({ stop }) => stop()),
  }
}
