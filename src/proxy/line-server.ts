// A server behind a line, served as Streamable HTTP: each session has a line of its own, and every message finds the stream it belongs to (MCP 2025-11-25 transports).
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Dial } from '../ports/lines.ts'
import type { Runtime } from '../ports/runtime.ts'
import { createConversation } from './line-conversation.ts'
import type { Conversation } from './line-conversation.ts'
import { messagesOf } from './rpc-text.ts'

export interface LineServerDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random'>
  readonly dial: Dial
  readonly timeoutMs: number
  readonly keepAliveMs: number
  /** Lines that one owner may hold open at once. */
  readonly most: number
}

/** Answers one request of a Streamable HTTP client. `owner`: whose sessions it may use; the caller has been let in already. Rejects with `Refusal`. */
export type LineServer = (request: Request, owner: string) => Promise<Response>

/** A session that nobody used for this long is over. */
const idleMs = 1_800_000
const sweepMs = 60_000

const flat = (headers: Headers): string[] => [...headers].flat()

export const createLineServer = ({ runtime, dial, timeoutMs, keepAliveMs, most }: LineServerDeps): LineServer => {
  const conversations = new Map<string, Conversation>()
  let swept = runtime.now()
  const sweep = (): void => {
    const time = runtime.now()
    if (time - swept < sweepMs) return
    swept = time
    for (const conversation of conversations.values()) if (conversation.idleSince() < time - idleMs) conversation.close()
  }
  const find = (request: Request, owner: string): Conversation => {
    const id = request.headers.get('mcp-session-id')
    if (id === null) throw new Refusal('session.missing')
    const conversation = conversations.get(id)
    if (!conversation || conversation.owner !== owner) throw new Refusal('session.unknown', 'no line for it in this process')
    return conversation
  }
  const begin = async (request: Request, owner: string): Promise<Conversation> => {
    let own = 0
    for (const conversation of conversations.values()) if (conversation.owner === owner) own++
    if (own >= most) throw new Refusal('calls.limited', `${owner} has ${own} lines open`, { headers: { 'retry-after': '5' } })
    const id = encodeBase64url(runtime.random(32))
    const conversation = createConversation({ id, owner, now: runtime.now, keepAliveMs, over: () => void conversations.delete(id) })
    conversation.use(await dial({ headers: flat(request.headers), timeoutMs }, conversation))
    conversations.set(id, conversation)
    return conversation
  }
  return async (request, owner) => {
    sweep()
    if (request.method === 'GET') return find(request, owner).listen(request.signal)
    if (request.method === 'DELETE') {
      find(request, owner).close()
      return new Response(null, { status: 200 })
    }
    const text = await request.text()
    const messages = messagesOf(text)
    const opens = messages.some(({ message }) => message['method'] === 'initialize')
    if (!opens) return find(request, owner).post(messages, flat(request.headers), request.signal)
    const conversation = await begin(request, owner)
    try {
      return await conversation.post(messages, flat(request.headers), request.signal)
    } catch (error) {
      conversation.close()
      throw error
    }
  }
}
