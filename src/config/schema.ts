// The configuration: one schema, and every field carries the sentence that becomes its documentation.
// Structure, types and bounds are here; rules that join several keys are in the rules-*.ts beside it.
// As a namespace: a bundler then leaves out what is not used, half a megabyte of languages among it.
import * as z from 'zod'
import { commandKeys } from './command-keys.ts'
import { mcpServersKeys } from './mcp-servers.ts'
import { upstreamAuthKeys } from './upstream-keys.ts'

const text = (description: string) => z.string().min(1).describe(description)
const seconds = (description: string, fallback: number, least = 1, most = 31_536_000) => z.number().int().min(least).max(most).default(fallback).describe(`${description} Seconds.`)
/** `writeOnly` is JSON Schema's word for a value that is never shown again: it is masked, may come from a file, and is in no message. */
const secret = (description: string) => z.string().min(1).describe(description).meta({ writeOnly: true })
const idForm = 'use lower-case letters, digits, - and _ (at most 63 characters, a letter or digit first)'
const serviceId = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, idForm)
const domain = (description: string) =>
  z
    .string()
    .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/, 'must be a domain in lower case, without scheme, wildcard or port')
    .describe(description)
const httpUrl = () => z.url({ protocol: /^https?$/, error: 'must be a whole http:// or https:// URL' })

export const identityPresets = ['all', 'seed1', 'seed2', 'seed3', 'seed4', 'none'] as const
export const lateRepeats = ['by-network', 'allow', 'refuse'] as const
export const logLevels = ['debug', 'info', 'warn', 'error'] as const
/** What a value of `identity.headers` may say about the person. */
export const personPlaceholders = ['id', 'sub', 'login', 'email', 'name', 'provider', 'avatar', 'groups'] as const

const cors = z
  .strictObject({
    allow_origins: z
      .array(z.string())
      .default(['*'])
      .describe(
        'Origins of browser clients, exact (`https://app.example`), or `*` for any. `*` does not count for a service ' +
          'with `auth_required: false`: list each origin that may call it. A gateway at a loopback address also ' +
          'serves pages of loopback origins there.',
      ),
    allow_credentials: z.boolean().default(false).describe('Answer `Access-Control-Allow-Credentials: true`. Refused together with the origin `*`.'),
    allow_methods: z
      .array(z.string())
      .default(['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS'])
      .describe('Methods named in preflight answers. Each address names those that it has.'),
    allow_headers: z
      .array(z.string())
      .default(['Authorization', 'Content-Type', 'Accept', 'MCP-Protocol-Version', 'Mcp-Session-Id', 'Mcp-Method', 'Mcp-Name', 'Last-Event-ID'])
      .describe('Request headers named in preflight answers; `*` reflects what was asked. `Mcp-Param-*` is always reflected.'),
    expose_headers: z
      .array(z.string())
      .default(['WWW-Authenticate', 'Mcp-Session-Id', 'MCP-Protocol-Version', 'Retry-After', 'X-Request-Id'])
      .describe('Response headers a browser client may read.'),
  })
  .describe('Cross-origin access for browser clients.')

const provider = z
  .strictObject({
    name: text('What the sign-in button says.').optional(),
    issuer: httpUrl().optional().describe('OpenID Connect issuer; its discovery document is read from here. Known for `google`, needed for every other provider.'),
    client_id: text('Client id at the provider.'),
    client_secret: secret('Client secret at the provider. Absent for a public client.').optional(),
    scopes: z.array(z.string()).min(1).default(['openid', 'email', 'profile']).describe('Scopes asked of the provider; `openid` must be among them.'),
    extra_params: z.record(z.string(), z.string()).default({}).describe('Further parameters of the authorization request, e.g. `prompt: select_account`.'),
    groups_claim: text('Claim of the ID token or of userinfo that holds the groups: its name (`groups`, `cognito:groups`), or a path (`realm_access.roles`).').default('groups'),
    email_verified: z
      .enum(['claim', 'trust'])
      .optional()
      .describe(
        '`claim`: an e-mail address counts only where the provider sends `email_verified: true`. `trust`: it also counts where the provider says nothing of it; ' +
          'an explicit false never counts. Danger: whoever can write any address into their account there gets in as that address, so use it only where ' +
          'administrators give addresses out. Absent: `trust` for one tenant of Microsoft Entra (`https://login.microsoftonline.com/{tenant}/v2.0`), else `claim`.',
      ),
    allowed_emails: z.array(z.string()).min(1).optional().describe('Verified e-mail addresses that may sign in; `*` for everybody. Absent: everybody the provider lets in, which a public gateway refuses where anybody can have an account (Google, for example).'),
    allowed_domains: z.array(z.string()).min(1).optional().describe('Verified e-mail domains that may sign in, exact; `*` for any. Absent: any.'),
    allowed_groups: z.array(z.string()).min(1).optional().describe('Groups of which a person must have one; `*` for any. Absent: any.'),
  })
  .describe('An OpenID Connect identity provider.')

