// Access rules that administrators change while the gateway runs: one sealed record, checked exactly as the
// configuration is. Every process reads the record again at least once a second while calls
// come (proxy/access.ts).
import { permissions as ladder } from '../config/access-keys.ts'
import { loadConfig } from '../config/load.ts'
import { type Config, configSchema } from '../config/schema.ts'
import { didYouMean } from '../config/shape.ts'
import { faultText } from '../config/tree.ts'
import { encodeHex } from '../kit/bytes.ts'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Audit } from '../ports/modules.ts'
import type { RulesEdit } from '../ports/matrix.ts'
import type { AccessRecord, StoredRule, StoredRules } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import { literal } from '../services/from-config.ts'
import { timeOf } from './services-api.ts'

// The record.

interface RulesRecord {
  readonly rules: readonly StoredRule[]
}

const none: readonly StoredRule[] = []
/** Read again in the background after this long, and waited for after that. */
const againMs = 250
const staleMs = 900
/** Each lost compare-and-set means that another administrator won. */
const maxAttempts = 50
/** Every process reads all of it again and again. */
const mostRules = 1000
const mostText = 262_144

export interface StoredRulesStore extends StoredRules {
  /** Reads them now. Rejects if the storage does not respond. */
  refresh(): Promise<readonly StoredRule[]>
  /** Puts what `next` returns in place of the first rule that is meant, or behind all of them. */
  replace(
    isMeant: (rule: StoredRule) => boolean,
    next: (before: StoredRule | undefined) => StoredRule | undefined,
  ): Promise<{ readonly before: StoredRule | undefined; readonly after: StoredRule | undefined }>
  /** Puts what `change` makes of all of them in their place, at once. */
  update(change: (all: readonly StoredRule[]) => readonly StoredRule[]): Promise<void>
}

const tooMany = (): Refusal =>
  new Refusal('rule.invalid', 'too many rules', {
    say: `At most ${mostRules} rules, ${mostText / 1024} KiB in all, can be stored. Write rules in the configuration.`,
  })

export const createStoredRules = (
  runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'now' | 'defer'>,
  config: () => Pick<Config, 'access'>,
): StoredRulesStore => {
  const records = createRecords<RulesRecord>(runtime, 'access-rules', { remembered: 1 })
  const singleFlight = createSingleFlight(runtime)
  let rules = none
  let readAt = Number.NEGATIVE_INFINITY
  let [begun, last] = [0, 0]
  const read = async () => {
    const [mine, before] = [++begun, runtime.now()]
    const kept = await records.get('')
    const found = kept?.value.rules ?? none
    // An answer that was overtaken says less. Counted, because clocks go back.
    if (mine > last) [last, rules, readAt] = [mine, found, before]
    return { rules: found, only: kept?.mark ?? ('absent' as const) }
  }
  const refresh = (): Promise<readonly StoredRule[]> =>
    singleFlight('access-rules', async () => (await read()).rules)
  const update: StoredRulesStore['update'] = async (change) => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const { rules: all, only } = await read()
      const changed = change(all)
      const size = JSON.stringify(changed).length
      if ((changed.length > mostRules || size > mostText) && size > JSON.stringify(all).length)
        throw tooMany()
      if (!(await records.put('', { rules: changed }, { only }))) continue
      await read()
      return
    }
    throw new Refusal('storage.unavailable', 'access rules changed again and again')
  }
  return {
    now: () => rules,
    refresh,
    fresh() {
      const age = runtime.now() - readAt
      if ((age >= 0 && age < againMs) || config().access?.stored === 'off') return undefined
      const reading = refresh().then(() => undefined)
      if (age < 0 || age >= staleMs) return reading
      reading.catch(() => undefined)
      return undefined
    },
    replace: (isMeant, next) => {
      let found: { before: StoredRule | undefined; after: StoredRule | undefined } | undefined
      return update((all) => {
        const before = all.find(isMeant)
        const after = next(before)
        found = { before, after }
        const put = after ? [after] : []
        return before ? all.flatMap((rule) => (rule === before ? put : [rule])) : [...all, ...put]
      }).then(() => found ?? { before: undefined, after: undefined })
    },
    update,
  }
}

// What a rule may say: what it may say in the configuration.

