// Every configuration name that the documents of other gateways print: it works, or refuses the start, or is
// answered with the key that takes its place.
import { describe, expect, it } from 'vitest'
import { configOf, faultsOf, load, warningsOf } from './config-world.ts'

const secret = 'Vq3xT9zLw2Kp8Rb5Ny7Hc4Jd6Gf1Ms0A'
const access = 'https://team.cloudflareaccess.com/cdn-cgi/access/sso/oidc/app1'
const application = { ACCESS_CLIENT_ID: 'app1', ACCESS_CLIENT_SECRET: 'of-the-application' }
const cloudflare = {
  CF_ACCESS_TEAM_DOMAIN: 'team.cloudflareaccess.com',
  CF_ACCESS_CLIENT_ID: 'app1',
  CF_ACCESS_CLIENT_SECRET: 'of-the-application',
}
const cloudflareProvider = {
  'cloudflare-access': {
    name: 'Cloudflare Access',
    issuer: access,
    client_id: 'app1',
    client_secret: 'of-the-application',
  },
}
const gitHub = { GITHUB_CLIENT_ID: 'Iv1.a', GITHUB_CLIENT_SECRET: 'gh-secret' }
const gitHubProvider = {
  github: {
    type: 'github',
    name: 'GitHub',
    issuer: 'https://github.com/login/oauth',
    client_id: 'Iv1.a',
    client_secret: 'gh-secret',
  },
}
const google = { GOOGLE_CLIENT_ID: 'g', GOOGLE_CLIENT_SECRET: 'gs' }
const okta = { OKTA_DOMAIN: 'example.okta.com', OKTA_CLIENT_ID: 'o', OKTA_CLIENT_SECRET: 'os' }

