// The end of accounts that people connected, together with the access of their apps. The records go at once. The tokens
// are revoked where the authorization server announces an endpoint for it (RFC 7009 §2); elsewhere they expire.
import { personKey } from '../kit/records.ts'
import type { Audit, EndAccounts } from '../ports/modules.ts'
import type { AccountsOf, EndedAccounts } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { AccessTokens } from './access-tokens.ts'
import { type Account, type AccountStore, serviceOf } from './accounts.ts'
import { isOfProvider } from './provider-tokens.ts'
import type { Revoke } from './token-endpoint.ts'
import type { Partner } from './upstream.ts'

export interface EndAccountsDeps {
  readonly runtime: Pick<Runtime, 'defer' | 'timer'>
  readonly accounts: AccountStore
  readonly accessTokens: Pick<AccessTokens, 'forget'>
  readonly revoke: Revoke
  /** Undefined for a service or provider that is not configured any more. */
  readonly partnerFor: (service: string) => Partner | undefined
  readonly record: Audit
}

interface Removed {
  readonly id: string
  readonly account: Account
  /** Undefined while nobody knows. */
  revoked?: boolean
}

/** Requests to authorization servers at the same time, whoever they are. */
const atOnce = 8

const takeOut = async (
  { accounts, accessTokens, record }: EndAccountsDeps,
  { person, services }: AccountsOf,
  by: string,
): Promise<readonly Removed[]> => {
  const removed: Removed[] = []
  for await (const { id, accounts: taken } of accounts.takeAll(person, services)) {
    const service = serviceOf(id)
    accessTokens.forget({ ...person, groups: [] }, service)
    for (const account of taken.list) {
      removed.push({ id, account })
      if (!isOfProvider(id))
        record({
          event: 'connection.removed',
          service,
          account: account.name,
          person: personKey(person),
          by,
        })
    }
  }
  return removed
}

/** Resolves once each is known to be revoked or not. */
const revokeEach = async (
  { accounts, revoke, partnerFor }: EndAccountsDeps,
  removed: readonly Removed[],
): Promise<void> => {
  const left = removed.values()
  const work = async (): Promise<void> => {
    for (const entry of left) {
      const { id, account } = entry
      const partner = partnerFor(serviceOf(id))
      const secrets = partner && (await accounts.open(id, account).catch(() => undefined))
      entry.revoked =
        partner !== undefined && secrets !== undefined && (await revoke(id, account, secrets, partner))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}

const resolvedWithin = async (
  { timer }: EndAccountsDeps['runtime'],
  work: Promise<void>,
  ms: number,
): Promise<void> => {
  let cancel = (): void => undefined
  const late = new Promise<void>((resolve) => (cancel = timer(ms, resolve)))
  await Promise.race([work, late]).finally(() => cancel())
}

const summaryOf = (removed: readonly Removed[]): EndedAccounts => ({
  accounts: removed.length,
  revoked: removed.filter(({ revoked }) => revoked).length,
  pending: removed.filter(({ revoked }) => revoked === undefined).length,
  not_revoked: [
    ...new Set(removed.flatMap(({ id, revoked }) => (revoked === false ? [serviceOf(id)] : []))),
  ].toSorted(),
})

export const createEndAccounts =
  (deps: EndAccountsDeps): EndAccounts =>
  async (owners, by, waitMs) => {
    const removed: Removed[] = []
    for (const owner of owners) removed.push(...(await takeOut(deps, owner, by)))
    const work = revokeEach(deps, removed)
    deps.runtime.defer(work)
    if (waitMs > 0 && removed.length > 0) await resolvedWithin(deps.runtime, work, waitMs)
    return summaryOf(removed)
  }

/** What is found of the person there, as `EndAccounts` takes it out. */
export const createCountAccounts =
  ({ accounts }: Pick<EndAccountsDeps, 'accounts'>) =>
  async (owners: readonly AccountsOf[]): Promise<number> => {
    let count = 0
    for (const { person, services } of owners)
      for (const id of await accounts.idsOf(person, services))
        count += (await accounts.read(id))?.accounts.list.length ?? 0
    return count
  }
