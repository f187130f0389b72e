// The frame around every page: head, brand, footer. And the small parts that several pages share.
import { type Drawable, type Markup, html, htmlResponse } from '../kit/html.ts'
import type { ClientView } from '../ports/pages.ts'
import type { Person } from '../ports/people.ts'
import { adminIcon, assetPaths, mark, verifiedIcon, warnIcon } from './assets.ts'
import { readAddress, readName, readText } from './untrusted.ts'

export interface PageContext {
  /**
   * The public origin; its host stands at the top of every page, so that people see whose question they
   * answer.
   */
  readonly issuer: string
  readonly version: string
}

export interface Page {
  readonly title: string
  readonly width: 'narrow' | 'middle' | 'wide'
  readonly body: Drawable
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** More for the head, e.g. a refresh. */
  readonly head?: Markup
  readonly foot?: Drawable
}

export const page = (
  gateway: PageContext,
  { title, width, body, status, headers, head, foot }: Page,
): Response =>
  htmlResponse(
    html`<!doctype html>
<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title} · Postern</title>
<link rel="icon" href="${assetPaths.icon}" type="image/svg+xml">
<link rel="stylesheet" href="${assetPaths.stylesheet}">
<script src="${assetPaths.script}" defer></script>${head}
</head>
<body>
<header class="top"><span class="brand">${mark}Postern</span><span class="host">${URL.parse(gateway.issuer)?.host}</span></header>
<main class="${width}">${body}</main>
${foot !== undefined && html`<footer class="foot">${foot}</footer>`}
</body>
</html>
`,
    { ...(status === undefined ? {} : { status }), ...(headers ? { headers } : {}) },
  )

export const clientName = (client: ClientView) => readName(client.name, 'Unnamed app')

/** A name that a stranger chose, cut off from the text around it in every direction of writing. */
export const named = (name: string): Markup => html`<bdi>${name}</bdi>`

/** How far the client's name can be believed, in words. */
export const badge = (client: ClientView): Markup => {
  if (client.kind === 'registered')
    return html`<p class="badge plain">${adminIcon}<span>Registered by your administrator</span></p>`
  if (client.kind === 'document' && client.host)
    return html`<p class="badge ok">${verifiedIcon}<span>Verified domain ${named(readAddress(client.host))}</span></p>`
  return html`<p class="badge warn">${warnIcon}<span>Unverified. Anyone can use this name.</span></p>`
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

const units = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
] as const

/** A duration in the largest unit that keeps it honest: `30 days`, `90 minutes`, `1 hour`. */
export const inWords = (ms: number): string => {
  const [unit, size] = units.find(([, size]) => ms >= size && (ms % size === 0 || ms >= 3 * size)) ?? units[2]
  const count = Math.max(1, Math.round(ms / size))
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

/** A form that posts back to this gateway. */
export const post = (
  action: string,
  hidden: Readonly<Record<string, string>>,
  content: Drawable,
  className = '',
): Markup =>
  html`<form method="post" action="${action}" class="${className}">${Object.entries(hidden).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}${content}</form>`
