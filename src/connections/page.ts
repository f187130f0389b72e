// The page where people see, connect, choose and disconnect their accounts at one upstream.
import { Refusal } from '../kit/refusal.ts'
import type { ConnectUpstreamView, Pages } from '../ports/pages.ts'
import type { Handler, Session, Sessions } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { type Accounts, type AccountStore, isElsewhere } from './accounts.ts'
import { connectPath, ownerMark } from './ask-person.ts'
import type { Demands } from './demand.ts'
import { onwardPath } from './form.ts'
import { signInPath, upstreamAt } from './page-place.ts'
import { seeOther } from './trips.ts'
import { type Upstream, upstreamOf } from './upstream.ts'

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

const viewOf = (upstream: Upstream, { description, asks }: About, session: Session, kept: Accounts | undefined, returnTo: string | undefined): ConnectUpstreamView => ({
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

export const createConnectPage = ({ runtime, directory, sessions, pages, accounts, asks }: ConnectPageDeps): ConnectPage => ({
  async page(request) {
    const url = new URL(request.url)
    const upstream = upstreamAt(directory, url)
    const here = `${url.pathname}${url.search}`
    const session = await sessions.of(request)
    if (!session) return seeOther(signInPath(here))
    const owner = url.searchParams.get('for')
    // MCP Elicitation, "Phishing": whoever opens the link must be the person whose client was given it.
    if (owner !== null && owner !== (await ownerMark(runtime, session.person, upstream.id)))
      throw new Refusal('connection.other-person', upstream.id, { page: { onward: { label: 'Use another account', href: signInPath(here, true) } } })
    const kept = await accounts.read(accounts.idOf(session.person, upstream.id))
    const service = directory.service(upstream.id)
    // The link of a call that was refused, and an account that was connected before, say that it asks.
    const known = owner !== null || (kept?.accounts.list.length ?? 0) > 0 || !service
    const about = { description: service?.description ?? '', asks: known ? 'account' : await asks(service, upstream) } as const
    const onward = onwardPath(url.searchParams.get('return_to'))
    return pages.connectUpstream(viewOf(upstream, about, session, kept?.accounts, onward))
  },

  start(request) {
    const wanted = new URL(request.url).searchParams.get('server')
    if (!wanted) throw new Refusal('request.malformed', 'server parameter missing', { say: 'Missing server parameter' })
    const named = directory.service(wanted) ?? directory.services.find((service) => upstreamOf(service)?.url.host === wanted.toLowerCase())
    if (!named) throw new Refusal('request.malformed', wanted.slice(0, 100), { say: 'Unknown server' })
    return Promise.resolve(seeOther(connectPath(named.id)))
  },
})
