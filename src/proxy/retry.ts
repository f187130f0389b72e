// Which requests may be sent once more when the connection was lost before an answer came.
import type { Envelope } from '../mcp/envelope.ts'
import type { Rpc } from '../mcp/json-rpc.ts'
import { isRecord } from '../mcp/json.ts'
import type { Service } from '../ports/services.ts'

/**
 * Methods of MCP that change nothing, or the same once more: they may be sent again when nobody knows whether
 * they arrived.
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

/**
 * RFC 9110 §9.2.2 for the methods of HTTP, and MCP for what a POST carries. `tools`: those whose calls may be
 * repeated.
 */
export const isRepeatable = (
  httpMethod: string,
  envelope: Envelope | undefined,
  tools: ReadonlySet<string> = noTools,
): boolean => {
  if (httpMethod !== 'POST') return true
  if (!envelope) return false
  const { messages } = envelope
  for (let i = 0; i < messages.length; i++) {
    const { method, name } = messages[i] as Envelope['messages'][number]
    const again =
      method === 'tools/call' ? name !== undefined && tools.has(name) : repeatableMethods.has(method)
    if (!again) return false
  }
  return messages.length > 0
}

// Which tools may be called once more: those that say so of themselves (MCP tool annotations).

const noTools: ReadonlySet<string> = new Set()
/** Tools that are remembered of one server, and the longest name among them. */
const mostTools = 1000
const longestName = 256

export interface RepeatableTools {
  of(service: Service): ReadonlySet<string>
  /** What the server lists. `first`: the list begins with this page, so that what was known is forgotten. */
  learn(service: Service, tools: readonly unknown[], first: boolean): void
  /** The server says that its tools have changed. */
  forget(service: Service): void
}

const isAgain = ({ annotations }: Rpc): boolean =>
  isRecord(annotations) && (annotations['readOnlyHint'] === true || annotations['idempotentHint'] === true)

/**
 * Kept for as long as the service is the one that it is; another one of the same name begins with nothing.
 */
export const createRepeatableTools = (): RepeatableTools => {
  const known = new WeakMap<Service, Set<string>>()
  return {
    of: (service) => known.get(service) ?? noTools,
    learn(service, tools, first) {
      const names = (first ? undefined : known.get(service)) ?? new Set<string>()
      const seen = new Set<unknown>()
      for (const tool of tools) {
        if (!isRecord(tool)) continue
        const { name } = tool
        if (typeof name !== 'string' || name.length > longestName) continue
        // Of two tools of one name nobody knows which is called.
        if (isAgain(tool) && !seen.has(name) && names.size < mostTools) names.add(name)
        else names.delete(name)
        seen.add(name)
      }
      known.set(service, names)
    },
    forget: (service) => void known.delete(service),
  }
}
