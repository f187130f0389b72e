// The tokens that identity providers issue at sign-in. They are saved only for services that get them
// (`upstream_auth.type: idp_token`), or for which they are exchanged (`id_jag`, `token_exchange`).
import type { Config } from '../config/schema.ts'
import { scopeWords } from '../kit/discovery.ts'
import { exchangesSignIn, servesProvider } from '../kit/records.ts'
import { lifetimeOf } from '../kit/token-response.ts'
import type { RenewProviderTokens, RenewedProviderTokens, SaveProviderTokens } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { type Account, type AccountStore, type SaveTokens, accountIn, serviceOf } from './accounts.ts'
import { type Partner, silent } from './upstream.ts'

export type ProviderSettings = Pick<Config, 'oauth_providers'>

const prefix = 'idp:'

/** The tokens of an identity provider lie beside those of services; no service has such an id. */
export const providerService = (provider: string): string => `${prefix}${provider}`
/** By the id of a record. */
export const isOfProvider = (id: string): boolean => serviceOf(id).startsWith(prefix)

/**
 * The provider, as whom we ask for new tokens of a person who signed in with it; undefined for other ids, and
 * for one that is not configured any more.
 */
export const providerPartner = (config: ProviderSettings, service: string): Partner | undefined => {
  const settings = service.startsWith(prefix)
    ? config.oauth_providers[service.slice(prefix.length)]
    : undefined
  if (!settings) return undefined
  const { issuer, token_url: tokenUrl = issuer, client_id, client_secret } = settings
  return {
    auth: { ...silent, type: 'idp_token', client_id, client_secret },
    origins: [...new Set([issuer, tokenUrl].map((url) => new URL(url).origin))],
  }
}

/** A token that no service gets, and that the provider is not asked with again, is not saved. */
export const createProviderTokens =
  ({
    config,
    directory,
    saveTokens,
  }: {
    readonly config: ProviderSettings
    readonly directory: Pick<Directory, 'services'>
    readonly saveTokens: SaveTokens
  }): SaveProviderTokens =>
  async ({
    provider,
    person,
    issuer,
    tokenEndpoint,
    revocationEndpoint,
    clientId,
    method,
    accessToken,
    refreshToken,
    idToken,
    expiresIn,
    scope = '',
  }) => {
    const { profile_refresh: interval = 0 } = config.oauth_providers[provider] ?? {}
    const [shows, exchanges] = [
      directory.services.some(
        (service) => service.auth?.type === 'idp_token' && servesProvider(service, provider),
      ),
      directory.services.some(
        ({ auth }) => exchangesSignIn(auth) && (auth?.provider ?? provider) === provider,
      ),
    ]
    if (interval === 0 && !shows && !exchanges) return
    const seconds = lifetimeOf(expiresIn)
    await saveTokens(
      {
        service: providerService(provider),
        account: 'default',
        as: {
          issuer,
          token_endpoint: tokenEndpoint,
          ...(revocationEndpoint !== undefined && { revocation_endpoint: revocationEndpoint }),
        },
        registration: { clientId, method },
        asked: scopeWords(scope),
        ...(exchanges && idToken !== undefined && { subjectToken: idToken }),
      },
      person,
      {
        access: accessToken,
        ...(refreshToken !== undefined && { refresh: refreshToken }),
        ...(seconds !== undefined && { lifetimeMs: seconds * 1000 }),
      },
    )
  }

/** Whether the tokens of the person's sign-in are kept, and their provider has not ended them. */
export const createSignInStands =
  ({ accounts }: { readonly accounts: AccountStore }) =>
  async (person: Person): Promise<boolean> => {
    const id = accounts.idOf(person, providerService(person.provider))
    const account = accountIn((await accounts.read(id))?.accounts)
    return account !== undefined && account.ended === undefined
  }

interface RenewDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly accounts: AccountStore
  readonly refreshes: {
    /** access-tokens.ts */
    refresh(
      id: string,
      name: string,
      generation: number,
    ): Promise<
      | { readonly kind: 'token'; readonly account: Account }
      | { readonly kind: 'ended'; readonly why: string }
      | { readonly kind: 'later'; readonly why: string }
    >
  }
}

/** Asks an identity provider for new tokens of a person who signed in with it, once for all who ask. */
export const createRenewProviderTokens = ({
  runtime,
  accounts,
  refreshes,
}: RenewDeps): RenewProviderTokens => {
  const tokensOf = async (id: string, account: Account): Promise<RenewedProviderTokens> => {
    const secrets = await accounts.open(id, account)
    return secrets
      ? { kind: 'tokens', accessToken: secrets.access, idToken: secrets.idToken }
      : { kind: 'refused', why: 'stored tokens cannot be decrypted' }
  }
  return async (person) => {
    const id = accounts.idOf(person, providerService(person.provider))
    const account = accountIn((await accounts.read(id))?.accounts)
    if (!account) return { kind: 'none' }
    if (account.ended !== undefined) return { kind: 'refused', why: account.ended }
    if (!account.refreshable)
      return (account.expiresAt ?? Infinity) <= runtime.now() ? { kind: 'none' } : tokensOf(id, account)
    const renewed = await refreshes.refresh(id, account.name, account.generation)
    if (renewed.kind === 'ended') return { kind: 'refused', why: renewed.why }
    return renewed.kind === 'later' ? renewed : tokensOf(id, renewed.account)
  }
}
