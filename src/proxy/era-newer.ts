// Clients of 2026-07-28 in front of a server of 2025 and before: no handshake and no session on their side, both on the server's.
import { Refusal } from '../kit/refusal.ts'
import { metaKeys } from '../mcp/envelope.ts'
import { askedVersion, ownClient } from '../mcp/era.ts'
import { mirrorRefusal, mismatchOf, paramHeaders } from '../mcp/mirrors.ts'
import { type Id, isRecord, kindOf, metaOf, paramsOf, type Rpc } from '../mcp/rpc.ts'
import { bridgedClient, bridgedServer, modernResult, unaskedClient } from '../mcp/translate.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Caller, Tell } from './era-exchange.ts'
import { givenState, isHeldState } from './era-held.ts'
import { createListening } from './era-listening.ts'
import { createNewerCarry } from './era-newer-carry.ts'
import { createFarSessions, type FarSession } from './era-sessions.ts'

export interface NewerDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'defer' | 'about' | 'digest'>
  readonly tell: Tell
  readonly service: string
  readonly keepAliveMs: number
  /** Whether a call may wait here for the client's next try, and the server's own stream be heard. */
  readonly lasting: boolean
}

export interface Newer {
  /** The session that such calls are made in. A Response: what the server said instead, for the caller; undefined: it is no server of before. */
  begin(caller: Caller, message: Rpc): Promise<FarSession | Response | undefined>
  /** One message; in that session, where it was begun already. Rejects with `Refusal`. */
  handle(caller: Caller, message: Rpc, session?: FarSession): Promise<Response>
}

/** What of the older revisions has no counterpart: it was never advertised, and does not exist here. */
const unbridged = /^(?:initialize|ping|logging\/setLevel|resources\/(?:un)?subscribe|tasks\/.*|notifications\/.*)$/

const json = (message: Rpc): Response => new Response(JSON.stringify(message), { headers: { 'content-type': 'application/json', 'cache-control': 'no-store' } })

/** Whether the person said no to every URL of the last try. */
const declined = (message: Rpc): boolean => {
  const { inputResponses } = paramsOf(message)
  const said = isRecord(inputResponses) ? Object.values(inputResponses) : []
  return said.length > 0 && said.every((response) => isRecord(response) && (response['action'] === 'decline' || response['action'] === 'cancel'))
}

/** Whoever acts on the body of a call checks the headers that repeat its parameters (streamable-http, server validation). Throws `mcp.headers`. */
const checkMirrors = ({ headers }: Caller, { mirrors }: FarSession, message: Rpc): void => {
  const { name, arguments: args } = paramsOf(message)
  const header = mismatchOf(mirrors.get(String(name)) ?? [], args, paramHeaders([...headers].flat()))
  if (header !== undefined) throw mirrorRefusal(header, message['id'] as Id)
}

export const createNewer = ({ runtime, tell, service, keepAliveMs, lasting }: NewerDeps): Newer => {
  const { random, digest, about } = runtime
  const sessions = createFarSessions({ runtime, tell, service, lasting })
  const listening = createListening({ tell, keepAliveMs, random })

  const begin: Newer['begin'] = (caller, message) => {
    const meta = metaOf(message)
    const named = meta[metaKeys.client]
    const declared = bridgedClient(meta[metaKeys.capabilities])
    // Where nothing can wait for the next try, the server is told that nobody can be asked.
    return sessions.get(caller, isRecord(named) ? named : ownClient(about), lasting ? declared : unaskedClient(declared))
  }

  const carry = createNewerCarry({ tell, sessions, service, random, digest, keepAliveMs, lasting, begin })
  /** Whether what the server says of its own accord reaches the caller. */
  const hears = (caller: Caller): boolean => lasting && caller.owner !== ''

  const discover = (caller: Caller, session: FarSession, message: Rpc): Response => {
    const { capabilities, server, instructions } = session.about
    sessions.done(session)
    const result = { supportedVersions: [askedVersion], capabilities: bridgedServer(capabilities, { notices: hears(caller), watching: hears(caller) }), ...(instructions === undefined ? {} : { instructions }) }
    return json({ jsonrpc: '2.0', id: message['id'], result: modernResult('server/discover', result, server) })
  }

  const request = async (caller: Caller, message: Rpc, method: string, begun: FarSession | undefined): Promise<Response> => {
    const session = begun ?? (await begin(caller, message))
    if (session instanceof Response) return session
    if (session === undefined) throw new Refusal('upstream.session', `${service} begins no session`)
    if (method === 'server/discover') return discover(caller, session, message)
    if (method === 'tools/call') checkMirrors(caller, session, message)
    return method === 'subscriptions/listen' ? listening(caller, session, message) : carry.call(caller, session, message)
  }

  return {
    begin,
    async handle(caller, message, session) {
      const kind = kindOf(message)
      if (kind === undefined) throw new Refusal('mcp.invalid', 'not a JSON-RPC message')
      if (kind === 'response') throw new Refusal('mcp.invalid', 'a response', { say: 'This MCP revision does not allow responses from clients.' })
      // Nothing that clients of this revision announce is known to the other (cancelling is closing the stream).
      if (kind !== 'request') return new Response(null, { status: 202 })
      const method = String(message['method'])
      const state = givenState(message)
      if (isHeldState(state)) return carry.resume(caller, message, state)
      if (unbridged.test(method) || (method === 'subscriptions/listen' && !hears(caller))) throw new Refusal('mcp.method', method, { rpcId: message['id'] as Id })
      if (declined(message)) throw new Refusal('era.declined', method, { rpcId: message['id'] as Id })
      return request(caller, message, method, session)
    },
  }
}
