// The credential of each call, by the operator's setting for the service, instead of the caller's token; and
// what follows when there is none or an upstream refuses it: another one, once, or a request to the person.
import { type Challenge, readChallenge } from '../kit/discovery.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import { personKey, serviceAccounts } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { UpstreamAuthFailure, UpstreamCredential, UpstreamCredentials } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service, UpstreamAuth } from '../ports/services.ts'
import type { AccessTokens, AccountTokens, TokenLookup } from './access-tokens.ts'
import { type AccountStore, accountIn, isElsewhere, withAccount } from './accounts.ts'
import { type AccountNeeds, credentialRefusal } from './discovery.ts'
import type { Proofs } from './dpop.ts'
import { providerService } from './provider-tokens.ts'
import { type AuthorizedUpstream, connectPath, isPersonal, unreachable, upstreamOf } from './upstream.ts'

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
  /** Signs the gateway in at the upstream; rejects with `connection.*`. */
  readonly signInGateway: (upstream: AuthorizedUpstream) => Promise<void>
}

// The error for a client when only the person can help: a sentence and the link to a page of this gateway.
// Never a third party's link (MCP Elicitation, URL mode).

/**
 * Identifies the person that a link is for. It is a MAC, so it says nothing to anybody else, and it grants
 * nothing, because the page requires a session.
 */
export const ownerMark = async (
  { keys }: Pick<Runtime, 'keys'>,
  person: Person,
  service: string,
): Promise<string> => {
  const mac = await keys.mac('connect-link', `${service}\n${personKey(person)}`)
  return encodeBase64url(mac ?? new Uint8Array()).slice(0, 22)
}

/** No browser opens a link for a service account. */
const noAccount = ({ id, name }: AuthorizedUpstream): Refusal =>
  new Refusal('account.connection', `${id}: a service account has connected no account`, {
    say: `${name} requires an account of each user. A service account cannot connect one.`,
  })

/** Each returns an `upstream.consent`, or `account.connection` for a service account. */
interface ConsentRequired {
  connect(upstream: AuthorizedUpstream, person: Person): Promise<Refusal>
  connectAgain(upstream: AuthorizedUpstream, person: Person, why: string): Promise<Refusal>
  permit(upstream: AuthorizedUpstream, person: Person, scopes: readonly string[]): Promise<Refusal>
  signInAgain(upstream: AuthorizedUpstream, person: Person, why: string): Refusal
}

const createConsentRequired = ({
  runtime,
  issuer,
}: Pick<CredentialsDeps, 'runtime' | 'issuer'>): ConsentRequired => {
  const refusal = (upstream: AuthorizedUpstream, url: string, say: string, why: string): Refusal =>
    new Refusal('upstream.consent', `${upstream.id}: ${why}`, {
      say: `${say} Open this link in your browser, then try again: ${url}`,
      connect: { url, service: upstream.name },
    })
  const connecting = async (
    upstream: AuthorizedUpstream,
    person: Person,
    say: string,
    why: string,
  ): Promise<Refusal> => {
    if (person.provider === serviceAccounts) return noAccount(upstream)
    return refusal(
      upstream,
      `${issuer}${connectPath(upstream.id)}?for=${await ownerMark(runtime, person, upstream.id)}`,
      say,
      why,
    )
  }
  return {
    connect: (upstream, person) =>
      connecting(
        upstream,
        person,
        `${upstream.name} requires an account, and none is connected.`,
        'no account',
      ),
    connectAgain: (upstream, person, why) =>
      connecting(upstream, person, `${upstream.name} no longer accepts your connected account.`, why),
    permit: (upstream, person, scopes) =>
      connecting(
        upstream,
        person,
        `${upstream.name} requires another permission: ${scopes.join(' ')}.`,
        `scope ${scopes.join(' ')}`,
      ),
    signInAgain: (upstream, person, why) =>
      refusal(
        upstream,
        `${issuer}/login?prompt=login`,
        `${upstream.name} requires you to sign in again.`,
        `no token of ${person.provider}: ${why}`,
      ),
  }
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
  return auth.dpop === (found.proofKey ? 'off' : 'required')
    ? { kind: 'ended', why: `upstream_auth.dpop is ${auth.dpop}` }
    : found
}

/** Somebody who signed in with a password of this gateway has no token of an identity provider. */
const noProvider = ({ id, name }: AuthorizedUpstream): Refusal =>
  new Refusal('upstream.credential', `${id}: user signed in without an identity provider`, {
    say: `${name} requires a token from an identity provider, and you signed in with a password. Sign in with the identity provider.`,
  })

type Found = UpstreamCredential | undefined

/** The credential of a token lookup. Rejects with the refusal that names what is missing. */
type FromTokens = (
  upstream: AuthorizedUpstream,
  person: Person | undefined,
  found: TokenLookup,
) => Promise<AccountCredential>

interface Lookups {
  /**
   * Synchronous where nothing has to be awaited. Rejects with `upstream.consent`, `connection.unreachable`
   * and `connection.*` of the gateway's own sign-in.
   */
  lookup(context: CredentialContext): ReturnType<UpstreamCredentials['lookup']>
  /** The token that the gateway gets as itself. */
  ofGateway(upstream: AuthorizedUpstream): Promise<AccountCredential>
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

const createLookups = (
  { runtime: { now }, accessTokens, proofs, signInGateway }: CredentialsDeps,
  fromTokens: FromTokens,
): Lookups => {
  const ofGateway: Lookups['ofGateway'] = async (upstream) => {
    const before = forCurrentServer(upstream, await accessTokens.find('gateway', upstream.id))
    if (before.kind === 'token' || before.kind === 'later') return fromTokens(upstream, undefined, before)
    await signInGateway(upstream)
    accessTokens.forget('gateway', upstream.id)
    return fromTokens(upstream, undefined, await accessTokens.find('gateway', upstream.id))
  }

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
      if (type === 'client_credentials') return () => ofGateway(upstream)
      return (principal) =>
        principal && (type !== 'auto' || context.accountsUntil > now())
          ? personal(context, upstream, principal.person)
          : undefined
    },
    ofGateway,
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
  const { lookup, ofGateway } = createLookups(deps, fromTokens)
  const { stepUp, giveUp } = createAfterAccount(deps, consentRequired)
  const { refuseForOperator, tryAccount } = createAfterNoAccount(deps, fromTokens)
  const refreshed = async (
    upstream: AuthorizedUpstream,
    person: Person | undefined,
    before: AccountCredential,
  ): Promise<UpstreamCredential> => {
    const next = await accessTokens.replace(before.tokens)
    return upstream.auth.type === 'client_credentials' && next.kind === 'ended'
      ? ofGateway(upstream)
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
