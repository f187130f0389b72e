// The other process of the contracts of stores: opens what it is given and races when told to.
import { randomBytes } from 'node:crypto'
import { Refusal } from '../../src/kit/refusal.ts'
import { openStore } from '../../src/node/store.ts'
import type { Mark } from '../../src/ports/store.ts'

interface Race {
  readonly kind: 'take' | 'absent' | 'mark' | 'write'
  readonly rounds: number
  readonly parallel: number
  readonly marks: readonly Mark[]
}

const [stateDir = '', storage = '{}'] = process.argv.slice(2)
const { store } = await openStore({
  config: { storage: { type: 'sqlite', ...(JSON.parse(storage) as object) } },
  stateDir,
  now: Date.now,
  // A computer may be slow.
  timer(ms, run) {
    const timeout = setTimeout(run, ms * 20)
    return () => clearTimeout(timeout)
  },
  random: (n) => new Uint8Array(randomBytes(n)),
  log: () => undefined,
  product: '0.0.0-test',
})

const once = (race: Race, i: number): Promise<unknown> => {
  if (race.kind === 'take') return store.take(`take:${i}`)
  return store.put(
    `${race.kind}:${i}`,
    String(i),
    race.kind === 'absent' ? { only: 'absent' } : race.kind === 'mark' ? { only: race.marks[i]! } : {},
  )
}

/** On a busy computer a file may be locked for longer than anybody waits; nothing was done then. */
const attempt = async (race: Race, i: number): Promise<unknown> => {
  for (;;)
    try {
      return await once(race, i)
    } catch (error) {
      if (!(error instanceof Refusal && error.code === 'storage.unavailable')) throw error
    }
}

const run = async (race: Race): Promise<void> => {
  const wins: number[] = []
  for (let i = 0; i < race.rounds; i++) {
    const answers = await Promise.all(Array.from({ length: race.parallel }, () => attempt(race, i)))
    wins.push(answers.filter((answer) => answer !== undefined).length)
    // A killed process must have been able to say what it had been told was written.
    if (race.kind === 'write') await new Promise((sent) => process.send?.(wins.length, sent))
  }
  process.send?.(wins)
}

// A store that is open would keep it running after whoever started it.
process.on('disconnect', () => process.exit())
process.on('message', (race: Race) => void run(race))
process.send?.('ready')
