// The decision about one call: one list of steps, read from top to bottom. Whatever carries a message of MCP
// passes it, and no server hears anything before the last step has passed. docs/design has the same list in
// words; a test holds the two together.
import { aboutRequest } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import { unsupportedVersion } from '../mcp/envelope.ts'
import { isModern } from '../mcp/revisions.ts'
import type { Admission, Admit, Answer, Head, ReadBody, Upstream } from '../ports/call.ts'
import type { AuthenticateBearer } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type {
  AdmittedCall,
  AuthenticatedCall,
  CallInSession,
  CallMessage,
  CredentialedCall,
  IdentifiedCall,
  PermittedCall,
  ReadCall,
  ReceivedCall,
  ResolvedRequest,
  Step,
  StepResult,
  VersionedCall,
} from './admitted-call.ts'
import { type AccessDeps, checkAccess } from './access.ts'
import { type RatesDeps, checkRates } from './call-rates.ts'
import { type BodyBudget, type TakePermit, type McpSessions, callerKey, isGatewaySession } from './callers.ts'
import { checkAgreement, readRpcId, receive } from './inbound-request.ts'
import { type Finish, awayOf, refusedCall, factsOf } from './outcome.ts'
import { type ResolveDeps, checkHost, checkOpen, checkPage, findService, sessionOf } from './resolve.ts'
import type { CallTracing } from './trace-context.ts'
import { type CredentialRecovery, endForConsent } from './upstream-credential.ts'

/**
 * Where a call goes that its server does not take as it is; undefined for every other call. Throws what an
 * address of HTTP+SSE refuses.
 */
export type SelectUpstream = (call: IdentifiedCall) => Upstream | undefined

export interface AdmitDeps extends ResolveDeps, AccessDeps, RatesDeps {
  readonly runtime: Pick<Runtime, 'now' | 'trail' | 'log'>
  readonly authenticate: AuthenticateBearer
  /** Revisions that are let through, newest first. */
  readonly supported: readonly string[]
  /** Of open streams, WebSockets among them. */
  readonly streamLimit: TakePermit
  readonly callLimit: TakePermit
  readonly budget: BodyBudget
  readonly sessions: Pick<McpSessions, 'check' | 'settled'>
  readonly recovery: Pick<CredentialRecovery, 'openState' | 'refuse'>
  readonly select: SelectUpstream
  readonly admission: (call: AdmittedCall) => Admission
  readonly finish: Finish
  /** Absent: calls are not traced. */
  readonly tracing?: CallTracing | undefined
}

const methods = new Set(['GET', 'HEAD', 'POST', 'DELETE'])
const allow = [...methods, 'OPTIONS'].join(', ')
/** HEAD needs no permission (Fetch, CORS-safelisted methods). */
const preflighted = ['GET', 'POST', 'DELETE', 'OPTIONS']

/** Of a step that has to wait for what it establishes. */
const after = <Value>(work: Promise<Value>, keep: (value: Value) => unknown): Promise<StepResult> =>
  work.then((value) => {
    keep(value)
    return undefined
  })

/** Answers OPTIONS: a browser asks before it is known who would call (Fetch, CORS-preflight request). */
const answerPreflight: Step<AdmitDeps, ResolvedRequest, ResolvedRequest> = {
  name: 'preflight',
  make:
    ({ cors }) =>
    ({ head, inbound, address }) => {
      if (head.method !== 'OPTIONS') return undefined
      const asked = {
        origin: inbound.origin,
        headers: inbound.requestedHeaders,
        methods: preflighted,
        open: !address.service.authRequired,
      }
      const headers = ['Allow', allow, 'X-Request-Id', head.requestId, ...cors.preflight(asked)]
      return { kind: 'answer', status: 204, headers, body: '' }
    },
}

