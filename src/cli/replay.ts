// `postern policy replay`: what other access rules would have said of the calls in the audit trail.
import { printable } from '../config/tree.ts'
import { replay } from '../policy-replay.ts'
import type { Replayed, StoredRule } from '../ports/policy.ts'
import { type AdminTarget, unknownIssuer, withGateway } from './admin.ts'
import { searchOf, withReader } from './audit.ts'
import { loadOrThrow } from './configuration.ts'
import { count, print } from './output.ts'
import { issuerOf } from './state.ts'

export interface ReplayOptions {
  readonly since: string
  readonly groups: 'then' | 'now'
  readonly failOn?: 'refused' | 'granted'
}

/** Lines of each count. */
const mostListed = 20

/** The stored rules count in both, unless they cannot be read here. */
const storedRules = async (target: AdminTarget): Promise<readonly StoredRule[]> => {
  const { config, stateDir } = target
  if (config.storage.type === 'memory' || config.access?.stored === 'off') return []
  return withGateway(target, issuerOf(config, stateDir) ?? unknownIssuer, async (gateway) => {
    const { rules } = await gateway.rules.list()
    await gateway.bridges.close(0)
    return rules.map(({ at, ...rule }) => ({ ...rule, at: Date.parse(at) }))
  })
}

const countsText = (counts: Readonly<Record<string, number>>, title: string): readonly string[] => {
  const rows = Object.entries(counts)
  if (rows.length === 0) return []
  const shown = rows.slice(0, mostListed).map(([name, calls]) => `  ${calls}  ${printable(name, 120)}`)
  return [
    `${title}:`,
    ...shown,
    ...(rows.length > mostListed ? [`  and ${rows.length - mostListed} more`] : []),
  ]
}

const number = (n: number): string => n.toLocaleString('en')

const replayText = (found: Replayed, since: string): string => {
  const { calls, refused, granted, unsaid, drifted, people, tools } = found
  const whose =
    refused === 0 ? '' : ` (${count(people.length, 'person', 'people')}, ${count(tools.length, 'tool')})`
  return [
    `${number(refused)} of ${number(calls)} calls since ${printable(since, 40)} would have been refused${whose}; ${number(granted)} more would have been allowed; ${number(unsaid)} cannot be said.`,
    ...countsText(found.byRule, 'By rule'),
    ...countsText(found.byPerson, 'By person'),
    ...countsText(found.byTool, 'By tool'),
    ...(found.examples.length === 0 ? [] : ['Examples:']),
    ...found.examples.map(
      ({ request, person, service, what, code }) =>
        `  ${printable(request ?? '-', 64)}  ${printable(person, 80)}  ${printable(`${service}:${what}`, 120)}  ${code}`,
    ),
    ...(found.shutOut.length === 0
      ? []
      : [`Left without any call: ${found.shutOut.map((one) => printable(one, 80)).join(', ')}`]),
    ...(drifted === 0
      ? []
      : [
          `Of ${number(drifted)} calls today's rules already say something else: rules or groups changed since.`,
        ]),
    ...(found.skipped === 0 ? [] : [`${number(found.skipped)} calls were refused for other reasons.`]),
    'Not in it: calls that were never made, tools added since, and calls that the trail holds no more.',
  ].join('\n')
}

/** Prints what the rules of another configuration would have said; returns whether `--fail-on` is met. */
export const replayPolicy = async (
  file: string,
  options: ReplayOptions,
  target: AdminTarget,
): Promise<boolean> => {
  const { config: changed } = await loadOrThrow({ file, flags: {} }, target.env)
  const search = searchOf([`since:${options.since}`])
  const stored = await storedRules(target)
  const found = await withReader(target, (reader) =>
    replay({
      before: target.config,
      after: changed,
      stored,
      calls: reader.combinations(search),
      subject: reader.subject,
      groups: options.groups,
    }),
  )
  if (target.json) target.json(found)
  else print(replayText(found, options.since))
  const { failOn } = options
  return failOn !== undefined && found[failOn] > 0
}
