// The API about access for administrators: grants and blocks, as JSON over HTTP, with the session cookie and a CSRF
// token. The command line does the same through the functions below (cli/access.ts).
import { createRecords, isNamed, personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Blocks, GrantAdmin, Handler } from '../ports/modules.ts'
import type { Block, BlockedParty, GrantFilter, Impact, ListedGrant, Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type RulesAdmin, invalidRule, recordKeys, recordOf } from './stored-rules.ts'
import { type AdminAuthorization, bodyOf, json, timeOf } from './services-api.ts'

// What administrators do, wherever they say it.

export interface AccessAdmin {
  /** At most 1000 of them. */
  list(filter: GrantFilter): Promise<{ readonly grants: readonly ListedGrant[]; readonly truncated: boolean }>
  /** Throws `grant.unknown`. */
  show(id: string): Promise<ListedGrant>
  /** Throws `grant.unknown`. */
  revoke(id: string, by: string): Promise<void>
  /** `dryRun`: what would end. Throws `request.malformed` for a filter that names nothing. */
  revokeAll(filter: GrantFilter, by: string, dryRun?: boolean): Promise<Impact>
  readonly blocks: () => ReturnType<Blocks['list']>
  /** From now on, and what is open ends: grants, and the browser sessions of a user. */
  block(party: BlockedParty, by: string): Promise<Impact>
  /** Throws `block.unknown`. */
  unblock(party: BlockedParty, by: string): Promise<void>
  /** Ends the browser sessions of a user and resolves with how many there were. */
  signOut(user: string, by: string): Promise<number>
}

export interface AccessAdminDeps {
  readonly grants: GrantAdmin
  readonly blocks: Blocks
  readonly sessions: { endOfPerson(user: string): Promise<number> }
  readonly record: Audit
  readonly now: () => number
}

const mostListed = 1000

const factsOf = ({ user, client }: BlockedParty) => ({
  ...(user !== undefined && { blocked_user: user }),
  ...(client !== undefined && { blocked_client: client }),
})

/** Throws for a filter that names nothing: everything of everybody is never meant by it. */
const requireNamed = ({ user, client, service }: GrantFilter): void => {
  if ([user, client, service].every((named) => named === undefined || named === ''))
    throw new Refusal('request.malformed', 'no user, client or service named', {
      say: 'Name a user, a client or a service.',
    })
}

export const createAccessAdmin = ({
  grants,
  blocks,
  sessions,
  record,
  now,
}: AccessAdminDeps): AccessAdmin => {
  const signOut: AccessAdmin['signOut'] = async (user, by) => {
    const ended = await sessions.endOfPerson(user)
    record({ event: 'sign-out', everywhere: true, sessions: ended, person: user, by })
    return ended
  }
  const reason = 'ended_by_admin'
  return {
    signOut,
    blocks: () => blocks.list(),
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
    async revoke(id, by) {
      if (!(await grants.endOne(id, { reason, by }))) throw new Refusal('grant.unknown', id.slice(0, 80))
    },
    async revokeAll(filter, by, dryRun = false) {
      requireNamed(filter)
      return grants.end(filter, { reason, by }, dryRun)
    },
    async block(party, by) {
      const { user, client } = party
      // Written before anything ends: a code that is issued meanwhile meets the block when it is exchanged.
      await blocks.add({ ...party, by, at: now() })
      record({ event: 'access.blocked', ...factsOf(party), by })
      if (user !== undefined && client === undefined) await signOut(user, by)
      return grants.end({ user, client }, { reason: 'blocked', by }, false)
    },
    async unblock(party, by) {
      if (!(await blocks.remove(party)))
        throw new Refusal('block.unknown', JSON.stringify(party).slice(0, 200))
      record({ event: 'access.unblocked', ...factsOf(party), by })
    },
  }
}

// The record of blocks. It is read where access begins (sign-in, consent, the exchange of a code), never on the
// path of a call: what was open when a block was written is ended beside it.

interface BlocksRecord {
  readonly blocks: readonly Block[]
}

/** Whoever blocks more than this has a rule in mind: allow lists and access rules say it better. */
const mostBlocks = 1000
/** Each lost compare-and-set means that another administrator won. */
const maxAttempts = 10

const isSame = (a: BlockedParty, b: BlockedParty): boolean => a.user === b.user && a.client === b.client

export const createBlocks = (runtime: Pick<Runtime, 'store' | 'keys' | 'log'>): Blocks => {
  const records = createRecords<BlocksRecord>(runtime, 'blocks', { remembered: 1 })
  const read = async () => {
    const kept = await records.get('')
    return { blocks: kept?.value.blocks ?? [], only: kept?.mark ?? 'absent' }
  }
  const change = async (
    next: (blocks: readonly Block[]) => readonly Block[] | undefined,
  ): Promise<boolean> => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const { blocks, only } = await read()
      const changed = next(blocks)
      if (!changed) return false
      if (await records.put('', { blocks: changed }, { only })) return true
    }
    throw new Refusal('storage.unavailable', 'blocks changed again and again')
  }
  return {
    list: async () => (await read()).blocks,
    async add(block) {
      await change((blocks) => {
        const others = blocks.filter((other) => !isSame(other, block))
        if (others.length < mostBlocks) return [...others, block]
        throw new Refusal('request.malformed', `${mostBlocks} blocks`, {
          say: `At most ${mostBlocks} users and clients can be blocked. Use allow lists or access rules.`,
        })
      })
    },
    remove: (party) =>
      change((blocks) => {
        const left = blocks.filter((other) => !isSame(other, party))
        return left.length < blocks.length ? left : undefined
      }),
    async covers(person, clientId) {
      const { blocks } = await read()
      return blocks.some(
        ({ user, client }) =>
          (user === undefined || isNamed(person, user)) && (client === undefined || client === clientId),
      )
    },
  }
}

