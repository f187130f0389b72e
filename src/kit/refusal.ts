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
  'route.unknown': row(404, 'invalid_request', 1404, 'There is nothing at this address.'),
  'rate.limited': row(429, 'temporarily_unavailable', 1429, 'Too many requests. Wait a moment, then try again.'),
  'storage.unavailable': row(503, 'temporarily_unavailable', 1503, 'The gateway cannot reach its storage right now. Try again in a moment.'),
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
  'person.not-allowed': row(403, 'access_denied', 1403, 'This account may not sign in here.'),
} as const satisfies Record<string, Row>

export type RefusalCode = keyof typeof refusals

export interface RefusalDetail {
  /** A sentence that replaces the row's; public, ASCII. */
  readonly say?: string
  /** Further response headers, e.g. `WWW-Authenticate`, `Retry-After`, `Allow`. */
  readonly headers?: Readonly<Record<string, string>>
  /** JSON-RPC request id the answer belongs to, and the error's data member. */
  readonly rpcId?: string | number | null
  readonly rpcData?: unknown
  /** Authorization errors that may be told to the client by redirect (RFC 6749 §4.1.2.1): only ever a validated redirect URI. */
  readonly redirect?: { readonly uri: string; readonly state?: string }
  /** What the problem page says beyond the sentence: a title, steps, facts worth showing, and a way on inside this gateway (same-origin path). */
  readonly page?: {
    readonly title?: string
    readonly steps?: readonly string[]
    readonly facts?: readonly { readonly name: string; readonly value: string }[]
    readonly onward?: { readonly label: string; readonly href: string }
  }
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
