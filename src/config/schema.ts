// The configuration: one schema, and every field carries the sentence that becomes its documentation.
// Structure, types and bounds are here; rules that join several keys are in the rules-*.ts beside it.
// As a namespace: a bundler then leaves out what is not used, half a megabyte of languages among it.
import * as z from 'zod'
import { commandKeys, mcpServersKeys, upstreamAuthKeys } from './service-keys.ts'

const text = (description: string) => z.string().min(1).describe(description)
const seconds = (description: string, fallback: number, least = 1, most = 31_536_000) =>
  z.number().int().min(least).max(most).default(fallback).describe(`${description} Seconds.`)
/** `writeOnly` is JSON Schema's word for a value that is never shown again: it is masked, may come from a file, and is in no message. */
const secret = (description: string) => z.string().min(1).describe(description).meta({ writeOnly: true })
const idForm =
  'use lower-case letters, digits, - and _ (at most 63 characters, starting with a letter or digit)'
const serviceId = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, idForm)
const domain = (description: string) =>
  z
    .string()
    .regex(
      /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/,
      'must be a domain in lower case, without a scheme, wildcard or port',
    )
    .describe(description)
const httpUrl = () => z.url({ protocol: /^https?$/, error: 'must be a full http:// or https:// URL' })

export const identityPresets = ['all', 'seed1', 'seed2', 'seed3', 'seed4', 'none'] as const
export const lateRepeats = ['by-network', 'allow', 'refuse'] as const
export const logLevels = ['debug', 'info', 'warn', 'error'] as const
/** What a value of `identity.headers` may say about the person. */
export const personPlaceholders = [
  'id',
  'sub',
  'login',
  'email',
  'name',
  'provider',
  'avatar',
  'groups',
] as const

const cors = z
  .strictObject({
    allow_origins: z
      .array(z.string())
      .default(['*'])
      .describe(
        'Allowed origins of browser-based clients: exact origins (`https://app.example`), or `*` for any. ' +
          '`*` does not apply to services with `auth_required: false`; list each origin that may call them. A gateway ' +
          'on a loopback address also allows loopback origins.',
      ),
    allow_credentials: z
      .boolean()
      .default(false)
      .describe('Send `Access-Control-Allow-Credentials: true`. Cannot be combined with the origin `*`.'),
    allow_methods: z
      .array(z.string())
      .default(['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'])
      .describe('Methods allowed in preflight responses. Each endpoint lists only the methods it supports.'),
    allow_headers: z
      .array(z.string())
      .default([
        'Authorization',
        'Content-Type',
        'Accept',
        'MCP-Protocol-Version',
        'Mcp-Session-Id',
        'Mcp-Method',
        'Mcp-Name',
        'Last-Event-ID',
      ])
      .describe(
        'Request headers allowed in preflight responses. `*` allows every header that the browser asks for. `Mcp-Param-*` headers are always allowed.',
      ),
    expose_headers: z
      .array(z.string())
      .default(['WWW-Authenticate', 'Mcp-Session-Id', 'MCP-Protocol-Version', 'Retry-After', 'X-Request-Id'])
      .describe('Response headers that browser-based clients may read.'),
  })
  .describe('Cross-origin access for browser clients.')

