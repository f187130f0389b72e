// The configuration: one schema, and every field carries the sentence that becomes its documentation.
// Structure, types and bounds are here and in the files for people and services; rules that join several keys
// are in rules/. As a namespace: a bundler then leaves out what is not used, half a megabyte of languages
// among it.
import * as z from 'zod'
import { accessKeys } from './access-keys.ts'
import { assertionIssuerKeys } from './assertion-keys.ts'
import { auditKeys } from './audit-keys.ts'
import { exchangeKeys } from './exchange-keys.ts'
import { brandingKeys } from './branding-keys.ts'
import { deviceKeys, withDeviceClient } from './device-keys.ts'
import { forwardAuthKeys } from './forward-auth-keys.ts'
import { metricsKeys, telemetryKeys } from './telemetry-keys.ts'
import { clusterKeys, workersKey } from './process-keys.ts'
import { dpopKeys } from './dpop-keys.ts'
import { httpUrl, secret, serviceId, text, duration } from './key-types.ts'
import {
  clientKeys,
  localUserKeys,
  personalTokenKeys,
  providerKeys,
  registrationKeys,
  serviceAccountKeys,
} from './people-keys.ts'
import { normalizeProvider, usesGroups } from './providers.ts'
import { rateLimitKeys } from './rate-limit-keys.ts'
import { mcpServersKeys, serviceKeys } from './service-keys.ts'
import { rootKeyKeys, storageKeys } from './storage-keys.ts'

const domain = (description: string) =>
  z
    .string()
    .regex(
      /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/,
      'must be a domain in lower case, without a scheme, wildcard or port',
    )
    .describe(description)

export const lateRepeats = ['by-network', 'allow', 'refuse'] as const
export const logLevels = ['debug', 'info', 'warn', 'error'] as const

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
        'DPoP',
      ])
      .describe(
        'Request headers allowed in preflight responses. `*` allows every header that the browser asks for. `Mcp-Param-*` headers are always allowed.',
      ),
    expose_headers: z
      .array(z.string())
      .default([
        'WWW-Authenticate',
        'Mcp-Session-Id',
        'MCP-Protocol-Version',
        'Retry-After',
        'X-Request-Id',
        'DPoP-Nonce',
      ])
      .describe('Response headers that browser-based clients may read.'),
  })
  .describe('Cross-origin access for browser clients.')

const personEntry = z
  .string()
  .regex(
    /^([a-z0-9][a-z0-9_-]{0,62}:.+|[^@\s:]+@[^@\s]+)$/,
    'must be provider:subject, e.g. "local:ana", or a verified email address',
  )

