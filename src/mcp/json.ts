// JSON that every parser reads alike: what the gateway judges and what the server behind it executes must be the same message.
import { Refusal } from '../kit/refusal.ts'

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Deeper nesting has no use in a message and exhausts recursive parsers. */
const deepest = 200
/** Levels in which no member may stand twice: the message, its `params`, and what is directly in those (`arguments`, `_meta`). */
const watched = 3
const mostInBatch = 100

/** A message has a handful of members in its watched levels, a call of a tool with a flat form some hundreds. */
const mostMembers = 20_000

const beyondAscii = /[^\0-\x7f]/
const separators = /[-_]/g

/**
 * A member's name as a tolerant parser compares it. Go's encoding/json takes names that are equal under Unicode simple case folding, so `ſ` (U+017F) is an s and
 * `K` (U+212A) a k; others fold `ı` and `İ` too.
 */
const fold = (name: string): string =>
  beyondAscii.test(name) ? name.toUpperCase().toLowerCase().replaceAll('\u0307', '') : name.toLowerCase()

type Names = ReadonlyMap<string, string>
const names = (...list: readonly string[]): Names => new Map(list.map((name) => [fold(name), name]))

/** Members that decide what a message does, at each level that the gateway judges. */
const ofMessage = names('jsonrpc', 'id', 'method', 'params', 'result', 'error')
const ofParams = names(
  ...[
    'name',
    'uri',
    'arguments',
    'taskId',
    '_meta',
    'ref',
    'cursor',
    'requestId',
    'requestState',
    'inputResponses',
  ],
  ...['protocolVersion', 'clientInfo', 'capabilities'],
)
const ofRef = names('type', 'name', 'uri')
const ofMeta = names(
  ...['protocolVersion', 'clientInfo', 'clientCapabilities'].map((name) => `io.modelcontextprotocol/${name}`),
  'progressToken',
)

const ambiguous = (why: string): Refusal =>
  new Refusal('mcp.invalid', why, {
    say: 'The message has a duplicate member, or a member name that servers may read differently.',
  })

/** Short strings are read through, long ones searched. */
const shortString = 48

/** Index of the quote that closes the string opened at `open`. The text is known to be valid JSON. */
const stringEnd = (text: string, open: number): number => {
  let at = open + 1
  for (const stop = at + shortString; at < stop; at++) {
    const c = text.charCodeAt(at)
    if (c === 0x22) return at
    if (c === 0x5c) at++
  }
  let close = text.indexOf('"', at)
  for (;;) {
    let slashes = 0
    while (text.charCodeAt(close - 1 - slashes) === 0x5c) slashes++
    if (slashes % 2 === 0) return close
    close = text.indexOf('"', close + 1)
  }
}

interface Written {
  /** Members in the first levels. */
  readonly members: number
  /** Values in all levels, about. */
  readonly values: number
}

/** What the text writes down. */
const written = (text: string, levels: number): Written => {
  let depth = 0
  let members = 0
  let values = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) i = stringEnd(text, i)
    else if (c === 0x3a) {
      // Outside strings a colon stands behind a member's name and nowhere else.
      if (depth <= levels) members++
    } else if (c === 0x2c) values++
    else if (c === 0x7b || c === 0x5b) {
      values++
      depth++
      if (depth > deepest)
        throw new Refusal('mcp.invalid', `nested deeper than ${deepest}`, {
          say: 'The message is nested too deeply.',
        })
    } else if (c === 0x7d || c === 0x5d) depth--
  }
  return { members, values }
}

/** How many members the value has in its first levels. */
const membersRead = (value: unknown, levels: number): number => {
  if (typeof value !== 'object' || value === null || levels === 0) return 0
  let members = 0
  if (Array.isArray(value)) {
    for (const item of value) members += membersRead(item, levels - 1)
    return members
  }
  for (const name in value) members += 1 + membersRead((value as Record<string, unknown>)[name], levels - 1)
  return members
}

const checkSpelling = (value: unknown, exact: Names): void => {
  if (typeof value !== 'object' || value === null) return
  for (const name in value) {
    // Most names are written as they should be.
    if (exact.get(name) === name) continue
    const folded = fold(name)
    // Servers that know a member in snake case as well (Python's models, Go's json/v2) take `task_id` for `taskId`.
    const meant = exact.get(folded) ?? exact.get(folded.replaceAll(separators, ''))
    if (meant !== undefined && meant !== name) throw ambiguous(`member ${JSON.stringify(name.slice(0, 40))}`)
  }
}

const checkMessage = (message: unknown): void => {
  checkSpelling(message, ofMessage)
  const params = (message as { params?: unknown } | null)?.params
  checkSpelling(params, ofParams)
  const { _meta: meta, ref } = (params ?? {}) as { readonly _meta?: unknown; readonly ref?: unknown }
  checkSpelling(meta, ofMeta)
  checkSpelling(ref, ofRef)
}

/** JSON-RPC 2.0 §6 knows no empty batch. Each message of a batch costs as much as one that came alone, so their number is bounded. */
const checkBatch = ({ length }: readonly unknown[]): void => {
  if (length === 0)
    throw new Refusal('mcp.invalid', 'an empty batch', { say: 'A batch must contain at least one message.' })
  if (length <= mostInBatch) return
  throw new Refusal('mcp.invalid', `${length} messages`, {
    say: `A batch has at most ${mostInBatch} messages; this one has ${length}.`,
  })
}

export interface StrictJson {
  readonly text: string
  readonly value: unknown
  /** How many values it is made of, about: what it costs in memory. */
  readonly values: number
}

/**
 * The text and value of JSON in UTF-8. Throws `mcp.parse` for what is not JSON and `mcp.invalid` for what parsers read differently: nesting
 * beyond 200 levels; a member named twice in the first three levels of a message (RFC 8259 §4 leaves the choice among them to the reader);
 * one of the members that decide what a message does, in another spelling that a tolerant parser takes for it. A batch has at most 100 messages.
 */
export const readStrictJson = (bytes: Uint8Array): StrictJson => {
  let text: string
  let value: unknown
  try {
    text = strictUtf8.decode(bytes)
    value = JSON.parse(text)
  } catch (error) {
    throw new Refusal('mcp.parse', error instanceof Error ? error.name : '')
  }
  if (Array.isArray(value)) checkBatch(value)
  const levels = Array.isArray(value) ? watched + 1 : watched
  const { members, values } = written(text, levels)
  if (members > mostMembers)
    throw new Refusal('mcp.invalid', `${members} members`, {
      say: `The message has more than ${mostMembers} members.`,
    })
  if (members !== membersRead(value, levels)) throw ambiguous('a member twice')
  if (Array.isArray(value)) for (const message of value) checkMessage(message)
  else checkMessage(value)
  return { text, value, values }
}

/** The value alone. */
export const parseStrictJson = (bytes: Uint8Array): unknown => readStrictJson(bytes).value

// JSON that is written again digit by digit as it was: arguments and results may hold numbers that no double can (JSON parse source text access, ECMAScript 2025).

declare global {
  interface JSON {
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown
    rawJSON(text: string): object
  }
}

/** Written by `JSON.stringify`, the value is the same text; a number that a double cannot hold reads as an object. Throws SyntaxError. */
export const parseExactText = (text: string): unknown =>
  JSON.parse(text, (_key, value: unknown, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source
      ? JSON.rawJSON(source)
      : value,
  )

export const parseExactly = (body: Uint8Array): unknown => parseExactText(new TextDecoder().decode(body))