const provider = z
  .strictObject({
    name: text('Label of the sign-in button.').optional(),
    issuer: httpUrl()
      .optional()
      .describe(
        'OpenID Connect issuer URL, used for discovery. Required for every provider except `google`.',
      ),
    client_id: text('Client ID at the provider.'),
    client_secret: secret('Client secret at the provider. Omit for a public client.').optional(),
    scopes: z
      .array(z.string())
      .min(1)
      .default(['openid', 'email', 'profile'])
      .describe('Scopes to request from the provider. Must include `openid`.'),
    extra_params: z
      .record(z.string(), z.string())
      .default({})
      .describe('Additional authorization request parameters, for example `prompt: select_account`.'),
    groups_claim: text(
      'ID token or userinfo claim that holds the user’s groups: a name (`groups`, `cognito:groups`) or a path (`realm_access.roles`).',
    ).default('groups'),
    email_verified: z
      .enum(['claim', 'trust'])
      .optional()
      .describe(
        '`claim`: treat an email address as verified only if the provider sends `email_verified: true`. `trust`: also treat it as verified if the provider omits the claim. ' +
          'An explicit `false` is never accepted. Warning: with `trust`, anyone who can set an arbitrary email address on their account can sign in as that address. Use it only if ' +
          'administrators assign email addresses. Default: `trust` for a single Microsoft Entra tenant (`https://login.microsoftonline.com/{tenant}/v2.0`), otherwise `claim`.',
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
      .describe('Verified email domains that may sign in (exact match), or `*` for any. Default: any.'),
    allowed_groups: z
      .array(z.string())
      .min(1)
      .optional()
      .describe('Groups that may sign in. Users need at least one of them. `*` allows any. Default: any.'),
  })
  .describe('An OpenID Connect identity provider.')

const identity = z
  .strictObject({
    preset: z.enum(identityPresets).default('all').describe('Set of identity headers sent to the service.'),
    headers: z
      .record(
        z.string().regex(/^[A-Za-z0-9-]+$/, 'header names use letters, digits and -'),
        z.string().meta({ 'x-placeholders': personPlaceholders }),
      )
      .default({})
      .describe(
        'Additional headers. Values may contain ${id} ${sub} ${login} ${email} ${name} ${provider} ${avatar} ${groups}.',
      ),
    assertion: z
      .boolean()
      .default(true)
      .describe(
        'Send `X-MCP-Identity`, a JWT that identifies the user. Its audience is this service, and it can be verified with the gateway’s JWKS.',
      ),
  })
  .describe('How the service learns which user is calling.')

const service = z
  .strictObject({
    name: text('Display name.').optional(),
    description: z.string().default('').describe('Short description shown on the consent page.'),
    url: z
      .url({ protocol: /^(https?|wss?)$/, error: 'must be a full URL: http://, https://, ws:// or wss://' })
      .optional()
      .describe(
        'URL of the MCP server: `http(s)://`, or `ws(s)://` for a WebSocket server. A URL with a path, even just `/`, is used as written. If it has no path, the gateway tries `/mcp` and falls back to `/` (or uses `/sse` if `transport` is `sse`).',
      ),
    ...commandKeys,
    transport: z
      .enum(['auto', 'streamable', 'sse'])
      .default('auto')
      .describe(
        'Transport of an http(s) server: Streamable HTTP, or HTTP+SSE (MCP 2024-11-05). `auto` detects it when the first session starts.',
      ),
    alias: z
      .string()
      .regex(
        /^[a-z0-9](?:[a-z0-9-]{0,57}[a-z0-9])?$/,
        'must be a DNS label: lower-case letters, digits and hyphens, at most 59 characters',
      )
      .optional()
      .describe(
        'Short name under `domain_root`: `{alias}-enc.{domain_root}`. Use it if the server’s domain is longer than 36 bytes, if the server has no domain, or if several services use the same server.',
      ),
    oauth_provider: text(
      'ID of the identity provider that users of this service sign in with. Default: any configured provider.',
    ).optional(),
    auth_required: z
      .boolean()
      .default(true)
      .describe('Set to `false` to make the service public: no sign-in, no token and no identity headers.'),
    scopes: z
      .array(
        z
          .string()
          .regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be one scope: printable ASCII without spaces, " or \\'),
      )
      .min(1)
      .default(['mcp'])
      .describe(
        'Scopes that an access token needs for this service. Also the default if an authorization request names no scopes.',
      ),
    timeout: z
      .number()
      .int()
      .min(1)
      .max(3_600_000)
      .default(300_000)
      .describe(
        'Timeout for the first byte of a response. For a stdio server, the longest time without output during a call. A closed connection or an exited process is detected immediately. Milliseconds.',
      ),
    max_body: z
      .number()
      .int()
      .min(1024)
      .max(1_073_741_824)
      .optional()
      .describe(
        'Maximum size of a request body. Bytes. Default: 4194304, or 10485760 for a stdio server. The latter is also the maximum size of a message that a stdio server may write.',
      ),
    identity: identity.prefault({}),
    pass_headers: z
      .array(z.string().regex(/^[!#$%&'*+.^`|~\w-]+$/, 'must be a header name'))
      .default([])
      .describe(
        'Request headers to forward to this server that would otherwise be stripped because they can carry identity or credentials, such as `X-Api-Key`.',
      ),
    upstream_auth: upstreamAuthKeys,
  })
  .describe('An MCP server behind the gateway.')

const localUser = z
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

const client = z
  .strictObject({
    name: text('Display name on the consent page.'),
    redirect_uris: z
      .array(z.string())
      .min(1)
      .describe('Allowed redirect URIs (exact match). On loopback hosts, any port matches.'),
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
  })
  .describe('A preregistered OAuth client.')

const storage = z
  .strictObject({
    type: z
      .enum(['sqlite', 'memory'])
      .default('sqlite')
      .describe(
        '`sqlite`: a database file in the state directory. `memory`: a single process only, and all data is lost on exit.',
      ),
  })
  .describe('Storage for authorization codes, grants, sessions and client registrations.')

export const configSchema = z
  .strictObject({
    $schema: z.string().optional().describe('JSON Schema of this file, for editor support.'),
    host: text('Address to listen on. `localhost` listens on both 127.0.0.1 and ::1.').default('localhost'),
    port: z
      .number()
      .int()
      .min(0)
      .max(65_535)
      .default(8080)
      .describe('Port to listen on. 0 picks a free port.'),
    issuer: httpUrl()
      .optional()
      .describe(
        'Public URL of the gateway: scheme, host and optional port, without a path. Required if `host` is not a loopback address.',
      ),
    session_secret: secret(
      'Root secret, at least 32 characters. The keys for encryption and signing are derived from it. Default: generated and stored in the state directory.',
    ).optional(),
    previous_secrets: z
      .array(z.string().min(1).meta({ writeOnly: true }))
      .default([])
      .describe(
        'Previous values of `session_secret` and `token_encryption_key`, newest first. They still decrypt data that was encrypted with them.',
      ),
    token_encryption_key: secret(
      'Separate secret for encrypting stored data (AES-256-GCM), at least 32 characters. Default: `session_secret` is used. When you change it, add the old value to `previous_secrets`.',
    ).optional(),
    debug: z
      .boolean()
      .default(false)
      .describe('Log more. On a loopback gateway, also accept any localhost origin.'),
    log_level: z
      .enum(logLevels)
      .default('info')
      .describe('Minimum log level. `debug: true` logs everything. Audit events are always logged.'),
    allowed_hosts: z
      .array(z.string())
      .default([])
      .describe('Additional `Host` values (host or host:port) that the gateway accepts.'),
    trusted_proxies: z
      .array(z.string())
      .default([])
      .describe('Addresses or CIDR ranges of reverse proxies whose `X-Forwarded-For` header is trusted.'),
    protocol_versions: z
      .array(z.string().regex(/^\d{4}-\d{2}-\d{2}$/, 'must be an MCP revision, e.g. "2025-11-25"'))
      .min(1)
      .optional()
      .describe('MCP protocol revisions to accept. Default: every published revision.'),
    default_service: text(
      'Service to serve at `/mcp`. Default: the only service, if there is exactly one.',
    ).optional(),
    domain_root: domain(
      'Parent domain for encoded hostnames. Each server gets the hostname `{base32(domain)}-enc.{domain_root}` and keeps its path.',
    ).optional(),
    base_domain: domain(
      'Parent domain for service hostnames. Each service is served at `https://{service}.{base_domain}/mcp`; an `_` in its ID becomes `-`.',
    ).optional(),
    hosts: z
      .record(
        z
          .string()
          .regex(
            /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/,
            'must be a host or host:port in lower case, without a scheme or path',
          ),
        z.string().min(1),
      )
      .default({})
      .describe(
        'Services by exact hostname (host or host:port). `mcp.example.com: jira` serves `jira` at `https://mcp.example.com/mcp`.',
      ),
    admins: z
      .array(
        z
          .string()
          .regex(
            /^([a-z0-9][a-z0-9_-]{0,62}:.+|[^@\s:]+@[^@\s]+)$/,
            'must be provider:subject, e.g. "local:ana", or a verified email address',
          ),
      )
      .default([])
      .describe(
        'Administrators: users who may add and remove services while the gateway runs. Each entry is `provider:subject` (`local:ana`) or a verified email address. If no sign-in method is configured, the built-in user is an administrator.',
      ),
    admin_commands: z
      .boolean()
      .default(false)
      .describe(
        'Allow administrators to add stdio servers too. A stdio server is a command that runs on the gateway’s machine. If this is `false`, only someone with shell access can add one, with `postern services add` or in this file.',
      ),
    cors: cors.prefault({}),
    oauth_providers: z.record(serviceId, provider).default({}).describe('Identity providers by ID.'),
    mcp_services: z
      .record(serviceId, service)
      .default({})
      .describe('MCP servers by ID. The ID is part of the path: `/{id}/mcp`.'),
    mcpServers: mcpServersKeys,
    local_users: z
      .array(localUser)
      .default([])
      .describe('Users who sign in with a password from this configuration.'),
    clients: z
      .record(
        z.string().regex(/^[A-Za-z0-9._~-]{1,128}$/, 'use letters, digits, - . _ ~ (at most 128 characters)'),
        client,
      )
      .default({})
      .describe('Preregistered OAuth clients by `client_id`.'),
    client_metadata_documents: z
      .boolean()
      .default(true)
      .describe(
        'Support Client ID Metadata Documents: a client’s `client_id` is the URL of a document that the gateway fetches. Set to `false` if the gateway cannot reach the internet; clients then use dynamic registration.',
      ),
    dynamic_registration: z
      .boolean()
      .default(true)
      .describe(
        'Accept dynamic client registration (RFC 7591). Clients that publish a metadata document do not need it.',
      ),
    storage: storage.prefault({}),
    access_token_lifetime: seconds('Lifetime of access tokens.', 3600, 60, 86_400),
    refresh_token_lifetime: seconds('How long a refresh token stays valid without use.', 2_592_000, 300),
    refresh_grace: seconds(
      'How long a used refresh token still returns the same successor. Counted from its first use and from the first use of its successor.',
      60,
      0,
      3600,
    ),
    refresh_late_repeat: z
      .enum(lateRepeats)
      .default('by-network')
      .describe(
        'What to do if a refresh token is used again after `refresh_grace` while its successor is still unused. ' +
          'Either the response was lost, or the token was stolen. `by-network`: the network that used the token first (IPv4 address, ' +
          'IPv6 /64) gets the same successor. Any other network gets a new successor that replaces the unused one. If the ' +
          'replaced one is then used outside that network, the grant is revoked. Clients that authenticate get the same successor from any network. ' +
          '`allow`: every caller gets the same successor. `refuse`: the grant is revoked. See [Refresh tokens](../guide/refresh-tokens.md).',
      ),
    code_lifetime: seconds('Lifetime of authorization codes.', 300, 10, 600),
    session_timeout: seconds(
      'Idle timeout of a browser session. Every session ends after 8 hours.',
      3600,
      60,
      28_800,
    ),
    client_lifetime: seconds(
      'How long a dynamic client registration is kept without use, counted from registration and from each use. 0 keeps it forever. The registration response tells clients when it expires.',
      7_776_000,
      0,
    ),
    key_rotation: seconds(
      'How often the signing key is rotated. The previous key stays published until its tokens have expired.',
      7_776_000,
      3600,
    ),
    heartbeat: seconds(
      'Interval of keep-alive comments on idle event streams and of pings on WebSockets. A WebSocket that misses two pings is closed.',
      15,
      1,
      600,
    ),
    max_concurrent_calls: z
      .number()
      .int()
      .min(1)
      .max(1_000_000)
      .default(64)
      .describe(
        'Maximum concurrent calls per user (or per IP address on public services) in this process. Further calls get a 429.',
      ),
    max_open_streams: z
      .number()
      .int()
      .min(1)
      .max(1_000_000)
      .default(64)
      .describe(
        'Maximum open GET streams per user (or per IP address on public services) in this process. Further requests get a 429.',
      ),
  })
  .describe('Postern configuration.')

export type Config = z.output<typeof configSchema>
export type ConfigInput = z.input<typeof configSchema>
