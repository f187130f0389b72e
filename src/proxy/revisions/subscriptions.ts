// Notifications that belong to no call: `subscriptions/listen` of modern clients at a legacy server, and the
// GET stream of legacy clients at a modern server (2026-07-28 basic/patterns/subscriptions).
import { Refusal } from '../../kit/refusal.ts'
import { createEventWriter } from '../../kit/sse.ts'
import { type Id, type Rpc, metaOf, paramsOf } from '../../mcp/json-rpc.ts'
import { isRecord } from '../../mcp/json.ts'
import { envelopeOf } from '../../mcp/revisions.ts'
import { bridgedServer, subscriptionKey } from '../../mcp/translate.ts'
import type { ClientSession } from './client-sessions.ts'
import { createResponse } from './response.ts'
import {
  type Caller,
  type Server,
  discard,
  isForCaller,
  newId,
  readMessages,
  responseTo,
  sendModern,
} from './upstream-request.ts'
import { type UpstreamSession, sendInSession } from './upstream-sessions.ts'

// `subscriptions/listen` at a legacy server: the notifications of the session's GET stream.

const listChanges: Readonly<Record<string, { readonly filter: string; readonly capability: string }>> = {
  'notifications/tools/list_changed': { filter: 'toolsListChanged', capability: 'tools' },
  'notifications/prompts/list_changed': { filter: 'promptsListChanged', capability: 'prompts' },
  'notifications/resources/list_changed': { filter: 'resourcesListChanged', capability: 'resources' },
}

const hasFlag = (capabilities: Rpc, capability: string, flag: string): boolean => {
  const declared = capabilities[capability]
  return isRecord(declared) && declared[flag] === true
}

/** List changes that the client asked for and the server declared. */
const grantedChanges = (wanted: Rpc, capabilities: Rpc): Rpc =>
  Object.fromEntries(
    Object.values(listChanges)
      .filter(
        ({ filter, capability }) =>
          wanted[filter] === true && hasFlag(capabilities, capability, 'listChanged'),
      )
      .map(({ filter }) => [filter, true]),
  )

/** List changes that a subscription to a modern server with these capabilities asks for. */
export const subscribableChanges = (capabilities: Rpc): Rpc =>
  grantedChanges(
    Object.fromEntries(Object.values(listChanges).map(({ filter }) => [filter, true])),
    capabilities,
  )

/** Resources per subscription. */
const maxResources = 256

const wantedResources = ({ resourceSubscriptions: uris }: Rpc, capabilities: Rpc): readonly string[] =>
  Array.isArray(uris) && hasFlag(capabilities, 'resources', 'subscribe')
    ? (uris as readonly unknown[])
        .filter((uri): uri is string => typeof uri === 'string')
        .slice(0, maxResources)
    : []

const requestResource = async (
  server: Server,
  session: Pick<UpstreamSession, 'headers' | 'caller'>,
  method: 'resources/subscribe' | 'resources/unsubscribe',
  uri: string,
): Promise<boolean> => {
  const id = newId(server)
  const answer = await sendInSession(server, session, { id, method, params: { uri } }, 10_000)
    .then((response) => (response.ok ? responseTo(server, response, id) : undefined))
    .catch(() => undefined)
  return isRecord(answer?.['result'])
}

/** Subscribes to resources in the session, each for as long as any subscription of the client wants it. */
const subscribeResources = async (
  server: Server,
  caller: Caller,
  session: UpstreamSession,
  uris: readonly string[],
): Promise<{ readonly uris: ReadonlySet<string>; readonly stop: () => void }> => {
  const { subscribed, headers } = session
  const own = new Set<string>()
  for (const uri of uris) {
    if (own.has(uri)) continue
    const known = subscribed.has(uri)
    if (!known && !(await requestResource(server, { headers, caller }, 'resources/subscribe', uri))) continue
    subscribed.set(uri, (subscribed.get(uri) ?? 0) + 1)
    own.add(uri)
  }
  const stop = (): void => {
    for (const uri of own) {
      const left = (subscribed.get(uri) ?? 1) - 1
      if (left > 0) subscribed.set(uri, left)
      else if (subscribed.delete(uri))
        requestResource(server, { headers, caller }, 'resources/unsubscribe', uri).catch(() => false)
    }
    own.clear()
  }
  return { uris: own, stop }
}

const withSubscriptionId = (message: Rpc, id: Id): string =>
  JSON.stringify({
    ...message,
    params: { ...paramsOf(message), _meta: { ...metaOf(message), [subscriptionKey]: id } },
  })

export const openSubscription = async (
  server: Server,
  caller: Caller,
  session: UpstreamSession,
  message: Rpc,
): Promise<Response> => {
  const id = message['id'] as Id
  const { notifications } = paramsOf(message)
  const wanted = isRecord(notifications) ? notifications : {}
  const capabilities = bridgedServer(session.initialized.capabilities, { notices: true, watching: true })
  const granted = grantedChanges(wanted, capabilities)
  const uris = wantedResources(wanted, capabilities)
  const onEnd: (() => void)[] = []
  const end = (): void => onEnd.forEach((stop) => stop())
  const response = createResponse(server, caller.signal, end)
  const write = (notification: Rpc): void =>
    void response.write(withSubscriptionId(notification, id))?.catch(() => undefined)
  let resources: ReadonlySet<string> = new Set()
  /** Notifications before the acknowledgement wait for it. */
  let early: Rpc[] | undefined = []
  const stopListening = await session.stream?.listen((notification) => {
    const method = String(notification['method'])
    const change = listChanges[method]
    const isWanted = change
      ? granted[change.filter] === true
      : method === 'notifications/resources/updated' && resources.has(String(paramsOf(notification)['uri']))
    if (isWanted && early) early.push(notification)
    else if (isWanted) write(notification)
    return isWanted
  })
  if (stopListening) onEnd.push(stopListening)
  const subscribed = await subscribeResources(server, caller, session, uris)
  onEnd.push(subscribed.stop)
  resources = subscribed.uris
  write({
    jsonrpc: '2.0',
    method: 'notifications/subscriptions/acknowledged',
    params: {
      notifications: { ...granted, ...(uris.length > 0 ? { resourceSubscriptions: [...resources] } : {}) },
    },
  })
  for (const notification of early) write(notification)
  early = undefined
  // The client may have left in the meantime.
  if (response.over) end()
  return response.response
}

