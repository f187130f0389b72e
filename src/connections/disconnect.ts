// Taking an account out of the wallet, and its tokens out of the world.
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type Account, type AccountStore, accountIn, withoutAccount } from './accounts.ts'
import type { Revoke } from './machine.ts'
import type { Upstream } from './upstream.ts'
import type { Wallet } from './wallet.ts'

/** Never rejects for what the authorization server does: the account is gone here in any case. */
export type Disconnect = (person: Person, upstream: Upstream, account: string) => Promise<void>

interface DisconnectDeps {
  readonly runtime: Pick<Runtime, 'defer'>
  readonly accounts: AccountStore
  readonly wallet: Wallet
  readonly revoke: Revoke
}

export const createDisconnect = ({ runtime, accounts, wallet, revoke }: DisconnectDeps): Disconnect => {
  const takeBack = async (id: string, account: Account, upstream: Upstream): Promise<void> => {
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
