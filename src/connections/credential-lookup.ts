// The credential that an upstream gets instead of the caller's token, by the operator's setting for the
// service.
import { Refusal } from '../kit/refusal.ts'
import type { UpstreamCredential } from '../ports/modules.ts'
import type { Person, Principal } from '../ports/people.ts'
import type { Service, UpstreamAuth } from '../ports/services.ts'
import type { TokenLookup, AccountTokens, AccessTokens } from './access-tokens.ts'
import { isElsewhere } from './accounts.ts'
import type { ConsentRequired } from './consent-required.ts'
import { providerService } from './save-tokens.ts'
import { type AuthorizedUpstream, unreachable, upstreamOf } from './upstream.ts'

/** The access token of an account as a credential. */
export interface CredentialLookup extends UpstreamCredential {
  readonly tokens: AccountTokens
}

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

export interface LookupDeps {
  readonly now: () => number
  readonly accessTokens: AccessTokens
  readonly consentRequired: ConsentRequired
  /** Signs the gateway in at the upstream; rejects with `connection.*`. */
  readonly signInGateway: (upstream: AuthorizedUpstream) => Promise<void>
}

export interface LookUpCredential {
  contextOf(service: Service): CredentialContext
  /**
   * Synchronous where nothing has to be awaited. Rejects with `upstream.consent`, `connection.unreachable`
   * and `connection.*` of the gateway's own sign-in.
   */
  lookup(
    context: CredentialContext,
  ): (
    principal: Principal | undefined,
  ) => UpstreamCredential | undefined | Promise<UpstreamCredential | undefined>
  /** The credential of a token lookup. Rejects with the refusal that names what is missing. */
  fromTokens(
    upstream: AuthorizedUpstream,
    person: Person | undefined,
    found: TokenLookup,
  ): Promise<CredentialLookup>
  /** The token that the gateway gets as itself. */
  ofGateway(upstream: AuthorizedUpstream): Promise<CredentialLookup>
}

const bearer = (token: string): readonly string[] => ['Authorization', `Bearer ${token}`]
const credentialOf = (tokens: AccountTokens): CredentialLookup => ({ headers: bearer(tokens.access), tokens })

/** A token for the former server of the service counts as ended. */
const forCurrentServer = ({ id, origin }: AuthorizedUpstream, found: TokenLookup): TokenLookup =>
  found.kind === 'token' && isElsewhere(found.account, origin)
    ? { kind: 'ended', why: `${id} was at ${found.account.at} when the account was connected` }
    : found

const fixedOf = ({ type, token, headers }: UpstreamAuth): UpstreamCredential | undefined =>
  type === 'static'
    ? { headers: [...(token === undefined ? [] : bearer(token)), ...Object.entries(headers).flat()] }
    : undefined

/** Somebody who signed in with a password of this gateway has no token of an identity provider. */
const noProvider = ({ id, name }: AuthorizedUpstream): Refusal =>
  new Refusal('upstream.credential', `${id}: user signed in without an identity provider`, {
    say: `${name} requires a token from an identity provider, and you signed in with a password. Sign in with the identity provider.`,
  })

const createContext = (service: Service): CredentialContext => {
  const upstream = upstreamOf(service)
  const names =
    upstream?.auth.type === 'static'
      ? Object.keys(upstream.auth.headers).map((name) => name.toLowerCase())
      : []
  return { upstream, fixed: upstream && fixedOf(upstream.auth), names, accountsUntil: 0 }
}

const createFromTokens =
  (consentRequired: ConsentRequired): LookUpCredential['fromTokens'] =>
  async (upstream, person, lookup) => {
    const found = forCurrentServer(upstream, lookup)
    if (found.kind === 'token') return credentialOf(found)
    if (found.kind === 'later') throw unreachable(upstream, found.why)
    const why = found.kind === 'ended' ? found.why : found.kind
    if (!person) throw new Refusal('upstream.credential', `${upstream.id}: ${why}`)
    if (upstream.auth.type === 'idp_token') throw consentRequired.signInAgain(upstream, person, why)
    throw await (found.kind === 'ended'
      ? consentRequired.connectAgain(upstream, person, why)
      : consentRequired.connect(upstream, person))
  }

export const createCredentialLookup = ({
  now,
  accessTokens,
  consentRequired,
  signInGateway,
}: LookupDeps): LookUpCredential => {
  // A changed service is another object, so nothing outlives its configuration.
  const contexts = new WeakMap<Service, CredentialContext>()

  const fromTokens = createFromTokens(consentRequired)

  const ofGateway: LookUpCredential['ofGateway'] = async (upstream) => {
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
  ): UpstreamCredential | undefined | Promise<UpstreamCredential | undefined> => {
    const { type } = upstream.auth
    if (type === 'idp_token' && person.provider === 'local') throw noProvider(upstream)
    const found = accessTokens.find(
      person,
      type === 'idp_token' ? providerService(person.provider) : upstream.id,
    )
    // Without settings the upstream decides call by call whether it requires an account.
    const resolve = (lookup: TokenLookup): UpstreamCredential | undefined | Promise<UpstreamCredential> => {
      const value = forCurrentServer(upstream, lookup)
      if (value.kind === 'token') {
        context.accountsUntil = now() + accountsMs
        return credentialOf(value)
      }
      return type === 'auto' && value.kind !== 'later' ? undefined : fromTokens(upstream, person, value)
    }
    return found instanceof Promise ? found.then(resolve) : resolve(found)
  }

  return {
    contextOf(service) {
      const before = contexts.get(service)
      if (before) return before
      const context = createContext(service)
      contexts.set(service, context)
      return context
    },
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
    fromTokens,
    ofGateway,
  }
}
