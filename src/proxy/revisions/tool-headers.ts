// The tools of a server of 2026-07-28 as far as their calls carry mirrored headers, for clients that know nothing of them; kept as long as the server says.
import { encodeBase64url } from '../../kit/bytes.ts'
import { type ParamHeader, paramHeaderFields, paramHeadersOf, standardHeaders } from '../../mcp/headers.ts'
import { type Rpc, isRecord, paramsOf } from '../../mcp/json-rpc.ts'
import { envelopeOf } from '../../mcp/revisions.ts'
import { type Caller, type SendNotification, answerOf } from './exchange.ts'
import type { LegacySession } from './legacy-session-records.ts'

export interface ToolHeaders {
  /** The `Mcp-Param-*` headers of this `tools/call`; `anew`: what was known is wrong. */
  fields(
    call: { readonly caller: Caller; readonly session: LegacySession; readonly message: Rpc },
    anew: boolean,
  ): Promise<readonly (readonly [string, string])[]>
  /** A page of the list that passed by. */
  learn(owner: string, result: Rpc): void
}

export interface ToolHeadersDeps {
  readonly tell: SendNotification
  readonly now: () => number
  readonly random: (n: number) => Uint8Array
}

const mostPages = 50
const mostOwners = 1000
const [leastMs, usualMs, mostMs] = [10_000, 60_000, 300_000]

interface Known {
  readonly tools: Map<string, readonly ParamHeader[]>
  until: number
  /** Every page was seen: what is not here does not exist. */
  whole: boolean
}

export const createToolHeaders = ({ tell, now, random }: ToolHeadersDeps): ToolHeaders => {
  const known = new Map<string, Known>()

  const learn: ToolHeaders['learn'] = (owner, result) => {
    const lives = result['ttlMs']
    const before = known.get(owner)
    const entry: Known =
      before && before.until > now() ? before : { tools: new Map(), until: 0, whole: false }
    for (const [name, mirrors] of paramHeadersOf(result['tools'])) entry.tools.set(name, mirrors)
    entry.until = now() + (typeof lives === 'number' ? Math.min(Math.max(lives, leastMs), mostMs) : usualMs)
    known.delete(owner)
    if (known.size >= mostOwners) known.delete(known.keys().next().value as string)
    known.set(owner, entry)
  }

  const ask = async (caller: Caller, session: LegacySession): Promise<void> => {
    let cursor: unknown
    for (let pages = 0; pages < mostPages; pages++) {
      const id = encodeBase64url(random(12))
      const params = {
        ...(cursor === undefined ? {} : { cursor }),
        _meta: envelopeOf(session.client, session.capabilities),
      }
      const answer = await answerOf(
        await tell(
          caller,
          standardHeaders('tools/list', params),
          JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/list', params }),
        ),
        id,
      )
      const result = answer?.['result']
      // A list that cannot be had mirrors nothing; the call itself says what is wrong.
      learn(caller.owner, isRecord(result) ? result : {})
      cursor = isRecord(result) ? result['nextCursor'] : undefined
      if (cursor === undefined) break
    }
    const entry = known.get(caller.owner)
    if (entry) entry.whole = true
  }

  return {
    learn,
    async fields({ caller, session, message }, anew) {
      const { name, arguments: args } = paramsOf(message)
      if (anew) known.delete(caller.owner)
      const fresh = (): Known | undefined => {
        const entry = known.get(caller.owner)
        return entry && entry.until > now() ? entry : undefined
      }
      if (!fresh()?.whole && !fresh()?.tools.has(String(name))) await ask(caller, session)
      const flat = paramHeaderFields(fresh()?.tools.get(String(name)) ?? [], args)
      return flat.flatMap((header, i) => (i % 2 === 0 ? [[header, flat[i + 1] as string] as const] : []))
    },
  }
}
