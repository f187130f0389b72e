// What a deployment to Workers says and does before and beyond what every house does: the public URL, and
// what it lacks.
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { ask } from '../runtimes/ask.ts'
import { startWorkerd, type Workerd, type WorkerdOptions } from '../runtimes/workerd.ts'

const secret = 'q3Vt8Zx1Lw6Bn4Rk9Yp2Hs7Dg5Fj0Cm_eU'
const key = '5f2b8c1d9e7a4063b1c8d2e5f6a790314b8d7c2e9f1a6053d4e8b7c2a1f09563'
const somebody = { LOCAL_USER: 'ana', LOCAL_PASSWORD: 'correct horse battery' }

let workerd: Workerd
const start = async (vars: Record<string, unknown>, more: WorkerdOptions = {}): Promise<string> => {
  workerd = await startWorkerd({ vars, ...more })
  return workerd.origin
}
const logged = (event: string): Record<string, unknown>[] =>
  workerd.lines
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line['event'] === event)
afterEach(() => workerd.close())

describe('the public URL of a Worker', () => {
  it('is never guessed from a request: without MCP_ISSUER a public name answers 503 and why, no challenge and no metadata', async () => {
    const origin = await start({ SESSION_SECRET: secret, ...somebody })
    const host = 'postern.example.workers.dev'
    for (const path of [
      '/',
      '/.well-known/oauth-authorization-server',
      '/.well-known/oauth-protected-resource/demo/mcp',
      '/demo/mcp',
      '/oauth/authorize',
      '/login',
      '/health',
    ]) {
      const told = await ask(origin, path, { host })
      expect([
        path,
        told.status,
        told.headers['www-authenticate'],
        told.headers['retry-after'],
        told.headers['cache-control'],
      ]).toEqual([path, 503, undefined, '60', 'no-store'])
      expect(told.headers['x-request-id']).toMatch(/^[\w-]{16}$/)
      expect(JSON.parse(told.body)).toEqual({
        error: 'temporarily_unavailable',
        error_description: 'This gateway is not configured yet.',
        code: 'gateway.unconfigured',
        request_id: told.headers['x-request-id'],
        faults: [
          `issuer – the public URL is not set. Set the variable MCP_ISSUER in wrangler.jsonc (for this address: "http://${host}"), then deploy again.`,
        ],
      })
    }
    const post = await ask(
      origin,
      '/demo/mcp',
      { host, method: 'POST', 'content-type': 'application/json' },
      '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    )
    expect([post.status, post.headers['www-authenticate']]).toEqual([503, undefined])
    const page = await ask(origin, '/', { host, accept: 'text/html' })
    expect([page.status, page.headers['content-type']]).toEqual([503, 'text/plain; charset=utf-8'])
    expect(page.body).toMatch(
      /^This gateway is not configured yet\.\n\n- issuer – the public URL is not set\. Set the variable MCP_ISSUER/,
    )
    expect(logged('config.fault')).toHaveLength(1)
  })

  it('is localhost with the port that was used, whichever loopback name a developer types first', async () => {
    const origin = await start({ SESSION_SECRET: secret, ...somebody })
    const issuerAt = async (host: string): Promise<unknown> =>
      (
        JSON.parse((await ask(origin, '/.well-known/oauth-authorization-server', { host })).body) as {
          issuer: string
        }
      ).issuer
    const { port } = new URL(origin)
    expect(await issuerAt(`127.0.0.1:${port}`)).toBe(origin)
    expect(await issuerAt('localhost:9999')).toBe('http://localhost:9999')
    expect(await issuerAt(`[::1]:${port}`)).toBe(origin)
    for (let other = 5000; other < 5012; other++)
      expect(await issuerAt(`localhost:${other}`)).toBe(`http://localhost:${other}`)
    expect(await issuerAt(`localhost:${port}`)).toBe(origin)
  })

  it('on localhost puts encoded hosts and hosts of services below localhost, where they lead to this computer', async () => {
    const config = {
      mcp_services: { far: { url: 'https://mcp.example.com/mcp' } },
      base_domain: 'base.example',
    }
    const origin = await start({
      SESSION_SECRET: secret,
      ...somebody,
      DOMAIN_ROOT: 'root.example',
      POSTERN_CONFIG: config,
    })
    const { port } = new URL(origin)
    const host = 'nvrxaltfpbqw24dmmuxgg33n-enc.root.example.localhost'
    expect(JSON.parse((await ask(origin, '/encode?domain=mcp.example.com')).body)).toEqual({
      domain: 'mcp.example.com',
      host,
      url: `http://${host}:${port}/mcp`,
      registered: true,
      services: [{ id: 'far', url: `http://${host}:${port}/mcp`, sse: `http://${host}:${port}/sse` }],
    })
    for (const [name, path] of [
      [host, '/mcp'],
      ['far.base.example.localhost', '/mcp'],
    ] as const) {
      const told = await ask(
        origin,
        path,
        { host: `${name}:${port}`, method: 'POST', 'content-type': 'application/json' },
        '{"jsonrpc":"2.0","id":1,"method":"ping"}',
      )
      expect([told.status, String(told.headers['www-authenticate'])]).toEqual([
        401,
        expect.stringContaining(
          `resource_metadata="http://${name}:${port}/.well-known/oauth-protected-resource${path}"`,
        ),
      ])
    }
  })

  it('when pinned is the only one, and no Host makes another', async () => {
    const origin = await start({ SESSION_SECRET: secret, ...somebody, MCP_ISSUER: 'https://mcp.example.com' })
    const metadata = await ask(origin, '/.well-known/oauth-authorization-server', {
      host: 'mcp.example.com',
      'x-scheme': 'https',
    })
    expect(JSON.parse(metadata.body)).toMatchObject({
      issuer: 'https://mcp.example.com',
      token_endpoint: 'https://mcp.example.com/oauth/token',
    })
    for (const host of ['localhost', '127.0.0.1:8787', 'evil.test', 'mcp.example.com.evil.test']) {
      for (const path of ['/.well-known/oauth-authorization-server', '/demo/mcp', '/login'])
        expect([host, path, (await ask(origin, path, { host })).status]).toEqual([host, path, 421])
    }
  })

  it('is nothing that two Host fields, or one that is no host, could be taken for [H-A6, H-A7]', async () => {
    const origin = await start({ SESSION_SECRET: secret, ...somebody })
    const { port } = new URL(origin)
    const statusOf = (...hosts: readonly string[]): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = connect(Number(port), '127.0.0.1', () =>
          socket.write(
            `GET /health HTTP/1.1\r\n${hosts.map((host) => `Host: ${host}\r\n`).join('')}Connection: close\r\n\r\n`,
          ),
        )
        socket.once('data', (data) => (socket.destroy(), resolve(String(data).slice(9, 12))))
        socket.once('error', reject)
      })
    expect(await statusOf(`localhost:${port}`)).toBe('200')
    for (const hosts of [
      [`localhost:${port}`, 'evil.test'],
      ['localhost, evil.test'],
      ['a b'],
      ['localhost:99999'],
    ])
      expect([hosts, await statusOf(...hosts)]).toEqual([hosts, '400'])
    expect(workerd.lines.filter((line) => line.includes('xception'))).toEqual([])
  })
})

