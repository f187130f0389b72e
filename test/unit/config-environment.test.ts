// Environment variables over the file: every name, every form, and secrets from files.
import { describe, expect, it } from 'vitest'
import { environmentNames, secretFileVariables } from '../../src/config/environment-names.ts'
import { secretFilesFor } from '../../src/config/load.ts'
import { configOf, faultsOf, load, warningsOf } from './config-world.ts'

const secret = 'Vq3xT9zLw2Kp8Rb5Ny7Hc4Jd6Gf1Ms0A'
const other = 'Zw4mP8rTy6Kd2Xs9Lb5Vn3Hg7Jf1Qc0E'

describe('an environment variable with a fixed name', () => {
  it.each([
    ['PORT', '9001', { port: 9001 }],
    ['MCP_GATEWAY_PORT', '9002', { port: 9002 }],
    ['HOST', '127.0.0.1', { host: '127.0.0.1' }],
    ['MCP_GATEWAY_HOST', 'localhost', { host: 'localhost' }],
    ['MCP_ISSUER', 'http://localhost:8080', { issuer: 'http://localhost:8080' }],
    ['MCP_DEBUG', '1', { debug: true }],
    ['MCP_DEBUG', 'False', { debug: false }],
    ['LOG_LEVEL', 'WARNING', { log_level: 'warn' }],
    ['SESSION_SECRET', secret, { session_secret: secret }],
    ['GATEWAY_JWT_SECRET', secret, { session_secret: secret }],
    ['COOKIE_ENCRYPTION_KEY', secret, { session_secret: secret }],
    ['MCP_SESSION_SECRET', secret, { session_secret: secret }],
    ['ACCESS_TOKEN_LIFETIME', '86400', { access_token_lifetime: 86_400 }],
    ['REFRESH_TOKEN_LIFETIME', '2592000', { refresh_token_lifetime: 2_592_000 }],
    ['SESSION_TIMEOUT', '3600', { session_timeout: 3600 }],
    ['CLIENT_LIFETIME', '0', { client_lifetime: 0 }],
    ['MCP_PROTOCOL_VERSION', '2025-06-18', { protocol_versions: ['2025-06-18'] }],
    [
      'MCP_PROTOCOL_VERSIONS_SUPPORTED',
      '2025-06-18,2025-03-26',
      { protocol_versions: ['2025-06-18', '2025-03-26'] },
    ],
    ['ALLOWED_ORIGINS', 'https://a.example', { cors: { allow_origins: ['https://a.example'] } }],
    [
      'MCP_CORS_ORIGINS',
      'https://a.example, https://b.example',
      { cors: { allow_origins: ['https://a.example', 'https://b.example'] } },
    ],
    [
      'DOWNSTREAM_MCP_URL',
      'https://upstream.example/mcp',
      {
        mcp_services: { downstream: { url: 'https://upstream.example/mcp', auth_required: true } },
        default_service: 'downstream',
      },
    ],
  ])('%s=%s', async (name, text, wanted) => {
    expect(await configOf('', { env: { [name]: text } })).toMatchObject(wanted)
    expect(environmentNames.map((known) => known.name)).toContain(name)
  })

  it('counts as absent when it is empty', async () => {
    const env = Object.fromEntries(environmentNames.map(({ name }) => [name, '']))
    expect(await configOf('', { env })).toEqual(await configOf(''))
  })

  it('gives way to a more particular one: POSTERN_PORT, MCP_GATEWAY_PORT, PORT', async () => {
    const env = { PORT: '1', MCP_GATEWAY_PORT: '2', POSTERN_PORT: '3' }
    expect((await configOf('', { env })).port).toBe(3)
    expect((await configOf('', { env: { ...env, POSTERN_PORT: undefined } })).port).toBe(2)
  })

  it('says its own name when it is wrong', async () => {
    expect(
      await faultsOf('', {
        env: { PORT: 'eighty', MCP_DEBUG: 'maybe', LOG_LEVEL: 'loud', ACCESS_TOKEN_LIFETIME: '1' },
      }),
    ).toEqual([
      'environment PORT port – must be a number',
      'environment MCP_DEBUG debug – must be true or false',
      'environment LOG_LEVEL log_level – must be one of: debug, info, warn, error; found "loud"',
      'environment ACCESS_TOKEN_LIFETIME access_token_lifetime – must be from 1m to 1d',
    ])
  })

  it('HOST that is the machine’s name, as shells set it, is not an address to listen on', async () =>
    expect(await configOf('', { env: { HOST: 'laptop' } })).toMatchObject({ host: 'localhost' }))

  it('MCP_PROTOCOL_VERSION narrows the supported list, and must be in it', async () => {
    const env = {
      MCP_PROTOCOL_VERSION: '2025-06-18',
      MCP_PROTOCOL_VERSIONS_SUPPORTED: '2025-06-18,2025-03-26',
    }
    expect((await configOf('', { env })).protocol_versions).toEqual(['2025-06-18'])
    expect(await faultsOf('', { env: { ...env, MCP_PROTOCOL_VERSION: '2024-11-05' } })).toEqual([
      'environment MCP_PROTOCOL_VERSION protocol_versions – is not one of MCP_PROTOCOL_VERSIONS_SUPPORTED',
    ])
  })

  it('root secrets under several names must agree [H-U1]', async () => {
    expect(await configOf('', { env: { SESSION_SECRET: secret, GATEWAY_JWT_SECRET: secret } })).toMatchObject(
      { session_secret: secret },
    )
    const faults = await faultsOf('', { env: { SESSION_SECRET: secret, GATEWAY_JWT_SECRET: other } })
    expect(faults).toEqual([
      'environment GATEWAY_JWT_SECRET session_secret – differs from SESSION_SECRET, and both set the root secret: keep one of the two',
    ])
  })
})

