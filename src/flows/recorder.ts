// Where flows are kept: one sealed record each, to which steps are added a moment after the answer, several in
// one write. Whatever goes wrong here is told in the log and stops no login.
import { type Records, createRecords, takeAll } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { FlowRecord, FlowStep } from '../ports/flow-record.ts'
import type { Limit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type EarlyStep, type EarlySteps, createEarlySteps } from './early.ts'
import { type FlowAbout, createRecent, flowIdShape, flowTime, newFlowId, withSteps } from './steps.ts'

export interface FlowRecorder {
  newId(): string
  /** A flow that began lately enough to be gone on with. */
  recent(id: string | undefined): string | undefined
  /** Keeps a step. Never throws, never waits. */
  note(flow: string, step: FlowStep, about?: FlowAbout): void
  /** The same for a step of which it is not known whose it is. */
  seeEarly(step: EarlyStep): void
  /** Writes what this process still holds. */
  flush(): Promise<void>
  read(id: string): Promise<FlowRecord | undefined>
  /** Newest first, so many at once. */
  pages(): AsyncIterable<readonly FlowRecord[]>
  /** Those of a person, newest first. */
  ofPerson(person: string): Promise<readonly FlowRecord[]>
}

export interface FlowRecorderDeps {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'random' | 'store' | 'keys' | 'log' | 'defer' | 'digest'>
  readonly limit: Limit
  readonly retentionMs: number
}

/** Steps wait so long for others of the same flow, ms. */
const gatherMs = 250
/** Whoever reads waits so long for what is being written, ms. */
const flushMs = 1000
/** A person’s flows; the oldest go, a few at a time. */
const mostOfPerson = 50
const trimmedAtOnce = 10
/** A client that refreshes all the time is not written down each time, ms. */
const refreshEveryMs = 600_000
/** Flows of which nobody has signed in are kept no longer, ms. */
const strangersMs = 86_400_000
/** Each lost compare-and-set means that another process added a step. */
const maxAttempts = 10
const atOnce = 200

/** An app that asks so long after its registration begins a flow of its own, ms. */
const recentMs = 3_600_000

/** Steps that may begin a record; the others belong to one that is there, or was. */
const beginning = new Set<FlowStep['step']>([
  'challenge',
  'register',
  'authorize',
  'sign-in',
  'provider-callback',
  'consent',
  'token',
])

interface Gathered {
  readonly steps: readonly FlowStep[]
  readonly about: FlowAbout
  /** It has been counted. */
  readonly admitted?: boolean
}

/**
 * Whether a new flow is kept. A person has a count of their own, so that strangers who fill theirs keep nobody’s
 * flow out once somebody has signed in.
 */
const isAdmitted = async (
  { runtime, limit }: FlowRecorderDeps,
  person: string | undefined,
  ip: string | undefined,
): Promise<boolean> => {
  const who = person ?? { ip: ip ?? '' }
  try {
    await limit('flows', who)
    if (person === undefined) await limit('kept-strangers-flows', who)
    return true
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown
    runtime.log('debug', 'flow.not-kept', { why: thrown.why })
    return false
  }
}

/** The list of each person: an empty record for each flow, the newest first. */
const createPersonLists = ({ store, digest }: FlowRecorderDeps['runtime']) => {
  const prefixOf = (person: string): string => `flow-of:${digest(person)}:`
  const idsOf = async (person: string, limit: number): Promise<readonly string[]> => {
    const prefix = prefixOf(person)
    return (await store.list(prefix, { limit })).map(({ key }) => key.slice(prefix.length))
  }
  return {
    idsOf,
    /** Resolves with the flows that are on it then. One look: on Workers it asks every object. */
    async add(person: string, id: string, ttlMs: number): Promise<readonly string[]> {
      await store.put(prefixOf(person) + id, '', { ttlMs })
      const ids = await idsOf(person, mostOfPerson + 2 * trimmedAtOnce)
      if (ids.length <= mostOfPerson + trimmedAtOnce) return ids
      const old = ids.slice(mostOfPerson).flatMap((each) => [prefixOf(person) + each, `flow:${each}`])
      await takeAll(store, old)
      return ids.slice(0, mostOfPerson)
    },
  }
}

