// The body of a call: read within its bounds, in one encoding, and in agreement with the headers.
import { isUtf8, readMediaType } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { type Envelope, type RpcId, envelopeOf, errorId, readEnvelope } from '../mcp/envelope.ts'
import { validateHeaders } from '../mcp/headers.ts'
import { readStrictJson } from '../mcp/json.ts'
import type { CallMessage, PermittedCall, ResolvedRequest } from './admitted-call.ts'
import { type BodyBudget, type HeldBytes, weightOf } from './caller-limits.ts'

const mediaType = (type: string | undefined): Refusal =>
  new Refusal('request.media-type', `Content-Type ${String(type).slice(0, 80)}`, {
    say: 'Send the message with Content-Type: application/json.',
    headers: { 'accept-post': 'application/json' },
  })

/**
 * What the gateway reads as one thing must not be another thing to the upstream. Nor may a form of another
 * site reach it: browsers send `application/json` across origins only after a preflight (Fetch,
 * CORS-safelisted request-header).
 */
const checkEncoding = ({ inbound }: ResolvedRequest): void => {
  if (inbound.encoding !== undefined && inbound.encoding.toLowerCase() !== 'identity')
    throw new Refusal('request.encoding', inbound.encoding.slice(0, 80))
  const { type } = inbound
  if (type === 'application/json') return
  const media = type === undefined ? undefined : readMediaType(type)
  if (media?.essence !== 'application/json') throw mediaType(type)
  if (!isUtf8(media)) throw new Refusal('request.encoding', String(type).slice(0, 80))
}

const bodyOf = ({ inbound, address, readBody }: ResolvedRequest, holding: HeldBytes): Promise<Uint8Array> => {
  const { maxBodyBytes } = address.service
  if (inbound.length !== undefined && !(Number(inbound.length) <= maxBodyBytes))
    throw new Refusal('request.too-large', `announces ${inbound.length.slice(0, 20)} bytes`)
  return readBody(maxBodyBytes, holding.grow)
}

/** Throws what is wrong with a message beside the header fields that came with it. */
export const checkAgreement = (
  { inbound, address }: ResolvedRequest,
  envelope: Envelope,
  supported: readonly string[],
): void => {
  const { versions, method, name } = inbound
  // A POST of HTTP+SSE is a frame on a connection; what it carries is judged as the call that is made of it.
  if (address.transport !== 'sse')
    validateHeaders(envelope, { version: versions[0], method, name }, supported)
}

export interface Received extends Pick<CallMessage, 'json'> {
  readonly body: Uint8Array
  readonly envelope: Envelope
}

/**
 * Throws `request.encoding`, `request.media-type`, `request.too-large`, `calls.bytes`, and what the envelope
 * and its agreement with the headers throw.
 */
export const receive = async (call: PermittedCall, supported: readonly string[]): Promise<Received> => {
  checkEncoding(call)
  const body = await bodyOf(call, call.holding)
  const json = readStrictJson(body)
  call.holding.grow(weightOf(body.byteLength, json.values))
  const envelope = envelopeOf(json.value)
  checkAgreement(call, envelope, supported)
  return { body, envelope, json: call.address.service.upstream.kind === 'bridge' ? json : undefined }
}

/** The id that an error about this call's body belongs to. */
export const readRpcId = async (call: ResolvedRequest, budget: BodyBudget): Promise<RpcId> => {
  const holding = budget.open(undefined, call.head.ip)
  try {
    return errorId(readEnvelope(await bodyOf(call, holding)))
  } finally {
    holding.release()
  }
}
