// `postern flows`: how apps got access, or where they stopped. The commands read the state directory, whether or not
// a gateway is running.
import { setTimeout as pause } from 'node:timers/promises'
import { styleText } from 'node:util'
import { printable } from '../config/tree.ts'
import { Refusal } from '../kit/refusal.ts'
import type {
  FlowActor,
  FlowDifference,
  FlowAdmin,
  FlowState,
  ListedFlow,
  ListedFlowStep,
} from '../ports/flow-record.ts'
import { readTime } from '../stores/audit.ts'
import { type AdminTarget, unknownIssuer, withGateway } from './admin.ts'
import { flowSummary } from './flow-summary.ts'
import { print, printJson, printTable, StartError, UsageError } from './output.ts'
import { issuerOf } from './state.ts'

export interface FlowTailOptions {
  readonly user?: string
  readonly client?: string
  readonly service?: string
  readonly lines?: string
}

export interface FlowListOptions extends Omit<FlowTailOptions, 'lines'> {
  readonly outcome?: string
  readonly since: string
  readonly limit: string
}

/** A refusal becomes a `StartError`. */
const withFlows = async (target: AdminTarget, work: (flows: FlowAdmin) => Promise<void>): Promise<void> => {
  const { config, stateDir } = target
  if (!config.flows?.enabled)
    throw new StartError(
      'flows.none',
      'Flows are not recorded. To record them, add "flows: {}" to the configuration and restart the gateway.',
    )
  if (config.storage.type === 'memory')
    throw new StartError(
      'flows.memory',
      'With `storage.type: memory`, this command cannot reach the running gateway. Use its API at /api/flows.',
    )
  try {
    await withGateway(target, issuerOf(config, stateDir) ?? unknownIssuer, async (gateway) => {
      if (gateway.flows) await work(gateway.flows)
      await gateway.bridges.close(0)
    })
  } catch (error) {
    throw error instanceof Refusal ? new StartError(error.code, error.say) : error
  }
}

const mostListed = 10_000

const limitOf = (text: string, option = '--limit'): number => {
  const limit = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (limit < 1 || limit > mostListed)
    throw new UsageError(`${option} must be a number from 1 to ${mostListed}.`)
  return limit
}

const sinceOf = (text: string): number => {
  try {
    return readTime(text, Date.now())
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message)
    throw error
  }
}

// As people read it.

const colours = {
  open: 'cyan',
  waiting: 'cyan',
  completed: 'green',
  stalled: 'yellow',
  failed: 'red',
  abandoned: 'yellow',
} as const satisfies Record<FlowState, string>

const actors: Readonly<Record<FlowActor, string>> = {
  app: 'The app',
  operator: 'You, the operator',
  user: 'The user',
  server: 'The MCP server',
  nobody: 'Nobody',
}

const short = (text: string | undefined, width: number): string => printable(text ?? '', width)

const minute = (time: string): string => time.slice(0, 16).replace('T', ' ')

const rowOf = ({ id, at, state, finding, client, client_name: name, service, user }: ListedFlow) => [
  id,
  minute(at),
  state,
  short(name ?? client, 24),
  short(service, 16),
  short(user, 24),
  short(finding?.say, 70),
]

const summary = (flows: readonly ListedFlow[]): string => {
  const states = Object.keys(colours) as FlowState[]
  return states
    .map((state) => ({ state, n: flows.filter((flow) => flow.state === state).length }))
    .filter(({ n }) => n > 0)
    .map(({ state, n }) => `${n} ${state}`)
    .join(', ')
}

export const listFlows = (target: AdminTarget, options: FlowListOptions): Promise<void> => {
  const { user, client, service, outcome: state } = options
  const [limit, since] = [limitOf(options.limit), sinceOf(options.since)]
  return withFlows(target, async (flows) => {
    const found = await flows.list({ user, client, service, state, since }, limit)
    if (target.json) return target.json(found)
    if (found.flows.length === 0) return print('No flows match.')
    printTable([
      ['FLOW', 'BEGAN (UTC)', 'STATE', 'APP', 'SERVICE', 'USER', 'WHAT HAPPENED'],
      ...found.flows.map(rowOf),
    ])
    print(
      `${summary(found.flows)}.${found.truncated ? ' There are more; narrow the list or raise --limit.' : ''}`,
    )
  })
}

