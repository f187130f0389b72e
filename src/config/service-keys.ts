// Keys of a service that is a command on this computer: what is started, for whom, in which isolation, and for how long.
import * as z from 'zod'

const milliseconds = (description: string, fallback: number, least: number, most: number) =>
  z.number().int().min(least).max(most).default(fallback).describe(`${description} Milliseconds.`)
const seconds = (description: string, fallback: number, least: number) =>
  z.number().int().min(least).max(31_536_000).default(fallback).describe(`${description} Seconds.`)

export const commandKeys = {
  command: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Command of a stdio server, instead of `url`: a program name in PATH or a path. It is started without a shell.',
    ),
  args: z
    .array(z.string())
    .default([])
    .describe('Arguments of the command, one per entry. Nothing is expanded.'),
  env: z
    .record(
      z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'variable names use letters, digits and _'),
      z.string().meta({ writeOnly: true }),
    )
    .default({})
    .describe(
      'Environment variables of the command. The command also gets PATH, LANG, LC_ALL, TZ, its own HOME, and npm’s registry and proxy settings. Nothing else is inherited.',
    ),
  cwd: z
    .string()
    .min(1)
    .optional()
    .describe('Working directory of the command. Default: its home directory.'),
  shared: z
    .boolean()
    .default(false)
    .describe(
      'Use one process for all users. If `false`, each user has separate processes, and each session of a legacy client (MCP 2025-11-25 or earlier) has its own process.',
    ),
  sandbox: z
    .enum(['auto', 'bubblewrap', 'none'])
    .default('auto')
    .describe(
      'Sandbox for the command. `bubblewrap` requires a bubblewrap sandbox, `auto` uses one if available and warns otherwise, `none` runs the command without a sandbox.',
    ),
  sandbox_network: z
    .boolean()
    .default(true)
    .describe(
      'In the sandbox: allow network access. This includes programs that listen on loopback addresses of this machine.',
    ),
  sandbox_read: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'In the sandbox: additional files and folders that the command may read. It can always read programs, its working directory and the paths named in its arguments. It can never read the state directory, the configuration file or `.env`.',
    ),
  sandbox_write: z
    .array(z.string().min(1))
    .default([])
    .describe(
      'In the sandbox: files and folders that the command may write to, besides its home directory and /tmp. Each must exist.',
    ),
  start_timeout: milliseconds(
    'Timeout for the command to start and send its first response. Most clients give up after 60 s, so longer values rarely help.',
    45_000,
    1000,
    3_600_000,
  ),
  session_idle: seconds(
    'Idle timeout for a session of a legacy client (MCP 2025-11-25 or earlier) that has no open stream. When the session ends, its process ends too.',
    300,
    1,
  ),
  sleep_after: seconds('Idle timeout for a process. The next call starts a new one.', 600, 1),
  max_processes: z
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(64)
    .describe(
      'Maximum processes of this service. When all slots are taken, callers queue for up to `start_timeout`.',
    ),
  max_processes_per_person: z
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(8)
    .describe('Maximum processes of this service per user.'),
  reconnect_after: milliseconds(
    'Close the event stream of a call after this time, so that clients of MCP 2025-11-25 reconnect and resume it. 0 keeps it open until the response.',
    0,
    0,
    3_600_000,
  ),
}

// The keys of a service's `upstream_auth`: how the gateway, or each person, signs in to the server behind it.

const httpUrl = () => z.url({ protocol: /^https?$/, error: 'must be a full http:// or https:// URL' })
const secret = (description: string) =>
  z.string().min(1).optional().describe(description).meta({ writeOnly: true })
const scopeWord = z
  .string()
  .regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'must be one scope: printable ASCII without spaces, " or \\')

export const upstreamAuthTypes = [
  'auto',
  'none',
  'static',
  'oauth',
  'idp_token',
  'client_credentials',
] as const

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
    client_secret: secret('Client secret for `client_id`.'),
    private_key: secret('For `private_key_jwt`: private key in PEM format (PKCS #8).'),
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
  })
  .describe('Upstream credentials: how the gateway, or each user, authenticates to this MCP server.')
  .prefault({})

// The block `mcpServers` as the schema shows it to editors; what is read of it, and of the blocks of other clients, is in client-files.ts.

/** What is read of an entry. Everything else an entry may hold is a client's own business (approvals, descriptions, icons). */
const entry = z
  .looseObject({
    command: z.string().optional().describe('Same as `mcp_services.<id>.command`.'),
    args: z.array(z.string()).optional().describe('Same as `mcp_services.<id>.args`.'),
    env: z
      .record(z.string(), z.string().meta({ writeOnly: true }))
      .optional()
      .describe('Same as `mcp_services.<id>.env`.'),
    cwd: z.string().optional().describe('Same as `mcp_services.<id>.cwd`.'),
    url: z
      .string()
      .optional()
      .describe('Same as `mcp_services.<id>.url`. `serverUrl` and `httpUrl` are accepted too.'),
    type: z.string().optional().describe('`stdio`, `http` or `sse`.'),
    headers: z
      .record(z.string(), z.string().meta({ writeOnly: true }))
      .optional()
      .describe('Headers to send to the server with every call. Becomes `upstream_auth` of type `static`.'),
    disabled: z.boolean().optional().describe('Set to `true` to skip the server.'),
  })
  .describe('A server in the configuration format of MCP clients.')

export const mcpServersKeys = z
  .record(z.string(), entry)
  .optional()
  .describe(
    'Servers in the format of Claude Desktop, Cursor and other clients. Each becomes a service whose ID is the name in lower case. Put gateway settings for it under `mcp_services.<id>`. See [MCP client configuration files](#mcp-client-configuration-files).',
  )

/** `Brave Search` → `brave-search`; empty when nothing of the name can stay. */
export const idOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .replace(/^[-_]+|-+$/g, '')
    .slice(0, 63)
