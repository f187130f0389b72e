// Keys about people and clients: identity providers, local users and preregistered OAuth clients.
import * as z from 'zod'
import { permissions } from './access-keys.ts'
import { dpopMode } from './dpop-keys.ts'
import { claimNames, providerTypes, redirectPaths } from './providers.ts'
import { duration, httpUrl, optionalDuration, secret, text } from './key-types.ts'

const path = (what: string, names: readonly string[]) =>
  text(
    `${what} Default: ${names.map((name) => `\`${name}\``).join(', ')}, the first that is present.`,
  ).optional()

const claimKeys = z
  .strictObject({
    subject: path('User ID: a text or an integer that never changes.', claimNames.subject),
    login: path('Username.', claimNames.login),
    name: path('Display name.', claimNames.name),
    email: path('Email address.', claimNames.email),
    email_verified: path(
      'Whether the email address is verified: `true` or `"true"`.',
      claimNames.email_verified,
    ),
    avatar: path('https URL of a picture.', claimNames.avatar),
  })
  .describe(
    'For type `oauth2`: members of the profile, each by its name or its path (`data.id`). Groups are in `groups_claim`.',
  )

export const providerKeys = z
  .strictObject({
    name: text('Label of the sign-in button.').optional(),
    type: z
      .enum(providerTypes)
      .optional()
      .describe(
        'What the provider is. `openid`: any OpenID Connect provider. `google`, `entra` (Microsoft Entra ID), `okta`, `auth0`, `keycloak`, `cloudflare-access`: OpenID Connect, with what is particular to that provider. `github`: GitHub and GitHub Enterprise. `oauth2`: OAuth 2.0 without OpenID Connect, with the three URLs below. `mock`: for tests, any email address without a password. Default: by the host of `issuer` if it is well known; `oauth2` with `authorization_url`; `github` and `google` for these IDs; otherwise `openid`.',
      ),
    issuer: httpUrl()
      .optional()
      .describe(
        'OpenID Connect issuer URL, used for discovery. Not needed for `google`, or with `tenant` or `domain`. For type `oauth2`: the value that the provider sends as `iss`, if it does. Default there: the origin of `token_url`.',
      ),
    tenant: z
      .string()
      .regex(/^[A-Za-z0-9.-]+$/, 'must be a tenant ID or domain, or organizations, common or consumers')
      .optional()
      .describe(
        'For type `entra`, instead of `issuer`: the tenant’s ID or domain. `organizations` is every tenant; list those that may sign in in `allowed_tenants`.',
      ),
    domain: z
      .string()
      .regex(/^[a-z\d-]+(\.[a-z\d-]+)+$/i, 'must be a host name such as "example.okta.com", without https://')
      .optional()
      .describe(
        'For the types `okta`, `auth0` and `cloudflare-access`, instead of `issuer`: the organization’s host, for example `example.okta.com`.',
      ),
    base_url: httpUrl()
      .optional()
      .describe('For type `github`: URL of GitHub Enterprise. Default: `https://github.com`.'),
    authorization_url: httpUrl()
      .optional()
      .describe('For type `oauth2`: authorization endpoint, to which the browser is sent.'),
    token_url: httpUrl().optional().describe('For type `oauth2`: token endpoint.'),
    userinfo_url: httpUrl()
      .optional()
      .describe(
        'For type `oauth2`: URL that returns the user’s profile as a JSON object for a GET request with the access token.',
      ),
    token_endpoint_auth_method: z
      .enum(['client_secret_post', 'client_secret_basic'])
      .optional()
      .describe(
        'For type `oauth2`: how the client secret is sent to `token_url`, in the body or with HTTP Basic. Default: `client_secret_post`.',
      ),
    claims: claimKeys.optional(),
    client_id: text('Client ID at the provider. Required, except for type `mock`.').optional(),
    allow_insecure_mock: z
      .boolean()
      .optional()
      .describe(
        'For type `mock`: allow it on a gateway that others can reach. Warning: anyone there can sign in as anyone.',
      ),
    client_secret: secret('Client secret at the provider. Omit for a public client.').optional(),
    scopes: z
      .array(z.string())
      .min(1)
      .optional()
      .describe(
        'Scopes to request from the provider. Default for type `openid`: `openid email profile`; `openid` is required. Default for type `github`: `read:user user:email`, and `read:org` if access depends on groups. Default for type `oauth2`: none.',
      ),
    redirect_path: z
      .enum(redirectPaths)
      .default('/oauth/callback')
      .describe(
        'Path of the redirect URI that is registered at the provider. `{provider}` stands for the provider’s ID; responses for that provider are then accepted at this path only, so use it if you do not trust all providers alike.',
      ),
    extra_params: z
      .record(z.string(), z.string())
      .default({})
      .describe('Additional authorization request parameters, for example `prompt: select_account`.'),
    groups_claim: text(
      'ID token or userinfo claim that holds the user’s groups: a name (`groups`, `cognito:groups`) or a path (`realm_access.roles`). GitHub has no such claim: groups are the user’s organizations (`acme`) and teams (`acme/platform`), in lower case.',
    ).default('groups'),
    email_verified: z
      .enum(['claim', 'trust'])
      .optional()
      .describe(
        '`claim`: treat an email address as verified only if the provider sends `email_verified: true`. `trust`: also treat it as verified if the provider omits the claim. ' +
          'An explicit `false` is never accepted. Warning: with `trust`, anyone who can set an arbitrary email address on their account can sign in as that address. Use it only if ' +
          'administrators assign email addresses. Default: `trust` for Cloudflare Access and for members of a single Microsoft Entra tenant, otherwise `claim`.',
      ),
    allowed_logins: z
      .array(z.string())
      .optional()
      .describe(
        'For the types `github` and `oauth2`: usernames that may sign in, in upper or lower case, or `*` for all. An empty list admits nobody. Default: every user of the provider. A public gateway that uses github.com does not start without a list of users, domains or groups.',
      ),
    allowed_tenants: z
      .array(z.string())
      .min(1)
      .optional()
      .describe(
        'For the types `google` and `entra`: Google Workspace organizations by their primary domain (`hd`), or Microsoft Entra tenants by ID (`tid`). Accounts of no organization may then not sign in. Default: any.',
      ),
    allowed_emails: z
      .array(z.string())
      .min(1)
      .optional()
      .describe(
        'Verified email addresses that may sign in, or `*` for all. Default: every user of the provider. A public gateway does not start with this default if anyone can create an account at the provider (for example, Google).',
      ),
    allowed_domains: z
      .array(z.string())
      .min(1)
      .optional()
      .describe(
        'Verified email domains that may sign in (exact match), or `*` for any. A Google account must belong to a Google Workspace organization, unless it is at gmail.com. Default: any.',
      ),
    allowed_groups: z
      .array(z.string())
      .min(1)
      .optional()
      .describe('Groups that may sign in. Users need at least one of them. `*` allows any. Default: any.'),
    scim_token: z
      .string()
      .min(32, 'must be at least 32 characters')
      .optional()
      .describe(
        'Bearer token with which the provider sends SCIM 2.0 requests, at least 32 characters. Users whom it deactivates lose access and cannot sign in.',
      )
      .meta({ writeOnly: true }),
    profile_refresh: optionalDuration(
      's',
      ['0s', '365d'],
      'How often the provider is asked again about a user whose apps are in use: profile, groups, and whether the user may still sign in. `0` never asks. Default: `15m` for GitHub, and for a provider that is asked for offline access (`offline_access` in `scopes`, or `access_type: offline` in `extra_params`); otherwise `0`.',
    ),
    profile_refresh_grace: duration(
      's',
      ['1d', '0s', '365d'],
      'How long users keep access if the provider cannot be asked again. After that, their apps get no new access token.',
    ),
  })
  .describe('An identity provider.')

