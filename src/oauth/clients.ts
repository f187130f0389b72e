// Who a client is, from three sources in order of trust (configuration, metadata document, registration), and
// how it proves that (RFC 6749 §2.3).
import type { Config } from '../config/schema.ts'
import { decodeBase64, encodeBase64url, sameText, utf8Text } from '../kit/bytes.ts'
import { type Records, createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { type Approvals, createApprovals } from './authorization-requests.ts'
import { assertionSubject, assertionType, createProveAssertion } from './client-assertion.ts'
import type { ClientDocuments } from './client-id-document.ts'
import {
  type AuthMethod,
  type AuthenticatedClient,
  type Client,
  type ClientMetadata,
  type GrantType,
  type Leg,
  registrableGrants,
} from './client.ts'
import { one } from './parameters.ts'

// Dynamic registrations (RFC 7591) in the store: one sealed record for each client, which expires when it is
// unused for too long and is renewed by use.

export interface Registration {
  readonly id: string
  readonly metadata: ClientMetadata
  /** Digest of the client secret, for the methods that have one. */
  readonly secretDigest?: string
  /** Digest of the registration access token (RFC 7592 §3). */
  readonly accessDigest: string
  /** It was deleted, and its grants are being ended; it cannot be used for anything else. */
  readonly ended?: true
  /** No person has allowed this client anything yet. */
  readonly unused?: true
  /** Until then: the flow that it began (ports/flow-record.ts). */
  readonly flow?: string
  /** Epoch ms. */
  readonly issuedAt: number
  readonly renewedAt: number
}

/** A registration as it was read, with the version a change must find. */
export interface ReadRegistration {
  readonly registration: Registration
  readonly mark: string
}

/** A new registration, with the secrets that are returned only here. */
export interface NewRegistration {
  readonly registration: Registration
  readonly secret?: string
  readonly accessToken: string
}

export interface Registrations {
  /** Keeps new metadata under a new id. The secrets are returned here and kept as digests. */
  create(metadata: ClientMetadata, flow?: string): Promise<NewRegistration>
  read(id: string): Promise<ReadRegistration | undefined>
  /**
   * New metadata for a registration as it was read; undefined when it changed meanwhile. A secret is made
   * when the method needs one and there was none.
   */
  replace(
    read: ReadRegistration,
    metadata: ClientMetadata,
  ): Promise<{ readonly registration: Registration; readonly secret?: string } | undefined>
  /** All of them, so many read at once; those that are ended too. */
  pages(limit: number): AsyncIterable<readonly { readonly value: Registration }[]>
  /** The same for a registration that may be ended already, to finish deleting it. */
  readEnded(id: string): Promise<ReadRegistration | undefined>
  /** From now on it is unknown to everything but `readEnded`. */
  end(read: ReadRegistration): Promise<void>
  remove(id: string): Promise<void>
  /** A person allowed the client something: from now on its use renews it. */
  use(read: ReadRegistration): Promise<void>
  /** Extends the expiry of a client in use, with at most one write a day and client. */
  renew(read: ReadRegistration): Promise<void>
  /** Epoch seconds at which a registration ends when it is not used again; 0: never (RFC 7591 §3.2.1). */
  expiresAt(registration: Registration): number
  /** Whether this is the registration's access token. */
  admits(registration: Registration, accessToken: string): boolean
}

const renewEveryMs = 86_400_000
/** How long an interrupted DELETE can be repeated. */
const endedMs = 86_400_000
/** Each lost compare-and-set means that another request won, so this many in a row mean a fault. */
const maxAttempts = 10
const idShape = /^client_[A-Za-z0-9_-]{22}$/
const needsSecret = (metadata: ClientMetadata): boolean =>
  metadata.token_endpoint_auth_method === 'client_secret_basic' ||
  metadata.token_endpoint_auth_method === 'client_secret_post'

export const registeredClient = (
  { id, metadata, secretDigest }: Registration,
  digest: Runtime['digest'],
  offered: readonly GrantType[],
): Client => ({
  id,
  name: metadata.client_name ?? 'Unnamed app',
  kind: 'dynamic',
  redirectUris: metadata.redirect_uris,
  authMethod: metadata.token_endpoint_auth_method,
  grantTypes: metadata.grant_types.filter((type) => offered.includes(type)),
  ...(secretDigest && { secretDigest }),
  ...(metadata.jwks && { jwks: metadata.jwks }),
  ...(metadata.jwks_uri && { jwksUri: metadata.jwks_uri }),
  ...(metadata.dpop_bound_access_tokens && { dpop: 'required' }),
  digest: () => digest(JSON.stringify(metadata)),
})

interface Secret {
  readonly secret?: string
  readonly secretDigest?: string
}
type PutOptions = NonNullable<Parameters<Records<Registration>['put']>[2]>

const createReads = (records: Records<Registration>) => {
  const readEnded: Registrations['readEnded'] = async (id) => {
    const kept = idShape.test(id) ? await records.get(id) : undefined
    return kept && { registration: kept.value, mark: kept.mark }
  }
  const read: Registrations['read'] = async (id) => {
    const found = await readEnded(id)
    return found?.registration.ended ? undefined : found
  }

  /**
   * Writes what `next` returns over the version that was read, and tries again over a newer one. Nothing is
   * written when `next` returns undefined.
   */
  const change = async (
    first: ReadRegistration,
    next: (was: Registration) => Registration | undefined,
    ttl: (registration: Registration) => PutOptions,
  ): Promise<void> => {
    let found: ReadRegistration | undefined = first
    for (let attempt = 0; attempt < maxAttempts && found; attempt++) {
      const changed = next(found.registration)
      if (!changed || (await records.put(changed.id, changed, { ...ttl(changed), only: found.mark }))) return
      found = await readEnded(changed.id)
    }
  }
  return { read, readEnded, change }
}

export interface RegistrationsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  /** 0: for ever. */
  readonly lifetimeMs: number
}

