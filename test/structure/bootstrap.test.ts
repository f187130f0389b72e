// scripts/bootstrap.mjs in a clone with a make-believe npm: what it installs, when it does not, and what it
// leaves alone.
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { root, runNode, type Outcome } from './tree.ts'

/**
 * Installs like npm: replaces node_modules, writes down how it was called, and finishes with its own lock
 * file.
 */
const npm = `
import { appendFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
const args = process.argv.slice(2)
appendFileSync('npm.log', args.filter((arg) => /^ci$|dev$/.test(arg)).join(' ') + '\\n')
rmSync('node_modules', { recursive: true, force: true })
if (existsSync('npm-fails')) { console.error('npm error network'); process.exit(7) }
mkdirSync('node_modules')
if (existsSync('npm-dies')) process.exit(9)
await new Promise((resolve) => { setImmediate(resolve) })
writeFileSync('node_modules/.package-lock.json', '{}')
`

const places: string[] = []
afterEach(async () => {
  await Promise.all(places.splice(0).map((path) => rm(path, { recursive: true, force: true })))
})

interface Clone {
  readonly path: string
  run(mode: string, env?: NodeJS.ProcessEnv): Promise<Outcome>
  /** One line for every time npm was started. */
  installs(): Promise<string[]>
}

const clone = async (programs = '[]'): Promise<Clone> => {
  const path = await mkdtemp(join(tmpdir(), 'postern-clone-'))
  places.push(path)
  await Promise.all([mkdir(join(path, 'scripts')), mkdir(join(path, 'bin'))])
  await copyFile(join(root, 'scripts/bootstrap.mjs'), join(path, 'scripts/bootstrap.mjs'))
  const table = await readFile(join(root, 'scripts/system-programs.mjs'), 'utf8')
  await writeFile(
    join(path, 'scripts/system-programs.mjs'),
    table.replace(/export const programs = \[[\s\S]*?\n\]/, `export const programs = ${programs}`),
  )
  await writeFile(join(path, 'package.json'), '{ "type": "module" }')
  await writeFile(join(path, 'package-lock.json'), '{ "lockfileVersion": 3 }')
  await writeFile(join(path, 'npm-cli.js'), npm)
  return {
    path,
    run: (mode, env = {}) => {
      const { CI: _, ...outside } = process.env
      return runNode(['scripts/bootstrap.mjs', mode], {
        cwd: path,
        env: {
          ...outside,
          npm_node_execpath: process.execPath,
          npm_execpath: join(path, 'npm-cli.js'),
          ...env,
        },
      })
    },
    installs: async () =>
      (await readFile(join(path, 'npm.log'), 'utf8').catch(() => '')).split('\n').filter(Boolean),
  }
}

describe('the first command in a fresh clone', () => {
  it('installs for npm start only what the gateway needs, once', async () => {
    const { run, installs } = await clone()
    expect((await run('start')).status).toBe(0)
    expect(await run('start')).toEqual({ status: 0, output: '' })
    expect(await installs()).toEqual(['ci --omit=dev'])
  })

  it('adds the rest for npm test after npm start, and nothing for npm start after npm test', async () => {
    const { run, installs } = await clone()
    for (const mode of ['start', 'test', 'start', 'tools', 'test']) expect((await run(mode)).status).toBe(0)
    expect(await installs()).toEqual(['ci --omit=dev', 'ci --include=dev'])
  })

  it('installs again when the lock file changed', async () => {
    const { path, run, installs } = await clone()
    await run('test')
    await writeFile(join(path, 'package-lock.json'), '{ "lockfileVersion": 3, "changed": true }')
    await run('start')
    expect(await installs()).toEqual(['ci --include=dev', 'ci --omit=dev'])
  })

  it('leaves an install of the user as it is, and finishes one that broke off', async () => {
    const own = await clone()
    await mkdir(join(own.path, 'node_modules'))
    await writeFile(join(own.path, 'node_modules/.package-lock.json'), '{}')
    expect(await own.run('test')).toEqual({ status: 0, output: '' })
    expect(await own.installs()).toEqual([])
    const broken = await clone()
    await writeFile(join(broken.path, 'npm-dies'), '')
    expect((await broken.run('start')).status).toBe(1)
    await rm(join(broken.path, 'npm-dies'))
    expect((await broken.run('start')).status).toBe(0)
    expect(await broken.installs()).toHaveLength(2)
  })

  it('installs once when two commands start together', async () => {
    const { run, installs } = await clone()
    const outcomes = await Promise.all([run('test'), run('start'), run('test')])
    expect(outcomes.map(({ status }) => status)).toEqual([0, 0, 0])
    expect((await installs()).filter((line) => line === 'ci --include=dev')).toHaveLength(1)
    expect((await installs()).length).toBeLessThanOrEqual(2)
  })

  it('says what failed when npm fails, and can be run again', async () => {
    const { path, run } = await clone()
    await writeFile(join(path, 'npm-fails'), '')
    const { status, output } = await run('test')
    expect(status).toBe(1)
    expect(output).toContain('npm error network')
    expect(output).toContain('npm ci failed (exit code 7)')
    await rm(join(path, 'npm-fails'))
    expect((await run('test')).status).toBe(0)
  })
})

