// How the steps of flows are seen: each request of a login is watched from outside, with the events and the
// refusal that it leaves, so that no handler has to speak of flows. Of requests and answers only what is named
// here is kept.
import type { Config } from '../config/schema.ts'
import { createAudit } from '../kit/log.ts'
import { withoutQuery } from '../kit/urls.ts'
import type {
  Audit,
  AuditEvent,
  BeginFlow,
  FlowFacts,
  FlowGrant,
  FlowStep,
  FlowStepKind,
} from '../ports/modules.ts'
import type { Log, RequestContext, Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import {
  type FlowAbout,
  type FlowRecorder,
  type FlowRecorderDeps,
  createFirstCalls,
  createFlowRecorder,
  createRecent,
  facts,
  flowIdShape,
  defined,
  revokedStep,
  text,
  texts,
} from './recorder.ts'
import { createFlowAdmin } from './story.ts'

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
  /** Grants whose first call is awaited in this process, and who is told of it. */
  readonly firstCalls: ReadonlyMap<unknown, (event: AuditEvent) => void>
  /** A grant is used that this process has not met before. */
  readonly met: (grant: FlowGrant) => void
  readonly recorder: FlowRecorder
}

export interface FlowRecordingDeps extends FlowRecorderDeps {
  readonly runtime: FlowRecorderDeps['runtime'] & Pick<Runtime, 'digest'>
  readonly serviceOf: (resource: string) => string | undefined
}

// What a request came to: read from its URL, the events and the refusal that it left, and the head of its answer.

/** A request of a login, while it is handled. */
interface Watched {
  readonly step: FlowStepKind
  readonly url: URL
  flow?: string
  about: FlowAbout
  readonly events: AuditEvent[]
  /** Fields of its line in the log. */
  refused?: Readonly<Record<string, unknown>>
}

const routes: readonly (readonly [methods: string, path: RegExp, step: FlowStepKind])[] = [
  ['POST', /^(?:\/oauth)?\/register$/, 'register'],
  ['GET POST', /^(?:\/oauth)?\/authorize$/, 'authorize'],
  ['GET POST', /^\/login$/, 'sign-in'],
  ['GET', /^\/$/, 'sign-in'],
  ['POST', /^\/login\/[^/]+$/, 'provider-redirect'],
  ['GET', /^(?:\/oauth\/callback(?:\/[^/]+)?|\/callback|\/authorize\/callback)$/, 'provider-callback'],
  ['GET POST', /^\/oauth\/consent$/, 'consent'],
  ['GET', /^\/connect\/callback(?:\/[^/]+)?$/, 'upstream-connect'],
  ['POST', /^(?:\/oauth)?\/token$/, 'token'],
]

const stepOf = (method: string, { pathname, searchParams }: URL): FlowStepKind | undefined => {
  const step = routes.find(
    ([methods, path]) => methods.split(' ').includes(method) && path.test(pathname),
  )?.[2]
  return pathname === '/' && !searchParams.has('t') ? undefined : step
}

const authorizeRequest = ({ searchParams }: URL, digest: Runtime['digest']): FlowFacts => {
  const kept = (name: string): string | undefined => text(searchParams.get(name))
  const secret = (name: string): string | undefined => {
    const value = searchParams.get(name)
    return value === null || value === '' ? undefined : `‹${digest(value).slice(0, 12)}›`
  }
  const redirect = kept('redirect_uri')
  return facts({
    client_id: kept('client_id'),
    redirect_uri: redirect === undefined ? undefined : withoutQuery(redirect),
    resource: kept('resource'),
    scope: kept('scope'),
    prompt: kept('prompt'),
    response_type: kept('response_type'),
    code_challenge_method: kept('code_challenge_method'),
    code_challenge: secret('code_challenge'),
    state: secret('state'),
  })
}

const eventOf = ({ events }: Watched, ...names: readonly string[]): AuditEvent | undefined =>
  events.find(({ event }) => names.includes(event))

const requestFacts = (watched: Watched, digest: Runtime['digest']): FlowFacts => {
  const { step, url } = watched
  if (step === 'authorize') return authorizeRequest(url, digest)
  if (step === 'provider-callback') return facts({ error: text(url.searchParams.get('error')) })
  if (step !== 'register') return {}
  const registered = eventOf(watched, 'client.registered')
  return facts({
    client_name: text(registered?.['name']),
    redirect_uris: texts(registered?.['redirect_uris']),
    token_endpoint_auth_method: text(registered?.['method']),
  })
}

