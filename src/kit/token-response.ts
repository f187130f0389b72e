// Token answers as they come in the wild, made what RFC 6749 §5 says, so that one reader understands them
// all.

const withBody = (response: Response, status: number, body: unknown): Response => {
  const headers = new Headers(response.headers)
  headers.set('content-type', 'application/json')
  // The library would read the challenge of a 401 instead of the error in its body.
  headers.delete('www-authenticate')
  return new Response(JSON.stringify(body), { status, headers })
}

type Members = Record<string, unknown>

const membersOf = (text: string, type: string): Members | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Members)
      : undefined
  } catch {
    // Before RFC 6749 such answers were forms, and some servers still send them.
    return type.startsWith('application/x-www-form-urlencoded')
      ? Object.fromEntries(new URLSearchParams(text))
      : undefined
  }
}

/**
 * Longest believed lifetime of an access token, seconds; a larger number is an error or a way to say "for
 * ever".
 */
const longest = 315_360_000

/**
 * Seconds, from numbers and from numbers as text. Undefined where the answer says nothing that makes sense:
 * then a token is good until it is refused.
 */
export const lifetimeOf = (value: unknown): number | undefined => {
  const seconds = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  if (typeof seconds !== 'number' || !Number.isFinite(seconds) || seconds < 1) return undefined
  return Math.min(Math.floor(seconds), longest)
}

// RFC 6749 §7.1: a type we do not know is a token we cannot use. These are words for a bearer token, or for
// nothing at all.
const bearerWords = new Set(['bearer', 'user', 'bot', 'access_token', ''])
const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined

/**
 * What of an answer is left out. An id_token is validated by nobody where who the person is is known already.
 */
export interface Normalizing {
  /** `aside`: under `id_token_aside`, for who validates it later. */
  readonly keepIdToken?: boolean | 'aside'
}

/** Of a token answer, the members that mean something, in the types that the RFC gives them. */
const tidied = (members: Members, { keepIdToken }: Normalizing): Members => {
  const type = textOf(members['token_type'])?.toLowerCase() ?? ''
  const kept: Members = { ...members, token_type: bearerWords.has(type) ? 'bearer' : type }
  for (const name of ['refresh_token', 'scope', 'id_token']) {
    const text = textOf(members[name])
    delete kept[name]
    if (text !== undefined) kept[name] = text
  }
  delete kept['expires_in']
  const seconds = lifetimeOf(members['expires_in'])
  if (seconds !== undefined) kept['expires_in'] = seconds
  if (keepIdToken === 'aside') kept['id_token_aside'] = kept['id_token']
  if (keepIdToken !== true) delete kept['id_token']
  return kept
}

/** Some servers number their clients, and send the number as one. */
const numberOf = (value: unknown): number | undefined =>
  Number.isSafeInteger(value) ? (value as number) : undefined

/** A secret without an end has none (RFC 7591 §3.2.1 wants that said with 0). */
const registered = (given: Members): Members => {
  const members = { ...given, client_id: String(given['client_id']) }
  const { client_secret: secret, client_secret_expires_at: end } = given
  if (textOf(secret) === undefined) return members
  const seconds = typeof end === 'string' && end.trim() !== '' ? Number(end) : end
  return {
    ...members,
    client_secret_expires_at:
      typeof seconds === 'number' && Number.isFinite(seconds) && seconds > 0 ? seconds : 0,
  }
}

/** An error that was sent with 200. RFC 6749 §5.2 wants 400. */
const isErrorSentAsSuccess = (status: number, members: Members): boolean =>
  status === 200 && textOf(members['error']) !== undefined && members['access_token'] === undefined

/** A registration (RFC 7591 §3.2.1), which has a client_id and no token. */
const isRegistration = (status: number, members: Members): boolean =>
  (status === 200 || status === 201) &&
  (textOf(members['client_id']) ?? numberOf(members['client_id'])) !== undefined &&
  members['access_token'] === undefined

/** A token, whether it was sent with 200 or as something that was created. */
const isToken = (status: number, members: Members): boolean =>
  status === 200 || (status === 201 && members['access_token'] !== undefined)

/**
 * An answer of a token, registration or revocation endpoint in its standard form: an error sent with 200
 * becomes 400 (RFC 6749 §5.2), a registration sent with 200 becomes 201 (RFC 7591 §3.2.1), odd members become
 * standard ones or go. What is not JSON is left as it is, and refused by the reader.
 */
export const normalized = async (response: Response, options: Normalizing = {}): Promise<Response> => {
  const { status } = response
  const text = await response.text()
  const members = membersOf(text, (response.headers.get('content-type') ?? '').toLowerCase())
  if (!members) return new Response(text === '' ? null : text, { status, headers: response.headers })
  if (isErrorSentAsSuccess(status, members)) return withBody(response, 400, members)
  if (isRegistration(status, members)) return withBody(response, 201, registered(members))
  if (isToken(status, members)) return withBody(response, 200, tidied(members, options))
  return withBody(response, status, members)
}
