// One event of the log as one line of JSON, the same on every runtime.
import { type RefusalCode, type RequestFacts, Refusal } from './refusal.ts'

// JSON on one line, for every reader of lines.

// JSON leaves these as they are (RFC 8259 §7), but C1 controls drive terminals, and some readers end a line
// at U+0085, U+2028 or U+2029.
const splitting = /[\u007F-\u009F\u2028\u2029]/
const everySplitting = /[\u007F-\u009F\u2028\u2029]/g

/** The value as JSON of which no reader takes a part for another line or for a terminal's command. */
export const jsonLine = (value: unknown): string => {
  const text = JSON.stringify(value)
  return splitting.test(text)
    ? text.replaceAll(
        everySplitting,
        (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
      )
    : text
}

export const logOrder = { debug: 20, info: 30, warn: 40, error: 50 } as const

/** Field names that never reach a log, whatever a caller passes by mistake. */
const secretNames: readonly string[] = [
  ...[
    'token',
    'access_token',
    'refresh_token',
    'id_token',
    'code',
    'code_verifier',
    'client_secret',
    'password',
    'cookie',
    'authorization',
  ],
  ...['secret', 'state', 'assertion', 'client_assertion', 't', 'subject_token', 'actor_token'],
  ...['device_code', 'user_code', 'dpop'],
]

export const isSecretName = (name: string): boolean => secretNames.includes(name)

export type LogFields = Readonly<Record<string, unknown>>

const redacted = (fields: LogFields): LogFields => {
  for (const name of secretNames)
    if (name in fields)
      return Object.fromEntries(
        Object.entries(fields).map(([key, value]) => [key, isSecretName(key) ? '[redacted]' : value]),
      )
  return fields
}

export interface LogEvent {
  readonly level: keyof typeof logOrder
  /** ISO 8601, UTC. */
  readonly ts: string
  readonly event: string
  readonly fields: LogFields
  /** An event of the audit trail, which names itself among its fields. */
  readonly audit: boolean
  /** What `jsonFields` makes of the fields, where that is known. */
  readonly json?: string | undefined
}

/** The fields as JSON on one line, without secrets. */
export const jsonFields = (fields: LogFields): string => jsonLine(redacted(fields))

/**
 * `{"level":"info","ts":"2026-…Z","event":"refused",…}`. Strings are escaped, so no field can forge a line.
 * Put together by hand because every call writes one.
 */
export const logLine = ({ level, ts, event, fields, audit, json }: LogEvent): string => {
  const facts = (json ?? jsonFields(fields)).slice(1)
  const mark = audit ? '"audit":true' : `"event":${JSON.stringify(event)}`
  return `{"level":"${level}","ts":"${ts}",${mark}${facts === '}' ? '' : ','}${facts}`
}

// The audit trail: what happened, for the people who answer for it.

/** Events that tell of an attack or a loss stand out. */
const grave = new Set([
  'refresh.reuse',
  'code.replayed',
  'device.replayed',
  'device.reported',
  'proof.replayed',
  'assertion.replayed',
  'session.foreign',
  'callback.other-browser',
  'sign-in.failed',
  'token.leaked',
])

/** As `Log` and `Audit` of ports. */
type WriteEvent = (
  level: 'info' | 'warn',
  event: string,
  fields: LogFields,
  audit: true,
  json?: string,
) => void
type AuditEvent = LogFields & { readonly event: string }

/**
 * One function, one event a line; and a row where a trail is kept. `awaited`: by grant, who waits for its first
 * call; nearly always nobody.
 */
export const createAudit =
  <Caller>(
    log: WriteEvent,
    trail?: { record(event: AuditEvent, body?: Uint8Array, caller?: Caller, json?: string): void },
    awaited?: ReadonlyMap<unknown, (event: AuditEvent) => void>,
  ) =>
  (event: AuditEvent, body?: Uint8Array, caller?: Caller): void => {
    // Both take the same text: it is half of what an event costs.
    const json = trail && jsonFields(event)
    log(grave.has(event.event) ? 'warn' : 'info', event.event, event, true, json)
    trail?.record(event, body, caller, json)
    if (awaited !== undefined && awaited.size > 0) awaited.get(event['grant'])?.(event)
  }

// Text from elsewhere on its way into the log: without what could drive a terminal, without credentials, and
// no longer than is read.

// Controls, and characters that turn the reading direction or end a line.
const driving = /[\u0000-\u001F\u007F-\u009F\u061C\u200B\u200E\u200F\u2028-\u202E\u2066-\u2069]+/g

const secretWords = String.raw`(?:\w*token|(?:device_|user_)?code|state|password|passwd|client_secret|secret|api[_-]?key|code_verifier|\w*assertion)`

/**
 * Credentials as they appear in prose of other programs: a JWT, an Authorization value, userinfo of a URL, a
 * parameter that carries a secret.
 */
const credentials: readonly (readonly [RegExp, string])[] = [
  [/\beyJ[\w-]{10,}\.[\w-]+(?:\.[\w-]*)*/g, '[redacted]'],
  // A personal access token; what tells it from others may be read.
  [/\b(ppat_[0-9A-Za-z]{4})[0-9A-Za-z]{8}_[0-9A-Za-z]{8,}/g, '$1[redacted]'],
  [/\b(Bearer|Basic|DPoP) +[A-Za-z0-9\-._~+/]{8,}=*/gi, '$1 [redacted]'],
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^/\s@]+@/gi, '$1[redacted]@'],
  [new RegExp(`(["']${secretWords}["']\\s*:\\s*)(?:"[^"]*"|'[^']*')`, 'gi'), '$1[redacted]'],
  [new RegExp(`(\\b${secretWords}=)(?:"[^"]*"|'[^']*'|[A-Za-z0-9\\-._~+/%]{8,})`, 'gi'), '$1[redacted]'],
  // After a colon prose is likelier than a secret, which is long and has a figure in it.
  [
    new RegExp(`(\\b${secretWords}:\\s*)(?=[A-Za-z\\-._~+/]*\\d)[A-Za-z0-9\\-._~+/]{16,}`, 'gi'),
    '$1[redacted]',
  ],
]