// The GET stream at a modern server: one `subscriptions/listen` for as long as the stream is read.

/** The GET streams of legacy clients, by session id. */
export interface ClientStreams {
  /**
   * Opens a stream. `load`: the session as it is stored now. Throws `request.method` if the server has no
   * notifications.
   */
  open(id: string, caller: Caller, load: () => Promise<ClientSession>): Promise<Response>
  /** The session subscribes to other resources now. */
  changed(id: string): void
  /** The session has ended. */
  end(id: string): void
}

interface ClientStream {
  readonly body: ReadableStream<Uint8Array>
  /** Subscribes anew. Resolves to the server's response if it is an error. */
  subscribe(): Promise<Response | undefined>
  stop(): void
}

const withoutSubscriptionId = (message: Rpc): Rpc => {
  const { [subscriptionKey]: _id, ...meta } = metaOf(message)
  const { _meta, ...params } = paramsOf(message)
  return { ...message, params: { ...params, ...(Object.keys(meta).length > 0 ? { _meta: meta } : {}) } }
}

/**
 * Undefined if the session wants no notifications at the moment: the stream is silent until it subscribes to
 * something.
 */
const listen = async (
  server: Server,
  { changes, subscribed, clientInfo, capabilities }: ClientSession,
  caller: Caller,
  signal: AbortSignal,
): Promise<Response | undefined> => {
  const notifications = {
    ...changes,
    ...(subscribed.length > 0 ? { resourceSubscriptions: subscribed } : {}),
  }
  if (Object.keys(notifications).length === 0) return undefined
  const { response } = await sendModern(server, caller, {
    method: 'subscriptions/listen',
    params: { notifications, _meta: envelopeOf(clientInfo, capabilities) },
    signal,
    subscribes: true,
  })
  return response
}

const createClientStream = (
  server: Server,
  caller: Caller,
  load: () => Promise<ClientSession>,
  gone: () => void,
): ClientStream => {
  let current: AbortController | undefined
  let latest: AbortController | undefined
  const stream = createEventWriter({
    timer: server.runtime.timer,
    keepAliveMs: server.keepAliveMs,
    gone() {
      current?.abort()
      gone()
    },
  })
  const relay = (response: Response, subscription: AbortController): void => {
    const ended = (): void => {
      // Unless it was replaced by another subscription. The client opens a stream again.
      if (current === subscription) stream.end()
    }
    readMessages(response, (message) => {
      if (message['method'] === undefined || message['method'] === 'notifications/subscriptions/acknowledged')
        return undefined
      stream.write(JSON.stringify(withoutSubscriptionId(message)))
      return stream.room()
    }).then(ended, ended)
  }
  return {
    body: stream.body,
    stop: stream.end,
    async subscribe() {
      const subscription = new AbortController()
      latest = subscription
      const response = await load().then((session) => listen(server, session, caller, subscription.signal))
      if (latest !== subscription || stream.over) {
        subscription.abort()
        return undefined
      }
      if (response && !response.ok) return response
      current?.abort()
      current = subscription
      if (response) relay(response, subscription)
      return undefined
    },
  }
}

const noStream = (why: string): Refusal =>
  new Refusal('request.method', why, { headers: { allow: 'POST, DELETE' } })

export const createClientStreams = (server: Server): ClientStreams => {
  const streams = new Map<string, Set<ClientStream>>()
  const add = (id: string, caller: Caller, load: () => Promise<ClientSession>): ClientStream => {
    const own = streams.get(id) ?? new Set<ClientStream>()
    streams.set(id, own)
    const stream = createClientStream(server, caller, load, () => {
      own.delete(stream)
      if (own.size === 0) streams.delete(id)
    })
    own.add(stream)
    if (caller.signal.aborted) stream.stop()
    else caller.signal.addEventListener('abort', stream.stop, { once: true })
    return stream
  }
  return {
    async open(id, caller, load) {
      const { changes, subscribable } = await load()
      if (Object.keys(changes).length === 0 && !subscribable)
        throw noStream('the server has no notifications')
      // Added before it subscribes: it subscribes again if the session changes meanwhile.
      const stream = add(id, caller, load)
      const refused = await stream.subscribe().catch((error: unknown) => {
        stream.stop()
        throw error
      })
      if (!refused)
        return new Response(stream.body, {
          headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache, no-transform' },
        })
      stream.stop()
      if (isForCaller(refused)) return refused
      await discard(refused)
      throw noStream(`subscriptions/listen was answered ${refused.status}`)
    },
    changed(id) {
      for (const { subscribe, stop } of streams.get(id) ?? [])
        subscribe().then((refused) => refused && stop(), stop)
    },
    end(id) {
      for (const { stop } of streams.get(id) ?? []) stop()
    },
  }
}
