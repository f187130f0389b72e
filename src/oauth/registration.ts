// Dynamic client registration (RFC 7591): JSON or a form in, what will be enforced out. Deprecated by MCP
// 2026-07-28 and still what many clients do.
import type { Config } from '../config/schema.ts'
import { isLoopbackHost } from '../kit/addresses.ts'
import { sameText } from '../kit/bytes.ts'
import { readWhole } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { BeginFlow } from '../ports/flow-record.ts'
import type { Audit, Handler, Limit } from '../ports/modules.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import {
  type ClientMetadata,
  isDpopOn,
  judgeClientMetadata,
  parseStrictJson,
  registrableGrants,
  strictText,
} from './client.ts'
import type { ClientBindings } from './client-bindings.ts'
import type { Clients, ReadRegistration, Registration, Registrations } from './clients.ts'
import type { Grants } from './grants.ts'
import { endpoints } from './metadata.ts'
import { jsonResponse, maxOAuthBody, mediaTypeOf, noStore, onlyMethod, takeSpace } from './parameters.ts'

/** What of the configuration decides what can be registered. */
type RegistrationSettings = Pick<Config, 'dpop' | 'dynamic_registration'>

export interface RegisterDeps {
  readonly config: RegistrationSettings
  readonly directory: Pick<Directory, 'issuer'>
  readonly clients: Pick<Clients, 'registrations'>
  readonly limit: Limit
  readonly record: Audit
  readonly beginFlow?: BeginFlow | undefined
}

const lists = ['redirect_uris', 'grant_types', 'response_types', 'contacts']

const maxFields = 200

const malformed = (say: string) => new Refusal('registration.metadata', say, { say })

/** A form says lists by repetition or by spaces; no URI contains one. */
const formMetadata = (form: URLSearchParams): Readonly<Record<string, unknown>> => {
  if (form.size > maxFields) throw malformed('The metadata has too many members.')
  // The decoder writes U+FFFD for bytes that are not UTF-8.
  for (const [name, value] of form)
    if (`${name}${value}`.includes('\uFFFD')) throw malformed('The body is not valid UTF-8.')
  const values = (name: string): unknown => {
    const sent = form.getAll(name)
    if (lists.includes(name)) return sent.flatMap((value) => value.split(' ').filter(Boolean))
    if (sent.length > 1) throw malformed('A member was sent more than once.')
    return sent[0]
  }
  return Object.fromEntries([...new Set(form.keys())].map((name) => [name, values(name)]))
}

/**
 * The metadata of a registration request, judged; what is returned is what will be enforced. Throws
 * `registration.*`.
 */
export const readClientMetadata = async (
  request: Request,
  config: RegistrationSettings,
): Promise<{ readonly metadata: ClientMetadata; readonly sent: Readonly<Record<string, unknown>> }> => {
  const { type, charset } = mediaTypeOf(request.headers.get('content-type'))
  const isForm = type === 'application/x-www-form-urlencoded'
  if (charset !== 'utf-8' || (!isForm && type !== 'application/json'))
    throw malformed('Send application/json in UTF-8.')
  const sent = read(await readWhole(request, maxOAuthBody), isForm)
  // RFC 7591 §2: without a method the client has a secret and sends it by Basic.
  const { metadata, fault } = judgeClientMetadata(sent, 'client_secret_basic', registrableGrants(config))
  if (fault)
    throw new Refusal(
      fault.at === 'redirect' ? 'registration.redirect' : 'registration.metadata',
      fault.say,
      { say: fault.say },
    )
  const { dpop_bound_access_tokens: bound, ...rest } = metadata
  // What would not be enforced is not registered, and the answer shows it (RFC 7591 §3.2.1).
  const kept = bound && isDpopOn(config) ? metadata : rest
  return { metadata: kept, sent: sent as Readonly<Record<string, unknown>> }
}

/**
 * The members that were sent. What is registered is what every reader of the same bytes would find in them.
 */
const read = (body: Uint8Array, isForm: boolean): unknown => {
  const text = strictText(body)
  return isForm ? formMetadata(new URLSearchParams(text)) : parseStrictJson(text)
}

/** What the audit trail keeps of a registration. */
export const registeredFacts = ({ id, metadata }: Registration) => ({
  client: id,
  name: metadata.client_name ?? null,
  redirect_uris: metadata.redirect_uris,
  method: metadata.token_endpoint_auth_method,
})

/** RFC 7591 §3.2.1, RFC 7592 §3. */
export const registrationResponse = (
  registration: Registration,
  {
    config,
    issuer,
    registrations,
    secret,
    accessToken,
    status = 200,
  }: {
    readonly config: RegistrationSettings
    readonly issuer: string
    readonly registrations: Registrations
    readonly secret?: string
    readonly accessToken?: string
    readonly status?: number
  },
): Response =>
  jsonResponse(
    {
      client_id: registration.id,
      client_id_issued_at: Math.floor(registration.issuedAt / 1000),
      ...(secret !== undefined && { client_secret: secret }),
      ...(registration.secretDigest !== undefined && {
        client_secret_expires_at: registrations.expiresAt(registration),
      }),
      ...registration.metadata,
      // The operator may have taken it away since.
      grant_types: registration.metadata.grant_types.filter((type) =>
        registrableGrants(config).includes(type),
      ),
      registration_client_uri: `${issuer}${endpoints.manage.path}${registration.id}`,
      ...(accessToken !== undefined && { registration_access_token: accessToken }),
    },
    status,
  )

