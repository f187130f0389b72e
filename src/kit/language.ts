// The languages that pages speak, which of them a reader prefers, and the form of what is said in all of them.

export const languages = ['en', 'de', 'es', 'fr', 'ja'] as const
export type Language = (typeof languages)[number]

/** Whoever names more is read up to here. */
const longest = 400
const mostRanges = 20

const known: ReadonlySet<string> = new Set(languages)
const isKnown = (tag: string): tag is Language => known.has(tag)

/** RFC 9110 §12.4.2: three decimals at most; what is no weight is taken for none. */
const weightOf = (parameters: readonly string[]): number => {
  for (const parameter of parameters) {
    const [, weight] = /^\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*$/i.exec(parameter) ?? []
    if (weight !== undefined) return Number(weight)
    if (/^\s*q\s*=/i.test(parameter)) return 0
  }
  return 1
}

/**
 * The language of a page for an Accept-Language field (RFC 9110 §12.5.4): the one with the highest weight that
 * pages speak, by its primary subtag (RFC 4647 §3.4); English for all others. The first of equals wins.
 */
export const languageOf = (acceptLanguage: string | null): Language => {
  if (acceptLanguage === null || acceptLanguage === '') return 'en'
  let best: Language = 'en'
  let highest = 0
  for (const range of acceptLanguage.slice(0, longest).split(',', mostRanges)) {
    const [tag = '', ...parameters] = range.split(';')
    const [primary = ''] = tag.trim().toLowerCase().split('-', 1)
    const language = primary === '*' ? 'en' : primary
    const weight = weightOf(parameters)
    if (weight > highest && isKnown(language)) [best, highest] = [language, weight]
  }
  return best
}

// Tables of what is said in English, and the same in the other languages.

/** In the order of `languages`. */
export type Translations = readonly [de: string, es: string, fr: string, ja: string]

/** The names in `{…}`. */
export type NamesIn<Text extends string> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | NamesIn<Rest>
  : never

/** Itself if both have the same names in `{…}`. */
type SamePlaces<Text extends string, English extends string> = [NamesIn<Text>] extends [NamesIn<English>]
  ? [NamesIn<English>] extends [NamesIn<Text>]
    ? Text
    : `has not all the places of the English message`
  : `has a place that the English message has not`

type Checked<Table extends Readonly<Record<string, Translations>>> = {
  readonly [English in keyof Table & string]: readonly [
    SamePlaces<Table[English][0], English>,
    SamePlaces<Table[English][1], English>,
    SamePlaces<Table[English][2], English>,
    SamePlaces<Table[English][3], English>,
  ]
}

/** A table in which every translation has the places of its English message. */
export const words = <const Table extends Readonly<Record<string, Translations>>>(
  table: Table & Checked<Table>,
): Table => table