/** `most`: characters. */
export const logText = (text: string, most = 500): string => {
  // What is cut away need not be looked at, and a credential at the edge must not survive in part.
  let clean = text.slice(0, most * 2).replaceAll(driving, ' ')
  for (const [shape, instead] of credentials) clean = clean.replaceAll(shape, instead)
  clean = clean.trim()
  return clean.length > most ? `${clean.slice(0, most - 1)}…` : clean
}

// The one line of the log that every refusal leaves, whichever surface drew it: its code, why, and of whose
// request it was.

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
export const levelOf = ({ code, row }: Refusal): 'info' | 'warn' | 'error' =>
  own.has(code) ? 'error' : row.status >= 500 || signIns.has(code) ? 'warn' : 'info'

/**
 * Anything thrown, as a refusal. What is none is a fault of ours: the caller reads a request id, and its
 * stack is for the log alone.
 */
export const refusalOf = (thrown: unknown): Refusal => {
  if (thrown instanceof Refusal) return thrown
  return new Refusal('fault', thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown))
}

/**
 * The refusal, with what is known of the request. A refusal may be thrown to many callers at once, so each
 * gets a copy.
 */
export const aboutRequest = (thrown: unknown, facts: RequestFacts): Refusal => {
  const { code, why, detail } = refusalOf(thrown)
  return new Refusal(code, why, { ...detail, about: { ...detail.about, ...facts } })
}

/** Why, as it stands in the log and in the trail. */
export const whyOf = ({ code, why }: Refusal): string | undefined =>
  why === '' ? undefined : logText(why, code === 'fault' ? 4000 : 500)

export interface RefusedRequest extends RequestFacts {
  readonly method: string
  /** Path without the query, and address of the caller. */
  readonly path?: string | undefined
  readonly ip?: string | undefined
  readonly requestId: string
}

const short = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : logText(text, 256)

/** The fields of the line, in the order in which they are read. */
export const refusedFields = (
  refusal: Refusal,
  request: RefusedRequest,
): Readonly<Record<string, unknown>> => {
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

// What the network said, in one line for the operator: libraries hide it behind "fetch failed", and put what
// matters into the cause.

interface Thrown {
  readonly code?: unknown
  readonly message?: unknown
  readonly cause?: unknown
  readonly errors?: unknown
}

const mostLength = 300

const thrownText = ({ code, message }: Thrown): string => {
  const text = typeof message === 'string' ? message : ''
  if (typeof code !== 'string' || /^(?:UND_ERR_|ERR_PROXY)/.test(code) || text.includes(code))
    return text || (typeof code === 'string' ? code : 'no reason given')
  return text === '' ? code : `${code}: ${text}`
}

/**
 * The innermost cause with its code, cut to one short line. Several attempts at one name (RFC 8305) are told
 * one after the other.
 */
export const networkReason = (error: unknown): string => {
  let innermost = error
  for (let depth = 0; depth < 8 && (innermost as Thrown | undefined)?.cause instanceof Error; depth++)
    innermost = (innermost as Thrown).cause
  if (typeof innermost !== 'object' || innermost === null) return String(innermost).slice(0, mostLength)
  const { errors } = innermost as Thrown
  const lines =
    Array.isArray(errors) && errors.length > 0
      ? errors.slice(0, 4).map((each) => thrownText(each as Thrown))
      : [thrownText(innermost as Thrown)]
  return [...new Set(lines)]
    .join('; ')
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
    .slice(0, mostLength)
}

/** Why a server was not reached, or was lost. `upstream`: its service's id. */
export const upstreamRefusal = (error: unknown, upstream: string): Refusal =>
  error instanceof Refusal
    ? error
    : new Refusal(
        isLostConnection(error) ? 'upstream.closed' : 'upstream.unreachable',
        `${upstream}: ${networkReason(error)}`,
      )

const causes: readonly (readonly [RegExp, string])[] = [
  [/(?:^|: )the proxy /, 'the HTTP proxy of this gateway could not connect to it'],
  [/ENOTFOUND|EAI_|getaddrinfo|resolves to nothing|DNS/, 'its name could not be resolved (DNS)'],
  [/ECONNREFUSED/, 'it refused the connection'],
  [
    /CERT|certificate|self.signed|UNABLE_TO_|SSL|TLS|EPROTO|ALTNAME/i,
    'its TLS certificate is not trusted, or it does not support TLS',
  ],
  [/timed? ?out|timeout|ETIMEDOUT|aborted due/i, 'it did not respond in time'],
  [/ENETUNREACH|EHOSTUNREACH/, 'there is no route to it'],
]

/** The kind of a reason in words for anybody: it names no address and no software. */
export const networkCause = (reason: string): string | undefined =>
  causes.find(([form]) => form.test(reason))?.[1]

/** As Node, undici and workerd say it. Before TLS was agreed nothing was sent, so that is another fault. */
const lost =
  /ECONNRESET|EPIPE|ECONNABORTED|other side closed|socket hang up|UND_ERR_SOCKET|connection (?:was )?(?:closed|ended)|ended the connection/i

export const isLostConnection = (error: unknown): boolean => {
  const reason = networkReason(error)
  return lost.test(reason) && !/before secure TLS|connect ECONN|the proxy /.test(reason)
}
