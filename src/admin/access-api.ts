// The API about access for administrators: grants and blocks, as JSON over HTTP, with the session cookie and a CSRF
// token. The command line does the same through the functions below (cli/access.ts).
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Blocks, GrantAdmin, Handler } from '../ports/modules.ts'
import type {
  BlockedParty,
  EndedAccounts,
  GrantFilter,
  Impact,
  ListedGrant,
  Person,
} from '../ports/people.ts'
import type { Directory } from '../ports/services.ts'
import type { ServiceRegistry } from '../services/registry.ts'
import {
  type BlocksAdmin,
  type BlocksApi,
  createBlocksHandlers,
  endedBy,
  statusOf,
  wouldEnd,
} from './blocks-api.ts'
import { type Administrators, type Closures, type ClosuresRecord, leaveNoAdministrator } from './blocks.ts'
import {
  type EndOfAccess,
  type EndOfAccessDeps,
  type EndOptions,
  type SessionsEnd,
  type SessionsEndDeps,
  answerWithin,
  createEndOfAccess,
  createSessionsEnd,
} from './end-access.ts'
import type { RollCall } from './roll-call.ts'
import { type RulesAdmin, invalidRule, recordKeys, recordOf } from './stored-rules.ts'
import { type AdminAuthorization, bodyOf, json, timeOf } from './services-api.ts'
import {
  type ToolsAdmin,
  type ToolsAdminDeps,
  type ToolsApi,
  createToolsAdmin,
  createToolsApi,
} from './tools-api.ts'

// What administrators do, wherever they say it.

export interface AccessAdmin extends BlocksAdmin, RollCall {
  /** At most 1000 of them. */
  list(filter: GrantFilter): Promise<{ readonly grants: readonly ListedGrant[]; readonly truncated: boolean }>
  /** Throws `grant.unknown`. */
  show(id: string): Promise<ListedGrant>
  /** Resolves with what became of accounts at MCP servers. Throws `grant.unknown`. */
  revoke(id: string, by: string, options?: EndOptions): Promise<EndedAccounts | undefined>
  /** Throws `request.malformed` for a filter that names nothing. */
  revokeAll(filter: GrantFilter, by: string, options?: EndOptions): Promise<Impact>
  /** Reads what is blocked and closed, as every process does again and again. */
  refresh(): Promise<unknown>
  /** What is closed: the gateway, services. */
  closures(): Promise<ClosuresRecord>
  /**
   * Nobody calls it until it is opened again: a service or, without one, any. Throws `service.unknown`. False when it
   * was closed before.
   */
  close(service: string | undefined, by: string): Promise<boolean>
  /** False when it was not closed. */
  open(service: string | undefined, by: string): Promise<boolean>
  /** Ends the browser sessions of a user and resolves with how many there were. */
  signOut(user: string, by: string): Promise<number>
  readonly browserSessions: SessionsEnd
  readonly tools: ToolsAdmin
}

export interface AccessAdminDeps extends ToolsAdminDeps, SessionsEndDeps {
  readonly grantAdmin: GrantAdmin
  readonly connections: EndOfAccessDeps['connections']
  readonly blocks: Blocks
  readonly closures: Pick<Closures, 'list' | 'close' | 'open' | 'refresh'>
  readonly directory: Pick<Directory, 'service' | 'services'>
  readonly registry: Pick<ServiceRegistry, 'config'>
  readonly people: { all(): Administrators['people'] }
  /** While there is one. */
  readonly builtInUser: Person | undefined
  readonly record: Audit
  readonly now: () => number
  readonly rollCall: RollCall
}

const mostListed = 1000

const factsOf = ({ user, client, domain }: BlockedParty) => ({
  ...(user !== undefined && { blocked_user: user }),
  ...(client !== undefined && { blocked_client: client }),
  ...(domain !== undefined && { blocked_domain: domain }),
})

/** Throws for a filter that names nothing: everything of everybody is never meant by it. */
const requireNamed = ({ user, client, domain, service }: GrantFilter): void => {
  if ([user, client, domain, service].every((named) => named === undefined || named === ''))
    throw new Refusal('request.malformed', 'no user, client, domain or service named', {
      say: 'Name a user, a client, a domain or a service.',
    })
}

const reason = 'ended_by_admin'

/** People of these grants, by what they are known by. */
const peopleOf = (grants: readonly ListedGrant[]): Administrators['people'] =>
  grants.map(({ user, email }) => {
    const [provider = '', ...subject] = user.split(':')
    return { provider, subject: subject.join(':'), ...(email !== undefined && { email }) }
  })

