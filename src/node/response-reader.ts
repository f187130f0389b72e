// Reads HTTP/1.1 answers from a socket, strictly (RFC 9112): whatever two readers could take differently is an error, never a guess.
import { trimWhitespace } from '../kit/http.ts'

/** What the reader tells of one answer, in this order: one head, any number of pieces, one end. Interim answers (1xx) are not told. */
export interface AnswerSink {
  /** `headers`: flat list, names and values as sent. */
  head(status: number, headers: string[]): void
  data(piece: Buffer): void
  /** `reusable`: the connection may carry another request. */
  end(reusable: boolean): void
}

export interface ResponseReader {
  /** Takes what the socket delivered. Throws SyntaxError when it is no HTTP; nothing more can be read then. */
  feed(piece: Buffer): void
  /** The other side ended the connection: true when that completes the answer (RFC 9112 §6.3, last rule), false when it cuts one off. */
  eof(): boolean
  /** Told that a request was sent and an answer may come. */
  expect(): void
  /** Seconds of idleness the server announced it will bear (`Keep-Alive: timeout=…`), if it did. */
  keepAlive(): number | undefined
}

const headLimit = 32_768
const lineLimit = 1024
const trailerLimit = 16_384
const interimLimit = 10

/** Controls but tab, and line feeds and carriage returns that are not a pair. */
const illegal = /[^\t\x20-\x7e\x80-\xff\r\n]|\r(?!\n)|(?<!\r)\n/
const statusLine = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?$/
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
const decimal = /^[0-9]{1,15}$/
const chunkSize = /^([0-9A-Fa-f]{1,12})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?$/

const garbled = (what: string): SyntaxError => new SyntaxError(what)

const hasToken = (list: string, wanted: string): boolean => list.toLowerCase().split(',').some((item) => item.trim() === wanted)

type State = 'idle' | 'ended' | 'head' | 'fixed' | 'until-close' | 'size' | 'chunk' | 'chunk-end' | 'trailers' | 'broken'

interface Framing {
  length: string | undefined
  coding: string | undefined
  connection: string | undefined
  keepAlive: string | undefined
}

/** Field names seen before; most answers of a server name the same few. */
const createNames = (): ((name: string) => string) => {
  const known = new Map<string, string>()
  return (name) => {
    const lower = known.get(name)
    if (lower !== undefined) return lower
    if (!token.test(name)) throw garbled('field name')
    const made = name.toLowerCase()
    if (known.size < 500 && name.length <= 64) known.set(name, made)
    return made
  }
}

const readFields = (text: string, from: number, lowerOf: (name: string) => string, into: string[]): Framing => {
  const framing: Framing = { length: undefined, coding: undefined, connection: undefined, keepAlive: undefined }
  for (let at = from; at < text.length; ) {
    const end = text.indexOf('\r\n', at)
    const stop = end === -1 ? text.length : end
    const colon = text.indexOf(':', at)
    // No colon, no name, or a line that continues the one before (obs-fold, RFC 9112 §5.2).
    if (colon <= at || colon >= stop) throw garbled('field line')
    const name = text.slice(at, colon)
    const lower = lowerOf(name)
    const value = trimWhitespace(text.slice(colon + 1, stop))
    into.push(name, value)
    if (lower === 'content-length') {
      if (framing.length !== undefined && framing.length !== value) throw garbled('two lengths')
      framing.length = value
    } else if (lower === 'transfer-encoding') framing.coding = framing.coding === undefined ? value : `${framing.coding}, ${value}`
    else if (lower === 'connection') framing.connection = framing.connection === undefined ? value : `${framing.connection}, ${value}`
    else if (lower === 'keep-alive') framing.keepAlive = value
    at = stop + 2
  }
  return framing
}

