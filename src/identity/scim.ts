// SCIM 2.0 over HTTP (RFC 7644) for identity providers that provision users and groups: whoever is deactivated there
// has no access here any more, and access rules match the groups. In the forms in which Okta and Microsoft Entra send them.
import { sameText } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler, Limit, Route } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { RequestContext } from '../ports/runtime.ts'
import { createGroupWork, groupResourceType, groupSchema, largestGroupBody } from './scim-group-requests.ts'
import { type ScimGroups, createScimGroups } from './scim-groups.ts'
import {
  type ResourceWork,
  type ScimRequest,
  type Work,
  answer,
  bodyOf,
  busy,
  errorAnswer,
  listAnswer,
  maxAttempts,
  notFound,
} from './scim-requests.ts'
import {
  type FoundUser,
  type ScimTokens,
  type ScimRuntime,
  type ScimUser,
  type ScimUsers,
  createScimUsers,
  isUser,
  namesOf,
} from './scim-users.ts'
import {
  applyPatch,
  isScimError,
  listResponse,
  readFilter,
  readUser,
  scimError,
  serviceProviderConfig,
  userResource,
  userResourceType,
  userSchema,
} from './scim-values.ts'

/** Ends everything of the people who are meant, their accounts at MCP servers too, and answers how many grants there were. */
export type EndPeople = (
  provider: string,
  who: { readonly matches: (person: Person) => boolean; readonly names: readonly string[] },
  reason: string,
) => Promise<number>

export interface ScimDeps {
  readonly runtime: ScimRuntime
  readonly config: { readonly oauth_providers: ScimTokens }
  /** The public origin. */
  readonly issuer: string
  readonly endPeople: EndPeople
  readonly limit: Limit
  readonly record: Audit
}

const taken = () => scimError(409, 'Another user has that userName', 'uniqueness')

const matching = async (
  users: ScimUsers,
  filter: string | null,
): Promise<readonly Omit<FoundUser, 'mark'>[]> => {
  const wanted = filter === null ? undefined : readFilter(filter)
  if (wanted?.attribute === 'username') {
    const found = await users.byUserName(wanted.value)
    return found ? [found] : []
  }
  const found: Omit<FoundUser, 'mark'>[] = []
  for await (const page of users.all())
    found.push(...page.filter(({ id, value }) => !wanted || wanted.matches(value.user, id)))
  return found
}

const list: Work = ({ request, users, base }) => {
  const params = new URL(request.url).searchParams
  return listAnswer(
    params,
    () => matching(users, params.get('filter')),
    (user) => userResource(user, base),
  )
}

const readOne = async ({ users, id }: ScimRequest): Promise<FoundUser> => {
  const found = await users.get(id)
  if (!found) throw notFound()
  return found
}

const one: Work = async (scim) => answer(200, userResource(await readOne(scim), scim.base))

const createUserWork = ({ endPeople, record }: Pick<ScimDeps, 'endPeople' | 'record'>): ResourceWork => {
  const note = (provider: string, action: string, { userName }: ScimUser, grants = 0): void =>
    record({ event: 'scim.request', provider, action, user_name: userName, grants, by: `scim:${provider}` })
  const end = (provider: string, users: readonly ScimUser[]): Promise<number> =>
    endPeople(
      provider,
      {
        matches: (person) => users.some((user) => isUser(person, user)),
        names: [...new Set(users.flatMap(namesOf))],
      },
      'deactivated_by_provider',
    )

  const changeTo = async (scim: ScimRequest, change: (user: ScimUser) => ScimUser): Promise<Response> => {
    const { users, groups, provider, base } = scim
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const found = await readOne(scim)
      const before = found.value.user
      const after = change(before)
      const replaced = await users.replace(found, after)
      if (replaced === 'taken') throw taken()
      if (replaced === 'raced') continue
      // Somebody else may be this user by now.
      await groups.changed()
      // Each time, whatever it was before: a provider repeats what it is not sure of.
      const grants = after.active ? 0 : await end(provider, [before, after])
      const action = after.active === before.active ? 'changed' : after.active ? 'reactivated' : 'deactivated'
      note(provider, action, after, grants)
      return answer(200, userResource(replaced, base))
    }
    throw busy()
  }

  return {
    list,
    one,
    async create({ request, users, groups, provider, base }) {
      const user = readUser(await bodyOf(request))
      const created = await users.create(user)
      if (!created) throw taken()
      await groups.changed()
      note(provider, 'created', user, user.active ? 0 : await end(provider, [user]))
      const resource = userResource(created, base)
      return answer(201, resource, { location: resource.meta.location })
    },
    async put(scim) {
      const user = readUser(await bodyOf(scim.request))
      return changeTo(scim, () => user)
    },
    async patch(scim) {
      const body = await bodyOf(scim.request)
      return changeTo(scim, (user) => applyPatch(user, body))
    },
    async remove(scim) {
      const found = await readOne(scim)
      await scim.users.remove(found)
      await scim.groups.forgetUser(found.id)
      note(scim.provider, 'deleted', found.value.user, await end(scim.provider, [found.value.user]))
      return answer(204)
    },
  }
}

/** One of these resources, or all of them. */
const discovery =
  (resources: (base: string) => readonly { readonly id: string }[]): Work =>
  ({ id, base }) => {
    const all = resources(base)
    const found = id === '' ? listResponse(all) : all.find((resource) => resource.id === id)
    return found ? Promise.resolve(answer(200, found)) : Promise.reject(notFound())
  }

