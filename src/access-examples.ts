// What the access rules of a configuration say about one call, without a gateway that runs: for
// `postern policy explain`, and for the examples in `access.tests`.
import type { Config } from './config/schema.ts'
import { personKey } from './kit/records.ts'
import { holds } from './policy/conditions.ts'
import {
  coversSubject,
  decide,
  deniesSubject,
  isClientDenied,
  namedOf,
  needOf,
  withinConsent,
} from './policy/decide.ts'
import {
  type AccessRule,
  type PolicyCaller,
  type ServiceAccess,
  type ServiceRules,
  isRuling,
  rulesOf,
} from './policy/rules.ts'
import type { Person } from './ports/people.ts'
import type { Arguments, Permission, Subject, Verdict } from './ports/policy.ts'

// Why a decision is what it is: each rule in its order, and what makes it count or not.

export interface ExplainedRule {
  readonly id: string
  readonly effect: 'allow' | 'deny'
  readonly matched: boolean
  /** Why, as the end of a sentence. */
  readonly why: string
}

/** `true`, `false` or unknown, as each effect takes it. */
const counts = (truth: boolean | undefined, effect: ExplainedRule['effect']): boolean =>
  truth ?? effect === 'deny'

const missed = (
  rule: AccessRule,
  effect: ExplainedRule['effect'],
  {
    caller,
    subject,
    args,
  }: { readonly caller: PolicyCaller; readonly subject: Subject; readonly args: Arguments },
): string | undefined => {
  const named = namedOf(subject)
  if (rule.who ? !counts(rule.who(caller), effect) : effect === 'allow') return 'does not name this user'
  if (rule.client && !counts(rule.client(caller), effect)) return 'does not name this app'
  const about = effect === 'deny' ? deniesSubject : coversSubject
  if (!about(rule, named)) return `does not name this ${subject.kind}`
  if (!rule.when) return undefined
  const truth = holds(rule.when, args)
  if (counts(truth, effect)) return undefined
  return truth === undefined
    ? 'has conditions that cannot be judged: an argument is missing or of another type'
    : 'has conditions that do not hold'
}

const explainRule = (
  rule: AccessRule,
  effect: ExplainedRule['effect'],
  call: Parameters<typeof missed>[2],
): ExplainedRule => {
  const why = missed(rule, effect, call)
  const matches = effect === 'deny' ? 'matches' : `matches and grants ${rule.permission}`
  return { id: rule.id, effect, matched: why === undefined, why: why ?? matches }
}

/** Every rule that could count, those that deny first. */
const explainRules = (
  rules: ServiceRules,
  caller: PolicyCaller,
  subject: Subject,
  args: Arguments,
): readonly ExplainedRule[] => {
  const call = { caller, subject, args }
  const clients: readonly ExplainedRule[] = isClientDenied(rules, caller)
    ? [{ id: 'access.clients', effect: 'deny', matched: true, why: 'does not admit this app' }]
    : []
  return [
    ...clients,
    ...rules.denies.map((rule) => explainRule(rule, 'deny', call)),
    ...rules.grants.map((rule) => explainRule(rule, 'allow', call)),
  ]
}

/** A call that is only imagined. */
export interface ExampleCall {
  /** `provider:subject`, an email address, or `anonymous`. */
  readonly as: string
  /** Groups at the sign-in method; undefined: those of a local user. */
  readonly groups?: readonly string[] | undefined
  /** Undefined: an app that registered itself. */
  readonly client?: string | undefined
  /** The https host that its code went to. */
  readonly redirect?: string | undefined
  /** `service:tool`. */
  readonly tool: string
  readonly arguments?: Readonly<Record<string, unknown>> | undefined
  /** What the user let the app do; undefined: everything. */
  readonly consent?: Permission | undefined
}

export interface ExplainedCall {
  /** No rules are configured at all, and everything is allowed. */
  readonly open: boolean
  readonly rules: readonly ExplainedRule[]
  /** What the tool needs; nothing is known here of its annotations. */
  readonly need: string | undefined
  readonly verdict: Verdict
}

