// `subscriptions/listen` in front of a server of before: what its session's stream says, as the messages of one subscription (2026-07-28 basic/patterns/subscriptions).
import { encodeBase64url } from '../../kit/bytes.ts'
import { Refusal } from '../../kit/refusal.ts'
import { createEventWriter } from '../../kit/sse.ts'
import { standardHeaders } from '../../mcp/headers.ts'
import { type Id, type Rpc, isRecord, metaOf, paramsOf } from '../../mcp/json-rpc.ts'
import { envelopeOf } from '../../mcp/revisions.ts'
import { bridgedServer, subscriptionKey } from '../../mcp/translate.ts'
import {
  type Caller,
  type SendNotification,
  answerOf,
  createRevisionReply,
  readReplies,
  isForeign,
  nothing,
} from './exchange.ts'
import type { LegacySession } from './legacy-session-records.ts'
import type { UpstreamSession } from './legacy-sessions-upstream.ts'

export type Subscriptions = (caller: Caller, session: UpstreamSession, message: Rpc) => Promise<Response>

const kinds: Readonly<Record<string, { readonly wanted: string; readonly of: string }>> = {
  'notifications/tools/list_changed': { wanted: 'toolsListChanged', of: 'tools' },
  'notifications/prompts/list_changed': { wanted: 'promptsListChanged', of: 'prompts' },
  'notifications/resources/list_changed': { wanted: 'resourcesListChanged', of: 'resources' },
}

/** Resources that one subscription may watch. */
const mostWatched = 256

const grantedOf = (wanted: Rpc, capabilities: Rpc): Record<string, unknown> => {
  const granted: Record<string, unknown> = {}
  for (const { wanted: name, of } of Object.values(kinds)) {
    const offered = capabilities[of]
    if (wanted[name] === true && isRecord(offered) && offered['listChanged'] === true) granted[name] = true
  }
  return granted
}

type Watch = (
  caller: Caller,
  session: UpstreamSession,
  uris: readonly string[],
) => Promise<{ readonly seen: ReadonlySet<string>; readonly stop: () => void }>

export interface SubscriptionsDeps {
  readonly tell: SendNotification
  readonly keepAliveMs: number
  readonly random: (n: number) => Uint8Array
}

/** Watches resources in a session for as long as any subscription of it does. */
const createWatch = ({ tell, random }: SubscriptionsDeps): Watch => {
  const watched = new WeakMap<UpstreamSession, Map<string, number>>()

  const say = async (
    caller: Caller,
    session: UpstreamSession,
    method: string,
    uri: string,
  ): Promise<boolean> => {
    const id = encodeBase64url(random(12))
    const response = await tell(
      { ...caller, signal: AbortSignal.timeout(10_000) },
      session.fields,
      JSON.stringify({ jsonrpc: '2.0', id, method, params: { uri } }),
    ).catch(() => undefined)
    const answer = response?.ok ? await answerOf(response, id).catch(() => undefined) : undefined
    return isRecord(answer?.['result'])
  }

  return async (caller, session, uris) => {
    const counts = watched.get(session) ?? new Map<string, number>()
    watched.set(session, counts)
    const seen = new Set<string>()
    for (const uri of uris) {
      if (seen.has(uri) || (!counts.has(uri) && !(await say(caller, session, 'resources/subscribe', uri))))
        continue
      counts.set(uri, (counts.get(uri) ?? 0) + 1)
      seen.add(uri)
    }
    const stop = (): void => {
      for (const uri of seen) {
        const left = (counts.get(uri) ?? 1) - 1
        if (left > 0) counts.set(uri, left)
        else if (counts.delete(uri)) say(caller, session, 'resources/unsubscribe', uri).catch(() => false)
      }
      seen.clear()
    }
    return { seen, stop }
  }
}

const watchable = (wanted: Rpc, capabilities: Rpc): readonly string[] => {
  const { resourceSubscriptions: list } = wanted
  const offered = capabilities['resources']
  if (!Array.isArray(list) || !isRecord(offered) || offered['subscribe'] !== true) return []
  return (list as readonly unknown[])
    .filter((uri): uri is string => typeof uri === 'string')
    .slice(0, mostWatched)
}

/** The same message as one of the subscription. */
const tagged = (message: Rpc, id: Id): string =>
  JSON.stringify({
    ...message,
    params: { ...paramsOf(message), _meta: { ...metaOf(message), [subscriptionKey]: id } },
  })

