// What stands at a URL, found out step by step before anybody relies on it: does it answer, does it speak MCP, does it want a token, which tools has it.
import { utf8Text } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Outbound } from '../ports/runtime.ts'

export interface Step {
  readonly step: 'reachable' | 'mcp' | 'authorization' | 'tools'
  /** `no` ends the discovery; `unknown` does not. */
  readonly result: 'yes' | 'no' | 'unknown'
  /** For whoever adds the service; one sentence. */
  readonly say: string
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly message: Readonly<Record<string, unknown>> | undefined
}

const version = '2025-11-25'
const modern = '2026-07-28'
const client = { name: 'postern', version: '1' }
const modernMeta = { 'io.modelcontextprotocol/protocolVersion': modern, 'io.modelcontextprotocol/clientInfo': client, 'io.modelcontextprotocol/clientCapabilities': {} }

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === 'object' && value !== null && !Array.isArray(value)

const parse = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) && value['jsonrpc'] === '2.0' ? value : undefined
  } catch {
    return undefined
  }
}

/** The response among the events of a stream, or the body itself. */
const messageOf = (type: string, text: string): Readonly<Record<string, unknown>> | undefined => {
  if (!type.includes('text/event-stream')) return parse(text)
  const events = text.split(/\r?\n\r?\n/).map((event) =>
    event
      .split(/\r?\n/)
      .flatMap((line) => (line.startsWith('data:') ? [line.slice(5).trimStart()] : []))
      .join('\n'),
  )
  return events.map(parse).find((message) => message !== undefined && ('result' in message || 'error' in message))
}

/** What may be shown of a stranger's text: visible ASCII, cut. */
const shown = (text: unknown): string => (typeof text === 'string' ? text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 80) : '')

const sayWhy = (error: unknown): string => {
  if (!(error instanceof Refusal)) throw error
  // A command says itself what is the matter.
  if (!error.code.startsWith('outbound.')) return error.say
  return error.code === 'outbound.refused'
    ? 'The gateway does not go there by itself: only public https addresses. A server on a private network is added on the gateway’s own computer, with postern services add or in the configuration file.'
    : 'Nothing answers there, or not in time.'
}

interface Talk {
  readonly url: string
  readonly outbound: Outbound
}

const ask = async ({ url, outbound }: Talk, body: object, headers: Readonly<Record<string, string>> = {}): Promise<Answer> => {
  const answer = await outbound(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers },
    body: JSON.stringify(body),
    timeoutMs: 10_000,
  })
  return { status: answer.status, headers: answer.headers, message: messageOf(answer.headers.get('content-type') ?? '', utf8Text(answer.body)) }
}

const toolsOf = ({ message }: Answer): Step => {
  const { tools } = isObject(message?.['result']) ? message['result'] : {}
  if (!Array.isArray(tools)) return { step: 'tools', result: 'unknown', say: 'It did not list its tools.' }
  const names = tools.slice(0, 5).flatMap((tool) => (isObject(tool) ? [shown(tool['name'])] : []))
  const destructive = tools.filter((tool) => isObject(tool) && isObject(tool['annotations']) && tool['annotations']['destructiveHint'] === true).length
  const more = tools.length > names.length ? ', …' : ''
  return { step: 'tools', result: 'yes', say: `${tools.length} tool${tools.length === 1 ? '' : 's'} found${destructive > 0 ? `, ${destructive} destructive` : ''}${names.length > 0 ? `: ${names.join(', ')}${more}` : ''}.` }
}

const listLegacy = async (talk: Talk, opened: Answer, negotiated: string): Promise<Step> => {
  const session = opened.headers.get('mcp-session-id')
  const headers = { 'mcp-protocol-version': negotiated, ...(session === null ? {} : { 'mcp-session-id': session }) }
  await ask(talk, { jsonrpc: '2.0', method: 'notifications/initialized' }, headers)
  const listed = toolsOf(await ask(talk, { jsonrpc: '2.0', id: 2, method: 'tools/list', params: {} }, headers))
  // RFC-less courtesy of the transport: a session nobody will use is ended.
  if (session !== null) await talk.outbound(talk.url, { method: 'DELETE', headers }).catch(() => undefined)
  return listed
}

const wantsToken = ({ status }: Answer): boolean => status === 401 || status === 403

/** Says each step as it is known. Ends after the first `no`; a server that wants a token ends it too, because nobody has one yet. */
export const discover = async (url: string, outbound: Outbound, told: (step: Step) => void): Promise<readonly Step[]> => {
  const steps: Step[] = []
  const tell = (step: Step['step'], result: Step['result'], say: string): void => {
    steps.push({ step, result, say })
    told({ step, result, say })
  }
  const talk = { url, outbound }
  let opened: Answer
  try {
    opened = await ask(talk, { jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: version, capabilities: {}, clientInfo: client } })
  } catch (error) {
    tell('reachable', 'no', sayWhy(error))
    return steps
  }
  tell('reachable', 'yes', opened.status === 200 ? 'It answers.' : `It answers with status ${opened.status}.`)
  if (wantsToken(opened)) {
    const oauth = /resource_metadata=/i.test(opened.headers.get('www-authenticate') ?? '')
    tell('mcp', oauth ? 'yes' : 'unknown', oauth ? 'It announces the authorization of an MCP server.' : 'It answers nobody without a token, so this cannot be seen.')
    tell('authorization', 'yes', 'It wants a token of its own. Until the gateway has one for it, calls end with a refusal.')
    return steps
  }
  if (opened.status >= 300 && opened.status < 400) {
    tell('mcp', 'no', 'It redirects, and the gateway follows no redirect: give the final URL.')
    return steps
  }
  const result = isObject(opened.message?.['result']) ? opened.message['result'] : undefined
  if (!opened.message) {
    tell('mcp', 'no', 'It does not speak MCP (Streamable HTTP) at this URL.')
    return steps
  }
  const info = isObject(result?.['serverInfo']) ? result['serverInfo'] : {}
  const negotiated = shown(result?.['protocolVersion']) || modern
  tell('mcp', 'yes', `It speaks MCP ${negotiated}${shown(info['name']) ? `: ${shown(info['name'])} ${shown(info['version'])}`.trimEnd() : ''}.`)
  tell('authorization', 'no', 'It wants no token: only the gateway’s login protects it.')
  const tools = await (result
    ? listLegacy(talk, opened, negotiated)
    : ask(talk, { jsonrpc: '2.0', id: 2, method: 'tools/list', params: { _meta: modernMeta } }, { 'mcp-protocol-version': modern, 'mcp-method': 'tools/list' }).then(toolsOf)
  ).catch((): Step => ({ step: 'tools', result: 'unknown', say: 'It did not list its tools.' }))
  tell(tools.step, tools.result, tools.say)
  return steps
}

/** Whether a service that answered so should be kept: it was reached, and nothing spoke against MCP. */
export const isUsable = (steps: readonly Step[]): boolean => !steps.some(({ step, result }) => (step === 'reachable' || step === 'mcp') && result === 'no')
