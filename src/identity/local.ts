// People whose passwords are in the configuration.
import { sha256 } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Config } from '../config/schema.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'

export interface LocalPeople {
  /** Whether anybody signs in with a password. */
  readonly any: boolean
  /**
   * The person, when username and password belong together; an unknown username takes as long as a wrong password.
   * `known`: the username signed in from this browser before, so a crowd of strangers does not keep it out. Throws `rate.limited`.
   */
  check(username: string, password: string, known: boolean): Promise<Person | undefined>
}

export interface LocalPeopleDeps {
  readonly runtime: Pick<Runtime, 'passwords'>
  readonly users: Config['local_users']
}

type User = Config['local_users'][number]

// One keyboard's "é" must be another's (RFC 8265 §4.2.2: NFC for passwords).
const normal = (text: string): string => text.normalize('NFC')
const longest = 1024
// A hash costs tens of milliseconds and megabytes: strangers may queue this many at once, known browsers as many again.
const queue = 32

const personOf = (user: User): Person => ({
  provider: 'local',
  subject: user.username,
  login: user.username,
  name: user.name ?? user.username,
  groups: user.groups,
  ...(user.email === undefined ? {} : { email: user.email }),
})

/** Plain passwords of the configuration are hashed once, before the first check, so that every check costs the same. */
export const createLocalPeople = ({ runtime, users }: LocalPeopleDeps): LocalPeople => {
  let hashes: Promise<readonly string[]> | undefined
  const ready = (): Promise<readonly string[]> =>
    (hashes ??= Promise.all(users.map(async (user) => user.password_hash ?? runtime.passwords.hash(normal(user.password ?? '')))))

  let inHand = 0
  const unhurried = async (known: boolean, work: () => Promise<boolean>): Promise<boolean> => {
    if (inHand >= (known ? 2 * queue : queue)) throw new Refusal('rate.limited', 'password checks in hand', { headers: { 'retry-after': '1' } })
    inHand++
    try {
      return await work()
    } finally {
      inHand--
    }
  }

  return {
    any: users.length > 0,
    async check(username, password, known) {
      const stored = await ready()
      if (stored.length === 0) return undefined
      const name = normal(username)
      const index = users.findIndex((user) => normal(user.username) === name)
      // Nobody's name still costs one hash, with the parameters of somebody's, always the same somebody's for that name: time tells nothing.
      const stand = ((await sha256(name))[0] ?? 0) % stored.length
      const right = await unhurried(known, () => runtime.passwords.verify(normal(password).slice(0, longest), stored[index < 0 ? stand : index] as string))
      const user = users[index]
      return right && user && password.length <= longest ? personOf(user) : undefined
    },
  }
}
