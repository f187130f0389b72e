// A client as the authorization server knows it, wherever that knowledge comes from: the configuration, a
// metadata document or a registration.
import type { JSONWebKeySet, JWK } from 'jose'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import { judgeRedirectUri } from '../kit/urls.ts'
import type { ClientKind, ClientView } from '../ports/pages.ts'

/** How a client proves who it is at the token endpoint (RFC 7591 §2, OIDC Core §9). */
export const authMethods = ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const
export type AuthMethod = (typeof authMethods)[number]
/**
 * Of assertions (RFC 7523 §3). Asymmetric only: with an HMAC algorithm the published key itself would be the
 * secret.
 */
export const assertionAlgorithms = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA', 'Ed25519'] as const

/** Of every gateway; where the operator allows nothing else, the only ones that a client can register. */
export const grantTypes = ['authorization_code', 'refresh_token'] as const
/** RFC 8628 §3.4. */
export const deviceGrantType = 'urn:ietf:params:oauth:grant-type:device_code'
/** RFC 8693 §2.1. */
export const exchangeGrantType = 'urn:ietf:params:oauth:grant-type:token-exchange'
/** RFC 7523 §2.1. */
export const assertionGrantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
export type GrantType =
  | (typeof grantTypes)[number]
  | 'client_credentials'
  | typeof deviceGrantType
  | typeof exchangeGrantType
  | typeof assertionGrantType

/** What of the configuration says which grants there are. */
export type GrantSettings = Pick<
  Config,
  'clients' | 'device' | 'token_exchange' | 'assertion_issuers' | 'dynamic_registration'
>

/** What a client can register, or say in its metadata document. */
export const registrableGrants = ({
  dynamic_registration: allowed,
}: Pick<Config, 'dynamic_registration'>): readonly GrantType[] => [
  ...grantTypes,
  ...(typeof allowed === 'object' ? allowed.grant_types : []),
]

/** What the token endpoint answers, and metadata says: a grant that no client has is not offered. */
export const grantTypesOf = ({
  clients,
  device,
  token_exchange: exchanges,
  assertion_issuers: issuers,
  dynamic_registration,
}: GrantSettings): readonly GrantType[] => [
  ...registrableGrants({ dynamic_registration }),
  ...(typeof dynamic_registration !== 'object' &&
  Object.values(clients).some(({ grant_types: own }) => own.includes('client_credentials'))
    ? (['client_credentials'] as const)
    : []),
  ...(device?.enabled ? ([deviceGrantType] as const) : []),
  ...(exchanges.length > 0 ? ([exchangeGrantType] as const) : []),
  ...(Object.keys(issuers).length > 0 ? ([assertionGrantType] as const) : []),
]

/** Whether tokens can be bound to keys of clients (RFC 9449). */
export const isDpopOn = ({ dpop }: Pick<Config, 'dpop'>): boolean => dpop !== undefined && dpop.mode !== 'off'

/** Whether people may sign in to this client on another device: only where the operator has listed it. */
export const mayUseDevice = ({ device }: Pick<Config, 'device'>, { id }: Pick<Client, 'id'>): boolean =>
  device?.enabled === true && (device.clients.includes(id) || device.clients.includes('*'))

export interface Client {
  readonly id: string
  /** Untrusted text unless the kind is `registered`. */
  readonly name: string
  readonly kind: ClientKind
  /** Host of the metadata document. */
  readonly host?: string
  readonly redirectUris: readonly string[]
  readonly authMethod: AuthMethod
  readonly grantTypes: readonly GrantType[]
  /** ID of the service account that it acts as, of a client with the grant type client_credentials. */
  readonly serviceAccount?: string
  /** SHA-256 of the secret, base64url. */
  readonly secretDigest?: string
  readonly jwks?: JSONWebKeySet
  readonly jwksUri?: string
  /** Whether its tokens are bound to its key, where it or the operator has said so (RFC 9449). */
  readonly dpop?: 'off' | 'optional' | 'required'
  /**
   * Changes whenever what the client says of itself changes; a remembered consent holds for one digest only.
   */
  readonly digest: () => string
}

/** A client that has proven who it is. */
export interface AuthenticatedClient extends Client {
  /** By a secret or a key: anybody may say the ID of one that has neither. */
  readonly proven: boolean
  /**
   * Uses up what it proved that with, where that is good once. Called when nothing else can fail any more but the use of
   * what it presents: a request that is refused may come again as it was. Throws `client.auth` for the second use.
   */
  readonly spend: () => Promise<void>
}

/**
 * Which endpoint asks: for an unknown client the authorization endpoint shows the person a page, and the
 * token endpoint answers 401, which makes the client register again.
 */
export type Leg = 'authorize' | 'token'

