// Users whom a provider provisions (SCIM 2.0, RFC 7643): what it says of each is kept, and whoever is deactivated or
// deleted there is kept out by the names that the sign-in tells.
import { encodeBase64url } from '../kit/bytes.ts'
import { type Records, createRecords } from '../kit/records.ts'
import type { Blocks } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Store } from '../ports/store.ts'

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
  /** Whom this person is: none, one or, where names are not clear, several. */
  ofPerson(person: Person): Promise<readonly FoundUser[]>
  all(): AsyncIterable<readonly Omit<FoundUser, 'mark'>[]>
  /** Undefined where another user has that name. */
  create(user: ScimUser): Promise<FoundUser | undefined>
  /** `taken`: another user has that name. `raced`: the record changed since it was read. */
  replace(found: FoundUser, user: ScimUser): Promise<FoundUser | 'taken' | 'raced'>
  /** The user stays out until the provider creates one with the same names. */
  remove(found: FoundUser): Promise<void>
}

export type ScimRuntime = Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>

/** Names of deleted users are kept as long as a grant may live at most, and a sign-in before it. */
const keptMs = 400 * 86_400_000
const usersAtOnce = 500

export const folded = (name: string): string => name.normalize('NFC').toLowerCase()

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

/**
 * What proves a person to be a user, the strongest first: who has the groups of somebody else by a mere likeness has
 * too much.
 */
const proofs: readonly ((person: Person, user: ScimUser) => boolean)[] = [
  ({ subject }, { externalId }) => externalId === subject,
  ({ login }, { userName }) => login !== undefined && folded(login) === folded(userName),
  ({ email }, { userName, emails = [] }) =>
    email !== undefined &&
    [userName, ...emails.map(({ value }) => value)].some((name) => folded(name) === folded(email)),
]

// Names that only one user, or one group, may have: a record that holds the ID.

export const createNameClaims = (
  store: Pick<Store, 'get' | 'put' | 'take'>,
  exists: (id: string) => Promise<boolean>,
) => ({
  /** False where another has the name. */
  async claim(key: string, id: string): Promise<boolean> {
    if ((await store.put(key, id, { only: 'absent' })) !== undefined) return true
    const holder = await store.get(key)
    if (holder?.value === id) return true
    // A name without its user is what an interrupted deletion left.
    if (holder && (await exists(holder.value))) return false
    return (await store.put(key, id, { only: holder?.mark ?? 'absent' })) !== undefined
  },
  async release(key: string, id: string): Promise<void> {
    if ((await store.get(key))?.value === id) await store.take(key)
  },
})

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

/** Under which names users are found: an empty record for each name of each user. */
const createNamed = ({ store, digest }: ScimRuntime, provider: string) => {
  const prefixOf = (name: string): string => `scim-named:${provider}:${digest(folded(name))}:`
  return {
    async ids(name: string): Promise<readonly string[]> {
      const prefix = prefixOf(name)
      return (await store.list(prefix)).map(({ key }) => key.slice(prefix.length))
    },
    async put(id: string, user: ScimUser): Promise<void> {
      for (const name of namesOf(user)) await store.put(prefixOf(name) + id, '')
    },
    async forget(id: string, before: ScimUser, after?: ScimUser): Promise<void> {
      const kept = after ? namesOf(after) : []
      for (const name of namesOf(before)) if (!kept.includes(name)) await store.take(prefixOf(name) + id)
    },
  }
}

/** Whom a person is proven to be. */
const findPerson = async (
  person: Person,
  named: { ids(name: string): Promise<readonly string[]> },
  get: ScimUsers['get'],
): Promise<readonly FoundUser[]> => {
  const { subject, login, email } = person
  const called = [...new Set([subject, login, email].flatMap((name) => (name ? [name] : [])))]
  const ids = new Set((await Promise.all(called.map((name) => named.ids(name)))).flat())
  const found = (await Promise.all([...ids].map(get))).filter((user) => user !== undefined)
  for (const proves of proofs) {
    const proven = found.filter(({ value }) => proves(person, value.user))
    if (proven.length > 0) return proven
  }
  return []
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
  const names = createNameClaims(store, async (id) => (await get(id)) !== undefined)
  const named = createNamed(runtime, provider)

  return {
    get,
    async byUserName(userName) {
      const holder = await store.get(nameKey(userName))
      const found = holder && (await get(holder.value))
      return found && folded(found.value.user.userName) === folded(userName) ? found : undefined
    },
    ofPerson: (person) => findPerson(person, named, get),
    all: () => users.pages(usersAtOnce),
    async create(user) {
      const id = encodeBase64url(runtime.random(18))
      if (!(await names.claim(nameKey(user.userName), id))) return undefined
      const value = { user, created: now(), changed: now() }
      // Written before anybody is thrown out by it.
      if (!user.active) await inactive.keepOut(id, user)
      const mark = await users.put(id, value, { only: 'absent' })
      await named.put(id, user)
      await inactive.letIn(id, undefined, user)
      return { id, value, mark: mark ?? '' }
    },
    async replace({ id, value: before, mark: read }, user) {
      if (!(await names.claim(nameKey(user.userName), id))) return 'taken'
      const value = { ...before, user, changed: now() }
      if (!user.active) await inactive.keepOut(id, user)
      const mark = await users.put(id, value, { only: read })
      if (mark === undefined) return 'raced'
      await named.put(id, user)
      await named.forget(id, before.user, user)
      await inactive.letIn(id, before.user, user)
      if (folded(before.user.userName) !== folded(user.userName))
        await names.release(nameKey(before.user.userName), id)
      return { id, value, mark }
    },
    async remove({ id, value: { user } }) {
      await inactive.bury(id, user)
      await users.take(id)
      await named.forget(id, user)
      await names.release(nameKey(user.userName), id)
    },
  }
}

/** The providers as they are configured; those with a token provision users. */
export type ScimTokens = Readonly<Record<string, { readonly scim_token?: string | undefined }>>

export const isProvisioning = (providers: ScimTokens): boolean =>
  Object.values(providers).some(({ scim_token: token }) => token !== undefined)

/** With whoever is not active among the users that their provider provisions. */
export const withProvisioning = (
  blocks: Blocks,
  runtime: Pick<Runtime, 'store' | 'digest'>,
  providers: ScimTokens,
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
  if (!isProvisioning(providers)) return blocks
  return {
    ...blocks,
    covers: async (person, clientId) =>
      (await blocks.covers(person, clientId)) ?? ((await isInactive(person)) ? 'deactivated' : undefined),
  }
}
