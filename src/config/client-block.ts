// Servers that were written for a client, as services, without the rest of a configuration: for the console, which has no
// file, and for `postern import`, which writes one.
import { servicesFromClientFiles, writtenTexts } from './client-files.ts'
import { readObject } from './reading.ts'
import { type Unfilled, registryBlock } from './registry-entry.ts'
import { type Fault, type Tree, isBranch, printable } from './tree.ts'

export interface ClientBlock {
  /** As in `mcp_services`, by ID. */
  readonly services: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** What is left out, and why. */
  readonly notes: readonly Fault[]
}

/** References to variables stay what they are. */
export const asWritten = (name: string): string => `\${${name}}`

/** The servers in the tree, whatever their client calls them. */
export const blockIn = (tree: Tree): ClientBlock => {
  const { faults, warnings, lost } = servicesFromClientFiles(tree, asWritten)
  writtenTexts(tree)
  const left = new Set(lost.map(([, id]) => String(id)))
  const found = tree.get(['mcp_services'])
  return {
    services: Object.fromEntries(
      Object.entries(isBranch(found) ? found : {}).flatMap(([id, service]) =>
        !left.has(id) && isBranch(service) ? [[id, { ...service }]] : [],
      ),
    ),
    notes: [...faults, ...warnings],
  }
}

/** JSON of an entry of the MCP registry as a block of a client, and what is to be said of it. */
export const withRegistry = (
  value: unknown,
  unfilled: Unfilled,
): { readonly value: unknown; readonly notes: readonly Fault[] } => {
  const block = registryBlock(value, unfilled)
  if (!block) return { value, notes: [] }
  const notes = block.notes.map(({ name, what }) => ({
    key: printable(name),
    origin: { from: 'default' as const },
    what,
  }))
  return { value: { mcpServers: block.mcpServers }, notes }
}

/** Of JSON that was pasted; undefined for a text that is none, or too deep to be one. */
export const blockOfJson = (text: string): ClientBlock | undefined => {
  try {
    const { value, notes } = withRegistry(JSON.parse(text), 'left-out')
    if (!isBranch(value)) return undefined
    const { tree, faults } = readObject({ path: 'pasted', value }, asWritten)
    const block = blockIn(tree)
    return { ...block, notes: [...notes, ...faults, ...block.notes] }
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
