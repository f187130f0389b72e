// What the upstream of one call is shown, and what happens when it refuses that: another credential, once, or the question to the person.
import { utf8 } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { parseExactly } from '../mcp/exact-json.ts'
import type { Answer } from '../ports/calls.ts'
import type { Credential, Credentials } from '../ports/connections.ts'
import type { Runtime } from '../ports/runtime.ts'
import { createConnectFirst } from './connect-first.ts'
import type { Cors } from './cors.ts'
import type { Passed } from './passed.ts'
import { createRequestStates, isOwnState } from './request-state.ts'

export interface ShowingDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'keys' | 'log' | 'digest'>
  readonly cors: Cors
  /** Absent: nothing is ever shown. */
  readonly credentials?: Credentials | undefined
}

/** A call on its way: the first try, or the second with another credential. */
export interface Try {
  readonly passed: Passed
  readonly credential: Credential | undefined
  readonly last: boolean
  readonly declined: boolean
  /** Another path of the endpoint's origin that an answer led to, and how many led on before. */
  readonly moved?: { readonly path: string; readonly times: number } | undefined
}

export interface Showing {
  /** The call as the upstream is to see it: without a round trip of ours in it. Undefined, at once: it is as it came. */
  unwrap(passed: Passed): Promise<{ readonly passed: Passed; readonly declined: boolean }> | undefined
  credential(passed: Passed): Credential | undefined | Promise<Credential | undefined>
  /** What follows from the upstream's refusal: undefined, at once, when nothing does. */
  again(tried: Try, status: number, rawHeaders: readonly string[]): Promise<Credential> | undefined
  /** The answer to a call that cannot be made before the person has done something; rejects with the refusal where none can be given. */
  refuse(tried: Omit<Try, 'credential' | 'last'>, error: unknown): Promise<Answer>
}

const challenges = (rawHeaders: readonly string[]): string[] => {
  const found: string[] = []
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) if (rawHeaders[i]?.toLowerCase() === 'www-authenticate') found.push(rawHeaders[i + 1] as string)
  return found
}

export const createShowing = ({ runtime, cors, credentials }: ShowingDeps): Showing => {
  const states = createRequestStates({ runtime })
  const connectFirst = createConnectFirst({ runtime, states, cors })
  return {
    unwrap(passed) {
      const { principal, envelope, body, call } = passed
      const first = envelope?.messages[0]
      if (!principal || !body || envelope?.batch !== false || !isOwnState(first?.state)) return undefined
      return states.open(parseExactly(body) as Readonly<Record<string, unknown>>, principal, call.address.service.id).then(({ message, declined }) => ({ passed: { ...passed, body: utf8(JSON.stringify(message)), json: undefined }, declined }))
    },
    // A client of HTTP+SSE asks nothing of the server itself: each of its messages becomes a call that does.
    credential: ({ call, principal }) => (call.address.transport === 'sse' ? undefined : credentials?.of(call.address, principal)),
    again({ passed: { call, principal }, credential, last }, status, rawHeaders) {
      if (!credentials || (status !== 401 && status !== 403)) return undefined
      return credentials.after({
        address: call.address,
        principal,
        shown: credential,
        status,
        authenticate: challenges(rawHeaders),
        below: call.rest !== '',
        last,
      })
    },
    async refuse({ passed: { call, principal, envelope, body }, declined }, error) {
      const answer = error instanceof Refusal && principal && envelope && body ? await connectFirst(error, { call, principal, envelope, body, declined }) : undefined
      if (answer) return answer
      throw error
    },
  }
}
