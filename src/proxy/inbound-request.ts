// What the gateway reads of a request: its header fields in one pass, of which some may go on to the server
// behind it, and its body.
import { hopByHop, trimWhitespace, isUtf8, readMediaType } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import {
  type Envelope,
  type RpcId,
  envelopeOf,
  errorId,
  readEnvelope,
  validateHeaders,
} from '../mcp/envelope.ts'
import { readStrictJson } from '../mcp/json-rpc.ts'
import type { Head, ReadBody } from '../ports/call.ts'
import type { Address, JsonBody } from '../ports/services.ts'
import { type BodyBudget, type HeldBytes, weightOf } from './callers.ts'

// Header names with which a caller would claim to be somebody, to hold a credential, or to come from
// elsewhere. Only the gateway speaks in them (docs/reference/headers.md).

/** Names that carry an identity, an address, a credential or a routing decision somewhere in the wild. */
export const droppedNames: readonly string[] =
  `host expect cookie cookie2 forwarded via referer x-request-id x-host
  x-real-ip x-client-ip true-client-ip cf-connecting-ip cf-connecting-ipv6 fastly-client-ip x-cluster-client-ip client-ip cf-worker
  remote-user remote-name remote-email remote-groups user username groups roles x-user x-username x-userid x-userinfo x-email x-name x-login
  x-groups x-group x-roles x-role x-sub x-subject x-principal x-identity x-account x-admin x-permissions x-scope x-scopes
  x-mcp-identity mcp-init-host router-key x-api-userinfo x-jwt-assertion x-access-token x-id-token x-token client-cert client-cert-chain
  x-http-method x-http-method-override x-method-override x-original-url x-rewrite-url x-override-url
  x-serverless-authorization x-endpoint-api-userinfo x-apigateway-api-userinfo x-consumer-id x-consumer-username x-consumer-custom-id
  x-credential-identifier`.split(/\s+/)

export const droppedPrefixes: readonly string[] =
  `x-user- x-auth- x-remote- x-forwarded- x-authenticated- x-authorization- x-identity- x-original- x-rewrite-
  x-verified- x-webauth- x-token- x-claim- x-jwt- x-impersonate- impersonate- x-mcp-user x-postern- proxy- remote- sec- access-control-
  cf-access- x-amzn-oidc- x-goog-authenticated- x-goog-iap- x-ms-client- x-ms-token- x-pomerium- x-authentik- x-vouch- x-authelia- x-keycloak-
  x-okta- x-azure- oidc- x-oidc- tailscale- teleport- ssl-client- x-ssl- x-client-cert x-envoy-`.split(/\s+/)

/** Words of a name that say so in any combination (`X-Impersonated-User`, `X-Mcp-Api-Key`). */
export const droppedWords: readonly string[] =
  `user username userid userinfo email login principal subject identity account role roles group
  groups permission permissions scope scopes admin tenant actor impersonate impersonated impersonation assertion authorization
  authentication authenticated auth authuser token jwt bearer apikey secret password credential credentials cookie cert certificate`.split(
    /\s+/,
  )

/**
 * Names that have such a word and claim nothing. `Mcp-Param-*` is a tool's argument (2026-07-28 transports,
 * SEP-2243).
 */
const innocent = /^(?:user-agent|mcp-param-.*)$/

const names = new Set(droppedNames)
const words = new Set(droppedWords)

/**
 * One spelling for all that servers take for the same name: CGI and WSGI read `_` as `-`, every case is one.
 */
export const normalName = (name: string): string => name.toLowerCase().replaceAll('_', '-')

/** Of a name in normal form. */
export const isGatewaysOwn = (normal: string): boolean => {
  if (names.has(normal) || droppedPrefixes.some((prefix) => normal.startsWith(prefix))) return true
  if (innocent.test(normal)) return false
  const parts = normal.split('-')
  return parts.some((part, at) => words.has(part) || (part === 'api' && parts[at + 1] === 'key'))
}

export interface RequestHeaders {
  /**
   * Flat list of what may be forwarded as it is, in its order; `Mcp-Session-Id` and `Last-Event-ID` are not
   * among it.
   */
  forward: string[]
  readonly authorization: string[]
  /** The DPoP field (RFC 9449); several are joined, and then no proof. */
  proof: string | undefined
  origin: string | undefined
  /** `Sec-Fetch-Site`. */
  site: string | undefined
  /** Distinct values of `MCP-Protocol-Version`. */
  readonly versions: string[]
  /** Distinct values of `Mcp-Session-Id`. */
  readonly sessions: string[]
  resume: string | undefined
  method: string | undefined
  name: string | undefined
  type: string | undefined
  accept: string | undefined
  encoding: string | undefined
  length: string | undefined
  chunked: boolean
  connection: string | undefined
  requestedHeaders: string | undefined
}