/** Name, a value that its document prints, what comes of it, and the names it stands beside. */
const works: readonly (readonly [
  name: string,
  text: string,
  wanted: object,
  beside?: Readonly<Record<string, string>>,
])[] = [
  ['MCP_GATEWAY_HOST', 'localhost', { host: 'localhost' }],
  ['MCP_GATEWAY_PORT', '8081', { port: 8081 }],
  ['MCP_DEBUG', 'true', { debug: true }],
  ['MCP_ISSUER', 'http://localhost:8081', { issuer: 'http://localhost:8081' }],
  ['MCP_SESSION_SECRET', secret, { session_secret: secret }],
  [
    'GOOGLE_CLIENT_ID',
    'g',
    {
      oauth_providers: {
        google: { issuer: 'https://accounts.google.com', client_id: 'g', client_secret: 'gs' },
      },
    },
    google,
  ],
  ['GOOGLE_CLIENT_SECRET', 'gs', { oauth_providers: { google: { client_secret: 'gs' } } }, google],
  [
    'OKTA_DOMAIN',
    'https://Example.okta.com/',
    {
      oauth_providers: {
        okta: { name: 'Okta', issuer: 'https://example.okta.com', client_id: 'o', client_secret: 'os' },
      },
    },
    okta,
  ],
  ['OKTA_CLIENT_ID', 'o', { oauth_providers: { okta: { client_id: 'o' } } }, okta],
  ['OKTA_CLIENT_SECRET', 'os', { oauth_providers: { okta: { client_secret: 'os' } } }, okta],
  ['LOCAL_USER', 'alex', { local_users: [{ username: 'alex' }] }, { LOCAL_PASSWORD: 'correct-horse' }],
  [
    'LOCAL_PASSWORD',
    'correct-horse',
    { local_users: [{ password: 'correct-horse' }] },
    { LOCAL_USER: 'alex' },
  ],
  ['SESSION_SECRET', secret, { session_secret: secret }],
  ['TOKEN_ENCRYPTION_KEY', secret, { token_encryption_key: secret }],
  [
    'MCP_SERVERS',
    '[{"domain":"mcp.example.com"}]',
    { mcp_services: { 'mcp-example-com': { url: 'https://mcp.example.com' } } },
  ],
  ['DOMAIN_ROOT', 'copernicusone.com', { domain_root: 'copernicusone.com' }],
  ['LOG_LEVEL', 'info', { log_level: 'info' }],
  ['GW_BASE_URL', 'http://localhost:3000', { issuer: 'http://localhost:3000' }],
  ['PORT', '3000', { port: 3000 }],
  ['HOST', '127.0.0.1', { host: '127.0.0.1' }],
  ['ALLOWED_ORIGINS', 'https://a.example', { cors: { allow_origins: ['https://a.example'] } }],
  ['SSE_HEARTBEAT_MS', '12000', { heartbeat: 12 }],
  ['GATEWAY_JWT_SECRET', secret, { session_secret: secret }],
  ['BASE_DOMAIN', 'localhost', { base_domain: 'localhost' }],
  ['ACCESS_TOKEN_LIFETIME', '86400', { access_token_lifetime: 86_400 }],
  ['REFRESH_TOKEN_LIFETIME', '2592000', { refresh_token_lifetime: 2_592_000 }],
  ['SESSION_TIMEOUT', '3600', { session_timeout: 3600 }],
  ['MCP_PROTOCOL_VERSION', '2025-06-18', { protocol_versions: ['2025-06-18'] }],
  ['CLIENT_LIFETIME', '0', { client_lifetime: 0 }],
  ['MCP_CORS_ORIGINS', 'https://a.example', { cors: { allow_origins: ['https://a.example'] } }],
  [
    'MCP_PROTOCOL_VERSIONS_SUPPORTED',
    '2025-06-18,2025-03-26',
    { protocol_versions: ['2025-06-18', '2025-03-26'] },
  ],
  ['CF_ACCESS_TEAM_DOMAIN', 'team.cloudflareaccess.com', { oauth_providers: cloudflareProvider }, cloudflare],
  ['CF_ACCESS_CLIENT_ID', 'app1', { oauth_providers: cloudflareProvider }, cloudflare],
  ['CF_ACCESS_CLIENT_SECRET', 'of-the-application', { oauth_providers: cloudflareProvider }, cloudflare],
  ['GITHUB_CLIENT_ID', 'Iv1.a', { oauth_providers: gitHubProvider }, gitHub],
  ['GITHUB_CLIENT_SECRET', 'gh-secret', { oauth_providers: gitHubProvider }, gitHub],
  [
    'ALLOWED_GITHUB_USERS',
    'user1, user2',
    { oauth_providers: { github: { allowed_logins: ['user1', 'user2'] } } },
    gitHub,
  ],
  ['REDIS_URL', 'redis://127.0.0.1', { storage: { type: 'redis', redis: { url: 'redis://127.0.0.1' } } }],
  ['REDIS_HOST', '127.0.0.1', { storage: { type: 'redis', redis: { host: '127.0.0.1' } } }],
  ...(
    [
      ['REDIS_PORT', '6380', { port: 6380 }],
      ['REDIS_PASSWORD', 'x', { password: 'x' }],
      ['REDIS_SSL', 'true', { ssl: true }],
      ['REDIS_DB', '1', { db: 1 }],
      ['REDIS_CA_CERTS', '/ca.pem', { ssl_ca_certs: '/ca.pem' }],
      ['REDIS_MAX_CONNECTIONS', '20', { max_connections: 20 }],
    ] as const
  ).map(
    ([name, text, redis]) =>
      [name, text, { storage: { type: 'redis', redis } }, { REDIS_HOST: '127.0.0.1' }] as const,
  ),
  ['COOKIE_ENCRYPTION_KEY', secret, { session_secret: secret }],
  [
    'DOWNSTREAM_MCP_URL',
    'https://up.example/mcp',
    { default_service: 'downstream', mcp_services: { downstream: { url: 'https://up.example/mcp' } } },
  ],
  [
    'ACCESS_CLIENT_ID',
    'app1',
    { oauth_providers: cloudflareProvider },
    { ...application, ACCESS_TOKEN_URL: `${access}/token` },
  ],
  [
    'ACCESS_CLIENT_SECRET',
    'of-the-application',
    { oauth_providers: cloudflareProvider },
    { ...application, ACCESS_TOKEN_URL: `${access}/token` },
  ],
  [
    'ACCESS_AUTHORIZATION_URL',
    `${access}/authorization`,
    { oauth_providers: cloudflareProvider },
    application,
  ],
  [
    'ACCESS_TOKEN_URL',
    `${access}/token`,
    { oauth_providers: cloudflareProvider },
    { ...application, ACCESS_AUTHORIZATION_URL: `${access}/authorization` },
  ],
  [
    'ACCESS_JWKS_URL',
    `${access}/jwks`,
    { oauth_providers: cloudflareProvider },
    { ...application, ACCESS_TOKEN_URL: `${access}/token` },
  ],
  ['AUTH_TYPE', 'github', { oauth_providers: gitHubProvider }, gitHub],
  ['AUTH_TYPE', 'cloudflare-access', { oauth_providers: cloudflareProvider }, cloudflare],
  ['MCP_SERVER_CMD', 'npx -y x', { mcp_services: { server: { command: 'npx', args: ['-y', 'x'] } } }],
  ['MCP_PROXY_PORT', '8082', { port: 8082 }],
]

