// Where flows are kept: one sealed record each, to which steps are added a moment after the answer, several in
// one write. Whatever goes wrong here is told in the log and stops no login.
import { type Records, createRecords } from '../kit/records.ts'
import type { FlowRecord, FlowStep } from '../ports/flow-record.ts'
import { type FlowDeadlines, createDeadlines } from './deadlines.ts'
import { type EarlyStep, createEarlySteps } from './early.ts'
import { type FlowAbout, createRecent, flowIdShape, flowTime, newFlowId } from './steps.ts'
import {
  type FlowRecorderDeps,
  type Gathered,
  type Recent,
  type Write,
  createLifetimeOf,
  createPersonLists,
  createWrite,
  isAdmitted,
  mostOfPerson,
} from './writing.ts'

export interface FlowRecorder extends Pick<FlowDeadlines, 'sweep' | 'tellOf'> {
  newId(): string
  /** A flow that began lately enough to be gone on with. */
  recent(id: string | undefined): string | undefined
  /** Keeps steps of one request. Never throws, never waits. */
  note(flow: string, steps: FlowStep | readonly FlowStep[], about?: FlowAbout): void
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

/** Steps wait so long for others of the same flow, ms. */
const gatherMs = 250
/** Whoever reads waits so long for what is being written, ms. */
const flushMs = 1000
/** A client that refreshes all the time is not written down each time, ms. */
const refreshEveryMs = 600_000
const atOnce = 200

/** An app that asks so long after its registration begins a flow of its own, ms. */
const recentMs = 3_600_000

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

/** With further steps: in one with those of the same person, and of nobody yet. */
const gatheredWith = (gathered: Gathered[], steps: readonly FlowStep[], about: FlowAbout): Gathered[] => {
  const isOf = ({ person }: FlowAbout): boolean =>
    person === about.person || person === undefined || about.person === undefined
  const at = gathered.findIndex((one) => isOf(one.about))
  const known = gathered[at]
  if (!known) return [...gathered, { steps: [...steps], about }]
  known.steps.push(...steps)
  gathered[at] = { steps: known.steps, about: { ...known.about, ...about } }
  return gathered
}

const writeAll = async (write: Write, id: string, gathered: readonly Gathered[]): Promise<void> => {
  for (const one of gathered) await write(id, one)
}

export const createFlowRecorder = (deps: FlowRecorderDeps): FlowRecorder => {
  const { runtime } = deps
  const { now } = runtime
  const records = createRecords<FlowRecord>(runtime, 'flow:', { remembered: 512 })
  const lists = createPersonLists(runtime)
  const lifetimeOf = createLifetimeOf(deps)
  const deadlines = createDeadlines(deps, records, lifetimeOf)
  const gone = createRecent<string>()
  const newId = (at = now()): string => newFlowId(at, runtime.random(6))
  const early = createEarlySteps({
    runtime,
    newId,
    isAdmitted: (ip) => isAdmitted(deps, undefined, ip),
    write: (id, steps, about) => write(id, { steps: [...steps], about, admitted: true }),
    remove: async (id) => void (await records.take(id)),
  })
  const write = createWrite(deps, { records, lists, lifetimeOf, deadlines, gone, claim: early.claim })
  const isIdle = createIsIdle(gone)
  const gathered = new Map<string, Gathered[]>()
  const writing = new Set<Promise<void>>()

  const flushOne = async (id: string): Promise<void> => {
    const added = gathered.get(id)
    if (!added) return
    gathered.delete(id)
    const written = writeAll(write, id, added)
      .catch((error: unknown) => runtime.log('warn', 'flow.lost', { flow_record: id, why: String(error) }))
      .finally(() => writing.delete(written))
    writing.add(written)
    await written
  }

  return {
    ...createReads(records, lists),
    sweep: deadlines.sweep,
    tellOf: deadlines.tellOf,
    newId,
    seeEarly: early.see,
    recent: (id) =>
      id !== undefined && flowIdShape.test(id) && now() - flowTime(id) < recentMs ? id : undefined,
    note(flow, noted, about = {}) {
      const steps = [noted].flat().filter((step) => !isIdle(flow, step, about.person))
      if (steps.length === 0) return
      if (steps.some(({ step, result }) => step === 'first-call' && result === 'done')) early.used(flow)
      gathered.set(flow, gatheredWith(gathered.get(flow) ?? [], steps, about))
      // Each request has a timer of its own: on Workers one ends with the request that set it.
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
