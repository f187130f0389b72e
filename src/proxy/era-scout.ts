// The first call of a client at a server of which nobody knows what it speaks: sent as it came, and its answer is the verdict (2026-07-28 basic/versioning, backward
// compatibility). An answer about the caller, or of a server in trouble, is none.
import { Refusal } from '../kit/refusal.ts'
import { envelopeOf, eraOf, ownClient } from '../mcp/era.ts'
import { standardHeaders } from '../mcp/mirrors.ts'
import { isRecord, type Rpc } from '../mcp/rpc.ts'
import { serverInfoKey, toModern } from '../mcp/translate.ts'
import { type Caller, isForeign, nothing, type Tell } from './era-exchange.ts'
import type { Newer } from './era-newer.ts'
import type { OlderBegin } from './era-older-begin.ts'
import type { Verdicts } from './era-verdicts.ts'
import { firstAnswer } from './first-answer.ts'

export interface Scout {
  /** A call of a client of 2026-07-28. `send`: as it came, to the server itself. */
  newer(caller: Caller, message: Rpc, send: () => Promise<Response>): Promise<Response>
  /** `initialize`. */
  older(caller: Caller, message: Rpc, send: () => Promise<Response>): Promise<Response>
}

export interface ScoutDeps {
  readonly tell: Tell
  readonly about: { readonly version: string }
  readonly verdicts: Verdicts
  readonly crossNewer: Newer
  readonly beginOlder: OlderBegin
}

/** Errors by which a server of 2026-07-28 shows that it is one. */
const modernCodes: ReadonlySet<unknown> = new Set([-32_020, -32_021])
const discoverId = 'postern-discover'

/** A command that speaks older revisions, and a line without a session, refuse as a server of before does. */
const asLegacy = (error: unknown): Response => {
  if (error instanceof Refusal && (error.code === 'mcp.legacy' || error.code === 'session.missing')) return Response.json({ jsonrpc: '2.0', id: null, error: { code: -32_000, message: error.say } }, { status: 400 })
  throw error
}

/** By these a server says that it did not act: the same may be asked again in other words. */
const unacted: ReadonlySet<unknown> = new Set([-32_700, -32_600, -32_601, -32_602, -32_000, -32_001])

/** A result of a server that needs no session, in the words of before. It has acted, so it is not asked again. */
const translated = (message: Rpc, answer: Rpc): Response => {
  const { _meta, ...result } = toModern(String(message['method']), answer['result'] as Rpc, {})
  const { [serverInfoKey]: _none, ...meta } = isRecord(_meta) ? _meta : {}
  return Response.json({ ...answer, result: { ...result, ...(Object.keys(meta).length > 0 ? { _meta: meta } : {}) } }, { headers: { 'cache-control': 'no-store' } })
}

const codeOf = (message: Rpc | undefined): unknown => (isRecord(message?.['error']) ? message['error']['code'] : undefined)

export const createScout = ({ tell, about, verdicts, crossNewer, beginOlder }: ScoutDeps): Scout => {
  /** Asked outright. Undefined: the answer says nothing of that. */
  const speaksModern = async (caller: Caller): Promise<boolean | undefined> => {
    const params = { _meta: envelopeOf(ownClient(about)) }
    const response = await tell(caller, standardHeaders('server/discover', params), JSON.stringify({ jsonrpc: '2.0', id: discoverId, method: 'server/discover', params })).catch(asLegacy)
    if (isForeign(response)) {
      await nothing(response)
      return undefined
    }
    const { message: answer, whole } = await firstAnswer(response)
    await nothing(whole)
    return answer !== undefined && eraOf(answer) === 'modern'
  }

  /** What a refusal, or an answer to `server/discover`, says of the server. */
  const verdictOf = async (caller: Caller, discovers: boolean, response: Response, message: Rpc | undefined): Promise<boolean | undefined> => {
    if (message !== undefined && (eraOf(message) === 'modern' || (!discovers && modernCodes.has(codeOf(message))))) return true
    if (discovers) return response.ok && codeOf(message) === undefined ? undefined : false
    return speaksModern(caller)
  }

  return {
    async newer(caller, message, send) {
      const response = await send().catch(asLegacy)
      if (isForeign(response)) return response
      const discovers = message['method'] === 'server/discover'
      const { message: answer, whole } = await firstAnswer(response)
      if (response.ok && !discovers) {
        const result = answer?.['result']
        if (isRecord(result) && result['resultType'] === undefined) return translated(message, answer as Rpc)
        if (isRecord(result)) verdicts.note(caller.owner, true, true)
        if (!unacted.has(codeOf(answer))) return whole
      }
      const modern = await verdictOf(caller, discovers, whole, answer)
      if (modern === true) verdicts.note(caller.owner, true, true)
      if (modern !== false) return whole
      const session = await crossNewer.begin(caller, message)
      // No server of before either: its own answer stands, unless somebody has to sign in there first.
      if (session === undefined || session instanceof Response) return session ?? whole
      await nothing(whole)
      verdicts.note(caller.owner, true, false)
      return crossNewer.handle(caller, message, session)
    },
    async older(caller, message, send) {
      const response = await send()
      if (isForeign(response)) return response
      const { message: answer, whole } = await firstAnswer(response)
      if (whole.ok && codeOf(answer) === undefined) {
        verdicts.note(caller.owner, false, true)
        return whole
      }
      const begun = await beginOlder(caller, message)
      if (begun?.ok) verdicts.note(caller.owner, false, false)
      return begun ?? whole
    },
  }
}
