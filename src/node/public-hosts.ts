// Connections that may go to public addresses alone, whatever a name resolves to when they are made: for servers that somebody added from elsewhere.
import type { LookupFunction } from 'node:net'
import { isAddress, refusedHost } from '../kit/addresses.ts'
import { Refusal } from '../kit/refusal.ts'
import { globalAddresses, type Lookup, systemLookup } from './outbound.ts'

/** Throws `outbound.refused` for a literal address that is not public, and for a name of a machine. Literals are never looked up, so they are judged here and nowhere else. */
export const refuseInner = (host: string): void => {
  if (refusedHost(host)) throw new Refusal('outbound.refused', `${host} is not a public host`)
}

/**
 * The look-up of one connection: what it answers is what is connected to, so a name that means another place than when its server was added leads nowhere
 * (DNS rebinding, security.md C6). The error it hands on is the `Refusal` itself.
 */
export const publicLookup =
  (lookup: Lookup = systemLookup): LookupFunction =>
  (host, { all, family }, answer) => {
    globalAddresses(host, lookup).then(
      (addresses) => {
        const suitable = family === 4 || family === 6 ? addresses.filter((each) => each.family === family) : addresses
        const [first] = suitable.length > 0 ? suitable : addresses
        if (all || !first) answer(null, [...suitable])
        else answer(null, first.address, first.family)
      },
      (error: unknown) => answer(error as Error, ''),
    )
  }

/** Whether the gateway goes to that host only because somebody said so at its own computer. A name that resolves to nothing is not one of those. */
export const isInner = async (host: string, lookup: Lookup = systemLookup): Promise<boolean> => {
  if (refusedHost(host)) return true
  if (isAddress(host)) return false
  return globalAddresses(host, lookup).then(
    () => false,
    (error: unknown) => error instanceof Refusal && !error.why.endsWith(' nothing'),
  )
}
