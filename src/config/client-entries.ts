// One MCP server as a client keeps it, in the words of each client, made a service of ours.
import { suggest } from './shape.ts'
import { type Fault, type Origin, type Path, type Tree, isBranch, keyText } from './tree.ts'

/** What reading an entry needs and gathers. */
export interface EntryContext {
  readonly tree: Tree
  readonly lookup: (name: string) => string | undefined
  /** Keys of a service of ours. */
  readonly serviceKeys: readonly string[]
  readonly faults: Fault[]
  readonly warnings: Fault[]
}

/** Keys that clients have, too, with a meaning that is theirs or the same. */
const shared = new Set([
  'name',
  'description',
  'url',
  'command',
  'args',
  'env',
  'cwd',
  'transport',
  'timeout',
])
/** Clients' own business: approvals, looks, waits. */
const theirs = new Set(
  'type transportType serverUrl httpUrl headers environment disabled enabled source settings title icon iconPath trust autoApprove alwaysAllow tools includeTools excludeTools enabledTools disabledTools oauth requiresOAuth authProviderType targetAudience customUserVars startup chatMenu serverInstructions instructions initTimeout gallery version dev watchPaths fromGalleryId envFile metadata note retries sandboxEnabled'.split(
    ' ',
  ),
)
/** Choices of tools, which only the client makes. */
const choices = ['includeTools', 'excludeTools', 'enabledTools', 'disabledTools', 'tools']
/** Keys that decide who gets in, where somebody may have looked for them here. */
const access = [
  'auth_required',
  'oauth_provider',
  'oauth_providers',
  'upstream_auth',
  'allowed_emails',
  'allowed_domains',
  'allowed_groups',
  'admins',
]

/** How to reach a server over HTTP, where the entry says so. */
const transports: Readonly<Record<string, string>> = {
  sse: 'sse',
  http: 'streamable',
  'streamable-http': 'streamable',
  streamablehttp: 'streamable',
  streamable_http: 'streamable',
  streamable: 'streamable',
}

/** A key of ours in an entry is not read there; passed over, it would restrict nobody. */
const misplaced = (key: string, serviceKeys: readonly string[]): string | undefined => {
  if (theirs.has(key) || shared.has(key)) return undefined
  const plain = (word: string): string => word.toLowerCase().replaceAll(/[_-]/g, '')
  return (
    [...serviceKeys, ...access].find((own) => !shared.has(own) && plain(own) === plain(key)) ??
    suggest(key, access)
  )
}

interface Entry {
  readonly own: Readonly<Record<string, unknown>>
  readonly from: Path
  readonly to: Path
  readonly origin: Origin
}

const copy = ({ tree }: EntryContext, from: Path, to: Path, origin: Origin): void => {
  const value = tree.get(from)
  tree.set(to, value, tree.written(from)?.value ?? origin)
  const note = (source: Path, target: Path, part: unknown): void => {
    const written = tree.written(source)
    if (written) tree.note(target, written)
    if (Array.isArray(part)) part.forEach((element, i) => note([...source, i], [...target, i], element))
    else if (isBranch(part))
      for (const key of Object.keys(part)) note([...source, key], [...target, key], part[key])
  }
  note(from, to, value)
}

/** What stands in mcp_services was written for this gateway, and counts. */
const take = (context: EntryContext, { from, to, origin }: Entry, at: Path, key: string): void => {
  const value = context.tree.get([...from, ...at])
  if (value !== undefined && value !== null && context.tree.get([...to, key]) === undefined)
    copy(context, [...from, ...at], [...to, key], origin)
}

/** `npx`; opencode: `[npx, -y, x]`; Zed: `{ path, args, env }`. */
const takeCommand = (context: EntryContext, entry: Entry): void => {
  const { command } = entry.own
  if (isBranch(command)) {
    take(context, entry, ['command', 'path'], 'command')
    for (const key of ['args', 'env']) take(context, entry, ['command', key], key)
  } else if (Array.isArray(command)) {
    take(context, entry, ['command', 0], 'command')
    if (context.tree.get([...entry.to, 'args']) !== undefined) return
    context.tree.set([...entry.to, 'args'], command.slice(1), entry.origin)
    command.slice(1).forEach((_, i) => {
      const written = context.tree.written([...entry.from, 'command', i + 1])
      if (written) context.tree.note([...entry.to, 'args', i], written)
    })
  } else take(context, entry, ['command'], 'command')
}

const takeTransport = (context: EntryContext, { own, from, to, origin }: Entry): void => {
  const key = ['type', 'transport', 'transportType'].find((name) => typeof own[name] === 'string')
  const transport = key === undefined ? undefined : transports[String(own[key]).toLowerCase()]
  // Gemini: `httpUrl` is a Streamable HTTP server.
  const wanted = transport ?? (typeof own['httpUrl'] === 'string' ? 'streamable' : undefined)
  if (
    wanted === undefined ||
    own['command'] !== undefined ||
    context.tree.get([...to, 'transport']) !== undefined
  )
    return
  context.tree.set(
    [...to, 'transport'],
    wanted,
    context.tree.written([...from, key ?? 'httpUrl'])?.value ?? origin,
  )
}

/** LibreChat fills `{{…}}` for each person; sent as it stands it would be a lie. */
const isPerPerson = (value: unknown): boolean => typeof value === 'string' && /\{\{[^{}]+\}\}/.test(value)

