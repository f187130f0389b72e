// A flow as it is told: each step with its lane and its meaning, compared with the last good flow of the same app,
// and under pseudonyms for whoever helps from outside.
import { networkOf } from '../kit/addresses.ts'
import type {
  FlowComparison,
  FlowDifference,
  FlowFacts,
  FlowLane,
  FlowOwner,
  FlowRecord,
  FlowStep,
  FlowStepKind,
  ListedFlow,
  ListedFlowStep,
} from '../ports/flow-record.ts'
import { certain, lastOf } from './findings.ts'
import { refused } from './refusal-findings.ts'
import { gapOf, storyOf } from './story.ts'
import { defined } from './steps.ts'

type Meaning = string | Readonly<Partial<Record<FlowStep['result'], string>>>

const kinds: Readonly<Record<FlowStepKind, readonly [lane: FlowLane, meaning: Meaning]>> = {
  'probe': ['client', 'A program looked at the URL of the service without a token.'],
  'challenge': ['client', 'The app called without a token and was told where to get one.'],
  'preflight': ['client', 'A browser asked whether a page of another origin may call.'],
  'resource-metadata': ['client', 'The app read which authorization server the service trusts.'],
  'server-metadata': ['client', 'The app read the endpoints of the authorization server.'],
  'client-document': [
    'client',
    {
      done: 'The gateway has the metadata document of the app.',
      refused: 'The metadata document of the app failed.',
    },
  ],
  'register': ['client', { done: 'The app registered.', refused: 'The registration was refused.' }],
  'authorize': [
    'client',
    {
      done: 'The app sent the user’s browser to ask for access.',
      refused: 'The authorization request was refused.',
    },
  ],
  'device': [
    'client',
    {
      done: 'The app asked for a code, to be entered in a browser elsewhere.',
      refused: 'The request for a code was refused.',
    },
  ],
  'sign-in': [
    'gateway',
    {
      asked: 'The user was shown the sign-in page.',
      done: 'The user signed in.',
      refused: 'The sign-in failed.',
    },
  ],
  'provider-redirect': ['provider', 'The user was sent to the identity provider.'],
  'provider-callback': [
    'provider',
    {
      done: 'The identity provider sent the user back, signed in.',
      refused: 'The sign-in at the identity provider failed.',
    },
  ],
  'consent': [
    'gateway',
    {
      asked: 'The user was shown the consent page.',
      done: 'The user allowed access.',
      refused: 'No access was allowed.',
    },
  ],
  'upstream-connect': [
    'upstream',
    {
      asked: 'The user was sent to the authorization server of the MCP server.',
      done: 'The user’s account at the MCP server is connected.',
      refused: 'The account at the MCP server was not connected.',
    },
  ],
  'code': ['gateway', 'The gateway issued an authorization code.'],
  'redirect': ['client', 'The browser was sent back to the app with the code.'],
  'token': ['client', { done: 'The app got its tokens.', refused: 'The app got no token.' }],
  'first-call': [
    'client',
    {
      asked: 'The app opened a call or a stream, and it ended without an answer.',
      done: 'The app called the service.',
      refused: 'The call failed.',
    },
  ],
  'step-up': ['client', 'A call needs more rights than the user allowed, and the app was told so.'],
  'refresh': [
    'client',
    { done: 'The app renewed its access.', refused: 'The app could not renew its access.' },
  ],
  'revoke': ['gateway', 'The access was ended.'],
}

const meaningOf = ({ step, result }: FlowStep): string => {
  const [, meaning] = kinds[step]
  return typeof meaning === 'string' ? meaning : (meaning[result] ?? '')
}

const timeOf = (ms: number): string => new Date(ms).toISOString()

/** Neither what is the operator's to know, nor steps and addresses that may be of somebody else. */
const ownOnly = (flow: FlowRecord, { ip: own }: FlowOwner): FlowRecord => {
  const { related: _, unrecorded: __, ...rest } = flow
  const steps = flow.steps.filter(({ confidence = 1 }) => confidence >= certain)
  return {
    ...rest,
    steps: steps.map(({ ip, answer: { why: ___, ...answer }, ...step }) => ({
      ...step,
      answer,
      ...(ip === own && { ip }),
    })),
  }
}

