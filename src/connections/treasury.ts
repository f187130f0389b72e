// Everything that keeps, renews and shows tokens, joined.
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { type AccountStore, createAccountStore, serviceOf } from './accounts.ts'
import { type AskPerson, createAskPerson } from './ask-person.ts'
import { createDeposit, type Deposit } from './deposit.ts'
import { createEnrolments, type Enrolments } from './enrol.ts'
import { createKeepTokens, providerPartner, type ProviderSettings } from './keep-tokens.ts'
import { createAsk, createMachine, createRevoke, type Revoke } from './machine.ts'
import { createRenewals, type Discard } from './renewals.ts'
import { createShow, type Show } from './show.ts'
import { type Upstream, upstreamOf } from './upstream.ts'
import { createWallet, type Wallet } from './wallet.ts'

export interface TreasuryDeps {
  readonly runtime: Runtime
  readonly config: ProviderSettings
  readonly directory: Directory
}

export interface Treasury {
  readonly accounts: AccountStore
  readonly enrolments: Enrolments
  readonly revoke: Revoke
  readonly wallet: Wallet
  readonly deposit: Deposit
  readonly keepTokens: ReturnType<typeof createKeepTokens>
  readonly show: Show
  readonly ask: AskPerson
  readonly upstreamFor: (service: string) => Upstream | undefined
}

export const createTreasury = ({ runtime, config, directory }: TreasuryDeps): Treasury => {
  const accounts = createAccountStore({ runtime })
  const upstreamFor = (id: string): Upstream | undefined => {
    const service = directory.service(id)
    return service && upstreamOf(service)
  }
  const enrolments = createEnrolments({ runtime, issuer: directory.issuer })
  const partnerFor = (service: string) => upstreamFor(service) ?? providerPartner(config, service)
  const revoke = createRevoke({ runtime })
  const discard: Discard = async (id, account, secrets) => {
    const partner = partnerFor(serviceOf(id))
    if (partner) await revoke(id, account, secrets, partner)
  }
  const renewals = createRenewals({ runtime, accounts, ask: createAsk({ runtime, enrolments, partnerFor }), discard })
  const wallet = createWallet({ runtime, accounts, renewals })
  const ask = createAskPerson({ runtime, issuer: directory.issuer })
  const show = createShow({ wallet, ask, machine: createMachine({ runtime, accounts, enrolments }) })
  const deposit = createDeposit({ runtime, accounts, wallet })
  return { accounts, enrolments, revoke, wallet, deposit, keepTokens: createKeepTokens({ directory, deposit }), show, ask, upstreamFor }
}
