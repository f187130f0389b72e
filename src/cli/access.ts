// `postern grants`, `clients`, `people`, `blocks`, `lock` and `access`: who has access, its end, and stored access rules.
// They work on the state directory, and every process of the gateway follows within a second.
import { type AccessAdmin, listedClosures } from '../admin/access-api.ts'
import { partyOf as blockedParty } from '../admin/blocks-api.ts'
import { type ListedRule, type RulesAdmin, recordOf } from '../admin/stored-rules.ts'
import { Refusal } from '../kit/refusal.ts'
import { printable } from '../config/tree.ts'
import type { Gateway } from '../gateway.ts'
import type { BlockedParty, Impact, ListedGrant } from '../ports/people.ts'
import { type AdminTarget, unknownIssuer, withGateway } from './admin.ts'
import { impactText, printHeard, printRevoked, tellWouldEnd } from './ended.ts'
import { print, printTable, StartError, UsageError } from './output.ts'
import { issuerOf } from './state.ts'

export interface GrantOptions {
  readonly user?: string
  readonly client?: string
  readonly domain?: string
  readonly service?: string
  readonly dryRun?: boolean
  readonly revokeUpstream?: boolean
}

const by = 'cli'

/** A refusal becomes a `StartError`. */
export const withRecords = async (
  target: AdminTarget,
  work: (gateway: Gateway) => Promise<void>,
): Promise<void> => {
  const { config, stateDir } = target
  if (config.storage.type === 'memory')
    throw new StartError(
      'access.memory',
      'With `storage.type: memory`, this command cannot reach the running gateway. Use its API at /api/grants.',
    )
  try {
    await withGateway(target, issuerOf(config, stateDir) ?? unknownIssuer, async (gateway) => {
      await gateway.registry.refresh()
      await work(gateway)
      await gateway.bridges.close(0)
    })
  } catch (error) {
    throw error instanceof Refusal ? new StartError(error.code, error.say) : error
  }
}

export const withAccess = (
  target: AdminTarget,
  work: (access: AccessAdmin, rules: RulesAdmin) => Promise<void>,
): Promise<void> => withRecords(target, ({ access, rules }) => work(access, rules))

const filterOf = ({ user, client, domain, service }: GrantOptions) => ({
  user,
  client,
  domain: domain?.toLowerCase(),
  service,
})

const day = (time: string | undefined): string => time?.slice(0, 10) ?? 'never'

const rowOf = (grant: ListedGrant): readonly string[] => [
  grant.id,
  grant.email ?? grant.user,
  grant.client_name,
  grant.service ?? grant.resource,
  day(grant.created_at),
  day(grant.last_used_at),
]

export const listGrants = (target: AdminTarget, options: GrantOptions): Promise<void> =>
  withAccess(target, async (access) => {
    const found = await access.list(filterOf(options))
    if (target.json) return target.json(found)
    if (found.grants.length === 0) return print('No grants.')
    printTable([['GRANT', 'USER', 'APP', 'SERVICE', 'SINCE', 'LAST USED'], ...found.grants.map(rowOf)])
    if (found.truncated)
      print('There are more. Narrow the list with --user, --client, --domain or --service.')
  })

export const showGrant = (target: AdminTarget, id: string): Promise<void> =>
  withAccess(target, async (access) => {
    const grant = await access.show(id)
    if (target.json) return target.json(grant)
    printTable(Object.entries(grant).map(([name, value]) => [name, String(value)]))
  })

/** Nothing waits for the command but whoever typed it. */
const upstreamOf = ({ revokeUpstream = false }: { readonly revokeUpstream?: boolean }) => ({
  upstreamWithin: revokeUpstream ? 600_000 : undefined,
})

