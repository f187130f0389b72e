// The body of a call: read within its bounds, in one encoding, and in agreement with the headers.
import { isUtf8, readMediaType } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { type Envelope, type RpcId, envelopeOf, errorId, readEnvelope } from '../mcp/envelope.ts'
import { validateHeaders } from '../mcp/headers.ts'
import { readStrictJson } from '../mcp/json.ts'
import type { ReadBody } from '../ports/call.ts'
import type { Principal } from '../ports/people.ts'
import type { JsonBody } from '../ports/stdio-call.ts'
import { callerKey } from './concurrency.ts'
import type { ResolvedRequest } from './resolve.ts'

// How much of what callers send is kept in memory while their calls are going: bounded for each caller, and for all of them together.

/** What one call, or one message of a WebSocket, keeps in memory. */
export interface HeldBytes {
  /** It keeps this many bytes now. Throws `calls.bytes` when that is more than the caller, or everybody, may keep. */
  grow(bytes: number): void
  release(): void
}

export interface BodyBudget {
  open(principal: Principal | undefined, ip: string): HeldBytes
}

/** Bodies up to this size are not counted: their number is bounded by `max_concurrent_calls`, and nobody's large bodies keep them out. */
export const uncountedBytes = 16_384

/** A value of JSON costs about this much once it is read, however few characters it was: `[],` is an object of its own. */
const bytesOfValue = 40

/** What is kept of a message beside its bytes: its text, and the values that were read from it. */
export const weightOf = (bytes: number, values: number): number => 2 * bytes + bytesOfValue * values

interface Pool {
  held: number
  readonly most: number
}

/** One caller's share of their pool. */
const share = 4

const tooMuch = (why: string): Refusal => new Refusal('calls.bytes', why, { headers: { 'retry-after': '1' } })

/**
 * `bytes`: what all callers together may keep. Half of it is for people who signed in, so that strangers at services without login take nothing from them; one caller
 * may keep a quarter of a half. Whoever keeps nothing else may send one message of any size that `max_body` allows, while their half has room.
 */
export const createBodyBudget = (bytes: number): BodyBudget => {
  const half = (): Pool => ({ held: 0, most: bytes / 2 })
  const [people, strangers] = [half(), half()]
  const callers = new Map<string, number>()

  const grow = (pool: Pool, caller: string, more: number, alone: boolean): void => {
    const own = callers.get(caller) ?? 0
    if (!alone && own + more > pool.most / share)
      throw tooMuch(`${caller} keeps ${own} bytes and sends ${more} more`)
    if (pool.held > own && pool.held + more > pool.most)
      throw tooMuch(`all callers keep ${pool.held} bytes, ${caller} sends ${more} more`)
    pool.held += more
    callers.set(caller, own + more)
  }

  return {
    open(principal, ip) {
      const pool = principal ? people : strangers
      let caller: string | undefined
      let held = 0
      return {
        grow(size) {
          if (size <= uncountedBytes || size <= held) return
          caller ??= callerKey(principal, ip)
          grow(pool, caller, size - held, held === (callers.get(caller) ?? 0))
          held = size
        },
        release() {
          if (caller === undefined || held === 0) return
          pool.held -= held
          const left = (callers.get(caller) ?? 0) - held
          if (left > 0) callers.set(caller, left)
          else callers.delete(caller)
          held = 0
        },
      }
    },
  }
}

const mediaType = (type: string | undefined): Refusal =>
  new Refusal('request.media-type', `Content-Type ${String(type).slice(0, 80)}`, {
    say: 'Send the message with Content-Type: application/json.',
    headers: { 'accept-post': 'application/json' },
  })

/**
 * What the gateway reads as one thing must not be another thing to the upstream. Nor may a form of another site reach
 * it: browsers send `application/json` across origins only after a preflight (Fetch, CORS-safelisted request-header).
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

const bodyOf = (
  { inbound, address }: ResolvedRequest,
  readBody: ReadBody,
  holding: HeldBytes,
): Promise<Uint8Array> => {
  const { maxBodyBytes } = address.service
  if (inbound.length !== undefined && !(Number(inbound.length) <= maxBodyBytes))
    throw new Refusal('request.too-large', `announces ${inbound.length.slice(0, 20)} bytes`)
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
  call: ResolvedRequest,
  readBody: ReadBody,
  holding: HeldBytes,
  supported: readonly string[],
): Promise<Received> => {
  checkEncoding(call)
  const body = await bodyOf(call, readBody, holding)
  const json = readStrictJson(body)
  holding.grow(weightOf(body.byteLength, json.values))
  const envelope = envelopeOf(json.value)
  const { versions, method, name } = call.inbound
  // A POST of HTTP+SSE is a frame on a line; what it carries is judged as the call that is made of it.
  if (call.address.transport !== 'sse')
    validateHeaders(envelope, { version: versions[0], method, name }, supported)
  return call.address.service.upstream.kind === 'bridge' ? { body, envelope, json } : { body, envelope }
}

/** The id that an error about this call's body belongs to. */
export const readRpcId = async (
  call: ResolvedRequest,
  readBody: ReadBody,
  budget: BodyBudget,
): Promise<RpcId> => {
  const holding = budget.open(undefined, call.head.ip)
  try {
    return errorId(readEnvelope(await bodyOf(call, readBody, holding)))
  } finally {
    holding.release()
  }
}
