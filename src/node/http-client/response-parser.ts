// Parses HTTP/1.1 responses from a socket, one at a time (RFC 9112 §6, §7). It is strict, because a mistake
// here could give one caller the response to another.
import { trimWhitespace } from '../../kit/http.ts'

// The head of a response (RFC 9112 §4, §5). Whatever two parsers could read differently is an error, never a
// guess.

/** The fields that frame the message, values as sent; a field sent twice is joined with a comma. */
export interface Framing {
  length: string | undefined
  coding: string | undefined
  connection: string | undefined
  keepAlive: string | undefined
}

export interface ResponseHead {
  readonly status: number
  /** HTTP/1.1, as opposed to 1.0. */
  readonly modern: boolean
  /** Flat list, names and values as sent. */
  readonly headers: string[]
  readonly framing: Framing
}

/** Control characters except tab, and a line feed or carriage return alone. */
const illegal = /[^\t\x20-\x7e\x80-\xff\r\n]|\r(?!\n)|(?<!\r)\n/
const statusLine = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?$/
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

export const malformed = (what: string): SyntaxError => new SyntaxError(what)

const joined = (before: string | undefined, value: string): string =>
  before === undefined ? value : `${before}, ${value}`

const note = (framing: Framing, name: string, value: string): void => {
  if (name === 'content-length') {
    if (framing.length !== undefined && framing.length !== value) throw malformed('two lengths')
    framing.length = value
  } else if (name === 'transfer-encoding') framing.coding = joined(framing.coding, value)
  else if (name === 'connection') framing.connection = joined(framing.connection, value)
  else if (name === 'keep-alive') framing.keepAlive = value
}

/** Field names in lower case; up to 500 are kept, because most responses of a server use the same few. */
type FieldNames = Map<string, string>

const lowerOf = (names: FieldNames, name: string): string => {
  const known = names.get(name)
  if (known !== undefined) return known
  if (!token.test(name)) throw malformed('field name')
  const lower = name.toLowerCase()
  if (names.size < 500 && name.length <= 64) names.set(name, lower)
  return lower
}

const readFields = (
  text: string,
  from: number,
  names: FieldNames,
): Pick<ResponseHead, 'headers' | 'framing'> => {
  const headers: string[] = []
  const framing: Framing = {
    length: undefined,
    coding: undefined,
    connection: undefined,
    keepAlive: undefined,
  }
  for (let at = from; at < text.length;) {
    const next = text.indexOf('\r\n', at)
    const stop = next === -1 ? text.length : next
    const colon = text.indexOf(':', at)
    // No colon, no name, or a line that continues the one before (obs-fold, RFC 9112 §5.2).
    if (colon <= at || colon >= stop) throw malformed('field line')
    const name = text.slice(at, colon)
    const value = trimWhitespace(text.slice(colon + 1, stop))
    headers.push(name, value)
    note(framing, lowerOf(names, name), value)
    at = stop + 2
  }
  return { headers, framing }
}

/** A parser of response heads, for all connections to an origin. Throws SyntaxError. */
export const createReadHead = (): ((text: string) => ResponseHead) => {
  const names: FieldNames = new Map()
  return (text) => {
    if (illegal.test(text)) throw malformed('control characters')
    const end = text.indexOf('\r\n')
    const parts = statusLine.exec(end === -1 ? text : text.slice(0, end))
    if (!parts) throw malformed('status line')
    const { headers, framing } = readFields(text, end === -1 ? text.length : end + 2, names)
    return { status: Number(parts[2]), modern: parts[1] === '1', headers, framing }
  }
}

/** What the parser reports of one response, in this order: one head, any number of pieces, one end. Interim responses (1xx) are not reported. */
export interface AnswerSink {
  /** `headers`: flat list, names and values as sent. */
  head(status: number, headers: string[]): void
  /** The piece is valid until the call returns, or until `turn`. */
  data(piece: Buffer): void
  /** `reusable`: the connection may carry another request. */
  end(reusable: boolean): void
}

