// MCP_SERVERS, the JSON list of the first gateway of this kind: remote servers, each with the OAuth client that was registered for it. Each becomes a service.
import type { Fault } from './fault.ts'
import { idOf } from './mcp-servers.ts'
import { reservedIds } from './rules-services.ts'
import { shapeAt } from './shape.ts'
import { type Branch, type Tree, isBranch } from './tree.ts'

/** Members of an entry, and the keys of `upstream_auth` that they set. */
const members: Readonly<Record<string, string>> = { authzEndpoint: 'authorization_endpoint', tokenEndpoint: 'token_endpoint', clientId: 'client_id', clientSecret: 'client_secret', redirectUri: 'redirect_uri' }
const known = ['domain', 'name', 'scopes', ...Object.keys(members)]

/** Passed over, one of these would restrict nobody. */
const ownKeys: ReadonlySet<string> = new Set((shapeAt(['mcp_services', 'id'])?.names ?? []).filter((key) => !known.includes(key) && key !== 'description' && key !== 'url'))

const wordsOf = (value: unknown): unknown => {
  const words = typeof value === 'string' ? value.split(/[\s,]+/).filter(Boolean) : value
  return Array.isArray(words) && words.length === 0 ? undefined : words
}

/** `mcp.atlassian.com`, with a port or not; never a path, a user name, or an address in disguise. */
const urlOf = (domain: unknown): string | undefined => {
  if (typeof domain !== 'string' || !/^[a-z\d.-]+(:\d{1,5})?$/i.test(domain)) return undefined
  // Codes and tokens travel in the open on this computer alone.
  const url = `${/^(localhost|127\.0\.0\.1)(:|$)/i.test(domain) ? 'http' : 'https'}://${domain.toLowerCase()}`
  return URL.canParse(url) ? url : undefined
}

const listOf = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

interface Told {
  readonly faults: Fault[]
  readonly warnings: Fault[]
}

/** Lays the servers of the variable over the tree; what is wrong is told of the variable, and never repeats it: it holds secrets. */
export const adoptServerList = (tree: Tree, { text, from }: { readonly text: string; readonly from: string }, { faults, warnings }: Told): void => {
  const origin = { from: 'environment', name: from } as const
  const fault = (at: string, what: string): void => void faults.push({ key: `mcp_services${at}`, origin, what })
  const list = listOf(text)
  if (!Array.isArray(list)) {
    fault('', 'must be a JSON list of servers: [{"domain": "mcp.example.com", "name": "Example", …}]')
    return
  }
  const seen = new Set<string>()
  const adopt = (entry: Branch, at: string): void => {
    const url = urlOf(entry['domain'])
    const id = idOf(typeof entry['name'] === 'string' && entry['name'] !== '' ? entry['name'] : String(entry['domain']))
    if (url === undefined) return fault(at, 'needs `domain`, a host name such as "mcp.example.com", without https:// and without a path')
    if (id === '' || seen.has(id)) return fault(at, id === '' ? 'needs a name with letters or digits: its URL is derived from it' : `conflicts with another entry: both would be served at /${id}/mcp`)
    seen.add(id)
    const key = reservedIds.has(id) ? `${id}-server` : id
    if (key !== id) warnings.push({ key: `mcp_services${at}`, origin, what: `is served at /${key}/mcp, because /${id} is one of the gateway’s own paths` })
    const set = (path: readonly string[], value: unknown): void => void (value !== undefined && value !== null && value !== '' && tree.set(['mcp_services', key, ...path], value, origin))
    set(['url'], url)
    set(['name'], entry['name'])
    set(['upstream_auth', 'type'], 'oauth')
    for (const [member, name] of Object.entries(members)) set(['upstream_auth', name], entry[member])
    set(['upstream_auth', 'scopes'], wordsOf(entry['scopes']))
    for (const name of Object.keys(entry)) {
      if (ownKeys.has(name)) faults.push({ key: `mcp_services${at}`, origin, what: `contains ${name}, a gateway setting that has no effect here: write it as mcp_services.${key}.${name}` })
      else if (!known.includes(name)) warnings.push({ key: `mcp_services${at}`, origin, what: `contains an unknown member; known members: ${known.join(', ')}` })
    }
  }
  list.forEach((entry: unknown, i) => (isBranch(entry) ? adopt(entry, `[${i}]`) : fault(`[${i}]`, 'must be an object, e.g. {"domain": "mcp.example.com", "name": "Example"}')))
}
