// JSON that every parser reads alike, for documents by which a client says who it is: of two members with one
// name, one parser takes the first and another the last.
import { Refusal } from './refusal.ts'

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** Deeper nesting has no use there, and exhausts what walks through it. */
const deepest = 50

const fault = (say: string): Refusal => new Refusal('registration.metadata', say, { say })

/**
 * The text of these bytes; throws `registration.metadata` for what is not UTF-8, and for a byte order mark,
 * which some parsers skip and others refuse (RFC 8259 §8.1).
 */
export const strictText = (bytes: Uint8Array): string => {
  try {
    const text = strictUtf8.decode(bytes)
    if (!text.startsWith('\uFEFF')) return text
  } catch {
    // TypeError is the only thing a fatal decoder throws.
    throw fault('The body is not valid UTF-8.')
  }
  throw fault('The body must not start with a byte order mark.')
}

/**
 * Members that stand in the text. It is known to be JSON: outside strings, a colon stands behind a member's
 * name and nowhere else.
 */
const membersWritten = (text: string): number => {
  let [members, depth] = [0, 0]
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[:{}[\]]/gs)) {
    if (token === ':') members++
    else if (token === '{' || token === '[') depth++
    else if (token === '}' || token === ']') depth--
    if (depth > deepest) throw fault('The JSON is nested too deeply.')
  }
  return members
}

const membersRead = (value: unknown): number => {
  if (typeof value !== 'object' || value === null) return 0
  const inside = Object.values(value).reduce<number>((sum, part) => sum + membersRead(part), 0)
  return Array.isArray(value) ? inside : inside + Object.keys(value).length
}

/**
 * The value of a JSON text. Throws `registration.metadata` for what is not JSON and for a member that stands
 * twice in one object.
 */
export const parseStrictJson = (text: string): unknown => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw fault('The body is not JSON.')
  }
  const written = membersWritten(text)
  if (written !== membersRead(value)) throw fault('A member was sent more than once.')
  return value
}
