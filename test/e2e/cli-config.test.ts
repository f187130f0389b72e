// The configuration on the command line: where it is found, how it is checked and explained, and how a wrong
// one ends a start.
import { chmodSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as printed from '../data/printed-configurations.ts'
import { root } from '../structure/tree.ts'
import { type Place, createPlace, errorOf, postern, posternOnTerminal } from './cli-process.ts'

let place: Place
beforeEach(() => {
  place = createPlace()
})
afterEach(() => place.remove())

const google = { GOOGLE_CLIENT_ID: 'a', GOOGLE_CLIENT_SECRET: 'b' }

describe('the configuration file', () => {
  it('is searched for in this folder, in the home folder, and named by flag or variable', async () => {
    const file = async (
      args: readonly string[] = [],
      env: Readonly<Record<string, string>> = {},
    ): Promise<unknown> =>
      (JSON.parse((await postern(place, ['validate', '--json', ...args], { env })).out) as { file: unknown })
        .file
    expect(await file()).toBeNull()
    place.write('home/.mcp-gateway/config.yaml', 'port: 1\n')
    expect(await file()).toBe('~/.mcp-gateway/config.yaml')
    place.write('home/.config/postern/config.yaml', 'port: 1\n')
    expect(await file()).toBe('~/.config/postern/config.yaml')
    place.write('xdg/postern/config.yaml', 'port: 1\n')
    expect(await file([], { XDG_CONFIG_HOME: join(place.path, 'xdg') })).toBe(
      join(place.path, 'xdg/postern/config.yaml'),
    )
    place.write('config.yml', 'port: 1\n')
    expect(await file()).toBe('config.yml')
    place.write('config.yaml', 'port: 1\n')
    expect(await file()).toBe('config.yaml')
    place.write('postern.yaml', 'port: 1\n')
    expect(await file()).toBe('postern.yaml')
    expect(await file([], { POSTERN_CONFIG: 'port: 2' })).toBe('POSTERN_CONFIG')
    expect(await file([], { POSTERN_CONFIG: 'port: 2', MCP_CONFIG_PATH: 'config.yml' })).toBe('config.yml')
    expect(await file(['-c', 'config.yaml'], { MCP_CONFIG_PATH: 'config.yml' })).toBe('config.yaml')
  })

  it('that was named must be there and readable', async () => {
    expect(errorOf(await postern(place, ['validate', '-c', 'absent.yaml']))).toMatchObject({
      code: 'config.invalid',
      message: 'flag --config – absent.yaml cannot be read: the file does not exist',
    })
    expect(errorOf(await postern(place, ['validate'], { env: { MCP_CONFIG_PATH: 'home' } }))).toMatchObject({
      message: 'environment MCP_CONFIG_PATH – home cannot be read: it is a directory',
    })
    place.write('config.yaml', '')
    const { writeFileSync } = await import('node:fs')
    writeFileSync(join(place.path, 'config.yaml'), Buffer.from([0x70, 0x6f, 0xff, 0xfe]))
    expect(errorOf(await postern(place, ['validate']))).toMatchObject({
      message: 'config.yaml:1:1 – the file cannot be read: it is not UTF-8 text',
    })
  })

  it('with secrets in it that everybody on the computer can read is told', async () => {
    const path = place.write('config.yaml', 'local_users: [{ username: a, password: correct-horse }]\n')
    chmodSync(path, 0o644)
    expect((await postern(place, ['validate'])).err).toBe(
      '⚠ config.yaml:1:1 – contains secrets (local_users[0].password) and is readable by every user of this computer: run chmod 600 config.yaml\n',
    )
    chmodSync(path, 0o600)
    expect((await postern(place, ['validate'])).err).toBe('')
  })
})

describe('a proxy in front that is not trusted', () => {
  const cost =
    '⚠ trusted_proxies – is empty, so all clients appear to have the address of your reverse proxy. Use of a stolen refresh token is then ' +
    'logged (refresh.repeated) but may not be blocked: list the address of the proxy\n'
  const people = 'local_users: [{ username: ana, password: correct-horse }]\n'
  it.each([
    ['is told with its cost where the public URL is https', 'issuer: https://mcp.example.com\n', cost],
    [
      'is not there when its address is listed',
      'issuer: https://mcp.example.com\ntrusted_proxies: [192.0.2.1]\n',
      '',
    ],
    [
      'costs nothing where networks do not count',
      'issuer: https://mcp.example.com\nrefresh_late_repeat: refuse\n',
      '',
    ],
    ['is not there on loopback', '', ''],
  ])('%s', async (_, text, told) => {
    place.write('config.yaml', text + people)
    expect((await postern(place, ['validate'])).err).toBe(told)
  })
})

describe('postern validate', () => {
  it('says that the printed configuration is valid, and warns of its sample secret', async () => {
    place.write('config.yaml', printed.quickStart)
    const ran = await postern(place, ['validate'], { env: google })
    expect(ran).toMatchObject({
      code: 0,
      out: 'Valid: config.yaml (1 service, 1 identity provider, 0 local users)\n',
    })
    expect(ran.err).toMatch(
      /^⚠ config\.yaml:5:17 session_secret – is a sample value from public documentation; it is ignored because of debug: true/,
    )
  })

  it('says every fault at once: one JSON line for a program, a sentence each for a person', async () => {
    place.write('config.yaml', 'prot: 1\ndebug: yes\n')
    const ran = await postern(place, ['validate'])
    expect({ code: ran.code, out: ran.out }).toEqual({ code: 1, out: '' })
    expect(errorOf(ran)).toEqual({
      code: 'config.invalid',
      message: 'config.yaml:1:1 prot – is not a known setting; did you mean "port"? (and 1 more)',
      docs: 'docs/reference/config.md',
      faults: [
        {
          key: 'prot',
          file: 'config.yaml',
          line: 1,
          column: 1,
          message: 'is not a known setting; did you mean "port"?',
        },
        { key: 'debug', file: 'config.yaml', line: 2, column: 8, message: 'must be true or false' },
      ],
    })
    expect(await posternOnTerminal(place, ['validate'], { env: { NO_COLOR: '1' } })).toEqual({
      code: 1,
      screen:
        '✖ config.yaml:1:1 prot – is not a known setting; did you mean "port"?\n✖ config.yaml:2:8 debug – must be true or false\n',
    })
  })

  it('reads secrets from the files that variables name', async () => {
    const secret = place.write('secret', 'Vq3xT9zLw2Kp8Rb5Ny7Hc4Jd6Gf1Ms0A\n')
    expect(
      (
        await postern(place, ['config', 'explain', 'session_secret'], {
          env: { SESSION_SECRET_FILE: secret },
        })
      ).out,
    ).toMatch(/^session_secret: "\*{8}" +# environment SESSION_SECRET_FILE\n$/)
    expect(
      errorOf(await postern(place, ['validate'], { env: { SESSION_SECRET_FILE: '/nowhere/at/all' } })),
    ).toMatchObject({
      message: 'environment SESSION_SECRET_FILE – its file cannot be read: the file does not exist',
    })
  })

  it('knows the revisions of MCP that there are, for a start as for a check', async () => {
    const env = { MCP_PROTOCOL_VERSIONS_SUPPORTED: '2025-06-18,2031-01-01' }
    const message =
      'environment MCP_PROTOCOL_VERSIONS_SUPPORTED protocol_versions[1] – "2031-01-01" is not a supported MCP revision: use 2026-07-28, 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05'
    for (const verb of ['validate', 'serve'])
      expect(errorOf(await postern(place, [verb], { env }))).toMatchObject({
        code: 'config.invalid',
        message,
      })
  })

  it.each(['examples/config.yaml', 'examples/compose/postern.yaml'])('accepts %s', async (path) => {
    const env = {
      SESSION_SECRET: 'Zm9yIHRoZSBleGFtcGxlIG9mIGEgY29tcG9zZSBmaWxl',
      PUBLIC_URL: 'https://mcp.example.com',
      OIDC_ISSUER: 'https://login.example.com',
      OIDC_CLIENT_ID: 'postern',
      OIDC_CLIENT_SECRET: 'c8s2Lk0dJq5vX1bN',
      OIDC_DOMAIN: 'example.com',
    }
    expect(await postern(place, ['validate', '-c', join(root, path)], { env })).toMatchObject({ code: 0 })
  })
})

describe('postern config', () => {
  it('explain says of each key where it comes from', async () => {
    place.write('config.yaml', printed.quickStart)
    const explain = async (...args: string[]): Promise<string> =>
      (await postern(place, ['config', 'explain', ...args], { env: { ...google, LOG_LEVEL: 'warn' } })).out
    expect(await explain('port', '--port', '1234')).toMatch(/^port: 1234 +# flag --port\n$/)
    expect(await explain('log_level')).toMatch(/^log_level: "warn" +# environment LOG_LEVEL\n$/)
    expect(await explain('host')).toMatch(/^host: "localhost" +# config\.yaml:2:7\n$/)
    expect(await explain('oauth_providers.google.client_secret')).toMatch(
      /^oauth_providers\.google\.client_secret: "\*{8}" +# config\.yaml:12:20 \(\$\{GOOGLE_CLIENT_SECRET\}\)\n$/,
    )
    expect(JSON.parse(await explain('code_lifetime', '--json'))).toEqual([
      { key: 'code_lifetime', value: '5m', from: 'default' },
    ])
    const all = await explain()
    expect(all.split('\n').length).toBeGreaterThan(30)
    expect(all).not.toMatch(/: "b"/)
  })

  it('explain knows what was meant', async () => {
    expect(errorOf(await postern(place, ['config', 'explain', 'cors.allow_origin']))).toEqual({
      code: 'usage',
      message: 'Unknown key "cors.allow_origin"; did you mean "cors.allow_origins"?',
    })
  })

  it('schema prints the file for editors', async () => {
    const ran = await postern(place, ['config', 'schema'])
    expect(ran).toMatchObject({
      code: 0,
      err: '',
      out: readFileSync(join(root, 'postern.schema.json'), 'utf8'),
    })
  })
})

describe('a start that cannot be', () => {
  it('for a wrong configuration ends with 1 and every fault', async () => {
    place.write('config.yaml', printed.gatewaySettings)
    const ran = await postern(place, ['--state', 'state'])
    expect({ code: ran.code, out: ran.out }).toEqual({ code: 1, out: '' })
    expect(errorOf(ran)).toMatchObject({
      code: 'config.invalid',
      faults: [
        { key: 'issuer', line: 3 },
        { key: 'session_secret', line: 4 },
      ],
    })
  })

  it('for a port that is taken ends with 1 and says so', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => taken.once('listening', resolve))
    const { port } = taken.address() as { port: number }
    try {
      const ran = await postern(place, ['serve', '--port', String(port), '--state', 'state'])
      expect({ code: ran.code, out: ran.out }).toEqual({ code: 1, out: '' })
      expect(errorOf(ran)).toMatchObject({
        code: 'port.taken',
        message: expect.stringContaining(`Port ${port}`) as unknown,
      })
    } finally {
      taken.close()
    }
  })

  it('for a state directory that cannot be one ends with 1 and says so', async () => {
    place.write('state', 'a file')
    const ran = await postern(place, ['--port', '0'], { env: { POSTERN_STATE: 'state' } })
    expect({ code: ran.code, out: ran.out }).toEqual({ code: 1, out: '' })
    expect(errorOf(ran)).toMatchObject({
      code: 'state.unwritable',
      message: expect.stringContaining('--state') as unknown,
    })
    const onTerminal = await posternOnTerminal(place, ['--port', '0', '--state', 'state'], {
      env: { NO_COLOR: '1' },
    })
    expect(onTerminal.code).toBe(1)
    expect(onTerminal.screen).toMatch(/^✖ Cannot use the state directory .*\n$/)
  })
})
