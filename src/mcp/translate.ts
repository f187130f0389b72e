// Results, errors and capabilities, translated between legacy revisions and the modern one as far as they
// have a counterpart (2025-11-25 and 2026-07-28).
import { type Rpc, isRecord } from './json-rpc.ts'
import { isUsable } from './param-headers.ts'
import { metaKeys } from './revisions.ts'

export const serverInfoKey = 'io.modelcontextprotocol/serverInfo'
export const subscriptionKey = 'io.modelcontextprotocol/subscriptionId'
export const logLevelKey = 'io.modelcontextprotocol/logLevel'

/** Methods that a modern server may answer with input requests. */
export const mayRequireInput: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read'])

/** Results with a lifetime (2026-07-28 server/utilities/caching). */
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

/**
 * A result for a modern client, with every member that the revision requires. Shared caches must not store
 * it.
 */
export const modernResult = (method: string, result: Rpc, server: Rpc): Rpc => ({
  ...result,
  resultType: 'complete',
  ...(cacheable.has(method) ? { ttlMs: 0, cacheScope: 'private' } : {}),
  _meta: { ...(isRecord(result['_meta']) ? result['_meta'] : {}), [serverInfoKey]: server },
})

/** Tools that can only be called as tasks (2025-11-25) have no counterpart. */
const withoutTasks = (tools: unknown): unknown =>
  Array.isArray(tools)
    ? tools
        .filter(
          (tool) => !isRecord(tool) || only(tool['execution'], 'taskSupport')['taskSupport'] !== 'required',
        )
        .map((tool: unknown) => (isRecord(tool) ? without(tool, 'execution') : tool))
    : tools

/** A result of a legacy server, for a modern client. */
export const toModern = (method: string, result: Rpc, server: Rpc): Rpc =>
  modernResult(
    method,
    method === 'tools/list' ? { ...result, tools: withoutTasks(result['tools']) } : result,
    server,
  )

/**
 * Output schemas of legacy revisions are objects (SEP-2106). Tools that clients must not use are left out
 * (SEP-2243).
 */
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

/** A complete result of a modern server, for a legacy client. */
export const toLegacy = (method: string, result: Rpc): Rpc => {
  const meta = isRecord(result['_meta']) ? without(result['_meta'], serverInfoKey) : {}
  const plain = {
    ...without(result, 'resultType', 'ttlMs', 'cacheScope', '_meta'),
    ...(Object.keys(meta).length > 0 ? { _meta: meta } : {}),
  }
  if (method === 'tools/list') return { ...plain, tools: legacyTools(result['tools']) }
  return method === 'tools/call' ? legacyCall(plain) : plain
}

/** -32002 of a legacy server is -32602 in the modern revision (SEP-2164). */
export const toModernError = (error: Rpc): Rpc =>
  error['code'] === -32_002 ? { ...error, code: -32_602 } : error

/**
 * -32602 for a resource that was not found names it in its data. For other invalid parameters, the code
 * stays.
 */
export const toLegacyError = (method: string, error: Rpc): Rpc =>
  method === 'resources/read' &&
  error['code'] === -32_602 &&
  isRecord(error['data']) &&
  typeof error['data']['uri'] === 'string'
    ? { ...error, code: -32_002 }
    : error

/**
 * Capabilities of a server that are offered to the client. `notices`: whether it can receive list changes;
 * `watching`: and updates of single resources.
 */
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

/** Capabilities of a client that are declared to the server. */
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

/** Capabilities of a client that cannot be asked: only URLs to open, which fit in an error (-32042). */
export const urlsOnly = (capabilities: Rpc): Rpc => {
  const { elicitation } = capabilities
  return isRecord(elicitation) && isRecord(elicitation['url']) ? { elicitation: { url: {} } } : {}
}

/**
 * The client capability that a request of the server needs; undefined for requests that only one side knows.
 */
export const capabilityOf = (method: unknown): 'roots' | 'sampling' | 'elicitation' | undefined =>
  method === 'roots/list'
    ? 'roots'
    : method === 'sampling/createMessage'
      ? 'sampling'
      : method === 'elicitation/create'
        ? 'elicitation'
        : undefined

/** Whether a client with these capabilities can receive this request. */
export const canReceive = (
  capabilities: Rpc,
  { method, params }: { readonly method?: unknown; readonly params?: unknown },
): boolean => {
  const needed = capabilityOf(method)
  const declared = needed && capabilities[needed]
  if (!isRecord(declared)) return false
  if (needed !== 'elicitation') return true
  // An empty object means forms (2025-11-25 client/elicitation, capabilities).
  return isRecord(params) && params['mode'] === 'url'
    ? isRecord(declared['url'])
    : isRecord(declared['form']) || Object.keys(declared).length === 0
}

/** `params._meta` without the members of the modern revision. */
export const withoutEnvelope = (meta: Rpc): Rpc =>
  without(meta, metaKeys.version, metaKeys.client, metaKeys.capabilities, logLevelKey)

const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

export const isLevel = (level: unknown): level is string =>
  typeof level === 'string' && levels.includes(level)

/** Whether a log message is at least as severe as the level that was asked for. */
export const isLevelWanted = (level: unknown, wanted: string): boolean =>
  levels.indexOf(String(level)) >= levels.indexOf(wanted)

/** Longest that a result for one caller alone may be kept, ms. */
const mostTtlMs = 60_000

/** What the access rules let one caller read is for that caller alone (2026-07-28 server/utilities/caching). */
export const privateResult = (result: Rpc): Rpc => {
  if (!('cacheScope' in result) && !('ttlMs' in result)) return result
  const { ttlMs } = result
  return {
    ...result,
    cacheScope: 'private',
    ttlMs: Math.min(typeof ttlMs === 'number' && ttlMs >= 0 ? ttlMs : 0, mostTtlMs),
  }
}

// Subscriptions (2026-07-28 basic/patterns/subscriptions).

/** Notifications of list changes, with their names in the filter of a subscription and in capabilities. */
export const listChanges: Readonly<Record<string, { readonly filter: string; readonly capability: string }>> =
  {
    'notifications/tools/list_changed': { filter: 'toolsListChanged', capability: 'tools' },
    'notifications/prompts/list_changed': { filter: 'promptsListChanged', capability: 'prompts' },
    'notifications/resources/list_changed': { filter: 'resourcesListChanged', capability: 'resources' },
  }

export const hasFlag = (capabilities: Rpc, capability: string, flag: string): boolean => {
  const declared = capabilities[capability]
  return isRecord(declared) && declared[flag] === true
}

/** List changes that the client asked for and the server declared. */
export const grantedChanges = (wanted: Rpc, capabilities: Rpc): Rpc =>
  Object.fromEntries(
    Object.values(listChanges)
      .filter(
        ({ filter, capability }) =>
          wanted[filter] === true && hasFlag(capabilities, capability, 'listChanged'),
      )
      .map(({ filter }) => [filter, true]),
  )

/** List changes that a subscription to a modern server with these capabilities asks for. */
export const subscribableChanges = (capabilities: Rpc): Rpc =>
  grantedChanges(
    Object.fromEntries(Object.values(listChanges).map(({ filter }) => [filter, true])),
    capabilities,
  )