const secretFor = (metadata: ClientMetadata, { random, digest }: RegistrationsDeps['runtime']): Secret => {
  if (!needsSecret(metadata)) return {}
  const secret = encodeBase64url(random(32))
  return { secret, secretDigest: digest(secret) }
}

const newRegistration = (
  metadata: ClientMetadata,
  runtime: RegistrationsDeps['runtime'],
): NewRegistration => {
  const { secret, secretDigest } = secretFor(metadata, runtime)
  const accessToken = `reg-${encodeBase64url(runtime.random(32))}`
  const now = runtime.now()
  const registration: Registration = {
    id: `client_${encodeBase64url(runtime.random(16))}`,
    metadata,
    ...(secretDigest && { secretDigest }),
    accessDigest: runtime.digest(accessToken),
    unused: true,
    issuedAt: now,
    renewedAt: now,
  }
  return { registration, accessToken, ...(secret && { secret }) }
}

/**
 * Whether its use extends the expiry now. The id is no secret: knowing it must not be enough to keep an
 * unused registration alive.
 */
const renewsNow = ({ unused, renewedAt }: Registration, lifetimeMs: number, now: number): boolean =>
  lifetimeMs > 0 && !unused && now - renewedAt >= Math.min(renewEveryMs, lifetimeMs / 4)

export const createRegistrations = ({ runtime, lifetimeMs }: RegistrationsDeps): Registrations => {
  // As `client_secret_expires_at` says (RFC 7591 §3.2.1), whether a person has signed in with the client or
  // not.
  const ttl = lifetimeMs > 0 ? { ttlMs: lifetimeMs } : {}
  const records = createRecords<Registration>(runtime, 'client:', { remembered: 256 })
  const { read, readEnded, change } = createReads(records)

  return {
    read,
    readEnded,
    pages: (limit) => records.pages(limit),
    end: (first) =>
      change(
        first,
        ({ ended, ...rest }) => (ended ? undefined : { ...rest, ended: true }),
        () => ({ ttlMs: endedMs }),
      ),
    async create(metadata, flow) {
      const made = newRegistration(metadata, runtime)
      const registration = { ...made.registration, ...(flow !== undefined && { flow }) }
      await records.put(registration.id, registration, { ...ttl, only: 'absent' })
      return made
    },
    async replace({ registration, mark }, metadata) {
      const { secretDigest: former, ...rest } = registration
      const { secret, secretDigest }: Secret =
        former && needsSecret(metadata) ? { secretDigest: former } : secretFor(metadata, runtime)
      const next: Registration = {
        ...rest,
        metadata,
        ...(secretDigest && { secretDigest }),
        renewedAt: runtime.now(),
      }
      const written = await records.put(next.id, next, { ...ttl, only: mark })
      return written === undefined ? undefined : { registration: next, ...(secret && { secret }) }
    },
    remove: async (id) => void (await records.take(id)),
    use: (first) =>
      change(
        first,
        ({ unused, flow: _, ...rest }) => (unused ? { ...rest, renewedAt: runtime.now() } : undefined),
        () => ttl,
      ),
    async renew({ registration, mark }) {
      const now = runtime.now()
      if (!renewsNow(registration, lifetimeMs, now)) return
      // Only over the version that was read: a client deleted meanwhile stays deleted.
      const renewed = { ...registration, renewedAt: now }
      await records.put(renewed.id, renewed, { ...ttl, only: mark })
    },
    expiresAt: ({ renewedAt }) => (lifetimeMs > 0 ? Math.floor((renewedAt + lifetimeMs) / 1000) : 0),
    admits: (registration, accessToken) => sameText(runtime.digest(accessToken), registration.accessDigest),
  }
}

