// Reads the small forms of our own pages.
import { utf8Text } from './bytes.ts'
import { readMediaType, readWhole } from './http.ts'
import { Refusal } from './refusal.ts'

/** Field name → its one value. */
export type FormFields = ReadonlyMap<string, string>

const largest = 16_384

/**
 * An `application/x-www-form-urlencoded` body of at most 16 KiB. Throws for another media type and for a
 * field sent twice (which one counts would be a guess).
 */
export const readForm = async (request: Request): Promise<FormFields> => {
  const type = request.headers.get('content-type') ?? ''
  if (readMediaType(type)?.essence !== 'application/x-www-form-urlencoded') {
    throw new Refusal('request.media-type', type.slice(0, 80))
  }
  const form = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(utf8Text(await readWhole(request, largest)))) {
    if (form.has(name)) throw new Refusal('request.malformed', `field ${name.slice(0, 40)} sent twice`)
    form.set(name, value)
  }
  return form
}

// Who sent a request that changes something: a page of this gateway, or another site with somebody's cookies.

/** Whether the browser says that another site sent it (Fetch Metadata). Browsers that say nothing pass. */
export const isFromElsewhere = (headers: Headers): boolean => {
  const site = headers.get('sec-fetch-site')
  return site !== null && site !== 'same-origin' && site !== 'none'
}

/**
 * Why the sender is none of these origins (RFC 6454 §7.3: `null` is another site); undefined when it may be.
 */
export const foreignSender = ({ headers }: Request, origins: readonly string[]): string | undefined => {
  const origin = headers.get('origin')
  if (isFromElsewhere(headers)) return `Sec-Fetch-Site ${String(headers.get('sec-fetch-site')).slice(0, 40)}`
  return origin === null || origins.includes(origin) ? undefined : `Origin ${origin.slice(0, 200)}`
}
