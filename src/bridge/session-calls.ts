// The calls of one session that are going: answered on their way back, cancelled by the client's own id.
import { Refusal } from '../kit/refusal.ts'
import type { SayRefused } from '../kit/refusal.ts'
import type { Channel } from './channel.ts'
import { type Id, paramsOf, type Rpc, type Said } from '../mcp/rpc.ts'
import type { Way } from './streams.ts'

/** Takes the answer to one call, or that there will be none. */
type Finish = (text: string | undefined) => void

/** How one request was posted: its way back, with whom it shares it, and how its caller is told what went wrong. */
export interface Sent {
  readonly way: Way
  readonly finish: Finish
  readonly batch: boolean
  readonly refused: SayRefused
}

export interface SessionCalls {
  /** Sends one request; `finish` as `gather` made it. */
  call(said: Said, sent: Sent): void
  /** The client waits no longer; servers do not answer a cancelled call, so nothing of it is left (basic/utilities/cancellation). */
  cancel(notification: Rpc): void
}

/** The one way back of what was posted together. The answers of a batch go together, once all are there (2025-03-26 transports). */
export const gather = (way: Way, batch: boolean, count: number): Finish => {
  const answers: string[] = []
  let open = count
  return (text) => {
    open--
    if (text !== undefined) answers.push(text)
    if (open > 0) return
    if (answers.length === 0) way.end()
    else way.answer(batch ? `[${answers.join(',')}]` : (answers[0] as string))
  }
}

/** Tells 1 from "1". */
export const keyOf = (id: unknown): string => JSON.stringify(id) ?? ''

export const createSessionCalls = (channel: () => Channel): SessionCalls => {
  const going = new Map<string, { readonly id: number; readonly finish: Finish }>()
  return {
    call(said, { way, finish, batch, refused }) {
      const clientId = said.message['id'] as Id
      const key = keyOf(clientId)
      let id = 0
      const done = (): void => {
        if (going.get(key)?.id === id) going.delete(key)
      }
      const failed = (refusal: Refusal): void => {
        done()
        if (batch) finish(refused(refusal, clientId))
        else way.fail(refusal, () => refused(refusal, clientId))
      }
      const answer = (text: string): void => {
        done()
        finish(text)
      }
      try {
        id = channel().call(said, { answer, progress: way.tell, failed })
        going.set(key, { id, finish })
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        failed(error)
      }
    },
    cancel(notification) {
      const { requestId, reason } = paramsOf(notification)
      const key = keyOf(requestId)
      const found = going.get(key)
      if (!found) return
      going.delete(key)
      channel().cancel(found.id, typeof reason === 'string' ? reason : 'cancelled by the client')
      found.finish(undefined)
    },
  }
}
