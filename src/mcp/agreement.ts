// Header and body of a 2026-07-28 request say the same thing, or nobody acts on either (transports/streamable-http, server validation; SEP-2243).
import { decodeBase64, encodeBase64, utf8 } from '../kit/bytes.ts'
import { trimWhitespace } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { errorId, metaKeys } from './envelope.ts'
import type { Envelope, Message } from './envelope.ts'
import { isModern } from './revisions.ts'

/** The standard headers as received; a header sent twice is joined with a comma, as RFC 9110 §5.3 reads it. */
export interface StandardHeaders {
  readonly version: string | undefined
  readonly method: string | undefined
  readonly name: string | undefined
}

const sentinelStart = '=?base64?'
const sentinelEnd = '?='
const canonicalBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The value behind the base64 sentinel `=?base64?…?=`, or the value itself; undefined when the sentinel is malformed. */
export const decodeMirrored = (value: string): string | undefined => {
  if (!value.startsWith(sentinelStart) || !value.endsWith(sentinelEnd) || value.length < sentinelStart.length + sentinelEnd.length) return value
  const encoded = value.slice(sentinelStart.length, -sentinelEnd.length)
  const bytes = canonicalBase64.test(encoded) ? decodeBase64(encoded) : undefined
  if (!bytes) return undefined
  try {
    return strictUtf8.decode(bytes)
  } catch {
    // Not UTF-8: as malformed as bad base64.
    return undefined
  }
}

/** A value as it may stand in a header: itself, or behind the sentinel where it would be read as something else. */
export const encodeMirrored = (value: string): string =>
  /^(?! )[\x20-\x7e]*(?<! )$/.test(value) && !(value.startsWith(sentinelStart) && value.endsWith(sentinelEnd)) ? value : `${sentinelStart}${encodeBase64(utf8(value))}${sentinelEnd}`

const mismatch = (header: string, message: Message): Refusal => new Refusal('mcp.headers', header, { say: `The ${header} header is missing, malformed or does not match the body.`, rpcId: message.id ?? null })

const badEnvelope = (message: Message, missing: readonly string[]): Refusal =>
  new Refusal('mcp.envelope', missing.join(' '), { say: `The request has missing or malformed members in params._meta: ${missing.join(', ')}.`, rpcId: message.id ?? null, rpcData: { envelope: { missing } } })

const isPlain = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * A revision that is not let through: code, sentence and data of 2026-07-28 basic/versioning, in the words of the first gateway. `perRequest`: the client names a
 * revision on each request; it is told only those that can be named so, because it may try again with any of the list.
 */
export const unsupportedVersion = (
  requested: string,
  supported: readonly string[],
  { rpcId = null, perRequest }: { readonly rpcId?: Message['id']; readonly perRequest: boolean },
): Refusal => {
  const shown = requested.slice(0, 64).replaceAll(/[^\x20-\x7e]/g, '?')
  const modern = perRequest ? supported.filter(isModern) : []
  const list = modern.length > 0 ? modern : supported
  return new Refusal('mcp.version', shown, {
    say: `Unsupported MCP protocol version: ${shown}. Supported versions: ${list.join(', ')}`,
    rpcId: rpcId ?? null,
    rpcData: { supported: list, requested: shown },
  })
}

const checkEnvelope = (message: Message, headers: StandardHeaders, claim: unknown): void => {
  const faults = [typeof claim === 'string' ? '' : metaKeys.version, isPlain(message.meta?.[metaKeys.capabilities]) ? '' : metaKeys.capabilities].filter(Boolean)
  // A notification need not carry the envelope; one that claims a revision must claim it well.
  if (message.kind === 'request' ? faults.length > 0 : typeof claim !== 'string') throw badEnvelope(message, message.kind === 'request' ? faults : [metaKeys.version])
  if (headers.version !== undefined && headers.version !== claim) throw mismatch('MCP-Protocol-Version', message)
  if (headers.method !== undefined && headers.method !== message.method) throw mismatch('Mcp-Method', message)
}

const checkMirrors = (message: Message, headers: StandardHeaders): void => {
  if (headers.version === undefined) throw mismatch('MCP-Protocol-Version', message)
  if (headers.method === undefined) throw mismatch('Mcp-Method', message)
  if (!message.mirrored) return
  if (headers.name === undefined) {
    if (message.name !== undefined) throw mismatch('Mcp-Name', message)
    return
  }
  const named = decodeMirrored(headers.name)
  if (named === undefined || (message.name !== undefined && named !== message.name)) throw mismatch('Mcp-Name', message)
}

const checkOne = (message: Message, headers: StandardHeaders, supported: readonly string[]): void => {
  if (message.kind === 'response') return
  const claim = message.meta?.[metaKeys.version]
  const claimed = message.meta !== undefined && metaKeys.version in message.meta
  const headerModern = headers.version !== undefined && isModern(headers.version)
  const wellClaimed = typeof claim === 'string' && isModern(claim) && isPlain(message.meta?.[metaKeys.capabilities])
  // The handshake belongs to the earlier revisions, whatever else it carries, unless the envelope is whole (basic/versioning).
  if (message.method === 'initialize' && message.kind === 'request' && !wellClaimed) {
    if (headerModern) throw mismatch('MCP-Protocol-Version', message)
    return
  }
  if (claimed) {
    checkEnvelope(message, headers, claim)
    if (typeof claim === 'string' && isModern(claim) && !supported.includes(claim)) throw unsupportedVersion(claim, supported, { rpcId: message.id, perRequest: true })
    // A revision of the past in the envelope has no mirrors to check; refusing it is its server's affair.
    if (message.kind === 'request' && typeof claim === 'string' && isModern(claim)) checkMirrors(message, headers)
    return
  }
  if (!headerModern) return
  if (message.kind === 'request') throw badEnvelope(message, message.meta === undefined ? ['_meta'] : [metaKeys.version])
  if (headers.method !== undefined && headers.method !== message.method) throw mismatch('Mcp-Method', message)
}

/**
 * Passes when header and body agree, or when the request belongs to a revision without mirrored headers. Throws `mcp.headers` (-32020),
 * `mcp.envelope` (-32602), `mcp.version` (-32022) or `mcp.invalid` (-32600, a batch where there are none).
 */
export const checkAgreement = (envelope: Envelope, received: StandardHeaders, supported: readonly string[]): void => {
  const headers: StandardHeaders = {
    version: received.version === undefined ? undefined : trimWhitespace(received.version),
    method: received.method === undefined ? undefined : trimWhitespace(received.method),
    name: received.name === undefined ? undefined : trimWhitespace(received.name),
  }
  if (envelope.batch) {
    const modern = (headers.version !== undefined && isModern(headers.version)) || envelope.messages.some((message) => message.meta !== undefined && metaKeys.version in message.meta)
    if (modern) throw new Refusal('mcp.invalid', 'batch', { say: 'This MCP revision does not support batches. Send one message per request.', rpcId: errorId(envelope) })
    return
  }
  for (const message of envelope.messages) checkOne(message, headers, supported)
}
