// Entries of the MCP registry (server.json, schema 2025-12-11 and before) in the words of clients: each server becomes an
// entry of an `mcpServers` block, which is read as every other one.
import { Refusal } from '../kit/refusal.ts'
import { isBranch } from './tree.ts'

type Member = Readonly<Record<string, unknown>>

/** What becomes of a value that the entry asks its user for. */
export type Unfilled =
  /** A reference to a variable, for a configuration file. */
  | 'variable'
  /** The server is left out: there is nobody who could set a variable. */
  | 'left-out'

export interface RegistryBlock {
  readonly mcpServers: Readonly<Record<string, Member>>
  /** What is left out, and what has to be set, by the name of the server. */
  readonly notes: readonly { readonly name: string; readonly what: string }[]
}

/** Former schemas write `registry_type` for `registryType`. */
const read = (member: Member, name: string): unknown =>
  member[name] ?? member[name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)]
const text = (member: Member, name: string): string | undefined => {
  const value = read(member, name)
  return typeof value === 'string' && value !== '' ? value : undefined
}
const members = (member: Member, name: string): readonly Member[] => {
  const value = read(member, name)
  return Array.isArray(value) ? value.filter(isBranch) : []
}

const isEntry = (value: unknown): value is Member =>
  isBranch(value) &&
  typeof value['name'] === 'string' &&
  value['name'].includes('/') &&
  (Array.isArray(value['remotes']) || Array.isArray(value['packages']))

/** A server.json, or what the API of a registry answers about one server or several. */
const entriesIn = (value: unknown): readonly Member[] => {
  if (!isBranch(value)) return []
  if (isEntry(value)) return [value]
  const { server, servers }: Member = value
  if (isEntry(server)) return [server]
  return Array.isArray(servers) ? servers.flatMap(entriesIn) : []
}

/** Why an entry cannot be used. */
const unusable = (why: string): Refusal => new Refusal('service.invalid', why)

// Inputs: a value, a default, or a question to the user.

interface Inputs {
  readonly unfilled: Unfilled
  /** Names the variable that holds what is asked for. */
  readonly asks: (name: string, what: string) => void
}

const plain = (name: string): string =>
  name
    .toUpperCase()
    .replaceAll(/[^A-Z0-9]+/g, '_')
    .replaceAll(/^_+|_+$/g, '')

const asked = ({ unfilled, asks }: Inputs, name: string, what: string): string => {
  if (unfilled === 'left-out')
    throw unusable(`needs a value for ${what}. Write it as "value" into what you paste`)
  asks(plain(name), what)
  return `\${${plain(name)}}`
}

/** The value of an input; undefined where it has none and needs none. `what`: in words. */
const valueOf = (inputs: Inputs, input: Member, name: string, what: string): string | undefined => {
  const written = text(input, 'value') ?? text(input, 'default')
  if (written === undefined) return read(input, 'isRequired') === true ? asked(inputs, name, what) : undefined
  return filled(inputs, written, read(input, 'variables'))
}

/** A brace that names no variable stays as it is. */
const filled = (inputs: Inputs, template: string, variables: unknown): string =>
  isBranch(variables)
    ? template.replaceAll(/\{([\w.-]+)\}/g, (whole, name: string) => {
        const variable = Object.hasOwn(variables, name) ? variables[name] : undefined
        if (!isBranch(variable)) return whole
        return text(variable, 'value') ?? text(variable, 'default') ?? asked(inputs, name, `{${name}}`)
      })
    : template

const pairs = (inputs: Inputs, holder: Member, list: string, what: string): Record<string, string> =>
  Object.fromEntries(
    members(holder, list).flatMap((input) => {
      const name = text(input, 'name') ?? ''
      const value = name === '' ? undefined : valueOf(inputs, input, name, `${what} ${name}`)
      return value === undefined ? [] : [[name, value]]
    }),
  )

const argumentsOf = (inputs: Inputs, holder: Member, list: string): readonly string[] =>
  members(holder, list).flatMap((input) => {
    const flag = text(input, 'type') === 'named' ? text(input, 'name') : undefined
    const hint = flag ?? text(input, 'valueHint') ?? 'argument'
    const value = valueOf(inputs, input, hint, `the argument ${hint}`)
    if (flag === undefined) return value ?? []
    if (value !== undefined) return [flag, value]
    // A flag without any value is one that is there or not.
    return read(input, 'description') === undefined && read(input, 'format') === undefined ? [flag] : []
  })

// Servers on the network.

const remoteTypes = ['streamable-http', 'streamable', 'http', 'sse']
const typeOf = (remote: Member): string => text(remote, 'type') ?? text(remote, 'transportType') ?? ''

const remoteEntry = (inputs: Inputs, entry: Member): Member | undefined => {
  const remotes = members(entry, 'remotes')
  const best = remoteTypes.flatMap((type) => remotes.filter((remote) => typeOf(remote) === type))[0]
  const url = best && text(best, 'url')
  if (!best || url === undefined) return undefined
  const headers = pairs(inputs, best, 'headers', 'the header')
  const full = filled(inputs, url, read(best, 'variables'))
  if (/(?<!\$)\{[^{}]*\}/.test(full)) throw unusable(`has a URL with an open place: ${full.slice(0, 200)}`)
  return {
    type: typeOf(best) === 'sse' ? 'sse' : 'http',
    url: full,
    ...(Object.keys(headers).length > 0 && { headers }),
  }
}

// Packages, as commands.