/** Throws `mcp.version`, with the id of the request where the caller may be listened to that far. */
export const checkRevision: Step<AdmitDeps, ResolvedRequest, VersionedCall> = {
  name: 'revision',
  make({ supported, authenticate, budget }) {
    const modern = new Map(supported.map((version) => [version, isModern(version)]))
    const refuse = async (call: ResolvedRequest): Promise<never> => {
      const { inbound, head, address, origin } = call
      const requested = inbound.versions.join(', ')
      // Only clients of 2026-07-28 and later send it.
      const perRequest = inbound.method !== undefined
      const idOf = async () => {
        if (address.service.authRequired) await authenticate(inbound.authorization, address, origin, call)
        return readRpcId(call, budget)
      }
      const rpcId = head.method === 'POST' ? await idOf().catch(() => null) : undefined
      const about = rpcId === undefined ? { perRequest } : { rpcId, perRequest }
      throw aboutRequest(unsupportedVersion(requested, supported, about), { service: address.service.id })
    }
    return (call) => {
      const { versions } = call.inbound
      const [version] = versions
      const known = version === undefined ? false : versions.length > 1 ? undefined : modern.get(version)
      if (known === undefined) return refuse(call)
      call.modern = known
      return undefined
    }
  },
}

/**
 * Throws `token.*` and `scope.insufficient` with the challenge that tells a client where to log in (RFC 9728
 * §5.1).
 */
export const checkToken: Step<AdmitDeps, ResolvedRequest, AuthenticatedCall> = {
  name: 'bearer token',
  make:
    ({ authenticate, sessions }) =>
    (call) => {
      const { address, inbound, origin, head } = call
      const { service } = address
      if (!service.authRequired) return undefined
      if (head.settled) return after(sessions.settled(head.settled, service), (who) => (call.principal = who))
      const found = authenticate(inbound.authorization, address, origin, call)
      if (found instanceof Promise) return after(found, (principal) => (call.principal = principal))
      call.principal = found
      return undefined
    },
}

/**
 * Throws `request.method` and `request.malformed`. It follows the token, so that a probe without one finds
 * the way to one, whatever its method.
 */
const checkMethod: Step<AdmitDeps, AuthenticatedCall, AuthenticatedCall> = {
  name: 'method',
  make:
    ({ cors }) =>
    ({ head, inbound, address, principal }) => {
      const { method } = head
      if (method === 'POST') return undefined
      if (!methods.has(method))
        throw new Refusal('request.method', method.slice(0, 20), {
          headers: { allow },
          about: factsOf({ address, principal }),
        })
      // RFC 9110 §9.3.1 and §9.3.5 give such a body no meaning, and servers disagree about reading it.
      if (inbound.chunked || (inbound.length !== undefined && inbound.length !== '0'))
        throw new Refusal('request.malformed', `${method} with a body`, {
          about: factsOf({ address, principal }),
        })
      if (method !== 'HEAD') return undefined
      // A probe (RFC 9110 §9.3.2): whoever may open the stream hears its head, and the server is not asked
      // for one that nobody reads.
      const headers = [
        ...['Content-Type', 'text/event-stream', 'Cache-Control', 'no-store', 'X-Request-Id', head.requestId],
        ...cors.answer(inbound.origin),
      ]
      return { kind: 'answer', status: 200, headers, body: '' }
    },
}

const free = (): undefined => undefined

/**
 * Throws `gateway.locked`, `service.disabled`, `calls.limited`, and `audit.unavailable` where a call must be
 * written down and cannot be.
 */
export const takePermit: Step<AdmitDeps, AuthenticatedCall, PermittedCall> = {
  name: 'concurrency',
  make:
    ({ streamLimit, callLimit, budget, closures, runtime: { trail, now } }) =>
    (call) => {
      const opening = checkOpen(call, closures, now())
      const { head, principal, address } = call
      if (address.service.auditRequired && !trail?.available())
        throw new Refusal('audit.unavailable', '', { about: factsOf({ address, principal }) })
      // What a connection says besides its requests takes no permit: the connection has one.
      if (head.within === undefined || head.within === true)
        call.permit = (head.method === 'GET' ? streamLimit : callLimit)(callerKey(principal, head.ip), call)
      call.holding = budget.open(principal, head.ip)
      return opening
    },
}

