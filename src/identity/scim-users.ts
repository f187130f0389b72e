// Users whom a provider provisions (SCIM 2.0, RFC 7643): what it says of each is kept, and whoever is deactivated or
// deleted there is kept out by the names that the sign-in tells.
import { encodeBase64url } from '../kit/bytes.ts'
import { type Records, createRecords } from '../kit/records.ts'
import type { Blocks } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'

/** What is kept of a user. Everything else that a provider sends is passed over (RFC 7644 §3.3). */
export interface ScimUser {
  readonly userName: string
  readonly externalId?: string
  readonly active: boolean
  readonly displayName?: string
  readonly name?: Readonly<Record<string, string>>
  readonly emails?: readonly ScimEmail[]
}

export interface ScimEmail {
  readonly value: string
  readonly type?: string
  readonly primary?: boolean
}

/** Sealed, under `scim-user:{provider}:{id}`. */
export interface StoredUser {
  readonly user: ScimUser
  /** Epoch ms. */
  readonly created: number
  readonly changed: number
}

export interface FoundUser {
  readonly id: string
  readonly value: StoredUser
  readonly mark: string
}

export interface ScimUsers {
  get(id: string): Promise<FoundUser | undefined>
  byUserName(userName: string): Promise<FoundUser | undefined>
  all(): AsyncIterable<readonly Omit<FoundUser, 'mark'>[]>
  /** Undefined where another user has that name. */
  create(user: ScimUser): Promise<FoundUser | undefined>
  /** `taken`: another user has that name. `raced`: the record changed since it was read. */
  replace(found: FoundUser, user: ScimUser): Promise<FoundUser | 'taken' | 'raced'>
  /** The user stays out until the provider creates one with the same names. */
  remove(found: FoundUser): Promise<void>
}

type ScimRuntime = Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>

/** Names of deleted users are kept as long as a grant may live at most, and a sign-in before it. */
const keptMs = 400 * 86_400_000
const usersAtOnce = 500

const folded = (name: string): string => name.normalize('NFC').toLowerCase()

/** The names by which the user may sign in at the provider. */
export const namesOf = ({ userName, externalId, emails = [] }: ScimUser): readonly string[] => [
  ...new Set(
    [userName, externalId, ...emails.map(({ value }) => value)].flatMap((name) =>
      name === undefined || name === '' ? [] : [folded(name)],
    ),
  ),
]

/** Whether a person of that provider is this user. */
export const isUser = (person: Person, user: ScimUser): boolean => {
  const names = namesOf(user)
  return [person.subject, person.login, person.email].some(
    (name) => name !== undefined && names.includes(folded(name)),
  )
}

// Who is kept out: an empty record for each name of each user who is not active.

const inactivePrefix = ({ digest }: Pick<Runtime, 'digest'>, provider: string, name: string): string =>
  `scim-inactive:${provider}:${digest(folded(name))}:`

const createInactive = (runtime: ScimRuntime, provider: string, users: Records<StoredUser>) => {
  const { store } = runtime
  const keyOf = (name: string, id: string): string => inactivePrefix(runtime, provider, name) + id
  /** Of deleted users: whoever has their name now is another one. */
  const forgetDeleted = async (name: string): Promise<void> => {
    const prefix = inactivePrefix(runtime, provider, name)
    for (const { key } of await store.list(prefix))
      if (!(await users.get(key.slice(prefix.length)))) await store.take(key)
  }
  return {
    async keepOut(id: string, user: ScimUser): Promise<void> {
      for (const name of namesOf(user)) await store.put(keyOf(name, id), '')
    },
    /** What kept the user out before, and does no longer. */
    async letIn(id: string, before: ScimUser | undefined, after: ScimUser): Promise<void> {
      const names = namesOf(after)
      if (before && !before.active)
        for (const name of namesOf(before))
          if (after.active || !names.includes(name)) await store.take(keyOf(name, id))
      if (after.active) for (const name of names) await forgetDeleted(name)
    },
    async bury(id: string, user: ScimUser): Promise<void> {
      for (const name of namesOf(user)) await store.put(keyOf(name, id), '', { ttlMs: keptMs })
    },
  }
}

export const createScimUsers = (runtime: ScimRuntime, provider: string): ScimUsers => {
  const { store, digest, now } = runtime
  const users = createRecords<StoredUser>(runtime, `scim-user:${provider}:`)
  const inactive = createInactive(runtime, provider, users)
  const nameKey = (userName: string): string => `scim-name:${provider}:${digest(folded(userName))}`

  const get: ScimUsers['get'] = async (id) => {
    const kept = await users.get(id)
    return kept && { id, value: kept.value, mark: kept.mark }
  }
  /** False where another user has the name. */
  const claim = async (userName: string, id: string): Promise<boolean> => {
    const key = nameKey(userName)
    if ((await store.put(key, id, { only: 'absent' })) !== undefined) return true
    const holder = await store.get(key)
    if (holder?.value === id) return true
    // A name without its user is what an interrupted deletion left.
    if (holder && (await get(holder.value))) return false
    return (await store.put(key, id, { only: holder?.mark ?? 'absent' })) !== undefined
  }

  return {
    get,
    async byUserName(userName) {
      const holder = await store.get(nameKey(userName))
      const found = holder && (await get(holder.value))
      return found && folded(found.value.user.userName) === folded(userName) ? found : undefined
    },
    all: () => users.pages(usersAtOnce),
    async create(user) {
      const id = encodeBase64url(runtime.random(18))
      if (!(await claim(user.userName, id))) return undefined
      const value = { user, created: now(), changed: now() }
      // Written before anybody is thrown out by it.
      if (!user.active) await inactive.keepOut(id, user)
      const mark = await users.put(id, value, { only: 'absent' })
      await inactive.letIn(id, undefined, user)
      return { id, value, mark: mark ?? '' }
    },
    async replace({ id, value: before, mark: read }, user) {
      if (!(await claim(user.userName, id))) return 'taken'
      const value = { ...before, user, changed: now() }
      if (!user.active) await inactive.keepOut(id, user)
      const mark = await users.put(id, value, { only: read })
      if (mark === undefined) return 'raced'
      await inactive.letIn(id, before.user, user)
      if (folded(before.user.userName) !== folded(user.userName))
        await store.take(nameKey(before.user.userName))
      return { id, value, mark }
    },
    async remove({ id, value: { user } }) {
      await inactive.bury(id, user)
      await users.take(id)
      const key = nameKey(user.userName)
      if ((await store.get(key))?.value === id) await store.take(key)
    },
  }
}

/** With whoever is not active among the users that their provider provisions. */
export const withProvisioning = (
  blocks: Blocks,
  runtime: Pick<Runtime, 'store' | 'digest'>,
  providers: Readonly<Record<string, { readonly scim_token?: string | undefined }>>,
): Blocks => {
  const isInactive = async ({ provider, subject, login, email }: Person): Promise<boolean> => {
    if (providers[provider]?.scim_token === undefined) return false
    for (const name of [subject, login, email])
      if (
        name !== undefined &&
        (await runtime.store.list(inactivePrefix(runtime, provider, name), { limit: 1 })).length > 0
      )
        return true
    return false
  }
  if (Object.values(providers).every(({ scim_token: token }) => token === undefined)) return blocks
  return {
    ...blocks,
    covers: async (person, clientId) => (await blocks.covers(person, clientId)) || (await isInactive(person)),
  }
}
