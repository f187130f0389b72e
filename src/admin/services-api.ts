// The services API for administrators: JSON over HTTP, with the session cookie and a CSRF token.
import { sameText, utf8Text } from '../kit/bytes.ts'
import { foreignSender, readBounded, readMediaType } from '../kit/http.ts'
import { isNamed, personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler, BrowserSession, Sessions } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Person } from '../ports/people.ts'
import type { ServiceRegistry } from '../services/registry.ts'
import type { Bridges } from '../stdio/bridge.ts'

export interface ServicesApi {
  /** GET /api/services */
  readonly list: Handler
  /** POST /api/services: `{ id, service: { url, … }, check?: true }`; with `check` nothing is kept. */
  readonly add: Handler
  /** GET /api/services/:id */
  readonly show: Handler
  /** DELETE /api/services/:id */
  readonly remove: Handler
  /** GET /api/processes: of stdio servers, with the last lines of their standard error output. */
  readonly processes: Handler
}

export interface ServicesApiDeps {
  readonly registry: ServiceRegistry
  readonly sessions: Sessions
  readonly isAdmin: (person: Person) => boolean
  /** The gateway's own. */
  readonly origins: readonly string[]
  readonly record: Audit
  readonly runtime: Pick<Runtime, 'trail'>
  readonly bridges: Pick<Bridges, 'all'>
}

export const json = (body: unknown, status = 200): Response =>
  Response.json(body, { status, headers: { 'cache-control': 'no-store' } })

export const timeOf = (ms: number): string => new Date(ms).toISOString()

const maxBytes = 65_536
const idForm = /^[a-z0-9][a-z0-9_-]{0,62}$/

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const bodyOf = async (request: Request): Promise<Readonly<Record<string, unknown>>> => {
  // Forms of other sites can send text/plain and forms, never this (Fetch, CORS-safelisted request headers).
  const type = request.headers.get('content-type') ?? ''
  if (readMediaType(type)?.essence !== 'application/json') {
    throw new Refusal('request.media-type', type.slice(0, 80))
  }
  let body: unknown
  try {
    body = JSON.parse(utf8Text(await readBounded(request.body, maxBytes)))
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new Refusal('request.malformed', 'body is not JSON', {
      say: 'The request body must be valid JSON.',
    })
  }
  if (!isObject(body))
    throw new Refusal('request.malformed', 'body is not a JSON object', {
      say: 'The request body must be a JSON object.',
    })
  return body
}

const idOf = (request: Request): string => {
  const id = new URL(request.url).pathname.slice('/api/services/'.length)
  if (!idForm.test(id)) throw new Refusal('service.unknown', id.slice(0, 80))
  return id
}

/** Throws `audit.unavailable`: what an administrator changes is written down, or not changed. */
export const requireWritable = ({
  trail,
}: {
  readonly trail?: { available(): boolean } | undefined
}): void => {
  if (trail && !trail.available())
    throw new Refusal('audit.unavailable', 'change by an administrator', {
      say: 'The audit trail of this gateway cannot be written, and nothing is changed without it. Try again later.',
    })
}

/** Throws `admin.form`: what changes something is sent by a page of this gateway, or with a token. */
export const requireOwnForm = ({ headers }: Request, { csrf, bearer }: BrowserSession): void => {
  if (!bearer && !sameText(headers.get('x-csrf-token') ?? '', csrf))
    throw new Refusal('admin.form', 'X-CSRF-Token missing or wrong')
}

/**
 * Who may change services: the session of an administrator, in a request that this gateway's own pages sent, or a
 * token of theirs.
 */
export const createAuthorization = ({
  sessions,
  isAdmin,
  origins,
  runtime,
}: Pick<ServicesApiDeps, 'sessions' | 'isAdmin' | 'origins' | 'runtime'>) => {
  const requireAdmin = async (request: Request): Promise<BrowserSession> => {
    const foreign = foreignSender(request, origins)
    if (foreign !== undefined) throw new Refusal('admin.form', foreign)
    const session = await sessions.of(request)
    if (!session) throw new Refusal('login.required', 'session cookie missing or expired')
    if (!isAdmin(session.person))
      throw new Refusal('admin.required', `${personKey(session.person)} is not listed in admins`)
    return session
  }
  const requireCsrfToken = async (request: Request): Promise<BrowserSession> => {
    const session = await requireAdmin(request)
    requireOwnForm(request, session)
    requireWritable(runtime)
    return session
  }
  return { requireAdmin, requireCsrfToken }
}

export type AdminAuthorization = ReturnType<typeof createAuthorization>

const processesOf = (bridges: ServicesApiDeps['bridges']) =>
  bridges.all().flatMap(({ service, processes, failures }) => [
    ...processes().map(({ owner, pid, startedAt, pending, stderr }) => ({
      service,
      owner,
      pid,
      started_at: timeOf(startedAt),
      pending,
      stderr,
    })),
    ...failures().map(({ owner, pid, startedAt, endedAt, why, stderr }) => ({
      service,
      owner,
      pid,
      started_at: timeOf(startedAt),
      ended_at: timeOf(endedAt),
      why,
      stderr,
    })),
  ])

export const createServicesApi = ({
  registry,
  sessions,
  isAdmin,
  origins,
  record,
  bridges,
  runtime,
}: ServicesApiDeps): ServicesApi => {
  const { requireAdmin, requireCsrfToken } = createAuthorization({ sessions, isAdmin, origins, runtime })
  /** Without arguments and query, which may hold a key. */
  const find = async (id: string) => (await registry.list()).find((service) => service.id === id)
  return {
    async list(request) {
      await requireAdmin(request)
      return json({ services: await registry.list() })
    },
    async processes(request) {
      await requireAdmin(request)
      return json({ processes: processesOf(bridges) })
    },
    async show(request) {
      await requireAdmin(request)
      const id = idOf(request)
      const found = await find(id)
      if (!found) throw new Refusal('service.unknown', id)
      return json(found)
    },
    async add(request, { ip, requestId }) {
      const session = await requireCsrfToken(request)
      const { id, service, check } = await bodyOf(request)
      if (typeof id !== 'string' || !idForm.test(id) || !isObject(service))
        throw new Refusal('service.invalid', 'id or service missing or malformed', {
          say: 'Send {"id": "…", "service": {"url": "https://…"}}. An id may contain lower-case letters, digits, - and _.',
        })
      const by = personKey(session.person)
      if (check === true) return json({ id, steps: await registry.check({ id, service, by }) })
      const steps = await registry.add({ id, service, by })
      const after = await find(id)
      record({ event: 'service.added', service: id, person: by, ip, request_id: requestId, after })
      return json({ id, steps }, 201)
    },
    async remove(request, { ip, requestId }) {
      const session = await requireCsrfToken(request)
      const id = idOf(request)
      const before = await find(id)
      await registry.remove(id)
      const person = personKey(session.person)
      record({ event: 'service.removed', service: id, person, ip, request_id: requestId, before })
      return new Response(null, { status: 204 })
    },
  }
}

/**
 * `admins` as configured: person keys and verified e-mail addresses. `owner`: the built-in person, while
 * there is one.
 */
export const createIsAdmin = (
  admins: () => readonly string[],
  owner: Person | undefined,
): ((person: Person) => boolean) => {
  const builtIn = owner && personKey(owner)
  return (person) => personKey(person) === builtIn || admins().some((entry) => isNamed(person, entry))
}