const github =
  'is not a known setting: for sign-in with GitHub set GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, and remove this variable'
const servers =
  'restricts which servers can be reached, which is not supported: only the services in mcp_services are served. Remove this variable'
const byName =
  'looks like an access restriction, but is not a known setting: for users set oauth_providers.<id>.allowed_emails, allowed_domains or allowed_groups (or ALLOWED_GITHUB_USERS), for origins cors.allow_origins (or ALLOWED_ORIGINS), for hosts allowed_hosts, and remove this variable'
const origins =
  'looks like an origin restriction, but is not a known setting: set cors.allow_origins (or ALLOWED_ORIGINS), and remove this variable'

const refuses: readonly (readonly [name: string, text: string, fault: string])[] = [
  ['MCP_SERVER_ALLOWLIST', 'mcp.example.com', servers],
  // Spellings that nobody documents, and that mean the same.
  ['GITHUB_OAUTH_CLIENT_ID', 'x', github],
  ['GITHUB_CLIENT_SECRETS', 'x', github],
  ['ALLOWED_GITHUB_USER', 'a', byName],
  ['ALLOWED_EMAILS', 'a@example.com', byName],
  ['ALLOWED_ORIGIN', 'https://a.example', byName],
  ['MCP_SERVERS_ALLOWLIST', 'x', servers],
  ['MCP_CORS_ORIGIN', 'https://a.example', origins],
  ['CORS_ORIGINS', 'https://a.example', origins],
]

const tests = 'belongs to the test suite of another gateway and has no effect: remove it'
const signing =
  'has no effect: access tokens are signed with ES256, with keys that the gateway generates and rotates'
const upstream =
  'has no effect: set authorization_endpoint, token_endpoint, client_id, client_secret and scopes in mcp_services.<id>.upstream_auth, or list the server in MCP_SERVERS'
const clients =
  'has no effect: clients keep their own credentials. To register a client in advance, add it to clients'
const health =
  'has no effect: set the interval in the system that calls /healthz, and the server timeout as mcp_services.<id>.timeout'
const token =
  'has no effect: to send a Cloudflare Access service token, set CF-Access-Client-Id and CF-Access-Client-Secret in mcp_services.<id>.upstream_auth.headers, with type: static'

