// The credential of each call, by the operator's setting for the service, instead of the caller's token; and
// what follows when there is none or an upstream refuses it: another one, once, or a request to the person.
import { type Challenge, readChallenge } from '../kit/discovery.ts'
import { exchangesSignIn, serviceAccounts } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { UpstreamAuthFailure, UpstreamCredential, UpstreamCredentials } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service, UpstreamAuth } from '../ports/services.ts'
import type { AccessTokens, AccountTokens, TokenLookup } from './access-tokens.ts'
import { type AccountStore, type Owner, accountIn, isElsewhere, withAccount } from './accounts.ts'
import { type ConsentRequired, createConsentRequired, noAccount, noProvider } from './consent-required.ts'
import type { DirectGrants } from './direct-grants.ts'
import { type AccountNeeds, credentialRefusal } from './discovery.ts'
import type { Proofs } from './dpop.ts'
import { providerService } from './provider-tokens.ts'
import { type AuthorizedUpstream, isDirect, isPersonal, unreachable, upstreamOf } from './upstream.ts'

/** A service with its upstream and what never changes about it. */
export interface CredentialContext {
  /** Undefined for services that are not reached over HTTP. */
  readonly upstream: AuthorizedUpstream | undefined
  readonly fixed: UpstreamCredential | undefined
  /** Header names in lower case that only the gateway may send there. */
  readonly names: readonly string[]
  /**
   * Until when (epoch ms) an upstream without settings is assumed to require an account of each person. Set
   * when it names an authorization server, never because of a bare 401, and extended while accounts are in
   * use.
   */
  accountsUntil: number
}

/**
 * How long `accountsUntil` lasts. Until then a call costs a read of the store, afterwards a refused request.
 */
export const accountsMs = 600_000

const bearer = (token: string): readonly string[] => ['Authorization', `Bearer ${token}`]

const fixedOf = ({ type, token, headers }: UpstreamAuth): UpstreamCredential | undefined =>
  type === 'static'
    ? { headers: [...(token === undefined ? [] : bearer(token)), ...Object.entries(headers).flat()] }
    : undefined

const createContext = (service: Service): CredentialContext => {
  const upstream = upstreamOf(service)
  const names =
    upstream?.auth.type === 'static'
      ? Object.keys(upstream.auth.headers).map((name) => name.toLowerCase())
      : []
  return { upstream, fixed: upstream && fixedOf(upstream.auth), names, accountsUntil: 0 }
}

/** A changed service is another object, so nothing outlives its configuration. */
export const createCredentialContexts = (): ((service: Service) => CredentialContext) => {
  const contexts = new WeakMap<Service, CredentialContext>()
  return (service) => {
    const before = contexts.get(service)
    if (before) return before
    const context = createContext(service)
    contexts.set(service, context)
    return context
  }
}

interface CredentialsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'keys'>
  readonly issuer: string
  readonly contextOf: (service: Service) => CredentialContext
  readonly accounts: AccountStore
  readonly accessTokens: AccessTokens
  readonly proofs: Proofs
  readonly needs: AccountNeeds
  /** Gets tokens without a browser; rejects with `connection.*`. */
  readonly directGrants: Pick<DirectGrants, 'signIn'>
  /** Whether the tokens of the person's sign-in are kept, and their provider still renews them. */
  readonly signInStands: (person: Person) => Promise<boolean>
}

// The credential of a call.

/** The access token of an account as a credential. */
interface AccountCredential extends UpstreamCredential {
  readonly tokens: AccountTokens
}

const credentialOf = (tokens: AccountTokens, proofs: Proofs): AccountCredential =>
  tokens.proofKey
    ? { ...proofs.credential(tokens.access, tokens.proofKey), tokens }
    : { headers: bearer(tokens.access), tokens }

/** A token for the former server of the service counts as ended, and one that `dpop` no longer allows. */
const forCurrentServer = ({ id, origin, auth }: AuthorizedUpstream, found: TokenLookup): TokenLookup => {
  if (found.kind !== 'token') return found
  if (isElsewhere(found.account, origin))
    return { kind: 'ended', why: `${id} was at ${found.account.at} when the account was connected` }
  // One that was connected is not used for one of the company's, nor the other way round.
  if ((found.account.provider !== undefined) !== exchangesSignIn(auth))
    return { kind: 'ended', why: `upstream_auth.type is ${auth.type}` }
  return auth.dpop === (found.proofKey ? 'off' : 'required')
    ? { kind: 'ended', why: `upstream_auth.dpop is ${auth.dpop}` }
    : found
}

type Found = UpstreamCredential | undefined

/** The credential of a token lookup. Rejects with the refusal that names what is missing. */
type FromTokens = (
  upstream: AuthorizedUpstream,
  person: Person | undefined,
  found: TokenLookup,
) => Promise<AccountCredential>

/** Lookups of tokens that are got without a browser. */
interface DirectLookups {
  /** A token that is got anew. */
  direct(upstream: AuthorizedUpstream, owner: Owner): Promise<AccountCredential>
  ofGateway(upstream: AuthorizedUpstream): Promise<AccountCredential>
  /** Of a token that the sign-in was exchanged for; with the sign-in it ends. */
  exchanged(upstream: AuthorizedUpstream, person: Person): AccountCredential | Promise<AccountCredential>
}

