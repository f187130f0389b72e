// Charts, drawn by the server as SVG. Every number in them is also text beside them.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { TrailSlot } from '../../ports/runtime.ts'

export const sumOf = (slots: readonly TrailSlot[]): TrailSlot =>
  slots.reduce(
    (all, { allowed, denied, failed }) => ({
      allowed: all.allowed + allowed,
      denied: all.denied + denied,
      failed: all.failed + failed,
    }),
    { allowed: 0, denied: 0, failed: 0 },
  )

export const barHeight = 96

/** One bar: allowed at the bottom, then denied, then errors; each that there is can be seen. */
export const stackedBars = (slots: readonly TrailSlot[]): Markup => {
  const most = Math.max(1, ...slots.map(({ allowed, denied, failed }) => allowed + denied + failed))
  const width = 960 / slots.length
  const piece = (of: 'a' | 'd' | 'e', at: number, from: number, height: number): Drawable =>
    height > 0 &&
    html`<rect class="${of}" x="${(at * width + width * 0.15).toFixed(1)}" width="${(width * 0.7).toFixed(1)}" y="${(barHeight - from - height).toFixed(1)}" height="${height.toFixed(1)}"/>`
  return html`${slots.map(({ allowed, denied, failed }, at) => {
    const scaled = (n: number): number => (n === 0 ? 0 : Math.max(2, (n / most) * (barHeight - 8)))
    const [a, d, e] = [scaled(allowed), scaled(denied), scaled(failed)]
    return html`${piece('a', at, 0, a)}${piece('d', at, a, d)}${piece('e', at, a + d, e)}`
  })}`
}

/** A line of how many there were, hour by hour; the words beside it say how many in all. */
export const spark = (slots: readonly TrailSlot[], said: string, dead = false): Markup => {
  const counts = slots.map(({ allowed, denied, failed }) => allowed + denied + failed)
  const most = Math.max(1, ...counts)
  const step = 84 / Math.max(1, counts.length - 1)
  const points = counts
    .map((count, i) => `${(i * step).toFixed(1)},${(22 - (count / most) * 19).toFixed(1)}`)
    .join(' ')
  return html`<svg class="spark${dead && ' dead'}" viewBox="0 0 84 24" preserveAspectRatio="none" role="img" aria-label="${said}"><polygon class="area" points="0,24 ${points} 84,24"/><polyline points="${points}"/></svg>`
}

/** `240 ms`, `1.2 s`. */
export const took = (ms: number | undefined): string =>
  ms === undefined ? '–' : ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`
