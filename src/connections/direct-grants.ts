// Tokens that are got without a browser: with the gateway's own credentials (RFC 6749 §4.4), with an assertion of its
// platform (RFC 7523), or for the sign-in of a person, which their identity provider exchanges (RFC 8693, and
// Enterprise-Managed Authorization).
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { Refusal } from '../kit/refusal.ts'
import { personKey } from '../kit/records.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Audit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { RequestTokens } from './access-tokens.ts'
import {
  type Account,
  type AccountStore,
  type Granted,
  type Owner,
  accountIn,
  createClaimedWork,
  refreshedAccount,
  secretsOf,
  serviceOf,
  withAccount,
} from './accounts.ts'
import type { ClientRegistration, ClientRegistrations } from './client-registration.ts'
import { type DiscoveredServer, discover } from './discovery.ts'
import type { ProofKey, Proofs, Proving } from './dpop.ts'
import { readResourceMetadata } from './metadata.ts'
import {
  type FindSubject,
  type ReadAssertion,
  type SubjectToken,
  type SubjectDeps,
  type TokenOwner,
  createFindSubject,
  createReadAssertion,
  signInAgain,
  tokenType,
} from './subject-tokens.ts'
import {
  type Party,
  exchangeAssertion,
  exchangeCredentials,
  exchangeToken,
  readAnswer,
} from './token-endpoint.ts'
import {
  type AuthorizedUpstream,
  createGuardedFetch,
  errorOf,
  isDirect,
  isRefused,
  maxAgeOf,
  signInRefusal,
  unreachable,
  untrusted,
} from './upstream.ts'

interface DirectDeps {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'store' | 'outbound' | 'defer' | 'digest'>
  readonly issuer: string
  readonly accounts: AccountStore
  readonly clientRegistrations: ClientRegistrations
  readonly proofs: Proofs
  readonly findSubject: FindSubject
  readonly readAssertion: ReadAssertion
  readonly upstreamFor: (service: string) => AuthorizedUpstream | undefined
  readonly record: Audit
}

type DirectGrantsDeps = Omit<DirectDeps, 'findSubject' | 'readAssertion'> &
  Omit<SubjectDeps, 'readAssertion'> & { readonly runtime: Pick<Runtime, 'readAssertion'> }

interface Wanted extends TokenOwner {
  readonly upstream: AuthorizedUpstream
  /** Of the account whose tokens are renewed. */
  readonly key: ProofKey | undefined
}

interface Obtained extends Pick<DiscoveredServer, 'as' | 'resource' | 'scopes'> {
  readonly registration: Pick<ClientRegistration, 'clientId' | 'method' | 'secret'>
  readonly granted: Granted
  readonly key: ProofKey | undefined
}

// What the identity provider says.

/** OAuth errors by which somebody at the gateway, and no rule of the company, is at fault. */
const ofGateway = new Set(['invalid_client', 'unauthorized_client', 'unsupported_grant_type'])

/** Its refusal is final: nobody is sent to a login of the upstream's instead. */
const companyRefusal = (
  thrown: unknown,
  { issuer }: Pick<DirectDeps, 'issuer'>,
  { upstream, provider = '' }: Wanted,
): Refusal => {
  const why = `identity provider: ${thrown instanceof Error ? thrown.message : String(thrown)}`
  const error = errorOf(thrown)
  if (error === undefined || error === 'temporarily_unavailable') return unreachable(upstream, why)
  if (ofGateway.has(error))
    return new Refusal('connection.registration', `${upstream.name}: ${why}; check idp and oauth_providers`)
  // RFC 9470: the company wants another, or a younger, sign-in. RFC 6749 §5.2: the one that there was is over.
  if ((error === 'insufficient_user_authentication' || error === 'invalid_grant') && provider !== '')
    return signInAgain(issuer, upstream, upstream.auth.provider ?? provider, {
      why,
      maxAge: maxAgeOf(thrown),
    })
  return new Refusal('connection.company-denied', `${upstream.name}: ${why}`, {
    page: { facts: [{ name: 'MCP server', value: upstream.name }] },
  })
}

const exchange = async (
  { token, type, company }: SubjectToken,
  parameters: Readonly<Record<string, string>>,
  deps: DirectDeps,
  wanted: Wanted,
  proving?: Proving,
) => {
  const { through } = createGuardedFetch(deps.runtime, company.upstream, undefined, { proving })
  const form = { ...parameters, subject_token: token, subject_token_type: type }
  return exchangeToken(company, form, through).catch((thrown: unknown) => {
    throw thrown instanceof Refusal
      ? signInRefusal(thrown, wanted.upstream, 'assertion')
      : companyRefusal(thrown, deps, wanted)
  })
}

const scopeOf = (scopes: readonly string[] | undefined): Readonly<Record<string, string>> =>
  scopes ? { scope: scopes.join(' ') } : {}

const resourceOf = (resource: string | undefined): Readonly<Record<string, string>> =>
  resource === undefined ? {} : { resource }

