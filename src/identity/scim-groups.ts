// Groups that a provider pushes (SCIM 2.0, RFC 7643 §4.2), and what they make of its people: whoever is a member has
// the group beside those that the sign-in told.
import { encodeBase64url } from '../kit/bytes.ts'
import { createRecords, personKey, takeAll } from '../kit/records.ts'
import type { ProvisionPerson } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Store } from '../ports/store.ts'
import {
  type ScimTokens,
  type ScimRuntime,
  createNameClaims,
  createScimUsers,
  folded,
  isProvisioning,
} from './scim-users.ts'

/** What is kept of a group. Its name is what access rules match. */
export interface ScimGroup {
  readonly displayName: string
  readonly externalId?: string
}

/** Sealed, under `scim-group:{provider}:{id}`. */
interface StoredGroup {
  readonly group: ScimGroup
  /** Epoch ms. */
  readonly created: number
  readonly changed: number
}

export interface FoundGroup {
  readonly id: string
  readonly value: StoredGroup
}

/** `all`: these are the members, whoever was before. IDs of users. */
export interface MemberChange {
  readonly all: boolean
  readonly add: ReadonlySet<string>
  readonly remove: ReadonlySet<string>
}

export interface ScimGroups {
  get(id: string): Promise<(FoundGroup & { readonly mark: string }) | undefined>
  byDisplayName(name: string): Promise<FoundGroup | undefined>
  all(): AsyncIterable<readonly FoundGroup[]>
  /** IDs of users. */
  members(id: string): Promise<readonly string[]>
  /** Undefined where another group has that name. */
  create(group: ScimGroup, members: MemberChange): Promise<FoundGroup | undefined>
  /** `taken`: another group has that name. `raced`: the record changed since it was read. */
  replace(
    found: FoundGroup & { readonly mark: string },
    group: ScimGroup,
    members: MemberChange,
  ): Promise<FoundGroup | 'taken' | 'raced'>
  remove(found: FoundGroup): Promise<void>
  /** The user is a member of nothing any more. */
  forgetUser(userId: string): Promise<void>
  /** What is known of anybody's groups is asked for anew. */
  changed(): Promise<unknown>
}

const rowsAtOnce = 1000

/** All keys with the prefix, without it. */
const suffixesOf = async ({ list }: Pick<Store, 'list'>, prefix: string): Promise<readonly string[]> => {
  const found: string[] = []
  for (let after: string | undefined; ;) {
    const rows = await list(prefix, { limit: rowsAtOnce, ...(after !== undefined && { after }) })
    for (const { key } of rows) found.push(key.slice(prefix.length))
    after = rows.at(-1)?.key
    if (rows.length < rowsAtOnce) return found
  }
}

/** Holds another text after each change, so that nobody has to look whether something changed. */
const changedKey = (provider: string): string => `scim-changed:${provider}`

// A membership is two empty rows. The one of the user is what counts; the other is there for lists and for the end of
// the group, and so it is written first and removed last.
const ofUser = (provider: string, user: string): string => `scim-membership:${provider}:${user}:`
const ofGroup = (provider: string, group: string): string => `scim-member:${provider}:${group}:`

const createMemberships = ({ store }: Pick<Runtime, 'store'>, provider: string) => {
  const add = async (group: string, user: string): Promise<void> => {
    await store.put(ofGroup(provider, group) + user, '')
    await store.put(ofUser(provider, user) + group, '')
  }
  const remove = async (pairs: readonly (readonly [group: string, user: string])[]): Promise<void> => {
    await takeAll(
      store,
      pairs.map(([group, user]) => ofUser(provider, user) + group),
    )
    await takeAll(
      store,
      pairs.map(([group, user]) => ofGroup(provider, group) + user),
    )
  }
  const members: ScimGroups['members'] = (group) => suffixesOf(store, ofGroup(provider, group))
  return {
    members,
    async apply(group: string, change: MemberChange): Promise<void> {
      // Those that are there are written again: a provider repeats what was interrupted.
      const gone = change.all
        ? (await members(group)).filter((user) => !change.add.has(user))
        : [...change.remove]
      await remove(gone.map((user) => [group, user]))
      for (const user of change.add) await add(group, user)
    },
    async end(group: string): Promise<void> {
      await remove((await members(group)).map((user) => [group, user]))
    },
    async forgetUser(user: string): Promise<void> {
      const groups = await suffixesOf(store, ofUser(provider, user))
      await remove(groups.map((group) => [group, user]))
    },
  }
}

