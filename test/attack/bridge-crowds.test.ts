// Many people, starts and ends at once in front of servers on standard input and output; and what never comes
// of it.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { compileCache } from '../runtimes/process.ts'
import type { CyclesReport } from '../stdio/cycles-process.ts'
import { saidBy } from '../stdio/world.ts'
import { useWorlds } from '../stdio/worlds.ts'

const run = promisify(execFile)
const cycles = fileURLToPath(new URL('../stdio/cycles-process.ts', import.meta.url))

const world = useWorlds()

describe('never without bounds: many at once', () => {
  it('never have more processes than allowed: fifty people start at the same moment, all are served in their turn [H-N8]', async () => {
    const { client, bridge } = world({ bridge: { maxProcesses: 5, startMs: 60_000 } })
    let most = 0
    const everybody = Array.from({ length: 50 }, async (_, n) => {
      const somebody = client(`person-${n}`)
      expect((await somebody.initialize()).error).toBeUndefined()
      most = Math.max(most, bridge.processes().length)
      expect(saidBy(await somebody.tool('echo', { n }))).toMatchObject({ n })
      await somebody.fetch('DELETE', undefined, somebody.session)
    })
    await Promise.all(everybody)
    expect(most).toBeLessThanOrEqual(5)
  }, 90_000)

  it('never leave a zombie, after hundreds of beginnings and ends [H-N8]', async () => {
    const { stdout } = await run(process.execPath, [cycles, '8'], {
      env: { ...process.env, ...compileCache },
    })
    expect(JSON.parse(stdout)).toEqual({ started: 200, alive: [], zombies: [] } satisfies CyclesReport)
  }, 90_000)
})