interface Runner {
  readonly command: string
  /** Other programs that run the same packages. */
  readonly others: readonly string[]
  /** The package runs in a container, which variables are handed to one by one. */
  readonly contained?: true
  /** Where the entry has no arguments for the program. */
  readonly args: readonly string[]
  readonly name: (identifier: string, version: string | undefined) => string
}

const atVersion = (identifier: string, version: string | undefined): string =>
  version === undefined ? identifier : `${identifier}@${version}`

const runners: Readonly<Record<string, Runner>> = {
  npm: { command: 'npx', others: ['bunx'], args: ['-y'], name: atVersion },
  pypi: { command: 'uvx', others: [], args: [], name: atVersion },
  nuget: { command: 'dnx', others: [], args: ['--yes'], name: atVersion },
  oci: {
    command: 'docker',
    others: ['podman'],
    contained: true,
    args: [],
    name: (identifier, version) =>
      version === undefined || /[@:][^/]+$/.test(identifier) ? identifier : `${identifier}:${version}`,
  },
}

/** Arguments of a program that give a package no more than it has anyway. */
const harmless = /^(?:-y|--yes|-i|--interactive|--rm|-e|--env)$/

/** The kind of a package, its name and its program. */
const runnerOf = (
  pack: Member,
): { readonly runner: Runner; readonly identifier: string; readonly hint: string } => {
  const kind = text(pack, 'registryType') ?? text(pack, 'registryName') ?? ''
  const runner = Object.hasOwn(runners, kind) ? runners[kind] : undefined
  const identifier = text(pack, 'identifier') ?? text(pack, 'name') ?? ''
  if (!runner) throw unusable(`is a package of the type ${JSON.stringify(kind)}, which is not supported`)
  if (!/^[\w@][\w@./:+-]*$/.test(identifier))
    throw unusable(`has a package name that cannot be used: ${identifier.slice(0, 100)}`)
  const { transport } = pack
  if (isBranch(transport) && typeOf(transport) !== 'stdio')
    throw unusable('starts an HTTP server of its own. Start it, and add its URL')
  const hint = text(pack, 'runtimeHint') ?? runner.command
  if (hint !== runner.command && !runner.others.includes(hint))
    throw unusable(`is to be run by ${JSON.stringify(hint)}. Add it as a command`)
  return { runner, identifier, hint }
}

const requireHarmless = ({ unfilled }: Inputs, pack: Member): void => {
  const words = members(pack, 'runtimeArguments').map((one) => text(one, 'name') ?? text(one, 'value') ?? '')
  const strange = words.find((word) => !harmless.test(word))
  if (unfilled === 'left-out' && strange !== undefined)
    throw unusable(
      `is to be run with ${strange.slice(0, 60)}, which may open this computer to it. Add it as a command`,
    )
}

const commandOf = (inputs: Inputs, pack: Member): Member => {
  const { runner, identifier, hint } = runnerOf(pack)
  requireHarmless(inputs, pack)
  const own = argumentsOf(inputs, pack, 'runtimeArguments')
  const env = pairs(inputs, pack, 'environmentVariables', 'the variable')
  const version = text(pack, 'version')
  const before = runner.contained
    ? ['run', '-i', '--rm', ...Object.keys(env).flatMap((variable) => ['-e', variable]), ...withoutRun(own)]
    : own.length > 0
      ? own
      : runner.args
  return {
    command: hint,
    args: [
      ...before,
      runner.name(identifier, version === 'latest' ? undefined : version),
      ...argumentsOf(inputs, pack, 'packageArguments'),
    ],
    ...(Object.keys(env).length > 0 && { env }),
  }
}

/** What the gateway says itself. */
const withoutRun = (args: readonly string[]): readonly string[] =>
  args.filter((word) => !/^(?:run|-i|--interactive|--rm)$/.test(word))

/** `io.github.user/weather-mcp`: `weather-mcp`; of `com.example/mcp` the one whose it is. */
const keyOf = (name: string): string => {
  const [domain = '', last = ''] = name.split('/', 2)
  return /^(?:mcp|server|mcp-server)?$/.test(last) ? (domain.split('.').at(-1) ?? last) : last
}

const entryOf = (inputs: Inputs, entry: Member): Member => {
  const own = remoteEntry(inputs, entry)
  const [pack] = members(entry, 'packages')
  if (!own && !pack) throw unusable('has no remote that can be used, and no package')
  const description = text(entry, 'description')
  return {
    ...(own ?? commandOf(inputs, pack as Member)),
    ...(description !== undefined && { description: description.slice(0, 300) }),
  }
}

/** The servers in what was pasted or fetched; undefined where it is no entry of a registry. */
export const registryBlock = (value: unknown, unfilled: Unfilled): RegistryBlock | undefined => {
  const entries = entriesIn(value)
  if (entries.length === 0) return undefined
  const mcpServers: Record<string, Member> = {}
  const notes: { name: string; what: string }[] = []
  for (const entry of entries) {
    const name = String(entry['name']).slice(0, 200)
    const asks = (variable: string, what: string): void =>
      void notes.push({ name, what: `needs ${what}: set the variable ${variable}` })
    try {
      mcpServers[keyOf(name)] = entryOf({ unfilled, asks }, entry)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      notes.push({ name, what: error.why })
    }
  }
  return { mcpServers, notes }
}

/** Whether a URL is one of an entry rather than of a server. */
export const isEntryUrl = (url: string): boolean =>
  /^https:\/\/[^?#]+(?:\/server\.json|\/v\d+(?:\.\d+)*\/servers\/[^?#]+)$/i.test(url)
