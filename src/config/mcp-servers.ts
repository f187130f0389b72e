// The block `mcpServers` that Claude Desktop, Cursor, VS Code and others keep, taken as it is: each entry becomes a service of ours.
import * as z from 'zod'
import { type Fault, type Origin, type Path, keyText, printable } from './fault.ts'
import { type Tree, isBranch } from './tree.ts'

const block = 'mcpServers'

/** What is read of an entry. Everything else an entry may hold is a client's own business (approvals, descriptions, icons). */
const entry = z
  .looseObject({
    command: z.string().optional().describe('As `mcp_services.<id>.command`.'),
    args: z.array(z.string()).optional().describe('As `mcp_services.<id>.args`.'),
    env: z.record(z.string(), z.string().meta({ writeOnly: true })).optional().describe('As `mcp_services.<id>.env`.'),
    cwd: z.string().optional().describe('As `mcp_services.<id>.cwd`.'),
    url: z.string().optional().describe('As `mcp_services.<id>.url`; `serverUrl` is understood too.'),
    type: z.string().optional().describe('`stdio`, `http` or `sse`.'),
    headers: z.record(z.string(), z.string().meta({ writeOnly: true })).optional().describe('Sent to the server with every call, as `upstream_auth` of type `static`.'),
    disabled: z.boolean().optional().describe('true leaves the server out.'),
  })
  .describe('A server as clients configure it.')

export const mcpServersKeys = z
  .record(z.string(), entry)
  .optional()
  .describe('Servers as Claude Desktop, Cursor and others configure them, taken unchanged: each becomes a service, its name in lower case the id. Settings of the gateway for it stand in `mcp_services.<id>`.')

/** `Brave Search` → `brave-search`; empty when nothing of the name can stay. */
export const idOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[^a-z0-9_-]+/g, '-')
    .replace(/^[-_]+|-+$/g, '')
    .slice(0, 63)

/** Where each member goes. */
const members: Readonly<Record<string, string>> = { command: 'command', args: 'args', env: 'env', cwd: 'cwd', url: 'url', serverUrl: 'url' }

const copy = (tree: Tree, from: Path, to: Path, origin: Origin): void => {
  const value = tree.get(from)
  tree.set(to, value, tree.written(from)?.value ?? origin)
  const note = (source: Path, target: Path, part: unknown): void => {
    const written = tree.written(source)
    if (written) tree.note(target, written)
    if (Array.isArray(part)) part.forEach((element, i) => note([...source, i], [...target, i], element))
    else if (isBranch(part)) for (const key of Object.keys(part)) note([...source, key], [...target, key], part[key])
  }
  note(from, to, value)
}

/** How to reach a server over HTTP, where the entry says so. */
const transports: Readonly<Record<string, string>> = { sse: 'sse', http: 'streamable', 'streamable-http': 'streamable', streamablehttp: 'streamable', streamable: 'streamable' }

const adoptOne = (tree: Tree, name: string, id: string, origin: Origin): void => {
  const [from, to]: readonly [Path, Path] = [[block, name], ['mcp_services', id]]
  const own = tree.get(from) as Record<string, unknown>
  if (tree.get(to) === undefined) tree.set(to, {}, origin)
  for (const [member, key] of Object.entries(members)) {
    // What stands in mcp_services was written for this gateway, and counts.
    if (own[member] !== undefined && tree.get([...to, key]) === undefined) copy(tree, [...from, member], [...to, key], origin)
  }
  const transport = typeof own['type'] === 'string' ? transports[own['type'].toLowerCase()] : undefined
  if (transport !== undefined && own['command'] === undefined && tree.get([...to, 'transport']) === undefined) tree.set([...to, 'transport'], transport, tree.written([...from, 'type'])?.value ?? origin)
  if (isBranch(own['headers']) && tree.get([...to, 'upstream_auth']) === undefined) {
    tree.set([...to, 'upstream_auth', 'type'], 'static', origin)
    copy(tree, [...from, 'headers'], [...to, 'upstream_auth', 'headers'], origin)
  }
  if (name !== id && tree.get([...to, 'name']) === undefined) tree.set([...to, 'name'], name, origin)
}

/** Makes services of the block and takes it out of the tree. Returns what is wrong with names; the rest is told of the services. */
export const adoptMcpServers = (tree: Tree): readonly Fault[] => {
  const servers = tree.get([block])
  if (!isBranch(servers)) return []
  const faults: Fault[] = []
  const seen = new Map<string, string>()
  for (const name of Object.keys(servers)) {
    const path: Path = [block, name]
    const origin = tree.written(path)?.key ?? { from: 'default' }
    const fault = (what: string): void => void faults.push({ key: keyText(path), origin, what })
    const [own, id] = [servers[name], idOf(name)]
    const before = seen.get(id)
    if (!isBranch(own)) fault('must hold keys and values of its own')
    else if (own['disabled'] === true) continue
    else if (id === '') fault('has a name without letters or digits: its address is made from it')
    else if (before !== undefined) fault(`would have the same address as "${printable(before)}": /${id}/mcp`)
    else {
      seen.set(id, name)
      adoptOne(tree, name, id, origin)
    }
  }
  tree.drop(block)
  return faults
}
