// Dynamic client registration management (RFC 7592): a client reads, replaces and deletes its own registration with the token it was given for that.
import type { Config } from '../config/schema.ts'
import { sameText } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler } from '../ports/rooms.ts'
import type { Runtime, Visit } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import type { Clients } from './clients.ts'
import { noStore, onlyMethod } from './form.ts'
import type { Grants } from './grants.ts'
import { readClientMetadata, registeredFacts, registrationAnswer } from './register.ts'
import type { Registration } from './registrations.ts'

export interface ManageDeps {
  readonly runtime: Pick<Runtime, 'now' | 'digest'>
  readonly config: Pick<Config, 'client_lifetime'>
  readonly directory: Directory
  readonly clients: Clients
  readonly grants: Grants
  readonly record: Audit
}

type Read = NonNullable<Awaited<ReturnType<Clients['registrations']['read']>>>

const bearer = /^bearer +(reg-[\w-]{43}) *$/i

export const createManage = ({ runtime, directory, clients, grants, record }: ManageDeps): Handler => {
  const { registrations } = clients

  const own = async (request: Request): Promise<Read> => {
    const sent = request.headers.get('authorization')
    const token = bearer.exec(sent ?? '')?.[1]
    // RFC 7592 §2.1: as of any bearer token that is not valid (RFC 6750 §3.1).
    if (token === undefined && sent !== null) throw new Refusal('registration.token-invalid', 'registration access token malformed', { headers: { 'www-authenticate': 'Bearer error="invalid_token"' } })
    if (token === undefined) throw new Refusal('registration.token-missing', 'registration access token missing', { headers: { 'www-authenticate': 'Bearer' } })
    const id = new URL(request.url).pathname.split('/').at(-1) ?? ''
    const read = await (request.method === 'DELETE' ? registrations.readEnded : registrations.read)(id)
    if (!read) throw new Refusal('registration.unknown', 'registration not found')
    if (!registrations.admits(read.registration, token)) throw new Refusal('registration.token-wrong', read.registration.id)
    return read
  }

  // RFC 7592 §2.2: the request names the client, and its secret if at all as it is.
  const sameClient = ({ registration }: Read, sent: Readonly<Record<string, unknown>>): void => {
    if (sent['client_id'] !== registration.id) throw new Refusal('registration.metadata', 'client_id', { say: 'client_id must match the registration.' })
    const secret = sent['client_secret']
    if (typeof secret === 'string' && !sameText(runtime.digest(secret), registration.secretDigest ?? '')) throw new Refusal('registration.metadata', 'client_secret', { say: 'client_secret must match the current secret, or be omitted.' })
  }

  const replace = async (read: Read, request: Request): Promise<{ readonly registration: Registration; readonly secret?: string }> => {
    const { metadata, sent } = await readClientMetadata(request)
    sameClient(read, sent)
    const replaced = await registrations.replace(read, metadata)
    if (!replaced) throw new Refusal('registration.unknown', 'registration changed or deleted concurrently')
    return replaced
  }

  const remove = async (read: Read, { ip, requestId }: Visit): Promise<Response> => {
    const { registration } = read
    // The client first: without it no grant of it can be refreshed, whatever happens to the rest. Its record goes last, so that a DELETE that was cut short
    // can be repeated, and goes on where it was.
    await registrations.end(read)
    const ended = await grants.revokeOfClient(registration.id, 'client_deleted')
    await registrations.remove(registration.id)
    record({ event: 'client.deleted', client: registration.id, grants: ended, ip, request_id: requestId })
    return new Response(null, { status: 204, headers: noStore })
  }

  return async (request, visit) => {
    onlyMethod(request, 'GET', 'PUT', 'DELETE')
    const read = await own(request)
    if (request.method === 'DELETE') return remove(read, visit)
    const { registration, secret } = request.method === 'PUT' ? await replace(read, request) : { registration: read.registration, secret: undefined }
    if (request.method === 'PUT') record({ event: 'client.updated', ...registeredFacts(registration), ip: visit.ip, request_id: visit.requestId })
    return registrationAnswer(registration, { issuer: directory.issuer, registrations, ...(secret !== undefined && { secret }) })
  }
}