const listedStep = (
  { at, step, requestId, ...told }: FlowStep,
  before: FlowStep | undefined,
): ListedFlowStep => ({
  at: timeOf(at),
  delta: at - (before?.at ?? at),
  lane: kinds[step][0],
  name: step,
  meaning: meaningOf({ at, step, ...told }),
  ...told,
  ...(told.result === 'refused' && { finding: refused(told.code ?? 'fault') }),
  ...(requestId !== undefined && { request_id: requestId }),
})

/** `own`: for the person of the flow. */
export const listedFlow = (kept: FlowRecord, now: number, own?: FlowOwner): ListedFlow => {
  const flow = own ? ownOnly(kept, own) : kept
  const { id, at, client, clientName, service, person, grant, steps, cut, previous } = flow
  const { related, unrecorded } = flow
  const named = { client, client_name: clientName, service, user: person, grant, previous }
  return {
    id,
    at: timeOf(at),
    ...storyOf(kept, now),
    ...defined({ ...named, related, unrecorded, gap: gapOf(kept), cut }),
    steps: steps.map((step, i) => listedStep(step, steps[i - 1])),
  }
}

/** What became of the access of a flow, for the one after it. */
export const accessOf = (flow: FlowRecord, now: number): string => {
  const { state, finding } = storyOf(flow, now)
  const last = lastOf(flow)
  if (state === 'failed' && finding) return finding.say
  if (!flow.steps.some(({ step, result }) => step === 'token' && result === 'done'))
    return 'The app got no token.'
  if (last?.step === 'step-up') return 'A call needed more rights.'
  if (state === 'stalled' && finding) return finding.say
  return 'Nothing had ended it: the app asked again all the same.'
}

// The last good flow of the same app, beside this one.

/** A step is slower when it took so many times as long, and so much longer, ms. */
const [slowTimes, slowMs] = [3, 2000]

/** Facts that are other ones each time. */
const changing = new Set(['state', 'code_challenge', 'client_id', 'path'])

const withPlaces = (steps: readonly FlowStep[]) => {
  const counts = new Map<FlowStepKind, number>()
  return steps.map((step, i) => {
    const n = counts.get(step.step) ?? 0
    counts.set(step.step, n + 1)
    return { step, place: `${step.step} ${n}`, delta: step.at - (steps[i - 1]?.at ?? step.at) }
  })
}

const factsThatDiffer = (here: FlowFacts, there: FlowFacts): readonly string[] =>
  [...new Set([...Object.keys(here), ...Object.keys(there)])].filter(
    (name) => !changing.has(name) && JSON.stringify(here[name]) !== JSON.stringify(there[name]),
  )

type Placed = ReturnType<typeof withPlaces>[number]

const difference = ({ step, delta }: Placed, good: Placed | undefined): FlowDifference => {
  const name = step.step
  if (!good) return { name, differs: 'extra', delta }
  const both = { name, delta, good_delta: good.delta }
  if (step.result === 'refused' && good.step.result !== 'refused') return { ...both, differs: 'refused' }
  const facts = factsThatDiffer(step.request, good.step.request)
  if (facts.length > 0) return { ...both, differs: 'request', facts }
  const isSlow = delta > slowTimes * good.delta && delta - good.delta > slowMs
  return { ...both, differs: isSlow ? 'slower' : 'same' }
}

/** What follows the first call is no part of a login. */
const loginOf = ({ steps }: FlowRecord): readonly FlowStep[] => {
  const end = steps.findIndex(({ step, result }) => step === 'first-call' && result === 'done')
  return end < 0 ? steps : steps.slice(0, end + 1)
}