export const localUserKeys = z
  .strictObject({
    username: z.string().min(1).max(128).describe('Username.'),
    password: secret('Plain-text password, 8 to 1000 characters. Prefer `password_hash`.').optional(),
    password_hash: z
      .string()
      .regex(
        /^\$(argon2id|scrypt)\$[A-Za-z0-9+/=,$.-]+$/,
        'must be a hash printed by `postern hash-password` ($argon2id$… or $scrypt$…); put it in single quotes',
      )
      .describe('Password hash in PHC string format, as printed by `postern hash-password`.')
      .meta({ writeOnly: true })
      .optional(),
    email: z.email().optional().describe('Email address.'),
    name: text('Display name.').optional(),
    groups: z.array(z.string()).default([]).describe('Groups the user belongs to.'),
  })
  .describe(
    'A user who signs in with a password from this configuration. Set exactly one of `password` and `password_hash`.',
  )

export const serviceAccountKeys = z
  .strictObject({
    name: text('Display name. Default: its ID.').optional(),
    owner: text(
      'Who looks after the account, for example `local:ana` or an email address. Administrators see it.',
    ).optional(),
    groups: z
      .array(z.string())
      .default([])
      .describe('Groups of the account. Access rules name them `service:<group>`.'),
    services: z
      .array(z.string())
      .min(1)
      .describe(
        'IDs of the services that the account may use, or `*` for all of them. `/api`: the API of the gateway, if the account is listed in `admins`.',
      ),
    permissions: z
      .array(z.enum(permissions))
      .min(1)
      .optional()
      .describe(
        'The most that its tokens allow: the highest of these, each of which includes those before it. Access rules must grant it as well. Default: `execute` (everything but administration).',
      ),
  })
  .describe('An account for programs, which get tokens without a user. Nobody can sign in as one.')

