// The authorization server's endpoints, in one table that both the metadata and the router use, so that what
// is advertised is what is served.

export interface OAuthEndpoint {
  /** Canonical path below the issuer; the one that metadata names. */
  readonly path: string
  /**
   * The same endpoint at the origin's root: clients of MCP 2025-03-26 go there when they find no metadata.
   */
  readonly alias?: string
  readonly methods: readonly ('GET' | 'POST' | 'PUT' | 'DELETE')[]
}

export const endpoints = {
  authorize: { path: '/oauth/authorize', alias: '/authorize', methods: ['GET', 'POST'] },
  consent: { path: '/oauth/consent', methods: ['GET', 'POST'] },
  token: { path: '/oauth/token', alias: '/token', methods: ['POST'] },
  register: { path: '/oauth/register', alias: '/register', methods: ['POST'] },
  /** RFC 7592; the client's id follows the path. */
  manage: { path: '/oauth/register/', alias: '/register/', methods: ['GET', 'PUT', 'DELETE'] },
  revoke: { path: '/oauth/revoke', alias: '/revoke', methods: ['POST'] },
  introspect: { path: '/oauth/introspect', alias: '/introspect', methods: ['POST'] },
  jwks: { path: '/oauth/jwks', alias: '/jwks', methods: ['GET'] },
} as const satisfies Record<string, OAuthEndpoint>

export const wellKnown = {
  /** RFC 8414 §3. */
  authorizationServer: '/.well-known/oauth-authorization-server',
  /** OpenID Connect Discovery §4; the same document, for clients that look only there. */
  openid: '/.well-known/openid-configuration',
  /** RFC 9728 §3. */
  protectedResource: '/.well-known/oauth-protected-resource',
} as const

/** The metadata of one protected address (RFC 9728 §3.1: the path goes behind the well-known part). */
export const resourceMetadataUrl = (origin: string, path: string): string =>
  `${origin}${wellKnown.protectedResource}${path}`
