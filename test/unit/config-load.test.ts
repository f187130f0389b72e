// What a configuration becomes: printed configurations, types, precedence, origins.
import { describe, expect, it } from 'vitest'
import { originText } from '../../src/config/tree.ts'
import * as printed from '../data/printed-configurations.ts'
import { configOf, faultsOf, load, warningsOf } from './config-world.ts'

const google = {
  GOOGLE_CLIENT_ID: 'your-google-client-id',
  GOOGLE_CLIENT_SECRET: 'your-google-client-secret',
}

describe('a configuration as the document prints it', () => {
  it('loads byte for byte, with the provider known by its name', async () => {
    const config = await configOf(printed.quickStart, { env: google })
    expect(config).toMatchObject({
      host: 'localhost',
      port: 8080,
      issuer: 'http://localhost:8080',
      debug: true,
    })
    expect(config.oauth_providers['google']).toMatchObject({
      issuer: 'https://accounts.google.com',
      name: 'Google',
      client_id: 'your-google-client-id',
      client_secret: 'your-google-client-secret',
    })
    expect(config.mcp_services['calculator']).toMatchObject({
      name: 'Calculator Service',
      url: 'http://localhost:3001',
      oauth_provider: 'google',
      auth_required: true,
      scopes: ['read', 'calculate'],
      timeout: 300_000,
    })
  })

  it('does not use its sample secret, and says so [H-U1]', async () => {
    expect(await configOf(printed.quickStart, { env: google })).not.toHaveProperty('session_secret')
    expect(await warningsOf(printed.quickStart, { env: google })).toEqual([
      'config.yaml:5:17 session_secret – is a sample value from public documentation; it is ignored because of debug: true on localhost, and a generated key is used instead',
    ])
  })

  it('names every variable that is missing, at its line', async () => {
    expect(await faultsOf(printed.quickStart)).toEqual([
      expect.stringMatching(
        /^config\.yaml:11:16 oauth_providers\.google\.client_id – environment variable GOOGLE_CLIENT_ID is not set/,
      ),
      expect.stringMatching(
        /^config\.yaml:12:20 oauth_providers\.google\.client_secret – environment variable GOOGLE_CLIENT_SECRET is not set/,
      ),
    ])
  })

  it('loads with the services and the provider of the reference part', async () => {
    const config = await configOf(`${printed.oauthProvider}\n${printed.services}`, { env: google })
    expect(Object.keys(config.mcp_services)).toEqual(['calculator', 'weather'])
    expect(config.mcp_services['calculator']).toMatchObject({
      url: 'http://calculator:3001',
      timeout: 30_000,
    })
  })

  it('loads with CORS for production, and with storage in memory', async () => {
    expect((await configOf(printed.corsForProduction)).cors).toMatchObject({
      allow_origins: ['https://myapp.example.com', 'https://dashboard.example.com'],
      allow_credentials: true,
    })
    expect((await configOf(printed.memoryStorage)).storage).toEqual({ type: 'memory' })
  })

  it('is refused where it would let every website act for a signed-in person', async () => {
    expect(await faultsOf(printed.corsForDevelopment)).toEqual([
      'config.yaml:2:19 cors.allow_origins[0] – "*" with allow_credentials: true would let any website act as the signed-in user: list the origins, or set allow_credentials: false',
    ])
  })

  it('is refused with its sample secret in public, and with nobody to sign in [H-U1, H-U12]', async () => {
    expect(await faultsOf(printed.gatewaySettings)).toEqual([
      'config.yaml:3:9 issuer – is public, but no sign-in method is configured: add oauth_providers or local_users (the built-in user exists on localhost only)',
      expect.stringMatching(/^config\.yaml:4:17 session_secret – is shorter than 32 characters/),
    ])
  })

  it('keeps its records in Redis', async () => {
    expect((await configOf(printed.redisStorage, { env: { REDIS_PASSWORD: 'x' } })).storage).toEqual({
      type: 'redis',
      redis: {
        host: 'localhost',
        port: 6379,
        password: 'x',
        ssl: true,
        ssl_cert_reqs: 'required',
        max_connections: 20,
        prefix: 'postern:',
      },
    })
  })

  it('keeps its records in Vault', async () => {
    const env = { VAULT_URL: 'http://localhost:8200', VAULT_TOKEN: 'x' }
    expect((await configOf(printed.vaultStorage, { env })).storage).toEqual({
      type: 'vault',
      vault: {
        url: 'http://localhost:8200',
        urls: [],
        token: 'x',
        mount_point: 'secret',
        path_prefix: 'mcp-gateway',
        auth_method: 'token',
        secret_id_wrapped: false,
        jwt_path: '/var/run/secrets/kubernetes.io/serviceaccount/token',
        verify_ssl: true,
      },
    })
  })
})

