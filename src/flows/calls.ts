// What calls tell of flows: the first one of each grant, and those that are refused.
import { fieldOf } from '../kit/http.ts'
import { refusalOf } from '../kit/log.ts'
import type { Refusal, RefusalCode } from '../kit/refusal.ts'
import type { Refuse, RefusedCall } from '../ports/call.ts'
import type { FlowGrant, FlowStep } from '../ports/flow-record.ts'
import type { AuditEvent } from '../ports/modules.ts'
import type { FlowRecorder } from './recorder.ts'
import { agentOf } from './requests.ts'
import { defined, facts, mostRecent, text } from './steps.ts'

// The first call of each grant, which any process may meet, and what is kept of it.

/** Calls that are refused are no first call, but told so often. */
const mostTold = 3

/** Events of calls; others name the grant too. */
const heard = new Set(['call', 'websocket.message'])

/** A stream that was opened is no call yet, and neither is one whose caller hung up: the app goes on, or it does not. */
const resultOf = (event: AuditEvent): FlowStep['result'] => {
  const { result, status } = event
  if (result === 'aborted') return 'asked'
  const failed = result !== undefined && result !== 'answered'
  if (failed || (typeof status === 'number' && status >= 400)) return 'refused'
  return event['http'] === 'GET' ? 'asked' : 'done'
}

const count = (value: unknown): number | undefined =>
  typeof value === 'number' ? Math.round(value) : undefined

/** `at`: now. The event comes when the call is over; what another process saw meanwhile came after its beginning. */
const firstCallStep = (event: AuditEvent, at: number): FlowStep => {
  const took = count(event['duration_ms'])
  const [result, status, code] = [resultOf(event), event['status'], event['refusal']]
  const times = result === 'asked' && { first_byte_ms: count(event['first_byte_ms']), duration_ms: took }
  const stream = event['http'] === 'GET' ? 'GET' : undefined
  return {
    at: at - (took ?? 0),
    step: 'first-call',
    result,
    ...(typeof code === 'string' && { code: code as NonNullable<FlowStep['code']> }),
    ...(typeof status === 'number' && { status }),
    request: facts({ http: stream, method: text(event['method']), name: text(event['name']) }),
    answer: facts({ why: text(event['why']), ...times }),
    ...defined({ ip: text(event['ip']), requestId: text(event['request_id']) }),
  }
}

export const revokedStep = (event: AuditEvent, at: number): FlowStep => ({
  at,
  step: 'revoke',
  result: 'done',
  request: {},
  answer: facts({ reason: text(event['reason']) }),
})

/** The first call of each grant that this process meets. */
export const createFirstCalls = (recorder: FlowRecorder, now: () => number) => {
  const waiting = new Map<unknown, (event: AuditEvent) => void>()
  const met = ({ id, flow }: FlowGrant): void => {
    if (flow === undefined) return
    let told = 0
    if (waiting.size >= mostRecent) waiting.delete(waiting.keys().next().value)
    waiting.set(id, (event) => {
      if (!heard.has(event.event)) return
      const step = firstCallStep(event, now())
      if (step.result === 'done' || ++told >= mostTold) waiting.delete(id)
      recorder.note(flow, step, defined({ service: text(event['service']), person: text(event['person']) }))
    })
  }
  return { firstCalls: waiting, met }
}

// Refused calls.

/** A refused call: the challenge that begins a login, or what became of a token or of the rights of a flow. */
const refusedStep = (
  { code, why, row, detail }: Refusal,
  { method, target, rawHeaders, ip, requestId }: RefusedCall,
  at: number,
): FlowStep | undefined => {
  const path = text(target.split('?', 1)[0])
  const common = { at, status: row.status, ip, requestId }
  if (code === 'token.missing') {
    const agent = text(agentOf(fieldOf(rawHeaders, 'user-agent')))
    const step = method === 'POST' ? 'challenge' : 'probe'
    return { ...common, step, result: 'done', request: facts({ method, path, agent }), answer: {} }
  }
  // That another nonce is needed is no end: the client comes again with it.
  const isToken = code.startsWith('token.') || (code.startsWith('proof.') && code !== 'proof.nonce')
  if (detail.about?.flow === undefined || !(isToken || stepUps.has(code))) return undefined
  const step = isToken ? 'first-call' : 'step-up'
  const result = isToken ? 'refused' : 'asked'
  return { ...common, step, result, code, request: facts({ path }), answer: facts({ why: text(why) }) }
}

const stepUps: ReadonlySet<RefusalCode> = new Set(['consent.level', 'scope.insufficient'])

/** Sees what is refused on the MCP surface. */
export const watchRefuse =
  (refuse: Refuse, recorder: FlowRecorder, now: () => number): Refuse =>
  (error, about) => {
    const answer = refuse(error, about)
    const refusal = refusalOf(error)
    const step = refusedStep(refusal, about, now())
    const { flow, service, person } = refusal.detail.about ?? {}
    if (step && flow !== undefined) recorder.note(flow, step, defined({ person }))
    else if (step)
      recorder.seeEarly({ ip: about.ip, agent: String(step.request['agent'] ?? ''), service, step })
    return answer
  }
