// The tools of one server process as far as their calls carry mirrored headers; asked for when the first call comes, and again when what is known is old.
import {
  type ToolParamHeaders,
  collectToolHeaders,
  paramHeaderRefusal,
  mismatchOf,
  paramHeaders,
} from '../mcp/headers.ts'
import { type Id, type Rpc, paramsOf } from '../mcp/json-rpc.ts'
import { isRecord } from '../mcp/json.ts'
import { type SessionPeer, askPeer } from '../mcp/json-rpc-peer.ts'

interface Known {
  readonly tools: ToolParamHeaders
  readonly until: number
}

export interface Tools {
  /** Passes when the `Mcp-Param-*` headers of this `tools/call` agree with its arguments. Throws `mcp.headers` (-32020). */
  check(message: Rpc, headers: readonly string[]): Promise<void>
}

export interface ToolsOptions {
  readonly peer: () => Pick<SessionPeer, 'call'>
  readonly now: () => number
  /** `params._meta` of the gateway's own requests. */
  readonly meta: Rpc
}

export const createTools = ({ peer, now, meta }: ToolsOptions): Tools => {
  let known: Known | undefined
  let asking: Promise<Known> | undefined

  const page = async (cursor: Rpc): Promise<Rpc> => {
    const { result } = await askPeer(peer(), 'tools/list', { ...cursor, _meta: meta })
    return isRecord(result) ? result : {}
  }

  const ask = async (): Promise<Known> => {
    const { tools, ms } = await collectToolHeaders(page)
    return { tools, until: now() + ms }
  }

  const fresh = (): Promise<Known> => {
    asking ??= ask()
      .then((found) => (known = found))
      .finally(() => (asking = undefined))
    return asking
  }

  return {
    async check(message, headers) {
      const { name, arguments: args } = paramsOf(message)
      const sent = paramHeaders(headers)
      const wrong = ({ tools }: Known): string | undefined =>
        mismatchOf(tools.get(String(name)) ?? [], args, sent)
      const cached = known !== undefined && now() < known.until ? known : undefined
      // The tool may have changed since it was last asked for; the client looked it up later than we did.
      const header = cached && wrong(cached) === undefined ? undefined : wrong(await fresh())
      if (header !== undefined) throw paramHeaderRefusal(header, message['id'] as Id)
    },
  }
}
