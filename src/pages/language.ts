// What pages say, in the language of whoever reads them. English stands where it is said; the tables in words/
// have what it is in the other languages. A sentence that is not in them does not compile.
import { type Drawable, type Markup, html, inLanguage } from '../kit/html.ts'
import { type Language, type NamesIn, languages } from '../kit/language.ts'
import { accountWords } from './words/accounts.ts'
import { administratorStepWords } from './words/administrator-steps.ts'
import { consentWords } from './words/consent.ts'
import { problemWords } from './words/problems.ts'
import { problemStepWords } from './words/problem-steps.ts'
import { sentenceWords } from './words/sentences.ts'
import { serviceWords } from './words/services.ts'
import { signInWords } from './words/sign-in.ts'

export const catalogue = {
  ...signInWords,
  ...consentWords,
  ...serviceWords,
  ...accountWords,
  ...problemWords,
  ...problemStepWords,
  ...administratorStepWords,
  ...sentenceWords,
} as const

/** What pages can say, in English. Where it has `{name}`, something stands in that place. */
export type Sayable = keyof typeof catalogue

/** A message without places. */
export type PlainMessage = { [M in Sayable]: [NamesIn<M>] extends [never] ? M : never }[Sayable]

type Values<M extends string> = [NamesIn<M>] extends [never]
  ? []
  : [values: Readonly<Record<NamesIn<M>, Drawable>>]

const isMessage = (text: string): text is Sayable => Object.hasOwn(catalogue, text)

const translated = (message: Sayable, language: Language): string =>
  language === 'en' ? message : (catalogue[message][languages.indexOf(language) - 1] ?? message)

const filled = (text: string, values: Readonly<Record<string, Drawable>>): Drawable =>
  text.split(/\{(\w+)\}/).map((part, i) => (i % 2 === 1 ? values[part] : part))

/** A message of the catalogue. */
export const say = <M extends Sayable>(message: M, ...[values]: Values<M>): Markup =>
  inLanguage((language) => filled(translated(message, language), values ?? {}))

// Sentences of other modules.

const withPlaces = Object.keys(sentenceWords).filter((message) => message.includes('{'))

/** What stands in the places of the message if the text is one of it; undefined: it is not. */
const placesIn = (text: string, message: string): Readonly<Record<string, string>> | undefined => {
  const parts = message.split(/\{(\w+)\}/)
  const values: Record<string, string> = {}
  const first = parts[0] ?? ''
  if (!text.startsWith(first)) return undefined
  let at = first.length
  for (let i = 1; i < parts.length; i += 2) {
    const next = parts[i + 1] ?? ''
    const end = i + 2 >= parts.length ? text.length - next.length : text.indexOf(next, at)
    if (end < at || !text.startsWith(next, end)) return undefined
    values[parts[i] ?? ''] = text.slice(at, end)
    at = end + next.length
  }
  return values
}

/** Whether the catalogue has the sentence, which came from elsewhere in English. */
export const isSayable = (text: string): boolean =>
  isMessage(text) || withPlaces.some((message) => placesIn(text, message) !== undefined)

/** In the language, with what stands in its places; as it is where the catalogue does not have it. */
const inOther = (text: string, language: Language): string => {
  if (isMessage(text)) return translated(text, language)
  for (const message of withPlaces) {
    const values = placesIn(text, message)
    if (values !== undefined && isMessage(message))
      return translated(message, language).replace(/\{(\w+)\}/g, (_, name: string) =>
        inOther(values[name] ?? '', language),
      )
  }
  return text
}

/** A sentence that came from elsewhere in English. `draw`: how, if not as plain text. */
export const sayAgain = (text: string, draw: (text: string) => Drawable = (same) => same): Markup =>
  inLanguage((language) => draw(language === 'en' ? text : inOther(text, language)))

// Numbers, dates and lists (ECMA-402).

/** English as it is read everywhere: the day before the month. */
const localeOf = (language: Language): string => (language === 'en' ? 'en-GB' : language)

/** One message for one thing, another for any other number of it, by the language's own rules; both say `{n}`. */
export const sayCounted = (n: number, one: Sayable, other: Sayable): Markup =>
  inLanguage((language) => {
    const locale = localeOf(language)
    const message = new Intl.PluralRules(locale).select(n) === 'one' ? one : other
    return filled(translated(message, language), { n: new Intl.NumberFormat(locale).format(n) })
  })

const units = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
] as const

/** A duration in the largest unit that keeps it exact: `30 days`, `90 minutes`, `1 hour`. */
export const sayDuration = (ms: number): Markup =>
  inLanguage((language) => {
    const [unit, size] =
      units.find(([, size]) => ms >= size && (ms % size === 0 || ms >= 3 * size)) ?? units[2]
    const format = { style: 'unit', unit, unitDisplay: 'long' } as const
    return new Intl.NumberFormat(localeOf(language), format).format(Math.max(1, Math.round(ms / size)))
  })

/** A date, or with `minutes` a time too, in UTC: nobody knows where the reader is. */
export const sayDate = (ms: number, minutes = false): Markup =>
  inLanguage((language) => {
    const date = { dateStyle: 'medium', timeZone: 'UTC' } as const
    const format = minutes ? ({ ...date, timeStyle: 'short' } as const) : date
    const text = new Intl.DateTimeFormat(localeOf(language), format).format(ms)
    return html`<time datetime="${new Date(ms).toISOString()}">${text}${minutes && ' UTC'}</time>`
  })

/** `a, b and c`. */
export const sayList = (parts: readonly Drawable[]): Markup =>
  inLanguage((language) => {
    const list = new Intl.ListFormat(localeOf(language), { type: 'conjunction' })
    return list
      .formatToParts(parts.map((_, i) => String(i)))
      .map(({ type, value }) => (type === 'element' ? parts[Number(value)] : value))
  })
