// Services that are commands, and the block that clients keep of theirs.
import { describe, expect, it } from 'vitest'
import { readFileSync } from 'node:fs'
import { configOf, faultsOf, load, warningsOf } from './config-world.ts'

const claude = JSON.stringify(
  {
    mcpServers: {
      filesystem: { command: 'npx', args: ['-y', '@modelcontextprotocol/server-filesystem', '/data'] },
      'Brave Search': {
        command: 'npx',
        args: ['-y', 'brave'],
        env: { API_KEY: '${env:BRAVE}', MODE: 'x' },
        autoApprove: ['search'],
        disabledTools: [],
      },
      remote: { type: 'http', url: 'https://mcp.example.com/mcp', headers: { 'X-Api-Key': 'k-123' } },
      old: { type: 'sse', url: 'https://old.example.com' },
      cursor: { serverUrl: 'https://cursor.example.com/mcp' },
      off: { command: 'nothing', disabled: true },
    },
  },
  null,
  2,
)

describe('a block mcpServers', () => {
  it('is taken unchanged: each entry is a service', async () => {
    const { mcp_services: services } = await configOf(claude, { env: { BRAVE: 'secret-1' } })
    expect(Object.keys(services)).toEqual(['filesystem', 'brave-search', 'remote', 'old', 'cursor'])
    expect(services['filesystem']).toMatchObject({
      command: 'npx',
      args: ['-y', '@modelcontextprotocol/server-filesystem', '/data'],
      shared: false,
      sandbox: 'auto',
    })
    // Seeds 002 and 004: two clocks.
    expect(services['filesystem']).toMatchObject({
      session_idle: 300,
      sleep_after: 600,
      max_processes: 64,
      max_processes_per_person: 8,
    })
    expect(services['brave-search']).toMatchObject({
      name: 'Brave Search',
      env: { API_KEY: 'secret-1', MODE: 'x' },
    })
    expect(services['remote']).toMatchObject({
      url: 'https://mcp.example.com/mcp',
      transport: 'streamable',
      upstream_auth: { type: 'static', headers: { 'X-Api-Key': 'k-123' } },
    })
    expect(services['old']).toMatchObject({ url: 'https://old.example.com', transport: 'sse' })
    expect(services['cursor']).toMatchObject({ url: 'https://cursor.example.com/mcp' })
  })

  it('stands beside settings of the gateway for the same service, and the environment finds it', async () => {
    const text = [
      'mcpServers:',
      '  memory: { command: npx, args: [-y, server-memory] }',
      'mcp_services:',
      '  memory: { shared: true, name: Memory }',
    ].join('\n')
    const { mcp_services: services } = await configOf(text, {
      env: { POSTERN_MCP_SERVICES__MEMORY__SESSION_IDLE: '60' },
    })
    expect(services['memory']).toMatchObject({
      command: 'npx',
      shared: true,
      name: 'Memory',
      session_idle: 60,
    })
  })

  it('is told where it is wrong: names, members, and that something is missing', async () => {
    const text = [
      'mcpServers:',
      '  "***": { command: a }',
      '  My Server: { command: a }',
      '  my-server: { command: b }',
      '  list: [1]',
      '  mcp: { command: c }',
      '  number: { command: 7 }',
      '  nothing: {}',
    ].join('\n')
    expect(await faultsOf(text)).toEqual([
      'config.yaml:2:3 mcpServers["***"] – needs a name with letters or digits: its URL is derived from it',
      'config.yaml:4:3 mcpServers.my-server – conflicts with "My Server": both would be served at /my-server/mcp',
      'config.yaml:5:3 mcpServers.list – must be a mapping with `command` and `args`, or with `url`',
      'config.yaml:7:22 mcp_services.number.command – must be text; put it in quotes',
      'config.yaml:8:3 mcp_services.nothing.url – is missing: set `url` or `command`',
    ])
  })

  it('keeps the secrets of its servers out of what is shown', async () => {
    const loaded = await load(claude, { env: { BRAVE: 'secret-1' } })
    expect(loaded.ok && loaded.writtenSecrets).toEqual([
      'mcp_services.brave-search.env.MODE',
      'mcp_services.remote.upstream_auth.headers.X-Api-Key',
    ])
  })
})

