// The POSTs of one session that wait for answers: which stream an answer or a progress report belongs to.
import { Refusal } from '../kit/refusal.ts'
import type { SayRefused } from '../kit/refusal.ts'
import { createEventWriter } from './event-writer.ts'
import type { EventWriter } from './event-writer.ts'
import { keyOf, progressOf } from './rpc-text.ts'
import type { Rpc } from './rpc-text.ts'

/** One POST with requests: its stream, and what it still waits for. */
interface Call {
  readonly refused: SayRefused
  readonly stream: EventWriter
  /** Ids without an answer, by key. */
  readonly waiting: Map<string, unknown>
  readonly tokens: readonly string[]
}

export interface LineCalls {
  /** The stream for these requests' answers; `refused`: what is said there when none will come. Throws `mcp.invalid` for an id that is in use. */
  open(requests: readonly Rpc[], refused: SayRefused): EventWriter
  /** Gives an answer to its call; an answer to nobody is dropped, because its caller left. */
  answer(id: unknown, text: string): Promise<void> | undefined
  /** The stream for reports under that token. */
  reporting(token: unknown): EventWriter | undefined
  latest(): EventWriter | undefined
  /** No answer will come any more. */
  fail(refusal: Refusal): void
  readonly size: number
}

export const createLineCalls = ({ keepAliveMs, used }: { readonly keepAliveMs: number; readonly used: () => void }): LineCalls => {
  const calls = new Set<Call>()
  const byId = new Map<string, Call>()
  const byToken = new Map<string, Call>()
  const forget = (call: Call): void => {
    calls.delete(call)
    for (const key of call.waiting.keys()) byId.delete(key)
    for (const token of call.tokens) byToken.delete(token)
    used()
  }
  return {
    open(requests, refused) {
      const taken = requests.map((message) => keyOf(message['id'])).find((key) => byId.has(key))
      if (taken !== undefined) throw new Refusal('mcp.invalid', `the id ${taken} is in use`)
      const call: Call = {
        refused,
        stream: createEventWriter({ keepAliveMs, gone: () => forget(call) }),
        waiting: new Map(requests.map((message) => [keyOf(message['id']), message['id']])),
        tokens: requests.flatMap((message) => (progressOf(message) === undefined ? [] : [keyOf(progressOf(message))])),
      }
      for (const key of call.waiting.keys()) byId.set(key, call)
      for (const token of call.tokens) byToken.set(token, call)
      calls.add(call)
      return call.stream
    },
    answer(id, text) {
      const key = keyOf(id)
      const call = byId.get(key)
      if (!call) return undefined
      call.waiting.delete(key)
      byId.delete(key)
      call.stream.write(text)
      if (call.waiting.size === 0) call.stream.end()
      return call.stream.room()
    },
    reporting: (token) => (token === undefined ? undefined : byToken.get(keyOf(token))?.stream),
    latest: () => [...calls].at(-1)?.stream,
    fail(refusal) {
      for (const call of calls) {
        for (const id of call.waiting.values()) call.stream.write(call.refused(refusal, id))
        call.stream.end()
      }
    },
    get size() {
      return calls.size
    },
  }
}
