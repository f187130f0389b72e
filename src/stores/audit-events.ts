// What the audit trail keeps of each event: one row with the fields that are searched, and a few more by an
// allow-list. What has no place in the table is not kept, so a secret that a caller passes by mistake is not
// kept either.
import { canonicalJson } from '../kit/bytes.ts'
import { isSecretName, logText } from '../kit/log.ts'
import type { Principal } from '../ports/people.ts'
import type {
  ArgumentsDigest,
  AuditBody,
  AuditOutcome,
  AuditRow,
  AuditSubject,
  RecordedEvent,
} from '../ports/store.ts'

interface Kind {
  readonly decision: AuditOutcome
  /** Further facts that are kept, by their names in the event. */
  readonly detail?: readonly string[]
}

const done = (...detail: readonly string[]): Kind => ({ decision: 'allowed', detail })
const denied = (...detail: readonly string[]): Kind => ({ decision: 'denied', detail })
const failed = (...detail: readonly string[]): Kind => ({ decision: 'failed', detail })

/** Every kind of event. A test compares them with what the code records. */
export const kinds: Readonly<Record<string, Kind>> = {
  call: done(
    'http',
    'result',
    'why',
    'batch',
    'batch_index',
    'first_byte_ms',
    'bytes_in',
    'bytes_out',
    'body',
    'actor',
  ),
  'stream.opened': done(),
  'stream.closed': done('end', 'bytes_out'),
  'websocket.opened': done('actor'),
  'websocket.message': done('why', 'actor'),
  'websocket.closed': done('close_code', 'reason', 'messages', 'actor'),
  'list': done('total', 'shown', 'held'),
  'session.opened': done('session'),
  'session.closed': done('session'),
  'session.foreign': denied('session'),
  'process.started': done('owner', 'pid', 'isolation'),
  'process.ended': done('owner', 'pid', 'lived_ms'),
  'bearer.refused': denied('count', 'why', 'path'),
  'token.refused': denied('count', 'why'),
  'authorize.refused': denied('count', 'why'),
  'limit.hit': denied('count', 'why', 'path'),
  'sign-in': done('provider'),
  'sign-in.failed': denied('provider', 'why'),
  'session.rotated': done(),
  'sign-out': done('everywhere', 'sessions', 'by'),
  'callback.other-browser': denied('reason', 'provider'),
  'callback.other-server': denied('reason', 'issuer'),
  'client.registered': done('redirect_uris'),
  'client.refused': denied('count', 'why'),
  'client.updated': done('redirect_uris'),
  'client.deleted': done('grants'),
  'client.bound': done('account', 'by'),
  'client.unbound': done('grants', 'by'),
  'consent.allowed': done('how', 'resource', 'scopes', 'excluded'),
  'consent.denied': denied('resource', 'scopes'),
  'flow.finding': failed('outcome', 'acts', 'after', 'why'),
  'code.issued': done('resource', 'scopes'),
  'grant.issued': done('resource', 'scopes', 'kind', 'jkt'),
  'exchange.issued': done('resource', 'scopes', 'actor', 'parent', 'subject_client', 'jkt'),
  'grant.refreshed': done('resource', 'scopes', 'generation', 'jkt'),
  'grant.revoked': done('resource', 'reason'),
  'access.ended': done('grants', 'reason', 'by'),
  'backchannel.logout': done('provider', 'one_session', 'grants'),
  'scim.request': done('provider', 'action', 'user_name', 'grants', 'group', 'added', 'removed', 'by'),
  'person.changed': done('provider', 'groups_added', 'groups_removed'),
  'person.removed': done('provider', 'reason'),
  'access.blocked': done('blocked_user', 'blocked_client', 'blocked_domain', 'by'),
  'grant.blocked': done('blocked_user', 'blocked_client', 'by'),
  'access.unblocked': done('blocked_user', 'blocked_client', 'blocked_domain', 'by'),
  'gateway.locked': done('by'),
  'gateway.unlocked': done('by'),
  'service.disabled': done('by'),
  'service.enabled': done('by'),
  'access.changed': done('before', 'after', 'by'),
  'pin.new': done('item', 'digest', 'definitions'),
  'pin.changed': done('item', 'digest', 'before', 'definitions'),
  'pin.reverted': done('item', 'digest', 'before'),
  'pin.approved': done('item', 'digest', 'how', 'definitions', 'by'),
  'pin.blocked': done('item', 'by'),
  'pin.refresh-failed': failed('item', 'why'),
  'code.replayed': denied('resource', 'sent_by'),
  'device.started': done('resource', 'scopes'),
  'device.approved': done('resource', 'scopes', 'from'),
  'device.denied': denied('resource', 'scopes', 'from'),
  'device.reported': denied('resource', 'scopes', 'from'),
  'device.redeemed': done('resource', 'scopes'),
  'device.replayed': denied('resource', 'sent_by'),
  'proof.refused': denied('jkt'),
  'proof.replayed': denied('jkt'),
  'assertion.accepted': done('kind', 'issuer', 'subject', 'jti', 'resource', 'scopes', 'actor'),
  'assertion.refused': denied('kind', 'issuer', 'subject', 'jti', 'why'),
  'assertion.replayed': denied('kind', 'issuer', 'subject', 'jti', 'why'),
  'refresh.reuse': denied('resource', 'reason', 'generation', 'latest'),
  'refresh.repeated': done('resource', 'reason', 'generation', 'latest'),
  'token.revoked': done(),
  'token.created': done('services', 'permission', 'kind', 'expires_at', 'by'),
  'token.ended': done('services', 'by'),
  'token.expiring': done('resource', 'days', 'expires_at'),
  'token.leaked': done('services', 'by'),
  'connection.begun': done('issuer', 'how', 'by'),
  'connection.made': done('issuer', 'account', 'scopes', 'refreshable', 'by'),
  'connection.failed': failed('issuer', 'account', 'why', 'by'),
  'connection.removed': done('account', 'by'),
  'connection.refresh-failed': failed('connection', 'issuer', 'why'),
  'service.added': done('after'),
  'service.removed': done('before'),
  'key.rotated': done('key', 'signs_from', 'by'),
  'config.loaded': done('keys', 'added', 'removed', 'changed'),
  'config.refused': failed('message'),
  'settings.tested': done('key', 'ok', 'why', 'by'),
  'gateway.started': done('version', 'runtime', 'storage', 'issuer', 'services'),
  'gateway.stopped': done('version', 'issuer', 'signal', 'in_order'),
  'audit.opened': done('version', 'heads'),
  'audit.damaged': failed('file', 'why', 'heads'),
  'audit.anchor': done('rows', 'heads'),
  'audit.closed': done('rows'),
  'audit.dropped': failed('sink', 'rows'),
  'audit.lost': failed('rows', 'from', 'to'),
  'admin.viewed': done('what', 'body', 'of', 'by'),
  'audit.exported': done('format', 'filter', 'everybody', 'by'),
  'audit.verified': done('rows', 'chains', 'open', 'fault', 'by'),
  'audit.cut': done('segment', 'from', 'to', 'chains', 'reason'),
}

