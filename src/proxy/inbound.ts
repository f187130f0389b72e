// One pass over a request's header fields: what the gateway itself reads, and what may go on to the server behind it.
import { hopByHop, trimWhitespace } from '../kit/http.ts'

/** What happens to a field. The captured ones are read by name below. */
type Action = 'forward' | 'drop' | 'authorization' | 'origin' | 'version' | 'session' | 'resume' | 'method' | 'name' | 'connection' | 'type' | 'encoding' | 'length' | 'chunked' | 'preflight'

export interface Inbound {
  /** Flat list of what may be forwarded as it is, in its order; `Mcp-Session-Id` and `Last-Event-ID` are not among it. */
  forward: string[]
  readonly authorization: string[]
  origin: string | undefined
  /** Distinct values of `MCP-Protocol-Version`. */
  readonly versions: string[]
  readonly sessions: string[]
  resume: string | undefined
  method: string | undefined
  name: string | undefined
  type: string | undefined
  encoding: string | undefined
  length: string | undefined
  chunked: boolean
  requestedMethod: string | undefined
  requestedHeaders: string | undefined
}

const captured = new Map<string, Action>([
  ['authorization', 'authorization'],
  ['origin', 'origin'],
  ['mcp-protocol-version', 'version'],
  ['mcp-session-id', 'session'],
  ['last-event-id', 'resume'],
  ['mcp-method', 'method'],
  ['mcp-name', 'name'],
  ['connection', 'connection'],
  ['content-type', 'type'],
  ['content-encoding', 'encoding'],
  ['content-length', 'length'],
  ['transfer-encoding', 'chunked'],
  ['access-control-request-method', 'preflight'],
  ['access-control-request-headers', 'preflight'],
])

/** Names that carry an identity, an address, a credential or a routing decision somewhere in the wild: only the gateway may speak in them (docs/reference/headers.md). */
const dropped = new Set([
  ...hopByHop,
  ...['host', 'expect', 'cookie', 'cookie2', 'forwarded', 'via', 'referer'],
  ...['x-real-ip', 'x-client-ip', 'true-client-ip', 'cf-connecting-ip', 'cf-connecting-ipv6', 'fastly-client-ip', 'x-cluster-client-ip', 'client-ip', 'x-request-id', 'cf-worker', 'x-host'],
  ...['remote-user', 'remote-name', 'remote-email', 'remote-groups', 'user', 'username', 'groups', 'roles', 'x-user', 'x-username', 'x-email', 'x-name', 'x-groups', 'x-group', 'x-roles', 'x-role', 'x-userid', 'x-userinfo'],
  ...['x-sub', 'x-subject', 'x-principal', 'x-identity', 'x-account', 'x-admin', 'x-permissions', 'x-scope', 'x-scopes', 'x-login'],
  ...['x-mcp-identity', 'mcp-init-host', 'router-key', 'x-api-userinfo', 'x-jwt-assertion', 'x-access-token', 'x-id-token', 'x-token', 'client-cert', 'client-cert-chain'],
  ...['x-http-method', 'x-http-method-override', 'x-method-override', 'x-original-url', 'x-original-uri', 'x-original-host', 'x-original-method', 'x-rewrite-url', 'x-override-url'],
  ...['x-serverless-authorization', 'x-endpoint-api-userinfo', 'x-apigateway-api-userinfo', 'x-consumer-id', 'x-consumer-username', 'x-consumer-custom-id', 'x-credential-identifier'],
])

const droppedPrefixes = [
  ...['x-user-', 'x-auth-', 'x-remote-', 'x-forwarded-', 'x-authenticated-', 'x-authorization-', 'x-identity-', 'x-original-', 'x-rewrite-', 'x-verified-', 'x-webauth-', 'x-token-', 'x-claim-', 'x-jwt-'],
  ...['proxy-', 'remote-', 'sec-', 'access-control-', 'cf-access-', 'x-amzn-oidc-', 'x-goog-authenticated-', 'x-goog-iap-', 'x-ms-client-', 'x-ms-token-', 'x-pomerium-', 'x-authentik-', 'x-vouch-'],
  ...['x-authelia-', 'x-keycloak-', 'x-okta-', 'x-azure-', 'oidc-', 'x-oidc-', 'tailscale-', 'teleport-', 'ssl-client-', 'x-ssl-', 'x-client-cert', 'x-envoy-', 'x-postern-', 'x-mcp-user', 'x-impersonate-', 'impersonate-'],
]

