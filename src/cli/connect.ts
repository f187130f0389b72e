// `postern connect`: how a client on this computer is connected to a service of the gateway; on request it runs the
// client's own command, or adds the service to the client's configuration file.
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { type ParseError, applyEdits, modify, parse } from 'jsonc-parser'
import { suggest } from '../config/shape.ts'
import { isLoopbackUrl } from '../kit/addresses.ts'
import { type ClientRecipe, clientRecipes } from '../kit/client-recipes.ts'
import { type AdminTarget, type ServiceUrl, serviceUrls } from './admin.ts'
import { print, printTable, programName, StartError, UsageError } from './output.ts'

export interface ConnectOptions {
  readonly service?: string
  readonly write?: true
  readonly yes?: true
}

const chosen = (services: readonly ServiceUrl[], id: string | undefined): ServiceUrl => {
  const [first, second] = services
  if (!first)
    throw new StartError(
      'services.none',
      `There are no services yet. Add one: ${programName(process.env)} services add <id> <url>`,
    )
  const ids = services.map((service) => service.id)
  if (id === undefined) {
    if (second) throw new UsageError(`Name a service with --service: ${ids.join(', ')}.`)
    return first
  }
  const found = services.find((service) => service.id === id)
  if (found) return found
  const meant = suggest(id, ids)
  throw new UsageError(
    `Unknown service ${JSON.stringify(id)}${meant === undefined ? `. Services: ${ids.join(', ')}.` : `; did you mean ${meant}?`}`,
  )
}

const recipeFor = (recipes: readonly ClientRecipe[], id: string): ClientRecipe => {
  const found = recipes.find((recipe) => recipe.id === id)
  if (found) return found
  const ids = recipes.map((recipe) => recipe.id)
  const meant = suggest(id, ids)
  throw new UsageError(
    `Unknown client ${JSON.stringify(id)}${meant === undefined ? `. Clients: ${ids.join(', ')}.` : `; did you mean ${meant}?`}`,
  )
}

const printRecipe = ({ client, commands, links, snippet, steps, note }: ClientRecipe, url: string): void => {
  print(`${client} → ${url}`)
  for (const line of [note, ...commands.map((command) => `  ${command}`)]) if (line !== undefined) print(line)
  for (const { label, href } of links) print(`  ${label}: ${href}`)
  if (snippet) print(`${snippet.file}:\n${snippet.text}`)
  for (const [i, step] of steps.entries()) print(`${i + 1}. ${step}`)
}

/** What is done for somebody who asked for it. */
interface Change {
  /** The question, without its question mark. */
  readonly ask: string
  /** Throws `StartError`. */
  run(): string
}

const programOf = (line: string): string => line.split(' ')[0] ?? ''

/** The client's own commands, as they were printed. */
const byCommands = ({ client, commands }: ClientRecipe): Change => ({
  ask: `Run ${commands.map((line) => JSON.stringify(line)).join(' and ')}`,
  run() {
    for (const line of commands) {
      const { status, error } = spawnSync('sh', ['-c', line], { stdio: 'inherit' })
      if (status === 0) continue
      const why =
        status === 127
          ? `${programOf(line)} is not installed, or not in PATH`
          : (error?.message ?? `it ended with ${status}`)
      throw new StartError('connect.command', `${client} was not connected: ${why}.`)
    }
    return `Connected ${client}.`
  },
})

interface ClientFile {
  readonly path: string
  readonly entry: (url: string) => object
}

export const claudeFolder = (home: string): string =>
  process.platform === 'darwin'
    ? join(home, 'Library/Application Support/Claude')
    : process.platform === 'win32'
      ? join(home, 'AppData/Roaming/Claude')
      : join(home, '.config/Claude')