/** What pages say of a client, and nothing more of it. */
export const clientView = ({ id, name, kind, host }: ClientView): ClientView => ({
  id,
  name,
  kind,
  ...(host !== undefined && { host }),
})

/**
 * Whether a grant of this client gets a refresh token (MCP authorization, "Refresh Tokens"): when it
 * registered the grant type, or asked for offline_access. A client that says nothing of grant types gets one
 * too: the default of RFC 7591 §2 (authorization_code alone) would send its people to the browser every hour.
 */
export const mayRefresh = (client: Client, scopes: readonly string[]): boolean =>
  client.grantTypes.includes('refresh_token') || scopes.includes('offline_access')

/**
 * A client as it was at the authorization request: what the consent page shows, and the digest by which a
 * later change is detected.
 */
export interface ClientSnapshot extends ClientView {
  /** Whether its grants get a refresh token. */
  readonly refreshable: boolean
  /** Whether it proves who it is at the token endpoint. */
  readonly proves: boolean
  readonly digest: string
}

export const snapshotOf = (client: Client, scopes: readonly string[]): ClientSnapshot => ({
  ...clientView(client),
  refreshable: mayRefresh(client, scopes),
  proves: client.authMethod !== 'none',
  digest: client.digest(),
})

// What a client may say of itself (RFC 7591 §2): the one check for registrations and for metadata documents.
// What it returns is what is enforced.

export interface ClientMetadata {
  readonly redirect_uris: readonly string[]
  readonly client_name?: string
  readonly token_endpoint_auth_method: AuthMethod
  readonly grant_types: readonly GrantType[]
  /** Nothing comes back to a browser of a client that only acts for itself. */
  readonly response_types: readonly ['code'] | readonly []
  readonly jwks?: JSONWebKeySet
  readonly jwks_uri?: string
  /** RFC 9449 §5.2: no bearer tokens for this client. */
  readonly dpop_bound_access_tokens?: true
  readonly application_type?: string
  readonly client_uri?: string
  readonly logo_uri?: string
  readonly tos_uri?: string
  readonly policy_uri?: string
  readonly contacts?: readonly string[]
  readonly software_id?: string
  readonly software_version?: string
}

/** Why metadata cannot be accepted; the text is public. */
export interface MetadataFault {
  readonly at: 'metadata' | 'redirect'
  readonly say: string
}

export type Judged =
  | { readonly metadata: ClientMetadata; readonly fault?: never }
  | { readonly fault: MetadataFault; readonly metadata?: never }

type Members = Readonly<Record<string, unknown>>

const limits = {
  members: 200,
  redirectUris: 50,
  uri: 2048,
  name: 200,
  text: 200,
  list: 20,
  keys: 20,
  whole: 16_384,
} as const

const fault = (say: string, at: MetadataFault['at'] = 'metadata'): { readonly fault: MetadataFault } => ({
  fault: { at, say },
})

// Line breaks, control characters, zero-width and direction-changing characters: a name made of them reads as
// somebody else's (Unicode TR #36).
const unsafeText = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]+/gu

/** Text without characters that change how its neighbours are read; white space runs become one space. */
export const plainText = (value: string): string =>
  value.replaceAll(/\s+/gu, ' ').replaceAll(unsafeText, '').trim()

const text = (value: unknown): string | undefined => {
  if (typeof value !== 'string') return undefined
  const plain = plainText(value)
  return plain && plain.length <= limits.text ? plain : undefined
}

/** Links of a client are shown at most as text; anything but plain https is dropped rather than kept. */
const webUrl = (value: unknown): string | undefined => {
  if (typeof value !== 'string' || value.length > limits.uri || !URL.canParse(value)) return undefined
  const url = new URL(value)
  return url.protocol === 'https:' && !url.username && !url.password ? value : undefined
}

const strings = (value: unknown): readonly string[] | undefined =>
  Array.isArray(value) && value.every((one) => typeof one === 'string') ? value : undefined

// RFC 7518 §6: what a key type needs to verify with, and what only its owner may have.
const keyMembers: ReadonlyMap<unknown, readonly string[]> = new Map([
  ['RSA', ['n', 'e']],
  ['EC', ['crv', 'x', 'y']],
  ['OKP', ['crv', 'x']],
])
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/**
 * A public asymmetric key with the members that verifying needs; whatever else came with it (certificates,
 * remarks) is left out.
 */
const publicKey = (value: unknown): JWK | undefined => {
  const key: Members = typeof value === 'object' && value !== null ? (value as Members) : {}
  const needed = keyMembers.get(key['kty'])
  if (
    !needed ||
    privateMembers.some((name) => name in key) ||
    needed.some((name) => typeof key[name] !== 'string')
  )
    return undefined
  return {
    kty: String(key['kty']),
    ...Object.fromEntries(
      [...needed, 'kid', 'alg', 'use'].flatMap((name) =>
        typeof key[name] === 'string' ? [[name, key[name]]] : [],
      ),
    ),
  }
}

