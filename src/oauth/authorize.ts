// The authorization endpoint (RFC 6749 §3.1): a request passes the checks below, in their order, is kept for
// this browser, and the person is asked. The order is the security model: until the redirect URI is known to
// be the client's, an error may only be shown to the person (RFC 6749 §4.1.2.1); afterwards it is sent to the
// client.
import type { Config } from '../config/schema.ts'
import { seeOther } from '../kit/http.ts'
import { levelNamed } from '../kit/levels.ts'
import { Refusal } from '../kit/refusal.ts'
import { redirectMatches, withoutQuery } from '../kit/urls.ts'
import type { BeginFlow } from '../ports/flow-record.ts'
import type { Handler, Limit, Sessions } from '../ports/modules.ts'
import type { Permission } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Address, Directory, FindAddress } from '../ports/services.ts'
import type { AuthorizationRequest, PendingRequests } from './authorization-requests.ts'
import { isDpopOn, snapshotOf } from './client.ts'
import type { Clients, FoundClient } from './clients.ts'
import { loginPath } from './consent-request.ts'
import { endpoints } from './metadata.ts'
import { one, ownNavigation, readForm, readQuery, takeSpace, tellClient } from './parameters.ts'

export interface AuthorizeDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly config: Pick<Config, 'dpop'>
  readonly directory: Pick<Directory, 'only'>
  readonly find: FindAddress
  readonly clients: Clients
  readonly pendingRequests: PendingRequests
  readonly sessions: Sessions
  readonly limit: Limit
  readonly beginFlow?: BeginFlow | undefined
}

// Each check takes what those before it have established and returns it with what it adds.

interface ReceivedRequest {
  readonly params: URLSearchParams
  readonly now: number
}

interface ClientRequest extends ReceivedRequest {
  readonly client: FoundClient
}

/** From here on errors are sent to the client. */
interface AnswerableRequest extends ClientRequest {
  readonly redirectUri: string
  readonly redirectSent: boolean
  /** Returned exactly as sent (RFC 6749 §4.1.2), also with an error; of two states neither can be. */
  readonly state?: string
}

interface ChallengedRequest extends AnswerableRequest {
  readonly challenge: string
  /** Thumbprint of the key that the code is to be bound to. */
  readonly jkt?: string
}

interface PromptedRequest extends ChallengedRequest {
  readonly prompt: ReadonlySet<string>
  readonly signedInSince?: number
}

interface AddressedRequest extends PromptedRequest {
  readonly address: Address
}

/** What may be granted of what was asked for. */
interface GrantedScopes {
  readonly scopes: readonly string[]
  readonly level?: Permission
}

type CheckedRequest = AddressedRequest & GrantedScopes

/** A request for access; its errors go to the redirect URI, if it has one. */
interface AskedRequest {
  readonly params: URLSearchParams
  readonly redirectUri?: string
  readonly state?: string
}

const clientKnown = async (request: ReceivedRequest, clients: Clients): Promise<ClientRequest> => {
  const id = one(request.params, 'client_id')
  if (id === undefined) throw new Refusal('client.unknown', 'client_id missing')
  return { ...request, client: await clients.find(id) }
}

const redirectRegistered = (request: ClientRequest): AnswerableRequest => {
  const { redirectUris, id } = request.client
  const sent = one(request.params, 'redirect_uri')
  // OAuth 2.1 §4.1.1: it may be left out where only one was ever registered.
  const redirectUri = sent ?? (redirectUris.length === 1 ? redirectUris[0] : undefined)
  if (
    redirectUri === undefined ||
    !redirectUris.some((registered) => redirectMatches(registered, redirectUri))
  ) {
    const requested = sent === undefined ? '(none)' : withoutQuery(sent)
    const facts = [
      { name: 'Client', value: id },
      ...redirectUris.map((value) => ({ name: 'Registered', value })),
      { name: 'Requested', value: requested },
    ]
    throw new Refusal('redirect.mismatch', `${id}: ${requested}`, { page: { facts } })
  }
  const [state, second] = request.params.getAll('state')
  return {
    ...request,
    redirectUri,
    redirectSent: sent !== undefined,
    ...(state && second === undefined && { state }),
  }
}