export const revokeGrants = (
  target: AdminTarget,
  id: string | undefined,
  options: GrantOptions,
): Promise<void> => {
  const { dryRun = false } = options
  const isFiltered = Object.values(filterOf(options)).some((named) => named !== undefined)
  const filters = '--user, --client, --domain and --service'
  if ((id === undefined) === !isFiltered)
    throw new UsageError(`Give the ID of a grant, or one of ${filters}.`)
  if (id !== undefined && dryRun) throw new UsageError(`--dry-run is for ${filters}.`)
  return withAccess(target, async (access) => {
    const upstream = upstreamOf(options)
    const impact: Impact =
      id === undefined
        ? await access.revokeAll(filterOf(options), by, { ...upstream, dryRun })
        : { grants: 1, users: 1, clients: 1, ...(await access.revoke(id, by, upstream)) }
    if (dryRun) return tellWouldEnd(target, access, impact, filterOf(options))
    const heard = await access.confirm()
    if (target.json) return target.json({ ended: impact, ...heard })
    print(`Ended ${impactText(impact)}. Open streams end within five seconds.`)
    printHeard(heard)
    printRevoked(impact)
  })
}

// `postern clients` and `postern people`: the same grants, by whom they belong to.

type Side = 'clients' | 'people'

interface Holder {
  readonly id: string
  readonly name: string
  readonly grants: readonly ListedGrant[]
}

const holdersOf = (grants: readonly ListedGrant[], side: Side): readonly Holder[] =>
  [...Map.groupBy(grants, ({ client, user }) => (side === 'clients' ? client : user))].map(([id, own]) => {
    const [{ client_name: app, email = '' }] = own as [ListedGrant]
    return { id, name: side === 'clients' ? app : email, grants: own }
  })

const distinct = (grants: readonly ListedGrant[], of: (grant: ListedGrant) => string): readonly string[] =>
  [...new Set(grants.map(of))].toSorted()

const summaryOf = ({ id, name, grants }: Holder, side: Side) => ({
  id,
  ...(side === 'clients'
    ? { name, kind: grants[0]?.client_kind, users: distinct(grants, ({ user }) => user) }
    : { ...(name !== '' && { email: name }), clients: distinct(grants, ({ client }) => client) }),
  services: distinct(grants, ({ service, resource }) => service ?? resource),
  grants: grants.length,
  since: grants.map(({ created_at: at }) => at).toSorted()[0],
  last_used_at: grants
    .flatMap(({ last_used_at: at }) => at ?? [])
    .toSorted()
    .at(-1),
})

export const listHolders = (target: AdminTarget, side: Side, options: GrantOptions): Promise<void> =>
  withAccess(target, async (access) => {
    const { grants, truncated } = await access.list(filterOf(options))
    const found = holdersOf(grants, side)
    if (target.json) return target.json({ [side]: found.map((holder) => summaryOf(holder, side)), truncated })
    if (found.length === 0) return print('No grants.')
    printTable([
      side === 'clients'
        ? ['CLIENT', 'APP', 'USERS', 'SERVICES', 'LAST USED']
        : ['USER', 'EMAIL', 'APPS', 'SERVICES', 'LAST USED'],
      ...found.map((holder) => {
        const { services, last_used_at: at } = summaryOf(holder, side)
        const others = distinct(holder.grants, ({ user, client }) => (side === 'clients' ? user : client))
        return [holder.id, holder.name, String(others.length), services.join(', '), day(at)]
      }),
    ])
    if (truncated) print('There are more. Narrow the list with --user, --client, --domain or --service.')
  })

/** One of them by its id, a user also by email address, with all grants. */
export const showHolder = (target: AdminTarget, side: Side, id: string): Promise<void> =>
  withAccess(target, async (access) => {
    const { grants } = await access.list(side === 'clients' ? { client: id } : { user: id })
    const [holder] = holdersOf(grants, side)
    if (!holder)
      throw new StartError('grant.unknown', `${side === 'clients' ? 'This app' : 'This user'} has no grants.`)
    const { grants: _, ...summary } = summaryOf(holder, side)
    if (target.json) return target.json({ ...summary, grants })
    printTable(Object.entries(summary).map(([name, value]) => [name, [value].flat().join(', ')]))
    printTable([['GRANT', 'USER', 'APP', 'SERVICE', 'SINCE', 'LAST USED'], ...grants.map(rowOf)])
  })

