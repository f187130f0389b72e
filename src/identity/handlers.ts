// The sign-in page, and what its password form does.
import { sameText } from '../kit/bytes.ts'
import { readForm } from '../kit/form.ts'
import { isAskedAhead } from '../kit/http.ts'
import { logText } from '../kit/log.ts'
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, DescribeFlow, Handler, Limit } from '../ports/modules.ts'
import type { Pages } from '../ports/pages.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { LocalPeople } from './local-users.ts'
import { type LoginCsrf, dropCookie, readCookie, refuseForeign, setCookie } from './login-csrf.ts'
import { type LoginLinks, owner } from './login-link.ts'
import {
  type ReturnTarget,
  type CompleteSignIn,
  returnTargetFields,
  returnTargetOf,
  destination,
  seeOther,
} from './return-to.ts'
import type { BrowserSessions } from './session.ts'
import type { SignInOptions, FindSignInOptions } from './sign-in-options.ts'

/** Remembers for which flow the page was shown, so that a link opened from the terminal finds its way back to it. */
export const pendingCookie = '__Host-postern-pending'
const pendingMs = 600_000

export interface SignInPageDeps {
  readonly runtime: Pick<Runtime, 'digest'>
  readonly sessions: BrowserSessions
  readonly people: LocalPeople
  readonly offers: FindSignInOptions
  readonly browsers: LoginCsrf
  readonly arrive: CompleteSignIn
  readonly pages: Pages
  readonly limit: Limit
  readonly record: Audit
}

interface Drawing {
  readonly aim: ReturnTarget
  readonly offer: SignInOptions
  readonly request: Request
  readonly problem?: string
  readonly username?: string
}

export const createSignInPage = ({
  runtime,
  sessions,
  people,
  offers,
  browsers,
  arrive,
  pages,
  limit,
  record,
}: SignInPageDeps): { readonly page: Handler; readonly password: Handler } => {
  const draw = async ({ aim, offer, request, problem, username }: Drawing): Promise<Response> => {
    const { csrf, cookie } = await browsers.bind(request)
    const view = {
      ...(offer.asking ? { asking: offer.asking } : {}),
      providers: offer.providers.map(({ id, name }) => ({ id, name })),
      password: offer.password,
      link: offer.link,
      hidden: { csrf, ...returnTargetFields(aim) },
      ...(problem === undefined ? {} : { problem }),
      ...(username === undefined ? {} : { username }),
    }
    const page = pages.login(view)
    page.headers.append('set-cookie', cookie)
    if (offer.link)
      page.headers.append(
        'set-cookie',
        aim.flow && offer.asking ? setCookie(pendingCookie, aim.flow, pendingMs) : dropCookie(pendingCookie),
      )
    return page
  }

  return {
    async page(request) {
      const aim = returnTargetOf(new URL(request.url).searchParams)
      const offer = await offers(aim, request)
      const session = await sessions.of(request)
      const suits =
        session !== undefined && (offer.only === undefined || offer.only === session.person.provider)
      if (suits && !aim.again) return seeOther(destination(aim))
      return draw({ aim, offer, request })
    },

    async password(request, visit) {
      const form = await browsers.ownForm(request)
      const aim = returnTargetOf(form)
      const offer = await offers(aim, request)
      if (!offer.password) throw new Refusal('provider.unknown', 'password sign-in is not configured')
      const username = form.get('username') ?? ''
      const known = await browsers.known(request, username)
      const account = runtime.digest(username.normalize('NFC'))
      const guess = { account, ip: visit.ip, known }
      await limit.guess(guess)
      const person = await people.check(username, form.get('password') ?? '', known !== undefined)
      await limit.guessed(guess, person !== undefined)
      if (person)
        return arrive({
          person,
          aim,
          request,
          visit,
          cookies: known === undefined ? [await browsers.remember(username)] : [],
        })
      record({
        event: 'sign-in.failed',
        provider: 'local',
        user: logText(username, 128),
        ip: visit.ip,
        request_id: visit.requestId,
      })
      return draw({
        aim,
        offer,
        request,
        problem: 'Invalid credentials. Check the username and the password, then try again.',
        username,
      })
    },
  }
}

// What opening the terminal's one-time link does.

export interface LinkSignInDeps {
  readonly links: LoginLinks
  readonly describeFlow: DescribeFlow
  readonly arrive: CompleteSignIn
  readonly limit: Limit
}

export const createLinkSignIn =
  ({ links, describeFlow, arrive, limit }: LinkSignInDeps): Handler =>
  async (request, visit) => {
    // A preview of the link (mail scanners ask by HEAD, browsers by prefetch) must not use it up.
    if (request.method !== 'GET' || isAskedAhead(request))
      throw new Refusal('request.method', 'login link needs GET without prefetch', {
        headers: { allow: 'GET' },
      })
    await limit('sign-in-address', { ip: visit.ip })
    if (!(await links.redeem(new URL(request.url).searchParams.get('t') ?? '')))
      throw new Refusal('login.link-spent', 'login link unknown, used or expired')
    const flow = readCookie(request, pendingCookie)
    const waiting = flow !== undefined && (await describeFlow(flow, request)) !== undefined
    return arrive({
      person: owner,
      aim: waiting ? { flow } : {},
      request,
      visit,
      cookies: [dropCookie(pendingCookie)],
    })
  }

// Ends a browser's session. Grants of clients live on: they have their own way to end.

export interface SignOutDeps {
  readonly sessions: BrowserSessions
  readonly record: Audit
  readonly origins: readonly string[]
}

export const createSignOut =
  ({ sessions, record, origins }: SignOutDeps): Handler =>
  async (request, visit) => {
    refuseForeign(request, origins)
    const form = await readForm(request)
    const session = await sessions.of(request)
    if (session && !sameText(form.get('csrf') ?? '', session.csrf))
      throw new Refusal('login.form', 'csrf field missing or wrong')
    const cookie = await sessions.end(request)
    if (session)
      record({
        event: 'sign-out',
        person: personKey(session.person),
        ip: visit.ip,
        request_id: visit.requestId,
      })
    return seeOther('/login', [cookie])
  }