const flowRecord = z
  .strictObject({
    enabled: z.boolean().default(true).describe('Record flows.'),
    retention: duration(
      's',
      ['30d', '1d', '365d'],
      'How long flows are kept, counted from their first step. Flows in which nobody signed in are kept for one day.',
    ),
  })
  .describe(
    'Flow record: the steps of each attempt of an app to get access, from its registration to its first call, with where it stopped and who must act. Read it with `postern flows`. Without this section there is none. See [Flows](../guide/flows.md).',
  )

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
      .array(personEntry)
      .default([])
      .describe(
        'Administrators: users who may add and remove services while the gateway runs. Each entry is `provider:subject` (`local:ana`) or a verified email address. If no sign-in method is configured, the built-in user is an administrator.',
      ),
    auditors: z
      .array(personEntry)
      .default([])
      .describe(
        'Auditors: users who may read everybody’s events in the [audit trail](../guide/audit-trail.md) through the API, export and verify it. Everyone else reads only their own events, administrators included. Entries as in `admins`. If no sign-in method is configured, the built-in user is an auditor.',
      ),
    admin_commands: z
      .boolean()
      .default(false)
      .describe(
        'Allow administrators to add stdio servers too. A stdio server is a command that runs on the gateway’s machine. If this is `false`, only someone with shell access can add one, with `postern services add` or in this file.',
      ),
    cors: cors.prefault({}),
    oauth_providers: z.record(serviceId, providerKeys).default({}).describe('Identity providers by ID.'),
    single_provider: z
      .boolean()
      .default(false)
      .describe('Refuse to start with more than one entry in `oauth_providers`.'),
    mcp_services: z
      .record(serviceId, serviceKeys)
      .default({})
      .describe('MCP servers by ID. The ID is part of the path: `/{id}/mcp`.'),
    mcpServers: mcpServersKeys,
    access: accessKeys,
    audit: auditKeys.optional(),
    flows: flowRecord.optional(),
    metrics: metricsKeys.optional(),
    telemetry: telemetryKeys.optional(),
    workers: workersKey,
    cluster: clusterKeys.optional(),
    forward_auth: forwardAuthKeys.optional(),
    rate_limits: rateLimitKeys,
    local_users: z
      .array(localUserKeys)
      .default([])
      .describe('Users who sign in with a password from this configuration.'),
    clients: z
      .record(
        z.string().regex(/^[A-Za-z0-9._~-]{1,128}$/, 'use letters, digits, - . _ ~ (at most 128 characters)'),
        clientKeys,
      )
      .default({})
      .describe('Preregistered OAuth clients by `client_id`.'),
    service_accounts: z
      .record(serviceId, serviceAccountKeys)
      .default({})
      .describe('Accounts for programs, by ID. See [Service accounts](../guide/service-accounts.md).'),
    assertion_issuers: z
      .record(serviceId, assertionIssuerKeys)
      .default({})
      .describe(
        'Issuers of assertions for which the token endpoint gives tokens without a browser, by ID. See [Assertions](../guide/assertions.md).',
      ),
    branding: brandingKeys.optional(),
    docs_url: httpUrl()
      .max(500)
      .optional()
      .describe(
        'URL where the documentation site of this gateway is published (`npm run docs` builds it in `site/`). Error pages and JSON errors then link to what it says of their code (`error_uri`).',
      ),
    personal_tokens: personalTokenKeys.prefault({}),
    token_exchange: exchangeKeys,
    device: deviceKeys.optional(),
    dpop: dpopKeys.optional(),
    copy_redirect_url: z
      .boolean()
      .default(false)
      .describe(
        'For apps with a loopback redirect URI that run on another computer than the browser: offer on the consent page to show the redirect URL, so that the user can paste it into the app. Whoever receives that URL can act as the user, so this is off by default. See [Device login](../guide/device-login.md#an-app-on-another-computer).',
      ),
    client_metadata_documents: z
      .boolean()
      .default(true)
      .describe(
        'Support Client ID Metadata Documents: a client’s `client_id` is the URL of a document that the gateway fetches. Set to `false` if the gateway cannot reach the internet; clients then use dynamic registration.',
      ),
    dynamic_registration: registrationKeys,
    storage: storageKeys.prefault({}),
    keys: rootKeyKeys.prefault({}),
    access_token_lifetime: duration('s', ['1h', '1m', '1d'], 'Lifetime of access tokens.'),
    refresh_token_lifetime: duration(
      's',
      ['30d', '5m', '365d'],
      'How long a refresh token stays valid without use.',
    ),
    refresh_grace: duration(
      's',
      ['1m', '0s', '1h'],
      'How long a used refresh token still returns the same successor. Counted from its first use and from the first use of its successor.',
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
    code_lifetime: duration('s', ['5m', '10s', '10m'], 'Lifetime of authorization codes.'),
    session_timeout: duration(
      's',
      ['1h', '1m', '8h'],
      'Idle timeout of a browser session. Every session ends after 8 hours.',
    ),
    client_lifetime: duration(
      's',
      ['90d', '0s', '365d'],
      'How long a dynamic client registration is kept without use, counted from registration and from each use. 0 keeps it forever. The registration response tells clients when it expires.',
    ),
    key_rotation: duration(
      's',
      ['90d', '1h', '365d'],
      'How often the signing key is rotated. The previous key stays published until its tokens have expired.',
    ),
    heartbeat: duration(
      's',
      ['15s', '1s', '10m'],
      'Interval of keep-alive comments on idle event streams and of pings on WebSockets. A WebSocket that misses two pings is closed.',
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

/** As it was written, checked and with defaults. */
export type ParsedConfig = z.output<typeof configSchema>
export type ConfigInput = z.input<typeof configSchema>

// The configuration as the gateway gets it, settled from what was written: one spelling of the public URL,
// the issuers of known providers, and nothing that only the file needs.

export type ServiceConfig = ParsedConfig['mcp_services'][string]

export type ProviderConfig = ReturnType<typeof normalizeProvider<ParsedConfig['oauth_providers'][string]>>

/**
 * Durations are numbers in the unit that the reference states for a number. `issuer` has no slash at its end.
 */
export interface Config extends Omit<ParsedConfig, '$schema' | 'mcpServers' | 'oauth_providers'> {
  readonly oauth_providers: Readonly<Record<string, ProviderConfig>>
}

/** Throws RangeError for an OpenID provider without an issuer. */
export const normalize = (parsed: ParsedConfig): Config => {
  const { $schema: _, mcpServers: __, issuer, oauth_providers: written, ...rest } = parsed
  const groups = usesGroups(parsed)
  const providers = Object.entries(written).map(
    ([id, provider]) => [id, normalizeProvider(id, provider, groups)] as const,
  )
  return {
    ...rest,
    oauth_providers: Object.fromEntries(providers),
    clients: withDeviceClient(rest),
    ...(issuer === undefined ? {} : { issuer: issuer.replace(/\/$/, '') }),
  }
}

/**
 * For whoever has the configuration as an object and needs no sentences about its faults. Throws what the
 * schema throws, and as `normalize`.
 */
export const parseConfig = (input: ConfigInput): Config => normalize(configSchema.parse(input))
