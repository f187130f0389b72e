// What the buttons of the connect page do: connect (anew as a client, too), choose, disconnect.
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler, Limit, Session, Sessions } from '../ports/rooms.ts'
import type { Visit } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { type AccountStore, accountIn } from './accounts.ts'
import type { Depart } from './depart.ts'
import type { Disconnect } from './disconnect.ts'
import { accountName, onwardPath, readOwnForm } from './form.ts'
import { pagePath, signInPath, upstreamAt } from './page-place.ts'
import type { Upstream } from './upstream.ts'
import type { Wallet } from './wallet.ts'

export interface ActDeps {
  readonly directory: Directory
  readonly sessions: Sessions
  readonly accounts: AccountStore
  readonly wallet: Wallet
  readonly depart: Depart
  readonly disconnect: Disconnect
  readonly limit: Limit
  readonly record: Audit
}

interface Order {
  readonly upstream: Upstream
  readonly session: Session
  readonly account: string
  readonly returnTo: string | undefined
  readonly visit: Visit
}

/** Answers where the browser goes next. */
type Action = (order: Order) => Promise<string>

/** POST /connect/:service with csrf, action=connect|anew|disconnect|choose, account and return_to */
export const createAct = ({ directory, sessions, accounts, wallet, depart, disconnect, limit, record }: ActDeps): Handler => {
  const connect = async ({ returnTo, ...order }: Order, anew: boolean): Promise<string> => {
    await limit('authorize', { ip: order.visit.ip })
    return depart({ ...order, returnTo: returnTo ?? pagePath(order.upstream.id), anew })
  }
  const actions: Readonly<Record<string, Action>> = {
    connect: (order) => connect(order, false),
    anew: (order) => connect(order, true),
    async disconnect({ upstream, session, account, returnTo, visit }) {
      await disconnect(session.person, upstream, account)
      record({ event: 'connection.removed', service: upstream.id, account, person: personKey(session.person), ip: visit.ip, request_id: visit.requestId })
      return pagePath(upstream.id, returnTo)
    },
    async choose({ upstream, session, account, returnTo }) {
      const id = accounts.idOf(session.person, upstream.id)
      await accounts.change(id, (current) => (current && accountIn(current, account) ? { ...current, chosen: account } : undefined))
      wallet.forget(session.person, upstream.id)
      return pagePath(upstream.id, returnTo)
    },
  }

  return async (request, visit) => {
    const upstream = upstreamAt(directory, new URL(request.url))
    const session = await sessions.of(request)
    if (!session) throw new Refusal('connection.form', 'session cookie missing or expired', { page: { onward: { label: 'Sign in', href: signInPath(pagePath(upstream.id)) } } })
    const form = await readOwnForm(request, session, directory.origins)
    const action = form.get('action') ?? ''
    if (!Object.hasOwn(actions, action)) throw new Refusal('request.malformed', 'action unknown')
    const location = await actions[action]?.({ upstream, session, account: accountName(form.get('account')), returnTo: onwardPath(form.get('return_to')), visit })
    return new Response(null, { status: 303, headers: { location: location ?? '/', 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' } })
  }
}
