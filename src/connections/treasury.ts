// Everything that keeps, renews and shows tokens, joined.
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { type AccountStore, createAccountStore } from './accounts.ts'
import { type AccountNeeds, createAccountNeeds } from './account-needs.ts'
import { type AskPerson, createAskPerson } from './ask-person.ts'
import { createDeposit, type Deposit } from './deposit.ts'
import { createEnrolments, type Enrolments } from './enrol.ts'
import { createKeepTokens, providerPartner, type ProviderSettings } from './keep-tokens.ts'
import { createShow, type Show } from './show.ts'
import { createTokenService, type TokenService } from './token-service.ts'
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
  readonly revoke: TokenService['revoke']
  readonly wallet: Wallet
  readonly deposit: Deposit
  readonly keepTokens: ReturnType<typeof createKeepTokens>
  readonly show: Show
  readonly ask: AskPerson
  readonly needs: AccountNeeds
  readonly upstreamFor: (service: string) => Upstream | undefined
}

export const createTreasury = ({ runtime, config, directory }: TreasuryDeps): Treasury => {
  const accounts = createAccountStore({ runtime })
  const upstreamFor = (id: string): Upstream | undefined => {
    const service = directory.service(id)
    return service && upstreamOf(service)
  }
  const enrolments = createEnrolments({
    runtime,
    issuer: directory.issuer,
    services: () => directory.services,
  })
  const partnerFor = (service: string) => upstreamFor(service) ?? providerPartner(config, service)
  const { revoke, renewals, machine } = createTokenService({ runtime, accounts, enrolments, partnerFor })
  const wallet = createWallet({ runtime, accounts, renewals })
  const ask = createAskPerson({ runtime, issuer: directory.issuer })
  const needs = createAccountNeeds({ runtime, enrolments })
  const show = createShow({ now: runtime.now, wallet, ask, machine })
  const deposit = createDeposit({ runtime, accounts, wallet })
  return {
    accounts,
    enrolments,
    revoke,
    wallet,
    deposit,
    keepTokens: createKeepTokens({ directory, deposit }),
    show,
    ask,
    needs,
    upstreamFor,
  }
}
