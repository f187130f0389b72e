// `postern init`, `import`, `export` and `dev`: what they write and print, and that no secret is among it.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parse } from 'yaml'
import { devUser } from '../../src/cli/dev.ts'
import { importedFrom } from '../../src/cli/import.ts'
import { createProgram } from '../../src/cli/program.ts'
import { variableLine, withoutSecrets } from '../../src/cli/written-secrets.ts'
import { createPasswords } from '../../src/node/passwords.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'postern-setup-'))
})
afterEach(() => rmSync(dir, { recursive: true }))
const at = (name: string): string => join(dir, name)
const read = (name: string): string => readFileSync(at(name), 'utf8')

const run = async (...words: readonly string[]): Promise<{ readonly out: string; readonly err: string }> => {
  const told = { out: '', err: '' }
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi
      .spyOn(process[name], 'write')
      .mockImplementation((text) => ((told[name === 'stdout' ? 'out' : 'err'] += String(text)), true)),
  )
  try {
    await createProgram().parseAsync(
      [...words, '-c', at('postern.yaml'), '--env-file', at('.env'), '--state', at('state')],
      { from: 'user' },
    )
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
  return told
}

describe('postern init', () => {
  it('writes the least that works, for its owner alone, and replaces nothing unasked', async () => {
    writeFileSync(at('.env'), '')
    expect((await run('init', '--yes')).out).toMatch(/^Wrote .*postern\.yaml\.\nStart the gateway: /)
    expect([parse(read('postern.yaml')), statSync(at('postern.yaml')).mode & 0o777]).toEqual([null, 0o600])
    await expect(run('init', '--yes')).rejects.toThrow('exists. Change it, or add --force')
    await expect(run('init', '--force')).rejects.toThrow('Nobody can be asked here.')
  })

  it('makes a local user an administrator, with a password that is in no file', async () => {
    writeFileSync(at('.env'), '')
    const { out } = await run(
      'init',
      '--yes',
      '--sign-in',
      'local',
      '--user',
      'ana@example.com',
      '--server',
      'npx -y @modelcontextprotocol/server-filesystem "/my files"',
    )
    const written = parse(read('postern.yaml')) as { local_users: readonly { password_hash: string }[] }
    expect(written).toMatchObject({
      local_users: [{ username: 'ana', email: 'ana@example.com' }],
      admins: ['local:ana'],
      mcp_services: {
        filesystem: { command: 'npx', args: ['-y', '@modelcontextprotocol/server-filesystem', '/my files'] },
      },
    })
    const password = /shown only now: (\S+)/.exec(out)?.[1] ?? ''
    expect(await createPasswords().verify(password, written.local_users[0]?.password_hash ?? '')).toBe(true)
    expect(read('postern.yaml')).not.toContain(password)
  })

  it.each([
    ['google', [], { type: 'google', client_id: 'c' }],
    ['github', [], { type: 'github', client_id: 'c' }],
    ['entra', ['--tenant', 't1'], { type: 'entra', tenant: 't1' }],
    [
      'openid',
      ['--issuer', 'https://login.example.com'],
      { type: 'openid', issuer: 'https://login.example.com' },
    ],
  ] as const)('signs in with %s, whose secret is a variable', async (kind, more, provider) => {
    writeFileSync(at('.env'), 'KEPT=1')
    const { out } = await run(
      'init',
      '--yes',
      '--public-url',
      'https://mcp.example.com',
      '--sign-in',
      kind,
      '--client-id',
      'c',
      '--allow',
      'ana@example.com',
      ...more,
    )
    const variable = `${kind.toUpperCase()}_LOGIN_SECRET`
    expect(parse(read('postern.yaml'))).toEqual({
      issuer: 'https://mcp.example.com',
      oauth_providers: {
        [kind === 'openid' ? 'company' : kind]: {
          ...provider,
          client_id: 'c',
          client_secret: `\${${variable}}`,
          allowed_emails: ['ana@example.com'],
        },
      },
      admins: ['ana@example.com'],
    })
    expect(out).toContain(`Put the client secret into .env: ${variable}=…`)
    expect(parseEnv(read('.env'))).toEqual({ KEPT: '1', [variable]: '' })
  })

  it('writes nothing that the gateway would refuse', async () => {
    writeFileSync(at('.env'), '')
    await expect(run('init', '--yes', '--sign-in', 'google')).rejects.toThrow(
      'Client ID is missing: add --client-id.',
    )
    await expect(run('init', '--yes', '--public-url', 'ftp://x')).rejects.toMatchObject({
      faults: [{ key: 'issuer' }],
    })
    expect(existsSync(at('postern.yaml'))).toBe(false)
  })
})

