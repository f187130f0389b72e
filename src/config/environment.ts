// Which environment variables mean what, and how they are laid over the file.
import { type Coerced, coerce } from './coerce.ts'
import { type Fault, type Path, keyText } from './fault.ts'
import { logLevels } from './schema.ts'
import { type Shape, rootShape, shapeAt } from './shape.ts'
import { didYouMean } from './suggest.ts'
import { type Tree, isBranch } from './tree.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** What a door read for a variable `NAME_FILE`. */
export type SecretFile = { readonly text: string } | { readonly problem: string }

export interface EnvironmentName {
  readonly name: string
  /** The key it sets; absent where it does something else. */
  readonly key?: string
  readonly note: string
}

/** Names with a fixed meaning; of two for the same key the later one in this list wins. */
export const environmentNames: readonly EnvironmentName[] = [
  { name: 'PORT', key: 'port', note: 'What hosting platforms set.' },
  { name: 'MCP_GATEWAY_PORT', key: 'port', note: '' },
  { name: 'HOST', key: 'host', note: 'Read only when it is an IP address or `localhost`: some shells put the machine’s name there.' },
  { name: 'MCP_GATEWAY_HOST', key: 'host', note: '' },
  { name: 'MCP_ISSUER', key: 'issuer', note: '' },
  { name: 'MCP_DEBUG', key: 'debug', note: '' },
  { name: 'LOG_LEVEL', key: 'log_level', note: 'In any case; `warning`, `trace`, `critical` and `fatal` are understood.' },
  { name: 'SESSION_SECRET', key: 'session_secret', note: 'All names of the root secret that are set must agree.' },
  { name: 'GATEWAY_JWT_SECRET', key: 'session_secret', note: 'The root secret.' },
  { name: 'COOKIE_ENCRYPTION_KEY', key: 'session_secret', note: 'The root secret.' },
  { name: 'MCP_SESSION_SECRET', key: 'session_secret', note: 'The root secret.' },
  { name: 'ACCESS_TOKEN_LIFETIME', key: 'access_token_lifetime', note: '' },
  { name: 'REFRESH_TOKEN_LIFETIME', key: 'refresh_token_lifetime', note: '' },
  { name: 'SESSION_TIMEOUT', key: 'session_timeout', note: '' },
  { name: 'CLIENT_LIFETIME', key: 'client_lifetime', note: '' },
  { name: 'MCP_PROTOCOL_VERSIONS_SUPPORTED', key: 'protocol_versions', note: 'A list.' },
  { name: 'MCP_PROTOCOL_VERSION', key: 'protocol_versions', note: 'One revision; narrows the list to it.' },
  { name: 'ALLOWED_ORIGINS', key: 'cors.allow_origins', note: 'A list.' },
  { name: 'MCP_CORS_ORIGINS', key: 'cors.allow_origins', note: 'A list.' },
  { name: 'LOCAL_USER', key: 'local_users', note: 'With LOCAL_PASSWORD: one more local user, or a new password for the one of that name.' },
  { name: 'LOCAL_PASSWORD', key: 'local_users', note: 'With LOCAL_USER; at least 8 characters.' },
  { name: 'DOWNSTREAM_MCP_URL', key: 'mcp_services', note: 'The URL of one MCP server, served at `/mcp` (and as the service `downstream`).' },
  { name: 'MCP_CONFIG_PATH', note: 'The configuration file, when no `--config` is given.' },
  { name: 'POSTERN_CONFIG', note: 'The configuration itself, as YAML or JSON text, when neither `--config` nor MCP_CONFIG_PATH names a file.' },
  { name: 'POSTERN_STATE', note: 'The state directory, when no `--state` is given.' },
  { name: 'NODE_ENV', note: '`production` refuses storage that is lost at exit.' },
]

/** Names of the documents this gateway grew from that mean something this version does not do; setting one is worth a warning. */
export const unusedNames: readonly string[] = ['ALLOWED_GITHUB_USERS', 'BASE_DOMAIN', 'CF_ACCESS_CLIENT_ID', 'DOMAIN_ROOT', 'JWT_PRIVATE_KEY_B64', 'MCP_SERVERS', 'MCP_SERVER_ALLOWLIST', 'TOKEN_ENCRYPTION_KEY']

const prefix = 'POSTERN_'
const elsewhere = new Set(['LOCAL_USER', 'LOCAL_PASSWORD', 'DOWNSTREAM_MCP_URL', 'MCP_CONFIG_PATH', 'POSTERN_CONFIG', 'POSTERN_STATE', 'NODE_ENV'])

const holdsSecret = (path: Path): boolean => {
  const shape = shapeAt(path)
  return shape !== undefined && (shape.secret || shape.below(0)?.secret === true)
}

