// The colours of the pages: the contrast of every pair is computed from the stylesheet, and no rule has a colour of its
// own.
import { describe, expect, it } from 'vitest'
import { stylesheet } from '../../src/pages/assets.ts'
import { consoleStylesheet } from '../../src/pages/console/style.ts'
import { tokens } from '../../src/pages/tokens.ts'

const sheets = { pages: stylesheet, console: consoleStylesheet }

type Theme = Readonly<Record<string, string>>

const coloursIn = (text: string): Theme =>
  Object.fromEntries(
    [...text.matchAll(/--([a-z0-9-]+): (#[0-9a-f]{6});/g)].map(([, name, hex]) => [name, hex]),
  )

const [lightText = '', darkText = ''] = tokens.split('@media (prefers-color-scheme: dark)')
const light = coloursIn(lightText)
const themes: Readonly<Record<string, Theme>> = { light, dark: { ...light, ...coloursIn(darkText) } }

/** WCAG 2.2, relative luminance. */
const luminance = (hex: string): number => {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

const contrast = (one: string, other: string): number => {
  const [dark = 0, bright = 0] = [luminance(one), luminance(other)].toSorted((a, b) => a - b)
  return (bright + 0.05) / (dark + 0.05)
}

const surfaces = ['canvas', 'surface', 'sunk', 'hover', 'selected'] as const
const washes = ['accent-soft', 'ok-soft', 'warn-soft', 'bad-soft', 'auth-soft'] as const

/** The worst contrast of a colour on what it may stand on, rounded down to a tenth. */
const worst = (theme: Theme, colour: string, on: readonly string[]): number =>
  Math.floor(Math.min(...on.map((under) => contrast(theme[colour] ?? '', theme[under] ?? ''))) * 10) / 10

/** Every text, and what it stands on. */
const texts: Readonly<Record<string, readonly string[]>> = {
  'text': [...surfaces, ...washes],
  'text-2': [...surfaces, ...washes],
  'text-3': surfaces,
  'accent': [...surfaces, ...washes],
  'ok': [...surfaces, 'ok-soft'],
  'warn': [...surfaces, 'warn-soft'],
  'bad': [...surfaces, 'bad-soft'],
  'auth': [...surfaces, 'auth-soft'],
  'on-fill': ['fill', 'fill-hover'],
  'on-danger': ['danger-fill', 'danger-fill-hover'],
}

/** What is seen without being read: edges of inputs, dots and charts. */
const marks: Readonly<Record<string, readonly string[]>> = {
  'edge': surfaces,
  'ok-dot': ['canvas', 'surface', 'sunk', 'hover'],
  'warn-dot': ['canvas', 'surface', 'sunk', 'hover'],
  'bad-dot': ['canvas', 'surface', 'sunk', 'hover'],
  'c-main': ['canvas', 'surface'],
  'c-warn': ['canvas', 'surface'],
  'c-bad': ['canvas', 'surface'],
}

describe.each(Object.entries(themes))('the colours of the %s theme', (_, theme) => {
  it.each(Object.entries(texts))('have at least 4.5:1 for %s wherever it stands', (colour, on) => {
    expect(worst(theme, colour, on)).toBeGreaterThanOrEqual(4.5)
  })
  it.each(Object.entries(marks))('have at least 3:1 for %s wherever it stands', (colour, on) => {
    expect(worst(theme, colour, on)).toBeGreaterThanOrEqual(3)
  })
})

it('compares colours as WCAG does', () => {
  expect(contrast('#000000', '#ffffff')).toBe(21)
  expect(contrast('#767676', '#ffffff')).toBeCloseTo(4.54, 2)
})

describe.each(Object.entries(sheets))('the stylesheet of the %s', (_, sheet) => {
  const rules = sheet.replace(tokens, '')
  it('begins with the tokens, and writes no colour beside them', () => {
    expect(sheet).toContain(tokens)
    expect(rules.match(/#[0-9a-f]{3,8}\b|\b(?:rgba?|hsla?|oklch|color)\(/gi) ?? []).toEqual([])
  })
  it('uses no token that does not exist', () => {
    const known = new Set([...tokens.matchAll(/--([a-z0-9-]+):/g)].map(([, name]) => name))
    const used = [...rules.matchAll(/var\(--([a-z0-9-]+)\)/g)].map(([, name]) => name)
    expect([...new Set(used)].filter((name) => !known.has(name))).toEqual([])
  })
  it('asks nobody else for anything', () => expect(sheet).not.toMatch(/url\(|@import/))
})