/** Throws `session.unknown` for a session of another caller. */
const checkSession: Step<AdmitDeps, PermittedCall & VersionedCall, CallInSession> = {
  name: 'session',
  make:
    ({ sessions }) =>
    (call) => {
      const session = sessionOf(call)
      const { principal, address } = call
      if (session === undefined) return undefined
      call.session = session
      return principal && sessions.check(session, address.service, principal)?.then(() => undefined)
    },
}

/**
 * Throws `request.encoding`, `request.media-type`, `request.too-large`, `calls.bytes`, `mcp.*` of what the
 * message is and of what headers say beside it, and `mcp.invalid` for a round trip of the gateway's own that
 * is not this person's.
 */
export const readMessage: Step<AdmitDeps, PermittedCall, PermittedCall & CallMessage> = {
  name: 'body',
  make: ({ supported, recovery }) => {
    const read = async (
      call: PermittedCall & { -readonly [Name in keyof CallMessage]: CallMessage[Name] },
    ) => {
      const { body, envelope, json } = await receive(call, supported)
      call.body = body
      call.envelope = envelope
      call.json = json
      // Only of a call that goes on after a question has it a state.
      const opening =
        envelope.messages[0]?.state === undefined ? undefined : recovery.openState(call, body, envelope)
      if (!opening) return undefined
      const opened = await opening
      call.body = opened.body
      call.json = undefined
      call.declined = opened.declined
      return undefined
    }
    return (call) => {
      if (call.head.method !== 'POST') return undefined
      if (!call.envelope) return read(call)
      // A frame of a WebSocket has been read as it came.
      checkAgreement(call, call.envelope, supported)
      return undefined
    }
  },
}

const nobody: readonly string[] = []

export const identify: Step<
  AdmitDeps,
  AuthenticatedCall,
  AuthenticatedCall & Pick<IdentifiedCall, 'identity'>
> = {
  name: 'identity',
  make: () => (call) => {
    const { principal, context } = call
    const identity = principal ? context.identity.headers(principal) : nobody
    if (identity instanceof Promise) return after(identity, (fields) => (call.identity = fields))
    call.identity = identity
    return undefined
  },
}

/**
 * Throws `upstream.unreachable` for a server that is known to be away, before a credential is taken, or even
 * renewed, for nothing.
 */
const checkServer: Step<AdmitDeps, ReadCall, ReadCall> = {
  name: 'server health',
  make: () => (call) => {
    const well = call.context.health?.gate() ?? true
    if (well instanceof Promise)
      return well.then((there) => {
        if (!there) throw awayOf(call)
        return undefined
      })
    if (!well) throw awayOf(call)
    return undefined
  },
}

/** Throws `upstream.consent`, where the person cannot be asked in this call, and `connection.*`. */
const findCredential: Step<AdmitDeps, IdentifiedCall, CredentialedCall> = {
  name: 'credential',
  make: (deps) => {
    const ask = (call: IdentifiedCall, error: unknown): Promise<Answer> => endForConsent(deps, call, error)
    return (call) => {
      // A client of HTTP+SSE asks nothing of the server itself: each of its messages becomes a call that
      // does.
      if (call.address.transport === 'sse') return undefined
      try {
        const found = call.context.credential(call.principal)
        if (!(found instanceof Promise)) {
          call.credential = found
          return undefined
        }
        return after(found, (credential) => (call.credential = credential)).catch((error: unknown) =>
          ask(call, error),
        )
      } catch (error) {
        return ask(call, error)
      }
    }
  },
}

/**
 * Whether a server takes a call as it is, by what is known of the service; what is not known is asked of
 * `select`.
 */
