// Sessions of clients of 2025 and before on one shared process: each has its own ids, progress, streams and subscriptions, and none can be asked anything.
import { Refusal } from '../kit/refusal.ts'
import {
  type Id,
  type Rpc,
  type DescribedMessage,
  isRecord,
  paramsOf,
  describeMessage,
  withId,
} from '../mcp/json-rpc.ts'
import { revisions } from '../mcp/revisions.ts'
import type { CallEvents } from './incoming-messages.ts'
import type { JsonRpcPeer } from './json-rpc-peer.ts'
import type { Pool } from './process-pool.ts'
import { type SessionProcess, type SessionProcessDeps, createSession } from './session.ts'

// The one process of a shared service, begun by the gateway itself: it knows no client, so it can ask none, and nothing of one session reaches another.

/** The revision the gateway offers to servers of before 2026-07-28. */
const offered = (revisions.find(({ modern }) => !modern) as { readonly version: string }).version
const never = new AbortController().signal

export interface SharedProcess {
  readonly channel: JsonRpcPeer
  /** Its answer to `initialize`. */
  readonly introduction: Rpc
}

/** A session as the host knows it. */
export interface SharedSession {
  notification(message: Rpc, text: string): void
  /** Resources it subscribed to. */
  readonly resources: ReadonlySet<string>
}

export interface SharedHostOptions {
  readonly pool: Pool
  readonly now: () => number
  readonly about: { readonly version: string }
  readonly owner: string
  /** Longest wait for its answer to `initialize`, milliseconds. */
  readonly startMs: number
  readonly stray: (what: string) => void
}

export interface SharedHost {
  /** The running process, begun when there is none, introduced, and subscribed to what its guests want. Rejects as `Pool.start` does. */
  get(): Promise<SharedProcess>
  readonly guests: Set<SharedSession>
  /** The process, while it runs and has been introduced. */
  running(): SharedProcess | undefined
}

/** Which guests a notification is for. Log messages are about somebody's call, and nothing says whose. */
const audience = (guests: ReadonlySet<SharedSession>, message: Rpc): readonly SharedSession[] => {
  const method = String(message['method'])
  if (method === 'notifications/resources/updated')
    return [...guests].filter(({ resources }) => resources.has(String(paramsOf(message)['uri'])))
  return method.endsWith('/list_changed') ? [...guests] : []
}

const introduce = (channel: JsonRpcPeer, { about, startMs }: SharedHostOptions): Promise<Rpc> =>
  new Promise((resolve, reject) => {
    const late = setTimeout(
      () => reject(new Refusal('upstream.timeout', `no answer to initialize${channel.process.complaint()}`)),
      startMs,
    )
    const params = {
      protocolVersion: offered,
      capabilities: {},
      clientInfo: { name: 'postern', version: about.version },
    }
    const refused = (message: Rpc): Refusal =>
      new Refusal(
        'process.ended',
        `initialize was answered ${JSON.stringify(message['error']).slice(0, 200)}`,
        { say: 'The MCP server does not support a protocol revision that can be shared.' },
      )
    channel.call(describeMessage({ jsonrpc: '2.0', id: 0, method: 'initialize', params }), {
      answer(_, message) {
        clearTimeout(late)
        if (isRecord(message['result'])) resolve(message['result'])
        else reject(refused(message))
      },
      progress: () => undefined,
      failed(refusal) {
        clearTimeout(late)
        reject(refusal)
      },
      patient: true,
    })
  })

export const createSharedHost = (options: SharedHostOptions): SharedHost => {
  const { pool, now, owner, stray } = options
  const guests = new Set<SharedSession>()
  const state: { host?: SharedProcess; beginning?: Promise<SharedProcess>; channel?: JsonRpcPeer } = {}
  const forget = (): void => {
    delete state.host
    delete state.channel
  }

  const begin = async (): Promise<SharedProcess> => {
    const channel = await pool.start(
      owner,
      {
        request(message) {
          const answer =
            message['method'] === 'ping'
              ? { result: {} }
              : {
                  error: {
                    code: -32601,
                    message: 'This server is shared, so no single client can receive this request.',
                  },
                }
          state.channel?.send(describeMessage({ jsonrpc: '2.0', id: message['id'], ...answer }))
        },
        notification(message, text) {
          const hearing = audience(guests, message)
          if (hearing.length === 0) stray('a notification for nobody')
          for (const guest of hearing) guest.notification(message, text)
        },
        idle: () => (state.channel?.pending() === 0 ? now() - state.channel.usedAt() : 0),
        busy: () => (state.channel?.pending() ?? 0) > 0,
        leave() {
          state.channel?.stop()
          forget()
        },
        ended: forget,
      },
      never,
    )
    state.channel = channel
    const introduction = await introduce(channel, options).catch((error: unknown) => {
      channel.stop()
      throw error
    })
    channel.send(describeMessage({ jsonrpc: '2.0', method: 'notifications/initialized' }))
    for (const uri of new Set([...guests].flatMap(({ resources }) => [...resources]))) {
      channel.call(
        describeMessage({ jsonrpc: '2.0', id: 0, method: 'resources/subscribe', params: { uri } }),
        {
          answer: () => undefined,
          progress: () => undefined,
          failed: () => undefined,
        },
      )
    }
    state.host = { channel, introduction }
    return state.host
  }

  return {
    guests,
    running: () => state.host,
    get() {
      if (state.host) return Promise.resolve(state.host)
      state.beginning ??= begin().finally(() => delete state.beginning)
      return state.beginning
    },
  }
}

/** Sessions on one process; the one unused for longest ends. */
const mostSessions = 10_000

