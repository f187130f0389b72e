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
