// Files of MCP clients, taken as they are: which block holds the servers, which ID each gets, and what else
// stands in the file.
import { type EntryContext, serviceFromEntry } from './client-entries.ts'
import { reservedIds } from './rules/services.ts'
import { idOf } from './service-keys.ts'
import { rootShape, shapeAt, suggest } from './shape.ts'
import { type Fault, type Origin, type Path, type Tree, isBranch, keyText, printable } from './tree.ts'

export interface ClientFileServices {
  readonly faults: readonly Fault[]
  readonly warnings: readonly Fault[]
  /** Services whose entry is at fault; nothing more is to be said of them. */
  readonly lost: readonly Path[]
}

const isEntry = (value: unknown): boolean =>
  isBranch(value) &&
  ['command', 'url', 'type', 'source', 'serverUrl', 'httpUrl'].some((key) => Object.hasOwn(value, key))
const holdsEntries = (value: unknown): boolean => isBranch(value) && Object.values(value).some(isEntry)

/**
 * Where clients keep their servers: Claude, Cursor, Cline, Windsurf, Gemini and others; VS Code; opencode;
 * Zed.
 */
const blocksOf = ({ root }: Tree): readonly Path[] => {
  const blocks: Path[] = []
  const { mcpServers, servers, mcp, context_servers: context } = root
  if (isBranch(mcpServers) || Array.isArray(mcpServers)) blocks.push(['mcpServers'])
  if (holdsEntries(servers)) blocks.push(['servers'])
  if (isBranch(mcp) && isBranch(mcp['servers'])) blocks.push(['mcp', 'servers'])
  else if (holdsEntries(mcp)) blocks.push(['mcp'])
  if (holdsEntries(context)) blocks.push(['context_servers'])
  return blocks
}

const keyNames = (): ReadonlySet<string> => {
  const names = new Set<string>()
  const walk = (path: Path): void => {
    const shape = shapeAt(path)
    for (const name of shape?.kind === 'object' ? shape.names : []) {
      names.add(name)
      walk([...path, name])
    }
    if (shape?.kind === 'record') walk([...path, 'id'])
    if (shape?.kind === 'list') walk([...path, 0])
  }
  walk([])
  return names
}

/**
 * Whether a key that stands beside a block of servers is meant for us, though we have none of that name
 * there: near one of ours, or one of ours on the wrong level.
 */
const isMeantForUs = (key: string, all: ReadonlySet<string>): boolean =>
  (key.includes('_') && all.has(key)) ||
  suggest(key, rootShape.names) !== undefined ||
  suggest(
    key,
    [...all].filter((name) => name.startsWith('allowed_') || name === 'auth_required'),
  ) !== undefined

/** A client keeps its own settings in the same file; they are said to be passed over, once. */
const passOver = (tree: Tree, blocks: readonly Path[]): readonly Fault[] => {
  const all = keyNames()
  // VS Code asks its user for these; `${input:…}` says what to set in their place.
  if (blocks.some(([block]) => block === 'servers')) tree.drop('inputs')
  const others = Object.keys(tree.root).filter(
    (key) =>
      !rootShape.names.includes(key) && !blocks.some(([block]) => block === key) && !isMeantForUs(key, all),
  )
  const [first] = others
  if (first === undefined) return []
  const origin = tree.written([first])?.key ?? { from: 'default' }
  for (const key of others) tree.drop(key)
  const named = others.slice(0, 8).map((key) => printable(key))
  return [
    {
      key: '',
      origin,
      what: `settings of an MCP client are ignored: ${named.join(', ')}${others.length > named.length ? ` and ${others.length - named.length} more` : ''}`,
    },
  ]
}

/** An id that is neither an address of the gateway nor another service's. */
const freeId = (id: string, taken: ReadonlySet<string>): string => {
  for (let n = 1; ; n++) {
    const free = `${id.slice(0, 50)}-server${n === 1 ? '' : `-${n}`}`
    if (!taken.has(free)) return free
  }
}

interface Named {
  readonly name: string
  readonly path: Path
}

