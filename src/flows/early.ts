// Attempts of which nobody knows yet who makes them: probes, challenges and metadata that were read. They are joined
// by address, program, service and time alone, and so with little confidence: where two attempts fit, neither is
// taken, and where one network makes many, hardly anything is believed. What strangers can make it hold is bounded.
import { networkOf } from '../kit/addresses.ts'
import { type Records, type Sealed, createRecords } from '../kit/records.ts'
import type { FlowStep } from '../ports/flow-record.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type FlowAbout, defined } from './steps.ts'

/** A step, and by what it may be joined. */
export interface EarlyStep {
  readonly ip: string
  readonly agent: string
  /** Absent where the request named none. */
  readonly service?: string | undefined
  readonly step: FlowStep
  /** The flow got a token here, with which it is expected: later steps may be its own. */
  readonly expects?: { readonly flow: string; readonly known: boolean }
}

/** One attempt, as a network is remembered by it. */
interface Attempt {
  readonly id: string
  readonly agent: string
  readonly service?: string | undefined
  /** Epoch ms of its last step. */
  readonly at: number
  readonly steps: readonly FlowStep[]
  /** The flow that it turned out to be. */
  readonly taken?: string
  /** Its client is known by configuration or by its document. */
  readonly known?: boolean
}

interface Network {
  readonly attempts: readonly Attempt[]
  /** Attempts that were too many to be kept. */
  readonly more: number
}

/** Whoever begins a flow, and may have begun it earlier. */
export interface Claim {
  readonly flow: string
  /** Its first step, with its address. */
  readonly first: FlowStep
  readonly about: FlowAbout
}

export interface Claimed {
  readonly steps: readonly FlowStep[]
  /** Attempts of which it is not known which one it was. */
  readonly related: readonly string[]
}

export interface EarlyDeps {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'random' | 'store' | 'keys' | 'log' | 'defer' | 'digest'>
  readonly newId: (at: number) => string
  /** Whether one more attempt of this address is kept. */
  readonly isAdmitted: (ip: string) => Promise<boolean>
  readonly write: (flow: string, steps: readonly FlowStep[], about: FlowAbout) => Promise<void>
  readonly remove: (flow: string) => Promise<void>
}

export interface EarlySteps {
  /** Never throws, never waits. */
  see(step: EarlyStep): void
  /** The flow has used its token: nothing is expected of it any more. */
  used(flow: string): void
  /** What a flow that begins now has done before. */
  claim(claim: Claim): Promise<Claimed>
  flush(): Promise<void>
}

/** Steps wait so long for others of the same network, ms: an app that goes on at once costs no write of its own. */
const gatherMs = 1000
/** How long ago an attempt may have been left, ms: by a program of the same name, and by a client that is known. */
const agentMs = 60_000
const knownMs = 120_000
/** And of a flow that has just got its token, ms. */
const usedMs = 30_000
const mostAttempts = 24
const mostSteps = 12
/** More in one network are not told apart. */
const crowd = 3
const mostPending = 100
const mostNetworks = 10_000
const maxWrites = 10
/** How long what was begun before is waited for, ms. */
const turnMs = 2000

/** How sure it is that what an address and a name tell is so. */
const sure = { client: 0.7, agent: 0.5, crowd: 0.3 } as const

const isFor = ({ service }: Attempt, named: string | undefined): boolean =>
  service === undefined || named === undefined || service === named

const hasRepeats = ({ steps }: Attempt): boolean =>
  new Set(steps.map(({ step, request }) => `${step} ${String(request['path'])}`)).size < steps.length

/** Steps may be of two apps where a network has several attempts, or one has the same step twice. */
const confidenceIn = (attempts: readonly Attempt[], attempt: Attempt, isKnown: boolean): number => {
  if (attempts.length > crowd) return sure.crowd
  return isKnown && attempts.length === 1 && !hasRepeats(attempt) ? sure.client : sure.agent
}

const nothing: Network = { attempts: [], more: 0 }

/** What came of the steps of one network. */
interface Changes {
  attempts: Attempt[]
  more: number
  /** Steps of attempts that are shown, and of flows that were known here. */
  readonly told: Map<string, { readonly steps: FlowStep[]; readonly about: FlowAbout }>
}

const tell = ({ told }: Changes, flow: string, steps: readonly FlowStep[], about: FlowAbout = {}): void => {
  const known = told.get(flow) ?? { steps: [], about }
  known.steps.push(...steps)
  told.set(flow, known)
}

