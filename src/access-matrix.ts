// The matrix of access rules of a service for administrators: what each group may call by the rules of the configuration
// and the stored ones, and which stored rules a change of it takes. Changes are tried on the evaluator that judges calls
// before anything is stored.
import { hasAccessRules } from './access-examples.ts'
import type { Config } from './config/schema.ts'
import { nobody, oneOf } from './consent-choices.ts'
import { personKey } from './kit/records.ts'
import { decide, namedOf, needOf } from './policy/decide.ts'
import { type PolicyCaller, type ServiceAccess, type ServiceRules, rulesOf } from './policy/rules.ts'
import { withStored } from './policy/stored-rules.ts'
import type { CellChange, MatrixCell, MatrixPlan, MatrixTool } from './ports/matrix.ts'
import type { LearnedTool, StoredRule, Verdict } from './ports/policy.ts'

/** A service with what is known of it. */
export interface MatrixOf {
  readonly config: Config
  readonly service: string
  /** `access` of the service, wherever it was added. */
  readonly section: ServiceAccess
  readonly groups: readonly (string | undefined)[]
  readonly tools: readonly LearnedTool[]
}

const callerIn = (config: Config, group: string | undefined): PolicyCaller => {
  const person = group === undefined ? nobody : oneOf(config, group)
  return { person, personKey: personKey(person), clientId: '', redirectHost: '' }
}

/** The rules with these stored ones, and whoever is in each group. */
const judged = ({ config, service, section, groups }: MatrixOf, stored: readonly StoredRule[]) => {
  const whole = withStored(config, stored)
  return {
    open: !hasAccessRules(config),
    rules: rulesOf(whole, service, section),
    callers: new Map(groups.map((group) => [group, callerIn(whole, group)])),
  }
}
type Judged = ReturnType<typeof judged>

const allowed: Verdict = { allowed: true, rule: 'none', need: 'read' }

const verdictOf = ({ open, rules, callers }: Judged, group: string | undefined, tool: LearnedTool): Verdict =>
  open
    ? allowed
    : decide(rules, callers.get(group), { kind: 'tool', name: tool.name, hint: tool.hint }, 'list')

const needOfTool = (rules: ServiceRules, { name, hint }: LearnedTool) =>
  needOf(rules, namedOf({ kind: 'tool', name, hint }))

const escaped = (name: string): string => name.replaceAll(/[\\*?]/g, String.raw`\$&`)

// Rules for one cell.

type Party = { readonly groups: readonly string[] } | { readonly everyone: true }

const partyOf = (group: string | undefined): Party =>
  group === undefined ? { everyone: true } : { groups: [group] }

const ruleFor = (service: string, { group, tool }: Pick<CellChange, 'group' | 'tool'>) => ({
  ...partyOf(group),
  services: [service],
  tools: [escaped(tool)],
})

const inOrder = (value: object): string =>
  JSON.stringify(Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1)))

/** The stored rule that says something of this cell and of nothing else. */
const exactRule = (
  stored: readonly StoredRule[],
  effect: 'allow' | 'deny',
  rule: ReturnType<typeof ruleFor>,
): StoredRule | undefined => {
  const wanted = inOrder(rule)
  return stored.find(({ [effect]: own }) => {
    if (!own) return false
    const { permissions: _, ...rest } = own as Readonly<Record<string, unknown>>
    return inOrder(rest) === wanted
  })
}

// The matrix.

const isFixed = (
  { config, service }: MatrixOf,
  stored: readonly StoredRule[],
  { group, tool, verdict, need }: { group: string | undefined; tool: string; verdict: Verdict; need: string },
): boolean => {
  const bound = config.access?.stored ?? 'any'
  if (!hasAccessRules(config) || bound === 'off') return true
  if (verdict.allowed) return false
  if (need === 'deny') return true
  const own = exactRule(stored, 'deny', ruleFor(service, { group, tool }))
  if (verdict.code === 'policy.denied') return verdict.rule !== `stored:${own?.id ?? ''}`
  return verdict.code === 'policy.client' || bound === 'deny'
}

