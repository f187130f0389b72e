// Every way the gateway says no, in one table. Rooms throw `new Refusal(code, why)`; the hall draws it for the surface that asked.

interface Row {
  /** HTTP status. */
  readonly status: number
  /** The registered OAuth error (RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 7591 §3.2.2, RFC 8707 §2) where the surface speaks OAuth. */
  readonly oauth: string
  /** JSON-RPC error code where the surface speaks MCP; ours lie outside -32768…-32000 unless MCP defines the code. */
  readonly rpc: number
  /** The public sentence: what happened and what to do. Never a secret, never the reason kept for the operator. */
  readonly say: string
}

const row = (status: number, oauth: string, rpc: number, say: string): Row => ({ status, oauth, rpc, say })

export const refusals = {
  // the request itself
  'request.malformed': row(400, 'invalid_request', -32600, 'The request is malformed.'),
  'request.host': row(400, 'invalid_request', 1400, 'The Host header is missing, repeated or malformed.'),
  'request.host-unknown': row(
    421,
    'invalid_request',
    1421,
    'This gateway does not serve that host name. Use its public URL, or add the host to allowed_hosts.',
  ),
  'request.method': row(405, 'invalid_request', 1405, 'This URL does not support that HTTP method.'),
  'request.media-type': row(415, 'invalid_request', 1415, 'The Content-Type is not supported.'),
  'request.too-large': row(413, 'invalid_request', 1413, 'The request is too large for this endpoint.'),
  'request.timeout': row(408, 'invalid_request', 1408, 'The request timed out before it was complete.'),
  'request.plain-http': row(
    400,
    'invalid_request',
    1400,
    'This gateway accepts HTTPS only. Use its https URL. If you sent a token, revoke it: it was not encrypted in transit.',
  ),
  'route.unknown': row(404, 'invalid_request', 1404, 'There is nothing at this URL.'),
  'sign-in.busy': row(
    503,
    'temporarily_unavailable',
    1503,
    'Too many sign-in attempts at once. Try again in a moment.',
  ),
  'rate.limited': row(
    429,
    'temporarily_unavailable',
    1429,
    'Too many requests. Wait a moment, then try again.',
  ),
  'storage.unavailable': row(
    503,
    'temporarily_unavailable',
    1503,
    'The gateway cannot reach its storage. Try again in a moment.',
  ),
  'storage.sealed': row(
    503,
    'temporarily_unavailable',
    1503,
    'The gateway cannot decrypt its stored data. The administrator must restore the secret that encrypted it.',
  ),
  'gateway.unconfigured': row(503, 'temporarily_unavailable', 1503, 'This gateway is not configured yet.'),
  'gateway.not-started': row(
    503,
    'temporarily_unavailable',
    1503,
    'The gateway could not start. Try again in a moment.',
  ),
  'fault': row(
    500,
    'server_error',
    -32603,
    'Internal error. The administrator can find it in the log by the request id.',
  ),
  // outbound
  'outbound.refused': row(
    502,
    'invalid_request',
    1502,
    'The gateway is not allowed to connect to that address.',
  ),
  'outbound.failed': row(
    502,
    'temporarily_unavailable',
    1502,
    'A server that this step depends on did not respond as expected.',
  ),
  // signing in (src/identity)
  'login.form': row(
    403,
    'access_denied',
    1403,
    'This form has expired or was sent from another site. Open the sign-in page again.',
  ),
  'login.required': row(401, 'login_required', 1401, 'Sign in to continue.'),
  'login.link-spent': row(
    403,
    'access_denied',
    1403,
    'The sign-in link is not valid. Each link works once, within 15 minutes.',
  ),
  'login.state-unknown': row(
    400,
    'invalid_request',
    1400,
    'This sign-in has expired or is already complete. A sign-in must finish within ten minutes.',
  ),
  'login.other-browser': row(403, 'access_denied', 1403, 'This sign-in was started in another browser.'),
  'provider.unknown': row(404, 'invalid_request', 1404, 'This identity provider is not configured.'),
  'provider.denied': row(403, 'access_denied', 1403, 'The identity provider denied the sign-in.'),
  'provider.untrusted': row(
    400,
    'access_denied',
    1400,
    'The response of the identity provider failed validation, so you were not signed in.',
  ),
  'provider.unreachable': row(
    503,
    'temporarily_unavailable',
    1503,
    'The identity provider did not respond as expected. Try again in a moment.',
  ),
  'provider.client': row(
    502,
    'server_error',
    1502,
    'The identity provider rejected this gateway as a client, so nobody can sign in with it. Contact your administrator.',
  ),
  'provider.issuer': row(
    502,
    'server_error',
    1502,
    'The issuer of the identity provider does not match the configuration, so nobody can sign in with it. Contact your administrator.',
  ),
  'provider.clock': row(
    502,
    'server_error',
    1502,
    'The clocks of the gateway and the identity provider differ too much, so nobody can sign in with it. Contact your administrator.',
  ),
  'person.not-allowed': row(
    403,
    'access_denied',
    1403,
    'Your account is not allowed to sign in to this gateway.',
  ),
  // clients and their registration (src/oauth)
  'client.unknown': row(
    400,
    'invalid_client',
    1400,
    'This gateway does not recognize the app that sent you here. Its registration was removed or has expired. Remove the connector in the app, then add it again.',
  ),
  'client.auth': row(
    401,
    'invalid_client',
    1401,
    'Client authentication failed, or the registration no longer exists. Register again.',
  ),
  'client.document': row(
    400,
    'invalid_client',
    1400,
    "The client metadata document of the app is invalid. The app's developer must fix it.",
  ),
  'client.document-unreachable': row(
    503,
    'temporarily_unavailable',
    1503,
    'The metadata document or the keys of the client cannot be fetched. Try again in a moment.',
  ),
  'registration.metadata': row(400, 'invalid_client_metadata', 1400, 'The client metadata is invalid.'),
  'registration.redirect': row(
    400,
    'invalid_redirect_uri',
    1400,
    'No redirect URI is acceptable. Use https, http on a loopback host, or an app scheme, without a fragment or credentials.',
  ),
  'registration.token-missing': row(
    401,
    'invalid_token',
    1401,
    'Send the registration access token as a bearer token.',
  ),
  'registration.token-invalid': row(
    401,
    'invalid_token',
    1401,
    'The registration access token is invalid. Send the registration_access_token from the registration response.',
  ),
  'registration.token-wrong': row(
    403,
    'access_denied',
    1403,
    'The registration access token belongs to another client.',
  ),
  'registration.unknown': row(404, 'invalid_request', 1404, 'Client registration not found.'),
  // authorization requests (src/oauth)
  'redirect.mismatch': row(
    400,
    'invalid_request',
    1400,
    "The app requested a redirect URI that is not registered, so nothing was sent to it. The app's developer must register it.",
  ),
  'request.repeated': row(400, 'invalid_request', 1400, 'A parameter was sent more than once.'),
  'request.object': row(
    400,
    'request_not_supported',
    1400,
    'Request objects are not supported. Send the parameters directly.',
  ),
  'request.object-uri': row(
    400,
    'request_uri_not_supported',
    1400,
    'request_uri is not supported. Send the parameters directly.',
  ),
  'request.registration': row(
    400,
    'registration_not_supported',
    1400,
    'The registration parameter is not supported. Use the registration endpoint or a metadata document.',
  ),
  'response.type': row(400, 'unsupported_response_type', 1400, 'response_type must be code.'),
  'response.mode': row(400, 'invalid_request', 1400, 'response_mode must be query.'),
  'pkce.missing': row(400, 'invalid_request', 1400, 'code_challenge is required (PKCE).'),
  'pkce.method': row(400, 'invalid_request', 1400, 'code_challenge_method must be S256.'),
  'pkce.challenge': row(
    400,
    'invalid_request',
    1400,
    'code_challenge must be the base64url-encoded SHA-256 hash of code_verifier (43 characters).',
  ),
  'pkce.verifier': row(400, 'invalid_grant', 1400, 'code_verifier does not match the authorization request.'),
  'resource.unknown': row(
    400,
    'invalid_target',
    1400,
    'The resource parameter must identify one protected service of this gateway.',
  ),
  'resource.mismatch': row(
    400,
    'invalid_target',
    1400,
    'The resource parameter does not match the authorized resource.',
  ),
  'flow.expired': row(
    400,
    'invalid_request',
    1400,
    'This authorization request has expired or does not exist. Return to the app and connect again.',
  ),
  'flow.other-browser': row(
    403,
    'access_denied',
    1403,
    'This request was started in another browser, or cookies are blocked. Continue in the original browser, or connect again from the app.',
  ),
  'flow.used': row(
    409,
    'invalid_request',
    1409,
    'This request was already completed. If the app is not connected, return to it and connect again.',
  ),
  'consent.form': row(
    403,
    'access_denied',
    1403,
    'The form was not sent from a page of this gateway, so nothing was saved. Open the page again.',
  ),
  'consent.required': row(400, 'consent_required', 1400, 'The user must approve access first.'),
  'consent.denied': row(403, 'access_denied', 1403, 'The user denied access.'),
  'person.wrong-provider': row(
    403,
    'access_denied',
    1403,
    'This service does not accept your sign-in method. Use another account, or contact your administrator.',
  ),
  // tokens (src/oauth)
  'grant.type': row(
    400,
    'unsupported_grant_type',
    1400,
    'grant_type must be authorization_code or refresh_token.',
  ),
  'code.unknown': row(
    400,
    'invalid_grant',
    1400,
    'The authorization code is not valid. Start the authorization again.',
  ),
  'code.expired': row(
    400,
    'invalid_grant',
    1400,
    'The authorization code has expired. Start the authorization again.',
  ),
  'code.spent': row(400, 'invalid_grant', 1400, 'The authorization code was already used.'),
  'code.redirect': row(400, 'invalid_grant', 1400, 'redirect_uri does not match the authorization request.'),
  'refresh.unknown': row(
    400,
    'invalid_grant',
    1400,
    'The refresh token is not valid or expired due to inactivity. Start the authorization again.',
  ),
  'refresh.revoked': row(
    400,
    'invalid_grant',
    1400,
    'The grant for this refresh token was revoked. Start the authorization again.',
  ),
  'refresh.reuse': row(
    400,
    'invalid_grant',
    1400,
    'A replaced refresh token was reused, so its grant was revoked. Start the authorization again.',
  ),
  'scope.exceeded': row(400, 'invalid_scope', 1400, 'The requested scope exceeds the granted scope.'),
  // bearer tokens (src/oauth)
  'token.missing': row(401, 'unauthorized', 1401, 'Authentication required for this MCP service'),
  'token.repeated': row(400, 'invalid_request', 1400, 'Send exactly one Authorization header.'),
  'token.malformed': row(
    401,
    'invalid_token',
    1401,
    'The access token was not issued by this gateway. Sign in again.',
  ),
  'token.expired': row(
    401,
    'invalid_token',
    1401,
    'The access token has expired. Refresh it, or sign in again.',
  ),
  'token.audience': row(
    401,
    'invalid_token',
    1401,
    'The access token was issued for another service. Request one for this resource.',
  ),
  'token.revoked': row(
    401,
    'invalid_token',
    1401,
    'The access token was revoked or its grant has ended. Sign in again.',
  ),
  'scope.insufficient': row(
    403,
    'insufficient_scope',
    1403,
    'The access token lacks a scope that this service requires.',
  ),
  // the proxied call (src/mcp, src/proxy)
  'request.origin': row(403, 'access_denied', 1403, 'Unauthorized origin'),
  'request.encoding': row(
    415,
    'invalid_request',
    1415,
    'Send the body as UTF-8 JSON, without a Content-Encoding.',
  ),
  'mcp.parse': row(400, 'invalid_request', -32700, 'The body is not valid UTF-8 JSON.'),
  'mcp.invalid': row(400, 'invalid_request', -32600, 'The body is not a valid JSON-RPC message.'),
  'mcp.params': row(400, 'invalid_request', -32602, 'The request parameters are invalid.'),
  'mcp.version': row(400, 'invalid_request', -32022, 'Unsupported MCP protocol version.'),
  'mcp.headers': row(400, 'invalid_request', -32020, 'The request headers do not match the body.'),
  'mcp.envelope': row(
    400,
    'invalid_request',
    -32602,
    'The request is missing params._meta members that its protocol version requires.',
  ),
  // lines: HTTP+SSE and WebSocket (src/proxy)
  'session.missing': row(
    400,
    'invalid_request',
    1400,
    'Mcp-Session-Id is required. Send initialize to start a session.',
  ),
  'session.listening': row(409, 'invalid_request', 1409, 'This session already has an open stream.'),
  'upgrade.malformed': row(400, 'invalid_request', 1400, 'The WebSocket handshake is invalid.'),
  'upgrade.version': row(426, 'invalid_request', 1426, 'Only WebSocket protocol version 13 is supported.'),
  'session.unknown': row(
    404,
    'invalid_request',
    1404,
    'Session not found. Send initialize to start a new session.',
  ),
  'calls.limited': row(
    429,
    'temporarily_unavailable',
    1429,
    'Too many concurrent calls. Wait for one to finish, then try again.',
  ),
  'calls.bytes': row(
    503,
    'temporarily_unavailable',
    1503,
    'The gateway has reached its memory limit for pending calls. Try again in a moment.',
  ),
  'upstream.timeout': row(504, 'temporarily_unavailable', 1504, 'The MCP server did not respond in time.'),
  'upstream.unreachable': row(502, 'temporarily_unavailable', 1502, 'The MCP server cannot be reached.'),
  'upstream.closed': row(
    502,
    'temporarily_unavailable',
    1502,
    'The MCP server closed the connection before it responded. The request may have been processed.',
  ),
  'upstream.busy': row(
    503,
    'temporarily_unavailable',
    1503,
    'All connections to the MCP server are in use. Try again in a moment.',
  ),
  'upstream.answer': row(
    502,
    'temporarily_unavailable',
    1502,
    'The MCP server sent an invalid HTTP response.',
  ),
  'upstream.media-type': row(
    502,
    'temporarily_unavailable',
    1502,
    'The MCP server responded with a Content-Type that MCP does not allow. Its operator must fix this.',
  ),
  'upstream.message': row(
    502,
    'temporarily_unavailable',
    1502,
    'The MCP server sent an invalid JSON-RPC message.',
  ),
  'upstream.credential': row(
    502,
    'temporarily_unavailable',
    1502,
    'The MCP server rejected the credentials of the gateway. The administrator must set upstream_auth.',
  ),
  'upstream.redirect': row(
    502,
    'temporarily_unavailable',
    1502,
    'The MCP server responded with a redirect, which the gateway does not follow. The administrator must configure the final URL.',
  ),
  'upstream.session': row(
    502,
    'temporarily_unavailable',
    1502,
    'The MCP server sent a session id that is malformed or belongs to another user.',
  ),
  // legacy clients at modern servers, and modern clients at legacy servers (src/proxy/revisions)
  'mcp.method': row(
    404,
    'invalid_request',
    -32601,
    'Method not found: the MCP server uses an older protocol revision that does not support it.',
  ),
  'mcp.request-state': row(
    400,
    'invalid_request',
    -32602,
    'requestState is invalid or has expired. Make the call again without it.',
  ),
  'mcp.input-declined': row(
    403,
    'access_denied',
    1403,
    'The user declined input that the MCP server requires.',
  ),
  'mcp.input-required': row(
    400,
    'invalid_request',
    1400,
    'The MCP server requires input that this client cannot provide.',
  ),
  'mcp.modern': row(
    400,
    'invalid_request',
    -32601,
    'Method not found: the MCP server uses a newer protocol revision that does not support it.',
  ),
  // servers that are commands on this computer (src/bridge)
  'request.accept': row(
    406,
    'invalid_request',
    1406,
    'The Accept header must include application/json and text/event-stream.',
  ),
  'mcp.legacy': row(
    400,
    'invalid_request',
    1400,
    'This MCP server supports older protocol revisions only. Send initialize first.',
  ),
  'process.ended': row(502, 'temporarily_unavailable', 1502, 'The MCP server exited before it responded.'),
  'process.answer': row(502, 'temporarily_unavailable', 1502, 'The MCP server sent an invalid MCP message.'),
  'process.resting': row(
    503,
    'temporarily_unavailable',
    1503,
    'The MCP server failed recently. Try again in a moment.',
  ),
  'process.limit': row(
    503,
    'temporarily_unavailable',
    1503,
    'The gateway has reached its limit of running MCP servers. Try again in a moment.',
  ),
  'process.unsupported': row(
    501,
    'temporarily_unavailable',
    1501,
    'This gateway cannot run stdio servers on its platform.',
  ),
  // accounts at upstreams (src/connections)
  'upstream.consent': row(
    403,
    'access_denied',
    1403,
    'The MCP server requires an account. Connect it in your browser, then try again.',
  ),
  'upstream.scope': row(
    403,
    'access_denied',
    1403,
    'The MCP server requires a permission that its authorization server does not grant to your account.',
  ),
  'connection.unreachable': row(
    503,
    'temporarily_unavailable',
    1503,
    'The authorization server of the MCP server did not respond as expected. Try again in a moment.',
  ),
  'connection.untrusted': row(
    502,
    'access_denied',
    1502,
    'The OAuth metadata or response of the MCP server failed validation, so nothing was sent there.',
  ),
  'connection.enrolment': row(
    502,
    'unauthorized_client',
    1502,
    'The authorization server of the MCP server does not accept this gateway as a client. The administrator must register the gateway there and configure client_id.',
  ),
  'connection.denied': row(
    403,
    'access_denied',
    1403,
    'The authorization server of the MCP server denied access, so no account was connected.',
  ),
  'connection.state': row(
    400,
    'invalid_request',
    1400,
    'This connection attempt has expired or is already complete. An attempt must finish within ten minutes.',
  ),
  'connection.other-browser': row(
    403,
    'access_denied',
    1403,
    'This connection attempt was started in another browser or by another user, so no account was connected.',
  ),
  'connection.other-person': row(
    403,
    'access_denied',
    1403,
    'This link belongs to another user than the one signed in.',
  ),
  'connection.form': row(
    403,
    'access_denied',
    1403,
    'The form was not sent from a page of this gateway, so nothing was saved. Open the page again.',
  ),
  'connection.unknown': row(404, 'invalid_request', 1404, 'There is no service with that name.'),
  // services that come and go while the gateway runs (src/services)
  'admin.required': row(
    403,
    'access_denied',
    1403,
    'Administrator access is required. Administrators are listed under admins in the configuration.',
  ),
  'admin.form': row(
    403,
    'access_denied',
    1403,
    'The request was not sent from a page of this gateway. Send X-CSRF-Token from the origin of the gateway.',
  ),
  'service.invalid': row(400, 'invalid_request', 1400, 'The service definition is invalid.'),
  'service.taken': row(409, 'invalid_request', 1409, 'A service with that name already exists.'),
  'service.unknown': row(404, 'invalid_request', 1404, 'Service not found.'),
  'service.configured': row(
    409,
    'invalid_request',
    1409,
    'This service is defined in the configuration. Change it there.',
  ),
  'service.unusable': row(422, 'invalid_request', 1422, 'No usable MCP server was found there.'),
  'encode.domain': row(400, 'invalid_request', 1400, 'Missing domain parameter'),
} as const satisfies Record<string, Row>

