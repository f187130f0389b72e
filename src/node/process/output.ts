// Reads lines from a process's standard output: bounded, and as text whatever bytes they contain.
import { isAbsolute } from 'node:path'
import type { ProcessEvents } from '../../ports/runtime.ts'

/** Longest line that is passed on, bytes: enough for screenshots and dumps as base64. */
const longestLine = 33_554_432
/** Longer lines are kept while all of them together are within `mostInAll`. */
const ordinaryLine = 10_485_760
const mostInAll = 67_108_864
/** A line this long is taken to have no end. */
const endlessLine = 67_108_864
/** How much of both ends of a line that is too long is kept. */
const keptEnd = 4096
/** A message without a line feed is taken after this much silence. */
const silenceMs = 250

export interface StdoutReader {
  /** Takes a piece. False when the current line is too long; nothing more may be pushed then. */
  push(piece: Buffer): boolean
  /** The output has ended. */
  end(): void
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const lenientUtf8 = new TextDecoder('utf-8', { ignoreBOM: true })

const textOf = (bytes: Uint8Array): string | undefined => {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    return undefined
  }
}

const isWhole = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

type StdoutEvents = Pick<ProcessEvents, 'line' | 'garbage' | 'oversized'>

/** Bytes left for the long lines of all processes. */
export interface LineBudget {
  left: number
}

export const createLineBudget = (): LineBudget => ({ left: mostInAll })

/** One line's share of the budget. */
const createShare = (budget: LineBudget): { mayKeep(bytes: number): boolean; giveBack(): void } => {
  let taken = 0
  return {
    mayKeep(bytes) {
      if (bytes > longestLine) return false
      const more = Math.max(0, bytes - ordinaryLine - taken)
      if (more > budget.left) return false
      budget.left -= more
      taken += more
      return true
    },
    giveBack() {
      budget.left += taken
      taken = 0
    },
  }
}

/** A line that is too long; its ends are kept. */
interface Excess {
  readonly head: Buffer
  tail: Buffer
  /** Nothing else of it is kept. */
  readonly begun: Buffer[]
}

const createExcess = () => {
  let kept: Excess | undefined
  return {
    get open() {
      return kept !== undefined
    },
    keep(begun: readonly Buffer[], piece: Buffer): Excess {
      kept ??= {
        head: Buffer.from(Buffer.concat([...begun, piece].slice(0, 64)).subarray(0, keptEnd)),
        tail: Buffer.concat(begun.slice(-64)).subarray(-keptEnd),
        begun: [],
      }
      kept.tail = Buffer.from(Buffer.concat([kept.tail, piece.subarray(-keptEnd)]).subarray(-keptEnd))
      return kept
    },
    clear: () => void (kept = undefined),
  }
}

/** Servers on Windows end lines with CR LF. Empty lines are skipped. */
const report = ({ line, garbage }: StdoutEvents, bytes: Buffer): void => {
  const end = bytes.length > 0 && bytes[bytes.length - 1] === 0x0d ? bytes.length - 1 : bytes.length
  if (end === 0) return
  const text = textOf(bytes.subarray(0, end))
  if (text === undefined) garbage()
  line(text ?? lenientUtf8.decode(bytes.subarray(0, end)))
}

export const createStdoutReader = (events: StdoutEvents, budget: LineBudget): StdoutReader => {
  const share = createShare(budget)
  let begun: Buffer[] = []
  let size = 0
  const excess = createExcess()
  let silence: NodeJS.Timeout | undefined

  const clear = (): void => {
    begun = []
    size = 0
    excess.clear()
    share.giveBack()
  }
  const end = (last: Buffer): void => {
    if (!excess.open && share.mayKeep(size + last.length)) {
      const bytes = begun.length === 0 ? last : Buffer.concat([...begun, last])
      clear()
      return report(events, bytes)
    }
    const { head, tail } = excess.keep(begun, last)
    clear()
    events.oversized(lenientUtf8.decode(head), lenientUtf8.decode(tail))
  }
  /** Some servers omit the line feed of their last message. */
  const unended = (): void => {
    const bytes = Buffer.concat(begun)
    if (!isWhole(lenientUtf8.decode(bytes))) return
    clear()
    report(events, bytes)
  }
  const begin = (rest: Buffer): void => {
    size += rest.length
    if (!excess.open && share.mayKeep(size)) begun.push(rest)
    else begun = excess.keep(begun, rest).begun
    if (!excess.open && rest[rest.length - 1] === 0x7d) silence = setTimeout(unended, silenceMs).unref()
  }
  return {
    push(piece) {
      clearTimeout(silence)
      let from = 0
      for (let at = piece.indexOf(0x0a); at !== -1; at = piece.indexOf(0x0a, from)) {
        end(piece.subarray(from, at))
        from = at + 1
      }
      if (from === piece.length) return true
      if (size + piece.length - from > endlessLine) {
        clear()
        return false
      }
      begin(from === 0 ? piece : piece.subarray(from))
      return true
    },
    end() {
      clearTimeout(silence)
      if (!excess.open) unended()
      clear()
    },
  }
}

// The tail of a process's standard error, for the operator: whole lines, without the secrets from its
// configuration.

const keptCharacters = 65_536
/** A longer line is taken in pieces. */
const longestKeptLine = 8192
/** Shorter values occur in too many words to be replaced. */
const leastSecret = 8

export interface StderrTail {
  push(text: string): void
  /** The output has ended, so the current line is complete. */
  end(): void
  text(): string
  conceal(text: string): string
}

interface Concealer {
  /** Characters of the longest value. */
  readonly reach: number
  conceal(text: string): string
}

/**
 * Servers print keys that were refused, and more people read logs than configurations. Paths are kept,
 * because operators look for them.
 */
const createConcealer = (env: Readonly<Record<string, string>>): Concealer => {
  const secrets = Object.entries(env)
    .flatMap(([name, value]) => value.split(/\r?\n/).map((line) => [name, line.trim()] as const))
    .filter(([, value]) => value.length >= leastSecret && !isAbsolute(value))
    .sort(([, one], [, two]) => two.length - one.length)
  return {
    reach: secrets[0]?.[1].length ?? 0,
    conceal: (text) => secrets.reduce((rest, [name, value]) => rest.replaceAll(value, `[${name}]`), text),
  }
}

/**
 * `report` gets whole lines, as many as came together. `env`: the configured environment, whose values are
 * replaced by their names.
 */
export const createStderrTail = (
  env: Readonly<Record<string, string>>,
  report: (text: string) => void,
): StderrTail => {
  const { reach, conceal } = createConcealer(env)
  let kept = ''
  let begun = ''
  const take = (until: number): void => {
    const text = conceal(begun.slice(0, until))
    begun = begun.slice(until)
    if (text === '') return
    kept = (kept + text).slice(-keptCharacters)
    report(text)
  }
  return {
    push(text) {
      begun += text
      take(begun.lastIndexOf('\n') + 1)
      // What is left may be the beginning of a secret.
      if (begun.length > longestKeptLine + reach) take(begun.length - reach)
    },
    end: () => take(begun.length),
    text: () => kept + conceal(begun),
    conceal,
  }
}
