// One server's process as JSON-RPC: calls go out under ids of our own, and each answer and progress report finds the caller it belongs to.
import { Refusal } from '../kit/refusal.ts'
import {
  type Id,
  type DescribedMessage,
  forWriting,
  isId,
  metaOf,
  oneLine,
  paramsOf,
  withId,
} from '../mcp/json-rpc.ts'
import type { ProcessEnd, ProcessPlan, ServerProcess, SpawnServer } from '../ports/runtime.ts'
import {
  type CallEvents,
  type Calls,
  type PeerEvents,
  type IncomingOptions,
  createIncomingMessages,
} from './incoming-messages.ts'

export interface JsonRpcPeer {
  /** Sends a request under a new id, which is returned. Throws `upstream.busy` when the process leaves too much unread, `process.ended` when it is over. */
  call(said: DescribedMessage, events: CallEvents): number
  /** Sends a notification or a response. What the process does not read any more is dropped. */
  send(said: DescribedMessage): void
  /** Tells the server that nobody waits any longer, and forgets the call (MCP cancellation; an answer that crosses it is dropped). */
  cancel(id: number, reason: string): void
  /** While anybody holds it, nothing more is read of what the server writes. */
  hold(who: object): void
  release(who: object): void
  /** Fails the calls of which nothing was heard for longer than `silenceMs`, and tells the server. */
  expire(silenceMs: number): void
  /** Calls without an answer. */
  pending(): number
  /** Epoch ms of the last message in either direction. */
  usedAt(): number
  readonly startedAt: number
  end(): ProcessEnd | undefined
  /** Answered something at least once. */
  spoke(): boolean
  readonly process: ServerProcess
  /** Ends the process in order; `process.stop()` says when it is gone. */
  stop(): void
}

export interface JsonRpcPeerDeps extends Pick<IncomingOptions, 'now' | 'stray' | 'unreadable'> {
  /** Display name of the service, for sentences that callers read. */
  readonly name: string
  readonly spawn: SpawnServer
  /** What it wrote to standard error. */
  readonly complained: (text: string) => void
}

/** The same request under our id; the progress token becomes that id too, so that it is unique among everybody's (basic/utilities/progress). */
const outgoing = ({ message, text }: DescribedMessage, id: number, token: Id | undefined): string => {
  if (token === undefined) return withId(oneLine(text, message), message, id)
  const whole = forWriting(text, message)
  return JSON.stringify({
    ...whole,
    id,
    params: { ...paramsOf(whole), _meta: { ...metaOf(whole), progressToken: id } },
  })
}

const createHolders = (child: ServerProcess): Pick<JsonRpcPeer, 'hold' | 'release'> => {
  const holders = new Set<object>()
  return {
    hold(who) {
      if (holders.size === 0) child.pause()
      holders.add(who)
    },
    release(who) {
      if (holders.delete(who) && holders.size === 0) child.resume()
    },
  }
}

const expire = (calls: Calls, before: number, name: string, cancel: JsonRpcPeer['cancel']): void => {
  for (const [id, call] of calls) {
    if (call.events.patient || call.heardAt > before) continue
    cancel(id, 'timeout')
    call.events.failed(
      new Refusal('upstream.timeout', 'no output for the call within the timeout', {
        say: `Request to ${name} timed out`,
      }),
    )
  }
}

const failAll = (calls: Calls, refusal: Refusal): void => {
  const lost = [...calls.values()]
  calls.clear()
  for (const call of lost) call.events.failed(refusal)
}

export const createJsonRpcPeer = (
  plan: ProcessPlan,
  deps: JsonRpcPeerDeps,
  events: PeerEvents,
): JsonRpcPeer => {
  const { spawn, now, stray } = deps
  const calls: Calls = new Map()
  const state = { nextId: 1, usedAt: now(), spoke: false, end: undefined as ProcessEnd | undefined }
  const startedAt = state.usedAt
  const incoming = createIncomingMessages({
    calls,
    events,
    now,
    stray,
    unreadable: deps.unreadable,
    answered: () => (state.spoke = true),
  })
  const line = (text: string): void => {
    state.usedAt = now()
    incoming.line(text)
  }
  const child = spawn(plan, {
    line,
    garbage: () => stray('bytes that are no UTF-8'),
    oversized: incoming.oversized,
    complained: deps.complained,
    ended(how) {
      state.end = how
      incoming.close()
      failAll(calls, new Refusal('process.ended', how.why, { say: how.say }))
      events.ended(how)
    },
  })

  const cancel: JsonRpcPeer['cancel'] = (id, reason) => {
    if (!calls.delete(id)) return
    incoming.settled(id)
    if (!state.end)
      child.send(
        JSON.stringify({
          jsonrpc: '2.0',
          method: 'notifications/cancelled',
          params: { requestId: id, reason },
        }),
      )
  }

  return {
    ...createHolders(child),
    cancel,
    call(said, handlers) {
      const { end } = state
      if (end) throw new Refusal('process.ended', end.why, { say: end.say })
      const id = state.nextId++
      const { message } = said
      const { progressToken } = metaOf(message)
      const token = isId(progressToken) ? progressToken : undefined
      state.usedAt = now()
      if (!child.send(outgoing(said, id, token)))
        throw new Refusal('upstream.busy', 'stdin of the process is full', {
          headers: { 'retry-after': '1' },
        })
      calls.set(id, { events: handlers, clientId: message['id'] as Id, token, heardAt: state.usedAt })
      return id
    },
    send({ message, text }) {
      state.usedAt = now()
      if (message['id'] === undefined) incoming.notified()
      if (!state.end) child.send(oneLine(text, message))
    },
    expire: (silenceMs) => expire(calls, now() - silenceMs, deps.name, cancel),
    pending: () => calls.size,
    usedAt: () => state.usedAt,
    end: () => state.end,
    spoke: () => state.spoke,
    startedAt,
    process: child,
    stop: () => void child.stop().catch(() => undefined),
  }
}
