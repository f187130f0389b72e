// The next step of a flow has a deadline, which is kept in the store, so that its absence is told whether or not
// somebody looks, in whichever process and after whatever restart. A deadline that is over early or twice does no
// harm: what there is to say is worked out from the flow itself.
import { type Records, dueKey, dueKeys, dueTime, takeAll } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { FlowRecord } from '../ports/flow-record.ts'
import type { Audit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import { certain, lastOf } from './findings.ts'
import { earlySteps } from './requests.ts'
import { deadlineOf, storyOf } from './story.ts'

export interface DeadlineDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'log'>
  /** Where what has stopped is told. */
  readonly record: Audit
  /** Origin of the gateway: on Workers the object that has a deadline finds its gateway by it. */
  readonly issuer: string
}

export interface FlowDeadlines {
  /** The flow, and what writes its deadline. */
  awaited(flow: FlowRecord, ttlMs: number): { readonly flow: FlowRecord; readonly written: Promise<unknown> }
  /** Tells of those that are over; asks the store at most every two seconds. */
  sweep(): Promise<void>
  /** Tells of these deadlines, by their keys, and of no other. */
  tellOf(keys: readonly string[]): Promise<void>
}

/** Each process looks so often, ms. */
const sweepMs = 2000
const atOnce = 200
/** Each lost compare-and-set means that another process wrote, or told. */
const maxAttempts = 10

/** Who only looked at metadata is nobody yet. */
const isSomebody = ({ steps }: FlowRecord): boolean => steps.some(({ step }) => !earlySteps.has(step))

/** Told although the flow goes on, or went well. */
const toldAnyway = new Set(['flow.stepup-ignored', 'flow.login-repeated'])

/** What is to be told of a flow that stopped, once for each stop. Refusals have events of their own. */
const newsOf = (flow: FlowRecord, now: number) => {
  const { state, finding } = storyOf(flow, now)
  const last = lastOf(flow)
  if (!finding || !last) return undefined
  if (state !== 'stalled' && state !== 'abandoned' && !toldAnyway.has(finding.code)) return undefined
  if ((finding.confidence ?? 1) < certain) return undefined
  const told = { code: finding.code, after: last.at }
  return flow.told?.code === told.code && flow.told.after === told.after
    ? undefined
    : { state, finding, last, told }
}

type News = NonNullable<ReturnType<typeof newsOf>>

const eventOf = ({ id, client, person, service, grant }: FlowRecord, { state, finding, last }: News) => ({
  event: 'flow.finding',
  flow: id,
  client,
  person,
  service,
  grant,
  request_id: last.requestId,
  refusal: finding.code,
  why: finding.say,
  outcome: state,
  acts: finding.acts,
  after: last.step,
})

export const createDeadlines = (
  { runtime, record, issuer }: DeadlineDeps,
  records: Records<FlowRecord>,
  lifetimeOf: (flow: FlowRecord) => number,
): FlowDeadlines => {
  const { now, store, log } = runtime
  let lookedAt = -Infinity

  const awaited: FlowDeadlines['awaited'] = (flow, ttlMs) => {
    const missed = isSomebody(flow) ? deadlineOf(flow) : undefined
    const isPending = flow.due !== undefined && flow.due > now()
    // One that is over sooner puts this one in its place then. What was written late is told of at once.
    if (missed === undefined || (isPending && flow.due <= missed)) return { flow, written: Promise.resolve() }
    const due = Math.max(missed, now())
    return { flow: { ...flow, due }, written: store.put(dueKey(due, flow.id), issuer, { ttlMs }) }
  }

  const tell = async (id: string): Promise<void> => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const kept = await records.get(id)
      const ttlMs = kept ? lifetimeOf(kept.value) : 0
      if (!kept || ttlMs <= 0) return
      const flow = kept.value
      const news = newsOf(flow, now())
      const told = news ? { ...flow, told: news.told } : flow
      const isAhead = (deadlineOf(flow) ?? 0) > now()
      const next = isAhead ? awaited(told, ttlMs) : { flow: told, written: undefined }
      if (next.flow === flow) return
      await next.written
      if ((await records.put(id, next.flow, { ttlMs, only: kept.mark })) === undefined) continue
      if (news) record(eventOf(flow, news))
      return
    }
  }

  const tellOf = async (keys: readonly string[]): Promise<void> => {
    for (const key of keys) {
      try {
        await tell(key.slice(key.lastIndexOf(':') + 1))
      } catch (error) {
        if (error instanceof Refusal && error.code === 'storage.unavailable') throw error
        log('warn', 'flow.lost', { why: String(error) })
      }
    }
  }

  return {
    awaited,
    tellOf,
    async sweep() {
      if (now() - lookedAt < sweepMs) return
      lookedAt = now()
      const rows = await store.list(dueKeys, { limit: atOnce })
      const over = rows.map(({ key }) => key).filter((key) => dueTime(key) <= now())
      if (over.length === 0) return
      await tellOf(over)
      await takeAll(store, over)
    },
  }
}
