// What every page is made of: text of strangers made safe to show, the frame, and the parts that several
// pages share.
import { type Drawable, type Markup, html, htmlResponse, inLanguage } from '../kit/html.ts'
import { judgeRedirectUri, sameOriginPath } from '../kit/urls.ts'
import type { ClientView } from '../ports/pages.ts'
import type { Person } from '../ports/people.ts'
import type { Language } from '../kit/language.ts'
import { adminIcon, assetPaths, verifiedIcon, warnIcon } from './assets.ts'
import { type Brand, brandMark, brandName } from './brand.ts'
import { say, sayAgain } from './language.ts'

// Text that strangers chose (client names, addresses, descriptions), made safe to show to a person who
// decides by it. Escaping is the template's work; this is about what survives escaping: direction
// overrides, invisible and look-alike characters, sheer length.

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

// The frame: head, brand, footer.

export interface PageContext {
  /**
   * The public origin; its host stands at the top of every page, so that people see whose question they
   * answer.
   */
  readonly issuer: string
  readonly version: string
  /** Of the operator. */
  readonly brand?: Brand
  /** Of the reader; English unless it is said. */
  readonly language?: Language
}

export interface Page {
  readonly title: Drawable
  readonly width: 'narrow' | 'middle' | 'wide'
  readonly body: Drawable
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** More for the head, e.g. a refresh. */
  readonly head?: Markup
  readonly foot?: Drawable
}

/** What the script says beside a text that can be copied. It says it in English by itself. */
const copyWords = inLanguage(
  (language) =>
    language !== 'en' &&
    html` data-copy="${say('Copy')}" data-copy-what="${say('Copy {what}', { what: '{what}' })}" data-copied="${say('Copied')}" data-press="${say('Press Ctrl+C')}" data-selected="${say('Selected. Press Control C to copy.')}"`,
)

/** A document up to its body. */
export const documentHead = (
  { brand }: PageContext,
  title: Drawable,
  stylesheet: string,
  more?: Drawable,
): Drawable => html`<!doctype html>
<html lang="${inLanguage((language) => language)}" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title} · ${brandName(brand)}</title>
<link rel="icon" href="${assetPaths.icon}" type="image/svg+xml">
<link rel="stylesheet" href="${stylesheet}">${
  brand?.stylesheet !== undefined &&
  html`
<link rel="stylesheet" href="${brand.stylesheet}">`
}
<script src="${assetPaths.script}" defer${copyWords}></script>${more}
</head>`

export const page = (
  gateway: PageContext,
  { title, width, body, status, headers, head, foot }: Page,
): Response =>
  htmlResponse(
    html`${documentHead(gateway, title, assetPaths.stylesheet, head)}
<body>
<header class="top"><span class="brand">${brandMark(gateway.brand)}${named(brandName(gateway.brand))}</span><span class="host">${URL.parse(gateway.issuer)?.host}</span></header>
<main class="${width}">${body}</main>
${foot !== undefined && html`<footer class="foot">${foot}</footer>`}
</body>
</html>
`,
    {
      ...(status === undefined ? {} : { status }),
      ...(headers ? { headers } : {}),
      ...(gateway.language && { language: gateway.language }),
    },
  )

// The small parts.

const unnamedApp = 'Unnamed app'
export const clientName = (client: ClientView) => readName(client.name, unnamedApp)

/** The name of an app in a text, such as a title. */
export const nameText = (name: string): Drawable => (name === unnamedApp ? say(unnamedApp) : name)

/** A name that a stranger chose, cut off from the text around it in every direction of writing. */
export const named = (name: string): Markup => html`<bdi>${nameText(name)}</bdi>`

/** How far the client's name can be believed, in words. */
export const badge = (client: ClientView): Markup => {
  if (client.kind === 'registered')
    return html`<p class="badge plain">${adminIcon}<span>${say('Registered by your administrator')}</span></p>`
  if (client.kind === 'document' && client.host)
    return html`<p class="badge ok">${verifiedIcon}<span>${say('Verified domain {host}', { host: named(readAddress(client.host)) })}</span></p>`
  if (client.kind === 'personal')
    return html`<p class="badge plain">${adminIcon}<span>${say('Personal access token')}</span></p>`
  return html`<p class="badge warn">${warnIcon}<span>${say('Unverified. Anyone can use this name.')}</span></p>`
}

export const caution = (text: Drawable): Markup =>
  html`<p class="note warn">${warnIcon}<span>${text}</span></p>`

/**
 * The account a person is signed in with: what they are called, and the address or login that tells two
 * accounts apart.
 */
export const account = (person: Person): { readonly name: string; readonly detail: string | undefined } => {
  const id = readText(person.email ?? person.login ?? person.subject, 80)
  const name = readText(person.name ?? '', 60) || id
  return { name, detail: name === id ? undefined : id }
}

/** Who is signed in, and the way to another account. */
export const signedInAs = (view: { readonly person: Person; readonly switchAccount: string }): Markup => {
  const { name, detail } = account(view.person)
  const person = html`<strong>${named(name)}</strong>${detail && html` <span class="muted">${named(detail)}</span>`}`
  return html`<p class="who"><span>${say('Signed in as {person}', { person })}</span><a href="${ownPath(view.switchAccount)}">${say('Switch account')}</a></p>`
}

/** What a reader should know about a name. */
export const cautionsOf = ({ cautions }: ShownName): readonly Markup[] =>
  cautions.map((text) => caution(sayAgain(text)))

/**
 * First letter or digit of a name, for the tile that stands in for a picture (pictures of strangers are never
 * fetched).
 */
export const initial = (name: string): string => /[\p{L}\p{N}]/u.exec(name)?.[0].toUpperCase() ?? '·'

/** An address that may break after its separators instead of anywhere. What is copied stays the same. */
export const breakable = (address: string): Markup =>
  html`${address.split(/(?<=[/?&=,])/).map((part) => html`${part}<wbr>`)}`

/** Text of ours, or of a refusal, with `code` in backticks. */
export const withCode = (text: string): Markup =>
  html`${text.split('`').map((part, i) => (i % 2 === 1 ? html`<code>${part}</code>` : part))}`

/** `2026-07-28`: the same everywhere, and no clock is asked. */
export const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

/** In a form that ends access: on request, the accounts that the apps used end too. */
export const alsoAccounts = (says: Drawable): Markup =>
  html`<label class="also"><input class="check" type="checkbox" name="revoke_upstream" value="1">${says}</label>`

/** A form that posts back to this gateway. */
export const post = (
  action: string,
  hidden: Readonly<Record<string, string>>,
  content: Drawable,
  className = '',
): Markup =>
  html`<form method="post" action="${action}" class="${className}">${Object.entries(hidden).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}${content}</form>`