const pathShape = /^\/admin\/scim\/([a-z0-9_-]+)\/v2\/[A-Za-z]+(?:\/([^/]+))?$/

/** The request, once its token is known to be the provider's. */
const createAdmission = ({ runtime, config, issuer, limit }: ScimDeps) => {
  const partsOf = new Map<string, { readonly users: ScimUsers; readonly groups: ScimGroups }>()
  return async (request: Request, { ip }: RequestContext): Promise<ScimRequest> => {
    const [, provider = '', id = ''] = pathShape.exec(new URL(request.url).pathname) ?? []
    const settings = Object.hasOwn(config.oauth_providers, provider)
      ? config.oauth_providers[provider]
      : undefined
    if (settings?.scim_token === undefined) throw new Refusal('route.unknown', `no SCIM for ${provider}`)
    await limit('token', { ip, and: 'scim' })
    const [, shown = ''] = /^Bearer +([^\s,]+)$/i.exec(request.headers.get('authorization') ?? '') ?? []
    if (!sameText(runtime.digest(shown), runtime.digest(settings.scim_token))) {
      await limit('sign-in', { ip, and: 'scim' })
      throw scimError(401, 'The bearer token is missing or wrong')
    }
    const parts = partsOf.get(provider) ?? {
      users: createScimUsers(runtime, provider),
      groups: createScimGroups(runtime, provider),
    }
    partsOf.set(provider, parts)
    return { request, provider, ...parts, id, base: `${issuer}/admin/scim/${provider}/v2` }
  }
}

type ResourceHandlers = { readonly [Name in keyof ResourceWork]: Handler }

export interface Scim {
  readonly users: ResourceHandlers
  readonly groups: ResourceHandlers
  readonly serviceProviderConfig: Handler
  readonly resourceTypes: Handler
  readonly schemas: Handler
}

/** Below `/admin/scim/{provider}/v2`, for each provider that has a token; the others have no such endpoint. */
export const createScim = (deps: ScimDeps): Scim => {
  const { runtime } = deps
  const admit = createAdmission(deps)
  const handler =
    (work: Work): Handler =>
    async (request, context) => {
      try {
        return await work(await admit(request, context))
      } catch (error) {
        if (!(error instanceof Refusal) && !isScimError(error)) throw error
        const facts = { why: error.message, ip: context.ip, request_id: context.requestId }
        runtime.log('warn', 'scim.refused', facts)
        if (error instanceof Refusal) return errorAnswer(error.status, error.say, error.detail)
        const headers = error.status === 401 ? { 'www-authenticate': 'Bearer realm="scim"' } : {}
        return errorAnswer(error.status, error.message, { scimType: error.scimType, headers })
      }
    }
  const handlers = ({
    list: listed,
    one: shown,
    create,
    put,
    patch,
    remove,
  }: ResourceWork): ResourceHandlers => ({
    list: handler(listed),
    one: handler(shown),
    create: handler(create),
    put: handler(put),
    patch: handler(patch),
    remove: handler(remove),
  })
  return {
    users: handlers(createUserWork(deps)),
    groups: handlers(createGroupWork(deps)),
    serviceProviderConfig: handler(({ base }) => Promise.resolve(answer(200, serviceProviderConfig(base)))),
    resourceTypes: handler(discovery((base) => [userResourceType(base), groupResourceType(base)])),
    schemas: handler(discovery((base) => [userSchema(base), groupSchema(base)])),
  }
}

const route = (
  paths: readonly string[],
  description: string,
  methods: Route['methods'],
  more: Pick<Route, 'maxBody'> = {},
): Route => ({
  ...more,
  paths: paths.map((path) => `/admin/scim/:provider/v2/${path}`),
  description: `SCIM 2.0, for identity providers: ${description}`,
  surface: 'json',
  cors: false,
  methods,
})

export const scimRoutes = (scim: Scim): readonly Route[] => [
  route(['Users'], 'list users (?filter=, ?startIndex=, ?count=), create a user', {
    GET: scim.users.list,
    POST: scim.users.create,
  }),
  route(['Users/:id'], 'show, change, deactivate or delete a user', {
    GET: scim.users.one,
    PUT: scim.users.put,
    PATCH: scim.users.patch,
    DELETE: scim.users.remove,
  }),
  route(
    ['Groups'],
    'list groups (?filter=, ?excludedAttributes=members), create a group',
    {
      GET: scim.groups.list,
      POST: scim.groups.create,
    },
    { maxBody: largestGroupBody },
  ),
  route(
    ['Groups/:id'],
    'show, rename or delete a group, change its members',
    {
      GET: scim.groups.one,
      PUT: scim.groups.put,
      PATCH: scim.groups.patch,
      DELETE: scim.groups.remove,
    },
    { maxBody: largestGroupBody },
  ),
  route(['ServiceProviderConfig'], 'what is supported', { GET: scim.serviceProviderConfig }),
  route(['ResourceTypes', 'ResourceTypes/:id'], 'the kinds of resources', { GET: scim.resourceTypes }),
  route(['Schemas', 'Schemas/:id'], 'the attributes of users and groups', { GET: scim.schemas }),
]