const onceOnly = [
  'response_type',
  'response_mode',
  'scope',
  'state',
  'code_challenge',
  'code_challenge_method',
  'dpop_jkt',
  'prompt',
  'max_age',
  'request',
  'request_uri',
  'registration',
] as const

const parametersOnce = (request: AnswerableRequest): void => {
  const repeated = onceOnly.find((name) => request.params.getAll(name).length > 1)
  if (repeated)
    throw tellClient(request, 'request.repeated', repeated, {
      say: `The parameter ${repeated} was sent more than once.`,
    })
}

// OpenID Connect Core §6, §7.2.1: each would make the gateway fetch or believe something of the sender's
// choosing.
const noRequestObject = (request: AnswerableRequest): void => {
  const { params } = request
  if (params.get('request')) throw tellClient(request, 'request.object', 'request')
  if (params.get('request_uri')) throw tellClient(request, 'request.object-uri', 'request_uri')
  if (params.get('registration')) throw tellClient(request, 'request.registration', 'registration')
}

const responseType = (request: AnswerableRequest): void => {
  const type = one(request.params, 'response_type')
  if (type === undefined)
    throw tellClient(request, 'request.malformed', 'response_type missing', {
      say: 'response_type is required.',
    })
  if (type !== 'code') throw tellClient(request, 'response.type', type.slice(0, 100))
  const mode = one(request.params, 'response_mode')
  if (mode !== undefined && mode !== 'query') throw tellClient(request, 'response.mode', mode.slice(0, 100))
}

// RFC 7636 §4.3, OAuth 2.1 §4.1.1: always, for every client; without a method the default would be plain,
// which we do not offer.
const pkce = (request: AnswerableRequest): ChallengedRequest => {
  const challenge = one(request.params, 'code_challenge')
  const method = one(request.params, 'code_challenge_method')
  if (challenge === undefined) throw tellClient(request, 'pkce.missing', 'no code_challenge')
  if (method !== 'S256') throw tellClient(request, 'pkce.method', `${method}`.slice(0, 100))
  if (!/^[\w-]{43}$/.test(challenge))
    throw tellClient(request, 'pkce.challenge', `${challenge.length} characters`)
  return { ...request, challenge }
}

// RFC 9449 §10: the thumbprint of a key, as of RFC 7638 with SHA-256.
const keyBound = (request: ChallengedRequest, isOn: boolean): ChallengedRequest => {
  const jkt = isOn ? one(request.params, 'dpop_jkt') : undefined
  if (jkt === undefined) return request
  if (!/^[\w-]{43}$/.test(jkt))
    throw tellClient(request, 'request.malformed', 'dpop_jkt', {
      say: 'dpop_jkt must be a SHA-256 thumbprint in base64url.',
    })
  return { ...request, jkt }
}

const promptAndAge = (request: ChallengedRequest): PromptedRequest => {
  const prompt = new Set((one(request.params, 'prompt') ?? '').split(' ').filter(Boolean))
  if (prompt.has('none') && prompt.size > 1)
    throw tellClient(request, 'request.malformed', 'prompt none with others', {
      say: 'prompt=none allows no other prompt.',
    })
  const maxAge = one(request.params, 'max_age')
  if (maxAge !== undefined && !/^\d{1,9}$/.test(maxAge))
    throw tellClient(request, 'request.malformed', 'max_age', { say: 'max_age must be a number of seconds.' })
  // OpenID Connect Core §3.1.2.1; select_account asks for the sign-in page, which is where an account is
  // chosen.
  if (prompt.has('login') || prompt.has('select_account'))
    return { ...request, prompt, signedInSince: request.now }
  return maxAge === undefined
    ? { ...request, prompt }
    : { ...request, prompt, signedInSince: request.now - Number(maxAge) * 1000 }
}

// RFC 8707 §2. Without one the request means the only service there is: several clients in use never send it.
export const resourceKnown = async <R extends AskedRequest>(
  request: R,
  { directory, find }: Pick<AuthorizeDeps, 'directory' | 'find'>,
): Promise<R & { readonly address: Address }> => {
  const named = request.params.getAll('resource').filter(Boolean)
  const found = named.length === 0 ? [directory.only] : await Promise.all(named.map(find))
  const [address] = found
  if (!address || found.some((other) => other?.service.id !== address.service.id))
    throw tellClient(request, 'resource.unknown', named.slice(0, 5).map(withoutQuery).join(' '))
  if (!address.service.authRequired)
    throw tellClient(request, 'resource.unknown', `${address.service.id} needs no token`)
  return { ...request, address }
}

