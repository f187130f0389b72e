// Environment variables that other gateways document and this one does not read. None is passed over in silence: what restricts access, or asks for a store,
// refuses the start; everything else is answered with the key that takes its place.
import { type Fault, printable } from './fault.ts'

export interface OtherName {
  /** As the reference shows it. */
  readonly shown: string
  readonly matches: RegExp
  /** `access` and `store` refuse the start; `store` gives way where `storage.type` is written. */
  readonly kind: 'access' | 'store' | 'replaced'
  readonly what: string
}

const names = (...list: readonly string[]): Pick<OtherName, 'shown' | 'matches'> => ({ shown: list.map((name) => `\`${name}\``).join(', '), matches: new RegExp(`^(?:${list.join('|')})$`) })

const access = (list: readonly string[], what: string): OtherName => ({ ...names(...list), kind: 'access', what })
const store = (list: readonly string[], what: string): OtherName => ({ ...names(...list), kind: 'store', what })
const replaced = (list: readonly string[], what: string): OtherName => ({ ...names(...list), kind: 'replaced', what })

const github =
  'people cannot sign in with GitHub directly: GitHub has no OpenID Connect issuer. Add an entry with an issuer to oauth_providers (an identity provider such as Dex, Keycloak or Auth0 can sign people in with GitHub behind it), and remove the variable'
const noStore = 'which this version does not have: it keeps everything in an embedded database. Remove the variable, or set storage.type to sqlite to say that the embedded database is meant'
const noTest = 'belongs to the test suite of another gateway, and no key takes its place: remove it'

const exact: readonly OtherName[] = [
  access(['GITHUB_CLIENT_ID', 'GITHUB_CLIENT_SECRET'], github),
  access(['ALLOWED_GITHUB_USERS'], 'restricts sign-in to GitHub accounts, and people cannot sign in with GitHub here. List who may sign in under oauth_providers.<id>.allowed_emails, allowed_domains or allowed_groups, and remove the variable'),
  access(['MCP_SERVER_ALLOWLIST'], 'restricts which servers are reached, and is not read here: the gateway serves only the services in mcp_services. List those, and remove the variable'),
  store(['REDIS_URL', 'REDIS_HOST', 'REDIS_PORT', 'REDIS_PASSWORD', 'REDIS_SSL', 'REDIS_DB', 'REDIS_CA_CERTS', 'REDIS_MAX_CONNECTIONS'], `asks for storage in Redis, ${noStore}`),
  store(
    ['VAULT_URL', 'VAULT_TOKEN', 'VAULT_MOUNT_POINT', 'VAULT_PATH_PREFIX', 'VAULT_AUTH_METHOD', 'VAULT_VERIFY_SSL', 'VAULT_TIMEOUT', 'VAULT_NAMESPACE', 'VAULT_ROLE_ID', 'VAULT_SECRET_ID', 'VAULT_K8S_ROLE'],
    `asks for storage in Vault, ${noStore}`,
  ),
  replaced(['JWT_ALGORITHM', 'JWT_PRIVATE_KEY_B64'], 'is not read: access tokens are signed with ES256, and the keys are generated, rotated and sealed under session_secret'),
  replaced(['COOKIE_SECURE'], 'is not read: cookies are Secure whenever issuer is an https URL'),
  replaced(['ACME_EMAIL'], 'is not read: the gateway does not request certificates. A reverse proxy in front of it ends TLS, and issuer is its https URL'),
  replaced(
    ['UPSTREAM_AUTHORIZATION_ENDPOINT', 'UPSTREAM_TOKEN_ENDPOINT', 'UPSTREAM_CLIENT_ID', 'UPSTREAM_CLIENT_SECRET', 'UPSTREAM_SCOPES'],
    'is not read: set authorization_endpoint, token_endpoint, client_id, client_secret and scopes in mcp_services.<id>.upstream_auth, or list the server in MCP_SERVERS',
  ),
  replaced(['REDIRECT_URI'], 'is not read: set mcp_services.<id>.upstream_auth.redirect_uri, or redirectUri in MCP_SERVERS'),
  replaced(['UPSTREAM_API_BASE'], 'is not read: set the URL of the server as mcp_services.<id>.url'),
  replaced(['SERVICE_CLIENT_ID', 'SERVICE_CLIENT_SECRET'], 'is not read: to send a Cloudflare Access service token, set CF-Access-Client-Id and CF-Access-Client-Secret in mcp_services.<id>.upstream_auth.headers, with type: static'),
  replaced(['GITHUB_PAT'], 'is not read: to send a token to a server, set mcp_services.<id>.upstream_auth.token, with type: static'),
  replaced(
    ['GATEWAY_OAUTH_JWT_TOKEN', 'GATEWAY_OAUTH_CLIENT_ID', 'GATEWAY_OAUTH_CLIENT_SECRET', 'GATEWAY_OAUTH_ACCESS_TOKEN', 'GATEWAY_OAUTH_REFRESH_TOKEN', 'MCP_CLIENT_ACCESS_TOKEN'],
    'is not read: clients keep their own credentials. To register a client in advance, add it to clients',
  ),
  replaced(['HEALTH_CHECK_TIMEOUT', 'HEALTH_CHECK_INTERVAL'], 'is not read: set the interval in whatever asks /healthz. How long a server may take to answer is mcp_services.<id>.timeout'),
  replaced(['COMPOSE_BAKE'], 'is read by Docker Compose, and no key takes its place: remove it from the environment of the gateway'),
  replaced(['TEST_HTTP_TIMEOUT', 'TEST_MAX_RETRIES', 'TEST_RETRY_DELAY', 'TEST_CALLBACK_URL', 'TEST_CLIENT_NAME', 'TEST_CLIENT_SCOPE', 'TEST_REDIRECT_URI', 'TEST_INVALID_REDIRECT_URI'], noTest),
]

