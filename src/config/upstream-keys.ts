// The keys of a service's `upstream_auth`: how the gateway, or each person, signs in to the server behind it.
import * as z from 'zod'

const httpUrl = () => z.url({ protocol: /^https?$/, error: 'must be a whole http:// or https:// URL' })
const secret = (description: string) => z.string().min(1).optional().describe(description).meta({ writeOnly: true })
const scopeWord = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'a scope is one word of printable ASCII without " and \\')

export const upstreamAuthTypes = ['auto', 'none', 'static', 'oauth', 'idp_token', 'client_credentials'] as const

export const upstreamAuthKeys = z
  .strictObject({
    type: z
      .enum(upstreamAuthTypes)
      .default('auto')
      .describe(
        'What the server is shown instead of the caller’s token, besides `identity`. `auto`: nothing, until it answers 401 and names an authorization server; then each person connects an account of their own. `oauth`: each person’s own account, asked for at the first login. `static`: the same token or headers for everybody. `idp_token`: the access token of the identity provider that the person signed in with. `client_credentials`: a token that the gateway gets as itself. `none`: never anything.',
      ),
    token: secret('`static`: sent as `Authorization: Bearer`.'),
    headers: z
      .record(z.string().regex(/^[A-Za-z0-9-]+$/, 'header names use letters, digits and -'), z.string().min(1).meta({ writeOnly: true }))
      .default({})
      .describe('`static`: headers with their values, e.g. `X-Api-Key`.'),
    issuer: httpUrl().optional().describe('The authorization server. Absent: the one that the server itself names (RFC 9728).'),
    authorization_endpoint: httpUrl().optional().describe('With `token_endpoint`: nothing is discovered, and these are used as they stand.'),
    token_endpoint: httpUrl().optional().describe('See `authorization_endpoint`.'),
    revocation_endpoint: httpUrl().optional().describe('Where tokens are revoked when a person disconnects (RFC 7009).'),
    client_id: z.string().min(1).optional().describe('The client id that the operator of the authorization server gave this gateway. Absent: the gateway shows its metadata document, or registers itself.'),
    client_secret: secret('The secret to it.'),
    private_key: secret('For private_key_jwt: PKCS #8 in PEM.'),
    token_endpoint_auth_method: z
      .enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'])
      .optional()
      .describe('How the gateway authenticates there. Absent: as the metadata of the authorization server allows.'),
    client_metadata_url: z
      .url({ protocol: /^https$/, error: 'must be a whole https:// URL' })
      .optional()
      .describe('Where this gateway’s client metadata document is published, when that is not `{issuer}/oauth/client-metadata.json`.'),
    scopes: z.array(scopeWord).min(1).optional().describe('Scopes to ask for. Absent: those that the server’s refusal or its metadata names.'),
    resource: z.string().optional().describe('The `resource` parameter (RFC 8707). Absent: what the server calls itself. Empty: none is sent, for authorization servers that refuse it.'),
    redirect_uri: httpUrl().optional().describe('The redirect URI that was registered with `client_id`, when that is not the gateway’s own for this authorization server, which `postern validate` prints: `{issuer}/connect/callback` or `{issuer}/oauth/callback`. It serves one authorization server.'),
    extra_params: z.record(z.string(), z.string()).default({}).describe('Further parameters of the authorization request, e.g. `audience`.'),
    allow_origins: z
      .array(z.string())
      .default([])
      .describe('Further origins that discovery may lead to: private ones, plain http, or endpoints on another site than their issuer. `http://localhost:*` means every port of that host.'),
  })
  .describe('How the gateway, or each person, signs in to the MCP server behind it.')
  .prefault({})