const signs = { done: ['green', '✓'], asked: ['cyan', '…'], refused: ['red', '✗'] } as const

const later = (ms: number): string =>
  ms < 1000 ? `+${ms} ms` : ms < 120_000 ? `+${(ms / 1000).toFixed(1)} s` : `+${Math.round(ms / 60_000)} min`

const valueText = (value: string | number | readonly string[]): string =>
  printable(typeof value === 'object' ? value.join(' ') : String(value), 200)

const factsText = (facts: ListedFlowStep['request']): string =>
  Object.entries(facts)
    .map(([name, value]) => `${name}=${valueText(value)}`)
    .join('  ')

const stepLines = (step: ListedFlowStep, i: number): readonly string[] => {
  const [colour, sign] = signs[step.result]
  const head = [
    step.at.slice(11, 23),
    (i === 0 ? '' : later(step.delta)).padStart(10),
    styleText(colour, sign),
    step.name.padEnd(17),
    step.code ?? (step.result === 'asked' ? 'waiting' : ''),
    (step.confidence ?? 1) < 0.7 ? '(probably the same client)' : '',
  ]
  const facts = [factsText(step.request), factsText(step.answer)].filter((text) => text !== '').join('  → ')
  const from = [step.ip, step.request_id && `request ${step.request_id}`].filter(Boolean).join(', ')
  return [
    head
      .filter((text, n) => n < 4 || text !== '')
      .join(' ')
      .trimEnd(),
    ...[facts, from]
      .filter((text) => text !== '')
      .map((text) => styleText('dim', `${' '.repeat(26)}${text}`)),
  ]
}

const endings: Readonly<Record<FlowState, string>> = {
  open: 'In progress.',
  waiting: 'Waiting for the user.',
  completed: 'The app has access and has used it.',
  stalled: 'Stopped.',
  failed: 'Failed.',
  abandoned: 'Abandoned.',
}

const gapLines = ({ gap, state }: ListedFlow): readonly string[] => {
  if (!gap) return []
  const since = `since ${gap.since.slice(11, 19)}`
  return [`${state === 'open' || state === 'waiting' ? 'Waiting for' : 'Missing'}: ${gap.expects}, ${since}`]
}

/** What is the same in both is not said. */
const compareLines = ({ compare }: ListedFlow): readonly string[] => {
  if (!compare) return []
  const differ = compare.steps.filter(({ differs }) => differs !== 'same')
  const told = ({ name, differs, delta, good_delta: good, facts }: FlowDifference): string => {
    const times = differs === 'slower' ? `${later(delta ?? 0)}, then ${later(good ?? 0)}` : ''
    return `  ${name.padEnd(17)} ${differs} ${facts?.join(' ') ?? times}`.trimEnd()
  }
  return [
    '',
    `Compared with ${compare.flow}, when this app last connected:${differ.length === 0 ? ' the same steps.' : ''}`,
    ...differ.map(told),
  ]
}

const showText = (flow: ListedFlow): readonly string[] => {
  const { state, finding } = flow
  const who = [
    ['App', [flow.client_name, flow.client].filter(Boolean).join('  ')],
    ['Service', flow.service],
    ['User', flow.user],
    ['Grant', flow.grant],
    ['Previous', [flow.previous, flow.previous_access].filter(Boolean).join('  ')],
    ['Perhaps', flow.related?.join(' ')],
    [
      'Others',
      flow.unrecorded === undefined ? undefined : `${flow.unrecorded} more attempts of this network`,
    ],
  ].filter((pair): pair is [string, string] => pair[1] !== undefined && pair[1] !== '')
  return [
    `${styleText(colours[state], state)}  ${endings[state]}${finding ? ` ${finding.say}` : ''}`,
    ...(finding?.fix === undefined ? [] : [`${actors[finding.acts]}: ${finding.fix}`]),
    ...(finding ? [styleText('dim', finding.code)] : []),
    '',
    ...who.map(([name, value]) => `${name.padEnd(8)} ${printable(value, 200)}`),
    '',
    ...flow.steps.flatMap(stepLines),
    ...(flow.cut ? ['… There were more steps than are kept.'] : []),
    ...gapLines(flow),
    ...compareLines(flow),
  ]
}

