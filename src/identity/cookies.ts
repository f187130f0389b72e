// The gateway's own cookies: all `__Host-` (RFC 6265bis §4.1.3.2), so no other host of the domain can plant one.
import { trimWhitespace } from '../kit/http.ts'

/**
 * The value of the one cookie with that name; undefined when it is absent or sent more than once
 * (which of two values the server meant cannot be known, so neither counts). Names are taken as they are but for spaces and tabs: to a browser a name that
 * begins with U+00A0 does not begin with `__Host-`, and any host of the domain may plant it.
 */
export const readCookie = (request: Request, name: string): string | undefined => {
  const found: string[] = []
  for (const pair of (request.headers.get('cookie') ?? '').split(';')) {
    const at = pair.indexOf('=')
    if (at > 0 && trimWhitespace(pair.slice(0, at)) === name) found.push(trimWhitespace(pair.slice(at + 1)))
  }
  return found.length === 1 && found[0] !== '' ? found[0] : undefined
}

const attributes = 'Path=/; Secure; HttpOnly; SameSite=Lax'

/** A `Set-Cookie` value. `value` must be base64url-like text; the lifetime is in ms. */
export const setCookie = (name: string, value: string, lifetimeMs: number): string => `${name}=${value}; Max-Age=${Math.ceil(lifetimeMs / 1000)}; ${attributes}`

/** A `Set-Cookie` value that removes the cookie; browsers heed it only with the attributes `__Host-` demands. */
export const dropCookie = (name: string): string => `${name}=; Max-Age=0; ${attributes}`