const toolOf = (of: MatrixOf, stored: readonly StoredRule[], now: Judged, tool: LearnedTool): MatrixTool => {
  const { name, about, hint, held } = tool
  const need = needOfTool(now.rules, tool)
  return {
    name,
    about,
    need,
    unmarked: hint === undefined && !now.rules.exact.has(name),
    held: held === true,
    cells: of.groups.map((group): MatrixCell => {
      const verdict = verdictOf(now, group, tool)
      return {
        is: verdict.allowed ? 'allow' : 'never',
        rule: verdict.allowed ? verdict.rule : (verdict.rule ?? verdict.code),
        fixed: isFixed(of, stored, { group, tool: name, verdict, need }),
      }
    }),
  }
}

export const readCells = (of: MatrixOf, stored: readonly StoredRule[]): readonly MatrixTool[] => {
  const now = judged(of, stored)
  return of.tools.map((tool) => toolOf(of, stored, now, tool))
}

// Changes.

interface Step {
  readonly stored: readonly StoredRule[]
  readonly remove?: string | undefined
  readonly add?: { readonly effect: 'allow' | 'deny'; readonly rule: Readonly<Record<string, unknown>> }
}

const isNow = (
  of: MatrixOf,
  stored: readonly StoredRule[],
  { group, to }: CellChange,
  tool: LearnedTool,
): Verdict | undefined => {
  const verdict = verdictOf(judged(of, stored), group, tool)
  return verdict.allowed === (to === 'allow') ? undefined : verdict
}

/** What makes the cell so: nothing, a rule of it that goes, or a rule of it that comes. */
const stepOf = (
  of: MatrixOf,
  stored: readonly StoredRule[],
  change: CellChange,
  tool: LearnedTool,
): Step | { readonly rule: string } => {
  if (!isNow(of, stored, change, tool)) return { stored }
  const rule = ruleFor(of.service, change)
  const opposite = exactRule(stored, change.to === 'allow' ? 'deny' : 'allow', rule)
  const without = opposite ? stored.filter((one) => one !== opposite) : stored
  const gone = opposite && { remove: opposite.id }
  if (opposite && !isNow(of, without, change, tool)) return { stored: without, ...gone }
  const need = needOfTool(judged(of, without).rules, tool)
  const effect = change.to === 'allow' ? 'allow' : 'deny'
  const added = { ...rule, ...(effect === 'allow' && { permissions: [need] }) }
  const next: StoredRule = { id: `new-${without.length}`, by: '', at: 0, [effect]: added } as StoredRule
  const after = [...without, next]
  const still = isNow(of, after, change, tool)
  if (still) return { rule: still.allowed ? still.rule : (still.rule ?? still.code) }
  return { stored: after, ...gone, add: { effect, rule: added } }
}

/** What changes take, one after the other. Nothing is stored. */
export const planChanges = (
  of: MatrixOf,
  stored: readonly StoredRule[],
  changes: readonly CellChange[],
): MatrixPlan => {
  let now = stored
  const add: Step['add'][] = []
  const remove: string[] = []
  const impossible: (CellChange & { rule: string })[] = []
  for (const change of changes) {
    const tool = of.tools.find(({ name }) => name === change.tool)
    if (!tool || !of.groups.includes(change.group)) {
      impossible.push({ ...change, rule: 'unknown' })
      continue
    }
    const step = stepOf(of, now, change, tool)
    if ('rule' in step) {
      impossible.push({ ...change, rule: step.rule })
      continue
    }
    now = step.stored
    if (step.remove !== undefined) remove.push(step.remove)
    if (step.add) add.push(step.add)
  }
  return {
    edit: { add: add.filter((one) => one !== undefined), remove },
    stored: now,
    tools: readCells(of, now),
    impossible,
  }
}
