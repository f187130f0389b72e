// The admission itself: what the upstream will read, and what follows from its answer.
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { hasRequest, isRepeatable, rpcIdOf } from '../mcp/envelope.ts'
import type { Admission, Answer, Upstream } from '../ports/call.ts'
import type { Log } from '../ports/runtime.ts'
import type { AdmittedCall } from './admitted-call.ts'
import type { McpSessions } from './callers.ts'
import { type ListAccess, createLists, withoutCoding } from './lists.ts'
import { type Finish, faultOf, refusedOn, refusedOutcome } from './outcome.ts'
import type { Cors } from './resolve.ts'
import { type Relayed, accepted, createRelay, eventStream, orSessionLost } from './client-response.ts'
import type { Revalidation } from './revalidate.ts'
import type { CredentialAttempt, CredentialRecovery } from './upstream-credential.ts'
import { mayMove, mostMoves } from './upstream-endpoint.ts'

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

// A server that is reached over a connection says no without an answer over HTTP: what it said counts all the same
// (RFC 9110 §15.5.2).

/** The upstream, with `heard` told of status and fields when it refuses what it was shown. */
const noticing = (
  upstream: Upstream,
  heard: (status: number, rawHeaders: readonly string[]) => void,
): Upstream => {
  if (upstream.kind !== 'local') return upstream
  const { handle } = upstream
  return {
    ...upstream,
    handle: (request) =>
      handle(request).catch((error: unknown) => {
        const refused = error instanceof Refusal ? error.detail.refused : undefined
        if (refused)
          heard(
            refused.status,
            refused.authenticate.flatMap((value) => ['WWW-Authenticate', value]),
          )
        throw error
      }),
  }
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

/** Where this try goes. `heard`: told of what a server on a connection refuses. */
const upstreamFor = (
  { call: { upstream }, moved }: CredentialAttempt,
  heard: (status: number, rawHeaders: readonly string[]) => void,
): Upstream =>
  moved && upstream.kind === 'http' ? { ...upstream, path: moved.path } : noticing(upstream, heard)

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
  readonly runtime: { readonly log: Log }
  readonly cors: Cors
  readonly finish: Finish
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
const watchOf = (call: AdmittedCall, watch: Revalidation): Admission['watch'] =>
  call.head.within || call.address.transport === 'sse'
    ? undefined
    : (end) => watch.caller(call, end, !listens(call))

/** What the gateway says on every answer. */
const added = (
  { head, inbound, address }: AdmittedCall,
  cors: Cors,
  always: readonly string[],
): readonly string[] => {
  const { origin } = inbound
  const fields = origin === undefined ? [] : cors.answer(origin, !address.service.authRequired)
  return ['X-Request-Id', head.requestId, ...always, ...fields]
}

/** The head for the caller, made of the server's. */
const createHeadOf = ({ sessions, cors, always }: Pick<AdmissionDeps, 'sessions' | 'cors' | 'always'>) => {
  const relay = createRelay()
  return (call: AdmittedCall, status: number, rawHeaders: readonly string[]): Relayed => {
    const { session, envelope } = call
    const [{ service }, asks, extra] = [call.address, hasRequest(envelope), added(call, cors, always)]
    // A command is answered for by the gateway itself, in this very way.
    const far = service.upstream.kind === 'http'
    if (far && !asks && call.head.method === 'POST' && status >= 200 && status < 300) return accepted(extra)
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

export const createAdmission = ({
  runtime,
  cors,
  finish,
  sessions,
  recovery,
  watch,
  keepAliveMs,
  always,
  access,
}: AdmissionDeps): ((call: AdmittedCall) => Admission) => {
  const headOf = createHeadOf({ sessions, cors, always })
  const { tools, listsOf } = createLists(access)
  const nextTry = createNextTry({ recovery, finish, admit: (tried, fields) => admit(tried, fields) })

  const admit = (tried: CredentialAttempt, fields: readonly string[]): Admission => {
    const { call, credential } = tried
    const { principal, body, json, envelope, identity } = call
    let next: Promise<Admission | Answer> | undefined
    const upstream = upstreamFor(tried, (status, rawHeaders) => void follows(status, rawHeaders))
    /** Whether another try follows. */
    const follows = (status: number, rawHeaders: readonly string[]): boolean => {
      const another = nextTry(tried, fields, upstream, status, rawHeaders)
      next = another ?? next
      return another !== undefined
    }
    const lists = listsOf(call, upstream)
    const own = lists?.trim ? withoutCoding(fields) : fields
    return {
      kind: 'admission',
      address: call.address,
      principal,
      upstream,
      method: call.head.method,
      headers: credential === undefined ? own : [...own, ...credential.headers],
      identity,
      body,
      json,
      repeatable: isRepeatable(call.head.method, envelope, tools.of(call.address.service)),
      timeoutMs: call.address.service.timeoutMs,
      keepAliveMs,
      streamAfterMs: takesEarlyStream(call) ? earlyStreamMs : undefined,
      streamHeaders: () => [...eventStream, ...added(call, cors, always)],
      lists,
      watch: watchOf(call, watch),
      rpcId: rpcIdOf(envelope),
      answer(status, rawHeaders) {
        if (follows(status, rawHeaders)) throw superseded(call.address.service.id, status)
        const head = headOf(call, status, rawHeaders)
        const learning = noteResponse(sessions, call, head)
        return learning === undefined ? head : learning.then(() => head)
      },
      refused: refusedOn(runtime.log, call),
      fault: (what, why) => faultOf(call, what, why),
      again: () => next,
      end(outcome) {
        // A try that is followed by another is no end.
        if (next === undefined) finish(call, outcome)
      },
    }
  }
  return (call) => admit({ call, credential: call.credential, last: false }, fieldsOf(call))
}
