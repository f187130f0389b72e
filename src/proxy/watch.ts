// Whether those who hold something open may still: asked every few seconds, because no request comes by which it would show (security.md O4, U10).
import { Refusal } from '../kit/refusal.ts'
import type { Guard } from '../ports/rooms.ts'
import type { Service } from '../ports/services.ts'
import type { Knock } from './knock.ts'

/** `access`: the token or what it stands for has ended. `service`: the service is gone, or is another one now. */
export type WatchEnd = (why: 'access' | 'service') => void

export interface Watch {
  /** Calls `end` once when the caller of this knock would not be let in any more; what it returns stops the watch. `late`: a token that has expired is no end. */
  caller(call: Knock, end: WatchEnd, late?: boolean): () => void
  /** The same for what belongs to a service. `idle`: asked as well; true is an end. */
  service(service: Service, end: () => void, idle?: () => boolean): () => void
}

export interface WatchDeps {
  readonly guard: Guard
  /** Whether a service is still served as it was. */
  readonly served: (service: Service) => Promise<boolean>
}

const everyMs = 2000

/** Asks until the answer is one, or `stop`. */
const every = <T>(ask: () => Promise<T | undefined>, end: (answer: T) => void): (() => void) => {
  let over = false
  const timer = setInterval(() => {
    ask().then(
      (answer) => {
        if (over || answer === undefined) return
        stop()
        end(answer)
      },
      // Nothing is known; the next time tells.
      () => undefined,
    )
  }, everyMs)
  const stop = (): void => {
    over = true
    clearInterval(timer)
  }
  return stop
}

export const createWatch = ({ guard, served }: WatchDeps): Watch => {
  const lost = async ({ address, inbound, origin }: Knock, late: boolean): Promise<'access' | 'service' | undefined> => {
    if (!(await served(address.service))) return 'service'
    if (!address.service.authRequired) return undefined
    return Promise.resolve(guard(inbound.authorization, address, origin)).then(
      () => undefined,
      // A storage that does not answer says nothing about the caller.
      (error: unknown) => (error instanceof Refusal && error.row.status < 500 && !(late && error.code === 'token.expired') ? 'access' : undefined),
    )
  }
  return {
    caller: (call, end, late = false) => every(() => lost(call, late), end),
    service: (service, end, idle = () => false) => every(async () => (idle() || !(await served(service)) ? true : undefined), end),
  }
}
