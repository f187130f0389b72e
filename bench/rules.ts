// What access rules and the audit trail cost: the same gateway without either, with each, and with both, turn by turn in
// one run. The rules are for 50 groups, 20 services and 100 tools; of a list of these they leave half.
import { table } from '../scripts/harness/table.ts'
import { type Load, measure, type Measured, median } from './calls.ts'
import { startPostern, startUpstream } from './candidates.ts'
import { person } from '../scripts/harness/postern.ts'
import { thisCheckout } from './gateway.ts'

const groups = Array.from({ length: 50 }, (_, i) => `group-${i}`)
const tools = Array.from({ length: 99 }, (_, i) => `tool-${i}`)

/** `echo` is the tool that is called. */
const access = {
  allow: groups.map((group, i) => ({
    groups: [group],
    permissions: [i % 2 === 0 ? ('write' as const) : ('read' as const)],
    tools: ['echo', 'tool-*', `extra-${i}-*`],
  })),
  deny: [{ groups: [groups[1] as string], tools: ['drop_*', 'delete_*'] }],
  tools: Object.fromEntries(['echo', ...tools].map((tool, i) => [tool, i % 2 === 0 ? 'read' : 'admin'])),
}

const withRules = (origin: string) => ({
  access: {
    groups: Object.fromEntries(groups.map((group) => [group, { members: [`local:${person.username}`] }])),
  },
  mcp_services: Object.fromEntries(
    Array.from({ length: 18 }, (_, i) => [`other-${i}`, { url: `${origin}/json`, access }]),
  ),
})

interface Row {
  readonly what: string
  /** What is asked of it, beside the same without rules. */
  readonly least: number
  readonly load: Partial<Load>
}

const loads: readonly Row[] = [
  { what: 'tools/call, 32 connections', least: 0.95, load: { workload: 'json' } },
  { what: 'tools/list of 100 tools, 32 connections', least: 0.6, load: { workload: 'list', list: true } },
]

/** Of each round: this one divided by the one without rules. */
const ratioOf = (base: readonly Measured[], all: readonly Measured[], of: keyof Measured): number =>
  median(all.map((one, i) => one[of] / (base[i] ?? one)[of]))

export const measureRules = async (
  folder: string,
  { rounds, seconds }: Pick<Load, 'rounds' | 'seconds'>,
): Promise<void> => {
  const upstream = await startUpstream(folder)
  const ruled = withRules(upstream.origin)
  const trail = { audit: { enabled: true } }
  const begin = (name: string, more: object, rules?: object) =>
    startPostern(
      folder,
      upstream.origin,
      { ...thisCheckout, name },
      { ...(rules && { access: rules }), more },
    )
  const candidates = [
    await begin('neither', {}),
    await begin('trail', trail),
    await begin('rules', ruled, access),
    await begin('rules and trail', { ...ruled, ...trail }, access),
  ]
  for (const { what, least, load } of loads) {
    const turns = await measure(candidates, {
      ...{ workload: 'json', connections: 32, folder, rounds, seconds },
      ...load,
    })
    const base = turns.get('neither') ?? []
    const rows = [...turns].map(([name, all]) => [
      name,
      median(all.map((one) => one.perSecond)).toFixed(0),
      ratioOf(base, all, 'perSecond').toFixed(2),
      median(all.map((one) => one.cpu)).toFixed(1),
      ratioOf(base, all, 'cpu').toFixed(2),
    ])
    console.log(
      `\n${what}; rules for 50 groups, 20 services and 100 tools (at least ${least} of the same without)\n${table([['with', '/s', 'ratio', 'CPU µs', 'ratio'], ...rows])}`,
    )
  }
  for (const candidate of candidates) await candidate.stop()
  await upstream.process.stop()
}
