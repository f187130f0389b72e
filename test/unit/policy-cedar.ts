// The access rules a second time, written for Cedar (https://www.cedarpolicy.com): an evaluator of somebody else's
// that must come to the same answers. Cedar has no unknown: what is missing or of another type is tested for.
import { type EntityJson, preparsePolicySet, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/nodejs'
import type { Question, Written } from './policy-random.ts'

type Effect = 'permit' | 'forbid'
type Top = Written[0]
type Section = NonNullable<Written[1]>
type StatedRule = Partial<Section['allow'][number]> & { readonly when?: Readonly<Record<string, unknown>> }

const text = (value: unknown): string => JSON.stringify(value)
const all = (parts: readonly string[]): string =>
  parts.length === 0 ? 'true' : parts.map((part) => `(${part})`).join(' && ')
const any = (parts: readonly string[]): string =>
  parts.length === 0 ? 'false' : parts.map((part) => `(${part})`).join(' || ')

const ranks: Readonly<Record<string, number>> = { read: 0, write: 1, execute: 2, admin: 3, deny: 9 }

// Who.

const whoClause = ({ people, groups, everyone }: StatedRule, effect: Effect): string | undefined => {
  if (!people && !groups && !everyone) return undefined
  const unknown = effect === 'forbid' && groups ? ['principal.groupsUnknown'] : []
  return any([
    ...(everyone ? ['true'] : []),
    ...(people ?? []).map((one) => `principal.ids.contains(${text(one)})`),
    ...(groups ?? []).map((one) => `principal.groups.contains(${text(one)})`),
    ...unknown,
  ])
}

const clientClause = (clients: readonly string[]): string =>
  any(
    clients.map((one) => {
      if (one === 'configured') return 'principal.configured'
      if (one === 'document') return '!principal.configured && principal.host != ""'
      if (one === 'dynamic') return '!principal.configured && principal.host == ""'
      if (!one.startsWith('domain:')) return `principal.app like ${text(one)}`
      const domain = one.slice('domain:'.length)
      return `principal.host == ${text(domain)} || principal.host like ${text(`*.${domain}`)}`
    }),
  )

// Arguments: each is a record of its type and its value.

const typeOf = (value: unknown): string => (value === null ? 'null' : typeof value)
const literal = (value: unknown): string => (value === null ? '0' : text(value))
const there = (name: string): string => `context.args has ${name}`
const ofType = (name: string, value: unknown): string =>
  `${there(name)} && context.args.${name}.type == ${text(typeOf(value))}`

/** When it is certain that the argument is, and is not, this value. */
const isValue = (name: string, value: unknown): string =>
  `${ofType(name, value)} && context.args.${name}.value == ${literal(value)}`
const isNotValue = (name: string, value: unknown): string =>
  value === null
    ? `${there(name)} && context.args.${name}.type != "null"`
    : `${ofType(name, value)} && context.args.${name}.value != ${literal(value)}`

/** When a condition is certainly true, and when certainly false. */
const conditionClauses = (name: string, condition: unknown): readonly [isTrue: string, isFalse: string] => {
  const anyOf = (list: readonly unknown[]): readonly [string, string] => {
    const isTrue = any(list.map((value) => isValue(name, value)))
    return [isTrue, all([`!(${isTrue})`, any(list.map((value) => isNotValue(name, value)))])]
  }
  if (Array.isArray(condition)) return anyOf(condition)
  if (typeof condition !== 'object' || condition === null) return anyOf([condition])
  const value = `context.args.${name}.value`
  const certain = (of: unknown, clause: string): readonly [string, string] => [
    all([ofType(name, of), clause]),
    all([ofType(name, of), `!(${clause})`]),
  ]
  if ('glob' in condition) return certain('', `${value} like ${text(condition.glob)}`)
  if ('absent' in condition) return [`!(${there(name)})`, there(name)]
  if ('not' in condition) {
    const [isTrue, isFalse] = anyOf(condition.not as readonly unknown[])
    return [isFalse, isTrue]
  }
  const { min, max } = condition as { readonly min: number; readonly max: number }
  return certain(0, `${value} >= ${min} && ${value} <= ${max}`)
}

const whenClause = (when: Readonly<Record<string, unknown>>, effect: Effect): string => {
  const clauses = Object.entries(when).map(([name, condition]) => conditionClauses(name, condition))
  const listed = 'action == Action::"list"'
  return effect === 'permit'
    ? any([listed, all(clauses.map(([isTrue]) => isTrue))])
    : all([`!(${listed})`, ...clauses.map(([, isFalse]) => `!(${isFalse})`)])
}

// Rules.

const toolClause = (tools: readonly string[], effect: Effect): string =>
  any(
    tools.flatMap((glob) => [
      `resource.name like ${text(glob)}`,
      ...(effect === 'forbid' ? [`resource.folded like ${text(glob)}`] : []),
    ]),
  )

/** Undefined for a rule that is not about tools. */
const policyOf = (rule: StatedRule, effect: Effect): string | undefined => {
  if ('prompts' in rule && rule.prompts) return undefined
  const {
    tools,
    clients,
    when,
    permissions = ['read'],
  } = rule as StatedRule & {
    readonly tools?: readonly string[]
    readonly permissions?: readonly string[]
  }
  const whom = whoClause(rule, effect)
  const best = Math.max(...(permissions as readonly string[]).map((one) => ranks[one] ?? 0))
  const clauses = [
    ...(whom === undefined ? [] : [whom]),
    ...(clients ? [clientClause(clients)] : []),
    ...(tools ? [toolClause(tools, effect)] : []),
    ...(when ? [whenClause(when, effect)] : []),
    ...(effect === 'permit' ? [`resource.need <= ${best}`] : []),
  ]
  return `${effect} (principal, action, resource) when { ${all(clauses)} };`
}

const clientPolicies = ({ clients }: Top): readonly string[] => [
  ...(clients?.deny ? [`forbid (principal, action, resource) when { ${clientClause(clients.deny)} };`] : []),
  ...(clients?.allow
    ? [`forbid (principal, action, resource) unless { ${clientClause(clients.allow)} };`]
    : []),
]

const policiesOf = ([top, section]: Written): string =>
  [
    ...clientPolicies(top),
    ...[...top.allow, ...(section?.allow ?? [])].map((rule) => policyOf(rule as StatedRule, 'permit')),
    ...[...top.deny, ...(section?.deny ?? [])].map((rule) => policyOf(rule as StatedRule, 'forbid')),
    ...(!section && top.default === 'everyone'
      ? ['permit (principal, action, resource) when { resource.need <= 2 };']
      : []),
  ]
    .filter((policy) => policy !== undefined)
    .join('\n')

// What is asked.

const needOf = ({ name, hint }: Question, section: Section | undefined): number => {
  const tools: Readonly<Record<string, string>> = section?.tools ?? {}
  if (Object.hasOwn(tools, name)) return ranks[tools[name] as string] as number
  const strictest = Object.entries(tools)
    .filter(([glob]) => new RegExp(`^${glob.replaceAll('*', '.*').replaceAll('?', '.')}$`).test(name))
    .map(([, need]) => ranks[need] as number)
  return strictest.length > 0
    ? Math.max(...strictest)
    : (ranks[hint ?? section?.unmarked ?? 'execute'] as number)
}

const entitiesOf = (question: Question, section: Section | undefined): EntityJson[] => {
  const { caller, name } = question
  const { clientId, person, personKey } = caller
  return [
    {
      uid: { type: 'Person', id: 'p' },
      attrs: {
        ids: [personKey, person.email ?? ''],
        groups: [...person.groups],
        groupsUnknown: 'groupsUnknown' in person,
        app: clientId,
        configured: clientId === 'desk',
        host: clientId.startsWith('https:') ? new URL(clientId).hostname : '',
      },
      parents: [],
    },
    {
      uid: { type: 'Tool', id: 't' },
      attrs: { name, folded: name.toLowerCase(), need: needOf(question, section) },
      parents: [],
    },
  ]
}

const contextOf = ({ args }: Question) => ({
  args: Object.fromEntries(
    Object.entries(typeof args === 'object' ? args : {}).map(([name, value]) => [
      name,
      {
        type: typeOf(value),
        value: value === null || typeof value === 'object' ? 0 : (value as string | number | boolean),
      },
    ]),
  ),
})

/** Whether Cedar allows it. Throws where it cannot evaluate a rule, since it would leave that one out. */
export const createOracle = () => {
  const id = 'rules'
  return (written: Written): ((question: Question, action: 'call' | 'list') => boolean) => {
    const policies = policiesOf(written)
    const parsed = preparsePolicySet(id, { staticPolicies: policies })
    if (parsed.type === 'failure') throw new Error(`${parsed.errors[0]?.message ?? ''}\n${policies}`)
    return (question, action) => {
      const answer = statefulIsAuthorized({
        principal: { type: 'Person', id: 'p' },
        action: { type: 'Action', id: action },
        resource: { type: 'Tool', id: 't' },
        context: contextOf(question),
        preparsedPolicySetId: id,
        entities: entitiesOf(question, written[1]),
      })
      if (answer.type === 'failure') throw new Error(answer.errors[0]?.message)
      const [error] = answer.response.diagnostics.errors
      if (error) throw new Error(`${error.error.message}\n${policies}`)
      return answer.response.decision === 'allow'
    }
  }
}
