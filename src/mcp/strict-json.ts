// JSON that every parser reads alike: what the gateway judges and what the server behind it executes must be the same message.
import { Refusal } from '../kit/refusal.ts'

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Deeper nesting has no use in a message and exhausts recursive parsers. */
const deepest = 200

/** Members that decide what a message does: of the message itself and of its `params`. Another spelling in case alone is the same member to some parsers. */
const structural: readonly ReadonlyMap<string, string>[] = [
  new Map(),
  new Map(['jsonrpc', 'id', 'method', 'params', 'result', 'error'].map((name) => [name, name])),
  new Map(['name', 'uri', 'arguments', 'taskId', '_meta'].map((name) => [name.toLowerCase(), name])),
]

const ambiguous = (why: string): Refusal => new Refusal('mcp.invalid', why, { say: 'The message names a member twice, or in a spelling that servers may read differently.' })

/** Index just behind the string that opens at `open` (the index of its quote). The text is known to be valid JSON. */
const stringEnd = (text: string, open: number): number => {
  let close = text.indexOf('"', open + 1)
  for (;;) {
    let slashes = 0
    while (text.charCodeAt(close - 1 - slashes) === 0x5c) slashes++
    if (slashes % 2 === 0) return close + 1
    close = text.indexOf('"', close + 1)
  }
}

const keyOf = (quoted: string): string => (quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1))

/**
 * RFC 8259 §4 leaves members named twice to the reader (first, last or both win), and some readers match names in any case: each such
 * message means different things to different servers. Looked for where the gateway itself reads: the message, its `params`, its `_meta`.
 */
const refuseAmbiguity = (text: string): void => {
  const seen: (Set<string> | undefined)[] = []
  const lastKey: string[] = []
  const isObject: boolean[] = []
  let depth = 0
  let level = -1
  let expectKey = false
  const base = text.trimStart().startsWith('[') ? 1 : 0
  const watched = (): boolean => isObject[depth] === true && (level === 1 || (level === 2 && lastKey[depth - 1] === 'params') || (level === 3 && lastKey[depth - 1] === '_meta' && lastKey[depth - 2] === 'params'))
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) {
      const end = stringEnd(text, i)
      if (expectKey && watched()) {
        const key = keyOf(text.slice(i, end))
        const folded = key.toLowerCase()
        if (seen[depth]?.has(folded)) throw ambiguous(`member ${JSON.stringify(key.slice(0, 40))} twice`)
        if ((structural[level]?.get(folded) ?? key) !== key) throw ambiguous(`member ${JSON.stringify(key.slice(0, 40))}`)
        ;(seen[depth] ??= new Set()).add(folded)
        lastKey[depth] = key
      }
      expectKey = false
      i = end - 1
    } else if (c === 0x7b || c === 0x5b) {
      depth++
      if (depth > deepest) throw new Refusal('mcp.invalid', `nested deeper than ${deepest}`, { say: 'The message is nested too deeply.' })
      level = depth - base
      isObject[depth] = c === 0x7b
      seen[depth] = undefined
      lastKey[depth] = ''
      expectKey = c === 0x7b
    } else if (c === 0x7d || c === 0x5d) {
      depth--
      level = depth - base
      expectKey = false
    } else if (c === 0x2c) expectKey = isObject[depth] === true
  }
}

/**
 * The value of a JSON text in UTF-8. Throws `mcp.parse` for what is not JSON and `mcp.invalid` for what parsers read differently: members
 * named twice (or in another case) in a message, its `params` or its `_meta`, and nesting beyond 200 levels.
 */
export const parseStrictJson = (bytes: Uint8Array): unknown => {
  let text: string
  let value: unknown
  try {
    text = strictUtf8.decode(bytes)
    value = JSON.parse(text)
  } catch (error) {
    throw new Refusal('mcp.parse', error instanceof Error ? error.name : '')
  }
  refuseAmbiguity(text)
  return value
}
