// The form of the connect page: read within bounds, and only from our own page in the session it was shown to.
import { sameText } from '../kit/bytes.ts'
import { type Form, readForm } from '../kit/form.ts'
import { foreignSender } from '../kit/own-page.ts'
import { Refusal } from '../kit/refusal.ts'
import { sameOriginPath } from '../kit/urls.ts'
import type { Session } from '../ports/rooms.ts'

/** The fields, one value each. Throws `connection.form` for a form of another site or session (RFC 9700 §4.7). */
export const readOwnForm = async (request: Request, session: Session, origins: readonly string[]): Promise<Form> => {
  const foreign = foreignSender(request, origins)
  if (foreign !== undefined) throw new Refusal('connection.form', foreign)
  const form = await readForm(request)
  if (!sameText(form.get('csrf') ?? '', session.csrf)) throw new Refusal('connection.form', 'csrf field missing or wrong')
  return form
}

/** What a person may call an account; the first one needs no name. */
export const accountName = (text: string | undefined): string => {
  const name = (text ?? '').trim()
  if (name === '') return 'default'
  if (name.length > 60 || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name)) throw new Refusal('request.malformed', 'account label too long or contains control characters', { say: 'An account label has at most 60 characters and no control characters.' })
  return name
}

/** A page of this gateway to go on to: the authorization that waits, or a page of people's own. */
export const onwardPath = (raw: string | null | undefined): string | undefined => {
  const path = sameOriginPath(raw ?? '')
  return path !== undefined && /^\/(?:$|connect\/|oauth\/consent\?flow=[\w-]+$)/.test(path) ? path : undefined
}