const answered: readonly (readonly [name: string, warning: string])[] = [
  ['JWT_PRIVATE_KEY_B64', signing],
  ['JWT_ALGORITHM', signing],
  ['COOKIE_SECURE', 'has no effect: cookies are Secure whenever issuer is an https URL'],
  [
    'ACME_EMAIL',
    'has no effect: the gateway does not request certificates. Put an HTTPS reverse proxy in front, and set issuer to its URL',
  ],
  ...['AUTHORIZATION_ENDPOINT', 'TOKEN_ENDPOINT', 'CLIENT_ID', 'CLIENT_SECRET', 'SCOPES'].map(
    (name) => [`UPSTREAM_${name}`, upstream] as const,
  ),
  [
    'REDIRECT_URI',
    'has no effect: set mcp_services.<id>.upstream_auth.redirect_uri, or redirectUri in MCP_SERVERS',
  ],
  ['UPSTREAM_API_BASE', 'has no effect: set the server URL as mcp_services.<id>.url'],
  ['SERVICE_CLIENT_ID', token],
  ['SERVICE_CLIENT_SECRET', token],
  [
    'GITHUB_PAT',
    'has no effect: to send a token to a server, set mcp_services.<id>.upstream_auth.token, with type: static',
  ],
  ...['JWT_TOKEN', 'CLIENT_ID', 'CLIENT_SECRET', 'ACCESS_TOKEN', 'REFRESH_TOKEN'].map(
    (name) => [`GATEWAY_OAUTH_${name}`, clients] as const,
  ),
  ['MCP_CLIENT_ACCESS_TOKEN', clients],
  ['MCP_FETCH_ENABLED', 'has no effect: a service is served when it is listed in mcp_services'],
  ['MCP_EVERYTHING_TESTS_ENABLED', tests],
  ['MCP_FETCH_URLS', 'has no effect: set the server URL as mcp_services.<id>.url'],
  ...[
    'HTTP_TIMEOUT',
    'MAX_RETRIES',
    'RETRY_DELAY',
    'CALLBACK_URL',
    'CLIENT_NAME',
    'CLIENT_SCOPE',
    'REDIRECT_URI',
    'INVALID_REDIRECT_URI',
  ].map((name) => [`TEST_${name}`, tests] as const),
  [
    'VAULT_TIMEOUT',
    'has no effect: a request to Vault has 800 ms and one repetition, at the start 10 seconds',
  ],
  ['HEALTH_CHECK_TIMEOUT', health],
  ['HEALTH_CHECK_INTERVAL', health],
  [
    'COMPOSE_BAKE',
    'is a Docker Compose setting and has no effect: remove it from the environment of the gateway',
  ],
]

