// What stands at a URL, found out step by step before anybody relies on it: does it answer, does it speak MCP, does it want a token, which tools has it.
import { utf8Text } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { isEventStream } from '../kit/sse.ts'
import type { Outbound } from '../ports/runtime.ts'
import type { TransportConnectors, TextSocket } from '../ports/transport.ts'

// One thing found out about a server that somebody wants to add, and how the servers' own words are read and shown.

export interface ProbeStep {
  readonly step: 'reachable' | 'mcp' | 'authorization' | 'tools'
  /** `no` ends the discovery; `unknown` does not. */
  readonly result: 'yes' | 'no' | 'unknown'
  /** For whoever adds the service; one sentence. */
  readonly say: string
}

export type ProbedMessage = Readonly<Record<string, unknown>>

/** What the gateway says of itself to a server it looks at. */
const version = '2025-11-25'
export const client = { name: 'postern', version: '1' }
export const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: version, capabilities: {}, clientInfo: client },
}

export const isObject = (value: unknown): value is ProbedMessage =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const parse = (text: string): ProbedMessage | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) && value['jsonrpc'] === '2.0' ? value : undefined
  } catch {
    return undefined
  }
}

/** What may be shown of a stranger's text: visible ASCII, cut. */
export const shownText = (text: unknown): string =>
  typeof text === 'string' ? text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 80) : ''

/** What its answer to `initialize` says of a server, without the full stop. */
export const sayServer = (result: ProbedMessage | undefined, otherwise = ''): string => {
  const info = isObject(result?.['serverInfo']) ? result['serverInfo'] : {}
  return `Speaks MCP ${shownText(result?.['protocolVersion']) || otherwise}${shownText(info['name']) ? `: ${shownText(info['name'])} ${shownText(info['version'])}`.trimEnd() : ''}`
}

export const sayWhy = (error: unknown): string => {
  if (!(error instanceof Refusal)) throw error
  // A command says itself what is the matter.
  if (!error.code.startsWith('outbound.')) return error.say
  return error.code === 'outbound.refused'
    ? (error.detail.say ??
        'Only public https URLs can be added here. To add a server on a private network, use `postern services add` or the configuration file on the gateway’s computer.')
    : 'The server is unreachable or did not respond in time.'
}

export const toolsOf = (message: ProbedMessage | undefined): ProbeStep => {
  const { tools } = isObject(message?.['result']) ? message['result'] : {}
  if (!Array.isArray(tools))
    return { step: 'tools', result: 'unknown', say: 'The server did not list its tools.' }
  const names = tools.slice(0, 5).flatMap((tool) => (isObject(tool) ? [shownText(tool['name'])] : []))
  const destructive = tools.filter(
    (tool) =>
      isObject(tool) && isObject(tool['annotations']) && tool['annotations']['destructiveHint'] === true,
  ).length
  const more = tools.length > names.length ? ', …' : ''
  return {
    step: 'tools',
    result: 'yes',
    say: `${tools.length} tool${tools.length === 1 ? '' : 's'} found${destructive > 0 ? `, ${destructive} destructive` : ''}${names.length > 0 ? `: ${names.join(', ')}${more}` : ''}.`,
  }
}

// Servers that speak on a line, looked at before they are added: HTTP+SSE (MCP 2024-11-05) and WebSockets.

const patienceMs = 10_000
const mostBytes = 1_048_576
const mostFirst = 16_384

export type ReportStep = (step: ProbeStep['step'], result: ProbeStep['result'], say: string) => void

/** Whether GET opens an event stream that begins by naming where messages are POSTed, as servers of 2024-11-05 do. */
export const probeEvents = async (url: string, { fetch }: TransportConnectors): Promise<boolean> => {
  const leaving = new AbortController()
  const late = setTimeout(() => leaving.abort(), patienceMs)
  try {
    const answer = await fetch(url, {
      headers: { accept: 'text/event-stream', 'accept-encoding': 'identity' },
      redirect: 'manual',
      signal: leaving.signal,
    })
    if (
      answer.status !== 200 ||
      !answer.body ||
      !isEventStream(answer.headers.get('content-type') ?? undefined)
    )
      return false
    let text = ''
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
    for (let read = await reader.read(); !read.done && text.length < mostFirst; read = await reader.read()) {
      text += read.value
      if (/^event: ?endpoint\r?$/m.test(text)) return true
    }
    return false
  } catch {
    // It did not answer so; what it said to the first question stands.
    return false
  } finally {
    clearTimeout(late)
    leaving.abort()
  }
}

interface OpenTransport {
  /** Undefined when no answer comes in time, or never will. */
  ask(message: ProbedMessage): Promise<ProbedMessage | undefined>
  say(message: ProbedMessage): void
  close(): void
}

