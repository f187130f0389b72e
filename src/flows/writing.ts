// How steps come into the records of flows: which record they belong to, whether a new one is begun, and what the flows
// of one person say of one another.
import { networkOf } from '../kit/addresses.ts'
import { type Records, dueKey, takeAll } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { FlowRecord, FlowStep } from '../ports/flow-record.ts'
import type { Limit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { DeadlineDeps, FlowDeadlines } from './deadlines.ts'
import type { EarlySteps } from './early.ts'
import { isRepeated } from './findings.ts'
import { type FlowAbout, type createRecent, derivedId, withSteps } from './steps.ts'

export interface FlowRecorderDeps extends Pick<DeadlineDeps, 'record' | 'issuer'> {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'random' | 'store' | 'keys' | 'log' | 'defer' | 'digest'>
  readonly limit: Limit
  readonly retentionMs: number
}

/** A person’s flows; the oldest go, a few at a time. */
export const mostOfPerson = 50
const trimmedAtOnce = 10
/** Flows of which nobody has signed in are kept no longer, ms. */
const strangersMs = 86_400_000
/** Each lost compare-and-set means that another process added a step. */
const maxAttempts = 10
/** Steps that may begin a record; the others belong to one that is there, or was. */
const beginning = new Set<FlowStep['step']>([
  'challenge',
  'register',
  'authorize',
  'device',
  'sign-in',
  'provider-callback',
  'consent',
  'token',
])

/** Steps of one flow that are written at once. */
export interface Gathered {
  readonly steps: FlowStep[]
  readonly about: FlowAbout
  /** It has been counted. */
  readonly admitted?: boolean
}

/**
 * Whether a new flow is kept. A person has a count of their own, so that strangers who fill theirs keep nobody’s
 * flow out once somebody has signed in.
 */
export const isAdmitted = async (
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
export const createPersonLists = ({ store, digest }: FlowRecorderDeps['runtime']) => {
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
const comparedWith = (flow: FlowRecord, others: readonly FlowRecord[]): FlowRecord => {
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

export type Recent<T> = ReturnType<typeof createRecent<T>>
export type Write = (id: string, gathered: Gathered) => Promise<void>

/** How long the record of a flow is kept from now on, ms. */
export const createLifetimeOf =
  ({ runtime: { now }, retentionMs }: FlowRecorderDeps) =>
  ({ at, person }: FlowRecord): number =>
    at + (person === undefined ? Math.min(strangersMs, retentionMs) : retentionMs) - now()

interface Writing {
  readonly records: Records<FlowRecord>
  readonly lists: ReturnType<typeof createPersonLists>
  readonly lifetimeOf: (flow: FlowRecord) => number
  readonly deadlines: FlowDeadlines
  /** Flows of which there is no record, and who had signed in then. */
  readonly gone: Recent<string>
  readonly claim: EarlySteps['claim']
}

/**
 * Whose the steps are, if not of whoever has signed in: an app’s ID is no secret, and several people may ask for access
 * with it at once. An authorization request from elsewhere may be a stranger’s too.
 */
const otherOf = ({ person, steps: known }: FlowRecord, { steps, about }: Gathered): string | undefined => {
  if (person === undefined) return undefined
  if (about.person !== undefined) return about.person === person ? undefined : about.person
  const asking = steps.find(({ step }) => step === 'authorize')
  if (asking?.ip === undefined) return undefined
  const network = networkOf(asking.ip)
  return known.some(({ ip }) => ip !== undefined && networkOf(ip) === network) ? undefined : network
}

/** A record for a flow that has none: with what was done before, if the flow is admitted. */
const createBegun =
  (deps: FlowRecorderDeps, { gone, claim }: Writing) =>
  async (id: string, { steps, about, admitted = false }: Gathered): Promise<FlowRecord | undefined> => {
    // Without its document an app asks for nothing: the request for access was all that there is of it.
    const first =
      steps.find(({ step }) => beginning.has(step)) ?? steps.find(({ step }) => step === 'client-document')
    const isAsking =
      first !== undefined && ['register', 'authorize', 'device', 'client-document'].includes(first.step)
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
const createOwned =
  ({ records, lists, lifetimeOf }: Writing) =>
  async (flow: FlowRecord, person: string): Promise<FlowRecord> => {
    const ids = await lists.add(person, flow.id, Math.max(1, lifetimeOf(flow)))
    const older = ids.filter((id) => id > flow.id).slice(0, mostCompared)
    const read = (await Promise.all(older.map((id) => records.get(id)))).flatMap((found) => found ?? [])
    const compared = comparedWith(
      flow,
      read.map(({ value }) => value),
    )
    const before = read.find(({ value }) => value.id === compared.previous)
    // That the app asks again is what was awaited there. Where another process writes now, it is told by that alone.
    if (before?.value.steps.some(({ step }) => step === 'step-up')) {
      const { value, mark } = before
      const ttlMs = Math.max(1, lifetimeOf(value))
      await records.put(value.id, { ...value, followed: true }, { ttlMs, only: mark })
    }
    return compared
  }

/** Adds steps to the record of a flow, or begins it. */
export const createWrite = (deps: FlowRecorderDeps, writing: Writing): Write => {
  const { now, digest } = deps.runtime
  const { records, lifetimeOf, deadlines } = writing
  const begun = createBegun(deps, writing)
  const owned = createOwned(writing)
  /** False when another process has written meanwhile. */
  const put = async (next: FlowRecord, mark: string | undefined): Promise<boolean> => {
    const ttlMs = lifetimeOf(next)
    if (ttlMs <= 0) return true
    const { flow, written } = deadlines.awaited(next, ttlMs)
    const [kept] = await Promise.all([records.put(flow.id, flow, { ttlMs, only: mark ?? 'absent' }), written])
    return kept !== undefined
  }
  const add = async (before: FlowRecord, mark: string | undefined, { steps, about }: Gathered) => {
    const added = withSteps(before, steps, about)
    if (added === before) return true
    const isNew = added.person !== undefined && before.person === undefined
    const flow = isNew ? await owned(added, added.person) : added
    if (!(await put(flow, mark))) return false
    if (isNew && isRepeated(flow)) await deadlines.tellOf([dueKey(now(), flow.id)])
    return true
  }
  const write: Write = async (id, gathered) => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const kept = await records.get(id)
      const other = kept && otherOf(kept.value, gathered)
      if (other !== undefined) return write(derivedId(id, other, digest), gathered)
      const before = kept?.value ?? (await begun(id, gathered))
      if (!before || (await add(before, kept?.mark, gathered))) return
    }
  }
  return write
}
