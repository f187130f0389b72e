// The token endpoint (RFC 6749 §3.2) and the grant that every client has, the authorization code: parse, count,
// authenticate the client, load, check everything, and only then use up what was presented, in one atomic write.
import { sameText } from '../kit/bytes.ts'
import { aboutRequest } from '../kit/log.ts'
import { type RequestFacts, Refusal } from '../kit/refusal.ts'
import { withoutQuery } from '../kit/urls.ts'
import type { BeginFlow } from '../ports/flow-record.ts'
import type { Counted, Handler } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory, FindAddress } from '../ports/services.ts'
import { type ClientCredentialsGrantDeps, createClientCredentialsGrant } from './client-credentials.ts'
import {
  type Client,
  type GrantSettings,
  type GrantType,
  assertionGrantType,
  deviceGrantType,
  exchangeGrantType,
  grantTypesOf,
  mayUseDevice,
} from './client.ts'
import type { Clients } from './clients.ts'
import { type DeviceGrantDeps, createDeviceGrant } from './device-grant.ts'
import { type Dpop, withProof } from './dpop.ts'
import { createRefreshTokenGrant } from './grant-refresh-token.ts'
import type { Grant } from './grant.ts'
import { type JwtBearerDeps, assertingClient, createJwtBearerGrant } from './jwt-bearer.ts'
import {
  type GrantDeps,
  type GrantHandler,
  type TokenRequest,
  checkKey,
  confirmPerson,
  countFailures,
  factsOf,
  one,
  onlyMethod,
  paceKey,
  readForm,
  refreshKeyOf,
  sameResource,
  tokenResponse,
} from './parameters.ts'
import { paced } from './silent-grant.ts'
import { type TokenExchangeDeps, createTokenExchange } from './token-exchange.ts'
import { subjectOf } from './tokens.ts'

// grant_type=authorization_code (RFC 6749 §4.1.3): one compare-and-set both spends the code and makes the grant
// live.

/**
 * Two exchanges of one code at the same moment come from one client that sent it twice; a later one means
 * that the code leaked (RFC 9700 §2.1.1).
 */
const racingMs = 2_000

const verifierShape = /^[A-Za-z0-9\-._~]{43,128}$/

/** A token request for a code, its parameters read. */
interface CodeExchange {
  readonly request: TokenRequest
  readonly redirectUri: string | undefined
  /** Of the code_verifier that was sent (RFC 7636 §4.6); undefined when that has not the shape of one. */
  readonly challenge: string | undefined
}

/**
 * The code was used before. A request with the right verifier, whatever else it says, means that the code or
 * the client was stolen, so the tokens of the first use are revoked (OAuth 2.1 §4.1.3).
 */
const endReplayed = async (
  { runtime, grants, record }: GrantDeps,
  grant: Grant,
  request: TokenRequest,
): Promise<void> => {
  if (grant.state !== 'live' || runtime.now() - (grant.redeemedAt ?? 0) <= racingMs) return
  await grants.revoke(grant.id, 'code_replayed')
  record({
    event: 'code.replayed',
    ...factsOf(grant, request),
    ...(request.client.id !== grant.clientId && { sent_by: request.client.id }),
  })
}

// Grants that did not begin with a code have neither.
const isProven = ({ challenge = '' }: Grant, sent: string | undefined): boolean =>
  sent !== undefined && sameText(sent, challenge)
const isOver = ({ codeExpiresAt = 0 }: Grant, now: number): boolean => now >= codeExpiresAt

