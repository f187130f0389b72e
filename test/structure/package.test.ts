// What the package promises whoever installs it: exact versions, no install script in production, one idea of
// the oldest Node.
import { describe, expect, it } from 'vitest'
import { readRoot, sourcesIn } from './sources.ts'

interface Manifest {
  readonly engines: { readonly node: string }
  readonly exports: Record<string, string | Record<string, string>>
  readonly scripts: Record<string, string>
  readonly dependencies: Record<string, string>
  readonly optionalDependencies: Record<string, string>
  readonly devDependencies: Record<string, string>
}
interface Locked {
  readonly version: string
  readonly dev?: boolean
  readonly devOptional?: boolean
  readonly hasInstallScript?: boolean
  readonly link?: boolean
}

const manifest = JSON.parse(readRoot('package.json')) as Manifest
const lock = JSON.parse(readRoot('package-lock.json')) as { packages: Record<string, Locked> }

describe('the package', () => {
  it('pins every dependency to one version', () => {
    const versions = Object.entries({
      ...manifest.dependencies,
      ...manifest.optionalDependencies,
      ...manifest.devDependencies,
    })
    expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))).toEqual([])
  })

  it('runs no install script in production', () => {
    const scripted = Object.entries(lock.packages).filter(([, entry]) => entry.hasInstallScript && !entry.dev)
    expect(scripted.map(([path]) => path)).toEqual([])
    for (const hook of ['preinstall', 'install', 'postinstall', 'prepare'])
      expect(manifest.scripts).not.toHaveProperty(hook)
  })

  it('locks a Node for every platform it names', () => {
    for (const [name, version] of Object.entries(manifest.optionalDependencies))
      expect(lock.packages[`node_modules/${name}`]?.version).toBe(version)
  })

  it('ships what it names: every entry has a source that the build turns into it', () => {
    const entries = [
      ...Object.values(manifest.exports).flatMap((entry) =>
        typeof entry === 'string' ? [] : Object.values(entry),
      ),
      './dist/cli/main.js',
    ]
    const sources = new Set(sourcesIn('src', '.ts').map(({ path }) => path))
    expect(
      entries.filter(
        (entry) => !sources.has(entry.replace(/^\.\/dist\//, 'src/').replace(/(\.d\.ts|\.js)$/, '.ts')),
      ),
    ).toEqual([])
  })

  it('replaces the shell when it starts, so that a signal to npm reaches the gateway', () =>
    expect(manifest.scripts.start).toMatch(/&& exec node --max-semi-space-size=16 bin\/postern\.mjs$/))

  it('asks for the same oldest Node everywhere', () => {
    expect(manifest.engines.node).toBe('>=24.12.0')
    expect(readRoot('bin/postern.mjs')).toContain('const least = [24, 12]')
    expect(readRoot('vitest.config.ts')).toContain('major === 24 && minor < 12')
  })

  it('is checked by .ci/run with the tests and everything that npm run check judges', () => {
    const run = readRoot('.ci/run')
    for (const command of ['npm test', 'npm run --silent check']) expect(run).toContain(command)
    expect(readRoot('scripts/check.ts')).toContain("[program('oxlint'), '--deny-warnings']")
  })

  it('starts no file that the build does not have: the reaper and the threads of the audit trail are started from their own file', () => {
    const named = sourcesIn('src', '.ts').flatMap(({ path, text }) =>
      [...text.matchAll(/new URL\(\s*(['`])(\.\/[^'`]+)\1/g)].map(([, , name = '']) => ({ path, name })),
    )
    expect(named).toEqual([])
    const startsItself = sourcesIn('src', '.ts').filter(({ text }) =>
      text.includes('fileURLToPath(import.meta.url)'),
    )
    expect(startsItself.map(({ path }) => path)).toEqual([
      'src/node/audit-queries.ts',
      'src/node/audit-writer.ts',
      'src/node/process/reaper.ts',
    ])
  })

  it('prepares the machine inside each script, and has no hook but the one that npm pack needs', () => {
    const names = Object.keys(manifest.scripts)
    expect(names.filter((name) => /^(?:pre|post)/.test(name))).toEqual(['prepack'])
    const unprepared = Object.entries(manifest.scripts).filter(
      ([, command]) => !command.startsWith('node scripts/bootstrap.mjs '),
    )
    expect(unprepared.map(([name]) => name)).toEqual(['prepack'])
  })
})