describe('MCP_SERVERS', () => {
  const atlassian = {
    domain: 'mcp.atlassian.com',
    name: 'Atlassian MCP',
    authzEndpoint: 'https://auth.atlassian.com/oauth/authorize',
    tokenEndpoint: 'https://auth.atlassian.com/oauth/token',
    clientId: 'your-client-id',
    scopes: 'read:jira-work write:jira-work',
  }
  const env = (list: unknown) => ({
    env: { MCP_SERVERS: typeof list === 'string' ? list : JSON.stringify(list) },
  })

  it('is a list of servers, each with the client that was registered for it', async () => {
    const more = {
      domain: 'LocalHost:4001',
      clientId: 'b',
      clientSecret: 'c',
      authzEndpoint: 'http://localhost:4000/a',
      tokenEndpoint: 'http://localhost:4000/t',
      scopes: '',
      redirectUri: 'http://localhost:8080/oauth/callback',
    }
    expect(
      (await configOf('', env([atlassian, more, { domain: 'mcp.example.com' }]))).mcp_services,
    ).toMatchObject({
      'atlassian-mcp': {
        name: 'Atlassian MCP',
        url: 'https://mcp.atlassian.com',
        upstream_auth: {
          type: 'oauth',
          authorization_endpoint: atlassian.authzEndpoint,
          token_endpoint: atlassian.tokenEndpoint,
          client_id: 'your-client-id',
          scopes: ['read:jira-work', 'write:jira-work'],
        },
      },
      'localhost-4001': {
        url: 'http://localhost:4001',
        upstream_auth: { client_secret: 'c', redirect_uri: 'http://localhost:8080/oauth/callback' },
      },
      'mcp-example-com': { url: 'https://mcp.example.com', upstream_auth: { type: 'oauth' } },
    })
  })

  it('adds to the services of the file and is found by their names, and may come from a file of its own', async () => {
    const text = 'mcp_services:\n  atlassian-mcp: { description: Tickets, url: "https://old.example/mcp" }\n'
    const config = await configOf(text, {
      env: { POSTERN_MCP_SERVICES__ATLASSIAN_MCP__TIMEOUT: '5', MCP_SERVERS_FILE: '/run/x' },
      secrets: { MCP_SERVERS_FILE: { text: JSON.stringify([atlassian]) } },
    })
    expect(config.mcp_services['atlassian-mcp']).toMatchObject({
      description: 'Tickets',
      url: 'https://mcp.atlassian.com',
      timeout: 5,
    })
  })

  it.each([
    [
      'not JSON',
      'mcp_services – must be a JSON list of servers: [{"domain": "mcp.example.com", "name": "Example", …}]',
    ],
    [
      '{"domain":"a.example"}',
      'mcp_services – must be a JSON list of servers: [{"domain": "mcp.example.com", "name": "Example", …}]',
    ],
    [
      ['a.example'],
      'mcp_services[0] – must be an object, e.g. {"domain": "mcp.example.com", "name": "Example"}',
    ],
    [
      [{ name: 'A' }],
      'mcp_services[0] – needs `domain`, a host name such as "mcp.example.com", without https:// and without a path',
    ],
    [
      [{ domain: 'https://a.example/mcp' }],
      'mcp_services[0] – needs `domain`, a host name such as "mcp.example.com", without https:// and without a path',
    ],
    [
      [{ domain: 'evil@a.example' }],
      'mcp_services[0] – needs `domain`, a host name such as "mcp.example.com", without https:// and without a path',
    ],
    [
      [{ domain: 'a.example' }, { domain: 'b.example', name: 'A example' }],
      'mcp_services[1] – conflicts with another entry: both would be served at /a-example/mcp',
    ],
    [
      [{ domain: 'a.example', name: '日本' }],
      'mcp_services[0] – needs a name with letters or digits: its URL is derived from it',
    ],
    [
      [{ ...atlassian, tokenEndpoint: undefined }],
      'mcp_services.atlassian-mcp.upstream_auth.authorization_endpoint – needs token_endpoint',
    ],
    [
      [{ ...atlassian, tokenEndpoint: 'http://auth.example/token' }],
      'mcp_services.atlassian-mcp.upstream_auth.token_endpoint – must use https',
    ],
  ])('that is %j is told by its name, and not repeated', async (list, what) => {
    const faults = await faultsOf(
      'issuer: https://mcp.example.com\nlocal_users: [{ username: a, password: correct-horse }]\n',
      env(list),
    )
    expect(faults).toContainEqual(`environment MCP_SERVERS ${what}`)
    expect(faults.join()).not.toContain('your-client-id')
  })

  it('warns of members that mean nothing, and of answers that would come to no address of this gateway', async () => {
    expect(
      await warningsOf('', env([{ ...atlassian, redirectUri: 'https://gw.example/cb', icon: 'x' }])),
    ).toEqual([
      expect.stringContaining(
        'MCP_SERVERS mcp_services[0] – contains an unknown member; known members: domain, name, scopes, authzEndpoint, tokenEndpoint, clientId, clientSecret, redirectUri',
      ),
      expect.stringContaining(
        'redirect_uri – is not a callback URL of this gateway: use /connect/callback, /oauth/callback, or the one that `postern validate` prints for this authorization server',
      ),
    ])
  })
})