/** One spelling for all that servers take for the same name: CGI and WSGI read `_` as `-`, every case is one. */
export const normalName = (name: string): string => name.toLowerCase().replaceAll('_', '-')

const classify = (name: string, reserved: ReadonlySet<string>): Action => {
  const exact = captured.get(name.toLowerCase())
  if (exact) return exact
  const normal = normalName(name)
  // A captured name in another spelling (`Mcp_Session_Id`, `Content_Length`) is never what the gateway judged.
  if (captured.has(normal) || dropped.has(normal) || reserved.has(normal)) return 'drop'
  return droppedPrefixes.some((prefix) => normal.startsWith(prefix)) ? 'drop' : 'forward'
}

const empty = (): Inbound => ({
  forward: [],
  authorization: [],
  origin: undefined,
  versions: [],
  sessions: [],
  resume: undefined,
  method: undefined,
  name: undefined,
  type: undefined,
  encoding: undefined,
  length: undefined,
  chunked: false,
  requestedMethod: undefined,
  requestedHeaders: undefined,
})

const joined = (before: string | undefined, value: string): string => (before === undefined ? value : `${before}, ${value}`)

/** RFC 9110 §7.6.1: what `Connection` lists belongs to this hop, whoever wrote it. */
const withoutListed = (forward: string[], connection: string): string[] => {
  const listed = new Set(connection.split(',').map((name) => normalName(trimWhitespace(name))))
  return forward.filter((_, i) => !listed.has(normalName(forward[i - (i % 2)] as string)))
}

/**
 * A reader for one service. `reserved` are further names (normal form) that only the gateway may send there: those of the configured
 * identity headers. Names seen before are remembered, at most 1,000 of them.
 */
export const createInbound = (reserved: ReadonlySet<string>): ((rawHeaders: readonly string[]) => Inbound) => {
  const known = new Map<string, Action>()
  const actionOf = (name: string): Action => {
    const before = known.get(name)
    if (before !== undefined) return before
    const action = classify(name, reserved)
    if (known.size < 1000 && name.length <= 64) known.set(name, action)
    return action
  }

  const capture = (into: Inbound, action: Action, name: string, value: string): void => {
    switch (action) {
      case 'authorization':
        into.authorization.push(value)
        return
      case 'origin':
        into.origin = joined(into.origin, value)
        return
      case 'version':
        if (!into.versions.includes(value)) into.versions.push(value)
        return
      case 'session':
        if (!into.sessions.includes(value)) into.sessions.push(value)
        return
      case 'resume':
        into.resume = joined(into.resume, value)
        return
      case 'method':
        into.method = joined(into.method, value)
        break
      case 'name':
        into.name = joined(into.name, value)
        break
      case 'type':
        into.type = joined(into.type, value)
        break
      case 'encoding':
        into.encoding = joined(into.encoding, value)
        return
      case 'length':
        into.length = value
        return
      case 'chunked':
        into.chunked = true
        return
      case 'preflight':
        if (name.length === 'access-control-request-method'.length) into.requestedMethod = value
        else into.requestedHeaders = joined(into.requestedHeaders, value)
        return
      default:
        return
    }
    into.forward.push(name, value)
  }

  return (rawHeaders) => {
    const into = empty()
    let connection: string | undefined
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] as string
      const value = rawHeaders[i + 1] as string
      const action = actionOf(name)
      if (action === 'forward') into.forward.push(name, value)
      else if (action === 'connection') connection = joined(connection, value)
      else if (action !== 'drop') capture(into, action, name, value)
    }
    if (into.versions.length === 1) into.forward.push('MCP-Protocol-Version', into.versions[0] as string)
    if (connection !== undefined && connection !== 'keep-alive' && connection !== 'close') into.forward = withoutListed(into.forward, connection)
    return into
  }
}