export const createResponseReader = (sink: AnswerSink): ResponseReader => {
  const lowerOf = createNames()
  let state: State = 'idle'
  let held: Buffer | undefined
  let line = ''
  let left = 0
  let interim = 0
  let reusable = false
  let idleSeconds: number | undefined

  const finish = (): void => {
    state = 'ended'
  }

  /** Tells the end once it is known whether anything came behind it: such bytes must never be taken for the next answer. */
  const conclude = (clean: boolean): void => {
    state = clean ? 'idle' : 'broken'
    sink.end(reusable && clean)
  }

  const frame = (status: number, version: string, framing: Framing): void => {
    const { length, coding, connection } = framing
    idleSeconds = framing.keepAlive === undefined ? undefined : Number(/timeout=([0-9]{1,6})/i.exec(framing.keepAlive)?.[1] ?? Number.NaN)
    reusable = version === '1' && (connection === undefined || !hasToken(connection, 'close'))
    // RFC 9112 §6.3, in its order; both framings at once and every coding but chunked are how answers are smuggled.
    if (coding !== undefined && (length !== undefined || version !== '1' || coding.toLowerCase() !== 'chunked')) throw garbled('framing')
    if (length !== undefined && !decimal.test(length)) throw garbled('length')
    if (status === 204 || status === 304) {
      // Some servers frame what they may not send: nothing is read, and nothing more on this connection.
      if (coding !== undefined || (status === 204 && length !== undefined && length !== '0')) reusable = false
      finish()
    } else if (coding !== undefined) state = 'size'
    else if (length !== undefined) {
      left = Number(length)
      if (left > 0) state = 'fixed'
      else finish()
    } else {
      reusable = false
      state = 'until-close'
    }
  }

  const readHead = (text: string): void => {
    if (illegal.test(text)) throw garbled('control characters')
    const end = text.indexOf('\r\n')
    const parts = statusLine.exec(end === -1 ? text : text.slice(0, end))
    if (!parts) throw garbled('status line')
    const status = Number(parts[2])
    const headers: string[] = []
    const framing = end === -1 ? readFields('', 0, lowerOf, headers) : readFields(text, end + 2, lowerOf, headers)
    if (status < 200) {
      // Nothing was asked that 101 could answer.
      if (status === 101 || ++interim > interimLimit) throw garbled('interim answer')
      return
    }
    interim = 0
    sink.head(status, headers)
    frame(status, parts[1] as string, framing)
  }

  /** The position behind what was used. */
  const takeHead = (piece: Buffer, at: number): number => {
    const whole = held ? Buffer.concat([held, at === 0 ? piece : piece.subarray(at)]) : at === 0 ? piece : piece.subarray(at)
    const before = held?.length ?? 0
    const end = whole.indexOf('\r\n\r\n', Math.max(0, before - 3), 'latin1')
    if (end === -1 || end > headLimit) {
      if (whole.length > headLimit) throw garbled('head too long')
      held = whole
      return piece.length
    }
    held = undefined
    readHead(whole.toString('latin1', 0, end))
    return at + end + 4 - before
  }

  const takeData = (piece: Buffer, at: number): number => {
    const stop = Math.min(piece.length, at + left)
    left -= stop - at
    sink.data(at === 0 && stop === piece.length ? piece : piece.subarray(at, stop))
    if (left > 0) return stop
    if (state === 'fixed') finish()
    else state = 'chunk-end'
    return stop
  }

  /** Adds to the line being read; the position behind it, and the line itself once it is whole. */
  const takeLine = (piece: Buffer, at: number, limit: number): { readonly at: number; readonly text: string | undefined } => {
    const end = piece.indexOf(0x0a, at)
    const stop = end === -1 ? piece.length : end + 1
    line += piece.toString('latin1', at, stop)
    if (line.length > limit) throw garbled('line too long')
    if (end === -1) return { at: stop, text: undefined }
    if (!line.endsWith('\r\n')) throw garbled('line end')
    const text = line.slice(0, -2)
    line = ''
    return { at: stop, text }
  }

  const takeSize = (piece: Buffer, from: number): number => {
    const { at, text } = takeLine(piece, from, lineLimit)
    if (text === undefined) return at
    const size = chunkSize.exec(text)?.[1]
    if (size === undefined) throw garbled('chunk size')
    left = Number.parseInt(size, 16)
    if (left > 0) state = 'chunk'
    else {
      state = 'trailers'
      left = trailerLimit
    }
    return at
  }

  /** Trailers are read to find the end, and dropped (RFC 9110 §6.5.1). */
  const takeTrailer = (piece: Buffer, from: number): number => {
    const { at, text } = takeLine(piece, from, left)
    if (text === '') finish()
    else if (text !== undefined) left -= text.length
    return at
  }

  const takeChunkEnd = (piece: Buffer, from: number): number => {
    const { at, text } = takeLine(piece, from, 2)
    if (text === '') state = 'size'
    else if (text !== undefined) throw garbled('chunk end')
    return at
  }

  const step = (piece: Buffer, at: number): number => {
    if (state === 'head') return takeHead(piece, at)
    if (state === 'fixed' || state === 'chunk') return takeData(piece, at)
    if (state === 'size') return takeSize(piece, at)
    if (state === 'chunk-end') return takeChunkEnd(piece, at)
    if (state === 'trailers') return takeTrailer(piece, at)
    if (state !== 'until-close') throw garbled('bytes that nobody asked for')
    sink.data(at === 0 ? piece : piece.subarray(at))
    return piece.length
  }

  return {
    feed(piece) {
      try {
        for (let at = 0; at < piece.length; ) {
          at = step(piece, at)
          if (state === 'ended') {
            conclude(at === piece.length)
            return
          }
        }
      } catch (error) {
        state = 'broken'
        throw error
      }
    },
    eof() {
      if (state === 'idle') return true
      if (state !== 'until-close') return false
      conclude(true)
      return true
    },
    expect() {
      state = 'head'
    },
    keepAlive: () => idleSeconds,
  }
}
