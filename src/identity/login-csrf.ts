// Login CSRF protection, before there is a session: one cookie ties a sign-in to its browser, and forms prove
// that they came from our page.
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { type FormFields, foreignSender, readForm, trimWhitespace } from '../kit/http.ts'
import type { KeyRing } from '../kit/keyring.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'

// The gateway's own cookies: all `__Host-` (RFC 6265bis §4.1.3.2), so no other host of the domain can plant
// one.

/**
 * The value of the one cookie with that name; undefined when it is absent or sent more than once (which of
 * two values the server meant cannot be known, so neither counts). Names are taken as they are but for spaces
 * and tabs: to a browser a name that begins with U+00A0 does not begin with `__Host-`, and any host of the
 * domain may plant it.
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
export const setCookie = (name: string, value: string, lifetimeMs: number): string =>
  `${name}=${value}; Max-Age=${Math.ceil(lifetimeMs / 1000)}; ${attributes}`

/**
 * A `Set-Cookie` value that removes the cookie; browsers heed it only with the attributes `__Host-` demands.
 */
export const dropCookie = (name: string): string => `${name}=; Max-Age=0; ${attributes}`

// Message authentication codes as text, for cookies and forms: each names the root it was made under, so that
// a change of the root ends none of them.

/** `<root id>.<base64url of the code>`, under the current root. */
export const macText = async (keys: KeyRing, purpose: string, message: string): Promise<string> => {
  const mac = await keys.mac(purpose, message)
  if (!mac) throw new Refusal('fault', 'the key ring lost its current root')
  return `${keys.current}.${encodeBase64url(mac)}`
}

/** Whether the text is that code, under whichever root of the ring it names. */
export const isMacText = async (
  keys: KeyRing,
  purpose: string,
  message: string,
  text: string,
): Promise<boolean> => {
  const [id = '', code = '', ...rest] = text.split('.')
  const mac = rest.length === 0 ? await keys.mac(purpose, message, id) : undefined
  return mac !== undefined && sameText(code, encodeBase64url(mac))
}

const bindingCookie = '__Host-postern-login'
const knownCookie = '__Host-postern-known'
const bindingMs = 3_600_000
const knownMs = 180 * 86_400_000

export interface LoginCsrf {
  /**
   * The browser's binding, new when it has none: what its forms must carry, its digest for records, and the
   * cookie to send along.
   */
  bind(request: Request): Promise<{ readonly csrf: string; readonly id: string; readonly cookie: string }>
  /** Digest of the browser's binding; undefined for a browser without one. */
  id(request: Request): Promise<string | undefined>
  /** The form, when our own page in this very browser sent it. Throws `login.form`. */
  ownForm(request: Request): Promise<FormFields>
  /** An id of this browser, when that username signed in from it before. */
  knownBrowser(request: Request, username: string): Promise<string | undefined>
  /** `Set-Cookie` that makes the browser known for that username. */
  remember(username: string): Promise<string>
}

export interface LoginCsrfDeps {
  readonly runtime: Pick<Runtime, 'random' | 'keys' | 'digest'>
  /** Origins that are this gateway. */
  readonly origins: readonly string[]
}

const foreign = (why: string): Refusal =>
  new Refusal('login.form', why, { page: { onward: { label: 'Sign in', href: '/login' } } })

/**
 * Throws `login.form` when the browser says that another site sent the request (Fetch Metadata; RFC 6454
 * §7.3: `null` is another site).
 */
export const refuseForeign = (request: Request, origins: readonly string[]): void => {
  const sender = foreignSender(request, origins)
  if (sender !== undefined) throw foreign(sender)
}

export const createLoginCsrf = ({ runtime, origins }: LoginCsrfDeps): LoginCsrf => {
  const binding = (request: Request): string | undefined => {
    const value = readCookie(request, bindingCookie)
    return value && /^[A-Za-z0-9_-]{43}$/.test(value) ? value : undefined
  }
  const knownMessage = (username: string, nonce: string): string => `${nonce}.${username}`

  return {
    async bind(request) {
      // Kept while it lives, so that several tabs can sign in side by side.
      const value = binding(request) ?? encodeBase64url(runtime.random(32))
      return {
        csrf: await macText(runtime.keys, 'login-csrf', value),
        id: runtime.digest(value),
        cookie: setCookie(bindingCookie, value, bindingMs),
      }
    },
    async id(request) {
      const value = binding(request)
      return value && runtime.digest(value)
    },
    async ownForm(request) {
      refuseForeign(request, origins)
      const form = await readForm(request)
      const value = binding(request)
      if (!value) throw foreign('no binding cookie')
      if (!(await isMacText(runtime.keys, 'login-csrf', value, form.get('csrf') ?? '')))
        throw foreign('csrf does not belong to the binding cookie')
      return form
    },
    async knownBrowser(request, username) {
      const [nonce = '', ...proof] = (readCookie(request, knownCookie) ?? '').split('.')
      return (await isMacText(runtime.keys, 'known-browser', knownMessage(username, nonce), proof.join('.')))
        ? nonce
        : undefined
    },
    async remember(username) {
      const nonce = encodeBase64url(runtime.random(16))
      return setCookie(
        knownCookie,
        `${nonce}.${await macText(runtime.keys, 'known-browser', knownMessage(username, nonce))}`,
        knownMs,
      )
    },
  }
}
