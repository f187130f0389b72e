// Files of MCP clients as they lie on people's disks: every shape is taken, or one sentence says what cannot
// be.
import { describe, expect, it } from 'vitest'
import type { Environment } from '../../src/config/environment-names.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'
import { faultText } from '../../src/config/tree.ts'

const read = (file: unknown, env: Environment = {}, path = 'mcp.json') =>
  loadConfig({
    file: { path, text: typeof file === 'string' ? file : JSON.stringify(file, undefined, 2) },
    env,
  })
const faults = async (...args: Parameters<typeof read>): Promise<readonly string[]> => {
  const loaded = await read(...args)
  return loaded.ok ? [] : loaded.faults.map(faultText)
}
const taken = async (
  ...args: Parameters<typeof read>
): Promise<{ readonly services: Config['mcp_services']; readonly warnings: readonly string[] }> => {
  const loaded = await read(...args)
  if (!loaded.ok) throw new Error(loaded.faults.map(faultText).join('\n'))
  return { services: loaded.config.mcp_services, warnings: loaded.warnings.map(faultText) }
}
const one = (entry: object) => ({ mcpServers: { it: entry } })
const npx = { command: 'npx', args: ['-y', 'x'] }

describe('JSON with comments', () => {
  it('and trailing commas is read as what it is, by name or by its look, with lines and columns', async () => {
    const text =
      '\uFEFF// mine\n{\n  /* servers */\n\t"mcpServers": {\n    "it": { "command": "node", "args": ["http://x//y", "/* no */"], }, // one\n  },\n}\n'
    for (const path of ['mcp.json', 'settings.jsonc', 'POSTERN_CONFIG', 'config.yaml'])
      expect((await taken(text, {}, path)).services['it']).toMatchObject({
        command: 'node',
        args: ['http://x//y', '/* no */'],
      })
    expect(await faults('{\n  // port\n  "port": "${A}",\n}')).toEqual([
      'mcp.json:3:11 port – environment variable A is not set: set it, or write ${A:-default}',
    ])
  })

  it.each([
    ['{\n  "port": 1\n  "host": "localhost"\n}', 'mcp.json:3:3 – a comma is missing before this'],
    ['{\n  "port": 1,\n', 'mcp.json:3:1 – the file ends too early: a closing } or ] is missing'],
    [
      '{ "mcpServers": { "it": { "command": "C:\\Users\\x" } } }',
      'mcp.json:1:38 – this escape sequence is not valid; write \\\\ for a backslash, as in "C:\\\\Users"',
    ],
    ["{ 'port': 1 }", 'mcp.json:1:3 – this is not valid JSON: put text in double quotes'],
    ['{ "port": 1 } }', 'mcp.json:1:15 – unexpected text after the end of the object; use a single object'],
    ['{ "port": 1 /* x', 'mcp.json:1:13 – a comment is not closed: */ is missing'],
    [
      '{ "a": "x\n", "port": 1 }',
      'mcp.json:1:8 – a string is not closed: a double quote is missing at the end of the line',
    ],
    ['[1]', 'mcp.json:1:1 – the file must be a mapping, e.g. port: 8080'],
    ['{ "port": 1, "port": 2 }', 'mcp.json:1:14 port – is set twice; the first is on line 1'],
  ])('that is wrong is told once, in words of JSON: %j', async (text, fault) =>
    expect(await faults(text)).toEqual([fault]),
  )

  it('leaves YAML that begins with a brace alone', async () => {
    expect(await faults('{ port: 8080, log_level: debug } # yes\n', {}, 'config.yaml')).toEqual([])
    expect(await faults('{ port: 8080 } # yes\n', {}, 'POSTERN_CONFIG')).toEqual([])
    expect(await faults('{ "port": 8080 "host": "x" }\n', {}, 'POSTERN_CONFIG')).toEqual([
      'POSTERN_CONFIG:1:16 – a comma is missing before this',
    ])
  })

  it('that never ends, or refers to nothing, is refused', async () => {
    for (const text of [`${'{"a":'.repeat(60_000)}1`, '['.repeat(100_000), '{"__proto__": {"x": 1}}'])
      expect(await faults(text)).toHaveLength(1)
    expect(Object.prototype).not.toHaveProperty('x')
  })
})

