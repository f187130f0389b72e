// `postern import`: MCP servers from the configuration of a client become services of this gateway. Nothing is changed
// before it was shown, and secrets go to the file of variables.
import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { isMap, parseDocument, stringify } from 'yaml'
import { asWritten, blockIn, withRegistry } from '../config/client-block.ts'
import { readDocument } from '../config/document.ts'
import { loadConfig } from '../config/load.ts'
import { type Fault, faultText } from '../config/tree.ts'
import { knownRevisions } from '../known-revisions.ts'
import { utf8Text } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { createOutbound } from '../node/outbound.ts'
import { type ConfigurationRequest, forwardProxies } from './configuration.ts'
import { agreed, claudeFolder, writeWhole } from './connect.ts'
import {
  ConfigError,
  type Printer,
  StartError,
  UsageError,
  count,
  print,
  printNote,
  printTable,
  printWarnings,
} from './output.ts'
import { type ForeignService, type MovedSecrets, variableLine, withoutSecrets } from './written-secrets.ts'

export interface ImportOptions {
  readonly write?: true
  readonly yes?: true
}

const codeFolder = (home: string): string =>
  process.platform === 'darwin'
    ? join(home, 'Library/Application Support/Code/User')
    : process.platform === 'win32'
      ? join(home, 'AppData/Roaming/Code/User')
      : join(home, '.config/Code/User')

/** Where clients keep their servers: the project first, then the user. */
export const clientFiles = (home = homedir()): Readonly<Record<string, readonly string[]>> => ({
  'claude-desktop': [join(claudeFolder(home), 'claude_desktop_config.json')],
  'claude-code': ['.mcp.json', join(home, '.claude.json')],
  cursor: ['.cursor/mcp.json', join(home, '.cursor/mcp.json')],
  vscode: ['.vscode/mcp.json', join(codeFolder(home), 'mcp.json')],
  windsurf: [join(home, '.codeium/windsurf/mcp_config.json')],
  'gemini-cli': ['.gemini/settings.json', join(home, '.gemini/settings.json')],
  'lm-studio': [join(home, '.lmstudio/mcp.json')],
})

const isUrl = (source: string): boolean => /^https?:\/\//i.test(source)

/** An entry of a registry, from wherever whoever typed its URL says. */
const fetched = async (url: string, env: ImportContext['env']) => {
  try {
    const outbound = createOutbound({ allowOrigins: [new URL(url).origin], proxies: forwardProxies(env) })
    const { status, body } = await outbound(url, { headers: { accept: 'application/json' } })
    if (status !== 200) throw new StartError('import.unreadable', `${url} answered ${status}.`)
    return { path: url, text: utf8Text(body) }
  } catch (error) {
    if (error instanceof Refusal)
      throw new StartError('import.unreadable', `${url} cannot be fetched: ${error.why}.`)
    throw error
  }
}

const textOf = (source: string): { readonly path: string; readonly text: string } => {
  if (source === '-') return { path: 'standard input', text: readFileSync(0, 'utf8') }
  const files = clientFiles()
  const known = Object.hasOwn(files, source) ? files[source] : undefined
  const path = known ? known.find((file) => existsSync(file)) : source
  if (path === undefined)
    throw new StartError('import.none', `${source} has no configuration here: ${known?.join(', ')}.`)
  try {
    return { path, text: readFileSync(path, 'utf8') }
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (code === 'ENOENT')
      throw new UsageError(
        `${path} does not exist. Name a file, or one of: ${Object.keys(files).join(', ')}. - is standard input.`,
      )
    throw new StartError('import.unreadable', `${path} cannot be read (${code}).`)
  }
}

export interface Imported {
  readonly services: Readonly<Record<string, ForeignService>>
  readonly secrets: MovedSecrets
  /** What is left out, and why. */
  readonly notes: readonly Fault[]
}

/** What is no JSON is no entry of a registry. */
const asBlock = (text: string): { readonly text: string; readonly notes: readonly Fault[] } => {
  try {
    const before: unknown = JSON.parse(text)
    const { value, notes } = withRegistry(before, 'variable')
    return value === before ? { text, notes } : { text: JSON.stringify(value, undefined, 2), notes }
  } catch (error) {
    if (error instanceof SyntaxError) return { text, notes: [] }
    throw error
  }
}

/** Servers in the file of a client, whatever the client calls them. Throws `ConfigError` for a file that is none. */
export const importedFrom = (path: string, written: string): Imported => {
  const { text, notes: told } = asBlock(written)
  const { tree, faults } = readDocument({ path, text }, asWritten)
  if (faults.length > 0) throw new ConfigError(faults)
  const { services: found, notes } = blockIn(tree)
  const secrets: MovedSecrets = new Map()
  const services = Object.fromEntries(
    Object.entries(found).map(([id, service]) => [id, withoutSecrets<ForeignService>(id, service, secrets)]),
  )
  return { services, secrets, notes: [...told, ...notes] }
}

// Into the configuration.

interface Target {
  readonly path: string
  readonly text: string
  /** The file of variables. */
  readonly envPath: string
  readonly envText: string
}

