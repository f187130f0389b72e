// What SCIM requests say of a user and what responses say (RFC 7643, RFC 7644), without HTTP and storage. Of groups:
// scim-group-requests.ts.
import type { FoundUser, ScimEmail, ScimUser } from './scim-users.ts'

const core = 'urn:ietf:params:scim:schemas:core:2.0:'
const messages = 'urn:ietf:params:scim:api:messages:2.0:'
export const urns = {
  user: `${core}User`,
  group: `${core}Group`,
  schema: `${core}Schema`,
  resourceType: `${core}ResourceType`,
  config: `${core}ServiceProviderConfig`,
  list: `${messages}ListResponse`,
  error: `${messages}Error`,
  patch: `${messages}PatchOp`,
} as const

/** RFC 7644 §3.12. */
export interface ScimError extends Error {
  readonly status: number
  readonly scimType: string | undefined
}

const errorName = 'ScimError'

/** `detail` is shown to the provider's administrator. */
export const scimError = (status: number, detail: string, scimType?: string): ScimError =>
  Object.assign(new Error(detail), { name: errorName, status, scimType })

export const isScimError = (thrown: unknown): thrown is ScimError =>
  thrown instanceof Error && thrown.name === errorName

export const invalid = (detail: string): ScimError => scimError(400, detail, 'invalidValue')
export const syntax = (detail: string): ScimError => scimError(400, detail, 'invalidSyntax')

export type Members = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** RFC 7643 §2.1: names of attributes are the same in upper and lower case. */
export const member = (value: Members, name: string): unknown =>
  Object.entries(value).find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1]

const longest = 255
const mostEmails = 20

/** Undefined where it has no value (RFC 7643 §2.5). */
export const textOf = (value: unknown, name: string): string | undefined => {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value === 'string' && value.length <= longest && !/\p{Cc}/u.test(value)) return value
  throw invalid(`${name} must be a text of at most ${longest} characters`)
}

/** Microsoft Entra sends booleans as text, in upper case. */
const booleanOf = (value: unknown, name: string): boolean | undefined => {
  if (value === undefined || value === null || typeof value === 'boolean') return value ?? undefined
  const text = typeof value === 'string' ? value.toLowerCase() : ''
  if (text === 'true' || text === 'false') return text === 'true'
  throw invalid(`${name} must be true or false`)
}

const nameParts = ['formatted', 'familyName', 'givenName', 'middleName', 'honorificPrefix', 'honorificSuffix']
const partOf = (name: string): string | undefined =>
  nameParts.find((part) => part.toLowerCase() === name.toLowerCase())

const nameOf = (value: unknown): Readonly<Record<string, string>> => {
  if (value === undefined || value === null) return {}
  if (!isObject(value)) throw invalid('name must be an object')
  const parts = nameParts.map((part) => [part, textOf(member(value, part), `name.${part}`)] as const)
  return Object.fromEntries(parts.filter((pair): pair is [string, string] => pair[1] !== undefined))
}

const emailsOf = (value: unknown): readonly ScimEmail[] => {
  if (value === undefined || value === null) return []
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (list.length > mostEmails) throw invalid(`at most ${mostEmails} emails`)
  return list.flatMap((entry) => {
    if (!isObject(entry)) throw invalid('emails must be objects')
    const address = textOf(member(entry, 'value'), 'emails.value')
    const [type, primary] = [
      textOf(member(entry, 'type'), 'emails.type'),
      booleanOf(member(entry, 'primary'), 'emails.primary'),
    ]
    if (address === undefined) return []
    return [
      { value: address, ...(type !== undefined && { type }), ...(primary !== undefined && { primary }) },
    ]
  })
}

