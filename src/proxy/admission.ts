// The admission itself: what the upstream will read, and what follows from its answer.
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { hasRequest, isRepeatable, rpcIdOf } from '../mcp/envelope.ts'
import type { Admission, Answer, Outcome, Piece, Upstream, UpstreamFault } from '../ports/call.ts'
import type { Audit } from '../ports/modules.ts'
import type { Runtime, RuntimeTransports } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { AdmittedCall } from './admitted-call.ts'
import type { McpSessions } from './callers.ts'
import { type KeptAnswer, createKeptAnswer } from './kept-bodies.ts'
import { createListenedStreams } from './listened-streams.ts'
import { type ListAccess, createLists, isRewriting, withoutCoding } from './lists.ts'
import { type Finish, faultOf, refusalResponse, refusedOutcome } from './outcome.ts'
import type { Cors } from './resolve.ts'
import {
  type Relayed,
  accepted,
  createRelay,
  eventStream,
  onlyDenied,
  orSessionLost,
} from './client-response.ts'
import type { Revalidation } from './revalidate.ts'
import type { CredentialAttempt, CredentialRecovery } from './upstream-credential.ts'
import { mayMove, mostMoves, provenUpstream } from './upstream-endpoint.ts'

// What an upstream's answer says: that the server is there, and of MCP sessions, which is kept before the
// caller hears it.

/** Undefined when there is nothing to wait for. */
const noteResponse = (
  sessions: McpSessions,
  { context, principal, session, address, head: { method } }: AdmittedCall,
  head: Relayed,
): Promise<void> | undefined => {
  context.health?.heard()
  if (!principal) return undefined
  const { service } = address
  if (method === 'DELETE' && session !== undefined && head.status < 300)
    return sessions.forget(session, service)
  return head.session !== undefined && head.session !== session
    ? sessions.learn(head.session, service, principal)
    : undefined
}

// What follows from an upstream's answer before the caller hears it: the same at another path of its origin,
// or with another credential.

/** Where the same is asked once more, within the endpoint's origin; undefined: the answer stands. */
const movedTo = (
  { call, moved }: CredentialAttempt,
  upstream: Upstream,
  status: number,
  rawHeaders: readonly string[],
): CredentialAttempt['moved'] => {
  const times = moved?.times ?? 0
  if (upstream.kind !== 'http' || times >= mostMoves) return undefined
  const about = { method: call.head.method, path: upstream.path, session: call.session !== undefined, status }
  const path = call.context.endpoint?.elsewhere({
    ...about,
    location: fieldOf(rawHeaders, 'location'),
    type: fieldOf(rawHeaders, 'content-type'),
  })
  return path === undefined ? undefined : { path, times: times + 1 }
}

/** Where this try goes. A token that is bound to a key goes by the connections that prove it. */
const upstreamFor = (
  { call, moved, credential }: CredentialAttempt,
  transports: RuntimeTransports,
): Upstream => {
  const { upstream, context } = call
  const at = moved && upstream.kind === 'http' ? { ...upstream, path: moved.path } : upstream
  return credential?.bound && at.kind === 'http' ? provenUpstream(at, context.endpoint, transports) : at
}

/** Ends a try that another one follows; nobody is told of it. */
const superseded = (service: string, status: number): Refusal =>
  new Refusal('upstream.credential', `${service} answered ${status}`)

interface NextTryDeps {
  readonly recovery: CredentialRecovery
  readonly finish: Finish
  readonly admit: (tried: CredentialAttempt, fields: readonly string[]) => Admission
}

/** Undefined, at once: the answer stands. */
type NextTry = (
  tried: CredentialAttempt,
  fields: readonly string[],
  upstream: Upstream,
  status: number,
  rawHeaders: readonly string[],
) => Promise<Admission | Answer> | undefined

