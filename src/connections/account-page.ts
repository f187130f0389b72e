// The page where people see, connect, choose and disconnect their accounts at one upstream.
import { sameText } from '../kit/bytes.ts'
import { type Form, foreignSender, readForm } from '../kit/form.ts'
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import { sameOriginPath } from '../kit/urls.ts'
import type { Audit, Handler, Limit, BrowserSession, Sessions } from '../ports/modules.ts'
import type { ConnectUpstreamView, Pages } from '../ports/pages.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime, RequestContext } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import type { AccessTokens } from './access-tokens.ts'
import type { Demands } from './account-required.ts'
import {
  type Account,
  type AccountStore,
  type Accounts,
  accountIn,
  isElsewhere,
  withoutAccount,
} from './accounts.ts'
import type { StartAuthorization } from './authorize.ts'
import type { Revoke } from './client-credentials.ts'
import { connectPath, ownerMark } from './consent-required.ts'
import { seeOther } from './pending-authorizations.ts'
import { type AuthorizedUpstream, isPersonal, upstreamOf } from './upstream.ts'

// The form of the connect page: read within bounds, and only from our own page in the session it was shown to.

/** The fields, one value each. Throws `connection.form` for a form of another site or session (RFC 9700 §4.7). */
export const readOwnForm = async (
  request: Request,
  session: BrowserSession,
  origins: readonly string[],
): Promise<Form> => {
  const foreign = foreignSender(request, origins)
  if (foreign !== undefined) throw new Refusal('connection.form', foreign)
  const form = await readForm(request)
  if (!sameText(form.get('csrf') ?? '', session.csrf))
    throw new Refusal('connection.form', 'csrf field missing or wrong')
  return form
}

/** What a person may call an account; the first one needs no name. */
export const accountName = (text: string | undefined): string => {
  const name = (text ?? '').trim()
  if (name === '') return 'default'
  if (name.length > 60 || /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(name))
    throw new Refusal('request.malformed', 'account label too long or contains control characters', {
      say: 'An account label has at most 60 characters and no control characters.',
    })
  return name
}

/** A page of this gateway to go on to: the authorization that waits, or a page of people's own. */
export const onwardPath = (raw: string | null | undefined): string | undefined => {
  const path = sameOriginPath(raw ?? '')
  return path !== undefined && /^\/(?:$|connect\/|oauth\/consent\?flow=[\w-]+$)/.test(path) ? path : undefined
}

// Which upstream a page under /connect is about, and the ways to and from it.

/** Throws `connection.unknown` for a service that nobody connects an account to. */
export const upstreamAt = (directory: Directory, url: URL): AuthorizedUpstream => {
  const id = url.pathname.slice('/connect/'.length)
  const service = directory.service(id)
  const upstream = service && upstreamOf(service)
  if (!upstream || !isPersonal(upstream) || !service.authRequired)
    throw new Refusal('connection.unknown', id.slice(0, 100))
  return upstream
}

export const pagePath = (service: string, returnTo?: string): string =>
  `${connectPath(service)}${returnTo === undefined ? '' : `?return_to=${encodeURIComponent(returnTo)}`}`

/** Signing in, and back to this page; `switching`: as somebody else. */
export const signInPath = (path: string, switching = false): string =>
  `/login?${switching ? 'switch=1&' : ''}return_to=${encodeURIComponent(path)}`

export interface ConnectPage {
  /** GET /connect/:service */
  readonly page: Handler
  /** GET /oauth/start?server=ID or host */
  readonly start: Handler
}

export interface ConnectPageDeps {
  readonly runtime: Pick<Runtime, 'keys'>
  readonly directory: Directory
  readonly sessions: Sessions
  readonly pages: Pages
  readonly accounts: AccountStore
  readonly asks: Demands['asks']
}

interface About {
  readonly description: string
  readonly asks: ConnectUpstreamView['asks']
}

const viewOf = (
  upstream: AuthorizedUpstream,
  { description, asks }: About,
  session: BrowserSession,
  kept: Accounts | undefined,
  returnTo: string | undefined,
): ConnectUpstreamView => ({
  service: { id: upstream.id, name: upstream.name, description },
  host: upstream.url.host,
  asks,
  introduces: upstream.auth.client_id === undefined,
  person: session.person,
  csrf: session.csrf,
  switchAccount: signInPath(connectPath(upstream.id), true),
  ...(returnTo === undefined ? {} : { returnTo }),
  accounts: (kept?.list ?? []).map((account) => ({
    name: account.name,
    issuer: account.issuer,
    scopes: account.granted,
    wanted: account.wanted ?? [],
    connectedAt: account.connectedAt,
    renewedAt: account.since,
    ended: account.ended !== undefined || isElsewhere(account, upstream.origin),
    chosen: account.name === kept?.chosen,
  })),
})