export const createSubscriptions = (deps: SubscriptionsDeps): Subscriptions => {
  const watch = createWatch(deps)
  return async (caller, session, message) => {
    const id = message['id'] as Id
    const { notifications } = paramsOf(message)
    const wanted = isRecord(notifications) ? notifications : {}
    const capabilities = bridgedServer(session.about.capabilities, { notices: true, watching: true })
    const granted = grantedOf(wanted, capabilities)
    const ends: (() => void)[] = []
    const reply = createRevisionReply({
      keepAliveMs: deps.keepAliveMs,
      signal: caller.signal,
      gone: () => ends.forEach((end) => end()),
    })
    let seen: ReadonlySet<string> = new Set()
    /** What comes before the acknowledgement waits for it. */
    let early: Rpc[] | undefined = []
    const say = (heard: Rpc): void => void reply.tell(tagged(heard, id))?.catch(() => undefined)
    const stop = await session.stream?.listen((heard) => {
      const kind = kinds[String(heard['method'])]
      const theirs = kind
        ? granted[kind.wanted] === true
        : heard['method'] === 'notifications/resources/updated' && seen.has(String(paramsOf(heard)['uri']))
      if (theirs && early) early.push(heard)
      else if (theirs) say(heard)
      return theirs
    })
    if (stop) ends.push(stop)
    const uris = watchable(wanted, capabilities)
    const watching = await watch(caller, session, uris)
    ends.push(watching.stop)
    seen = watching.seen
    say({
      jsonrpc: '2.0',
      method: 'notifications/subscriptions/acknowledged',
      params: {
        notifications: { ...granted, ...(uris.length > 0 ? { resourceSubscriptions: [...seen] } : {}) },
      },
    })
    for (const heard of early) say(heard)
    early = undefined
    // The client may have left meanwhile.
    if (reply.over) for (const end of ends) end()
    return reply.response
  }
}

// The GET stream of clients of 2025 and before in front of a server of 2026-07-28: one subscription there for as long as the stream is read (basic/patterns/subscriptions).

export interface LegacyListen {
  /** The stream. `load`: the session as it is at the moment. Throws `request.method` where there is nothing that could be said on it. */
  open(id: string, caller: Caller, load: () => Promise<LegacySession>): Promise<Response>
  /** What the session watches is another list now. */
  changed(id: string): void
  /** The session is over. */
  end(id: string): void
}

export interface LegacyListenDeps {
  readonly tell: SendNotification
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
const subscribe = (
  { tell, random }: LegacyListenDeps,
  session: LegacySession,
  caller: Caller,
  signal: AbortSignal,
): Promise<Response | undefined> => {
  const notifications = {
    ...session.notices,
    ...(session.watched.length > 0 ? { resourceSubscriptions: session.watched } : {}),
  }
  if (Object.keys(notifications).length === 0) return Promise.resolve(undefined)
  const params = { notifications, _meta: envelopeOf(session.client, session.capabilities) }
  const body = { jsonrpc: '2.0', id: encodeBase64url(random(12)), method: 'subscriptions/listen', params }
  return tell(
    { ...caller, signal, subscribes: true },
    standardHeaders('subscriptions/listen', params),
    JSON.stringify(body),
  )
}

/** The stream of one GET: what the subscription says, and the next one's when what is watched changes. */
const createListener = (
  deps: LegacyListenDeps,
  caller: Caller,
  load: () => Promise<LegacySession>,
  left: () => void,
): Listener & { readonly body: ReadableStream<Uint8Array> } => {
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
    readReplies(response, (message) => {
      if (message['method'] === undefined || message['method'] === 'notifications/subscriptions/acknowledged')
        return undefined
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

export const createLegacyListen = (deps: LegacyListenDeps): LegacyListen => {
  const listeners = new Map<string, Set<Listener>>()
  const silent = (why: string): Refusal =>
    new Refusal('request.method', why, { headers: { allow: 'POST, DELETE' } })
  return {
    async open(id, caller, load) {
      const { notices, watchable } = await load()
      if (Object.keys(notices).length === 0 && !watchable)
        throw silent('the server says nothing of its own accord')
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
      if (!refused)
        return new Response(listener.body, {
          headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' },
        })
      listener.stop()
      if (isForeign(refused)) return refused
      await nothing(refused)
      throw silent(`subscriptions/listen was answered ${refused.status}`)
    },
    changed(id) {
      for (const { renew, stop } of listeners.get(id) ?? [])
        renew().then((refused) => refused && stop(), stop)
    },
    end(id) {
      for (const { stop } of listeners.get(id) ?? []) stop()
    },
  }
}