describe('MCP_SERVER_CMD', () => {
  it.each([
    ['npx -y some-server', ['npx', '-y', 'some-server']],
    [
      `  "/opt/my server/run"\t--name='two words' --flag="a b"c '' $HOME; `,
      ['/opt/my server/run', '--name=two words', '--flag=a bc', '', '$HOME;'],
    ],
    [`it's`, [`it's`]],
  ])('%s is a command at /mcp, split at spaces and read by no shell', async (line, [command, ...args]) => {
    expect(await configOf('', { env: { MCP_SERVER_CMD: line } })).toMatchObject({
      default_service: 'server',
      mcp_services: { server: { command, args, shared: false } },
    })
  })

  it('leaves the configuration’s own default where it is, and is nothing when it is blank', async () => {
    expect(
      (
        await configOf('default_service: a\nmcp_services:\n  a: { command: x }', {
          env: { MCP_SERVER_CMD: 'b' },
        })
      ).default_service,
    ).toBe('a')
    expect((await configOf('', { env: { MCP_SERVER_CMD: '  ' } })).mcp_services).toEqual(
      (await configOf('')).mcp_services,
    )
  })
})

describe('examples/servers.yaml', () => {
  it('is five well-known servers in a block as clients keep it, with what only the gateway knows beside it', async () => {
    const text = readFileSync(new URL('../../examples/servers.yaml', import.meta.url), 'utf8')
    const { mcp_services: services } = await configOf(text, { env: { FILES: '/srv/files' } })
    expect(
      Object.entries(services).map(([id, { command, args }]) => [
        id,
        command,
        args[1]?.replace(/@[\d.]+$/, ''),
      ]),
    ).toEqual([
      ['everything', 'npx', '@modelcontextprotocol/server-everything'],
      ['filesystem', 'npx', '@modelcontextprotocol/server-filesystem'],
      ['memory', 'npx', '@modelcontextprotocol/server-memory'],
      ['sequential-thinking', 'npx', '@modelcontextprotocol/server-sequential-thinking'],
      ['playwright', 'npx', '@playwright/mcp'],
    ])
    expect(services['filesystem']).toMatchObject({ cwd: '/srv/files', sandbox_write: ['/srv/files'] })
    expect(await warningsOf(text)).toEqual([])
  })
})

describe('a service', () => {
  const faults = (service: string) => faultsOf(`mcp_services:\n  a: ${service}`)

  it('is a URL or a command, not both and not neither', async () => {
    expect(await faults('{ command: x, url: "https://a.example/mcp" }')).toEqual(
      ["config.yaml:3:6 mcp_services.a.command – can't be combined with `url`: keep one of the two"].map(
        (line) => line.replace('3:6', '2:8'),
      ),
    )
    expect(await faults('{}')).toEqual([
      'config.yaml:2:3 mcp_services.a.url – is missing: set `url` or `command`',
    ])
    expect(await faults('{ url: "https://a.example/mcp", args: [x], shared: true }')).toEqual([
      'config.yaml:2:38 mcp_services.a.args – applies only to a service with `command`',
      'config.yaml:2:49 mcp_services.a.shared – applies only to a service with `command`',
    ])
    expect(await faults('{ command: x, transport: sse }')).toEqual([
      'config.yaml:2:20 mcp_services.a.transport – applies only to a service with `url`',
    ])
  })

  it('without login needs one process for everybody, because nobody can be told apart', async () => {
    expect(await faults('{ command: x, auth_required: false }')).toEqual([
      'config.yaml:2:35 mcp_services.a.auth_required – needs `shared: true` here: without sign-in, all callers of a command share one process',
    ])
    expect(await faults('{ command: x, auth_required: false, shared: true }')).toEqual([])
  })

  it('gets no headers on standard input, and no mark but the gateway’s', async () => {
    expect(await warningsOf('mcp_services:\n  a: { command: x, identity: { preset: all } }')).toEqual([
      'config.yaml:2:30 mcp_services.a.identity – has no effect: a stdio server receives no HTTP headers',
    ])
    expect(await faults('{ command: x, env: { POSTERN_PROCESS: y } }')).toEqual([
      'config.yaml:2:27 mcp_services.a.env.POSTERN_PROCESS – is reserved: the gateway sets this variable',
    ])
    expect(
      await warningsOf('mcp_services:\n  a: { command: x, sandbox: none, sandbox_read: [/data] }'),
    ).toEqual(['config.yaml:2:49 mcp_services.a.sandbox_read – has no effect with `sandbox: none`'])
  })
})
