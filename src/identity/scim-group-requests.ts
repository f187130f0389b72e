// Groups over SCIM (RFC 7643 §4.2): what requests say of a group and its members, in the forms in which Okta and
// Microsoft Entra send them, and what is done with it.
import type { Audit } from '../ports/modules.ts'
import type { FoundGroup, MemberChange, ScimGroup, ScimGroups } from './scim-groups.ts'
import {
  type ResourceWork,
  type ScimRequest,
  type Work,
  answer,
  bodyOf,
  busy,
  listAnswer,
  maxAttempts,
  notFound,
} from './scim-requests.ts'
import type { ScimUsers } from './scim-users.ts'
import {
  attribute,
  invalid,
  isObject,
  member,
  readEquality,
  readPatch,
  scimError,
  syntax,
  textOf,
  urns,
} from './scim-values.ts'

/** A thousand members are sent at once, with names for people to read. */
export const largestGroupBody = 1_048_576
const mostMembers = 20_000
const idShape = /^[\w-]{1,64}$/

// What requests say.

/** IDs of users, of one member or a list of them. */
const memberIds = (value: unknown): readonly string[] => {
  if (value === undefined || value === null) return []
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (list.length > mostMembers) throw invalid(`at most ${mostMembers} members`)
  return list.map((entry) => {
    const id = isObject(entry) ? member(entry, 'value') : entry
    if (typeof id !== 'string' || !idShape.test(id)) throw invalid('members must name users by their id')
    return id
  })
}

const everybody = (ids: readonly string[]): MemberChange => ({
  all: true,
  add: new Set(ids),
  remove: new Set(),
})

const groupOf = (displayName: unknown, externalId: unknown): ScimGroup => {
  const [name, id] = [textOf(displayName, 'displayName'), textOf(externalId, 'externalId')]
  if (name === undefined) throw invalid('displayName is required')
  return { displayName: name, ...(id !== undefined && { externalId: id }) }
}

interface GroupAndMembers {
  readonly group: ScimGroup
  readonly members: MemberChange
}

/** A group as POST and PUT send one. Throws a `ScimError`. */
export const readGroup = (body: unknown): GroupAndMembers => {
  if (!isObject(body)) throw syntax('The body must be a JSON object')
  return {
    group: groupOf(member(body, 'displayName'), member(body, 'externalId')),
    members: everybody(memberIds(member(body, 'members'))),
  }
}

type Operation = ReturnType<typeof readPatch>[number]

/** `members[value eq "…"]`; undefined without brackets. */
const filteredMember = (path: string): string | undefined => {
  if (/^members$/i.test(path)) return undefined
  const id = /^members\[\s*value\s+eq\s+"([\w-]{1,64})"\s*\]$/i.exec(path)?.[1]
  if (id === undefined) throw scimError(400, `The path ${path.slice(0, 100)} is not supported`, 'invalidPath')
  return id
}

const together = (one: ReadonlySet<string>, ids: readonly string[]): ReadonlySet<string> =>
  new Set([...one, ...ids])
const without = (one: ReadonlySet<string>, ids: readonly string[]): ReadonlySet<string> => {
  const left = new Set(one)
  for (const id of ids) left.delete(id)
  return left
}

const changeMembers = (
  { all, add, remove }: MemberChange,
  { operation, path, value }: Operation,
): MemberChange => {
  const named = filteredMember(path)
  // Entra names whom it removes in the value.
  const ids = named === undefined ? memberIds(value) : [named]
  if (operation === 'remove') {
    if (named === undefined && (value === undefined || value === null)) return everybody([])
    return { all, add: without(add, ids), remove: together(remove, ids) }
  }
  if (named !== undefined) throw scimError(400, 'A member is added by the path members', 'invalidPath')
  if (operation === 'replace') return everybody(ids)
  return { all, add: together(add, ids), remove: without(remove, ids) }
}

/** What becomes of a group by a PATCH (RFC 7644 §3.5.2). Throws a `ScimError`. */
export const applyGroupPatch = (before: ScimGroup, body: unknown): GroupAndMembers => {
  let members: MemberChange = { all: false, add: new Set(), remove: new Set() }
  let { displayName, externalId }: { displayName: unknown; externalId?: unknown } = before
  for (const { operation, path: full, value } of readPatch(body)) {
    const prefix = `${urns.group.toLowerCase()}:`
    const path = full.toLowerCase().startsWith(prefix) ? full.slice(prefix.length) : full
    const to = operation === 'remove' ? undefined : value
    if (/^members\b/i.test(path)) members = changeMembers(members, { operation, path, value })
    else if (/^displayName$/i.test(path)) displayName = to
    else if (/^externalId$/i.test(path)) externalId = to
    else if (!/^[a-z$][\w$:.-]*$/i.test(path))
      throw scimError(400, `The path ${path.slice(0, 100)} is not supported`, 'invalidPath')
  }
  return { group: groupOf(displayName, externalId), members }
}

// What responses say.

/** `members`: absent where they are left out. `base`: URL of the endpoint, no trailing slash. */
export const groupResource = (
  { id, value }: FoundGroup,
  members: readonly string[] | undefined,
  base: string,
) => ({
  schemas: [urns.group],
  id,
  ...value.group,
  ...(members && {
    members: members.map((user) => ({ value: user, type: 'User', $ref: `${base}/Users/${user}` })),
  }),
  meta: {
    resourceType: 'Group',
    created: new Date(value.created).toISOString(),
    lastModified: new Date(value.changed).toISOString(),
    location: `${base}/Groups/${id}`,
  },
})

