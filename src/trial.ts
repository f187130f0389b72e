// A command that is looked at before it is added: a bridge of its own, ended right after.
import type { Bridges } from './bridges.ts'
import type { Config } from './config/schema.ts'
import { rpcErrorText } from './kit/refusal.ts'
import type { Outbound } from './ports/runtime.ts'
import { carried } from './proxy/carried.ts'

/** Asks the command's server as if it were on HTTP; what it rejects with is the bridge's. */
export type Try = (id: string, service: Config['mcp_services'][string]) => { readonly outbound: Outbound; readonly end: () => void }

export const createTry =
  (bridges: Bridges): Try =>
  (id, service) => {
    const upstream = bridges.of(id, service)
    return {
      async outbound(url, { method = 'GET', headers = {}, body } = {}) {
        if (upstream.kind !== 'bridge') throw new TypeError('not a command')
        const answer = await carried(upstream.carry, new Request(url, { method, headers, ...(body === undefined ? {} : { body }) }), { principal: undefined, refused: (refusal, id) => rpcErrorText(refusal, id, '') })
        return { status: answer.status, headers: answer.headers, body: new Uint8Array(await answer.arrayBuffer()) }
      },
      end: () => bridges.end(upstream),
    }
  }