describe('a file of', () => {
  it('Claude Desktop is taken whole, and says once what is not read', async () => {
    const { services, warnings } = await taken({
      globalShortcut: '',
      theme: 'dark',
      preferences: { a: 1 },
      scale: 0,
      mcpServers: { it: npx },
    })
    expect(services['it']).toMatchObject(npx)
    expect(warnings).toEqual([
      'mcp.json:2:3 – settings of an MCP client are ignored: globalShortcut, theme, preferences, scale',
    ])
  })

  it('Gemini: httpUrl, url, timeouts and approvals', async () => {
    const { services, warnings } = await taken({
      security: { auth: {} },
      ui: {},
      mcpServers: {
        far: { httpUrl: 'http://127.0.0.1:9/mcp', timeout: 300_000, trust: true, headers: { 'X-Key': 'k' } },
        stream: { url: 'http://127.0.0.1:9/sse', authProviderType: 'dynamic_discovery', includeTools: ['a'] },
      },
    })
    expect(services).toMatchObject({
      far: {
        url: 'http://127.0.0.1:9/mcp',
        transport: 'streamable',
        timeout: 300_000,
        upstream_auth: { type: 'static', headers: { 'X-Key': 'k' } },
      },
      stream: { url: 'http://127.0.0.1:9/sse', transport: 'auto' },
    })
    expect(warnings.map((line) => line.replace(/^\S+ /, ''))).toEqual([
      '– settings of an MCP client are ignored: security, ui',
      'mcpServers.stream.includeTools – has no effect here: the gateway offers all tools of this server',
    ])
  })

  it('VS Code: servers with inputs, which the environment answers', async () => {
    const file = {
      inputs: [{ id: 'perplexity-key', type: 'promptString', password: true }],
      servers: {
        it: {
          type: 'stdio',
          ...npx,
          env: { API_KEY: '${input:perplexity-key}', HOME_DIR: '${userHome}${/}x' },
        },
        far: {
          type: 'http',
          url: 'https://far.example/mcp',
          headers: { Authorization: 'Bearer ${input:perplexity-key}' },
        },
      },
    }
    const { services, warnings } = await taken(file, { PERPLEXITY_KEY: 'k', HOME: '/home/alex' })
    expect(services).toMatchObject({
      it: { ...npx, env: { API_KEY: 'k', HOME_DIR: '/home/alex/x' } },
      far: {
        url: 'https://far.example/mcp',
        transport: 'streamable',
        upstream_auth: { type: 'static', headers: { Authorization: 'Bearer k' } },
      },
    })
    expect(warnings).toEqual([])
    expect(await faults(file, { HOME: '/home/alex' })).toEqual(
      ['mcp.json:18:20 servers.it.env.API_KEY', 'mcp.json:26:26 servers.far.headers.Authorization'].map(
        (at) =>
          `${at} – contains \${input:perplexity-key}, which only VS Code can ask for: set the environment variable PERPLEXITY_KEY instead`,
      ),
    )
    expect(
      (await taken({ 'editor.fontSize': 14, mcp: { servers: { it: npx }, inputs: [] } })).services['it'],
    ).toMatchObject(npx)
  })

  it('VS Code that only the editor can fill in is told with its key', async () => {
    expect(await faults({ servers: { it: { ...npx, cwd: '${workspaceFolder}/x' } } })).toEqual([
      'mcp.json:9:14 servers.it.cwd – contains ${workspaceFolder}, which only an editor can fill in: write the value itself',
    ])
    expect(await faults({ servers: { it: { ...npx, envFile: '/x/.env' } } })).toEqual([
      'mcp.json:9:7 servers.it.envFile – is not supported: list the variables under env, or start the gateway with --env-file and write ${NAME}',
    ])
  })

  it('Windsurf, Cline, Roo and Copilot', async () => {
    const { services } = await taken({
      mcpServers: {
        windsurf: { serverUrl: 'https://w.example/sse', disabled: false },
        cline: { ...npx, disabled: false, autoApprove: ['a'], timeout: 60, transportType: 'stdio' },
        roo: {
          type: 'streamable-http',
          url: 'https://r.example/mcp',
          alwaysAllow: [],
          disabledTools: [],
          watchPaths: ['a'],
        },
        copilot: { type: 'local', ...npx, tools: ['*'] },
        off: { command: 'x', disabled: true },
      },
    })
    expect(services).toMatchObject({
      windsurf: { url: 'https://w.example/sse' },
      cline: npx,
      roo: { url: 'https://r.example/mcp', transport: 'streamable' },
      copilot: npx,
    })
    expect(Object.keys(services)).toEqual(['windsurf', 'cline', 'roo', 'copilot'])
  })

  it('LibreChat, in YAML, without what it fills in for each person', async () => {
    const text =
      'version: 1.2.1\ncache: true\nmcpServers:\n  it:\n    type: streamable-http\n    url: http://127.0.0.1:9/mcp\n    headers: { X-User-ID: "{{LIBRECHAT_USER_ID}}", X-Key: 1.10 }\n    timeout: 60000\n    serverInstructions: true\n'
    const { services, warnings } = await taken(text, {}, 'librechat.yaml')
    expect(services['it']).toMatchObject({
      url: 'http://127.0.0.1:9/mcp',
      upstream_auth: { type: 'static', headers: { 'X-Key': '1.10' } },
    })
    expect(services['it']?.upstream_auth.headers).not.toHaveProperty('X-User-ID')
    expect(warnings).toEqual([
      'librechat.yaml:1:1 – settings of an MCP client are ignored: version, cache',
      'librechat.yaml:7:27 mcpServers.it.headers.X-User-ID – is ignored: only the client can fill in {{…}}. To tell the server who is calling, use identity.headers',
    ])
  })

  it('opencode: a command as one list, environment, enabled, {env:…}', async () => {
    const file = {
      $schema: 'https://opencode.ai/config.json',
      theme: 'x',
      share: 'manual',
      mcp: {
        it: {
          type: 'local',
          command: ['npx', '-y', 'x', 8080],
          enabled: true,
          environment: { A: '{env:KEY}/b' },
        },
        far: { type: 'remote', url: 'https://far.example/mcp', headers: { 'X-Key': '{env:KEY}' } },
        off: { type: 'local', command: ['x'], enabled: false },
      },
    }
    const { services } = await taken(file, { KEY: 'k' })
    expect(services).toMatchObject({
      it: { command: 'npx', args: ['-y', 'x', '8080'], env: { A: 'k/b' } },
      far: { url: 'https://far.example/mcp', upstream_auth: { headers: { 'X-Key': 'k' } } },
    })
    expect(Object.keys(services)).toEqual(['it', 'far'])
    expect(await faults(file)).toEqual([
      expect.stringMatching(/mcp\.it\.environment\.A – environment variable KEY is not set$/),
      expect.stringMatching(/mcp\.far\.headers\.X-Key – environment variable KEY is not set$/),
    ])
  })

  it('Zed: both of its forms, and not what its extensions start', async () => {
    const { services } = await taken({
      vim_mode: true,
      context_servers: {
        old: { command: { path: 'npx', args: ['-y', 'x'], env: { A: 'b' } } },
        now: { source: 'custom', ...npx },
        far: { url: 'https://far.example/mcp' },
      },
    })
    expect(services).toMatchObject({
      old: { ...npx, env: { A: 'b' } },
      now: npx,
      far: { url: 'https://far.example/mcp' },
    })
    expect(await faults({ context_servers: { it: { source: 'extension', settings: {} } } })).toEqual([
      'mcp.json:4:7 context_servers.it.source – describes a server that a Zed extension starts: set its `command` instead',
    ])
  })

  it('Continue: a list of named servers', async () => {
    expect(
      (
        await taken(
          'mcpServers:\n  - name: My Server\n    command: npx\n    args: [-y, x]\n',
          {},
          'config.yaml',
        )
      ).services,
    ).toMatchObject({ 'my-server': { name: 'My Server', ...npx } })
  })

  it('Codex is TOML, which is said', async () => {
    expect(await faults('model = "x"\n[mcp_servers.it]\ncommand = "npx"\n', {}, 'config.toml')).toEqual([
      'config.toml:1:1 – is TOML, which is not supported: write each [mcp_servers.<name>] table as an entry of mcpServers, in JSON or YAML',
    ])
  })
})