interface Lookups {
  /**
   * Synchronous where nothing has to be awaited. Rejects with `upstream.consent`, `connection.unreachable`
   * and `connection.*` of the gateway's own sign-in.
   */
  lookup(context: CredentialContext): ReturnType<UpstreamCredentials['lookup']>
}

const createFromTokens =
  (consentRequired: ConsentRequired, { proofs }: Pick<CredentialsDeps, 'proofs'>): FromTokens =>
  async (upstream, person, lookup) => {
    const found = forCurrentServer(upstream, lookup)
    if (found.kind === 'token') return credentialOf(found, proofs)
    if (found.kind === 'later') throw unreachable(upstream, found.why)
    const why = found.kind === 'ended' ? found.why : found.kind
    if (!person) throw new Refusal('upstream.credential', `${upstream.id}: ${why}`)
    if (upstream.auth.type === 'idp_token') throw consentRequired.signInAgain(upstream, person, why)
    throw await (found.kind === 'ended'
      ? consentRequired.connectAgain(upstream, person, why)
      : consentRequired.connect(upstream, person))
  }

const createDirectLookups = (
  { accessTokens, proofs, directGrants, signInStands }: CredentialsDeps,
  fromTokens: FromTokens,
): DirectLookups => {
  const direct: DirectLookups['direct'] = async (upstream, owner) => {
    await directGrants.signIn(upstream, owner)
    accessTokens.forget(owner, upstream.id)
    return fromTokens(upstream, undefined, await accessTokens.find(owner, upstream.id))
  }

  const ofGateway: DirectLookups['ofGateway'] = async (upstream) => {
    const before = forCurrentServer(upstream, await accessTokens.find('gateway', upstream.id))
    return before.kind === 'token' || before.kind === 'later'
      ? fromTokens(upstream, undefined, before)
      : direct(upstream, 'gateway')
  }

  const exchanged: DirectLookups['exchanged'] = (upstream, person) => {
    if (person.provider === serviceAccounts) throw noAccount(upstream)
    if (person.provider === 'local') throw noProvider(upstream)
    const resolve = (lookup: TokenLookup): AccountCredential | Promise<AccountCredential> => {
      const value = forCurrentServer(upstream, lookup)
      if (value.kind === 'token') return credentialOf(value, proofs)
      if (value.kind === 'later') throw unreachable(upstream, value.why)
      return direct(upstream, person)
    }
    const found = accessTokens.find(person, upstream.id)
    if (!(found instanceof Promise)) return resolve(found)
    return Promise.all([found, signInStands(person)]).then(([lookup, stands]) =>
      resolve(stands ? lookup : { kind: 'none' }),
    )
  }

  return { direct, ofGateway, exchanged }
}

const createLookups = (
  { runtime: { now }, accessTokens, proofs }: CredentialsDeps,
  fromTokens: FromTokens,
  { ofGateway, exchanged }: DirectLookups,
): Lookups => {
  const personal = (
    context: CredentialContext,
    upstream: AuthorizedUpstream,
    person: Person,
  ): Found | Promise<Found> => {
    const { type } = upstream.auth
    if (type === 'idp_token' && person.provider === serviceAccounts) throw noAccount(upstream)
    if (type === 'idp_token' && person.provider === 'local') throw noProvider(upstream)
    const found = accessTokens.find(
      person,
      type === 'idp_token' ? providerService(person.provider) : upstream.id,
    )
    // Without settings the upstream decides call by call whether it requires an account.
    const resolve = (lookup: TokenLookup): Found | Promise<Found> => {
      const value = forCurrentServer(upstream, lookup)
      if (value.kind === 'token') {
        context.accountsUntil = now() + accountsMs
        return credentialOf(value, proofs)
      }
      return type === 'auto' && value.kind !== 'later' ? undefined : fromTokens(upstream, person, value)
    }
    return found instanceof Promise ? found.then(resolve) : resolve(found)
  }

  return {
    lookup(context) {
      const { upstream, fixed } = context
      if (fixed || !upstream) return () => fixed
      const { type } = upstream.auth
      if (type === 'none' || type === 'static') return () => undefined
      if (exchangesSignIn(upstream.auth))
        return (principal) => principal && exchanged(upstream, principal.person)
      if (isDirect(upstream)) return () => ofGateway(upstream)
      return (principal) =>
        principal && (type !== 'auto' || context.accountsUntil > now())
          ? personal(context, upstream, principal.person)
          : undefined
    },
  }
}

// After a call was refused.

const isTokenCredential = (credential: UpstreamCredential | undefined): credential is AccountCredential =>
  credential !== undefined && 'tokens' in credential

