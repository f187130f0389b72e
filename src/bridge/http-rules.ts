// What HTTP asks of a request before anything of it is read: in front of a command the gateway itself is the MCP endpoint (streamable-http of every revision).
import { fieldOf } from '../kit/http.ts'
import { readMediaType } from '../kit/media-type.ts'
import { Refusal } from '../kit/refusal.ts'
import { metaKeys } from '../mcp/envelope.ts'
import { isModern } from '../mcp/revisions.ts'
import { forWriting, kindOf, metaOf, type Rpc, type Said } from '../mcp/rpc.ts'
import { readStrictJson } from '../mcp/strict-json.ts'
import type { BridgeCall } from '../ports/bridge.ts'

/** As the transport asks for it, and nearly every client writes it. */
const usual = 'application/json, text/event-stream'

const accepts = (accept: string | undefined, type: string): boolean =>
  accept === undefined ||
  accept === usual || accept.split(',').some((part) => [type, `${type.slice(0, type.indexOf('/'))}/*`, '*/*'].includes((part.split(';')[0] as string).trim().toLowerCase()))

/** The header alone, where there is no body or its message carries no envelope. */
const modernHeader = (headers: readonly string[]): boolean => {
  const version = fieldOf(headers, 'mcp-protocol-version')
  return version !== undefined && isModern(version.trim())
}

/** Whether a message is served without a session: its envelope says so or, where it has none, the header (2026-07-28 basic/versioning). */
export const isModernCall = (message: Rpc, headers: readonly string[]): boolean => {
  const claim = metaOf(message)[metaKeys.version]
  return typeof claim === 'string' ? isModern(claim) : message['method'] !== 'initialize' && modernHeader(headers)
}

/** Throws `request.method`, `request.accept` or `request.media-type`. */
export const checkRequest = ({ method, headers }: BridgeCall): void => {
  const accept = fieldOf(headers, 'accept')
  if (method === 'POST') {
    const type = fieldOf(headers, 'content-type') ?? ''
    if (type !== 'application/json' && readMediaType(type)?.essence !== 'application/json') {
      const say = 'Send the message with Content-Type: application/json.'
      throw new Refusal('request.media-type', `Content-Type ${type.slice(0, 80)}`, { say })
    }
    if (!accepts(accept, 'application/json') || !accepts(accept, 'text/event-stream')) throw new Refusal('request.accept', `Accept ${String(accept).slice(0, 80)}`)
    return
  }
  // Streams by GET and sessions that end by DELETE belong to the revisions before 2026-07-28.
  if (modernHeader(headers)) throw new Refusal('request.method', `${method} in a revision without sessions`, { headers: { allow: 'POST' } })
  if (method === 'GET' && !accepts(accept, 'text/event-stream')) throw new Refusal('request.accept', `Accept ${String(accept).slice(0, 80)}`)
}

const checked = (value: unknown): Rpc => {
  if (kindOf(value) === undefined) throw new Refusal('mcp.invalid', 'not a JSON-RPC message')
  return value as Rpc
}

/** The messages of a body, each known to be one. Throws `mcp.parse` and `mcp.invalid`. */
export const readMessages = ({ body = new Uint8Array(), json = readStrictJson(body) }: Pick<BridgeCall, 'body' | 'json'>): { readonly batch: boolean; readonly messages: readonly Said[] } => {
  const { text, value } = json
  if (!Array.isArray(value)) return { batch: false, messages: [{ message: checked(value), text }] }
  if (value.length === 0) throw new Refusal('mcp.invalid', 'an empty batch')
  const whole = forWriting(text, value) as readonly unknown[]
  return { batch: true, messages: value.map((message: unknown, at) => ({ message: checked(message), text: JSON.stringify(whole[at]) })) }
}
