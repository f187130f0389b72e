// `postern keys`: the keys that sign access tokens, and the next one made before it is due.
import type { Command } from 'commander'
import { keysOf } from '../settings.ts'
import { withRecords } from './access.ts'
import type { AdminTarget } from './admin.ts'
import { print, printTable } from './output.ts'
import { targetOf, verb } from './verbs.ts'

const at = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16)}Z`
const words = { next: 'next', signs: 'signs', verifies: 'verifies only' } as const

const clock = { now: () => performance.timeOrigin + performance.now() }

const listKeys = (target: AdminTarget): Promise<void> =>
  withRecords(target, async ({ signer }) => {
    const { keys, nextAt } = await keysOf({ signer, runtime: clock })
    if (target.json)
      return target.json({
        keys: keys.map(({ id, state, madeAt, at: when }) => ({
          id,
          state,
          made_at: new Date(madeAt).toISOString(),
          ...(state === 'next' && when !== undefined && { signs_from: new Date(when).toISOString() }),
          ...(state === 'verifies' && when !== undefined && { accepted_until: new Date(when).toISOString() }),
        })),
        next_at: new Date(nextAt).toISOString(),
      })
    printTable([
      ['KEY', 'STATE', 'MADE', 'FROM OR UNTIL'],
      ...keys.map(({ id, state, madeAt, at: when }) => [
        id,
        words[state],
        at(madeAt),
        when === undefined ? '' : at(when),
      ]),
    ])
  })

const rotateKey = (target: AdminTarget): Promise<void> =>
  withRecords(target, async ({ signer, record }) => {
    const { kid, signsFrom, made } = await signer.rotate()
    if (made) record({ event: 'key.rotated', key: kid, signs_from: signsFrom, by: 'cli' })
    if (target.json) return target.json({ key: kid, signs_from: new Date(signsFrom).toISOString(), made })
    print(
      made
        ? `Made key ${kid}. It signs from ${at(signsFrom)}; tokens of the key before stay valid until they expire.`
        : `Key ${kid} is made already and signs from ${at(signsFrom)}.`,
    )
  })

export const addKeyVerbs = (keys: Command): void => {
  verb(keys, 'ls', 'List the keys that sign access tokens.').action(async (_, command: Command) =>
    listKeys(await targetOf(command)),
  )
  verb(keys, 'rotate', 'Make the next key now, before it is due.').action(async (_, command: Command) =>
    rotateKey(await targetOf(command)),
  )
}
