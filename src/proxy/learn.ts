// What an upstream's answer says: that the server is there, and of MCP sessions, which is kept before the caller hears it.
import type { Relayed } from './answer.ts'
import type { Passed } from './passed.ts'
import type { McpSessions } from './sessions.ts'

/** Undefined when there is nothing to wait for. */
export const learn = (sessions: McpSessions, { call, principal, session }: Passed, head: Relayed): Promise<void> | undefined => {
  call.place.health?.heard()
  if (!principal) return undefined
  const { service } = call.address
  if (call.head.method === 'DELETE' && session !== undefined && head.status < 300) return sessions.forget(session, service)
  return head.session !== undefined && head.session !== session ? sessions.learn(head.session, service, principal) : undefined
}
