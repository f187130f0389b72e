// The environment laid over the file.
import {
  type Effective,
  type Environment,
  type SecretFile,
  elsewhere,
  environmentNames,
  isSecretName,
  ownNames,
  pathOf,
  prefix,
  secretFileVariables,
} from './environment-names.ts'
import { type SectionContext, overlayProviders, overlayServerList } from './environment-sections.ts'
import { checkOtherNames, isServiceLink } from './other-gateways.ts'
import { type Coerced, coerce } from './reading.ts'
import { logLevels } from './schema.ts'
import { type Shape, didYouMean, shapeAt } from './shape.ts'
import { type Fault, type Path, type Tree, isBranch, keyText } from './tree.ts'

const about = (name: string, key: string, what: string): Fault => ({
  key,
  origin: { from: 'environment', name },
  what,
})

/** The environment as it counts: `NAME_FILE` read, one line end at the file's end dropped. */
export const effective = (env: Environment, secrets: Readonly<Record<string, SecretFile>>): Effective => {
  const values = new Map<string, { text: string; from: string }>()
  const faults: Fault[] = []
  for (const [name, text] of Object.entries(env))
    if (text !== undefined) values.set(name, { text, from: name })
  for (const [variable, file] of Object.entries(secrets)) {
    const name = variable.replace(/_FILE$/, '')
    if (env[name]) faults.push(about(variable, '', `cannot be combined with ${name}: keep one of the two`))
    else if ('problem' in file) faults.push(about(variable, '', `its file cannot be read: ${file.problem}`))
    else values.set(name, { text: file.text.replace(/\r?\n$/, ''), from: variable })
  }
  for (const { variable } of secretFileVariables(env, []))
    if (!Object.hasOwn(secrets, variable))
      faults.push(
        about(variable, '', 'cannot be used on Workers, which have no files: set the variable without _FILE'),
      )
  return { values, faults }
}

const levels: Readonly<Record<string, string>> = {
  warning: 'warn',
  trace: 'debug',
  fatal: 'error',
  critical: 'error',
}

const read = (name: string, text: string, shape: Shape): Coerced | undefined => {
  if (name === 'HOST' && !/^(localhost|\d+\.\d+\.\d+\.\d+|\[?[\da-f:]*:[\da-f:.]*\]?)$/i.test(text.trim()))
    return undefined
  if (name === 'MCP_PROTOCOL_VERSION') return { value: [text.trim()] }
  if (name === 'SSE_HEARTBEAT_MS') {
    const time = coerce(text, shape)
    return 'value' in time && typeof time.value === 'number'
      ? { value: Math.max(time.value > 0 ? 1 : 0, Math.round(time.value / 1000)) }
      : time
  }
  if (shape.kind === 'choice' && shape.names.join() === logLevels.join()) {
    const level = text.trim().toLowerCase()
    return { value: levels[level] ?? level }
  }
  return coerce(text, shape)
}

const fixedNames = new Set(environmentNames.map(({ name }) => name))

export interface Overlay {
  readonly faults: readonly Fault[]
  readonly warnings: readonly Fault[]
  /** Paths whose value was at fault and left out. */
  readonly lost: readonly Path[]
}

interface OverlayContext extends SectionContext {
  readonly lost: Path[]
}

/** Puts one variable into the tree, read as its key's type. */
const put = (context: OverlayContext, name: string, path: Path, from: string, text: string): void => {
  const shape = shapeAt(path)
  const key = keyText(path)
  const result = shape ? read(name, text, shape) : undefined
  if (result === undefined) return
  const gap = path.some((part, i) => {
    const list = typeof part === 'number' ? context.tree.get(path.slice(0, i)) : undefined
    return typeof part === 'number' && part > (Array.isArray(list) ? list.length : 0)
  })
  if (gap)
    context.faults.push(about(from, key, 'skips an entry of the list: number entries from 0 without gaps'))
  else if ('value' in result) context.tree.set(path, result.value, { from: 'environment', name: from })
  else {
    context.faults.push(about(from, key, result.what))
    context.lost.push(path)
  }
}

