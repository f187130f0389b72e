// Which environment variables mean what: the fixed names, the names made from keys, and which of them may
// come from a file.
import { type Shape, rootShape, shapeAt } from './shape.ts'
import { type Fault, type Path, type Tree, isBranch } from './tree.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** What the runtime read for a variable `NAME_FILE`. */
export type SecretFile = { readonly text: string } | { readonly problem: string }

export interface Effective {
  /** Variables with the contents of `NAME_FILE` in place, and the variable each came from. */
  readonly values: ReadonlyMap<string, { readonly text: string; readonly from: string }>
  readonly faults: readonly Fault[]
}

export interface EnvironmentName {
  readonly name: string
  /** The key it sets; absent where it does something else. */
  readonly key?: string
  readonly note: string
}

/** Names with a fixed meaning; of two for the same key the later one in this list wins. */
export const environmentNames: readonly EnvironmentName[] = [
  { name: 'MCP_PROXY_PORT', key: 'port', note: '' },
  { name: 'PORT', key: 'port', note: 'Set by hosting platforms.' },
  { name: 'MCP_GATEWAY_PORT', key: 'port', note: '' },
  {
    name: 'HOST',
    key: 'host',
    note: 'Used only if it is an IP address or `localhost`, because some shells set it to the machine’s hostname.',
  },
  { name: 'MCP_GATEWAY_HOST', key: 'host', note: '' },
  { name: 'GW_BASE_URL', key: 'issuer', note: '' },
  { name: 'MCP_ISSUER', key: 'issuer', note: '' },
  { name: 'DOMAIN_ROOT', key: 'domain_root', note: '' },
  { name: 'BASE_DOMAIN', key: 'base_domain', note: '' },
  { name: 'MCP_DEBUG', key: 'debug', note: '' },
  {
    name: 'LOG_LEVEL',
    key: 'log_level',
    note: 'Case-insensitive; `warning`, `trace`, `critical` and `fatal` are accepted.',
  },
  {
    name: 'SESSION_SECRET',
    key: 'session_secret',
    note: 'The root secret. If you set several of its names, they must have the same value.',
  },
  { name: 'GATEWAY_JWT_SECRET', key: 'session_secret', note: 'The root secret.' },
  { name: 'COOKIE_ENCRYPTION_KEY', key: 'session_secret', note: 'The root secret.' },
  { name: 'MCP_SESSION_SECRET', key: 'session_secret', note: 'The root secret.' },
  {
    name: 'TOKEN_ENCRYPTION_KEY',
    key: 'token_encryption_key',
    note: 'Encrypts stored data, for example 64 hexadecimal digits.',
  },
  { name: 'ACCESS_TOKEN_LIFETIME', key: 'access_token_lifetime', note: '' },
  { name: 'REFRESH_TOKEN_LIFETIME', key: 'refresh_token_lifetime', note: '' },
  { name: 'SESSION_TIMEOUT', key: 'session_timeout', note: '' },
  { name: 'CLIENT_LIFETIME', key: 'client_lifetime', note: '' },
  { name: 'SSE_HEARTBEAT_MS', key: 'heartbeat', note: 'Milliseconds, rounded to whole seconds.' },
  { name: 'MCP_PROTOCOL_VERSIONS_SUPPORTED', key: 'protocol_versions', note: 'A list.' },
  {
    name: 'MCP_PROTOCOL_VERSION',
    key: 'protocol_versions',
    note: 'A single revision; restricts the list to it.',
  },
  { name: 'ALLOWED_ORIGINS', key: 'cors.allow_origins', note: 'A list.' },
  { name: 'MCP_CORS_ORIGINS', key: 'cors.allow_origins', note: 'A list.' },
  {
    name: 'REDIS_URL',
    key: 'storage.redis.url',
    note: 'Also sets `storage.type: redis` if the type is not set. Must agree with the variables below that are set.',
  },
  {
    name: 'REDIS_HOST',
    key: 'storage.redis.host',
    note: 'Also sets `storage.type: redis` if the type is not set.',
  },
  { name: 'REDIS_PORT', key: 'storage.redis.port', note: '' },
  { name: 'REDIS_PASSWORD', key: 'storage.redis.password', note: '' },
  { name: 'REDIS_SSL', key: 'storage.redis.ssl', note: '' },
  { name: 'REDIS_DB', key: 'storage.redis.db', note: '' },
  { name: 'REDIS_CA_CERTS', key: 'storage.redis.ssl_ca_certs', note: '' },
  { name: 'REDIS_MAX_CONNECTIONS', key: 'storage.redis.max_connections', note: '' },
  {
    name: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    key: 'telemetry.endpoint',
    note: 'Turns on traces and metrics for OpenTelemetry.',
  },
  {
    name: 'VAULT_URL',
    key: 'storage.vault.url',
    note: 'Also sets `storage.type: vault` if the type is not set.',
  },
  { name: 'VAULT_TOKEN', key: 'storage.vault.token', note: '' },
  { name: 'VAULT_MOUNT_POINT', key: 'storage.vault.mount_point', note: '' },
  { name: 'VAULT_PATH_PREFIX', key: 'storage.vault.path_prefix', note: '' },
  { name: 'VAULT_AUTH_METHOD', key: 'storage.vault.auth_method', note: '' },
  { name: 'VAULT_VERIFY_SSL', key: 'storage.vault.verify_ssl', note: '' },
  { name: 'VAULT_NAMESPACE', key: 'storage.vault.namespace', note: '' },
  { name: 'VAULT_ROLE_ID', key: 'storage.vault.role_id', note: '' },
  { name: 'VAULT_SECRET_ID', key: 'storage.vault.secret_id', note: '' },
  { name: 'VAULT_K8S_ROLE', key: 'storage.vault.role', note: '' },
  {
    name: 'LOCAL_USER',
    key: 'local_users',
    note: 'Adds a local user together with LOCAL_PASSWORD, or replaces the password of an existing one.',
  },
  { name: 'LOCAL_PASSWORD', key: 'local_users', note: 'Password for LOCAL_USER, at least 8 characters.' },
  {
    name: 'GOOGLE_CLIENT_ID',
    key: 'oauth_providers',
    note: 'With GOOGLE_CLIENT_SECRET: enables sign-in with Google as the provider `google`.',
  },
  { name: 'GOOGLE_CLIENT_SECRET', key: 'oauth_providers', note: 'With GOOGLE_CLIENT_ID.' },
  {
    name: 'GITHUB_CLIENT_ID',
    key: 'oauth_providers',
    note: 'With GITHUB_CLIENT_SECRET: enables sign-in with GitHub as the provider `github`.',
  },
  { name: 'GITHUB_CLIENT_SECRET', key: 'oauth_providers', note: 'With GITHUB_CLIENT_ID.' },
  {
    name: 'ALLOWED_GITHUB_USERS',
    key: 'oauth_providers',
    note: '`allowed_logins` of the provider `github`, separated by commas; `*` for everyone. If it is set but empty, nobody can sign in with GitHub.',
  },
  {
    name: 'OKTA_DOMAIN',
    key: 'oauth_providers',
    note: 'With OKTA_CLIENT_ID and OKTA_CLIENT_SECRET: enables sign-in with Okta as the provider `okta`. The issuer is `https://{OKTA_DOMAIN}`. Example: `example.okta.com`.',
  },
  { name: 'OKTA_CLIENT_ID', key: 'oauth_providers', note: 'With OKTA_DOMAIN.' },
  { name: 'OKTA_CLIENT_SECRET', key: 'oauth_providers', note: 'With OKTA_DOMAIN.' },
  {
    name: 'CF_ACCESS_TEAM_DOMAIN',
    key: 'oauth_providers',
    note: 'With CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET: enables sign-in with Cloudflare Access as the provider `cloudflare-access`. Example: `myteam.cloudflareaccess.com`.',
  },
  {
    name: 'CF_ACCESS_CLIENT_ID',
    key: 'oauth_providers',
    note: 'Client ID of the Access application (SaaS, OIDC).',
  },
  {
    name: 'CF_ACCESS_CLIENT_SECRET',
    key: 'oauth_providers',
    note: 'Client secret of the Access application.',
  },
  {
    name: 'ACCESS_CLIENT_ID',
    key: 'oauth_providers',
    note: 'With ACCESS_CLIENT_SECRET and at least one of the three URLs below: the same provider, configured by the endpoints of the Access application.',
  },
  { name: 'ACCESS_CLIENT_SECRET', key: 'oauth_providers', note: 'With ACCESS_CLIENT_ID.' },
  {
    name: 'ACCESS_AUTHORIZATION_URL',
    key: 'oauth_providers',
    note: 'The issuer is derived from it: `https://myteam.cloudflareaccess.com/cdn-cgi/access/sso/oidc/<client id>/authorization`.',
  },
  { name: 'ACCESS_TOKEN_URL', key: 'oauth_providers', note: 'Ends in `/token`.' },
  { name: 'ACCESS_JWKS_URL', key: 'oauth_providers', note: 'Ends in `/jwks`.' },
  {
    name: 'AUTH_TYPE',
    key: 'oauth_providers',
    note: '`cloudflare-access` or `github`: that provider must be configured and be the only sign-in method. `mock`: adds the provider `mock`, which accepts any email address; no other sign-in method may be configured. The gateway does not start with any other value.',
  },
  {
    name: 'DOWNSTREAM_MCP_URL',
    key: 'mcp_services',
    note: 'URL of an MCP server, served at `/mcp` and as the service `downstream`.',
  },
  {
    name: 'MCP_SERVERS',
    key: 'mcp_services',
    note: 'A JSON list of remote servers with the OAuth client registered for each: `domain`, `name`, `authzEndpoint`, `tokenEndpoint`, `clientId`, `clientSecret`, `scopes` (separated by spaces), `redirectUri`. Only `domain` is required. Each becomes a service whose ID is its name in lower case, with `upstream_auth.type: oauth`.',
  },
  {
    name: 'MCP_SERVER_CMD',
    key: 'mcp_services',
    note: 'Command line of a stdio server, for example `npx -y some-server`, served at `/mcp` and as the service `server`. Quotes group words; no shell is involved.',
  },
  { name: 'MCP_CONFIG_PATH', note: 'Configuration file, if `--config` is not given.' },
  {
    name: 'POSTERN_CONFIG',
    note: 'The configuration itself as YAML or JSON text, if neither `--config` nor MCP_CONFIG_PATH names a file.',
  },
  { name: 'POSTERN_STATE', note: 'State directory, if `--state` is not given.' },
  {
    name: 'NODE_ENV',
    note: 'With `production`, the gateway does not start with `storage.type: memory`, or with a Redis or PostgreSQL server that can lose records.',
  },
  { name: 'ENVIRONMENT', note: '`production` has the same effect as in NODE_ENV.' },
  {
    name: 'HTTPS_PROXY',
    note: 'Proxy URL for outbound https and wss connections. The lower-case name takes precedence, as for the next three.',
  },
  { name: 'HTTP_PROXY', note: 'Proxy URL for outbound http and ws connections.' },
  { name: 'ALL_PROXY', note: 'Proxy URL for both, if the variable for the scheme is not set.' },
  { name: 'NO_PROXY', note: 'Hosts, domains, addresses and ranges to connect to directly.' },
]

