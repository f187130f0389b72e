// What the caller hears of an upstream's answer: its head, which is status and fields as they came, minus what belongs
// to another hop, another origin or another login; and its body.
import { utf8 } from '../kit/bytes.ts'
import { type MediaType, fieldOf, hopByHop, readMediaType } from '../kit/http.ts'
import { refusalOf } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import { endsLine, keepAliveComment, messageEvent, onOneLine } from '../kit/sse.ts'
import type { AnswerHead, Admission, Answer, Piece, ResponseOutput } from '../ports/call.ts'

/**
 * Never relayed: fields of one hop; cookies and storage of our origin; another server's login (RFC 9110
 * §11.6.1), cross-origin rules and network promises, which hold for the whole origin and not for one service
 * of it.
 */
const dropped = new Set([
  ...hopByHop,
  ...`set-cookie set-cookie2 clear-site-data www-authenticate proxy-authentication-info authentication-info dpop-nonce service-worker-allowed x-request-id
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

/** The same where messages of a batch were denied: their errors are the whole answer. */
export const onlyDenied = (denied: readonly string[], extra: readonly string[]): Relayed => ({
  status: 200,
  headers: [...inert, ...extra, 'Content-Type', 'application/json'],
  events: false,
  session: undefined,
  bodiless: `[${denied.join(',')}]`,
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

// How an answer is written: in one write when it is there at once, piece by piece otherwise, or as what is left of
// an event stream that was opened before it came.

// Whether a whole body that calls itself JSON can be an answer in JSON-RPC (2.0 §5), as far as that is seen
// at little cost.

/** Beyond this only both ends of the text are looked at. */
const readWhole = 4096

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

const isMessage = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && ('result' in value || 'error' in value || 'method' in value)

/**
 * Whether the text begins as an object or an array does; a byte order mark is let through, as clients let it.
 */
const beginsAsJson = (piece: Uint8Array): boolean => {
  let at = piece[0] === 0xef && piece[1] === 0xbb && piece[2] === 0xbf ? 3 : 0
  while (isSpace(piece[at])) at++
  return at >= piece.length || piece[at] === 0x7b || piece[at] === 0x5b
}

const endsAsJson = (body: Uint8Array): boolean => {
  let at = body.length - 1
  while (isSpace(body[at])) at--
  return body[at] === 0x7d || body[at] === 0x5d
}

/**
 * False for nothing, for a page, for JSON that is cut off or broken, and for a value that is no message and
 * no list of messages.
 */
const isRpcAnswer = (body: Uint8Array): boolean => {
  if (body.length > readWhole) return beginsAsJson(body) && endsAsJson(body)
  try {
    const value: unknown = JSON.parse(decoder.decode(body as Uint8Array<ArrayBuffer>))
    return Array.isArray(value) ? value.length > 0 && value.every(isMessage) : isMessage(value)
  } catch {
    return false
  }
}

/** A body on which something depends is waited for up to this size, bytes. */
export const mostAwaited = 65_536

const nothing = new Uint8Array()

export const joined = (pieces: readonly Uint8Array[], size: number): Uint8Array => {
  const whole = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.byteLength
  }
  return whole
}

/** Without a byte order mark, which means nothing in the middle of a stream. */
const withoutMark = (piece: Piece): Piece =>
  typeof piece !== 'string' && piece[0] === 0xef && piece[1] === 0xbb && piece[2] === 0xbf
    ? piece.subarray(3)
    : piece

/** Pieces lie in memory that the next read overwrites. */
export const copied = (piece: Piece): Piece => (typeof piece === 'string' ? piece : new Uint8Array(piece))

export interface AnswerWriter {
  readonly output: ResponseOutput
  /** Something of the answer itself is written. */
  begun: boolean
  /** An event stream was opened before there was an answer. */
  early: boolean
  /** What was sent so far ends with a line feed, so that a comment may follow. */
  atLine: boolean
  /** Delivered together with the head, not yet written. */
  held: Piece | undefined
}

export const createAnswerWriter = (output: ResponseOutput): AnswerWriter => ({
  output,
  begun: false,
  early: false,
  atLine: true,
  held: undefined,
})

/** What waits is not sent any more. */
export const dropHeld = (writer: AnswerWriter): void => {
  writer.held = undefined
}

const needsRpc = (writer: AnswerWriter, answer: AnswerHead): boolean => {
  return answer.rpc === true || (writer.early && !answer.events)
}

const beginEvent = (writer: AnswerWriter): boolean => {
  const { held, output } = writer
  writer.begun = true
  writer.held = undefined
  writer.atLine = false
  output.write('event: message\ndata: ')
  return held === undefined || output.write(onOneLine(withoutMark(held)))
}

/**
 * On a stream that was opened before, JSON is the data of one event. What may turn out to be small is waited
 * for, so that it is seen whether it is an answer.
 */
const gather = (writer: AnswerWriter, piece: Piece): boolean | undefined => {
  const bytes = typeof piece === 'string' ? utf8(piece) : piece
  const before = writer.held instanceof Uint8Array ? writer.held : nothing
  const held = joined([before, bytes], before.length + bytes.length)
  writer.held = held
  if (held.length <= mostAwaited) return true
  return beginsAsJson(held) ? beginEvent(writer) : undefined
}

/** Nothing more was delivered at once: what waits goes out. False when the source should pause. */
export const flushAnswer = (writer: AnswerWriter, answer: AnswerHead): boolean => {
  const { held, output } = writer
  if (writer.begun && held === undefined) return true
  if (writer.early && (held === undefined || !answer.events)) return true
  writer.held = undefined
  writer.begun = true
  return writer.early && held !== undefined ? output.write(held) : output.begin(answer, held)
}

const sent: readonly string[] = []

/**
 * What is kept of an answer's head once it may have begun: an event stream stays for hours, and neither the
 * fields of its head nor what its beginning needed does.
 */
export const keptOf = (writer: AnswerWriter, answer: AnswerHead, call: Admission): AnswerHead => {
  if (!answer.events || !writer.begun || answer.headers === sent) return answer
  call.streams()
  return { status: answer.status, headers: sent, events: true }
}

/** False when the source should pause; undefined for what is seen not to be an answer. */
export const writePiece = (writer: AnswerWriter, answer: AnswerHead, piece: Piece): boolean | undefined => {
  if (writer.early && !writer.begun && !answer.events) return gather(writer, piece)
  if (!writer.begun && writer.held === undefined) {
    if (needsRpc(writer, answer) && typeof piece !== 'string' && !beginsAsJson(piece)) return undefined
    if (answer.events) writer.atLine = endsLine(piece)
    writer.held = piece
    return true
  }
  flushAnswer(writer, answer)
  if (answer.events) writer.atLine = endsLine(piece)
  return writer.output.write(writer.early && !answer.events ? onOneLine(piece) : piece)
}

/**
 * Whether the body, now that it is complete, may be an answer; text has been read already, and what is
 * written cannot be taken back.
 */
export const mayBeAnswer = (writer: AnswerWriter, answer: AnswerHead): boolean => {
  const { held } = writer
  return writer.begun || !needsRpc(writer, answer) || typeof held === 'string' || isRpcAnswer(held ?? nothing)
}

/** The whole answer has been given. */
export const finishAnswer = (writer: AnswerWriter, answer: AnswerHead): void => {
  const { held, output } = writer
  if (output.gone) return
  if (writer.early) {
    if (answer.events) flushAnswer(writer, answer)
    else if (!writer.begun) beginEvent(writer)
    if (!answer.events) output.write('\n\n')
    output.end()
  } else if (writer.begun) output.end()
  else output.whole(answer, typeof answer.bodiless === 'string' ? answer.bodiless : held)
  writer.begun = true
  writer.held = undefined
}

/** An event stream in place of an answer that is still to come. False when the reader is slow already. */
export const openStream = (writer: AnswerWriter, headers: readonly string[]): boolean => {
  writer.early = true
  return writer.output.begin({ status: 200, headers }, keepAliveComment)
}

/** From here on the stream is the gateway's, which says itself how it ends. */
export const takeOver = (writer: AnswerWriter): void => {
  writer.early = true
  writer.begun = false
  writer.held = undefined
}

export const writeComment = (writer: AnswerWriter): void => {
  if ((writer.begun || writer.early) && writer.atLine && writer.output.ready)
    writer.output.write(keepAliveComment)
}

/** The last event of such a stream. */
const tellLast = (writer: AnswerWriter, message: string): void => {
  if (writer.output.gone) return
  writer.output.write(messageEvent(message))
  writer.output.end()
}

/** Said to the caller in place of an answer. */
export const drawError = (writer: AnswerWriter, error: unknown, call: Admission): void => {
  if (writer.early) tellLast(writer, call.refused(refusalOf(error), call.rpcId))
  else writer.output.fail(error)
}

/** An answer of the gateway's own. */
export const giveAnswer = (writer: AnswerWriter, { status, headers, body }: Answer): void => {
  if (writer.early) tellLast(writer, body)
  else if (!writer.output.gone) writer.output.whole({ status, headers }, body)
}

/** Who failed is said in place of what is seen not to be an answer. */
export const noAnswer = (call: Admission, { status }: AnswerHead): Refusal =>
  status === 200
    ? call.fault('message', 'a body of JSON that is no JSON-RPC')
    : call.fault('answer', `answered ${status}`)