/** Clients that read a file; its member `mcpServers` has the servers by name. */
const clientFile = (id: string, home = homedir()): ClientFile | undefined => {
  switch (id) {
    case 'cursor':
      return { path: join(home, '.cursor/mcp.json'), entry: (url) => ({ url }) }
    case 'lm-studio':
      return { path: join(home, '.lmstudio/mcp.json'), entry: (url) => ({ url }) }
    case 'claude-desktop':
      return {
        path: join(claudeFolder(home), 'claude_desktop_config.json'),
        entry: (url) => ({ command: 'npx', args: ['-y', 'mcp-remote', url] }),
      }
    default:
      return undefined
  }
}

/** The text with one server more. Everything else stays, comments too. Throws `StartError`. */
export const withServer = (text: string, path: string, name: string, entry: object): string => {
  const errors: ParseError[] = []
  const before: unknown = text.trim() === '' ? {} : parse(text, errors, { allowTrailingComma: true })
  const servers = (before as { mcpServers?: unknown } | undefined)?.mcpServers
  const isObject = (value: unknown): boolean =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  if (errors.length > 0 || !isObject(before) || (servers !== undefined && !isObject(servers)))
    throw new StartError('connect.file', `${path} is not the JSON that was expected. Nothing was changed.`)
  const whole = text.trim() === '' ? '{}' : text
  const edits = modify(whole, ['mcpServers', name], entry, {
    formattingOptions: { insertSpaces: true, tabSize: 2 },
  })
  return applyEdits(whole, edits)
}

/** Replaces the file in one step, with the mode that it had; a link stays a link. */
export const writeWhole = (path: string, text: string): void => {
  const target = existsSync(path) ? realpathSync(path) : path
  mkdirSync(dirname(target), { recursive: true })
  const mode = statSync(target, { throwIfNoEntry: false })?.mode ?? 0o600
  const temporary = `${target}.${process.pid}.postern`
  writeFileSync(temporary, text, { mode, flag: 'wx' })
  renameSync(temporary, target)
}

const byFile = ({ client }: ClientRecipe, { path, entry }: ClientFile, { id, url }: ServiceUrl): Change => ({
  ask: `Add ${id} to ${path}`,
  run() {
    const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
    const changed = withServer(text, path, id, entry(url))
    if (changed === text) return `${path} has this server already.`
    writeWhole(path, changed)
    return `Added ${id} to ${path}. Restart ${client} to use it.`
  },
})

const changeFor = (recipe: ClientRecipe, service: ServiceUrl): Change => {
  const file = clientFile(recipe.id)
  if (file) return byFile(recipe, file, service)
  if (recipe.commands.length > 0 && recipe.id !== 'inspector' && process.platform !== 'win32')
    return byCommands(recipe)
  throw new UsageError(
    `${recipe.client} has no configuration that can be written from here. Run the command without --write.`,
  )
}

export const agreed = async (ask: string, { yes }: Pick<ConnectOptions, 'yes'>): Promise<boolean> => {
  if (yes) return true
  if (!process.stdin.isTTY) throw new UsageError(`${ask}? Confirm with --yes.`)
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await lines.question(`${ask}? [y/N] `)
  lines.close()
  return /^y(?:es)?$/i.test(answer.trim())
}

/** Prints how to connect, or which clients there are. Throws `UsageError` and `StartError`. */
export const connectClient = async (
  client: string | undefined,
  options: ConnectOptions,
  target: AdminTarget,
): Promise<void> => {
  const service = chosen(await serviceUrls(target), options.service)
  const { id: name, url } = service
  const recipes = clientRecipes({ name, url, reachable: url.startsWith('https:') && !isLoopbackUrl(url) })
  if (client === undefined) {
    if (target.json) return target.json({ service: name, url, clients: recipes })
    return printTable(
      recipes.map((recipe) => [recipe.id, recipe.client, recipe.available ? '' : 'needs a public https URL']),
    )
  }
  const recipe = recipeFor(recipes, client)
  if (!options.write) {
    if (target.json) target.json({ service: name, url, ...recipe })
    else printRecipe(recipe, url)
    return
  }
  const change = changeFor(recipe, service)
  if (await agreed(change.ask, options)) print(change.run())
  else print('Nothing was changed.')
}
