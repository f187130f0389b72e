// `postern policy explain` and `postern policy test`: what the access rules say, without starting the gateway.
import { styleText } from 'node:util'
import { type ExplainedCall, explainCall, hasAccessRules, runAccessTests } from '../access-examples.ts'
import type { Environment } from '../config/environment-names.ts'
import type { Config } from '../config/schema.ts'
import { ladder } from '../kit/levels.ts'
import type { Permission } from '../ports/policy.ts'
import { didYouMean } from '../config/shape.ts'
import { type Fault, printable } from '../config/tree.ts'
import { type ConfigurationRequest, loadOrThrow } from './configuration.ts'
import { print, type Printer, UsageError } from './output.ts'

export interface ExplainOptions {
  readonly as: string
  readonly groups?: string
  readonly client?: string
  readonly redirect?: string
  readonly tool: string
  readonly arguments?: string
  readonly consent?: string
}

const argumentsOf = (text: string | undefined): Readonly<Record<string, unknown>> | undefined => {
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>
  } catch {
    // Told below.
  }
  throw new UsageError(`--arguments must be a JSON object, for example --arguments '{"id":1}'.`)
}

const listOf = (text: string | undefined): readonly string[] | undefined =>
  text
    ?.split(',')
    .map((part) => part.trim())
    .filter(Boolean)

const levelOf = (text: string | undefined): Permission | undefined => {
  const level = ladder.find((one) => one === text)
  if (text === undefined || level) return level
  throw new UsageError(`--consent must be one of ${ladder.join(', ')}.`)
}

const unknownService = (config: Config, tool: string): UsageError => {
  if (!tool.includes(':'))
    return new UsageError('--tool needs service:tool, for example --tool jira:create_issue.')
  const [id = ''] = tool.split(':', 1)
  const meant = didYouMean(id, Object.keys(config.mcp_services))
  return new UsageError(`There is no service ${JSON.stringify(id)} in the configuration${meant || '.'}`)
}

const verdictLines = ({ verdict, need }: ExplainedCall): readonly string[] => {
  if (verdict.allowed) return [`${styleText('green', 'Allowed')} by ${verdict.rule}.`]
  if (verdict.code === 'consent.level')
    return [
      `${styleText('yellow', 'Allowed with more consent')}: ${String(verdict.rule)} allows it, but the app needs the user’s consent to ${String(verdict.need)}.`,
    ]
  const rule = verdict.rule === undefined ? '' : ` by ${verdict.rule}`
  const why =
    verdict.code === 'policy.permission'
      ? ` The tool needs ${String(need)}, and the rules grant ${String(verdict.have)}.`
      : ''
  return [
    `${styleText('red', 'Denied')}: ${verdict.code}${rule}.${why}`,
    ...(verdict.reason === undefined ? [] : [`Reason: ${printable(verdict.reason, 200)}`]),
  ]
}

const explainText = (explained: ExplainedCall): string => {
  if (explained.open)
    return 'Allowed: the configuration has no access rules, so every user may use every tool.'
  const rows = explained.rules.map(
    ({ effect, id, matched, why }) =>
      `${matched ? '●' : '○'} ${effect.padEnd(5)} ${printable(id, 100).padEnd(40)} ${why}`,
  )
  const need = `The tool needs ${String(explained.need)}${explained.need === 'deny' ? ', which nobody has' : ''}, its annotations aside.`
  return [...rows, need, ...verdictLines(explained)].join('\n')
}

/** Prints each rule with what makes it count or not, and the verdict. */
export const explainPolicy = async (
  options: ExplainOptions,
  wanted: ConfigurationRequest,
  env: Environment,
  json: Printer | undefined,
): Promise<void> => {
  const { config } = await loadOrThrow(wanted, env)
  const explained = explainCall(config, {
    as: options.as,
    groups: listOf(options.groups),
    client: options.client,
    redirect: options.redirect,
    tool: options.tool,
    arguments: argumentsOf(options.arguments),
    consent: levelOf(options.consent),
  })
  if (!explained) throw unknownService(config, options.tool)
  if (json) json(explained)
  else print(explainText(explained))
}

/** Prints each example of `access.tests`; returns whether the rules decide all of them as written. */
export const testPolicy = async (
  wanted: ConfigurationRequest,
  env: Environment,
  json: Printer | undefined,
): Promise<boolean> => {
  const { config } = await loadOrThrow(wanted, env)
  const results = runAccessTests(config)
  if (json) json({ ok: results.every(({ ok }) => ok), tests: results.map(({ ok, say }) => ({ ok, say })) })
  else if (results.length === 0)
    print(
      `Nothing to test: ${hasAccessRules(config) ? 'access.tests is empty' : 'there are no access rules'}.`,
    )
  else
    for (const { ok, say } of results)
      print(`${ok ? styleText('green', '✓') : styleText('red', '✗')} ${printable(say, 400)}`)
  return results.every(({ ok }) => ok)
}

/** What `postern validate` says of examples that the rules decide otherwise. */
export const accessTestFaults = (
  config: Config,
  origins: Readonly<Record<string, Fault['origin']>>,
): readonly Fault[] =>
  runAccessTests(config).flatMap(({ index, ok, say }) =>
    ok
      ? []
      : [
          {
            key: `access.tests[${index}]`,
            origin: origins['access.tests'] ?? { from: 'default' },
            what: say,
          },
        ],
  )
