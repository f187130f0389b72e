// The small verbs, as a process: what they print, where, and with which exit code.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { createPasswords } from '../../src/node/passwords.ts'
import { root } from '../structure/tree.ts'
import { startProcess } from '../runtimes/process.ts'
import { type Place, createPlace, errorOf, postern, posternOnTerminal } from './cli-process.ts'

let place: Place
beforeAll(() => {
  place = createPlace()
})
afterAll(() => place.remove())

const version = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version

describe('postern version', () => {
  it('says version, Node and platform', async () => {
    expect(await postern(place, ['version'])).toEqual({
      code: 0,
      out: `postern ${version} · node ${process.versions.node} · ${process.platform} ${process.arch}\n`,
      err: '',
    })
    expect((await postern(place, ['--version'])).out).toContain(version)
    expect(JSON.parse((await postern(place, ['version', '--json'])).out)).toEqual({
      version,
      node: process.versions.node,
      platform: `${process.platform} ${process.arch}`,
    })
  })
})

const verbs = createProgram().commands.map((command) => command.name())

describe('a command line that is wrong', () => {
  it.each([
    [['valdate'], 'Unknown command "postern valdate"; did you mean "postern validate"?'],
    [['xyzzy'], `Unknown command "postern xyzzy". Commands: ${verbs.join(', ')}.`],
    [
      ['config', 'explian'],
      'Unknown command "postern config explian"; did you mean "postern config explain"?',
    ],
    [['admin'], 'Missing command after "postern admin". Commands: link.'],
    [['--prot', '80'], "Unknown option '--prot' (Did you mean --port?)."],
    [
      ['--port', '70000'],
      "Option '--port <number>' argument '70000' is invalid. Use a number from 0 to 65535.",
    ],
    [
      ['--log-level', 'loud'],
      "Option '--log-level <level>' argument 'loud' is invalid. Allowed choices are debug, info, warn, error.",
    ],
    [['--host'], "Option '--host <address>' argument missing."],
    [['validate', 'more'], "Too many arguments for 'validate'. Expected 0 arguments but got 1: more."],
  ])('%j ends with 2 and one JSON line', async (args, message) => {
    const ran = await postern(place, args)
    expect({ code: ran.code, out: ran.out }).toEqual({ code: 2, out: '' })
    expect(ran.err.trimEnd()).not.toContain('\n')
    expect(errorOf(ran)).toEqual({ code: 'usage', message })
  })

  it('is one sentence on a terminal, without colour where NO_COLOR asks for none', async () => {
    expect(await posternOnTerminal(place, ['valdate'], { env: { NO_COLOR: '1' } })).toEqual({
      code: 2,
      screen: '✖ Unknown command "postern valdate"; did you mean "postern validate"?\n',
    })
    expect((await posternOnTerminal(place, ['valdate'])).screen).toContain('\u001B[31m✖\u001B[39m')
  })
})

describe('postern --help', () => {
  it('names every verb and flag, on standard output', async () => {
    const ran = await postern(place, ['--help'])
    expect(ran).toMatchObject({ code: 0, err: '' })
    for (const word of [
      'serve',
      'validate',
      'config',
      'hash-password',
      'admin',
      'version',
      '--config',
      '--state',
      '--public-url',
      '--json',
    ])
      expect(ran.out).toContain(word)
  })
})

describe('postern hash-password', () => {
  it('turns standard input into a hash that signs in', async () => {
    const ran = await postern(place, ['hash-password'], { input: 'correct horse battery\n' })
    expect(ran).toMatchObject({ code: 0, err: '' })
    expect(ran.out).toMatch(/^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[\w+/]+\$[\w+/]+\n$/)
    expect(await createPasswords().verify('correct horse battery', ran.out.trim())).toBe(true)
    expect(
      JSON.parse((await postern(place, ['hash-password', '--json'], { input: 'correct horse battery' })).out),
    ).toEqual({ password_hash: expect.stringMatching(/^\$argon2id\$/) as unknown })
    expect(
      (await postern(place, ['hash-password', '--scrypt'], { input: 'correct horse battery' })).out,
    ).toMatch(/^\$scrypt\$ln=14,r=8,p=1\$/)
  })

  it('hashes what the configuration accepts as a password, and nothing else', async () => {
    const ran = await postern(place, ['hash-password'], { input: 'short\n' })
    expect(ran.code).toBe(2)
    expect(errorOf(ran)).toEqual({
      code: 'usage',
      message: 'The password must be at least 8 characters long.',
    })
    expect(ran.err).not.toContain('short"')
  })

  it('gives a hash that the configuration takes', async () => {
    const { out } = await postern(place, ['hash-password'], { input: 'correct horse battery' })
    const path = place.write(
      'hashed.yaml',
      `local_users:\n  - username: alex\n    password_hash: '${out.trim()}'\n`,
    )
    expect((await postern(place, ['validate', '-c', path])).code).toBe(0)
  })

  it('asks twice on a terminal and shows nothing of it', async () => {
    const answers = [
      ['Password: ', 'correct horsX\u007fe\r'],
      ['Repeat password: ', 'correct horse\r'],
    ] as const
    const { code, screen } = await posternOnTerminal(place, ['hash-password'], { answers })
    expect(code).toBe(0)
    expect(screen).toMatch(/^Password: \nRepeat password: \n\$argon2id\$/)
    expect(screen).not.toContain('correct')
    expect(await createPasswords().verify('correct horse', /\$argon2id\S+/.exec(screen)?.[0] ?? '')).toBe(
      true,
    )
  })

  it('stops at Control-C', async () => {
    expect(
      await posternOnTerminal(place, ['hash-password'], { answers: [['Password: ', 'corr\u0003']] }),
    ).toEqual({ code: 130, screen: 'Password: \n' })
  })

  it('hashes nothing when the two differ', async () => {
    const answers = [
      ['Password: ', 'correct horse\r'],
      ['Repeat password: ', 'correct house\r'],
    ] as const
    const { code, screen } = await posternOnTerminal(place, ['hash-password'], {
      answers,
      env: { NO_COLOR: '1' },
    })
    expect(code).toBe(2)
    expect(screen).toContain('The passwords do not match. Run the command again.')
  })
})

