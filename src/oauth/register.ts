// Dynamic client registration (RFC 7591): JSON or a form in, what will be enforced out. Deprecated by MCP 2026-07-28 and still what many clients do.
import type { Config } from '../config/schema.ts'
import { readWhole } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { parseStrictJson, strictText } from '../kit/strict-json.ts'
import type { Audit, Handler, Limit } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { judgeClientMetadata } from './client-metadata.ts'
import type { ClientMetadata } from './client-metadata.ts'
import type { Clients } from './clients.ts'
import { endpoints } from './endpoints.ts'
import { jsonAnswer, maxOAuthBody, mediaTypeOf, onlyMethod, takeSpace } from './form.ts'
import type { Registration, Registrations } from './registrations.ts'

export interface RegisterDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly config: Pick<Config, 'client_lifetime'>
  readonly directory: Directory
  readonly clients: Clients
  readonly limit: Limit
  readonly record: Audit
}

const lists = ['redirect_uris', 'grant_types', 'response_types', 'contacts']

const maxFields = 200

const malformed = (say: string) => new Refusal('registration.metadata', say, { say })

/** A form says lists by repetition or by spaces; no URI contains one. */
const formMetadata = (form: URLSearchParams): Readonly<Record<string, unknown>> => {
  if (form.size > maxFields) throw malformed('The metadata has too many members.')
  // The decoder writes U+FFFD for bytes that are not UTF-8.
  for (const [name, value] of form) if (`${name}${value}`.includes('\uFFFD')) throw malformed('The body is not valid UTF-8.')
  const values = (name: string): unknown => {
    const sent = form.getAll(name)
    if (lists.includes(name)) return sent.flatMap((value) => value.split(' ').filter(Boolean))
    if (sent.length > 1) throw malformed('A member was sent more than once.')
    return sent[0]
  }
  return Object.fromEntries([...new Set(form.keys())].map((name) => [name, values(name)]))
}

/** The metadata of a registration request, judged; what is returned is what will be enforced. Throws `registration.*`. */
export const readClientMetadata = async (request: Request): Promise<{ readonly metadata: ClientMetadata; readonly sent: Readonly<Record<string, unknown>> }> => {
  const { type, charset } = mediaTypeOf(request.headers.get('content-type'))
  const isForm = type === 'application/x-www-form-urlencoded'
  if (charset !== 'utf-8' || (!isForm && type !== 'application/json')) throw malformed('Send application/json in UTF-8.')
  const sent = read(await readWhole(request, maxOAuthBody), isForm)
  // RFC 7591 §2: without a method the client has a secret and sends it by Basic.
  const { metadata, fault } = judgeClientMetadata(sent, 'client_secret_basic')
  if (fault) throw new Refusal(fault.at === 'redirect' ? 'registration.redirect' : 'registration.metadata', fault.say, { say: fault.say })
  return { metadata, sent: sent as Readonly<Record<string, unknown>> }
}

/** The members that were sent. What is registered is what every reader of the same bytes would find in them. */
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
export const registrationAnswer = (
  registration: Registration,
  { issuer, registrations, secret, accessToken, status = 200 }: { readonly issuer: string; readonly registrations: Registrations; readonly secret?: string; readonly accessToken?: string; readonly status?: number },
): Response =>
  jsonAnswer(
    {
      client_id: registration.id,
      client_id_issued_at: Math.floor(registration.issuedAt / 1000),
      ...(secret !== undefined && { client_secret: secret }),
      ...(registration.secretDigest !== undefined && { client_secret_expires_at: registrations.expiresAt(registration) }),
      ...registration.metadata,
      registration_client_uri: `${issuer}${endpoints.manage.path}${registration.id}`,
      ...(accessToken !== undefined && { registration_access_token: accessToken }),
    },
    status,
  )

export const createRegister =
  ({ directory, clients, limit, record }: RegisterDeps): Handler =>
  async (request, visit) => {
    onlyMethod(request, 'POST')
    await limit('register', { ip: visit.ip })
    const { metadata } = await readClientMetadata(request)
    await takeSpace(limit, { of: 'register', record: metadata, ip: visit.ip })
    const { registrations } = clients
    const { registration, secret, accessToken } = await registrations.create(metadata)
    record({ event: 'client.registered', ...registeredFacts(registration), ip: visit.ip, request_id: visit.requestId })
    return registrationAnswer(registration, { issuer: directory.issuer, registrations, accessToken, ...(secret !== undefined && { secret }), status: 201 })
  }
