// Types that several keys of the configuration have.
import * as z from 'zod'

export const text = (description: string) => z.string().min(1).describe(description)

/**
 * `writeOnly` is JSON Schema's word for a value that is never shown again: it is masked, may come from a
 * file, and is in no message.
 */
export const secret = (description: string) =>
  z.string().min(1).describe(description).meta({ writeOnly: true })

export const httpUrl = () => z.url({ protocol: /^https?$/, error: 'must be a full http:// or https:// URL' })

export const scopeWord = z
  .string()
  .regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be one scope: printable ASCII without spaces, " or \\')

/** ID of a service or an identity provider. */
export const serviceId = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9_-]{0,62}$/,
    'use lower-case letters, digits, - and _ (at most 63 characters, starting with a letter or digit)',
  )

// Durations: text such as `30s`, `10m` or `1h30m`, or a bare number in the unit of its key.

/** The unit of a bare number, and of the settled value. */
export type DurationUnit = 's' | 'ms'

const millisecondsIn = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const

const form = /^(?=\d)(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,12})ms)?$/

/** The same without groups, for the JSON Schema. */
export const durationPattern = '^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$'

/** In the unit, which may be a fraction (`1500ms` in seconds). Undefined for text that is no duration. */
export const parseDuration = (text: string, unit: DurationUnit): number | undefined => {
  if (/^\d{1,12}$/.test(text)) return Number(text)
  const parts = form.exec(text)
  if (!parts) return undefined
  const sizes = Object.values(millisecondsIn)
  return (
    parts.slice(1).reduce((sum, part, i) => sum + Number(part ?? 0) * (sizes[i] ?? 0), 0) /
    millisecondsIn[unit]
  )
}

/** `5400` seconds → `1h30m`; `0` → `0s`. */
export const durationText = (value: number, unit: DurationUnit): string => {
  let left = value * millisecondsIn[unit]
  let text = ''
  for (const [name, size] of Object.entries(millisecondsIn)) {
    const count = Math.floor(left / size)
    if (count > 0) text += `${count}${name}`
    left -= count * size
  }
  return text || '0s'
}

const durationIn = (unit: DurationUnit, least: string, most: string) =>
  z.preprocess(
    (value) => (typeof value === 'string' ? (parseDuration(value, unit) ?? value) : value),
    z
      .number()
      .int()
      .min(parseDuration(least, unit) ?? 0)
      .max(parseDuration(most, unit) ?? 0),
  )

const withUnit = (description: string, unit: DurationUnit): string =>
  `${description} A number without a unit is in ${unit === 's' ? 'seconds' : 'milliseconds'}.`

/**
 * A key that holds a duration; its value is a whole number in the unit. `fallback`, `least` and `most`: texts
 * as people write them.
 */
export const duration = (
  unit: DurationUnit,
  [fallback, least, most]: readonly [fallback: string, least: string, most: string],
  description: string,
) =>
  durationIn(unit, least, most)
    .prefault(fallback)
    .describe(withUnit(description, unit))
    .meta({ 'x-unit': unit })

/** The same where the default depends on other keys. */
export const optionalDuration = (
  unit: DurationUnit,
  [least, most]: readonly [least: string, most: string],
  description: string,
) => durationIn(unit, least, most).optional().describe(withUnit(description, unit)).meta({ 'x-unit': unit })
