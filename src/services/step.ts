// One thing found out about a server that somebody wants to add, and how the servers' own words are read and shown.
import { Refusal } from '../kit/refusal.ts'

export interface Step {
  readonly step: 'reachable' | 'mcp' | 'authorization' | 'tools'
  /** `no` ends the discovery; `unknown` does not. */
  readonly result: 'yes' | 'no' | 'unknown'
  /** For whoever adds the service; one sentence. */
  readonly say: string
}

export type Message = Readonly<Record<string, unknown>>

/** What the gateway says of itself to a server it looks at. */
const version = '2025-11-25'
export const client = { name: 'postern', version: '1' }
export const initialize = { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: version, capabilities: {}, clientInfo: client } }

export const isObject = (value: unknown): value is Message => typeof value === 'object' && value !== null && !Array.isArray(value)

export const parse = (text: string): Message | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) && value['jsonrpc'] === '2.0' ? value : undefined
  } catch {
    return undefined
  }
}

/** What may be shown of a stranger's text: visible ASCII, cut. */
export const shown = (text: unknown): string => (typeof text === 'string' ? text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 80) : '')

/** What its answer to `initialize` says of a server, without the full stop. */
export const sayServer = (result: Message | undefined, otherwise = ''): string => {
  const info = isObject(result?.['serverInfo']) ? result['serverInfo'] : {}
  return `Speaks MCP ${shown(result?.['protocolVersion']) || otherwise}${shown(info['name']) ? `: ${shown(info['name'])} ${shown(info['version'])}`.trimEnd() : ''}`
}

export const sayWhy = (error: unknown): string => {
  if (!(error instanceof Refusal)) throw error
  // A command says itself what is the matter.
  if (!error.code.startsWith('outbound.')) return error.say
  return error.code === 'outbound.refused'
    ? (error.detail.say ?? 'Only public https URLs can be added here. To add a server on a private network, use `postern services add` or the configuration file on the gateway’s computer.')
    : 'The server is unreachable or did not respond in time.'
}

export const toolsOf = (message: Message | undefined): Step => {
  const { tools } = isObject(message?.['result']) ? message['result'] : {}
  if (!Array.isArray(tools)) return { step: 'tools', result: 'unknown', say: 'The server did not list its tools.' }
  const names = tools.slice(0, 5).flatMap((tool) => (isObject(tool) ? [shown(tool['name'])] : []))
  const destructive = tools.filter((tool) => isObject(tool) && isObject(tool['annotations']) && tool['annotations']['destructiveHint'] === true).length
  const more = tools.length > names.length ? ', …' : ''
  return { step: 'tools', result: 'yes', say: `${tools.length} tool${tools.length === 1 ? '' : 's'} found${destructive > 0 ? `, ${destructive} destructive` : ''}${names.length > 0 ? `: ${names.join(', ')}${more}` : ''}.` }
}
