// The README's second command as a stranger runs it: a clone of its own, and a machine without Chromium and
// bubblewrap.
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findProgram } from '../../scripts/system-programs.mjs'
import { sourcesIn } from './sources.ts'
import { root, type Outcome } from './tree.ts'

const inPath = async (name: string): Promise<string> => {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const place = folder.endsWith('node_modules/.bin')
      ? undefined
      : await realpath(join(folder, name)).catch(() => undefined)
    if (place !== undefined) return place
  }
  throw new Error(`${name} is not in PATH`)
}

const files = [
  'package.json',
  'package-lock.json',
  'vitest.config.ts',
  'wrangler.jsonc',
  'scripts',
  'src',
  'test',
]

describe('npm test on a machine without Chromium and bubblewrap', () => {
  let place: string
  beforeAll(async () => {
    place = await mkdtemp(join(tmpdir(), 'postern-clone-'))
    await Promise.all(
      files.map((file) => cp(join(root, file), join(place, 'clone', file), { recursive: true })),
    )
    await symlink(join(root, 'node_modules'), join(place, 'clone/node_modules'), 'dir')
    await mkdir(join(place, 'bin'))
    for (const name of ['node', 'npm', 'sh', 'env'])
      await symlink(await inPath(name), join(place, 'bin', name))
  })
  afterAll(() => rm(place, { recursive: true, force: true }))

  const npmTest = (...args: string[]): Promise<Outcome> =>
    new Promise((resolve) => {
      const nowhere = join(place, 'nowhere')
      const env = {
        PATH: join(place, 'bin'),
        HOME: place,
        POSTERN_CHROMIUM: nowhere,
        POSTERN_BWRAP: nowhere,
        POSTERN_NGINX: nowhere,
        POSTERN_CADDY: nowhere,
        POSTERN_REDIS_SERVER: nowhere,
        POSTERN_POSTGRES: nowhere,
        npm_config_update_notifier: 'false',
      }
      // Nothing is run, so Node may strip the types, which takes less time.
      const cheaply = ['--experimental.viteModuleRunner=false']
      execFile(
        'npm',
        ['test', '--', ...cheaply, ...args],
        { cwd: join(place, 'clone'), env },
        (error, stdout, stderr) => {
          resolve({
            status: typeof error?.code === 'number' ? error.code : error ? 1 : 0,
            output: stdout + stderr,
          })
        },
      )
    })

  it(
    'passes, says what it skips and how to have it, and starts nothing of that',
    { timeout: 120_000 },
    async () => {
      const suites = [
        'test/e2e/pages-',
        'test/e2e/browser-client',
        'test/e2e/hostile-pages',
        'test/attack/bridge-isolation',
        'test/e2e/behind-nginx',
        'test/e2e/forward-auth',
      ]
      const { status, output } = await npmTest(
        ...suites,
        '-t',
        'a person signs in|page|never outside|around it|asks the gateway',
      )
      expect([status, /\n(\d+) passed, (\d+) failed, (\d+) skipped\n/.exec(output)?.slice(1, 3)]).toEqual([
        0,
        ['0', '0'],
      ])
      expect(output).toContain('Not on this machine: chromium. Skipped without it: tests in a browser.\n')
      expect(output).toContain('Not on this machine: bwrap. Skipped without it: tests of isolated servers.\n')
      expect(output).toMatch(
        /this installs what is missing: (sudo )?apt-get install .* chromium bubblewrap nginx-light caddy redis-server postgresql\n/,
      )
    },
  )
})

describe('a program that a machine may lack', () => {
  it('is where its variable says, and nowhere else', () => {
    for (const [name, variable] of [
      ['chromium', 'POSTERN_CHROMIUM'],
      ['bwrap', 'POSTERN_BWRAP'],
    ] as const) {
      expect(findProgram(name, { PATH: process.env['PATH'], [variable]: '/nowhere' })).toBeUndefined()
      expect(findProgram(name, { PATH: '', [variable]: process.execPath })).toBe(process.execPath)
    }
  })

  it('is started by tests in one place, which knows whether it is there', () => {
    const starts = sourcesIn('test', '.ts').filter(({ text }) =>
      /chromium\.launch\(|executablePath|['"]\/usr\/bin\/(?:chromium|bwrap)/.test(text),
    )
    const known = [
      'test/runtimes/chromium.ts',
      'test/structure/test-command.test.ts',
      'test/unit/cli-isolation.test.ts',
    ]
    expect(starts.map(({ path }) => path).filter((path) => !known.includes(path))).toEqual([])
  })
})
