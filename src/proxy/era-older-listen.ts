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
  /** The stream. `load`: the session as it is at the moment. Throws `request.method` where there is nothing that could be said on it. */
  open(id: string, caller: Caller, load: () => Promise<OlderSession>): Promise<Response>
  /** What the session watches is another list now. */
  changed(id: string): void
  /** The session is over. */
  end(id: string): void
}

export interface OlderListenDeps {
  readonly tell: Tell
  readonly random: (n: number) => Uint8Array
  readonly keepAliveMs: number
}

interface Listener {
  /** Subscribes to what is watched now, in place of what was before. Resolves to what the server answered instead. */
  renew(): Promise<Response | undefined>
  stop(): void
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
  return tell({ ...caller, signal, subscribes: true }, standardHeaders('subscriptions/listen', params), JSON.stringify(body))
}

/** The stream of one GET: what the subscription says, and the next one's when what is watched changes. */
const createListener = (deps: OlderListenDeps, caller: Caller, load: () => Promise<OlderSession>, left: () => void): Listener & { readonly body: ReadableStream<Uint8Array> } => {
  let current: AbortController | undefined
  let turns = 0
  const stream = createEventWriter({
    keepAliveMs: deps.keepAliveMs,
    gone() {
      current?.abort()
      left()
    },
  })
  const take = (response: Response, stop: AbortController): void => {
    const over = (): void => {
      // Replaced by another subscription; or the client opens a stream again.
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
    stop: stream.end,
    async renew() {
      const turn = ++turns
      const stop = new AbortController()
      const response = await load().then((session) => subscribe(deps, session, caller, stop.signal))
      if (turn !== turns || stream.over) {
        stop.abort()
        return undefined
      }
      if (response && !response.ok) return response
      current?.abort()
      current = stop
      if (response) take(response, stop)
      return undefined
    },
  }
}

export const createOlderListen = (deps: OlderListenDeps): OlderListen => {
  const listeners = new Map<string, Set<Listener>>()
  const silent = (why: string): Refusal => new Refusal('request.method', why, { headers: { allow: 'POST, DELETE' } })
  return {
    async open(id, caller, load) {
      const { notices, watchable } = await load()
      if (Object.keys(notices).length === 0 && !watchable) throw silent('the server says nothing of its own accord')
      const own = listeners.get(id) ?? new Set<Listener>()
      listeners.set(id, own)
      const listener = createListener(deps, caller, load, () => {
        own.delete(listener)
        if (own.size === 0) listeners.delete(id)
      })
      // Before it subscribes: what changes meanwhile makes it subscribe again.
      own.add(listener)
      if (caller.signal.aborted) listener.stop()
      else caller.signal.addEventListener('abort', listener.stop, { once: true })
      const refused = await listener.renew().catch((error: unknown) => {
        listener.stop()
        throw error
      })
      if (!refused) return new Response(listener.body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' } })
      listener.stop()
      if (isForeign(refused)) return refused
      await nothing(refused)
      throw silent(`subscriptions/listen was answered ${refused.status}`)
    },
    changed(id) {
      for (const { renew, stop } of listeners.get(id) ?? []) renew().then((refused) => refused && stop(), stop)
    },
    end(id) {
      for (const { stop } of listeners.get(id) ?? []) stop()
    },
  }
}