const createNextTry = ({ recovery, finish, admit }: NextTryDeps): NextTry => {
  /**
   * The try with another credential, or what the caller is told instead. The place is kept, and the record
   * written, by whichever it is.
   */
  const withCredential = (
    { call, moved }: CredentialAttempt,
    fields: readonly string[],
    credential: Promise<NonNullable<CredentialAttempt['credential']>>,
  ): Promise<Admission | Answer> =>
    credential
      .then((next): Admission | Answer => admit({ call, credential: next, last: true, moved }, fields))
      .catch((error: unknown) => {
        finish(call, refusedOutcome(error))
        return recovery.refuse(call, error)
      })

  return (tried, fields, upstream, status, rawHeaders) => {
    const { endpoint } = tried.call.context
    const moved =
      endpoint && mayMove(endpoint, status) ? movedTo(tried, upstream, status, rawHeaders) : undefined
    if (moved) return Promise.resolve(admit({ ...tried, moved }, fields))
    const credential =
      status === 401 || status === 403 ? recovery.again(tried, status, rawHeaders) : undefined
    if (!credential) return undefined
    const next = withCredential(tried, fields, credential)
    // Whoever carries this call asks for it, and hears what became of it.
    next.catch(() => undefined)
    return next
  }
}

// The header fields an upstream reads of a call: what came and may go on, then what only the gateway says.

/** Longer ones no server gives out. */
const mostResume = 1024

/**
 * What the gateway accepts, and what it sends, is its own to say on this hop, in the spelling that every
 * server takes: both types for a POST (streamable-http, sending messages), and the media type without
 * parameters, since the body has been read as JSON in UTF-8.
 */
const spoken: Readonly<Partial<Record<string, readonly string[]>>> = {
  POST: ['Accept', 'application/json, text/event-stream', 'Content-Type', 'application/json'],
  GET: ['Accept', 'text/event-stream'],
}

const fieldsOf = ({
  inbound,
  modern,
  head,
  address,
  session,
  principal,
}: AdmittedCall): readonly string[] => {
  const fields = inbound.forward
  if (address.service.upstream.kind === 'http') fields.push(...(spoken[head.method] ?? []))
  else {
    // The gateway itself, or a command behind it: it judges what its client says.
    if (inbound.accept !== undefined) fields.push('Accept', inbound.accept)
    if (inbound.type !== undefined) fields.push('Content-Type', inbound.type)
  }
  if (session !== undefined) fields.push('Mcp-Session-Id', session)
  if (!modern && inbound.resume !== undefined) {
    if (inbound.resume.length > mostResume)
      throw new Refusal('request.malformed', 'Last-Event-ID', { say: 'The Last-Event-ID is too long.' })
    // The session says whose events they are. Without one nothing does, and anybody could ask for anybody's
    // (2025-11-25 transports, resumability).
    if (session !== undefined || principal === undefined) fields.push('Last-Event-ID', inbound.resume)
  }
  fields.push('X-Request-Id', head.requestId)
  return fields
}

interface AdmissionDeps {
  readonly runtime: Pick<Runtime, 'log' | 'trail' | 'transports' | 'tracing'>
  readonly cors: Cors
  readonly finish: Finish
  readonly record: Audit
  readonly sessions: McpSessions
  readonly watch: Revalidation
  readonly keepAliveMs: number
  /** Flat list of fields of every answer. */
  readonly always: readonly string[]
  readonly recovery: CredentialRecovery
  readonly access: ListAccess
}

/**
 * Whether its stream lasts as long as anybody listens. Any other is the answer to something asked when the
 * token was good.
 */
const listens = ({ head, envelope }: AdmittedCall): boolean =>
  head.method === 'GET' || envelope?.messages[0]?.method === 'subscriptions/listen'

/**
 * Silence before an answer, ms, until a caller who takes an event stream gets one. Proxies end silent
 * connections after a minute, some after 30 seconds.
 */
const earlyStreamMs = 15_000

/**
 * The answer to `initialize` names the session in its head, and what asks for nothing is answered without a
 * body.
 */
const takesEarlyStream = ({ head, address, inbound, envelope }: AdmittedCall): boolean => {
  if (head.method !== 'POST' || head.within || address.transport === 'sse') return false
  return (
    inbound.accept?.includes('text/event-stream') === true &&
    hasRequest(envelope) &&
    !envelope?.messages.some(({ method }) => method === 'initialize')
  )
}

/** A connection watches for all its messages. */
const isWatched = ({ head, address }: AdmittedCall): boolean =>
  head.within !== undefined || address.transport === 'sse'

/** What the gateway says on every answer. */
const added = (
  { head, inbound, address, nonce }: AdmittedCall,
  cors: Cors,
  always: readonly string[],
): readonly string[] => {
  const { origin } = inbound
  const fields = origin === undefined ? [] : cors.answer(origin, !address.service.authRequired)
  return nonce === undefined
    ? ['X-Request-Id', head.requestId, ...always, ...fields]
    : ['X-Request-Id', head.requestId, 'DPoP-Nonce', nonce, ...always, ...fields]
}

