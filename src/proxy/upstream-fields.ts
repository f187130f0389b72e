// The header fields an upstream reads of a call: what came and may go on, then what only the gateway says.
import { Refusal } from '../kit/refusal.ts'
import type { Passed } from './passed.ts'

/** Longer ones no server gives out. */
const mostResume = 1024

/**
 * What the gateway accepts, and what it sends, is its own to say on this hop, in the spelling that every server takes: both types for a POST
 * (streamable-http, sending messages), and the media type without parameters, since the body has been read as JSON in UTF-8.
 */
const spoken: Readonly<Partial<Record<string, readonly string[]>>> = {
  POST: ['Accept', 'application/json, text/event-stream', 'Content-Type', 'application/json'],
  GET: ['Accept', 'text/event-stream'],
}

export const fieldsOf = ({ call, session, principal }: Passed): readonly string[] => {
  const { inbound, modern, head, address } = call
  const fields = inbound.forward
  if (address.service.upstream.kind === 'http') fields.push(...(spoken[head.method] ?? []))
  else {
    // The gateway itself, or a command behind it: it judges what its client says.
    if (inbound.accept !== undefined) fields.push('Accept', inbound.accept)
    if (inbound.type !== undefined) fields.push('Content-Type', inbound.type)
  }
  if (session !== undefined) fields.push('Mcp-Session-Id', session)
  if (!modern && inbound.resume !== undefined) {
    if (inbound.resume.length > mostResume) throw new Refusal('request.malformed', 'Last-Event-ID', { say: 'The Last-Event-ID is too long.' })
    // The session says whose events they are. Without one nothing does, and anybody could ask for anybody's (2025-11-25 transports, resumability).
    if (session !== undefined || principal === undefined) fields.push('Last-Event-ID', inbound.resume)
  }
  fields.push('X-Request-Id', head.requestId)
  return fields
}

