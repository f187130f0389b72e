// What a server of 2025 and before says of its own accord in one session: one event stream by GET for everybody here who listens, open while anybody does.
import { isEventStream } from '../kit/events.ts'
import type { Rpc } from '../mcp/rpc.ts'
import { hear, nothing } from './era-exchange.ts'

/** True when the message was for it: a request is answered once. */
type Listener = (message: Rpc) => boolean

export interface EraStream {
  /** Hears every message from now on; resolves to what ends that, once the stream is there or the server has none. */
  listen(listener: Listener): Promise<() => void>
  readonly busy: boolean
  close(): void
}

export interface EraStreamOptions {
  /** Opens the stream. */
  readonly get: (signal: AbortSignal) => Promise<Response>
  /** A request that was for nobody. */
  readonly unheard: (message: Rpc) => void
}

/** Longest wait for the stream before whoever needs it goes on without. */
const patienceMs = 3000
const reopenMs = [0, 1000, 2000, 5000, 15_000, 30_000] as const

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })

/** Reads the stream, again and again, until `signal` or until the server turns out to have none: then it resolves to true. */
const read = async (get: EraStreamOptions['get'], signal: AbortSignal, ready: () => void, deal: (message: Rpc) => void): Promise<boolean> => {
  for (let failures = 0; !signal.aborted && failures < reopenMs.length; failures++) {
    await pause(reopenMs[failures] as number, signal)
    const response = await get(signal).catch(() => undefined)
    if (!response) continue
    if (response.ok && isEventStream(response.headers.get('content-type') ?? undefined)) {
      ready()
      await hear(response, (message) => {
        failures = 0
        deal(message)
      }).catch(() => undefined)
      continue
    }
    await nothing(response)
    // 2025-11-25 transports, listening for messages.
    if (response.status === 405 || response.status === 404) return true
  }
  return false
}

export const createEraStream = ({ get, unheard }: EraStreamOptions): EraStream => {
  const listeners = new Set<Listener>()
  let open: { readonly stop: AbortController; readonly ready: Promise<void> } | undefined
  let none = false

  const deal = (message: Rpc): void => {
    let heard = false
    for (const listener of listeners) heard = listener(message) || heard
    if (!heard && message['id'] !== undefined && message['method'] !== undefined) unheard(message)
  }

  const begin = (): Promise<void> => {
    const stop = new AbortController()
    const { promise, resolve } = Promise.withResolvers<void>()
    const late = setTimeout(resolve, patienceMs)
    const ready = promise.finally(() => clearTimeout(late))
    open = { stop, ready }
    const ended = (hasNone: boolean): void => {
      none = hasNone
      resolve()
      if (open?.stop === stop) open = undefined
    }
    read(get, stop.signal, resolve, deal).then(ended, () => ended(false))
    return ready
  }

  const close = (): void => {
    open?.stop.abort()
    open = undefined
  }

  return {
    async listen(listener) {
      listeners.add(listener)
      if (!none) await (open?.ready ?? begin())
      return () => {
        listeners.delete(listener)
        if (listeners.size === 0) close()
      }
    },
    get busy() {
      return listeners.size > 0
    },
    close() {
      listeners.clear()
      close()
    },
  }
}
