// Servers that speak on a line, looked at before they are added: HTTP+SSE (MCP 2024-11-05) and WebSockets.
import { isEventStream } from '../kit/events.ts'
import { Refusal } from '../kit/refusal.ts'
import type { LineTools, Socket } from '../ports/lines.ts'
import { initialize, isObject, type Message, parse, sayServer, sayWhy, type Step, toolsOf } from './step.ts'

const patienceMs = 10_000
const mostBytes = 1_048_576
const mostFirst = 16_384

export type Tell = (step: Step['step'], result: Step['result'], say: string) => void

/** Whether GET opens an event stream that begins by naming where messages are POSTed, as servers of 2024-11-05 do. */
export const lookAtEvents = async (url: string, { fetch }: LineTools): Promise<boolean> => {
  const leaving = new AbortController()
  const late = setTimeout(() => leaving.abort(), patienceMs)
  try {
    const answer = await fetch(url, { headers: { accept: 'text/event-stream', 'accept-encoding': 'identity' }, redirect: 'manual', signal: leaving.signal })
    if (answer.status !== 200 || !answer.body || !isEventStream(answer.headers.get('content-type') ?? undefined)) return false
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

interface Talk {
  /** Undefined when no answer comes in time, or never will. */
  ask(message: Message): Promise<Message | undefined>
  say(message: Message): void
  close(): void
}

const talkOn = async (url: string, { socket: open }: LineTools): Promise<Talk> => {
  const waiting = new Map<unknown, (message: Message | undefined) => void>()
  const over = (): void => {
    for (const settle of waiting.values()) settle(undefined)
    waiting.clear()
  }
  const text = (said: string): void => {
    const message = parse(said)
    if (message && !('method' in message)) waiting.get(message['id'])?.(message)
  }
  const socket: Socket = await open(url, { headers: [], timeoutMs: patienceMs, maxBytes: mostBytes }, { text, binary: over, alive: () => undefined, closed: over })
  const say = (message: Message): void => void Promise.resolve(socket.send(JSON.stringify(message))).catch(over)
  return {
    say,
    async ask(message) {
      const late = setTimeout(over, patienceMs)
      const answered = new Promise<Message | undefined>((resolve) => void waiting.set(message['id'], resolve))
      say(message)
      return answered.finally(() => clearTimeout(late))
    },
    close: () => socket.close(1000, ''),
  }
}

const unopened = (error: unknown, tell: Tell): void => {
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

export const lookAtSocket = async (url: string, tools: LineTools, tell: Tell): Promise<void> => {
  let talk: Talk
  try {
    talk = await talkOn(url, tools)
  } catch (error) {
    unopened(error, tell)
    return
  }
  tell('reachable', 'yes', 'Server is reachable.')
  const opened = await talk.ask(initialize)
  if (!isObject(opened?.['result'])) tell('mcp', 'no', 'The WebSocket opened, but the server does not speak MCP on it.')
  else {
    tell('mcp', 'yes', `${sayServer(opened['result'])} over WebSocket.`)
    tell('authorization', 'no', 'No upstream auth; protected only by this gateway.')
    talk.say({ jsonrpc: '2.0', method: 'notifications/initialized' })
    const listed = toolsOf(await talk.ask({ jsonrpc: '2.0', id: 2, method: 'tools/list', params: {} }))
    tell(listed.step, listed.result, listed.say)
  }
  talk.close()
}
