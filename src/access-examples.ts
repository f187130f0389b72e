// What the access rules of a configuration say about one call, without a gateway that runs: for
// `postern policy explain`, and for the examples in `access.tests`.
import type { Config } from './config/schema.ts'
import { personKey } from './kit/records.ts'
import { decide, namedOf, needOf } from './policy/decide.ts'
import { type ExplainedRule, explainRules } from './policy/explain.ts'
import { type PolicyCaller, rulesOf } from './policy/rules.ts'
import type { Person } from './ports/people.ts'
import type { Arguments, Subject, Verdict } from './ports/policy.ts'

/** A call that is only imagined. */
export interface ExampleCall {
  /** `provider:subject`, an email address, or `anonymous`. */
  readonly as: string
  /** Groups at the sign-in method; undefined: those of a local user. */
  readonly groups?: readonly string[] | undefined
  /** Undefined: an app that registered itself. */
  readonly client?: string | undefined
  /** `service:tool`. */
  readonly tool: string
  readonly arguments?: Readonly<Record<string, unknown>> | undefined
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
  return { person, personKey: personKey(person), clientId: call.client ?? someApp }
}

/** Whether any rules are written. */
export const hasAccessRules = ({ access, mcp_services: services }: Config): boolean =>
  access !== undefined || Object.values(services).some((service) => service.access !== undefined)

/** Undefined where the configuration has no such service. */
export const explainCall = (config: Config, call: ExampleCall): ExplainedCall | undefined => {
  const at = call.tool.indexOf(':')
  const [id, name] = [call.tool.slice(0, at), call.tool.slice(at + 1)]
  const service = Object.hasOwn(config.mcp_services, id) ? config.mcp_services[id] : undefined
  if (!service) return undefined
  if (!hasAccessRules(config))
    return { open: true, rules: [], need: undefined, verdict: { allowed: true, rule: 'none' } }
  const rules = rulesOf(config, id, service.access)
  const subject: Subject = { kind: 'tool', name, hint: undefined }
  const args: Arguments = call.arguments
  const caller = callerOf(config, call)
  return {
    open: false,
    rules: explainRules(rules, caller, subject, args),
    need: needOf(rules, namedOf(subject)),
    verdict: decide(rules, caller, subject, args),
  }
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
