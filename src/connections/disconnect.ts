// Taking an account out of the wallet, and its tokens out of the world where the server lets us (RFC 7009).
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type Account, type AccountStore, accountIn, withoutAccount } from './accounts.ts'
import { partyOf } from './machine.ts'
import { revokeTokens } from './tokens.ts'
import type { Upstream } from './upstream.ts'
import type { Wallet } from './wallet.ts'
import { createWeb } from './web.ts'

/** Never rejects for what the authorization server does: the account is gone here in any case. */
export type Disconnect = (person: Person, upstream: Upstream, account: string) => Promise<void>

interface DisconnectDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'log' | 'defer'>
  readonly accounts: AccountStore
  readonly wallet: Wallet
}

export const createDisconnect = ({ runtime, accounts, wallet }: DisconnectDeps): Disconnect => {
  const revoke = async (id: string, account: Account, upstream: Upstream): Promise<void> => {
    const secrets = account.revocationEndpoint === undefined ? undefined : await accounts.open(id, account)
    if (!secrets) return
    await revokeTokens(partyOf(account, upstream, secrets.clientSecret), secrets, createWeb(runtime, upstream).through).catch((error: unknown) =>
      runtime.log('warn', 'upstream.not-revoked', { service: upstream.id, issuer: account.issuer, why: error instanceof Error ? error.message : String(error) }),
    )
  }
  return async (person, upstream, name) => {
    const id = await accounts.idOf(person, upstream.id)
    let removed: Account | undefined
    await accounts.change(id, (current) => {
      removed = accountIn(current, name)
      return current && removed && withoutAccount(current, name)
    })
    wallet.forget(person, upstream.id)
    // Nobody waits for the other side, which may be slow; what was removed is used by nobody any more.
    if (removed) runtime.defer(revoke(id, removed, upstream))
  }
}
