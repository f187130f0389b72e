// What there is to say of a flow: each finding with who must act, when it holds and what to do. What rests on steps
// of which it is not known whose they are accuses nobody.
import { isLoopbackUrl, networkOf } from '../kit/addresses.ts'
import type { FlowActor, FlowFinding, FlowRecord, FlowStep, FlowStepKind } from '../ports/flow-record.ts'
import { earlySteps } from './requests.ts'

/** A finding: when it holds, and what is said of it. */
export interface FindingRule {
  readonly code: string
  readonly acts: FlowActor
  readonly fix?: string
  /** What to say; with how sure it is, where it rests on steps of which it is not known whose they are. */
  readonly find: (
    flow: FlowRecord,
    now: number,
  ) => string | readonly [say: string, confidence: number] | undefined
}

/** Below this nobody is accused. */
export const certain = 0.7

/** The first of the rules that holds. */
export const firstFinding = (
  rules: readonly FindingRule[],
  flow: FlowRecord,
  now: number,
): FlowFinding | undefined => {
  for (const { code, acts, fix, find } of rules) {
    const found = find(flow, now)
    if (found === undefined) continue
    const [say, confidence] = typeof found === 'string' ? [found, 1] : found
    const more = fix === undefined ? {} : { fix }
    if (confidence >= certain) return { code, acts, say, ...more }
    return { code, acts: 'nobody', say: `Probably: ${say}`, ...more, confidence }
  }
  return undefined
}

// What the rules look at.

/** How long the next step may take before its absence is told, ms. */
export const silence = {
  metadata: 60_000,
  register: 120_000,
  consent: 60_000,
  token: 15_000,
  stepUp: 60_000,
  /** A page, an identity provider or an authorization server. */
  person: 600_000,
} as const

