// HTML that is safe by construction: a template that escapes whatever it is given, and the headers every page
// carries. What it says may depend on the reader's language, which is known when the page is drawn.
import type { Language } from './language.ts'

// Not hono/html: its mark of safety is a plain property that decoded JSON can carry, and its template turns
// into a promise when a value does.
const inner = Symbol('markup')

/** HTML, or a part that is drawn in the language of the page. */
type Part = string | ((language: Language) => string)

/**
 * Markup made by `html`, `inLanguage` or `trusted`. The symbol cannot come out of JSON, so nothing from outside
 * can pass for it.
 */
export interface Markup {
  readonly [inner]: readonly Part[]
}

/**
 * What a template accepts. `undefined`, `null` and booleans draw nothing, so `condition && html…` reads as it
 * should.
 */
export type Drawable = Markup | string | number | boolean | null | undefined | readonly Drawable[]

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escape = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => entities[character] as string)

const isList = (value: Drawable): value is readonly Drawable[] => Array.isArray(value)

/** Parts in order; texts that follow one another are joined. */
const collect = (parts: Part[], value: Drawable): void => {
  if (value === undefined || value === null || typeof value === 'boolean') return
  if (isList(value)) for (const one of value) collect(parts, one)
  else if (typeof value === 'object') for (const part of value[inner] ?? []) append(parts, part)
  else append(parts, typeof value === 'string' ? escape(value) : String(value))
}

const append = (parts: Part[], part: Part): void => {
  const last = parts.at(-1)
  if (typeof part === 'string' && typeof last === 'string') parts[parts.length - 1] = last + part
  else parts.push(part)
}

/**
 * A tagged template: every value is escaped for text and for quoted attributes, except markup made here.
 * Always quote attributes.
 */
export const html = (strings: TemplateStringsArray, ...values: readonly Drawable[]): Markup => {
  const parts: Part[] = []
  for (const [i, text] of strings.entries()) {
    collect(parts, values[i - 1])
    append(parts, text)
  }
  return { [inner]: parts }
}

/** What is drawn in the language of the page that it stands on. */
export const inLanguage = (draw: (language: Language) => Drawable): Markup => ({
  [inner]: [(language) => htmlText(html`${draw(language)}`, language)],
})

/** Markup that this code base wrote itself, such as an icon. Never anything that came from outside. */
export const trusted = (text: string): Markup => ({ [inner]: [text] })

/** The text of the markup. */
export const htmlText = (markup: Markup, language: Language = 'en'): string =>
  markup[inner].map((part) => (typeof part === 'string' ? part : part(language))).join('')

/**
 * Content-Security-Policy of every page: nothing inline, nothing foreign, never framed (RFC 9700 §4.16).
 * There is no `form-action` on purpose: Chrome applies it to every hop of the redirect chain that a form
 * submission starts, so the answer of a consent form could no longer reach the client's redirect URI, and
 * `cursor://` could not be named in it at all.
 */
const policy = [
  "default-src 'none'",
  "style-src 'self'",
  "img-src 'self' data:",
  "script-src 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** Headers of every page. */
export const pageHeaders: Readonly<Record<string, string>> = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': policy,
  'X-Frame-Options': 'DENY',
  'X-Content-Type-Options': 'nosniff',
  // Not `no-referrer`: browsers then send `Origin: null` with our own forms (Fetch, "append a request Origin
  // header"), and null is refused as foreign.
  'Referrer-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  'Cache-Control': 'no-store',
  // The same address may answer JSON or events to a client that asks for them, and each reader in their language.
  Vary: 'Accept, Accept-Language',
}

/**
 * Header of the pages that no authorization flow passes through. Login and consent must not send it: they may
 * stand in a popup that a web client opened, and this header would cut the popup off from its opener for
 * good, so that the client's own callback page could not report back.
 */
export const isolated: Readonly<Record<string, string>> = { 'Cross-Origin-Opener-Policy': 'same-origin' }

/** A complete page. Headers of the response are open: append `Set-Cookie` to it freely. */
export const htmlResponse = (
  page: Markup,
  options: {
    readonly status?: number
    readonly headers?: Readonly<Record<string, string>>
    readonly language?: Language
  } = {},
): Response =>
  new Response(htmlText(page, options.language), {
    status: options.status ?? 200,
    headers: { ...pageHeaders, 'Content-Language': options.language ?? 'en', ...options.headers },
  })
