// The header fields an upstream reads of a call: what came and may go on, then what only the gateway says.
import { Refusal } from '../kit/refusal.ts'
import type { Passed } from './passed.ts'

/** Longer ones no server gives out. */
const mostResume = 1024

export const fieldsOf = ({ call, session, principal }: Passed): readonly string[] => {
  const { inbound, modern, head } = call
  const fields = inbound.forward
  if (session !== undefined) fields.push('Mcp-Session-Id', session)
  if (!modern && inbound.resume !== undefined) {
    if (inbound.resume.length > mostResume) throw new Refusal('request.malformed', 'Last-Event-ID', { say: 'This Last-Event-ID is longer than any that a server gives out.' })
    // The session says whose events they are. Without one nothing does, and anybody could ask for anybody's (2025-11-25 transports, resumability).
    if (session !== undefined || principal === undefined) fields.push('Last-Event-ID', inbound.resume)
  }
  fields.push('X-Request-Id', head.requestId)
  return fields
}

