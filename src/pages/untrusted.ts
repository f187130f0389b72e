// Text that strangers chose (client names, addresses, descriptions), made safe to show to a person who
// decides by it. Escaping is the template's work; this file is about what survives escaping: direction
// overrides, invisible and look-alike characters, sheer length.
import { judgeRedirectUri, sameOriginPath } from '../kit/urls.ts'

/**
 * Anything a reader cannot see or that changes how its neighbours are drawn: controls, format and bidi
 * characters, fillers, tags, lone surrogates, unassigned.
 */
const invisible = /[\p{C}\p{Default_Ignorable_Code_Point}\u2800]/gu
/** Marks that could pass for the badges of the consent page. */
const badges = /[\u2610-\u2612\u2705\u2713-\u2718\u26A0\u{1F510}\u{1F512}\u{1F513}\u{1F6E1}]/gu
/** Stacked combining marks beyond what any script needs draw over the lines around them. */
const stacked = /(\p{M}{3})\p{M}+/gu

const bounded = (text: string, most: number): string => {
  const characters = Array.from(text)
  return characters.length <= most
    ? text
    : `${characters
        .slice(0, most - 1)
        .join('')
        .trimEnd()}…`
}

/** One line of visible text of at most `most` characters. */
export const readText = (raw: string, most: number): string =>
  bounded(
    raw
      .slice(0, most * 8)
      .replace(/[\s\p{Z}]+/gu, ' ')
      .replace(invisible, '')
      .replace(stacked, '$1')
      .replace(/ {2,}/g, ' ')
      .trim(),
    most,
  )

// Alphabets with letters that look like Latin ones (UTS #39 §4); a word that mixes two of them is never
// honest spelling.
const alphabets = [
  ['Latin', /\p{Script=Latin}/u],
  ['Cyrillic', /\p{Script=Cyrillic}/u],
  ['Greek', /\p{Script=Greek}/u],
  ['Armenian', /\p{Script=Armenian}/u],
  ['Cherokee', /\p{Script=Cherokee}/u],
  ['Coptic', /\p{Script=Coptic}/u],
  ['Lisu', /\p{Script=Lisu}/u],
] as const
/** Cyrillic and Greek letters that a reader takes for Latin ones. */
const lookalikes = /^[АВСЕНІЈКМОРЅТХҮԚԜаеіјорсухѕһԁԛԝӏΑΒΕΖΗΙΚΜΝΟΡΤΥΧονικρυχ]+$/u

const alphabetsOf = (word: string): readonly string[] =>
  alphabets.filter(([, script]) => script.test(word)).map(([name]) => name)

const spelling = (name: string): string | undefined => {
  for (const word of name.match(/[\p{L}\p{M}]+/gu) ?? []) {
    const found = alphabetsOf(word)
    if (found.length > 1)
      return `The word “${word}” in this name mixes ${found.slice(0, 2).join(' and ')} letters that look alike.`
    if (found[0] !== 'Latin' && word.length > 1 && lookalikes.test(word))
      return `The word “${word}” in this name is spelled with ${found[0]} letters that look like Latin ones.`
  }
  return undefined
}

export interface ShownName {
  readonly text: string
  /** What a reader should know about the name, one sentence an entry. */
  readonly cautions: readonly string[]
}

const longestName = 48

/**
 * A display name: NFKC (styled letters become plain ones), visible characters only, at most 48 of them, never
 * empty.
 */
export const readName = (raw: string, fallback: string): ShownName => {
  // Joiners and variation selectors inside emoji are honest; everything else that cannot be seen is worth a
  // word.
  const head = raw
    .slice(0, 1024)
    .normalize('NFKC')
    .replace(/\s/gu, ' ')
    .replace(/\uFE0F|(?<=\p{Extended_Pictographic})\u200D/gu, '')
  const seen = head.replace(badges, '').replace(invisible, '')
  const text = readText(seen, longestName)
  if (!text) return { text: fallback, cautions: [] }
  const mixed = spelling(text)
  return {
    text,
    cautions: [
      ...(seen !== head ? ['Hidden or misleading characters were taken out of this name.'] : []),
      ...(mixed ? [mixed] : []),
    ],
  }
}

/**
 * An address in the characters it travels in (RFC 3986 §2): everything but printable ASCII is
 * percent-encoded, so nothing in it can be invisible or reordered.
 */
export const readAddress = (raw: string): string =>
  raw
    .slice(0, 4096)
    .toWellFormed()
    .replace(/[^\x21-\x7E]/gu, (character) => encodeURIComponent(character).replaceAll("'", '%27'))

/** A path of this gateway, or `/` for whatever would leave it. */
export const ownPath = (href: string): string => sameOriginPath(href) ?? '/'

/**
 * Whether a link may lead a person back to a client by it: never a scheme that runs or reads something in
 * this browser. The answer's parameters are not judged.
 */
export const leadsToClient = (href: string): boolean =>
  judgeRedirectUri(href.split('?', 1)[0] ?? '') !== undefined
