// Connections on which servers speak for as long as they like: fetch without a limit on silence, and WebSockets.
import type { LookupFunction } from 'node:net'
import { Refusal } from '../kit/refusal.ts'
import type { DialSocket, Lines, LineTools, SocketEvents } from '../ports/lines.ts'
import type { Lookup } from './outbound.ts'
import { publicLookup, refuseInner } from './public-hosts.ts'
import { socketOf } from './upgrade-socket.ts'

type Way = { readonly lookup?: LookupFunction }

const dial =
  (way: Way): DialSocket =>
  async (url, { headers, timeoutMs, maxBytes }, events: SocketEvents) => {
    const { WebSocket } = await import('ws')
    return new Promise((resolve, reject) => {
      const fields: Record<string, string> = {}
      for (let i = 0; i + 1 < headers.length; i += 2) fields[headers[i] as string] = headers[i + 1] as string
      const ws = new WebSocket(url, ['mcp'], { headers: fields, handshakeTimeout: timeoutMs, maxPayload: maxBytes, perMessageDeflate: false, followRedirects: false, ...way })
      const socket = socketOf(ws, events)
      ws.once('open', () => resolve(socket))
      ws.once('unexpected-response', (_request, response) => {
        response.destroy()
        const { 'www-authenticate': field } = response.headers
        reject(Object.assign(new Error(`answered ${response.statusCode}`), { status: response.statusCode ?? 0, authenticate: field === undefined ? [] : [field] }))
        ws.terminate()
      })
      ws.once('error', (error: Error) => reject(/timed out/.test(error.message) ? Object.assign(error, { code: 'ETIMEDOUT' }) : error))
    })
  }

/** undici and ws are loaded by the first service that needs them. */
const tools = (way: Way): LineTools => {
  const load = async () => {
    const { Agent, fetch } = await import('undici')
    const dispatcher = new Agent({ bodyTimeout: 0, headersTimeout: 0, keepAliveTimeout: 4000, allowH2: false, connect: way })
    return (input: string, init: object) => fetch(input, { ...init, dispatcher })
  }
  let loading: ReturnType<typeof load> | undefined
  const ask = async (input: string, init: object) => (await (loading ??= load()))(input, init)
  // The two libraries' types of the same standard differ in name.
  return { fetch: ask as unknown as Lines['fetch'], socket: dial(way) }
}

const hostOf = (input: Parameters<Lines['fetch']>[0]): string => new URL(input instanceof Request ? input.url : input).hostname

/** To public addresses alone. */
const guarded = ({ fetch, socket }: LineTools): LineTools => ({
  async fetch(input, init) {
    refuseInner(hostOf(input))
    try {
      return await fetch(input, init)
    } catch (error) {
      // The library wraps what its look-up said.
      throw error instanceof Error && error.cause instanceof Refusal ? error.cause : error
    }
  },
  async socket(url, about, events) {
    refuseInner(hostOf(url))
    return socket(url, about, events)
  },
})

/** `lookup`: resolver for servers that may be on public addresses alone; default: the system's. */
export const createLines = (lookup?: Lookup): Lines => ({ ...tools({}), publicOnly: guarded(tools({ lookup: publicLookup(lookup) })) })