const takeHeaders = (context: EntryContext, { own, from, to, origin }: Entry): void => {
  if (!isBranch(own['headers']) || context.tree.get([...to, 'upstream_auth']) !== undefined) return
  for (const [name, value] of Object.entries(own['headers'])) {
    const at = [...from, 'headers', name]
    if (isPerPerson(value))
      context.warnings.push({
        key: keyText(at),
        origin: context.tree.written(at)?.value ?? origin,
        what: 'is ignored: only the client can fill in {{…}}. To tell the server who is calling, use identity.headers',
      })
    else {
      context.tree.set([...to, 'upstream_auth', 'type'], 'static', origin)
      copy(context, at, [...to, 'upstream_auth', 'headers', name], origin)
    }
  }
}

/** opencode writes `{env:NAME}` and `{file:path}` into texts. */
const fillBraces = (context: EntryContext, entry: Entry): void => {
  const walk = (value: unknown, path: Path): void => {
    if (Array.isArray(value)) value.forEach((part, i) => walk(part, [...path, i]))
    else if (isBranch(value)) for (const key of Object.keys(value)) walk(value[key], [...path, key])
    if (typeof value !== 'string' || !/\{(?:env|file):[^{}]+\}/.test(value)) return
    const origin = context.tree.written(path)?.value ?? entry.origin
    const fault = (what: string): string => {
      context.faults.push({ key: keyText(path), origin, what })
      return ''
    }
    const text = value.replaceAll(/\{(env|file):([^{}]+)\}/g, (_, kind: string, name: string) =>
      kind === 'file'
        ? fault('contains {file:…}, which is not supported: set an environment variable and write {env:NAME}')
        : (context.lookup(name) ?? fault(`environment variable ${name} is not set`)),
    )
    context.tree.set(path, text, origin.from === 'file' ? { ...origin, variables: ['env'] } : origin)
  }
  walk(entry.own, entry.from)
}

/** A fault or a warning about one key of the entry. */
const about = (context: EntryContext, { from, origin }: Entry, key: string, what: string): Fault => ({
  key: keyText([...from, key]),
  origin: context.tree.written([...from, key])?.key ?? origin,
  what,
})

/** Where a key of ours is read. */
const rightPath = (context: EntryContext, { to }: Entry, key: string): string => {
  if (context.serviceKeys.includes(key)) return `${keyText([...to])}.${key}`
  return key === 'admins' ? 'admins, at the top level' : `oauth_providers.<id>.${key}`
}

const refuseMisplaced = (context: EntryContext, entry: Entry): void => {
  for (const key of Object.keys(entry.own)) {
    const meant = misplaced(key, context.serviceKeys)
    if (meant === undefined) continue
    const what = `is a gateway setting and has no effect here: write it as ${rightPath(context, entry, meant)}`
    context.faults.push(about(context, entry, key, what))
  }
}

/** What the server cannot start without and the gateway cannot give it. */
const refuseUnsupported = (context: EntryContext, entry: Entry): void => {
  const { envFile, source, settings, command, url } = entry.own
  const refuse = (key: string, what: string): void =>
    void context.faults.push(about(context, entry, key, what))
  if (typeof envFile === 'string')
    refuse(
      'envFile',
      'is not supported: list the variables under env, or start the gateway with --env-file and write ${NAME}',
    )
  if (source === 'extension' || (settings !== undefined && command === undefined && url === undefined))
    refuse(
      source === undefined ? 'settings' : 'source',
      'describes a server that a Zed extension starts: set its `command` instead',
    )
}

/** What the entry asks for and the gateway leaves out. */
const warnOfIgnored = (context: EntryContext, entry: Entry): void => {
  const { own, to } = entry
  const warn = (key: string, what: string): void =>
    void context.warnings.push(about(context, entry, key, what))
  for (const key of choices) {
    const chosen = own[key]
    if (Array.isArray(chosen) && chosen.length > 0 && !chosen.includes('*'))
      warn(key, 'has no effect here: the gateway offers all tools of this server')
  }
  const { oauth } = own
  if (isBranch(oauth) && Object.keys(oauth).length > 0)
    warn(
      'oauth',
      `is ignored: the gateway registers its own OAuth client. To use this client, write it as ${keyText([...to])}.upstream_auth`,
    )
}

/** Makes a service of the entry. */
export const serviceFromEntry = (
  context: EntryContext,
  name: string,
  from: Path,
  id: string,
  origin: Origin,
): void => {
  const to: Path = ['mcp_services', id]
  const { tree } = context
  fillBraces(context, { own: tree.get(from) as Record<string, unknown>, from, to, origin })
  const entry: Entry = { own: tree.get(from) as Record<string, unknown>, from, to, origin }
  refuseMisplaced(context, entry)
  refuseUnsupported(context, entry)
  warnOfIgnored(context, entry)
  if (tree.get(to) === undefined) tree.set(to, {}, origin)
  takeCommand(context, entry)
  for (const [member, key] of [
    ['args', 'args'],
    ['env', 'env'],
    ['environment', 'env'],
    ['cwd', 'cwd'],
    ['url', 'url'],
    ['serverUrl', 'url'],
    ['httpUrl', 'url'],
  ] as const)
    take(context, entry, [member], key)
  takeTransport(context, entry)
  takeHeaders(context, entry)
  for (const key of ['name', 'description'])
    if (typeof entry.own[key] === 'string' && entry.own[key] !== '') take(context, entry, [key], key)
  if (name !== id && tree.get([...to, 'name']) === undefined) tree.set([...to, 'name'], name, origin)
}