/** A user as POST and PUT send one. Throws a `ScimError`. */
export const readUser = (body: unknown): ScimUser => {
  if (!isObject(body)) throw syntax('The body must be a JSON object')
  const userName = textOf(member(body, 'userName'), 'userName')
  if (userName === undefined) throw invalid('userName is required')
  const [externalId, displayName] = [
    textOf(member(body, 'externalId'), 'externalId'),
    textOf(member(body, 'displayName'), 'displayName'),
  ]
  const [name, emails] = [nameOf(member(body, 'name')), emailsOf(member(body, 'emails'))]
  return {
    userName,
    active: booleanOf(member(body, 'active'), 'active') ?? true,
    ...(externalId !== undefined && { externalId }),
    ...(displayName !== undefined && { displayName }),
    ...(Object.keys(name).length > 0 && { name }),
    ...(emails.length > 0 && { emails }),
  }
}

// PATCH (RFC 7644 §3.5.2): operations change a plain copy of the user, which is read like a new one at the end.

type Draft = { -readonly [K in keyof ScimUser]?: unknown }
type Operation = 'add' | 'replace' | 'remove'

/** One operation of a PATCH. Without a path, `value` is an object. */
interface PatchOperation {
  readonly operation: Operation
  readonly path: string | undefined
  readonly value: unknown
}

interface Target {
  /** In lower case. */
  readonly attribute: string
  /** What stands in brackets. */
  readonly filter: string | undefined
  readonly part: string | undefined
}

/** Undefined for an attribute of a schema that is not kept. */
const targetOf = (path: string): Target | undefined => {
  const own = path.toLowerCase().startsWith(`${urns.user.toLowerCase()}:`)
    ? path.slice(urns.user.length + 1)
    : path
  if (/^urn:/i.test(own)) return undefined
  const parts = /^([a-z$][\w$-]*)(?:\[([^\]]*)\])?(?:\.([a-z$][\w$-]*))?$/i.exec(own)
  if (!parts) throw scimError(400, `The path ${own.slice(0, 100)} is not supported`, 'invalidPath')
  return { attribute: (parts[1] ?? '').toLowerCase(), filter: parts[2], part: parts[3] }
}

/** `type eq "work"`: all that providers use. */
const matcherOf = (
  filter: string,
): { readonly key: 'type' | 'value' | 'primary'; readonly value: string } => {
  const parts = /^\s*(type|value|primary)\s+eq\s+(?:"([^"\\]*)"|(true|false))\s*$/i.exec(filter)
  if (!parts) throw scimError(400, `The filter ${filter.slice(0, 100)} is not supported`, 'invalidPath')
  const key = (parts[1] ?? '').toLowerCase() as 'type' | 'value' | 'primary'
  return { key, value: parts[2] ?? parts[3] ?? '' }
}

const patchEmails = (draft: Draft, operation: Operation, { filter, part }: Target, value: unknown): void => {
  const emails = emailsOf(draft.emails)
  if (filter === undefined && part !== undefined)
    throw scimError(400, `emails.${part} needs a filter`, 'invalidPath')
  if (filter === undefined) {
    const given = operation === 'remove' ? [] : emailsOf(value)
    const kept = emails.filter((email) => given.every((other) => other.value !== email.value))
    draft.emails = operation === 'add' ? [...kept, ...given] : given
    return
  }
  const { key, value: wanted } = matcherOf(filter)
  const matches = (email: ScimEmail): boolean =>
    String(email[key] ?? '').toLowerCase() === wanted.toLowerCase()
  if (operation === 'remove') {
    draft.emails = emails.filter((email) => !matches(email))
    return
  }
  const change = part === undefined && isObject(value) ? value : { [part ?? 'value']: value }
  // One that is not there yet is added, as providers expect.
  const all: readonly object[] = emails.some(matches) ? emails : [...emails, { [key]: wanted }]
  draft.emails = all.map((email) => (matches(email as ScimEmail) ? { ...email, ...change } : email))
}

