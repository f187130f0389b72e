// A request that has been read and routed; nobody has been asked yet who it is.
import type { Head } from '../ports/calls.ts'
import type { Address } from '../ports/services.ts'
import type { Inbound } from './inbound.ts'
import type { Place } from './place.ts'

export interface Knock {
  readonly head: Head
  readonly address: Address
  /** What follows the endpoint's path: `''` or `/rest`. */
  readonly rest: string
  readonly query: string
  readonly place: Place
  readonly inbound: Inbound
  /** A revision without sessions, by the header; a body that says otherwise is refused. */
  readonly modern: boolean
  /** Epoch ms. */
  readonly startedAt: number
}
