// What a flow came to: its state, where it stopped, and what comes next. Everything is worked out from the steps and
// the time, so that silence is told whether or not a process was running when it began.
import type {
  FlowFinding,
  FlowGap,
  FlowRecord,
  FlowStep,
  FlowStepKind,
  FlowStory,
} from '../ports/flow-record.ts'
import {
  type FindingRule,
  callRules,
  codeRules,
  completedRules,
  earlyRules,
  firstFinding,
  isAskedForMore,
  ownSteps,
  personRules,
  registerRules,
  repeatedRules,
  seconds,
  silence,
  stepUpRules,
  tokenRules,
} from './findings.ts'
import { refusalRules, refused } from './refusal-findings.ts'

/** What is told when nothing follows a step, and what should. */
interface Silence {
  readonly after: number
  readonly state: 'stalled' | 'abandoned'
  readonly rules: readonly FindingRule[]
  readonly expects: FlowStepKind
}

const person = (expects: FlowStepKind): Silence => ({
  after: silence.person,
  state: 'abandoned',
  rules: personRules,
  expects,
})

const early: Silence = { after: silence.metadata, state: 'stalled', rules: earlyRules, expects: 'register' }
const app = (after: number, rules: readonly FindingRule[], expects: FlowStepKind): Silence => ({
  after,
  state: 'stalled',
  rules,
  expects,
})

const code = app(silence.consent, codeRules, 'token')

const silences: Readonly<Partial<Record<FlowStepKind, Silence>>> = {
  probe: early,
  challenge: early,
  preflight: early,
  'resource-metadata': early,
  'server-metadata': early,
  register: app(silence.register, registerRules, 'authorize'),
  authorize: person('sign-in'),
  device: person('consent'),
  'sign-in': person('consent'),
  'provider-redirect': person('provider-callback'),
  'provider-callback': person('consent'),
  'upstream-connect': person('consent'),
  code,
  redirect: code,
  token: app(silence.token, tokenRules, 'first-call'),
  // A stream was opened, or its caller hung up.
  'first-call': app(silence.token, callRules, 'first-call'),
  'step-up': app(silence.stepUp, stepUpRules, 'authorize'),
}

const silenceAfter = ({ step, result }: FlowStep): Silence | undefined => {
  if (step === 'consent') return result === 'done' ? code : person('consent')
  const found = silences[step]
  return found && step === 'sign-in' && result === 'asked' ? person('sign-in') : found
}

const isCalled = ({ step, result }: FlowStep): boolean => step === 'first-call' && result === 'done'

const enders: Readonly<Record<string, string>> = {
  ended_by_user: 'by the user',
  ended_by_admin: 'by an administrator',
  blocked: 'by an administrator, who blocked the user or the app',
  provider_logout: 'by a sign-out at the identity provider',
}

const revoked = ({ at, answer }: FlowStep): FlowFinding => {
  const reason = String(answer['reason'] ?? 'revoked')
  const time = new Date(at).toISOString().slice(0, 16).replace('T', ' ')
  return {
    code: 'flow.revoked',
    acts: 'user',
    say: `Access was ended at ${time} UTC ${enders[reason] ?? `(${reason})`}.`,
    fix: 'To use the app again, connect again in the app, or ask whoever ended it.',
  }
}

const found = (rules: readonly FindingRule[], flow: FlowRecord, now: number) => {
  const finding = firstFinding(rules, flow, now)
  return finding ? { finding } : {}
}

/** What is awaited after the last step; undefined where nothing is. */
const awaitedIn = (flow: FlowRecord): Silence | undefined => {
  const last = ownSteps(flow).at(-1)
  if (!last || last.result === 'refused') return undefined
  if (last.step === 'step-up') return isAskedForMore(flow) ? silenceAfter(last) : undefined
  return flow.steps.some(isCalled) ? undefined : silenceAfter(last)
}

/** When the next step is missed: epoch ms; undefined where none is awaited. */
export const deadlineOf = (flow: FlowRecord): number | undefined => {
  const last = ownSteps(flow).at(-1)
  const quiet = awaitedIn(flow)
  return last && quiet && last.at + quiet.after
}

// A step came after all.

const named: Readonly<Partial<Record<FlowStepKind, string>>> = {
  'register': 'registration',
  'authorize': 'authorization request',
  'consent': 'consent',
  'redirect': 'code',
  'token': 'token',
  'first-call': 'first call',
}

/** The last step that an app was late with, up to its first call. */
const lateIn = (flow: FlowRecord): { readonly finding: FlowFinding } | undefined => {
  const own = ownSteps(flow)
  const end = own.findIndex(isCalled)
  const until = end < 0 ? own.length - 1 : end
  for (let i = until; i > 0; i--) {
    const [before, step] = [own[i - 1], own[i]]
    const quiet = before && before.result !== 'refused' ? silenceAfter(before) : undefined
    if (!before || !step || quiet?.state !== 'stalled') continue
    const late = step.at - before.at - quiet.after
    if (late <= 0) continue
    const [what, than] = [named[step.step] ?? step.step, named[before.step] ?? before.step]
    const say = `The ${what} came ${seconds(late + quiet.after)} after the ${than}, late by ${seconds(late)}.`
    return { finding: { code: 'flow.late', acts: 'nobody', say } }
  }
  return undefined
}

/** The state of a flow at a time, and what there is to say of it. */
export const storyOf = (flow: FlowRecord, now: number): FlowStory => {
  const last = ownSteps(flow).at(-1)
  if (!last) return { state: 'open' }
  if (last.step === 'revoke') return { state: 'failed', finding: revoked(last) }
  if (last.result === 'refused')
    return {
      state: last.step === 'sign-in' && now - last.at < silence.person ? 'waiting' : 'failed',
      finding: firstFinding(refusalRules, flow, now) ?? refused(last.code ?? 'fault'),
    }
  if (flow.steps.some(isCalled))
    return { state: 'completed', ...lateIn(flow), ...found(completedRules, flow, now) }
  const quiet = awaitedIn(flow)
  if (!quiet) return { state: 'open' }
  if (now - last.at >= quiet.after) {
    const silent = found(quiet.rules, flow, now)
    // Somebody looked once, and nobody knows who.
    const isLook = quiet === early && !silent.finding
    return { state: isLook ? 'abandoned' : quiet.state, ...silent }
  }
  return {
    state: quiet.state === 'abandoned' ? 'waiting' : 'open',
    ...lateIn(flow),
    ...found(repeatedRules, flow, now),
  }
}

/** The step that is awaited, since when, and when it is missed. */
export const gapOf = (flow: FlowRecord): FlowGap | undefined => {
  const last = ownSteps(flow).at(-1)
  const due = deadlineOf(flow)
  const quiet = awaitedIn(flow)
  if (!last || !quiet || due === undefined) return undefined
  const [since, until] = [new Date(last.at).toISOString(), new Date(due).toISOString()]
  return { after: last.step, expects: quiet.expects, since, due: until }
}
