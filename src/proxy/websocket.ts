// The decision about one WebSocket: the checks of a proxied call, made before the handshake is answered (security.md O2–O8; the framing is in docs/reference/transports.md).
import type { Config } from '../config/schema.ts'
import { aboutRequest } from '../kit/refusal-log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Head } from '../ports/calls.ts'
import type { Principal } from '../ports/people.ts'
import type { Guard } from '../ports/rooms.ts'
import type { Knock } from './knock.ts'
import { factsOf } from './refuse.ts'
import { callerKey, type TakeSlot } from './slots.ts'
import { createTunnel } from './websocket-tunnel.ts'
import type { Tunnel, TunnelDeps } from './websocket-tunnel.ts'

export interface AdmitSocketDeps extends Omit<TunnelDeps, 'most'> {
  readonly config: Pick<Config, 'max_concurrent_calls'>
  readonly knock: (head: Head) => Knock
  readonly guard: Guard
  /** A WebSocket takes the place of an open stream. */
  readonly streamSlot: TakeSlot
}

/** Resolves when the server behind is there, so that the handshake may be answered with 101. Rejects with `Refusal`. */
export type AdmitSocket = (head: Head) => Promise<Tunnel>

/** `…/ws` is another name of `…/mcp` for clients that want a path of their own. */
const streamable = (target: string): string => target.replace(/^((?:\/[^/?]+)*)\/ws(?=$|\?)/, '$1/mcp')

export const createAdmitSocket = (deps: AdmitSocketDeps): AdmitSocket => {
  const { config, knock, guard, streamSlot } = deps
  const connect = createTunnel({ ...deps, most: config.max_concurrent_calls })

  const fields = async (call: Knock, principal: Principal | undefined): Promise<string[]> => {
    const about = principal ? await call.place.identity.headers(principal) : []
    return [...call.inbound.forward, 'X-Request-Id', call.head.requestId, ...about]
  }

  return async (head) => {
    const call = knock({ ...head, target: streamable(head.target) })
    const { address, inbound, origin, rest } = call
    if (rest !== '' || address.transport === 'sse') throw new Refusal('route.unknown', head.target.slice(0, 200))
    const principal = address.service.authRequired ? await guard(inbound.authorization, address, origin) : undefined
    let release = (): void => undefined
    try {
      release = streamSlot(callerKey(principal, head.ip))
      return await connect({ call, principal, headers: await fields(call, principal), release })
    } catch (error) {
      release()
      throw aboutRequest(error, factsOf({ address, principal }))
    }
  }
}