const talkOn = async (url: string, { socket: open }: TransportConnectors): Promise<OpenTransport> => {
  const waiting = new Map<unknown, (message: ProbedMessage | undefined) => void>()
  const over = (): void => {
    for (const settle of waiting.values()) settle(undefined)
    waiting.clear()
  }
  const text = (said: string): void => {
    const message = parse(said)
    if (message && !('method' in message)) waiting.get(message['id'])?.(message)
  }
  const socket: TextSocket = await open(
    url,
    { headers: [], timeoutMs: patienceMs, maxBytes: mostBytes },
    { text, binary: over, alive: () => undefined, closed: over },
  )
  const say = (message: ProbedMessage): void =>
    void Promise.resolve(socket.send(JSON.stringify(message))).catch(over)
  return {
    say,
    async ask(message) {
      const late = setTimeout(over, patienceMs)
      const answered = new Promise<ProbedMessage | undefined>(
        (resolve) => void waiting.set(message['id'], resolve),
      )
      say(message)
      return answered.finally(() => clearTimeout(late))
    },
    close: () => socket.close(1000, ''),
  }
}

const unopened = (error: unknown, tell: ReportStep): void => {
  const { status } = error as { readonly status?: number }
  if (error instanceof Refusal || status === undefined) {
    tell('reachable', 'no', sayWhy(error instanceof Refusal ? error : new Refusal('outbound.failed')))
    return
  }
  tell('reachable', 'yes', `Server is reachable (status ${status}).`)
  if (status !== 401 && status !== 403) {
    tell('mcp', 'no', 'No WebSocket at this URL.')
    return
  }
  tell('mcp', 'unknown', 'MCP support is unknown: the server requires a token.')
  tell('authorization', 'yes', 'Upstream auth required. Set a token in `upstream_auth`, or calls will fail.')
}

export const probeSocket = async (
  url: string,
  tools: TransportConnectors,
  tell: ReportStep,
): Promise<void> => {
  let talk: OpenTransport
  try {
    talk = await talkOn(url, tools)
  } catch (error) {
    unopened(error, tell)
    return
  }
  tell('reachable', 'yes', 'Server is reachable.')
  const opened = await talk.ask(initialize)
  if (!isObject(opened?.['result']))
    tell('mcp', 'no', 'The WebSocket opened, but the server does not speak MCP on it.')
  else {
    tell('mcp', 'yes', `${sayServer(opened['result'])} over WebSocket.`)
    tell('authorization', 'no', 'No upstream auth; protected only by this gateway.')
    talk.say({ jsonrpc: '2.0', method: 'notifications/initialized' })
    const listed = toolsOf(await talk.ask({ jsonrpc: '2.0', id: 2, method: 'tools/list', params: {} }))
    tell(listed.step, listed.result, listed.say)
  }
  talk.close()
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly message: ProbedMessage | undefined
}

const modern = '2026-07-28'
const modernMeta = {
  'io.modelcontextprotocol/protocolVersion': modern,
  'io.modelcontextprotocol/clientInfo': client,
  'io.modelcontextprotocol/clientCapabilities': {},
}

/** The response among the events of a stream, or the body itself. */
const messageOf = (type: string, text: string): ProbedMessage | undefined => {
  if (!isEventStream(type)) return parse(text)
  const events = text.split(/\r?\n\r?\n/).map((event) =>
    event
      .split(/\r?\n/)
      .flatMap((line) => (line.startsWith('data:') ? [line.slice(5).trimStart()] : []))
      .join('\n'),
  )
  return events
    .map(parse)
    .find((message) => message !== undefined && ('result' in message || 'error' in message))
}

interface Talk {
  readonly url: string
  readonly outbound: Outbound
}

/** Where a 307 or 308 leads within the origin, as calls will follow it. */
const ledTo = (
  url: string,
  { status, headers }: { readonly status: number; readonly headers: Headers },
): string | undefined => {
  const location = headers.get('location') ?? ''
  if ((status !== 307 && status !== 308) || !URL.canParse(location, url)) return undefined
  const to = new URL(location, url)
  return to.origin === new URL(url).origin && to.username === '' && to.password === '' && to.href !== url
    ? to.href
    : undefined
}

const ask = async (
  { url, outbound }: Talk,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> => {
  const answer = await outbound(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...headers,
    },
    body: JSON.stringify(body),
    timeoutMs: 10_000,
  })
  return {
    status: answer.status,
    headers: answer.headers,
    message: messageOf(answer.headers.get('content-type') ?? '', utf8Text(answer.body)),
  }
}