const isShown = ({ steps }: Attempt): boolean => steps.some(({ step }) => step === 'challenge')

/** The flow has its token: what the same program does next may belong to it. */
const expect = (changes: Changes, { agent, service, step, expects }: EarlyStep): void => {
  if (!expects) return
  const { flow, known } = expects
  const others = changes.attempts.filter(({ taken }) => taken !== flow)
  changes.attempts = [...others, { id: flow, taken: flow, agent, service, at: step.at, steps: [], known }]
}

const replace = (changes: Changes, before: Attempt, after: Attempt): void => {
  changes.attempts = changes.attempts.map((one) => (one === before ? after : one))
}

/** Of a flow that has no token yet, a further challenge is none of its own. */
const windowOf = ({ taken, known }: Attempt): number =>
  taken === undefined ? agentMs : known === undefined ? 0 : usedMs

/** Adds a step to the one attempt that it fits; false where there is none. */
const joined = (changes: Changes, { agent, service, step }: EarlyStep): boolean => {
  const fitting = changes.attempts.filter(
    (one) => one.agent === agent && isFor(one, service) && step.at - one.at < windowOf(one),
  )
  const [attempt] = fitting
  if (!attempt) return false
  if (fitting.length > 1) {
    changes.more += 1
    return true
  }
  const confidence = confidenceIn(changes.attempts, attempt, attempt.known === true)
  const certain = { ...step, confidence }
  if (attempt.taken !== undefined) tell(changes, attempt.taken, [certain])
  else if (attempt.steps.length < mostSteps) {
    const after = {
      ...attempt,
      at: step.at,
      service: attempt.service ?? service,
      steps: [...attempt.steps, certain],
    }
    replace(changes, attempt, after)
    if (isShown(after))
      tell(changes, after.id, isShown(attempt) ? [certain] : after.steps, defined({ service }))
  }
  return true
}

const createApply =
  ({ newId, isAdmitted }: EarlyDeps) =>
  async (changes: Changes, one: EarlyStep): Promise<void> => {
    if (one.expects) return expect(changes, one)
    if (joined(changes, one)) return
    // Whoever looks once and goes away is no attempt.
    if (one.step.step === 'probe' || one.step.step === 'preflight') return
    if (changes.attempts.length >= mostAttempts || !(await isAdmitted(one.ip))) {
      changes.more += 1
      return
    }
    const { agent, service, step } = one
    const attempt = { id: newId(step.at), agent, service, at: step.at, steps: [step] }
    changes.attempts.push(attempt)
    if (isShown(attempt)) tell(changes, attempt.id, attempt.steps, defined({ service }))
  }

/** By how much is known of whoever begins the flow, which attempts it may have made. */
const candidatesFor = (attempts: readonly Attempt[], { first, about }: Claim): readonly Attempt[] =>
  attempts.filter((one) => {
    if (one.taken !== undefined) return false
    if (first.step === 'register') return one.agent === first.request['agent'] && first.at - one.at < agentMs
    return isFor(one, about.service) && first.at - one.at < knownMs
  })

const take = (changes: Changes, claim: Claim, isKnown: boolean): Claimed & { readonly emptied: string[] } => {
  const candidates = candidatesFor(changes.attempts, claim)
  const [attempt] = candidates
  if (!attempt || candidates.length > 1)
    return { steps: [], related: candidates.filter(isShown).map(({ id }) => id), emptied: [] }
  const confidence = confidenceIn(changes.attempts, attempt, isKnown)
  replace(changes, attempt, { ...attempt, taken: claim.flow, at: claim.first.at, steps: [] })
  const emptied = isShown(attempt) && !changes.told.delete(attempt.id) ? [attempt.id] : []
  return { steps: attempt.steps.map((step) => ({ ...step, confidence })), related: [], emptied }
}

/** Registered by nobody: the operator wrote the client down, or it describes itself at its own URL. */
export const isKnownClient = ({ client }: FlowAbout): boolean =>
  client !== undefined && !/^client_[\w-]{22}$/.test(client)

type Work<T> = (changes: Changes) => Promise<T>

