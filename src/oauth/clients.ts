// Who a client is, from three sources in order of trust (configuration, metadata document, registration), and
// how it proves that (RFC 6749 §2.3).
import { type JSONWebKeySet, createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import type { Config } from '../config/schema.ts'
import { decodeBase64, sameText, utf8Text } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { type Approvals, createApprovals } from './approvals.ts'
import { type ClientDocuments, createFetchJson } from './client-id-document.ts'
import { type AuthMethod, type Client, type Leg, grantTypes } from './client.ts'
import { endpoints } from './endpoints.ts'
import { one } from './parameters.ts'
import {
  type ReadRegistration,
  type Registrations,
  createRegistrations,
  registeredClient,
} from './registrations.ts'

// private_key_jwt (RFC 7523 §3, OIDC Core §9): a client proves who it is by a short-lived token signed with a
// key it published; each is good once.

export const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
/** Asymmetric only: with an HMAC algorithm the published key itself would be the secret. */
export const assertionAlgorithms = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA', 'Ed25519'] as const

const maxAssertion = 8_192
const maxKeySet = 65_536
const leewayMs = 60_000
const longestMs = 3_600_000
const refetchMs = 30_000

/**
 * Throws `client.auth` unless the assertion is this client's, for this server, now and for the first time.
 */
export type ProveAssertion = (client: Client, assertion: string) => Promise<void>

const keySetOf = (text: string): JSONWebKeySet | undefined => {
  try {
    const value = JSON.parse(text) as JSONWebKeySet
    return Array.isArray(value.keys) && value.keys.length > 0 ? value : undefined
  } catch {
    return undefined
  }
}

const headerOf = (assertion: string): { readonly kid?: string } | undefined => {
  try {
    return decodeProtectedHeader(assertion)
  } catch {
    return undefined
  }
}

const verifyWith = async (keys: JSONWebKeySet, assertion: string, client: Client, now: number) =>
  jwtVerify(assertion, createLocalJWKSet(keys), {
    algorithms: [...assertionAlgorithms],
    issuer: client.id,
    subject: client.id,
    requiredClaims: ['aud', 'exp'],
    clockTolerance: leewayMs / 1000,
    currentDate: new Date(now),
  }).then(
    ({ payload }) => payload,
    (thrown: unknown) =>
      new Refusal(
        'client.auth',
        `assertion of ${client.id}: ${thrown instanceof Error ? thrown.message : 'unreadable'}`,
      ),
  )

export interface AssertionDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'outbound' | 'cache' | 'defer' | 'digest'>
  readonly directory: Directory
}

export const createProveAssertion = ({ runtime, directory }: AssertionDeps): ProveAssertion => {
  const remote = createFetchJson({ runtime, directory })
  const audiences = new Set(
    directory.origins.flatMap((origin) => [
      origin,
      `${origin}/`,
      `${origin}${endpoints.token.path}`,
      `${origin}${endpoints.token.alias}`,
    ]),
  )

  const fetchKeys = async (url: string, since: number): Promise<JSONWebKeySet> => {
    const { text, failure } = await remote(url, {
      maxBytes: maxKeySet,
      staleIfDown: true,
      since,
      fault: (candidate) => (keySetOf(candidate) ? undefined : 'not a key set'),
    })
    if (failure?.kind === 'down')
      throw new Refusal('client.document-unreachable', `keys at ${url}: ${failure.why}`, {
        headers: { 'retry-after': '5' },
      })
    const keys = failure ? undefined : keySetOf(text)
    if (!keys) throw new Refusal('client.auth', `keys at ${url}: ${failure?.why ?? 'unreadable'}`)
    return keys
  }

  /** The client's keys. A key id we have not seen may be new: asked again, at most every 30 s. */
  const keysOf = async (client: Client, kid: string | undefined): Promise<JSONWebKeySet> => {
    if (client.jwks) return client.jwks
    if (!client.jwksUri) throw new Refusal('client.auth', `${client.id} has no keys`)
    const known = await fetchKeys(client.jwksUri, 0)
    return kid === undefined || known.keys.some((key) => key.kid === kid)
      ? known
      : fetchKeys(client.jwksUri, runtime.now() - refetchMs)
  }

  return async (client, assertion) => {
    const header = assertion.length <= maxAssertion ? headerOf(assertion) : undefined
    if (!header) throw new Refusal('client.auth', 'the assertion is not a JWT')
    const claims = await verifyWith(await keysOf(client, header.kid), assertion, client, runtime.now())
    if (claims instanceof Refusal) throw claims
    const now = runtime.now()
    const expiresAt = (claims.exp ?? 0) * 1000
    if (expiresAt > now + longestMs)
      throw new Refusal('client.auth', 'the assertion lives longer than an hour')
    if (claims.iat !== undefined && claims.iat * 1000 > now + leewayMs)
      throw new Refusal('client.auth', 'the assertion was issued in the future')
    // One audience (RFC 7523bis): an assertion that names several servers could be taken from one to another.
    const audience = Array.isArray(claims.aud) && claims.aud.length === 1 ? claims.aud[0] : claims.aud
    if (typeof audience !== 'string' || !audiences.has(audience))
      throw new Refusal('client.auth', 'the assertion is for another server')
    // Without an id it is known by what was signed: the signature itself has several spellings (RFC 4648
    // §3.5; ECDSA: s and n − s).
    const key = `jti:${runtime.digest(JSON.stringify([client.id, claims.jti ?? assertion.slice(0, assertion.lastIndexOf('.'))]))}`
    const first = await runtime.store.put(key, '1', {
      ttlMs: Math.max(1, expiresAt - now) + 2 * leewayMs,
      only: 'absent',
    })
    if (!first) throw new Refusal('client.auth', 'the assertion was used before')
  }
}

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
  authenticate(request: Request, form: URLSearchParams): Promise<Client>
  readonly registrations: Registrations
  readonly approvals: Approvals
}

