// Limits of stdio servers: what a process of theirs is told, and what happens where they cannot be set.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { createNodeSpawn } from '../../src/node/process/spawn.ts'
import type { ProcessEnd, ProcessPlan } from '../../src/ports/runtime.ts'

const stateDir = mkdtempSync(join(tmpdir(), 'postern-limits-'))
afterAll(() => rmSync(stateDir, { recursive: true, force: true }))

interface Run {
  readonly lines: readonly string[]
  readonly end: ProcessEnd
}

const run = async (
  script: string,
  limits: ProcessPlan['limits'],
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Run> => {
  const { spawn, close } = createNodeSpawn({ stateDir, env })
  const lines: string[] = []
  const end = await new Promise<ProcessEnd>((resolve) => {
    const plan = { service: 's', owner: 'o', command: '/bin/sh', args: ['-c', script], env: {}, about: {} }
    const where = { cwd: undefined, sandbox: 'none', network: true, read: [], write: [] } as const
    const ignored = { garbage: () => undefined, oversized: () => undefined }
    spawn({ ...plan, ...where, limits }, { ...ignored, line: (text) => lines.push(text), ended: resolve })
  })
  await close()
  return { lines, end }
}

const told = 'ulimit -d; ulimit -t; ulimit -n; sh -c "ulimit -n"'

describe('Limits for a process', () => {
  it('hold for it and for what it starts', async () => {
    const limits = { memory: 64, cpu_time: 7, open_files: 33 }
    expect((await run(told, limits)).lines).toEqual(['65536', '7', '33', '33'])
  })

  it('leave what is not limited as it is', async () => {
    const free = (await run(told, undefined)).lines
    expect((await run(told, { open_files: 33 })).lines).toEqual([free[0], free[1], '33', '33'])
    expect((await run(told, {})).lines).toEqual(free)
  })

  it('never start a command without them, where they cannot be set', async () => {
    const { lines, end } = await run(told, { memory: 64 }, { PATH: '/nowhere' })
    expect({ lines, end }).toEqual({
      lines: [],
      end: {
        kind: 'refused',
        say: 'The MCP server could not be started: its limits cannot be set on this computer.',
        why: 'process_limits needs Linux and prlimit, which is not in PATH: install util-linux, or remove process_limits',
      },
    })
  })
})
