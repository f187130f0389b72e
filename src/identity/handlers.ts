// The handlers of sign-in: the page, its password form, the magic link, and signing out.
import { sameText } from '../kit/bytes.ts'
import { readForm, isAskedAhead } from '../kit/http.ts'
import { logText } from '../kit/log.ts'
import { personKey } from '../kit/records.ts'
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

/**
 * Remembers for which authorization request the page was shown, so that a link opened from the terminal leads
 * back to it.
 */
export const pendingCookie = '__Host-postern-pending'
const pendingMs = 600_000

export interface SignInPageDeps {
  readonly runtime: Pick<Runtime, 'digest'>
  readonly sessions: BrowserSessions
  readonly people: LocalPeople
  readonly optionsFor: FindSignInOptions
  readonly csrf: LoginCsrf
  readonly completeSignIn: CompleteSignIn
  readonly pages: Pages
  readonly limit: Limit
  readonly record: Audit
}

interface PageContent {
  readonly target: ReturnTarget
  readonly options: SignInOptions
  readonly request: Request
  readonly problem?: string
  readonly username?: string
}

const drawPage = async (
  { csrf, pages }: SignInPageDeps,
  { target, options, request, problem, username }: PageContent,
): Promise<Response> => {
  const binding = await csrf.bind(request)
  const { asking, providers, password, link } = options
  const page = pages.login({
    ...(asking && { asking }),
    providers: providers.map(({ id, name }) => ({ id, name })),
    password,
    link,
    hidden: { csrf: binding.csrf, ...returnTargetFields(target) },
    ...(problem !== undefined && { problem }),
    ...(username !== undefined && { username }),
  })
  page.headers.append('set-cookie', binding.cookie)
  if (link)
    page.headers.append(
      'set-cookie',
      target.flow && asking ? setCookie(pendingCookie, target.flow, pendingMs) : dropCookie(pendingCookie),
    )
  return page
}

const signInPage =
  (deps: SignInPageDeps): Handler =>
  async (request) => {
    const target = returnTargetOf(new URL(request.url).searchParams)
    const options = await deps.optionsFor(target, request)
    const session = await deps.sessions.of(request)
    const suits =
      session !== undefined && (options.only === undefined || options.only === session.person.provider)
    if (suits && !target.again) return seeOther(destination(target))
    return drawPage(deps, { target, options, request })
  }

const passwordSignIn =
  (deps: SignInPageDeps): Handler =>
  async (request, context) => {
    const { runtime, people, csrf, limit, record } = deps
    const form = await csrf.ownForm(request)
    const target = returnTargetOf(form)
    const options = await deps.optionsFor(target, request)
    if (!options.password) throw new Refusal('provider.unknown', 'password sign-in is not configured')
    const username = form.get('username') ?? ''
    const known = await csrf.knownBrowser(request, username)
    const account = runtime.digest(username.normalize('NFC'))
    const guess = { account, ip: context.ip, known }
    await limit.guess(guess)
    const person = await people.check(username, form.get('password') ?? '', known !== undefined)
    await limit.guessed(guess, person !== undefined)
    if (person) {
      const cookies = known === undefined ? [await csrf.remember(username)] : []
      return deps.completeSignIn({ person, target, request, context, cookies })
    }
    record({
      event: 'sign-in.failed',
      provider: 'local',
      user: logText(username, 128),
      ip: context.ip,
      request_id: context.requestId,
    })
    const problem = 'Invalid credentials. Check the username and the password, then try again.'
    return drawPage(deps, { target, options, request, problem, username })
  }

export const createSignInPage = (
  deps: SignInPageDeps,
): { readonly page: Handler; readonly password: Handler } => ({
  page: signInPage(deps),
  password: passwordSignIn(deps),
})

// The handler of the magic link that the terminal prints.

export interface LinkSignInDeps {
  readonly links: LoginLinks
  readonly describeFlow: DescribeFlow
  readonly completeSignIn: CompleteSignIn
  readonly limit: Limit
}

export const createLinkSignIn =
  ({ links, describeFlow, completeSignIn, limit }: LinkSignInDeps): Handler =>
  async (request, context) => {
    // A preview of the link (mail scanners ask by HEAD, browsers by prefetch) must not use it up.
    if (request.method !== 'GET' || isAskedAhead(request))
      throw new Refusal('request.method', 'login link needs GET without prefetch', {
        headers: { allow: 'GET' },
      })
    await limit('sign-in-address', { ip: context.ip })
    if (!(await links.redeem(new URL(request.url).searchParams.get('t') ?? '')))
      throw new Refusal('login.link-spent', 'login link unknown, used or expired')
    const flow = readCookie(request, pendingCookie)
    const waiting = flow !== undefined && (await describeFlow(flow, request)) !== undefined
    return completeSignIn({
      person: owner,
      target: waiting ? { flow } : {},
      request,
      context,
      cookies: [dropCookie(pendingCookie)],
    })
  }

// Ends a browser's session. Grants of clients are not affected: they are revoked by the client.

export interface SignOutDeps {
  readonly sessions: BrowserSessions
  readonly record: Audit
  readonly origins: readonly string[]
}

export const createSignOut =
  ({ sessions, record, origins }: SignOutDeps): Handler =>
  async (request, context) => {
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
        ip: context.ip,
        request_id: context.requestId,
      })
    return seeOther('/login', [cookie])
  }