/** The root secret has several names; two that differ would leave open which one sealed what. */
const agreeOnRoot = (context: OverlayContext): void => {
  const names = [
    ...environmentNames.filter((known) => known.key === 'session_secret').map((known) => known.name),
    `${prefix}SESSION_SECRET`,
  ]
  const [first, ...others] = names.flatMap((name) =>
    context.values.get(name)?.text ? [context.values.get(name)] : [],
  )
  for (const other of others) {
    if (other?.text !== first?.text)
      context.faults.push(
        about(
          other?.from ?? '',
          'session_secret',
          `differs from ${first?.from ?? ''}, and both set the root secret: keep one of the two`,
        ),
      )
  }
}

const narrows = (context: OverlayContext): void => {
  const [one, all] = [
    context.values.get('MCP_PROTOCOL_VERSION'),
    context.values.get('MCP_PROTOCOL_VERSIONS_SUPPORTED'),
  ]
  if (!one?.text || !all?.text || all.text.split(',').some((version) => version.trim() === one.text.trim()))
    return
  context.faults.push(about(one.from, 'protocol_versions', 'is not one of MCP_PROTOCOL_VERSIONS_SUPPORTED'))
}

const fixed = (context: OverlayContext): void => {
  agreeOnRoot(context)
  narrows(context)
  for (const { name, key } of environmentNames) {
    const found = context.values.get(name)
    if (key !== undefined && !elsewhere.has(name) && found?.text && !isServiceLink(name, found.text))
      put(context, name, key.split('.'), found.from, found.text)
  }
}

/** A whole section before single keys in it, entries of a list in their order. */
const sections = (a: string, b: string): number => {
  const [left, right] = [a.split('__'), b.split('__')]
  const at = left.findIndex((part, i) => part !== right[i])
  const [x, y] = [left[at], right[at]]
  if (at < 0 || x === undefined || y === undefined) return left.length - right.length
  return /^\d+$/.test(x) && /^\d+$/.test(y) ? Number(x) - Number(y) : x < y ? -1 : 1
}

const mechanical = (context: OverlayContext): void => {
  const names = [...context.values].flatMap(([name, { text }]) =>
    name.startsWith(prefix) && !ownNames.has(name) && !isServiceLink(name, text) ? [name] : [],
  )
  for (const name of names.sort(sections)) {
    const { text, from } = context.values.get(name) as { text: string; from: string }
    if (isSecretName(name.replace(/_FILE$/, '')) && name.endsWith('_FILE')) continue
    const found = pathOf(name, context.tree)
    if ('path' in found) {
      if (text !== '') put(context, name, found.path, from, text)
    } else
      context.faults.push(
        about(
          name,
          '',
          `is not a known setting${didYouMean(found.unknown, [...found.known, `${prefix}STATE`])}`,
        ),
      )
  }
}

type Value = { readonly text: string; readonly from: string }

/** The variable's value; undefined where it is not set or empty. */
const filled = (context: OverlayContext, name: string): Value | undefined => {
  const found = context.values.get(name)
  return found?.text ? found : undefined
}

const localUser = (context: OverlayContext): void => {
  const [user, password] = [filled(context, 'LOCAL_USER'), filled(context, 'LOCAL_PASSWORD')]
  if (user && password) putLocalUser(context, user, password)
  else if (user) context.faults.push(setAlone(user, 'LOCAL_PASSWORD'))
  else if (password) context.faults.push(setAlone(password, 'LOCAL_USER'))
}

const setAlone = ({ from }: Value, missing: string): Fault =>
  about(from, 'local_users', `is set without ${missing}: set both or neither`)