// Identity assertions (draft-ietf-oauth-identity-assertion-authz-grant).

/** It is passed on only as what was asked for: good at that server, for that resource, in the hands of this client. */
const checkIdJag = (
  jag: string,
  upstream: AuthorizedUpstream,
  asked: { readonly aud: string; readonly resource: string | undefined; readonly client_id: string },
): void => {
  const wrong = (name: string, value: unknown): Refusal =>
    untrusted(
      upstream,
      `the identity provider issued an ID-JAG with ${name} ${JSON.stringify(value)?.slice(0, 200)}`,
    )
  let claims: Readonly<Record<string, unknown>>
  try {
    const { typ } = decodeProtectedHeader(jag)
    if (typ !== 'oauth-id-jag+jwt') throw wrong('typ', typ)
    claims = decodeJwt(jag)
  } catch (error) {
    throw error instanceof Refusal ? error : untrusted(upstream, 'the identity provider issued no JWT')
  }
  for (const [name, value] of Object.entries(asked)) {
    const said = claims[name]
    const one: unknown = name === 'aud' && Array.isArray(said) && said.length === 1 ? said[0] : said
    if (value !== undefined && one !== value) throw wrong(name, said)
  }
}

const idJag = async (
  { as, resource, scopes }: DiscoveredServer,
  clientId: string,
  deps: DirectDeps,
  wanted: Wanted,
): Promise<string> => {
  const { upstream } = wanted
  const form = {
    requested_token_type: tokenType('id-jag'),
    audience: as.issuer,
    ...resourceOf(resource),
    ...scopeOf(scopes),
  }
  const subject = await deps.findSubject(upstream, wanted)
  const { answer, issuedType } = await exchange(subject, form, deps, wanted)
  if (issuedType !== tokenType('id-jag') || answer.token_type !== 'n_a')
    throw untrusted(upstream, `the identity provider issued ${JSON.stringify(issuedType)?.slice(0, 100)}`)
  checkIdJag(answer.access_token, upstream, { aud: as.issuer, resource, client_id: clientId })
  return answer.access_token
}

// The grants.

const provingOf = (key: ProofKey | undefined, { proofs }: DirectDeps): Proving | undefined =>
  key && { proofs, key }

/** RFC 8693: the identity provider issues the token of the upstream itself. */
const obtainExchanged = async (deps: DirectDeps, wanted: Wanted): Promise<Obtained> => {
  const { upstream } = wanted
  const { auth } = upstream
  const guarded = createGuardedFetch(deps.runtime, upstream)
  const said = auth.resource ?? (await readResourceMetadata(upstream, undefined, guarded))?.resource
  const resource = (said ?? upstream.url.href) || undefined
  const key = wanted.key ?? (auth.dpop === 'required' ? await deps.proofs.createKey() : undefined)
  const form = {
    requested_token_type: tokenType('access_token'),
    ...(auth.audience !== undefined && { audience: auth.audience }),
    ...resourceOf(resource),
    ...scopeOf(auth.scopes),
  }
  const subject = await deps.findSubject(upstream, wanted)
  const { answer, issuedType } = await exchange(subject, form, deps, wanted, provingOf(key, deps))
  if (issuedType !== tokenType('access_token') && issuedType !== tokenType('jwt'))
    throw untrusted(upstream, `the identity provider issued ${JSON.stringify(issuedType)?.slice(0, 100)}`)
  const party: Party = { ...subject.company, upstream, resource, proven: key !== undefined }
  const { refresh: _, ...granted } = readAnswer(party, answer)
  return { ...party, resource, scopes: auth.scopes, granted, key }
}

const nobody = { clientId: '', method: 'none' } as const

const obtain = async (deps: DirectDeps, wanted: Wanted): Promise<Obtained> => {
  const { upstream } = wanted
  const { type, client_id: clientId } = upstream.auth
  if (type === 'token_exchange') return obtainExchanged(deps, wanted)
  const guarded = createGuardedFetch(deps.runtime, upstream)
  const found = await discover(upstream, guarded)
  const { as, resource, scopes, dpop } = found
  const registration =
    type === 'workload' && clientId === undefined
      ? nobody
      : await deps.clientRegistrations.at(as, upstream, scopes, guarded)
  const key = wanted.key ?? (dpop ? await deps.proofs.createKey() : undefined)
  const party: Party = { as, registration, upstream, resource, proven: key !== undefined }
  const { through } = createGuardedFetch(deps.runtime, upstream, undefined, { proving: provingOf(key, deps) })
  const request = async (): Promise<Granted> => {
    if (type === 'client_credentials') return exchangeCredentials(party, scopes, through)
    const assertion =
      type === 'workload'
        ? await deps.readAssertion(upstream)
        : await idJag(found, registration.clientId, deps, wanted)
    return exchangeAssertion(party, assertion, scopes, through)
  }
  return { as, registration, resource, scopes, granted: await request(), key }
}

/** An assertion that was refused is not sent again before this time is over, unless it has become another. */
const refusedMs = 60_000