export interface FlowShowOptions {
  /** With pseudonyms, as JSON. */
  readonly share?: boolean
  /** In Markdown. */
  readonly report?: boolean
}

export const showFlow = (
  target: AdminTarget,
  id: string,
  { share = false, report = false }: FlowShowOptions = {},
): Promise<void> =>
  withFlows(target, async (flows) => {
    if (report) return print((await flows.report(id)).trimEnd())
    const flow = await flows.show(id, undefined, share)
    if (target.json || share) return (target.json ?? printJson)(flow)
    for (const line of showText(flow)) print(line)
  })

// `postern flows tail`: what happens from now on.

const tailMs = 1000
/** Flows that began within this time are followed, ms. */
const followedMs = 3_600_000
const mostFollowed = 1000

/** A step, or what there is to say of a flow that stopped. */
interface NewsItem {
  readonly flow: ListedFlow
  readonly step?: ListedFlowStep
}

/** What was told of each flow: its steps by request and kind, and its finding. */
const createNews = () => {
  let known = new Map<string, string>()
  return (flows: readonly ListedFlow[]): readonly NewsItem[] => {
    const before = known
    known = new Map()
    const news: (NewsItem & { readonly at: string })[] = []
    const tell = (key: string, value: string, item: NewsItem, at: string): void => {
      known.set(key, value)
      if (before.get(key) !== value) news.push({ ...item, at })
    }
    for (const flow of flows) {
      for (const step of flow.steps)
        tell(`${flow.id} ${step.at} ${step.name} ${step.request_id}`, '', { flow, step }, step.at)
      const stopped = flow.finding && flow.steps.at(-1)?.code === undefined ? flow.finding.code : ''
      if (stopped !== '') tell(flow.id, stopped, { flow }, '~')
    }
    return news.toSorted((one, other) => (one.at < other.at ? -1 : 1))
  }
}

const newsLine = ({ flow, step }: NewsItem): string => {
  const who = [flow.id, short(flow.client_name ?? flow.client, 24), short(flow.user, 24)]
    .filter(Boolean)
    .join('  ')
  if (!step) return `${styleText('yellow', '!')} ${flow.state.padEnd(17)} ${who}  ${flow.finding?.say ?? ''}`
  const [colour, sign] = signs[step.result]
  return `${styleText(colour, sign)} ${step.name.padEnd(17)} ${who}  ${step.code ?? ''}`.trimEnd()
}

const newsObject = ({ flow: { steps: _, ...flow }, step }: NewsItem): object => ({
  ...flow,
  ...(step && { step }),
})

/** Until it is ended, or so many lines are printed. */
/** A period in Markdown. */
export const reportFlows = (target: AdminTarget, options: FlowListOptions): Promise<void> => {
  const { user, client, service } = options
  const [limit, since] = [limitOf(options.limit), sinceOf(options.since)]
  return withFlows(target, async (flows) => {
    const found = await flows.list({ user, client, service, since }, limit)
    print(flowSummary(found.flows, options.since, found.truncated).trimEnd())
  })
}

export const tailFlows = (target: AdminTarget, options: FlowTailOptions): Promise<void> => {
  const { user, client, service, lines } = options
  let left = lines === undefined ? Infinity : limitOf(lines, '--lines')
  return withFlows(target, async (flows) => {
    const news = createNews()
    const look = async () =>
      news((await flows.list({ user, client, service, since: Date.now() - followedMs }, mostFollowed)).flows)
    await look()
    while (left > 0) {
      await pause(tailMs)
      for (const item of (await look()).slice(0, left)) {
        if (target.json) target.json(newsObject(item))
        else print(newsLine(item))
        left--
      }
    }
  })
}