/** What one field does to the reading. */
type Action = (into: RequestHeaders, name: string, value: string) => void

const joined = (before: string | undefined, value: string): string =>
  before === undefined ? value : `${before}, ${value}`

const forward: Action = (into, name, value) => void into.forward.push(name, value)
const drop: Action = () => undefined

const captured = new Map<string, Action>([
  ['authorization', (into, _, value) => void into.authorization.push(value)],
  ['dpop', (into, _, value) => void (into.proof = joined(into.proof, value))],
  ['origin', (into, _, value) => void (into.origin = joined(into.origin, value))],
  ['sec-fetch-site', (into, _, value) => void (into.site = value)],
  [
    'mcp-protocol-version',
    (into, _, value) => void (into.versions.includes(value) || into.versions.push(value)),
  ],
  ['mcp-session-id', (into, _, value) => void (into.sessions.includes(value) || into.sessions.push(value))],
  ['last-event-id', (into, _, value) => void (into.resume = joined(into.resume, value))],
  ['connection', (into, _, value) => void (into.connection = joined(into.connection, value))],
  ['content-encoding', (into, _, value) => void (into.encoding = joined(into.encoding, value))],
  ['content-length', (into, _, value) => void (into.length = value)],
  ['transfer-encoding', (into) => void (into.chunked = true)],
  [
    'access-control-request-headers',
    (into, _, value) => void (into.requestedHeaders = joined(into.requestedHeaders, value)),
  ],
  [
    'mcp-method',
    (into, name, value) => {
      into.method = joined(into.method, value)
      into.forward.push(name, value)
    },
  ],
  [
    'mcp-name',
    (into, name, value) => {
      into.name = joined(into.name, value)
      into.forward.push(name, value)
    },
  ],
  [
    'content-type',
    (into, _, value) => {
      into.type = joined(into.type, value)
    },
  ],
  ['accept', (into, _, value) => void (into.accept = joined(into.accept, value))],
])

/** In a header of the operator's choice stands a personal access token and nothing else. */
const capturePersonal: Action = (into, _, value) =>
  void into.authorization.push(personalToken.test(value) ? `Bearer ${value}` : 'none')

const personalToken = /^ppat_\w+$/

/** What only the gateway may send to a service, what callers may although they could claim something with it. */
interface HeaderNames {
  readonly reserved: ReadonlySet<string>
  readonly passed: ReadonlySet<string>
  /** The header that may carry a personal access token. */
  readonly personal: string | undefined
}

const classify = (name: string, { reserved, passed, personal }: HeaderNames): Action => {
  const exact = captured.get(name.toLowerCase())
  if (exact) return exact
  const normal = normalName(name)
  if (normal === personal) return capturePersonal
  // A captured name in another spelling (`Mcp_Session_Id`, `Content_Length`) is never what the gateway
  // judged.
  if (captured.has(normal) || hopByHop.has(normal) || reserved.has(normal)) return drop
  return passed.has(normal) || !isGatewaysOwn(normal) ? forward : drop
}

export const noRequestHeaders = (): RequestHeaders => ({
  forward: [],
  authorization: [],
  proof: undefined,
  origin: undefined,
  site: undefined,
  versions: [],
  sessions: [],
  resume: undefined,
  method: undefined,
  name: undefined,
  type: undefined,
  accept: undefined,
  encoding: undefined,
  length: undefined,
  chunked: false,
  connection: undefined,
  requestedHeaders: undefined,
})

/** RFC 9110 §7.6.1: what `Connection` lists belongs to this hop, whoever wrote it. */
const withoutListed = (fields: readonly string[], connection: string): string[] => {
  const listed = new Set(connection.split(',').map((name) => normalName(trimWhitespace(name))))
  return fields.filter((_, i) => !listed.has(normalName(fields[i - (i % 2)] as string)))
}

/**
 * A reader for one service. `reserved` are further names (normal form) that only the gateway may send there:
 * those of the configured identity headers. `passed`: names that the operator lets through to this service
 * although callers could claim something with them. What a name means is remembered, for at most 1,000 names.
 */