// A client by its id, and its authentication.

/** A client, and its registration as it was read, where it has one. */
export interface FoundClient extends Client {
  readonly registered?: ReadRegistration
}

export interface Clients {
  /**
   * The client with this id, where a person is in front of the browser. Throws `client.unknown`,
   * `client.document` or `client.document-unreachable`.
   */
  find(id: string): Promise<FoundClient>
  /**
   * The client that sent this form to the token, revocation or introspection endpoint, authenticated by the
   * method it is known to use. Throws `client.auth` or `client.document-unreachable`.
   */
  authenticate(request: Request, form: URLSearchParams): Promise<AuthenticatedClient>
  readonly registrations: Registrations
  readonly approvals: Approvals
}

export interface ClientsDeps {
  readonly runtime: Pick<
    Runtime,
    'now' | 'random' | 'store' | 'keys' | 'log' | 'outbound' | 'cache' | 'defer' | 'digest'
  >
  readonly config: Pick<
    Config,
    'clients' | 'client_lifetime' | 'client_metadata_documents' | 'dynamic_registration'
  >
  readonly documents: ClientDocuments
  readonly directory: Directory
}

interface Credentials {
  readonly id: string | undefined
  readonly method: AuthMethod
  /**
   * The secret in the forms it may have been meant: RFC 6749 §2.3.1 encodes both halves of Basic, many
   * clients do not.
   */
  readonly secrets: readonly string[]
  readonly assertion?: string
}

const basicScheme = /^basic +([A-Za-z0-9+/]+={0,2}) *$/i
// RFC 6749 §5.2: a client that used the Authorization header is answered in it.
const challenge = { headers: { 'www-authenticate': 'Basic realm="postern", charset="UTF-8"' } } as const
const unauthenticated = (why: string, withBasic: boolean) =>
  new Refusal('client.auth', why, withBasic ? challenge : {})

const formDecoded = (text: string): string => {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    // URIError: a stray %, so it was never encoded.
    return text
  }
}

const basicCredentials = (header: string): Credentials => {
  const bytes = decodeBase64(basicScheme.exec(header)?.[1] ?? '')
  const [, id, secret] = /^([^:]*):(.*)$/su.exec(bytes ? utf8Text(bytes) : '') ?? []
  if (!id || secret === undefined) throw unauthenticated('malformed Basic credentials', true)
  // Some libraries send Basic with an empty password for a client without a secret.
  return {
    id: formDecoded(id),
    method: secret === '' ? 'none' : 'client_secret_basic',
    secrets: [secret, formDecoded(secret)],
  }
}

/** What was presented. More than one method in one request is refused (RFC 6749 §2.3). */
const credentialsOf = (request: Request, form: URLSearchParams): Credentials => {
  const header = request.headers.get('authorization') ?? ''
  // Neither Basic nor Bearer credentials hold a comma: several fields were sent, and which one counts would
  // be a guess (RFC 9110 §5.3).
  if (header.includes(',')) throw new Refusal('token.repeated', 'Authorization holds a comma')
  const [id, secret, assertion, type] = [
    'client_id',
    'client_secret',
    'client_assertion',
    'client_assertion_type',
  ].map((name) => one(form, name))
  const basic = /^basic(?: |$)/i.test(header) ? basicCredentials(header) : undefined
  if ([basic, secret, assertion].filter(Boolean).length > 1 || (basic && id !== undefined && id !== basic.id))
    throw new Refusal('request.malformed', 'two kinds of client credentials', {
      say: 'Send the client credentials in one way only.',
    })
  if (basic) return basic
  if (secret !== undefined) return { id, method: 'client_secret_post', secrets: [secret] }
  if (assertion === undefined) return { id, method: 'none', secrets: [] }
  if (type !== assertionType) throw unauthenticated(`client_assertion_type ${type?.slice(0, 100)}`, false)
  return { id: id ?? assertionSubject(assertion), method: 'private_key_jwt', secrets: [], assertion }
}

const holdsSecret = (
  { secretDigest }: Client,
  { secrets }: Credentials,
  digest: Runtime['digest'],
): boolean => {
  const digests = secrets.map(digest)
  return secretDigest !== undefined && digests.some((one) => sameText(one, secretDigest))
}

/** Throws `client.auth`. */
const checkSecret = (
  client: Client,
  credentials: Credentials,
  withBasic: boolean,
  digest: Runtime['digest'],
): void => {
  if (!holdsSecret(client, credentials, digest))
    throw unauthenticated(`wrong secret of ${client.id}`, withBasic)
}