const mostText = 256
const mostDetail = 4096
const mostItems = 50
const mostDepth = 3

const addressForm = /^[a-z][a-z0-9+.-]*:\/\//i

/** Text from elsewhere: short, without controls and credentials; a URL without query and userinfo. */
export const cleanText = (text: string, most = mostText): string => {
  const short = text.slice(0, most * 4)
  const plain = addressForm.test(short)
    ? (short.split(/[?#]/, 1)[0] ?? '').replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/]*@/i, '$1')
    : short
  return logText(plain, most)
}

type Clean = (text: string) => string

/** Most facts are those of an event before: cleaned once. */
const createClean = (most = 2000): Clean => {
  const known = new Map<string, string>()
  return (text) => {
    const found = known.get(text)
    if (found !== undefined) return found
    const clean = cleanText(text)
    if (known.size === most) known.clear()
    known.set(text, clean)
    return clean
  }
}

const cleanValue = (value: unknown, clean: Clean, depth = 0): unknown => {
  if (typeof value === 'string') return clean(value)
  if (typeof value !== 'object' || value === null) return value
  if (depth === mostDepth) return null
  if (Array.isArray(value)) return value.slice(0, mostItems).map((item) => cleanValue(item, clean, depth + 1))
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => !isSecretName(name))
      .slice(0, mostItems)
      .map(([name, item]) => [cleanText(name, 64), cleanValue(item, clean, depth + 1)]),
  )
}

const detailOf = (event: RecordedEvent, names: readonly string[], clean: Clean): string | null => {
  const kept: Record<string, unknown> = {}
  let any = false
  for (const name of names) {
    const value = event[name]
    if (value === undefined || value === null) continue
    kept[name] = cleanValue(value, clean)
    any = true
  }
  if (!any) return null
  const text = JSON.stringify(kept)
  if (text.length <= mostDetail) return text
  // The longest facts go first.
  const short = Object.entries(kept)
    .toSorted(([, one], [, other]) => JSON.stringify(one).length - JSON.stringify(other).length)
    .slice(0, -1)
  return detailOf({ event: event.event, ...Object.fromEntries(short), cut: true }, [...names, 'cut'], clean)
}

const flagOf = (value: unknown): number | null => (typeof value === 'boolean' ? Number(value) : null)

const integerOf = (value: unknown): number | null =>
  typeof value === 'number' && Number.isFinite(value) ? Math.round(value) : null

/**
 * The name that somebody tried to sign in with. People type passwords into the wrong field: what looks like
 * one is kept as a digest.
 */
export const triedName = (name: string, digest: (text: string) => string): string => {
  const mixed = name.length >= 8 && /\p{L}/u.test(name) && /[^\p{L}]/u.test(name)
  return mixed && !name.includes('@') ? `sha256:${digest(name).slice(0, 12)}` : cleanText(name)
}

const decisionOf = (event: RecordedEvent, kind: Kind): AuditOutcome => {
  const { result } = event
  if (event['refusal'] === 'scope.insufficient') return 'step-up'
  if (result === 'refused') return 'denied'
  if (result === 'failed' || result === 'aborted') return 'failed'
  return typeof event['refusal'] === 'string' && kind.decision === 'allowed' ? 'denied' : kind.decision
}

/** A row whose digest comes last, because it depends on the others. */
type NewRow = AuditRow & { digest: string | null }

interface BatchCall {
  readonly method?: unknown
  readonly name?: unknown
  readonly rule?: unknown
  readonly body?: unknown
}

/** What else is known of an event. */
export interface RowFacts {
  readonly argumentsOf?: ArgumentsDigest | undefined
  /** Hash of the snapshot of its caller. */
  readonly subject?: string | undefined
}

/** Makes rows of events. `digest`: SHA-256 of a text, base64url. */
export const createRows = (digest: (text: string) => string) => {
  const clean = createClean()
  const textOf = (value: unknown): string | null => (typeof value === 'string' ? clean(value) : null)
  const rowOf = (event: RecordedEvent, kind: Kind, at: number, subject: RowFacts['subject']): NewRow => ({
    at,
    kind: event.event,
    person: textOf(event['person'] ?? event['by']),
    // Whoever acts for the person, or did it.
    actor: textOf(event['by'] ?? (event['actor'] as readonly unknown[] | undefined)?.[0]),
    client: textOf(event['client']),
    service: textOf(event['service']),
    method: textOf(event['method']),
    name:
      event.event === 'sign-in.failed' && typeof event['user'] === 'string'
        ? triedName(event['user'], digest)
        : textOf(event['name']),
    decision: decisionOf(event, kind),
    code: textOf(event['refusal']),
    rule: textOf(event['rule']),
    status: integerOf(event['status']),
    is_error: flagOf(event['is_error']),
    ms: integerOf(event['duration_ms']),
    ip: textOf(event['ip']),
    // Made by the gateway, and never the same twice.
    request: typeof event['request_id'] === 'string' ? event['request_id'].slice(0, 64) : null,
    flow: typeof event['flow'] === 'string' ? event['flow'].slice(0, 64) : null,
    grant: textOf(event['grant']),
    digest: null,
    subject: subject ?? null,
    detail: detailOf(event, kind.detail ?? [], clean),
  })
  const withDigest = (row: NewRow, index: number, argumentsOf: ArgumentsDigest | undefined): AuditRow => {
    if (argumentsOf && row.method === 'tools/call')
      row.digest = argumentsOf(index, row.person ?? '', row.name ?? '')
    return row
  }
  /** One row, and of a batch one for each of its messages. None for an unknown event. */
  return (event: RecordedEvent, at: number, { argumentsOf, subject }: RowFacts = {}): readonly AuditRow[] => {
    const kind = Object.hasOwn(kinds, event.event) ? kinds[event.event] : undefined
    if (!kind) return []
    const calls = event['calls']
    if (!Array.isArray(calls) || calls.length === 0)
      return [withDigest(rowOf(event, kind, at, subject), 0, argumentsOf)]
    return calls.map(({ method, name, rule = event['rule'], body }: BatchCall, index) => {
      const one = { ...event, method, name, rule, body, batch_index: index }
      return withDigest(rowOf(one, kind, at, subject), index, argumentsOf)
    })
  }
}

/** `params.arguments` of one message of a body; undefined where there is none. */
export const argumentsIn = (body: unknown, index: number): unknown => {
  const message: unknown = Array.isArray(body) ? body[index] : body
  const params = (message as { readonly params?: unknown } | null | undefined)?.params
  return (params as { readonly arguments?: unknown } | null | undefined)?.arguments
}

// From a batch of events to rows, for whoever writes them.

export interface EventBatch {
  /** A JSON array of events. */
  readonly events: string
  /** When each of them happened, epoch ms. */
  readonly times: readonly number[]
  /** The bodies of those that were calls with one, one behind the other. */
  readonly bodies: Uint8Array
  /** Of each event, how long its body is; -1: it has none. */
  readonly lengths: readonly number[]
  /** JSON of `AuditSubject`s, each once. */
  readonly snapshots: readonly string[]
  /** Of each event, which of them its caller is; -1: not known. */
  readonly subjects: readonly number[]
  /** What is kept of their arguments and results. */
  readonly kept: readonly AuditBody[]
}

export interface WrittenBatch {
  readonly rows: readonly AuditRow[]
  /** The snapshots that the rows name, by their hash. */
  readonly subjects: ReadonlyMap<string, string>
}

interface AuditRowsDeps {
  /** SHA-256 of a text, base64url. */
  readonly digest: (text: string) => string
  /** The message of a body; undefined for what is no JSON. */
  readonly parse: (body: Uint8Array) => unknown
  /** HMAC-SHA-256 with the key of that time's day, 128 bits in base64url; undefined where that key is not known. */
  readonly mac: (at: number, text: string) => string | undefined
}

/** JSON of an `AuditSubject`, made once for a principal, which is the same for as long as its grant is. */
export const createSnapshots = () => {
  const known = new WeakMap<Principal, string>()
  return (principal: Principal): string => {
    const before = known.get(principal)
    if (before !== undefined) return before
    const { provider, subject, login, email, tenant, groups, groupsUnknown } = principal.person
    const snapshot: AuditSubject = {
      person: { provider, subject, login, email, tenant, groups, groupsUnknown },
      client: principal.clientId,
      redirect: principal.redirectHost,
      scopes: principal.scopes,
    }
    const text = JSON.stringify(snapshot)
    known.set(principal, text)
    return text
  }
}

export const createAuditRows = ({ digest, parse, mac }: AuditRowsDeps) => {
  const rowsOf = createRows(digest)
  return ({ events, times, bodies, lengths, ...callers }: Omit<EventBatch, 'kept'>): WrittenBatch => {
    const hashes = callers.snapshots.map(digest)
    let end = 0
    const rows = (JSON.parse(events) as RecordedEvent[]).flatMap((event, i) => {
      const at = times[i] ?? 0
      const length = lengths[i] ?? -1
      const subject = hashes[callers.subjects[i] ?? -1]
      if (length < 0) return rowsOf(event, at, { subject })
      const from = end
      end += length
      let body: unknown
      // Keyed, because the digest of a short argument could be guessed; with person and tool, so that it tells
      // nothing of others.
      const argumentsOf: ArgumentsDigest = (index, person, tool) => {
        body ??= parse(bodies.subarray(from, from + length))
        const canonical = canonicalJson(argumentsIn(body, index) ?? {})
        if (body === undefined || canonical === undefined) return null
        return mac(at, `${person}\0${tool}\0${canonical}`) ?? null
      }
      return rowsOf(event, at, { argumentsOf, subject })
    })
    return { rows, subjects: new Map(hashes.map((subject, i) => [subject, callers.snapshots[i] ?? ''])) }
  }
}