describe('postern help', () => {
  it('prints what --help prints, of any command', async () => {
    for (const [words, path] of [
      [[], []],
      [['wrap'], ['wrap']],
      [
        ['services', 'add'],
        ['services', 'add'],
      ],
    ] as const) {
      const help = await postern(place, ['help', ...words])
      expect(help).toEqual(await postern(place, [...path, '--help']))
      expect(help.code).toBe(0)
    }
    expect((await postern(place, ['services', 'help', 'add'])).out).toBe(
      (await postern(place, ['services', 'add', '--help'])).out,
    )
    expect(errorOf(await postern(place, ['help', 'wrapp']))).toEqual({
      code: 'usage',
      message: 'Unknown command "postern wrapp"; did you mean "postern wrap"?',
    })
  })
})

describe('beside running gateways', () => {
  it('services ls shows the demo and what is wrapped, and admin link says that there are two', async () => {
    const demo = await startProcess({ stateDir: place.path })
    const second = await startProcess({
      stateDir: place.path,
      flags: ['wrap', '--name', 'cat', '--no-sandbox', '--', 'cat'],
    })
    try {
      const beside = (args: readonly string[]) => postern(place, [...args, '--state', place.path])
      expect((await beside(['services', 'ls'])).out).toBe(
        `cat   wrap      cat (running at ${second.origin})\ndemo  built in  (running at ${demo.origin})\n`,
      )
      expect(JSON.parse((await beside(['services', 'ls', '--json'])).out)).toEqual({
        services: [
          { id: 'cat', from: 'wrap', command: 'cat', at: second.origin },
          { id: 'demo', from: 'built in', at: demo.origin },
        ],
      })
      expect((await beside(['services', 'show', 'demo'])).out).toBe(
        `id        demo\nfrom      built in\naddress   ${demo.origin}/demo/mcp\n`,
      )
      expect(errorOf(await beside(['services', 'rm', 'cat']))).toEqual({
        code: 'service.running',
        message: `cat is built into the gateway running at ${second.origin} and cannot be removed. Stop that gateway instead.`,
      })
      const link = await beside(['admin', 'link'])
      expect(link.out).toMatch(new RegExp(`^${second.origin}/\\?t=[\\w-]{43}\n$`))
      expect(link.err).toBe(
        `⚠ 2 gateways use this state directory. The link opens ${second.origin}, which started last. To use another one, append its ?t=… to ${demo.origin}/.\n`,
      )
      expect(JSON.parse((await beside(['admin', 'link', '--json'])).out)).toMatchObject({
        other_gateways: [demo.origin],
      })
      // As the sentence says.
      const other = await fetch(`${demo.origin}/${new URL(link.out.trim()).search}`, { redirect: 'manual' })
      expect(other.headers.getSetCookie().join()).toContain('-session')
    } finally {
      await Promise.all([demo.end(), second.end()])
    }
    expect((await postern(place, ['services', 'ls', '--state', place.path])).out).toBe(
      'No services yet. Add one: postern services add <id> <url>\n',
    )
  })
})

describe('postern admin link', () => {
  it('makes a one-time link for the built-in person', async () => {
    const ran = await postern(place, ['admin', 'link', '--state', 'state-a', '--port', '9123'])
    expect(ran).toMatchObject({ code: 0, err: '' })
    expect(ran.out).toMatch(/^http:\/\/localhost:9123\/\?t=[\w-]{43}\n$/)
  })

  it('makes none where the configuration names its own people', async () => {
    const ran = await postern(place, ['admin', 'link', '--state', 'state-b'], {
      env: { LOCAL_USER: 'alex', LOCAL_PASSWORD: 'correct-horse' },
    })
    expect(ran).toMatchObject({ code: 1, out: '' })
    expect(errorOf(ran)).toMatchObject({ code: 'link.disabled' })
  })
})