// What a person's flows say of one another.

const attemptsMs = 600_000
const registrationsMs = 3_600_000
/** Flows of the person that are looked at. */
const mostCompared = 5

/** As the app described itself when it registered; undefined where that is not known. */
const describedIn = ({ clientName, steps }: FlowRecord): string | undefined => {
  const uris = steps.find(({ step }) => step === 'register')?.request['redirect_uris']
  return uris === undefined ? undefined : JSON.stringify([clientName, uris])
}

/** `others`: of the same person, the newest first. */
export const comparedWith = (flow: FlowRecord, others: readonly FlowRecord[]): FlowRecord => {
  const within = (ms: number) => (other: FlowRecord) => flow.at - other.at < ms
  const sameClient = others.filter(
    ({ client, service }) => client === flow.client && service === flow.service,
  )
  const described = describedIn(flow)
  const sameApp = others.filter((other) => described !== undefined && describedIn(other) === described)
  const attempts = 1 + sameClient.filter(within(attemptsMs)).length
  const registrations = 1 + sameApp.filter(within(registrationsMs)).length
  const previous = (sameClient[0] ?? sameApp[0])?.id
  return {
    ...flow,
    ...(previous !== undefined && { previous }),
    ...(attempts > 1 && { attempts }),
    ...(registrations > 1 && { registrations }),
  }
}

type Recent<T> = ReturnType<typeof createRecent<T>>
type Write = (id: string, gathered: Gathered) => Promise<void>

/** Adds steps to the record of a flow, or begins it. */
const createWrite = (
  deps: FlowRecorderDeps,
  records: Records<FlowRecord>,
  lists: ReturnType<typeof createPersonLists>,
  { gone, claim }: { readonly gone: Recent<string>; readonly claim: EarlySteps['claim'] },
): Write => {
  const { now } = deps.runtime
  const lifetimeOf = ({ at, person }: FlowRecord): number =>
    at + (person === undefined ? Math.min(strangersMs, deps.retentionMs) : deps.retentionMs) - now()
  const begun = async (
    id: string,
    { steps, about, admitted = false }: Gathered,
  ): Promise<FlowRecord | undefined> => {
    const first = steps.find(({ step }) => beginning.has(step))
    const isAsking = first?.step === 'register' || first?.step === 'authorize'
    const earlier = isAsking ? await claim({ flow: id, first, about }) : undefined
    const isCounted = admitted || (earlier !== undefined && earlier.steps.length > 0)
    if (!first || !(isCounted || (await isAdmitted(deps, about.person, first.ip)))) {
      gone.set(id, about.person ?? '')
      return undefined
    }
    const flow: FlowRecord = { id, at: first.at, steps: [] }
    if (!earlier) return flow
    const related = earlier.related.length > 0 ? { related: earlier.related } : {}
    return withSteps({ ...flow, ...related }, earlier.steps, {})
  }
  /** Somebody has signed in: the flow is theirs from now on. */
  const owned = async (flow: FlowRecord, person: string): Promise<FlowRecord> => {
    const ids = await lists.add(person, flow.id, Math.max(1, lifetimeOf(flow)))
    const older = ids.filter((id) => id > flow.id).slice(0, mostCompared)
    const read = await Promise.all(older.map((id) => records.get(id)))
    return comparedWith(
      flow,
      read.flatMap((found) => found?.value ?? []),
    )
  }
  return async (id, gathered) => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const kept = await records.get(id)
      const before = kept?.value ?? (await begun(id, gathered))
      const added = before && withSteps(before, gathered.steps, gathered.about)
      if (!added || added === before) return
      const isNew = added.person !== undefined && before?.person === undefined
      const flow = isNew ? await owned(added, added.person) : added
      const ttlMs = lifetimeOf(flow)
      if (ttlMs <= 0) return
      if (await records.put(id, flow, { ttlMs, only: kept?.mark ?? 'absent' })) return
    }
  }
}