export type RefusalCode = keyof typeof refusals

export interface RefusalDetail {
  /** A sentence that replaces the row's; public, ASCII. */
  readonly say?: string
  /** Further response headers, e.g. `WWW-Authenticate`, `Retry-After`, `Allow`. */
  readonly headers?: Readonly<Record<string, string>>
  /** JSON-RPC request id the answer belongs to, and the error's data member. */
  readonly rpcId?: string | number | null
  readonly rpcData?: Readonly<Record<string, unknown>>
  readonly about?: RequestFacts
  /** Authorization errors that may be told to the client by redirect (RFC 6749 §4.1.2.1): only ever a validated redirect URI. `ask` names a client that nobody approved: the person is shown the error and a link. */
  readonly redirect?: { readonly uri: string; readonly state?: string; readonly ask?: string }
  /** Where the person connects an account before the call can work, and to what (`upstream.consent`). The proxy says it in the form that the client's revision has. */
  readonly connect?: { readonly url: string; readonly service: string }
  /** The answer of an upstream that refused what it was shown: status, and every WWW-Authenticate field. */
  readonly refused?: { readonly status: number; readonly authenticate: readonly string[] }
  /** What the problem page says beyond the sentence: a title, steps, facts worth showing, and a way on inside this gateway (same-origin path). */
  readonly page?: {
    readonly title?: string
    readonly steps?: readonly string[]
    readonly facts?: readonly { readonly name: string; readonly value: string }[]
    readonly onward?: { readonly label: string; readonly href: string }
    /** A second way on, for who cannot take the first. */
    readonly instead?: { readonly label: string; readonly href: string }
  }
}