type Effect = 'allow' | 'deny'
type Written = Readonly<Record<string, unknown>>

export const invalidRule = (say: string): Refusal => new Refusal('rule.invalid', say, { say })

/** The faults of each rule, and what it says once its defaults are in it. */
const judgeRules = async (
  config: Config,
  issuer: string,
  written: readonly { readonly effect: Effect; readonly rule: Written }[],
) => {
  const { session_secret: _, previous_secrets: __, access, ...rest } = config
  const lists = { allow: [...(access?.allow ?? [])], deny: [...(access?.deny ?? [])] } as Record<
    Effect,
    unknown[]
  >
  const places = written.map(({ effect, rule }) => `access.${effect}[${lists[effect].push(rule) - 1}]`)
  const document = { ...(literal({ ...rest, access: { ...access, ...lists } }) as object), issuer }
  const loaded = await loadConfig({ file: { path: 'rule', text: JSON.stringify(document) }, env: {} })
  return places.map((place) =>
    (loaded.ok ? [] : loaded.faults)
      .filter(({ key }) => key === place || key.startsWith(`${place}.`) || key.startsWith(`${place}[`))
      .map((fault) =>
        faultText({ ...fault, key: fault.key.replace(place, 'rule'), origin: { from: 'default' } }),
      ),
  )
}

const parsedRule = (effect: Effect, rule: Written) =>
  configSchema.safeParse({ access: { [effect]: [rule] } }).data?.access?.[effect][0]

const textsIn = (value: unknown, name: string): readonly string[] => {
  const list = value ?? []
  if (!Array.isArray(list) || !list.every((one) => typeof one === 'string' && one !== ''))
    throw invalidRule(`${name} must be a list of texts.`)
  return [...new Set(list as string[])]
}

export const recordKeys: readonly string[] = ['userId', 'servers', 'permissions', 'groups']

/** Any object in the form of a record, not yet checked against the configuration. */
export const recordOf = (body: Written): AccessRecord => {
  const unknown = Object.keys(body).find((key) => !recordKeys.includes(key))
  if (unknown !== undefined)
    throw invalidRule(`${JSON.stringify(unknown)} is not a member of a record: use ${recordKeys.join(', ')}.`)
  const { userId } = body
  if (typeof userId !== 'string' || userId === '')
    throw invalidRule('userId must be provider:subject or a verified email address.')
  const permissions = textsIn(body['permissions'], 'permissions')
  const wrong = permissions.find((one) => !(ladder as readonly string[]).includes(one))
  if (wrong !== undefined)
    throw invalidRule(`permissions must be of: ${ladder.join(', ')}${didYouMean(wrong, ladder)}.`)
  return {
    userId,
    servers: textsIn(body['servers'], 'servers'),
    permissions: permissions as AccessRecord['permissions'],
    groups: textsIn(body['groups'], 'groups'),
  }
}

// What administrators do, wherever they say it.

export interface ListedRule extends Pick<StoredRule, 'id' | 'record' | 'allow' | 'deny' | 'by'> {
  readonly at: string
  /** `access.stored` lets it count, and the configuration has rules at all. */
  readonly in_force: boolean
  /** What is wrong with it by the configuration of now. */
  readonly faults?: readonly string[]
}

export interface RulesAdmin {
  list(): Promise<{ readonly stored: 'any' | 'deny' | 'off'; readonly rules: readonly ListedRule[] }>
  /** Throws `rule.unknown`. */
  show(id: string): Promise<ListedRule>
  /** Keeps a rule as it would stand in `access.allow` or `access.deny`. Throws `rule.invalid`. */
  add(effect: Effect, rule: Written, by: string): Promise<ListedRule>
  /** Adds to the record of a user. Throws `rule.invalid`. */
  grant(record: AccessRecord, by: string): Promise<ListedRule>
  /** Takes from the record of a user what this one names; all of it if it names nothing. Throws `rule.unknown`. */
  withdraw(record: AccessRecord, by: string): Promise<void>
  /** Throws `rule.unknown`. */
  revoke(id: string, by: string): Promise<void>
  /** Adds rules and removes others, all of it or none. Throws `rule.invalid` and `rule.unknown`. */
  edit(edit: RulesEdit, by: string): Promise<void>
}