const cursor = JSON.stringify({
  mcpServers: {
    GitHub: {
      command: 'npx',
      args: ['-y', 'gh-server', '--token=plain-token', '--api-key', 'other-key', '--verbose'],
      env: { GITHUB_TOKEN: 'first', LOG: 'debug', REF: '${HOME}' },
    },
    jira: { url: 'https://ana:pw@jira.example/mcp?api_key=k123&x=1', headers: { 'X-Team': 'team-header' } },
    bad: { command: 'x', allowed_domains: ['x'] },
    off: { command: 'x', disabled: true },
  },
  theme: 'dark',
})
const secretTexts = ['plain-token', 'other-key', 'first', 'pw@', 'k123', 'team-header']

describe('postern import', () => {
  it('prints services with variables in place of secrets, and says what it leaves out', async () => {
    writeFileSync(at('.env'), '')
    writeFileSync(at('mcp.json'), cursor)
    const { out, err } = await run('import', at('mcp.json'))
    for (const secret of secretTexts) expect(out + err).not.toContain(secret)
    expect(parse(out)).toEqual({
      mcp_services: {
        github: {
          name: 'GitHub',
          command: 'npx',
          args: [
            '-y',
            'gh-server',
            '--token=${SECRET_GITHUB_TOKEN}',
            '--api-key',
            '${SECRET_GITHUB_API_KEY}',
            '--verbose',
          ],
          env: { GITHUB_TOKEN: '${SECRET_GITHUB_TOKEN_2}', LOG: 'debug', REF: '${HOME}' },
        },
        jira: {
          url: 'https://ana:${SECRET_JIRA_PASSWORD}@jira.example/mcp?api_key=${SECRET_JIRA_API_KEY}&x=1',
          upstream_auth: { type: 'static', headers: { 'X-Team': '${SECRET_JIRA_X_TEAM}' } },
        },
      },
    })
    expect(err).toContain('mcpServers.bad.allowed_domains')
    expect(err).toContain('settings of an MCP client are ignored: theme')
    expect(existsSync(at('postern.yaml'))).toBe(false)
    // Credentials in a URL are not for a gateway to send.
    await expect(run('import', at('mcp.json'), '--write')).rejects.toMatchObject({
      faults: [{ key: 'mcp_services.jira.url' }],
    })
    writeFileSync(at('mcp.json'), cursor.replace('ana:pw@', ''))
    await expect(run('import', at('mcp.json'), '--write')).rejects.toThrow('Confirm with --yes.')
    expect([existsSync(at('postern.yaml')), read('.env')]).toEqual([false, ''])
  })

  it('adds them beside what is there, comments and all, and the secrets to the file of variables', async () => {
    writeFileSync(at('.env'), 'HOME=/home/x')
    writeFileSync(
      at('mcp.json'),
      JSON.stringify({
        servers: {
          notes: { type: 'stdio', command: 'node', args: ['n.js'], env: { API_KEY: `it's "a" \\ key` } },
          wiki: { type: 'http', url: 'https://wiki.example/mcp' },
        },
      }),
    )
    writeFileSync(
      at('postern.yaml'),
      '# mine\nport: 9000 # a port\nmcp_services:\n  wiki:\n    url: https://other.example/mcp # stays\n',
    )
    const { out } = await run('import', at('mcp.json'), '--write', '--yes')
    expect(out).toMatch(/^notes +node n\.js\nAdded 1 service to .*postern\.yaml and 1 secret to /)
    expect(read('postern.yaml')).toBe(
      '# mine\nport: 9000 # a port\nmcp_services:\n  wiki:\n    url: https://other.example/mcp # stays\n  notes:\n    command: node\n    args:\n      - n.js\n    env:\n      API_KEY: ${SECRET_NOTES_API_KEY}\n',
    )
    expect(parseEnv(read('.env'))).toEqual({ HOME: '/home/x', SECRET_NOTES_API_KEY: `it's "a" \\ key` })
    await expect(run('import', at('mcp.json'), '--write', '--yes')).rejects.toThrow('in ')
    expect((await run('services', 'ls')).out).toContain('notes')
  })

  it('leaves everything as it was where the result would not load', async () => {
    writeFileSync(at('.env'), 'SECRET_A_KEY=else')
    writeFileSync(
      at('mcp.json'),
      '{"mcpServers":{"a":{"command":"node","env":{"KEY":"mine"}},"b":{"url":"nowhere"}}}',
    )
    writeFileSync(at('postern.yaml'), 'port: 9000\n')
    await expect(run('import', at('mcp.json'), '--write', '--yes')).rejects.toThrow(
      'SECRET_A_KEY has another value',
    )
    writeFileSync(at('.env'), '')
    await expect(run('import', at('mcp.json'), '--write', '--yes')).rejects.toMatchObject({
      faults: [{ key: 'mcp_services.b.url' }],
    })
    writeFileSync(at('postern.yaml'), '- no\n')
    await expect(run('import', at('mcp.json'), '--write', '--yes')).rejects.toThrow('Nothing was changed.')
    expect([read('postern.yaml'), read('.env')]).toEqual(['- no\n', ''])
    await expect(run('import', at('none.json'))).rejects.toThrow(
      'does not exist. Name a file, or one of: claude-desktop',
    )
    mkdirSync(at('folder'))
    await expect(run('import', at('folder'))).rejects.toThrow('cannot be read (EISDIR)')
    expect(() => importedFrom('x.json', '{"mcpServers":')).toThrow('in the configuration')
  })

  it('knows a secret by its name, or by how it looks', () => {
    const secrets = new Map<string, string>()
    const moved = withoutSecrets(
      's',
      {
        args: ['ghp_0123456789', '--name', 'not', '-k', 'v', 'AbC0123456789012345678901'],
        env: {
          PATH: '/usr/bin',
          DATABASE_URL: 'postgres://u:p@h/db',
          NOTE: 'a note of several words 1',
          EMPTY_KEY: '',
        },
      },
      secrets,
    )
    expect(moved.args).toEqual(['${SECRET_S_ARGUMENT}', '--name', 'not', '-k', 'v', '${SECRET_S_ARGUMENT_2}'])
    expect(moved.env).toEqual({
      PATH: '/usr/bin',
      DATABASE_URL: '${SECRET_S_DATABASE_URL}',
      NOTE: 'a note of several words 1',
      EMPTY_KEY: '',
    })
    for (const value of ["it's", 'a "b"', 'a\\b', 'two\nlines', '# x'])
      expect(parseEnv(variableLine('X', value) ?? '')).toEqual({ X: value })
    expect(variableLine('X', `'"\``)).toBeUndefined()
  })
})

