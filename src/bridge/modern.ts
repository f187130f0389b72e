// The endpoint for clients of 2026-07-28: POST alone and no sessions (streamable-http; basic/transports/stdio).
import { Refusal } from '../kit/refusal.ts'
import type { BridgeCall, BridgeReply } from '../ports/bridge.ts'
import { createHomes, type HomesOptions } from './homes.ts'
import { kindOf, type Said } from '../mcp/rpc.ts'

export interface Modern {
  /** One message of a client of this era. Rejects with `Refusal`. */
  handle(owner: string, said: Said, call: BridgeCall): Promise<BridgeReply>
  /** Whether a call of this owner needs no start of a process. */
  ready(owner: string): boolean
  comment(): void
  /** Fails calls during which a server said nothing. */
  expire(silenceMs: number): void
}

export const createModern = (options: HomesOptions): Modern => {
  const homes = createHomes(options)
  return {
    async handle(owner, said, call) {
      const { message } = said
      const kind = kindOf(message)
      // Clients of this revision have nothing to answer (streamable-http, sending messages).
      if (kind === 'response') throw new Refusal('mcp.invalid', 'a response', { say: 'This MCP revision does not allow responses from clients.' })
      const { personal, tools, channel } = await homes.of(owner)
      call.signal.throwIfAborted()
      if (kind === 'notification') {
        // Cancelling is closing the stream here, and an id alone does not say which of a person's clients it was.
        if (message['method'] !== 'notifications/cancelled') channel.send(said)
        return { status: 202, headers: [], body: '' }
      }
      if (message['method'] === 'tools/call') {
        await tools.check(message, call.headers)
        call.signal.throwIfAborted()
      }
      return personal.request(said, call)
    },
    ready: homes.ready,
    comment() {
      for (const { personal } of homes.settled) personal.comment()
    },
    expire(silenceMs) {
      for (const { channel } of homes.settled) channel.expire(silenceMs)
    },
  }
}
