// What administrators have taken away until they give it back: blocks keep users and clients out, closures keep
// everybody from the gateway or from a service. One record each.
import { type Records, type Sealed, closuresKey, createRecords, isNamed } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import { isClientOfDomain } from '../kit/urls.ts'
import type { Blocks } from '../ports/modules.ts'
import type { Block, BlockedParty, Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Closed, Service, Serving } from '../ports/services.ts'
import type { Store } from '../ports/store.ts'

// Blocks. The record is read where access begins (sign-in, consent, the exchange of a code), never on the
// path of a call: what was open when a block was written is ended beside it.

interface BlocksRecord {
  readonly blocks: readonly Block[]
}

/** Whoever blocks more than this has a rule in mind: allow lists and access rules say it better. */
const mostBlocks = 1000
/** Each lost compare-and-set means that another administrator won. */
const maxAttempts = 10

const isSame = (a: BlockedParty, b: BlockedParty): boolean =>
  a.user === b.user && a.client === b.client && a.domain === b.domain

/**
 * Sealed with a former secret, it would be lost with that, and whoever is kept out would be let in. Its writer may be
 * another process by now.
 */
const reseal = async <T>(records: Records<T>, kept: Sealed<T> | undefined): Promise<void> => {
  if (kept?.former !== true) return
  const own = await records.get('')
  if (own?.former) await records.put('', own.value, { only: own.mark })
}

export const createBlocks = (runtime: Pick<Runtime, 'store' | 'keys' | 'log'>): Blocks => {
  const records = createRecords<BlocksRecord>(runtime, 'blocks', { remembered: 1 })
  const read = async () => {
    const kept = await records.get('')
    await reseal(records, kept)
    return { blocks: kept?.value.blocks ?? [], only: kept?.mark ?? 'absent' }
  }
  const change = async (
    next: (blocks: readonly Block[]) => readonly Block[] | undefined,
  ): Promise<boolean> => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const { blocks, only } = await read()
      const changed = next(blocks)
      if (!changed) return false
      if (await records.put('', { blocks: changed }, { only })) return true
    }
    throw new Refusal('storage.unavailable', 'blocks changed again and again')
  }
  return {
    list: async () => (await read()).blocks,
    async add(block) {
      await change((blocks) => {
        const others = blocks.filter((other) => !isSame(other, block))
        if (others.length < mostBlocks) return [...others, block]
        throw new Refusal('request.malformed', `${mostBlocks} blocks`, {
          say: `At most ${mostBlocks} users and clients can be blocked. Use allow lists or access rules.`,
        })
      })
    },
    remove: (party) =>
      change((blocks) => {
        const left = blocks.filter((other) => !isSame(other, party))
        return left.length < blocks.length ? left : undefined
      }),
    async covers(person, clientId) {
      const { blocks } = await read()
      const isBlocked = blocks.some(
        ({ user, client, domain }) =>
          (user === undefined || isNamed(person, user)) &&
          (client === undefined || client === clientId) &&
          (domain === undefined || (clientId !== undefined && isClientOfDomain(clientId, domain))),
      )
      return isBlocked ? 'blocked' : undefined
    },
  }
}

/** Whom the configuration names as administrators, and who they may be. */
export interface Administrators {
  /** Keys and verified e-mail addresses. */
  readonly entries: readonly string[]
  /** People who are known by both. */
  readonly people: readonly Pick<Person, 'provider' | 'subject' | 'email'>[]
}

/** Whether these blocks would leave nobody who could lift them, as far as is known of the administrators. */
export const leaveNoAdministrator = (
  blocks: readonly BlockedParty[],
  { entries, people }: Administrators,
): boolean => {
  const users = blocks.flatMap(({ user, client, domain }) =>
    user === undefined || client !== undefined || domain !== undefined ? [] : [user],
  )
  const isBlocked = (entry: string): boolean =>
    users.some(
      (user) =>
        user === entry ||
        (!user.includes(':') && user.toLowerCase() === entry.toLowerCase()) ||
        people.some((person) => isNamed(person, user) && isNamed(person, entry)),
    )
  return entries.length > 0 && entries.every(isBlocked)
}

// Closures. Every call asks whether its service is closed, so each process keeps the answer in memory: at most half a
// second old where a timer renews it, and never older than `staleMs`.

/** Who closed it, and when (epoch ms). */
export interface Closure {
  readonly by: string
  readonly at: number
}

export interface ClosuresRecord {
  readonly gateway?: Closure
  readonly services: Readonly<Record<string, Closure>>
}