const patchName = (draft: Draft, operation: Operation, { part }: Target, value: unknown): void => {
  const known = nameOf(draft.name)
  if (part === undefined) {
    draft.name = operation === 'remove' ? {} : { ...known, ...nameOf(value) }
    return
  }
  const name = partOf(part)
  if (name !== undefined) draft.name = { ...known, [name]: operation === 'remove' ? undefined : value }
}

const plain: Readonly<Record<string, 'userName' | 'externalId' | 'active' | 'displayName'>> = {
  username: 'userName',
  externalid: 'externalId',
  active: 'active',
  displayname: 'displayName',
}

const patchAt = (draft: Draft, operation: Operation, path: string, value: unknown): void => {
  const target = targetOf(path)
  if (!target) return
  if (target.attribute === 'emails') return patchEmails(draft, operation, target, value)
  if (target.attribute === 'name') return patchName(draft, operation, target, value)
  const key = Object.hasOwn(plain, target.attribute) ? plain[target.attribute] : undefined
  if (!key) return
  if (target.filter !== undefined || target.part !== undefined)
    throw scimError(400, `${key} is not a complex attribute`, 'invalidPath')
  // Without a word of it, a user would count as active.
  if (key === 'active' && (operation === 'remove' || value === null || value === undefined))
    throw invalid('active must be true or false')
  draft[key] = operation === 'remove' ? undefined : value
}

const mostOperations = 100

const operationOf = (entry: unknown): PatchOperation => {
  if (!isObject(entry)) throw syntax('Operations must be objects')
  const [op, path, value] = [member(entry, 'op'), member(entry, 'path'), member(entry, 'value')]
  const operation = (['add', 'replace', 'remove'] as const).find(
    (known) => typeof op === 'string' && op.toLowerCase() === known,
  )
  if (!operation) throw syntax('op must be add, replace or remove')
  if (typeof path === 'string') return { operation, path, value }
  if (operation === 'remove') throw scimError(400, 'remove needs a path', 'noTarget')
  if (!isObject(value)) throw invalid('value must be an object where there is no path')
  return { operation, path: undefined, value }
}

/** The operations of a PATCH, each with the path that it changes. Throws a `ScimError`. */
export const readPatch = (
  body: unknown,
): readonly { readonly operation: Operation; readonly path: string; readonly value: unknown }[] => {
  const schemas = isObject(body) ? member(body, 'schemas') : undefined
  if (!isObject(body) || !Array.isArray(schemas) || !schemas.includes(urns.patch))
    throw syntax(`schemas must contain ${urns.patch}`)
  const operations = member(body, 'Operations')
  if (!Array.isArray(operations) || operations.length === 0 || operations.length > mostOperations)
    throw syntax(`Operations must be a list of 1 to ${mostOperations}`)
  return (operations as readonly unknown[]).flatMap((entry) => {
    const { operation, path, value } = operationOf(entry)
    if (path !== undefined) return [{ operation, path, value }]
    return Object.entries(value as Members).map(([key, part]) => ({ operation, path: key, value: part }))
  })
}

/** The user after a PATCH. Throws a `ScimError`. */
export const applyPatch = (user: ScimUser, body: unknown): ScimUser => {
  const draft: Draft = { ...user }
  for (const { operation, path, value } of readPatch(body)) patchAt(draft, operation, path, value)
  return readUser(draft)
}

/**
 * `attribute eq "value"` (RFC 7644 §3.4.2.2): what providers look resources up by. Both in lower case, the attribute
 * without its schema. Undefined for any other filter.
 */
