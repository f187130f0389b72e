// What an exchange begins with (RFC 8693 §2.1): the tokens of a person's sign-in, or a JWT that the platform keeps for
// this deployment; and who is asked to exchange it.
import { decodeJwt } from 'jose'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Refreshes } from './access-tokens.ts'
import { type Account, type AccountStore, type Secrets, accountIn } from './accounts.ts'
import { type ProviderSettings, providerPartner, providerService } from './provider-tokens.ts'
import type { Party } from './token-endpoint.ts'
import { type AuthorizedUpstream, type Partner, silent, unreachable } from './upstream.ts'

/** RFC 8693 §3; draft-ietf-oauth-identity-assertion-authz-grant. */
export const tokenType = (name: string): string => `urn:ietf:params:oauth:token-type:${name}`

/** For which account a token is got: its record, and the provider of the person, where it is a person's. */
export interface TokenOwner {
  readonly id: string
  readonly provider: string | undefined
}

export interface SubjectToken {
  readonly token: string
  readonly type: string
  /** Who exchanges it. */
  readonly company: Party
}

/** Rejects with `connection.sign-in-again`, `connection.unreachable` or `upstream.credential`. */
export type FindSubject = (upstream: AuthorizedUpstream, owner: TokenOwner) => Promise<SubjectToken>

export interface SubjectDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly config: ProviderSettings
  readonly issuer: string
  readonly accounts: AccountStore
  readonly refreshes: () => Refreshes
  readonly readAssertion: ReadAssertion
}

// JWTs of the platform.

const longest = 32_768

/** Rejects with `upstream.credential`. */
export type ReadAssertion = (upstream: AuthorizedUpstream) => Promise<string>

export const createReadAssertion =
  ({ readAssertion }: Pick<Runtime, 'readAssertion'>): ReadAssertion =>
  async ({ id, auth }) => {
    const { assertion_file: file, assertion_env: env } = auth
    const key = `mcp_services.${id}.upstream_auth.assertion_${file === undefined ? 'env' : 'file'}`
    const fail = (why: string): Refusal => new Refusal('upstream.credential', `${key}: ${why}`)
    const text = await readAssertion?.({ file, env }).catch((error: unknown) => {
      throw fail(error instanceof Error ? error.message : String(error))
    })
    const jwt = text?.trim() ?? ''
    if (jwt === '') throw fail('is empty or missing')
    if (jwt.length > longest || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(jwt)) throw fail('holds no JWT')
    return jwt
  }

// Tokens of the sign-in.

/** An ID token that ends sooner is renewed first. */
const freshMs = 60_000

/** Undefined for what is no JWT, or has no end. */
const endOf = (idToken: string | undefined): number | undefined => {
  try {
    const { exp } = decodeJwt(idToken ?? '')
    return exp === undefined ? undefined : exp * 1000
  } catch {
    return undefined
  }
}

export const signInAgain = (
  issuer: string,
  { id, name }: AuthorizedUpstream,
  provider: string,
  { why, maxAge }: { readonly why: string; readonly maxAge?: number | undefined },
): Refusal => {
  const url = `${issuer}/login/${provider}${maxAge === undefined ? '' : `?max_age=${maxAge}`}`
  return new Refusal('connection.sign-in-again', `${id}: ${why}`, {
    say: `${name} requires you to sign in again. Open this link in your browser, then try again: ${url}`,
    connect: { url, service: name },
  })
}

/** The provider at which a person of that provider has their sign-in exchanged. Throws `upstream.credential`. */
const providerOf = ({ id, name, auth }: AuthorizedUpstream, provider: string | undefined): string => {
  const wanted = auth.provider ?? provider
  if (wanted === undefined) throw new Refusal('upstream.credential', `${id}: no identity provider`)
  if (provider === undefined || provider === wanted) return wanted
  throw new Refusal('upstream.credential', `${id}: the user signed in with ${provider}, not with ${wanted}`, {
    say: `${name} requires a sign-in with the identity provider of your company.`,
  })
}

const companyAt = (
  as: Party['as'],
  registration: Party['registration'],
  origins: readonly string[],
): Party => ({ as, registration, upstream: { auth: silent, origins }, resource: undefined })

const clientWith = (
  clientId: string,
  method: Account['method'],
  secret: string | undefined,
): Party['registration'] =>
  secret === undefined ? { clientId, method: 'none' } : { clientId, method, secret }

