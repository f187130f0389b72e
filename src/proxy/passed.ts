// A call all of whose checks have passed: what the one who carries it has to know.
import { type Envelope, errorId, type RpcId } from '../mcp/envelope.ts'
import type { JsonBody } from '../ports/bridge.ts'
import type { Principal } from '../ports/people.ts'
import type { Knock } from './knock.ts'

export interface Passed {
  readonly call: Knock
  readonly principal: Principal | undefined
  readonly session: string | undefined
  readonly body?: Uint8Array
  readonly envelope?: Envelope
  readonly json?: JsonBody | undefined
  /** Flat list of identity fields. */
  readonly identity: readonly string[]
  readonly release: () => void
}

/** The JSON-RPC request that an error about the call belongs to. */
export const rpcIdOf = ({ envelope }: Passed): RpcId => (envelope === undefined ? null : errorId(envelope))

/** Whether anything in it asks for an answer: a request. */
export const isAsking = ({ envelope }: Passed): boolean => {
  const messages = envelope?.messages ?? []
  for (let i = 0; i < messages.length; i++) if (messages[i]?.kind === 'request') return true
  return false
}