/** The head for the caller, made of the server's. */
const createHeadOf = ({ sessions, cors, always }: Pick<AdmissionDeps, 'sessions' | 'cors' | 'always'>) => {
  const relay = createRelay()
  return (call: AdmittedCall, status: number, rawHeaders: readonly string[]): Relayed => {
    const { session, envelope } = call
    const [{ service }, asks, extra] = [call.address, hasRequest(envelope), added(call, cors, always)]
    const isFine = status >= 200 && status < 300
    if (call.denied && !asks && isFine) return onlyDenied(call.denied, extra)
    // A command is answered for by the gateway itself, in this very way.
    const far = service.upstream.kind === 'http'
    if (far && !asks && call.head.method === 'POST' && isFine) return accepted(extra)
    const head = relay(status, rawHeaders, {
      service: service.id,
      modern: call.modern,
      asks: asks && far,
      extra,
    })
    return status === 400 && session !== undefined
      ? orSessionLost(head, () => void sessions.forget(session, service).catch(() => undefined))
      : head
  }
}

/**
 * One object for a call, whose functions are shared by all calls: beside the call's own record it is what the
 * gateway keeps as long as a stream runs.
 */
interface CallAdmission extends Omit<Admission, 'headers' | 'identity' | 'upstream'> {
  readonly tried: CredentialAttempt
  /** The try that follows. */
  next: Promise<Admission | Answer> | undefined
  /** What of a tool's answer has been heard, as far as it says whether the tool failed. */
  failure: ToolFailure | undefined
  /** A stream that is listened to has begun. */
  opened: boolean
  /** What every try sends. */
  fields: readonly string[]
  headers: readonly string[]
  identity: readonly string[]
  upstream: Upstream
}

interface ToolFailure {
  /** The end of the text that was heard last. */
  tail: string
  said: boolean
  /** Characters that are still listened to. */
  left: number
  /** What was heard, where the service wants it kept. */
  kept: KeptAnswer | undefined
}

/** Of a longer answer nothing is known. */
const mostHeard = 1_048_576
const latin1 = new TextDecoder('latin1')
const toolFailed = /"isError"\s*:\s*true/

function heard(this: CallAdmission, piece: Piece): void {
  const { failure } = this
  if (!failure || failure.said || failure.left <= 0) return
  const text = failure.tail + (typeof piece === 'string' ? piece : latin1.decode(piece))
  failure.said = toolFailed.test(text)
  failure.left -= piece.length
  // As long as what is looked for, with some space in it.
  failure.tail = text.slice(-24)
}

function keepHeard(this: CallAdmission, piece: Piece): void {
  this.failure?.kept?.add(piece)
  heard.call(this, piece)
}

const toolFailure = ({ auditBodies }: Service): ToolFailure => ({
  tail: '',
  said: false,
  left: mostHeard,
  kept: auditBodies?.results === true ? createKeptAnswer() : undefined,
})

const heardBy = (failure: ToolFailure | undefined) => failure && (failure.kept ? keepHeard : heard)

/** Whether the tool said that it failed; undefined where its answer was not looked at. */
const isErrorOf = ({ failure }: CallAdmission, { result }: Outcome): boolean | undefined => {
  if (failure?.said) return true
  return failure && failure.left > 0 && result === 'answered' ? false : undefined
}

/** Whether another try follows. */
type Follows = (admission: CallAdmission, status: number, rawHeaders: readonly string[]) => boolean

/**
 * A server that is reached over a connection says no without an answer over HTTP: what it said counts all the
 * same (RFC 9110 §15.5.2).
 */
const noticeRefusals = (
  admission: CallAdmission,
  upstream: Extract<Upstream, { kind: 'local' }>,
  follows: Follows,
): void => {
  admission.upstream = {
    ...upstream,
    handle: (request) =>
      upstream.handle(request).catch((error: unknown) => {
        const refused = error instanceof Refusal ? error.detail.refused : undefined
        if (refused)
          follows(
            admission,
            refused.status,
            refused.authenticate.flatMap((value) => ['WWW-Authenticate', value]),
          )
        throw error
      }),
  }
}

