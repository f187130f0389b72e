// Messages of servers that do not follow the protocol exactly: JSON with NaN, several messages on a line, a
// message over several lines, a response without a required member, and answers that nobody can be given. A
// valid message on one line is never read here.
import { Refusal } from '../kit/refusal.ts'
import { type Rpc, forWriting, isRecord } from './json-rpc.ts'

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

export interface TolerantReaderEvents {
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

export const createTolerantReader = ({ value, unreadable }: TolerantReaderEvents): TolerantReader => {
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

/**
 * Every `id`, as a number, in a text that is not JSON but looks like a response; undefined for a log line, a
 * request or a notification. `tail`: the end of a text of which only both ends are known.
 */
export const answerLike = (
  text: string,
  tail: string = text.slice(-looked),
): { readonly ids: readonly number[] } | undefined => {
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

// Answers of a server that nobody can be given: an error without an id, a message beyond repair, one that is
// too large. The call that is meant must not wait for its timeout, and no other call may fail for it.

/**
 * The call may be answered after all: servers log what they write, and answer notifications with errors that
 * nobody asked for.
 */
const graceMs = 500

/** What becomes of a call that can only be the one that is meant. */
export type LostCall = { readonly refusal: Refusal } | { readonly error: Rpc }

interface Notice {
  readonly lost: LostCall
  /** The calls that may be meant. */
  readonly among: Set<number>
  due: boolean
}

export interface TolerantOptions {
  readonly timer: (ms: number, run: () => void) => () => void
  /** Gives a message to whom it is for; false for what is no message. */
  readonly hear: (value: unknown, line: string) => boolean
  /** It wrote what is no message, or none that can be read. */
  readonly unreadable: (text: string) => void
  /** Whether a call of this id has no answer yet. */
  readonly has: (id: number) => boolean
  /** The calls that somebody waits for. */
  readonly waiting: () => readonly number[]
  /** Whether an error without an id is the answer to a notification, which careless servers give. */
  readonly forNotification: () => boolean
  /** Fails or answers a call; it must lead to `settled`. */
  readonly end: (id: number, lost: LostCall) => void
}

const createUnanswered = ({ timer, end }: Pick<TolerantOptions, 'timer' | 'end'>) => {
  let notices: Notice[] = []
  const timers = new Set<() => void>()

  /**
   * As many notices as calls that may be meant: it is all of them. With fewer, those that are answered tell
   * which is left.
   */
  const judge = (): void => {
    notices = notices.filter(({ among }) => among.size > 0)
    const due = notices.filter(({ due: isDue }) => isDue)
    const meant = new Set(due.flatMap(({ among }) => [...among]))
    const alone = due.find(({ among }) => among.size === 1)
    const [id] = alone?.among ?? []
    if (alone && id !== undefined) {
      notices = notices.filter((other) => other !== alone)
      end(id, alone.lost)
    } else if (due.length > 0 && due.length >= meant.size) {
      notices = notices.filter((other) => !due.includes(other))
      for (const [at, each] of [...meant].entries()) end(each, (due[at] as Notice).lost)
    }
  }

  return {
    /** Something was said that belongs to one of these calls. */
    notice(among: Iterable<number>, lost: LostCall): void {
      const made: Notice = { lost, among: new Set(among), due: false }
      if (made.among.size === 0) return
      notices.push(made)
      const cancel = timer(graceMs, () => {
        timers.delete(cancel)
        made.due = true
        judge()
      })
      timers.add(cancel)
    },
    settled(id: number): void {
      if (notices.length === 0) return
      for (const { among } of notices) among.delete(id)
      judge()
    },
    close(): void {
      for (const cancel of timers) cancel()
      timers.clear()
      notices = []
    },
  }
}

const beyondRepair = (): LostCall => ({
  refusal: new Refusal('process.answer', 'response is not a JSON-RPC message'),
})
const tooLarge = (): LostCall => ({
  refusal: new Refusal('process.answer', 'response larger than 32 MB, or several large responses at once', {
    say: 'The response of the MCP server exceeds the limit of 32 MB.',
  }),
})

const methodNotFound = -32_601

export interface TolerantMessages {
  /** A line that is no message, or in the middle of one. */
  line(line: string): void
  /** A line beyond every bound, of which only the two ends are known. */
  oversized(head: string, tail: string): void
  /** A line was a whole message, so a message that began before it is incomplete. */
  interrupt(): void
  /** A call was answered, failed or given up. */
  settled(id: number): void
  close(): void
}

export const createTolerantMessages = (options: TolerantOptions): TolerantMessages => {
  const { hear, unreadable, has, waiting, forNotification } = options
  const unanswered = createUnanswered(options)

  const lose = (text: string, tail: string | undefined, lost: LostCall): void => {
    const like = answerLike(text, tail)
    unreadable(text)
    if (!like) return
    const known = like.ids.filter(has)
    // With ids that are none of ours it answers something that is over.
    if (known.length > 0 || like.ids.length === 0)
      unanswered.notice(known.length > 0 ? known : waiting(), lost)
  }
  /** JSON that is no message as it stands. */
  const odd = (value: unknown, text: string): void => {
    const mended = isRecord(value) ? repairAnswer(forWriting(text, value)) : undefined
    if (mended && hear(mended, JSON.stringify(mended))) return
    if (!mended || !isRecord(mended['error']) || mended['id'] !== null)
      return lose(text, undefined, beyondRepair())
    unreadable(text)
    if (mended['error']['code'] !== methodNotFound || !forNotification())
      unanswered.notice(waiting(), { error: mended })
  }
  const one = (value: unknown, text: string): void => {
    if (!hear(value, text)) odd(value, text)
  }
  // Servers of 2025-03-26 may write arrays (basic/index, batching); each element goes its own way.
  const each = (value: unknown, text: string): void => {
    if (!Array.isArray(value)) return one(value, text)
    const whole = forWriting(text, value) as readonly unknown[]
    value.forEach((message, at) => one(message, JSON.stringify(whole[at])))
  }
  const reader = createTolerantReader({
    value: each,
    unreadable: (text) => lose(text, undefined, beyondRepair()),
  })

  return {
    line(line) {
      const read = reader.open ? undefined : parsed(line)
      if (read) each(read.value, line)
      else reader.line(line)
    },
    oversized(head, tail) {
      reader.interrupt()
      lose(head, tail, tooLarge())
    },
    interrupt: reader.interrupt,
    settled: unanswered.settled,
    close: unanswered.close,
  }
}
