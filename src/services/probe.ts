// The probe of a server before it is added: is it reachable, does it speak MCP, does it require a token,
// which tools does it have?
import { utf8Text } from '../kit/bytes.ts'
import { isEventStream } from '../kit/sse.ts'
import type { Outbound, Timer, TransportConnectors } from '../ports/runtime.ts'
import {
  type ProbeStep,
  type ProbedMessage,
  type ReportStep,
  client,
  describeFailure,
  describeServer,
  initialize,
  isObject,
  parse,
  printable,
  probeEventStream,
  probeSocket,
  timeoutMs,
  toolsStep,
} from './probe-steps.ts'

interface ProbeResponse {
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

interface Target {
  readonly url: string
  readonly outbound: Outbound
}

/** The target of a 307 or 308 within the origin, which calls follow as well. */
const redirectTarget = (
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

const post = async (
  { url, outbound }: Target,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<ProbeResponse> => {
  const response = await outbound(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...headers,
    },
    body: JSON.stringify(body),
    timeoutMs,
  })
  return {
    status: response.status,
    headers: response.headers,
    message: messageOf(response.headers.get('content-type') ?? '', utf8Text(response.body)),
  }
}

const listLegacy = async (target: Target, opened: ProbeResponse, negotiated: string): Promise<ProbeStep> => {
  const session = opened.headers.get('mcp-session-id')
  const headers = {
    'mcp-protocol-version': negotiated,
    ...(session === null ? {} : { 'mcp-session-id': session }),
  }
  await post(target, { jsonrpc: '2.0', method: 'notifications/initialized' }, headers)
  const listed = toolsStep(
    (await post(target, { jsonrpc: '2.0', id: 2, method: 'tools/list', params: {} }, headers)).message,
  )
  // Nobody will use this session again.
  if (session !== null)
    await target.outbound(target.url, { method: 'DELETE', headers }).catch(() => undefined)
  return listed
}

/**
 * How a server without Streamable HTTP responds to the first request (MCP 2025-11-25 transports, Backwards
 * Compatibility).
 */
const mayBeLegacy = new Set([400, 404, 405])

const requiresToken = ({ status }: ProbeResponse): boolean => status === 401 || status === 403

/** By its status, or by the gateway's own error about a stdio server (1000 plus the HTTP status). */
const hasFailed = ({ status, message }: ProbeResponse): boolean => {
  const { code } = isObject(message?.['error']) ? message['error'] : {}
  return status >= 500 || (typeof code === 'number' && code >= 1500 && code < 1600)
}

const reportToken = ({ headers }: ProbeResponse, report: ReportStep): void => {
  const oauth = /resource_metadata=/i.test(headers.get('www-authenticate') ?? '')
  report(
    'mcp',
    oauth ? 'yes' : 'unknown',
    oauth ? 'MCP authorization is announced.' : 'MCP support is unknown: the server requires a token.',
  )
  report(
    'authorization',
    'yes',
    oauth
      ? 'Upstream auth required: each user connects an account.'
      : 'Upstream auth required. Set a token in `upstream_auth`, or calls will fail.',
  )
}

const toolStep = async (
  target: Target,
  opened: ProbeResponse,
  result: ProbedMessage | undefined,
): Promise<ProbeStep> => {
  try {
    if (result) return await listLegacy(target, opened, printable(result['protocolVersion']) || modern)
    return toolsStep(
      (
        await post(
          target,
          { jsonrpc: '2.0', id: 2, method: 'tools/list', params: { _meta: modernMeta } },
          { 'mcp-protocol-version': modern, 'mcp-method': 'tools/list' },
        )
      ).message,
    )
  } catch {
    return { step: 'tools', result: 'unknown', say: 'The server did not list its tools.' }
  }
}

/**
 * The first response, from the URL that calls will reach. `alternative`: the other path that a URL without
 * one may mean.
 */
const openAt = async (
  target: Target,
  alternative: string | undefined,
): Promise<{ readonly target: Target; readonly opened: ProbeResponse }> => {
  const opened = await post(target, initialize)
  const redirected = redirectTarget(target.url, opened)
  if (redirected !== undefined) {
    const next = { ...target, url: redirected }
    return { target: next, opened: await post(next, initialize) }
  }
  if (alternative === undefined || (opened.status !== 404 && opened.status !== 405)) return { target, opened }
  const other = { ...target, url: alternative }
  const found = await post(other, initialize).catch(() => opened)
  return found.message !== undefined || requiresToken(found)
    ? { target: other, opened: found }
    : { target, opened }
}

const describeRedirect = ({ status, headers }: ProbeResponse): string =>
  `The server redirects (${status}) to ${(headers.get('location') ?? 'an empty Location').slice(0, 300)}. Use the final URL.`

const describeError = ({ status, message }: ProbeResponse): string => {
  const { message: text } = isObject(message?.['error']) ? message['error'] : {}
  const shown = printable(text)
  return `The server failed: ${shown || `status ${status}`}${/[.!?]$/.test(shown) ? '' : '.'}`
}

const isJsonRpcResponse = (message: ProbedMessage | undefined): message is ProbedMessage =>
  message !== undefined && ('result' in message || 'error' in message)

const noUpstreamAuth = 'No upstream auth; protected only by this gateway.'

const reportMcp = async (
  target: Target,
  opened: ProbeResponse,
  message: ProbedMessage,
  report: ReportStep,
): Promise<void> => {
  const result = isObject(message['result']) ? message['result'] : undefined
  report('mcp', 'yes', `${describeServer(result, modern)}.`)
  report('authorization', 'no', noUpstreamAuth)
  const tools = await toolStep(target, opened, result)
  report(tools.step, tools.result, tools.say)
}

const reportNoMcp = async (
  url: string,
  { status, headers }: ProbeResponse,
  { transports, timer }: ProbeDeps,
  report: ReportStep,
): Promise<void> => {
  if (!transports || !mayBeLegacy.has(status) || !(await probeEventStream(url, transports, timer))) {
    const isTyped = /^(?:application\/json|text\/event-stream)\b/i.test(headers.get('content-type') ?? '')
    report('mcp', 'no', 'No MCP server at this URL.', isTyped ? 'upstream.message' : 'upstream.media-type')
    return
  }
  report('mcp', 'yes', 'Speaks MCP 2024-11-05 (HTTP+SSE).')
  report('authorization', 'no', noUpstreamAuth)
  report('tools', 'unknown', 'Tools are listed when a client connects.')
}

const probeHttp = async (url: string, deps: ProbeDeps, report: ReportStep): Promise<void> => {
  let found: Awaited<ReturnType<typeof openAt>>
  try {
    found = await openAt({ url, outbound: deps.outbound }, deps.alternative)
  } catch (error) {
    report('reachable', 'no', describeFailure(error))
    return
  }
  const { target, opened } = found
  const { status, message } = opened
  report(
    'reachable',
    'yes',
    status === 200 ? 'Server is reachable.' : `Server is reachable (status ${status}).`,
  )
  if (requiresToken(opened)) reportToken(opened, report)
  else if (status >= 300 && status < 400) report('mcp', 'no', describeRedirect(opened), 'upstream.redirect')
  else if (hasFailed(opened)) report('mcp', 'no', describeError(opened))
  else if (isJsonRpcResponse(message)) await reportMcp(target, opened, message, report)
  else await reportNoMcp(target.url, opened, deps, report)
}

export interface ProbeDeps {
  readonly outbound: Outbound
  readonly timer: Timer
  /** For servers on HTTP+SSE or a WebSocket; absent where there can be none. */
  readonly transports?: TransportConnectors
  /** The other URL where the server may be, for a URL without a path. */
  readonly alternative?: string | undefined
}

/**
 * Reports each step as it is known. A `no` is the last step, and so is a server that requires a token,
 * because nobody has one yet.
 */
export const probeServer = async (
  url: string,
  deps: ProbeDeps,
  onStep: (step: ProbeStep) => void,
): Promise<readonly ProbeStep[]> => {
  const steps: ProbeStep[] = []
  const report: ReportStep = (step, result, say, refusal) => {
    steps.push({ step, result, say, ...(refusal !== undefined && { refusal }) })
    onStep({ step, result, say })
  }
  if (deps.transports && /^wss?:/i.test(url)) await probeSocket(url, deps.transports, deps.timer, report)
  else await probeHttp(url, deps, report)
  return steps
}

/** Whether the service can be kept: the server is reachable, and nothing speaks against MCP. */
export const isUsable = (steps: readonly ProbeStep[]): boolean =>
  !steps.some(({ step, result }) => (step === 'reachable' || step === 'mcp') && result === 'no')