describe('an entry', () => {
  it('with numbers and flags is the text that was written, in the gateway’s own services too', async () => {
    expect(
      (await taken(one({ command: 'node', args: ['--port', 8080, true], env: { PORT: 3000, DEBUG: false } })))
        .services['it'],
    ).toMatchObject({ args: ['--port', '8080', 'true'], env: { PORT: '3000', DEBUG: 'false' } })
    const { services } = await taken(
      'mcp_services:\n  a: { command: x, args: [1.10, 0x1F, yes, true], env: { V: 1.0 } }\n',
      { POSTERN_MCP_SERVICES__B: '{"command":"y","args":[1]}' },
      'config.yaml',
    )
    expect(services).toMatchObject({
      a: { args: ['1.10', '0x1F', 'yes', 'true'], env: { V: '1.0' } },
      b: { args: ['1'] },
    })
  })

  it('with a reserved name gets a free id, and says so', async () => {
    const { services, warnings } = await taken({ mcpServers: { docs: npx, 'docs-server': npx, MCP: npx } })
    expect(services).toMatchObject({
      'docs-server-2': { name: 'docs', ...npx },
      'docs-server': npx,
      'mcp-server': { name: 'MCP', ...npx },
    })
    expect(warnings).toEqual([
      'mcp.json:3:5 mcpServers.docs – is served at /docs-server-2/mcp, because /docs is one of the gateway’s own paths',
      'mcp.json:17:5 mcpServers.MCP – is served at /mcp-server/mcp, because /mcp is one of the gateway’s own paths',
    ])
    const list = await loadConfig({ env: { MCP_SERVERS: '[{"domain":"docs.example","name":"Docs"}]' } })
    expect(list.ok && Object.keys(list.config.mcp_services)).toEqual(['docs-server'])
    expect(list.warnings.map(faultText)).toEqual([
      'environment MCP_SERVERS mcp_services[0] – is served at /docs-server/mcp, because /docs is one of the gateway’s own paths',
    ])
  })

  it.each([
    ['auth_required', 'mcp_services.it.auth_required'],
    ['authRequired', 'mcp_services.it.auth_required'],
    ['oauth_provider', 'mcp_services.it.oauth_provider'],
    ['oauth_providr', 'mcp_services.it.oauth_provider'],
    ['allowed_groups', 'oauth_providers.<id>.allowed_groups'],
    ['allowedDomains', 'oauth_providers.<id>.allowed_domains'],
    ['scopes', 'mcp_services.it.scopes'],
    ['sandbox', 'mcp_services.it.sandbox'],
  ])('never passes over an access rule of ours: %s', async (key, place) => {
    expect(await faults(one({ ...npx, [key]: 'x' }))).toEqual([
      `mcp.json:9:7 mcpServers.it.${key} – is a gateway setting and has no effect here: write it as ${place}`,
    ])
    const list = await loadConfig({
      env: { MCP_SERVERS: `[{"domain":"a.example","name":"it","auth_required":false}]` },
    })
    expect(list.ok).toBe(false)
  })

  it.each([
    'local_user',
    'oauth_provider',
    'allowed_domains',
    'admin',
    'auth_required',
    'cors_',
    'trusted_proxy',
  ])('beside which %s stands never hides it as a client’s setting', async (key) => {
    expect(await faults({ mcpServers: { it: npx }, [key]: ['x'] })).toEqual([
      expect.stringMatching(new RegExp(`^mcp\\.json:11:3 ${key} – is not a known setting`)),
    ])
  })
})