/** Throws unless this code of this grant may be exchanged so, now. */
const check = async (
  deps: GrantDeps,
  grant: Grant,
  { request, redirectUri, challenge }: CodeExchange,
): Promise<void> => {
  const { client, form } = request
  const proven = isProven(grant, challenge)
  if (grant.state !== 'code' && proven) await endReplayed(deps, grant, request)
  if (grant.clientId !== client.id)
    throw new Refusal('code.unknown', `issued to ${grant.clientId}, presented by ${client.id}`)
  request.about(grant)
  if ((redirectUri ?? (grant.redirectSent ? undefined : grant.redirectUri)) !== grant.redirectUri)
    throw new Refusal('code.redirect', withoutQuery(redirectUri ?? '(none)'))
  if (!proven) throw new Refusal('pkce.verifier', 'code_verifier does not match code_challenge')
  if (grant.revokedReason === 'service_replaced') throw new Refusal('code.unknown', 'service was replaced')
  if (grant.state !== 'code') throw new Refusal('code.spent', `grant is ${grant.state}`)
  checkKey(grant, request, 'code.key')
  if (isOver(grant, deps.runtime.now())) throw new Refusal('code.expired', 'code expired')
  // Here and not at the refresh: whoever blocks ends what is live then, and a code comes to life only here.
  const [out] = await Promise.all([
    deps.blocks.covers(grant.person, client.id),
    sameResource(form, grant, deps.find),
    confirmPerson(deps, grant),
  ])
  if (out)
    throw new Refusal(
      out === 'blocked' ? 'code.blocked' : 'person.removed',
      `${subjectOf(grant)} with ${client.id}`,
    )
}

const createAuthorizationCodeGrant = (deps: GrantDeps): GrantHandler => {
  const { runtime, grants, tokens, record } = deps
  return async (request) => {
    const { form } = request
    const code = one(form, 'code')
    const verifier = one(form, 'code_verifier')
    const redirectUri = one(form, 'redirect_uri')
    if (code === undefined)
      throw new Refusal('request.malformed', 'code missing', { say: 'code is required.' })
    if (verifier === undefined)
      throw new Refusal('request.malformed', 'code_verifier missing', { say: 'code_verifier is required.' })
    const challenge = verifierShape.test(verifier) ? runtime.digest(verifier) : undefined
    const claim = tokens.readCode(code)
    const read = claim && (await request.first(claim.grantId))
    if (!claim || !(await tokens.holdsCode(read?.grant, claim)) || !read)
      throw new Refusal('code.unknown', 'code unknown')
    const { grant } = read
    await check(deps, grant, { request, redirectUri, challenge })
    const jkt = request.bind(grant.resource)
    // Signed before the code is spent: afterwards nothing can fail any more, and no code is lost to a fault.
    const [access, refresh] = await Promise.all([
      tokens.access(grant, grant.scopes, jkt),
      grant.refreshable ? tokens.refresh(grant, 0) : undefined,
    ])
    await request.client.spend()
    if (!(await grants.redeem(read, request.context.ip, refreshKeyOf(request, jkt))))
      throw new Refusal('code.spent', 'code redeemed concurrently')
    record({ event: 'grant.issued', scopes: grant.scopes, ...factsOf(grant, request) })
    return tokenResponse(tokens, { access, scopes: grant.scopes, refresh, jkt })
  }
}

// The endpoint.

type GrantHandlerDeps = ClientCredentialsGrantDeps & DeviceGrantDeps & TokenExchangeDeps & JwtBearerDeps

export interface TokenDeps extends GrantHandlerDeps {
  readonly config: JwtBearerDeps['config'] & GrantSettings
  readonly clients: Clients
  readonly beginFlow?: BeginFlow | undefined
  readonly directory: JwtBearerDeps['directory'] & Pick<Directory, 'resolve'>
  /** `find`, for grants whose tokens may be for the operator's API. */
  readonly findResource: FindAddress
  /** Absent where tokens are bound to nothing. */
  readonly dpop?: Dpop | undefined
}

const createGrantHandler: Readonly<Record<GrantType, (deps: GrantHandlerDeps) => GrantHandler>> = {
  authorization_code: createAuthorizationCodeGrant,
  refresh_token: createRefreshTokenGrant,
  client_credentials: (deps) => paced(deps, createClientCredentialsGrant(deps)),
  [deviceGrantType]: createDeviceGrant,
  [exchangeGrantType]: (deps) => paced(deps, createTokenExchange(deps)),
  [assertionGrantType]: createJwtBearerGrant,
}

