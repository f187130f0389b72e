// A server for clients of both eras of MCP, whichever it speaks itself. A call of the era that the server speaks is none of this way's: it goes straight.
import { metaKeys } from '../mcp/envelope.ts'
import { parseExactText } from '../mcp/exact-json.ts'
import { isModern } from '../mcp/revisions.ts'
import { isRecord, metaOf, type Rpc } from '../mcp/rpc.ts'
import type { Principal } from '../ports/people.ts'
import { type AttendedCallsDeps, createAttendedCalls } from './attended-call.ts'
import { type Caller, type EraAsk, requestOf } from './era-exchange.ts'
import type { Newer } from './era-newer.ts'
import type { Older } from './era-older.ts'
import type { Scout } from './era-scout.ts'
import type { Verdicts } from './era-verdicts.ts'
import { ownerOf } from './owner.ts'

/** A call as far as it matters here. */
export interface Approach {
  readonly principal: Principal | undefined
  /** Of a revision without sessions. */
  readonly modern: boolean
  readonly session: string | undefined
  /** Of the first message. */
  readonly method: string | undefined
}

export interface Crossing {
  /** Whether this call goes this way: the server is not known to speak its era, or known not to. */
  needed(approach: Approach): boolean
  /** One request of Streamable HTTP, of either era. Rejects with `Refusal`. */
  readonly ask: (request: Request, about: Pick<Caller, 'principal' | 'asked' | 'refused'>) => Promise<Response>
}

export interface CrossingDeps {
  readonly runtime: AttendedCallsDeps['runtime']
  readonly attend: AttendedCallsDeps['attend']
  /** The server itself. */
  readonly straight: EraAsk
  readonly verdicts: Verdicts
  readonly scout: Scout
  readonly older: Older
  readonly newer: Newer
}

const parse = (text: string): { readonly batch: boolean; readonly messages: readonly Rpc[] } => {
  const value = parseExactText(text)
  return { batch: Array.isArray(value), messages: (Array.isArray(value) ? (value as readonly unknown[]) : [value]).filter(isRecord) }
}

/** The era of a message: its own word, or the header's where it has none (basic/versioning). */
const claimsModern = (message: Rpc, headers: Headers): boolean => {
  const claim = metaOf(message)[metaKeys.version]
  if (typeof claim === 'string') return isModern(claim)
  return message['method'] !== 'initialize' && isModern(headers.get('mcp-protocol-version') ?? '')
}

/** Asked for every call, so it is worked out once for each principal. */
const createOwners = (): ((principal: Principal | undefined) => string) => {
  const known = new WeakMap<Principal, string>()
  return (principal) => {
    if (!principal) return ''
    const owner = known.get(principal) ?? ownerOf(principal)
    known.set(principal, owner)
    return owner
  }
}

export const createCrossing = ({ runtime, attend, straight, verdicts, scout, older, newer }: CrossingDeps): Crossing => {
  const attended = createAttendedCalls({ runtime, attend, older })
  const owners = createOwners()
  const carry = async (caller: Caller, body: string, messages: readonly Rpc[], batch: boolean): Promise<Response> => {
    const session = caller.headers.get('mcp-session-id') ?? undefined
    const [first] = messages
    const send = (): Promise<Response> => straight(requestOf(caller.url, { method: 'POST', headers: caller.headers, signal: caller.signal, body }), caller)
    if (attended.isOurs(session)) return older.post(caller, session, messages, batch)
    if (!first || batch) return send()
    if (claimsModern(first, caller.headers)) return verdicts.speaks(caller.owner, true) === false ? newer.handle(caller, first) : scout.newer(caller, first, send)
    if (first['method'] !== 'initialize') return send()
    if (verdicts.speaks(caller.owner, false) !== false) return scout.older(caller, first, send)
    return (await older.begin(caller, first)) ?? send()
  }

  const post = async (request: Request, caller: Caller): Promise<Response> => {
    const body = await request.text()
    const { batch, messages } = parse(body)
    return attended.post(caller, messages, batch, (asking) => carry(asking, body, messages, batch))
  }

  return {
    needed({ principal, modern, session, method }) {
      if (modern) return verdicts.speaks(owners(principal), true) !== true
      if (session !== undefined) return attended.isOurs(session)
      return method === 'initialize' && verdicts.speaks(owners(principal), false) !== true
    },
    async ask(request, about) {
      const caller: Caller = { ...about, owner: owners(about.principal), url: request.url, headers: request.headers, signal: request.signal }
      if (request.method === 'POST') return post(request, caller)
      const session = request.headers.get('mcp-session-id') ?? undefined
      if (!attended.isOurs(session)) return straight(request, caller)
      return request.method === 'DELETE' ? older.end(caller, session) : older.get(caller, session)
    },
  }
}
