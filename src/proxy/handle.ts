// The decision about one proxied call, as an ordered list of checks. The upstream hears nothing before the last of them has passed.
import { aboutRequest } from '../kit/refusal-log.ts'
import { Refusal } from '../kit/refusal.ts'
import { unsupportedVersion } from '../mcp/agreement.ts'
import type { Admit, Answer, Head, ReadBody } from '../ports/calls.ts'
import type { Principal } from '../ports/people.ts'
import type { Guard } from '../ports/rooms.ts'
import type { BodyBudget } from './body-budget.ts'
import type { Cors } from './cors.ts'
import type { Knock } from './knock.ts'
import { readRpcId } from './message.ts'
import type { Open } from './opening.ts'
import { factsOf } from './refuse.ts'

export interface AdmitDeps {
  readonly knock: (head: Head) => Knock
  readonly guard: Guard
  readonly cors: Cors
  readonly open: Open
  readonly budget: BodyBudget
  /** Revisions that are let through, newest first. */
  readonly supported: readonly string[]
}

const methods = new Set(['GET', 'HEAD', 'POST', 'DELETE'])
const allow = [...methods, 'OPTIONS'].join(', ')
/** HEAD needs no permission (Fetch, CORS-safelisted methods). */
const preflighted = ['GET', 'POST', 'DELETE', 'OPTIONS']

const checkMethod = ({ head, inbound, address }: Knock, principal: Principal | undefined): void => {
  if (!methods.has(head.method)) throw new Refusal('request.method', head.method.slice(0, 20), { headers: { allow }, about: factsOf({ address, principal }) })
  // RFC 9110 §9.3.1 and §9.3.5 give such a body no meaning, and servers disagree about reading it.
  if (head.method !== 'POST' && (inbound.chunked || (inbound.length !== undefined && inbound.length !== '0')))
    throw new Refusal('request.malformed', `${head.method} with a body`, { about: factsOf({ address, principal }) })
}

export const createAdmit = ({ knock, guard, cors, open, budget, supported }: AdmitDeps): Admit => {
  const preflight = ({ head, inbound, address }: Knock): Answer => ({
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
  const headOfStream = ({ head, inbound }: Knock): Answer => ({
    kind: 'answer',
    status: 200,
    headers: [
      ...['Content-Type', 'text/event-stream', 'Cache-Control', 'no-store', 'X-Request-Id', head.requestId],
      ...cors.answer(inbound.origin),
    ],
    body: '',
  })

  const whoIs = ({ address, inbound, origin }: Knock): Principal | undefined | Promise<Principal> => (address.service.authRequired ? guard(inbound.authorization, address, origin) : undefined)

  /** The refusal of a revision, with the id of the request where the caller may be listened to that far. */
  const unsupported = async (call: Knock, readBody: ReadBody): Promise<Refusal> => {
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
    if (versions.length > 1 || (versions.length === 1 && !supported.includes(versions[0] as string))) throw aboutRequest(await unsupported(call, readBody), { service: call.address.service.id })
    // A probe without a token finds the way to one, whatever its method.
    const principal = await whoIs(call)
    checkMethod(call, principal)
    if (head.method === 'HEAD') return headOfStream(call)
    return open(call, principal, readBody)
  }
}
