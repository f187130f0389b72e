// Environment variables that other gateways document and this one does not read. None is passed over in
// silence: what restricts access refuses the start; everything else is answered with
// the key that takes its place.
import { type Fault, printable } from './tree.ts'

export interface OtherName {
  /** As the reference shows it. */
  readonly shown: string
  readonly matches: RegExp
  /** `access` refuses the start. */
  readonly kind: 'access' | 'replaced'
  readonly what: string
}

const names = (...list: readonly string[]): Pick<OtherName, 'shown' | 'matches'> => ({
  shown: list.map((name) => `\`${name}\``).join(', '),
  matches: new RegExp(`^(?:${list.join('|')})$`),
})

const access = (list: readonly string[], what: string): OtherName => ({
  ...names(...list),
  kind: 'access',
  what,
})
const replaced = (list: readonly string[], what: string): OtherName => ({
  ...names(...list),
  kind: 'replaced',
  what,
})

const noTest = 'belongs to the test suite of another gateway and has no effect: remove it'

const exact: readonly OtherName[] = [
  access(
    ['MCP_SERVER_ALLOWLIST'],
    'restricts which servers can be reached, which is not supported: only the services in mcp_services are served. Remove this variable',
  ),
  replaced(
    ['VAULT_TIMEOUT'],
    'has no effect: a request to Vault has 800 ms and one repetition, at the start 10 seconds',
  ),
  replaced(
    ['JWT_ALGORITHM', 'JWT_PRIVATE_KEY_B64'],
    'has no effect: access tokens are signed with ES256, with keys that the gateway generates and rotates',
  ),
  replaced(['COOKIE_SECURE'], 'has no effect: cookies are Secure whenever issuer is an https URL'),
  replaced(
    ['ACME_EMAIL'],
    'has no effect: the gateway does not request certificates. Put an HTTPS reverse proxy in front, and set issuer to its URL',
  ),
  replaced(
    [
      'UPSTREAM_AUTHORIZATION_ENDPOINT',
      'UPSTREAM_TOKEN_ENDPOINT',
      'UPSTREAM_CLIENT_ID',
      'UPSTREAM_CLIENT_SECRET',
      'UPSTREAM_SCOPES',
    ],
    'has no effect: set authorization_endpoint, token_endpoint, client_id, client_secret and scopes in mcp_services.<id>.upstream_auth, or list the server in MCP_SERVERS',
  ),
  replaced(
    ['REDIRECT_URI'],
    'has no effect: set mcp_services.<id>.upstream_auth.redirect_uri, or redirectUri in MCP_SERVERS',
  ),
  replaced(['UPSTREAM_API_BASE'], 'has no effect: set the server URL as mcp_services.<id>.url'),
  replaced(
    ['SERVICE_CLIENT_ID', 'SERVICE_CLIENT_SECRET'],
    'has no effect: to send a Cloudflare Access service token, set CF-Access-Client-Id and CF-Access-Client-Secret in mcp_services.<id>.upstream_auth.headers, with type: static',
  ),
  replaced(
    ['GITHUB_PAT'],
    'has no effect: to send a token to a server, set mcp_services.<id>.upstream_auth.token, with type: static',
  ),
  replaced(
    [
      'GATEWAY_OAUTH_JWT_TOKEN',
      'GATEWAY_OAUTH_CLIENT_ID',
      'GATEWAY_OAUTH_CLIENT_SECRET',
      'GATEWAY_OAUTH_ACCESS_TOKEN',
      'GATEWAY_OAUTH_REFRESH_TOKEN',
      'MCP_CLIENT_ACCESS_TOKEN',
    ],
    'has no effect: clients keep their own credentials. To register a client in advance, add it to clients',
  ),
  replaced(
    ['HEALTH_CHECK_TIMEOUT', 'HEALTH_CHECK_INTERVAL'],
    'has no effect: set the interval in the system that calls /healthz, and the server timeout as mcp_services.<id>.timeout',
  ),
  replaced(
    ['COMPOSE_BAKE'],
    'is a Docker Compose setting and has no effect: remove it from the environment of the gateway',
  ),
  replaced(
    [
      'TEST_HTTP_TIMEOUT',
      'TEST_MAX_RETRIES',
      'TEST_RETRY_DELAY',
      'TEST_CALLBACK_URL',
      'TEST_CLIENT_NAME',
      'TEST_CLIENT_SCOPE',
      'TEST_REDIRECT_URI',
      'TEST_INVALID_REDIRECT_URI',
    ],
    noTest,
  ),
]

