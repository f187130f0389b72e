// `postern tools`: what servers changed of the tools and prompts that were approved, and the decision about it. It
// works on the state directory, and every process of the gateway follows within a second.
import { styleText } from 'node:util'
import { type DefinitionChange, visibleText } from '../admin/definition-changes.ts'
import type { ListedTool, NamedTool, ShownTool, ToolFilter } from '../admin/tools-api.ts'
import { withAccess } from './access.ts'
import type { AdminTarget } from './admin.ts'
import { print, printTable } from './output.ts'

const by = 'cli'

export interface ToolOptions {
  readonly prompt?: boolean
}

export const namedTool = (service: string, name: string, { prompt = false }: ToolOptions): NamedTool => ({
  service,
  kind: prompt ? 'prompt' : 'tool',
  name,
})

const rowOf = ({
  service,
  kind,
  name,
  account = '',
  state,
  seen_at,
  digest,
}: ListedTool): readonly string[] => [
  service,
  kind,
  visibleText(name),
  state,
  seen_at.slice(0, 10),
  digest ?? 'cannot be pinned',
  account,
]

export const listTools = (target: AdminTarget, filter: ToolFilter): Promise<void> =>
  withAccess(target, async ({ tools }) => {
    const found = await tools.list(filter)
    if (target.json) return target.json({ tools: found })
    if (found.length === 0)
      return print('No tools. Tools are remembered from their first list on, where `access.pinning` is set.')
    printTable([['SERVICE', 'KIND', 'NAME', 'STATE', 'SINCE', 'DIGEST', 'ACCOUNT'], ...found.map(rowOf)])
  })

const marks = {
  same: (text: string) => text,
  removed: (text: string) => `[-${text}-]`,
  added: (text: string) => `{+${text}+}`,
}
const colours = { same: 'reset', removed: 'red', added: 'green' } as const

const changeLines = ({
  path,
  is,
  before,
  after,
  words,
  consequence,
}: DefinitionChange): readonly string[] => {
  const head = `  ${path}${consequence === undefined ? '' : `: ${styleText('yellow', consequence)}`}`
  if (words)
    return [head, `    ${words.map(([what, text]) => styleText(colours[what], marks[what](text))).join('')}`]
  return [
    head,
    ...(is === 'added' ? [] : [`    ${styleText('red', `- ${String(before)}`)}`]),
    ...(is === 'removed' ? [] : [`    ${styleText('green', `+ ${String(after)}`)}`]),
  ]
}

const printShown = (tool: ShownTool): void => {
  const { service, kind, name, account, state, digest, seen_at, approved, blocked, changes } = tool
  printTable([
    [kind, `${visibleText(name)} of ${service}`],
    ...(account === undefined ? [] : [['account', account]]),
    ['state', state],
    ['listed', `${digest ?? 'cannot be pinned'}, since ${seen_at}`],
    ...approved.map((one) => ['approved', `${one.digest}, by ${one.by}, ${one.at}`]),
    ...(blocked ? [['blocked', `by ${blocked.by}, ${blocked.at}`]] : []),
  ])
  if (changes.length === 0 || state === 'approved') return
  print(approved.length === 0 ? '\nDefinition:' : '\nChanges since the approved definition:')
  for (const change of changes) for (const line of changeLines(change)) print(line)
}

export const showTool = (target: AdminTarget, tool: NamedTool): Promise<void> =>
  withAccess(target, async ({ tools }) => {
    const found = await tools.show(tool)
    if (target.json) return target.json({ tools: found })
    found.forEach((one, i) => {
      if (i > 0) print('')
      printShown(one)
    })
  })

export const approveTool = (target: AdminTarget, tool: NamedTool, digest: string): Promise<void> =>
  withAccess(target, async ({ tools }) => {
    await tools.approve(tool, digest, by)
    if (target.json) return target.json({ approved: { ...tool, digest } })
    print(`Approved ${visibleText(tool.name)} of ${tool.service}. It can be used within a second.`)
  })

export const blockTool = (target: AdminTarget, tool: NamedTool): Promise<void> =>
  withAccess(target, async ({ tools }) => {
    await tools.block(tool, by)
    if (target.json) return target.json({ blocked: tool })
    print(
      `Blocked ${visibleText(tool.name)} of ${tool.service}, whatever its definition, until one is approved.`,
    )
  })