describe('postern export', () => {
  it('prints the services as clients and the registry write them', async () => {
    writeFileSync(at('.env'), '')
    writeFileSync(
      at('postern.yaml'),
      'issuer: https://mcp.example.com\nmcp_services:\n  jira: { url: "https://jira.example/mcp?key=secret1" }\n  wiki: { url: "https://wiki.example/mcp" }\nlocal_users: [{ username: ana, password: long enough password }]\n',
    )
    const told = async (...words: readonly string[]) =>
      JSON.parse((await run('export', ...words)).out) as unknown
    const jira = { type: 'http', url: 'https://mcp.example.com/jira/mcp' }
    expect(await told()).toEqual({
      mcpServers: { jira, wiki: { ...jira, url: 'https://mcp.example.com/wiki/mcp' } },
    })
    expect(await told('--form', 'vscode', '--service', 'jira')).toEqual({ servers: { jira } })
    expect(await told('--form', 'server-json', '--service', 'jira')).toMatchObject({
      name: 'com.example.mcp/jira',
      remotes: [{ type: 'streamable-http', url: jira.url }],
    })
    await expect(run('export', '--form', 'server-json')).rejects.toThrow(
      'Name it with --service: jira, wiki.',
    )
    await expect(run('export', '--service', 'nope')).rejects.toThrow(
      'Unknown service "nope". Services: jira, wiki.',
    )
  })
})

describe('postern dev', () => {
  it('reads users with their groups, and listens for nobody else', async () => {
    expect(devUser('ana@example.com:staff,admins')).toEqual({
      username: 'ana',
      email: 'ana@example.com',
      groups: ['staff', 'admins'],
    })
    expect(devUser('ben')).toEqual({ username: 'ben', groups: [] })
    for (const wrong of ['', '@x', 'a:b:c']) expect(() => devUser(wrong)).toThrow('write a user and groups')
    writeFileSync(at('.env'), '')
    for (const flag of [
      ['--host', '0.0.0.0'],
      ['--public-url', 'https://mcp.example.com'],
    ])
      await expect(run('dev', ...flag, '--', 'node', 'x.js')).rejects.toThrow(
        'it only listens on this computer',
      )
    await expect(run('dev', '--as', 'a@x', '--as', 'a@y', '--', 'node')).rejects.toThrow('two users called a')
    await expect(run('dev', 'http://localhost:1/mcp', 'more')).rejects.toThrow('Give one URL')
  })
})