// What a request came to: none, one or two steps.

interface Came {
  readonly step: FlowStepKind
  readonly result: FlowStep['result']
  readonly code?: FlowStep['code'] | undefined
  readonly answer?: FlowFacts
}

const signedIn = (watched: Watched, step: FlowStepKind): readonly Came[] => {
  const event = eventOf(watched, 'sign-in')
  return event ? [{ step, result: 'done', answer: facts({ provider: text(event['provider']) }) }] : []
}

const grantedFacts = (event: AuditEvent): FlowFacts =>
  facts({ scopes: texts(event['scopes']), how: text(event['how']) })

const connecting = (watched: Watched): readonly Came[] => {
  const begun = eventOf(watched, 'connection.begun')
  if (begun)
    return [{ step: 'upstream-connect', result: 'asked', answer: facts({ to: text(begun['issuer']) }) }]
  return eventOf(watched, 'connection.made') ? [{ step: 'upstream-connect', result: 'done' }] : []
}

const consented = (watched: Watched, { status }: Response): readonly Came[] => {
  const allowed = eventOf(watched, 'consent.allowed')
  if (allowed) return [{ step: 'consent', result: 'done', answer: grantedFacts(allowed) }]
  if (eventOf(watched, 'consent.denied'))
    return [{ step: 'consent', result: 'refused', code: 'consent.denied' }]
  const connect = connecting(watched)
  if (connect.length > 0) return connect
  return status === 200 ? [{ step: 'consent', result: 'asked', answer: { shown: 'consent page' } }] : []
}

const tokened = (watched: Watched): readonly Came[] => {
  const issued = eventOf(watched, 'grant.issued')
  if (issued) return [{ step: 'token', result: 'done', answer: grantedFacts(issued) }]
  const refreshed = eventOf(watched, 'grant.refreshed')
  return refreshed ? [{ step: 'refresh', result: 'done', answer: grantedFacts(refreshed) }] : []
}

const signIn = (watched: Watched, { status }: Response): readonly Came[] => {
  if (eventOf(watched, 'sign-in.failed'))
    return [{ step: 'sign-in', result: 'refused', code: 'sign-in.failed' }]
  const done = signedIn(watched, 'sign-in')
  if (done.length > 0) return done
  return status === 200 ? [{ step: 'sign-in', result: 'asked', answer: { shown: 'sign-in page' } }] : []
}

const registered = (watched: Watched): readonly Came[] => {
  const event = eventOf(watched, 'client.registered')
  return event
    ? [{ step: 'register', result: 'done', answer: facts({ client_id: text(event['client']) }) }]
    : []
}

const sentToProvider = (watched: Watched, { status, headers }: Response): readonly Came[] => {
  const direct = signedIn(watched, 'sign-in')
  if (direct.length > 0 || status !== 303) return direct
  const to = URL.parse(headers.get('location') ?? '')?.origin
  return [{ step: 'provider-redirect', result: 'asked', answer: facts({ to }) }]
}

const cameThrough: Readonly<
  Partial<Record<FlowStepKind, (watched: Watched, response: Response) => readonly Came[]>>
> = {
  register: registered,
  authorize: (_, { status }) => (status === 303 ? [{ step: 'authorize', result: 'done' }] : []),
  'sign-in': signIn,
  'provider-redirect': sentToProvider,
  // Upstream authorization servers may return to the same path.
  'provider-callback': (watched) => [...signedIn(watched, 'provider-callback'), ...connecting(watched)],
  consent: consented,
  'upstream-connect': connecting,
  token: tokened,
}

const cameTo = (watched: Watched, response: Response): readonly Came[] => {
  const { step, refused } = watched
  if (!refused) return cameThrough[step]?.(watched, response) ?? []
  const code = refused['refusal'] as FlowStep['code']
  const refreshing = step === 'token' && code?.startsWith('refresh.') === true
  const why = text(refused['why'])
  return [{ step: refreshing ? 'refresh' : step, result: 'refused', code, answer: facts({ why }) }]
}

