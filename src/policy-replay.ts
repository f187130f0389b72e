// What other access rules would have said of the calls that the audit trail holds: for `postern policy replay`. The
// trail knows who called what, and neither the arguments nor the annotations of tools; what depends on these
// cannot be said, and is counted by itself.
import { hasAccessRules } from './access-examples.ts'
import type { Config } from './config/schema.ts'
import {
  coversSubject,
  decide,
  deniesSubject,
  isClientDenied,
  namedOf,
  needOrDenial,
} from './policy/decide.ts'
import { aboutResources, general, generalNotifications } from './policy/asked.ts'
import { type AccessRule, type PolicyCaller, type ServiceRules, isAbout, rulesOf } from './policy/rules.ts'
import { withStored } from './policy/stored-rules.ts'
import type {
  Denied,
  ReplayExample,
  Replayed,
  StoredRule,
  Subject,
  ToolHint,
  Verdict,
} from './ports/policy.ts'
import type { AuditCombination, AuditSubject } from './ports/store.ts'

// One call by one set of rules.

/** What is known of the rules of a service: with every condition met as the caller needs it, and with none. */
interface RulesPair {
  readonly rules: ServiceRules
  readonly best: ServiceRules
  readonly worst: ServiceRules
}

const unconditional = (rule: AccessRule): AccessRule => ({ ...rule, when: undefined })
const isUnconditional = ({ when }: AccessRule): boolean => !when

const pairOf = (rules: ServiceRules): RulesPair => {
  const { denies, grants } = rules
  return {
    rules,
    best: { ...rules, denies: denies.filter(isUnconditional), grants: grants.map(unconditional) },
    worst: { ...rules, denies: denies.map(unconditional), grants: grants.filter(isUnconditional) },
  }
}

/** Undefined: it depends on what the trail does not say. */
type Outcome = Verdict | undefined

const hints: readonly ToolHint[] = [undefined, 'read', 'write', 'execute']

const hintsFor = (subject: Subject, known: readonly ToolHint[] = hints): readonly Subject[] =>
  subject.kind === 'tool' ? known.map((hint) => ({ ...subject, hint })) : [subject]

const outcomeOf = (
  { best, worst }: RulesPair,
  caller: PolicyCaller,
  subjects: readonly Subject[],
): Outcome => {
  const verdicts = subjects.flatMap((subject) => [
    decide(best, caller, subject, undefined),
    decide(worst, caller, subject, undefined),
  ])
  const [first] = verdicts
  return verdicts.every(({ allowed }) => allowed === first?.allowed) ? first : undefined
}

/** All that rules say about a caller and a subject, as text: equal for rules between which it makes no difference. */
const sayingOf = ({ rules }: RulesPair, caller: PolicyCaller, subjects: readonly Subject[]): string =>
  JSON.stringify(
    subjects.map((subject) => {
      const named = namedOf(subject)
      const need = needOrDenial(rules, named)
      return [
        decide({ ...rules, denies: [] }, caller, { kind: 'service' }, undefined).allowed,
        rules.denies.flatMap((rule) =>
          isAbout(rule, caller, 'deny') && deniesSubject(rule, named) ? [rule.when ?? null] : [],
        ),
        rules.grants.flatMap((rule) =>
          isAbout(rule, caller, 'allow') && coversSubject(rule, named)
            ? [[rule.permission, rule.when ?? null]]
            : [],
        ),
        typeof need === 'string' ? need : need.code,
      ]
    }),
  )

/** What a message asked for, by what the audit trail keeps of it; undefined where that does not say it. */
const subjectOf = (method: string | undefined, name: string): Subject | undefined => {
  if (method === undefined || general.has(method) || generalNotifications.has(method))
    return { kind: 'service' }
  if (method === 'tools/call') return { kind: 'tool', name, hint: undefined }
  if (method === 'prompts/get') return { kind: 'prompt', name }
  if (aboutResources.has(method)) return { kind: 'resource', uri: name }
  if (method === 'completion/complete' || method === 'subscriptions/listen') return undefined
  return method.startsWith('notifications/') ? undefined : { kind: 'method', name: method }
}

// Both sets of rules.

/** `undefined`: the configuration has no rules at all. */
type RulesFor = (service: string) => RulesPair | 'open' | 'unknown'

const createRulesFor = (config: Config): RulesFor => {
  const made = new Map<string, RulesPair>()
  return (service) => {
    if (!Object.hasOwn(config.mcp_services, service)) return 'unknown'
    if (!hasAccessRules(config)) return 'open'
    const known = made.get(service) ?? pairOf(rulesOf(config, service, config.mcp_services[service]?.access))
    made.set(service, known)
    return known
  }
}

const open: Verdict = { allowed: true, rule: 'none', need: 'read' }

