// The other process of the SQLite contract: opens the file it is given and races when told to.
import { openSqliteStore } from '../../src/node/store.ts'
import type { Mark } from '../../src/ports/store.ts'

interface Race {
  readonly kind: 'take' | 'absent' | 'mark' | 'write'
  readonly rounds: number
  readonly parallel: number
  readonly marks: readonly Mark[]
}

const { store } = openSqliteStore(process.argv[2] ?? '', { now: () => Date.now() })

const attempt = (race: Race, i: number): Promise<unknown> => {
  if (race.kind === 'take') return store.take(`take:${i}`)
  return store.put(
    `${race.kind}:${i}`,
    String(i),
    race.kind === 'absent' ? { only: 'absent' } : race.kind === 'mark' ? { only: race.marks[i]! } : {},
  )
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

process.on('message', (race: Race) => void run(race))
process.send?.('ready')
