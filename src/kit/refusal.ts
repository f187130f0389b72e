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
  'request.host-unknown': row(421, 'invalid_request', 1421, 'This gateway does not serve that host name. Add it to allowed_hosts, or use the public URL.'),
  'request.method': row(405, 'invalid_request', 1405, 'That method is not supported here.'),
  'request.media-type': row(415, 'invalid_request', 1415, 'The Content-Type is not supported here.'),
  'request.too-large': row(413, 'invalid_request', 1413, 'The request is larger than this endpoint accepts.'),
  'request.timeout': row(408, 'invalid_request', 1408, 'The request did not arrive in time.'),
  'request.plain-http': row(400, 'invalid_request', 1400, 'This gateway is reached by https only. Use its https URL. A token that was sent without encryption should be revoked.'),
  'route.unknown': row(404, 'invalid_request', 1404, 'There is nothing at this address.'),
  'sign-in.busy': row(503, 'temporarily_unavailable', 1503, 'The gateway checks as many passwords as it can. Try again in a moment.'),
  'rate.limited': row(429, 'temporarily_unavailable', 1429, 'Too many requests. Wait a moment, then try again.'),
  'storage.unavailable': row(503, 'temporarily_unavailable', 1503, 'The gateway cannot reach its storage right now. Try again in a moment.'),
  'storage.sealed': row(503, 'temporarily_unavailable', 1503, 'The gateway cannot open what it has stored. The operator must put back the secret that it was sealed with.'),
  'gateway.unconfigured': row(503, 'temporarily_unavailable', 1503, 'This gateway is not configured yet.'),
  'gateway.not-started': row(503, 'temporarily_unavailable', 1503, 'The gateway could not start. Try again in a moment.'),
  'fault': row(500, 'server_error', -32603, 'The gateway made a mistake. The operator can find it by the request id.'),
  // outbound
  'outbound.refused': row(502, 'invalid_request', 1502, 'The gateway does not connect to that address.'),
  'outbound.failed': row(502, 'temporarily_unavailable', 1502, 'Another server that this step needs did not answer as it should.'),
  // signing in (src/identity)
  'login.form': row(403, 'access_denied', 1403, 'This form is no longer valid, or it was sent from another site. Open the sign-in page again.'),
  'login.required': row(401, 'login_required', 1401, 'Sign in first.'),
  'login.link-spent': row(403, 'access_denied', 1403, 'This sign-in link was used already or has expired.'),
  'login.state-unknown': row(400, 'invalid_request', 1400, 'This sign-in is not known here: it was finished already, or took longer than ten minutes.'),
  'login.other-browser': row(403, 'access_denied', 1403, 'This sign-in was started in another browser.'),
  'provider.unknown': row(404, 'invalid_request', 1404, 'There is no such identity provider here.'),
  'provider.denied': row(403, 'access_denied', 1403, 'The identity provider did not let the sign-in finish.'),
  'provider.untrusted': row(400, 'access_denied', 1400, 'The answer of the identity provider did not pass its checks, so nobody was signed in.'),
  'provider.unreachable': row(503, 'temporarily_unavailable', 1503, 'The identity provider did not answer as it should. Try again in a moment.'),
  'provider.client': row(502, 'server_error', 1502, 'The identity provider does not accept this gateway as its client, so nobody can sign in there. Contact your administrator.'),
  'provider.issuer': row(502, 'server_error', 1502, 'The identity provider is not the one that this gateway is set up for, so nobody can sign in there. Contact your administrator.'),
  'provider.clock': row(502, 'server_error', 1502, 'The clocks of this gateway and of the identity provider differ too much, so nobody can sign in there. Contact your administrator.'),
  'person.not-allowed': row(403, 'access_denied', 1403, 'This account may not sign in here.'),
  // clients and their registration (src/oauth)
  'client.unknown': row(400, 'invalid_client', 1400, 'This gateway does not know the app that sent you here. Its registration was removed or has expired. Remove the connector in the app and add it again.'),
  'client.auth': row(401, 'invalid_client', 1401, 'The client did not authenticate as registered, or its registration is gone. Register again.'),
  'client.document': row(400, 'invalid_client', 1400, 'The app names a metadata document as its identity, and that document cannot be used. The maker of the app must repair it.'),
  'client.document-unreachable': row(503, 'temporarily_unavailable', 1503, 'The metadata document or the keys of the client cannot be fetched right now. Try again in a moment.'),
  'registration.metadata': row(400, 'invalid_client_metadata', 1400, 'The registration request is malformed.'),
  'registration.redirect': row(400, 'invalid_redirect_uri', 1400, 'No redirect URI can be accepted: use https, http on a loopback host, or an app scheme; no fragment, no credentials.'),
  'registration.token-missing': row(401, 'invalid_token', 1401, 'Send the registration access token as a bearer token.'),
  'registration.token-invalid': row(401, 'invalid_token', 1401, 'This is not a registration access token of this gateway. Send the registration_access_token of the registration.'),
  'registration.token-wrong': row(403, 'access_denied', 1403, 'This registration access token does not belong to this client.'),
  'registration.unknown': row(404, 'invalid_request', 1404, 'There is no such client registration.'),
  // authorization requests (src/oauth)
  'redirect.mismatch': row(400, 'invalid_request', 1400, 'The app asked to be answered at an address that it has not registered, so nothing was sent there. Its maker must register that address.'),
  'request.repeated': row(400, 'invalid_request', 1400, 'A parameter was sent more than once.'),
  'request.object': row(400, 'request_not_supported', 1400, 'Request objects are not supported. Send the parameters themselves.'),
  'request.object-uri': row(400, 'request_uri_not_supported', 1400, 'request_uri is not supported. Send the parameters themselves.'),
  'request.registration': row(400, 'registration_not_supported', 1400, 'The registration parameter is not supported. Use the registration endpoint or a metadata document.'),
  'response.type': row(400, 'unsupported_response_type', 1400, 'The only response_type is code.'),
  'response.mode': row(400, 'invalid_request', 1400, 'The only response_mode is query.'),
  'pkce.missing': row(400, 'invalid_request', 1400, 'code_challenge is required (PKCE).'),
  'pkce.method': row(400, 'invalid_request', 1400, 'code_challenge_method must be S256.'),
  'pkce.challenge': row(400, 'invalid_request', 1400, 'code_challenge must be the base64url SHA-256 of the verifier: 43 characters.'),
  'pkce.verifier': row(400, 'invalid_grant', 1400, 'code_verifier does not match the authorization request.'),
  'resource.unknown': row(400, 'invalid_target', 1400, 'The resource parameter does not name one protected service of this gateway.'),
  'resource.mismatch': row(400, 'invalid_target', 1400, 'The resource parameter differs from the one that was authorized.'),
  'flow.expired': row(400, 'invalid_request', 1400, 'This sign-in took longer than ten minutes or is not known here. Go back to the app and connect again.'),
  'flow.other-browser': row(403, 'access_denied', 1403, 'This sign-in was started in another browser, or the browser does not keep cookies. Open the link where you started, or connect again.'),
  'flow.used': row(409, 'invalid_request', 1409, 'This question was already answered. If the app is not connected, go back to it and connect again.'),
  'consent.form': row(403, 'access_denied', 1403, 'The answer did not come from the page that this gateway showed you, so nothing was decided. Open the page again.'),
  'consent.required': row(400, 'consent_required', 1400, 'The person must be asked first.'),
  'consent.denied': row(403, 'access_denied', 1403, 'The person did not allow the access.'),
  'person.wrong-provider': row(403, 'access_denied', 1403, 'Your account cannot use this service: it is for people who sign in another way. Switch to such an account, or ask the operator.'),
  // tokens (src/oauth)
  'grant.type': row(400, 'unsupported_grant_type', 1400, 'The grant types are authorization_code and refresh_token.'),
  'code.unknown': row(400, 'invalid_grant', 1400, 'The authorization code is not valid. Start the authorization again.'),
  'code.expired': row(400, 'invalid_grant', 1400, 'The authorization code has expired. Start the authorization again.'),
  'code.spent': row(400, 'invalid_grant', 1400, 'The authorization code was already used.'),
  'code.redirect': row(400, 'invalid_grant', 1400, 'redirect_uri differs from the one of the authorization request.'),
  'refresh.unknown': row(400, 'invalid_grant', 1400, 'The refresh token is not valid, or lay unused for too long. Start the authorization again.'),
  'refresh.revoked': row(400, 'invalid_grant', 1400, 'The grant of this refresh token was revoked. Start the authorization again.'),
  'refresh.reuse': row(400, 'invalid_grant', 1400, 'The refresh token was replaced long ago and then used again, so its grant was revoked. Start the authorization again.'),
  'scope.exceeded': row(400, 'invalid_scope', 1400, 'The scope is wider than the one that was granted.'),
  // bearer tokens (src/oauth)
  'token.missing': row(401, 'unauthorized', 1401, 'Authentication required for this MCP service'),
  'token.repeated': row(400, 'invalid_request', 1400, 'Send exactly one Authorization header.'),
  'token.malformed': row(401, 'invalid_token', 1401, 'The access token is not one of this gateway. Sign in again.'),
  'token.expired': row(401, 'invalid_token', 1401, 'The access token has expired. Refresh it, or sign in again.'),
  'token.audience': row(401, 'invalid_token', 1401, 'The access token is for another service. Ask for one with this resource.'),
  'token.revoked': row(401, 'invalid_token', 1401, 'The access behind this token was revoked or has ended. Sign in again.'),
  'scope.insufficient': row(403, 'insufficient_scope', 1403, 'The access token lacks a scope that this service needs.'),
  // the proxied call (src/mcp, src/proxy)
  'request.origin': row(403, 'access_denied', 1403, 'Unauthorized origin'),
  'request.encoding': row(415, 'invalid_request', 1415, 'Send the body as JSON in UTF-8, without a Content-Encoding.'),
  'mcp.parse': row(400, 'invalid_request', -32700, 'The body is not JSON in UTF-8.'),
  'mcp.invalid': row(400, 'invalid_request', -32600, 'The body is not a JSON-RPC message.'),
  'mcp.params': row(400, 'invalid_request', -32602, 'The parameters of the request are invalid.'),
  'mcp.version': row(400, 'invalid_request', -32022, 'Unsupported MCP protocol version.'),
  'mcp.headers': row(400, 'invalid_request', -32020, 'The headers and the body of the request disagree.'),
  'mcp.envelope': row(400, 'invalid_request', -32602, 'The request lacks members of params._meta that its protocol version requires.'),
  // lines: HTTP+SSE and WebSocket (src/proxy)
  'session.missing': row(400, 'invalid_request', 1400, 'Mcp-Session-Id is required. Start with initialize.'),
  'session.listening': row(409, 'invalid_request', 1409, 'This session has a stream open already.'),
  'upgrade.malformed': row(400, 'invalid_request', 1400, 'This is not a WebSocket handshake.'),
  'upgrade.version': row(426, 'invalid_request', 1426, 'Only version 13 of the WebSocket protocol is spoken here.'),
  'session.unknown': row(404, 'invalid_request', 1404, 'There is no such session here. Start a new one with initialize.'),
  'calls.limited': row(429, 'temporarily_unavailable', 1429, 'Too many calls at once. Wait for one to finish, then try again.'),
  'calls.bytes': row(503, 'temporarily_unavailable', 1503, 'The gateway holds as much data of unfinished calls as it can. Try again in a moment.'),
  'upstream.timeout': row(504, 'temporarily_unavailable', 1504, 'The MCP server did not answer in time.'),
  'upstream.unreachable': row(502, 'temporarily_unavailable', 1502, 'The MCP server cannot be reached.'),
  'upstream.closed': row(502, 'temporarily_unavailable', 1502, 'The MCP server closed the connection before it answered. The request may have been carried out.'),
  'upstream.busy': row(503, 'temporarily_unavailable', 1503, 'The MCP server has as many connections as the gateway opens. Try again in a moment.'),
  'upstream.answer': row(502, 'temporarily_unavailable', 1502, 'The MCP server gave an answer that is not HTTP.'),
  'upstream.media-type': row(
    502,
    'temporarily_unavailable',
    1502,
    'The MCP server answered with a Content-Type that MCP does not use. Its operator must mend it.',
  ),
  'upstream.message': row(502, 'temporarily_unavailable', 1502, 'The MCP server answered with something that is not a JSON-RPC message.'),
  'upstream.credential': row(502, 'temporarily_unavailable', 1502, "The MCP server refused the gateway's credentials. Its operator must set upstream_auth."),
  'upstream.redirect': row(502, 'temporarily_unavailable', 1502, 'The MCP server answered with a redirect, which the gateway does not follow. Its operator must configure the final URL.'),
  'upstream.session': row(502, 'temporarily_unavailable', 1502, 'The MCP server gave a session id that is malformed or belongs to somebody else.'),
  // clients and servers of different eras (src/proxy)
  'mcp.method': row(404, 'invalid_request', -32601, 'The MCP server behind this address speaks older revisions and has nothing that answers this method.'),
  'era.state': row(400, 'invalid_request', -32602, 'requestState is not of this request, or too old. Make the call again without it.'),
  'era.declined': row(403, 'access_denied', 1403, 'The MCP server needs what was declined.'),
  'era.input': row(400, 'invalid_request', 1400, 'The MCP server asks for something that this client cannot be asked for.'),
  'era.unbridged': row(400, 'invalid_request', -32601, 'The MCP server behind this address speaks a newer revision, which has nothing that answers this method.'),
  // servers that are commands on this computer (src/bridge)
  'request.accept': row(406, 'invalid_request', 1406, 'Accept both application/json and text/event-stream.'),
  'mcp.legacy': row(400, 'invalid_request', 1400, 'This MCP server speaks older revisions only. Begin with initialize.'),
  'process.ended': row(502, 'temporarily_unavailable', 1502, 'The MCP server ended before it answered.'),
  'process.answer': row(502, 'temporarily_unavailable', 1502, 'The MCP server gave an answer that is not a message of MCP.'),
  'process.resting': row(503, 'temporarily_unavailable', 1503, 'The MCP server failed a moment ago. Try again soon.'),
  'process.limit': row(503, 'temporarily_unavailable', 1503, 'As many MCP servers run as the gateway may start. Try again in a moment.'),
  'process.unsupported': row(501, 'temporarily_unavailable', 1501, 'This gateway runs where it cannot start a command.'),
  // accounts at upstreams (src/connections)
  'upstream.consent': row(403, 'access_denied', 1403, 'The MCP server asks for an account of yours there. Connect it in your browser, then try again.'),
  'upstream.scope': row(403, 'access_denied', 1403, 'The MCP server asks for a permission that its own sign-in does not give to the account you connected.'),
  'connection.unreachable': row(503, 'temporarily_unavailable', 1503, 'The sign-in of the MCP server does not answer as it should. Try again in a moment.'),
  'connection.untrusted': row(502, 'access_denied', 1502, 'What the MCP server and its sign-in say of themselves does not fit together, so nothing was sent there.'),
  'connection.enrolment': row(502, 'unauthorized_client', 1502, 'The sign-in of the MCP server does not accept this gateway. The operator must register the gateway there and configure the client id.'),
  'connection.denied': row(403, 'access_denied', 1403, 'The sign-in of the MCP server said no, so no account was connected.'),
  'connection.state': row(400, 'invalid_request', 1400, 'This connecting is not known here: it was finished already, or took longer than ten minutes.'),
  'connection.other-browser': row(403, 'access_denied', 1403, 'This connecting was started in another browser, or by somebody else, so no account was connected.'),
  'connection.other-person': row(403, 'access_denied', 1403, 'This link is for another person than the one who is signed in here.'),
  'connection.form': row(403, 'access_denied', 1403, 'The form did not come from the page that this gateway showed you, so nothing was done. Open the page again.'),
  'connection.unknown': row(404, 'invalid_request', 1404, 'There is no service of that name here to connect an account to.'),
  // services that come and go while the gateway runs (src/services)
  'admin.required': row(403, 'access_denied', 1403, 'This is for administrators: people listed under admins in the configuration.'),
  'admin.form': row(403, 'access_denied', 1403, 'The request did not come from a page of this gateway: send its X-CSRF-Token from its own origin.'),
  'service.invalid': row(400, 'invalid_request', 1400, 'Such a service cannot be added.'),
  'service.taken': row(409, 'invalid_request', 1409, 'There is a service of that name already.'),
  'service.unknown': row(404, 'invalid_request', 1404, 'There is no such service.'),
  'service.configured': row(409, 'invalid_request', 1409, 'This service is written in the configuration: change it there.'),
  'service.unusable': row(422, 'invalid_request', 1422, 'Nothing there can be used as an MCP server.'),
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
export const rpcErrorText = (refusal: Refusal, id: unknown, requestId: string): string => JSON.stringify({ jsonrpc: '2.0', id: id ?? null, error: rpcError(refusal, requestId) })

/** Says in the log that one request was refused on a stream that had begun, and answers the error that its caller reads there. `id`: of the JSON-RPC request. */
export type SayRefused = (refusal: Refusal, id: unknown) => string