// The API.

export interface AccessApi {
  /** GET /api/grants?user=&client=&service=, /api/grants/:id */
  readonly grants: Handler
  /** DELETE /api/grants?user=&client=&service=&dry_run=1, /api/grants/:id */
  readonly end: Handler
  /** GET /api/blocks */
  readonly blocks: Handler
  /** POST /api/blocks: `{ user?, client? }` */
  readonly block: Handler
  /** DELETE /api/blocks?user=&client= */
  readonly unblock: Handler
  /** DELETE /api/sessions?user= */
  readonly signOut: Handler
  /** GET /api/access, /api/access/:id */
  readonly rules: Handler
  /** POST /api/access: a record `{ userId, servers?, permissions?, groups? }`, `{ allow }` or `{ deny }` */
  readonly addRule: Handler
  /** DELETE /api/access/:id, /api/access?userId=&servers=&permissions=&groups= */
  readonly removeRule: Handler
}

const named = (request: Request, name: string): string | undefined =>
  new URL(request.url).searchParams.get(name) || undefined

const filterOf = (request: Request): GrantFilter => ({
  user: named(request, 'user'),
  client: named(request, 'client'),
  service: named(request, 'service'),
})

/** Empty for all of them. */
const idOf = (request: Request): string => new URL(request.url).pathname.slice('/api/grants/'.length)

/** Throws `request.malformed` unless a user or a client is named. */
export const partyOf = (user: unknown, client: unknown): BlockedParty => {
  const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= 2048
  if (
    (user === undefined && client === undefined) ||
    ![user, client].every((v) => v === undefined || isText(v))
  )
    throw new Refusal('request.malformed', 'neither user nor client', {
      say: 'Send {"user": "provider:subject or email address", "client": "client_id"}, or one of the two.',
    })
  return { ...(isText(user) && { user }), ...(isText(client) && { client }) }
}

/** Throws for a block of the person who asks: nobody would be left to lift it. */
export const requireOthers = (person: Person, { user, client }: BlockedParty): void => {
  if (user !== undefined && client === undefined && isNamed(person, user))
    throw new Refusal('request.malformed', 'administrators cannot block themselves', {
      say: 'You cannot block yourself.',
    })
}

const ruleIdOf = (request: Request): string => new URL(request.url).pathname.slice('/api/access/'.length)

const createRulesHandlers = (
  rules: RulesAdmin,
  { requireAdmin, requireCsrfToken }: AdminAuthorization,
): Pick<AccessApi, 'rules' | 'addRule' | 'removeRule'> => {
  const byOf = async (request: Request): Promise<string> =>
    personKey((await requireCsrfToken(request)).person)
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
  { requireAdmin, requireCsrfToken }: AdminAuthorization,
): AccessApi => {
  /** Who asks, once that is an administrator in a request of this gateway's own pages. */
  const byOf = async (request: Request): Promise<string> =>
    personKey((await requireCsrfToken(request)).person)
  return {
    async grants(request) {
      await requireAdmin(request)
      const id = idOf(request)
      return json(id === '' ? await admin.list(filterOf(request)) : await admin.show(id))
    },
    async end(request) {
      const by = await byOf(request)
      const id = idOf(request)
      if (id !== '') {
        await admin.revoke(id, by)
        return new Response(null, { status: 204 })
      }
      const dryRun = named(request, 'dry_run') !== undefined
      const impact = await admin.revokeAll(filterOf(request), by, dryRun)
      return json(dryRun ? { would_end: impact } : { ended: impact })
    },
    async blocks(request) {
      await requireAdmin(request)
      return json({
        blocks: (await admin.blocks()).map(({ at, ...block }) => ({ ...block, at: timeOf(at) })),
      })
    },
    async block(request) {
      const { person } = await requireCsrfToken(request)
      const { user, client } = await bodyOf(request)
      const party = partyOf(user, client)
      requireOthers(person, party)
      return json({ ended: await admin.block(party, personKey(person)) }, 201)
    },
    async unblock(request) {
      const by = await byOf(request)
      await admin.unblock(partyOf(named(request, 'user'), named(request, 'client')), by)
      return new Response(null, { status: 204 })
    },
    async signOut(request) {
      const by = await byOf(request)
      const user = named(request, 'user')
      if (user === undefined) throw new Refusal('request.malformed', 'no user named', { say: 'Name a user.' })
      return json({ sessions: await admin.signOut(user, by) })
    },
    ...createRulesHandlers(rules, { requireAdmin, requireCsrfToken }),
  }
}
