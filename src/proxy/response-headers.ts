// What the caller hears of an upstream's answer: status and fields as they came, minus what belongs to
// another hop, another origin or another login.
import { type MediaType, fieldOf, hopByHop, readMediaType } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { AnswerHead } from '../ports/call.ts'

/**
 * Never relayed: fields of one hop; cookies and storage of our origin; another server's login (RFC 9110
 * §11.6.1), cross-origin rules and network promises, which hold for the whole origin and not for one service
 * of it.
 */
const dropped = new Set([
  ...hopByHop,
  ...`set-cookie set-cookie2 clear-site-data www-authenticate proxy-authentication-info authentication-info service-worker-allowed x-request-id
    strict-transport-security public-key-pins alt-svc nel report-to reporting-endpoints refresh x-accel-redirect x-sendfile
    accept-ch critical-ch set-login sec-session-registration secure-session-registration speculation-rules
    use-as-dictionary
    x-content-type-options x-accel-buffering`.split(/\s+/),
])

type Action = 'forward' | 'drop' | 'type' | 'session' | 'coding'

const classify = (name: string): Action => {
  const lower = name.toLowerCase()
  if (lower === 'content-type') return 'type'
  if (lower === 'mcp-session-id') return 'session'
  if (lower === 'content-encoding') return 'coding'
  return dropped.has(lower) || lower.startsWith('access-control-') || lower.startsWith('cross-origin-')
    ? 'drop'
    : 'forward'
}

/** What servers of MCP answer with, and what they and the web servers before them say errors in. */
const answers: ReadonlySet<string> = new Set(['application/json', 'text/event-stream', 'text/plain'])
const forErrors = ['application/problem+json', 'text/html', 'application/xml', 'text/xml']
const errors: ReadonlySet<string> = new Set([...answers, ...forErrors])

interface Kind {
  readonly events: boolean
  readonly json: boolean
  /** Statuses from here on may have it; Infinity for none. */
  readonly from: number
  /** What the gateway adds to such an answer: flat list. */
  readonly added: readonly string[]
}

/**
 * An answer arrives under the gateway's own origin. Whatever it is, a browser that opens it runs nothing of
 * it.
 */
const inert = [
  ...['X-Content-Type-Options', 'nosniff'],
  ...['Content-Security-Policy', "sandbox; default-src 'none'; frame-ancestors 'none'"],
]

/** Of a stream of the gateway's own. */
export const eventStream: readonly string[] = [
  ...[
    'Content-Type',
    'text/event-stream',
    'Cache-Control',
    'no-cache, no-transform',
    'X-Accel-Buffering',
    'no',
  ],
  ...inert,
]

/** The least status that may have this type; 202, 204 and the end of a session have no body, hence none. */
const leastStatus = (type: string | undefined, media: MediaType | undefined): number => {
  if (type === undefined) return 200
  if (!media) return Infinity
  return answers.has(media.essence) ? 200 : errors.has(media.essence) ? 400 : Infinity
}

const readKind = (type: string | undefined): Kind => {
  const media = type === undefined ? undefined : readMediaType(type)
  const events = media?.essence === 'text/event-stream'
  return {
    events,
    json: media?.essence === 'application/json',
    from: leastStatus(type, media),
    added: [...(events ? ['X-Accel-Buffering', 'no'] : []), ...inert],
  }
}

export interface Relayed extends AnswerHead {
  /** The session id the upstream told, if any. */
  readonly session: string | undefined
}

/**
 * The Location whole, as far as a line of the log holds it, without user names; what it leads to is the
 * operator's to see.
 */
export const redirectOf = (service: string, status: number, location: string | undefined): Refusal =>
  new Refusal(
    'upstream.redirect',
    `${service} answered ${status} with ${location === undefined ? 'no Location' : `Location: ${location.replace(/\/\/[^/@]*@/, '//')}`}`,
  )

const refuseStatus = (status: number, service: string, rawHeaders: readonly string[]): void => {
  if (status === 401 || status === 407)
    throw new Refusal('upstream.credential', `${service} answered ${status}`)
  if (status >= 300 && status < 400 && status !== 304)
    throw redirectOf(service, status, fieldOf(rawHeaders, 'location')?.slice(0, 500))
  if (status < 200 || status > 599) throw new Refusal('upstream.answer', `${service} answered ${status}`)
}

/**
 * A relay for all services: maps an upstream's head to ours. Throws `upstream.credential` for its 401 (a
 * client would take it for ours and log in again), `upstream.redirect` for every 3xx (nothing is followed,
 * nobody is sent elsewhere), and `upstream.media-type` for a Content-Type that servers of MCP do not use.
 */
export const createRelay = (): ((
  status: number,
  rawHeaders: readonly string[],
  about: {
    readonly service: string
    readonly modern: boolean
    readonly asks: boolean
    readonly extra: readonly string[]
  },
) => Relayed) => {
  const known = new Map<string, Action>()
  const actionOf = (name: string): Action => {
    const before = known.get(name)
    if (before !== undefined) return before
    const action = classify(name)
    if (known.size < 1000 && name.length <= 64) known.set(name, action)
    return action
  }
  const kinds = new Map<string | undefined, Kind>()
  const kindOf = (type: string | undefined): Kind => {
    const before = kinds.get(type)
    if (before !== undefined) return before
    const kind = readKind(type)
    if (kinds.size < 200 && (type?.length ?? 0) <= 200) kinds.set(type, kind)
    return kind
  }
  return (status, rawHeaders, { service, modern, asks, extra }) => {
    refuseStatus(status, service, rawHeaders)
    const headers: string[] = []
    let type: string | undefined
    let session: string | undefined
    let coded = false
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] as string
      const value = rawHeaders[i + 1] as string
      const action = actionOf(name)
      if (action === 'drop') continue
      // Of two, one reader takes the first and another the last.
      if (action === 'type') type = type === undefined ? value : `${type}, ${value}`
      if (action === 'session') {
        // 2026-07-28 has no sessions; an id there would only mislead.
        if (modern) continue
        session = value
      }
      if (action === 'coding') coded = true
      headers.push(name, value)
    }
    const { events, json, from, added } = kindOf(type)
    if (status < from) {
      const why = `${service} answered ${status} with Content-Type ${String(type).slice(0, 200)}`
      throw new Refusal('upstream.media-type', why)
    }
    for (const field of added) headers.push(field)
    for (const field of extra) headers.push(field)
    const rpc = asks && json && status === 200 && !coded
    return rpc ? { status, headers, events, session, rpc } : { status, headers, events, session }
  }
}

/**
 * To what asks for nothing (notifications, responses) every success is answered alike: 202 without a body
 * (streamable-http, sending messages).
 */
export const accepted = (extra: readonly string[]): Relayed => ({
  status: 202,
  headers: [...inert, ...extra, 'Content-Length', '0'],
  events: false,
  session: undefined,
  bodiless: true,
})

const decoder = new TextDecoder()
const mentionsSession = (body: Uint8Array): boolean =>
  /session/i.test(decoder.decode(body as Uint8Array<ArrayBuffer>))

/**
 * A session that the server no longer has is 404, whichever status the server says it by: clients begin anew
 * on 404 alone (streamable-http, session management).
 */
export const orSessionLost = (head: Relayed, forget: () => void): Relayed => ({
  ...head,
  judge(body) {
    if (!mentionsSession(body)) return head
    forget()
    return { ...head, status: 404 }
  },
})
