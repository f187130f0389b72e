// The steps of admit.ts for connections, which carry messages by themselves: some when one is opened, and
// some for each message to a server on a WebSocket. Any other message becomes a call of its own
// (client-messages.ts), which passes all of them.
import { Refusal } from '../../kit/refusal.ts'
import { type Envelope, type Message, encodeHeaderValue } from '../../mcp/envelope.ts'
import { metaKeys, isModern } from '../../mcp/revisions.ts'
import type { Head, ReadBody } from '../../ports/call.ts'
import { type AdmitDeps, type Call, checkToken, createCall, readMessage, takePermit } from '../admit.ts'
import type { PermittedCall, ResolvedRequest } from '../admitted-call.ts'
import { checkHost, checkPage, findService } from '../resolve.ts'

/** Of `steps`, in its order. */
export const openingSteps = [checkHost, findService, checkPage, checkToken, takePermit] as const
export const messageSteps = [checkToken, takePermit, readMessage] as const

export interface ConnectionSteps {
  /** As far as nobody has to be asked: host, service and origin. */
  resolve(head: Head): Promise<Call>
  /** Token and permit. */
  enter(call: Call): Promise<PermittedCall>
  /**
   * For each message on it. Resolves with what gives back the permit of a request, and rejects with the
   * refusal of a message that the server must not hear.
   */
  messages(connection: ResolvedRequest): (envelope: Envelope) => Promise<() => void>
}

const noBody: ReadBody = () => Promise.reject(new Refusal('request.malformed', 'a connection has no body'))

/**
 * A message on a WebSocket has no header fields: what would stand there is what the message itself claims, so
 * that it must be whole, and of a revision that is let through.
 */
const claimed = (message: Message | undefined) => {
  const claim = message?.meta?.[metaKeys.version]
  return typeof claim === 'string' && isModern(claim)
    ? {
        versions: [claim],
        method: message?.method,
        name: message?.name === undefined ? undefined : encodeHeaderValue(message.name),
      }
    : { versions: [], method: undefined, name: undefined }
}

export const createConnectionSteps = (deps: AdmitDeps): ConnectionSteps => {
  const { now } = deps.runtime
  const resolving = [checkHost.make(deps), findService.make(deps), checkPage.make(deps)]
  const entering = [checkToken.make(deps), takePermit.make(deps)]
  const judging = messageSteps.map((step) => step.make(deps))
  return {
    async resolve(head) {
      const call = createCall(head, noBody, now())
      for (const run of resolving) await run(call)
      return call
    },
    async enter(call) {
      for (const run of entering) await run(call)
      return call
    },
    messages(connection) {
      const asking: Head = { ...connection.head, method: 'POST', within: true }
      const telling: Head = { ...asking, within: 'uncounted' }
      return async (envelope) => {
        const [message] = envelope.messages
        const call = createCall(message?.kind === 'request' ? asking : telling, noBody, now())
        call.origin = connection.origin
        call.address = connection.address
        call.rest = connection.rest
        call.query = connection.query
        call.context = connection.context
        call.inbound = { ...connection.inbound, ...claimed(message) }
        call.envelope = envelope
        try {
          for (const run of judging) await run(call)
        } catch (error) {
          call.permit()
          throw error
        }
        return call.permit
      }
    },
  }
}
