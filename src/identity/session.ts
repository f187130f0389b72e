// A browser's session with the gateway: one cookie, one sealed record, two clocks (unused for too long, or
// simply too old).
import { encodeBase64url } from '../kit/bytes.ts'
import { sealedRefusal } from '../kit/keyring.ts'
import { createOpenedValues, keyMismatchOfRecord } from '../kit/records.ts'
import type { MayStillSignIn, BrowserSession, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import { dropCookie, readCookie, setCookie } from './login-csrf.ts'

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

interface SessionRecord {
  readonly person: Person
  readonly signedInAt: number
  /** When the idle clock was last set back. */
  readonly seenAt: number
  /** What forms of this session must carry. */
  readonly csrf: string
}

export interface BrowserSessions extends Sessions {
  /**
   * Begins a session and answers the `Set-Cookie` value. The id is always new and the request's former
   * session ends (session fixation).
   */
  start(person: Person, request: Request): Promise<string>
  /** Ends the request's session, if any, and answers the `Set-Cookie` value that removes the cookie. */
  end(request: Request): Promise<string>
}

export interface SessionsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly mayStillSignIn: MayStillSignIn
  /** The public origin. */
  readonly issuer: string
  /** A session unused for this long is over. */
  readonly idleMs: number
  /** A session older than this is over, however busy. */
  readonly absoluteMs: number
}

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

/**
 * Sessions in the store under `session:{digest of the cookie}`; neither the cookie nor the person can be read
 * from a dump.
 */
export const createSessions = ({
  runtime,
  mayStillSignIn,
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
    const person = mayStillSignIn(record.person)
    // Shorter lifetimes in a new configuration hold for old sessions too, and so does who is in it.
    if (!person || now >= record.seenAt + idleMs || now >= record.signedInAt + absoluteMs) return undefined
    if (now >= record.seenAt + slideEveryMs) {
      const slid = { ...record, seenAt: now }
      // Only over the version just read: a session that ended meanwhile stays ended.
      await runtime.store.put(keyOf(id), await sealed(id, slid), { ttlMs: ttl(slid, now), only: entry.mark })
    }
    return { id, person, signedInAt: record.signedInAt, csrf: record.csrf }
  }

  const forget = async (request: Request): Promise<void> => {
    const id = idOf(request)
    if (id) await runtime.store.take(keyOf(id))
  }

  return {
    of,
    async start(person, request) {
      const secret = encodeBase64url(runtime.random(32))
      const id = runtime.digest(secret)
      const now = runtime.now()
      const record = { person, signedInAt: now, seenAt: now, csrf: encodeBase64url(runtime.random(32)) }
      const text = await sealed(id, record)
      await forget(request)
      await runtime.store.put(keyOf(id), text, { ttlMs: ttl(record, now), only: 'absent' })
      return setCookie(cookie, secret, absoluteMs)
    },
    async end(request) {
      await forget(request)
      return dropCookie(cookie)
    },
  }
}
