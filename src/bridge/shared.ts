// Sessions of clients of 2025 and before on one shared process: each has its own ids, progress, streams and subscriptions, and none can be asked anything.
import { Refusal } from '../kit/refusal.ts'
import type { Channel } from './channel.ts'
import type { CallEvents } from './channel-events.ts'
import type { Lodging, LodgingDeps } from './lodging.ts'
import { type Id, paramsOf, type Rpc, type Said, saying, withId } from '../mcp/rpc.ts'
import { createSession } from './session.ts'
import { createSharedHost, type Guest, type Host, type SharedHost } from './shared-host.ts'

/** Sessions on one process; the one unused for longest ends. */
const mostSessions = 10_000

export interface SharedDeps extends Omit<LodgingDeps, 'forget'> {
  readonly about: { readonly version: string }
  readonly startMs: number
  readonly forget: (lodging: Lodging) => void
}

interface Line {
  readonly host: SharedHost
  readonly guest: Guest & { readonly resources: Set<string> }
  readonly now: () => number
}

/** What the server said of itself, in the words of a client that asked for an older revision. */
const introduced = ({ introduction }: Host, message: Rpc): string => {
  const spoken = String(introduction['protocolVersion'])
  const wanted = paramsOf(message)['protocolVersion']
  return JSON.stringify({ jsonrpc: '2.0', id: message['id'], result: { ...introduction, protocolVersion: typeof wanted === 'string' && wanted < spoken ? wanted : spoken } })
}

/** Answers that the server must not or need not give: its introduction, a level of a log that nobody gets, a subscription it has already. */
const answeredHere = ({ host, guest }: Line, at: Host, message: Rpc): string | undefined => {
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
const createLine = (line: Line): Pick<Channel, 'call' | 'send' | 'cancel' | 'hold' | 'release' | 'expire' | 'pending' | 'usedAt'> => {
  const { host, now } = line
  /** Ours → the shared channel's, once sent. */
  const calls = new Map<number, { sent?: { readonly channel: Channel; readonly id: number } }>()
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

  const carry = async (id: number, said: Said, events: CallEvents): Promise<void> => {
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
      carry(id, said, own).catch((error: unknown) => own.failed(error instanceof Refusal ? error : new Refusal('fault', String(error))))
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
      if (!['notifications/initialized', 'notifications/roots/list_changed'].includes(String(said.message['method']))) host.running()?.channel.send(said)
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
  lodge(): Lodging
  /** Fails calls during which the server said nothing. */
  expire(silenceMs: number): void
}

export const createShared = (owner: string, { pool, now, about, startMs, primes, atOnce, stray, forget }: SharedDeps): Shared => {
  const host = createSharedHost({ pool, now, about, owner, startMs, stray })
  const lodgings = new Set<Lodging>()

  const lodge = (): Lodging => {
    const guest = { notification: (message: Rpc, text: string) => session.events.notification(message, text), resources: new Set<string>() }
    const channel = createLine({ host, guest, now })
    const session = createSession({ now, channel: () => channel as Channel, primes, atOnce, stray })
    const leave = (): void => {
      if (!lodgings.delete(lodging)) return
      for (const uri of host.running() ? guest.resources : []) {
        channel.call(saying({ jsonrpc: '2.0', id: 0, method: 'resources/unsubscribe', params: { uri } }), { answer: () => undefined, progress: () => undefined, failed: () => undefined })
      }
      host.guests.delete(guest)
      session.streams.close()
      forget(lodging)
    }
    const lodging: Lodging = { owner, session, channel, id: undefined, leave, complaint: () => host.running()?.channel.process.complaint() ?? '' }
    host.guests.add(guest)
    lodgings.add(lodging)
    if (lodgings.size > mostSessions) [...lodgings].sort((a, b) => a.session.touchedAt - b.session.touchedAt)[0]?.leave()
    return lodging
  }

  return { lodge, expire: (silenceMs) => host.running()?.channel.expire(silenceMs) }
}
