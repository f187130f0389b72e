// The sign-in page, and what its password form does.
import { logText } from '../kit/log-text.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Pages } from '../ports/pages.ts'
import type { Audit, Handler, Limit } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import { aimFields, aimOf, destination, type Aim } from './aim.ts'
import { seeOther, type Arrive } from './arrival.ts'
import type { Browsers } from './browser.ts'
import { dropCookie, setCookie } from './cookies.ts'
import type { LocalPeople } from './local.ts'
import type { Offer, Offers } from './offer.ts'
import type { BrowserSessions } from './session.ts'

/** Remembers for which flow the page was shown, so that a link opened from the terminal finds its way back to it. */
export const pendingCookie = '__Host-postern-pending'
const pendingMs = 600_000

export interface SignInPageDeps {
  readonly runtime: Pick<Runtime, 'digest'>
  readonly sessions: BrowserSessions
  readonly people: LocalPeople
  readonly offers: Offers
  readonly browsers: Browsers
  readonly arrive: Arrive
  readonly pages: Pages
  readonly limit: Limit
  readonly record: Audit
}

interface Drawing {
  readonly aim: Aim
  readonly offer: Offer
  readonly request: Request
  readonly problem?: string
  readonly username?: string
}

export const createSignInPage = ({ runtime, sessions, people, offers, browsers, arrive, pages, limit, record }: SignInPageDeps): { readonly page: Handler; readonly password: Handler } => {
  const draw = async ({ aim, offer, request, problem, username }: Drawing): Promise<Response> => {
    const { csrf, cookie } = await browsers.bind(request)
    const view = {
      ...(offer.asking ? { asking: offer.asking } : {}),
      providers: offer.providers.map(({ id, name }) => ({ id, name })),
      password: offer.password,
      link: offer.link,
      hidden: { csrf, ...aimFields(aim) },
      ...(problem === undefined ? {} : { problem }),
      ...(username === undefined ? {} : { username }),
    }
    const page = pages.login(view)
    page.headers.append('set-cookie', cookie)
    if (offer.link) page.headers.append('set-cookie', aim.flow && offer.asking ? setCookie(pendingCookie, aim.flow, pendingMs) : dropCookie(pendingCookie))
    return page
  }

  return {
    async page(request) {
      const aim = aimOf(new URL(request.url).searchParams)
      const offer = await offers(aim, request)
      const session = await sessions.of(request)
      const suits = session !== undefined && (offer.only === undefined || offer.only === session.person.provider)
      if (suits && !aim.again) return seeOther(destination(aim))
      return draw({ aim, offer, request })
    },

    async password(request, visit) {
      const form = await browsers.ownForm(request)
      const aim = aimOf(form)
      const offer = await offers(aim, request)
      if (!offer.password) throw new Refusal('provider.unknown', 'password sign-in is not configured')
      const username = form.get('username') ?? ''
      const known = await browsers.known(request, username)
      const account = runtime.digest(username.normalize('NFC'))
      const guess = { account, ip: visit.ip, known }
      await limit.guess(guess)
      const person = await people.check(username, form.get('password') ?? '', known !== undefined)
      await limit.guessed(guess, person !== undefined)
      if (person) return arrive({ person, aim, request, visit, cookies: known === undefined ? [await browsers.remember(username)] : [] })
      record({ event: 'sign-in.failed', provider: 'local', user: logText(username, 128), ip: visit.ip, request_id: visit.requestId })
      return draw({ aim, offer, request, problem: 'Invalid credentials. Check the username and the password, then try again.', username })
    },
  }
}