/** `MY_SERVICE` → the key that is written so in the file (`my-service`), or `my_service`. */
const sameName = (part: string, known: readonly string[]): string => known.find((key) => key.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_') === part) ?? part.toLowerCase()

type Found = { readonly path: Path } | { readonly unknown: string; readonly known: readonly string[] }

/** `POSTERN_CORS__ALLOW_ORIGINS` → `cors.allow_origins`. Ids of services and providers are matched with those of the file; list entries are numbers. */
const pathOf = (name: string, tree: Tree | undefined): Found => {
  const path: (string | number)[] = []
  let shape: Shape | undefined = rootShape
  for (const part of name.slice(prefix.length).split('__')) {
    const written = tree?.get(path)
    const present = isBranch(written) ? Object.keys(written) : []
    const before: Shape | undefined = shape
    const key: string | number = before?.kind === 'list' && /^\d{1,3}$/.test(part) ? Number(part) : sameName(part, before?.kind === 'object' ? before.names : present)
    shape = part === '' || key === '$schema' ? undefined : before?.below(key)
    const stem = `${prefix}${path.map((step) => `${String(step).toUpperCase()}__`).join('')}`
    if (!shape) return { unknown: `${stem}${part}`, known: (before?.names ?? []).filter((known) => known !== '$schema').map((known) => `${stem}${known.toUpperCase()}`) }
    path.push(key)
  }
  return { path }
}

const isSecretName = (name: string): boolean => {
  if (name === 'LOCAL_PASSWORD') return true
  const fixed = environmentNames.find((known) => known.name === name)?.key
  if (fixed !== undefined) return !elsewhere.has(name) && holdsSecret(fixed.split('.'))
  const found = name.startsWith(prefix) ? pathOf(name, undefined) : undefined
  return found !== undefined && 'path' in found && holdsSecret(found.path)
}

/**
 * The variables `NAME_FILE` whose files a door must read: those that stand beside a secret's name, and those beside a name that the file
 * refers to as `${NAME}` and that is not set itself. Any other `…_FILE` is somebody else's.
 */
export const secretFileVariables = (env: Environment, referenced: Iterable<string>): readonly { readonly variable: string; readonly path: string }[] => {
  const wanted = new Set(referenced)
  return Object.entries(env).flatMap(([variable, path]) => {
    const name = variable.replace(/_FILE$/, '')
    const ours = name !== variable && path && (isSecretName(name) || (wanted.has(name) && env[name] === undefined))
    return ours ? [{ variable, path }] : []
  })
}

export interface Effective {
  /** Variables with the contents of `NAME_FILE` in place, and the variable each came from. */
  readonly values: ReadonlyMap<string, { readonly text: string; readonly from: string }>
  readonly faults: readonly Fault[]
}

const about = (name: string, key: string, what: string): Fault => ({ key, origin: { from: 'environment', name }, what })

/** The environment as it counts: `NAME_FILE` read, one line end at the file's end dropped. */
export const effective = (env: Environment, secrets: Readonly<Record<string, SecretFile>>): Effective => {
  const values = new Map<string, { text: string; from: string }>()
  const faults: Fault[] = []
  for (const [name, text] of Object.entries(env)) if (text !== undefined) values.set(name, { text, from: name })
  for (const [variable, file] of Object.entries(secrets)) {
    const name = variable.replace(/_FILE$/, '')
    if (env[name]) faults.push(about(variable, '', `${name} is set too: keep one of the two`))
    else if ('problem' in file) faults.push(about(variable, '', `the file it names cannot be read: ${file.problem}`))
    else values.set(name, { text: file.text.replace(/\r?\n$/, ''), from: variable })
  }
  for (const { variable } of secretFileVariables(env, [])) if (!Object.hasOwn(secrets, variable)) faults.push(about(variable, '', 'files cannot be read on this runtime: set the variable without _FILE'))
  return { values, faults }
}

const levels: Readonly<Record<string, string>> = { warning: 'warn', trace: 'debug', fatal: 'error', critical: 'error' }

const read = (name: string, text: string, shape: Shape): Coerced | undefined => {
  if (name === 'HOST' && !/^(localhost|\d+\.\d+\.\d+\.\d+|\[?[\da-f:]*:[\da-f:.]*\]?)$/i.test(text.trim())) return undefined
  if (name === 'MCP_PROTOCOL_VERSION') return { value: [text.trim()] }
  if (shape.kind === 'choice' && shape.names.join() === logLevels.join()) {
    const level = text.trim().toLowerCase()
    return { value: levels[level] ?? level }
  }
  return coerce(text, shape)
}

export interface Overlay {
  readonly faults: readonly Fault[]
  readonly warnings: readonly Fault[]
  /** Paths whose value was at fault and left out. */
  readonly lost: readonly Path[]
}

interface Desk {
  readonly tree: Tree
  readonly values: Effective['values']
  readonly faults: Fault[]
  readonly warnings: Fault[]
  readonly lost: Path[]
}

/** Puts one variable into the tree, read as its key's type. */
const put = (desk: Desk, name: string, path: Path, from: string, text: string): void => {
  const shape = shapeAt(path)
  const key = keyText(path)
  const result = shape ? read(name, text, shape) : undefined
  if (result === undefined) return
  const last = path.at(-1)
  const list = typeof last === 'number' ? desk.tree.get(path.slice(0, -1)) : undefined
  if (typeof last === 'number' && last > (Array.isArray(list) ? list.length : 0)) desk.faults.push(about(from, key, 'leaves a gap in the list: count from 0'))
  else if ('value' in result) desk.tree.set(path, result.value, { from: 'environment', name: from })
  else {
    desk.faults.push(about(from, key, result.what))
    desk.lost.push(path)
  }
}

/** The root secret has several names; two that differ would leave open which one sealed what. */
const agreeOnRoot = (desk: Desk): void => {
  const names = [...environmentNames.filter((known) => known.key === 'session_secret').map((known) => known.name), `${prefix}SESSION_SECRET`]
  const [first, ...others] = names.flatMap((name) => (desk.values.get(name)?.text ? [desk.values.get(name)] : []))
  for (const other of others) {
    if (other?.text !== first?.text) desk.faults.push(about(other?.from ?? '', 'session_secret', `differs from ${first?.from ?? ''}; both are the root secret, so keep one`))
  }
}

const narrows = (desk: Desk): void => {
  const [one, all] = [desk.values.get('MCP_PROTOCOL_VERSION'), desk.values.get('MCP_PROTOCOL_VERSIONS_SUPPORTED')]
  if (!one?.text || !all?.text || all.text.split(',').some((version) => version.trim() === one.text.trim())) return
  desk.faults.push(about(one.from, 'protocol_versions', 'is not one of MCP_PROTOCOL_VERSIONS_SUPPORTED'))
}

const fixed = (desk: Desk): void => {
  agreeOnRoot(desk)
  narrows(desk)
  for (const { name, key } of environmentNames) {
    const found = desk.values.get(name)
    if (key !== undefined && !elsewhere.has(name) && found?.text) put(desk, name, key.split('.'), found.from, found.text)
  }
}

const mechanical = (desk: Desk): void => {
  const names = [...desk.values.keys()].filter((name) => name.startsWith(prefix) && !elsewhere.has(name))
  const depth = (name: string): number => name.split('__').length
  // A whole section first, then single keys in it.
  for (const name of names.sort((a, b) => depth(a) - depth(b) || (a < b ? -1 : 1))) {
    const { text, from } = desk.values.get(name) as { text: string; from: string }
    if (isSecretName(name.replace(/_FILE$/, '')) && name.endsWith('_FILE')) continue
    const found = pathOf(name, desk.tree)
    if ('path' in found) {
      if (text !== '') put(desk, name, found.path, from, text)
    } else desk.warnings.push(about(name, '', `has no meaning here${didYouMean(found.unknown, [...found.known, `${prefix}STATE`])}`))
  }
}

const localUser = (desk: Desk): void => {
  const [user, password] = [desk.values.get('LOCAL_USER'), desk.values.get('LOCAL_PASSWORD')]
  if (!user?.text && !password?.text) return
  if (!user?.text || !password?.text) {
    const [set, missing] = user?.text ? [user.from, 'LOCAL_PASSWORD'] : [password?.from ?? '', 'LOCAL_USER']
    desk.faults.push(about(set, 'local_users', `is set without ${missing}: set both, or neither`))
    return
  }
  const users = desk.tree.get(['local_users']) ?? []
  if (!Array.isArray(users)) return
  const known = users.findIndex((entry) => isBranch(entry) && entry['username'] === user.text)
  const at = known < 0 ? users.length : known
  const { password_hash: _, ...rest } = (known < 0 ? {} : users[known]) as Record<string, unknown>
  desk.tree.set(['local_users', at], { ...rest, username: user.text }, { from: 'environment', name: user.from })
  desk.tree.set(['local_users', at, 'password'], password.text, { from: 'environment', name: password.from })
}

const downstream = (desk: Desk): void => {
  const url = desk.values.get('DOWNSTREAM_MCP_URL')
  if (!url?.text) return
  const origin = { from: 'environment', name: url.from } as const
  desk.tree.set(['mcp_services', 'downstream', 'url'], url.text, origin)
  if (desk.tree.get(['default_service']) === undefined) desk.tree.set(['default_service'], 'downstream', origin)
}

/** Lays the environment over the tree. `referenced`: names that the file used itself, so that they are not called useless. */
export const overlayEnvironment = (tree: Tree, { values }: Effective, referenced: ReadonlySet<string>): Overlay => {
  const desk: Desk = { tree, values, faults: [], warnings: [], lost: [] }
  fixed(desk)
  mechanical(desk)
  localUser(desk)
  downstream(desk)
  for (const name of unusedNames) if (values.get(name)?.text && !referenced.has(name)) desk.warnings.push(about(name, '', 'is set, but this version does nothing with it'))
  return desk
}
