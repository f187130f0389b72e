// The reaper, a process of its own. It reads which processes run. When its input ends while some still run,
// the gateway is dead, and the reaper ends them.
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { anythingLeft, signalAll } from './supervise.ts'

/** Well-behaved servers end by themselves when their input does. */
const graceMs = 2000
const termMs = 2000

const running = new Map<number, string>()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)

const left = (): [number, string][] => [...running].filter(([leader, mark]) => anythingLeft(leader, mark))

for await (const line of createInterface({ input: process.stdin })) {
  const [, sign, leader, mark = ''] = /^([+-])(\d+)(?: (\S+))?$/.exec(line) ?? []
  if (sign === '+') running.set(Number(leader), mark)
  else if (sign === '-') running.delete(Number(leader))
}

// The input has ended, so the gateway is dead.
for (const [signal, ms] of [
  ['SIGTERM', graceMs],
  ['SIGKILL', termMs],
] as const) {
  for (let waited = 0; waited < ms && left().length > 0; waited += 200) await pause(200)
  for (const [leader, mark] of left()) signalAll(leader, mark, signal)
}
process.exit(0)
