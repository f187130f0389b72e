// How long a call waits for an upstream that says nothing.
import { Refusal } from '../kit/refusal.ts'

export interface Patience {
  /** The work, or `upstream.timeout` once it takes too long. One after the other. */
  wait<T>(work: Promise<T>): Promise<T>
  /** Nothing is waited for any more. */
  stop(): void
}

const tooLong = (ms: number): Refusal => new Refusal('upstream.timeout', `nothing for ${ms} ms`)

/** One timer for all the waits of a call: on Workers each timer costs as much as a good part of the call. `expired` is called once, when a wait was too long. */
export const createPatience = (ms: number, now: () => number, expired: () => void): Patience => {
  let from = 0
  let fail: ((error: Refusal) => void) | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  const look = (): void => {
    timer = undefined
    if (!fail) return
    const left = from + ms - now()
    if (left > 0) timer = setTimeout(look, left)
    else {
      fail(tooLong(ms))
      expired()
    }
  }
  return {
    wait: (work) =>
      new Promise((resolve, reject) => {
        from = now()
        fail = reject
        timer ??= setTimeout(look, ms)
        const over = (): void => void (fail = undefined)
        work.then(
          (value) => {
            over()
            resolve(value)
          },
          (error: unknown) => {
            over()
            reject(error as Error)
          },
        )
      }),
    stop: () => clearTimeout(timer),
  }
}

/** For somebody who keeps the time itself. */
export const endless: Patience = { wait: (work) => work, stop: () => undefined }