export const comparedFlows = (flow: FlowRecord, good: FlowRecord): FlowComparison => {
  const [here, there] = [withPlaces(loginOf(flow)), withPlaces(loginOf(good))]
  const goodAt = new Map(there.map((one) => [one.place, one]))
  const places = new Set(here.map(({ place }) => place))
  // A registration is once; later logins do without.
  const missing = there.filter(({ place, step }) => !places.has(place) && step.step !== 'register')
  const steps = [
    ...here.map((one) => difference(one, goodAt.get(one.place))),
    ...missing.map(({ step, delta }): FlowDifference => ({
      name: step.step,
      differs: 'missing',
      good_delta: delta,
    })),
  ]
  return { flow: good.id, at: timeOf(good.at), steps }
}

/** Whether the other flow is an earlier one of the same app that went well. */
export const isGoodBefore = (flow: FlowRecord, other: FlowRecord, now: number): boolean =>
  other.at < flow.at &&
  other.service === flow.service &&
  (other.client === flow.client || (flow.clientName !== undefined && other.clientName === flow.clientName)) &&
  storyOf(other, now).state === 'completed'

// Under pseudonyms.

/** Facts that name nobody and nothing. */
const plain = new Set([
  ...[
    'response_type',
    'code_challenge_method',
    'prompt',
    'scope',
    'scopes',
    'method',
    'agent',
    'shown',
    'how',
  ],
  ...['token_endpoint_auth_method', 'reason'],
])

const createPseudonyms = () => {
  const known = new Map<string, string>()
  const counts = new Map<string, number>()
  return (kind: string, value: string): string => {
    const found = known.get(`${kind} ${value}`)
    if (found !== undefined) return found
    const n = (counts.get(kind) ?? 0) + 1
    counts.set(kind, n)
    known.set(`${kind} ${value}`, `${kind}-${n}`)
    return `${kind}-${n}`
  }
}
type Pseudonyms = ReturnType<typeof createPseudonyms>

const hosts = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?(?=\/|$)/

/** A URL by its scheme and a pseudonym of its host; on the caller's own computer the host stays. */
const sharedUrl = (url: string, as: Pseudonyms): string => {
  const [local] = hosts.exec(url) ?? []
  const parsed = URL.parse(url)
  if (local !== undefined) return local
  return parsed && parsed.host !== '' ? `${parsed.protocol}//${as('host', parsed.host)}` : as('value', url)
}

const urls = new Set(['redirect_uri', 'redirect_uris', 'resource', 'to', 'service_url'])

const sharedFacts = (named: FlowFacts, as: Pseudonyms): FlowFacts =>
  Object.fromEntries(
    Object.entries(named).flatMap(([name, value]): [string, FlowFacts[string]][] => {
      if (plain.has(name)) return [[name, value]]
      if (!urls.has(name) || typeof value === 'number') return []
      return [
        [name, typeof value === 'string' ? sharedUrl(value, as) : value.map((url) => sharedUrl(url, as))],
      ]
    }),
  )

/** The same pseudonym wherever the same thing was named. */
const sharedRecord = (flow: FlowRecord): FlowRecord => {
  const as = createPseudonyms()
  const { client, service, person, grant, clientName, attempts, registrations, cut } = flow
  const name = (kind: string, value: string | undefined) =>
    value === undefined ? undefined : as(kind, value)
  return {
    id: as('flow', flow.id),
    at: flow.at,
    ...defined({ client: name('client', client), clientName: name('app', clientName) }),
    ...defined({
      service: name('service', service),
      person: name('user', person),
      grant: name('grant', grant),
    }),
    ...defined({ attempts, registrations, cut }),
    steps: flow.steps.map(({ ip, requestId, request, answer, ...step }) => ({
      ...step,
      request: sharedFacts(request, as),
      answer: sharedFacts(answer, as),
      ...defined({ ip: name('address', ip && networkOf(ip)), requestId: name('request', requestId) }),
    })),
  }
}

/** A flow without anybody’s name. What was found by facts that are not shared is told by its code alone. */
export const sharedFlow = (flow: FlowRecord, now: number, own?: FlowOwner): ListedFlow => {
  const { finding } = storyOf(flow, now)
  const shared = listedFlow(sharedRecord(flow), now, own)
  if (!finding || shared.finding?.code === finding.code) return shared
  const { code, acts } = finding
  return { ...shared, finding: { code, acts, say: 'The facts behind this finding are not shared.' } }
}
