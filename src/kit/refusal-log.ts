// The one line of the log that every refusal leaves, whichever surface drew it: its code, why, and of whose request it was.
import { logText } from './log-text.ts'
import { Refusal } from './refusal.ts'
import type { RefusalCode, RequestFacts } from './refusal.ts'

/** Refused sign-ins below 500: somebody stands outside, and only the operator can find out why. */
const signIns: ReadonlySet<RefusalCode> = new Set([
  'provider.denied',
  'provider.untrusted',
  'person.not-allowed',
  'person.wrong-provider',
  'login.other-browser',
])

/** What is the gateway's own: a fault, and a storage that does not answer. */
const own: ReadonlySet<RefusalCode> = new Set(['fault', 'storage.unavailable', 'storage.sealed'])

/** The level at which an operator hears of a refusal. */
export const levelOf = ({ code, row }: Refusal): 'info' | 'warn' | 'error' => (own.has(code) ? 'error' : row.status >= 500 || signIns.has(code) ? 'warn' : 'info')

/** Anything thrown, as a refusal. What is none is a fault of ours: the caller reads a request id, and its stack is for the log alone. */
export const refusalOf = (thrown: unknown): Refusal => {
  if (thrown instanceof Refusal) return thrown
  return new Refusal('fault', thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown))
}

/** The refusal, with what is known of the request. A refusal may be thrown to many callers at once, so each gets a copy. */
export const aboutRequest = (thrown: unknown, facts: RequestFacts): Refusal => {
  const { code, why, detail } = refusalOf(thrown)
  return new Refusal(code, why, { ...detail, about: { ...detail.about, ...facts } })
}

/** Why, as it stands in the log and in the trail. */
export const whyOf = ({ code, why }: Refusal): string | undefined => (why === '' ? undefined : logText(why, code === 'fault' ? 4000 : 500))

export interface RefusedRequest extends RequestFacts {
  readonly method: string
  /** Path without the query, and address of the caller. */
  readonly path?: string | undefined
  readonly ip?: string | undefined
  readonly requestId: string
}

const short = (text: string | undefined): string | undefined => (text === undefined ? undefined : logText(text, 256))

/** The fields of the line, in the order in which they are read. */
export const refusedFields = (refusal: Refusal, request: RefusedRequest): Readonly<Record<string, unknown>> => {
  const { service, client, person, provider, flow } = { ...request, ...refusal.detail.about }
  return {
    refusal: refusal.code,
    status: refusal.row.status,
    why: whyOf(refusal),
    method: short(request.method),
    path: short(request.path),
    service: short(service),
    client: short(client),
    person: short(person),
    provider: short(provider),
    flow: short(flow),
    ip: request.ip,
    request_id: request.requestId,
  }
}
