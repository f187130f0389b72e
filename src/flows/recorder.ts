// Where flows are kept: one sealed record each, to which steps are added a moment after the answer, several in
// one write. Whatever goes wrong here is told in the log and stops no login.
import { logText } from '../kit/log.ts'
import { type Records, createRecords, takeAll } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { AuditEvent, FlowFacts, FlowGrant, FlowRecord, FlowStep, Limit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'

// What is kept.

const mostText = 256
/** Ids, hosts and URLs without a query, which need no cleaning: most of what is kept. */
const clean = /^(?:https?:\/\/)?[\w./-]{1,100}(?::\d{1,5}[\w./-]{0,100})?$/

export const text = (value: unknown): string | undefined => {
  if (typeof value !== 'string' || value === '') return undefined
  return clean.test(value) && !value.includes('eyJ') ? value : logText(value, mostText)
}

export const texts = (value: unknown): readonly string[] | undefined =>
  Array.isArray(value) ? value.slice(0, 10).flatMap((one) => text(one) ?? []) : undefined

export const facts = (named: Readonly<Record<string, FlowFacts[string] | undefined>>): FlowFacts =>
  Object.fromEntries(
    Object.entries(named).filter((pair): pair is [string, FlowFacts[string]] => pair[1] !== undefined),
  )

type Defined<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> }

export const defined = <T extends object>(named: T): Defined<T> =>
  Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)) as Defined<T>

/** IDs that are kept in memory. */
const mostRecent = 10_000

/** IDs that were seen lately. */
export const createRecent = <T>() => {
  const known = new Map<string, T>()
  return {
    get: (id: string) => known.get(id),
    set(id: string, value: T) {
      known.delete(id)
      if (known.size >= mostRecent) known.delete(known.keys().next().value as string)
      known.set(id, value)
    },
  }
}

/** What a step tells of its flow as a whole. */
export type FlowAbout = Partial<Pick<FlowRecord, 'client' | 'clientName' | 'service' | 'person' | 'grant'>>

