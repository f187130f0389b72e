// The few icons, drawn in the colour of the words they stand beside. Decoration only: the words carry the meaning.
import { trusted, type Markup } from '../kit/html.ts'

const icon = (paths: string): Markup =>
  trusted(`<svg class="icon" viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${paths}</svg>`)

export const okIcon = icon('<path d="m3.5 8.5 3 3 6-7"/>')
export const failedIcon = icon('<path d="m4 4 8 8m0-8-8 8"/>')
export const unreachedIcon = icon('<path d="M4 8h8"/>')
export const warnIcon = icon('<path d="M8 2 1.5 13.5h13zM8 6.5v3M8 11.6v.1"/>')
export const verifiedIcon = icon('<path d="M8 1.5 2.5 3.7v4c0 3.3 2.3 5.6 5.5 6.8 3.2-1.2 5.5-3.5 5.5-6.8v-4zM5.5 8l1.8 1.8L10.6 6.5"/>')
export const adminIcon = icon('<circle cx="8" cy="5" r="2.8"/><path d="M2.5 14c.5-3 2.7-4.5 5.5-4.5s5 1.5 5.5 4.5"/>')
export const infoIcon = icon('<circle cx="8" cy="8" r="6.25"/><path d="M8 7.3v3.7M8 4.9v.1"/>')
export const arrow = trusted('<svg width="32" height="12" viewBox="0 0 32 12" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M2 6h27m-5-4 5 4-5 4"/></svg>')

/** A gate standing ajar, in a box of 20 by 20. */
export const gate = 'M2 19V9a8 8 0 0 1 16 0v10h-3.2V9a4.8 4.8 0 0 0-2.3-4.1V19l-7.3-2.3V9c0-.3 0-.6.1-.9V19zm7.6-6.6a1.1 1.1 0 1 0 0-2.2 1.1 1.1 0 0 0 0 2.2z'
export const mark = trusted(`<svg viewBox="0 0 20 20" fill="currentColor" aria-hidden="true"><path fill-rule="evenodd" d="${gate}"/></svg>`)