const listLegacy = async (talk: Talk, opened: Answer, negotiated: string): Promise<ProbeStep> => {
  const session = opened.headers.get('mcp-session-id')
  const headers = {
    'mcp-protocol-version': negotiated,
    ...(session === null ? {} : { 'mcp-session-id': session }),
  }
  await ask(talk, { jsonrpc: '2.0', method: 'notifications/initialized' }, headers)
  const listed = toolsOf(
    (await ask(talk, { jsonrpc: '2.0', id: 2, method: 'tools/list', params: {} }, headers)).message,
  )
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

const tokenSteps = ({ headers }: Answer, tell: ReportStep): void => {
  const oauth = /resource_metadata=/i.test(headers.get('www-authenticate') ?? '')
  tell(
    'mcp',
    oauth ? 'yes' : 'unknown',
    oauth ? 'MCP authorization is announced.' : 'MCP support is unknown: the server requires a token.',
  )
  tell(
    'authorization',
    'yes',
    oauth
      ? 'Upstream auth required: each user connects an account.'
      : 'Upstream auth required. Set a token in `upstream_auth`, or calls will fail.',
  )
}

const toolStep = async (
  talk: Talk,
  opened: Answer,
  result: ProbedMessage | undefined,
): Promise<ProbeStep> => {
  try {
    if (result) return await listLegacy(talk, opened, shownText(result['protocolVersion']) || modern)
    return toolsOf(
      (
        await ask(
          talk,
          { jsonrpc: '2.0', id: 2, method: 'tools/list', params: { _meta: modernMeta } },
          { 'mcp-protocol-version': modern, 'mcp-method': 'tools/list' },
        )
      ).message,
    )
  } catch {
    return { step: 'tools', result: 'unknown', say: 'The server did not list its tools.' }
  }
}

/** The first answer, from wherever calls will be led: `elsewhere` is the other place of a URL without a path. */
const openAt = async (
  talk: Talk,
  elsewhere: string | undefined,
): Promise<{ readonly talk: Talk; readonly opened: Answer }> => {
  const opened = await ask(talk, initialize)
  const led = ledTo(talk.url, opened)
  if (led !== undefined)
    return { talk: { ...talk, url: led }, opened: await ask({ ...talk, url: led }, initialize) }
  if (elsewhere === undefined || (opened.status !== 404 && opened.status !== 405)) return { talk, opened }
  const other = { ...talk, url: elsewhere }
  const there = await ask(other, initialize).catch(() => opened)
  return there.message !== undefined || wantsToken(there) ? { talk: other, opened: there } : { talk, opened }
}

const redirected = ({ status, headers }: Answer): string =>
  `The server redirects (${status}) to ${(headers.get('location') ?? 'an empty Location').slice(0, 300)}. Use the final URL.`

const lookAtHttp = async (
  asked: Talk,
  elsewhere: string | undefined,
  transports: TransportConnectors | undefined,
  tell: ReportStep,
): Promise<void> => {
  let found: Awaited<ReturnType<typeof openAt>>
  try {
    found = await openAt(asked, elsewhere)
  } catch (error) {
    tell('reachable', 'no', sayWhy(error))
    return
  }
  const { talk, opened } = found
  tell(
    'reachable',
    'yes',
    opened.status === 200 ? 'Server is reachable.' : `Server is reachable (status ${opened.status}).`,
  )
  if (wantsToken(opened)) tokenSteps(opened, tell)
  else if (opened.status >= 300 && opened.status < 400) tell('mcp', 'no', redirected(opened))
  else if (hasFailed(opened)) {
    const { message } = isObject(opened.message?.['error']) ? opened.message['error'] : {}
    tell(
      'mcp',
      'no',
      `The server failed: ${shownText(message) || `status ${opened.status}`}${/[.!?]$/.test(shownText(message)) ? '' : '.'}`,
    )
  } else if (opened.message && ('result' in opened.message || 'error' in opened.message)) {
    const result = isObject(opened.message['result']) ? opened.message['result'] : undefined
    tell('mcp', 'yes', `${sayServer(result, modern)}.`)
    tell('authorization', 'no', 'No upstream auth; protected only by this gateway.')
    const { step, result: found, say } = await toolStep(talk, opened, result)
    tell(step, found, say)
  } else if (transports && mayBeLegacy.has(opened.status) && (await probeEvents(talk.url, transports))) {
    tell('mcp', 'yes', 'Speaks MCP 2024-11-05 (HTTP+SSE).')
    tell('authorization', 'no', 'No upstream auth; protected only by this gateway.')
    tell('tools', 'unknown', 'Tools are listed when a client connects.')
  } else tell('mcp', 'no', 'No MCP server at this URL.')
}

export interface ProbeMeans {
  readonly outbound: Outbound
  /** For servers on a line; absent where there can be none. */
  readonly transports?: TransportConnectors
  /** The other place where the server may be, for a URL without a path. */
  readonly elsewhere?: string | undefined
}

/** Says each step as it is known. Ends after the first `no`; a server that wants a token ends it too, because nobody has one yet. */
export const probeServer = async (
  url: string,
  { outbound, transports, elsewhere }: ProbeMeans,
  told: (step: ProbeStep) => void,
): Promise<readonly ProbeStep[]> => {
  const steps: ProbeStep[] = []
  const tell: ReportStep = (step, result, say) => {
    steps.push({ step, result, say })
    told({ step, result, say })
  }
  if (transports && /^wss?:/i.test(url)) await probeSocket(url, transports, tell)
  else await lookAtHttp({ url, outbound }, elsewhere, transports, tell)
  return steps
}

/** Whether a service that answered so should be kept: it was reached, and nothing spoke against MCP. */
export const isUsable = (steps: readonly ProbeStep[]): boolean =>
  !steps.some(({ step, result }) => (step === 'reachable' || step === 'mcp') && result === 'no')