describe('a Worker that lacks something', () => {
  const faultsOf = async (
    vars: Record<string, unknown>,
    more: WorkerdOptions = {},
  ): Promise<readonly string[]> => {
    const told = await ask(await start(vars, more), '/')
    expect([told.status, told.headers['www-authenticate']]).toEqual([503, undefined])
    return (JSON.parse(told.body) as { faults: string[] }).faults
  }

  it('says which secret, which binding, which person, all at once, and logs each once', async () => {
    expect(await faultsOf({}, { objects: false })).toEqual([
      expect.stringMatching(/^STORE – .*wrangler\.jsonc/),
      expect.stringMatching(/^SESSION_OBJECTS – .*wrangler\.jsonc/),
      expect.stringMatching(/^session_secret – .*wrangler secret put SESSION_SECRET/),
      expect.stringMatching(/^local_users – no sign-in method is configured/),
    ])
    await ask(workerd.origin, '/')
    expect(logged('config.fault').map(({ message }) => String(message).slice(0, 5))).toEqual([
      'STORE',
      'SESSI',
      'sessi',
      'local',
    ])
  })

  it('refuses a command when it starts, whichever way it is configured, and never calls it healthy', async () => {
    const program =
      'cannot be used on Workers, which cannot start programs: set `url` to a remote MCP server, or run the gateway on Node'
    const inFile = {
      ...somebody,
      SESSION_SECRET: secret,
      POSTERN_CONFIG: { mcp_services: { files: { command: 'npx', args: ['-y', 'server'] } } },
    }
    expect(await faultsOf(inFile)).toEqual([`POSTERN_CONFIG mcp_services.files.command – ${program}`])
    expect((await ask(workerd.origin, '/health')).status).toBe(503)
    await workerd.close()
    expect(await faultsOf({ ...somebody, SESSION_SECRET: secret, MCP_SERVER_CMD: 'npx -y server' })).toEqual([
      `environment MCP_SERVER_CMD mcp_services.server.command – ${program}`,
    ])
    await workerd.close()
    expect(
      await faultsOf({
        ...somebody,
        SESSION_SECRET: secret,
        POSTERN_CONFIG: { mcp_services: { files: {} } },
      }),
    ).toEqual([expect.stringMatching(/ mcp_services\.files\.url – is missing: set `url`$/)])
  })

  it('refuses what a Worker cannot do for the audit trail', async () => {
    const audit = {
      spill: '/mnt/audit',
      sinks: { archive: { url: 'https://collector.example.com/v1/logs' } },
    }
    const file = { audit, mcp_services: { echo: { url: 'https://mcp.example.com/mcp' } } }
    const variables = { ...somebody, SESSION_SECRET: secret, POSTERN_CONFIG: file }
    expect(await faultsOf(variables)).toEqual([
      expect.stringMatching(/ audit\.sinks – is not available on Workers: remove it; Logpush sends the log/),
      expect.stringMatching(/ audit\.spill – is not available on Workers: remove it; a Worker has no disk/),
    ])
  })

  it('speaks of nothing that a Worker has not: no state directory, no port of its own, no generated key', async () => {
    const weak = 'change-me-change-me-change-me-change-me'
    expect(await faultsOf({ ...somebody, SESSION_SECRET: weak, POSTERN_CONFIG: { debug: true } })).toEqual([
      'environment SESSION_SECRET session_secret – is a sample value from public documentation: set a random value (openssl rand -hex 32 | npx wrangler secret put SESSION_SECRET)',
    ])
    await workerd.close()
    const config = {
      host: '0.0.0.0',
      port: 8080,
      storage: { type: 'memory' },
      trusted_proxies: ['127.0.0.1'],
      admin_commands: true,
      log_level: 'info',
    }
    const origin = await start({
      ...somebody,
      SESSION_SECRET: secret,
      MCP_ISSUER: 'http://localhost:8787',
      POSTERN_CONFIG: config,
    })
    expect((await ask(origin, '/health', { host: 'localhost:8787' })).status).toBe(200)
    expect(
      logged('config.warning').map(({ message }) => String(message).replace(/^POSTERN_CONFIG /, '')),
    ).toEqual([
      'host – has no effect on Workers: Cloudflare accepts the requests',
      'port – has no effect on Workers: Cloudflare accepts the requests',
      'storage – has no effect on Workers: records are kept in Durable Objects',
      'trusted_proxies – has no effect on Workers: Cloudflare provides the client address',
      'admin_commands – has no effect on Workers: a Worker cannot start programs',
    ])
    expect(workerd.lines.join('\n')).not.toMatch(/state directory|postern\.yaml|listens on/)
  })

  it('refuses hashes that Workers cannot verify, with the command that makes one', async () => {
    const argon2 = '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'
    const large = '$scrypt$ln=17,r=8,p=1$MFOUQpLJDXp+cxc4tmeITQ$Wiao42LZ68/cag98W2ggv6FjPRdgHtr4yP0p7JMXMw0'
    const faults = await faultsOf({
      SESSION_SECRET: secret,
      POSTERN_CONFIG: {
        local_users: [
          { username: 'ana', password_hash: argon2 },
          { username: 'bo', password_hash: large },
        ],
      },
    })
    expect(faults).toEqual([
      'local_users[0].password_hash – is an argon2id hash, which Workers cannot verify. Create one with: postern hash-password --scrypt',
      'local_users[1].password_hash – is not a hash that Workers can verify (scrypt, at most 32 MiB). Create one with: postern hash-password --scrypt',
    ])
  })

  it('refuses two root secrets that differ, weak ones, and one secret for two purposes', async () => {
    expect(await faultsOf({ SESSION_SECRET: secret, COOKIE_ENCRYPTION_KEY: key, ...somebody })).toEqual([
      'environment COOKIE_ENCRYPTION_KEY session_secret – differs from SESSION_SECRET, and both set the root secret: keep one of the two',
    ])
    await workerd.close()
    expect(
      await faultsOf({
        SESSION_SECRET: 'change-me-change-me-change-me-change-me',
        TOKEN_ENCRYPTION_KEY: 'short',
        ...somebody,
      }),
    ).toEqual([
      expect.stringContaining('SESSION_SECRET session_secret – is a sample value from public documentation'),
      expect.stringContaining('TOKEN_ENCRYPTION_KEY token_encryption_key – is shorter than 32'),
    ])
    await workerd.close()
    expect(await faultsOf({ SESSION_SECRET: key, TOKEN_ENCRYPTION_KEY: key, ...somebody })).toEqual([
      expect.stringContaining(
        'has the same value as session_secret: use a different secret for each purpose',
      ),
    ])
  })

  it('tells strangers what is to be set up, and what is wrong inside to its operator’s log alone', async () => {
    const origin = await start({
      SESSION_SECRET: secret,
      MCP_ISSUER: 'https://mcp.example.com',
      LOCAL_USER: 'ana',
      LOCAL_PASSWORD: 'changeme',
      POSTERN_CONFIG: 'local_user: []\n',
    })
    const told = await ask(origin, '/', { host: 'mcp.example.com' })
    expect(JSON.parse(told.body)).toMatchObject({ faults: [expect.stringContaining('log of this Worker')] })
    expect(told.body).not.toMatch(/local_user|ana|tries/)
    expect(logged('config.fault').map(({ message }) => message)).toEqual([
      expect.stringContaining(
        'POSTERN_CONFIG:1:1 local_user – is not a known setting; did you mean "local_users"?',
      ),
      expect.stringContaining('LOCAL_PASSWORD local_users[0].password'),
    ])
  })

  it('starts once what failed passes, for a failure is kept by nobody', async () => {
    const origin = await start({ SESSION_SECRET: secret, ...somebody }, { entry: 'test/workers/failing.ts' })
    const first = await ask(origin, '/health')
    expect([first.status, JSON.parse(first.body)]).toEqual([
      503,
      {
        error: 'temporarily_unavailable',
        error_description: expect.stringMatching(/\w/),
        code: 'gateway.not-started',
        request_id: first.headers['x-request-id'],
      },
    ])
    expect(first.headers).toMatchObject({ 'retry-after': '5', 'cache-control': 'no-store' })
    expect(first.body).not.toContain('binding is away')
    expect((await ask(origin, '/health')).status).toBe(503)
    expect((await ask(origin, '/health')).status).toBe(200)
    expect(logged('start.failed')).toHaveLength(2)
    expect(logged('start.failed')[0]?.['why']).toContain('binding is away')
  })
})