export const seconds = (ms: number): string =>
  ms < 120_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`

export const appOf = ({ clientName, client }: FlowRecord): string => clientName ?? client ?? 'The app'

export const find = ({ steps }: FlowRecord, step: FlowStepKind, result: FlowStep['result'] = 'done') =>
  steps.findLast((one) => one.step === step && one.result === result)

/** Steps that are known to be of the flow; all, where nobody knows yet whose it is. */
export const ownSteps = ({ steps }: FlowRecord): readonly FlowStep[] => {
  const own = steps.filter(({ step }) => !earlySteps.has(step))
  return own.length > 0 ? own : steps
}

export const lastOf = (flow: FlowRecord): FlowStep | undefined => ownSteps(flow).at(-1)

const confidenceOf = (steps: readonly FlowStep[]): number =>
  Math.min(1, ...steps.map(({ confidence = 1 }) => confidence))

const early = (flow: FlowRecord, ...kinds: readonly FlowStepKind[]): readonly FlowStep[] =>
  flow.steps.filter(({ step }) => kinds.includes(step))

const pathOf = ({ request }: FlowStep): string => String(request['path'] ?? '')

const words = (fact: FlowStep['answer'][string] | undefined): readonly string[] =>
  fact === undefined ? [] : typeof fact === 'object' ? fact : String(fact).split(' ').filter(Boolean)

export const whyOf = ({ answer }: FlowStep): string => String(answer['why'] ?? '')

// Nothing followed the last step.

const asked = (flow: FlowRecord): readonly string[] => words(find(flow, 'authorize')?.request['scope'])

const scopeMissing = (flow: FlowRecord): readonly string[] => {
  const granted = words(find(flow, 'token')?.answer['scopes'])
  return asked(flow).filter((scope) => scope !== 'offline_access' && !granted.includes(scope))
}

/** The redirect URI, where it leads to the computer on which the browser runs. */
const loopbackOf = (flow: FlowRecord): string | undefined => {
  const uri = find(flow, 'authorize')?.request['redirect_uri']
  return typeof uri === 'string' && isLoopbackUrl(uri) ? uri : undefined
}

/** The address of the app, as far as its own requests tell it. */
const appAddress = ({ steps }: FlowRecord): string | undefined =>
  steps.findLast(
    ({ step, confidence = 1 }) => confidence >= certain && (step === 'register' || earlySteps.has(step)),
  )?.ip

const loopback =
  (isRemote: boolean, say: string): FindingRule['find'] =>
  (flow) => {
    const app = appAddress(flow)
    const browser = find(flow, 'consent')?.ip
    if (loopbackOf(flow) === undefined || app === undefined || browser === undefined) return undefined
    return (networkOf(app) !== networkOf(browser)) === isRemote ? say : undefined
  }

export const earlyRules: readonly FindingRule[] = [
  {
    code: 'flow.challenge-stripped',
    acts: 'operator',
    fix: 'Let the proxy in front pass the WWW-Authenticate header of responses.',
    find(flow) {
      const challenges = early(flow, 'challenge')
      const read = early(flow, 'resource-metadata')
      const atRoot = /\/oauth-protected-resource\/?$/
      if (challenges.length === 0 || read.length === 0 || !read.every((step) => atRoot.test(pathOf(step))))
        return undefined
      return [
        'The app did not learn the URL of the metadata: WWW-Authenticate was lost on the way.',
        confidenceOf([...challenges, ...read]),
      ]
    },
  },
  {
    code: 'flow.metadata-stop',
    acts: 'app',
    fix: 'It knows no way to register here, or something failed in it: look at its log.',
    find(flow) {
      const read = early(flow, 'resource-metadata', 'server-metadata')
      return read.length === 0 ? undefined : ['The app read the metadata and stopped.', confidenceOf(read)]
    },
  },
]

export const registerRules: readonly FindingRule[] = [
  {
    code: 'flow.registered-only',
    acts: 'app',
    fix: 'Its browser did not open: look for a URL in the app and open it yourself.',
    find: (flow) => `${appOf(flow)} registered and sent nobody to sign in.`,
  },
]

export const codeRules: readonly FindingRule[] = [
  {
    code: 'flow.loopback-remote',
    acts: 'user',
    fix: 'Copy the address of the page that failed to load, and paste it into the app.',
    find: loopback(
      true,
      'The app runs on another computer than the browser, so the browser could not reach it.',
    ),
  },
  {
    code: 'flow.loopback-closed',
    acts: 'user',
    fix: 'Start the app again, and connect from there.',
    find: loopback(false, 'The app no longer listens for the browser’s answer.'),
  },
  {
    code: 'flow.code-unused',
    acts: 'app',
    fix: 'The browser’s answer did not reach the app, or the app stopped. Start the app and connect again.',
    find: (flow) => `${appOf(flow)} did not fetch its token.`,
  },
]

/** How a token was had that no browser was needed for. */
const tokenWays: Readonly<Record<string, string>> = {
  client_credentials: ' of its own (client credentials)',
  device: ' that a device asked for',
  id_jag: ' by an assertion of the user’s company (ID-JAG)',
  workload: ' by an assertion of its platform',
}

export const tokenRules: readonly FindingRule[] = [
  {
    code: 'flow.authorization-stripped',
    acts: 'operator',
    fix: 'Let the proxy in front pass the Authorization header, and redirect to no other host.',
    find(flow) {
      const token = find(flow, 'token')
      const since = early(flow, 'challenge', 'probe').filter(({ at }) => token !== undefined && at > token.at)
      if (since.length === 0) return undefined
      return [`${appOf(flow)} called without its token, which was lost on the way.`, confidenceOf(since)]
    },
  },
  {
    code: 'flow.scope-short',
    acts: 'app',
    fix: 'Allow more on the consent page, or let the app ask for less.',
    find(flow) {
      const missing = scopeMissing(flow)
      return missing.length === 0
        ? undefined
        : `${appOf(flow)} got less than it asked for (${missing.join(' ')} is missing), and has not called.`
    },
  },
  {
    code: 'flow.token-unused',
    acts: 'app',
    fix: 'If the app shows an error, something between app and gateway may block the app or remove the Authorization header. Otherwise restart the app.',
    find: (flow) =>
      `${appOf(flow)} has a token${tokenWays[String(lastOf(flow)?.answer['kind'])] ?? ''} and has not used it.`,
  },
]

/** Calls that no server takes seconds for. */
const quick = /^(?:initialize|ping|server\/discover|[a-z/]+\/list)$/

export const callRules: readonly FindingRule[] = [
  {
    code: 'flow.buffered',
    acts: 'operator',
    fix: 'Turn off buffering of responses in the proxy in front.',
    find(flow) {
      const { request = {}, answer = {} } = lastOf(flow) ?? {}
      const [first, took] = [Number(answer['first_byte_ms']), Number(answer['duration_ms'])]
      const isQuick = request['http'] === 'GET' || quick.test(String(request['method']))
      return isQuick && first <= 1000 && took >= 5000
        ? `The gateway answered at once, and ${appOf(flow)} gave up after ${seconds(took)}: a proxy holds back the answer.`
        : undefined
    },
  },
  {
    code: 'flow.call-left',
    acts: 'app',
    fix: 'Its time limit may be shorter than the server takes. Restart the app.',
    find: (flow) => `${appOf(flow)} opened a call, and has not waited for the answer or gone on.`,
  },
]

/** Told of flows that need nothing else. */
export const serviceGone: FlowFinding = {
  code: 'flow.service-gone',
  acts: 'operator',
  say: 'This service was removed, so calls to it fail.',
  fix: 'Remove it in the app, or add the service again.',
}

const leftFor = (flow: FlowRecord): string => {
  const { step, answer } = lastOf(flow) ?? { step: 'sign-in', answer: {} as FlowStep['answer'] }
  if (step === 'provider-redirect' || step === 'upstream-connect')
    return `The user was sent to ${String(answer['to'] ?? 'the server')} and has not come back.`
  if (step === 'device') return 'Nobody has entered the code of the device.'
  return 'The user left the page without an answer.'
}

export const personRules: readonly FindingRule[] = [
  {
    code: 'provider.redirect-uri',
    acts: 'operator',
    fix: 'Register the redirect URI of this gateway at the identity provider.',
    find(flow) {
      const sent = flow.steps.filter(({ step, result }) => step === 'provider-redirect' && result === 'asked')
      const isBack = flow.steps.some(({ step }) => step === 'provider-callback')
      return sent.length < 2 || isBack
        ? undefined
        : `The user was sent to ${String(sent.at(-1)?.answer['to'])} ${sent.length} times and never came back: it may not know the redirect URI of this gateway.`
    },
  },
  { code: 'flow.left', acts: 'user', fix: 'Return to the app and connect again.', find: leftFor },
]

// Whatever became of it.

const stepUps = ({ steps }: FlowRecord) => steps.filter(({ step }) => step === 'step-up')

/** The app asked the same person again and again. */
export const isRepeated = ({ attempts = 1 }: FlowRecord): boolean => attempts >= 3

export const repeatedRules: readonly FindingRule[] = [
  {
    code: 'flow.registers-again',
    acts: 'app',
    fix: 'The app should keep its client_id. Report this to the app’s developer.',
    find: (flow) =>
      (flow.registrations ?? 1) >= 3
        ? `${appOf(flow)} registered ${flow.registrations} times within an hour.`
        : undefined,
  },
  {
    code: 'flow.login-repeated',
    acts: 'app',
    fix: 'The app loses its tokens or does not use them. Update or restart it; nothing has to change here.',
    find: (flow) =>
      isRepeated(flow)
        ? `${appOf(flow)} asked this user for access ${flow.attempts} times within 10 minutes.`
        : undefined,
  },
]

/** A step-up is asked for and nothing has come of it. */
export const isAskedForMore = (flow: FlowRecord): boolean => {
  const last = lastOf(flow)
  return last?.step === 'step-up' && last.result === 'asked' && flow.followed !== true
}

const stepUpIgnored: FindingRule = {
  code: 'flow.stepup-ignored',
  acts: 'user',
  fix: 'Connect again in the app and allow more. If the app does not ask, update it.',
  find(flow, now) {
    const isOver = now - (lastOf(flow)?.at ?? now) >= silence.stepUp
    return isOver && isAskedForMore(flow)
      ? `A call needed more rights, and ${appOf(flow)} has not asked the user for them.`
      : undefined
  },
}

export const stepUpRules: readonly FindingRule[] = [stepUpIgnored]

export const completedRules: readonly FindingRule[] = [
  {
    code: 'flow.stepup-loop',
    acts: 'app',
    fix: 'The app asks again without the scope that it was told. Update it.',
    find(flow) {
      const last = stepUps(flow).at(-1)
      const alike = stepUps(flow).filter((one) => last !== undefined && whyOf(one) === whyOf(last))
      return alike.length < 3
        ? undefined
        : `${appOf(flow)} needed more rights for a call ${alike.length} times, and called again without them.`
    },
  },
  stepUpIgnored,
  ...repeatedRules,
  {
    code: 'flow.old-revision',
    acts: 'app',
    fix: 'It works. Update the app when you can.',
    find: (flow) =>
      flow.steps.some(
        ({ step, request }) =>
          ['register', 'authorize', 'token'].includes(step) && request['path'] !== undefined,
      )
        ? `${appOf(flow)} speaks MCP 2025-03-26: it did not read the metadata.`
        : undefined,
  },
]