/** Adds the user, or gives the one of that name this password. */
const putLocalUser = (context: OverlayContext, user: Value, password: Value): void => {
  const users = context.tree.get(['local_users']) ?? []
  if (!Array.isArray(users)) return
  const known = users.findIndex((entry) => isBranch(entry) && entry['username'] === user.text)
  const at = known < 0 ? users.length : known
  const { password_hash: _, ...rest } = (known < 0 ? {} : users[known]) as Record<string, unknown>
  context.tree.set(
    ['local_users', at],
    { ...rest, username: user.text },
    { from: 'environment', name: user.from },
  )
  context.tree.set(['local_users', at, 'password'], password.text, {
    from: 'environment',
    name: password.from,
  })
}

const downstream = (context: OverlayContext): void => {
  const url = context.values.get('DOWNSTREAM_MCP_URL')
  if (!url?.text) return
  const origin = { from: 'environment', name: url.from } as const
  context.tree.set(['mcp_services', 'downstream', 'url'], url.text, origin)
  if (context.tree.get(['default_service']) === undefined)
    context.tree.set(['default_service'], 'downstream', origin)
}

/**
 * A command line split into its words, as no shell would: quotes hold words together, and nothing else is
 * understood.
 */
export const wordsOf = (line: string): readonly string[] =>
  [...line.matchAll(/(?:"[^"]*"|'[^']*'|\S)+/g)].map(([word]) =>
    word.replaceAll(/"([^"]*)"|'([^']*)'/g, '$1$2'),
  )

/** One command line, as the container of the stdio gateway takes it. */
const serverCommand = (context: OverlayContext): void => {
  const line = context.values.get('MCP_SERVER_CMD')
  if (!line?.text?.trim()) return
  const words = wordsOf(line.text)
  const origin = { from: 'environment', name: line.from } as const
  const [command = '', ...args] = words
  context.tree.set(['mcp_services', 'server', 'command'], command, origin)
  context.tree.set(['mcp_services', 'server', 'args'], args, origin)
  if (context.tree.get(['default_service']) === undefined)
    context.tree.set(['default_service'], 'server', origin)
}

/** Variables that name a server, with the storage that it is. */
const storageNames = { REDIS_URL: 'redis', REDIS_HOST: 'redis', VAULT_URL: 'vault' } as const

/** Whoever names a server wants the data there, and in production wants it kept. */
const storage = (context: OverlayContext, referenced: ReadonlySet<string>): void => {
  const { tree, values } = context
  const named = Object.keys(storageNames).find((name) => filled(context, name) && !referenced.has(name)) as
    | keyof typeof storageNames
    | undefined
  if (named !== undefined && tree.written(['storage', 'type']) === undefined)
    tree.set(['storage', 'type'], storageNames[named], {
      from: 'environment',
      name: filled(context, named)?.from ?? named,
    })
  const production = ['NODE_ENV', 'ENVIRONMENT'].find(
    (name) => values.get(name)?.text.trim().toLowerCase() === 'production',
  )
  const server = ['redis', 'postgres'].find((type) => tree.get(['storage', 'type']) === type)
  if (production === undefined || server === undefined) return
  const persistence = ['storage', server, 'require_persistence']
  if (!tree.written(persistence)) tree.set(persistence, true, { from: 'environment', name: production })
}

/**
 * Lays the environment over the tree. `referenced`: names that the file used itself, so that they are not
 * called useless.
 */
export const overlayEnvironment = (
  tree: Tree,
  { values }: Effective,
  referenced: ReadonlySet<string>,
): Overlay => {
  const context: OverlayContext = { tree, values, faults: [], warnings: [], lost: [] }
  // First, so that the names made from keys find these services as any other.
  overlayServerList(context, referenced)
  fixed(context)
  mechanical(context)
  localUser(context)
  overlayProviders(context, referenced)
  downstream(context)
  serverCommand(context)
  storage(context, referenced)
  const services = tree.get(['mcp_services'])
  const others = checkOtherNames(
    [...values].map(([name, { text }]) => [name, text] as const),
    (name) => fixedNames.has(name) || referenced.has(name),
    {
      services: isBranch(services) ? Object.keys(services) : [],
    },
  )
  context.faults.push(...others.faults)
  context.warnings.push(...others.warnings)
  return context
}
