// The one process of a shared service, begun by the gateway itself: it knows no client, so it can ask none, and nothing of one session reaches another.
import { Refusal } from '../kit/refusal.ts'
import { revisions } from '../mcp/revisions.ts'
import type { Channel } from './channel.ts'
import type { Pool } from './pool.ts'
import { isRecord, paramsOf, type Rpc, saying } from '../mcp/rpc.ts'

/** The revision the gateway offers to servers of before 2026-07-28. */
const offered = (revisions.find(({ modern }) => !modern) as { readonly version: string }).version
const never = new AbortController().signal

export interface Host {
  readonly channel: Channel
  /** Its answer to `initialize`. */
  readonly introduction: Rpc
}

/** A session as the host knows it. */
export interface Guest {
  notification(message: Rpc, text: string): void
  /** Resources it subscribed to. */
  readonly resources: ReadonlySet<string>
}

export interface SharedHostOptions {
  readonly pool: Pool
  readonly now: () => number
  readonly about: { readonly version: string }
  readonly owner: string
  /** Longest wait for its answer to `initialize`, milliseconds. */
  readonly startMs: number
  readonly stray: (what: string) => void
}

export interface SharedHost {
  /** The running process, begun when there is none, introduced, and subscribed to what its guests want. Rejects as `Pool.start` does. */
  get(): Promise<Host>
  readonly guests: Set<Guest>
  /** The process, while it runs and has been introduced. */
  running(): Host | undefined
}

/** Which guests a notification is for. Log messages are about somebody's call, and nothing says whose. */
const audience = (guests: ReadonlySet<Guest>, message: Rpc): readonly Guest[] => {
  const method = String(message['method'])
  if (method === 'notifications/resources/updated') return [...guests].filter(({ resources }) => resources.has(String(paramsOf(message)['uri'])))
  return method.endsWith('/list_changed') ? [...guests] : []
}

const introduce = (channel: Channel, { about, startMs }: SharedHostOptions): Promise<Rpc> =>
  new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Refusal('upstream.timeout', `no answer to initialize${channel.process.complaint()}`)), startMs)
    const params = { protocolVersion: offered, capabilities: {}, clientInfo: { name: 'postern', version: about.version } }
    const refused = (message: Rpc): Refusal => new Refusal('process.ended', `initialize was answered ${JSON.stringify(message['error']).slice(0, 200)}`, { say: 'The MCP server does not support a protocol revision that can be shared.' })
    channel.call(
      saying({ jsonrpc: '2.0', id: 0, method: 'initialize', params }),
      {
        answer(_, message) {
          clearTimeout(late)
          if (isRecord(message['result'])) resolve(message['result'])
          else reject(refused(message))
        },
        progress: () => undefined,
        failed(refusal) {
          clearTimeout(late)
          reject(refusal)
        },
        patient: true,
      },
    )
  })

export const createSharedHost = (options: SharedHostOptions): SharedHost => {
  const { pool, now, owner, stray } = options
  const guests = new Set<Guest>()
  const state: { host?: Host; beginning?: Promise<Host>; channel?: Channel } = {}
  const forget = (): void => {
    delete state.host
    delete state.channel
  }

  const begin = async (): Promise<Host> => {
    const channel = await pool.start(
      owner,
      {
        request(message) {
          const answer = message['method'] === 'ping' ? { result: {} } : { error: { code: -32601, message: 'This server is shared, so no single client can receive this request.' } }
          state.channel?.send(saying({ jsonrpc: '2.0', id: message['id'], ...answer }))
        },
        notification(message, text) {
          const hearing = audience(guests, message)
          if (hearing.length === 0) stray('a notification for nobody')
          for (const guest of hearing) guest.notification(message, text)
        },
        idle: () => (state.channel?.pending() === 0 ? now() - state.channel.usedAt() : 0),
        busy: () => (state.channel?.pending() ?? 0) > 0,
        leave() {
          state.channel?.stop()
          forget()
        },
        ended: forget,
      },
      never,
    )
    state.channel = channel
    const introduction = await introduce(channel, options).catch((error: unknown) => {
      channel.stop()
      throw error
    })
    channel.send(saying({ jsonrpc: '2.0', method: 'notifications/initialized' }))
    for (const uri of new Set([...guests].flatMap(({ resources }) => [...resources]))) {
      channel.call(saying({ jsonrpc: '2.0', id: 0, method: 'resources/subscribe', params: { uri } }), { answer: () => undefined, progress: () => undefined, failed: () => undefined })
    }
    state.host = { channel, introduction }
    return state.host
  }

  return {
    guests,
    running: () => state.host,
    get() {
      if (state.host) return Promise.resolve(state.host)
      state.beginning ??= begin().finally(() => delete state.beginning)
      return state.beginning
    },
  }
}
