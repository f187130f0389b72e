// The decision about one proxied call, as an ordered list of checks. The upstream hears nothing before the last of them has passed.
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import { unsupportedVersion } from '../mcp/agreement.ts'
import { publishedVersions } from '../mcp/revisions.ts'
import type { Admit, Answer, ReadBody } from '../ports/calls.ts'
import type { Principal } from '../ports/people.ts'
import type { Audit, Guard, Signer } from '../ports/rooms.ts'
import type { Directory } from '../ports/services.ts'
import type { Cors } from './cors.ts'
import { createKnock } from './knock.ts'
import type { Knock } from './knock.ts'
import { readRpcId } from './message.ts'
import { createOpening } from './opening.ts'
import type { OpeningDeps } from './opening.ts'

export interface AdmitDeps {
  readonly runtime: OpeningDeps['runtime']
  readonly config: Pick<Config, 'allowed_hosts' | 'protocol_versions' | 'max_concurrent_calls' | 'max_open_streams'>
  readonly directory: Directory
  readonly guard: Guard
  readonly signer: Signer
  readonly cors: Cors
  readonly record: Audit
  readonly detour: OpeningDeps['detour']
  readonly credentials?: OpeningDeps['credentials']
}

const methods = new Set(['GET', 'POST', 'DELETE'])
const allow = 'GET, POST, DELETE, OPTIONS'

const checkMethod = ({ head, inbound }: Knock): void => {
  if (!methods.has(head.method)) throw new Refusal('request.method', head.method.slice(0, 20), { headers: { allow } })
  // RFC 9110 §9.3.1 and §9.3.5 give such a body no meaning, and servers disagree about reading it.
  if (head.method !== 'POST' && (inbound.chunked || (inbound.length !== undefined && inbound.length !== '0'))) throw new Refusal('request.malformed', `${head.method} with a body`)
}

/** Throws RangeError for a configuration whose identity headers cannot be sent. */
export const createAdmit = ({ runtime, config, directory, guard, signer, cors, record, detour, credentials }: AdmitDeps): Admit => {
  const knock = createKnock({ config, directory, signer, cors, credentials, now: runtime.now })
  const supported = config.protocol_versions ?? publishedVersions
  const open = createOpening({ runtime, config, cors, record, supported, detour, credentials })

  const preflight = ({ head, inbound }: Knock): Answer => ({
    kind: 'answer',
    status: 204,
    headers: ['Allow', allow, 'X-Request-Id', head.requestId, ...cors.preflight({ origin: inbound.origin, method: inbound.requestedMethod, headers: inbound.requestedHeaders })],
    body: '',
  })

  const whoIs = ({ address, inbound, origin }: Knock): Principal | undefined | Promise<Principal> => (address.service.authRequired ? guard(inbound.authorization, address, origin) : undefined)

  /** The refusal of a revision, with the id of the request where the caller may be listened to that far. */
  const unsupported = async (call: Knock, readBody: ReadBody): Promise<Refusal> => {
    const requested = call.inbound.versions.join(', ')
    if (call.head.method !== 'POST') return unsupportedVersion(requested, supported)
    const id = await Promise.resolve(whoIs(call))
      .then(() => readRpcId(call, readBody))
      .catch(() => null)
    return unsupportedVersion(requested, supported, id)
  }

  return async (head, readBody) => {
    const call = knock(head)
    if (head.method === 'OPTIONS') return preflight(call)
    const { versions } = call.inbound
    if (versions.length > 1 || (versions.length === 1 && !supported.includes(versions[0] as string))) throw await unsupported(call, readBody)
    checkMethod(call)
    const principal = await whoIs(call)
    return open(call, principal, readBody)
  }
}