/** Of a person who was asked, or of an account that the operator named; no other grant reaches the operator's API. */
const reachesApi: ReadonlySet<GrantType> = new Set([
  'authorization_code',
  'refresh_token',
  'client_credentials',
  deviceGrantType,
])

/** Whoever may send people here may use what comes of it; a grant says by itself whether it can be refreshed. */
const mayUse = (client: Client, type: GrantType, config: GrantSettings): boolean => {
  const people = client.grantTypes.includes('authorization_code')
  if (type === deviceGrantType) return mayUseDevice(config, client)
  if (type === exchangeGrantType) return config.token_exchange.some(({ client: id }) => id === client.id)
  // The issuer of the assertion says for which clients it is.
  if (type === assertionGrantType) return true
  return type === 'refresh_token' ? people : client.grantTypes.includes(type)
}

/** Each device is counted by itself: many of them share an address, and each polls. */
const countedBy = (digest: Runtime['digest'], ip: string, form: URLSearchParams): Counted => {
  const device = form.get('grant_type') === deviceGrantType ? form.get('device_code') : null
  return device === null ? paceKey(digest, ip, form) : { ip, and: `device ${digest(device).slice(0, 2)}` }
}

/** A program that presents an assertion of its platform is no client. */
const authenticateFor = (type: GrantType, clients: Clients): Clients['authenticate'] =>
  type === assertionGrantType
    ? (request, form) => assertingClient(clients, request, form)
    : clients.authenticate

/** Throws `grant.type`. */
const readType = (form: URLSearchParams, offered: readonly GrantType[]): GrantType => {
  const named = one(form, 'grant_type')
  if (named === undefined)
    throw new Refusal('request.malformed', 'grant_type missing', { say: 'grant_type is required.' })
  const type = offered.find((known) => known === named)
  if (type) return type
  const say = `grant_type must be one of ${offered.join(', ')}.`
  throw new Refusal('grant.type', `grant_type ${named.slice(0, 100)}`, { say })
}

export const createToken = ({ clients, beginFlow, dpop, findResource, ...deps }: TokenDeps): Handler => {
  const { runtime, grants, tokens, directory, limit } = deps
  const offered = grantTypesOf(deps.config)
  const handlers = new Map(
    offered.map((type) => [
      type,
      createGrantHandler[type](reachesApi.has(type) ? { ...deps, find: findResource } : deps),
    ]),
  )
  return async (request, context) => {
    onlyMethod(request, 'POST')
    const form = await readForm(request)
    await limit('token', countedBy(runtime.digest, context.ip, form))
    const type = readType(form, offered)
    // Before anything that is good once is looked at: whoever is told of a nonce sends the same again.
    const proof = await dpop?.atTokenEndpoint(request)
    // The client and its grant are two records, perhaps far away: both are read at once, and the client is
    // authenticated first.
    const claimed =
      tokens.readCode(form.get('code') ?? '') ?? tokens.readRefresh(form.get('refresh_token') ?? '')
    const grant = claimed && grants.read(claimed.grantId)
    grant?.catch(() => undefined)
    const authenticate = countFailures(deps, authenticateFor(type, clients), context.ip)
    const client = await authenticate(request, form)
    const handle = handlers.get(type)
    if (!handle || !mayUse(client, type, deps.config))
      throw new Refusal('client.grant', `${client.id} with ${type}`)
    let facts: RequestFacts = {}
    const about = (grant: Grant): void =>
      void (facts = {
        person: subjectOf(grant),
        service: directory.resolve(grant.resource)?.service.id,
        flow: grant.flow,
      })
    try {
      const response = await handle({
        client: proof ? withProof(client, proof) : client,
        form,
        context,
        about,
        key: proof?.jkt,
        bind: (resource) => dpop?.bind(client, resource, proof),
        begin: () => beginFlow?.(request),
        first: (id) => (grant && id === claimed.grantId ? grant : grants.read(id)),
      })
      if (proof?.nonce !== undefined) response.headers.set('dpop-nonce', proof.nonce)
      return response
    } catch (error) {
      throw error instanceof Refusal ? aboutRequest(error, facts) : error
    }
  }
}