const readIf = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')

const targetOf = ({ file, envFile }: ConfigurationRequest): Target => {
  const path =
    file ?? ['postern.yaml', 'config.yaml', 'config.yml'].find((name) => existsSync(name)) ?? 'postern.yaml'
  if (/\.jsonc?$/.test(path))
    throw new UsageError(`${path} is JSON. Run the command without --write, and add what it prints.`)
  const envPath = envFile ?? '.env'
  return { path, text: readIf(path), envPath, envText: readIf(envPath) }
}

/** The text with these services more; everything else stays, comments too. */
const withServices = (path: string, text: string, services: Imported['services']): string => {
  const document = parseDocument(text)
  if (document.errors.length > 0 || (document.contents !== null && !isMap(document.contents)))
    throw new StartError('import.file', `${path} is not the YAML that was expected. Nothing was changed.`)
  for (const [id, service] of Object.entries(services))
    document.setIn(['mcp_services', id], document.createNode(service))
  return document.toString({ lineWidth: 0 })
}

const known = ({ text }: Target): ReadonlySet<string> => {
  const document = parseDocument(text).toJS() as { mcp_services?: object } | null
  return new Set(Object.keys(document?.mcp_services ?? {}))
}

const withVariables = ({ envText, envPath }: Target, secrets: MovedSecrets): string => {
  const before = parseEnv(envText)
  const lines = [...secrets].flatMap(([name, value]) => {
    if (before[name] === value) return []
    const line = before[name] === undefined ? variableLine(name, value) : undefined
    if (line === undefined)
      throw new StartError(
        'import.variable',
        `${name} ${before[name] === undefined ? 'cannot be written to' : 'has another value in'} ${envPath}. Nothing was changed.`,
      )
    return [line]
  })
  return `${envText === '' || envText.endsWith('\n') ? envText : `${envText}\n`}${lines.map((line) => `${line}\n`).join('')}`
}

export interface ImportContext {
  readonly wanted: ConfigurationRequest
  readonly env: Readonly<Record<string, string | undefined>>
  readonly json: Printer | undefined
}

const write = async (
  { services, secrets }: Imported,
  options: ImportOptions,
  target: Target,
  { env, json }: Pick<ImportContext, 'env' | 'json'>,
): Promise<void> => {
  const text = withServices(target.path, target.text, services)
  const variables = withVariables(target, secrets)
  // As the gateway will read it, before anything is written.
  const loaded = await loadConfig({
    file: { path: target.path, text },
    env: { ...parseEnv(variables), ...env },
    revisions: knownRevisions,
  })
  if (!loaded.ok) throw new ConfigError(loaded.faults)
  const parts = [
    `${count(Object.keys(services).length, 'service')} to ${target.path}`,
    ...(secrets.size > 0 ? [`${count(secrets.size, 'secret')} to ${target.envPath}`] : []),
  ]
  if (!(await agreed(`Add ${parts.join(' and ')}`, options))) return printNote('Nothing was changed.')
  // MovedSecrets first: the configuration never names what is not there.
  if (secrets.size > 0) writeWhole(target.envPath, variables)
  writeWhole(target.path, text)
  if (json) return
  print(`Added ${parts.join(' and ')}. A running gateway that uses ${target.path} serves them now.`)
}

const wordsOf = ({ url, command = '', args = [] }: ForeignService): string =>
  url ?? [command, ...args].join(' ')

/** Prints the servers as configuration, or adds them to it. */
export const importServers = async (
  source: string,
  options: ImportOptions,
  context: ImportContext,
): Promise<void> => {
  const { path, text } = isUrl(source) ? await fetched(source, context.env) : textOf(source)
  const all = importedFrom(path, text)
  const target = options.write ? targetOf(context.wanted) : undefined
  const before = target ? known(target) : new Set<string>()
  const fresh = Object.entries(all.services).filter(([id]) => !before.has(id))
  const services = Object.fromEntries(fresh)
  if (context.json) {
    const notes = all.notes.map(faultText)
    context.json({ from: path, mcp_services: services, variables: [...all.secrets.keys()], notes })
  } else printWarnings(all.notes)
  if (fresh.length === 0)
    throw new StartError(
      'import.nothing',
      Object.keys(all.services).length === 0
        ? `There are no MCP servers in ${path} that the gateway could serve.`
        : `All MCP servers of ${path} are in ${target?.path} already.`,
    )
  if (!target) {
    if (context.json) return
    print(stringify({ mcp_services: services }, { lineWidth: 0 }).trimEnd())
    if (all.secrets.size > 0)
      print(`# Set these variables, or let --write add them to .env: ${[...all.secrets.keys()].join(', ')}`)
    return
  }
  if (!context.json) printTable(fresh.map(([id, service]) => [id, wordsOf(service)]))
  const used = JSON.stringify(services)
  const secrets = new Map([...all.secrets].filter(([name]) => used.includes(`\${${name}}`)))
  await write({ ...all, services, secrets }, options, target, context)
}