describe('what follows from a fault', () => {
  const cases: readonly (readonly [string, string, readonly string[]])[] = [
    [
      'a service whose entry is at fault',
      'default_service: it\nmcpServers: { it: [1] }\n',
      ['config.yaml:2:15 mcpServers.it – must be a mapping with `command` and `args`, or with `url`'],
    ],
    [
      'a misspelt section of services',
      'default_service: it\nhosts: { a.example: it }\nmcp_service: { it: { url: "http://localhost:1" } }\n',
      ['config.yaml:3:1 mcp_service – is not a known setting; did you mean "mcp_services"?'],
    ],
    [
      'a misspelt section of providers',
      'mcp_services:\n  a: { url: "http://localhost:1", oauth_provider: x }\noauth_provider: { x: {} }\n',
      ['config.yaml:3:1 oauth_provider – is not a known setting; did you mean "oauth_providers"?'],
    ],
    [
      'a misspelt public URL',
      'host: 0.0.0.0\npublic_url: https://a.example\n',
      ['config.yaml:2:1 public_url – is not a known setting; did you mean "issuer"?'],
    ],
    [
      'misspelt people',
      'issuer: https://a.example\nlocal_user: [{ username: a, password: correct-horse }]\n',
      ['config.yaml:2:1 local_user – is not a known setting; did you mean "local_users"?'],
    ],
    [
      'a misspelt password',
      'local_users:\n  - { username: a, pasword: correct-horse }\n',
      ['config.yaml:2:20 local_users[0].pasword – is not a known setting; did you mean "password"?'],
    ],
    [
      'a variable that is not set',
      'mcp_services:\n  a: { url: "http://localhost:1", upstream_auth: { client_secret: s, client_id: "${ID}", issuer: "https://i.example" } }\n',
      [
        'config.yaml:2:81 mcp_services.a.upstream_auth.client_id – environment variable ID is not set: set it, or write ${ID:-default}',
      ],
    ],
  ]
  it.each(cases)('is not told besides: %s', async (_, text, wanted) =>
    expect(await faults(text, {}, 'config.yaml')).toEqual(wanted),
  )
})
