// Sessions that the gateway keeps at servers of 2025 and before for clients that have none: one for a person by one client and what it can be asked, and nobody else's.
import { createOnce } from '../kit/once.ts'
import { createRecords, type Records } from '../kit/records.ts'
import type { Mirror } from '../mcp/mirrors.ts'
import type { Rpc } from '../mcp/rpc.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type Caller, nothing, type Tell } from './era-exchange.ts'
import { type Introduction, introduce, sessionFields } from './era-introduction.ts'
import { createEraStream, type EraStream } from './era-stream.ts'

export interface FarSession {
  readonly about: Introduction
  /** What the client behind it can be asked. */
  readonly capabilities: Rpc
  /** What the server says of its own accord; absent where nothing can stay to hear it. */
  readonly stream: EraStream | undefined
  /** The level of its log, once it was set. */
  level: string | undefined
  /** Fields of a request in this session. */
  readonly fields: ReturnType<typeof sessionFields>
  /** The tools that were listed, as far as their calls carry mirrored headers. */
  readonly mirrors: Map<string, readonly Mirror[]>
  /** The latest caller, in whose name the gateway speaks for itself. */
  caller: Caller
}

export interface FarSessions {
  /** The session of this caller, begun when there is none. A Response: what the server answered instead, which is the caller's to see; undefined: it is no server of this era. */
  get(caller: Caller, client: Rpc, capabilities: Rpc): Promise<FarSession | Response | undefined>
  /** The server has forgotten it. */
  lost(session: FarSession): Promise<void>
  /** A call is over; a session of nobody's ends with it. */
  done(session: FarSession): void
}

export interface FarSessionsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log' | 'defer' | 'digest'>
  readonly tell: Tell
  /** Id of the service. */
  readonly service: string
  /** Whether what is begun in one request goes on after it. */
  readonly lasting: boolean
}

/** A session unused for this long is given up. */
const idleMs = 1_800_000
/** How often use writes down that the session lives. */
const slideMs = 300_000
/** Sessions at one server in this process; the one unused for longest ends. */
const most = 1000
const sweepMs = 60_000

/** As it is stored. */
interface KeptSession {
  readonly about: Introduction
  /** Epoch ms of its last use by any process, a few minutes late at most. */
  readonly usedAt: number
}

interface Open {
  readonly session: FarSession
  usedAt: number
  writtenAt: number
}

/** The sessions of this process: in use, idle, too many. `give` ends what nobody needs. */
const createShelf = (now: () => number, give: (key: string, session: FarSession) => void) => {
  const open = new Map<string, Open>()
  let sweptAt = now()
  return {
    open,
    enter(key: string, session: FarSession): Open {
      const entry: Open = { session, usedAt: now(), writtenAt: now() }
      open.set(key, entry)
      return entry
    },
    sweep(): void {
      const time = now()
      if (time - sweptAt < sweepMs && open.size <= most) return
      sweptAt = time
      const oldestFirst = [...open].sort(([, a], [, b]) => a.usedAt - b.usedAt)
      oldestFirst.forEach(([key, { session, usedAt }], i) => {
        if (session.stream?.busy || (usedAt > time - idleMs && i >= oldestFirst.length - most)) return
        open.delete(key)
        give(key, session)
      })
    },
    find: (session: FarSession): string | undefined => [...open].find(([, entry]) => entry.session === session)?.[0],
  }
}

const createMake =
  ({ tell, lasting, runtime }: FarSessionsDeps) =>
  (about: Introduction, capabilities: Rpc, caller: Caller): FarSession => {
    const unheard = ({ caller: latest }: FarSession, { id, method }: Rpc): void => {
      const answer = method === 'ping' ? { result: {} } : { error: { code: -32_601, message: 'No client can receive this request.' } }
      runtime.defer(tell({ ...latest, signal: AbortSignal.timeout(10_000) }, fields, JSON.stringify({ jsonrpc: '2.0', id, ...answer })).then(nothing, () => undefined))
    }
    const fields = sessionFields(about)
    const stream = lasting && caller.owner !== '' ? createEraStream({ get: (signal) => tell({ ...session.caller, signal }, fields), unheard: (message) => unheard(session, message) }) : undefined
    const session: FarSession = { about, capabilities, fields, level: undefined, stream, mirrors: new Map(), caller }
    return session
  }

