// What memory a gateway holds when its garbage is collected.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PosternProcess } from '../../test/runtimes/process.ts'

const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export interface Memory {
  readonly rss: number
  readonly heapUsed: number
}

/** Options for `startProcess`, and the question; figures in MiB. */
export const watchMemory = (dir: string) => {
  const report = join(dir, 'memory.jsonl')
  const lines = (): string[] =>
    existsSync(report) ? readFileSync(report, 'utf8').split('\n').filter(Boolean) : []
  return {
    options: {
      command: [
        process.execPath,
        '--expose-gc',
        // As `npm start` does.
        '--max-semi-space-size=16',
        '--import',
        file('./memory-on-signal.ts'),
        file('../../src/cli/main.ts'),
      ],
      env: { MEMORY_REPORT: report },
    },
    async of(gateway: Pick<PosternProcess, 'pid'>): Promise<Memory> {
      const before = lines().length
      process.kill(gateway.pid, 'SIGUSR2')
      while (lines().length === before) await new Promise((resolve) => setTimeout(resolve, 20))
      const { rss, heapUsed } = JSON.parse(lines().at(-1) as string) as Memory
      return { rss: rss / 1_048_576, heapUsed: heapUsed / 1_048_576 }
    },
  }
}