/** What happened: by the rules, as far as the trail tells. Undefined where it did not come to the rules. */
const recordedOf = ({ decision, code }: AuditCombination): boolean | undefined => {
  if (decision !== 'denied') return true
  if (code?.startsWith('consent.')) return true
  return code?.startsWith('policy.') && code !== 'policy.unlisted' ? false : undefined
}

interface Compared {
  readonly before: boolean
  /** Undefined: it cannot be said. */
  readonly after: boolean | undefined
  /** Why not any more. */
  readonly why?: Denied
  /** The rules or the groups of now say something else than happened. */
  readonly drifted: boolean
}

interface Replayable {
  readonly caller: PolicyCaller
  readonly subject: Subject
  readonly recorded: boolean
}

/** Annotations with which the rules of now say what happened. */
const possibleHints = (before: RulesPair, { caller, subject, recorded }: Replayable): readonly ToolHint[] =>
  hints.filter((hint) => {
    const outcome = outcomeOf(before, caller, hintsFor(subject, [hint]))
    return outcome === undefined || outcome.allowed === recorded
  })

const compare = (before: RulesPair | 'open', after: RulesPair | 'open', call: Replayable): Compared => {
  const { caller, subject, recorded } = call
  const possible = before === 'open' ? [] : possibleHints(before, call)
  const drifted = before === 'open' ? !recorded : possible.length === 0
  const subjects = hintsFor(subject, possible.length === 0 ? hints : possible)
  const was = (before === 'open' ? open : outcomeOf(before, caller, subjects))?.allowed ?? recorded
  const isSame =
    before !== 'open' &&
    after !== 'open' &&
    sayingOf(before, caller, subjects) === sayingOf(after, caller, subjects)
  if (isSame) return { before: was, after: was, drifted }
  const would = after === 'open' ? open : outcomeOf(after, caller, subjects)
  return {
    before: was,
    after: would?.allowed,
    ...(would && !would.allowed && { why: would }),
    drifted,
  }
}

// All of them.

export interface ReplayInput {
  readonly before: Config
  readonly after: Config
  /** They count in both. */
  readonly stored?: readonly StoredRule[]
  readonly calls: Iterable<AuditCombination>
  readonly subject: (hash: string) => AuditSubject | undefined
  /** `now`: local users are in the groups of the configurations, and others in those that they were in. */
  readonly groups: 'then' | 'now'
}

const mostExamples = 5
/** Names are cut to this length in the trail. */
const longestName = 256

/** `'unknown'`: the trail does not say who it was. */
const callerThen = (
  { person, client }: AuditCombination,
  snapshot: AuditSubject | undefined,
): PolicyCaller | 'unknown' => {
  if (person === null) return undefined
  if (!snapshot || client === null) return 'unknown'
  const { provider, subject, groups, email, groupsUnknown } = snapshot.person
  return {
    person: {
      provider,
      subject,
      groups,
      ...(email !== undefined && { email }),
      ...(groupsUnknown && { groupsUnknown }),
    },
    personKey: person,
    clientId: client,
    ...(snapshot.redirect !== undefined && { redirectHost: snapshot.redirect }),
  }
}

/** Whether rules ask where the code of an app went, which earlier versions did not keep. */
const asksForRedirects = ({ access, mcp_services: services }: Config): boolean =>
  JSON.stringify([access, Object.values(services).map((service) => service.access)]).includes('"redirect:')

const callerNow = (
  caller: PolicyCaller | 'unknown',
  { person, client }: AuditCombination,
  config: Config,
): PolicyCaller | 'unknown' => {
  if (person === null || client === null || !person.startsWith('local:')) return caller
  const found = config.local_users.find(({ username }) => `local:${username}` === person)
  const groups = found?.groups ?? []
  const known = caller === 'unknown' ? undefined : caller
  const { email = known?.person.email } = found ?? {}
  return {
    person: {
      provider: 'local',
      subject: person.slice('local:'.length),
      groups,
      ...(email !== undefined && { email }),
    },
    personKey: person,
    clientId: client,
    ...(known?.redirectHost !== undefined && { redirectHost: known.redirectHost }),
  }
}

const addTo = (counts: Record<string, number>, key: string, calls: number): void => {
  counts[key] = (counts[key] ?? 0) + calls
}

const mostFirst = (counts: Readonly<Record<string, number>>): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(counts).toSorted(([, one], [, other]) => other - one))

