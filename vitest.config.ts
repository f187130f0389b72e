// How the tests run: which folder belongs to which project, and how long a test may take. Sized for two cores.
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { compileCache } from './test/runtimes/process.ts'

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 12)) {
  throw new Error(
    `The tests need Node 24.12 or newer and this is ${process.versions.node}. Run "npm test", which brings its own Node, or put node_modules/.bin first in PATH.`,
  )
}

// Workers inherit it, and so does whatever they start.
Object.assign(process.env, compileCache)

/** Files whose tests take long though they are few lines: begun last, each would be waited for alone. */
const slow = /\/(?:passwords|test-command|policy-properties|bootstrap|walls|pages-look)\.test\.ts$/

class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isSlow = ({ moduleId }: TestSpecification): boolean => slow.test(moduleId)
    return [...sorted.filter(isSlow), ...sorted.filter((file) => !isSlow(file))]
  }
}

const filesIn = (...folders: string[]): string[] => folders.map((folder) => `test/${folder}/**/*.test.ts`)

export default defineConfig({
  test: {
    environment: 'node',
    passWithNoTests: false,
    allowOnly: false,
    pool: 'forks',
    // A worker imports the sources once for all of its files. No file changes what another could see, and each
    // ends what it starts.
    isolate: false,
    // More than twice the cores: about half of the time of a test is spent waiting.
    maxWorkers: 5,
    sequence: { sequencer: SlowFirst },
    // Real timers and real sockets: a run on a loaded machine may be slow, never wrong.
    hookTimeout: 30_000,
    expect: { poll: { timeout: 20_000 } },
    teardownTimeout: 10_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: filesIn('unit', 'contract', 'docs', 'structure'),
          globalSetup: 'test/runtimes/postgres-server.ts',
          testTimeout: 30_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'flow',
          include: filesIn('flow', 'attack'),
          globalSetup: ['test/runtimes/command-line.ts', 'test/runtimes/postgres-server.ts'],
          testTimeout: 30_000,
        },
      },
      // The built artifact, other processes, browsers.
      {
        extends: true,
        test: {
          name: 'e2e',
          include: filesIn('e2e'),
          globalSetup: ['test/runtimes/command-line.ts', 'test/runtimes/postgres-server.ts'],
          testTimeout: 90_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