/** A set of public keys; undefined when a member is not one (RFC 7517 §5). */
const publicKeys = (value: unknown): JSONWebKeySet | undefined => {
  const given = (value as { keys?: unknown } | null)?.keys
  if (!Array.isArray(given) || given.length === 0 || given.length > limits.keys) return undefined
  const keys = given.map(publicKey).filter((key) => key !== undefined)
  return keys.length === given.length ? { keys } : undefined
}

/**
 * MCP Authorization, Communication Security: redirect URIs are localhost or https. A home network has ways to
 * be the latter, and the guide names them.
 */
const plainHttp =
  'No redirect URI is acceptable. Plain http is allowed only for localhost, 127.0.0.1 and [::1], because the authorization code would be sent unencrypted. Use an https redirect URI, through a tunnel or with a certificate from your own CA: see docs/guide/production.md#on-a-home-network'

const judgeRedirects = (value: unknown): readonly string[] | MetadataFault => {
  const list = strings(value)
  if (!list || list.length === 0)
    return { at: 'redirect', say: 'redirect_uris must be an array with at least one URI.' }
  if (list.length > limits.redirectUris)
    return { at: 'metadata', say: `redirect_uris has more than ${limits.redirectUris} entries.` }
  // Judged one by one: an app that lists an address we refuse beside those we accept can still log in with
  // the others (Cursor registers three kinds at once).
  const accepted = list.filter((uri) => uri.length <= limits.uri && judgeRedirectUri(uri) !== undefined)
  if (accepted.length === 0 && list.some((uri) => /^http:\/\//i.test(uri)))
    return { at: 'redirect', say: plainHttp }
  return accepted.length > 0
    ? [...new Set(accepted)]
    : {
        at: 'redirect',
        say: 'No redirect URI is acceptable. Use https, http on localhost, 127.0.0.1 or [::1], or an app scheme, without a fragment or credentials.',
      }
}

const judgeAuth = (
  members: Members,
  fallback: AuthMethod,
): Pick<ClientMetadata, 'token_endpoint_auth_method' | 'jwks' | 'jwks_uri'> | MetadataFault => {
  const named = members['token_endpoint_auth_method'] ?? fallback
  const method = authMethods.find((known) => known === named)
  if (!method)
    return { at: 'metadata', say: `token_endpoint_auth_method must be one of ${authMethods.join(', ')}.` }
  const jwksUri = webUrl(members['jwks_uri'])
  const jwks = members['jwks'] === undefined ? undefined : publicKeys(members['jwks'])
  if (members['jwks'] !== undefined && !jwks)
    return { at: 'metadata', say: 'jwks must be a set of public keys.' }
  if (members['jwks_uri'] !== undefined && !jwksUri)
    return { at: 'metadata', say: 'jwks_uri must be an https URL.' }
  if (jwks && jwksUri) return { at: 'metadata', say: 'Set jwks or jwks_uri, not both.' }
  if (method === 'private_key_jwt' && !jwks && !jwksUri)
    return { at: 'metadata', say: 'private_key_jwt requires jwks or jwks_uri.' }
  return { token_endpoint_auth_method: method, ...(jwks && { jwks }), ...(jwksUri && { jwks_uri: jwksUri }) }
}

/** What a client that says nothing of it has, as of every client that people use. */
const askedGrants = (members: Members): readonly string[] =>
  members['grant_types'] === undefined ? grantTypes : (strings(members['grant_types']) ?? [])

/** Whether the client acts for itself alone: no browser ever comes back to it. */
const isProgram = (members: Members, offered: readonly GrantType[]): boolean => {
  const asked = askedGrants(members)
  return (
    offered.includes('client_credentials') &&
    asked.includes('client_credentials') &&
    !asked.includes('authorization_code')
  )
}

const judgeGrants = (
  members: Members,
  offered: readonly GrantType[],
  method: AuthMethod,
): readonly GrantType[] | MetadataFault => {
  const asked = askedGrants(members)
  if (isProgram(members, offered))
    return method === 'none'
      ? {
          at: 'metadata',
          say: 'client_credentials requires client authentication: token_endpoint_auth_method must not be none.',
        }
      : ['client_credentials']
  const responses = members['response_types'] === undefined ? ['code'] : strings(members['response_types'])
  if (!asked.includes('authorization_code'))
    return {
      at: 'metadata',
      say: offered.includes('client_credentials')
        ? 'grant_types must include authorization_code or client_credentials. The only other supported value is refresh_token.'
        : 'grant_types must include authorization_code. The only other supported value is refresh_token.',
    }
  if (!responses?.includes('code')) return { at: 'metadata', say: 'response_types must include code.' }
  // Others are dropped and the echo shows it (RFC 7591 §3.2.1), as is what needs a proof that the client has not.
  return offered.filter(
    (known) => asked.includes(known) && (known !== 'client_credentials' || method !== 'none'),
  )
}

const isFault = (value: unknown): value is MetadataFault =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, 'say')

/** Members that decide nothing: one that is not as it should be is left out. */
const optionalMembers = (members: Members): Partial<ClientMetadata> => {
  const contacts = strings(members['contacts'])
  const applicationType = members['application_type']
  const optional = {
    client_name: text(members['client_name']),
    // Real clients send wrong values; nothing is decided by it.
    application_type: applicationType === 'web' || applicationType === 'native' ? applicationType : undefined,
    client_uri: webUrl(members['client_uri']),
    logo_uri: webUrl(members['logo_uri']),
    tos_uri: webUrl(members['tos_uri']),
    policy_uri: webUrl(members['policy_uri']),
    contacts:
      contacts && contacts.length <= limits.list
        ? contacts.map((contact) => plainText(contact).slice(0, limits.text))
        : undefined,
    software_id: text(members['software_id']),
    software_version: text(members['software_version']),
  }
  return Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined))
}

