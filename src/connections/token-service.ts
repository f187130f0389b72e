// What gets tokens, renews them and takes them back, at the authorization servers that they came from.
import type { Runtime } from '../ports/runtime.ts'
import { type AccountStore, serviceOf } from './accounts.ts'
import type { Enrolments } from './enrol.ts'
import { createAsk, createMachine, createRevoke, type Revoke } from './machine.ts'
import { createRenewals, type Discard, type Renewals } from './renewals.ts'
import type { Partner, Upstream } from './upstream.ts'

export interface TokenService {
  readonly revoke: Revoke
  readonly renewals: Renewals
  /** The gateway's own sign-in. */
  readonly machine: (upstream: Upstream) => Promise<void>
}

interface TokenServiceDeps {
  readonly runtime: Runtime
  readonly accounts: AccountStore
  readonly enrolments: Enrolments
  readonly partnerFor: (service: string) => Partner | undefined
}

export const createTokenService = ({
  runtime,
  accounts,
  enrolments,
  partnerFor,
}: TokenServiceDeps): TokenService => {
  const revoke = createRevoke({ runtime })
  const discard: Discard = async (id, account, secrets) => {
    const partner = partnerFor(serviceOf(id))
    if (partner) await revoke(id, account, secrets, partner)
  }
  const ask = createAsk({ runtime, enrolments, partnerFor })
  return {
    revoke,
    renewals: createRenewals({ runtime, accounts, ask, discard }),
    machine: createMachine({ runtime, accounts, enrolments }),
  }
}
