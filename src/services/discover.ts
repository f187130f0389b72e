// What stands at a URL, found out step by step before anybody relies on it: does it answer, does it speak MCP, does it want a token, which tools has it.
import { utf8Text } from '../kit/bytes.ts'
import { isEventStream } from '../kit/events.ts'
import type { LineTools } from '../ports/lines.ts'
import type { Outbound } from '../ports/runtime.ts'
import { lookAtEvents, lookAtSocket, type Tell } from './discover-lines.ts'
import { client, initialize, isObject, type Message, parse, sayServer, sayWhy, shown, type Step, toolsOf } from './step.ts'

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly message: Message | undefined
}

const modern = '2026-07-28'
const modernMeta = { 'io.modelcontextprotocol/protocolVersion': modern, 'io.modelcontextprotocol/clientInfo': client, 'io.modelcontextprotocol/clientCapabilities': {} }

/** The response among the events of a stream, or the body itself. */
const messageOf = (type: string, text: string): Message | undefined => {
  if (!isEventStream(type)) return parse(text)
  const events = text.split(/\r?\n\r?\n/).map((event) =>
    event
      .split(/\r?\n/)
      .flatMap((line) => (line.startsWith('data:') ? [line.slice(5).trimStart()] : []))
      .join('\n'),
  )
  return events.map(parse).find((message) => message !== undefined && ('result' in message || 'error' in message))
}

interface Talk {
  readonly url: string
  readonly outbound: Outbound
}