/**
 * Judges client metadata. Members that are null or empty count as absent (clients send them so), unknown ones
 * are ignored; `fallback` is the method of a client that names none, `offered` what it may register.
 */
export const judgeClientMetadata = (
  input: unknown,
  fallback: AuthMethod,
  offered: readonly GrantType[],
): Judged => {
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    return fault('The metadata must be a JSON object.')
  const entries = Object.entries(input).filter(
    ([, value]) => value !== null && value !== '' && !(Array.isArray(value) && value.length === 0),
  )
  if (entries.length > limits.members) return fault('The metadata has too many members.')
  const members: Members = Object.fromEntries(entries)
  const redirects = isProgram(members, offered) ? [] : judgeRedirects(members['redirect_uris'])
  if (isFault(redirects)) return { fault: redirects }
  const auth = judgeAuth(members, fallback)
  if (isFault(auth)) return { fault: auth }
  const grants = judgeGrants(members, offered, auth.token_endpoint_auth_method)
  if (isFault(grants)) return { fault: grants }
  const name = members['client_name']
  if (name !== undefined && (typeof name !== 'string' || name.length > limits.name))
    return fault(`client_name must be text of at most ${limits.name} characters.`)
  const metadata: ClientMetadata = {
    redirect_uris: redirects,
    ...auth,
    grant_types: grants,
    response_types: isProgram(members, offered) ? [] : ['code'],
    // A form says it in words.
    ...(['true', true].includes(members['dpop_bound_access_tokens'] as never) && {
      dpop_bound_access_tokens: true,
    }),
    ...optionalMembers(members),
  }
  return JSON.stringify(metadata).length > limits.whole
    ? fault('The metadata is larger than 16 KiB.')
    : { metadata }
}

// JSON that every parser reads alike, for documents by which a client says who it is: of two members with one
// name, one parser takes the first and another the last.

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** Deeper nesting has no use there, and exhausts what walks through it. */
const deepest = 50

const metadataFault = (say: string): Refusal => new Refusal('registration.metadata', say, { say })

/**
 * The text of these bytes; throws `registration.metadata` for what is not UTF-8, and for a byte order mark,
 * which some parsers skip and others refuse (RFC 8259 §8.1).
 */
export const strictText = (bytes: Uint8Array): string => {
  try {
    const text = strictUtf8.decode(bytes)
    if (!text.startsWith('\uFEFF')) return text
  } catch {
    // TypeError is the only thing a fatal decoder throws.
    throw metadataFault('The body is not valid UTF-8.')
  }
  throw metadataFault('The body must not start with a byte order mark.')
}

/**
 * Members that stand in the text. It is known to be JSON: outside strings, a colon stands behind a member's
 * name and nowhere else.
 */
const membersWritten = (text: string): number => {
  let [members, depth] = [0, 0]
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[:{}[\]]/gs)) {
    if (token === ':') members++
    else if (token === '{' || token === '[') depth++
    else if (token === '}' || token === ']') depth--
    if (depth > deepest) throw metadataFault('The JSON is nested too deeply.')
  }
  return members
}

const membersRead = (value: unknown): number => {
  if (typeof value !== 'object' || value === null) return 0
  const inside = Object.values(value).reduce<number>((sum, part) => sum + membersRead(part), 0)
  return Array.isArray(value) ? inside : inside + Object.keys(value).length
}

/**
 * The value of a JSON text. Throws `registration.metadata` for what is not JSON and for a member that stands
 * twice in one object.
 */
export const parseStrictJson = (text: string): unknown => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw metadataFault('The body is not JSON.')
  }
  const written = membersWritten(text)
  if (written !== membersRead(value)) throw metadataFault('A member was sent more than once.')
  return value
}