/** Continue keeps a list, each entry with its name. */
const entriesOf = (tree: Tree, block: Path): readonly Named[] => {
  const servers = tree.get(block)
  if (!Array.isArray(servers))
    return Object.keys(servers as object).map((name) => ({ name, path: [...block, name] }))
  return servers.map((entry: unknown, i) => ({
    name: isBranch(entry) && typeof entry['name'] === 'string' ? entry['name'] : '',
    path: [...block, i],
  }))
}

/**
 * Why an entry cannot be a service; undefined when it can. `before`: the name of an entry that has the same
 * ID.
 */
const entryFault = (own: unknown, id: string, before: string | undefined): string | undefined => {
  if (!isBranch(own)) return 'must be a mapping with `command` and `args`, or with `url`'
  if (id === '') return 'needs a name with letters or digits: its URL is derived from it'
  return before === undefined
    ? undefined
    : `conflicts with "${printable(before)}": both would be served at /${id}/mcp`
}

const isDisabled = (own: unknown): boolean =>
  isBranch(own) && (own['disabled'] === true || own['enabled'] === false)

/** Makes a service of each entry. Returns the paths at fault. */
const servicesFromEntries = (
  context: EntryContext,
  entries: ReturnType<typeof entriesOf>,
): readonly Path[] => {
  const { tree, faults, warnings } = context
  const lost: Path[] = []
  const configured = tree.get(['mcp_services'])
  const taken = new Set([
    ...entries.map(({ name }) => idOf(name)),
    ...(isBranch(configured) ? Object.keys(configured) : []),
  ])
  const seen = new Map<string, string>()
  for (const { name, path } of entries) {
    const origin: Origin = tree.written(path)?.key ?? { from: 'default' }
    const key = keyText(path)
    const own = tree.get(path)
    const wanted = idOf(name)
    if (isDisabled(own)) continue
    const what = entryFault(own, wanted, seen.get(wanted))
    if (what !== undefined) {
      faults.push({ key, origin, what })
      // A key that names this service is right about it.
      if (wanted !== '' && tree.get(['mcp_services', wanted]) === undefined) {
        tree.set(['mcp_services', wanted], {}, origin)
        lost.push(['mcp_services', wanted])
      }
      continue
    }
    seen.set(wanted, name)
    const id = reservedIds.has(wanted) ? freeId(wanted, taken) : wanted
    taken.add(id)
    if (id !== wanted)
      warnings.push({
        key,
        origin,
        what: `is served at /${id}/mcp, because /${wanted} is one of the gateway’s own paths`,
      })
    const faultsBefore = faults.length
    serviceFromEntry(context, name, path, id, origin)
    if (faults.length > faultsBefore) lost.push(['mcp_services', id])
  }
  return lost
}

/** Makes services of every block and takes it out of the tree. */
export const servicesFromClientFiles = (tree: Tree, lookup: EntryContext['lookup']): ClientFileServices => {
  const blocks = blocksOf(tree)
  if (blocks.length === 0) return { faults: [], warnings: [], lost: [] }
  const faults: Fault[] = []
  const warnings: Fault[] = [...passOver(tree, blocks)]
  const context: EntryContext = {
    tree,
    lookup,
    serviceKeys: shapeAt(['mcp_services', 'id'])?.names ?? [],
    faults,
    warnings,
  }
  const lost = servicesFromEntries(
    context,
    blocks.flatMap((block) => entriesOf(tree, block)),
  )
  for (const [block] of blocks) tree.drop(String(block))
  return { faults, warnings, lost }
}

/**
 * Numbers and flags among arguments, environment and headers are the text they were written as; neither a
 * process nor HTTP knows any other.
 */
export const writtenTexts = (tree: Tree): void => {
  const services = tree.get(['mcp_services'])
  if (!isBranch(services)) return
  const asText = (holder: unknown, path: Path): void => {
    if (holder === null || typeof holder !== 'object') return
    for (const key of Object.keys(holder)) {
      const part = Array.isArray(holder) ? Number(key) : key
      const value = (holder as Record<string, unknown>)[key]
      if (typeof value === 'number' || typeof value === 'boolean')
        (holder as Record<string, unknown>)[key] = tree.written([...path, part])?.source ?? String(value)
    }
  }
  for (const id of Object.keys(services)) {
    for (const below of [['args'], ['env'], ['upstream_auth', 'headers']])
      asText(tree.get(['mcp_services', id, ...below]), ['mcp_services', id, ...below])
  }
}
