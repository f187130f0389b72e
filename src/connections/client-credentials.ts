// The gateway's own sign-in to an upstream (client_credentials, RFC 6749 §4.4; MCP extension
// oauth-client-credentials), and the requests that refresh and revoke any saved token.
import { createSingleFlight } from '../kit/single-flight.ts'
import { sameIssuer } from '../kit/urls.ts'
import type { Runtime } from '../ports/runtime.ts'
import {
  type Account,
  type AccountStore,
  type Secrets,
  accountIn,
  serviceOf,
  withAccount,
} from './accounts.ts'
import type { ClientRegistrations } from './client-registration.ts'
import { discover } from './discovery.ts'
import { createGuardedFetch } from './oauth-fetch.ts'
import { type RequestTokens, refreshedAccount } from './refresh.ts'
import {
  type Granted,
  type Party,
  exchangeCredentials,
  exchangeRefresh,
  revokeTokens,
} from './token-endpoint.ts'
import { type Partner, type AuthorizedUpstream, errorOf, signInRefusal } from './upstream.ts'

interface ClientCredentialsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'defer'>
  readonly accounts: AccountStore
  readonly clientRegistrations: ClientRegistrations
}

/** Shorter than a lease (refresh.ts). */
const askMs = 5_000

const serverOf = ({ issuer, tokenEndpoint, revocationEndpoint }: Account) => ({
  issuer,
  token_endpoint: tokenEndpoint,
  ...(revocationEndpoint !== undefined && { revocation_endpoint: revocationEndpoint }),
})

/**
 * The authorization server of an account's tokens, and the gateway as its client. A client secret that the
 * operator changed is used from the next request on.
 */
export const partyOf = (account: Account, upstream: Partner, clientSecret: string | undefined): Party => {
  const {
    client_id: id,
    issuer = account.issuer,
    token_endpoint: endpoint = account.tokenEndpoint,
    client_secret: written,
  } = upstream.auth
  // A secret that was configured later for another server is not sent to this one (MCP: credentials belong to
  // their issuer).
  const configured =
    id === account.clientId && sameIssuer(issuer, account.issuer) && endpoint === account.tokenEndpoint
      ? written
      : undefined
  const secret = configured ?? clientSecret
  return {
    as: serverOf(account),
    registration: {
      clientId: account.clientId,
      method: account.method,
      ...(secret !== undefined && { secret }),
    },
    upstream,
    resource: account.resource,
  }
}

interface AskDeps {
  readonly runtime: ClientCredentialsDeps['runtime']
  readonly clientRegistrations: ClientRegistrations
  /** The authorization server's settings for a record; undefined if they are no longer configured. */
  readonly partnerFor: (service: string) => Partner | undefined
}

export const createTokenRequest = ({ runtime, clientRegistrations, partnerFor }: AskDeps): RequestTokens => {
  const exchange = (account: Account, partner: Partner, secrets: Secrets): Promise<Granted> | undefined => {
    const party = partyOf(account, partner, secrets.clientSecret)
    const { through } = createGuardedFetch(runtime, partner, askMs)
    if (partner.auth.type === 'client_credentials')
      return exchangeCredentials(party, account.asked.length > 0 ? account.asked : undefined, through)
    return secrets.refresh === undefined ? undefined : exchangeRefresh(party, secrets.refresh, through)
  }
  return (id, account, secrets) => {
    const service = serviceOf(id)
    const partner = partnerFor(service)
    return (
      partner &&
      exchange(account, partner, secrets)?.catch(async (thrown: unknown) => {
        // The next person to connect would be refused as an unknown client.
        if (errorOf(thrown) === 'invalid_client')
          await clientRegistrations.forget(account.issuer, service, account.clientId)
        throw thrown
      })
    )
  }
}

/**
 * Revokes tokens if their server has a revocation endpoint (RFC 7009). `id`: for the log. Never rejects
 * because of the server.
 */
export type Revoke = (id: string, account: Account, secrets: Secrets, partner: Partner) => Promise<void>

export const createRevoke =
  ({ runtime }: { readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'log'> }): Revoke =>
  async (id, account, secrets, partner) => {
    if (account.revocationEndpoint === undefined) return
    await revokeTokens(
      partyOf(account, partner, secrets.clientSecret),
      secrets,
      createGuardedFetch(runtime, partner).through,
    ).catch((error: unknown) =>
      runtime.log('warn', 'upstream.not-revoked', {
        connection: id,
        issuer: account.issuer,
        why: error instanceof Error ? error.message : String(error),
      }),
    )
  }

interface SignedIn {
  readonly account: Account
  readonly granted: Granted
  readonly secret: string | undefined
}

const signIn = async (
  upstream: AuthorizedUpstream,
  id: string,
  { runtime, accounts, clientRegistrations }: ClientCredentialsDeps,
): Promise<SignedIn> => {
  const guardedFetch = createGuardedFetch(runtime, upstream)
  const { as, resource, scopes } = await discover(upstream, guardedFetch)
  const registration = await clientRegistrations.at(as, upstream, scopes, guardedFetch)
  const { clientId, method, secret } = registration
  const granted = await exchangeCredentials(
    { as, registration, upstream, resource },
    scopes,
    guardedFetch.through,
  ).catch((error: unknown) => {
    throw signInRefusal(error, upstream, 'client_credentials')
  })
  const known = accountIn((await accounts.read(id))?.accounts, 'gateway')
  const now = runtime.now()
  const account: Account = {
    name: 'gateway',
    at: upstream.origin,
    issuer: as.issuer,
    tokenEndpoint: as.token_endpoint ?? '',
    clientId,
    method,
    ...(resource !== undefined && { resource }),
    asked: scopes ?? [],
    granted: scopes ?? [],
    connectedAt: now,
    since: now,
    generation: known?.generation ?? 0,
    refreshable: true,
    sealed: '',
  }
  return { account, granted, secret }
}

/** After a failure no other sign-in is tried for this long. */
const failureMs = 5_000

/** Signs the gateway in and saves its account. */
export const createClientCredentials = (
  deps: ClientCredentialsDeps,
): ((upstream: AuthorizedUpstream) => Promise<void>) => {
  const { runtime, accounts } = deps
  const singleFlight = createSingleFlight(runtime)
  const failed = new Map<string, { readonly until: number; readonly error: unknown }>()

  return (upstream) =>
    singleFlight(upstream.id, async () => {
      const before = failed.get(upstream.id)
      if (before && before.until > runtime.now()) throw before.error
      const id = accounts.idOf('gateway', upstream.id)
      const { account, granted, secret } = await signIn(upstream, id, deps).catch((error: unknown) => {
        failed.set(upstream.id, { until: runtime.now() + failureMs, error })
        throw error
      })
      failed.delete(upstream.id)
      const sealed = await accounts.seal(id, account, {
        access: granted.access,
        ...(secret !== undefined && { clientSecret: secret }),
      })
      await accounts.change(id, (current) =>
        withAccount(current, refreshedAccount(account, granted, sealed, runtime.now())),
      )
    })
}
