// The keys of a service's `upstream_auth`: how the gateway, or each person, signs in to the server behind it.
import * as z from 'zod'

const httpUrl = () => z.url({ protocol: /^https?$/, error: 'must be a full http:// or https:// URL' })
const secret = (description: string) => z.string().min(1).optional().describe(description).meta({ writeOnly: true })
const scopeWord = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be one scope: printable ASCII without spaces, " or \\')

export const upstreamAuthTypes = ['auto', 'none', 'static', 'oauth', 'idp_token', 'client_credentials'] as const

export const upstreamAuthKeys = z
  .strictObject({
    type: z
      .enum(upstreamAuthTypes)
      .default('auto')
      .describe(
        'Credentials that the gateway sends to the server instead of the caller’s token, in addition to `identity`. `auto`: none, unless the server answers 401 and names an authorization server; then each user connects their own account. `oauth`: each user’s own account, connected at first sign-in. `static`: the same token or headers for all users. `idp_token`: the access token from the identity provider that the user signed in with. `client_credentials`: a token issued to the gateway itself. `none`: no credentials.',
      ),
    token: secret('For `static`: the token to send as `Authorization: Bearer`.'),
    headers: z
      .record(z.string().regex(/^[A-Za-z0-9-]+$/, 'header names use letters, digits and -'), z.string().min(1).meta({ writeOnly: true }))
      .default({})
      .describe('For `static`: headers to send, for example `X-Api-Key`.'),
    issuer: httpUrl().optional().describe('Issuer URL of the authorization server. Default: the one named in the server’s metadata (RFC 9728).'),
    authorization_endpoint: httpUrl().optional().describe('Authorization endpoint. If set together with `token_endpoint`, discovery is skipped.'),
    token_endpoint: httpUrl().optional().describe('Token endpoint. See `authorization_endpoint`.'),
    revocation_endpoint: httpUrl().optional().describe('Endpoint for revoking tokens when a user disconnects their account (RFC 7009).'),
    client_id: z.string().min(1).optional().describe('Client ID of this gateway at the authorization server. Default: the gateway uses its client metadata document or registers dynamically.'),
    client_secret: secret('Client secret for `client_id`.'),
    private_key: secret('For `private_key_jwt`: private key in PEM format (PKCS #8).'),
    token_endpoint_auth_method: z
      .enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'])
      .optional()
      .describe('How the gateway authenticates at the token endpoint. Default: a method listed in the authorization server’s metadata.'),
    client_metadata_url: z
      .url({ protocol: /^https$/, error: 'must be a full https:// URL' })
      .optional()
      .describe('URL of this gateway’s client metadata document, if not the one that the gateway serves itself.'),
    scopes: z.array(scopeWord).min(1).optional().describe('Scopes to request. Default: the scopes named in the server’s 401 challenge or metadata.'),
    resource: z.string().optional().describe('Value of the `resource` parameter (RFC 8707). Default: the resource identifier from the server’s metadata. Set to an empty string to omit it, for authorization servers that reject the parameter.'),
    redirect_uri: httpUrl().optional().describe('Redirect URI registered for `client_id`, if it is an older one: `{issuer}/connect/callback` or `{issuer}/oauth/callback`. Default: the redirect URI that `postern validate` prints. Each redirect URI works for one authorization server only.'),
    extra_params: z.record(z.string(), z.string()).default({}).describe('Additional authorization request parameters, for example `audience`.'),
    allow_origins: z
      .array(z.string())
      .default([])
      .describe('Additional origins that discovery may use: private addresses, plain http, or endpoints on a different site than their issuer. `http://localhost:*` allows every port.'),
  })
  .describe('Upstream credentials: how the gateway, or each user, authenticates to this MCP server.')
  .prefault({})