/** What the events and the refusal say of the flow as a whole. */
const aboutOf = (watched: Watched, serviceOf: (resource: string) => string | undefined): FlowAbout => {
  let about = watched.about
  const read = (from: Readonly<Record<string, unknown>>): void => {
    const resource = from['resource']
    about = {
      ...about,
      ...defined({
        client: text(from['client']),
        person: text(from['person']),
        grant: text(from['grant']),
        service: text(from['service']) ?? (typeof resource === 'string' ? serviceOf(resource) : undefined),
      }),
    }
  }
  for (const event of watched.events) read(event)
  if (watched.refused) read(watched.refused)
  const name = text(eventOf(watched, 'client.registered')?.['name'])
  return { ...about, ...(name !== undefined && { clientName: name }) }
}

// Which flow.

const pendingShape = /[?&]flow=([\w-]{32})(?:&|$)/

/** A page of this gateway for a pending request. */
const pendingIn = (location: string | null): string | undefined => pendingShape.exec(location ?? '')?.[1]

/** Requests that are handled now, by themselves and by their IDs. */
const createWatchedRequests = ({ runtime, serviceOf }: FlowRecordingDeps, recorder: FlowRecorder) => {
  const { now, digest } = runtime
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
        clientName: pending.client.name,
        ...defined({ service: serviceOf(pending.resource) }),
      }
    },
    /** `peek`: reads a pending request that another process has met. */
    keep(watched: Watched, response: Response, { ip, requestId }: RequestContext, peek: PeekFlow): void {
      const came = cameTo(watched, response)
      if (came.length === 0) return
      const at = now()
      const note = (flow: string): void => {
        const about = aboutOf(watched, serviceOf)
        for (const { step, result, code, answer = {} } of came) {
          const request = step === watched.step ? requestFacts(watched, digest) : {}
          const { status } = response
          const more = { ...(code !== undefined && { code }), status, request, answer, ip, requestId }
          recorder.note(flow, { at, step, result, ...more }, about)
        }
      }
      const begins = watched.step === 'register' || watched.step === 'authorize'
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
    const watched: Watched = { step, url, about: {}, events: [] }
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
  const watchedBy = (id: unknown): Watched | undefined =>
    typeof id === 'string' ? requests.byId.get(id) : undefined
  return {
    recorder,
    ...createFirstCalls(recorder, now),
    begin(request, known) {
      const watched = requests.byRequest.get(request)
      if (watched) watched.flow ??= recorder.recent(known) ?? recorder.newId()
      return watched?.flow
    },
    watchApp: (app) => watchApp(requests, app),
    watchPending: (inner) => watchPending(requests, inner),
    watchEvents: (record) => (event, body) => {
      const watched = watchedBy(event['request_id'])
      const said = event['flow']
      if (watched) watched.events.push(event)
      else if (event.event === 'grant.revoked' && typeof said === 'string')
        recorder.note(said, revokedStep(event, now()))
      const flow = said ?? watched?.flow
      record(flow === said ? event : { ...event, flow }, body)
    },
    watchLog: (log) => (level, event, fields, audit) => {
      const watched = event === 'refused' ? watchedBy(fields?.['request_id']) : undefined
      if (watched && fields) watched.refused = fields
      log(level, event, fields, audit)
    },
  }
}

interface RecordingDeps extends Pick<FlowRecordingDeps, 'runtime' | 'limit'> {
  readonly config: Pick<Config, 'flows'>
  readonly runtime: FlowRecordingDeps['runtime'] & Pick<Runtime, 'trail'>
  readonly directory: Pick<Directory, 'resolve'>
}

/** The audit trail and, where flows are recorded, what hears its events. `recordCall`: for proxied calls. */
export const createRecording = ({ config, runtime, limit, directory }: RecordingDeps) => {
  const recorded = config.flows?.enabled
    ? createFlowRecording({
        runtime,
        limit,
        retentionMs: config.flows.retention * 1000,
        serviceOf: (resource) => directory.resolve(resource)?.service.id,
      })
    : undefined
  const recordCall: Audit = createAudit(runtime.log, runtime.trail, recorded?.firstCalls)
  return {
    flowAdmin: recorded && createFlowAdmin(recorded.recorder, runtime.now),
    beginFlow: recorded?.begin,
    met: recorded?.met,
    recordCall,
    record: recorded?.watchEvents(recordCall) ?? recordCall,
    watchApp: (app: App): App => recorded?.watchApp(app) ?? app,
    watchLog: (log: Log): Log => recorded?.watchLog(log) ?? log,
    watchPending: <T extends PendingReads>(inner: T): T => recorded?.watchPending(inner) ?? inner,
  }
}
