// Calls of clients at a command whose revision is not known yet, or another one: where a process has to start first, the caller hears of it.
import { type Rpc, kindOf } from '../../mcp/json-rpc.ts'
import type { Runtime } from '../../ports/runtime.ts'
import type { Attend } from '../../ports/stdio-call.ts'
import { stdioResponse, deliverResponse } from '../fetch.ts'
import type { Caller } from '../revisions/exchange.ts'
import type { LegacyClient } from '../revisions/legacy-client.ts'
import { isLegacySession, newOlderSession } from '../revisions/legacy-session-records.ts'

export interface AttendedCalls {
  /** Whether the gateway itself keeps this session. */
  isOurs(session: string | undefined): session is string
  /** The answer of `carry`; or, where that takes long, a stream that it comes on. */
  post(
    caller: Caller,
    messages: readonly Rpc[],
    batch: boolean,
    carry: (caller: Caller) => Promise<Response>,
  ): Promise<Response>
}

export interface AttendedCallsDeps {
  readonly runtime: Pick<Runtime, 'random'>
  /** Absent where the server is no command. */
  readonly attend: Attend | undefined
  readonly older: Pick<LegacyClient, 'knows'>
}

/** Sessions that are remembered below; they end with their processes, of which there are never so many. */
const mostDirect = 10_000

export const createAttendedCalls = ({ runtime, attend, older }: AttendedCallsDeps): AttendedCalls => {
  /** Sessions of the command itself whose ids went out before it was known whether it or the gateway would keep them. */
  const direct = new Set<string>()
  const isOurs = (session: string | undefined): session is string =>
    isLegacySession(session) && !direct.has(session)

  /** Whose session the head of the stream has named. */
  const settle = async (
    named: string | undefined,
    { owner }: Caller,
    { ok, headers }: Response,
  ): Promise<void> => {
    if (
      named === undefined ||
      !ok ||
      headers.get('mcp-session-id') !== named ||
      (await older.knows(named, owner))
    )
      return
    if (direct.size >= mostDirect) direct.delete(direct.values().next().value as string)
    direct.add(named)
  }

  return {
    isOurs,
    async post(caller, [message], batch, carry) {
      const session = caller.headers.get('mcp-session-id') ?? undefined
      if (!attend || batch || !message || kindOf(message) !== 'request' || isOurs(session))
        return carry(caller)
      const { principal, signal, refused } = caller
      const answer = await attend<Response>(
        { message, principal, signal, refused },
        {
          async run(about) {
            const response = await carry({ ...caller, ...about })
            await settle(about.sessionId(), caller, response)
            return response
          },
          deliver: deliverResponse,
          nameSession: message['method'] === 'initialize' ? () => newOlderSession(runtime) : undefined,
        },
      )
      return answer instanceof Response ? answer : stdioResponse(answer)
    },
  }
}
