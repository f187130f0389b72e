// Sign-in: the page, passwords, the magic link, providers, signing out.
import { sameText } from '../kit/bytes.ts'
import { isAskedAhead, readForm, seeOther } from '../kit/http.ts'
import { logText } from '../kit/log.ts'
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type {
  Audit,
  Blocks,
  DescribeFlow,
  Handler,
  Limit,
  ProvisionPerson,
  SaveProviderTokens,
} from '../ports/modules.ts'
import type { PagesFor } from '../ports/pages.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type LocalPeople, type LoginLinks, owner } from './local-users.ts'
import { type SignedIn, createProviderSignIn } from './provider-callback.ts'
import type { IdentityProvider } from './providers/provider.ts'
import {
  type BrowserSessions,
  type LoginCsrf,
  createLoginCsrf,
  dropCookie,
  readCookie,
  refuseForeign,
  setCookie,
} from './session.ts'
import {
  type CompleteSignIn,
  type FindSignInOptions,
  type ReturnTarget,
  type SignInOptions,
  createCompleteSignIn,
  createSignInOptions,
  destination,
  returnTargetFields,
  returnTargetOf,
  wayCookie,
} from './sign-in-request.ts'

export interface SignInDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly people: LocalPeople
  readonly links: LoginLinks
  readonly sessions: BrowserSessions
  readonly blocks: Pick<Blocks, 'covers'>
  readonly pages: PagesFor
  readonly describeFlow: DescribeFlow
  readonly keepTokens: SaveProviderTokens
  readonly signedIn: SignedIn
  readonly provision?: ProvisionPerson | undefined
  readonly limit: Limit
  readonly record: Audit
  /** Origins that are this gateway. */
  readonly origins: readonly string[]
}

export interface SignIn {
  /** GET /login */
  readonly page: Handler
  /** POST /login */
  readonly password: Handler
  /** POST /login/:provider */
  readonly begin: Handler
  /** GET /oauth/callback, /oauth/callback/:provider, /callback, /authorize/callback */
  readonly callback: Handler
  /** POST /logout */
  readonly logout: Handler
  /** GET /?t=… */
  readonly link: Handler
}

interface SignInParts extends SignInDeps {
  readonly csrf: LoginCsrf
  readonly optionsFor: FindSignInOptions
  readonly completeSignIn: CompleteSignIn
}

/**
 * Remembers for which authorization request the page was shown, so that a link opened from the terminal leads
 * back to it.
 */
const pendingCookie = '__Host-postern-pending'
const pendingMs = 600_000

interface PageContent {
  readonly target: ReturnTarget
  readonly options: SignInOptions
  readonly request: Request
  readonly problem?: string
  readonly username?: string
}

const drawPage = async (
  { csrf, pages }: SignInParts,
  { target, options, request, problem, username }: PageContent,
): Promise<Response> => {
  const binding = await csrf.bind(request)
  const { asking, providers, password, link } = options
  const lastUsed = readCookie(request, wayCookie)
  const page = pages(request).login({
    ...(asking && { asking }),
    providers: providers.map(({ id, name, direct }) => ({ id, name, anyEmail: direct !== undefined })),
    ...(lastUsed !== undefined && { lastUsed }),
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

/** Where a service needs another sign-in with that very provider, whoever is signed in. */
const signInAgainPage = (
  parts: SignInParts,
  { target, options, request }: PageContent,
  id: string,
): Promise<Response> => {
  const providers = options.providers.filter((provider) => provider.id === id)
  if (providers.length === 0) throw new Refusal('provider.unknown', id.slice(0, 100))
  const only = { ...options, providers, password: false, link: false }
  return drawPage(parts, { target: { ...target, again: 'login' }, options: only, request })
}

const signInPage =
  (parts: SignInParts): Handler =>
  async (request) => {
    const url = new URL(request.url)
    const target = returnTargetOf(url.searchParams)
    const options = await parts.optionsFor(target, request)
    const [, provider] = /^\/login\/([^/]+)$/.exec(url.pathname) ?? []
    if (provider !== undefined) return signInAgainPage(parts, { target, options, request }, provider)
    const session = await parts.sessions.of(request)
    const suits = session !== undefined && options.allowed(session.person.provider)
    if (suits && !target.again) return seeOther(destination(target))
    return drawPage(parts, { target, options, request })
  }

const passwordSignIn =
  (parts: SignInParts): Handler =>
  async (request, context) => {
    const { runtime, people, csrf, limit, record } = parts
    const form = await csrf.ownForm(request)
    const target = returnTargetOf(form)
    const options = await parts.optionsFor(target, request)
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
      return parts.completeSignIn({ person, target, request, context, cookies })
    }
    record({
      event: 'sign-in.failed',
      provider: 'local',
      user: logText(username, 128),
      ip: context.ip,
      request_id: context.requestId,
    })
    const problem = 'Invalid credentials. Check the username and the password, then try again.'
    return drawPage(parts, { target, options, request, problem, username })
  }

// The magic link that the terminal prints.

const linkSignIn =
  ({ links, describeFlow, completeSignIn, limit }: SignInParts): Handler =>
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

const signOut =
  ({ sessions, record, origins }: SignInParts): Handler =>
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

export const createSignIn = (deps: SignInDeps): SignIn => {
  const parts: SignInParts = {
    ...deps,
    csrf: createLoginCsrf(deps),
    optionsFor: createSignInOptions(deps),
    completeSignIn: createCompleteSignIn(deps),
  }
  return {
    page: signInPage(parts),
    password: passwordSignIn(parts),
    ...createProviderSignIn(parts),
    link: linkSignIn(parts),
    logout: signOut(parts),
  }
}
