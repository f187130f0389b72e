// Messages of servers that do not follow the protocol exactly: JSON with NaN, several messages on a line, a
// message over several lines, a response without a required member. A valid message on one line is never read
// here.
import type { Rpc } from './json-rpc.ts'
import { isRecord } from './json.ts'

/** Longest message over several lines, in characters. */
const longest = 10_485_760
/** Most lines of one message. */
const mostLines = 200_000

/** Escape codes of terminals (ECMA-48 CSI and OSC). */
const escapes = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\^_])/g
const nothing = /^[\ufeff\u0000-\u0020\u007f]+/

/** The line without terminal escape codes, and without a BOM or control characters at its beginning. */
export const withoutControls = (line: string): string =>
  (line.includes('\u001b') ? line.replace(escapes, '') : line).replace(nothing, '')

interface Depth {
  depth: number
  quoted: boolean
}

/** Index behind the end of the value that is open at `from`; -1 if it does not end. Updates `at`. */
const endOf = (text: string, from: number, at: Depth): number => {
  for (let i = from; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (at.quoted) {
      if (c === 0x5c) i++
      else if (c === 0x22) at.quoted = false
    } else if (c === 0x22) at.quoted = true
    else if (c === 0x7b || c === 0x5b) at.depth++
    else if ((c === 0x7d || c === 0x5d) && --at.depth === 0) return i + 1
  }
  return -1
}

const parsed = (text: string): { readonly value: unknown } | undefined => {
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return undefined
  }
}

/**
 * Replaces NaN and Infinity, which Python and others write, by null, as JavaScript does. Strings are not
 * changed.
 */
const withoutNaN = (text: string): string => {
  const parts: string[] = []
  for (let from = 0; from < text.length;) {
    const open = text.indexOf('"', from)
    const outside = open === -1 ? text.slice(from) : text.slice(from, open)
    parts.push(outside.replace(/-?\b(?:NaN|Infinity)\b/g, 'null'))
    if (open === -1) break
    let close = open + 1
    while (close < text.length && text.charCodeAt(close) !== 0x22)
      close += text.charCodeAt(close) === 0x5c ? 2 : 1
    parts.push(text.slice(open, close + 1))
    from = close + 1
  }
  return parts.join('')
}

const read = (text: string): { readonly value: unknown; readonly text: string } | undefined => {
  const plain = parsed(text)
  if (plain) return { ...plain, text }
  if (!/NaN|Infinity/.test(text)) return undefined
  const mended = withoutNaN(text)
  const found = parsed(mended)
  return found && { ...found, text: mended }
}

/**
 * A response that lacks a member of JSON-RPC 2.0 §5 or has one too many, but can mean only one thing.
 * Undefined for everything else.
 */
export const repairAnswer = (value: unknown): Rpc | undefined => {
  if (!isRecord(value) || value['method'] !== undefined) return undefined
  const { jsonrpc = '2.0', error, result, ...rest } = value
  if (jsonrpc !== '2.0' || rest['id'] === undefined) return undefined
  const failed = typeof error === 'string' ? { code: -32_603, message: error } : error
  if (isRecord(failed)) return { jsonrpc, ...rest, error: failed }
  return result === null || isRecord(result) ? { jsonrpc, ...rest, result: result ?? {} } : undefined
}

export interface TolerantMessages {
  /** A JSON value from a line, a part of a line, or several lines. `text` is its text. */
  value(value: unknown, text: string): void
  /** Text that is not JSON: a log line, or an invalid message. */
  unreadable(text: string): void
}

export interface TolerantReader {
  /** A line that is not a whole message. */
  line(line: string): void
  /** A line was a whole message, so a message that began before it is incomplete. */
  interrupt(): void
  /** Whether a message over several lines has begun. */
  readonly open: boolean
}

export const createTolerantReader = ({ value, unreadable }: TolerantMessages): TolerantReader => {
  let begun: string[] = []
  let size = 0
  let at: Depth = { depth: 0, quoted: false }

  const giveUp = (): void => {
    const [first] = begun
    begun = []
    size = 0
    if (first !== undefined) unreadable(first)
  }
  const begin = (text: string, depth: Depth): void => {
    begun = [text]
    size = text.length
    at = depth
  }
  /** Several values on a line. The last may be incomplete. */
  const values = (text: string): void => {
    for (let from = 0; from < text.length;) {
      const rest = text.slice(from).replace(nothing, '')
      if (rest === '') return
      if (rest[0] !== '{' && rest[0] !== '[') return unreadable(rest)
      const depth: Depth = { depth: 0, quoted: false }
      const end = endOf(rest, 0, depth)
      if (end === -1) return begin(rest, depth)
      const found = read(rest.slice(0, end))
      if (found) value(found.value, found.text)
      else unreadable(rest.slice(0, end))
      from = text.length - rest.length + end
    }
  }
  return {
    get open() {
      return begun.length > 0
    },
    interrupt: giveUp,
    line(line) {
      const text = withoutControls(line)
      // The lines of one message are indented. A bracket at the margin begins a new message.
      if (begun.length > 0 && /^[{[]/.test(line)) giveUp()
      if (begun.length === 0) return values(text)
      size += line.length + 1
      if (size > longest || begun.length >= mostLines) return giveUp()
      begun.push(line)
      const end = endOf(line, 0, at)
      if (end === -1) return undefined
      const whole = `${begun.slice(0, -1).join('\n')}\n${line.slice(0, end)}`
      begun = []
      size = 0
      values(whole)
      return values(withoutControls(line.slice(end)))
    },
  }
}

/** Characters at the beginning and the end of a text that are searched for an id. */
const looked = 4096

export interface Likeness {
  /** Every `id` in the text, as a number. */
  readonly ids: readonly number[]
}

/**
 * Whether a text that is not JSON looks like a response, rather than a log line, a request or a notification.
 * `tail`: the end of a text of which only both ends are known.
 */
export const answerLike = (text: string, tail: string = text.slice(-looked)): Likeness | undefined => {
  const seen = `${text.slice(0, looked)}\n${tail}`
  if (
    !seen.includes('{') ||
    /"method"\s*:/.test(seen) ||
    !/"(?:result|error)"\s*:/.test(seen) ||
    !/"(?:jsonrpc|id)"\s*:/.test(seen)
  )
    return undefined
  return { ids: [...new Set([...seen.matchAll(/"id"\s*:\s*"?(\d{1,15})\b/g)].map(([, id]) => Number(id)))] }
}
