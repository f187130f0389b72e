// The connections module: what the composition root and other modules get of it.
import type {
  Audit,
  ConnectStep,
  EndAccounts,
  Handler,
  RenewProviderTokens,
  SaveProviderTokens,
  Limit,
  MayStillSignIn,
  Sessions,
  UpstreamCredentials,
} from '../ports/modules.ts'
import type { PagesFor } from '../ports/pages.ts'
import type { AccountsOf, ConnectionAdmin, Person } from '../ports/people.ts'
import type { Runtime, RuntimeTransports, SessionLocation } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { createConnectionAdmin } from './account-list.ts'
import { type Discard, createAccessTokens, createRefreshes } from './access-tokens.ts'
import {
  type ConnectPage,
  createAccountActions,
  createConnectPage,
  createDisconnect,
  createLink,
} from './account-page.ts'
import { createAccountStore, createSaveTokens, serviceOf } from './accounts.ts'
import { createAuthorization, isAuthorizationState } from './authorization.ts'
import { createClientMetadataDocument, createClientRegistrations } from './client-registration.ts'
import { createCredentialContexts, createCredentials } from './credentials.ts'
import { createAccountNeeds } from './discovery.ts'
import { createProofs, keepingKeys, provenTransports } from './dpop.ts'
import { createDirectGrants } from './direct-grants.ts'
import { createCountAccounts, createEndAccounts } from './end-accounts.ts'
import {
  type ProviderSettings,
  createProviderTokens,
  createRenewProviderTokens,
  createSignInStands,
  providerPartner,
} from './provider-tokens.ts'
import { createSignInStep } from './sign-in-step.ts'
import { createRevoke, createTokenRequest } from './token-endpoint.ts'
import { type AuthorizedUpstream, upstreamOf } from './upstream.ts'

export interface ConnectionsDeps {
  readonly mayStillSignIn: MayStillSignIn
  readonly isAdmin: (person: Person) => boolean
  readonly runtime: Runtime
  readonly config: ProviderSettings
  readonly directory: Directory
  readonly sessions: Sessions
  readonly pages: PagesFor
  readonly limit: Limit
  readonly record: Audit
}

/** The parts that several of the module's functions share. */
const createParts = (deps: ConnectionsDeps) => {
  const { runtime, config, directory, sessions, record } = deps
  const { issuer } = directory
  const accounts = createAccountStore({ runtime })
  const upstreamFor = (id: string): AuthorizedUpstream | undefined => {
    const service = directory.service(id)
    return service && upstreamOf(service)
  }
  const partnerFor = (service: string) => upstreamFor(service) ?? providerPartner(config, service)
  const services = () => directory.services
  const clientRegistrations = createClientRegistrations({ runtime, issuer, services })
  const revoke = createRevoke({ runtime })
  const discard: Discard = async (id, account, secrets) => {
    const partner = partnerFor(serviceOf(id))
    if (partner) await revoke(id, account, secrets, partner)
  }
  const proofs = createProofs(runtime)
  const directGrants = createDirectGrants({
    ...{ runtime, config, issuer, accounts, clientRegistrations, proofs, upstreamFor, record },
    refreshes: () => refreshes,
  })
  const { renew } = directGrants
  const requestTokens = createTokenRequest({ runtime, clientRegistrations, proofs, partnerFor, renew })
  const refreshes = createRefreshes({ runtime, accounts, requestTokens, discard })
  const accessTokens = createAccessTokens({ runtime, accounts, refreshes })
  const saveTokens = createSaveTokens({ runtime, accounts, accessTokens })
  return {
    runtime,
    issuer,
    accounts,
    accessTokens,
    refreshes,
    saveTokens,
    proofs,
    revoke,
    discard,
    partnerFor,
    upstreamFor,
    record,
    contextOf: createCredentialContexts(),
    needs: createAccountNeeds({ runtime, clientRegistrations }),
    directGrants,
    signInStands: createSignInStands({ accounts }),
    authorization: createAuthorization({
      ...{ runtime, sessions, accounts, clientRegistrations },
      ...{
        saveTokens,
        proofs,
        upstreamFor,
        record,
        directory,
        mayStillSignIn: deps.mayStillSignIn,
        isAdmin: deps.isAdmin,
      },
    }),
  }
}

export interface Connections extends ConnectPage {
  /** POST /connect/:service */
  readonly act: Handler
  readonly credentials: UpstreamCredentials
  /** Connections to upstreams that prove the tokens they are shown (RFC 9449), where these are bound to a key. */
  readonly transports: RuntimeTransports
  /** A session that is kept here for other isolates, which have the keys of its calls. */
  readonly located: (location: SessionLocation) => SessionLocation
  readonly step: ConnectStep
  readonly keepTokens: SaveProviderTokens
  readonly renewTokens: RenewProviderTokens
  readonly endAccounts: EndAccounts
  /** How many it would remove. */
  countAccounts(owners: readonly AccountsOf[]): Promise<number>
  /** Those of everybody. */
  readonly admin: ConnectionAdmin
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
  const { accounts, accessTokens, saveTokens, authorization } = parts
  const { links } = authorization
  const step = createSignInStep({ ...parts, startAuthorization: authorization.start })
  return {
    ...createConnectPage({ ...{ runtime, directory, sessions, pages, accounts, links }, asks: step.asks }),
    act: createAccountActions({
      directory,
      sessions,
      accounts,
      accessTokens,
      startAuthorization: authorization.start,
      disconnect: createDisconnect(parts),
      links,
      limit,
      record,
    }),
    keepTokens: createProviderTokens({ config: deps.config, directory, saveTokens }),
    renewTokens: createRenewProviderTokens(parts),
    endAccounts: createEndAccounts(parts),
    countAccounts: createCountAccounts(parts),
    admin: { ...createConnectionAdmin(parts), link: createLink(directory, links) },
    credentials: createCredentials(parts),
    transports: provenTransports(runtime.transports, parts.proofs),
    located: (location) => keepingKeys(location, parts.proofs),
    step,
    callback: authorization.callback,
    isReturn: (request) => isAuthorizationState(new URL(request.url).searchParams.get('state') ?? ''),
    document: createClientMetadataDocument(directory.issuer),
  }
}
