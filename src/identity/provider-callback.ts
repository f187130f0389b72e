// The round trip to an identity provider: out only by a form of ours, back only into the browser that went.
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { sealedRefusal } from '../kit/keyring.ts'
import { aboutRequest } from '../kit/log.ts'
import { personKey } from '../kit/person-key.ts'
import { keyMismatchOfRecord } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler, KeepTokens, Limit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { LoginCsrf } from './login-csrf.ts'
import type { DeniedReason, IdentityProvider, RoundTrip } from './providers/provider.ts'
import { type ReturnTarget, type CompleteSignIn, returnTargetOf, loginPath, seeOther } from './return-to.ts'
import type { FindSignInOptions } from './sign-in-options.ts'

// What is kept while a browser is away at an identity provider: `login-state:{digest of state}`, sealed, for ten minutes and one return.

const lifetimeMs = 600_000

export interface RoundTripRecord {
  readonly provider: string
  readonly trip: RoundTrip
  readonly aim: ReturnTarget
  /** Digest of the binding of the browser that went out. */
  readonly browser: string
}

export interface RoundTrips {
  /** 256 bits of chance, of which only a digest is kept. */
  newState(): string
  keep(state: string, record: RoundTripRecord): Promise<void>
  /** Undefined for a state that is unknown or expired. Throws `storage.sealed`. */
  read(state: string): Promise<RoundTripRecord | undefined>
  /** Single use: of two parallel callbacks one gets true. */
  take(state: string): Promise<boolean>
}

const keyOf = ({ digest }: Pick<Runtime, 'digest'>, state: string): string => `login-state:${digest(state)}`

export const createRoundTrips = (
  runtime: Pick<Runtime, 'random' | 'store' | 'keys' | 'log' | 'digest'>,
): RoundTrips => ({
  newState: () => encodeBase64url(runtime.random(32)),
  async keep(state, record) {
    const key = keyOf(runtime, state)
    await runtime.store.put(key, await runtime.keys.seal(JSON.stringify(record), key), {
      ttlMs: lifetimeMs,
      only: 'absent',
    })
  },
  async read(state) {
    const key = keyOf(runtime, state)
    const entry = await runtime.store.get(key)
    const text = entry && (await runtime.keys.open(entry.value, key))
    if (entry && text === undefined) {
      const misfit = await keyMismatchOfRecord(runtime, key, entry.value)
      if (misfit) throw sealedRefusal(misfit)
    }
    return text === undefined ? undefined : (JSON.parse(text) as RoundTripRecord)
  },
  take: async (state) => (await runtime.store.take(keyOf(runtime, state))) !== undefined,
})

export interface ProviderSignInDeps {
  readonly runtime: Parameters<typeof createRoundTrips>[0]
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly offers: FindSignInOptions
  readonly browsers: LoginCsrf
  readonly arrive: CompleteSignIn
  readonly keepTokens: KeepTokens
  readonly limit: Limit
  readonly record: Audit
}

const lastSegment = (request: Request): string => new URL(request.url).pathname.split('/').at(-1) ?? ''

const signInAgain = (aim: ReturnTarget, label = 'Sign in again') => ({
  onward: { label, href: loginPath(aim) },
})

export const createProviderSignIn = ({
  runtime,
  providers,
  offers,
  browsers,
  arrive,
  keepTokens,
  limit,
  record,
}: ProviderSignInDeps): { readonly begin: Handler; readonly callback: Handler } => {
  const trips = createRoundTrips(runtime)

  const refuseOtherBrowser = async (
    request: Request,
    trip: RoundTripRecord,
    { ip, requestId }: Parameters<Handler>[1],
  ): Promise<void> => {
    const browser = await browsers.id(request)
    if (browser !== undefined && sameText(browser, trip.browser)) return
    record({
      event: 'callback.other-browser',
      reason: 'callback_browser_mismatch',
      provider: trip.provider,
      ip,
      request_id: requestId,
    })
    throw new Refusal('login.other-browser', 'callback_browser_mismatch', {
      about: { provider: trip.provider },
      page: signInAgain({}, 'Sign in with this browser'),
    })
  }

  return {
    async begin(request, visit) {
      const aim = returnTargetOf(await browsers.ownForm(request))
      await limit('sign-in-address', { ip: visit.ip })
      const id = lastSegment(request)
      const provider = (await offers(aim, request)).providers.find((candidate) => candidate.id === id)
      if (!provider) throw new Refusal('provider.unknown', id, { page: signInAgain(aim) })
      await limit('kept-flows', { ip: visit.ip })
      const state = trips.newState()
      const { url, trip } = await provider.begin({ state, again: aim.again, retry: loginPath(aim) })
      const browser = await browsers.bind(request)
      await trips.keep(state, { provider: id, trip, aim, browser: browser.id })
      return seeOther(url, [browser.cookie])
    },

    async callback(request, visit) {
      const url = new URL(request.url)
      const [state, second] = url.searchParams.getAll('state')
      if (!state || second !== undefined)
        throw new Refusal('login.state-unknown', 'state missing or repeated', { page: signInAgain({}) })
      const kept = await trips.read(state)
      const provider = kept && providers.get(kept.provider)
      const named = lastSegment(request)
      if (!provider || (named !== 'callback' && named !== kept.provider))
        throw new Refusal('login.state-unknown', 'state unknown or expired', { page: signInAgain({}) })
      await refuseOtherBrowser(request, kept, visit)
      // Single use, whatever follows: of two parallel callbacks one goes on.
      if (!(await trips.take(state)))
        throw new Refusal('login.state-unknown', 'state already used', { page: signInAgain({}) })
      const about = { provider: provider.id, flow: kept.aim.flow }
      const { person, tokens, bar } = await provider
        .finish({ answer: url.searchParams, state, trip: kept.trip, retry: loginPath(kept.aim) })
        .catch((error: unknown) => {
          throw aboutRequest(error, about)
        })
      if (bar)
        throw aboutRequest(notAllowed(person.email ?? person.login ?? person.subject, bar, kept.aim), {
          ...about,
          person: personKey(person),
        })
      await keepTokens({ ...tokens, person })
      return arrive({ person, aim: kept.aim, request, visit })
    },
  }
}

const notAllowed = (account: string, { why, hint }: DeniedReason, aim: ReturnTarget): Refusal =>
  new Refusal('person.not-allowed', why, {
    page: {
      facts: [
        { name: 'Account', value: account },
        { name: 'Allowed accounts', value: hint },
      ],
      onward: { label: 'Use another account', href: loginPath({ ...aim, again: 'switch' }) },
    },
  })
