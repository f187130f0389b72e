// JSON that every parser reads alike: what the gateway judges and what the server behind it executes must be the same message.
import { Refusal } from '../kit/refusal.ts'

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Deeper nesting has no use in a message and exhausts recursive parsers. */
const deepest = 200
/** Levels in which no member may stand twice: the message, its `params`, and what is directly in those (`arguments`, `_meta`). */
const watched = 3

type Names = ReadonlyMap<string, string>
const names = (...list: readonly string[]): Names => new Map(list.map((name) => [name.toLowerCase(), name]))

/** Members that decide what a message does. Some parsers take a spelling that differs in case alone for the same member. */
const ofMessage = names('jsonrpc', 'id', 'method', 'params', 'result', 'error')
const ofParams = names('name', 'uri', 'arguments', 'taskId', '_meta')
const ofMeta = names('io.modelcontextprotocol/protocolVersion', 'io.modelcontextprotocol/clientCapabilities')

const ambiguous = (why: string): Refusal => new Refusal('mcp.invalid', why, { say: 'The message names a member twice, or in a spelling that servers may read differently.' })

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

/** How many members the text writes down in its first levels. */
const membersWritten = (text: string, levels: number): number => {
  let depth = 0
  let members = 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c === 0x22) i = stringEnd(text, i)
    else if (c === 0x3a) {
      // Outside strings a colon stands behind a member's name and nowhere else.
      if (depth <= levels) members++
    } else if (c === 0x7b || c === 0x5b) {
      depth++
      if (depth > deepest) throw new Refusal('mcp.invalid', `nested deeper than ${deepest}`, { say: 'The message is nested too deeply.' })
    } else if (c === 0x7d || c === 0x5d) depth--
  }
  return members
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
    const meant = exact.get(name.toLowerCase())
    if (meant !== undefined && meant !== name) throw ambiguous(`member ${JSON.stringify(name.slice(0, 40))}`)
  }
}

const checkMessage = (message: unknown): void => {
  checkSpelling(message, ofMessage)
  const params = (message as { params?: unknown } | null)?.params
  checkSpelling(params, ofParams)
  checkSpelling((params as { _meta?: unknown } | null | undefined)?._meta, ofMeta)
}

/**
 * The text and value of JSON in UTF-8. Throws `mcp.parse` for what is not JSON and `mcp.invalid` for what parsers read differently: nesting
 * beyond 200 levels; a member named twice in the first three levels of a message (RFC 8259 §4 leaves the choice among them to the reader);
 * one of the members that decide what a message does, in another case.
 */
export const readStrictJson = (bytes: Uint8Array): { readonly text: string; readonly value: unknown } => {
  let text: string
  let value: unknown
  try {
    text = strictUtf8.decode(bytes)
    value = JSON.parse(text)
  } catch (error) {
    throw new Refusal('mcp.parse', error instanceof Error ? error.name : '')
  }
  const levels = Array.isArray(value) ? watched + 1 : watched
  if (membersWritten(text, levels) !== membersRead(value, levels)) throw ambiguous('a member twice')
  if (Array.isArray(value)) for (const message of value) checkMessage(message)
  else checkMessage(value)
  return { text, value }
}

/** The value alone. */
export const parseStrictJson = (bytes: Uint8Array): unknown => readStrictJson(bytes).value
