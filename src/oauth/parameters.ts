// How OAuth parameters arrive and are sent back. They arrive in bounded bodies, each parameter once, and an
// empty one counts as absent (RFC 6749 §3.1, §3.2).
import type { Config } from '../config/schema.ts'
import { decodeBase64, utf8Text } from '../kit/bytes.ts'
import { foreignSender, isUtf8, readMediaType, readWhole } from '../kit/http.ts'
import { type RefusalCode, type RefusalDetail, Refusal } from '../kit/refusal.ts'
import { withParams, withoutQuery } from '../kit/urls.ts'
import type { Audit, Blocks, ConfirmPerson, Counted, Limit } from '../ports/modules.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import type { Directory, FindAddress } from '../ports/services.ts'
import { apiAddress, apiTarget } from './api-tokens.ts'
import type { AuthenticatedClient } from './client.ts'
import type { Grant, ReadGrant } from './grant.ts'
import type { Grants } from './grants.ts'
import type { StepUps } from './step-up.ts'
import { type Tokens, subjectOf } from './tokens.ts'

/** Largest body of an OAuth endpoint, bytes. */
export const maxOAuthBody = 65_536
const maxParameters = 100

/**
 * Media type and charset of a Content-Type, in lower case: `utf-8` when absent, `type` empty for what is no
 * media type.
 */
export const mediaTypeOf = (header: string | null): { readonly type: string; readonly charset: string } => {
  const media = readMediaType(header ?? '')
  const charset = !media || isUtf8(media) ? 'utf-8' : String(media.parameters.get('charset'))
  return { type: media?.essence ?? '', charset }
}

const strict = (params: URLSearchParams, most = maxParameters): URLSearchParams => {
  if (params.size > most) throw new Refusal('request.malformed', `${params.size} parameters`)
  // The decoder writes U+FFFD for bytes that are not UTF-8; such a value could not be echoed or compared as
  // it was sent.
  for (const [name, value] of params)
    if (name.includes('\uFFFD') || value.includes('\uFFFD'))
      throw new Refusal('request.malformed', 'a parameter is not UTF-8')
  return params
}

export const readQuery = (request: Request): URLSearchParams => strict(new URL(request.url).searchParams)

/** The parameters of a form body; nothing is ever read from the query beside it. */
export const readForm = async (
  request: Request,
  maxBytes = maxOAuthBody,
  most = maxParameters,
): Promise<URLSearchParams> => {
  const { type, charset } = mediaTypeOf(request.headers.get('content-type'))
  if (type !== 'application/x-www-form-urlencoded' || charset !== 'utf-8')
    throw new Refusal('request.malformed', `Content-Type ${type}; charset=${charset}`, {
      say: 'Send application/x-www-form-urlencoded encoded as UTF-8.',
    })
  return strict(new URLSearchParams(utf8Text(await readWhole(request, maxBytes))), most)
}

/** The value of a parameter; undefined when absent or empty; a repeated one is refused. */
export const one = (params: URLSearchParams, name: string): string | undefined => {
  const values = params.getAll(name)
  if (values.length > 1)
    throw new Refusal('request.repeated', name, { say: `The parameter ${name} was sent more than once.` })
  return values[0] || undefined
}

/**
 * What token requests are counted by: the address and the client that the form names. Many people share the
 * address of a hosted client, and nobody may use up another's share by naming its id; two characters of a
 * digest keep whoever makes ids up from filling the counter's memory.
 */
export const paceKey = (digest: Runtime['digest'], ip: string, form: URLSearchParams): Counted => ({
  ip,
  and: digest(form.get('client_id') ?? '').slice(0, 2),
})

/** The client as the request calls it, which proves nothing. */
const namedClient = (request: Request, form: URLSearchParams): string => {
  const [, basic = ''] = /^basic +(\S+)/i.exec(request.headers.get('authorization') ?? '') ?? []
  return utf8Text(decodeBase64(basic) ?? new Uint8Array()).split(':', 1)[0] || (form.get('client_id') ?? '')
}

/** The client of a request, as `authenticate` of the clients finds it. */
type Authenticate = (request: Request, form: URLSearchParams) => Promise<AuthenticatedClient>

interface CountedDeps {
  readonly limit: Limit
  readonly runtime: Pick<Runtime, 'digest'>
}

