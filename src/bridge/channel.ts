// One server's process as JSON-RPC: calls go out under ids of our own, and each answer and progress report finds the caller it belongs to.
import { Refusal } from '../kit/refusal.ts'
import type { ProcessEnd, ProcessPlan, ServerProcess, SpawnServer } from '../ports/spawn.ts'
import { forWriting, type Id, isId, kindOf, metaOf, oneLine, paramsOf, readLine, type Rpc, type Said, withId } from '../mcp/rpc.ts'

export interface CallEvents {
  /** The answer under the caller's id. Nothing follows. */
  answer(text: string, message: Rpc): void
  /** A progress report under the caller's token. */
  progress(text: string): void
  /** No answer will come. */
  failed(refusal: Refusal): void
  /** Silence is no fault: a stream of notifications that may never come. */
  readonly patient?: boolean
}

export interface ChannelEvents {
  notification(message: Rpc, text: string): void
  request(message: Rpc, text: string): void
  /** The process is over; its calls have failed already. */
  ended(end: ProcessEnd): void
}

export interface Channel {
  /** Sends a request under a new id, which is returned. Throws `upstream.busy` when the process leaves too much unread, `process.ended` when it is over. */
  call(said: Said, events: CallEvents): number
  /** Sends a notification or a response. What the process does not read any more is dropped. */
  send(said: Said): void
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

export interface ChannelDeps {
  /** Display name of the service, for sentences that callers read. */
  readonly name: string
  readonly spawn: SpawnServer
  readonly now: () => number
  /** What a line was that belongs to nobody. */
  readonly stray: (what: string) => void
  /** What it wrote to standard error. */
  readonly complained: (text: string) => void
}

interface Pending {
  readonly events: CallEvents
  readonly clientId: Id
  readonly token: Id | undefined
  heardAt: number
}

type Calls = Map<number, Pending>

/** The same request under our id; the progress token becomes that id too, so that it is unique among everybody's (basic/utilities/progress). */
const outgoing = ({ message, text }: Said, id: number, token: Id | undefined): string => {
  if (token === undefined) return withId(oneLine(text, message), message, id)
  const whole = forWriting(text, message)
  return JSON.stringify({ ...whole, id, params: { ...paramsOf(whole), _meta: { ...metaOf(whole), progressToken: id } } })
}

/** Reads lines and hands each message to whom it is for. `answered` hears that the server has answered something. */
const createEar = (calls: Calls, { now, stray }: ChannelDeps, events: ChannelEvents, answered: () => void): ((line: string) => void) => {
  const answer = (message: Rpc, text: string): void => {
    const id = message['id'] as number
    const call = calls.get(id)
    if (!call) return stray('an answer to no call')
    calls.delete(id)
    answered()
    call.events.answer(withId(text, message, call.clientId), message)
  }
  const notification = (message: Rpc, text: string): void => {
    if (message['method'] !== 'notifications/progress') return events.notification(message, text)
    const params = paramsOf(message)
    const call = calls.get(params['progressToken'] as number)
    if (call?.token === undefined) return stray('progress of no call')
    call.heardAt = now()
    const whole = forWriting(text, message)
    call.events.progress(JSON.stringify({ ...whole, params: { ...paramsOf(whole), progressToken: call.token } }))
  }
  const hear = (value: unknown, line: string): void => {
    const kind = kindOf(value)
    if (kind === undefined) return stray('a line that is no JSON-RPC message')
    const message = value as Rpc
    const text = oneLine(line, message)
    if (kind === 'response') answer(message, text)
    else if (kind === 'notification') notification(message, text)
    else events.request(message, text)
  }
  return (line) => {
    const read = readLine(line)
    if (!read) return stray('a line that is no JSON')
    // Servers of 2025-03-26 may write arrays (basic/index, batching); each element goes its own way.
    if (!Array.isArray(read.value)) return hear(read.value, line)
    const whole = forWriting(line, read.value) as readonly unknown[]
    read.value.forEach((message, at) => hear(message, JSON.stringify(whole[at])))
  }
}

const createHolders = (child: ServerProcess): Pick<Channel, 'hold' | 'release'> => {
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

const expire = (calls: Calls, before: number, name: string, cancel: Channel['cancel']): void => {
  for (const [id, call] of calls) {
    if (call.events.patient || call.heardAt > before) continue
    cancel(id, 'timeout')
    call.events.failed(new Refusal('upstream.timeout', 'it said nothing about the call for too long', { say: `Request to ${name} timed out` }))
  }
}

export const createChannel = (plan: ProcessPlan, deps: ChannelDeps, events: ChannelEvents): Channel => {
  const { spawn, now, stray } = deps
  const calls: Calls = new Map()
  const state = { nextId: 1, usedAt: now(), spoke: false, end: undefined as ProcessEnd | undefined }
  const startedAt = state.usedAt
  const hear = createEar(calls, deps, events, () => (state.spoke = true))
  const line = (text: string): void => {
    state.usedAt = now()
    hear(text)
  }
  const child = spawn(plan, {
    line,
    garbage: (bytes) => stray(`${bytes} bytes that are no UTF-8`),
    complained: deps.complained,
    ended(how) {
      state.end = how
      const lost = [...calls.values()]
      calls.clear()
      for (const call of lost) call.events.failed(new Refusal('process.ended', how.why, { say: how.say }))
      events.ended(how)
    },
  })

  const cancel: Channel['cancel'] = (id, reason) => {
    if (calls.delete(id) && !state.end) child.send(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id, reason } }))
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
      if (!child.send(outgoing(said, id, token))) throw new Refusal('upstream.busy', 'its input is full', { headers: { 'retry-after': '1' } })
      calls.set(id, { events: handlers, clientId: message['id'] as Id, token, heardAt: state.usedAt })
      return id
    },
    send({ message, text }) {
      state.usedAt = now()
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
