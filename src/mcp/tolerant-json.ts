// Messages that a careless server writes, read as far as they can be: JSON with NaN, several on a line, one over several lines, an answer without
// what every answer has. The plain way (one line, one message) never comes here.
import { type Rpc, isRecord } from './json-rpc.ts'

/** A message is given up beyond so many characters. */
const longest = 10_485_760
/** Lines that one message may go over. */
const mostLines = 200_000

/** Escape codes of terminals (ECMA-48 CSI and OSC), and what stands for nothing at a beginning: a BOM, other control characters. */
const escapes = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\^_])/g
const nothing = /^[\ufeff\u0000-\u0020\u007f]+/

/** The line without terminal escape codes and without what stands for nothing at its beginning. */
export const withoutControls = (line: string): string =>
  (line.includes('\u001b') ? line.replace(escapes, '') : line).replace(nothing, '')

interface Depth {
  depth: number
  quoted: boolean
}

/** Where the value that is open ends, counted from `from`; -1 when it does not. `at` is moved along. */
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

/** Python and others write what JSON has no numbers for; null is what JavaScript writes for them. Strings are left alone. */
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

/** An answer that lacks or has too much of what JSON-RPC 2.0 §5 asks for, but can mean one thing only. Undefined for everything else. */
export const repairAnswer = (value: unknown): Rpc | undefined => {
  if (!isRecord(value) || value['method'] !== undefined) return undefined
  const { jsonrpc = '2.0', error, result, ...rest } = value
  if (jsonrpc !== '2.0' || rest['id'] === undefined) return undefined
  const failed = typeof error === 'string' ? { code: -32_603, message: error } : error
  if (isRecord(failed)) return { jsonrpc, ...rest, error: failed }
  return result === null || isRecord(result) ? { jsonrpc, ...rest, result: result ?? {} } : undefined
}

export interface TolerantMessages {
  /** One JSON value that a line, a part of one or several of them held; `text` is its text. */
  value(value: unknown, text: string): void
  /** What is no JSON: a log line, or a message beyond repair. */
  unreadable(text: string): void
}

export interface TolerantReader {
  /** A line that is no message by itself. */
  line(line: string): void
  /** A line was a message: what was begun before it will not be finished. */
  interrupt(): void
  /** A message over several lines has begun. */
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
  /** Values one after the other; the last may be unfinished. */
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
      // What is written over several lines is indented; at the margin something new begins.
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

/** How much of a message's beginning and end is looked through for the call it answers. */
const looked = 4096

export interface Likeness {
  /** The ids it holds, as numbers; those of the call it answers among them, if any. */
  readonly ids: readonly number[]
}

/** Whether a text that cannot be read looks like an answer; a log line, a request and a notification do not. `tail`: its end, where only both are known. */
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
