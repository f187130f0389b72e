// What is kept of a flow: its ID, its steps and their facts, cleaned and bounded.
import { logText } from '../kit/log.ts'
import type { FlowFacts, FlowRecord, FlowStep } from '../ports/flow-record.ts'

const mostText = 256
/** Ids, hosts and URLs without a query, which need no cleaning: most of what is kept. */
const clean = /^(?:https?:\/\/)?[\w./-]{1,100}(?::\d{1,5}[\w./-]{0,100})?$/

/** Names of a few short words, and keys of people, in which no credential has room. */
const shortNames = /^(?!bearer|basic|dpop)[\w-]{1,15}(?:[ :](?!bearer|basic|dpop)[\w.@-]{1,15}){0,4}$/i

export const text = (value: unknown): string | undefined => {
  if (typeof value !== 'string' || value === '') return undefined
  const isClean = (clean.test(value) && !value.includes('eyJ')) || shortNames.test(value)
  return isClean ? value : logText(value, mostText)
}

export const texts = (value: unknown): readonly string[] | undefined =>
  Array.isArray(value) ? value.slice(0, 10).flatMap((one) => text(one) ?? []) : undefined

/** Of a request or an answer, characters. */
const mostFacts = 2000

/** What is known, as far as there is room for it. */
export const facts = (named: Readonly<Record<string, FlowFacts[string] | undefined>>): FlowFacts => {
  const kept: Record<string, FlowFacts[string]> = {}
  let room = mostFacts
  for (const [name, value] of Object.entries(named)) {
    if (value === undefined) continue
    room -= name.length + (typeof value === 'object' ? value.join(' ') : String(value)).length
    if (room >= 0) kept[name] = value
  }
  return kept
}

type Defined<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> }

export const defined = <T extends object>(named: T): Defined<T> =>
  Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)) as Defined<T>

/** IDs that are kept in memory. */
export const mostRecent = 10_000

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
export type FlowAbout = Partial<
  Pick<FlowRecord, 'client' | 'clientName' | 'service' | 'person' | 'grant' | 'related' | 'unrecorded'>
>

const mostSteps = 200
/** Of a flow in which nobody has signed in. */
const mostStrangersSteps = 40
const mostRefreshes = 50
const mostFirstCalls = 3
const mostStepUps = 10

// A flow ID sorts by its time, the newest first, so that a list of the store begins with them. It has no
// characters but digits and small letters, and so is never taken for an option on a command line.

const timeDigits = 9
const latest = 36 ** timeDigits - 1

export const flowIdShape = /^[0-9a-z]{9}[0-9a-f]{12}$/

/** When the flow of this ID began, epoch ms. */
export const flowTime = (id: string): number => latest - Number.parseInt(id.slice(0, timeDigits), 36)

export const newFlowId = (now: number, bytes: Uint8Array): string =>
  (latest - now).toString(36).padStart(timeDigits, '0') +
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

/** The ID of a flow beside this one, of whoever `who` names: the same in every process. */
export const derivedId = (id: string, who: string, digest: (text: string) => string): string => {
  const characters = [...digest(`${id} ${who}`)].slice(0, 12)
  return (
    id.slice(0, timeDigits) +
    characters.map((character) => (character.charCodeAt(0) % 16).toString(16)).join('')
  )
}

const countOf = (steps: readonly FlowStep[], one: FlowStep): number =>
  steps.filter(({ step, result }) => step === one.step && result === one.result).length

/** Whether a step is kept beside those that are there. */
const isKept = (steps: readonly FlowStep[], step: FlowStep): boolean => {
  if (step.step === 'first-call')
    return (
      !steps.some(({ step, result }) => step === 'first-call' && result === 'done') &&
      countOf(steps, step) < mostFirstCalls
    )
  if (step.step === 'step-up') return countOf(steps, step) < mostStepUps
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
  const isSame = steps.length === flow.steps.length && cut === flow.cut
  if (isSame && (about.unrecorded ?? flow.unrecorded) === flow.unrecorded) return flow
  return {
    ...flow,
    ...about,
    // Processes write when they come to it.
    at: Math.min(flow.at, ...added.map(({ at }) => at)),
    steps: steps.toSorted((one, other) => one.at - other.at),
    ...(cut && { cut }),
  }
}
