// The accounts of all people, for administrators: whose they are, how they stand, and the end of one.
import { exchangesSignIn } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit } from '../ports/modules.ts'
import type { ConnectionAdmin, ListedConnection, Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { AccessTokens } from './access-tokens.ts'
import {
  type Account,
  type AccountStore,
  type Accounts,
  accountIn,
  isElsewhere,
  serviceOf,
  withoutAccount,
} from './accounts.ts'
import { isOfProvider } from './provider-tokens.ts'
import type { Revoke } from './token-endpoint.ts'
import { type AuthorizedUpstream, isPersonal } from './upstream.ts'

export interface AccountListDeps {
  readonly runtime: Pick<Runtime, 'now' | 'defer' | 'digest'>
  readonly accounts: AccountStore
  readonly accessTokens: Pick<AccessTokens, 'forget'>
  readonly revoke: Revoke
  readonly upstreamFor: (service: string) => AuthorizedUpstream | undefined
  readonly record: Audit
}

/** They are looked through, so that no more of them are listed. */
const mostListed = 1000
/** Without a refresh token, a user has to connect again at the end: this long before, it is said. */
const soonMs = 7 * 86_400_000

type Standing = Pick<ListedConnection, 'state' | 'why'>

/** Nobody connects what a sign-in is exchanged for: the next call asks the company again. */
const endedState = ({ auth }: AuthorizedUpstream): Standing['state'] =>
  exchangesSignIn(auth) ? 'unused' : 'reconnect'

/** How it stands, by what was noted when it was used last: nobody is asked now. */
const standingOf = (
  account: Account,
  upstream: AuthorizedUpstream | undefined,
  { now, ofGateway }: { readonly now: number; readonly ofGateway: boolean },
): Standing => {
  const { ended, expiresAt, refreshable, wanted = [] } = account
  if (!upstream) return { state: 'unused', why: 'the service is not there anymore' }
  if (!ofGateway && !isPersonal(upstream) && !exchangesSignIn(upstream.auth))
    return { state: 'unused', why: `upstream_auth.type is ${upstream.auth.type} now` }
  if (ended !== undefined) return { state: endedState(upstream), why: ended }
  if (isElsewhere(account, upstream.origin))
    return { state: 'reconnect', why: `the service has moved to ${upstream.origin}` }
  if (!refreshable && expiresAt !== undefined && expiresAt <= now)
    return { state: 'reconnect', why: 'expired, without a refresh token' }
  if (wanted.length > 0)
    return { state: 'reconnect', why: `the server asks for more permissions: ${wanted.join(' ')}` }
  return {
    state: !refreshable && expiresAt !== undefined && expiresAt - now < soonMs ? 'expiring' : 'connected',
  }
}

/** Of keys of people, by the part of a record's ID that stands for them. */
const ownersBy = (
  { digest }: Pick<Runtime, 'digest'>,
  users: readonly string[],
): ReadonlyMap<string, string> =>
  new Map(['gateway:', ...users].map((key) => [digest(key), key === 'gateway:' ? 'gateway' : key]))

const ownerPart = (id: string): string => id.slice(0, id.indexOf(':'))

const personOf = (key: string): Person => {
  const [provider = '', ...subject] = key.split(':')
  return { provider, subject: subject.join(':'), groups: [] }
}

const createEnd =
  ({
    runtime,
    accounts,
    accessTokens,
    revoke,
    upstreamFor,
    record,
  }: AccountListDeps): ConnectionAdmin['end'] =>
  async (id, name, by) => {
    const service = serviceOf(id)
    let ended: { readonly account: Account; readonly owner?: string | undefined } | undefined
    // Tokens of identity providers end with sign-ins, not here.
    if (/^[\w-]+:[\w.-]+$/.test(id) && !isOfProvider(id))
      await accounts.change(id, (current) => {
        const account = accountIn(current, name)
        ended = account && { account, owner: current?.owner }
        return current && account && withoutAccount(current, name)
      })
    if (!ended)
      throw new Refusal('request.malformed', 'no such connection', {
        say: 'There is no such connection: it has ended.',
      })
    const { account, owner } = ended
    // What is in memory under an owner that nobody knows is read again within half a second.
    if (owner !== undefined) accessTokens.forget(personOf(owner), service)
    const whose = owner !== undefined && { person: owner }
    record({ event: 'connection.removed', service, account: account.name, ...whose, by })
    const takeBack = async (): Promise<void> => {
      const upstream = upstreamFor(service)
      const secrets = upstream && (await accounts.open(id, account))
      if (secrets) await revoke(id, account, secrets, upstream)
    }
    runtime.defer(takeBack())
  }

export const createConnectionAdmin = (deps: AccountListDeps): Omit<ConnectionAdmin, 'link'> => {
  const { runtime, accounts, upstreamFor } = deps

  const listed = (id: string, { owner, chosen, list }: Accounts, owners: ReadonlyMap<string, string>) => {
    const service = serviceOf(id)
    const upstream = upstreamFor(service)
    const user = owner ?? owners.get(ownerPart(id))
    return list.map((account): ListedConnection => {
      const { name, issuer, granted, connectedAt, since, expiresAt, refreshable } = account
      return {
        id,
        account: name,
        ...(user !== undefined && { user }),
        service,
        issuer,
        scopes: granted,
        connectedAt,
        renewedAt: since,
        ...(expiresAt !== undefined && { expiresAt }),
        renewable: refreshable,
        chosen: name === chosen,
        ...standingOf(account, upstream, { now: runtime.now(), ofGateway: user === 'gateway' }),
      }
    })
  }

  return {
    async list(users) {
      const owners = ownersBy(runtime, users)
      const connections: ListedConnection[] = []
      let truncated = false
      for await (const page of accounts.pages(mostListed)) {
        for (const { id, value } of page)
          if (!isOfProvider(id)) connections.push(...listed(id, value, owners))
        truncated = page.length === mostListed
        break
      }
      return { connections: connections.toSorted((a, b) => b.renewedAt - a.renewedAt), truncated }
    },
    end: createEnd(deps),
  }
}