describe('a variable of another gateway', () => {
  it('that names a Vault stores there', async () => {
    const env = {
      VAULT_URL: 'http://127.0.0.1:8200',
      VAULT_AUTH_METHOD: 'approle',
      VAULT_ROLE_ID: 'role',
      VAULT_SECRET_ID: 'secret',
      VAULT_MOUNT_POINT: 'kv',
      VAULT_PATH_PREFIX: 'mcp-gateway',
      VAULT_NAMESPACE: 'team',
      VAULT_VERIFY_SSL: 'false',
    }
    expect((await configOf('', { env })).storage).toMatchObject({
      type: 'vault',
      vault: {
        url: 'http://127.0.0.1:8200',
        auth_method: 'approle',
        role_id: 'role',
        secret_id: 'secret',
        mount_point: 'kv',
        path_prefix: 'mcp-gateway',
        namespace: 'team',
        verify_ssl: false,
      },
    })
    // Many have it set for the command line of Vault.
    expect(await faultsOf('storage: { type: sqlite }\n', { env: { VAULT_TOKEN: 'x' } })).toEqual([])
    expect(await faultsOf('', { env: { VAULT_TOKEN: 'x' } })).toEqual([
      'environment VAULT_TOKEN storage.vault.token – asks for storage in vault, but storage.type is not set: set storage.type to vault, or to sqlite to confirm the default',
    ])
  })

  it.each([...works.map(([name, text, wanted, beside = {}]) => ({ name, text, wanted, beside }))])(
    '$name=$text works',
    async ({ name, text, wanted, beside }) => {
      const env = { ...beside, [name]: text }
      expect(await configOf('', { env })).toMatchObject(wanted)
      expect(await warningsOf('', { env })).toEqual(
        name === 'GW_BASE_URL'
          ? [
              expect.stringContaining(
                'uses port 3000, but the gateway listens on port 8080, so clients cannot connect: set both to the same port',
              ),
            ]
          : name === 'MCP_ISSUER'
            ? [
                expect.stringContaining(
                  'uses port 8081, but the gateway listens on port 8080, so clients cannot connect: set both to the same port',
                ),
              ]
            : [],
      )
    },
  )

  it.each(refuses)('never is passed over where it restricts access: %s=%s', async (name, text, fault) => {
    expect(await faultsOf('', { env: { [name]: text } })).toEqual([`environment ${name} – ${fault}`])
    expect(await faultsOf('', { env: { [`${name}_FILE`]: '/run/secrets/x' } })).toEqual([
      `environment ${name}_FILE – ${fault}`,
    ])
    expect(await faultsOf('', { env: { [name]: '' } })).toEqual([])
  })

  it.each(answered)('%s is answered', async (name, warning) => {
    expect(await faultsOf('', { env: { [name]: 'x' } })).toEqual([])
    expect(await warningsOf('', { env: { [name]: 'x' } })).toEqual([`environment ${name} – ${warning}`])
  })

  it('ENVIRONMENT=production does as NODE_ENV does', async () => {
    for (const name of ['ENVIRONMENT', 'NODE_ENV'])
      expect(await faultsOf('storage: { type: memory }\n', { env: { [name]: 'production' } })).toEqual([
        expect.stringContaining(
          'memory is not allowed with NODE_ENV=production, because all sign-ins are lost on exit: use sqlite, redis, postgres or vault',
        ),
      ])
    expect(await faultsOf('storage: { type: memory }\n', { env: { ENVIRONMENT: 'development' } })).toEqual([])
  })

  it('that the file itself uses is the file’s own', async () => {
    const text =
      'oauth_providers:\n  dex: { issuer: "https://dex.example.com", client_id: "${GITHUB_CLIENT_ID}", client_secret: "${GITHUB_CLIENT_SECRET}" }\nallowed_hosts: ["${ALLOWED_HOST}"]\n'
    const loaded = await load(text, {
      env: { GITHUB_CLIENT_ID: 'a', GITHUB_CLIENT_SECRET: 'b', ALLOWED_HOST: 'mcp.example.com' },
    })
    expect(loaded).toMatchObject({ ok: true, warnings: [] })
  })

  it('that asks for a store gives way to storage.type', async () => {
    const env = { REDIS_URL: 'redis://localhost:6379', POSTERN_STORAGE__TYPE: 'sqlite' }
    expect(await faultsOf('', { env })).toEqual([])
    expect(await warningsOf('', { env })).toEqual([
      'environment REDIS_URL storage.redis.url – has no effect: storage.type is sqlite',
    ])
  })

  it('that switches a configured service off never leaves it on', async () => {
    const text = 'mcp_services:\n  my-fetch: { url: "http://localhost:1/mcp" }\n'
    expect(await faultsOf(text, { env: { MCP_MY_FETCH_ENABLED: 'false' } })).toEqual([
      'environment MCP_MY_FETCH_ENABLED mcp_services.my-fetch – turns "my-fetch" off, but mcp_services lists it: remove one of the two',
    ])
    expect(await faultsOf(text, { env: { MCP_MY_FETCH_ENABLED: 'true' } })).toEqual([])
  })

  it('that Kubernetes made is no setting', async () => {
    const link = 'tcp://10.0.0.7:6379'
    const env = {
      REDIS_PORT: link,
      REDIS_SERVICE_HOST: '10.0.0.7',
      REDIS_PORT_6379_TCP_ADDR: '10.0.0.7',
      POSTERN_PORT: link,
      POSTERN_SERVICE_HOST: '10.0.0.8',
      POSTERN_SERVICE_PORT_HTTP: '80',
      POSTERN_PORT_80_TCP: link,
      MCP_GATEWAY_PORT: link,
    }
    expect(await load('', { env })).toMatchObject({ ok: true, config: { port: 8080 }, warnings: [] })
  })
})