export interface Closures {
  /** Read by every call; whoever finds it stale asks for `refresh`. */
  readonly closed: Readonly<Closed>
  /** Rejects only where the storage has never answered; later what it said last holds on. */
  refresh(): Promise<void>
  list(): Promise<ClosuresRecord>
  /** The gateway, or a service of it. False when it was closed before. */
  close(service: string | undefined, closure: Closure): Promise<boolean>
  /** False when it was not closed. */
  open(service: string | undefined): Promise<boolean>
  /** What is closed is not served, for those who hold a stream open. */
  over(serving: Serving): Serving
}

const nothing: ClosuresRecord = { services: {} }

const withClosure = (
  before: ClosuresRecord,
  service: string | undefined,
  closure: Closure | undefined,
): ClosuresRecord | undefined => {
  const { gateway, services } = before
  const known = service === undefined ? gateway : Object.hasOwn(services, service)
  if (Boolean(known) === Boolean(closure)) return undefined
  if (service === undefined) return { services, ...(closure && { gateway: closure }) }
  const others = Object.fromEntries(Object.entries(services).filter(([id]) => id !== service))
  return {
    ...(gateway && { gateway }),
    services: closure ? { ...others, [service]: closure } : others,
  }
}

/** As long as a grant is taken for live without a look; and thousands of streams ask about one service. */
const noticedMs = 500

/** Where every read brings the record along, it is not read again. */
const withNoticed = (store: Store, now: () => number): Store => ({
  ...store,
  async get(key) {
    const noticed = store.noticed?.()
    const age = noticed ? now() - noticed.at : Infinity
    return age >= 0 && age < noticedMs ? noticed?.entry : store.get(key)
  },
})

const createOver =
  ({ closed, refresh }: Pick<Closures, 'closed' | 'refresh'>, now: () => number): Closures['over'] =>
  (serving) => {
    const isFresh = (): boolean => {
      const age = now() - closed.checkedAt
      return age >= 0 && age < noticedMs
    }
    const isOpen = ({ id }: Service): boolean => !closed.gateway && !closed.services.has(id)
    return {
      known: (service) => isOpen(service) && serving.known(service),
      async served(service) {
        if (!isFresh()) await refresh()
        return isOpen(service) && serving.served(service)
      },
      record: (service) => serving.record(service),
    }
  }

export const createClosures = (
  runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'now' | 'defer'>,
): Closures => {
  const { store, now } = runtime
  const records = createRecords<ClosuresRecord>(runtime, closuresKey)
  const lately = createRecords<ClosuresRecord>({ ...runtime, store: withNoticed(store, now) }, closuresKey, {
    remembered: 1,
  })
  const singleFlight = createSingleFlight(runtime)
  const closed: Closed = { checkedAt: Number.NEGATIVE_INFINITY, gateway: false, services: new Set() }
  let failing = false
  /** Of this process: what was read before them is not what holds now. */
  let changes = 0
  const remember = ({ gateway, services }: ClosuresRecord, at: number): void => {
    closed.gateway = gateway !== undefined
    closed.services = new Set(Object.keys(services))
    closed.checkedAt = at
  }
  const read = async (): Promise<void> => {
    const [at, before] = [now(), changes]
    const kept = await lately.get('')
    if (before === changes) remember(kept?.value ?? nothing, at)
    await reseal(records, kept)
    failing = false
  }
  const refresh = (): Promise<void> =>
    singleFlight('closures', () =>
      read().catch((error: unknown) => {
        if (closed.checkedAt === Number.NEGATIVE_INFINITY) throw error
        // Calls with a token are refused now for want of their grant; services without login go on as they were.
        if (!failing) runtime.log('warn', 'closures.refresh-failed', { why: String(error) })
        failing = true
        closed.checkedAt = now()
      }),
    )
  const change = async (service: string | undefined, closure: Closure | undefined): Promise<boolean> => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const kept = await records.get('')
      const changed = withClosure(kept?.value ?? nothing, service, closure)
      // Written again where nothing changes: a store of several parts may have failed half-way the last time.
      const next = changed ?? kept?.value
      if (!next) return false
      if ((await records.put('', next, { only: kept?.mark ?? 'absent' })) === undefined) continue
      changes++
      remember(next, now())
      return changed !== undefined
    }
    throw new Refusal('storage.unavailable', 'closures changed again and again')
  }
  return {
    closed,
    refresh,
    list: async () => (await records.get(''))?.value ?? nothing,
    close: change,
    open: (service) => change(service, undefined),
    over: createOver({ closed, refresh }, now),
  }
}
