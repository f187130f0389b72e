// Structured hostile requests: every endpoint and method, parameters and headers that almost mean something,
// bodies of every kind, framed and sent in every way.
import fc from 'fast-check'

export interface Shot {
  readonly method: string
  readonly path: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
  /**
   * `length`: with Content-Length. `chunked`: in pieces without one. `cut`: the connection dies in the middle
   * of the body.
   */
  readonly framing: 'length' | 'chunked' | 'cut'
}

/** What a stranger may have picked up: real values in wrong places are the likeliest to be believed. */
export interface Loot {
  readonly origin: string
  readonly clientId: string
  readonly redirectUri: string
  readonly accessToken: string
  readonly refreshToken: string
  readonly cookie: string
}

const nasty = fc.constantFrom(
  '',
  '%00',
  '..',
  '../..',
  '//',
  '\\',
  '%2f',
  '%2e%2e',
  ';',
  '<script>',
  '"',
  "'",
  '\u202E',
  '𝓐',
  '{}',
  '[]',
  'null',
  '-1',
  '1e309',
  'a'.repeat(5000),
  '%',
  '%zz',
  '#',
  '?',
  '&',
  '=',
  '__proto__',
  'constructor',
)
const names = [
  'client_id',
  'redirect_uri',
  'response_type',
  'code_challenge',
  'code_challenge_method',
  'state',
  'scope',
  'resource',
  'prompt',
  'max_age',
  'grant_type',
  'code',
  'code_verifier',
  'refresh_token',
  'token',
  'token_type_hint',
  'client_secret',
  'client_assertion',
  'client_assertion_type',
  'flow',
  'csrf',
  'decision',
  'username',
  'password',
  'return_to',
  't',
  'for',
  'service_id',
  'request_uri',
  'iss',
  'error',
]
const paths = [
  '/',
  '/login',
  '/login/x',
  '/logout',
  '/oauth/authorize',
  '/authorize',
  '/oauth/consent',
  '/oauth/token',
  '/token',
  '/oauth/register',
  '/register',
  '/oauth/register/x',
  '/oauth/revoke',
  '/oauth/introspect',
  '/oauth/jwks',
  '/oauth/callback',
  '/oauth/callback/x',
  '/callback',
  '/health',
  '/healthz',
  '/readyz',
  '/services',
  '/services/echo',
  '/connect/echo',
  '/.well-known/oauth-authorization-server',
  '/.well-known/oauth-protected-resource',
  '/.well-known/oauth-protected-resource/echo/mcp',
  '/.well-known/openid-configuration',
  '/echo/mcp/.well-known/oauth-authorization-server',
  '/assets/x',
  '/echo/mcp',
  '/echo/mcp/more',
  '/echo/sse',
  '/open/mcp',
  '/open/mcp/%2e%2e',
  '/mcp',
  '/nowhere',
  '/favicon.ico',
]
/** Asked with GET; the rest of the paths with POST. */
const asked =
  /^\/(?:$|login|oauth\/(?:authorize|consent|jwks|callback)|authorize|callback|health|readyz|services|connect|\.well-known|assets|nowhere|favicon|echo\/sse|echo\/mcp\/\.well)/
const headerNames = [
  'authorization',
  'content-type',
  'accept',
  'origin',
  'cookie',
  'mcp-session-id',
  'mcp-protocol-version',
  'mcp-method',
  'mcp-name',
  'mcp-param-x',
  'last-event-id',
  'x-forwarded-for',
  'x-forwarded-host',
  'forwarded',
  'x-user-id',
  'sec-fetch-site',
  'accept-language',
  'accept-encoding',
  'x-request-id',
  'content-encoding',
  'range',
  'if-none-match',
  'te',
  'upgrade',
  'x-csrf-token',
  'access-control-request-method',
  'access-control-request-headers',
]
const visible = (text: string): string => text.replaceAll(/[^\t\x20-\x7E\x80-\xFF]/g, '').trim()

