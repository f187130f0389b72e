// The steps of a probe in words, and the probe of a server on HTTP+SSE (MCP 2024-11-05) or a WebSocket.
import { Refusal, type RefusalCode } from '../kit/refusal.ts'
import { isEventStream } from '../kit/sse.ts'
import type { TextSocket, Timer, TransportConnectors } from '../ports/runtime.ts'

export interface ProbeStep {
  readonly step: 'reachable' | 'mcp' | 'authorization' | 'tools'
  /** `no` ends the probe; `unknown` does not. */
  readonly result: 'yes' | 'no' | 'unknown'
  /** One sentence for whoever adds the service. */
  readonly say: string
  /** Of the error that calls meet there. */
  readonly refusal?: RefusalCode
}

export type ProbedMessage = Readonly<Record<string, unknown>>

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

/** At most 80 characters of visible ASCII: the text comes from a server that nobody trusts yet. */
export const printable = (text: unknown): string =>
  typeof text === 'string' ? text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 80) : ''

/** The server as its response to `initialize` describes it, without the full stop. */
export const describeServer = (result: ProbedMessage | undefined, otherwise = ''): string => {
  const info = isObject(result?.['serverInfo']) ? result['serverInfo'] : {}
  return `Speaks MCP ${printable(result?.['protocolVersion']) || otherwise}${printable(info['name']) ? `: ${printable(info['name'])} ${printable(info['version'])}`.trimEnd() : ''}`
}

export const describeFailure = (error: unknown): string => {
  if (!(error instanceof Refusal)) throw error
  // The message of a stdio server already names the cause.
  if (!error.code.startsWith('outbound.')) return error.say
  return error.code === 'outbound.refused'
    ? (error.detail.say ??
        'Only public https URLs can be added here. To add a server on a private network, use `postern services add` or the configuration file on the gateway’s computer.')
    : 'The server is unreachable or did not respond in time.'
}

export const toolsStep = (message: ProbedMessage | undefined): ProbeStep => {
  const { tools } = isObject(message?.['result']) ? message['result'] : {}
  if (!Array.isArray(tools))
    return { step: 'tools', result: 'unknown', say: 'The server did not list its tools.' }
  const names = tools.slice(0, 5).flatMap((tool) => (isObject(tool) ? [printable(tool['name'])] : []))
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

export const timeoutMs = 10_000
const maxBytes = 1_048_576
const maxFirstEvent = 16_384

export type ReportStep = (
  step: ProbeStep['step'],
  result: ProbeStep['result'],
  say: string,
  refusal?: RefusalCode,
) => void

/**
 * Whether GET opens an event stream whose first event names the URL for messages, as MCP 2024-11-05 requires.
 */
export const probeEventStream = async (
  url: string,
  { fetch }: TransportConnectors,
  timer: Timer,
): Promise<boolean> => {
  const abort = new AbortController()
  const cancel = timer(timeoutMs, () => abort.abort())
  try {
    const response = await fetch(url, {
      headers: { accept: 'text/event-stream', 'accept-encoding': 'identity' },
      redirect: 'manual',
      signal: abort.signal,
    })
    if (
      response.status !== 200 ||
      !response.body ||
      !isEventStream(response.headers.get('content-type') ?? undefined)
    )
      return false
    let text = ''
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (
      let read = await reader.read();
      !read.done && text.length < maxFirstEvent;
      read = await reader.read()
    ) {
      text += read.value
      if (/^event: ?endpoint\r?$/m.test(text)) return true
    }
    return false
  } catch {
    // No event stream: the response to the first request decides.
    return false
  } finally {
    cancel()
    abort.abort()
  }
}

interface OpenSocket {
  /** Undefined when no response comes in time, or the connection ends. */
  request(message: ProbedMessage): Promise<ProbedMessage | undefined>
  notify(message: ProbedMessage): void
  close(): void
}

const openSocket = async (
  url: string,
  { socket: open }: TransportConnectors,
  timer: Timer,
): Promise<OpenSocket> => {
  const pending = new Map<unknown, (message: ProbedMessage | undefined) => void>()
  const end = (): void => {
    for (const resolve of pending.values()) resolve(undefined)
    pending.clear()
  }
  const text = (received: string): void => {
    const message = parse(received)
    if (message && !('method' in message)) pending.get(message['id'])?.(message)
  }
  const socket: TextSocket = await open(
    url,
    { headers: [], timeoutMs, maxBytes },
    { text, binary: end, alive: () => undefined, closed: end },
  )
  const send = (message: ProbedMessage): void =>
    void Promise.resolve(socket.send(JSON.stringify(message))).catch(end)
  return {
    notify: send,
    async request(message) {
      const cancel = timer(timeoutMs, end)
      const response = new Promise<ProbedMessage | undefined>(
        (resolve) => void pending.set(message['id'], resolve),
      )
      send(message)
      return response.finally(cancel)
    },
    close: () => socket.close(1000, ''),
  }
}

const reportUnopened = (error: unknown, report: ReportStep): void => {
  const { status } = error as { readonly status?: number }
  if (error instanceof Refusal || status === undefined) {
    report(
      'reachable',
      'no',
      describeFailure(error instanceof Refusal ? error : new Refusal('outbound.failed')),
    )
    return
  }
  report('reachable', 'yes', `Server is reachable (status ${status}).`)
  if (status !== 401 && status !== 403) {
    report('mcp', 'no', 'No WebSocket at this URL.')
    return
  }
  report('mcp', 'unknown', 'MCP support is unknown: the server requires a token.')
  report(
    'authorization',
    'yes',
    'Upstream auth required. Set a token in `upstream_auth`, or calls will fail.',
  )
}

export const probeSocket = async (
  url: string,
  connectors: TransportConnectors,
  timer: Timer,
  report: ReportStep,
): Promise<void> => {
  let socket: OpenSocket
  try {
    socket = await openSocket(url, connectors, timer)
  } catch (error) {
    reportUnopened(error, report)
    return
  }
  report('reachable', 'yes', 'Server is reachable.')
  const initialized = await socket.request(initialize)
  if (!isObject(initialized?.['result']))
    report('mcp', 'no', 'The WebSocket opened, but the server does not speak MCP on it.')
  else {
    report('mcp', 'yes', `${describeServer(initialized['result'])} over WebSocket.`)
    report('authorization', 'no', 'No upstream auth; protected only by this gateway.')
    socket.notify({ jsonrpc: '2.0', method: 'notifications/initialized' })
    const { step, result, say } = toolsStep(
      await socket.request({ jsonrpc: '2.0', id: 2, method: 'tools/list', params: {} }),
    )
    report(step, result, say)
  }
  socket.close()
}