/** Where a 307 or 308 leads within the origin, as calls will follow it. */
const ledTo = (url: string, { status, headers }: { readonly status: number; readonly headers: Headers }): string | undefined => {
  const location = headers.get('location') ?? ''
  if ((status !== 307 && status !== 308) || !URL.canParse(location, url)) return undefined
  const to = new URL(location, url)
  return to.origin === new URL(url).origin && to.username === '' && to.password === '' && to.href !== url ? to.href : undefined
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

const listLegacy = async (talk: Talk, opened: Answer, negotiated: string): Promise<Step> => {
  const session = opened.headers.get('mcp-session-id')
  const headers = { 'mcp-protocol-version': negotiated, ...(session === null ? {} : { 'mcp-session-id': session }) }
  await ask(talk, { jsonrpc: '2.0', method: 'notifications/initialized' }, headers)
  const listed = toolsOf((await ask(talk, { jsonrpc: '2.0', id: 2, method: 'tools/list', params: {} }, headers)).message)
  // RFC-less courtesy of the transport: a session nobody will use is ended.
  if (session !== null) await talk.outbound(talk.url, { method: 'DELETE', headers }).catch(() => undefined)
  return listed
}

/** What a server without Streamable HTTP answers to its first question (MCP 2025-11-25 transports, Backwards Compatibility). */
const mayBeLegacy = new Set([400, 404, 405])

const wantsToken = ({ status }: Answer): boolean => status === 401 || status === 403

/** A status that says so, or what the gateway itself says of a command that did not answer (1000 and the HTTP status). */
const hasFailed = ({ status, message }: Answer): boolean => {
  const { code } = isObject(message?.['error']) ? message['error'] : {}
  return status >= 500 || (typeof code === 'number' && code >= 1500 && code < 1600)
}

const tokenSteps = ({ headers }: Answer, tell: Tell): void => {
  const oauth = /resource_metadata=/i.test(headers.get('www-authenticate') ?? '')
  tell('mcp', oauth ? 'yes' : 'unknown', oauth ? 'MCP authorization is announced.' : 'MCP support is unknown: the server requires a token.')
  tell(
    'authorization',
    'yes',
    oauth ? 'Upstream auth required: each user connects an account.' : 'Upstream auth required. Set a token in `upstream_auth`, or calls will fail.',
  )
}

const toolStep = async (talk: Talk, opened: Answer, result: Message | undefined): Promise<Step> => {
  try {
    if (result) return await listLegacy(talk, opened, shown(result['protocolVersion']) || modern)
    return toolsOf((await ask(talk, { jsonrpc: '2.0', id: 2, method: 'tools/list', params: { _meta: modernMeta } }, { 'mcp-protocol-version': modern, 'mcp-method': 'tools/list' })).message)
  } catch {
    return { step: 'tools', result: 'unknown', say: 'The server did not list its tools.' }
  }
}

/** The first answer, from wherever calls will be led: `elsewhere` is the other place of a URL without a path. */
const openAt = async (talk: Talk, elsewhere: string | undefined): Promise<{ readonly talk: Talk; readonly opened: Answer }> => {
  const opened = await ask(talk, initialize)
  const led = ledTo(talk.url, opened)
  if (led !== undefined) return { talk: { ...talk, url: led }, opened: await ask({ ...talk, url: led }, initialize) }
  if (elsewhere === undefined || (opened.status !== 404 && opened.status !== 405)) return { talk, opened }
  const other = { ...talk, url: elsewhere }
  const there = await ask(other, initialize).catch(() => opened)
  return there.message !== undefined || wantsToken(there) ? { talk: other, opened: there } : { talk, opened }
}

const redirected = ({ status, headers }: Answer): string => `The server redirects (${status}) to ${(headers.get('location') ?? 'an empty Location').slice(0, 300)}. Use the final URL.`

const lookAtHttp = async (asked: Talk, elsewhere: string | undefined, lines: LineTools | undefined, tell: Tell): Promise<void> => {
  let found: Awaited<ReturnType<typeof openAt>>
  try {
    found = await openAt(asked, elsewhere)
  } catch (error) {
    tell('reachable', 'no', sayWhy(error))
    return
  }
  const { talk, opened } = found
  tell('reachable', 'yes', opened.status === 200 ? 'Server is reachable.' : `Server is reachable (status ${opened.status}).`)
  if (wantsToken(opened)) tokenSteps(opened, tell)
  else if (opened.status >= 300 && opened.status < 400) tell('mcp', 'no', redirected(opened))
  else if (hasFailed(opened)) {
    const { message } = isObject(opened.message?.['error']) ? opened.message['error'] : {}
    tell('mcp', 'no', `The server failed: ${shown(message) || `status ${opened.status}`}${/[.!?]$/.test(shown(message)) ? '' : '.'}`)
  } else if (opened.message && ('result' in opened.message || 'error' in opened.message)) {
    const result = isObject(opened.message['result']) ? opened.message['result'] : undefined
    tell('mcp', 'yes', `${sayServer(result, modern)}.`)
    tell('authorization', 'no', 'No upstream auth; protected only by this gateway.')
    const { step, result: found, say } = await toolStep(talk, opened, result)
    tell(step, found, say)
  } else if (lines && mayBeLegacy.has(opened.status) && (await lookAtEvents(talk.url, lines))) {
    tell('mcp', 'yes', 'Speaks MCP 2024-11-05 (HTTP+SSE).')
    tell('authorization', 'no', 'No upstream auth; protected only by this gateway.')
    tell('tools', 'unknown', 'Tools are listed when a client connects.')
  } else tell('mcp', 'no', 'No MCP server at this URL.')
}

export interface Means {
  readonly outbound: Outbound
  /** For servers on a line; absent where there can be none. */
  readonly lines?: LineTools
  /** The other place where the server may be, for a URL without a path. */
  readonly elsewhere?: string | undefined
}

/** Says each step as it is known. Ends after the first `no`; a server that wants a token ends it too, because nobody has one yet. */
export const discover = async (url: string, { outbound, lines, elsewhere }: Means, told: (step: Step) => void): Promise<readonly Step[]> => {
  const steps: Step[] = []
  const tell: Tell = (step, result, say) => {
    steps.push({ step, result, say })
    told({ step, result, say })
  }
  if (lines && /^wss?:/i.test(url)) await lookAtSocket(url, lines, tell)
  else await lookAtHttp({ url, outbound }, elsewhere, lines, tell)
  return steps
}

/** Whether a service that answered so should be kept: it was reached, and nothing spoke against MCP. */
export const isUsable = (steps: readonly Step[]): boolean => !steps.some(({ step, result }) => (step === 'reachable' || step === 'mcp') && result === 'no')
