// Access rules of the store, beside those of the configuration: each becomes what it would be in the file, so that
// the evaluator knows no difference.
import type { Config } from '../config/schema.ts'
import type { AccessRecord, StoredRule } from '../ports/policy.ts'

type Access = NonNullable<Config['access']>
type Allow = Access['allow'][number]
type Deny = Access['deny'][number]

const nothing: Access = {
  default: 'none',
  stored: 'any',
  groups: {},
  allow: [],
  deny: [],
  disclose: 'rule',
  tests: [],
}

/** The id by which a denial and the trail name the rule: no rule of the configuration can have one like it. */
const idOf = ({ id }: StoredRule): string => `stored:${id}`

/** Undefined for a record that only makes somebody a member of groups. */
const grantOf = ({ userId, servers, permissions }: AccessRecord): Omit<Allow, 'id'> | undefined =>
  servers.length === 0 || permissions.length === 0
    ? undefined
    : { people: [userId], services: [...servers], permissions: [...permissions] }

const allowsIn = (rules: readonly StoredRule[]): readonly Allow[] =>
  rules.flatMap((rule) => {
    const allow = rule.allow ?? (rule.record && grantOf(rule.record))
    return allow ? [{ ...allow, id: idOf(rule) }] : []
  })

const deniesIn = (rules: readonly StoredRule[]): readonly Deny[] =>
  rules.flatMap((rule) => (rule.deny ? [{ ...rule.deny, id: idOf(rule) }] : []))

const withMembers = (groups: Access['groups'], rules: readonly StoredRule[]): Access['groups'] =>
  Object.fromEntries(
    Object.entries(groups).map(([name, group]) => {
      const joined = rules.flatMap(({ record }) => (record?.groups.includes(name) ? [record.userId] : []))
      return [
        name,
        joined.length === 0 ? group : { ...group, members: [...(group.members ?? []), ...joined] },
      ]
    }),
  )

/** Whether `access.stored` lets the rule count. */
export const isInForce = ({ access }: Pick<Config, 'access'>, rule: Pick<StoredRule, 'deny'>): boolean => {
  const bound = access?.stored ?? 'any'
  return bound === 'any' || (bound === 'deny' && rule.deny !== undefined)
}

/** The configuration with these rules at the end of its own. */
export const withStored = (config: Config, stored: readonly StoredRule[]): Config => {
  const rules = stored.filter((rule) => isInForce(config, rule))
  if (rules.length === 0) return config
  const access = config.access ?? nothing
  return {
    ...config,
    access: {
      ...access,
      groups: withMembers(access.groups, rules),
      allow: [...access.allow, ...allowsIn(rules)],
      deny: [...access.deny, ...deniesIn(rules)],
    },
  }
}
