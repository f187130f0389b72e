// What one era says in the words of the other, as far as there are such words: results, errors, capabilities (2025-11-25 and 2026-07-28).
import { metaKeys } from './envelope.ts'
import { isUsable } from './headers.ts'
import { type Rpc, isRecord } from './json-rpc.ts'

export const serverInfoKey = 'io.modelcontextprotocol/serverInfo'
export const subscriptionKey = 'io.modelcontextprotocol/subscriptionId'
export const logLevelKey = 'io.modelcontextprotocol/logLevel'

/** Methods that a server of 2026-07-28 may answer with input requests. */
export const mayRequireInput: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read'])

/** Results that say how long they may be kept (2026-07-28 server/utilities/caching). */
const cacheable = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
])

const without = (record: Rpc, ...names: readonly string[]): Rpc =>
  Object.fromEntries(Object.entries(record).filter(([name]) => !names.includes(name)))
const only = (record: unknown, ...names: readonly string[]): Rpc =>
  isRecord(record)
    ? Object.fromEntries(
        Object.entries(record).filter(
          ([name, value]) => names.includes(name) && value !== undefined && value !== false,
        ),
      )
    : {}

/** A result that the gateway writes for a client of 2026-07-28: with every member that this revision asks for, and for nobody else to keep. */
export const modernResult = (method: string, result: Rpc, server: Rpc): Rpc => ({
  ...result,
  resultType: 'complete',
  ...(cacheable.has(method) ? { ttlMs: 0, cacheScope: 'private' } : {}),
  _meta: { ...(isRecord(result['_meta']) ? result['_meta'] : {}), [serverInfoKey]: server },
})

/** Tools that can only be called as tasks of 2025-11-25 have no counterpart. */
const withoutTasks = (tools: unknown): unknown =>
  Array.isArray(tools)
    ? tools
        .filter(
          (tool) => !isRecord(tool) || only(tool['execution'], 'taskSupport')['taskSupport'] !== 'required',
        )
        .map((tool: unknown) => (isRecord(tool) ? without(tool, 'execution') : tool))
    : tools

/** A result of a server of 2025 and before. */
export const toModern = (method: string, result: Rpc, server: Rpc): Rpc =>
  modernResult(
    method,
    method === 'tools/list' ? { ...result, tools: withoutTasks(result['tools']) } : result,
    server,
  )

/** Servers of before allow objects alone where these allow any value (SEP-2106); a tool whose headers no client may send is left out (SEP-2243). */
const legacyTools = (tools: unknown): unknown =>
  Array.isArray(tools)
    ? tools
        .filter((tool) => isUsable(tool))
        .map((tool: unknown) =>
          isRecord(tool) && isRecord(tool['outputSchema']) && tool['outputSchema']['type'] !== 'object'
            ? without(tool, 'outputSchema')
            : tool,
        )
    : tools

const legacyCall = (result: Rpc): Rpc => {
  const { structuredContent, content } = result
  if (structuredContent === undefined || isRecord(structuredContent)) return result
  const said = Array.isArray(content) && content.some((block) => isRecord(block) && block['type'] === 'text')
  return {
    ...without(result, 'structuredContent'),
    content: [
      ...(Array.isArray(content) ? (content as unknown[]) : []),
      ...(said ? [] : [{ type: 'text', text: JSON.stringify(structuredContent) }]),
    ],
  }
}

/** A complete result of a server of 2026-07-28, as clients of before know it. */
export const toLegacy = (method: string, result: Rpc): Rpc => {
  const meta = isRecord(result['_meta']) ? without(result['_meta'], serverInfoKey) : {}
  const plain = {
    ...without(result, 'resultType', 'ttlMs', 'cacheScope', '_meta'),
    ...(Object.keys(meta).length > 0 ? { _meta: meta } : {}),
  }
  if (method === 'tools/list') return { ...plain, tools: legacyTools(result['tools']) }
  return method === 'tools/call' ? legacyCall(plain) : plain
}