/** Whether nothing would be written of a step. */
const createIsIdle = (gone: Recent<string>) => {
  const refreshed = createRecent<number>()
  return (flow: string, { step, result, at }: FlowStep, person = ''): boolean => {
    if (gone.get(flow) === person) return true
    if (step !== 'refresh' || result !== 'done') return false
    const often = at - (refreshed.get(flow) ?? -Infinity) < refreshEveryMs
    if (!often) refreshed.set(flow, at)
    return often
  }
}

const createReads = (
  records: Records<FlowRecord>,
  lists: ReturnType<typeof createPersonLists>,
): Pick<FlowRecorder, 'read' | 'pages' | 'ofPerson'> => ({
  read: async (id) => (flowIdShape.test(id) ? (await records.get(id))?.value : undefined),
  async *pages() {
    for await (const page of records.pages(atOnce)) yield page.map(({ value }) => value)
  },
  async ofPerson(person) {
    const ids = await lists.idsOf(person, mostOfPerson)
    const read = await Promise.all(ids.map((id) => records.get(id)))
    return read.flatMap((found) => (found?.value.person === person ? [found.value] : []))
  },
})

export const createFlowRecorder = (deps: FlowRecorderDeps): FlowRecorder => {
  const { runtime } = deps
  const { now } = runtime
  const records = createRecords<FlowRecord>(runtime, 'flow:', { remembered: 512 })
  const lists = createPersonLists(runtime)
  /** Flows of which there is no record, and who had signed in then. */
  const gone = createRecent<string>()
  const newId = (at = now()): string => newFlowId(at, runtime.random(6))
  const early = createEarlySteps({
    runtime,
    newId,
    isAdmitted: (ip) => isAdmitted(deps, undefined, ip),
    write: (id, steps, about) => write(id, { steps, about, admitted: true }),
    remove: async (id) => void (await records.take(id)),
  })
  const write = createWrite(deps, records, lists, { gone, claim: early.claim })
  const isIdle = createIsIdle(gone)
  const gathered = new Map<string, { readonly steps: FlowStep[]; about: FlowAbout }>()
  const writing = new Set<Promise<void>>()

  const flushOne = async (id: string): Promise<void> => {
    const added = gathered.get(id)
    if (!added) return
    gathered.delete(id)
    const written = write(id, added)
      .catch((error: unknown) => runtime.log('warn', 'flow.lost', { flow_record: id, why: String(error) }))
      .finally(() => writing.delete(written))
    writing.add(written)
    await written
  }

  return {
    ...createReads(records, lists),
    newId,
    seeEarly: early.see,
    recent: (id) =>
      id !== undefined && flowIdShape.test(id) && now() - flowTime(id) < recentMs ? id : undefined,
    note(flow, step, about = {}) {
      if (isIdle(flow, step, about.person)) return
      const known = gathered.get(flow) ?? { steps: [], about: {} }
      known.steps.push(step)
      known.about = { ...known.about, ...about }
      gathered.set(flow, known)
      // Each step has a timer of its own: on Workers one ends with the request that set it.
      runtime.defer(
        new Promise<void>((done) => {
          runtime.timer(gatherMs, () => void flushOne(flow).then(done))
        }),
      )
    },
    async flush() {
      const flushing = Promise.all([early.flush(), ...[...gathered.keys()].map(flushOne), ...writing])
      // On Workers, what another request began may never settle.
      let cancel = (): void => undefined
      const late = new Promise<void>((done) => (cancel = runtime.timer(flushMs, done)))
      await Promise.race([flushing, late])
      cancel()
    },
  }
}