const identity = z
  .strictObject({
    preset: z.enum(identityPresets).default('all').describe('Which set of identity headers the service receives.'),
    headers: z
      .record(z.string().regex(/^[A-Za-z0-9-]+$/, 'header names use letters, digits and -'), z.string().meta({ 'x-placeholders': personPlaceholders }))
      .default({})
      .describe('Further headers; values may use ${id} ${sub} ${login} ${email} ${name} ${provider} ${avatar} ${groups}.'),
    assertion: z.boolean().default(true).describe('Send `X-MCP-Identity`, a JWT about the person, signed for this service and verifiable with the JWKS.'),
  })
  .describe('How the service learns who is calling.')

const service = z
  .strictObject({
    name: text('Display name.').optional(),
    description: z.string().default('').describe('One sentence for the consent page.'),
    url: z
      .url({ protocol: /^(https?|wss?)$/, error: 'must be a whole http(s):// or ws(s):// URL' })
      .optional()
      .describe('The MCP server: `http(s)://`, or `ws(s)://` for a WebSocket server. A URL with a path, `/` included, is used as written. Without one the gateway asks `/mcp`, and `/` where nothing is at `/mcp` (`/sse` where the transport is `sse`).'),
    ...commandKeys,
    transport: z
      .enum(['auto', 'streamable', 'sse'])
      .default('auto')
      .describe('What an http(s) server speaks: Streamable HTTP, or HTTP+SSE of MCP 2024-11-05. `auto` finds out when the first session begins.'),
    alias: z
      .string()
      .regex(/^[a-z0-9](?:[a-z0-9-]{0,57}[a-z0-9])?$/, 'must be part of a DNS label: lower-case letters, digits and hyphens, at most 59 characters')
      .optional()
      .describe('A short name under `domain_root`: `{alias}-enc.{domain_root}`. For servers whose domain has more than 36 bytes, or none, and for several services in front of one server.'),
    oauth_provider: text('The identity provider that people of this service sign in with. Absent: any configured one.').optional(),
    auth_required: z.boolean().default(true).describe('false makes the service public: no login, no token, no identity.'),
    scopes: z
      .array(z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]+$/, 'a scope is one word of printable ASCII without " and \\'))
      .min(1)
      .default(['mcp'])
      .describe('Scopes a token must hold to use the service; also the default of a request that names none.'),
    timeout: z
      .number()
      .int()
      .min(1)
      .max(3_600_000)
      .default(300_000)
      .describe(
        'Longest wait for the first byte of an answer; of a command, the longest silence during a call. A server that closes the connection, or a process that ends, is noticed at once. Milliseconds.',
      ),
    max_body: z.number().int().min(1024).max(1_073_741_824).optional().describe('Largest request body. Bytes. Absent: 4194304, and for a command 10485760, which is the longest line it may write itself.'),
    identity: identity.prefault({}),
    pass_headers: z
      .array(z.string().regex(/^[!#$%&'*+.^`|~\w-]+$/, 'must be the name of a header'))
      .default([])
      .describe('Headers of the caller that reach this server although they speak of people or credentials, such as `X-Api-Key`.'),
    upstream_auth: upstreamAuthKeys,
  })
  .describe('An MCP server behind the gateway.')

const localUser = z
  .strictObject({
    username: z.string().min(1).max(128).describe('What the person types.'),
    password: secret('Plain password, 8 to 1000 characters. Prefer password_hash.').optional(),
    password_hash: z
      .string()
      .regex(/^\$(argon2id|scrypt)\$[A-Za-z0-9+/=,$.-]+$/, 'must be a PHC string, $argon2id$… or $scrypt$…, as printed by `postern hash-password`; put it in single quotes')
      .describe('PHC string as printed by `postern hash-password`.')
      .meta({ writeOnly: true })
      .optional(),
    email: z.email().optional().describe('E-mail address.'),
    name: text('Display name.').optional(),
    groups: z.array(z.string()).default([]).describe('Groups.'),
  })
  .describe('A person who signs in with a password kept here; exactly one of password and password_hash.')

const client = z
  .strictObject({
    name: text('Display name on the consent page.'),
    redirect_uris: z.array(z.string()).min(1).describe('Redirect URIs, exact; on loopback hosts any port matches.'),
    token_endpoint_auth_method: z
      .enum(['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'])
      .default('none')
      .describe('How the client authenticates at the token endpoint.'),
    client_secret: secret('For the client_secret methods; at least 32 characters.').optional(),
    jwks_uri: z.url({ protocol: /^https$/, error: 'must be a whole https:// URL' }).optional().describe('For private_key_jwt: where its public keys are.'),
    jwks: z.strictObject({ keys: z.array(z.record(z.string(), z.unknown())).min(1).describe('JSON Web Keys, public parts only.') }).optional().describe('For private_key_jwt: its public keys.'),
  })
  .describe('A pre-registered OAuth client.')

const storage = z
  .strictObject({
    type: z.enum(['sqlite', 'memory']).default('sqlite').describe('`sqlite`: a file in the state directory. `memory`: lost at exit, one process only.'),
  })
  .describe('Where codes, grants, sessions and registrations are kept.')

export const configSchema = z
  .strictObject({
    $schema: z.string().optional().describe('JSON Schema of this file, for editors.'),
    host: text('Address to listen on; `localhost` is both of this computer’s own, 127.0.0.1 and ::1.').default('localhost'),
    port: z.number().int().min(0).max(65_535).default(8080).describe('Port to listen on; 0 takes a free one.'),
    issuer: httpUrl().optional().describe('The public URL: scheme and host (and port), no path. Needed when the host is not loopback.'),
    session_secret: secret('Root secret, at least 32 characters; everything sealed and signed is derived from it. Absent: generated in the state directory.').optional(),
    previous_secrets: z
      .array(z.string().min(1).meta({ writeOnly: true }))
      .default([])
      .describe('Former values of session_secret, newest first; they still open what they sealed.'),
    token_encryption_key: secret('Secret of its own for sealing what is stored (AES-256-GCM), at least 32 characters. Absent: session_secret seals. A former one goes into previous_secrets.').optional(),
    debug: z.boolean().default(false).describe('More in the log; on loopback, any localhost origin is accepted.'),
    log_level: z.enum(logLevels).default('info').describe('The least that is logged. `debug: true` logs everything. The audit trail does not depend on it.'),
    allowed_hosts: z.array(z.string()).default([]).describe('Further Host values (host or host:port) under which the gateway may be addressed.'),
    trusted_proxies: z.array(z.string()).default([]).describe('Addresses or CIDR ranges of reverse proxies whose X-Forwarded-For is believed.'),
    protocol_versions: z
      .array(z.string().regex(/^\d{4}-\d{2}-\d{2}$/, 'an MCP revision is a date, e.g. "2025-11-25"'))
      .min(1)
      .optional()
      .describe('MCP revisions that are let through. Absent: every published one.'),
    default_service: text('The service at `/mcp`. Absent: the only one, when there is one.').optional(),
    domain_root: domain('Below this domain each server is reached at the host that encodes its own: `{base32(domain)}-enc.{domain_root}`, under the path it has there.').optional(),
    base_domain: domain('Below this domain each service is reached at a host of its own: `https://{service}.{base_domain}/mcp`; an `_` in the id is written `-`.').optional(),
    hosts: z
      .record(z.string().regex(/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/, 'must be a host or host:port in lower case, without scheme and path'), z.string().min(1))
      .default({})
      .describe('Services by exact host (host or host:port): `mcp.example.com: jira` serves `jira` at `https://mcp.example.com/mcp`.'),
    admins: z
      .array(z.string().regex(/^([a-z0-9][a-z0-9_-]{0,62}:.+|[^@\s:]+@[^@\s]+)$/, 'must be provider:subject, e.g. "local:ana", or a verified e-mail address'))
      .default([])
      .describe('People who may add and remove services while the gateway runs: `provider:subject` (`local:ana`), or a verified e-mail address. The built-in person of a gateway without people of its own is one.'),
    admin_commands: z
      .boolean()
      .default(false)
      .describe('Whether administrators may add services that are commands, too. A command runs on this computer, so without this only whoever sits there adds one: `postern services add`, or this file.'),
    cors: cors.prefault({}),
    oauth_providers: z.record(serviceId, provider).default({}).describe('Identity providers by id.'),
    mcp_services: z.record(serviceId, service).default({}).describe('MCP servers by id; the id is the path: `/{id}/mcp`.'),
    mcpServers: mcpServersKeys,
    local_users: z.array(localUser).default([]).describe('People who sign in with a password kept here.'),
    clients: z
      .record(z.string().regex(/^[A-Za-z0-9._~-]{1,128}$/, 'use letters, digits, - . _ ~ (at most 128 characters)'), client)
      .default({})
      .describe('Pre-registered OAuth clients by client_id.'),
    client_metadata_documents: z
      .boolean()
      .default(true)
      .describe('Offer clients to identify themselves by the URL of a document that the gateway fetches. `false` where the gateway cannot reach the web: such clients then register.'),
    dynamic_registration: z.boolean().default(true).describe('Accept RFC 7591 registrations. Clients that publish a metadata document need none.'),
    storage: storage.prefault({}),
    access_token_lifetime: seconds('Lifetime of access tokens.', 3600, 60, 86_400),
    refresh_token_lifetime: seconds('How long a refresh token may lie unused.', 2_592_000, 300),
    refresh_grace: seconds(
      'How long a refresh token that is presented again answers with the same successor, counted from its own first use and from that of the successor.',
      60,
      0,
      3600,
    ),
    refresh_late_repeat: z
      .enum(lateRepeats)
      .default('by-network')
      .describe(
        'What happens when a refresh token comes again after `refresh_grace` and its successor is still unused: ' +
          'the answer was lost, or the token was stolen. `by-network`: the network that presented it first (IPv4 address, ' +
          'IPv6 /64) gets the same successor; any other gets a new one in place of the unused one, and whoever then ' +
          'presents the replaced one from elsewhere ends the grant. `allow`: everybody gets the same successor. ' +
          '`refuse`: the grant ends. Under `by-network`, clients that authenticate are allowed wherever they are.',
      ),
    code_lifetime: seconds('Lifetime of authorization codes.', 300, 10, 600),
    session_timeout: seconds('How long a browser session may lie unused; it ends after 8 hours in any case.', 3600, 60, 28_800),
    client_lifetime: seconds('How long a dynamic registration lives unused, from its registration and from each use; 0 keeps it for ever. Clients are told so.', 7_776_000, 0),
    key_rotation: seconds('How often the signing key changes; the former one stays published while its tokens live.', 7_776_000, 3600),
    heartbeat: seconds('How often a comment goes out on an idle stream of events, and a ping on a WebSocket; a WebSocket that meets silence twice is closed.', 15, 1, 600),
    max_concurrent_calls: z.number().int().min(1).max(1_000_000).default(64).describe('Calls one person (or, without login, one address) may have going at once in this process; more are answered 429.'),
    max_open_streams: z.number().int().min(1).max(1_000_000).default(64).describe('GET streams one person (or, without login, one address) may hold open at once in this process; more are answered 429.'),
  })
  .describe('Postern configuration.')

export type Config = z.output<typeof configSchema>
export type ConfigInput = z.input<typeof configSchema>