export const readEquality = (
  filter: string,
  schema: string,
): { readonly attribute: string; readonly wanted: string } | undefined => {
  const parts =
    /^\s*([a-z][\w.:-]*(?:\[type eq "[^"\\]*"\])?(?:\.value)?)\s+eq\s+("(?:[^"\\]|\\.)*")\s*$/i.exec(filter)
  if (!parts) return undefined
  try {
    const wanted = (JSON.parse(parts[2] ?? '""') as string).toLowerCase()
    return { attribute: (parts[1] ?? '').toLowerCase().replace(`${schema.toLowerCase()}:`, ''), wanted }
  } catch {
    return undefined
  }
}

/** A filter of users. Throws a `ScimError`. */
export const readFilter = (
  filter: string,
): {
  readonly attribute: string
  readonly matches: (user: FoundUser['value']['user'], id: string) => boolean
  readonly value: string
} => {
  const { attribute: name = '', wanted = '' } = readEquality(filter, urns.user) ?? {}
  const is = (text: string | undefined): boolean => text?.toLowerCase() === wanted
  const filters: Readonly<Record<string, (user: ScimUser, id: string) => boolean>> = {
    'username': ({ userName }) => is(userName),
    'externalid': ({ externalId }) => is(externalId),
    'id': (_, id) => is(id),
    'displayname': ({ displayName }) => is(displayName),
    'emails': ({ emails = [] }) => emails.some(({ value }) => is(value)),
    'emails.value': ({ emails = [] }) => emails.some(({ value }) => is(value)),
  }
  const plainName = name.replace(/\[.*\]/, '')
  const matches = Object.hasOwn(filters, plainName) ? filters[plainName] : undefined
  if (!matches) throw scimError(400, 'Use a filter such as: userName eq "ana@example.com"', 'invalidFilter')
  return { attribute: name, matches, value: wanted }
}

// What responses say.

/** `base`: URL of the endpoint, no trailing slash. */
export const userResource = ({ id, value }: Pick<FoundUser, 'id' | 'value'>, base: string) => ({
  schemas: [urns.user],
  id,
  ...value.user,
  meta: {
    resourceType: 'User',
    created: new Date(value.created).toISOString(),
    lastModified: new Date(value.changed).toISOString(),
    location: `${base}/Users/${id}`,
  },
})

export const mostResults = 200

export const listResponse = (resources: readonly unknown[], startIndex = 1, total = resources.length) => ({
  schemas: [urns.list],
  totalResults: total,
  startIndex,
  itemsPerPage: resources.length,
  Resources: resources,
})

export const serviceProviderConfig = (base: string) => ({
  schemas: [urns.config],
  patch: { supported: true },
  bulk: { supported: false, maxOperations: 0, maxPayloadSize: 0 },
  filter: { supported: true, maxResults: mostResults },
  changePassword: { supported: false },
  sort: { supported: false },
  etag: { supported: false },
  authenticationSchemes: [
    {
      type: 'oauthbearertoken',
      name: 'Bearer token',
      description: 'The token that is configured as scim_token',
      primary: true,
    },
  ],
  meta: { resourceType: 'ServiceProviderConfig', location: `${base}/ServiceProviderConfig` },
})

export const userResourceType = (base: string) => ({
  schemas: [urns.resourceType],
  id: 'User',
  name: 'User',
  description: 'User account',
  endpoint: '/Users',
  schema: urns.user,
  meta: { resourceType: 'ResourceType', location: `${base}/ResourceTypes/User` },
})

export const attribute = (name: string, more: Members = {}) => ({
  name,
  type: 'string',
  multiValued: false,
  description: '',
  required: false,
  caseExact: false,
  mutability: 'readWrite',
  returned: 'default',
  uniqueness: 'none',
  ...more,
})

export const userSchema = (base: string) => ({
  schemas: [urns.schema],
  id: urns.user,
  name: 'User',
  description: 'User account',
  attributes: [
    attribute('userName', { required: true, uniqueness: 'server' }),
    attribute('displayName'),
    attribute('name', { type: 'complex', subAttributes: nameParts.map((part) => attribute(part)) }),
    attribute('emails', {
      type: 'complex',
      multiValued: true,
      subAttributes: [attribute('value'), attribute('type'), attribute('primary', { type: 'boolean' })],
    }),
    attribute('active', { type: 'boolean' }),
  ],
  meta: { resourceType: 'Schema', location: `${base}/Schemas/${urns.user}` },
})
