// `postern grants`, `postern blocks` and `postern access`: who has access, its end, and stored access rules. They work
// on the state directory, and every process of the gateway follows within a second.
import type { AccessAdmin } from '../admin/access-api.ts'
import { type ListedRule, type RulesAdmin, recordOf } from '../admin/stored-rules.ts'
import { Refusal } from '../kit/refusal.ts'
import { printable } from '../config/tree.ts'
import type { Impact, ListedGrant } from '../ports/people.ts'
import { type AdminTarget, unknownIssuer, withGateway } from './admin.ts'
import { StartError, UsageError, print, printJson, printTable } from './output.ts'
import { issuerOf } from './state.ts'

export interface GrantOptions {
  readonly user?: string
  readonly client?: string
  readonly service?: string
  readonly dryRun?: boolean
}

const by = 'cli'

/** A refusal becomes a `StartError`. */
const withAccess = async (
  target: AdminTarget,
  work: (access: AccessAdmin, rules: RulesAdmin) => Promise<void>,
): Promise<void> => {
  const { config, stateDir } = target
  if (config.storage.type !== 'sqlite')
    throw new StartError(
      'access.memory',
      'With `storage.type: memory`, this command cannot reach the running gateway. Use its API at /api/grants.',
    )
  try {
    await withGateway(target, issuerOf(config, stateDir) ?? unknownIssuer, async (gateway) => {
      await gateway.registry.refresh()
      await work(gateway.access, gateway.rules)
      await gateway.bridges.close(0)
    })
  } catch (error) {
    throw error instanceof Refusal ? new StartError(error.code, error.say) : error
  }
}

const filterOf = ({ user, client, service }: GrantOptions) => ({ user, client, service })

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
    if (target.json) return printJson(found)
    if (found.grants.length === 0) return print('No grants.')
    printTable([['GRANT', 'USER', 'APP', 'SERVICE', 'SINCE', 'LAST USED'], ...found.grants.map(rowOf)])
    if (found.truncated) print('There are more. Narrow the list with --user, --client or --service.')
  })

export const showGrant = (target: AdminTarget, id: string): Promise<void> =>
  withAccess(target, async (access) => {
    const grant = await access.show(id)
    if (target.json) return printJson(grant)
    printTable(Object.entries(grant).map(([name, value]) => [name, String(value)]))
  })

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`
const impactText = ({ grants, users, clients }: Impact): string =>
  `${counted(grants, 'grant')} of ${counted(users, 'user')} and ${counted(clients, 'app')}`

export const revokeGrants = (
  target: AdminTarget,
  id: string | undefined,
  options: GrantOptions,
): Promise<void> => {
  const { user, client, service, dryRun = false } = options
  const isFiltered = [user, client, service].some((named) => named !== undefined)
  if ((id === undefined) === !isFiltered)
    throw new UsageError('Give the ID of a grant, or one of --user, --client and --service.')
  if (id !== undefined && dryRun) throw new UsageError('--dry-run is for --user, --client and --service.')
  return withAccess(target, async (access) => {
    if (id !== undefined) await access.revoke(id, by)
    const impact =
      id === undefined
        ? await access.revokeAll(filterOf(options), by, dryRun)
        : { grants: 1, users: 1, clients: 1 }
    if (target.json) return printJson(dryRun ? { would_end: impact } : { ended: impact })
    print(
      dryRun
        ? `This would end ${impactText(impact)}.`
        : `Ended ${impactText(impact)}. Open streams end within five seconds.`,
    )
  })
}

export interface BlockOptions {
  readonly user?: string
  readonly client?: string
}

const partyOf = ({ user, client }: BlockOptions) => {
  if (user === undefined && client === undefined) throw new UsageError('Give --user, --client or both.')
  return { ...(user !== undefined && { user }), ...(client !== undefined && { client }) }
}

export const listBlocks = (target: AdminTarget): Promise<void> =>
  withAccess(target, async (access) => {
    const blocks = (await access.blocks()).map(({ at, ...block }) => ({
      ...block,
      at: new Date(at).toISOString(),
    }))
    if (target.json) return printJson({ blocks })
    if (blocks.length === 0) return print('Nobody is blocked.')
    printTable([
      ['USER', 'CLIENT', 'SINCE', 'BY'],
      ...blocks.map((block) => [block.user ?? 'any', block.client ?? 'any', day(block.at), block.by]),
    ])
  })

export const addBlock = (target: AdminTarget, options: BlockOptions): Promise<void> => {
  const party = partyOf(options)
  return withAccess(target, async (access) => {
    const impact = await access.block(party, by)
    if (target.json) return printJson({ ended: impact })
    print(`Blocked. Ended ${impactText(impact)}. Open streams end within five seconds.`)
  })
}

export const removeBlock = (target: AdminTarget, options: BlockOptions): Promise<void> => {
  const party = partyOf(options)
  return withAccess(target, async (access) => {
    await access.unblock(party, by)
    if (target.json) printJson({ unblocked: party })
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
    if (target.json) return printJson(found)
    if (found.rules.length === 0) return print('No stored access rules.')
    printTable([
      ['ID', 'EFFECT', 'RULE', 'SINCE', 'BY'],
      ...found.rules.map((rule) => [rule.id, effectOf(rule), whatOf(rule), day(rule.at), rule.by]),
    ])
    const idle = found.rules.filter((rule) => !rule.in_force)
    if (idle.length > 0)
      print(
        `\`access.stored\` is ${found.stored}, so these have no effect: ${idle.map(({ id }) => id).join(', ')}`,
      )
    for (const { id, faults = [] } of found.rules)
      for (const fault of faults) print(`${id}: ${printable(fault, 400)}`)
  })

export const showRule = (target: AdminTarget, id: string): Promise<void> =>
  withAccess(target, async (_, rules) => {
    const rule = await rules.show(id)
    if (target.json) return printJson(rule)
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
  if (target.json) printJson(rule)
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
    if (target.json) printJson({ revoked: id ?? user })
    else print('Revoked. It applies from the next message on.')
  })
}