const nothing = (): Promise<void> => Promise.resolve()

/** Where each method puts the secret (RFC 6749 §2.3.1). */
const secretPlacement: ReadonlyMap<AuthMethod, string> = new Map([
  ['client_secret_basic', 'in the Authorization header, as HTTP Basic credentials'],
  ['client_secret_post', 'as client_secret in the body, without an Authorization header'],
])

type Configured = Config['clients'][string]

/** What people were asked about; whether the client also acts for itself is nothing to them. */
const saidOf = ({ grant_types: _, service_account: __, dpop: ___, ...said }: Configured) => said

const configuredClient = (id: string, entry: Configured, digest: Runtime['digest']): Client => ({
  id,
  name: entry.name,
  kind: 'registered',
  redirectUris: entry.redirect_uris,
  authMethod: entry.token_endpoint_auth_method,
  grantTypes: entry.grant_types,
  ...(entry.service_account !== undefined && { serviceAccount: entry.service_account }),
  ...(entry.client_secret !== undefined && { secretDigest: digest(entry.client_secret) }),
  ...(entry.jwks && { jwks: entry.jwks as NonNullable<Client['jwks']> }),
  ...(entry.jwks_uri !== undefined && { jwksUri: entry.jwks_uri }),
  ...(entry.dpop !== undefined && { dpop: entry.dpop }),
  digest: () => digest(JSON.stringify(saidOf(entry))),
})

export const createClients = ({ runtime, config, documents, directory }: ClientsDeps): Clients => {
  const registrations = createRegistrations({ runtime, lifetimeMs: config.client_lifetime * 1000 })
  const prove = createProveAssertion({ runtime, directory })
  const configured = new Map(Object.entries(config.clients))
  const offered = registrableGrants(config)

  const known = async (
    id: string,
    leg: Leg,
  ): Promise<{ readonly client: Client; readonly registered?: ReadRegistration } | undefined> => {
    const entry = configured.get(id)
    if (entry) return { client: configuredClient(id, entry, runtime.digest) }
    // Such clients read in the metadata that they have to register.
    if (/^https?:/i.test(id))
      return config.client_metadata_documents ? { client: await documents.resolve(id, leg) } : undefined
    const registered = await registrations.read(id)
    return (
      registered && { client: registeredClient(registered.registration, runtime.digest, offered), registered }
    )
  }

  const find: Clients['find'] = async (id) => {
    const found = await known(id, 'authorize')
    const shortId = id.slice(0, 200)
    if (!found)
      throw new Refusal('client.unknown', `client_id ${shortId} not registered`, {
        page: { facts: [{ name: 'Client', value: shortId }] },
      })
    return found.registered ? { ...found.client, registered: found.registered } : found.client
  }

  /**
   * The right secret, sent by another method than the registered one: only a client that has the secret is
   * told which method to use (RFC 7591 §2).
   */
  const otherMethod = async (
    client: Client,
    credentials: Credentials,
    withBasic: boolean,
  ): Promise<Refusal> => {
    const why = `${client.id}: registered with ${client.authMethod}, authenticated with ${credentials.method}`
    const placement = secretPlacement.get(client.authMethod)
    if (placement === undefined || !holdsSecret(client, credentials, runtime.digest))
      return unauthenticated(why, withBasic)
    const say = `The secret is right, but this client is registered with token_endpoint_auth_method ${client.authMethod} and sent it by ${credentials.method}. Send it ${placement}.`
    return new Refusal('client.auth', why, { say, ...(withBasic && challenge) })
  }

  const authenticate: Clients['authenticate'] = async (request, form) => {
    const credentials = credentialsOf(request, form)
    const withBasic = request.headers.get('authorization') !== null
    if (credentials.id === undefined) throw unauthenticated('no client_id', withBasic)
    const found = await known(credentials.id, 'token')
    if (!found) throw unauthenticated(`unknown client ${credentials.id.slice(0, 200)}`, withBasic)
    const { client, registered } = found
    // An assertion of a client that has keys is always checked, also where it may come without one.
    const proven = credentials.assertion !== undefined && (client.jwks ?? client.jwksUri) !== undefined
    if (!proven && credentials.method !== client.authMethod)
      throw await otherMethod(client, credentials, withBasic)
    const { assertion } = credentials
    const spend = assertion === undefined ? undefined : await prove(client, assertion)
    if (!spend && client.authMethod !== 'none') checkSecret(client, credentials, withBasic, runtime.digest)
    if (registered) await registrations.renew(registered)
    return { ...client, proven: spend !== undefined || client.authMethod !== 'none', spend: spend ?? nothing }
  }

  return { find, authenticate, registrations, approvals: createApprovals({ runtime }) }
}
