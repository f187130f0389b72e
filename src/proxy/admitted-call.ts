// A call all of whose checks have passed: what the one who carries it has to know.
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import { type Envelope, type RpcId, errorId } from '../mcp/envelope.ts'
import type { Audit } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type { JsonBody } from '../ports/stdio-call.ts'
import type { ResolvedRequest } from './resolve.ts'

export interface AdmittedCall {
  readonly call: ResolvedRequest
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
export const rpcIdOf = ({ envelope }: AdmittedCall): RpcId =>
  envelope === undefined ? null : errorId(envelope)

/** Whether anything in it asks for an answer: a request. */
export const isAsking = ({ envelope }: AdmittedCall): boolean => {
  const messages = envelope?.messages ?? []
  for (let i = 0; i < messages.length; i++) if (messages[i]?.kind === 'request') return true
  return false
}

// Whose conversations they are: a person by one client, or everybody where a service asks for no login.

export const ownerOf = (principal: Principal | undefined): string =>
  principal ? JSON.stringify([personKey(principal.person), principal.clientId]) : ''

/** The refusal of a conversation that is somebody else's, which is written down. */
export const foreign = (record: Audit, service: string, principal: Principal | undefined): Refusal => {
  record({
    event: 'session.foreign',
    service,
    person: principal && personKey(principal.person),
    client: principal?.clientId,
  })
  return new Refusal('session.unknown', 'session belongs to another user')
}
