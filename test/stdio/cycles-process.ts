// Starts and ends many processes, 25 at a time, and says what is left of them; its argument is how often. A
// process of its own, because the time to start another grows with the memory of the one that starts it, and a
// test worker has much.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNodeSpawn } from '../../src/node/process/spawn.ts'
import { isAlive } from './world.ts'

export interface CyclesReport {
  readonly started: number
  readonly alive: readonly number[]
  readonly zombies: readonly string[]
}

const stateDir = mkdtempSync(join(tmpdir(), 'postern-cycles-'))
const { spawn, close } = createNodeSpawn({ stateDir })
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
  const child = spawn(plan, {
    line: () => undefined,
    garbage: () => undefined,
    oversized: () => undefined,
    ended: () => undefined,
  })
  if (child.pid !== undefined) pids.push(child.pid)
  await child.stop()
}
for (let rounds = Number(process.argv[2]); rounds > 0; rounds--)
  await Promise.all(Array.from({ length: 25 }, cycle))
const states = execFileSync('ps', ['-o', 'stat=', '--ppid', String(process.pid)], { encoding: 'utf8' }).split(
  '\n',
)
const report: CyclesReport = {
  started: pids.length,
  alive: pids.filter(isAlive),
  zombies: states.filter((state) => state.startsWith('Z')),
}
await close()
rmSync(stateDir, { recursive: true, force: true })
console.log(JSON.stringify(report))