export const groupResourceType = (base: string) => ({
  schemas: [urns.resourceType],
  id: 'Group',
  name: 'Group',
  description: 'Group',
  endpoint: '/Groups',
  schema: urns.group,
  meta: { resourceType: 'ResourceType', location: `${base}/ResourceTypes/Group` },
})

export const groupSchema = (base: string) => ({
  schemas: [urns.schema],
  id: urns.group,
  name: 'Group',
  description: 'Group',
  attributes: [
    attribute('displayName', { required: true, uniqueness: 'server' }),
    attribute('members', {
      type: 'complex',
      multiValued: true,
      subAttributes: [
        attribute('value', { mutability: 'immutable' }),
        attribute('$ref', { type: 'reference', referenceTypes: ['User'], mutability: 'immutable' }),
        attribute('type', { canonicalValues: ['User'], mutability: 'immutable' }),
      ],
    }),
  ],
  meta: { resourceType: 'Schema', location: `${base}/Schemas/${urns.group}` },
})

// What is done.

const taken = () => scimError(409, 'Another group has that displayName', 'uniqueness')

/** RFC 7644 §3.9; Entra leaves members out wherever it can. */
const wantsMembers = (params: URLSearchParams): boolean => {
  const names = (name: string): readonly string[] =>
    (params.get(name) ?? '').split(',').flatMap((part) => part.trim().toLowerCase() || [])
  const only = names('attributes')
  return only.length > 0 ? only.includes('members') : !names('excludedAttributes').includes('members')
}

const shownAs = ({ request, groups, base }: ScimRequest): ((found: FoundGroup) => Promise<unknown>) => {
  const all = wantsMembers(new URL(request.url).searchParams)
  return async (found) => groupResource(found, all ? await groups.members(found.id) : undefined, base)
}

const matching = async (groups: ScimGroups, filter: string | null): Promise<readonly FoundGroup[]> => {
  const { attribute: name, wanted = '' } = readEquality(filter ?? '', urns.group) ?? {}
  const is = (text: string | undefined): boolean => text?.toLowerCase() === wanted
  if (name === 'displayname') {
    const found = await groups.byDisplayName(wanted)
    return found ? [found] : []
  }
  if (filter !== null && name !== 'externalid' && name !== 'id')
    throw scimError(400, 'Use a filter such as: displayName eq "Engineering"', 'invalidFilter')
  const found: FoundGroup[] = []
  for await (const page of groups.all())
    found.push(
      ...page.filter(({ id, value }) => filter === null || is(name === 'id' ? id : value.group.externalId)),
    )
  return found
}

/** Throws for members who are not there: the provider would believe that they have the group. */
const requireUsers = async ({ add }: MemberChange, users: ScimUsers): Promise<void> => {
  for (const id of add) if (!(await users.get(id))) throw invalid(`There is no user with the id ${id}`)
}

const readOne = async ({ groups, id }: ScimRequest) => {
  const found = await groups.get(id)
  if (!found) throw notFound()
  return found
}

const list: Work = (scim) => {
  const params = new URL(scim.request.url).searchParams
  return listAnswer(params, () => matching(scim.groups, params.get('filter')), shownAs(scim))
}

export const createGroupWork = ({ record }: { readonly record: Audit }): ResourceWork => {
  const note = (provider: string, action: string, group: ScimGroup, change?: MemberChange): void =>
    record({
      event: 'scim.request',
      provider,
      action,
      group: group.displayName,
      ...(change && { added: change.add.size, removed: change.remove.size }),
      by: `scim:${provider}`,
    })

  const changeTo = async (
    scim: ScimRequest,
    change: (group: ScimGroup) => GroupAndMembers,
  ): Promise<Response> => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const found = await readOne(scim)
      const { group, members } = change(found.value.group)
      await requireUsers(members, scim.users)
      const replaced = await scim.groups.replace(found, group, members)
      if (replaced === 'taken') throw taken()
      if (replaced === 'raced') continue
      note(scim.provider, 'group_changed', group, members)
      return answer(200, await shownAs(scim)(replaced))
    }
    throw busy()
  }

  return {
    list,
    one: async (scim) => answer(200, await shownAs(scim)(await readOne(scim))),
    async create(scim) {
      const { request, users, groups, provider, base } = scim
      const { group, members } = readGroup(await bodyOf(request, largestGroupBody))
      await requireUsers(members, users)
      const created = await groups.create(group, members)
      if (!created) throw taken()
      note(provider, 'group_created', group, members)
      return answer(201, await shownAs(scim)(created), { location: `${base}/Groups/${created.id}` })
    },
    async put(scim) {
      const wanted = readGroup(await bodyOf(scim.request, largestGroupBody))
      return changeTo(scim, () => wanted)
    },
    async patch(scim) {
      const body = await bodyOf(scim.request, largestGroupBody)
      return changeTo(scim, (group) => applyGroupPatch(group, body))
    },
    async remove(scim) {
      const found = await readOne(scim)
      await scim.groups.remove(found)
      note(scim.provider, 'group_deleted', found.value.group)
      return answer(204)
    },
  }
}