export interface ClientsDeps {
  readonly runtime: Pick<
    Runtime,
    'now' | 'random' | 'store' | 'keys' | 'log' | 'outbound' | 'cache' | 'defer' | 'digest'
  >
  readonly config: Pick<Config, 'clients' | 'client_lifetime' | 'client_metadata_documents'>
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

/**
 * The subject of an assertion names the client when the form does not (RFC 7521 §4.2); it is believed only
 * once the signature holds.
 */
const subjectOf = (assertion: string): string | undefined => {
  const payload = decodeBase64((assertion.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))
  try {
    const { sub } = JSON.parse(payload ? utf8Text(payload) : '') as { readonly sub?: unknown }
    return typeof sub === 'string' ? sub : undefined
  } catch {
    return undefined
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
  return { id: id ?? subjectOf(assertion), method: 'private_key_jwt', secrets: [], assertion }
}

const holdsSecret = (
  { secretDigest }: Client,
  { secrets }: Credentials,
  digest: Runtime['digest'],
): boolean => {
  const digests = secrets.map(digest)
  return secretDigest !== undefined && digests.some((one) => sameText(one, secretDigest))
}

/** Where each method puts the secret (RFC 6749 §2.3.1). */
const secretPlacement: ReadonlyMap<AuthMethod, string> = new Map([
  ['client_secret_basic', 'in the Authorization header, as HTTP Basic credentials'],
  ['client_secret_post', 'as client_secret in the body, without an Authorization header'],
])

type Configured = Config['clients'][string]

const configuredClient = (id: string, entry: Configured, digest: Runtime['digest']): Client => ({
  id,
  name: entry.name,
  kind: 'registered',
  redirectUris: entry.redirect_uris,
  authMethod: entry.token_endpoint_auth_method,
  grantTypes,
  ...(entry.client_secret !== undefined && { secretDigest: digest(entry.client_secret) }),
  ...(entry.jwks && { jwks: entry.jwks as NonNullable<Client['jwks']> }),
  ...(entry.jwks_uri !== undefined && { jwksUri: entry.jwks_uri }),
  digest: () => digest(JSON.stringify(entry)),
})

export const createClients = ({ runtime, config, documents, directory }: ClientsDeps): Clients => {
  const registrations = createRegistrations({ runtime, lifetimeMs: config.client_lifetime * 1000 })
  const prove = createProveAssertion({ runtime, directory })
  const configured = new Map(Object.entries(config.clients))

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
    return registered && { client: registeredClient(registered.registration, runtime.digest), registered }
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

  const checkSecret = async (client: Client, credentials: Credentials, withBasic: boolean): Promise<void> => {
    if (!holdsSecret(client, credentials, runtime.digest))
      throw unauthenticated(`wrong secret of ${client.id}`, withBasic)
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
    if (credentials.assertion !== undefined) await prove(client, credentials.assertion)
    else if (client.authMethod !== 'none') await checkSecret(client, credentials, withBasic)
    if (registered) await registrations.renew(registered)
    return client
  }

  return { find, authenticate, registrations, approvals: createApprovals({ runtime }) }
}
