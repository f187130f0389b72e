// The tools of a server of 2026-07-28 as far as their calls carry mirrored headers, for clients that know nothing of them; kept as long as the server says.
import { encodeBase64url } from '../kit/bytes.ts'
import { envelopeOf } from '../mcp/era.ts'
import { type Mirror, mirroredHeaders, mirrorsOf, standardHeaders } from '../mcp/mirrors.ts'
import { isRecord, paramsOf, type Rpc } from '../mcp/rpc.ts'
import { answerOf, type Caller, type Tell } from './era-exchange.ts'
import type { OlderSession } from './era-older-sessions.ts'

export interface EraTools {
  /** The `Mcp-Param-*` headers of this `tools/call`; `anew`: what was known is wrong. */
  fields(call: { readonly caller: Caller; readonly session: OlderSession; readonly message: Rpc }, anew: boolean): Promise<readonly (readonly [string, string])[]>
  /** A page of the list that passed by. */
  learn(owner: string, result: Rpc): void
}

export interface EraToolsDeps {
  readonly tell: Tell
  readonly now: () => number
  readonly random: (n: number) => Uint8Array
}

const mostPages = 50
const mostOwners = 1000
const [leastMs, usualMs, mostMs] = [10_000, 60_000, 300_000]

interface Known {
  readonly tools: Map<string, readonly Mirror[]>
  until: number
  /** Every page was seen: what is not here does not exist. */
  whole: boolean
}

export const createEraTools = ({ tell, now, random }: EraToolsDeps): EraTools => {
  const known = new Map<string, Known>()

  const learn: EraTools['learn'] = (owner, result) => {
    const lives = result['ttlMs']
    const before = known.get(owner)
    const entry: Known = before && before.until > now() ? before : { tools: new Map(), until: 0, whole: false }
    for (const [name, mirrors] of mirrorsOf(result['tools'])) entry.tools.set(name, mirrors)
    entry.until = now() + (typeof lives === 'number' ? Math.min(Math.max(lives, leastMs), mostMs) : usualMs)
    known.delete(owner)
    if (known.size >= mostOwners) known.delete(known.keys().next().value as string)
    known.set(owner, entry)
  }

  const ask = async (caller: Caller, session: OlderSession): Promise<void> => {
    let cursor: unknown
    for (let pages = 0; pages < mostPages; pages++) {
      const id = encodeBase64url(random(12))
      const params = { ...(cursor === undefined ? {} : { cursor }), _meta: envelopeOf(session.client, session.capabilities) }
      const answer = await answerOf(await tell(caller, standardHeaders('tools/list', params), JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/list', params })), id)
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
      const flat = mirroredHeaders(fresh()?.tools.get(String(name)) ?? [], args)
      return flat.flatMap((header, i) => (i % 2 === 0 ? [[header, flat[i + 1] as string] as const] : []))
    },
  }
}
