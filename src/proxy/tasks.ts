// Whose task is it, and of which tool (MCP 2025-11-25 tasks; the extension io.modelcontextprotocol/tasks): a server names
// a task in its answer to a call. From then on only the person and the app that made the call may ask for it, and only
// while they may use that tool. The id alone is no right to it.
import { Refusal } from '../kit/refusal.ts'
import { type Message, type RpcId, rpcIdOf } from '../mcp/envelope.ts'
import { type Rpc, isRecord } from '../mcp/json-rpc.ts'
import type { JudgedMessage } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { CallMessage, PermittedCall, ReadCall } from './admitted-call.ts'
import { ownerOf } from './callers.ts'

/** For a task whose server does not say how long it keeps it, and at most. */
const usualMs = 24 * 3_600_000
const mostMs = 7 * usualMs
/** Longer than the server keeps it: it may be asked for its end. */
const afterwardsMs = 3_600_000
const mostPending = 10_000
const mostCalls = 10_000
const longestId = 1_024

/** What a server says of a task that it made: within the result, or (in the extension) as the result. */
const taskIn = ({ result }: Rpc): { readonly id: string; readonly ttl: unknown } | undefined => {
  if (!isRecord(result)) return undefined
  const { task, resultType } = result
  const made = isRecord(task) ? task : resultType === 'task' ? result : undefined
  const id = made?.['taskId']
  if (typeof id !== 'string' || id.length > longestId) return undefined
  return { id, ttl: made?.['ttl'] ?? made?.['ttlMs'] }
}

const lifetimeOf = (ttl: unknown): number =>
  typeof ttl === 'number' && ttl > 0 ? Math.min(ttl + afterwardsMs, mostMs) : usualMs

/** The call that a message of a server answers, or the connection on which it comes. */
type HeardCall = Pick<PermittedCall, 'head' | 'address' | 'principal'> &
  Partial<Pick<CallMessage, 'envelope'> & Pick<ReadCall, 'session'>>

/** The methods that name a task. */
const aboutTasks: ReadonlySet<string | undefined> = new Set([
  'tasks/get',
  'tasks/update',
  'tasks/cancel',
  'tasks/result',
])

const remember = <Value>(map: Map<string, Value>, key: string, value: Value, most: number): void => {
  if (map.size >= most) map.delete(map.keys().next().value as string)
  map.set(key, value)
}

// Tools of calls whose answers may come on another stream than the one that they were sent on: one that was taken up
// again, or a connection.

interface CalledTools {
  add(call: HeardCall): void
  /** The tool that this answer is about; undefined where it cannot be said. */
  take(call: HeardCall, id: unknown): string | undefined
}

const createCalledTools = (): CalledTools => {
  const called = new Map<string, string | undefined>()
  /** Undefined where ids of several clients stand side by side. */
  const keyOf = ({ head, address, principal, session }: HeardCall, id: unknown): string | undefined => {
    const where = head.within === undefined ? session : head.requestId
    return where && JSON.stringify([address.service.id, ownerOf(principal), where, id])
  }
  return {
    add(call) {
      for (const { method, name, id, spawnsTask } of call.envelope?.messages ?? []) {
        const key = spawnsTask && method === 'tools/call' ? keyOf(call, id) : undefined
        // Of two calls with one id nobody knows which is answered.
        if (key)
          remember(called, key, called.has(key) && called.get(key) !== name ? undefined : name, mostCalls)
      }
    },
    take(call, id) {
      const asked = call.envelope?.messages.find((message) => message.kind === 'request' && message.id === id)
      const key = keyOf(call, id as RpcId)
      const tool = key && called.get(key)
      if (key) called.delete(key)
      return asked ? (asked.method === 'tools/call' ? asked.name : undefined) : tool
    },
  }
}

export interface Tasks {
  /**
   * Rejects with `task.unknown` where a message names a task of somebody else. Answers what the messages ask for:
   * where they name a task, its tool (without a name where it is not known).
   */
  check(call: ReadCall): Promise<readonly JudgedMessage[]>
  /** A call that may be answered by a task is about to be sent. */
  called(call: ReadCall): void
  /** Reads one message of a server to this caller. */
  hear(message: Rpc, call: HeardCall): void
}

export const createTasks = ({ store, digest, defer }: Pick<Runtime, 'store' | 'digest' | 'defer'>): Tasks => {
  // The answer that names a task may be followed by a question about it before it is written down.
  const pending = new Map<string, string>()
  const tools = createCalledTools()
  const keyOf = ({ address: { service } }: HeardCall, id: string): string =>
    `mcp-task:${service.id}:${digest(id)}`
  // A digest, so that the record tells nobody who it was.
  const ownerDigest = ({ principal }: HeardCall): string => digest(ownerOf(principal))
  const find = async (call: ReadCall, { name }: Message): Promise<string | undefined> => {
    const key = keyOf(call, name ?? '')
    const [owner, ...tool] = (pending.get(key) ?? (await store.get(key))?.value ?? '').split(' ')
    if (owner !== '' && owner !== ownerDigest(call))
      throw new Refusal('task.unknown', 'task of another user or app', { rpcId: rpcIdOf(call.envelope) })
    return tool.length === 0 ? undefined : tool.join(' ')
  }
  return {
    called: (call) => tools.add(call),
    hear(message, call) {
      const task = taskIn(message)
      if (!task) return
      const tool = tools.take(call, message.id)
      const key = keyOf(call, task.id)
      const value = [ownerDigest(call), ...(tool === undefined ? [] : [tool])].join(' ')
      remember(pending, key, value, mostPending)
      // A server that gives an id again has another task by this name.
      const written = store.put(key, value, { ttlMs: lifetimeOf(task.ttl) })
      defer(written.finally(() => pending.get(key) === value && pending.delete(key)))
    },
    check: (call) =>
      Promise.all(
        (call.envelope?.messages ?? []).map(async (message): Promise<JudgedMessage> => {
          if (!aboutTasks.has(message.method)) return message
          const name = message.name === undefined ? undefined : await find(call, message)
          return { kind: message.kind, method: 'tools/call', name, earlier: true }
        }),
      ),
  }
}
