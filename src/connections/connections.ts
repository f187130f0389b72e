// The room as a whole: what other rooms and the hall get of it.
import type { ConnectStep, UpstreamCredentials, Handler, KeepTokens } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { type AccessTokens, createAccessTokens } from './access-tokens.ts'
import {
  type AccountActionsDeps,
  type ConnectPage,
  type ConnectPageDeps,
  createAccountActions,
  createConnectPage,
  createDisconnect,
} from './account-page.ts'
import { type AccountNeeds, createAccountNeeds } from './account-required.ts'
import { type AccountStore, createAccountStore, serviceOf } from './accounts.ts'
import { createAuthorize } from './authorize.ts'
import { createCallback } from './callback.ts'
import {
  type Revoke,
  createTokenRequest,
  createClientCredentials,
  createRevoke,
} from './client-credentials.ts'
import {
  type ClientRegistrations,
  createClientMetadataDocument,
  createClientRegistrations,
} from './client-registration.ts'
import { type ConsentRequired, createConsentRequired } from './consent-required.ts'
import { type LookUpCredential, createCredentialLookup } from './credential-lookup.ts'
import { createCredentials } from './credentials.ts'
import { createPendingAuthorizations, isAuthorizationState } from './pending-authorizations.ts'
import { type Discard, type Refreshes, createRefreshes } from './refresh.ts'
import {
  type SaveTokens,
  type ProviderSettings,
  createSaveTokens,
  createProviderTokens,
  providerPartner,
} from './save-tokens.ts'
import { createSignInStep } from './sign-in-step.ts'
import { type Partner, type AuthorizedUpstream, upstreamOf } from './upstream.ts'

// What gets tokens, renews them and takes them back, at the authorization servers that they came from.

export interface TokenService {
  readonly revoke: Revoke
  readonly renewals: Refreshes
  /** The gateway's own sign-in. */
  readonly machine: (upstream: AuthorizedUpstream) => Promise<void>
}

interface TokenServiceDeps {
  readonly runtime: Runtime
  readonly accounts: AccountStore
  readonly enrolments: ClientRegistrations
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
  const ask = createTokenRequest({ runtime, enrolments, partnerFor })
  return {
    revoke,
    renewals: createRefreshes({ runtime, accounts, ask, discard }),
    machine: createClientCredentials({ runtime, accounts, enrolments }),
  }
}

// Everything that keeps, renews and shows tokens, joined.

export interface ConnectionsInnerDeps {
  readonly runtime: Runtime
  readonly config: ProviderSettings
  readonly directory: Directory
}

export interface ConnectionsInner {
  readonly accounts: AccountStore
  readonly enrolments: ClientRegistrations
  readonly revoke: TokenService['revoke']
  readonly wallet: AccessTokens
  readonly deposit: SaveTokens
  readonly keepTokens: ReturnType<typeof createProviderTokens>
  readonly show: LookUpCredential
  readonly ask: ConsentRequired
  readonly needs: AccountNeeds
  readonly upstreamFor: (service: string) => AuthorizedUpstream | undefined
}

export const createConnectionsInner = ({
  runtime,
  config,
  directory,
}: ConnectionsInnerDeps): ConnectionsInner => {
  const accounts = createAccountStore({ runtime })
  const upstreamFor = (id: string): AuthorizedUpstream | undefined => {
    const service = directory.service(id)
    return service && upstreamOf(service)
  }
  const enrolments = createClientRegistrations({
    runtime,
    issuer: directory.issuer,
    services: () => directory.services,
  })
  const partnerFor = (service: string) => upstreamFor(service) ?? providerPartner(config, service)
  const { revoke, renewals, machine } = createTokenService({ runtime, accounts, enrolments, partnerFor })
  const wallet = createAccessTokens({ runtime, accounts, renewals })
  const ask = createConsentRequired({ runtime, issuer: directory.issuer })
  const needs = createAccountNeeds({ runtime, enrolments })
  const show = createCredentialLookup({ now: runtime.now, wallet, ask, machine })
  const deposit = createSaveTokens({ runtime, accounts, wallet })
  return {
    accounts,
    enrolments,
    revoke,
    wallet,
    deposit,
    keepTokens: createProviderTokens({ directory, deposit }),
    show,
    ask,
    needs,
    upstreamFor,
  }
}

export type ConnectionsDeps = ConnectionsInnerDeps &
  Pick<ConnectPageDeps, 'sessions' | 'pages'> &
  Pick<AccountActionsDeps, 'limit' | 'record'>

export interface Connections extends ConnectPage {
  /** POST /connect/:service */
  readonly act: Handler
  readonly credentials: UpstreamCredentials
  readonly step: ConnectStep
  readonly keepTokens: KeepTokens
  /** GET /connect/callback/:id and /connect/callback */
  readonly callback: Handler
  /** Whether a request to an address where identity providers answer too carries a state of ours. */
  isReturn(request: Request): boolean
  /** GET /oauth/client-metadata/:id.json and /oauth/client-metadata.json */
  readonly document: Handler
}

export const createConnections = (deps: ConnectionsDeps): Connections => {
  const treasury = createConnectionsInner(deps)
  const joined = { ...deps, ...treasury }
  const trips = createPendingAuthorizations(deps)
  const depart = createAuthorize({ ...joined, trips })
  const step = createSignInStep({ ...joined, depart })
  return {
    ...createConnectPage({ ...joined, asks: step.asks }),
    act: createAccountActions({ ...joined, depart, disconnect: createDisconnect(joined) }),
    keepTokens: treasury.keepTokens,
    credentials: createCredentials({ ...treasury, now: deps.runtime.now }),
    step,
    callback: createCallback({ ...joined, trips }),
    isReturn: (request) => isAuthorizationState(new URL(request.url).searchParams.get('state') ?? ''),
    document: createClientMetadataDocument(deps.directory.issuer),
  }
}