/** Changes what is remembered of one network, one after the other. */
const createChange = (
  { runtime, write }: EarlyDeps,
  records: Records<Network>,
  takePending: (network: string) => readonly EarlyStep[],
  apply: ReturnType<typeof createApply>,
) => {
  const queues = new Map<string, Promise<unknown>>()
  const running = new Set<Promise<unknown>>()
  /** On Workers, what another request began may never settle: nobody waits for long. */
  const after = async (before: Promise<unknown> | undefined): Promise<void> => {
    if (!before) return
    let cancel = (): void => undefined
    const late = new Promise<void>((done) => (cancel = runtime.timer(turnMs, done)))
    await Promise.race([before, late])
    cancel()
  }
  const putBack = async (id: string, kept: Sealed<Network> | undefined, { attempts, more }: Changes) => {
    const before = kept?.value ?? nothing
    const isSame = more === before.more && attempts.every((one) => before.attempts.includes(one))
    if (isSame || attempts.length === 0) return true
    const only = kept?.mark ?? 'absent'
    return (await records.put(id, { attempts, more }, { ttlMs: knownMs, only })) !== undefined
  }
  const writeAll = async (changes: Changes, before: number): Promise<void> => {
    const { attempts, more, told } = changes
    const last = attempts.findLast((one) => one.taken === undefined && isShown(one))
    if (more > before && last) tell(changes, last.id, [])
    for (const [flow, { steps, about }] of told)
      await write(flow, steps, more > 0 && flow === last?.id ? { ...about, unrecorded: more } : about)
  }
  const run = async <T>(network: string, work: Work<T>): Promise<T> => {
    const id = runtime.digest(network)
    const steps = takePending(network)
    for (let attempt = 0; ; attempt++) {
      const kept = await records.get(id)
      const { attempts, more } = kept?.value ?? nothing
      const since = runtime.now() - knownMs
      const changes = { attempts: attempts.filter(({ at }) => at > since), more, told: new Map() }
      for (const step of steps) await apply(changes, step)
      const result = await work(changes)
      if (!(await putBack(id, kept, changes)) && attempt < maxWrites) continue
      await writeAll(changes, more)
      return result
    }
  }
  const change = async <T>(network: string, work: Work<T>): Promise<T> => {
    const turn = after(queues.get(network)).then(() => run(network, work))
    const settled = turn
      .catch(() => undefined)
      .then(() => {
        running.delete(settled)
        if (queues.get(network) === settled) queues.delete(network)
      })
    running.add(settled)
    queues.set(network, settled)
    return turn
  }
  return { change, settled: async () => void (await Promise.all(running)) }
}

export const createEarlySteps = (deps: EarlyDeps): EarlySteps => {
  const { runtime, remove } = deps
  const pending = new Map<string, EarlyStep[]>()
  /** Networks by the flows that got their token a moment ago. */
  const expecting = new Map<string, string>()
  const takePending = (network: string): readonly EarlyStep[] => {
    const steps = pending.get(network) ?? []
    pending.delete(network)
    for (const { expects } of steps) if (expects) expecting.delete(expects.flow)
    return steps.toSorted((one, other) => one.step.at - other.step.at)
  }
  const records = createRecords<Network>(runtime, 'flow-early:', { remembered: 256 })
  const { change, settled } = createChange(deps, records, takePending, createApply(deps))
  const lost = (error: unknown): void => runtime.log('warn', 'flow.lost', { why: String(error) })
  const settle = (network: string): Promise<void> =>
    pending.has(network) ? change(network, () => Promise.resolve()).catch(lost) : Promise.resolve()

  return {
    see(step) {
      const network = networkOf(step.ip)
      const known = pending.get(network)
      if (known ? known.length >= mostPending : pending.size >= mostNetworks) return
      if (known) known.push(step)
      else pending.set(network, [step])
      if (step.expects) expecting.set(step.expects.flow, network)
      // Each has a timer of its own: on Workers one ends with the request that set it.
      runtime.defer(
        new Promise<void>((done) => {
          runtime.timer(gatherMs, () => void settle(network).then(done))
        }),
      )
    },
    used(flow) {
      const network = expecting.get(flow)
      if (network === undefined) return
      expecting.delete(flow)
      const left = pending.get(network)?.filter(({ expects }) => expects?.flow !== flow) ?? []
      if (left.length > 0) pending.set(network, left)
      else pending.delete(network)
    },
    async claim(claim) {
      const { first, about } = claim
      if (first.ip === undefined) return { steps: [], related: [] }
      const work: Work<ReturnType<typeof take>> = (changes) =>
        Promise.resolve(take(changes, claim, isKnownClient(about)))
      const { emptied, ...claimed } = await change(networkOf(first.ip), work)
      for (const flow of emptied) await remove(flow)
      return claimed
    },
    async flush() {
      await Promise.all([...pending.keys()].map(settle))
      await settled()
    },
  }
}