export const personalTokenKeys = z
  .strictObject({
    self_service: z
      .boolean()
      .default(true)
      .describe(
        'Let signed-in users create tokens at `/account/tokens`. If this is `false`, only `postern token create` does; users still see and end theirs.',
      ),
    max_lifetime: duration('s', ['90d', '1m', '365d'], 'The longest that a token may live.'),
    default_lifetime: duration(
      's',
      ['30d', '1m', '365d'],
      'How long a token lives if nothing else is asked for; never longer than `max_lifetime`.',
    ),
    header: z
      .string()
      .regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/i, 'must be a header name of letters, digits and -')
      .optional()
      .describe(
        'Header that may carry a personal access token instead of `Authorization`, for clients that can set no other, for example `x-api-key`. It is never forwarded.',
      ),
  })
  .describe(
    'Personal access tokens, for programs that act as a user. See [Personal access tokens](../guide/personal-tokens.md).',
  )

export const clientKeys = z
  .strictObject({
    name: text('Display name on the consent page.'),
    redirect_uris: z
      .array(z.string())
      .default([])
      .describe(
        'Allowed redirect URIs (exact match). On loopback hosts, any port matches. Required with the grant type `authorization_code`.',
      ),
    grant_types: z
      .array(
        z.enum([
          'authorization_code',
          'refresh_token',
          'client_credentials',
          'urn:ietf:params:oauth:grant-type:token-exchange',
        ]),
      )
      .min(1)
      .default(['authorization_code', 'refresh_token'])
      .describe(
        'Grants that the client may use. `client_credentials`: it gets tokens of its own, as the service account in `service_account`, without a user. See [Service accounts](../guide/service-accounts.md). `urn:ietf:params:oauth:grant-type:token-exchange`: for a client that has no other grant; what it may exchange is in `token_exchange`.',
      ),
    service_account: text(
      'With the grant type `client_credentials`: the entry of `service_accounts` that the client acts as.',
    ).optional(),
    token_endpoint_auth_method: z
      .enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'])
      .default('none')
      .describe('How the client authenticates at the token endpoint.'),
    client_secret: secret(
      'Client secret, required for the `client_secret_*` methods. At least 32 characters.',
    ).optional(),
    jwks_uri: z
      .url({ protocol: /^https$/, error: 'must be a full https:// URL' })
      .optional()
      .describe('For `private_key_jwt`: URL of the client’s public keys.'),
    jwks: z
      .strictObject({
        keys: z.array(z.record(z.string(), z.unknown())).min(1).describe('JSON Web Keys (public keys only).'),
      })
      .optional()
      .describe('For `private_key_jwt`: the client’s public keys.'),
    dpop: dpopMode(
      'Whether the tokens of this client are bound to its key (RFC 9449). Default: `dpop.mode`. See [DPoP](../guide/dpop.md).',
    ),
  })
  .describe('A preregistered OAuth client.')

export const registrationKeys = z
  .union(
    [
      z.boolean(),
      z.strictObject({
        grant_types: z
          .array(z.enum(['client_credentials']))
          .min(1)
          .describe(
            'Further grants that such a client may have. `client_credentials`: a client that authenticates gets tokens of its own, as soon as an administrator has bound it to a service account. See [Service accounts](../guide/service-accounts.md#clients-that-register-themselves).',
          ),
      }),
    ],
    { error: 'must be true, false, or { grant_types: [client_credentials] }' },
  )
  .default(true)
  .describe(
    'Accept dynamic client registration (RFC 7591). Clients that publish a metadata document do not need it. A mapping accepts it, and allows clients that register or publish a metadata document more than users’ grants.',
  )
