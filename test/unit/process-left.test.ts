// What counts as left of a process that the gateway started.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { anythingLeft } from '../../src/node/process/reaper.ts'

const started = (...[command, ...args]: [string, ...string[]]): ChildProcess => {
  const child = spawn(command, args, { detached: true, stdio: ['ignore', 'pipe', 'ignore'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

describe.skipIf(process.platform !== 'linux')('what is left of a process', () => {
  it('is everything of its group that runs', async () => {
    const child = started('sleep', '60')
    const pid = child.pid ?? 0
    expect(anythingLeft(pid, 'no mark')).toBe(true)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(anythingLeft(pid, 'no mark')).toBe(false)
  })

  it('is not what has ended and was never collected by its parent', async () => {
    // A process in a group of its own; what started it becomes a program that waits for nobody.
    const parent = started('sh', '-c', 'setsid sh -c "echo \\$\\$" & exec sleep 60')
    const lines = createInterface({ input: parent.stdout as NodeJS.ReadableStream })
    const [line] = (await once(lines, 'line')) as [string]
    const pid = Number(line)
    await vi.waitFor(() => expect(readFileSync(`/proc/${pid}/stat`, 'latin1')).toContain(') Z '), 5000)
    expect(process.kill(-pid, 0)).toBe(true)
    expect(anythingLeft(pid, 'no mark')).toBe(false)
  })
})
