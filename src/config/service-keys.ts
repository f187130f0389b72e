// Keys of a service: the MCP server behind it, what it learns of its users, and how the gateway signs in
// there.
import * as z from 'zod'
import { serviceAccessKeys } from './access-keys.ts'
import { serviceAuditKeys } from './audit-keys.ts'
import { dpopMode } from './dpop-keys.ts'
import { scopeWord, text, duration, optionalDuration } from './key-types.ts'
import { serviceRateLimitKeys } from './rate-limit-keys.ts'
import { upstreamAuthKeys } from './upstream-auth-keys.ts'

// A stdio server: what is started, for whom, in which sandbox, and for how long.

const processLimits = z
  .strictObject({
    memory: z
      .number()
      .int()
      .min(16)
      .max(1_048_576)
      .optional()
      .describe(
        'Megabytes of data that one process may hold (RLIMIT_DATA). Beyond it, it gets no more memory; most programs end then.',
      ),
    cpu_time: optionalDuration(
      's',
      ['1s', '365d'],
      'Processor time that one process may use in its life (RLIMIT_CPU). Then it is ended.',
    ),
    open_files: z
      .number()
      .int()
      .min(16)
      .max(1_048_576)
      .optional()
      .describe('Files and connections that one process may have open (RLIMIT_NOFILE).'),
  })
  .optional()
  .describe(
    'Limits for each process that the command starts, itself among them. They need Linux and `prlimit` (util-linux); without it, the command does not start. See [Stdio servers](../guide/stdio-servers.md#limits-for-a-process).',
  )

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
  process_limits: processLimits,
  start_timeout: duration(
    'ms',
    ['45s', '1s', '1h'],
    'Timeout for the command to start and send its first response. Most clients give up after 60 s, so longer values rarely help.',
  ),
  session_idle: duration(
    's',
    ['5m', '1s', '365d'],
    'Idle timeout for a session of a legacy client (MCP 2025-11-25 or earlier) that has no open stream. When the session ends, its process ends too.',
  ),
  sleep_after: duration(
    's',
    ['10m', '1s', '365d'],
    'Idle timeout for a process. The next call starts a new one.',
  ),
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
  reconnect_after: duration(
    'ms',
    ['0s', '0s', '1h'],
    'Close the event stream of a call after this time, so that clients of MCP 2025-11-25 reconnect and resume it. 0 keeps it open until the response.',
  ),
}

// A service.

export const identityPresets = ['all', 'profile', 'minimal', 'claims', 'context', 'none'] as const

/**
 * The present name of a preset that was written under its old one, which was a number; anything else
 * unchanged.
 */
export const currentPreset = (preset: unknown): unknown => {
  const number = typeof preset === 'string' ? /^seed([1-4])$/.exec(preset)?.[1] : undefined
  return number === undefined ? preset : identityPresets[Number(number)]
}

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

const identity = z
  .strictObject({
    preset: z
      .preprocess(currentPreset, z.enum(identityPresets))
      .prefault('all')
      .describe('Set of identity headers sent to the service.'),
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

export const serviceKeys = z
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
    oauth_providers: z
      .array(z.string().min(1))
      .min(1)
      .optional()
      .describe(
        'The same for several identity providers: their IDs. Users of other providers, and local users, cannot use the service.',
      ),
    auth_required: z
      .boolean()
      .default(true)
      .describe('Set to `false` to make the service public: no sign-in, no token and no identity headers.'),
    scopes: z
      .array(scopeWord)
      .min(1)
      .default(['mcp'])
      .describe(
        'Scopes that an access token needs for this service. Also the default if an authorization request names no scopes.',
      ),
    timeout: duration(
      'ms',
      ['5m', '1ms', '1h'],
      'Timeout for the first byte of a response. For a stdio server, the longest time without output during a call. A closed connection or an exited process is detected immediately.',
    ),
    health_interval: optionalDuration(
      's',
      ['5s', '1d'],
      'How often the gateway itself sends `initialize` to the server, to find out whether it responds. Default: never; only calls show it. A server that fails three times in a row is shown as down in `/health`, the console and the metrics. Calls go to it all the same.',
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
    dpop: dpopMode(
      'Whether tokens for this service are bound to a key of the client (RFC 9449). Default: `dpop.mode`. See [DPoP](../guide/dpop.md).',
    ),
    identity: identity.prefault({}),
    pass_headers: z
      .array(z.string().regex(/^[!#$%&'*+.^`|~\w-]+$/, 'must be a header name'))
      .default([])
      .describe(
        'Request headers to forward to this server that would otherwise be stripped because they can carry identity or credentials, such as `X-Api-Key`.',
      ),
    upstream_auth: upstreamAuthKeys,
    access: serviceAccessKeys,
    rate_limits: serviceRateLimitKeys,
    audit: serviceAuditKeys,
  })
  .describe('An MCP server behind the gateway.')

// The block `mcpServers` as the schema shows it to editors; what is read of it, and of the blocks of other
// clients, is in client-files.ts.

/**
 * What is read of an entry. Everything else an entry may hold is a client's own business (approvals,
 * descriptions, icons).
 */
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