describe('variables that describe an identity provider', () => {
  it('belong together', async () => {
    expect(await faultsOf('', { env: { GOOGLE_CLIENT_ID: 'g' } })).toEqual([
      'environment GOOGLE_CLIENT_ID oauth_providers – is set without GOOGLE_CLIENT_SECRET: set both or neither',
    ])
    expect(await faultsOf('', { env: { OKTA_CLIENT_SECRET: 'x' } })).toEqual([
      'environment OKTA_CLIENT_SECRET oauth_providers – is set without OKTA_DOMAIN and OKTA_CLIENT_ID: set all three or none',
    ])
    expect(await faultsOf('', { env: { ACCESS_CLIENT_ID: 'x' } })).toEqual([
      'environment ACCESS_CLIENT_ID oauth_providers – is set without ACCESS_CLIENT_SECRET and ACCESS_AUTHORIZATION_URL: set all three or none',
    ])
    expect(await faultsOf('', { env: { ACCESS_JWKS_URL: `${access}/jwks` } })).toEqual([
      'environment ACCESS_JWKS_URL oauth_providers – is set without ACCESS_CLIENT_ID and ACCESS_CLIENT_SECRET: set all three or none',
    ])
  })

  it.each([
    'https://team.cloudflareaccess.com/cdn-cgi/access/certs',
    'http://team.cloudflareaccess.com/cdn-cgi/access/sso/oidc/app1/token',
    'https://idp.example/token',
    'x',
  ])('never make an issuer of %s', async (url) => {
    expect(await faultsOf('', { env: { ...application, ACCESS_TOKEN_URL: url } })).toEqual([
      'environment ACCESS_TOKEN_URL oauth_providers – must be an endpoint of the same Cloudflare Access application, https://<team>.cloudflareaccess.com/cdn-cgi/access/sso/oidc/<client id>/…; for any other provider set oauth_providers.<id>.issuer',
    ])
  })

  it('never mix two applications', async () => {
    expect(
      await faultsOf('', {
        env: { ...application, ACCESS_TOKEN_URL: `${access}/token`, ACCESS_JWKS_URL: `${access}2/jwks` },
      }),
    ).toEqual([
      expect.stringContaining(
        'ACCESS_JWKS_URL oauth_providers – must be an endpoint of the same Cloudflare Access application, https://<team>.cloudflareaccess.com/cdn-cgi/access/sso/oidc/<client id>/…; for any other provider set oauth_providers.<id>.issuer',
      ),
    ])
    expect(
      await faultsOf('', { env: { ...application, ACCESS_TOKEN_URL: `${access}/token`, ...cloudflare } }),
    ).toEqual([
      'environment ACCESS_CLIENT_ID oauth_providers – cannot be combined with CF_ACCESS_CLIENT_ID: keep one of the two sets of variables',
    ])
  })

  it('ALLOWED_GITHUB_USERS: the names, * for everybody, nobody when it is empty, and never without GitHub', async () => {
    const publicly = { ...gitHub, MCP_ISSUER: 'https://mcp.example.com' }
    const open =
      'environment GITHUB_CLIENT_ID oauth_providers.github – lets anyone with an account there sign in to this public gateway: set allowed_logins (or ALLOWED_GITHUB_USERS), allowed_groups or allowed_domains. If this is intended, set allowed_logins: ["*"]'
    expect(await faultsOf('', { env: publicly })).toEqual([open])
    const logins = async (text: string) =>
      (await configOf('', { env: { ...publicly, ALLOWED_GITHUB_USERS: text } })).oauth_providers['github']
        ?.allowed_logins
    expect(await logins('a,b')).toEqual(['a', 'b'])
    expect(await logins('*')).toEqual(['*'])
    expect(await logins('')).toEqual([])
    expect(await warningsOf('', { env: { ...gitHub, ALLOWED_GITHUB_USERS: ' ' } })).toEqual([
      'environment ALLOWED_GITHUB_USERS oauth_providers – is empty, so nobody can sign in with GitHub: list usernames, or write * for everyone',
    ])
    expect(await faultsOf('', { env: { ALLOWED_GITHUB_USERS: 'a' } })).toEqual([
      'environment ALLOWED_GITHUB_USERS oauth_providers – restricts sign-in to GitHub accounts, but the provider `github` is not configured: set GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or remove this variable',
    ])
    expect(await faultsOf('', { env: { ...gitHub, ALLOWED_GITHUB_USERS: '@octo cat!' } })).toEqual([
      'environment ALLOWED_GITHUB_USERS oauth_providers.github.allowed_logins[0] – must be a GitHub username, without @, or "*" for everyone',
      'environment ALLOWED_GITHUB_USERS oauth_providers.github.allowed_logins[1] – must be a GitHub username, without @, or "*" for everyone',
    ])
  })

  it('never let in every Google account of the world on a public gateway [H-U12]', async () => {
    const env = { ...google, MCP_ISSUER: 'https://mcp.example.com' }
    expect(await faultsOf('', { env })).toEqual([
      'environment GOOGLE_CLIENT_ID oauth_providers.google – lets anyone with an account there sign in to this public gateway: set allowed_domains, allowed_emails or allowed_groups. If this is intended, set allowed_emails: ["*"]',
    ])
    for (const list of ['ALLOWED_EMAILS', 'ALLOWED_DOMAINS', 'ALLOWED_GROUPS'])
      expect(
        await faultsOf('', { env: { ...env, [`POSTERN_OAUTH_PROVIDERS__GOOGLE__${list}`]: '*' } }),
      ).toEqual([])
  })

  it('AUTH_TYPE never promises what does not happen', async () => {
    const people = { LOCAL_USER: 'alex', LOCAL_PASSWORD: 'correct-horse' }
    const fault = (env: Record<string, string>) => faultsOf('', { env })
    expect(await fault({ AUTH_TYPE: 'cloudflare-access' })).toEqual([
      'environment AUTH_TYPE oauth_providers – is cloudflare-access, but that provider is not configured: set CF_ACCESS_TEAM_DOMAIN, CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET',
    ])
    expect(await fault({ AUTH_TYPE: 'cloudflare-access', ...cloudflare, ...people })).toEqual([
      'environment AUTH_TYPE oauth_providers – is cloudflare-access, but other sign-in methods are configured: remove the other oauth_providers and local_users, or this variable',
    ])
    expect(await fault({ AUTH_TYPE: 'github' })).toEqual([
      'environment AUTH_TYPE oauth_providers – is github, but that provider is not configured: set GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET',
    ])
    expect(await fault({ AUTH_TYPE: 'github', ...gitHub, ...people })).toEqual([
      'environment AUTH_TYPE oauth_providers – is github, but other sign-in methods are configured: remove the other oauth_providers and local_users, or this variable',
    ])
    expect(await fault({ AUTH_TYPE: 'saml' })).toEqual([
      'environment AUTH_TYPE oauth_providers – has an unsupported value: configure oauth_providers or local_users instead, and remove this variable',
    ])
    expect(await fault({ AUTH_TYPE: 'mock', ...people })).toEqual([
      'environment AUTH_TYPE oauth_providers – is mock, but oauth_providers or local_users are configured: remove this variable',
    ])
    expect(await configOf('', { env: { AUTH_TYPE: 'mock' } })).toMatchObject({
      oauth_providers: { mock: { type: 'mock', name: 'any email address' } },
    })
    expect(await warningsOf('', { env: { AUTH_TYPE: 'mock' } })).toEqual([
      expect.stringContaining(
        'oauth_providers.mock – is a mock: anyone who can reach this gateway can sign in as anyone',
      ),
    ])
    expect(await fault({ AUTH_TYPE: 'mock', MCP_ISSUER: 'https://mcp.example.com' })).toEqual([
      expect.stringContaining('it is allowed only for a gateway on localhost'),
    ])
  })
})