describe('a program that npm cannot bring', () => {
  const row =
    "[{ name: 'postern-no-such-program', path: '/nowhere/x', package: 'x-package', variable: 'POSTERN_X', suites: 'tests with x' }]"

  it('is named with the suites that wait for it and the command that installs it', async () => {
    const { run } = await clone(row)
    const { status, output } = await run('test')
    expect(status).toBe(0)
    expect(output).toContain(
      'Not on this machine: postern-no-such-program. Skipped without it: tests with x.',
    )
    expect(output).toMatch(
      /this installs what is missing: (sudo )?apt-get install -y --no-install-recommends x-package\n/,
    )
  })

  it('may be named by a variable, and is then not missed', async () => {
    const { run } = await clone(row)
    expect((await run('test', { POSTERN_X: process.execPath })).output).not.toContain('Not on this machine')
  })

  it('never counts as skipped in CI: where it cannot be installed the command fails', async () => {
    const { path, run } = await clone(row)
    // An apt-get that knows no such package, whoever runs this test.
    await writeFile(join(path, 'bin/apt-get'), '#!/bin/sh\n[ "$1" = --version ] && exit 0\nexit 100\n', {
      mode: 0o755,
    })
    const { status, output } = await run('test', {
      CI: 'true',
      PATH: `${join(path, 'bin')}:${process.env.PATH}`,
    })
    expect(status).toBe(1)
    expect(output).toMatch(/In CI nothing may be skipped|apt-get could not install x-package/)
  })
})

describe('a machine without Chromium', () => {
  const row =
    "[{ name: 'chromium', path: '/nowhere/x', package: 'x-package', variable: 'POSTERN_CHROMIUM', suites: 'tests in a browser' }]"
  /** A clone whose install has a Node, and a browser to fetch that `unpack` makes known. */
  const withBrowser = async (unpack: string): Promise<Clone> => {
    const made = await clone(row)
    await mkdir(join(made.path, 'peers/chromium'), { recursive: true })
    await writeFile(join(made.path, 'peers/chromium/package-lock.json'), '{ "lockfileVersion": 3 }')
    await writeFile(join(made.path, 'peers/chromium/unpack.mjs'), unpack)
    await mkdir(join(made.path, 'node_modules/.bin'), { recursive: true })
    await writeFile(join(made.path, 'node_modules/.package-lock.json'), '{}')
    await symlink(process.execPath, join(made.path, 'node_modules/.bin/node'))
    return made
  }
  const runs = `import { writeFileSync } from 'node:fs'
if (!process.env.TMPDIR.endsWith('.unpacked') || !process.env.AWS_LAMBDA_JS_RUNTIME) process.exit(1)
writeFileSync(process.argv[2], JSON.stringify({ path: process.execPath, args: [], env: {} }))`

  it('fetches one from npm, once, and then misses none', async () => {
    const { path, run } = await withBrowser(runs)
    const first = await run('test', { PATH: '' })
    const fetching = 'There is no Chromium on this machine. Fetching one for the tests (once, 66 MB) …\n'
    expect(first).toEqual({ status: 0, output: fetching })
    expect(await readFile(join(path, 'peers/chromium/npm.log'), 'utf8')).toBe('ci\n')
    expect(await run('test', { PATH: '' })).toEqual({ status: 0, output: '' })
  })

  it('says that the tests in a browser are skipped where it does not run, and where it cannot be fetched', async () => {
    const skipped = 'Not on this machine: chromium. Skipped without it: tests in a browser.'
    const broken = await withBrowser("console.error('no such library'); process.exit(1)")
    const first = await broken.run('test', { PATH: '' })
    expect(first.status).toBe(0)
    for (const said of ['no such library', 'does not run here', skipped]) expect(first.output).toContain(said)
    const offline = await withBrowser(runs)
    await writeFile(join(offline.path, 'peers/chromium/npm-fails'), '')
    const second = await offline.run('test', { PATH: '' })
    expect(second.status).toBe(0)
    for (const said of ['npm error network', 'could not be fetched', skipped])
      expect(second.output).toContain(said)
  })

  it('fetches none where a variable says where it is, nor for other commands than npm test', async () => {
    const { run } = await withBrowser(runs)
    const named = await run('test', { PATH: '', POSTERN_CHROMIUM: '/nowhere' })
    expect([named.status, named.output.includes('Fetching')]).toEqual([0, false])
    for (const mode of ['start', 'tools'])
      expect(await run(mode, { PATH: '' })).toEqual({ status: 0, output: '' })
  })
})