const createTotals = () => {
  const counts = { calls: 0, refused: 0, granted: 0, unsaid: 0, drifted: 0, skipped: 0 }
  const byRule: Record<string, number> = {}
  const byPerson: Record<string, number> = {}
  const byTool: Record<string, number> = {}
  const examples: ReplayExample[] = []
  const refuse = (call: AuditCombination, { rule, code }: Denied): void => {
    const { calls, service, name, method, request } = call
    const [person, what] = [call.person ?? 'anonymous', name ?? method ?? 'a stream']
    counts.refused += calls
    addTo(byRule, rule ?? code, calls)
    addTo(byPerson, person, calls)
    addTo(byTool, `${service}:${what}`, calls)
    if (examples.length < mostExamples)
      examples.push({ request: request ?? undefined, person, service: service ?? '', what, code })
  }
  const [served, left] = [new Set<string>(), new Set<string>()]
  return {
    counts,
    add(call: AuditCombination, { before, after, why, drifted }: Compared): void {
      const { calls } = call
      const person = call.person ?? 'anonymous'
      if (drifted) counts.drifted += calls
      if (before) served.add(person)
      if (after ?? before) left.add(person)
      if (after === undefined) counts.unsaid += calls
      else if (!before && after) counts.granted += calls
      else if (before && why) refuse(call, why)
    },
    result(): Replayed {
      const [rules, people, tools] = [mostFirst(byRule), mostFirst(byPerson), mostFirst(byTool)]
      return {
        ...counts,
        people: Object.keys(people),
        tools: Object.keys(tools),
        byRule: rules,
        byPerson: people,
        byTool: tools,
        examples,
        shutOut: [...served].filter((person) => !left.has(person)),
      }
    },
  }
}

const removed: Denied = { allowed: false, code: 'policy.service', rule: 'service not in the configuration' }

/** Keeps what `make` answers, by a text that says all that the answer depends on. */
const createMemo = <Value>() => {
  const known = new Map<string, Value>()
  return (key: string, make: () => Value): Value => {
    const before = known.get(key)
    if (before !== undefined) return before
    const made = make()
    known.set(key, made)
    return made
  }
}

/** Which rules are about a caller: all that rules know of one. */
const marksOf = (pair: RulesPair | 'open', caller: PolicyCaller): string => {
  if (pair === 'open') return 'open'
  const { denies, grants } = pair.rules
  const marks = (all: readonly AccessRule[], effect: 'allow' | 'deny'): string =>
    all.map((rule) => (isAbout(rule, caller, effect) ? '1' : '0')).join('')
  return `${isClientDenied(pair.rules, caller)} ${marks(denies, 'deny')} ${marks(grants, 'allow')}`
}

/** Compares what both configurations say about each call. */
export const replay = ({
  before,
  after,
  stored = [],
  calls,
  subject: subjectAt,
  groups,
}: ReplayInput): Replayed => {
  const totals = createTotals()
  const both = [withStored(before, stored), withStored(after, stored)] as const
  const [rulesBefore, rulesAfter] = [createRulesFor(both[0]), createRulesFor(both[1])]
  const redirects = both.some(asksForRedirects)
  const [callers, profiles, answers] = [
    createMemo<{ readonly caller: PolicyCaller | 'unknown' }>(),
    createMemo<string>(),
    createMemo<Compared>(),
  ]
  const unsaid = (recorded: boolean): Compared => ({ before: recorded, after: undefined, drifted: false })
  const callerOf = (call: AuditCombination): PolicyCaller | 'unknown' => {
    const then = callerThen(call, call.subject === null ? undefined : subjectAt(call.subject))
    const caller = groups === 'now' ? callerNow(then, call, after) : then
    return redirects && caller !== 'unknown' && caller && caller.redirectHost === undefined
      ? 'unknown'
      : caller
  }
  const judge = (call: AuditCombination, recorded: boolean): Compared => {
    const { person, client, subject: hash, method, name } = call
    const service = call.service ?? ''
    const [was, would] = [rulesBefore(service), rulesAfter(service)]
    if (was === 'unknown') return unsaid(recorded)
    if (would === 'unknown') return { before: recorded, after: false, why: removed, drifted: false }
    const who = JSON.stringify([person, client, hash])
    const { caller } = callers(who, () => ({ caller: callerOf(call) }))
    const subject = subjectOf(method ?? undefined, name ?? '')
    if (!subject || caller === 'unknown' || (name?.length ?? 0) >= longestName) return unsaid(recorded)
    const profile = profiles(`${service} ${who}`, () => `${marksOf(was, caller)} ${marksOf(would, caller)}`)
    return answers(JSON.stringify([service, profile, method, name, recorded]), () =>
      compare(was, would, { caller, subject, recorded }),
    )
  }
  for (const call of calls) {
    const recorded = recordedOf(call)
    totals.counts.calls += call.calls
    if (recorded === undefined) totals.counts.skipped += call.calls
    else totals.add(call, judge(call, recorded))
  }
  return totals.result()
}