// `postern blocks`.

export interface BlockOptions {
  readonly user?: string
  readonly client?: string
  readonly domain?: string
  readonly force?: boolean
  readonly dryRun?: boolean
  readonly revokeUpstream?: boolean
}

const partyOf = ({ user, client, domain }: BlockOptions): BlockedParty => {
  try {
    return blockedParty({ user, client, domain })
  } catch (error) {
    throw error instanceof Refusal
      ? new UsageError('Give --user, --client or --domain, or --user with one of the other two.')
      : error
  }
}

export const listBlocks = (target: AdminTarget): Promise<void> =>
  withAccess(target, async (access) => {
    const blocks = (await access.blocks()).map(({ at, ...block }) => ({
      ...block,
      at: new Date(at).toISOString(),
    }))
    if (target.json) return target.json({ blocks })
    if (blocks.length === 0) return print('Nobody is blocked.')
    printTable([
      ['USER', 'CLIENT', 'DOMAIN', 'SINCE', 'BY'],
      ...blocks.map(({ user = 'any', client = 'any', domain = 'any', at, by: who }) => [
        user,
        client,
        domain,
        day(at),
        who,
      ]),
    ])
  })

export const addBlock = (target: AdminTarget, options: BlockOptions): Promise<void> => {
  const party = partyOf(options)
  return withAccess(target, async (access) => {
    const { force = false, dryRun = false } = options
    const impact = await access
      .block(party, by, { force, dryRun, ...upstreamOf(options) })
      .catch((error: unknown) => {
        if (!(error instanceof Refusal) || error.code !== 'admin.last') throw error
        throw new StartError(error.code, `${error.say} --force blocks them all the same.`)
      })
    if (dryRun) return tellWouldEnd(target, access, impact, party)
    const heard = await access.confirm()
    if (target.json) return target.json({ ended: impact, ...heard })
    print(`Blocked. Ended ${impactText(impact)}. Open streams end within five seconds.`)
    printHeard(heard)
    printRevoked(impact)
  })
}

export const removeBlock = (target: AdminTarget, options: BlockOptions): Promise<void> => {
  const party = partyOf(options)
  return withAccess(target, async (access) => {
    await access.unblock(party, by)
    if (target.json) target.json({ unblocked: party })
    else print('Unblocked. The user can allow apps again.')
  })
}

// Stored access rules.

export interface RecordOptions {
  readonly user?: string
  readonly service?: readonly string[]
  readonly permission?: readonly string[]
  readonly group?: readonly string[]
}

export interface RuleOptions extends RecordOptions {
  readonly rule?: string
}

const effectOf = ({ deny, record }: ListedRule): string => (deny ? 'deny' : record ? 'user' : 'allow')

const whatOf = ({ record, allow, deny }: ListedRule): string => {
  if (!record) return JSON.stringify(allow ?? deny)
  const { userId, servers, permissions, groups } = record
  const parts = [
    servers.length > 0 && `${permissions.join(', ')} at ${servers.join(', ')}`,
    groups.length > 0 && `member of ${groups.join(', ')}`,
  ]
  return `${userId}: ${parts.filter(Boolean).join('; ')}`
}

export const listRules = (target: AdminTarget): Promise<void> =>
  withAccess(target, async (_, rules) => {
    const found = await rules.list()
    if (target.json) return target.json(found)
    if (found.rules.length === 0) return print('No stored access rules.')
    printTable([
      ['ID', 'EFFECT', 'RULE', 'SINCE', 'BY'],
      ...found.rules.map((rule) => [rule.id, effectOf(rule), whatOf(rule), day(rule.at), rule.by]),
    ])
    const idle = found.rules.filter((rule) => !rule.in_force)
    if (idle.length > 0)
      print(`No effect, by \`access\` in the configuration: ${idle.map(({ id }) => id).join(', ')}`)
    for (const { id, faults = [] } of found.rules)
      for (const fault of faults) print(`${id}: ${printable(fault, 400)}`)
  })