/** Tells the server that nobody needs it any more; what it says to that is its own affair. */
const createLeave =
  ({ tell, runtime }: FarSessionsDeps) =>
  ({ stream, about, caller, fields }: FarSession): void => {
    stream?.close()
    if (about.id !== undefined) runtime.defer(tell({ ...caller, signal: AbortSignal.timeout(10_000) }, fields, undefined, 'DELETE').then(nothing, () => undefined))
  }

/** A session in use: who calls in it, and that it lives. */
const use = async (entry: Open, caller: Caller, now: number, write: (about: Introduction) => Promise<unknown>): Promise<FarSession> => {
  entry.session.caller = caller
  entry.usedAt = now
  if (entry.usedAt - entry.writtenAt >= slideMs) {
    entry.writtenAt = entry.usedAt
    await write(entry.session.about)
  }
  return entry.session
}

/** Ends a session that is idle here. Another process may use it still; then it is only this one's that is over. */
const giveUp = async (key: string, session: FarSession, { records, leave, now }: { readonly records: Records<KeptSession>; readonly leave: (session: FarSession) => void; readonly now: number }): Promise<void> => {
  session.stream?.close()
  const kept = await records.get(key)
  if (kept && kept.value.usedAt > now - idleMs) return
  if (kept?.value.about.id === session.about.id) await records.take(key)
  leave(session)
}

export const createFarSessions = (deps: FarSessionsDeps): FarSessions => {
  const { runtime, tell, service } = deps
  const { now } = runtime
  const records = createRecords<KeptSession>(runtime, 'era-session:')
  const once = createOnce(runtime)
  const make = createMake(deps)
  const leave = createLeave(deps)
  const shelf = createShelf(now, (key, session) => {
    runtime.defer(giveUp(key, session, { records, leave, now: now() }).catch(() => undefined))
  })

  /** Another address is another server. */
  const keyOf = ({ owner, url }: Caller, capabilities: Rpc): string => runtime.digest(JSON.stringify([service, url, owner, capabilities]))


  const begin = async (key: string, caller: Caller, client: Rpc, capabilities: Rpc): Promise<Open | Response | undefined> => {
    const kept = await records.get(key)
    if (kept) return shelf.enter(key, make(kept.value.about, capabilities, caller))
    // It serves whoever asks after this caller too, so their leaving does not end it.
    const about = await introduce(tell, service, { ...caller, signal: AbortSignal.timeout(30_000) }, { client, capabilities })
    if (about === undefined || about instanceof Response) return about
    const session = make(about, capabilities, caller)
    if ((await records.put(key, { about, usedAt: now() }, { ttlMs: idleMs, only: 'absent' })) !== undefined) return shelf.enter(key, session)
    // Another process was first.
    leave(session)
    const theirs = await records.get(key)
    return theirs && shelf.enter(key, make(theirs.value.about, capabilities, caller))
  }

  return {
    async get(caller, client, capabilities) {
      shelf.sweep()
      if (caller.owner === '') {
        // People who are not told apart have a session for each call, and nobody can be asked in it.
        const about = await introduce(tell, service, caller, { client, capabilities: {} })
        return about === undefined || about instanceof Response ? about : make(about, {}, caller)
      }
      const key = keyOf(caller, capabilities)
      const found = shelf.open.get(key) ?? (await once(key, () => begin(key, caller, client, capabilities)))
      // Whoever shared the work shares its outcome, and a body is read once.
      return found === undefined || found instanceof Response ? found?.clone() : use(found, caller, now(), (about) => records.put(key, { about, usedAt: now() }, { ttlMs: idleMs }))
    },
    async lost(session) {
      session.stream?.close()
      const key = shelf.find(session)
      if (key === undefined) return
      shelf.open.delete(key)
      const kept = await records.get(key)
      if (kept?.value.about.id === session.about.id) await records.take(key)
    },
    done(session) {
      if (session.caller.owner === '') leave(session)
    },
  }
}
