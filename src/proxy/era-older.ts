// Clients of 2025 and before in front of a server of 2026-07-28: the handshake and the session are the gateway's, each request stands for itself at the server.
import { Refusal } from '../kit/refusal.ts'
import { revisions } from '../mcp/revisions.ts'
import type { Rpc } from '../mcp/rpc.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Caller, Tell } from './era-exchange.ts'
import { createOlderBegin, type OlderBegin } from './era-older-begin.ts'
import { createOlderHere } from './era-older-here.ts'
import { createOlderListen } from './era-older-listen.ts'
import { createOlderPost } from './era-older-post.ts'
import { createOlderSessions } from './era-older-sessions.ts'
import { createQuestions } from './era-questions.ts'
import { createEraTools } from './era-tools.ts'

export interface OlderDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly tell: Tell
  readonly service: string
  readonly keepAliveMs: number
  /** Whether what is begun in one request goes on after it. */
  readonly lasting: boolean
  /** Revisions with a handshake that clients may speak here, newest first. */
  readonly versions: readonly string[]
}

export interface Older {
  /** Answers `initialize`. */
  readonly begin: OlderBegin
  /** A POST in a session of ours: one message, or several where the revision has batches. Rejects with `Refusal`. */
  post(caller: Caller, id: string, messages: readonly Rpc[], batch: boolean): Promise<Response>
  get(caller: Caller, id: string): Promise<Response>
  /** Whether it is a session of ours. */
  knows(id: string, owner: string): Promise<boolean>
  end(caller: Caller, id: string): Promise<Response>
}

const batching = new Set(revisions.filter(({ batches }) => batches).map(({ version }) => version))

export const createOlder = (deps: OlderDeps): Older => {
  const { tell, runtime, lasting } = deps
  const { random, now } = runtime
  const sessions = createOlderSessions(runtime)
  const listen = createOlderListen({ ...deps, random })
  const tools = createEraTools({ tell, now, random })
  const post = createOlderPost({ ...deps, random, tools, questions: lasting ? createQuestions({ random }) : undefined, here: createOlderHere({ sessions, listen, lasting }) })
  return {
    begin: createOlderBegin({ ...deps, random, sessions }),
    async post(caller, id, messages, batch) {
      const session = await sessions.find(id, caller.owner)
      if (batch && !batching.has(session.version)) throw new Refusal('mcp.invalid', 'batch', { say: `MCP ${session.version} does not support batches. Send one message per request.` })
      return post(caller, id, session, messages)
    },
    knows: (id, owner) => sessions.find(id, owner).then(() => true, (error: unknown) => !(error instanceof Refusal && error.code === 'session.unknown')),
    get: (caller, id) => listen.open(id, caller, () => sessions.find(id, caller.owner)),
    async end(caller, id) {
      await sessions.find(id, caller.owner)
      await sessions.end(id, caller.owner)
      listen.end(id)
      return new Response(null, { status: 200 })
    },
  }
}
