// Streams that last for as long as their client listens: what is written down of them, and what is kept of one that
// runs for hours.
import type { Outcome, ReadBody, Upstream } from '../ports/call.ts'
import type { Audit, AuditEvent } from '../ports/modules.ts'
import type { AdmittedCall } from './admitted-call.ts'
import { noRequestHeaders } from './inbound-request.ts'

/** What of an admission changes when its stream has begun. */
interface StreamAdmission {
  readonly tried: { readonly call: AdmittedCall }
  readonly upstream: Upstream
  fields: readonly string[]
  headers: readonly string[]
  identity: readonly string[]
  opened: boolean
}

const nothing: readonly string[] = []
const noBody: ReadBody = () => Promise.reject(new TypeError('the body was let go'))

/** Its call is written down too, when it is over. */
const eventOf = (
  { head, address, principal }: AdmittedCall,
  what: 'opened' | 'closed',
  ending?: Pick<Outcome, 'result' | 'bytesOut'>,
): AuditEvent => ({
  event: `stream.${what}`,
  request_id: head.requestId,
  ip: head.ip,
  service: address.service.id,
  person: principal?.personKey,
  client: principal?.clientId,
  grant: principal?.grantId,
  flow: principal?.flow,
  end: ending?.result,
  bytes_out: ending?.bytesOut,
})

export const createListenedStreams = (record: Audit) => {
  const unread = noRequestHeaders()
  /**
   * What only the beginning of a stream needed: the caller's token among it, and who the caller is in the words
   * of this service.
   */
  const letGo = (admission: StreamAdmission): void => {
    const call: { -readonly [Name in keyof AdmittedCall]: AdmittedCall[Name] } = admission.tried.call
    // What answers in this process may hold the call, and go by what came with it. Any other answer than one
    // that is listened to is over soon.
    if (admission.upstream.kind !== 'http') return
    admission.fields = nothing
    admission.headers = nothing
    admission.identity = nothing
    call.identity = nothing
    call.inbound = unread
    call.readBody = noBody
  }
  return {
    opened(admission: StreamAdmission) {
      letGo(admission)
      // What the gateway asks for itself, or for a connection, is nobody's stream.
      if (admission.tried.call.head.within) return
      admission.opened = true
      record(eventOf(admission.tried.call, 'opened'))
    },
    closed: (call: AdmittedCall, outcome: Outcome) => record(eventOf(call, 'closed', outcome)),
  }
}