// RFC 6749 §3.3: no scope means the service's own; of others what we have. Clients ask for openid or profile
// out of habit, and an error would end the login.
export const scopeGranted = <R extends AskedRequest & { readonly address: Address }>(
  request: R,
): R & GrantedScopes => {
  const asked = new Set((one(request.params, 'scope') ?? '').split(' ').filter(Boolean))
  const { scopes: offered } = request.address.service
  const known = offered.filter((scope) => asked.has(scope))
  const scopes = known.length > 0 ? known : offered
  // A level is no scope to grant yet: how far it goes is the person's to say, and the access rules' (consent.ts).
  const level = levelNamed([...asked], offered)
  return {
    ...request,
    scopes: asked.has('offline_access') ? [...scopes, 'offline_access'] : scopes,
    ...(level === undefined ? {} : { level }),
  }
}

/** The checks whose errors are sent to the client, in order. */
const checked = async (request: AnswerableRequest, deps: AuthorizeDeps): Promise<CheckedRequest> => {
  parametersOnce(request)
  noRequestObject(request)
  responseType(request)
  return scopeGranted(await resourceKnown(promptAndAge(keyBound(pkce(request), isDpopOn(deps.config))), deps))
}

/**
 * Bytes of a request by form: what a request line would have held, because it is kept until the person
 * answers and goes back in one (`state`).
 */
const maxRequest = 16_384

/** What the checks have established, as it is kept. */
const requestOf = (
  request: CheckedRequest,
  session: { readonly id: string } | undefined,
  isOwnNavigation: boolean,
  flow: string | undefined,
): AuthorizationRequest => ({
  clientId: request.client.id,
  client: snapshotOf(request.client, request.scopes),
  redirectUri: request.redirectUri,
  redirectSent: request.redirectSent,
  ...(request.state !== undefined && { state: request.state }),
  challenge: request.challenge,
  ...(request.jkt !== undefined && { jkt: request.jkt }),
  resource: request.address.resource,
  scopes: request.scopes,
  ...(request.level !== undefined && { level: request.level }),
  promptConsent: request.prompt.has('consent'),
  promptNone: request.prompt.has('none'),
  ...(request.signedInSince !== undefined && { signedInSince: request.signedInSince }),
  ...(request.signedInSince === request.now && session && { earlierSession: session.id }),
  ownNavigation: isOwnNavigation,
  ...(flow !== undefined && { flow }),
})

export const createAuthorize = (deps: AuthorizeDeps): Handler => {
  const { runtime, clients, pendingRequests, sessions, limit, beginFlow } = deps
  return async (request, context) => {
    await limit('authorize', { ip: context.ip })
    // RFC 6749 §3.1 allows POST; its query is never read, so the two cannot be played against each other.
    const params = request.method === 'POST' ? await readForm(request, maxRequest) : readQuery(request)
    const session = sessions.of(request)
    session.catch(() => undefined)
    const known = await clientKnown({ params, now: runtime.now() }, clients)
    // Until a person has allowed it something, what a registered client asks belongs to its registration.
    const flow = beginFlow?.(request, known.client.registered?.registration.flow)
    const answerable = redirectRegistered(known)
    const { authorization, signedIn } = await clients.approvals.guard(async () => {
      const complete = await checked(answerable, deps)
      const found = await session
      if (complete.prompt.has('none') && !found)
        throw tellClient(complete, 'login.required', 'prompt=none without a session')
      return {
        authorization: requestOf(complete, found, ownNavigation(request), flow),
        signedIn: found !== undefined,
      }
    }, answerable.client)
    if (!signedIn) await takeSpace(limit, { of: 'authorize', record: authorization, ip: context.ip })
    const { id, cookies } = await pendingRequests.open(authorization, request)
    // Whoever is not signed in would only be sent on from there.
    const onward = signedIn
      ? `${endpoints.consent.path}?flow=${id}`
      : loginPath(id, authorization.signedInSince === undefined ? undefined : 'login')
    return seeOther(onward, cookies)
  }
}