/** Begins every name that is made from a key. */
export const prefix = 'POSTERN_'
/** Names that are not simply one key's value. */
export const elsewhere: ReadonlySet<string> = new Set(
  environmentNames
    .filter(
      ({ name, key }) =>
        key === undefined ||
        ['oauth_providers', 'mcp_services', 'local_users'].includes(key) ||
        name.startsWith('POSTERN_'),
    )
    .map(({ name }) => name),
)
/**
 * Names that begin like those made from keys, and are none: the two above, the mark of a process, what the
 * launcher was started as, and where the tests find programs.
 */
export const ownNames: ReadonlySet<string> = new Set([
  'POSTERN_CONFIG',
  'POSTERN_STATE',
  'POSTERN_PROCESS',
  'POSTERN_STARTED_AS',
  'POSTERN_CHROMIUM',
  'POSTERN_BWRAP',
  'POSTERN_NGINX',
  'POSTERN_CADDY',
  'POSTERN_REDIS_SERVER',
  'POSTERN_POSTGRES',
])

const providerSecrets: ReadonlySet<string> = new Set([
  'GOOGLE_CLIENT_SECRET',
  'GITHUB_CLIENT_SECRET',
  'OKTA_CLIENT_SECRET',
  'CF_ACCESS_CLIENT_SECRET',
  'ACCESS_CLIENT_SECRET',
])

