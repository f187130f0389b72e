// The tokens that identity providers give when people sign in, kept for the services that are shown them (`upstream_auth.type: idp_token`), and for nobody else.
import type { Config } from '../config/schema.ts'
import type { KeepTokens } from '../ports/connections.ts'
import type { Directory } from '../ports/services.ts'
import { scopeWords } from './challenge.ts'
import type { Deposit } from './deposit.ts'
import { lifetimeOf } from '../kit/token-answer.ts'
import { type Partner, silent } from './upstream.ts'

export type ProviderSettings = Pick<Config, 'oauth_providers'>

const prefix = 'idp:'

/** The tokens of an identity provider lie beside those of services; no service has such an id. */
export const providerService = (provider: string): string => `${prefix}${provider}`

/** The provider, as whom we ask for new tokens of a person who signed in with it; undefined for other ids, and for one that is not configured any more. */
export const providerPartner = (config: ProviderSettings, service: string): Partner | undefined => {
  const settings = service.startsWith(prefix) ? config.oauth_providers[service.slice(prefix.length)] : undefined
  if (!settings) return undefined
  const { issuer, client_id, client_secret } = settings
  return { auth: { ...silent, type: 'idp_token', client_id, client_secret }, origins: issuer === undefined ? [] : [new URL(issuer).origin] }
}

/** What nobody is shown is not kept: it cannot be lost. */
export const createKeepTokens =
  ({ directory, deposit }: { readonly directory: Pick<Directory, 'services'>; readonly deposit: Deposit }): KeepTokens =>
  async ({ provider, person, issuer, tokenEndpoint, clientId, method, accessToken, refreshToken, expiresIn, scope = '' }) => {
    if (!directory.services.some(({ auth, provider: only }) => auth?.type === 'idp_token' && (only ?? provider) === provider)) return
    const seconds = lifetimeOf(expiresIn)
    await deposit({ service: providerService(provider), account: 'default', as: { issuer, token_endpoint: tokenEndpoint }, enrolment: { clientId, method }, asked: scopeWords(scope) }, person, {
      access: accessToken,
      ...(refreshToken !== undefined && { refresh: refreshToken }),
      ...(seconds !== undefined && { lifetimeMs: seconds * 1000 }),
    })
  }
