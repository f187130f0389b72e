// How the steps of flows are seen: each request of a login is watched from outside, with the events and the
// refusal that it leaves, so that no handler has to speak of flows. Of requests and answers only what is named
// here is kept.
import type { Config } from '../config/schema.ts'
import { createAudit } from '../kit/log.ts'
import type { Refuse } from '../ports/call.ts'
import type { BeginFlow, FlowGrant, FlowStep } from '../ports/flow-record.ts'
import type { Audit, AuditEvent } from '../ports/modules.ts'
import type { Log, RequestContext, Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { isKnownClient } from './early.ts'
import { createFirstCalls, revokedStep, watchRefuse } from './calls.ts'
import { type FlowRecorder, createFlowRecorder } from './recorder.ts'
import type { FlowRecorderDeps } from './writing.ts'
import {
  type Came,
  type Watched,
  aboutOf,
  agentOf,
  cameTo,
  discoveredPath,
  earlySteps,
  requestFacts,
  stepOf,
} from './requests.ts'
import { createRecent, defined, flowIdShape, text } from './steps.ts'
import { createFlowAdmin } from './api.ts'

/** What is seen of a pending authorization request. */
interface Pending {
  readonly flow?: string
  readonly clientId: string
  readonly client: { readonly name: string }
  readonly resource: string
}

interface PendingReads {
  of(id: string, browser: Request): Promise<{ readonly pending: Pending }>
  peek(id: string, browser: Request): Promise<Pending | undefined>
}

type App = (request: Request, context: RequestContext) => Promise<Response>

export interface FlowRecording {
  /** The ID of the flow that a request belongs to, or begins. */
  readonly begin: BeginFlow
  /** The application, watched. */
  watchApp(app: App): App
  /** Modules read pending requests through this. */
  watchPending<T extends PendingReads>(inner: T): T
  /** Hears every event that is not of a call; it gets the flow that it belongs to. */
  watchEvents(record: Audit): Audit
  /** Hears the refusals of the application. */
  watchLog(log: Log): Log
  /** Sees the refusals of calls: challenges, and what became of tokens. */
  watchRefuse(refuse: Refuse): Refuse
  /** Grants whose first call is awaited in this process, and who is told of it. */
  readonly firstCalls: ReadonlyMap<unknown, (event: AuditEvent) => void>
  /** A grant is used that this process has not met before. */
  readonly met: (grant: FlowGrant) => void
  readonly recorder: FlowRecorder
}

export interface FlowRecordingDeps extends FlowRecorderDeps {
  readonly runtime: FlowRecorderDeps['runtime'] & Pick<Runtime, 'digest'>
  readonly serviceOf: (resource: string) => string | undefined
  /** The service whose metadata is asked for. */
  readonly serviceAt: (url: URL, path: string) => string | undefined
  /** The resource that is meant by one that differs in scheme, port, case or a slash. */
  readonly nearestTo: (resource: string) => string | undefined
}

// Which flow.

const pendingShape = /[?&]flow=([\w-]{32})(?:&|$)/

/** A page of this gateway for a pending request. */
const pendingIn = (location: string | null): string | undefined => pendingShape.exec(location ?? '')?.[1]

/** A step as it is kept. */
const createStepFrom =
  ({ runtime: { digest }, nearestTo }: FlowRecordingDeps) =>
  (watched: Watched, came: Came, context: Pick<FlowStep, 'at' | 'status' | 'ip' | 'requestId'>): FlowStep => {
    const { step, result, code, answer = {} } = came
    const request = step === watched.step ? requestFacts(watched, digest) : {}
    const meant = code === 'resource.unknown' ? nearestTo(String(request['resource'] ?? '')) : undefined
    return {
      ...context,
      step,
      result,
      ...defined({ code }),
      request,
      answer: meant === undefined ? answer : { ...answer, service_url: meant },
    }
  }

/** The flow of a request that a browser repeats, or another one. */
const createRepeated = ({ runtime: { digest } }: FlowRecordingDeps, { recent }: FlowRecorder) => {
  /** By the app and its code challenge, which is another one for each attempt (RFC 7636 §4.2). */
  const flows = createRecent<string>()
  return ({ searchParams }: URL, begin: () => string): string => {
    const challenge = searchParams.get('code_challenge')
    if (challenge === null) return begin()
    const key = digest(`${searchParams.get('client_id')} ${challenge}`)
    const flow = recent(flows.get(key)) ?? begin()
    flows.set(key, flow)
    return flow
  }
}

/** Requests that are handled now, by themselves and by their IDs. */
const createWatchedRequests = (deps: FlowRecordingDeps, recorder: FlowRecorder) => {
  const { runtime, serviceOf, serviceAt } = deps
  const { now } = runtime
  const byRequest = new WeakMap<Request, Watched>()
  const byId = new Map<string, Watched>()
  const flowOfPending = createRecent<string>()

  /** The flow, as far as this process knows it, and the pending request that leads to it. */
  const flowOf = (watched: Watched, response: Response) => {
    const said = watched.events.find(({ flow }) => flow !== undefined)?.['flow'] ?? watched.refused?.['flow']
    const named = typeof said === 'string' ? said : undefined
    const pending = pendingIn(response.headers.get('location')) ?? pendingIn(watched.url.search) ?? named
    const known = watched.flow ?? (named !== undefined && flowIdShape.test(named) ? named : undefined)
    if (known !== undefined && pending !== undefined) flowOfPending.set(pending, known)
    return { pending, flow: known ?? (pending === undefined ? undefined : flowOfPending.get(pending)) }
  }

  const stepFrom = createStepFrom(deps)

  return {
    byRequest,
    byId,
    /** How modules read pending requests. */
    reads: {} as { peek?: PendingReads['peek'] },
    /** A request turned out to be about this pending one. */
    learn(request: Request, id: string, pending: Pending): void {
      const watched = byRequest.get(request)
      if (!watched || pending.flow === undefined) return
      watched.flow = pending.flow
      flowOfPending.set(id, pending.flow)
      watched.about = {
        ...watched.about,
        client: pending.clientId,
        ...defined({ clientName: text(pending.client.name), service: serviceOf(pending.resource) }),
      }
    },
    /** `peek`: reads a pending request that another process has met. */
    keep(watched: Watched, response: Response, { ip, requestId }: RequestContext, peek: PeekFlow): void {
      const came = cameTo(watched, response)
      if (came.length === 0) return
      const { agent, url } = watched
      const { status } = response
      const context = { at: now(), status, ip, requestId }
      const steps = came.map((one) => stepFrom(watched, one, context))
      const [first] = steps
      if (first && earlySteps.has(first.step))
        return recorder.seeEarly({ ip, agent, service: serviceAt(url, discoveredPath(url)), step: first })
      const note = (flow: string): void => {
        const about = aboutOf(watched, serviceOf)
        recorder.note(flow, steps, about)
        const token = steps.find((one) => one.step === 'token' && one.result === 'done')
        const expects = { flow, known: isKnownClient(about) }
        if (token) recorder.seeEarly({ ip, agent, service: about.service, step: token, expects })
      }
      const begins = ['register', 'authorize', 'device'].includes(watched.step)
      const { flow = begins ? recorder.newId() : undefined, pending } = flowOf(watched, response)
      if (flow !== undefined) note(flow)
      else if (pending !== undefined) runtime.defer(peek(pending).then((id) => id !== undefined && note(id)))
    },
  }
}

type PeekFlow = (pending: string) => Promise<string | undefined>
type WatchedRequests = ReturnType<typeof createWatchedRequests>

const watchApp =
  ({ byRequest, byId, keep, reads }: WatchedRequests, app: App): App =>
  async (request, context) => {
    const url = new URL(request.url)
    const step = stepOf(request.method, url)
    if (step === undefined) return app(request, context)
    const agent = agentOf(request.headers.get('user-agent'))
    const watched: Watched = { step, url, agent, about: {}, events: [] }
    byRequest.set(request, watched)
    byId.set(context.requestId, watched)
    try {
      const response = await app(request, context)
      keep(watched, response, context, async (id) => (await reads.peek?.(id, request))?.flow)
      return response
    } finally {
      byId.delete(context.requestId)
    }
  }

const watchPending = <T extends PendingReads>({ learn, reads }: WatchedRequests, inner: T): T => {
  reads.peek = inner.peek
  return {
    ...inner,
    async of(id: string, browser: Request) {
      const read = await inner.of(id, browser)
      learn(browser, id, read.pending)
      return read
    },
    async peek(id: string, browser: Request) {
      const pending = await inner.peek(id, browser)
      if (pending) learn(browser, id, pending)
      return pending
    },
  }
}

export const createFlowRecording = (deps: FlowRecordingDeps): FlowRecording => {
  const { now } = deps.runtime
  const recorder = createFlowRecorder(deps)
  const requests = createWatchedRequests(deps, recorder)
  const repeated = createRepeated(deps, recorder)
  const watchedBy = (id: unknown): Watched | undefined =>
    typeof id === 'string' ? requests.byId.get(id) : undefined
  return {
    recorder,
    ...createFirstCalls(recorder, now),
    begin(request, known) {
      const watched = requests.byRequest.get(request)
      if (watched) watched.flow ??= repeated(watched.url, () => recorder.recent(known) ?? recorder.newId())
      return watched?.flow
    },
    watchApp: (app) => watchApp(requests, app),
    watchPending: (inner) => watchPending(requests, inner),
    watchEvents: (record) => (event, body) => {
      const watched = watchedBy(event['request_id'])
      const said = event['flow']
      if (watched) watched.events.push(event)
      else if (event.event === 'grant.revoked' && typeof said === 'string')
        recorder.note(said, revokedStep(event, now()), defined({ person: text(event['person']) }))
      const flow = said ?? watched?.flow
      record(flow === said ? event : { ...event, flow }, body)
    },
    watchLog: (log) => (level, event, fields, audit) => {
      const watched = event === 'refused' ? watchedBy(fields?.['request_id']) : undefined
      if (watched && fields) watched.refused = fields
      log(level, event, fields, audit)
    },
    watchRefuse: (refuse) => watchRefuse(refuse, recorder, now),
  }
}

interface RecordingDeps extends Pick<FlowRecordingDeps, 'runtime' | 'limit'> {
  readonly config: Pick<Config, 'flows'>
  readonly runtime: FlowRecordingDeps['runtime'] & Pick<Runtime, 'trail' | 'about'>
  readonly directory: Pick<
    Directory,
    'resolve' | 'locate' | 'only' | 'addresses' | 'issuer' | 'assertComplete'
  >
}

/** The service that metadata is asked for: at its path, by `service_id`, or the only one. */
const serviceAt = (
  { locate, only }: RecordingDeps['directory'],
  url: URL,
  path: string,
): string | undefined =>
  path === '/'
    ? (url.searchParams.get('service_id')?.slice(0, 100) ?? only?.service.id)
    : locate(path, url.host)?.address.service.id

const bare = (url: string): string =>
  url
    .toLowerCase()
    .replace(/^https?:\/\/([^/:]*)(?::\d+)?/, '$1')
    .replace(/\/+$/, '')

const nearestTo = ({ addresses }: RecordingDeps['directory'], resource: string): string | undefined =>
  addresses.find((address) => bare(address.resource) === bare(resource))?.resource

/** False while it is not known which services there are. */
const isGone = ({ addresses, assertComplete }: RecordingDeps['directory'], id: string): boolean => {
  try {
    assertComplete()
  } catch {
    return false
  }
  return !addresses.some(({ service }) => service.id === id)
}

/** The audit trail and, where flows are recorded, what hears its events. `recordCall`: for proxied calls. */
export const createRecording = ({ config, runtime, limit, directory }: RecordingDeps) => {
  const recorded = config.flows?.enabled
    ? createFlowRecording({
        runtime,
        limit,
        issuer: directory.issuer,
        record: (event) => recordCall(event),
        retentionMs: config.flows.retention * 1000,
        serviceOf: (resource) => directory.resolve(resource)?.service.id,
        serviceAt: (url, path) => serviceAt(directory, url, path),
        nearestTo: (resource) => nearestTo(directory, resource),
      })
    : undefined
  const recordCall: Audit = createAudit(runtime.log, runtime.trail, recorded?.firstCalls)
  return {
    flowAdmin:
      recorded &&
      createFlowAdmin({
        source: recorded.recorder,
        now: runtime.now,
        version: runtime.about.version,
        isGone: (service) => isGone(directory, service),
      }),
    beginFlow: recorded?.begin,
    met: recorded?.met,
    recordCall,
    record: recorded?.watchEvents(recordCall) ?? recordCall,
    watchApp: (app: App): App => recorded?.watchApp(app) ?? app,
    watchLog: (log: Log): Log => recorded?.watchLog(log) ?? log,
    watchRefuse: (refuse: Refuse): Refuse => recorded?.watchRefuse(refuse) ?? refuse,
    watchPending: <T extends PendingReads>(inner: T): T => recorded?.watchPending(inner) ?? inner,
  }
}