/** As the operator wrote it. */
const writtenCompany = ({ auth: { idp = {} } }: AuthorizedUpstream): Party => {
  const { client_id: clientId = '', client_secret: secret, token_endpoint: endpoint = '' } = idp
  const { origin } = new URL(endpoint)
  const as = { issuer: origin, token_endpoint: endpoint }
  return companyAt(as, clientWith(clientId, 'client_secret_basic', secret), [origin])
}

/** As at the sign-in, but for what the operator wrote. */
const companyOfSignIn = (
  { auth: { idp = {} } }: AuthorizedUpstream,
  account: Account,
  partner: Partner,
): Party => {
  const { client_id: clientId = account.clientId, token_endpoint: endpoint = account.tokenEndpoint } = idp
  const own = clientId === account.clientId
  const secret = idp.client_secret ?? (own ? partner.auth.client_secret : undefined)
  const written = idp.token_endpoint === undefined ? [] : [new URL(idp.token_endpoint).origin]
  const registration = clientWith(clientId, own ? account.method : 'client_secret_basic', secret)
  return companyAt({ issuer: account.issuer, token_endpoint: endpoint }, registration, [
    ...partner.origins,
    ...written,
  ])
}

interface SignedIn {
  readonly id: string
  readonly account: Account
  readonly secrets: Secrets
}

/** `end`: epoch ms; undefined where nobody said. */
const tokenIn = (
  { subject = 'person' }: AuthorizedUpstream['auth'],
  { account, secrets }: SignedIn,
): (Pick<SubjectToken, 'token' | 'type'> & { readonly end: number | undefined }) | undefined => {
  if (subject === 'access_token')
    return { token: secrets.access, type: tokenType('access_token'), end: account.expiresAt }
  if (subject === 'refresh_token')
    return secrets.refresh === undefined
      ? undefined
      : { token: secrets.refresh, type: tokenType('refresh_token'), end: undefined }
  const token = secrets.subjectToken ?? secrets.idToken
  return token === undefined ? undefined : { token, type: tokenType('id_token'), end: endOf(token) }
}

export const createFindSubject = (deps: SubjectDeps): FindSubject => {
  const { runtime, config, issuer, accounts } = deps

  const read = async (id: string): Promise<SignedIn | undefined> => {
    const account = accountIn((await accounts.read(id))?.accounts)
    const secrets = account && account.ended === undefined ? await accounts.open(id, account) : undefined
    return account && secrets && { id, account, secrets }
  }

  /** The tokens of the sign-in, renewed where the one that is wanted is nearly over. */
  const renewed = async (upstream: AuthorizedUpstream, signedIn: SignedIn): Promise<SignedIn | undefined> => {
    const { id, account } = signedIn
    const { end = Infinity } = tokenIn(upstream.auth, signedIn) ?? {}
    if (end - runtime.now() >= freshMs || !account.refreshable) return signedIn
    const result = await deps.refreshes().refresh(id, account.name, account.generation)
    if (result.kind === 'later') throw unreachable(upstream, result.why)
    return result.kind === 'token' ? read(id) : undefined
  }

  const ofSignIn: FindSubject = async (upstream, owner) => {
    const { auth } = upstream
    const provider = providerOf(upstream, owner.provider)
    const service = providerService(provider)
    const partner = providerPartner(config, service)
    const before = await read(`${owner.id.slice(0, owner.id.indexOf(':'))}:${service}`)
    const signedIn = before && (await renewed(upstream, before))
    const found = signedIn && tokenIn(auth, signedIn)
    if (!signedIn || !found || !partner || (found.end ?? Infinity) <= runtime.now())
      throw signInAgain(issuer, upstream, provider, {
        why: `no ${auth.subject ?? 'ID token'} of ${provider}`,
      })
    const { token, type } = found
    return { token, type, company: companyOfSignIn(upstream, signedIn.account, partner) }
  }

  return async (upstream, owner) => {
    const { auth } = upstream
    if (auth.subject !== 'file' && auth.subject !== 'env') return ofSignIn(upstream, owner)
    const type = tokenType(auth.type === 'id_jag' ? 'id_token' : 'jwt')
    return { token: await deps.readAssertion(upstream), type, company: writtenCompany(upstream) }
  }
}