/** What a server of 2025 and before answers -32002 is -32602 from 2026-07-28 on (SEP-2164). */
export const toModernError = (error: Rpc): Rpc =>
  error['code'] === -32_002 ? { ...error, code: -32_602 } : error

/** The resource that was not found is named in the data; a parameter that is wrong in another way keeps its code. */
export const toLegacyError = (method: string, error: Rpc): Rpc =>
  method === 'resources/read' &&
  error['code'] === -32_602 &&
  isRecord(error['data']) &&
  typeof error['data']['uri'] === 'string'
    ? { ...error, code: -32_002 }
    : error

/** What of a server's capabilities clients of the other era can use. `notices`: whether they can be told of changes; `watching`: of single resources. */
export const bridgedServer = (
  capabilities: unknown,
  { notices, watching }: { readonly notices: boolean; readonly watching: boolean },
): Rpc => {
  const found: Record<string, unknown> = {}
  if (!isRecord(capabilities)) return found
  const changes = notices ? ['listChanged'] : []
  for (const name of ['tools', 'prompts'])
    if (isRecord(capabilities[name])) found[name] = only(capabilities[name], ...changes)
  if (isRecord(capabilities['resources']))
    found['resources'] = only(capabilities['resources'], ...changes, ...(watching ? ['subscribe'] : []))
  for (const name of ['completions', 'logging']) if (isRecord(capabilities[name])) found[name] = {}
  return found
}

/** What of a client's capabilities a server of the other era can use. */
export const bridgedClient = (capabilities: unknown): Rpc => {
  const found: Record<string, unknown> = {}
  if (!isRecord(capabilities)) return found
  if (isRecord(capabilities['roots'])) found['roots'] = {}
  if (isRecord(capabilities['sampling']))
    found['sampling'] = only(capabilities['sampling'], 'context', 'tools')
  if (isRecord(capabilities['elicitation']))
    found['elicitation'] = only(capabilities['elicitation'], 'form', 'url')
  return found
}

/** What a server is told of a client whose answers cannot be waited for: URLs alone, which can be said in an error (-32042). */
export const urlsOnly = (capabilities: Rpc): Rpc => {
  const { elicitation } = capabilities
  return isRecord(elicitation) && isRecord(elicitation['url']) ? { elicitation: { url: {} } } : {}
}

/** The capability that a question to the client needs; undefined for what is no question of both eras. */
export const capabilityFor = (method: unknown): 'roots' | 'sampling' | 'elicitation' | undefined =>
  method === 'roots/list'
    ? 'roots'
    : method === 'sampling/createMessage'
      ? 'sampling'
      : method === 'elicitation/create'
        ? 'elicitation'
        : undefined

/** Whether a client with these capabilities can be asked that. */
export const canReceive = (
  capabilities: Rpc,
  { method, params }: { readonly method?: unknown; readonly params?: unknown },
): boolean => {
  const needed = capabilityFor(method)
  const declared = needed && capabilities[needed]
  if (!isRecord(declared)) return false
  if (needed !== 'elicitation') return true
  // An empty object means forms (2025-11-25 client/elicitation, capabilities).
  return isRecord(params) && params['mode'] === 'url'
    ? isRecord(declared['url'])
    : isRecord(declared['form']) || Object.keys(declared).length === 0
}

/** `params._meta` of a request without what only 2026-07-28 has there. */
export const withoutEnvelope = (meta: Rpc): Rpc =>
  without(meta, metaKeys.version, metaKeys.client, metaKeys.capabilities, logLevelKey)

const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

export const isLevel = (level: unknown): level is string =>
  typeof level === 'string' && levels.includes(level)

/** Whether a log message is as severe as was asked for. */
export const isLevelWanted = (level: unknown, wanted: string): boolean =>
  levels.indexOf(String(level)) >= levels.indexOf(wanted)
