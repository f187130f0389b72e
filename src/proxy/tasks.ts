// Whose task is it (MCP 2025-11-25 tasks; the extension io.modelcontextprotocol/tasks): a server names a task in its
// answer to a call, and from then on only the person and the app that made the call may ask for it. The id alone is no
// right to it.
import { Refusal } from '../kit/refusal.ts'
import { rpcIdOf } from '../mcp/envelope.ts'
import { type Rpc, isRecord } from '../mcp/json-rpc.ts'
import type { Principal } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { ReadCall } from './admitted-call.ts'
import { ownerOf } from './callers.ts'

/** For a task whose server does not say how long it keeps it, and at most. */
const usualMs = 24 * 3_600_000
const mostMs = 7 * usualMs
/** Longer than the server keeps it: it may be asked for its end. */
const afterwardsMs = 3_600_000
const mostPending = 10_000
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

export interface Tasks {
  /** Rejects with `task.unknown` where a message names a task of somebody else. */
  check(call: ReadCall): Promise<void>
  /** Reads one message of a server to this caller. */
  hear(message: Rpc, service: Service, principal: Principal): void
}

export const createTasks = ({ store, digest, defer }: Pick<Runtime, 'store' | 'digest' | 'defer'>): Tasks => {
  // The answer that names a task may be followed by a question about it before it is written down.
  const pending = new Map<string, string>()
  const keyOf = (service: Service, id: string): string => `mcp-task:${service.id}:${digest(id)}`
  // A digest, so that the record tells nobody who it was.
  const ownerDigest = (principal: Principal): string => digest(ownerOf(principal))
  return {
    hear(message, service, principal) {
      const task = taskIn(message)
      if (!task) return
      const [key, owner] = [keyOf(service, task.id), ownerDigest(principal)]
      if (pending.size >= mostPending) pending.delete(pending.keys().next().value as string)
      pending.set(key, owner)
      // A server that gives an id again has another task by this name.
      const written = store.put(key, owner, { ttlMs: lifetimeOf(task.ttl) })
      defer(written.finally(() => pending.get(key) === owner && pending.delete(key)))
    },
    async check({ envelope, principal, address: { service } }) {
      if (!principal) return
      for (const { method, name } of envelope?.messages ?? []) {
        if (!method?.startsWith('tasks/') || name === undefined) continue
        const key = keyOf(service, name)
        const owner = pending.get(key) ?? (await store.get(key))?.value
        if (owner !== undefined && owner !== ownerDigest(principal))
          throw new Refusal('task.unknown', 'task of another user or app', { rpcId: rpcIdOf(envelope) })
      }
    },
  }
}
