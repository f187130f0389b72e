// Subscribes to changes of a record at its Durable Object: one hibernating WebSocket instead of a read every
// few seconds.
import { Refusal } from '../kit/refusal.ts'
import type { Subscribe } from '../ports/store.ts'
import { type RecordObject, alive, followUrl, living } from './storage-object.ts'

/** How often the connection is checked. The platform responds without waking the object. */
const beatMs = 15_000

const unavailable = (why: string): Refusal =>
  new Refusal('storage.unavailable', why, { headers: { 'retry-after': '1' } })

interface SubscribeOptions {
  readonly objectOf: (key: string) => DurableObjectStub<RecordObject>
  /** Longest wait for the connection, ms. */
  readonly timeoutMs: number
}

/** The open socket. One that opens after the timeout is closed. */
const dial = async ({ objectOf, timeoutMs }: SubscribeOptions, key: string): Promise<WorkerSocket> => {
  const opening = objectOf(key)
    .fetch(new Request(followUrl(key), { headers: { upgrade: 'websocket' } }))
    .then(({ webSocket, status }) => {
      if (!webSocket) throw unavailable(`the object answered ${status}`)
      webSocket.accept()
      return webSocket
    })
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs)
  })
  try {
    const socket = await Promise.race([opening, late])
    if (socket) return socket
    opening.then(
      (tooLate) => tooLate.close(1000, ''),
      () => undefined,
    )
    throw unavailable(`no connection within ${timeoutMs} ms`)
  } catch (error) {
    throw error instanceof Refusal
      ? error
      : unavailable(error instanceof Error ? error.message : String(error))
  } finally {
    clearTimeout(timer)
  }
}

export const createSubscribe =
  (options: SubscribeOptions): Subscribe =>
  async (key, heard) => {
    const socket = await dial(options, key)
    let over = false
    let answered = true
    const stop = (): void => {
      if (over) return
      over = true
      clearInterval(timer)
      try {
        socket.close(1000, '')
      } catch {
        // Closed already.
      }
    }
    const lost = (): void => {
      if (over) return
      stop()
      heard('lost')
    }
    const timer = setInterval(() => {
      if (!answered) return lost()
      answered = false
      try {
        socket.send(alive)
      } catch {
        lost()
      }
    }, beatMs)
    socket.addEventListener('message', ({ data }) => {
      answered = true
      if (data !== living && !over) heard('changed')
    })
    socket.addEventListener('close', lost)
    socket.addEventListener('error', lost)
    return stop
  }
