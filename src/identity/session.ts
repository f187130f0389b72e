// What ties a browser to the gateway, all in cookies: before there is a session, the binding that protects a
// sign-in from login CSRF; afterwards the session, one cookie and one sealed record with two clocks (unused for
// too long, or simply too old).
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { type FormFields, foreignSender, readForm, trimWhitespace } from '../kit/http.ts'
import { type KeyRing, sealedRefusal } from '../kit/keyring.ts'
import { createOpenedValues, createRecords, isNamed, keyMismatchOfRecord, personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { BrowserSession, MayStillSignIn, ProvisionPerson, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
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
const macText = async (keys: KeyRing, purpose: string, message: string): Promise<string> => {
  const mac = await keys.mac(purpose, message)
  if (!mac) throw new Refusal('fault', 'the key ring lost its current root')
  return `${keys.current}.${encodeBase64url(mac)}`
}

/** Whether the text is that code, under whichever root of the ring it names. */
const isMacText = async (keys: KeyRing, purpose: string, message: string, text: string): Promise<boolean> => {
  const [id = '', code = '', ...rest] = text.split('.')
  const mac = rest.length === 0 ? await keys.mac(purpose, message, id) : undefined
  return mac !== undefined && sameText(code, encodeBase64url(mac))
}

// Login CSRF protection: one cookie ties a sign-in to its browser, and forms prove that they came from our page.

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

// The session.

/**
 * Browsers keep cookies by host, whatever the port (RFC 6265 §8.5): on this computer, where gateways stand
 * beside one another, each has a name of its own, or signing in to one, to connect an account there, would
 * sign the person out of the other.
 */
export const sessionCookieOf = (issuer: string): string => {
  const { hostname, port } = new URL(issuer)
  return ['localhost', '127.0.0.1', '[::1]'].includes(hostname) && port !== ''
    ? `__Host-postern-session-${port}`
    : '__Host-postern-session'
}

export interface SessionRecord {
  readonly person: Person
  readonly signedInAt: number
  /** When the idle clock was last set back. */
  readonly seenAt: number
  /** What forms of this session must carry. */
  readonly csrf: string
  readonly providerSession?: string
}

export interface BrowserSessions extends Sessions {
  /**
   * Begins a session and answers the `Set-Cookie` value. The id is always new and the request's former
   * session ends (session fixation).
   */
  start(person: Person, request: Request, providerSession?: string): Promise<string>
  /** Ends the request's session, if any, and answers the `Set-Cookie` value that removes the cookie. */
  end(request: Request): Promise<string>
  /** Ends all sessions of a person, by key or verified e-mail address, and answers how many there were. */
  endOfPerson(name: string): Promise<number>
  /** Ends those that are meant, and answers whose they were. */
  endOf(
    matches: (person: Person, session: { readonly providerSession?: string }) => boolean,
  ): Promise<readonly Person[]>
}

export interface SessionsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly mayStillSignIn: MayStillSignIn
  /** Absent where no provider pushes groups. */
  readonly provision?: ProvisionPerson | undefined
  /** The public origin. */
  readonly issuer: string
  /** A session unused for this long is over. */
  readonly idleMs: number
  /** A session older than this is over, however busy. */
  readonly absoluteMs: number
}

/** Sessions last hours, so that there are few: they are looked through when somebody ends their own. */
const sessionsAtOnce = 1000

const keyOf = (id: string): string => `session:${id}`

/** A damaged session is mended by signing in again; one whose key is missing comes back with the key. */
const openSession = async (
  runtime: SessionsDeps['runtime'],
  key: string,
  sealed: string,
): Promise<SessionRecord | undefined> => {
  const text = await runtime.keys.open(sealed, key)
  const misfit = text === undefined ? await keyMismatchOfRecord(runtime, key, sealed) : undefined
  if (misfit?.kind === 'foreign') throw sealedRefusal(misfit)
  return text === undefined ? undefined : (JSON.parse(text) as SessionRecord)
}

const newSession = (
  { now, random }: SessionsDeps['runtime'],
  person: Person,
  providerSession: string | undefined,
): SessionRecord => {
  const began = { person, signedInAt: now(), seenAt: now(), csrf: encodeBase64url(random(32)) }
  return { ...began, ...(providerSession !== undefined && { providerSession }) }
}

const endSessionsOf =
  (runtime: SessionsDeps['runtime']): BrowserSessions['endOf'] =>
  async (matches) => {
    const ended: Person[] = []
    for await (const found of createRecords<SessionRecord>(runtime, keyOf('')).pages(sessionsAtOnce))
      for (const { id, value } of found)
        if (matches(value.person, value) && (await runtime.store.take(keyOf(id)))) ended.push(value.person)
    return ended
  }

/**
 * Sessions in the store under `session:{digest of the cookie}`; neither the cookie nor the person can be read
 * from a dump.
 */
export const createSessions = ({
  runtime,
  mayStillSignIn,
  provision,
  issuer,
  idleMs,
  absoluteMs,
}: SessionsDeps): BrowserSessions => {
  const cookie = sessionCookieOf(issuer)
  const opened = createOpenedValues<SessionRecord>(256)
  // Sliding the expiry with every request would turn every page view into a write.
  const slideEveryMs = Math.min(60_000, Math.floor(idleMs / 4))

  const idOf = (request: Request): string | undefined => {
    const secret = readCookie(request, cookie)
    // 32 random bytes are 43 characters; anything else was never ours and costs no look-up.
    return secret?.length === 43 ? runtime.digest(secret) : undefined
  }

  const sealed = (id: string, record: SessionRecord): Promise<string> =>
    runtime.keys.seal(JSON.stringify(record), keyOf(id))
  const ttl = (record: SessionRecord, now: number): number =>
    Math.min(idleMs, record.signedInAt + absoluteMs - now)

  const of = async (request: Request): Promise<BrowserSession | undefined> => {
    const id = idOf(request)
    const entry = id && (await runtime.store.get(keyOf(id)))
    if (!id || !entry) return undefined
    const known = opened.get(id, entry.mark)
    const record = known ?? (await openSession(runtime, keyOf(id), entry.value))
    if (!record) return undefined
    if (!known) opened.set(id, entry.mark, record)
    const now = runtime.now()
    const person = mayStillSignIn(provision ? await provision(record.person) : record.person)
    // Shorter lifetimes in a new configuration hold for old sessions too, and so does who is in it.
    if (!person || now >= record.seenAt + idleMs || now >= record.signedInAt + absoluteMs) return undefined
    if (now >= record.seenAt + slideEveryMs) {
      const slid = { ...record, seenAt: now }
      // Only over the version just read: a session that ended meanwhile stays ended.
      await runtime.store.put(keyOf(id), await sealed(id, slid), { ttlMs: ttl(slid, now), only: entry.mark })
    }
    const { signedInAt, csrf, providerSession } = record
    return { id, person, signedInAt, csrf, ...(providerSession !== undefined && { providerSession }) }
  }

  /** Whether there was one. */
  const forget = async (request: Request): Promise<boolean> => {
    const id = idOf(request)
    return id !== undefined && (await runtime.store.take(keyOf(id))) !== undefined
  }

  return {
    of,
    async start(person, request, providerSession) {
      const secret = encodeBase64url(runtime.random(32))
      const id = runtime.digest(secret)
      const record = newSession(runtime, person, providerSession)
      const text = await sealed(id, record)
      if (await forget(request)) runtime.log('debug', 'session.rotated', { person: personKey(person) })
      await runtime.store.put(keyOf(id), text, { ttlMs: ttl(record, record.seenAt), only: 'absent' })
      return setCookie(cookie, secret, absoluteMs)
    },
    async end(request) {
      await forget(request)
      return dropCookie(cookie)
    },
    endOf: endSessionsOf(runtime),
    endOfPerson: async (name) => (await endSessionsOf(runtime)((person) => isNamed(person, name))).length,
  }
}