export interface FlowRecorder {
  newId(): string
  /** A flow that began lately enough to be gone on with. */
  recent(id: string | undefined): string | undefined
  /** Keeps a step. Never throws, never waits. */
  note(flow: string, step: FlowStep, about?: FlowAbout): void
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
const mostSteps = 200
/** Of a flow in which nobody has signed in. */
const mostStrangersSteps = 40
const mostRefreshes = 50
const mostFirstCalls = 3
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

// A flow ID sorts by its time, the newest first, so that a list of the store begins with them. It has no
// characters but digits and small letters, and so is never taken for an option on a command line.

const timeDigits = 9
const latest = 36 ** timeDigits - 1

export const flowIdShape = /^[0-9a-z]{9}[0-9a-f]{12}$/

const timeOf = (id: string): number => latest - Number.parseInt(id.slice(0, timeDigits), 36)

const newFlowId = (now: number, bytes: Uint8Array): string =>
  (latest - now).toString(36).padStart(timeDigits, '0') +
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

const countOf = (steps: readonly FlowStep[], one: FlowStep): number =>
  steps.filter(({ step, result }) => step === one.step && result === one.result).length

/** Whether a step is kept beside those that are there. */
const isKept = (steps: readonly FlowStep[], step: FlowStep): boolean => {
  if (step.step === 'first-call')
    return (
      !steps.some(({ step, result }) => step === 'first-call' && result === 'done') &&
      countOf(steps, step) < mostFirstCalls
    )
  return step.step !== 'refresh' || step.result === 'refused' || countOf(steps, step) < mostRefreshes
}

/** The flow with these steps; itself, when none of them is kept. */
export const withSteps = (flow: FlowRecord, added: readonly FlowStep[], about: FlowAbout): FlowRecord => {
  const steps = [...flow.steps]
  const most = (about.person ?? flow.person) === undefined ? mostStrangersSteps : mostSteps
  let cut = flow.cut
  for (const step of added) {
    if (!isKept(steps, step)) continue
    if (steps.length < most) steps.push(step)
    else cut = true
  }
  if (steps.length === flow.steps.length && cut === flow.cut) return flow
  return {
    ...flow,
    ...about,
    // Processes write when they come to it.
    at: Math.min(flow.at, ...added.map(({ at }) => at)),
    steps: steps.toSorted((one, other) => one.at - other.at),
    ...(cut && { cut }),
  }
}

/** An app that asks so long after its registration begins a flow of its own, ms. */
const recentMs = 3_600_000

/** Steps that may begin a record; the others belong to one that is there, or was. */
const beginning = new Set<FlowStep['step']>([
  'register',
  'authorize',
  'sign-in',
  'provider-callback',
  'consent',
  'token',
])

interface Gathered {
  readonly steps: FlowStep[]
  about: FlowAbout
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
  gone: Recent<string>,
): Write => {
  const { now } = deps.runtime
  const lifetimeOf = ({ at, person }: FlowRecord): number =>
    at + (person === undefined ? Math.min(strangersMs, deps.retentionMs) : deps.retentionMs) - now()
  const begun = async (id: string, { steps, about }: Gathered): Promise<FlowRecord | undefined> => {
    const first = steps.find(({ step }) => beginning.has(step))
    if (first && (await isAdmitted(deps, about.person, first.ip))) return { id, at: first.at, steps: [] }
    gone.set(id, about.person ?? '')
    return undefined
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

export const createFlowRecorder = (deps: FlowRecorderDeps): FlowRecorder => {
  const { runtime } = deps
  const { now } = runtime
  const records = createRecords<FlowRecord>(runtime, 'flow:', { remembered: 512 })
  const lists = createPersonLists(runtime)
  /** Flows of which there is no record, and who had signed in then. */
  const gone = createRecent<string>()
  const write = createWrite(deps, records, lists, gone)
  const isIdle = createIsIdle(gone)
  const gathered = new Map<string, Gathered>()
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
    newId: () => newFlowId(now(), runtime.random(6)),
    recent: (id) =>
      id !== undefined && flowIdShape.test(id) && now() - timeOf(id) < recentMs ? id : undefined,
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
      await Promise.all([...gathered.keys()].map(flushOne))
      if (writing.size === 0) return
      // On Workers, what another request began may never settle.
      let cancel = (): void => undefined
      const late = new Promise<void>((done) => (cancel = runtime.timer(flushMs, done)))
      await Promise.race([Promise.all(writing), late])
      cancel()
    },
    read: async (id) => (flowIdShape.test(id) ? (await records.get(id))?.value : undefined),
    async *pages() {
      for await (const page of records.pages(atOnce)) yield page.map(({ value }) => value)
    },
    async ofPerson(person) {
      const ids = await lists.idsOf(person, mostOfPerson)
      const read = await Promise.all(ids.map((id) => records.get(id)))
      return read.flatMap((found) => (found?.value.person === person ? [found.value] : []))
    },
  }
}

// The first call of each grant, which any process may meet, and what is kept of it.

/** Calls that are refused are no first call, but told so often. */
const mostTold = 3

/** `at`: now. The event comes when the call is over; what another process saw meanwhile came after its beginning. */
const firstCallStep = (event: AuditEvent, at: number): FlowStep => {
  const took = event['duration_ms']
  const failed = event['result'] !== undefined && event['result'] !== 'answered'
  const status = event['status']
  const isRefused = failed || (typeof status === 'number' && status >= 400)
  const code = event['refusal']
  return {
    at: typeof took === 'number' ? at - took : at,
    step: 'first-call',
    result: isRefused ? 'refused' : 'done',
    ...(typeof code === 'string' && { code: code as NonNullable<FlowStep['code']> }),
    ...(typeof status === 'number' && { status }),
    request: facts({ method: text(event['method']), name: text(event['name']) }),
    answer: facts({ why: text(event['why']) }),
    ...defined({ ip: text(event['ip']), requestId: text(event['request_id']) }),
  }
}

export const revokedStep = (event: AuditEvent, at: number): FlowStep => ({
  at,
  step: 'revoke',
  result: 'done',
  request: {},
  answer: facts({ reason: text(event['reason']) }),
})

/** The first call of each grant that this process meets. */
export const createFirstCalls = (recorder: FlowRecorder, now: () => number) => {
  const waiting = new Map<unknown, (event: AuditEvent) => void>()
  const met = ({ id, flow }: FlowGrant): void => {
    if (flow === undefined) return
    let told = 0
    if (waiting.size >= mostRecent) waiting.delete(waiting.keys().next().value)
    waiting.set(id, (event) => {
      const step = firstCallStep(event, now())
      if (step.result === 'done' || ++told >= mostTold) waiting.delete(id)
      recorder.note(flow, step, defined({ service: text(event['service']) }))
    })
  }
  return { firstCalls: waiting, met }
}
