// Tokens on their way into the wallet: those of a connected account, and those that an identity provider gave at sign-in.
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type Account, type Accounts, type AccountStore, accountIn, type Secrets, withAccount } from './accounts.ts'
import type { Enrolment } from './enrol.ts'
import { renewedAccount } from './succession.ts'
import type { Granted } from './tokens.ts'
import type { Trip } from './trips.ts'
import type { Wallet } from './wallet.ts'

/** What is kept of a trip. */
export type Journey = Pick<Trip, 'service' | 'account' | 'as' | 'resource' | 'asked'> & Partial<Pick<Trip, 'at'>> & { readonly enrolment: Pick<Enrolment, 'clientId' | 'method' | 'secret'> }

/** Keeps the tokens of a trip as the account it was made for; they replace those of the account of that name. */
export type Deposit = (trip: Journey, person: Person, granted: Granted) => Promise<void>

export interface DepositDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly accounts: AccountStore
  readonly wallet: Wallet
}

/** The account as it is before its first tokens. */
const fresh = ({ account, at, as, enrolment, resource, asked }: Journey, before: Account | undefined, refreshable: boolean, now: number): Account => ({
  name: account,
  ...(at !== undefined && { at }),
  issuer: as.issuer,
  tokenEndpoint: as.token_endpoint ?? '',
  ...(as.revocation_endpoint !== undefined && { revocationEndpoint: as.revocation_endpoint }),
  clientId: enrolment.clientId,
  method: enrolment.method,
  ...(resource !== undefined && { resource }),
  asked,
  granted: asked,
  connectedAt: now,
  since: now,
  // Whoever still holds the former tokens must see that these are later ones.
  generation: before?.generation ?? 0,
  refreshable,
  sealed: '',
})

export const createDeposit =
  ({ runtime, accounts, wallet }: DepositDeps): Deposit =>
  async (trip, person, { refresh, ...granted }) => {
    const id = accounts.idOf(person, trip.service)
    const { secret } = trip.enrolment
    const secrets: Secrets = { access: granted.access, ...(refresh !== undefined && { refresh }), ...(secret !== undefined && { clientSecret: secret }) }
    await accounts.change(id, async (current): Promise<Accounts> => {
      const account = fresh(trip, accountIn(current, trip.account), refresh !== undefined, runtime.now())
      return withAccount(current, renewedAccount(account, granted, await accounts.seal(id, account, secrets), runtime.now()))
    })
    wallet.forget(person, trip.service)
  }
