// Saves tokens: those of a connected account, and those that an identity provider issued at sign-in.
import type { Config } from '../config/schema.ts'
import { lifetimeOf } from '../kit/token-response.ts'
import type { SaveProviderTokens } from '../ports/modules.ts'
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
import { refreshedAccount } from './refresh.ts'
import type { Granted } from './token-endpoint.ts'
import { type Partner, scopeWords, silent } from './upstream.ts'

/** What is saved of an authorization. */
export type AuthorizedAccount = Pick<
  PendingAuthorization,
  'service' | 'account' | 'as' | 'resource' | 'asked'
> &
  Partial<Pick<PendingAuthorization, 'at'>> & {
    readonly registration: Pick<ClientRegistration, 'clientId' | 'method' | 'secret'>
  }

/**
 * Saves the tokens as the account that the authorization was for. They replace the tokens of an account with
 * that name.
 */
export type SaveTokens = (authorization: AuthorizedAccount, person: Person, granted: Granted) => Promise<void>

export interface SaveTokensDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly accounts: AccountStore
  readonly accessTokens: AccessTokens
}

/** The account as it is before its first tokens. */
const fresh = (
  { account, at, as, registration, resource, asked }: AuthorizedAccount,
  before: Account | undefined,
  refreshable: boolean,
  now: number,
): Account => ({
  name: account,
  ...(at !== undefined && { at }),
  issuer: as.issuer,
  tokenEndpoint: as.token_endpoint ?? '',
  ...(as.revocation_endpoint !== undefined && { revocationEndpoint: as.revocation_endpoint }),
  clientId: registration.clientId,
  method: registration.method,
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
  ({ runtime, accounts, accessTokens }: SaveTokensDeps): SaveTokens =>
  async (authorization, person, { refresh, ...granted }) => {
    const id = accounts.idOf(person, authorization.service)
    const { secret } = authorization.registration
    const secrets: Secrets = {
      access: granted.access,
      ...(refresh !== undefined && { refresh }),
      ...(secret !== undefined && { clientSecret: secret }),
    }
    await accounts.change(id, async (current): Promise<Accounts> => {
      const account = fresh(
        authorization,
        accountIn(current, authorization.account),
        refresh !== undefined,
        runtime.now(),
      )
      return withAccount(
        current,
        refreshedAccount(account, granted, await accounts.seal(id, account, secrets), runtime.now()),
      )
    })
    accessTokens.forget(person, authorization.service)
  }

// The tokens that identity providers issue at sign-in. They are saved only for services that get them
// (`upstream_auth.type: idp_token`).

export type ProviderSettings = Pick<Config, 'oauth_providers'>

const prefix = 'idp:'

/** The tokens of an identity provider lie beside those of services; no service has such an id. */
export const providerService = (provider: string): string => `${prefix}${provider}`

/**
 * The provider, as whom we ask for new tokens of a person who signed in with it; undefined for other ids, and
 * for one that is not configured any more.
 */
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

/** A token that no service gets is not saved. */
export const createProviderTokens =
  ({
    directory,
    saveTokens,
  }: {
    readonly directory: Pick<Directory, 'services'>
    readonly saveTokens: SaveTokens
  }): SaveProviderTokens =>
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
    await saveTokens(
      {
        service: providerService(provider),
        account: 'default',
        as: { issuer, token_endpoint: tokenEndpoint },
        registration: { clientId, method },
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