/** Spellings near a name that restricts access; whoever wrote one meant to keep somebody out. */
const near: readonly OtherName[] = [
  { shown: 'other names that begin with `GITHUB_CLIENT_` or `GITHUB_OAUTH_`', matches: /^GITHUB_(?:CLIENT|OAUTH)_/, kind: 'access', what: github },
  {
    shown: 'other names that begin with `ALLOWED_`',
    matches: /^ALLOWED_(?!ORIGINS$)/,
    kind: 'access',
    what: 'restricts access by its name, and is not read here: set oauth_providers.<id>.allowed_emails, allowed_domains or allowed_groups for people, cors.allow_origins (or ALLOWED_ORIGINS) for origins, allowed_hosts for hosts, and remove the variable',
  },
  {
    shown: 'other names for lists of servers, such as `MCP_SERVERS_ALLOWLIST`',
    matches: /^MCP_SERVERS?_(?:ALLOW|DENY|BLOCK|WHITE|BLACK)/,
    kind: 'access',
    what: 'restricts which servers are reached, and is not read here: the gateway serves only the services in mcp_services. List those, and remove the variable',
  },
  { shown: 'other names for origins, such as `MCP_CORS_ORIGIN`', matches: /^(?:MCP_)?CORS_(?:ALLOW(?:ED)?_)?ORIGINS?$/, kind: 'access', what: 'restricts origins by its name, and is not read here: set cors.allow_origins (or ALLOWED_ORIGINS), and remove the variable' },
  { shown: '`MCP_<SVC>_TESTS_ENABLED`', matches: /^MCP_[A-Z0-9_]+_TESTS_ENABLED$/, kind: 'replaced', what: noTest },
  { shown: '`MCP_<SVC>_ENABLED`', matches: /^MCP_[A-Z0-9_]+_ENABLED$/, kind: 'replaced', what: 'is not read: a service is served when mcp_services lists it' },
  { shown: '`MCP_<SVC>_URLS`', matches: /^MCP_[A-Z0-9_]+_URLS?$/, kind: 'replaced', what: 'is not read: set the URL of the server as mcp_services.<id>.url' },
]

export const otherNames: readonly OtherName[] = [...exact, ...near]

/**
 * What Kubernetes sets for a service of the same name (`POSTERN_PORT=tcp://…`, `POSTERN_SERVICE_HOST`): it was not written by the operator.
 * https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
 */
export const isServiceLink = (name: string, text: string): boolean => (name.endsWith('_PORT') && /^(?:tcp|udp|sctp):\/\//i.test(text)) || /_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)$/.test(name)

const switchedOff = (text: string): boolean => /^(?:0|false|no|off)$/i.test(text.trim())

export interface Answered {
  readonly faults: readonly Fault[]
  readonly warnings: readonly Fault[]
}

export interface Around {
  /** Whether `storage.type` is written. */
  readonly storage: boolean
  /** Ids of the services that are configured. */
  readonly services: readonly string[]
}

/** What is to be said of the variables that are set; `skip` holds those that mean something here. */
export const answerOtherNames = (values: Iterable<readonly [name: string, text: string]>, skip: (name: string) => boolean, { storage, services }: Around): Answered => {
  const faults: Fault[] = []
  const warnings: Fault[] = []
  for (const [variable, text] of values) {
    // A secret may come from a file: NAME_FILE.
    const name = variable.replace(/_FILE$/, '')
    const known = text === '' || skip(variable) || skip(name) || isServiceLink(name, text) ? undefined : otherNames.find(({ matches }) => matches.test(name))
    if (!known) continue
    const origin = { from: 'environment', name: variable } as const
    const off = /^MCP_([A-Z0-9_]+)_ENABLED$/.exec(name)?.[1]
    const running = off !== undefined && !off.endsWith('_TESTS') && switchedOff(text) ? services.find((id) => id.toUpperCase().replaceAll('-', '_') === off) : undefined
    if (running !== undefined) faults.push({ key: `mcp_services.${running}`, origin, what: `says that "${printable(running)}" is off, but mcp_services lists it: remove it there, or remove the variable` })
    else if (known.kind === 'access' || (known.kind === 'store' && !storage)) faults.push({ key: '', origin, what: known.what })
    else warnings.push({ key: '', origin, what: known.kind === 'store' ? 'is not used: storage.type says where the gateway keeps its data' : known.what })
  }
  return { faults, warnings }
}
