// Many people, starts and ends at once in front of servers on standard input and output; and what never comes
// of it.
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { createNodeSpawn } from '../../src/node/process/spawn.ts'
import { isAlive, saidBy } from '../stdio/world.ts'
import { useWorlds } from '../stdio/worlds.ts'

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

  it('never leave a zombie, after a thousand beginnings and ends [H-N8]', async () => {
    const { stateDir } = world()
    const { spawn: start, close } = createNodeSpawn({ stateDir })
    const plan = {
      service: 'cycles',
      owner: 'nobody',
      command: 'cat',
      args: [],
      env: {},
      about: {},
      cwd: undefined,
      sandbox: 'none',
      network: true,
      read: [],
      write: [],
    } as const
    const pids: number[] = []
    const cycle = async (): Promise<void> => {
      const child = start(plan, {
        line: () => undefined,
        garbage: () => undefined,
        oversized: () => undefined,
        ended: () => undefined,
      })
      pids.push(child.pid ?? 0)
      await child.stop()
    }
    for (let round = 0; round < 40; round++) await Promise.all(Array.from({ length: 25 }, cycle))
    expect(pids).toHaveLength(1000)
    expect(pids.filter(isAlive)).toEqual([])
    const states = execFileSync('ps', ['-o', 'stat=', '--ppid', String(process.pid)], {
      encoding: 'utf8',
    }).split('\n')
    expect(states.filter((state) => state.startsWith('Z'))).toEqual([])
    await close()
  }, 90_000)
})
