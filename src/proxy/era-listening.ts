// `subscriptions/listen` in front of a server of before: what its session's stream says, as the messages of one subscription (2026-07-28 basic/patterns/subscriptions).
import { encodeBase64url } from '../kit/bytes.ts'
import { type Id, isRecord, metaOf, paramsOf, type Rpc } from '../mcp/rpc.ts'
import { bridgedServer, subscriptionKey } from '../mcp/translate.ts'
import { answerOf, type Caller, type Tell } from './era-exchange.ts'
import { createEraReply } from './era-reply.ts'
import type { FarSession } from './era-sessions.ts'

export type Listening = (caller: Caller, session: FarSession, message: Rpc) => Promise<Response>

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

type Watch = (caller: Caller, session: FarSession, uris: readonly string[]) => Promise<{ readonly seen: ReadonlySet<string>; readonly stop: () => void }>

export interface ListeningDeps {
  readonly tell: Tell
  readonly keepAliveMs: number
  readonly random: (n: number) => Uint8Array
}

/** Watches resources in a session for as long as any subscription of it does. */
const createWatch = ({ tell, random }: ListeningDeps): Watch => {
  const watched = new WeakMap<FarSession, Map<string, number>>()

  const say = async (caller: Caller, session: FarSession, method: string, uri: string): Promise<boolean> => {
    const id = encodeBase64url(random(12))
    const response = await tell({ ...caller, signal: AbortSignal.timeout(10_000) }, session.fields, JSON.stringify({ jsonrpc: '2.0', id, method, params: { uri } })).catch(() => undefined)
    const answer = response?.ok ? await answerOf(response, id).catch(() => undefined) : undefined
    return isRecord(answer?.['result'])
  }

  return async (caller, session, uris) => {
    const counts = watched.get(session) ?? new Map<string, number>()
    watched.set(session, counts)
    const seen = new Set<string>()
    for (const uri of uris) {
      if (seen.has(uri) || (!counts.has(uri) && !(await say(caller, session, 'resources/subscribe', uri)))) continue
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
  return (list as readonly unknown[]).filter((uri): uri is string => typeof uri === 'string').slice(0, mostWatched)
}

/** The same message as one of the subscription. */
const tagged = (message: Rpc, id: Id): string => JSON.stringify({ ...message, params: { ...paramsOf(message), _meta: { ...metaOf(message), [subscriptionKey]: id } } })

export const createListening = (deps: ListeningDeps): Listening => {
  const watch = createWatch(deps)
  return async (caller, session, message) => {
    const id = message['id'] as Id
    const { notifications } = paramsOf(message)
    const wanted = isRecord(notifications) ? notifications : {}
    const capabilities = bridgedServer(session.about.capabilities, { notices: true, watching: true })
    const granted = grantedOf(wanted, capabilities)
    const ends: (() => void)[] = []
    const reply = createEraReply({ keepAliveMs: deps.keepAliveMs, signal: caller.signal, gone: () => ends.forEach((end) => end()) })
    let seen: ReadonlySet<string> = new Set()
    /** What comes before the acknowledgement waits for it. */
    let early: Rpc[] | undefined = []
    const say = (heard: Rpc): void => void reply.tell(tagged(heard, id))?.catch(() => undefined)
    const stop = await session.stream?.listen((heard) => {
      const kind = kinds[String(heard['method'])]
      const theirs = kind ? granted[kind.wanted] === true : heard['method'] === 'notifications/resources/updated' && seen.has(String(paramsOf(heard)['uri']))
      if (theirs && early) early.push(heard)
      else if (theirs) say(heard)
      return theirs
    })
    if (stop) ends.push(stop)
    const uris = watchable(wanted, capabilities)
    const watching = await watch(caller, session, uris)
    ends.push(watching.stop)
    seen = watching.seen
    say({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { notifications: { ...granted, ...(uris.length > 0 ? { resourceSubscriptions: [...seen] } : {}) } } })
    for (const heard of early) say(heard)
    early = undefined
    // The client may have left meanwhile.
    if (reply.over) for (const end of ends) end()
    return reply.response
  }
}