describe('CF_ACCESS_TEAM_DOMAIN, CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET', () => {
  const env = {
    CF_ACCESS_TEAM_DOMAIN: 'myteam.cloudflareaccess.com',
    CF_ACCESS_CLIENT_ID: 'a1b2c3',
    CF_ACCESS_CLIENT_SECRET: 'of-the-application',
  }
  const issuer = 'https://myteam.cloudflareaccess.com/cdn-cgi/access/sso/oidc/a1b2c3'

  it('are an identity provider whose issuer is the application’s own', async () => {
    expect((await configOf('', { env })).oauth_providers).toMatchObject({
      'cloudflare-access': {
        name: 'Cloudflare Access',
        issuer,
        client_id: 'a1b2c3',
        client_secret: 'of-the-application',
      },
    })
    for (const domain of ['https://myteam.cloudflareaccess.com/', ' MyTeam.CloudflareAccess.com'])
      expect(
        (await configOf('', { env: { ...env, CF_ACCESS_TEAM_DOMAIN: domain } })).oauth_providers,
      ).toMatchObject({ 'cloudflare-access': { issuer } })
  })

  it('leave what the file says of the provider, and a file that uses them itself alone', async () => {
    expect(
      (
        await configOf(
          'oauth_providers:\n  cloudflare-access: { name: Staff, client_id: x, allowed_groups: [staff] }\n',
          { env },
        )
      ).oauth_providers,
    ).toMatchObject({
      'cloudflare-access': { name: 'Staff', issuer, client_id: 'a1b2c3', allowed_groups: ['staff'] },
    })
    const own =
      'oauth_providers:\n  access: { issuer: "https://${CF_ACCESS_TEAM_DOMAIN}/x", client_id: "${CF_ACCESS_CLIENT_ID}" }\n'
    expect(Object.keys((await configOf(own, { env })).oauth_providers)).toEqual(['access'])
  })

  it('belong together, and the domain is a domain', async () => {
    expect(await faultsOf('', { env: { CF_ACCESS_CLIENT_ID: 'x' } })).toEqual([
      'environment CF_ACCESS_CLIENT_ID oauth_providers – is set without CF_ACCESS_TEAM_DOMAIN and CF_ACCESS_CLIENT_SECRET: set all three or none',
    ])
    for (const domain of ['myteam', 'https://myteam.cloudflareaccess.com/cdn-cgi', 'a b.com']) {
      expect(await faultsOf('', { env: { ...env, CF_ACCESS_TEAM_DOMAIN: domain } })).toEqual([
        'environment CF_ACCESS_TEAM_DOMAIN oauth_providers – must be your team domain, e.g. "myteam.cloudflareaccess.com"',
      ])
    }
  })
})

