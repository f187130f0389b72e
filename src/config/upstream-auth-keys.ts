// The keys of a service's `upstream_auth`: how the gateway, or each person, signs in to the server behind it.
import * as z from 'zod'
import { httpUrl, scopeWord, secret, text } from './key-types.ts'

export const upstreamAuthTypes = [
  'auto',
  'none',
  'static',
  'oauth',
  'idp_token',
  'id_jag',
  'token_exchange',
  'client_credentials',
  'workload',
] as const

export const upstreamAuthKeys = z
  .strictObject({
    type: z
      .enum(upstreamAuthTypes)
      .default('auto')
      .describe(
        'Credentials that the gateway sends to the server instead of the caller’s token, in addition to `identity`. `auto`: none, unless the server answers 401 and names an authorization server; then each user connects their own account. `oauth`: each user’s own account, connected at first sign-in. `static`: the same token or headers for all users. `idp_token`: the access token from the identity provider that the user signed in with. `id_jag`: a token that the server’s authorization server issues for an ID-JAG, which the user’s identity provider issues (Enterprise-Managed Authorization). `token_exchange`: a token that the user’s identity provider issues for the server (RFC 8693). `client_credentials`: a token issued to the gateway itself. `workload`: a token issued to the gateway for a JWT of its platform. `none`: no credentials.',
      ),
    token: secret('For `static`: the token to send as `Authorization: Bearer`.').optional(),
    headers: z
      .record(
        z.string().regex(/^[A-Za-z0-9-]+$/, 'header names use letters, digits and -'),
        z.string().min(1).meta({ writeOnly: true }),
      )
      .default({})
      .describe('For `static`: headers to send, for example `X-Api-Key`.'),
    issuer: httpUrl()
      .optional()
      .describe(
        'Issuer URL of the authorization server. Default: the one named in the server’s metadata (RFC 9728).',
      ),
    authorization_endpoint: httpUrl()
      .optional()
      .describe('Authorization endpoint. If set together with `token_endpoint`, discovery is skipped.'),
    token_endpoint: httpUrl().optional().describe('Token endpoint. See `authorization_endpoint`.'),
    revocation_endpoint: httpUrl()
      .optional()
      .describe('Endpoint for revoking tokens when a user disconnects their account (RFC 7009).'),
    client_id: z
      .string()
      .min(1)
      .optional()
      .describe(
        'Client ID of this gateway at the authorization server. Default: the gateway uses its client metadata document or registers dynamically.',
      ),
    client_secret: secret('Client secret for `client_id`.').optional(),
    private_key: secret('For `private_key_jwt`: private key in PEM format (PKCS #8).').optional(),
    token_endpoint_auth_method: z
      .enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'])
      .optional()
      .describe(
        'How the gateway authenticates at the token endpoint. Default: a method listed in the authorization server’s metadata.',
      ),
    client_metadata_url: z
      .url({ protocol: /^https$/, error: 'must be a full https:// URL' })
      .optional()
      .describe(
        'URL of this gateway’s client metadata document, if not the one that the gateway serves itself.',
      ),
    scopes: z
      .array(scopeWord)
      .min(1)
      .optional()
      .describe('Scopes to request. Default: the scopes named in the server’s 401 challenge or metadata.'),
    resource: z
      .string()
      .optional()
      .describe(
        'Value of the `resource` parameter (RFC 8707). Default: the resource identifier from the server’s metadata. Set to an empty string to omit it, for authorization servers that reject the parameter.',
      ),
    redirect_uri: httpUrl()
      .optional()
      .describe(
        'Redirect URI registered for `client_id`, if it is an older one: `{issuer}/connect/callback` or `{issuer}/oauth/callback`. Default: the redirect URI that `postern validate` prints. Each redirect URI works for one authorization server only.',
      ),
    extra_params: z
      .record(z.string(), z.string())
      .default({})
      .describe('Additional authorization request parameters, for example `audience`.'),
    allow_origins: z
      .array(z.string())
      .default([])
      .describe(
        'Additional origins that discovery may use: private addresses, plain http, or endpoints on a different site than their issuer. `http://localhost:*` allows every port.',
      ),
    provider: text(
      'For `id_jag` and `token_exchange`: ID of the identity provider. Default: the one that the user signed in with.',
    ).optional(),
    subject: z
      .enum(['person', 'access_token', 'refresh_token', 'file', 'env'])
      .optional()
      .describe(
        'For `id_jag` and `token_exchange`: what the identity provider is shown. `person`: the ID token of the user’s sign-in. `refresh_token`, and for `token_exchange` also `access_token`: these tokens of the sign-in. `file`, `env`: a token in `assertion_file` or `assertion_env`; all users then share the token that it is exchanged for. Default: `person`.',
      ),
    audience: text(
      'For `token_exchange`: value of the `audience` parameter. Default: none. For `id_jag` it is always the issuer.',
    ).optional(),
    idp: z
      .strictObject({
        client_id: text('Client ID. Default: the `client_id` in `oauth_providers`.').optional(),
        client_secret: secret('Client secret for `client_id`.').optional(),
        token_endpoint: httpUrl().optional().describe('Token endpoint. Default: that of the sign-in.'),
      })
      .optional()
      .describe(
        'For `id_jag` and `token_exchange`: this gateway’s client at the identity provider, if it is not the one that users sign in with. An ID token is valid for the client that it was issued to.',
      ),
    assertion_file: text(
      'File that holds a JWT: for `workload`, the assertion; for `id_jag` and `token_exchange` with `subject: file`, the subject token. It is read each time a token is requested. Not on Workers.',
    ).optional(),
    assertion_env: text('The same in an environment variable, by its name. On Workers: a secret.').optional(),
    dpop: z
      .enum(['auto', 'required', 'off'])
      .default('auto')
      .describe(
        'Tokens that are bound to a key of their account and useless without it (DPoP, RFC 9449). `auto`: if the server asks for them and its authorization server issues them. `required`: no other token is used. `off`: never.',
      ),
  })
  .describe('Upstream credentials: how the gateway, or each user, authenticates to this MCP server.')
  .prefault({})
