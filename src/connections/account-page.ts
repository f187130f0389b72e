// The page where people see, connect, choose and disconnect their accounts at one upstream.
import { readOwnForm, seeOther } from '../kit/http.ts'
import { exchangesSignIn, personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { sameOriginPath } from '../kit/urls.ts'
import type { Audit, Handler, Limit, BrowserSession, Sessions } from '../ports/modules.ts'
import type { ConnectUpstreamView, PagesFor } from '../ports/pages.ts'
import type { ConnectionAdmin, Person } from '../ports/people.ts'
import type { Runtime, RequestContext } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import type { AccessTokens } from './access-tokens.ts'
import {
  type Account,
  type AccountStore,
  type Accounts,
  accountIn,
  isElsewhere,
  withoutAccount,
} from './accounts.ts'
import type { AccountLinks } from './account-links.ts'
import { type StartAuthorization, connectionsPath } from './authorization.ts'
import { ownerMark } from './consent-required.ts'
import type { SignInStep } from './sign-in-step.ts'
import type { Revoke } from './token-endpoint.ts'
import { type AuthorizedUpstream, connectPath, isPersonal, upstreamOf } from './upstream.ts'

// The fields of the accounts page.

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

/** The page of this gateway that comes next: the pending authorization, or one of the person's own pages. */
export const onwardPath = (raw: string | null | undefined): string | undefined => {
  const path = sameOriginPath(raw ?? '')
  return path !== undefined && /^\/(?:$|connect\/|oauth\/consent\?flow=[\w-]+$)/.test(path) ? path : undefined
}

// The upstream of a page below /connect, and the paths to and from the page.

/** Throws `connection.unknown` for a service that nobody connects an account to. */
export const upstreamAt = (directory: Directory, url: URL): AuthorizedUpstream => {
  const id = url.pathname.slice('/connect/'.length)
  const service = directory.service(id)
  const upstream = service && upstreamOf(service)
  if (exchangesSignIn(service?.auth))
    throw new Refusal('connection.unknown', `${id}: upstream_auth.type is ${service?.auth?.type}`, {
      say: 'There is no account to connect: your company grants access to this service with your sign-in.',
    })
  if (!upstream || !isPersonal(upstream) || !service.authRequired)
    throw new Refusal('connection.unknown', id.slice(0, 100))
  return upstream
}

export const pagePath = (service: string, returnTo?: string): string =>
  `${connectPath(service)}${returnTo === undefined ? '' : `?return_to=${encodeURIComponent(returnTo)}`}`

/** The sign-in page, which leads back to this page. `switching`: for another person. */
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
  readonly pages: PagesFor
  readonly accounts: AccountStore
  readonly asks: SignInStep['asks']
  readonly links: Pick<AccountLinks, 'read'>
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
  links,
}: ConnectPageDeps): ConnectPage => ({
  async page(request) {
    const url = new URL(request.url)
    const upstream = upstreamAt(directory, url)
    const here = `${url.pathname}${url.search}`
    const session = await sessions.of(request)
    if (!session) return seeOther(signInPath(here))
    const link = url.searchParams.get('link')
    if (link !== null) {
      const account = await links.read(link, upstream.id, session.person)
      const view = viewOf(upstream, { description: '', asks: 'account' }, session, undefined, undefined)
      const forAccount = { name: account.name ?? account.subject, link }
      return pages(request).connectUpstream({ ...view, switchAccount: signInPath(here, true), forAccount })
    }
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
    return pages(request).connectUpstream(viewOf(upstream, about, session, kept?.accounts, onward))
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

/** Throws `connection.unknown` for a service that nobody connects an account to. */
export const createLink =
  (directory: Directory, links: Pick<AccountLinks, 'create'>): ConnectionAdmin['link'] =>
  async (service, owner) => {
    const { id } = upstreamAt(directory, new URL(connectPath(service), directory.issuer))
    return links.create(id, owner)
  }

// Disconnecting: the account is removed, and its tokens are revoked.

/** Never rejects because of the authorization server: the account is removed here in any case. */
export type Disconnect = (person: Person, upstream: AuthorizedUpstream, account: string) => Promise<void>

interface DisconnectDeps {
  readonly runtime: Pick<Runtime, 'defer'>
  readonly accounts: AccountStore
  readonly accessTokens: AccessTokens
  readonly revoke: Revoke
}

export const createDisconnect = ({ runtime, accounts, accessTokens, revoke }: DisconnectDeps): Disconnect => {
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
    accessTokens.forget(person, upstream.id)
    // The authorization server may be slow, and nobody needs to wait for it.
    if (removed) runtime.defer(takeBack(id, removed, upstream))
  }
}

// The actions of the accounts page: connect, connect as a new client, choose, disconnect.

export interface AccountActionsDeps {
  readonly directory: Directory
  readonly sessions: Sessions
  readonly accounts: AccountStore
  readonly accessTokens: AccessTokens
  readonly startAuthorization: StartAuthorization
  readonly disconnect: Disconnect
  readonly links: Pick<AccountLinks, 'take'>
  readonly limit: Limit
  readonly record: Audit
}

interface ActionRequest {
  readonly upstream: AuthorizedUpstream
  readonly session: BrowserSession
  readonly account: string
  readonly returnTo: string | undefined
  /** The service account that a link is for. */
  readonly owner?: Person
  readonly context: RequestContext
}

/** Resolves to the next URL of the browser. */
type Action = (request: ActionRequest) => Promise<string>

const createActions = ({
  accounts,
  accessTokens,
  startAuthorization,
  disconnect,
  limit,
  record,
}: AccountActionsDeps): Readonly<Record<string, Action>> => {
  const connect = async ({ returnTo, ...request }: ActionRequest, anew: boolean): Promise<string> => {
    await limit('authorize', { ip: request.context.ip })
    return startAuthorization({ ...request, returnTo: returnTo ?? pagePath(request.upstream.id), anew })
  }
  return {
    connect: (request) => connect(request, false),
    anew: (request) => connect(request, true),
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
      accessTokens.forget(session.person, upstream.id)
      return pagePath(upstream.id, returnTo)
    },
  }
}

/** POST /connect/:service with csrf, action=connect|anew|disconnect|choose, account and return_to */
export const createAccountActions = (deps: AccountActionsDeps): Handler => {
  const { directory, sessions, links } = deps
  const actions = createActions(deps)
  return async (request, context) => {
    const upstream = upstreamAt(directory, new URL(request.url))
    const session = await sessions.of(request)
    if (!session)
      throw new Refusal('connection.form', 'session cookie missing or expired', {
        page: { onward: { label: 'Sign in', href: signInPath(pagePath(upstream.id)) } },
      })
    const form = await readOwnForm(request, session.csrf, directory.origins, 'connection.form')
    const name = form.get('action') ?? ''
    const action = Object.hasOwn(actions, name) ? actions[name] : undefined
    if (!action) throw new Refusal('request.malformed', 'action unknown')
    const asked = { upstream, session, account: accountName(form.get('account')), context }
    const link = form.get('link')
    if (!link) return seeOther(await action({ ...asked, returnTo: onwardPath(form.get('return_to')) }))
    // Everything else that is done to accounts is done to one's own.
    if (action !== actions['connect'] && action !== actions['anew'])
      throw new Refusal('request.malformed', `${name} with a link`)
    const owner = await links.take(link, upstream.id, session.person)
    return seeOther(await action({ ...asked, owner, returnTo: connectionsPath }))
  }
}