export const createConnectPage = ({
  runtime,
  directory,
  sessions,
  pages,
  accounts,
  asks,
}: ConnectPageDeps): ConnectPage => ({
  async page(request) {
    const url = new URL(request.url)
    const upstream = upstreamAt(directory, url)
    const here = `${url.pathname}${url.search}`
    const session = await sessions.of(request)
    if (!session) return seeOther(signInPath(here))
    const owner = url.searchParams.get('for')
    // MCP Elicitation, "Phishing": whoever opens the link must be the person whose client was given it.
    if (owner !== null && owner !== (await ownerMark(runtime, session.person, upstream.id)))
      throw new Refusal('connection.other-person', upstream.id, {
        page: { onward: { label: 'Use another account', href: signInPath(here, true) } },
      })
    const kept = await accounts.read(accounts.idOf(session.person, upstream.id))
    const service = directory.service(upstream.id)
    // The link of a call that was refused, and an account that was connected before, say that it asks.
    const known = owner !== null || (kept?.accounts.list.length ?? 0) > 0 || !service
    const about = {
      description: service?.description ?? '',
      asks: known ? 'account' : await asks(service, upstream),
    } as const
    const onward = onwardPath(url.searchParams.get('return_to'))
    return pages.connectUpstream(viewOf(upstream, about, session, kept?.accounts, onward))
  },

  start(request) {
    const wanted = new URL(request.url).searchParams.get('server')
    if (!wanted)
      throw new Refusal('request.malformed', 'server parameter missing', { say: 'Missing server parameter' })
    const named =
      directory.service(wanted) ??
      directory.services.find((service) => upstreamOf(service)?.url.host === wanted.toLowerCase())
    if (!named) throw new Refusal('request.malformed', wanted.slice(0, 100), { say: 'Unknown server' })
    return Promise.resolve(seeOther(connectPath(named.id)))
  },
})

// Taking an account out of the wallet, and its tokens out of the world.

/** Never rejects for what the authorization server does: the account is gone here in any case. */
export type Disconnect = (person: Person, upstream: AuthorizedUpstream, account: string) => Promise<void>

interface DisconnectDeps {
  readonly runtime: Pick<Runtime, 'defer'>
  readonly accounts: AccountStore
  readonly wallet: AccessTokens
  readonly revoke: Revoke
}

export const createDisconnect = ({ runtime, accounts, wallet, revoke }: DisconnectDeps): Disconnect => {
  const takeBack = async (id: string, account: Account, upstream: AuthorizedUpstream): Promise<void> => {
    const secrets = await accounts.open(id, account)
    if (secrets) await revoke(id, account, secrets, upstream)
  }
  return async (person, upstream, name) => {
    const id = accounts.idOf(person, upstream.id)
    let removed: Account | undefined
    await accounts.change(id, (current) => {
      removed = accountIn(current, name)
      return current && removed && withoutAccount(current, name)
    })
    wallet.forget(person, upstream.id)
    // Nobody waits for the other side, which may be slow; what was removed is used by nobody any more.
    if (removed) runtime.defer(takeBack(id, removed, upstream))
  }
}

// What the buttons of the connect page do: connect (anew as a client, too), choose, disconnect.

export interface AccountActionsDeps {
  readonly directory: Directory
  readonly sessions: Sessions
  readonly accounts: AccountStore
  readonly wallet: AccessTokens
  readonly depart: StartAuthorization
  readonly disconnect: Disconnect
  readonly limit: Limit
  readonly record: Audit
}

interface Order {
  readonly upstream: AuthorizedUpstream
  readonly session: BrowserSession
  readonly account: string
  readonly returnTo: string | undefined
  readonly context: RequestContext
}

/** Answers where the browser goes next. */
type Action = (order: Order) => Promise<string>

/** POST /connect/:service with csrf, action=connect|anew|disconnect|choose, account and return_to */
export const createAccountActions = ({
  directory,
  sessions,
  accounts,
  wallet,
  depart,
  disconnect,
  limit,
  record,
}: AccountActionsDeps): Handler => {
  const connect = async ({ returnTo, ...order }: Order, anew: boolean): Promise<string> => {
    await limit('authorize', { ip: order.context.ip })
    return depart({ ...order, returnTo: returnTo ?? pagePath(order.upstream.id), anew })
  }
  const actions: Readonly<Record<string, Action>> = {
    connect: (order) => connect(order, false),
    anew: (order) => connect(order, true),
    async disconnect({ upstream, session, account, returnTo, context }) {
      await disconnect(session.person, upstream, account)
      record({
        event: 'connection.removed',
        service: upstream.id,
        account,
        person: personKey(session.person),
        ip: context.ip,
        request_id: context.requestId,
      })
      return pagePath(upstream.id, returnTo)
    },
    async choose({ upstream, session, account, returnTo }) {
      const id = accounts.idOf(session.person, upstream.id)
      await accounts.change(id, (current) =>
        current && accountIn(current, account) ? { ...current, chosen: account } : undefined,
      )
      wallet.forget(session.person, upstream.id)
      return pagePath(upstream.id, returnTo)
    },
  }

  return async (request, context) => {
    const upstream = upstreamAt(directory, new URL(request.url))
    const session = await sessions.of(request)
    if (!session)
      throw new Refusal('connection.form', 'session cookie missing or expired', {
        page: { onward: { label: 'Sign in', href: signInPath(pagePath(upstream.id)) } },
      })
    const form = await readOwnForm(request, session, directory.origins)
    const action = form.get('action') ?? ''
    if (!Object.hasOwn(actions, action)) throw new Refusal('request.malformed', 'action unknown')
    const location = await actions[action]?.({
      upstream,
      session,
      account: accountName(form.get('account')),
      returnTo: onwardPath(form.get('return_to')),
      context,
    })
    return new Response(null, {
      status: 303,
      headers: { location: location ?? '/', 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' },
    })
  }
}
