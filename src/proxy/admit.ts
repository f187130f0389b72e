// The decision about one proxied call, as an ordered list of checks. The upstream hears nothing before the last of them has passed.
import { aboutRequest } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import { unsupportedVersion } from '../mcp/headers.ts'
import type { Admission, Admit, Answer, Head, ReadBody } from '../ports/call.ts'
import type { AuthenticateBearer } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type AdmissionDeps, awayOf, createAdmission, createFinish, refusedOutcome } from './admission.ts'
import type { AdmittedCall } from './admitted-call.ts'
import { refusedCall } from './audit.ts'
import { type BodyBudget, type HeldBytes, readRpcId, receive } from './body.ts'
import { type TakePermit, callerKey } from './concurrency.ts'
import type { Cors } from './cors.ts'
import { factsOf } from './error-response.ts'
import type { ResolvedRequest } from './resolve.ts'
import { createMcpSessions } from './session-owner.ts'
import { type ShowCredentialDeps, createShowCredential } from './upstream-credential.ts'

// The last step to an admission: what the upstream is to see of the call, and what it is shown of the caller's right to make it.

export interface AdmitHttpDeps extends Omit<AdmissionDeps, 'runtime' | 'showing'>, ShowCredentialDeps {}

/** Rejects with the refusal where the caller cannot be answered otherwise; then the place is still theirs to give back. */
export const createAdmitHttp = (
  deps: AdmitHttpDeps,
): ((came: AdmittedCall) => Promise<Admission | Answer>) => {
  const showing = createShowCredential(deps)
  const admission = createAdmission({ ...deps, showing })
  const finish = createFinish({ now: () => deps.runtime.now(), record: deps.record })

  return async (came) => {
    const unwrapping = showing.unwrap(came)
    const { passed, declined } =
      unwrapping === undefined ? { passed: came, declined: false } : await unwrapping
    const well = came.call.place.health?.gate() ?? true
    // Before a credential is taken, or even renewed, for nothing.
    if (well !== true && !(await well)) throw awayOf(passed)
    try {
      const credential = showing.credential(passed)
      // Most services are shown nothing, and what is shown is mostly at hand: no call waits for what it need not wait for.
      return admission({
        passed,
        credential: credential instanceof Promise ? await credential : credential,
        last: false,
        declined,
      })
    } catch (error) {
      const answer = await showing.refuse({ passed, declined }, error)
      finish(passed, { ...refusedOutcome(error), status: answer.status })
      return answer
    }
  }
}

// From a caller who is known to an admission: a place among the calls that are going, the session, the body, and who it is in the upstream's words.

export interface AdmitStepsDeps extends Omit<AdmitHttpDeps, 'runtime' | 'sessions'> {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'random' | 'keys' | 'log' | 'digest'>
  /** Places of open streams, WebSockets among them. */
  readonly streamSlot: TakePermit
  readonly callSlot: TakePermit
  readonly budget: BodyBudget
  /** Revisions that are let through, newest first. */
  readonly supported: readonly string[]
}

const nobody: readonly string[] = []

/** The one session a request names; a revision without sessions has none, whatever the header says (2026-07-28 transports). */
const sessionOf = ({ inbound, modern, address }: ResolvedRequest): string | undefined => {
  if (modern || address.transport === 'sse' || inbound.sessions.length === 0) return undefined
  if (inbound.sessions.length > 1) throw new Refusal('request.malformed', 'two Mcp-Session-Id')
  return inbound.sessions[0]
}

/** What a line asks for besides its messages takes no place: the line has one. */
const free = (): void => undefined

/** What a call takes while it is going. */
interface Taken {
  readonly slot: () => void
  readonly holding: HeldBytes
}

const giveBack = ({ slot, holding }: Taken): void => {
  slot()
  holding.release()
}

/** From a caller who is known to what becomes of the call. Rejects with `Refusal`. */
export type OpenCall = (
  call: ResolvedRequest,
  principal: Principal | undefined,
  readBody: ReadBody,
) => Promise<Admission | Answer>