/** Spellings near a name that restricts access; whoever wrote one meant to keep somebody out. */
const near: readonly OtherName[] = [
  {
    shown: 'other names that begin with `GITHUB_CLIENT_` or `GITHUB_OAUTH_`',
    matches: /^GITHUB_(?:CLIENT_(?!ID(?:_FILE)?$|SECRET(?:_FILE)?$)|OAUTH_)/,
    kind: 'access',
    what: 'is not a known setting: for sign-in with GitHub set GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, and remove this variable',
  },
  {
    shown: 'other names that begin with `ALLOWED_`',
    matches: /^ALLOWED_(?!ORIGINS$|GITHUB_USERS$)/,
    kind: 'access',
    what: 'looks like an access restriction, but is not a known setting: for users set oauth_providers.<id>.allowed_emails, allowed_domains or allowed_groups (or ALLOWED_GITHUB_USERS), for origins cors.allow_origins (or ALLOWED_ORIGINS), for hosts allowed_hosts, and remove this variable',
  },
  {
    shown: 'other names for lists of servers, such as `MCP_SERVERS_ALLOWLIST`',
    matches: /^MCP_SERVERS?_(?:ALLOW|DENY|BLOCK|WHITE|BLACK)/,
    kind: 'access',
    what: 'restricts which servers can be reached, which is not supported: only the services in mcp_services are served. Remove this variable',
  },
  {
    shown: 'other names for origins, such as `MCP_CORS_ORIGIN`',
    matches: /^(?:MCP_)?CORS_(?:ALLOW(?:ED)?_)?ORIGINS?$/,
    kind: 'access',
    what: 'looks like an origin restriction, but is not a known setting: set cors.allow_origins (or ALLOWED_ORIGINS), and remove this variable',
  },
  {
    shown: '`MCP_<SVC>_TESTS_ENABLED`',
    matches: /^MCP_[A-Z0-9_]+_TESTS_ENABLED$/,
    kind: 'replaced',
    what: noTest,
  },
  {
    shown: '`MCP_<SVC>_ENABLED`',
    matches: /^MCP_[A-Z0-9_]+_ENABLED$/,
    kind: 'replaced',
    what: 'has no effect: a service is served when it is listed in mcp_services',
  },
  {
    shown: '`MCP_<SVC>_URLS`',
    matches: /^MCP_[A-Z0-9_]+_URLS?$/,
    kind: 'replaced',
    what: 'has no effect: set the server URL as mcp_services.<id>.url',
  },
]

export const otherNames: readonly OtherName[] = [...exact, ...near]

/**
 * What Kubernetes sets for a service of the same name (`POSTERN_PORT=tcp://…`, `POSTERN_SERVICE_HOST`): it
 * was not written by the operator.
 * https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
 */
export const isServiceLink = (name: string, text: string): boolean =>
  (name.endsWith('_PORT') && /^(?:tcp|udp|sctp):\/\//i.test(text)) ||
  /_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)$/.test(name)

const switchedOff = (text: string): boolean => /^(?:0|false|no|off)$/i.test(text.trim())

export interface OtherGatewayFindings {
  readonly faults: readonly Fault[]
  readonly warnings: readonly Fault[]
}

export interface OtherGatewayContext {
  /** Ids of the services that are configured. */
  readonly services: readonly string[]
}

/** The configured service that `MCP_<SVC>_ENABLED` turns off; undefined for every other variable. */
const serviceTurnedOff = (name: string, text: string, services: readonly string[]): string | undefined => {
  const off = /^MCP_([A-Z0-9_]+)_ENABLED$/.exec(name)?.[1]
  if (off === undefined || off.endsWith('_TESTS') || !switchedOff(text)) return undefined
  return services.find((id) => id.toUpperCase().replaceAll('-', '_') === off)
}

/** What is to be said of the variables that are set; `skip` holds those that mean something here. */
export const checkOtherNames = (
  values: Iterable<readonly [name: string, text: string]>,
  skip: (name: string) => boolean,
  { services }: OtherGatewayContext,
): OtherGatewayFindings => {
  const faults: Fault[] = []
  const warnings: Fault[] = []
  for (const [variable, text] of values) {
    // A secret may come from a file: NAME_FILE.
    const name = variable.replace(/_FILE$/, '')
    const known =
      text === '' || skip(variable) || skip(name) || isServiceLink(name, text)
        ? undefined
        : otherNames.find(({ matches }) => matches.test(name))
    if (!known) continue
    const origin = { from: 'environment', name: variable } as const
    const running = serviceTurnedOff(name, text, services)
    if (running !== undefined)
      faults.push({
        key: `mcp_services.${running}`,
        origin,
        what: `turns "${printable(running)}" off, but mcp_services lists it: remove one of the two`,
      })
    else if (known.kind === 'access') faults.push({ key: '', origin, what: known.what })
    else warnings.push({ key: '', origin, what: known.what })
  }
  return { faults, warnings }
}
