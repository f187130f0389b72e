// The head of an HTTP/1.1 answer, strictly (RFC 9112 §4, §5): whatever two readers could take differently is an error, never a guess.
import { trimWhitespace } from '../kit/http.ts'

/** What the fields say of the message around them, values as sent; a field sent twice is joined with a comma. */
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

/** Controls but tab, and line feeds and carriage returns that are not a pair. */
const illegal = /[^\t\x20-\x7e\x80-\xff\r\n]|\r(?!\n)|(?<!\r)\n/
const statusLine = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?$/
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

export const garbled = (what: string): SyntaxError => new SyntaxError(what)

const joined = (before: string | undefined, value: string): string => (before === undefined ? value : `${before}, ${value}`)

const note = (framing: Framing, name: string, value: string): void => {
  if (name === 'content-length') {
    if (framing.length !== undefined && framing.length !== value) throw garbled('two lengths')
    framing.length = value
  } else if (name === 'transfer-encoding') framing.coding = joined(framing.coding, value)
  else if (name === 'connection') framing.connection = joined(framing.connection, value)
  else if (name === 'keep-alive') framing.keepAlive = value
}

/** A reader of heads; it remembers up to 500 field names, because most answers of a server name the same few. Throws SyntaxError. */
export const createReadHead = (): ((text: string) => ResponseHead) => {
  const known = new Map<string, string>()
  const lowerOf = (name: string): string => {
    const before = known.get(name)
    if (before !== undefined) return before
    if (!token.test(name)) throw garbled('field name')
    const lower = name.toLowerCase()
    if (known.size < 500 && name.length <= 64) known.set(name, lower)
    return lower
  }
  return (text) => {
    if (illegal.test(text)) throw garbled('control characters')
    const end = text.indexOf('\r\n')
    const parts = statusLine.exec(end === -1 ? text : text.slice(0, end))
    if (!parts) throw garbled('status line')
    const headers: string[] = []
    const framing: Framing = { length: undefined, coding: undefined, connection: undefined, keepAlive: undefined }
    for (let at = end === -1 ? text.length : end + 2; at < text.length; ) {
      const next = text.indexOf('\r\n', at)
      const stop = next === -1 ? text.length : next
      const colon = text.indexOf(':', at)
      // No colon, no name, or a line that continues the one before (obs-fold, RFC 9112 §5.2).
      if (colon <= at || colon >= stop) throw garbled('field line')
      const name = text.slice(at, colon)
      const lower = lowerOf(name)
      const value = trimWhitespace(text.slice(colon + 1, stop))
      headers.push(name, value)
      note(framing, lower, value)
      at = stop + 2
    }
    return { status: Number(parts[2]), modern: parts[1] === '1', headers, framing }
  }
}
