// The tools of one server process as far as their calls carry mirrored headers; asked for when the first call comes, and again when what is known is old.
import {
  type ToolParamHeaders,
  paramHeaderRefusal,
  paramHeadersOf,
  mismatchOf,
  paramHeaders,
} from '../mcp/headers.ts'
import { type Id, type Rpc, isRecord, paramsOf } from '../mcp/json-rpc.ts'
import { type SessionPeer, askPeer } from '../mcp/json-rpc-peer.ts'

const mostPages = 50
const [leastMs, usualMs, mostMs] = [10_000, 60_000, 300_000]

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

  const page = async (cursor: unknown): Promise<Rpc> => {
    const params = { ...(cursor === undefined ? {} : { cursor }), _meta: meta }
    const { result } = await askPeer(peer(), 'tools/list', params)
    return isRecord(result) ? result : {}
  }

  const ask = async (): Promise<Known> => {
    const tools = new Map<string, readonly { readonly header: string; readonly path: readonly string[] }[]>()
    let cursor: unknown
    let lives: unknown
    for (let pages = 0; pages < mostPages; pages++) {
      const result = await page(cursor)
      lives = result['ttlMs']
      for (const [name, mirrors] of paramHeadersOf(result['tools'])) tools.set(name, mirrors)
      cursor = result['nextCursor']
      if (cursor === undefined) break
    }
    const ms = typeof lives === 'number' ? Math.min(Math.max(lives, leastMs), mostMs) : usualMs
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
