// OpenID Connect Back-Channel Logout 1.0: a provider says, from server to server, that a person signed out there. What
// came of the session ends here or, where none is named, all access of the person.
import { readForm } from '../kit/http.ts'
import { createRecords, personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler, Limit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { IdentityProvider } from './providers/provider.ts'

/** `session`: `BrowserSession.providerSession`. */
export type EndPerson = (
  key: string,
  why: { readonly reason: string; readonly by: string },
  session?: string,
) => Promise<number>

export interface BackChannelLogoutDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log' | 'digest'>
  readonly providers: ReadonlyMap<string, IdentityProvider>
  /** Ends everything of a person, or of a session of theirs, and answers how many grants there were. */
  readonly endPerson: EndPerson
  readonly limit: Limit
  readonly record: Audit
}

export interface BackChannelLogout {
  /** POST /oauth/backchannel-logout/:provider */
  readonly logout: Handler
  /**
   * Keeps whose a session at a provider is: a logout token may name the session alone. Answers the digest of the
   * session by which its end is asked for.
   */
  remember(
    person: { readonly provider: string; readonly subject: string },
    session: string,
  ): Promise<string | undefined>
}

/** Sealed, under `provider-session:{digest of provider and session}`. */
interface ProviderSession {
  readonly subject: string
}

/** As long as a grant may live at most, and a sign-in before it. */
const keepMs = 400 * 86_400_000
const longestId = 255
const toleranceMs = 60_000

const logoutEvent = 'http://schemas.openid.net/event/backchannel-logout'
/** §2.4: `logout+jwt` is recommended and was not there at first. */
const types = ['logout+jwt', 'jwt']

interface LogoutToken {
  readonly jti: string
  /** Epoch ms. */
  readonly expiresAt: number
  readonly subject?: string
  readonly session?: string
}

const untrusted = (why: string): Refusal => new Refusal('provider.untrusted', `logout token: ${why}`)

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= longestId ? value : undefined

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** §2.6, from step 4 on: what is before is the provider's `verify`. */
const readClaims = (claims: Readonly<Record<string, unknown>>): LogoutToken => {
  const { sub, sid, jti, events, exp } = claims
  const [subject, session, id] = [textOf(sub), textOf(sid), textOf(jti)]
  if ((sub !== undefined && subject === undefined) || (sid !== undefined && session === undefined))
    throw untrusted('sub or sid is not a text of at most 255 characters')
  if (subject === undefined && session === undefined) throw untrusted('names neither sub nor sid')
  if (!isObject(events) || !isObject(events[logoutEvent]))
    throw untrusted('events has no back-channel logout')
  // So that no ID token can be passed off as one.
  if (Object.hasOwn(claims, 'nonce')) throw untrusted('has a nonce')
  if (id === undefined) throw untrusted('jti missing')
  return {
    jti: id,
    expiresAt: Number(exp) * 1000,
    ...(subject !== undefined && { subject }),
    ...(session !== undefined && { session }),
  }
}

const answer = (status: number, body?: Readonly<Record<string, string>>): Response =>
  new Response(body ? JSON.stringify(body) : null, {
    status,
    headers: {
      ...(body && { 'content-type': 'application/json' }),
      'cache-control': 'no-store',
      pragma: 'no-cache',
    },
  })

/** §2.8: 400 whatever it was. */
const refused = (refusal: Refusal): Response =>
  answer(
    400,
    refusal.status >= 500
      ? { error: 'temporarily_unavailable', error_description: 'The logout failed. Try again later.' }
      : { error: 'invalid_request', error_description: 'The logout token is not valid.' },
  )

/** Each token counts once: replayed later it would end what began since. */
const createSpend =
  ({ store, digest, now }: BackChannelLogoutDeps['runtime']) =>
  async (provider: string, { jti, expiresAt }: LogoutToken, work: () => Promise<void>): Promise<void> => {
    const key = `jti:${digest(`logout\n${provider}\n${jti}`)}`
    const ttlMs = Math.max(expiresAt + toleranceMs - now(), 1000)
    // Remembered for as long as it could be replayed.
    if (!(ttlMs <= keepMs)) throw untrusted('expires too late')
    if ((await store.put(key, '', { ttlMs, only: 'absent' })) === undefined)
      throw untrusted('was used before')
    await work().catch(async (error: unknown) => {
      // The provider may send it again.
      await store.take(key)
      throw error
    })
  }

export const createBackChannelLogout = (deps: BackChannelLogoutDeps): BackChannelLogout => {
  const { runtime, providers, endPerson, limit, record } = deps
  const sessions = createRecords<ProviderSession>(runtime, 'provider-session:')
  const spend = createSpend(runtime)
  const sessionId = (provider: string, session: string): string => runtime.digest(`${provider}\n${session}`)

  /** The person whom the token names; undefined for a session that is not known (§2.7: that is no failure). */
  const subjectOf = async (provider: string, token: LogoutToken): Promise<string | undefined> => {
    if (token.session === undefined) return token.subject
    const known = (await sessions.get(sessionId(provider, token.session)))?.value.subject
    if (known !== undefined && token.subject !== undefined && known !== token.subject)
      throw untrusted('sid and sub are not of one user')
    return token.subject ?? known
  }

  const logOut = async (request: Request, { id, verify }: IdentityProvider): Promise<void> => {
    const jwt = (await readForm(request)).get('logout_token')
    if (!jwt || !verify) throw untrusted('missing')
    const token = readClaims(await verify(jwt, types))
    await spend(id, token, async () => {
      const subject = await subjectOf(id, token)
      const person = subject === undefined ? undefined : personKey({ provider: id, subject })
      const session = token.session === undefined ? undefined : sessionId(id, token.session)
      const why = { reason: 'provider_logout', by: id }
      const grants = person === undefined ? 0 : await endPerson(person, why, session)
      record({
        event: 'backchannel.logout',
        provider: id,
        one_session: session !== undefined,
        grants,
        ...(person !== undefined && { person }),
      })
    })
  }

  return {
    async logout(request, { ip, requestId }) {
      const named = new URL(request.url).pathname.split('/').at(-1) ?? ''
      const provider = providers.get(named)
      if (!provider?.verify) throw new Refusal('provider.unknown', named.slice(0, 80))
      await limit('token', { ip, and: named })
      try {
        await logOut(request, provider)
        return answer(200)
      } catch (error) {
        if (!(error instanceof Refusal)) throw error
        const facts = { provider: named, why: error.message, ip, request_id: requestId }
        runtime.log('warn', 'logout.refused', facts)
        return refused(error)
      }
    },
    async remember({ provider, subject }, session) {
      if (textOf(session) === undefined) return undefined
      const key = sessionId(provider, session)
      await sessions.put(key, { subject }, { ttlMs: keepMs })
      return key
    },
  }
}