describe('a key of another gateway’s file', () => {
  it.each(['authorization_url', 'token_url', 'userinfo_url'])(
    '%s is plain OAuth 2.0, and never stands beside what is discovered',
    async (key) => {
      expect(
        await faultsOf(
          `oauth_providers:\n  github: { issuer: "https://dex.example.com", client_id: a, ${key}: "https://github.com/x" }\n`,
        ),
      ).toEqual([
        expect.stringContaining(
          `oauth_providers.github.${key} – has no meaning for a provider of type openid: remove it, or change \`type\``,
        ),
      ])
    },
  )

  it.each([
    [
      'storage: { type: etcd }',
      'storage.type – must be one of: sqlite, memory, redis, postgres, vault; found "etcd"',
    ],
    [
      'storage: { redis: { host: localhost } }',
      'storage.redis.host – asks for storage in redis, but storage.type is not set: set storage.type to redis, or to sqlite to confirm the default',
    ],
    [
      'storage: { type: redis, redis: { socket_timeout: 5 } }',
      'storage.redis.socket_timeout – is not needed: an operation has 500 ms and one repetition, and idle connections are checked every 10 seconds; remove it',
    ],
  ])('never is passed over: %s', async (text, fault) => {
    expect((await faultsOf(`${text}\n`)).join('\n')).toContain(fault)
  })
})