const createClosing = ({
  blocks,
  closures,
  directory,
  record,
  now,
}: AccessAdminDeps): Pick<AccessAdmin, 'refresh' | 'closures' | 'close' | 'open'> => ({
  refresh: () => Promise.all([blocks.list(), closures.refresh()]),
  closures: () => closures.list(),
  async close(service, by) {
    if (service !== undefined && !directory.service(service))
      throw new Refusal('service.unknown', service.slice(0, 80))
    const closed = await closures.close(service, { by, at: now() })
    if (service === undefined) record({ event: 'gateway.locked', by })
    else record({ event: 'service.disabled', service, by })
    return closed
  },
  async open(service, by) {
    const opened = await closures.open(service)
    if (!opened) return false
    if (service === undefined) record({ event: 'gateway.unlocked', by })
    else record({ event: 'service.enabled', service, by })
    return true
  },
})

const createBlocking = (
  { grantAdmin: grants, blocks, record, now, registry, people, builtInUser }: AccessAdminDeps,
  endSessions: AccessAdmin['signOut'],
  endAccess: EndOfAccess,
): Pick<AccessAdmin, 'blocks' | 'block' | 'unblock'> => {
  /** Throws `admin.last`. */
  const keepAdministrator = async (party: BlockedParty): Promise<void> => {
    const entries = [...registry.config().admins, ...(builtInUser ? [personKey(builtInUser)] : [])]
    const known = [...people.all()]
    for await (const found of grants.list({ user: party.user })) known.push(...peopleOf(found))
    if (leaveNoAdministrator([...(await blocks.list()), party], { entries, people: known }))
      throw new Refusal('admin.last', String(party.user))
  }
  return {
    blocks: () => blocks.list(),
    async block(party, by, { force = false, grant, ...options } = {}) {
      const { user, client, domain } = party
      const isWhole = user !== undefined && client === undefined && domain === undefined
      if (isWhole && !force) await keepAdministrator(party)
      const why = { reason: 'blocked', by }
      if (options.dryRun) return endAccess.all({ user, client, domain }, why, options)
      // Written before anything ends: a code that is issued meanwhile meets the block when it is exchanged.
      await blocks.add({ ...party, ...(grant !== undefined && { grant }), by, at: now() })
      if (grant === undefined) record({ event: 'access.blocked', ...factsOf(party), by })
      else record({ event: 'grant.blocked', ...factsOf(party), grant, by })
      if (isWhole) await endSessions(user, by)
      return endAccess.all({ user, client, domain }, why, options)
    },
    async unblock(party, by) {
      if (!(await blocks.remove(party)))
        throw new Refusal('block.unknown', JSON.stringify(party).slice(0, 200))
      record({ event: 'access.unblocked', ...factsOf(party), by })
    },
  }
}

export const createAccessAdmin = (deps: AccessAdminDeps): AccessAdmin => {
  const { grantAdmin: grants } = deps
  const endAccess = createEndOfAccess({ ...deps, grants })
  const { signOut: endSessions, ...browserSessions } = createSessionsEnd(deps)
  return {
    async signOut(user, by) {
      const ended = await endSessions(user, by)
      await grants.end({ user, tokens: true }, { reason: 'signed_out_everywhere', by }, false)
      return ended
    },
    ...deps.rollCall,
    tools: createToolsAdmin(deps),
    browserSessions,
    ...createBlocking(deps, endSessions, endAccess),
    ...createClosing(deps),
    async list(filter) {
      const listed: ListedGrant[] = []
      for await (const found of grants.list(filter)) {
        listed.push(...found)
        if (listed.length > mostListed) break
      }
      return { grants: listed.slice(0, mostListed), truncated: listed.length > mostListed }
    },
    async show(id) {
      const grant = await grants.byId(id)
      if (!grant) throw new Refusal('grant.unknown', id.slice(0, 80))
      return grant
    },
    revoke: (id, by, options) => endAccess.one(id, { reason, by }, options),
    async revokeAll(filter, by, options) {
      requireNamed(filter)
      return endAccess.all(filter, { reason, by }, options)
    },
  }
}

// The API.

export interface AccessApi extends ToolsApi, BlocksApi {
  /** GET /api/grants?user=&client=&service=, /api/grants/:id */
  readonly grants: Handler
  /** DELETE /api/grants?user=&client=&service=&dry_run=1, /api/grants/:id; revoke_upstream=1 for both */
  readonly end: Handler
  /** DELETE /api/sessions?user= */
  readonly signOut: Handler
  /** GET /api/access, /api/access/:id */
  readonly rules: Handler
  /** POST /api/access: a record `{ userId, servers?, permissions?, groups? }`, `{ allow }` or `{ deny }` */
  readonly addRule: Handler
  /** DELETE /api/access/:id, /api/access?userId=&servers=&permissions=&groups= */
  readonly removeRule: Handler
  /** GET /api/lock: what is closed */
  readonly closures: Handler
  /** PUT /api/lock, /api/services/:id/disabled */
  readonly close: Handler
  /** DELETE of the same */
  readonly open: Handler
}

const named = (request: Request, name: string): string | undefined =>
  new URL(request.url).searchParams.get(name) || undefined

const filterOf = (request: Request): GrantFilter => ({
  user: named(request, 'user'),
  client: named(request, 'client'),
  domain: named(request, 'domain')?.toLowerCase(),
  service: named(request, 'service'),
})

