// The connections module: what the composition root and other modules get of it.
import type {
  Audit,
  ConnectStep,
  Handler,
  SaveProviderTokens,
  Limit,
  Sessions,
  UpstreamCredentials,
} from '../ports/modules.ts'
import type { Pages } from '../ports/pages.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { createAccessTokens } from './access-tokens.ts'
import {
  type ConnectPage,
  createAccountActions,
  createConnectPage,
  createDisconnect,
} from './account-page.ts'
import { createAccountNeeds } from './account-required.ts'
import { type AccountStore, createAccountStore, serviceOf } from './accounts.ts'
import { createAuthorize } from './authorize.ts'
import { createCallback } from './callback.ts'
import { createTokenRequest, createClientCredentials, createRevoke } from './client-credentials.ts'
import {
  type ClientRegistrations,
  createClientMetadataDocument,
  createClientRegistrations,
} from './client-registration.ts'
import { createConsentRequired } from './consent-required.ts'
import { createCredentialLookup } from './credential-lookup.ts'
import { createCredentials } from './credentials.ts'
import { createPendingAuthorizations, isAuthorizationState } from './pending-authorizations.ts'
import { type Discard, createRefreshes } from './refresh.ts'
import {
  type ProviderSettings,
  createSaveTokens,
  createProviderTokens,
  providerPartner,
} from './save-tokens.ts'
import { createSignInStep } from './sign-in-step.ts'
import { type Partner, type AuthorizedUpstream, upstreamOf } from './upstream.ts'

export interface ConnectionsDeps {
  readonly runtime: Runtime
  readonly config: ProviderSettings
  readonly directory: Directory
  readonly sessions: Sessions
  readonly pages: Pages
  readonly limit: Limit
  readonly record: Audit
}

/** Gets, refreshes and revokes tokens at the authorization servers that issued them. */
const createTokenService = (
  runtime: Runtime,
  accounts: AccountStore,
  clientRegistrations: ClientRegistrations,
  partnerFor: (service: string) => Partner | undefined,
) => {
  const revoke = createRevoke({ runtime })
  const discard: Discard = async (id, account, secrets) => {
    const partner = partnerFor(serviceOf(id))
    if (partner) await revoke(id, account, secrets, partner)
  }
  const requestTokens = createTokenRequest({ runtime, clientRegistrations, partnerFor })
  const refreshes = createRefreshes({ runtime, accounts, requestTokens, discard })
  return {
    revoke,
    accessTokens: createAccessTokens({ runtime, accounts, refreshes }),
    /** The gateway's own sign-in. */
    signInGateway: createClientCredentials({ runtime, accounts, clientRegistrations }),
  }
}

/** The parts that several of the module's functions share. */
const createParts = ({ runtime, config, directory }: ConnectionsDeps) => {
  const { issuer } = directory
  const accounts = createAccountStore({ runtime })
  const upstreamFor = (id: string): AuthorizedUpstream | undefined => {
    const service = directory.service(id)
    return service && upstreamOf(service)
  }
  const clientRegistrations = createClientRegistrations({
    runtime,
    issuer,
    services: () => directory.services,
  })
  const partnerFor = (service: string) => upstreamFor(service) ?? providerPartner(config, service)
  const { revoke, accessTokens, signInGateway } = createTokenService(
    runtime,
    accounts,
    clientRegistrations,
    partnerFor,
  )
  const consentRequired = createConsentRequired({ runtime, issuer })
  return {
    accounts,
    clientRegistrations,
    revoke,
    accessTokens,
    saveTokens: createSaveTokens({ runtime, accounts, accessTokens }),
    credentialLookup: createCredentialLookup({
      now: runtime.now,
      accessTokens,
      consentRequired,
      signInGateway,
    }),
    consentRequired,
    needs: createAccountNeeds({ runtime, clientRegistrations }),
    upstreamFor,
  }
}

export interface Connections extends ConnectPage {
  /** POST /connect/:service */
  readonly act: Handler
  readonly credentials: UpstreamCredentials
  readonly step: ConnectStep
  readonly keepTokens: SaveProviderTokens
  /** GET /connect/callback/:id and /connect/callback */
  readonly callback: Handler
  /** Whether a callback that identity providers use as well carries a state of this module. */
  isReturn(request: Request): boolean
  /** GET /oauth/client-metadata/:id.json and /oauth/client-metadata.json */
  readonly document: Handler
}

export const createConnections = (deps: ConnectionsDeps): Connections => {
  const { runtime, directory, sessions, pages, limit, record } = deps
  const parts = createParts(deps)
  const { accounts, accessTokens, saveTokens } = parts
  const pendingAuthorizations = createPendingAuthorizations({ runtime, sessions, record })
  const startAuthorization = createAuthorize({ ...parts, runtime, pendingAuthorizations, record })
  const step = createSignInStep({ ...parts, runtime, startAuthorization })
  return {
    ...createConnectPage({ runtime, directory, sessions, pages, accounts, asks: step.asks }),
    act: createAccountActions({
      directory,
      sessions,
      accounts,
      accessTokens,
      startAuthorization,
      disconnect: createDisconnect({ ...parts, runtime }),
      limit,
      record,
    }),
    keepTokens: createProviderTokens({ directory, saveTokens }),
    credentials: createCredentials({ ...parts, now: runtime.now }),
    step,
    callback: createCallback({ ...parts, runtime, pendingAuthorizations, record }),
    isReturn: (request) => isAuthorizationState(new URL(request.url).searchParams.get('state') ?? ''),
    document: createClientMetadataDocument(directory.issuer),
  }
}