const anonymous = 'anonymous'
const someApp = 'client_registered'

const localPerson = ({ local_users: users }: Config, as: string): Person | undefined => {
  const found = users.find(
    ({ username, email }) =>
      as === `local:${username}` || (email !== undefined && email.toLowerCase() === as.toLowerCase()),
  )
  return (
    found && {
      provider: 'local',
      subject: found.username,
      groups: found.groups,
      ...(found.email === undefined ? {} : { email: found.email }),
    }
  )
}

const personOf = (config: Config, { as, groups = [] }: ExampleCall): Person => {
  const at = as.indexOf(':')
  if (at > 0) return { provider: as.slice(0, at), subject: as.slice(at + 1), groups }
  const [provider = 'local'] = Object.keys(config.oauth_providers)
  return { provider, subject: as, email: as, groups }
}

const callerOf = (config: Config, call: ExampleCall): PolicyCaller => {
  if (call.as === anonymous) return undefined
  const known = localPerson(config, call.as)
  const person = known ? { ...known, groups: call.groups ?? known.groups } : personOf(config, call)
  return {
    person,
    personKey: personKey(person),
    clientId: call.client ?? someApp,
    redirectHost: call.redirect ?? '',
    consented: { level: call.consent ?? 'admin', excluded: [] },
  }
}

/** Whether any rules are written. */
export const hasAccessRules = ({ access, mcp_services: services }: Config): boolean =>
  access !== undefined || Object.values(services).some((service) => isRuling(service.access))

/** What is asked of a service: who calls which tool with what. */
export interface ExplainedSubject {
  readonly caller: PolicyCaller
  readonly subject: Subject
  readonly args: Arguments
}

/** `section`: `access` of the service. */
export const explainSubject = (
  config: Config,
  service: { readonly id: string; readonly section: ServiceAccess },
  { caller, subject, args }: ExplainedSubject,
): ExplainedCall => {
  if (!hasAccessRules(config))
    return { open: true, rules: [], need: undefined, verdict: { allowed: true, rule: 'none', need: 'read' } }
  const rules = rulesOf(config, service.id, service.section)
  return {
    open: false,
    rules: explainRules(rules, caller, subject, args),
    need: needOf(rules, namedOf(subject)),
    verdict: withinConsent(decide(rules, caller, subject, args), caller, subject, args),
  }
}

/** Undefined where the configuration has no such service. */
export const explainCall = (config: Config, call: ExampleCall): ExplainedCall | undefined => {
  const at = call.tool.indexOf(':')
  const [id, name] = [call.tool.slice(0, at), call.tool.slice(at + 1)]
  const service = Object.hasOwn(config.mcp_services, id) ? config.mcp_services[id] : undefined
  if (!service) return undefined
  const subject: Subject = { kind: 'tool', name, hint: undefined }
  const asked = { caller: callerOf(config, call), subject, args: call.arguments }
  return explainSubject(config, { id, section: service.access }, asked)
}

export interface ExampleResult {
  readonly index: number
  readonly ok: boolean
  /** The example and what the rules say of it, as one line. */
  readonly say: string
}

const verdictText = (verdict: Verdict): string =>
  verdict.allowed
    ? `allowed by ${verdict.rule}`
    : `denied: ${verdict.code}${verdict.rule === undefined ? '' : ` by ${verdict.rule}`}`

/** Runs `access.tests`. */
export const runAccessTests = (config: Config): readonly ExampleResult[] =>
  (config.access?.tests ?? []).map((example, index) => {
    const { verdict } = explainCall(config, example) as ExplainedCall
    const expected = verdict.allowed
      ? example.expect === 'allow'
      : example.expect === 'deny' && (example.code === undefined || example.code === verdict.code)
    const wanted = example.code === undefined ? example.expect : `${example.expect} ${example.code}`
    const call = `${example.as} calls ${example.tool}`
    return {
      index,
      ok: expected,
      say: expected
        ? `${call}: ${verdictText(verdict)}`
        : `${call}: expected ${wanted}, but ${verdictText(verdict)}`,
    }
  })