/** After a call without an account was refused. */
const createAfterNoAccount = (
  { runtime: { now }, accessTokens, needs }: CredentialsDeps,
  fromTokens: FromTokens,
) => ({
  /** Only the operator can help. */
  async refuseForOperator(upstream: AuthorizedUpstream, authenticate: readonly string[]): Promise<never> {
    const need = await needs.after(upstream, authenticate)
    throw need === 'account'
      ? credentialRefusal(
          upstream,
          authenticate,
          ', and asks each person for an account, which needs auth_required: true',
        )
      : need
  },

  /** The person's account, if the server requires one and the person has one. */
  async tryAccount(
    context: CredentialContext,
    upstream: AuthorizedUpstream,
    person: Person,
    authenticate: readonly string[],
  ): Promise<UpstreamCredential> {
    const found = await accessTokens.find(person, upstream.id)
    if (found.kind !== 'token' || isElsewhere(found.account, upstream.origin)) {
      const need = await needs.after(upstream, authenticate)
      if (need !== 'account') throw need
    }
    context.accountsUntil = now() + accountsMs
    return fromTokens(upstream, person, found)
  },
})

/** After a call with an account was refused. */
const createAfterAccount = (
  { accounts, accessTokens }: CredentialsDeps,
  consentRequired: ConsentRequired,
) => {
  /**
   * MCP Scope Challenge Handling: more is asked for once; a server that wants it even then is not asked about
   * it again.
   */
  const stepUp = async (
    upstream: AuthorizedUpstream,
    person: Person,
    { tokens: { id, account } }: AccountCredential,
    { scopes = [] }: Challenge,
  ): Promise<never> => {
    const fresh = scopes.filter((scope) => !account.asked.includes(scope) && !account.granted.includes(scope))
    if (fresh.length === 0)
      throw new Refusal(
        'upstream.scope',
        `${upstream.id} wants ${scopes.join(' ').slice(0, 200) || 'more'}, which was asked for`,
      )
    await accounts.change(id, (current) => {
      const same = accountIn(current, account.name)
      return (
        same && withAccount(current, { ...same, wanted: [...new Set([...(same.wanted ?? []), ...fresh])] })
      )
    })
    throw await consentRequired.permit(upstream, person, fresh)
  }

  /**
   * A fresh token was refused like the one before: only the person can help, by connecting the account again.
   */
  const giveUp = async (
    upstream: AuthorizedUpstream,
    person: Person,
    { tokens: { id, account } }: AccountCredential,
    below: boolean,
  ): Promise<never> => {
    // The account may be good everywhere else.
    if (below)
      throw new Refusal(
        'upstream.credential',
        `${upstream.id}: a fresh token was refused below the endpoint`,
        { say: 'The MCP server does not accept your account at its current URL.' },
      )
    await accounts.change(id, (current) => {
      const same = accountIn(current, account.name)
      return same?.generation === account.generation
        ? withAccount(current, { ...same, ended: 'refused by the server' })
        : undefined
    })
    accessTokens.forget(person, upstream.id)
    throw await consentRequired.connectAgain(upstream, person, 'a fresh token was refused')
  }
  return { stepUp, giveUp }
}

export const createCredentials = (deps: CredentialsDeps): UpstreamCredentials => {
  const { contextOf, accessTokens } = deps
  const consentRequired = createConsentRequired(deps)
  const fromTokens = createFromTokens(consentRequired, deps)
  const directs = createDirectLookups(deps, fromTokens)
  const { lookup } = createLookups(deps, fromTokens, directs)
  const { stepUp, giveUp } = createAfterAccount(deps, consentRequired)
  const { refuseForOperator, tryAccount } = createAfterNoAccount(deps, fromTokens)
  const refreshed = async (
    upstream: AuthorizedUpstream,
    person: Person | undefined,
    before: AccountCredential,
  ): Promise<UpstreamCredential> => {
    const next = await accessTokens.replace(before.tokens)
    // What is renewed without a browser says by itself why it is not.
    return isDirect(upstream) && next.kind !== 'token'
      ? directs.direct(upstream, exchangesSignIn(upstream.auth) && person ? person : 'gateway')
      : fromTokens(upstream, person, next)
  }

  const afterForbidden = (
    upstream: AuthorizedUpstream,
    person: Person | undefined,
    before: AccountCredential | undefined,
    authenticate: readonly string[],
  ): Promise<never> | undefined => {
    if (!before || !person || !isPersonal(upstream)) return undefined
    const challenge = readChallenge(authenticate)
    return challenge?.error === 'insufficient_scope' ? stepUp(upstream, person, before, challenge) : undefined
  }

  return {
    names: (service) => contextOf(service).names,
    lookup: (service) => lookup(contextOf(service)),
    after({ address, principal, shown, status, authenticate, below, last }: UpstreamAuthFailure) {
      const context = contextOf(address.service)
      const { upstream } = context
      const person = principal?.person
      const before = isTokenCredential(shown) ? shown : undefined
      if (!upstream) return undefined
      if (status === 403 && !context.fixed) return afterForbidden(upstream, person, before, authenticate)
      if (status !== 401) return undefined
      if (last)
        return before && person && isPersonal(upstream)
          ? giveUp(upstream, person, before, below)
          : refuseForOperator(upstream, authenticate)
      if (before) return refreshed(upstream, person, before)
      return person && isPersonal(upstream)
        ? tryAccount(context, upstream, person, authenticate)
        : refuseForOperator(upstream, authenticate)
    },
  }
}