/** Empty for all of them. */
const idOf = (request: Request): string => new URL(request.url).pathname.slice('/api/grants/'.length)

/** Absent for `/api/lock`. */
const closedService = (request: Request): string | undefined =>
  /^\/api\/services\/([^/]+)\/disabled$/.exec(new URL(request.url).pathname)?.[1]

/** As the API and the command line tell it. */
export const listedClosures = ({ gateway, services }: ClosuresRecord) => ({
  locked: gateway !== undefined,
  ...(gateway && { by: gateway.by, at: timeOf(gateway.at) }),
  disabled: Object.entries(services).map(([service, { by, at }]) => ({ service, by, at: timeOf(at) })),
})

/** Who asks, once that is an administrator in a request of this gateway's own pages. */
const createByOf =
  ({ requireCsrfToken }: AdminAuthorization) =>
  async (request: Request): Promise<string> =>
    personKey((await requireCsrfToken(request)).person)

const createClosingApi = (
  admin: AccessAdmin,
  authorization: AdminAuthorization,
): Pick<AccessApi, 'closures' | 'close' | 'open'> => {
  const byOf = createByOf(authorization)
  return {
    async closures(request) {
      await authorization.requireAdmin(request)
      return json(listedClosures(await admin.closures()))
    },
    async close(request) {
      const by = await byOf(request)
      await admin.close(closedService(request), by)
      return new Response(null, { status: 204 })
    },
    async open(request) {
      const by = await byOf(request)
      await admin.open(closedService(request), by)
      return new Response(null, { status: 204 })
    },
  }
}

const ruleIdOf = (request: Request): string => new URL(request.url).pathname.slice('/api/access/'.length)

const createRulesHandlers = (
  rules: RulesAdmin,
  authorization: AdminAuthorization,
): Pick<AccessApi, 'rules' | 'addRule' | 'removeRule'> => {
  const { requireAdmin } = authorization
  const byOf = createByOf(authorization)
  return {
    async rules(request) {
      await requireAdmin(request)
      const id = ruleIdOf(request)
      return json(id === '' ? await rules.list() : await rules.show(id))
    },
    async addRule(request) {
      const by = await byOf(request)
      const body = await bodyOf(request)
      const [key, ...others] = Object.keys(body)
      if (key !== 'allow' && key !== 'deny') return json(await rules.grant(recordOf(body), by), 201)
      const rule = body[key]
      if (others.length > 0 || typeof rule !== 'object' || rule === null || Array.isArray(rule))
        throw invalidRule('Send {"allow": {…}}, {"deny": {…}} or a record.')
      return json(await rules.add(key, rule as Readonly<Record<string, unknown>>, by), 201)
    },
    async removeRule(request) {
      const by = await byOf(request)
      const id = ruleIdOf(request)
      if (id === '') {
        const { searchParams } = new URL(request.url)
        const lists = recordKeys.slice(1).map((key) => [key, searchParams.getAll(key)])
        await rules.withdraw(
          recordOf({ userId: searchParams.get('userId') ?? '', ...Object.fromEntries(lists) }),
          by,
        )
      } else await rules.revoke(id, by)
      return new Response(null, { status: 204 })
    },
  }
}

export const createAccessApi = (
  admin: AccessAdmin,
  rules: RulesAdmin,
  authorization: AdminAuthorization,
): AccessApi => {
  const { requireAdmin } = authorization
  const byOf = createByOf(authorization)
  return {
    ...createToolsApi(admin.tools, authorization),
    ...createClosingApi(admin, authorization),
    async grants(request) {
      await requireAdmin(request)
      const id = idOf(request)
      return json(id === '' ? await admin.list(filterOf(request)) : await admin.show(id))
    },
    async end(request) {
      const by = await byOf(request)
      const id = idOf(request)
      const upstreamWithin = named(request, 'revoke_upstream') === undefined ? undefined : answerWithin
      if (id !== '') {
        const accounts = await admin.revoke(id, by, { upstreamWithin })
        const heard = await admin.confirm()
        if (!accounts && statusOf(heard) === 200) return new Response(null, { status: 204 })
        return json({ ended: accounts ?? {}, ...heard }, statusOf(heard))
      }
      const dryRun = named(request, 'dry_run') !== undefined
      const filter = filterOf(request)
      const impact = await admin.revokeAll(filter, by, { dryRun, upstreamWithin })
      return dryRun ? wouldEnd(admin, impact, filter) : endedBy(admin, impact)
    },
    async signOut(request) {
      const by = await byOf(request)
      const user = named(request, 'user')
      if (user === undefined) throw new Refusal('request.malformed', 'no user named', { say: 'Name a user.' })
      return json({ sessions: await admin.signOut(user, by) })
    },
    ...createBlocksHandlers(admin, authorization),
    ...createRulesHandlers(rules, authorization),
  }
}