describe('TOKEN_ENCRYPTION_KEY', () => {
  const key = '5f2b8c1d9e7a4063b1c8d2e5f6a790314b8d7c2e9f1a6053d4e8b7c2a1f09563'

  it('is a secret of its own, as strong as the root and not the same', async () => {
    expect((await configOf('', { env: { TOKEN_ENCRYPTION_KEY: key } })).token_encryption_key).toBe(key)
    expect(await faultsOf('', { env: { TOKEN_ENCRYPTION_KEY: key.slice(0, 31) } })).toEqual([
      expect.stringContaining('TOKEN_ENCRYPTION_KEY token_encryption_key – is shorter than 32 characters'),
    ])
    expect(await faultsOf('', { env: { TOKEN_ENCRYPTION_KEY: key, SESSION_SECRET: key } })).toEqual([
      expect.stringContaining(
        'has the same value as session_secret: use a different secret for each purpose',
      ),
    ])
  })
})

describe('LOCAL_USER and LOCAL_PASSWORD', () => {
  const env = { LOCAL_USER: 'alex', LOCAL_PASSWORD: 'correct-horse' }

  it('add a person', async () =>
    expect((await configOf('', { env })).local_users).toEqual([
      { username: 'alex', password: 'correct-horse', groups: [] },
    ]))

  it('add to the people of the file, or give one of them a new password', async () => {
    const hash = "'$argon2id$v=19$m=1,t=1,p=1$YQ$YQ'"
    const text = `local_users:\n  - { username: kim, password_hash: ${hash} }\n  - { username: alex, password_hash: ${hash}, email: alex@example.com }\n`
    expect((await configOf(text, { env })).local_users).toMatchObject([
      { username: 'kim' },
      { username: 'alex', password: 'correct-horse', email: 'alex@example.com' },
    ])
    expect((await configOf(text, { env })).local_users[1]).not.toHaveProperty('password_hash')
    expect(
      (await configOf(text, { env: { ...env, LOCAL_USER: 'sam' } })).local_users.map((user) => user.username),
    ).toEqual(['kim', 'alex', 'sam'])
  })

  it('belong together', async () => {
    expect(await faultsOf('', { env: { LOCAL_USER: 'alex' } })).toEqual([
      'environment LOCAL_USER local_users – is set without LOCAL_PASSWORD: set both or neither',
    ])
    expect(await faultsOf('', { env: { LOCAL_PASSWORD: 'x' } })).toEqual([
      'environment LOCAL_PASSWORD local_users – is set without LOCAL_USER: set both or neither',
    ])
  })

  it('follow the rules for passwords', async () => {
    expect(await faultsOf('', { env: { ...env, LOCAL_PASSWORD: 'short' } })).toEqual([
      'environment LOCAL_PASSWORD local_users[0].password – must be at least 8 characters long',
    ])
    expect(await faultsOf('', { env: { ...env, LOCAL_PASSWORD: 'changeme' } })).toEqual([
      'environment LOCAL_PASSWORD local_users[0].password – is too common: choose another',
    ])
  })

  it('let somebody sign in to a public gateway [H-U12]', async () =>
    expect(await faultsOf('issuer: https://mcp.example.com\n', { env })).toEqual([]))
})

