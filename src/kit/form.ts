// Reads the small forms of our own pages.
import { utf8Text } from './bytes.ts'
import { readWhole } from './http.ts'
import { readMediaType } from './media-type.ts'
import { Refusal } from './refusal.ts'

/** Field name → its one value. */
export type Form = ReadonlyMap<string, string>

const largest = 16_384

/** An `application/x-www-form-urlencoded` body of at most 16 KiB. Throws for another media type and for a field sent twice (which one counts would be a guess). */
export const readForm = async (request: Request): Promise<Form> => {
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
