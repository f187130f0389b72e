// The decision about one WebSocket: the checks of a proxied call, made before the handshake is answered (security.md O2–O8; the framing is in docs/reference/transports.md).
import type { Config } from '../config/schema.ts'
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Head } from '../ports/calls.ts'
import type { Principal } from '../ports/people.ts'
import type { Guard } from '../ports/rooms.ts'
import { createKnock } from './knock.ts'
import type { Knock, KnockDeps } from './knock.ts'
import { createSlots } from './slots.ts'
import { createTunnel } from './websocket-tunnel.ts'
import type { Tunnel, TunnelDeps } from './websocket-tunnel.ts'

export interface AdmitSocketDeps extends KnockDeps, Omit<TunnelDeps, 'heartbeatMs' | 'most'> {
  readonly config: Pick<Config, 'allowed_hosts' | 'max_concurrent_calls' | 'max_open_streams' | 'heartbeat'>
  readonly guard: Guard
}

/** Resolves when the server behind is there, so that the handshake may be answered with 101. Rejects with `Refusal`. */
export type AdmitSocket = (head: Head) => Promise<Tunnel>

/** `/{service}/ws` is another name of `/{service}/mcp` for clients that want a path of their own. */
const streamable = (target: string): string => target.replace(/^((?:\/[^/?]+)?)\/ws(?=$|\?)/, '$1/mcp')

export const createAdmitSocket = (deps: AdmitSocketDeps): AdmitSocket => {
  const { config, guard } = deps
  const knock = createKnock(deps)
  const slot = createSlots(config.max_open_streams)
  const connect = createTunnel({ ...deps, heartbeatMs: config.heartbeat * 1000, most: config.max_concurrent_calls })

  const fields = async (call: Knock, principal: Principal | undefined): Promise<string[]> => {
    const about = principal ? await call.place.identity.headers(principal) : []
    return [...call.inbound.forward, 'X-Request-Id', call.head.requestId, ...about]
  }

  return async (head) => {
    const call = knock({ ...head, target: streamable(head.target) })
    const { address, inbound, origin, rest } = call
    if (rest !== '' || address.transport === 'sse') throw new Refusal('route.unknown', head.target.slice(0, 200))
    const principal = address.service.authRequired ? await guard(inbound.authorization, address, origin) : undefined
    const release = slot(principal ? personKey(principal.person) : `ip:${head.ip}`)
    try {
      return await connect({ call, principal, headers: await fields(call, principal), release })
    } catch (error) {
      release()
      throw error
    }
  }
}