const isDirect = (call: IdentifiedCall): boolean => {
  const { address, rest, context, startedAt, modern, session, envelope } = call
  if (address.transport === 'sse') return false
  const { translated, adaptedUntil } = context.route
  if (rest !== '' || !translated) return true
  if (modern || adaptedUntil > startedAt || envelope?.messages[0]?.method === 'initialize') return false
  return session === undefined || !isGatewaySession(session)
}

/** The server is told which trace it works for. */
const carryTrace: Step<AdmitDeps, CredentialedCall, CredentialedCall> = {
  name: 'trace context',
  make: ({ tracing }) => tracing?.begin ?? free,
}

const selectUpstream: Step<AdmitDeps, CredentialedCall, AdmittedCall> = {
  name: 'upstream',
  make:
    ({ select }) =>
    (call) => {
      const adapted = isDirect(call) ? undefined : select(call)
      call.upstream = adapted ?? call.context.target.upstream(call.rest, call.query)
      return undefined
    },
}

const admitCall: Step<AdmitDeps, AdmittedCall, AdmittedCall> = {
  name: 'admission',
  make: ({ admission }) => admission,
}

/** Every call passes these, in this order. */
export const steps = [
  checkHost,
  findService,
  checkPage,
  answerPreflight,
  checkRevision,
  checkToken,
  checkMethod,
  takePermit,
  checkSession,
  readMessage,
  checkRates,
  checkAccess,
  identify,
  checkServer,
  findCredential,
  carryTrace,
  selectUpstream,
  admitCall,
] as const

/** What is known after all steps; `never` where one stands before a step that it needs. */
type Established<Steps, Known> = Steps extends readonly [
  Step<AdmitDeps, infer Before, infer After>,
  ...infer Rest,
]
  ? Known extends Before
    ? Established<Rest, Known & After>
    : never
  : Known

/** One call on its way through the steps. */
export type Call = { -readonly [Name in keyof AdmittedCall]: AdmittedCall[Name] }

/**
 * Made once, with a place for all that the steps establish, so that it has one shape and nothing is copied. A
 * step's type says what is there when it runs.
 */
export const createCall = (head: Head, readBody: ReadBody, startedAt: number): Call => {
  const call: { [Name in keyof Call]: Call[Name] | undefined } = {
    head,
    readBody,
    startedAt,
    origin: undefined,
    address: undefined,
    rest: undefined,
    query: undefined,
    context: undefined,
    inbound: undefined,
    modern: undefined,
    principal: undefined,
    permit: free,
    holding: undefined,
    session: undefined,
    body: undefined,
    envelope: undefined,
    json: undefined,
    declined: false,
    rules: undefined,
    judged: undefined,
    denied: undefined,
    nonce: undefined,
    askServer: undefined,
    identity: undefined,
    credential: undefined,
    upstream: undefined,
  }
  return call as Call
}

type Run = (call: Call) => StepResult | Promise<StepResult>

export const createAdmit = (deps: AdmitDeps): Admit => {
  const { runtime, record, tracing } = deps
  const runs: readonly Run[] = steps.map((step) => step.make(deps))
  /** From here on the caller is known, so what they were refused belongs in the trail. */
  const known = steps.indexOf(takePermit)

  const refused = (call: Call, error: unknown): Refusal => {
    call.permit()
    call.holding?.release()
    return refusedCall(call, error, { now: runtime.now(), record, tracing })
  }

  return async (head, readBody) => {
    const call = createCall(head, readBody, runtime.now()) satisfies Established<typeof steps, ReceivedCall>
    let at = 0
    try {
      for (const run of runs) {
        const result = run(call)
        const end = result instanceof Promise ? await result : result
        if (end !== undefined) return end
        at++
      }
    } catch (error) {
      throw at < known ? error : refused(call, error)
    }
    throw new TypeError('the steps have come to no end')
  }
}
