// How a person's data becomes a header value: printable ASCII, bounded, one value never mistaken for two (docs/reference/headers.md).
import { utf8 } from '../kit/bytes.ts'

/** Bytes of an RFC 8187 §3.2.1 attr-char: everything else is percent-encoded. */
const attrChar = /[A-Za-z0-9!#$&+\-.^_`|~]/

const percent = (byte: number): string => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`

const percentEncoded = (text: string, plain: RegExp): string => {
  let out = ''
  for (const char of text) {
    if (plain.test(char)) out += char
    else for (const byte of utf8(char)) out += percent(byte)
  }
  return out
}

/** Control and formatting characters say nothing in a name and much to a parser: each run becomes one space. */
const calm = (text: string): string => text.toWellFormed().replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim()

/** The text as it may be shown: one line, bounded. Undefined for nothing to say, or for more than `max` characters where cutting would change the meaning. */
export const boundedText = (value: string | undefined, max: number, cut = false): string | undefined => {
  if (value === undefined) return undefined
  const text = calm(value)
  if (text === '') return undefined
  if (text.length <= max) return text
  return cut ? [...text].slice(0, max).join('').trim() : undefined
}

export const isAscii = (text: string): boolean => /^[\x20-\x7e]*$/.test(text)

/** Printable ASCII stays as it is; anything else is written as an RFC 8187 ext-value, `UTF-8''%E5%B1%B1…`, and so is ASCII text that begins like one. */
const encoded = (text: string): string => (isAscii(text) && !/^utf-8''/i.test(text) ? text : `UTF-8''${percentEncoded(text, attrChar)}`)

/** Bounded, on one line, in printable ASCII. Undefined as for `boundedText`. */
export const headerText = (value: string | undefined, max: number, cut = false): string | undefined => {
  const text = boundedText(value, max, cut)
  return text === undefined || text === '' ? undefined : encoded(text)
}

/** What a group name may keep: printable ASCII without the separator, the escape, quotes and semicolons; spaces only inside. */
const groupChar = /[\x20\x21\x23\x24\x26-\x2b\x2d-\x3a\x3c-\x7e]/
/** The same where the whole value is encoded once more: letters beyond ASCII may stay. */
const rawGroupChar = /[^\x00-\x1f",;%\x7f]/

/**
 * Groups, separated by commas, each percent-encoded where needed, so that one name never reads as two. Whole names only, up to 8,000 bytes.
 * `raw` leaves letters beyond ASCII as they are.
 */
export const headerGroups = (groups: readonly string[], raw = false): string | undefined => {
  let out = ''
  for (const group of groups) {
    const name = percentEncoded(calm(group), raw ? rawGroupChar : groupChar)
    if (name === '') continue
    if (out.length + 1 + name.length > 8000) break
    out = out === '' ? name : `${out},${name}`
  }
  return out === '' ? undefined : out
}
