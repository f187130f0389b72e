// Refusals of MCP calls: by the proxy, its transports, stdio servers, accounts at upstreams, and services
// that come and go.

/** One row of the table: what a surface says when the gateway says no. */
export interface RefusalRow {
  /** HTTP status. */
  readonly status: number
  /**
   * The registered OAuth error (RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 7591 §3.2.2, RFC 8707 §2)
   * where the surface speaks OAuth.
   */
  readonly oauth: string
  /**
   * JSON-RPC error code where the surface speaks MCP; ours lie outside -32768…-32000 unless MCP defines the
   * code.
   */
  readonly rpc: number
  /**
   * The public sentence: what happened and what to do. Never a secret, never the reason kept for the
   * operator.
   */
  readonly say: string
}

export const row = (status: number, oauth: string, rpc: number, say: string): RefusalRow => ({
  status,
  oauth,
  rpc,
  say,
})

export const mcpRefusals = {
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
  // access rules (src/policy, src/proxy): no new consent and no other token cures these, and clients begin a
  // login on 401 and 403, so they answer as an error of the call
  'policy.client': row(200, 'access_denied', 1403, 'Access denied: this app may not be used here.'),
  'policy.denied': row(200, 'access_denied', 1403, 'Access denied.'),
  'policy.service': row(200, 'access_denied', 1403, "Access denied: You don't have access to this server"),
  'policy.tool': row(200, 'access_denied', 1403, 'Access denied: you may not use this tool.'),
  'policy.prompt': row(200, 'access_denied', 1403, 'Access denied: you may not use this prompt.'),
  'policy.resource': row(200, 'access_denied', 1403, 'Access denied: you may not read this resource.'),
  'policy.permission': row(200, 'access_denied', 1403, 'Access denied: this needs a higher permission.'),
  'policy.unlisted': row(200, 'invalid_request', -32602, 'Unknown tool.'),
  'task.unknown': row(200, 'invalid_request', -32602, 'Unknown task.'),
  'policy.method': row(200, 'invalid_request', -32601, 'Method not found.'),
  'policy.notification': row(202, 'invalid_request', 1403, 'The notification is not passed on.'),
  'policy.pinned': row(200, 'access_denied', 1403, 'Access denied: you may not use this tool.'),
  'pin.refresh': row(
    503,
    'temporarily_unavailable',
    1503,
    'The tools of this server could not be checked for changes. Try again in a moment.',
  ),
  'access.none': row(
    403,
    'access_denied',
    1403,
    'Your account has no access to this service. Ask your administrator.',
  ),
  // what the person let the app do (src/policy, src/oauth): the first is cured by a larger consent
  'consent.level': row(
    403,
    'insufficient_scope',
    1403,
    'The user has not allowed this app to do that. It can ask for more access.',
  ),
  'consent.declined': row(
    200,
    'access_denied',
    1403,
    'Access denied: the user declined to give this app more access. Ask them before you try again.',
  ),
  'refresh.step-up': row(
    503,
    'server_error',
    1503,
    'The app just asked for more access, which a refresh cannot give. Start an authorization request.',
  ),
  'consent.tool': row(200, 'access_denied', 1403, 'Access denied: the user did not allow this tool.'),
  // sessions and transports (src/proxy, src/node)
  'session.missing': row(
    400,
    'invalid_request',
    1400,
    'Mcp-Session-Id is required. Send initialize to start a session.',
  ),
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
  'calls.rate': row(429, 'temporarily_unavailable', 1429, 'Too many calls. Wait, then try again.'),
  'audit.unavailable': row(
    503,
    'temporarily_unavailable',
    1503,
    'The audit trail of this gateway cannot be written, and this service is not used without it.',
  ),
  'gateway.locked': row(
    503,
    'temporarily_unavailable',
    1503,
    'An administrator has locked this gateway. Try again later, or contact the administrator.',
  ),
  'service.disabled': row(
    503,
    'temporarily_unavailable',
    1503,
    'An administrator has disabled this service. Try again later, or contact the administrator.',
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
  // stdio servers (src/stdio)
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
  // services that come and go while the gateway runs (src/services)
  'admin.required': row(
    403,
    'access_denied',
    1403,
    'Administrator access is required. Administrators are listed under admins in the configuration.',
  ),
  'auditor.required': row(
    403,
    'access_denied',
    1403,
    'Auditor access is required. Auditors are listed under auditors in the configuration.',
  ),
  'audit.none': row(404, 'invalid_request', 1404, 'This gateway keeps no audit trail.'),
  'audit.body-unknown': row(
    404,
    'invalid_request',
    1404,
    'Nothing is kept under that hash, or no longer: arguments and results are kept for less time than events.',
  ),
  'grant.unknown': row(404, 'invalid_request', 1404, 'There is no grant with that ID.'),
  'flow.unknown': row(404, 'invalid_request', 1404, 'There is no recorded flow with that ID.'),
  'block.unknown': row(404, 'invalid_request', 1404, 'That user or client is not blocked.'),
  'rule.unknown': row(404, 'invalid_request', 1404, 'There is no stored access rule with that ID.'),
  'rule.invalid': row(400, 'invalid_request', 1400, 'The access rule is invalid.'),
  'admin.last': row(409, 'invalid_request', 1409, 'This would block the last administrator.'),
  'pin.unknown': row(
    404,
    'invalid_request',
    1404,
    'No tool or prompt of that name was listed since pinning is on.',
  ),
  'pin.moved': row(
    409,
    'invalid_request',
    1409,
    'The definition has changed since it was shown. Show it again, and approve that one.',
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
} as const satisfies Record<string, RefusalRow>
