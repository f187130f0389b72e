// `postern sessions`: the browsers that are signed in, and the end of one, or of all of a user. `postern keys`: the keys
// that sign access tokens, and the next one made before it is due.
import type { Command } from 'commander'
import { printable } from '../config/tree.ts'
import type { Gateway } from '../gateway.ts'
import { keysOf } from '../settings.ts'
import type { AdminTarget } from './admin.ts'
import { count, print, printTable, UsageError } from './output.ts'
import { targetOf, verb } from './verbs.ts'

const at = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16)}Z`

const listSessions = async (target: AdminTarget, user: string | undefined): Promise<void> => {
  const { withRecords } = await import('./access.ts')
  await withRecords(target, async ({ access }) => {
    const { sessions, truncated } = await access.browserSessions.list(user)
    if (target.json)
      return target.json({
        sessions: sessions.map(({ signedInAt, seenAt, endsAt, ...session }) => ({
          ...session,
          signed_in_at: new Date(signedInAt).toISOString(),
          seen_at: new Date(seenAt).toISOString(),
          ends_at: new Date(endsAt).toISOString(),
        })),
        truncated,
      })
    if (sessions.length === 0) return print('Nobody is signed in.')
    printTable([
      ['ID', 'USER', 'SIGNED IN', 'LAST SEEN', 'ENDS'],
      ...sessions.map(({ id, user: whose, email = whose, signedInAt, seenAt, endsAt }) => [
        id,
        printable(email, 80),
        at(signedInAt),
        at(seenAt),
        at(endsAt),
      ]),
    ])
    if (truncated) print('There are more: only the first 1,000 sessions were read. Use --user.')
  })
}

const endSessions = async (
  target: AdminTarget,
  id: string | undefined,
  user: string | undefined,
): Promise<void> => {
  if ((id === undefined) === (user === undefined))
    throw new UsageError('Name a session, or a user with --user.')
  const { withRecords } = await import('./access.ts')
  await withRecords(target, async ({ access }) => {
    if (id !== undefined) await access.browserSessions.end(id, 'cli')
    const ended = user === undefined ? 1 : await access.signOut(user, 'cli')
    if (target.json) target.json({ ended })
    else if (user === undefined) print('The session ended. Apps keep their access.')
    else
      print(
        `${count(ended, 'session')} ended, and all personal access tokens of the user. Apps keep their access.`,
      )
  })
}

export const addSessionVerbs = (sessions: Command): void => {
  const user = (command: Command): Command =>
    command.option('--user <user>', 'Of this user: provider:subject or email address.')
  user(verb(sessions, 'ls', 'List the browsers that are signed in.')).action(
    async (options: { readonly user?: string }, command: Command) =>
      listSessions(await targetOf(command), options.user),
  )
  user(
    verb(sessions, 'end', 'End a session, or all sessions and personal access tokens of a user.').argument(
      '[id]',
      'Its ID.',
    ),
  ).action(async (id: string | undefined, options: { readonly user?: string }, command: Command) =>
    endSessions(await targetOf(command), id, options.user),
  )
}

// Signing keys.

const withKeys = async (target: AdminTarget, work: (gateway: Gateway) => Promise<void>): Promise<void> =>
  (await import('./access.ts')).withRecords(target, work)

const words = { next: 'next', signs: 'signs', verifies: 'verifies only' } as const

const clock = { now: () => performance.timeOrigin + performance.now() }

const listKeys = (target: AdminTarget): Promise<void> =>
  withKeys(target, async ({ signer }) => {
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
  withKeys(target, async ({ signer }) => {
    const { kid, signsFrom, made } = await signer.rotate('cli')
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
