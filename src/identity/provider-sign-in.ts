// The round trip to an identity provider: out only by a form of ours, back only into the browser that went.
import { sameText } from '../kit/bytes.ts'
import { personKey } from '../kit/person-key.ts'
import { aboutRequest } from '../kit/refusal-log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { KeepTokens } from '../ports/connections.ts'
import type { Audit, Handler, Limit } from '../ports/rooms.ts'
import { aimOf, loginPath, type Aim } from './aim.ts'
import { seeOther, type Arrive } from './arrival.ts'
import type { Browsers } from './browser.ts'
import type { Offers } from './offer.ts'
import type { Bar, IdentityProvider } from './provider.ts'
import { createRoundTrips, type TripRecord } from './round-trips.ts'

export interface ProviderSignInDeps {
  readonly runtime: Parameters<typeof createRoundTrips>[0]
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
  const trips = createRoundTrips(runtime)

  const refuseOtherBrowser = async (request: Request, trip: TripRecord, { ip, requestId }: Parameters<Handler>[1]): Promise<void> => {
    const browser = await browsers.id(request)
    if (browser !== undefined && sameText(browser, trip.browser)) return
    record({ event: 'callback.other-browser', reason: 'callback_browser_mismatch', provider: trip.provider, ip, request_id: requestId })
    throw new Refusal('login.other-browser', 'callback_browser_mismatch', { about: { provider: trip.provider }, page: signInAgain({}, 'Sign in with this browser') })
  }

  return {
    async begin(request, visit) {
      const aim = aimOf(await browsers.ownForm(request))
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
      if (!state || second !== undefined) throw new Refusal('login.state-unknown', 'state missing or repeated', { page: signInAgain({}) })
      const kept = await trips.read(state)
      const provider = kept && providers.get(kept.provider)
      const named = lastSegment(request)
      if (!provider || (named !== 'callback' && named !== kept.provider)) throw new Refusal('login.state-unknown', 'state unknown or expired', { page: signInAgain({}) })
      await refuseOtherBrowser(request, kept, visit)
      // Single use, whatever follows: of two parallel callbacks one goes on.
      if (!(await trips.take(state))) throw new Refusal('login.state-unknown', 'state already used', { page: signInAgain({}) })
      const about = { provider: provider.id, flow: kept.aim.flow }
      const { person, tokens, bar } = await provider.finish({ answer: url.searchParams, state, trip: kept.trip, retry: loginPath(kept.aim) }).catch((error: unknown) => {
        throw aboutRequest(error, about)
      })
      if (bar) throw aboutRequest(notAllowed(person.email ?? person.login ?? person.subject, bar, kept.aim), { ...about, person: personKey(person) })
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
        { name: 'Allowed accounts', value: hint },
      ],
      onward: { label: 'Use another account', href: loginPath({ ...aim, again: 'switch' }) },
    },
  })