/** Requests that a client library would send; a raw `Host` is added by the sender. */
export const requests = (loot: Loot): fc.Arbitrary<Shot> => {
  const { origin, clientId, redirectUri, accessToken, refreshToken, cookie } = loot
  const known = fc.constantFrom(
    clientId,
    redirectUri,
    refreshToken,
    accessToken,
    'code',
    'S256',
    'none',
    'mcp',
    'login',
    'consent',
    'allow',
    'authorization_code',
    'refresh_token',
    origin,
    `${origin}/echo/mcp`,
    'pc_a.b',
    `pc_${'a'.repeat(32)}.${'b'.repeat(32)}`,
    `pr_${'a'.repeat(32)}.1.b.c`,
    'https://example.com/client.json',
    'http://127.0.0.1:1/x',
  )
  const word = fc.oneof(
    nasty,
    fc.string({ maxLength: 40 }),
    fc.string({ unit: 'grapheme', maxLength: 20 }),
    known,
  )
  const pairs = fc.array(
    fc.tuple(
      fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: word }),
      word,
    ),
    { maxLength: 8 },
  )
  const encoded = pairs.map((list) =>
    list
      .map(
        ([name, value]) =>
          `${encodeURIComponent(name.toWellFormed())}=${encodeURIComponent(value.toWellFormed())}`,
      )
      .join('&'),
  )
  const many = fc
    .integer({ min: 200, max: 3000 })
    .map((n) => Array.from({ length: n }, (_, i) => `k${i}=v`).join('&'))
  const likely = fc.constantFrom(
    `Bearer ${accessToken}`,
    `bearer ${accessToken}x`,
    'Basic Og==',
    'application/json',
    'application/json; charset=utf-16',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/html',
    'text/event-stream',
    '2025-06-18',
    '2026-07-28',
    origin,
    'null',
    cookie,
    'gzip',
    'br',
    '100-continue',
    'websocket',
    'h2c',
    'bytes=0-',
  )
  const long = fc.integer({ min: 4000, max: 20_000 }).map((n) => 'x'.repeat(n))
  const header = fc.tuple(
    fc.constantFrom(...headerNames),
    fc.oneof(
      { weight: 10, arbitrary: word.map(visible) },
      { weight: 10, arbitrary: likely },
      { weight: 1, arbitrary: long },
    ),
  )
  const upgrade = fc.constantFrom(
    [
      ['connection', 'Upgrade'],
      ['upgrade', 'websocket'],
      ['sec-websocket-version', '13'],
      ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ=='],
    ] as const,
    [
      ['connection', 'Upgrade, HTTP2-Settings'],
      ['upgrade', 'h2c'],
      ['http2-settings', 'AAMAAABkAAQAoAAAAAIAAAAA'],
    ] as const,
  )
  const rpc = fc.oneof(
    fc.json(),
    fc
      .record({
        jsonrpc: fc.constantFrom('2.0', '1.0'),
        id: fc.oneof(fc.integer(), fc.string(), fc.constant(null), fc.double()),
        method: fc.oneof(
          fc.constantFrom(
            'tools/call',
            'initialize',
            'tools/list',
            'server/discover',
            'ping',
            'notifications/cancelled',
            'subscriptions/listen',
          ),
          fc.string(),
        ),
        params: fc.jsonValue(),
      })
      .map((value) => JSON.stringify(value)),
    fc.integer({ min: 1, max: 4000 }).map((depth) => '['.repeat(depth) + ']'.repeat(depth)),
  )
  const registration = fc
    .record(
      {
        redirect_uris: fc.oneof(fc.array(word, { maxLength: 4 }), fc.constant([redirectUri])),
        client_name: word,
        token_endpoint_auth_method: word,
        grant_types: fc.jsonValue(),
        scope: word,
        jwks: fc.jsonValue(),
        application_type: word,
      },
      { requiredKeys: [] },
    )
    .map((value) => JSON.stringify(value))
  const kinds = fc.oneof(
    { weight: 2, arbitrary: fc.constant(['', '']) },
    { weight: 6, arbitrary: encoded.map((body) => ['application/x-www-form-urlencoded', body]) },
    { weight: 6, arbitrary: rpc.map((body) => ['application/json', body]) },
    { weight: 4, arbitrary: registration.map((body) => ['application/json', body]) },
    { weight: 3, arbitrary: fc.string({ maxLength: 300 }).map((body) => ['application/json', body]) },
    { weight: 1, arbitrary: many.map((body) => ['application/x-www-form-urlencoded', body]) },
  )
  const expectation = fc.constantFrom(
    [],
    [],
    [],
    [],
    [],
    [],
    [],
    [],
    [],
    [['expect', '100-continue']],
    [['expect', 'more']],
  ) as fc.Arbitrary<[string, string][]>
  const any = fc.record({
    verb: fc.oneof(
      { weight: 7, arbitrary: fc.constant('') },
      { weight: 3, arbitrary: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'HEAD') },
    ),
    typed: fc.constantFrom(true, true, true, false),
    path: fc
      .tuple(
        fc.constantFrom(...paths, `/oauth/register/${clientId}`),
        fc.oneof(
          { weight: 6, arbitrary: fc.constant('') },
          { weight: 1, arbitrary: nasty.map((text) => encodeURI(text.toWellFormed())) },
        ),
        fc.oneof(
          fc.constant(''),
          encoded.map((query) => `?${query}`),
        ),
      )
      .map((parts) => parts.join('').replaceAll(/[^\x21-\x7E]/g, '')),
    headers: fc.oneof(
      { weight: 12, arbitrary: fc.array(header, { maxLength: 6 }) },
      {
        weight: 1,
        arbitrary: fc
          .tuple(upgrade, fc.array(header, { maxLength: 3 }))
          .map(([up, more]) => [...up, ...more]),
      },
    ),
    kind: kinds,
    expectation,
    framing: fc.constantFrom(
      'length' as const,
      'length' as const,
      'length' as const,
      'chunked' as const,
      'cut' as const,
    ),
  })
  // Most of it gets past the first check: the method that the place knows, the type that the body has.
  return any.map(
    ({ verb, typed, path, headers, kind: [type = '', body = ''], expectation: more, framing }) => ({
      method: verb === '' ? (asked.test(path) ? 'GET' : 'POST') : verb,
      path,
      headers: [...(typed && type !== '' ? [['content-type', type] as const] : []), ...headers, ...more],
      body,
      framing,
    }),
  )
}