/** A web app is its host; programs on people's own computers are one kind, because anybody can call theirs so. */
const kindOf = ({ redirect_uris: [uri] }: ClientMetadata): string => {
  if (uri === undefined) return 'program'
  const { protocol, hostname } = new URL(uri)
  return protocol === 'https:' && !isLoopbackHost(hostname) ? hostname : 'native'
}

export const createRegister =
  ({ config, directory, clients, limit, record, beginFlow }: RegisterDeps): Handler =>
  async (request, context) => {
    onlyMethod(request, 'POST')
    const flow = beginFlow?.(request)
    await limit('register-address', { ip: context.ip })
    const { metadata } = await readClientMetadata(request, config)
    await takeSpace(limit, {
      of: 'register',
      record: metadata,
      ip: context.ip,
      kind: kindOf(metadata),
    })
    const { registrations } = clients
    const { registration, secret, accessToken } = await registrations.create(metadata, flow)
    record({
      event: 'client.registered',
      ...registeredFacts(registration),
      ip: context.ip,
      request_id: context.requestId,
    })
    return registrationResponse(registration, {
      config,
      issuer: directory.issuer,
      registrations,
      accessToken,
      ...(secret !== undefined && { secret }),
      status: 201,
    })
  }

// Dynamic client registration management (RFC 7592): a client reads, replaces and deletes its own
// registration with the token it was given for that.

export interface ClientConfigurationDeps {
  readonly config: RegistrationSettings
  readonly runtime: Pick<Runtime, 'digest'>
  readonly directory: Pick<Directory, 'issuer'>
  readonly clients: Pick<Clients, 'registrations'>
  readonly clientBindings: Pick<ClientBindings, 'remove'>
  readonly grants: Pick<Grants, 'revokeOfClient'>
  readonly record: Audit
}

const bearer = /^bearer +(reg-[\w-]{43}) *$/i

/** The registration that the request names, when it comes with the token for it. */
const ownRegistration = async (request: Request, registrations: Registrations): Promise<ReadRegistration> => {
  const sent = request.headers.get('authorization')
  const token = bearer.exec(sent ?? '')?.[1]
  // RFC 7592 §2.1: as of any bearer token that is not valid (RFC 6750 §3.1).
  if (token === undefined && sent !== null)
    throw new Refusal('registration.token-invalid', 'registration access token malformed', {
      headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
    })
  if (token === undefined)
    throw new Refusal('registration.token-missing', 'registration access token missing', {
      headers: { 'www-authenticate': 'Bearer' },
    })
  const id = new URL(request.url).pathname.split('/').at(-1) ?? ''
  const read = await (request.method === 'DELETE' ? registrations.readEnded : registrations.read)(id)
  if (!read) throw new Refusal('registration.unknown', 'registration not found')
  if (!registrations.admits(read.registration, token))
    throw new Refusal('registration.token-wrong', read.registration.id)
  return read
}

// RFC 7592 §2.2: the request names the client, and its secret if at all as it is.
const sameClient = (
  { registration }: ReadRegistration,
  sent: Readonly<Record<string, unknown>>,
  digest: Runtime['digest'],
): void => {
  if (sent['client_id'] !== registration.id)
    throw new Refusal('registration.metadata', 'client_id', {
      say: 'client_id must match the registration.',
    })
  const secret = sent['client_secret']
  if (typeof secret === 'string' && !sameText(digest(secret), registration.secretDigest ?? ''))
    throw new Refusal('registration.metadata', 'client_secret', {
      say: 'client_secret must match the current secret, or be omitted.',
    })
}

const replace = async (
  { config, runtime, clients, record }: ClientConfigurationDeps,
  read: ReadRegistration,
  request: Request,
  context: RequestContext,
): Promise<{ readonly registration: Registration; readonly secret?: string }> => {
  const { metadata, sent } = await readClientMetadata(request, config)
  sameClient(read, sent, runtime.digest)
  const replaced = await clients.registrations.replace(read, metadata)
  if (!replaced) throw new Refusal('registration.unknown', 'registration changed or deleted concurrently')
  record({
    event: 'client.updated',
    ...registeredFacts(replaced.registration),
    ip: context.ip,
    request_id: context.requestId,
  })
  return replaced
}

const remove = async (
  { clients, clientBindings, grants, record }: ClientConfigurationDeps,
  read: ReadRegistration,
  { ip, requestId }: RequestContext,
): Promise<Response> => {
  const { registrations } = clients
  const { id } = read.registration
  // The client first: without it no grant of it can be refreshed, whatever happens to the rest. Its record
  // goes last, so that a DELETE that was cut short can be repeated, and goes on where it was.
  await registrations.end(read)
  await clientBindings.remove(id)
  const ended = await grants.revokeOfClient(id, 'client_deleted')
  await registrations.remove(id)
  record({ event: 'client.deleted', client: id, grants: ended, ip, request_id: requestId })
  return new Response(null, { status: 204, headers: noStore })
}

export const createClientConfiguration = (deps: ClientConfigurationDeps): Handler => {
  const { registrations } = deps.clients
  const { issuer } = deps.directory
  const { config } = deps
  return async (request, context) => {
    onlyMethod(request, 'GET', 'PUT', 'DELETE')
    const read = await ownRegistration(request, registrations)
    if (request.method === 'DELETE') return remove(deps, read, context)
    if (request.method === 'GET')
      return registrationResponse(read.registration, { config, issuer, registrations })
    const { registration, secret } = await replace(deps, read, request, context)
    return registrationResponse(registration, {
      config,
      issuer,
      registrations,
      ...(secret !== undefined && { secret }),
    })
  }
}