/**
 * Counts authentications that fail, of each client at each address. What succeeds is counted by nothing here: nobody
 * ends the service for a client by failing in its name, from the same address either. Throws `rate.limited` in the
 * place of `client.auth`.
 */
export const countFailures =
  ({ limit, runtime }: CountedDeps, authenticate: Authenticate, ip: string): Authenticate =>
  async (request, form) => {
    try {
      return await authenticate(request, form)
    } catch (error) {
      if (error instanceof Refusal && error.code === 'client.auth') {
        const client = runtime.digest(namedClient(request, form)).slice(0, 2)
        await limit('refused-clients', { ip, and: `client ${client}` })
      }
      throw error
    }
  }

/** A record that is about to be kept for a caller who has neither a session nor a grant. */
export type Newcomer = { readonly record: unknown; readonly ip: string } & (
  | { readonly of: 'authorize' }
  /** `kind`: of the client; each has a count of its own at an address. */
  | { readonly of: 'register'; readonly kind: string }
)

/**
 * What strangers can make the store hold is counted by its size, per address and in all: a flood meets its
 * end before the store does. Throws `rate.limited` when their address has used its share. Their address was
 * counted for the request itself already, which pays for the first KiB.
 */
export const takeSpace = async (limit: Limit, newcomer: Newcomer): Promise<void> => {
  const { of, record, ip } = newcomer
  const size = Math.ceil(JSON.stringify(record).length / 1024)
  if (size > 1) await limit(of === 'register' ? 'register-address' : of, { ip }, size - 1)
  if (newcomer.of === 'register') await limit('register', { ip, and: newcomer.kind }, size)
  await limit(of === 'register' ? 'kept-registrations' : 'kept-flows', { ip }, size)
}

export const onlyMethod = (request: Request, ...methods: readonly string[]): void => {
  if (!methods.includes(request.method))
    throw new Refusal('request.method', request.method, { headers: { allow: methods.join(', ') } })
}

/**
 * Whether the person navigated here themselves or from a page of ours (Fetch Metadata, Sec-Fetch-Site); a
 * browser that does not say counts as sent by another site.
 */
export const ownNavigation = (request: Request): boolean =>
  ['same-origin', 'none'].includes(request.headers.get('sec-fetch-site') ?? '')

/**
 * Throws `consent.form` for a form that another site sent (RFC 9700 §4.7). It also lacks the cookies of the
 * pending request and of the session, and their common token.
 */
export const fromOurPage = (request: Request, origins: readonly string[]): void => {
  const foreign = foreignSender(request, origins)
  if (foreign !== undefined) throw new Refusal('consent.form', foreign)
}

/** RFC 6749 §5.1: answers that carry tokens are kept by no cache. */
export const noStore = { 'cache-control': 'no-store', pragma: 'no-cache' } as const

export const jsonResponse = (body: unknown, status = 200): Response =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', ...noStore } })

// The authorization response (RFC 6749 §4.1.2): every response to a client's redirect URI is written here, so
// that each names its issuer.

/** Redirect URI and parameters → where the browser is sent. `iss` is added (RFC 9207 §2). */
export const authorizationResponse =
  (issuer: string) =>
  (redirectUri: string, params: Readonly<Record<string, string | undefined>>): string =>
    withParams(redirectUri, { ...params, iss: issuer })

/**
 * A refusal that is sent to the client, at a redirect URI that is known to be its own; without one, to whoever asked.
 */
export const tellClient = (
  { redirectUri, state }: { readonly redirectUri?: string; readonly state?: string },
  code: RefusalCode,
  why: string,
  detail: RefusalDetail = {},
): Refusal =>
  new Refusal(code, why, {
    ...detail,
    ...(redirectUri !== undefined && {
      redirect: { uri: redirectUri, ...(state !== undefined && { state }) },
    }),
  })

// The request and the response that all grants of the token endpoint have in common.

export interface GrantDeps {
  readonly runtime: Pick<Runtime, 'now' | 'keys' | 'digest'>
  readonly config: Pick<Config, 'refresh_grace' | 'refresh_late_repeat'>
  readonly find: FindAddress
  readonly grants: Grants
  readonly blocks: Pick<Blocks, 'covers'>
  readonly stepUps: Pick<StepUps, 'isAsking'>
  readonly tokens: Tokens
  readonly record: Audit
  /** Absent where no identity provider is asked again. */
  readonly confirm?: ConfirmPerson
}

