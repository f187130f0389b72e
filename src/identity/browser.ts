// What ties a sign-in to the browser it began in, before there is a session: one cookie, and forms that prove they came from our page.
import { encodeBase64url } from '../kit/bytes.ts'
import { foreignSender } from '../kit/own-page.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import { readCookie, setCookie } from './cookies.ts'
import { readForm, type Form } from '../kit/form.ts'
import { isMacText, macText } from './mac.ts'

const bindingCookie = '__Host-postern-login'
const knownCookie = '__Host-postern-known'
const bindingMs = 3_600_000
const knownMs = 180 * 86_400_000

export interface Browsers {
  /** The browser's binding, new when it has none: what its forms must carry, its digest for records, and the cookie to send along. */
  bind(request: Request): Promise<{ readonly csrf: string; readonly id: string; readonly cookie: string }>
  /** Digest of the browser's binding; undefined for a browser that began nothing here. */
  id(request: Request): Promise<string | undefined>
  /** The form, when our own page in this very browser sent it. Throws `login.form`. */
  ownForm(request: Request): Promise<Form>
  /** An id of this browser, when that username signed in from it before. */
  known(request: Request, username: string): Promise<string | undefined>
  /** `Set-Cookie` that makes the browser known for that username. */
  remember(username: string): Promise<string>
}

export interface BrowsersDeps {
  readonly runtime: Pick<Runtime, 'random' | 'keys' | 'digest'>
  /** Origins that are this gateway. */
  readonly origins: readonly string[]
}

const foreign = (why: string): Refusal => new Refusal('login.form', why, { page: { onward: { label: 'Sign in', href: '/login' } } })

/** Throws `login.form` when the browser says that another site sent the request (Fetch Metadata; RFC 6454 §7.3: `null` is another site). */
export const refuseForeign = (request: Request, origins: readonly string[]): void => {
  const sender = foreignSender(request, origins)
  if (sender !== undefined) throw foreign(sender)
}

export const createBrowsers = ({ runtime, origins }: BrowsersDeps): Browsers => {
  const binding = (request: Request): string | undefined => {
    const value = readCookie(request, bindingCookie)
    return value && /^[A-Za-z0-9_-]{43}$/.test(value) ? value : undefined
  }
  const knownMessage = (username: string, nonce: string): string => `${nonce}.${username}`

  return {
    async bind(request) {
      // Kept while it lives, so that several tabs can sign in side by side.
      const value = binding(request) ?? encodeBase64url(runtime.random(32))
      return { csrf: await macText(runtime.keys, 'login-csrf', value), id: runtime.digest(value), cookie: setCookie(bindingCookie, value, bindingMs) }
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
      if (!(await isMacText(runtime.keys, 'login-csrf', value, form.get('csrf') ?? ''))) throw foreign('csrf does not belong to the binding cookie')
      return form
    },
    async known(request, username) {
      const [nonce = '', ...proof] = (readCookie(request, knownCookie) ?? '').split('.')
      return (await isMacText(runtime.keys, 'known-browser', knownMessage(username, nonce), proof.join('.'))) ? nonce : undefined
    },
    async remember(username) {
      const nonce = encodeBase64url(runtime.random(16))
      return setCookie(knownCookie, `${nonce}.${await macText(runtime.keys, 'known-browser', knownMessage(username, nonce))}`, knownMs)
    },
  }
}
