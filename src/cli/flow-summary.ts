// `postern flows report`: the logins of a period as Markdown, for whoever looks after the gateway: how many came how far,
// where the others stopped, and who must act.
import { printable } from '../config/tree.ts'
import type { FlowActor, FlowState, ListedFlow } from '../ports/flow-record.ts'

const stateNames: Readonly<Record<FlowState, string>> = {
  completed: 'completed',
  failed: 'failed',
  stalled: 'stalled: the app did not go on',
  abandoned: 'abandoned: the user did not go on',
  waiting: 'waiting for a user',
  open: 'in progress',
}
const actors: Readonly<Record<FlowActor, string>> = {
  app: 'the app',
  operator: 'an administrator',
  user: 'the user',
  server: 'the operator of the MCP server',
  nobody: 'nobody',
}

/** In a cell of a table: names of apps and texts of servers are untrusted. */
const cell = (text: string): string =>
  printable(text, 120)
    .replaceAll('|', String.raw`\|`)
    .replaceAll('<', '&lt;')
    .replaceAll('`', "'")

const table = (head: readonly string[], rows: readonly (readonly string[])[], none: string): string =>
  rows.length === 0
    ? none
    : [head, head.map(() => '---'), ...rows.map((row) => row.map(cell))]
        .map((row) => `| ${row.join(' | ')} |`)
        .join('\n')

/** The most frequent first. */
const counted = <T>(
  flows: readonly T[],
  keyOf: (flow: T) => string,
): readonly (readonly [string, readonly T[]])[] =>
  [...Map.groupBy(flows, keyOf)].toSorted(([, a], [, b]) => b.length - a.length)

const nameOf = ({ client_name: name, client }: ListedFlow): string => name ?? client ?? 'unknown app'
const isStopped = ({ state }: ListedFlow): boolean => ['failed', 'stalled', 'abandoned'].includes(state)

/** `since`: as it was asked for. Five sections. */
export const flowSummary = (flows: readonly ListedFlow[], since: string, truncated: boolean): string => {
  const stopped = flows.filter(isStopped)
  const done = flows.filter(({ state }) => state === 'completed').length
  const parties = (by: (flow: ListedFlow) => string) =>
    counted(flows, by).map(([name, own]) => [
      name,
      String(own.length),
      String(own.filter(({ state }) => state === 'completed').length),
      String(own.filter(isStopped).length),
    ])
  return `# Logins since ${since}

## Summary

${flows.length} logins began, ${done} came to a first call, ${stopped.length} stopped.${truncated ? ' There were more: these are the newest.' : ''}

## Outcomes

${table(
  ['outcome', 'logins'],
  counted(flows, ({ state }) => state).map(([state, own]) => [
    stateNames[state as FlowState],
    String(own.length),
  ]),
  'None.',
)}

## Where they stopped, and who must act

${table(
  ['code', 'logins', 'what happened', 'who must act', 'what to do', 'for example'],
  counted(
    stopped.filter(({ finding }) => finding !== undefined),
    ({ finding }) => finding?.code ?? '',
  ).map(([code, own]) => {
    const [{ finding, id }] = own as [ListedFlow]
    const { say = '', fix = '', acts = 'nobody' } = finding ?? {}
    return [code, String(own.length), say, actors[acts], fix, id]
  }),
  'Nothing stopped.',
)}

## Apps

${table(['app', 'logins', 'completed', 'stopped'], parties(nameOf), 'None.')}

## Services

${table(
  ['service', 'logins', 'completed', 'stopped'],
  parties(({ service = 'not known' }) => service),
  'None.',
)}
`
}