const createFunctions = (
  { runtime, cors, finish, sessions, watch, always, record }: Omit<AdmissionDeps, 'recovery' | 'access'>,
  follows: Follows,
) => {
  const headOf = createHeadOf({ sessions, cors, always })
  const listened = createListenedStreams(record)
  return {
    streamHeaders(this: CallAdmission) {
      return [...eventStream, ...added(this.tried.call, cors, always)]
    },
    watch(this: CallAdmission, end: () => void) {
      const { call } = this.tried
      return watch.caller(call, end, !listens(call))
    },
    answer(this: CallAdmission, status: number, rawHeaders: readonly string[]) {
      const { call } = this.tried
      if (follows(this, status, rawHeaders)) throw superseded(call.address.service.id, status)
      const head = headOf(call, status, rawHeaders)
      // What is compressed is not read.
      if (this.failure && fieldOf(rawHeaders, 'content-encoding') !== undefined) this.failure = undefined
      const learning = noteResponse(sessions, call, head)
      return learning === undefined ? head : learning.then(() => head)
    },
    streams(this: CallAdmission) {
      if (listens(this.tried.call)) listened.opened(this)
    },
    refused(this: CallAdmission, refusal: Refusal, id: unknown) {
      const { call } = this.tried
      return refusalResponse(runtime.log, refusal, { id, head: call.head, admitted: call })
    },
    fault(this: CallAdmission, what: UpstreamFault, why: string) {
      return faultOf(this.tried.call, what, why)
    },
    again(this: CallAdmission) {
      return this.next
    },
    end(this: CallAdmission, outcome: Outcome) {
      // A try that is followed by another is no end.
      if (this.next !== undefined) return
      if (this.opened) listened.closed(this.tried.call, outcome)
      const isError = this.failure && isErrorOf(this, outcome)
      const kept = this.failure?.kept?.text()
      const told = isError === undefined ? outcome : { ...outcome, isError }
      finish(this.tried.call, kept === undefined ? told : { ...told, heard: kept })
    },
  }
}

export const createAdmission = (deps: AdmissionDeps): ((call: AdmittedCall) => Admission) => {
  const { finish, recovery, keepAliveMs, access, runtime } = deps
  const isWrittenDown = runtime.trail !== undefined || runtime.tracing !== undefined
  const { tools, listsOf } = createLists(access)
  const nextTry = createNextTry({ recovery, finish, admit: (tried, fields) => admit(tried, fields) })
  const follows: Follows = (admission, status, rawHeaders) => {
    const { tried, fields, upstream } = admission
    const another = nextTry(tried, fields, upstream, status, rawHeaders)
    admission.next = another ?? admission.next
    return another !== undefined
  }
  const functions = createFunctions(deps, follows)

  const admit = (tried: CredentialAttempt, fields: readonly string[]): Admission => {
    const { call, credential } = tried
    const { address, head, envelope } = call
    const lists = listsOf(call)
    const listening = isWrittenDown && envelope?.messages[0]?.method === 'tools/call'
    const failure = listening ? toolFailure(address.service) : undefined
    const own = (lists && isRewriting(lists)) || failure?.kept ? withoutCoding(fields) : fields
    const admission: CallAdmission = {
      kind: 'admission',
      tried,
      fields,
      next: undefined,
      failure,
      opened: false,
      heard: heardBy(failure),
      address,
      principal: call.principal,
      upstream: upstreamFor(tried, deps.runtime.transports),
      method: head.method,
      headers: credential === undefined ? own : [...own, ...credential.headers],
      identity: call.identity,
      body: call.body,
      json: call.json,
      repeatable: isRepeatable(head.method, envelope, tools.of(address.service)),
      timeoutMs: address.service.timeoutMs,
      keepAliveMs,
      streamAfterMs: takesEarlyStream(call) ? earlyStreamMs : undefined,
      lists,
      rpcId: rpcIdOf(envelope),
      streamHeaders: functions.streamHeaders,
      watch: isWatched(call) ? undefined : functions.watch,
      answer: functions.answer,
      streams: functions.streams,
      refused: functions.refused,
      fault: functions.fault,
      again: functions.again,
      end: functions.end,
    }
    if (admission.upstream.kind === 'local') noticeRefusals(admission, admission.upstream, follows)
    return admission
  }
  return (call) => admit({ call, credential: call.credential, last: false }, fieldsOf(call))
}
