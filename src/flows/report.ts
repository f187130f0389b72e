// A flow as a report in Markdown, for an issue about the app or the gateway: what was asked and answered, step by step,
// without users, addresses and reasons that are the operator’s to know. Texts of apps are untrusted.
import { logText } from '../kit/log.ts'
import type { FlowActor, FlowFacts, ListedFlow, ListedFlowStep } from '../ports/flow-record.ts'

/** Facts that say how an app asked, and nothing of who uses it. */
const reported = new Set([
  ...['client_name', 'redirect_uri', 'redirect_uris', 'token_endpoint_auth_method', 'agent', 'path'],
  ...['client_id', 'resource', 'scope', 'scopes', 'prompt', 'response_type', 'code_challenge_method'],
  ...['error', 'shown', 'how', 'method', 'service_url'],
])

const mostText = 300

const plain = (text: string): string => logText(text, mostText).replaceAll('`', "'")

/** Neither a link, a mention nor markup, and no end of a cell. */
const code = (text: string): string => `\`${plain(text).replaceAll('|', '¦') || '-'}\``

const factsText = (named: FlowFacts): string =>
  Object.entries(named)
    .filter(([name]) => reported.has(name))
    .map(([name, value]) => `${name}=${plain(typeof value === 'object' ? value.join(' ') : String(value))}`)
    .join('  ')

const later = (ms: number): string => (ms < 10_000 ? `+${ms} ms` : `+${Math.round(ms / 1000)} s`)

const stepLine = (step: ListedFlowStep, i: number): string => {
  const { at, name, result, code: refusal, status, confidence = 1 } = step
  const facts = [factsText(step.request), factsText(step.answer)].filter((text) => text !== '').join('  -> ')
  return [
    at.slice(11, 23),
    (i === 0 ? '' : later(step.delta)).padStart(9),
    name.padEnd(17),
    [result, refusal, status].filter(Boolean).join(' '),
    ...(confidence < 1 ? [`(confidence ${confidence})`] : []),
    facts,
  ]
    .join('  ')
    .trimEnd()
}

const registration = (client: string): string => {
  if (client.startsWith('https://')) return 'Client ID Metadata Document'
  return /^client_[\w-]{22}$/.test(client) ? 'dynamic registration' : 'configured'
}

const actors: Readonly<Record<FlowActor, string>> = {
  app: 'the app’s developer',
  operator: 'the operator of the gateway',
  user: 'the user',
  server: 'the operator of the MCP server',
  nobody: 'nobody',
}

/** The last thing that the app, or its browser, was answered. */
const heard = ({ steps }: ListedFlow): string | undefined => {
  const last = steps.findLast(({ status }) => status !== undefined)
  return last && [`HTTP ${last.status}`, last.code, last.finding?.say].filter(Boolean).join(', ')
}

const compared = ({ compare }: ListedFlow): readonly string[] => {
  if (!compare) return []
  const differ = compare.steps.filter(({ differs }) => differs !== 'same')
  const lines = differ.map(
    ({ name, differs, facts = [] }) =>
      `- ${code(name)} ${differs}${facts.length > 0 ? ` (${facts.map(code).join(', ')})` : ''}`,
  )
  return [
    '',
    `Compared with when this app last connected (${compare.at}):`,
    '',
    ...(lines.length > 0 ? lines : ['- the same steps']),
  ]
}

type Row = readonly [label: string, value: string | undefined]

const coded = (value: FlowFacts[string] | undefined): string | undefined =>
  value === undefined ? undefined : code(String(value))

/** The last value of a fact of the requests. */
const lastFact = ({ steps }: ListedFlow, name: string): FlowFacts[string] | undefined =>
  steps.findLast(({ request }) => request[name] !== undefined)?.request[name]

const findingRows = ({ finding }: ListedFlow): readonly Row[] =>
  finding
    ? [
        ['Finding', `${code(finding.code)} ${code(finding.say)}`],
        ['Must act', actors[finding.acts]],
        ['What to do', coded(finding.fix)],
      ]
    : []

const missing = ({ gap, state }: ListedFlow): string | undefined =>
  gap && (state === 'stalled' || state === 'abandoned')
    ? `${code(gap.expects)} since ${gap.since}`
    : undefined

const rowsOf = (flow: ListedFlow, version: string): readonly Row[] => [
  ['App', coded(flow.client_name)],
  ['Client', flow.client === undefined ? undefined : `${code(flow.client)} (${registration(flow.client)})`],
  ['Program', coded(lastFact(flow, 'agent'))],
  ['Server URL', coded(lastFact(flow, 'resource'))],
  ['Began', flow.at],
  ['Outcome', flow.state],
  ...findingRows(flow),
  ['Missing', missing(flow)],
  ['Last answer', coded(heard(flow))],
  ['Gateway', `Postern ${version}`],
  ['Flow', code(flow.id)],
]

/** `version`: of the gateway. */
export const reportOf = (flow: ListedFlow, version: string): string => {
  const { client, client_name: name, finding, state, steps } = flow
  return [
    `### ${code(name ?? client ?? 'An app')}: ${finding ? code(finding.say) : state}`,
    '',
    '| | |',
    '| --- | --- |',
    ...rowsOf(flow, version).flatMap(([label, value]) =>
      value === undefined ? [] : [`| ${label} | ${value} |`],
    ),
    '',
    'Steps (UTC), each with the time since the one before:',
    '',
    '```text',
    ...steps.map(stepLine),
    ...(flow.cut ? ['There were more steps than are kept.'] : []),
    '```',
    ...compared(flow),
    '',
  ].join('\n')
}
