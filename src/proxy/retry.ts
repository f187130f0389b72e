// Which requests may be sent once more when the connection was lost before an answer came.
import type { Envelope } from '../mcp/envelope.ts'
import { isRecord } from '../mcp/json.ts'

/**
 * Methods of MCP that change nothing, or the same once more: they may be sent again when nobody knows whether they arrived. A tool call is never among them: what
 * a tool says of itself (`readOnlyHint`, `idempotentHint`) is a hint of the server's, and not known here.
 */
const repeatableMethods: ReadonlySet<string | undefined> = new Set([
  'initialize',
  'ping',
  'server/discover',
  'tools/list',
  'prompts/list',
  'prompts/get',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'resources/subscribe',
  'resources/unsubscribe',
  'completion/complete',
  'logging/setLevel',
  'tasks/list',
  'tasks/get',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/roots/list_changed',
])

/** The same of a body that the gateway sends by itself. */
export const isRepeatableText = (httpMethod: string, body: string | undefined): boolean => {
  if (httpMethod !== 'POST') return true
  try {
    const message: unknown = JSON.parse(body ?? '')
    return isRecord(message) && repeatableMethods.has(message['method'] as string | undefined)
  } catch {
    return false
  }
}

/** RFC 9110 §9.2.2 for the methods of HTTP, and MCP for what a POST carries. */
export const isRepeatable = (httpMethod: string, envelope: Envelope | undefined): boolean => {
  if (httpMethod !== 'POST') return true
  if (!envelope) return false
  const { messages } = envelope
  for (let i = 0; i < messages.length; i++) if (!repeatableMethods.has(messages[i]?.method)) return false
  return messages.length > 0
}