export interface SharedDeps extends Omit<SessionProcessDeps, 'forget'> {
  readonly about: { readonly version: string }
  readonly startMs: number
  readonly forget: (lodging: SessionProcess) => void
}

interface Line {
  readonly host: SharedHost
  readonly guest: SharedSession & { readonly resources: Set<string> }
  readonly now: () => number
}

/** What the server said of itself, in the words of a client that asked for an older revision. */
const introduced = ({ introduction }: SharedProcess, message: Rpc): string => {
  const spoken = String(introduction['protocolVersion'])
  const wanted = paramsOf(message)['protocolVersion']
  return JSON.stringify({
    jsonrpc: '2.0',
    id: message['id'],
    result: {
      ...introduction,
      protocolVersion: typeof wanted === 'string' && wanted < spoken ? wanted : spoken,
    },
  })
}

/** Answers that the server must not or need not give: its introduction, a level of a log that nobody gets, a subscription it has already. */
const answeredHere = ({ host, guest }: Line, at: SharedProcess, message: Rpc): string | undefined => {
  const done = JSON.stringify({ jsonrpc: '2.0', id: message['id'], result: {} })
  const { uri } = paramsOf(message)
  const others = [...host.guests].some((other) => other !== guest && other.resources.has(String(uri)))
  switch (message['method']) {
    case 'initialize':
      return introduced(at, message)
    case 'logging/setLevel':
      return done
    case 'resources/subscribe':
      guest.resources.add(String(uri))
      return others ? done : undefined
    case 'resources/unsubscribe':
      return guest.resources.delete(String(uri)) && !others ? undefined : done
    default:
      return undefined
  }
}

/** A channel of one session: its calls go to the shared process, wherever that is in its life. */
const createLine = (
  line: Line,
): Pick<JsonRpcPeer, 'call' | 'send' | 'cancel' | 'hold' | 'release' | 'expire' | 'pending' | 'usedAt'> => {
  const { host, now } = line
  /** Ours → the shared channel's, once sent. */
  const calls = new Map<number, { sent?: { readonly channel: JsonRpcPeer; readonly id: number } }>()
  let ids = 0
  let usedAt = now()

  const settled = (id: number, events: CallEvents): CallEvents => ({
    ...events,
    answer(text, message) {
      calls.delete(id)
      events.answer(text, message)
    },
    failed(refusal) {
      calls.delete(id)
      events.failed(refusal)
    },
  })

  const carry = async (id: number, said: DescribedMessage, events: CallEvents): Promise<void> => {
    const at = await host.get()
    const call = calls.get(id)
    if (!call) return
    const { message } = said
    const here = answeredHere(line, at, message)
    if (here === undefined) call.sent = { channel: at.channel, id: at.channel.call(said, events) }
    else events.answer(withId(here, message, message['id'] as Id), JSON.parse(here) as Rpc)
  }

  return {
    call(said, events) {
      const id = ++ids
      usedAt = now()
      calls.set(id, {})
      const own = settled(id, events)
      carry(id, said, own).catch((error: unknown) =>
        own.failed(error instanceof Refusal ? error : new Refusal('fault', String(error))),
      )
      return id
    },
    cancel(id, reason) {
      const call = calls.get(id)
      calls.delete(id)
      call?.sent?.channel.cancel(call.sent.id, reason)
    },
    send(said) {
      usedAt = now()
      // The gateway introduced itself, and there are no roots.
      if (
        !['notifications/initialized', 'notifications/roots/list_changed'].includes(
          String(said.message['method']),
        )
      )
        host.running()?.channel.send(said)
    },
    // One slow reader is nobody else's delay; the outlet gives it up instead.
    hold: () => undefined,
    release: () => undefined,
    // The shared channel's own calls are looked after there.
    expire: () => undefined,
    pending: () => calls.size,
    usedAt: () => usedAt,
  }
}

export interface Shared {
  /** A session on the shared process. */
  lodge(): SessionProcess
  /** Fails calls during which the server said nothing. */
  expire(silenceMs: number): void
}

export const createShared = (
  owner: string,
  { pool, now, about, startMs, primes, atOnce, stray, forget }: SharedDeps,
): Shared => {
  const host = createSharedHost({ pool, now, about, owner, startMs, stray })
  const lodgings = new Set<SessionProcess>()

  const lodge = (): SessionProcess => {
    const guest = {
      notification: (message: Rpc, text: string) => session.events.notification(message, text),
      resources: new Set<string>(),
    }
    const channel = createLine({ host, guest, now })
    const session = createSession({ now, channel: () => channel as JsonRpcPeer, primes, atOnce, stray })
    const leave = (): void => {
      if (!lodgings.delete(lodging)) return
      for (const uri of host.running() ? guest.resources : []) {
        channel.call(
          describeMessage({ jsonrpc: '2.0', id: 0, method: 'resources/unsubscribe', params: { uri } }),
          {
            answer: () => undefined,
            progress: () => undefined,
            failed: () => undefined,
          },
        )
      }
      host.guests.delete(guest)
      session.streams.close()
      forget(lodging)
    }
    const lodging: SessionProcess = {
      owner,
      session,
      channel,
      id: undefined,
      leave,
      complaint: () => host.running()?.channel.process.complaint() ?? '',
    }
    host.guests.add(guest)
    lodgings.add(lodging)
    if (lodgings.size > mostSessions)
      [...lodgings].sort((a, b) => a.session.touchedAt - b.session.touchedAt)[0]?.leave()
    return lodging
  }

  return { lodge, expire: (silenceMs) => host.running()?.channel.expire(silenceMs) }
}
