// Services over HTTP, for the pages of administrators: their session, their form token, this gateway's own origin, JSON.
import { sameText, utf8Text } from '../kit/bytes.ts'
import { foreignSender } from '../kit/form.ts'
import { readBounded, readMediaType } from '../kit/http.ts'
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler, BrowserSession, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { ServiceRegistry } from '../services/live.ts'
import type { Bridges } from '../stdio/bridges.ts'

export interface ServicesApi {
  /** GET /api/services */
  readonly list: Handler
  /** POST /api/services: `{ id, service: { url, … }, check?: true }`; with `check` nothing is kept. */
  readonly add: Handler
  /** GET /api/services/:id */
  readonly show: Handler
  /** DELETE /api/services/:id */
  readonly remove: Handler
  /** GET /api/processes: of services that are commands, with what each wrote to standard error last. */
  readonly processes: Handler
}

export interface ServicesApiDeps {
  readonly supply: ServiceRegistry
  readonly sessions: Sessions
  readonly isAdmin: (person: Person) => boolean
  /** The gateway's own. */
  readonly origins: readonly string[]
  readonly record: Audit
  readonly bridges: Pick<Bridges, 'all'>
}

const json = (body: unknown, status = 200): Response =>
  Response.json(body, { status, headers: { 'cache-control': 'no-store' } })

const timeOf = (ms: number): string => new Date(ms).toISOString()

const mostBytes = 65_536
const idForm = /^[a-z0-9][a-z0-9_-]{0,62}$/

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const bodyOf = async (request: Request): Promise<Readonly<Record<string, unknown>>> => {
  // Forms of other sites can send text/plain and forms, never this (Fetch, CORS-safelisted request headers).
  const type = request.headers.get('content-type') ?? ''
  if (readMediaType(type)?.essence !== 'application/json') {
    throw new Refusal('request.media-type', type.slice(0, 80))
  }
  let body: unknown
  try {
    body = JSON.parse(utf8Text(await readBounded(request.body, mostBytes)))
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

export const createServicesApi = ({
  supply,
  sessions,
  isAdmin,
  origins,
  record,
  bridges,
}: ServicesApiDeps): ServicesApi => {
  const admin = async (request: Request): Promise<BrowserSession> => {
    const foreign = foreignSender(request, origins)
    if (foreign !== undefined) throw new Refusal('admin.form', foreign)
    const session = await sessions.of(request)
    if (!session) throw new Refusal('login.required', 'session cookie missing or expired')
    if (!isAdmin(session.person))
      throw new Refusal('admin.required', `${personKey(session.person)} is not listed in admins`)
    return session
  }
  const ownForm = (request: Request, { csrf }: BrowserSession): void => {
    if (!sameText(request.headers.get('x-csrf-token') ?? '', csrf))
      throw new Refusal('admin.form', 'X-CSRF-Token missing or wrong')
  }
  /** What may be told of a service: no argument and no query, which may hold a key. */
  const told = async (id: string) => (await supply.list()).find((service) => service.id === id)
  return {
    async list(request) {
      await admin(request)
      return json({ services: await supply.list() })
    },
    async processes(request) {
      await admin(request)
      const list = bridges.all().flatMap(({ service, processes, failures }) => [
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
      return json({ processes: list })
    },
    async show(request) {
      await admin(request)
      const id = idOf(request)
      const found = await told(id)
      if (!found) throw new Refusal('service.unknown', id)
      return json(found)
    },
    async add(request, visit) {
      const session = await admin(request)
      ownForm(request, session)
      const { id, service, check } = await bodyOf(request)
      if (typeof id !== 'string' || !idForm.test(id) || !isObject(service))
        throw new Refusal('service.invalid', 'id or service missing or malformed', {
          say: 'Send {"id": "…", "service": {"url": "https://…"}}. An id may contain lower-case letters, digits, - and _.',
        })
      const by = personKey(session.person)
      const steps = await (check === true
        ? supply.check({ id, service, by })
        : supply.add({ id, service, by }))
      if (check === true) return json({ id, steps })
      record({
        event: 'service.added',
        service: id,
        person: by,
        ip: visit.ip,
        request_id: visit.requestId,
        after: await told(id),
      })
      return json({ id, steps }, 201)
    },
    async remove(request, visit) {
      const session = await admin(request)
      ownForm(request, session)
      const id = idOf(request)
      const before = await told(id)
      await supply.remove(id)
      record({
        event: 'service.removed',
        service: id,
        person: personKey(session.person),
        ip: visit.ip,
        request_id: visit.requestId,
        before,
      })
      return new Response(null, { status: 204 })
    },
  }
}

// Who may change what the gateway does while it runs.

/** `admins` as configured: person keys and verified e-mail addresses. `owner`: the built-in person, while there is one. */
export const createIsAdmin = (
  admins: () => readonly string[],
  owner: Person | undefined,
): ((person: Person) => boolean) => {
  const builtIn = owner && personKey(owner)
  return (person) => {
    const key = personKey(person)
    // Mail addresses differ in case between providers; person keys never do. `email` is there only when the provider says it is verified.
    return (
      key === builtIn ||
      admins().some(
        (entry) =>
          entry === key ||
          (entry.includes('@') &&
            !entry.includes(':') &&
            entry.toLowerCase() === person.email?.toLowerCase()),
      )
    )
  }
}