type State =
  | 'idle'
  | 'ended'
  | 'head'
  | 'fixed'
  | 'until-close'
  | 'size'
  | 'chunk'
  | 'chunk-end'
  | 'trailers'
  | 'broken'

export interface ResponseReader {
  readonly sink: AnswerSink
  readonly readHead: (text: string) => ResponseHead
  state: State
  /** The first part of an incomplete head. */
  held: Buffer | undefined
  /** The first part of an incomplete line of the chunked coding. */
  line: string
  /** Bytes of the body, chunk or trailers that may follow. */
  left: number
  interim: number
  reusable: boolean
  /** Seconds for which the server keeps an idle connection (`Keep-Alive: timeout=…`), if it said so. */
  idleSeconds: number | undefined
}

export const createResponseReader = (
  sink: AnswerSink,
  readHead: ResponseReader['readHead'],
): ResponseReader => ({
  sink,
  readHead,
  state: 'idle',
  held: undefined,
  line: '',
  left: 0,
  interim: 0,
  reusable: false,
  idleSeconds: undefined,
})

const headLimit = 32_768
const lineLimit = 1024
const trailerLimit = 16_384
const interimLimit = 10

const decimal = /^[0-9]{1,15}$/
const chunkSize = /^([0-9A-Fa-f]{1,12})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?$/

const hasToken = (list: string, wanted: string): boolean =>
  list
    .toLowerCase()
    .split(',')
    .some((item) => item.trim() === wanted)

const secondsOf = (keepAlive: string | undefined): number | undefined => {
  const seconds = keepAlive === undefined ? undefined : /timeout=([0-9]{1,6})/i.exec(keepAlive)?.[1]
  return seconds === undefined ? undefined : Number(seconds)
}

/** RFC 9112 §6.3, in its order. Two framings at once, and every coding but chunked, are refused, because responses are smuggled that way. */
const frame = (reader: ResponseReader, status: number, modern: boolean, framing: Framing): void => {
  const { length, coding, connection, keepAlive } = framing
  reader.idleSeconds = secondsOf(keepAlive)
  reader.reusable = modern && (connection === undefined || !hasToken(connection, 'close'))
  if (coding !== undefined && (length !== undefined || !modern || coding.toLowerCase() !== 'chunked'))
    throw malformed('framing')
  if (length !== undefined && !decimal.test(length)) throw malformed('length')
  if (status === 204 || status === 304) {
    // Some servers announce a body that these statuses cannot have. It is not read, and the connection is not used again.
    reader.reusable &&= coding === undefined && (status === 304 || length === undefined || length === '0')
    reader.state = 'ended'
  } else frameBody(reader, coding, length)
}

const frameBody = (reader: ResponseReader, coding: string | undefined, length: string | undefined): void => {
  if (coding !== undefined) reader.state = 'size'
  else if (length !== undefined) {
    reader.left = Number(length)
    reader.state = reader.left > 0 ? 'fixed' : 'ended'
  } else {
    reader.reusable = false
    reader.state = 'until-close'
  }
}

const takeHead = (reader: ResponseReader, piece: Buffer, at: number): number => {
  const rest = at === 0 ? piece : piece.subarray(at)
  const whole = reader.held ? Buffer.concat([reader.held, rest]) : rest
  const before = reader.held?.length ?? 0
  const end = whole.indexOf('\r\n\r\n', Math.max(0, before - 3), 'latin1')
  if (end === -1 || end > headLimit) {
    if (whole.length > headLimit) throw malformed('head too long')
    if (whole.length >= 5 && whole.toString('latin1', 0, 5) !== 'HTTP/') throw malformed('no HTTP')
    // A copy: the next read overwrites the piece.
    reader.held = reader.held ? whole : Buffer.from(whole)
    return piece.length
  }
  reader.held = undefined
  const { status, modern, headers, framing } = reader.readHead(whole.toString('latin1', 0, end))
  if (status >= 200) {
    reader.interim = 0
    reader.sink.head(status, headers)
    frame(reader, status, modern, framing)
    // The gateway requests no upgrade, so 101 answers nothing.
  } else if (status === 101 || ++reader.interim > interimLimit) throw malformed('interim answer')
  return at + end + 4 - before
}