describe('a POSTERN_ variable', () => {
  it.each([
    ['POSTERN_PORT', '9001', { port: 9001 }],
    [
      'POSTERN_CORS__ALLOW_ORIGINS',
      'https://a.example,https://b.example',
      { cors: { allow_origins: ['https://a.example', 'https://b.example'] } },
    ],
    [
      'POSTERN_CORS__ALLOW_ORIGINS',
      '["https://a.example"]',
      { cors: { allow_origins: ['https://a.example'] } },
    ],
    [
      'POSTERN_CORS',
      '{"allow_origins":["https://a.example"]}',
      { cors: { allow_origins: ['https://a.example'], allow_credentials: false } },
    ],
    [
      'POSTERN_MCP_SERVICES__CALCULATOR__URL',
      'http://localhost:1/mcp',
      { mcp_services: { calculator: { url: 'http://localhost:1/mcp' } } },
    ],
    [
      'POSTERN_MCP_SERVICES',
      '{"a-b":{"url":"http://localhost:1/mcp"}}',
      { mcp_services: { 'a-b': { url: 'http://localhost:1/mcp' } } },
    ],
    ['POSTERN_STORAGE__TYPE', 'memory', { storage: { type: 'memory' } }],
    ['POSTERN_PREVIOUS_SECRETS', `${secret},${other}`, { previous_secrets: [secret, other] }],
  ])('%s=%s', async (name, text, wanted) =>
    expect(await configOf('', { env: { [name]: text } })).toMatchObject(wanted),
  )

  it('sets every single key there is', async () => {
    const env = {
      POSTERN_LOCAL_USERS__0__USERNAME: 'alex',
      POSTERN_LOCAL_USERS__0__PASSWORD: 'correct-horse',
      POSTERN_LOCAL_USERS__0__GROUPS: 'a,b',
      POSTERN_LOCAL_USERS__1: '{"username":"kim","password":"correct-donkey"}',
    }
    expect((await configOf('', { env })).local_users).toMatchObject([
      { username: 'alex', groups: ['a', 'b'] },
      { username: 'kim' },
    ])
  })

  it('finds ids as the file writes them', async () => {
    const text =
      'mcp_services:\n  my-service: { url: "http://localhost:1/mcp" }\nclients:\n  My.App: { name: A, redirect_uris: ["https://a.example"] }\n'
    const config = await configOf(text, {
      env: { POSTERN_MCP_SERVICES__MY_SERVICE__TIMEOUT: '5', POSTERN_CLIENTS__MY_APP__NAME: 'B' },
    })
    expect(config.mcp_services).toMatchObject({ 'my-service': { timeout: 5 } })
    expect(config.clients).toMatchObject({ 'My.App': { name: 'B' } })
  })

  it('sets a whole section before a single key in it, whichever comes first', async () => {
    const env = {
      POSTERN_MCP_SERVICES__A__TIMEOUT: '7',
      POSTERN_MCP_SERVICES: '{"a":{"url":"http://localhost:1/mcp"}}',
    }
    expect((await configOf('', { env })).mcp_services['a']).toMatchObject({
      url: 'http://localhost:1/mcp',
      timeout: 7,
    })
  })

  it('that means nothing refuses the start, with the one that was meant', async () => {
    expect(
      await faultsOf('', {
        env: { POSTERN_PROT: '1', POSTERN_CORS__ALLOW_ORIGIN: 'x', POSTERN_XYZZY: '1', POSTERN_STAT: '/x' },
      }),
    ).toEqual([
      'environment POSTERN_CORS__ALLOW_ORIGIN – is not a known setting; did you mean "POSTERN_CORS__ALLOW_ORIGINS"?',
      'environment POSTERN_PROT – is not a known setting; did you mean "POSTERN_PORT"?',
      'environment POSTERN_STAT – is not a known setting; did you mean "POSTERN_STATE"?',
      'environment POSTERN_XYZZY – is not a known setting',
    ])
    expect(
      await faultsOf('', {
        env: {
          POSTERN_STATE: '/x',
          POSTERN_CONFIG: 'x',
          POSTERN_PROCESS: 'x',
          POSTERN_BWRAP: '/x',
          POSTERN_CHROMIUM: '/x',
        },
      }),
    ).toEqual([])
  })

  it('says its own name when it is wrong', async () => {
    expect(
      await faultsOf('', {
        env: {
          POSTERN_LOCAL_USERS__5__USERNAME: 'a',
          POSTERN_CORS: 'x',
          POSTERN_MCP_SERVICES__A__TIMEOUT: '5',
        },
      }),
    ).toEqual([
      'environment POSTERN_CORS cors – must be a JSON object',
      'environment POSTERN_LOCAL_USERS__5__USERNAME local_users[5].username – skips an entry of the list: number entries from 0 without gaps',
      expect.stringMatching(
        /^environment POSTERN_MCP_SERVICES__A__TIMEOUT mcp_services\.a\.url – is missing/,
      ),
    ])
  })
})

