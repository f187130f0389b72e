// The gateway's own sign-in to an upstream (client credentials, RFC 6749 §4.4; MCP extension oauth-client-credentials), and what renews, and takes back, any kept token.
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
import { type RequestTokens, renewedAccount } from './refresh.ts'
import {
  type Granted,
  type Party,
  exchangeCredentials,
  exchangeRefresh,
  revokeTokens,
} from './token-endpoint.ts'
import { type Partner, type AuthorizedUpstream, errorOf, signInRefusal } from './upstream.ts'

interface MachineDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'defer'>
  readonly accounts: AccountStore
  readonly enrolments: ClientRegistrations
}

/** Shorter than a lease (succession.ts). */
const askMs = 5_000

const serverOf = ({ issuer, tokenEndpoint, revocationEndpoint }: Account) => ({
  issuer,
  token_endpoint: tokenEndpoint,
  ...(revocationEndpoint !== undefined && { revocation_endpoint: revocationEndpoint }),
})

/** Whom an account's tokens come from, as whom. A secret that the operator changed counts from the next request on. */
export const partyOf = (account: Account, upstream: Partner, clientSecret: string | undefined): Party => {
  const {
    client_id: id,
    issuer = account.issuer,
    token_endpoint: endpoint = account.tokenEndpoint,
    client_secret: written,
  } = upstream.auth
  // What was written since for another server is not shown to this one (MCP: credentials belong to their issuer).
  const configured =
    id === account.clientId && sameIssuer(issuer, account.issuer) && endpoint === account.tokenEndpoint
      ? written
      : undefined
  const secret = configured ?? clientSecret
  return {
    as: serverOf(account),
    enrolment: {
      clientId: account.clientId,
      method: account.method,
      ...(secret !== undefined && { secret }),
    },
    upstream,
    resource: account.resource,
  }
}

interface AskDeps {
  readonly runtime: MachineDeps['runtime']
  readonly enrolments: ClientRegistrations
  /** Whose account a record's is; undefined when that is no longer configured. */
  readonly partnerFor: (service: string) => Partner | undefined
}

export const createTokenRequest = ({ runtime, enrolments, partnerFor }: AskDeps): RequestTokens => {
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
        // Whoever connects next would be sent away as a client that nobody knows there.
        if (errorOf(thrown) === 'invalid_client')
          await enrolments.forget(account.issuer, service, account.clientId)
        throw thrown
      })
    )
  }
}

/** Takes tokens out of the world where their server lets us (RFC 7009). `whose`: for the log. Never rejects for what the server does. */
export type Revoke = (whose: string, account: Account, secrets: Secrets, partner: Partner) => Promise<void>

export const createRevoke =
  ({ runtime }: { readonly runtime: Pick<Runtime, 'now' | 'outbound' | 'log'> }): Revoke =>
  async (whose, account, secrets, partner) => {
    if (account.revocationEndpoint === undefined) return
    await revokeTokens(
      partyOf(account, partner, secrets.clientSecret),
      secrets,
      createGuardedFetch(runtime, partner).through,
    ).catch((error: unknown) =>
      runtime.log('warn', 'upstream.not-revoked', {
        connection: whose,
        issuer: account.issuer,
        why: error instanceof Error ? error.message : String(error),
      }),
    )
  }

/** Signs the gateway in where it is not yet, or not any more. */
export const createClientCredentials = ({
  runtime,
  accounts,
  enrolments,
}: MachineDeps): ((upstream: AuthorizedUpstream) => Promise<void>) => {
  const once = createSingleFlight(runtime)

  const accountFrom = async (
    upstream: AuthorizedUpstream,
    id: string,
  ): Promise<{ account: Account; granted: Granted; secret: string | undefined }> => {
    const web = createGuardedFetch(runtime, upstream)
    const { as, resource, scopes } = await discover(upstream, web)
    const enrolment = await enrolments.at(as, upstream, scopes, web)
    const granted = await exchangeCredentials(
      { as, enrolment, upstream, resource },
      scopes,
      web.through,
    ).catch((error: unknown) => {
      throw signInRefusal(error, upstream, 'machine')
    })
    const now = runtime.now()
    const account: Account = {
      name: 'gateway',
      at: upstream.origin,
      issuer: as.issuer,
      tokenEndpoint: as.token_endpoint ?? '',
      clientId: enrolment.clientId,
      method: enrolment.method,
      ...(resource !== undefined && { resource }),
      asked: scopes ?? [],
      granted: scopes ?? [],
      connectedAt: now,
      since: now,
      generation: 0,
      refreshable: true,
      sealed: '',
    }
    const known = accountIn((await accounts.read(id))?.accounts, 'gateway')
    return { account: { ...account, generation: known?.generation ?? 0 }, granted, secret: enrolment.secret }
  }

  /** A sign-in that failed is not tried again with every call. */
  const failed = new Map<string, { readonly until: number; readonly error: unknown }>()
  const restMs = 5_000

  return (upstream) =>
    once(upstream.id, async () => {
      const before = failed.get(upstream.id)
      if (before && before.until > runtime.now()) throw before.error
      const id = accounts.idOf('gateway', upstream.id)
      const { account, granted, secret } = await accountFrom(upstream, id).catch((error: unknown) => {
        failed.set(upstream.id, { until: runtime.now() + restMs, error })
        throw error
      })
      failed.delete(upstream.id)
      const sealed = await accounts.seal(id, account, {
        access: granted.access,
        ...(secret !== undefined && { clientSecret: secret }),
      })
      await accounts.change(id, (current) =>
        withAccount(current, renewedAccount(account, granted, sealed, runtime.now())),
      )
    })
}
