// Requests of clients of 2025 and before that a server of 2026-07-28 has no method for: what the gateway answers in its place, and what it does not.
import { Refusal } from '../kit/refusal.ts'
import type { RefusalCode } from '../kit/refusal.ts'
import { paramsOf, type Rpc } from '../mcp/rpc.ts'
import { isLevel } from '../mcp/translate.ts'
import type { Caller } from './era-exchange.ts'
import type { OlderListen } from './era-older-listen.ts'
import type { OlderSessions } from './era-older-sessions.ts'

export interface OlderHereDeps {
  readonly sessions: Pick<OlderSessions, 'change'>
  readonly listen: Pick<OlderListen, 'changed'>
  readonly lasting: boolean
}

/** The answer as text; undefined for what the server answers. */
export type OlderHere = (id: string, caller: Pick<Caller, 'owner' | 'refused'>, message: Rpc) => Promise<string> | string | undefined

const unbridged = /^(?:tasks\/.*|server\/discover|subscriptions\/.*|notifications\/.*)$/
const watching = /^resources\/(?:un)?subscribe$/
const mostWatched = 256
const mostUri = 2048

const empty = (message: Rpc): string => JSON.stringify({ jsonrpc: '2.0', id: message['id'], result: {} })

export const createOlderHere = ({ sessions, listen, lasting }: OlderHereDeps): OlderHere => {
  const watch = async (id: string, { owner, refused }: Pick<Caller, 'owner' | 'refused'>, message: Rpc): Promise<string> => {
    const { uri } = paramsOf(message)
    if (typeof uri !== 'string' || uri.length > mostUri) return refused(new Refusal('mcp.params', 'uri', { say: 'uri is missing or too long.' }), message['id'])
    const stays = message['method'] === 'resources/subscribe'
    await sessions.change(id, owner, ({ watched }) => {
      const others = watched.filter((one) => one !== uri)
      if (stays && others.length >= mostWatched) throw new Refusal('calls.limited', `${mostWatched} resources are watched`)
      return { watched: stays ? [...others, uri] : others }
    })
    listen.changed(id)
    return empty(message)
  }

  return (id, caller, message) => {
    const method = String(message['method'])
    const failed = (code: RefusalCode, say?: string): string => caller.refused(new Refusal(code, method, say === undefined ? {} : { say }), message['id'])
    if (method === 'ping') return empty(message)
    if (method === 'initialize') return failed('mcp.invalid', 'The session has begun already.')
    if (method === 'logging/setLevel') {
      const { level } = paramsOf(message)
      return isLevel(level) ? sessions.change(id, caller.owner, () => ({ level })).then(() => empty(message)) : failed('mcp.params', 'There is no such level.')
    }
    if (lasting && watching.test(method)) return watch(id, caller, message)
    return unbridged.test(method) || watching.test(method) ? failed('era.unbridged') : undefined
  }
}