describe('a secret from a file', () => {
  it('is read for every secret’s name, and for names that the file mentions', async () => {
    const env = {
      SESSION_SECRET_FILE: '/run/a',
      LOCAL_PASSWORD_FILE: '/run/b',
      POSTERN_OAUTH_PROVIDERS__WORK__CLIENT_SECRET_FILE: '/run/c',
      LOGIN_SECRET_FILE: '/run/d',
      SSL_CERT_FILE: '/etc/e',
      BASH_FILE: '',
      POSTERN_PORT_FILE: '/run/f',
    }
    const text =
      'oauth_providers:\n  google: { client_id: a, client_secret: "${LOGIN_SECRET}" }\n# ${SSL_CERT}\n'
    const wanted = await secretFilesFor({ file: { path: 'config.yaml', text }, env })
    expect(wanted.map(({ variable }) => variable)).toEqual([
      'SESSION_SECRET_FILE',
      'LOCAL_PASSWORD_FILE',
      'POSTERN_OAUTH_PROVIDERS__WORK__CLIENT_SECRET_FILE',
      'LOGIN_SECRET_FILE',
    ])
    expect(
      secretFileVariables({ LOGIN_SECRET: 'set', LOGIN_SECRET_FILE: '/run/d' }, ['LOGIN_SECRET']),
    ).toEqual([])
  })

  it('counts like the variable, without the line end', async () => {
    const loaded = await load('', {
      env: { SESSION_SECRET_FILE: '/run/a' },
      secrets: { SESSION_SECRET_FILE: { text: `${secret}\n` } },
    })
    expect(loaded).toMatchObject({
      ok: true,
      config: { session_secret: secret },
      sources: { session_secret: { from: 'environment', name: 'SESSION_SECRET_FILE' } },
    })
  })

  it('cannot stand beside the variable, cannot be missing, and needs a runtime with files', async () => {
    const env = { SESSION_SECRET_FILE: '/run/secret-path' }
    expect(
      await faultsOf('', {
        env: { ...env, SESSION_SECRET: secret },
        secrets: { SESSION_SECRET_FILE: { text: secret } },
      }),
    ).toEqual([
      'environment SESSION_SECRET_FILE – cannot be combined with SESSION_SECRET: keep one of the two',
    ])
    expect(
      await faultsOf('', { env, secrets: { SESSION_SECRET_FILE: { problem: 'the file does not exist' } } }),
    ).toEqual(['environment SESSION_SECRET_FILE – its file cannot be read: the file does not exist'])
    expect(await faultsOf('', { env })).toEqual([
      'environment SESSION_SECRET_FILE – cannot be used on Workers, which have no files: set the variable without _FILE',
    ])
  })
})
