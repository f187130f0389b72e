// From a caller who is known to an admission: place in the queue, session, body, agreement, and the fields the upstream will read.
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import { checkAgreement } from '../mcp/agreement.ts'
import { errorId, readEnvelope } from '../mcp/envelope.ts'
import type { Envelope, RpcId } from '../mcp/envelope.ts'
import type { Admission, ReadBody } from '../ports/calls.ts'
import { personKey } from '../ports/people.ts'
import type { Principal } from '../ports/people.ts'
import { createAdmission } from './admission.ts'
import type { AdmissionDeps } from './admission.ts'
import type { Knock } from './knock.ts'
import { callEvent } from './record.ts'
import { createSlots } from './slots.ts'

export interface OpeningDeps extends AdmissionDeps {
  readonly config: Pick<Config, 'max_concurrent_calls' | 'max_open_streams'>
  /** Revisions that are let through, newest first. */
  readonly supported: readonly string[]
}

export interface Opening {
  admit(call: Knock, principal: Principal | undefined, readBody: ReadBody): Promise<Admission>
  /** The id that an error about this call's body belongs to. */
  rpcId(call: Knock, readBody: ReadBody): Promise<RpcId>
}

const charset = /;\s*charset\s*=\s*"?([^";,\s]*)/i

/** A body that the gateway reads as one thing must not be another thing to the upstream. */
const checkEncoding = ({ inbound }: Knock): void => {
  if (inbound.encoding !== undefined && inbound.encoding.toLowerCase() !== 'identity') throw new Refusal('request.encoding', inbound.encoding.slice(0, 80))
  const named = inbound.type === undefined ? undefined : charset.exec(inbound.type)?.[1]?.toLowerCase()
  if (named !== undefined && named !== 'utf-8' && named !== 'utf8') throw new Refusal('request.encoding', named.slice(0, 80))
}

const bodyOf = ({ inbound, address }: Knock, readBody: ReadBody): Promise<Uint8Array> => {
  const { maxBodyBytes } = address.service
  if (inbound.length !== undefined && !(Number(inbound.length) <= maxBodyBytes)) throw new Refusal('request.too-large', `announces ${inbound.length.slice(0, 20)} bytes`)
  return readBody(maxBodyBytes)
}

/** The one session a request names; a revision without sessions has none, whatever the header says (2026-07-28 transports). */
const sessionOf = ({ inbound, modern }: Knock): string | undefined => {
  if (modern || inbound.sessions.length === 0) return undefined
  if (inbound.sessions.length > 1) throw new Refusal('request.malformed', 'two Mcp-Session-Id')
  return inbound.sessions[0]
}

export const createOpening = (deps: OpeningDeps): Opening => {
  const { runtime, config, record, sessions, supported } = deps
  const admission = createAdmission(deps)
  const callSlot = createSlots(config.max_concurrent_calls)
  const streamSlot = createSlots(config.max_open_streams)

  const read = async (call: Knock, readBody: ReadBody): Promise<{ readonly body: Uint8Array; readonly envelope: Envelope }> => {
    checkEncoding(call)
    const body = await bodyOf(call, readBody)
    const envelope = readEnvelope(body)
    const { versions, method, name } = call.inbound
    checkAgreement(envelope, { version: versions[0], method, name }, supported)
    return { body, envelope }
  }

  const prepare = async (call: Knock, principal: Principal | undefined, readBody: ReadBody, release: () => void): Promise<Admission> => {
    const session = sessionOf(call)
    if (session !== undefined && principal) await sessions.check(session, call.address.service, principal)
    const sent = call.head.method === 'POST' ? await read(call, readBody) : undefined
    const about = principal ? call.place.identity.headers(principal) : []
    return admission({ call, principal, session, ...sent, identity: about instanceof Promise ? await about : about, release })
  }

  return {
    async admit(call, principal, readBody) {
      const release = (call.head.method === 'GET' ? streamSlot : callSlot)(principal ? personKey(principal.person) : `ip:${call.head.ip}`)
      try {
        return await prepare(call, principal, readBody, release)
      } catch (error) {
        // The caller is known, so what they were refused belongs in the trail; the place they held goes back.
        release()
        const refusal = error instanceof Refusal ? error : new Refusal('fault')
        record(callEvent(call, principal, undefined, { result: 'refused', status: refusal.row.status, code: refusal.code, durationMs: runtime.now() - call.startedAt, bytesIn: 0, bytesOut: 0 }))
        throw error
      }
    },
    rpcId: async (call, readBody) => errorId(readEnvelope(await bodyOf(call, readBody))),
  }
}
