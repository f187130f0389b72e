// Tokens on their way into the wallet: those of a connected account, and those that an identity provider gave at sign-in.
import type { Config } from '../config/schema.ts'
import { lifetimeOf } from '../kit/token-response.ts'
import type { KeepTokens } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import type { AccessTokens } from './access-tokens.ts'
import {
  type Account,
  type AccountStore,
  type Accounts,
  type Secrets,
  accountIn,
  withAccount,
} from './accounts.ts'
import type { ClientRegistration } from './client-registration.ts'
import type { PendingAuthorization } from './pending-authorizations.ts'
import { renewedAccount } from './refresh.ts'
import type { Granted } from './token-endpoint.ts'
import { type Partner, scopeWords, silent } from './upstream.ts'

/** What is kept of a trip. */
export type AuthorizedAccount = Pick<
  PendingAuthorization,
  'service' | 'account' | 'as' | 'resource' | 'asked'
> &
  Partial<Pick<PendingAuthorization, 'at'>> & {
    readonly enrolment: Pick<ClientRegistration, 'clientId' | 'method' | 'secret'>
  }

/** Keeps the tokens of a trip as the account it was made for; they replace those of the account of that name. */
export type SaveTokens = (trip: AuthorizedAccount, person: Person, granted: Granted) => Promise<void>

export interface SaveTokensDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly accounts: AccountStore
  readonly wallet: AccessTokens
}

/** The account as it is before its first tokens. */
const fresh = (
  { account, at, as, enrolment, resource, asked }: AuthorizedAccount,
  before: Account | undefined,
  refreshable: boolean,
  now: number,
): Account => ({
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

export const createSaveTokens =
  ({ runtime, accounts, wallet }: SaveTokensDeps): SaveTokens =>
  async (trip, person, { refresh, ...granted }) => {
    const id = accounts.idOf(person, trip.service)
    const { secret } = trip.enrolment
    const secrets: Secrets = {
      access: granted.access,
      ...(refresh !== undefined && { refresh }),
      ...(secret !== undefined && { clientSecret: secret }),
    }
    await accounts.change(id, async (current): Promise<Accounts> => {
      const account = fresh(trip, accountIn(current, trip.account), refresh !== undefined, runtime.now())
      return withAccount(
        current,
        renewedAccount(account, granted, await accounts.seal(id, account, secrets), runtime.now()),
      )
    })
    wallet.forget(person, trip.service)
  }

// The tokens that identity providers give when people sign in, kept for the services that are shown them (`upstream_auth.type: idp_token`), and for nobody else.

export type ProviderSettings = Pick<Config, 'oauth_providers'>

const prefix = 'idp:'

/** The tokens of an identity provider lie beside those of services; no service has such an id. */
export const providerService = (provider: string): string => `${prefix}${provider}`

/** The provider, as whom we ask for new tokens of a person who signed in with it; undefined for other ids, and for one that is not configured any more. */
export const providerPartner = (config: ProviderSettings, service: string): Partner | undefined => {
  const settings = service.startsWith(prefix)
    ? config.oauth_providers[service.slice(prefix.length)]
    : undefined
  if (!settings) return undefined
  const { issuer, client_id, client_secret } = settings
  return {
    auth: { ...silent, type: 'idp_token', client_id, client_secret },
    origins: issuer === undefined ? [] : [new URL(issuer).origin],
  }
}

/** What nobody is shown is not kept: it cannot be lost. */
export const createProviderTokens =
  ({
    directory,
    deposit,
  }: {
    readonly directory: Pick<Directory, 'services'>
    readonly deposit: SaveTokens
  }): KeepTokens =>
  async ({
    provider,
    person,
    issuer,
    tokenEndpoint,
    clientId,
    method,
    accessToken,
    refreshToken,
    expiresIn,
    scope = '',
  }) => {
    if (
      !directory.services.some(
        ({ auth, provider: only }) => auth?.type === 'idp_token' && (only ?? provider) === provider,
      )
    )
      return
    const seconds = lifetimeOf(expiresIn)
    await deposit(
      {
        service: providerService(provider),
        account: 'default',
        as: { issuer, token_endpoint: tokenEndpoint },
        enrolment: { clientId, method },
        asked: scopeWords(scope),
      },
      person,
      {
        access: accessToken,
        ...(refreshToken !== undefined && { refresh: refreshToken }),
        ...(seconds !== undefined && { lifetimeMs: seconds * 1000 }),
      },
    )
  }