/** Refused assertions of the platform, each of its service. */
const createObtain = (deps: DirectDeps): typeof obtain => {
  const { now, digest } = deps.runtime
  const refused = new Map<
    string,
    { readonly assertion: string; readonly until: number; readonly error: unknown }
  >()
  return async (_, wanted) => {
    const { upstream } = wanted
    if (upstream.auth.type !== 'workload') return obtain(deps, wanted)
    const assertion = digest(await deps.readAssertion(upstream))
    const before = refused.get(upstream.id)
    if (before?.assertion === assertion && before.until > now()) throw before.error
    return obtain(deps, wanted).catch((error: unknown) => {
      if (isRefused(error)) refused.set(upstream.id, { assertion, until: now() + refusedMs, error })
      throw error
    })
  }
}

// The account that is kept of it.

const accountOf = (
  { as, registration: { clientId, method }, resource, scopes = [] }: Obtained,
  { upstream, provider }: Wanted,
  before: Account | undefined,
  now: number,
): Account => ({
  name: provider === undefined ? 'gateway' : 'company',
  at: upstream.origin,
  issuer: as.issuer,
  tokenEndpoint: as.token_endpoint ?? '',
  ...(as.revocation_endpoint !== undefined && { revocationEndpoint: as.revocation_endpoint }),
  clientId,
  method,
  ...(resource !== undefined && { resource }),
  ...(provider !== undefined && { provider }),
  asked: scopes,
  granted: scopes,
  connectedAt: now,
  since: now,
  generation: before?.generation ?? 0,
  refreshable: true,
  sealed: '',
})

const createSave =
  ({ runtime, accounts, record }: DirectDeps) =>
  async (wanted: Wanted, owner: Owner, obtained: Obtained): Promise<void> => {
    const { id } = wanted
    const known = accountIn((await accounts.read(id))?.accounts)
    const account = accountOf(obtained, wanted, known, runtime.now())
    const { granted, registration, key } = obtained
    const sealed = await accounts.seal(
      id,
      account,
      secretsOf(granted, { clientSecret: registration.secret, proofKey: key }),
    )
    await accounts.change(id, (current) => ({
      ...withAccount(current, refreshedAccount(account, granted, sealed, runtime.now())),
      // Not one that the person connected when this service was another.
      chosen: account.name,
      owner: owner === 'gateway' ? owner : personKey(owner),
    }))
    if (owner !== 'gateway')
      record({
        event: 'connection.made',
        service: wanted.upstream.id,
        account: account.name,
        issuer: account.issuer,
        scopes: granted.scopes ?? account.asked,
        refreshable: false,
        person: personKey(owner),
      })
  }

/** After a failure no other request is made for this long. */
const failureMs = 5_000
const mostFailures = 10_000

export interface DirectGrants {
  /** Gets a token, once for all who ask, and saves its account. Rejects with `connection.*` or `upstream.credential`. */
  signIn(upstream: AuthorizedUpstream, owner: Owner): Promise<void>
  readonly renew: RequestTokens
}

export const createDirectGrants = (given: DirectGrantsDeps): DirectGrants => {
  const { runtime, accounts } = given
  const readAssertion = createReadAssertion(runtime)
  const deps: DirectDeps = {
    ...given,
    readAssertion,
    findSubject: createFindSubject({ ...given, readAssertion }),
  }
  const singleFlight = createSingleFlight(runtime)
  const failed = new Map<string, { readonly until: number; readonly error: unknown }>()
  const request = createObtain(deps)

  const save = createSave(deps)
  const claimed = createClaimedWork(deps)

  const begin = async (wanted: Wanted, owner: Owner): Promise<void> => {
    const { upstream } = wanted
    const step = upstream.auth.type === 'client_credentials' ? 'client_credentials' : 'assertion'
    const obtained = await request(deps, wanted).catch((error: unknown) => {
      throw signInRefusal(error, upstream, step)
    })
    await save(wanted, owner, obtained)
  }

  return {
    signIn(upstream, owner) {
      const id = accounts.idOf(owner, upstream.id)
      return singleFlight(id, async () => {
        const before = failed.get(id)
        if (before && before.until > runtime.now()) throw before.error
        const provider = owner === 'gateway' ? undefined : owner.provider
        const wanted = { id, upstream, provider, key: undefined }
        const late = () => unreachable(upstream, 'another process is connecting')
        await claimed(id, () => begin(wanted, owner), late).catch((error: unknown) => {
          if (failed.size >= mostFailures) failed.clear()
          failed.set(id, { until: runtime.now() + failureMs, error })
          throw error
        })
        failed.delete(id)
      })
    },
    renew(id, { provider }, { proofKey: key }) {
      const upstream = deps.upstreamFor(serviceOf(id))
      if (!upstream || !isDirect(upstream) || upstream.auth.type === 'client_credentials') return undefined
      return request(deps, { id, upstream, provider, key }).then(
        ({ granted }) => granted,
        (error: unknown) => {
          throw signInRefusal(error, upstream, 'assertion')
        },
      )
    },
  }
}
