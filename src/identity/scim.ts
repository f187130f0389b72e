// SCIM 2.0 over HTTP (RFC 7644) for identity providers that provision users: above all, whoever is deactivated there
// has no access here any more. Users only, in the forms in which Okta and Microsoft Entra send them.
import { sameText, utf8Text } from '../kit/bytes.ts'
import { readWhole } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler, Limit, Route } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import {
  type FoundUser,
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
  mostResults,
  readFilter,
  readUser,
  scimError,
  serviceProviderConfig,
  urns,
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
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly config: {
    readonly oauth_providers: Readonly<Record<string, { readonly scim_token?: string | undefined }>>
  }
  /** The public origin. */
  readonly issuer: string
  readonly endPeople: EndPeople
  readonly limit: Limit
  readonly record: Audit
}

/** One request of a provider that showed its token. */
interface ScimRequest {
  readonly request: Request
  readonly provider: string
  readonly users: ScimUsers
  /** URL of the endpoint. */
  readonly base: string
  /** What follows the kind of resource in the path. */
  readonly id: string
}

type Work = (scim: ScimRequest) => Promise<Response>

const answer = (status: number, body?: unknown, headers: Readonly<Record<string, string>> = {}): Response =>
  new Response(body === undefined ? null : JSON.stringify(body), {
    status,
    headers: {
      ...(body !== undefined && { 'content-type': 'application/scim+json' }),
      'cache-control': 'no-store',
      ...headers,
    },
  })

/** RFC 7644 §3.12. */
const errorAnswer = (
  status: number,
  detail: string,
  { scimType, headers }: { scimType?: string | undefined; headers?: Readonly<Record<string, string>> } = {},
): Response =>
  answer(
    status,
    { schemas: [urns.error], status: String(status), ...(scimType !== undefined && { scimType }), detail },
    headers,
  )

const notFound = () => scimError(404, 'There is no such resource')
const taken = () => scimError(409, 'Another user has that userName', 'uniqueness')

const largestBody = 65_536

const bodyOf = async (request: Request): Promise<unknown> => {
  const type = (request.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  if (type !== 'application/scim+json' && type !== 'application/json')
    throw scimError(415, 'Send application/scim+json')
  try {
    return JSON.parse(utf8Text(await readWhole(request, largestBody))) as unknown
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw scimError(400, 'The body is not JSON', 'invalidSyntax')
  }
}

/** RFC 7644 §3.4.2.4. */
const numberIn = (params: URLSearchParams, name: string, fallback: number, least: number): number => {
  const text = params.get(name)
  if (text === null) return fallback
  if (!/^-?\d{1,9}$/.test(text)) throw scimError(400, `${name} must be a number`, 'invalidValue')
  return Math.max(Number(text), least)
}

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

const list: Work = async ({ request, users, base }) => {
  const params = new URL(request.url).searchParams
  const start = numberIn(params, 'startIndex', 1, 1)
  const count = Math.min(numberIn(params, 'count', mostResults, 0), mostResults)
  const found = await matching(users, params.get('filter'))
  const shown = found.slice(start - 1, start - 1 + count).map((user) => userResource(user, base))
  return answer(200, listResponse(shown, start, found.length))
}

const readOne = async ({ users, id }: ScimRequest): Promise<FoundUser> => {
  const found = await users.get(id)
  if (!found) throw notFound()
  return found
}

const one: Work = async (scim) => answer(200, userResource(await readOne(scim), scim.base))

/** Each lost compare-and-set means that another request changed the user. */
const maxAttempts = 10

interface UserWork {
  readonly create: Work
  readonly put: Work
  readonly patch: Work
  readonly remove: Work
}

const createUserWork = ({ endPeople, record }: Pick<ScimDeps, 'endPeople' | 'record'>): UserWork => {
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
    const { users, provider, base } = scim
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const found = await readOne(scim)
      const before = found.value.user
      const after = change(before)
      const replaced = await users.replace(found, after)
      if (replaced === 'taken') throw taken()
      if (replaced === 'raced') continue
      // Each time, whatever it was before: a provider repeats what it is not sure of.
      const grants = after.active ? 0 : await end(provider, [before, after])
      const action = after.active === before.active ? 'changed' : after.active ? 'reactivated' : 'deactivated'
      note(provider, action, after, grants)
      return answer(200, userResource(replaced, base))
    }
    throw scimError(409, 'The user is changed by other requests at the moment')
  }

  return {
    async create({ request, users, provider, base }) {
      const user = readUser(await bodyOf(request))
      const created = await users.create(user)
      if (!created) throw taken()
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
      note(scim.provider, 'deleted', found.value.user, await end(scim.provider, [found.value.user]))
      return answer(204)
    },
  }
}

/** One resource, or all of the one that there are. */
const discovery =
  (resource: (base: string) => { readonly id: string }): Work =>
  ({ id, base }) => {
    const only = resource(base)
    if (id !== '' && id !== only.id) return Promise.reject(notFound())
    return Promise.resolve(answer(200, id === '' ? listResponse([only]) : only))
  }

const pathShape = /^\/admin\/scim\/([a-z0-9_-]+)\/v2\/[A-Za-z]+(?:\/([^/]+))?$/

/** The request, once its token is known to be the provider's. */
const createAdmission = ({ runtime, config, issuer, limit }: ScimDeps) => {
  const usersOf = new Map<string, ScimUsers>()
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
    const users = usersOf.get(provider) ?? createScimUsers(runtime, provider)
    usersOf.set(provider, users)
    return { request, provider, users, id, base: `${issuer}/admin/scim/${provider}/v2` }
  }
}

export interface Scim {
  readonly list: Handler
  readonly create: Handler
  readonly one: Handler
  readonly put: Handler
  readonly patch: Handler
  readonly remove: Handler
  readonly serviceProviderConfig: Handler
  readonly resourceTypes: Handler
  readonly schemas: Handler
}

/** Below `/admin/scim/{provider}/v2`, for each provider that has a token; the others have no such endpoint. */
export const createScim = (deps: ScimDeps): Scim => {
  const { runtime } = deps
  const admit = createAdmission(deps)
  const { create, put, patch, remove } = createUserWork(deps)
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
  return {
    list: handler(list),
    create: handler(create),
    one: handler(one),
    put: handler(put),
    patch: handler(patch),
    remove: handler(remove),
    serviceProviderConfig: handler(({ base }) => Promise.resolve(answer(200, serviceProviderConfig(base)))),
    resourceTypes: handler(discovery(userResourceType)),
    schemas: handler(discovery(userSchema)),
  }
}

const route = (paths: readonly string[], description: string, methods: Route['methods']): Route => ({
  paths: paths.map((path) => `/admin/scim/:provider/v2/${path}`),
  description: `SCIM 2.0, for identity providers: ${description}`,
  surface: 'json',
  cors: false,
  methods,
})

export const scimRoutes = (scim: Scim): readonly Route[] => [
  route(['Users'], 'list users (?filter=, ?startIndex=, ?count=), create a user', {
    GET: scim.list,
    POST: scim.create,
  }),
  route(['Users/:id'], 'show, change, deactivate or delete a user', {
    GET: scim.one,
    PUT: scim.put,
    PATCH: scim.patch,
    DELETE: scim.remove,
  }),
  route(['ServiceProviderConfig'], 'what is supported', { GET: scim.serviceProviderConfig }),
  route(['ResourceTypes', 'ResourceTypes/:id'], 'the kinds of resources', { GET: scim.resourceTypes }),
  route(['Schemas', 'Schemas/:id'], 'the attributes of a user', { GET: scim.schemas }),
]