describe('a configuration', () => {
  it('may be absent, empty, or nothing but comments', async () => {
    const standard = await configOf('')
    expect(standard).toMatchObject({
      host: 'localhost',
      port: 8080,
      access_token_lifetime: 3600,
      refresh_token_lifetime: 2_592_000,
      code_lifetime: 300,
      session_timeout: 3600,
      client_lifetime: 7_776_000,
      refresh_grace: 60,
    })
    expect(await configOf('# nothing but ${UNSET}\n')).toEqual(standard)
    expect(await configOf('---\n')).toEqual(standard)
  })

  it('may be JSON', async () => {
    expect(
      await configOf('{\n\t"port": 9000,\n\t"mcp_services": { "a": { "url": "http://localhost:1/mcp" } }\n}'),
    ).toMatchObject({ port: 9000 })
  })

  it('may leave a section empty', async () =>
    expect(await configOf('cors:\n  # allow_origins: []\nmcp_services:\nlocal_users:\n')).toEqual(
      await configOf(''),
    ))

  it('reads variables as the type of their key', async () => {
    const text =
      'port: ${PORT_NUMBER}\ndebug: "${DEBUG_FLAG}"\ncors:\n  allow_origins: ${ORIGINS}\nmcp_services:\n  a: { url: "http://localhost:${PORT_NUMBER}0/mcp" }\n'
    const config = await configOf(text, {
      env: { PORT_NUMBER: '900', DEBUG_FLAG: 'true', ORIGINS: 'https://a.example, https://b.example' },
    })
    expect(config).toMatchObject({
      port: 900,
      debug: true,
      cors: { allow_origins: ['https://a.example', 'https://b.example'] },
      mcp_services: { a: { url: 'http://localhost:9000/mcp' } },
    })
  })

  it('takes a default in a variable, and a number in it', async () =>
    expect(await configOf('port: ${PORT_NUMBER:-8081}\n')).toMatchObject({ port: 8081 }))

  it('keeps text text, even when a variable looks like a number or a key', async () => {
    const config = await configOf(
      'mcp_services:\n  a: { url: "http://localhost:1/mcp", name: "${NAME}" }\n',
      { env: { NAME: '42\nport: 1' } },
    )
    expect(config.mcp_services['a']?.name).toBe('42\nport: 1')
    expect(config.port).toBe(8080)
  })

  it('leaves the person’s properties in identity headers, and fills variables beside them', async () => {
    const config = await configOf(
      'mcp_services:\n  a:\n    url: http://localhost:1/mcp\n    identity:\n      headers: { X-Who: "${provider}_${id}", X-Team: "${TEAM}" }\n',
      { env: { TEAM: 'blue', id: 'wrong' } },
    )
    expect(config.mcp_services['a']?.identity.headers).toEqual({
      'X-Who': '${provider}_${id}',
      'X-Team': 'blue',
    })
  })

  it('understands anchors, aliases and merge keys', async () => {
    const config = await configOf(
      'mcp_services:\n  a: &base\n    url: http://localhost:1/mcp\n    scopes: &scopes [read]\n    timeout: 5\n  b:\n    <<: *base\n    url: http://localhost:2/mcp\n  c: { url: "http://localhost:3/mcp", scopes: *scopes }\n',
    )
    expect(config.mcp_services).toMatchObject({
      b: { url: 'http://localhost:2/mcp', scopes: ['read'], timeout: 5 },
      c: { scopes: ['read'] },
    })
  })

  it('drops the trailing slash of the public URL, and says so [H-U2]', async () => {
    const text = 'issuer: "http://localhost:8080/"\n'
    expect((await configOf(text)).issuer).toBe('http://localhost:8080')
    expect(await warningsOf(text)).toEqual([
      'config.yaml:1:9 issuer – has a trailing slash, which is ignored: write "http://localhost:8080"',
    ])
  })

  it('takes seed lifetimes: an access token of a day', async () =>
    expect(await configOf('', { env: { ACCESS_TOKEN_LIFETIME: '86400' } })).toMatchObject({
      access_token_lifetime: 86_400,
    }))

  it('accepts several providers at once', async () => {
    const text =
      'oauth_providers:\n  google: { client_id: a, client_secret: b }\n  work: { issuer: "https://login.example.com", client_id: c }\n'
    expect(Object.keys((await configOf(text)).oauth_providers)).toEqual(['google', 'work'])
  })
})

describe('of several places that set a key', () => {
  const text = 'port: 1001\nhost: localhost\n'

  it('the flag wins over the environment, that over the file, that over the default', async () => {
    expect((await configOf('')).port).toBe(8080)
    expect((await configOf(text)).port).toBe(1001)
    expect((await configOf(text, { env: { MCP_GATEWAY_PORT: '1002' } })).port).toBe(1002)
    expect((await configOf(text, { env: { MCP_GATEWAY_PORT: '1002' }, flags: { port: '1003' } })).port).toBe(
      1003,
    )
  })

  it('it is known which one it was, with the line', async () => {
    const loaded = await load(`${text}debug: \${D:-true}\n`, {
      env: { LOG_LEVEL: 'warn' },
      flags: { port: '1003' },
    })
    const sources = loaded.ok
      ? Object.fromEntries(Object.entries(loaded.sources).map(([key, origin]) => [key, originText(origin)]))
      : {}
    expect(sources).toMatchObject({
      port: 'flag --port',
      log_level: 'environment LOG_LEVEL',
      host: 'config.yaml:2:7',
      debug: 'config.yaml:3:8',
      'cors.allow_origins': 'default',
      mcp_services: 'default',
    })
  })

  it('a fault in the file stays a fault, even where something else wins', async () => {
    expect(await faultsOf('port: ${UNSET_PORT}\n', { flags: { port: '1' } })).toHaveLength(1)
  })
})