export const createOpenCall = ({
  runtime,
  streamSlot,
  callSlot,
  budget,
  supported,
  ...deps
}: AdmitStepsDeps): OpenCall => {
  const { record } = deps
  const sessions = createMcpSessions({ runtime, record })
  const shown = createAdmitHttp({ ...deps, runtime, sessions })

  const prepare = async (
    call: ResolvedRequest,
    principal: Principal | undefined,
    readBody: ReadBody,
    { slot, holding }: Taken,
  ): Promise<Admission | Answer> => {
    const session = sessionOf(call)
    if (session !== undefined && principal) await sessions.check(session, call.address.service, principal)
    const received =
      call.head.method === 'POST' ? await receive(call, readBody, holding, supported) : undefined
    const about = principal ? call.place.identity.headers(principal) : nobody
    return shown({
      call,
      principal,
      session,
      ...received,
      identity: about instanceof Promise ? await about : about,
      release: () => giveBack({ slot, holding }),
    })
  }

  return async (call, principal, readBody) => {
    const { method, within, ip } = call.head
    let taken: Taken | undefined
    try {
      const slot =
        within && method !== 'POST'
          ? free
          : (method === 'GET' ? streamSlot : callSlot)(callerKey(principal, ip))
      taken = { slot, holding: budget.open(principal, ip) }
      return await prepare(call, principal, readBody, taken)
    } catch (error) {
      // The caller is known, so what they were refused belongs in the trail; the place they held goes back.
      if (taken) giveBack(taken)
      const { refusal, event } = refusedCall(call, principal, error, runtime.now())
      record(event)
      throw refusal
    }
  }
}

export interface AdmitDeps {
  readonly knock: (head: Head) => ResolvedRequest
  readonly guard: AuthenticateBearer
  readonly cors: Cors
  readonly open: OpenCall
  readonly budget: BodyBudget
  /** Revisions that are let through, newest first. */
  readonly supported: readonly string[]
}

const methods = new Set(['GET', 'HEAD', 'POST', 'DELETE'])
const allow = [...methods, 'OPTIONS'].join(', ')
/** HEAD needs no permission (Fetch, CORS-safelisted methods). */
const preflighted = ['GET', 'POST', 'DELETE', 'OPTIONS']

const checkMethod = ({ head, inbound, address }: ResolvedRequest, principal: Principal | undefined): void => {
  if (!methods.has(head.method))
    throw new Refusal('request.method', head.method.slice(0, 20), {
      headers: { allow },
      about: factsOf({ address, principal }),
    })
  // RFC 9110 §9.3.1 and §9.3.5 give such a body no meaning, and servers disagree about reading it.
  if (head.method !== 'POST' && (inbound.chunked || (inbound.length !== undefined && inbound.length !== '0')))
    throw new Refusal('request.malformed', `${head.method} with a body`, {
      about: factsOf({ address, principal }),
    })
}

export const createAdmit = ({ knock, guard, cors, open, budget, supported }: AdmitDeps): Admit => {
  const preflight = ({ head, inbound, address }: ResolvedRequest): Answer => ({
    kind: 'answer',
    status: 204,
    headers: [
      'Allow',
      allow,
      'X-Request-Id',
      head.requestId,
      ...cors.preflight({
        origin: inbound.origin,
        headers: inbound.requestedHeaders,
        methods: preflighted,
        open: !address.service.authRequired,
      }),
    ],
    body: '',
  })

  /** A probe (RFC 9110 §9.3.2): whoever may open the stream hears its head, and the server is not asked for one that nobody reads. */
  const headOfStream = ({ head, inbound }: ResolvedRequest): Answer => ({
    kind: 'answer',
    status: 200,
    headers: [
      ...['Content-Type', 'text/event-stream', 'Cache-Control', 'no-store', 'X-Request-Id', head.requestId],
      ...cors.answer(inbound.origin),
    ],
    body: '',
  })

  const whoIs = ({ address, inbound, origin }: ResolvedRequest): Principal | undefined | Promise<Principal> =>
    address.service.authRequired ? guard(inbound.authorization, address, origin) : undefined

  /** The refusal of a revision, with the id of the request where the caller may be listened to that far. */
  const unsupported = async (call: ResolvedRequest, readBody: ReadBody): Promise<Refusal> => {
    const requested = call.inbound.versions.join(', ')
    // Only clients of 2026-07-28 and later send it.
    const perRequest = call.inbound.method !== undefined
    if (call.head.method !== 'POST') return unsupportedVersion(requested, supported, { perRequest })
    const id = await Promise.resolve(whoIs(call))
      .then(() => readRpcId(call, readBody, budget))
      .catch(() => null)
    return unsupportedVersion(requested, supported, { rpcId: id, perRequest })
  }

  return async (head, readBody) => {
    const call = knock(head)
    if (head.method === 'OPTIONS') return preflight(call)
    const { versions } = call.inbound
    if (versions.length > 1 || (versions.length === 1 && !supported.includes(versions[0] as string)))
      throw aboutRequest(await unsupported(call, readBody), { service: call.address.service.id })
    // A probe without a token finds the way to one, whatever its method.
    const principal = await whoIs(call)
    checkMethod(call, principal)
    if (head.method === 'HEAD') return headOfStream(call)
    return open(call, principal, readBody)
  }
}