/** Of whose request a refusal was, as far as is known; for the log, and never for the caller. */
export interface RequestFacts {
  /** Id of the service. */
  readonly service?: string | undefined
  /** Client id, as the client said it or as it was proven. */
  readonly client?: string | undefined
  /** Key of the person (kit/person-key.ts). */
  readonly person?: string | undefined
  /** Id of the identity provider. */
  readonly provider?: string | undefined
  /** The pending authorization. */
  readonly flow?: string | undefined
}

/** A no with a stable code. `why` is for the operator's log and never reaches the caller. */
export class Refusal extends Error {
  readonly code: RefusalCode
  readonly why: string
  readonly detail: RefusalDetail
  constructor(code: RefusalCode, why = '', detail: RefusalDetail = {}) {
    super(why ? `${code}: ${why}` : code)
    this.name = 'Refusal'
    this.code = code
    this.why = why
    this.detail = detail
  }
  get row(): Row {
    return refusals[this.code]
  }
  /** The public sentence for this occurrence. */
  get say(): string {
    return this.detail.say ?? this.row.say
  }
}

/** JSON-RPC 2.0 §5.1: what the caller can name to whoever helps them stands in `data`. */
export const rpcError = ({ code, row, say, detail }: Refusal, requestId: string) => ({
  code: row.rpc,
  message: say,
  data: { ...detail.rpcData, code, request_id: requestId },
})

/** The error that a refusal is to one JSON-RPC request. */
export const rpcErrorText = (refusal: Refusal, id: unknown, requestId: string): string =>
  JSON.stringify({ jsonrpc: '2.0', id: id ?? null, error: rpcError(refusal, requestId) })

/** Says in the log that one request was refused on a stream that had begun, and answers the error that its caller reads there. `id`: of the JSON-RPC request. */
export type ReportRefused = (refusal: Refusal, id: unknown) => string