export interface RulesAdminDeps {
  readonly stored: StoredRulesStore
  readonly runtime: Pick<Runtime, 'now' | 'random'>
  readonly registry: { config(): Config; list(): Promise<readonly { readonly id: string }[]> }
  readonly directory: { readonly issuer: string }
  readonly record: Audit
  /** Whether the configuration says at all who may do what. */
  readonly isRuled: (config: Config) => boolean
}

const factsOf = ({ record, allow, deny }: StoredRule) => record ?? (allow ? { allow } : { deny })

const writtenIn = ({ record, allow, deny }: StoredRule): { effect: Effect; rule: Written } =>
  deny
    ? { effect: 'deny', rule: deny }
    : { effect: 'allow', rule: allow ?? { people: [record?.userId ?? ''] } }

/** Where `access.stored` and the configuration let no such rule count. */
const checkBound = ({ access }: Config, effect: Effect, isRuled: boolean): void => {
  if (!isRuled)
    throw invalidRule(
      'The configuration has no access rules, so every user may use every tool. Add an `access` section first.',
    )
  const bound = access?.stored ?? 'any'
  if (bound === 'off') throw invalidRule('`access.stored` is off.')
  if (bound === 'deny' && effect === 'allow')
    throw invalidRule('`access.stored` is deny, so only rules that deny can be stored.')
}

/** What of a record a rule can say, and what else it names. */
const createChecks = ({
  registry,
  directory,
  isRuled,
}: Pick<RulesAdminDeps, 'registry' | 'directory' | 'isRuled'>) => {
  const judge = (rules: readonly { readonly effect: Effect; readonly rule: Written }[]) =>
    judgeRules(registry.config(), directory.issuer, rules)
  const check = async (effect: Effect, rule: Written): Promise<void> => {
    checkBound(registry.config(), effect, isRuled(registry.config()))
    const [faults = []] = await judge([{ effect, rule }])
    if (faults.length > 0) throw invalidRule(faults.join(' '))
  }
  return {
    judge,
    check,
    async checkRecord({ userId, servers, groups }: AccessRecord): Promise<void> {
      await check('allow', { people: [userId], ...(servers.length > 0 && { services: servers }) })
      const declared = Object.keys(registry.config().access?.groups ?? {})
      const group = groups.find((name) => !declared.includes(name))
      if (group !== undefined)
        throw invalidRule(
          `${JSON.stringify(group)} is not declared in \`access.groups\`${didYouMean(group, declared) || '.'}`,
        )
      const known = (await registry.list()).map(({ id }) => id)
      const server = servers.find((id) => !/[*?\\]/.test(id) && !known.includes(id))
      if (server !== undefined)
        throw invalidRule(`There is no service ${JSON.stringify(server)}${didYouMean(server, known) || '.'}`)
    },
  }
}

const union = <Item>(one: readonly Item[], other: readonly Item[]): readonly Item[] => [
  ...new Set([...one, ...other]),
]

const withMore = (before: AccessRecord | undefined, more: AccessRecord): AccessRecord => {
  const permissions = union(before?.permissions ?? [], more.permissions)
  return {
    userId: more.userId,
    servers: union(before?.servers ?? [], more.servers),
    permissions: permissions.length === 0 ? ['read'] : permissions,
    groups: union(before?.groups ?? [], more.groups),
  }
}

/** Undefined: nothing is left that grants anything. */
const withLess = (before: AccessRecord, less: AccessRecord): AccessRecord | undefined => {
  const without = <Item>(list: readonly Item[], gone: readonly Item[]): readonly Item[] =>
    list.filter((one) => !gone.includes(one))
  if (less.servers.length + less.permissions.length + less.groups.length === 0) return undefined
  const left = {
    userId: before.userId,
    servers: without(before.servers, less.servers),
    permissions: without(before.permissions, less.permissions),
    groups: without(before.groups, less.groups),
  }
  const grants = left.servers.length > 0 && left.permissions.length > 0
  return grants || left.groups.length > 0 ? left : undefined
}

const createReplace =
  ({ stored, record: write }: Pick<RulesAdminDeps, 'stored' | 'record'>) =>
  async (by: string, ...change: Parameters<StoredRulesStore['replace']>): Promise<StoredRule | undefined> => {
    const { before, after } = await stored.replace(...change)
    write({
      event: 'access.changed',
      rule: `stored:${(after ?? before)?.id ?? ''}`,
      by,
      ...(before && { before: factsOf(before) }),
      ...(after && { after: factsOf(after) }),
    })
    return after
  }

