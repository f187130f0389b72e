// Whether those who hold something open may still: asked every few seconds, because no request comes by which it would show (security.md O4).
import { Refusal } from '../kit/refusal.ts'
import type { Guard } from '../ports/rooms.ts'
import type { Knock } from './knock.ts'

/** Calls `end` once when the caller of this knock would not be let in any more; what it returns stops the watch. */
export type Watch = (call: Knock, end: () => void) => () => void

const everyMs = 2000

export const createWatch = ({ guard }: { readonly guard: Guard }): Watch => (call, end) => {
  const { address, inbound, origin } = call
  if (!address.service.authRequired) return () => undefined
  const timer = setInterval(() => {
    Promise.resolve(guard(inbound.authorization, address, origin)).catch((error: unknown) => {
      // A storage that does not answer says nothing about the caller.
      if (!(error instanceof Refusal) || error.row.status >= 500) return
      clearInterval(timer)
      end()
    })
  }, everyMs)
  return () => clearInterval(timer)
}
