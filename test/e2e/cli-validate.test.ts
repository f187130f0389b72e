// `postern validate`: what a file cannot mean is told at once; with --connect everything that it names is
// asked for, one line a check.
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { startProcess } from '../runtimes/process.ts'
import { until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { hostileProvider, openIdProvider, providerConfig } from '../providers/openid-provider.ts'
import type { RunningProvider } from '../providers/process.ts'
import { type Place, createPlace, errorOf, postern, posternOnTerminal } from './cli-process.ts'

let place: Place
beforeEach(() => {
  place = createPlace()
})
afterEach(() => place.remove())

const server = fileURLToPath(new URL('../stdio/server-process.mjs', import.meta.url))
const json = (config: object): string => place.write('postern.json', JSON.stringify(config))
const service = (keys: object): string => json({ mcp_services: { it: keys } })

/** A port at which nobody listens. */
const deadPort = (): Promise<number> =>
  new Promise((resolve) => {
    const socket = createServer().listen(0, '127.0.0.1', () => {
      const { port } = socket.address() as { port: number }
      socket.close(() => resolve(port))
    })
  })

const faults = async (
  args: readonly string[] = ['validate', '-c', 'postern.json'],
): Promise<readonly string[]> => {
  const ran = await postern(place, args, { env: { PATH: '/usr/bin:/bin' } })
  return ran.code === 0
    ? []
    : ((errorOf(ran)['faults'] as readonly { key: string; message: string }[] | undefined) ?? []).map(
        ({ key, message }) => `${key} – ${message}`,
      )
}

describe('a command that cannot be started', () => {
  it('is a fault: no such program, no such path, no such folder, not executable', async () => {
    service({ command: 'no-such-program' })
    expect(await faults()).toEqual([
      'mcp_services.it.command – no-such-program is not in PATH (ENOENT); PATH is /usr/bin:/bin',
    ])
    service({ command: '/no/such/program', args: ['x'] })
    expect(await faults()).toEqual(['mcp_services.it.command – /no/such/program does not exist (ENOENT)'])
    const plain = place.write('plain', 'x', 0o644)
    service({ command: plain, cwd: '~/nowhere' })
    expect(await faults()).toEqual([
      expect.stringMatching(
        /^mcp_services\.it\.cwd – folder .*~\/nowhere does not exist; ~ is not expanded$/,
      ),
      `mcp_services.it.command – ${plain} is not executable by this user (EACCES): run chmod +x on it, or set its interpreter as \`command\``,
    ])
    service({ command: 'env', cwd: place.path })
    expect(await faults()).toEqual([])
  })

  it.each(['env some-server --key s3cret', '/usr/bin/env "a b"', 'no-such-program --flag'])(
    'is a whole command line: %s',
    async (command) => {
      service({ command })
      const sentence = `mcp_services.it.command – contains a whole command line, but no shell is used: set \`command: ${command.split(' ')[0]}\` and list the other words in \`args\``
      expect(await faults()).toEqual([sentence])
    },
  )

  it('keeps nobody from the other services: the start warns of it', async () => {
    service({ command: 'env some-server --key s3cret' })
    const gateway = await startProcess({ stateDir: place.path, flags: ['-c', 'postern.json'] })
    onTestFinished(() => gateway.end().then(() => undefined))
    expect((await gateway.fetch(`${gateway.origin}/healthz`)).status).toBe(200)
    await until(() => gateway.lines.some((line) => line.includes('config.warning')), 'the warning')
    const told = gateway.lines.map((line) => JSON.parse(line) as { event: string; message?: string })
    expect(told.find(({ event }) => event === 'config.warning')?.message).toMatch(
      /mcp_services\.it\.command – contains a whole command line, but no shell is used: set `command: env` and list the other words in `args`$/,
    )
  })

  it('may have a space in its path', async () => {
    const program = place.write('my tools/run server', '#!/bin/sh\n', 0o700)
    service({ command: program })
    expect(await faults()).toEqual([])
    service({ command: 'C:\\Program Files\\nodejs\\npx.cmd', args: ['-y', 'x'] })
    expect(await faults()).toEqual([
      'mcp_services.it.command – C:\\Program Files\\nodejs\\npx.cmd does not exist (ENOENT)',
    ])
  })

  it('ends wrap at once', async () => {
    expect(await faults(['wrap', '--port', '0', '--', 'no-such-program', 'x'])).toEqual([
      'mcp_services.no-such-program.command – no-such-program is not in PATH (ENOENT); PATH is /usr/bin:/bin',
    ])
    expect(errorOf(await postern(place, ['wrap', '--', 'npx -y some-server']))).toEqual({
      code: 'usage',
      message: 'The whole command is in one pair of quotes. Remove them: postern wrap -- npx -y some-server.',
    })
  })
})

describe('validate --connect', () => {
  let idp: RunningProvider
  let lies: RunningProvider
  let upstream: Upstream
  let guarded: Upstream
  beforeAll(async () => {
    ;[idp, lies, upstream, guarded] = await Promise.all([
      openIdProvider(),
      hostileProvider(),
      openUpstream((request, response, body) => {
        const { id, method } = JSON.parse(body || '{}') as { id?: number; method?: string }
        const result =
          method === 'initialize'
            ? { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'far', version: '7' } }
            : { tools: [{ name: 'a' }, { name: 'b' }] }
        response
          .writeHead(request.method === 'DELETE' ? 200 : id === undefined ? 202 : 200, {
            'content-type': 'application/json',
          })
          .end(JSON.stringify({ jsonrpc: '2.0', id, result }))
      }),
      openUpstream((request, response) =>
        response.writeHead(request.headers.authorization === 'Bearer right' ? 404 : 401).end(),
      ),
    ])
  }, 60_000)
  afterAll(() => Promise.all([idp.close(), lies.close(), upstream.close(), guarded.close()]))

  it('looks whether providers without metadata answer, and asks nothing of a mock', async () => {
    const free = await deadPort()
    const client = { client_id: 'a', client_secret: 'of-the-client' }
    const github = (base: string, secret: string) => ({
      type: 'github',
      ...client,
      client_secret: secret,
      base_url: base,
    })
    json({
      oauth_providers: {
        github: github(lies.url, 'one'),
        gone: github(`http://127.0.0.1:${free}`, 'two'),
        forum: {
          ...client,
          authorization_url: `${lies.url}/authorize`,
          token_url: `${lies.url}/token`,
          userinfo_url: `${lies.url}/me`,
        },
        dev: { type: 'mock' },
      },
    })
    const { code, screen } = await posternOnTerminal(place, ['validate', '--connect', '-c', 'postern.json'], {
      env: { NO_COLOR: '1' },
    })
    expect(
      screen
        .trim()
        .split('\n')
        .filter((line) => /^[✓✗]/.test(line)),
    ).toEqual([
      `✓ oauth_providers.github – ${lies.url} answers.`,
      `✗ oauth_providers.gone – http://127.0.0.1:${free} cannot be used for sign-in: http://127.0.0.1:${free}: connect ECONNREFUSED 127.0.0.1:${free}.`,
      `✓ oauth_providers.forum – ${lies.url} answers.`,
    ])
    expect(code).toBe(1)
  }, 60_000)

  it('asks for everything, one line a check, and ends with 0', async () => {
    json({
      oauth_providers: { company: providerConfig(idp) },
      mcp_services: {
        far: { url: upstream.url },
        near: { command: process.execPath, args: [server], sandbox: 'none' },
      },
    })
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('postern-validate-'))
    const { code, screen } = await posternOnTerminal(place, ['validate', '--connect', '-c', 'postern.json'], {
      env: { NO_COLOR: '1' },
    })
    const [valid, ...checks] = screen.trim().split('\n')
    expect(valid).toMatch(/^Valid: postern\.json \(2 services, 1 identity provider, 0 local users\)$/)
    expect(checks).toEqual([
      expect.stringMatching(
        new RegExp(`^✓ oauth_providers\\.company – ${idp.url} publishes metadata and \\d keys?\\.`),
      ),
      `✓ mcp_services.far.url – ${upstream.url}: Speaks MCP 2025-11-25: far 7. 2 tools found: a, b.`,
      expect.stringMatching(/^✓ mcp_services\.near\.command – Speaks MCP 2025-11-25: .*tools found/),
    ])
    expect(code).toBe(0)
    // Nothing is left behind, here or in the state directory.
    expect(
      readdirSync(tmpdir()).filter((name) => name.startsWith('postern-validate-') && !before.includes(name)),
    ).toEqual([])
    expect(readdirSync(place.home)).not.toContain('.local')
  }, 60_000)

  it('says what each failure is, and ends with 1', async () => {
    const port = await deadPort()
    const nowhere = `http://127.0.0.1:${port}`
    json({
      oauth_providers: {
        gone: { issuer: nowhere, client_id: 'a' },
        other: { ...providerConfig(lies), issuer: `${lies.url}/discovery-other-issuer` },
      },
      mcp_services: {
        gone: { url: `${nowhere}/mcp` },
        key: { url: guarded.url, upstream_auth: { type: 'static', token: 'wrong' } },
        own: { url: upstream.url, upstream_auth: { type: 'oauth', issuer: nowhere } },
        ends: {
          command: process.execPath,
          args: ['-e', 'console.error("no licence"); process.exit(3)'],
          sandbox: 'none',
        },
        echo: { command: 'cat', sandbox: 'none', start_timeout: 2000 },
      },
      clients: {
        app: {
          name: 'App',
          redirect_uris: ['https://app.example/cb'],
          token_endpoint_auth_method: 'private_key_jwt',
          jwks_uri: `https://127.0.0.1:${port}/keys`,
        },
      },
    })
    const { code, out } = await postern(place, ['validate', '--connect', '--json', '-c', 'postern.json'])
    const { ok, checks } = JSON.parse(out) as {
      ok: boolean
      checks: readonly { key: string; ok: boolean; say: string }[]
    }
    expect([code, ok]).toEqual([1, false])
    expect(checks.map((check) => `${check.ok ? '✓' : '✗'} ${check.key} – ${check.say}`)).toEqual([
      `✗ oauth_providers.gone.issuer – ${nowhere} cannot be used for sign-in: ${nowhere}: connect ECONNREFUSED 127.0.0.1:${port}.`,
      expect.stringMatching(
        new RegExp(
          `^✗ oauth_providers\\.other\\.issuer – ${lies.url}/discovery-other-issuer cannot be used for sign-in: .*issuer`,
        ),
      ),
      `✗ mcp_services.gone.url – ${nowhere}/mcp: The server is unreachable or did not respond in time. (${nowhere}: connect ECONNREFUSED 127.0.0.1:${port})`,
      `✗ mcp_services.key.url – ${guarded.url}: The server rejects the token or headers in \`upstream_auth\`.`,
      `✓ mcp_services.own.url – ${upstream.url}: Speaks MCP 2025-11-25: far 7. 2 tools found: a, b.`,
      `✗ mcp_services.own.upstream_auth.issuer – ${nowhere} publishes no metadata: ${nowhere}: connect ECONNREFUSED 127.0.0.1:${port}.`,
      expect.stringMatching(/^✗ mcp_services\.ends\.command – .*exited with code 3.*no licence/),
      expect.stringMatching(/^✗ mcp_services\.echo\.command – /),
      `✗ clients.app.jwks_uri – https://127.0.0.1:${port}/keys cannot be used: https://127.0.0.1:${port}: connect ECONNREFUSED 127.0.0.1:${port}.`,
    ])
  }, 60_000)

  it('says that there is nothing to ask for', async () => {
    expect((await postern(place, ['validate', '--connect'])).out).toBe(
      'Valid: no configuration file; using defaults and environment variables (0 services, 0 identity providers, 0 local users)\nNothing to check: no identity provider, MCP server or jwks_uri is configured.\n',
    )
  })
})