const takeData = (reader: ResponseReader, piece: Buffer, at: number): number => {
  const stop = Math.min(piece.length, at + reader.left)
  reader.left -= stop - at
  const fixed = reader.state === 'fixed'
  if (reader.left === 0) reader.state = fixed ? 'ended' : 'chunk-end'
  reader.sink.data(at === 0 && stop === piece.length ? piece : piece.subarray(at, stop))
  return stop
}

const takeSize = (reader: ResponseReader, text: string): void => {
  const size = chunkSize.exec(text)?.[1]
  if (size === undefined) throw malformed('chunk size')
  reader.left = Number.parseInt(size, 16)
  if (reader.left > 0) reader.state = 'chunk'
  else {
    reader.state = 'trailers'
    reader.left = trailerLimit
  }
}

const limits: Readonly<Partial<Record<State, number>>> = { size: lineLimit, 'chunk-end': 2 }

/** One line of the chunked coding: a size, the end of a chunk, or a trailer, which is dropped (RFC 9110 §6.5.1). */
const takeLine = (reader: ResponseReader, piece: Buffer, at: number): number => {
  const end = piece.indexOf(0x0a, at)
  const stop = end === -1 ? piece.length : end + 1
  const line = reader.line + piece.toString('latin1', at, stop)
  if (line.length > (limits[reader.state] ?? reader.left)) throw malformed('line too long')
  reader.line = end === -1 ? line : ''
  if (end === -1) return stop
  if (!line.endsWith('\r\n')) throw malformed('line end')
  const text = line.slice(0, -2)
  if (reader.state === 'size') takeSize(reader, text)
  else if (reader.state === 'trailers') {
    reader.left -= line.length
    if (text === '') reader.state = 'ended'
  } else if (text === '') reader.state = 'size'
  else throw malformed('chunk end')
  return stop
}

const step = (reader: ResponseReader, piece: Buffer, at: number): number => {
  const { state } = reader
  if (state === 'head') return takeHead(reader, piece, at)
  if (state === 'fixed' || state === 'chunk') return takeData(reader, piece, at)
  if (state === 'size' || state === 'chunk-end' || state === 'trailers') return takeLine(reader, piece, at)
  if (state !== 'until-close') throw malformed('unexpected bytes')
  reader.sink.data(at === 0 ? piece : piece.subarray(at))
  return piece.length
}

/** Reports the end once it is known whether bytes follow it: they must never be taken for the next response. */
const conclude = (reader: ResponseReader, clean: boolean): void => {
  reader.state = clean ? 'idle' : 'broken'
  reader.sink.end(reader.reusable && clean)
}

/** A request was sent, so a response may follow. */
export const expectAnswer = (reader: ResponseReader): void => {
  reader.state = 'head'
}

/** Parses what the socket delivered. Throws SyntaxError when it is not HTTP; nothing more can be parsed then. */
export const feed = (reader: ResponseReader, piece: Buffer): void => {
  try {
    for (let at = 0; at < piece.length;) {
      at = step(reader, piece, at)
      if (reader.state === 'ended') {
        conclude(reader, at === piece.length)
        return
      }
    }
  } catch (error) {
    reader.state = 'broken'
    throw error
  }
}

/** The server ended the connection: true when that completes the response (RFC 9112 §6.3, last rule), false when it cuts it off. */
export const feedEnd = (reader: ResponseReader): boolean => {
  if (reader.state === 'until-close') conclude(reader, true)
  return reader.state === 'idle'
}