export const createRequestHeaders = (
  reserved: ReadonlySet<string>,
  passed: ReadonlySet<string> = new Set(),
  personal?: string,
): ((rawHeaders: readonly string[]) => RequestHeaders) => {
  const names = { reserved, passed, personal }
  const known = new Map<string, Action>()
  const actionOf = (name: string): Action => {
    const before = known.get(name)
    if (before !== undefined) return before
    const action = classify(name, names)
    if (known.size < 1000 && name.length <= 64) known.set(name, action)
    return action
  }
  return (rawHeaders) => {
    const into = noRequestHeaders()
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] as string
      actionOf(name)(into, name, rawHeaders[i + 1] as string)
    }
    if (into.versions.length === 1) into.forward.push('MCP-Protocol-Version', into.versions[0] as string)
    const { connection } = into
    if (connection !== undefined && connection !== 'keep-alive' && connection !== 'close')
      into.forward = withoutListed(into.forward, connection)
    return into
  }
}

// The body: read within its bounds, in one encoding, and in agreement with the header fields.

/** What is known of a call when its body is read. */
interface InboundRequest {
  readonly inbound: RequestHeaders
  readonly address: Address
  readonly readBody: ReadBody
}

const mediaType = (type: string | undefined): Refusal =>
  new Refusal('request.media-type', `Content-Type ${String(type).slice(0, 80)}`, {
    say: 'Send the message with Content-Type: application/json.',
    headers: { 'accept-post': 'application/json' },
  })

/**
 * What the gateway reads as one thing must not be another thing to the upstream. Nor may a form of another
 * site reach it: browsers send `application/json` across origins only after a preflight (Fetch,
 * CORS-safelisted request-header).
 */
const checkEncoding = ({ inbound }: InboundRequest): void => {
  if (inbound.encoding !== undefined && inbound.encoding.toLowerCase() !== 'identity')
    throw new Refusal('request.encoding', inbound.encoding.slice(0, 80))
  const { type } = inbound
  if (type === 'application/json') return
  const media = type === undefined ? undefined : readMediaType(type)
  if (media?.essence !== 'application/json') throw mediaType(type)
  if (!isUtf8(media)) throw new Refusal('request.encoding', String(type).slice(0, 80))
}

const bodyOf = ({ inbound, address, readBody }: InboundRequest, holding: HeldBytes): Promise<Uint8Array> => {
  const { maxBodyBytes } = address.service
  if (inbound.length !== undefined && !(Number(inbound.length) <= maxBodyBytes))
    throw new Refusal('request.too-large', `announces ${inbound.length.slice(0, 20)} bytes`)
  return readBody(maxBodyBytes, holding.grow)
}

/** Throws what is wrong with a message beside the header fields that came with it. */
export const checkAgreement = (
  { inbound, address }: Pick<InboundRequest, 'inbound' | 'address'>,
  envelope: Envelope,
  supported: readonly string[],
): void => {
  const { versions, method, name } = inbound
  // A POST of HTTP+SSE is a frame on a connection; what it carries is judged as the call that is made of it.
  if (address.transport !== 'sse')
    validateHeaders(envelope, { version: versions[0], method, name }, supported)
}

interface Received {
  readonly body: Uint8Array
  readonly envelope: Envelope
  /** For commands, to which the message is written anew. */
  readonly json: JsonBody | undefined
}

/**
 * Throws `request.encoding`, `request.media-type`, `request.too-large`, `calls.bytes`, and what the envelope
 * and its agreement with the headers throw.
 */
export const receive = async (
  call: InboundRequest & { readonly holding: HeldBytes },
  supported: readonly string[],
): Promise<Received> => {
  checkEncoding(call)
  const body = await bodyOf(call, call.holding)
  const json = readStrictJson(body)
  call.holding.grow(weightOf(body.byteLength, json.values))
  const envelope = envelopeOf(json.value)
  checkAgreement(call, envelope, supported)
  return { body, envelope, json: call.address.service.upstream.kind === 'bridge' ? json : undefined }
}

/** The id that an error about this call's body belongs to. */
export const readRpcId = async (
  call: InboundRequest & { readonly head: Pick<Head, 'ip'> },
  budget: BodyBudget,
): Promise<RpcId> => {
  const holding = budget.open(undefined, call.head.ip)
  try {
    return errorId(readEnvelope(await bodyOf(call, holding)))
  } finally {
    holding.release()
  }
}