const ofUser =
  (userId: string) =>
  ({ record }: StoredRule): boolean =>
    record?.userId === userId

const unknown = (what: string): Refusal => new Refusal('rule.unknown', what.slice(0, 80))

/** Every rule is an event, as if it were the only one. */
const createEdit =
  (
    { stored, registry, isRuled, record: write }: RulesAdminDeps,
    judge: ReturnType<typeof createChecks>['judge'],
    made: (by: string) => Pick<StoredRule, 'id' | 'by' | 'at'>,
  ): RulesAdmin['edit'] =>
  async ({ add, remove }, by) => {
    for (const { effect } of add) checkBound(registry.config(), effect, isRuled(registry.config()))
    const faults = add.length === 0 ? [] : (await judge(add)).flat()
    if (faults.length > 0) throw invalidRule(faults.join(' '))
    const kept = add.map(({ effect, rule }): StoredRule => ({
      ...made(by),
      [effect]: parsedRule(effect, rule),
    }))
    let gone: readonly StoredRule[] = []
    await stored.update((all) => {
      gone = remove.map((id) => {
        const found = all.find((rule) => rule.id === id)
        if (!found) throw unknown(id)
        return found
      })
      return [...all.filter((rule) => !gone.includes(rule)), ...kept]
    })
    for (const rule of gone)
      write({ event: 'access.changed', rule: `stored:${rule.id}`, by, before: factsOf(rule) })
    for (const rule of kept)
      write({ event: 'access.changed', rule: `stored:${rule.id}`, by, after: factsOf(rule) })
  }

export const createRulesAdmin = (deps: RulesAdminDeps): RulesAdmin => {
  const { stored, runtime, registry, isRuled } = deps
  const { judge, check, checkRecord } = createChecks(deps)
  const replace = createReplace(deps)
  const boundNow = () => registry.config().access?.stored ?? 'any'
  const listed = (rule: StoredRule, faults: readonly string[] = []): ListedRule => {
    const counts = boundNow() === 'any' || (boundNow() === 'deny' && rule.deny !== undefined)
    const inForce = counts && isRuled(registry.config())
    return { ...rule, at: timeOf(rule.at), in_force: inForce, ...(faults.length > 0 && { faults }) }
  }
  const made = (by: string) => ({ id: encodeHex(runtime.random(6)), by, at: runtime.now() })
  const list: RulesAdmin['list'] = async () => {
    const rules = await stored.refresh()
    const faults = await judge(rules.map((rule) => writtenIn(rule)))
    return { stored: boundNow(), rules: rules.map((rule, i) => listed(rule, faults[i])) }
  }
  return {
    list,
    async show(id) {
      const found = (await list()).rules.find((rule) => rule.id === id)
      if (!found) throw unknown(id)
      return found
    },
    async add(effect, rule, by) {
      if ('id' in rule) throw invalidRule('A stored rule gets its ID from the gateway: leave out `id`.')
      await check(effect, rule)
      const kept: StoredRule = { ...made(by), [effect]: parsedRule(effect, rule) }
      await replace(
        by,
        () => false,
        () => kept,
      )
      return listed(kept)
    },
    async grant(record, by) {
      await checkRecord(record)
      const next = (before: StoredRule | undefined): StoredRule => ({
        ...made(by),
        ...(before && { id: before.id }),
        record: withMore(before?.record, record),
      })
      return listed((await replace(by, ofUser(record.userId), next)) as StoredRule)
    },
    async withdraw(record, by) {
      const next = (before: StoredRule | undefined): StoredRule | undefined => {
        if (!before?.record) throw unknown(record.userId)
        const left = withLess(before.record, record)
        return left && { ...made(by), id: before.id, record: left }
      }
      await replace(by, ofUser(record.userId), next)
    },
    async revoke(id, by) {
      const next = (before: StoredRule | undefined): undefined => {
        if (!before) throw unknown(id)
      }
      await replace(by, (rule) => rule.id === id, next)
    },
    edit: createEdit(deps, judge, made),
  }
}