export const showRule = (target: AdminTarget, id: string): Promise<void> =>
  withAccess(target, async (_, rules) => {
    const rule = await rules.show(id)
    if (target.json) return target.json(rule)
    printTable(
      Object.entries(rule).map(([name, value]) => [
        name,
        typeof value === 'object' ? JSON.stringify(value) : String(value),
      ]),
    )
  })

const recordIn = ({ user, service = [], permission = [], group = [] }: RecordOptions) =>
  recordOf({ userId: user, servers: service, permissions: permission, groups: group })

const ruleIn = (text: string): Readonly<Record<string, unknown>> => {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>
  } catch {
    // Told below.
  }
  throw new UsageError(`--rule must be a JSON object, for example --rule '{"groups":["staff"]}'.`)
}

const printStored = (target: AdminTarget, rule: ListedRule): void => {
  if (target.json) target.json(rule)
  else print(`Stored as ${rule.id}. It applies from the next message on.`)
}

export const grantAccess = (target: AdminTarget, options: RuleOptions): Promise<void> => {
  const { user, rule, service = [], permission = [], group = [] } = options
  if ((user === undefined) === (rule === undefined)) throw new UsageError('Give --user or --rule.')
  if (rule !== undefined && service.length + permission.length + group.length > 0)
    throw new UsageError('--service, --permission and --group go with --user. Write them into the rule.')
  if (user !== undefined && service.length + group.length === 0)
    throw new UsageError('Give --service or --group.')
  const written = rule === undefined ? undefined : ruleIn(rule)
  return withAccess(target, async (_, rules) =>
    printStored(
      target,
      await (written ? rules.add('allow', written, by) : rules.grant(recordIn(options), by)),
    ),
  )
}

export const denyAccess = (target: AdminTarget, { rule }: { readonly rule: string }): Promise<void> => {
  const written = ruleIn(rule)
  return withAccess(target, async (_, rules) => printStored(target, await rules.add('deny', written, by)))
}

export const revokeAccess = (
  target: AdminTarget,
  id: string | undefined,
  options: RecordOptions,
): Promise<void> => {
  const { user, ...parts } = options
  if ((id === undefined) === (user === undefined))
    throw new UsageError('Give the ID of a stored rule, or --user.')
  if (id !== undefined && Object.keys(parts).length > 0)
    throw new UsageError('--service, --permission and --group go with --user.')
  return withAccess(target, async (_, rules) => {
    await (id === undefined ? rules.withdraw(recordIn(options), by) : rules.revoke(id, by))
    if (target.json) target.json({ revoked: id ?? user })
    else print('Revoked. It applies from the next message on.')
  })
}

// `postern lock` and `postern services disable`.

/** `service`: absent for the whole gateway. */
export const closeAccess = (target: AdminTarget, service?: string): Promise<void> =>
  withAccess(target, async (access) => {
    await access.close(service, by)
    const heard = await access.confirm()
    if (target.json) return target.json({ ...listedClosures(await access.closures()), ...heard })
    const [what, until] =
      service === undefined
        ? ['Locked. Every MCP request', 'postern unlock']
        : [`Disabled ${service}. Every MCP request to it`, `postern services enable ${service}`]
    print(`${what} gets 503 until ${until}. Open streams end within five seconds.`)
    printHeard(heard)
  })

export const openAccess = (target: AdminTarget, service?: string): Promise<void> =>
  withAccess(target, async (access) => {
    const opened = await access.open(service, by)
    if (target.json) return target.json(listedClosures(await access.closures()))
    if (service === undefined) print(opened ? 'Unlocked.' : 'The gateway was not locked.')
    else print(opened ? `Enabled ${service}.` : `${service} was not disabled.`)
  })
