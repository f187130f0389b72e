// Processes of one store, and races between them.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { Store } from '../../src/ports/store.ts'
import { compileCache } from '../runtimes/process.ts'

/** A process with the store of this configuration; SQLite in the state directory where there is none. */
export const forkStore = (stateDir: string, storage: object = {}): ChildProcess =>
  fork(join(import.meta.dirname, 'store-process.ts'), [stateDir, JSON.stringify(storage)], {
    execArgv: [],
    env: { ...process.env, ...compileCache },
  })

/** What it says next, after this message. */
export const answer = async (of: ChildProcess, message?: object): Promise<unknown> => {
  const coming = once(of, 'message')
  if (message) of.send(message)
  return (await coming)[0] as unknown
}

/** Each process has so many takers, or writers, for one record at once. Of all of them one may win each round. */
export const race = async (
  processes: readonly ChildProcess[],
  store: Store,
  { rounds, parallel }: { readonly rounds: number; readonly parallel: number },
): Promise<void> => {
  await Promise.all(processes.map((one) => answer(one)))
  const each = Array.from({ length: rounds }, (_, i) => i)
  for (const kind of ['take', 'absent', 'mark']) {
    if (kind !== 'absent') await Promise.all(each.map((i) => store.put(`${kind}:${i}`, 'start')))
    const marks =
      kind === 'mark' ? await Promise.all(each.map(async (i) => (await store.get(`${kind}:${i}`))?.mark)) : []
    const wins = (await Promise.all(
      processes.map((one) => answer(one, { kind, rounds, parallel, marks })),
    )) as number[][]
    for (const i of each)
      expect(
        wins.reduce((sum, of) => sum + (of[i] ?? 0), 0),
        `${kind} ${i}`,
      ).toBe(1)
    if (kind === 'take') expect(await store.list('take:')).toEqual([])
  }
}
