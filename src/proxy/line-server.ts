// A server behind a line, served as Streamable HTTP: each session has a line of its own, and every message finds the stream it belongs to (MCP 2025-11-25 transports).
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Dial, SessionCall } from '../ports/lines.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import { createConversation } from './line-conversation.ts'
import type { Conversation } from './line-conversation.ts'
import { refusedOf } from './refuse.ts'
import { messagesOf } from './rpc-text.ts'
import type { Watch } from './watch.ts'

export interface LineServerDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'log'>
  readonly service: Service
  readonly dial: Dial
  readonly watch: Watch
  readonly keepAliveMs: number
  /** Lines that one owner may hold open at once. */
  readonly most: number
}

/** Answers one request of a Streamable HTTP client, which has been let in already. `id`: of the session, should it open one. Rejects with `Refusal`. */
export type LineServer = (request: Request, about: SessionCall, id?: string) => Promise<Response>

/** Largest message of a server on a line, bytes. */
export const mostMessageBytes = 67_108_864

/** A session that nobody used for this long is over. */
export const idleMs = 1_800_000

export const tooMany = (owner: string, open: number): Refusal => new Refusal('calls.limited', `${owner} has ${open} connections open`, { headers: { 'retry-after': '5' } })

/** Ours alone begin like this: by it a session is known for one on a line where nobody remembers it. */
const mark = 'line-'
export const lineSession = (id: string): string => `${mark}${id}`
/** The id in a session on a line; undefined for the sessions of others. */
export const lineIdOf = (session: string): string | undefined => (session.startsWith(mark) ? session.slice(mark.length) : undefined)

const flat = (headers: Headers): string[] => [...headers].flat()

/** Whether these messages begin a session. */
export const opensSession = (text: string): boolean => messagesOf(text).some(({ message }) => message['method'] === 'initialize')

export const createLineServer = ({ runtime, service, dial, watch, keepAliveMs, most }: LineServerDeps): LineServer => {
  const conversations = new Map<string, Conversation>()
  const find = (request: Request, owner: string): Conversation => {
    const id = request.headers.get('mcp-session-id')
    if (id === null) throw new Refusal('session.missing', 'Mcp-Session-Id missing')
    const conversation = conversations.get(id)
    if (!conversation || conversation.owner !== owner) throw new Refusal('session.unknown', 'no connection for this session in this process')
    return conversation
  }
  const begin = async (request: Request, owner: string, id: string): Promise<Conversation> => {
    let own = 0
    for (const conversation of conversations.values()) if (conversation.owner === owner) own++
    if (own >= most) throw tooMany(owner, own)
    if (conversations.has(id)) throw new Refusal('session.unknown', 'session ID already in use')
    const over = (): void => {
      conversations.delete(id)
      unwatch()
    }
    const conversation = createConversation({ id, owner, now: runtime.now, keepAliveMs, over })
    conversations.set(id, conversation)
    const unwatch = watch.service(service, conversation.close, () => conversation.idleSince() < runtime.now() - idleMs)
    try {
      conversation.use(await dial({ headers: flat(request.headers), timeoutMs: service.timeoutMs }, conversation))
      return conversation
    } catch (error) {
      conversation.close()
      throw error
    }
  }
  return async (request, { owner, asked }, id = encodeBase64url(runtime.random(32))) => {
    if (request.method === 'GET') return find(request, owner).listen(request.signal)
    if (request.method === 'DELETE') {
      find(request, owner).close()
      return new Response(null, { status: 200 })
    }
    const text = await request.text()
    const messages = messagesOf(text)
    if (!opensSession(text)) return find(request, owner).post(messages, request, refusedOf(runtime.log, asked))
    const conversation = await begin(request, owner, lineSession(id))
    try {
      return await conversation.post(messages, request, refusedOf(runtime.log, asked))
    } catch (error) {
      conversation.close()
      throw error
    }
  }
}
