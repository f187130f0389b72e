// What a caller is shown of a list (MCP tools/list, prompts/list, resources/list, resources/templates/list): what
// it may use. Pages are trimmed one by one, and cursors stay as they are.
import { isRecord } from '../mcp/json-rpc.ts'
import { privateResult } from '../mcp/translate.ts'
import type { Trim } from '../ports/call.ts'
import type { LearnTools, PinnedItem, Subject, ToolHint, LearnedTool } from '../ports/policy.ts'

type Item = Readonly<Record<string, unknown>>

/**
 * What a tool says of itself (MCP 2025-11-25 schema, ToolAnnotations). Hints that are no booleans say nothing.
 */
export const hintOf = ({ annotations }: Item): ToolHint => {
  if (!isRecord(annotations)) return undefined
  const { readOnlyHint: reads, destructiveHint: destroys } = annotations
  if (reads === true) return 'read'
  if (destroys === false) return 'write'
  return destroys === true || reads === false ? 'execute' : undefined
}

interface ListKind {
  readonly member: string
  /** The member of an item that names it. */
  readonly key: string
  subject(name: string, hint: ToolHint): Subject
}

/** Longest that is remembered of what a tool does, characters. */
const mostAbout = 120

/** What a tool does, in the server's words: its title, or else how its description begins. */
const aboutOf = ({ title, annotations, description }: Item): string | undefined => {
  const named = [title, isRecord(annotations) ? annotations['title'] : undefined, description]
  const text = named.find((one) => typeof one === 'string' && one.trim() !== '') as string | undefined
  return text?.slice(0, mostAbout)
}

const kinds: readonly ListKind[] = [
  { member: 'tools', key: 'name', subject: (name, hint) => ({ kind: 'tool', name, hint }) },
  { member: 'prompts', key: 'name', subject: (name) => ({ kind: 'prompt', name }) },
  { member: 'resources', key: 'uri', subject: (uri) => ({ kind: 'resource', uri }) },
  {
    member: 'resourceTemplates',
    key: 'uriTemplate',
    subject: (template) => ({ kind: 'template', template }),
  },
]

/** Of equal entries one; of different ones with one name none, since nobody knows which would be called. */
const distinct = (items: readonly unknown[], key: string): readonly Item[] => {
  const byName = new Map<string, { readonly item: Item; readonly text: string; differs: boolean }>()
  for (const item of items) {
    if (!isRecord(item)) continue
    const name = item[key]
    if (typeof name !== 'string') continue
    const text = JSON.stringify(item)
    const before = byName.get(name)
    if (!before) byName.set(name, { item, text, differs: false })
    else if (before.text !== text) before.differs = true
  }
  return [...byName.values()].filter(({ differs }) => !differs).map(({ item }) => item)
}

/** Pages that show what tools return (MCP Apps). */
export const isPage = (uri: string): boolean => uri.startsWith('ui://')

const pageOf = ({ _meta: meta }: Item): string | undefined => {
  if (!isRecord(meta)) return undefined
  const { ui, 'ui/resourceUri': flat } = meta
  const uri = (isRecord(ui) ? ui['resourceUri'] : undefined) ?? flat
  return typeof uri === 'string' && isPage(uri) ? uri : undefined
}

/** A tool may name a resource that shows its results (MCP Apps); one that the caller may not read is not named. */
const withoutHiddenUi = (item: Item, isShown: (subject: Subject) => boolean): Item => {
  const { _meta: meta } = item
  if (!isRecord(meta)) return item
  const { ui, 'ui/resourceUri': flat } = meta
  const nested = isRecord(ui) ? ui['resourceUri'] : undefined
  // The tool itself is shown.
  const hidden = (uri: unknown): boolean =>
    typeof uri === 'string' && !isShown({ kind: 'resource', uri, ...(isPage(uri) && { byTool: true }) })
  if (!hidden(flat) && !hidden(nested)) return item
  const { 'ui/resourceUri': _, ui: __, ...rest } = meta
  const { resourceUri: ___, ...uiRest } = isRecord(ui) ? ui : {}
  return {
    ...item,
    _meta: {
      ...rest,
      ...(isRecord(ui) ? { ui: hidden(nested) ? uiRest : ui } : {}),
      ...(flat === undefined || hidden(flat) ? {} : { 'ui/resourceUri': flat }),
    },
  }
}

/** Looks at a list for definitions that are pinned; undefined for a list of something else. */
export type LookAtList = (
  member: string,
  list: readonly unknown[],
  ttlMs: unknown,
) => ReadonlyMap<string, PinnedItem> | undefined

export const createTrim =
  (isShown: (subject: Subject) => boolean, learn: LearnTools, look?: LookAtList): Trim =>
  (result) => {
    const shown: Record<string, unknown> = {}
    for (const { member, key, subject } of kinds) {
      const list = result[member]
      if (!Array.isArray(list)) continue
      const pins = look?.(member, list, result['ttlMs'])
      const items = distinct(list as readonly unknown[], key)
      const nameOf = (item: Item): string => item[key] as string
      const hint = (item: Item): ToolHint => (pins ? pins.get(nameOf(item))?.hint : hintOf(item))
      const isHeld = (item: Item): boolean => pins !== undefined && pins.get(nameOf(item))?.held !== false
      // What is held says nothing to anybody.
      const learned = (item: Item): LearnedTool => ({
        name: nameOf(item),
        hint: hint(item),
        page: pageOf(item),
        ...(isHeld(item) ? { held: true } : { about: aboutOf(item) }),
      })
      if (member === 'tools') learn(items.map(learned))
      const kept = items.filter((item) => !isHeld(item) && isShown(subject(nameOf(item), hint(item))))
      shown[member] = member === 'tools' ? kept.map((item) => withoutHiddenUi(item, isShown)) : kept
    }
    return Object.keys(shown).length === 0 ? result : privateResult({ ...result, ...shown })
  }