const holdsSecret = (path: Path): boolean => {
  const shape = shapeAt(path)
  return shape !== undefined && (shape.secret || shape.below(0)?.secret === true)
}

/** `MY_SERVICE` → the key that is written so in the file (`my-service`), or `my_service`. */
const sameName = (part: string, known: readonly string[]): string =>
  known.find((key) => key.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_') === part) ?? part.toLowerCase()

type Found = { readonly path: Path } | { readonly unknown: string; readonly known: readonly string[] }

/**
 * `POSTERN_CORS__ALLOW_ORIGINS` → `cors.allow_origins`. Ids of services and providers are matched with those
 * of the file; list entries are numbers.
 */
export const pathOf = (name: string, tree: Tree | undefined): Found => {
  const path: (string | number)[] = []
  let shape: Shape | undefined = rootShape
  for (const part of name.slice(prefix.length).split('__')) {
    const written = tree?.get(path)
    const present = isBranch(written) ? Object.keys(written) : []
    const before: Shape | undefined = shape
    const key: string | number =
      before?.kind === 'list' && /^\d{1,3}$/.test(part)
        ? Number(part)
        : sameName(part, before?.kind === 'object' ? before.names : present)
    shape = part === '' || key === '$schema' ? undefined : before?.below(key)
    const stem = `${prefix}${path.map((step) => `${String(step).toUpperCase()}__`).join('')}`
    if (!shape)
      return {
        unknown: `${stem}${part}`,
        known: (before?.names ?? [])
          .filter((known) => known !== '$schema')
          .map((known) => `${stem}${known.toUpperCase()}`),
      }
    path.push(key)
  }
  return { path }
}

/** Whether the variable holds a secret, so that `NAME_FILE` means something. */
export const isSecretName = (name: string): boolean => {
  if (name === 'MCP_SERVERS' || name === 'LOCAL_PASSWORD' || providerSecrets.has(name)) return true
  const fixed = environmentNames.find((known) => known.name === name)?.key
  if (fixed !== undefined) return !elsewhere.has(name) && holdsSecret(fixed.split('.'))
  const found = name.startsWith(prefix) ? pathOf(name, undefined) : undefined
  return found !== undefined && 'path' in found && holdsSecret(found.path)
}

/**
 * The variables `NAME_FILE` whose files the runtime must read: those that stand beside a secret's name, and
 * those beside a name that the file refers to as `${NAME}` and that is not set itself. Any other `…_FILE` is
 * somebody else's.
 */
export const secretFileVariables = (
  env: Environment,
  referenced: Iterable<string>,
): readonly { readonly variable: string; readonly path: string }[] => {
  const wanted = new Set(referenced)
  return Object.entries(env).flatMap(([variable, path]) => {
    const name = variable.replace(/_FILE$/, '')
    const ours =
      name !== variable && path && (isSecretName(name) || (wanted.has(name) && env[name] === undefined))
    return ours ? [{ variable, path }] : []
  })
}
