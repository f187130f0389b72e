// Pending authorizations at upstreams: what must not change until the browser is back, and that it is the
// same browser.
import type * as oauth from 'oauth4webapi'
import { encodeBase64url } from '../kit/bytes.ts'
import { personKey, createRecords } from '../kit/records.ts'
import { Refusal, type RefusalCode } from '../kit/refusal.ts'
import { isCallbackOf } from '../kit/urls.ts'
import type { Audit, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime, RequestContext } from '../ports/runtime.ts'
import type { ClientRegistration } from './client-registration.ts'
import { connectPath } from './consent-required.ts'

/** `connect-state:{digest of state}`, sealed. */
export interface PendingAuthorization {
  readonly person: string
  /** The browser session that went out. */
  readonly session: string
  readonly service: string
  readonly account: string
  /** Origin of the MCP server. */
  readonly at: string
  readonly as: oauth.AuthorizationServer
  readonly registration: ClientRegistration
  readonly resource?: string
  readonly asked: readonly string[]
  /** PKCE code verifier (RFC 7636 §4.1). */
  readonly verifier: string
  /** A path of this gateway. */
  readonly returnTo: string
}

export interface PendingAuthorizations {
  /** Saves the authorization and returns its state: 256 random bits, of which only a digest is saved. */
  start(authorization: PendingAuthorization): Promise<string>
  /**
   * The authorization, once, for the browser session that began it. Throws `connection.state` and
   * `connection.other-browser`.
   */
  end(
    state: string,
    request: Request,
    context: RequestContext,
  ): Promise<{ readonly authorization: PendingAuthorization; readonly person: Person }>
}

interface PendingAuthorizationsDeps {
  readonly runtime: Pick<Runtime, 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly sessions: Sessions
  readonly record: Audit
}

const lifetimeMs = 600_000
/** Tells states of ours from those of identity providers, which may come to the same address. */
const statePrefix = 'up_'
export const isAuthorizationState = (state: string): boolean => state.startsWith(statePrefix)

type ReturnPath = Pick<PendingAuthorization, 'service' | 'returnTo'>

/** The link on a problem page: the page that the authorization started from. */
const onwardTo = ({ service, returnTo }: ReturnPath, label = 'Try again') => ({
  label,
  href: `${connectPath(service)}?return_to=${encodeURIComponent(returnTo)}`,
})

/** During a login: the client gets its code all the same, and its calls say what is missing. */
const withoutIt = (returnTo: string) =>
  returnTo.startsWith('/oauth/consent?')
    ? { instead: { label: 'Continue without this account', href: returnTo } }
    : {}

/** Nothing comes of trying again before somebody else has acted. */
const lasting: ReadonlySet<RefusalCode> = new Set([
  'upstream.credential',
  'connection.registration',
  'connection.untrusted',
  'connection.unknown',
])

/** Anything thrown, as a refusal whose page has a link to continue. */
export const withOnward = (thrown: unknown, returnPath: ReturnPath): Refusal => {
  const refusal =
    thrown instanceof Refusal
      ? thrown
      : new Refusal('fault', thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown))
  return new Refusal(refusal.code, refusal.why, {
    ...refusal.detail,
    page: {
      ...refusal.detail.page,
      onward: onwardTo(returnPath, lasting.has(refusal.code) ? 'Back to your account page' : undefined),
      ...withoutIt(returnPath.returnTo),
    },
  })
}

export const createPendingAuthorizations = ({
  runtime,
  sessions,
  record,
}: PendingAuthorizationsDeps): PendingAuthorizations => {
  const records = createRecords<PendingAuthorization>(runtime, 'connect-state:')
  return {
    async start(authorization) {
      const state = `${statePrefix}${encodeBase64url(runtime.random(32))}`
      await records.put(runtime.digest(state), authorization, { ttlMs: lifetimeMs, only: 'absent' })
      return state
    },
    async end(state, request, context) {
      const key = runtime.digest(state)
      const kept = await records.get(key)
      if (!kept) throw new Refusal('connection.state', 'state unknown or expired')
      const session = await sessions.of(request)
      if (session?.id !== kept.value.session || personKey(session.person) !== kept.value.person) {
        record({
          event: 'callback.other-browser',
          reason: 'connect_browser_mismatch',
          service: kept.value.service,
          ip: context.ip,
          request_id: context.requestId,
        })
        throw new Refusal('connection.other-browser', 'session cookie missing or of another session', {
          page: { onward: onwardTo(kept.value, 'Connect in this browser') },
        })
      }
      // Single use, whatever follows: of two parallel callbacks one goes on.
      if (!(await records.take(key))) throw new Refusal('connection.state', 'state already used')
      const { as, registration, service } = kept.value
      const { pathname } = new URL(request.url)
      // RFC 9700 §4.4.2.2: the answer of another authorization server, whose code this one must never see.
      if (!isCallbackOf(registration.redirectUri, pathname)) {
        const reason = 'redirect_uri_mismatch'
        record({
          event: 'callback.other-server',
          reason,
          service,
          issuer: as.issuer,
          request_id: context.requestId,
        })
        const why = `callback mismatch: ${as.issuer} returned to ${pathname}, expected ${registration.redirectUri}`
        throw withOnward(new Refusal('connection.untrusted', why), kept.value)
      }
      return { authorization: kept.value, person: session.person }
    },
  }
}

/** 303 (never 307: RFC 9700 §4.12), kept by no cache, telling the next site nothing. */
export const seeOther = (location: string): Response =>
  new Response(null, {
    status: 303,
    headers: { location, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' },
  })
