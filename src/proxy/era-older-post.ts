// What a client of 2025 and before POSTs in a session of ours: requests are answered on their POST, answers go to the question they belong to.
import { Refusal } from '../kit/refusal.ts'
import { kindOf, paramsOf, type Rpc } from '../mcp/rpc.ts'
import { asRefusal, type Caller } from './era-exchange.ts'
import { type OlderCallDeps, runOlderCall } from './era-older-call.ts'
import type { OlderHere } from './era-older-here.ts'
import type { OlderSession } from './era-older-sessions.ts'
import { createEraReply, type EraReply } from './era-reply.ts'

export interface OlderPostDeps extends OlderCallDeps {
  readonly here: OlderHere
  readonly keepAliveMs: number
}

export type OlderPost = (caller: Caller, id: string, session: OlderSession, messages: readonly Rpc[]) => Promise<Response>

const keyOf = (session: string, id: unknown): string => `${session}\n${JSON.stringify(id)}`

/** The last message of each of `count` requests; the last of all ends the reply. */
const gather = (reply: EraReply, count: number): ((text: string | undefined) => void) => {
  let open = count
  return (text) => {
    open--
    if (open === 0 && text === undefined) reply.end()
    else if (open === 0) reply.answer(text as string)
    else if (text !== undefined) reply.tell(text)?.catch(() => undefined)
  }
}

export const createOlderPost = (deps: OlderPostDeps): OlderPost => {
  const { service, questions, keepAliveMs, here } = deps
  /** Requests that are going, so that they can be cancelled by the client's own id. */
  const going = new Map<string, AbortController>()

  const carry = async (caller: Caller, id: string, session: OlderSession, message: Rpc, reply: EraReply): Promise<string | Response | undefined> => {
    const key = keyOf(id, message['id'])
    if (going.has(key)) return caller.refused(new Refusal('mcp.invalid', `the id ${JSON.stringify(message['id'])} is in use`, { say: 'The request id is already in use.' }), message['id'])
    const stop = new AbortController()
    going.set(key, stop)
    try {
      return (await here(id, caller, message)) ?? (await runOlderCall(deps, { caller: { ...caller, signal: AbortSignal.any([caller.signal, stop.signal]) }, id, session, message, say: reply.tell }))
    } catch (error) {
      // Cancelled by the client itself: there is no answer (2025-11-25 cancellation).
      if (stop.signal.aborted) return undefined
      throw error
    } finally {
      going.delete(key)
    }
  }

  const take = (id: string, message: Rpc): void => {
    if (kindOf(message) === 'response') questions?.answered(id, message)
    else if (message['method'] === 'notifications/cancelled') going.get(keyOf(id, paramsOf(message)['requestId']))?.abort()
  }

  return async (caller, id, session, messages) => {
    if (messages.length === 0 || messages.some((message) => kindOf(message) === undefined)) throw new Refusal('mcp.invalid', 'not a JSON-RPC message')
    const requests = messages.filter((message) => kindOf(message) === 'request')
    for (const message of messages) if (!requests.includes(message)) take(id, message)
    if (requests.length === 0) return new Response(null, { status: 202 })
    const left = new AbortController()
    const reply = createEraReply({ keepAliveMs, signal: caller.signal, gone: () => left.abort() })
    const last = gather(reply, requests.length)
    for (const message of requests) {
      const failed = (refusal: Refusal): string => caller.refused(refusal, message['id'])
      carry({ ...caller, signal: left.signal }, id, session, message, reply).then(
        (said) => {
          if (!(said instanceof Response)) last(said)
          // What the server says to this caller alone: a login that is wanted, or trouble of its own.
          else if (requests.length > 1 || !reply.pass(said)) last(failed(new Refusal('upstream.answer', `${service} answered ${said.status}`, { say: `The MCP server responded with status ${said.status}.` })))
        },
        (error: unknown) => {
          const refusal = asRefusal(error, service)
          // A fault of the way there has a status of its own; a refusal of what was asked is an answer to it.
          if (requests.length === 1 && !(error instanceof Refusal && refusal.row.status < 500)) reply.fail(error, () => failed(refusal))
          else last(failed(refusal))
        },
      )
    }
    return reply.response
  }
}
