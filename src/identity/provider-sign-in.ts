// The round trip to an identity provider: out only by a form of ours, back only into the browser that went.
import { digest, encodeBase64url, sameText } from '../kit/bytes.ts'
import { misfitOfRecord } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { sealedRefusal } from '../kit/sealed-with.ts'
import type { KeepTokens } from '../ports/connections.ts'
import type { Audit, Handler, Limit } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import { aimOf, loginPath, type Aim } from './aim.ts'
import { seeOther, type Arrive } from './arrival.ts'
import type { Browsers } from './browser.ts'
import type { Offers } from './offer.ts'
import type { Bar, IdentityProvider, RoundTrip } from './provider.ts'

const tripLifetimeMs = 600_000

/** `login-state:{digest of state}`, sealed. */
interface TripRecord {
  readonly provider: string
  readonly trip: RoundTrip
  readonly aim: Aim
  /** Digest of the binding of the browser that went out. */
  readonly browser: string
}

export interface ProviderSignInDeps {
  readonly runtime: Pick<Runtime, 'random' | 'store' | 'keys' | 'log'>
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly offers: Offers
  readonly browsers: Browsers
  readonly arrive: Arrive
  readonly keepTokens: KeepTokens
  readonly limit: Limit
  readonly record: Audit
}

const lastSegment = (request: Request): string => new URL(request.url).pathname.split('/').at(-1) ?? ''

const signInAgain = (aim: Aim, label = 'Sign in again') => ({ onward: { label, href: loginPath(aim) } })

export const createProviderSignIn = ({ runtime, providers, offers, browsers, arrive, keepTokens, limit, record }: ProviderSignInDeps): { readonly begin: Handler; readonly callback: Handler } => {
  const read = async (key: string): Promise<TripRecord | undefined> => {
    const entry = await runtime.store.get(key)
    const text = entry && (await runtime.keys.open(entry.value, key))
    if (entry && text === undefined) {
      const misfit = await misfitOfRecord(runtime, key, entry.value)
      if (misfit) throw sealedRefusal(misfit)
    }
    return text === undefined ? undefined : (JSON.parse(text) as TripRecord)
  }

  const refuseOtherBrowser = async (request: Request, trip: TripRecord, requestId: string): Promise<void> => {
    const browser = await browsers.id(request)
    if (browser !== undefined && sameText(browser, trip.browser)) return
    record({ event: 'callback.other-browser', reason: 'callback_browser_mismatch', provider: trip.provider, request_id: requestId })
    throw new Refusal('login.other-browser', 'callback_browser_mismatch', { page: signInAgain({}, 'Sign in in this browser') })
  }

  return {
    async begin(request, visit) {
      const aim = aimOf(await browsers.ownForm(request))
      await limit('sign-in-address', visit.ip)
      const id = lastSegment(request)
      const provider = (await offers(aim, request)).providers.find((candidate) => candidate.id === id)
      if (!provider) throw new Refusal('provider.unknown', id, { page: signInAgain(aim) })
      await limit('kept-flows', '')
      const state = encodeBase64url(runtime.random(32))
      const { url, trip } = await provider.begin({ state, again: aim.again, retry: loginPath(aim) })
      const browser = await browsers.bind(request)
      const key = `login-state:${await digest(state)}`
      const record: TripRecord = { provider: id, trip, aim, browser: browser.id }
      await runtime.store.put(key, await runtime.keys.seal(JSON.stringify(record), key), { ttlMs: tripLifetimeMs, only: 'absent' })
      return seeOther(url, [browser.cookie])
    },

    async callback(request, visit) {
      const url = new URL(request.url)
      const [state, second] = url.searchParams.getAll('state')
      if (!state || second !== undefined) throw new Refusal('login.state-unknown', 'no single state parameter', { page: signInAgain({}) })
      const key = `login-state:${await digest(state)}`
      const kept = await read(key)
      const provider = kept && providers.get(kept.provider)
      const named = lastSegment(request)
      if (!provider || (named !== 'callback' && named !== kept.provider)) throw new Refusal('login.state-unknown', 'unknown or expired state', { page: signInAgain({}) })
      await refuseOtherBrowser(request, kept, visit.requestId)
      // Single use, whatever follows: of two parallel callbacks one goes on.
      if (!(await runtime.store.take(key))) throw new Refusal('login.state-unknown', 'state was used already', { page: signInAgain({}) })
      const { person, tokens } = await provider.finish({ answer: url.searchParams, state, trip: kept.trip, retry: loginPath(kept.aim) })
      const bar = provider.bars(person)
      if (bar) throw notAllowed(person.email ?? person.login ?? person.subject, bar, kept.aim)
      await keepTokens({ ...tokens, person })
      return arrive({ person, aim: kept.aim, request, visit })
    },
  }
}

const notAllowed = (account: string, { why, hint }: Bar, aim: Aim): Refusal =>
  new Refusal('person.not-allowed', why, {
    page: {
      facts: [
        { name: 'Account', value: account },
        { name: 'Who is admitted', value: hint },
      ],
      onward: { label: 'Use another account', href: loginPath({ ...aim, again: 'switch' }) },
    },
  })
