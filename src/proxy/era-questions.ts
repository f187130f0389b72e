// What clients of 2025 and before were asked in the name of a server that asks by input requests, and their answers, which come with a POST of their own.
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Rpc } from '../mcp/rpc.ts'

export interface Questions {
  /** Asks, and waits. Rejects when the caller leaves, or does not answer in time. */
  ask(session: string, request: Rpc, say: (text: string) => Promise<void> | undefined, signal: AbortSignal): Promise<Rpc>
  /** A response of the client's; one to nothing that was asked in this session is dropped. */
  answered(session: string, response: Rpc): void
}

/** People read, think and sign in meanwhile. */
const patienceMs = 15 * 60_000

export const createQuestions = ({ random }: { readonly random: (n: number) => Uint8Array }): Questions => {
  const open = new Map<string, (response: Rpc) => void>()
  const keyOf = (session: string, id: unknown): string => `${session}\n${JSON.stringify(id)}`
  return {
    ask: (session, { method, params }, say, signal) =>
      new Promise((resolve, reject) => {
        const id = `postern-${encodeBase64url(random(12))}`
        const key = keyOf(session, id)
        const over = (): void => {
          open.delete(key)
          clearTimeout(late)
          signal.removeEventListener('abort', left)
        }
        const left = (): void => {
          over()
          reject(signal.reason as Error)
        }
        const late = setTimeout(() => {
          over()
          say(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id, reason: 'nobody answered' } }))?.catch(() => undefined)
          reject(new Refusal('era.input', 'the client did not answer in time'))
        }, patienceMs)
        signal.addEventListener('abort', left, { once: true })
        open.set(key, (response) => {
          over()
          resolve(response)
        })
        say(JSON.stringify({ jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }) }))?.catch(() => undefined)
        if (signal.aborted) left()
      }),
    answered: (session, response) => open.get(keyOf(session, response['id']))?.(response),
  }
}