/** A token request of an authenticated client. */
export interface TokenRequest {
  readonly client: AuthenticatedClient
  readonly form: URLSearchParams
  /**
   * The grant that the presented code or token names, read while the client was; as `grants.read` where it
   * must be read again.
   */
  readonly first: (id: string) => Promise<ReadGrant | undefined>
  readonly context: RequestContext
  /** The ID of the flow that begins with this request, where flows are recorded. */
  readonly begin: () => string | undefined
  /** Whose grant it is about, as soon as that is known. */
  readonly about: (grant: Grant) => void
  /** Thumbprint of the key whose proof came with the request (RFC 9449); undefined: none came. */
  readonly key: string | undefined
  /**
   * The thumbprint that a token for this resource is to be bound to; undefined: to none. Throws `proof.missing` where
   * the client or the service requires a proof, so it is asked before anything is used up.
   */
  readonly bind: (resource: string) => string | undefined
}

/**
 * What the refresh token of a grant is bound to (RFC 9449 §5): that of a client which cannot prove who it is, to the
 * key of its proof. Any other client proves it at each request, and may use another key.
 */
export const refreshKeyOf = (
  { client }: Pick<TokenRequest, 'client'>,
  jkt: string | undefined,
): string | undefined => (client.authMethod === 'none' ? jkt : undefined)

/**
 * RFC 9449 §5, §10: what is bound to a key is of no use to whoever has intercepted or stolen it alone. Throws the
 * code, and nothing is used up.
 */
export const checkKey = (
  { jkt }: Grant,
  { key }: Pick<TokenRequest, 'key'>,
  code: 'code.key' | 'refresh.key',
): void => {
  if (jkt !== undefined && jkt !== key) throw new Refusal(code, `bound to ${jkt}, proof of ${key ?? 'none'}`)
}

export type GrantHandler = (request: TokenRequest) => Promise<Response>

/** What the audit trail keeps of a grant. */
export const factsOf = (grant: Grant, { context, key }: TokenRequest) => ({
  grant: grant.id,
  client: grant.clientId,
  person: subjectOf(grant),
  resource: grant.resource,
  flow: grant.flow,
  jkt: key,
  ip: context.ip,
  request_id: context.requestId,
})

/** Throws for who has no access any more by the word of their identity provider. */
export const confirmPerson = async ({ confirm }: Pick<GrantDeps, 'confirm'>, grant: Grant): Promise<void> => {
  const confirmed = await confirm?.(grant.person)
  if (confirmed?.kind === 'gone') throw new Refusal('person.removed', confirmed.why)
}

/** `find`, for those whose tokens may be for the operator's API. */
export const findWithApi =
  (find: FindAddress, { issuer, origins }: Pick<Directory, 'issuer' | 'origins'>): FindAddress =>
  async (resource) =>
    origins.some((origin) => resource === origin + apiTarget || resource === `${origin}${apiTarget}/`)
      ? apiAddress(issuer)
      : find(resource)

/** RFC 8707 §2.2: the same resource again, under whichever address of its service, or none. */
export const sameResource = async (form: URLSearchParams, grant: Grant, find: FindAddress): Promise<void> => {
  const asked = form.getAll('resource').filter(Boolean)
  const service = asked.length > 0 ? (await find(grant.resource))?.service.id : undefined
  for (const named of asked)
    if (service === undefined || (await find(named))?.service.id !== service)
      throw new Refusal('resource.mismatch', withoutQuery(named))
}

/** RFC 6749 §5.1. A member without a value is left out: clients throw their session away over a null. */
export const tokenResponse = (
  tokens: Tokens,
  {
    access,
    scopes,
    refresh,
    jkt,
    expiresIn = tokens.expiresIn,
  }: {
    readonly access: string
    readonly scopes: readonly string[]
    readonly refresh?: string | undefined
    /** What the access token is bound to. */
    readonly jkt: string | undefined
    readonly expiresIn?: number
  },
): Response =>
  jsonResponse({
    access_token: access,
    // RFC 9449 §5.
    token_type: jkt === undefined ? 'Bearer' : 'DPoP',
    expires_in: expiresIn,
    ...(refresh !== undefined && { refresh_token: refresh }),
    scope: scopes.join(' '),
  })