export const createScimGroups = (runtime: ScimRuntime, provider: string): ScimGroups => {
  const { store, digest, now } = runtime
  const groups = createRecords<StoredGroup>(runtime, `scim-group:${provider}:`)
  const memberships = createMemberships(runtime, provider)
  const nameKey = (name: string): string => `scim-group-name:${provider}:${digest(folded(name))}`
  const get: ScimGroups['get'] = async (id) => {
    const kept = await groups.get(id)
    return kept && { id, value: kept.value, mark: kept.mark }
  }
  const names = createNameClaims(store, async (id) => (await get(id)) !== undefined)
  const changed = () => store.put(changedKey(provider), encodeBase64url(runtime.random(12)))
  return {
    get,
    async byDisplayName(name) {
      const holder = await store.get(nameKey(name))
      const found = holder && (await get(holder.value))
      return found && folded(found.value.group.displayName) === folded(name) ? found : undefined
    },
    all: () => groups.pages(500),
    members: memberships.members,
    async create(group, members) {
      const id = encodeBase64url(runtime.random(18))
      if (!(await names.claim(nameKey(group.displayName), id))) return undefined
      const value = { group, created: now(), changed: now() }
      await groups.put(id, value, { only: 'absent' })
      await memberships.apply(id, members)
      await changed()
      return { id, value }
    },
    async replace({ id, value: before, mark }, group, members) {
      const [key, former] = [nameKey(group.displayName), nameKey(before.group.displayName)]
      if (!(await names.claim(key, id))) return 'taken'
      const value = { ...before, group, changed: now() }
      if (!(await groups.put(id, value, { only: mark }))) return 'raced'
      await memberships.apply(id, members)
      if (key !== former) await names.release(former, id)
      await changed()
      return { id, value }
    },
    async remove({ id, value: { group } }) {
      await memberships.end(id)
      await groups.take(id)
      await names.release(nameKey(group.displayName), id)
      await changed()
    },
    async forgetUser(userId) {
      await memberships.forgetUser(userId)
      await changed()
    },
    changed,
  }
}

// What they make of people.

interface Provisioned {
  readonly groups: readonly string[]
  /** Several users bear the names of the person. */
  readonly unclear: boolean
}

/** What was told at the sign-in. */
export const asTold = (person: Person): Person => {
  const { provisioned, ...told } = person
  if (!provisioned) return person
  const { groupsUnknown, ...rest } = told
  const groups = rest.groups.filter((group) => !provisioned.groups.includes(group))
  return { ...rest, groups, ...(groupsUnknown && !provisioned.unclear && { groupsUnknown }) }
}

/** The person with the groups that were pushed, in place of those that were pushed before. */
const withGroups = (person: Person, { groups, unclear }: Provisioned): Person => {
  const told = asTold(person)
  const pushed = groups.filter((group) => !told.groups.includes(group))
  // Nobody gains by it, and whom a rule keeps out by a group stays out.
  const unknown = unclear && !told.groupsUnknown
  if (pushed.length === 0 && !unknown) return told
  return {
    ...told,
    groups: [...told.groups, ...pushed],
    ...(unknown && { groupsUnknown: true as const }),
    provisioned: { groups: pushed, ...(unknown && { unclear: true as const }) },
  }
}

const none: Provisioned = { groups: [], unclear: false }
const mostKnown = 10_000
const mostGroups = 500

const createLookUp = (runtime: ScimRuntime, provider: string): ((person: Person) => Promise<Provisioned>) => {
  const users = createScimUsers(runtime, provider)
  const groups = createRecords<StoredGroup>(runtime, `scim-group:${provider}:`)
  return async (person) => {
    const found = await users.ofPerson(person)
    if (found.length > 1) return { groups: [], unclear: true }
    const [user] = found
    if (!user?.value.user.active) return none
    const ids = await suffixesOf(runtime.store, ofUser(provider, user.id))
    const kept = await Promise.all(ids.slice(0, mostGroups).map((id) => groups.get(id)))
    const names = kept.flatMap((group) => (group ? [group.value.group.displayName] : []))
    return { groups: [...new Set(names)].toSorted(), unclear: ids.length > mostGroups }
  }
}

/**
 * Asked whenever a grant or a session is read, so that a change takes effect with the next reading: one small record
 * says whether what was found before still holds.
 */
export const createProvisionPerson = (
  runtime: ScimRuntime,
  providers: ScimTokens,
): ProvisionPerson | undefined => {
  if (!isProvisioning(providers)) return undefined
  const lookUps = new Map(
    Object.entries(providers).flatMap(([id, { scim_token: token }]) =>
      token === undefined ? [] : [[id, createLookUp(runtime, id)] as const],
    ),
  )
  const known = new Map<string, { readonly as: string; readonly found: Provisioned }>()
  return async (person) => {
    const lookUp = lookUps.get(person.provider)
    const as = lookUp && (await runtime.store.get(changedKey(person.provider)))?.value
    if (!lookUp || as === undefined) return withGroups(person, none)
    const key = JSON.stringify([personKey(person), person.login, person.email])
    const before = known.get(key)
    if (before?.as === as) return withGroups(person, before.found)
    const found = await lookUp(person)
    known.delete(key)
    if (known.size >= mostKnown) known.delete(known.keys().next().value as string)
    known.set(key, { as, found })
    return withGroups(person, found)
  }
}
