// The body of a call: read within its bounds, in one encoding, and in agreement with the headers.
import { Refusal } from '../kit/refusal.ts'
import { isUtf8, readMediaType } from '../kit/media-type.ts'
import { checkAgreement } from '../mcp/agreement.ts'
import { envelopeOf, errorId, readEnvelope } from '../mcp/envelope.ts'
import type { Envelope, RpcId } from '../mcp/envelope.ts'
import { readStrictJson } from '../mcp/strict-json.ts'
import type { JsonBody } from '../ports/bridge.ts'
import type { ReadBody } from '../ports/calls.ts'
import { type BodyBudget, type Holding, weightOf } from './body-budget.ts'
import type { Knock } from './knock.ts'

const mediaType = (type: string | undefined): Refusal =>
  new Refusal('request.media-type', `Content-Type ${String(type).slice(0, 80)}`, {
    say: 'Send the message with Content-Type: application/json.',
    headers: { 'accept-post': 'application/json' },
  })

/**
 * What the gateway reads as one thing must not be another thing to the upstream. Nor may a form of another site reach
 * it: browsers send `application/json` across origins only after a preflight (Fetch, CORS-safelisted request-header).
 */
const checkEncoding = ({ inbound }: Knock): void => {
  if (inbound.encoding !== undefined && inbound.encoding.toLowerCase() !== 'identity') throw new Refusal('request.encoding', inbound.encoding.slice(0, 80))
  const { type } = inbound
  if (type === 'application/json') return
  const media = type === undefined ? undefined : readMediaType(type)
  if (media?.essence !== 'application/json') throw mediaType(type)
  if (!isUtf8(media)) throw new Refusal('request.encoding', String(type).slice(0, 80))
}

const bodyOf = ({ inbound, address }: Knock, readBody: ReadBody, holding: Holding): Promise<Uint8Array> => {
  const { maxBodyBytes } = address.service
  if (inbound.length !== undefined && !(Number(inbound.length) <= maxBodyBytes)) throw new Refusal('request.too-large', `announces ${inbound.length.slice(0, 20)} bytes`)
  return readBody(maxBodyBytes, holding.grow)
}

export interface Received {
  readonly body: Uint8Array
  readonly envelope: Envelope
  /** For bridges, which write the message anew. */
  readonly json?: JsonBody
}

/**
 * Throws `request.encoding`, `request.media-type`, `request.too-large`, `calls.bytes`, and what the envelope and its
 * agreement with the headers throw.
 */
export const receive = async (
  call: Knock,
  readBody: ReadBody,
  holding: Holding,
  supported: readonly string[],
): Promise<Received> => {
  checkEncoding(call)
  const body = await bodyOf(call, readBody, holding)
  const json = readStrictJson(body)
  holding.grow(weightOf(body.byteLength, json.values))
  const envelope = envelopeOf(json.value)
  const { versions, method, name } = call.inbound
  // A POST of HTTP+SSE is a frame on a line; what it carries is judged as the call that is made of it.
  if (call.address.transport !== 'sse') checkAgreement(envelope, { version: versions[0], method, name }, supported)
  return call.address.service.upstream.kind === 'bridge' ? { body, envelope, json } : { body, envelope }
}

/** The id that an error about this call's body belongs to. */
export const readRpcId = async (call: Knock, readBody: ReadBody, budget: BodyBudget): Promise<RpcId> => {
  const holding = budget.open(undefined, call.head.ip)
  try {
    return errorId(readEnvelope(await bodyOf(call, readBody, holding)))
  } finally {
    holding.release()
  }
}
