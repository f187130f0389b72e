// What all commands are made of, and the commands that work on the state directory of a gateway, whether it runs or
// not: services, grants, clients, people, blocks, lock, tools.
import { type Command, Option } from 'commander'
import type { ToolFilter } from '../admin/tools-api.ts'
import type { Flags } from '../config/flags.ts'
import { suggest } from '../config/shape.ts'
import type { BlockOptions, GrantOptions, RecordOptions, RuleOptions } from './access.ts'
import type { AddOptions, AdminTarget } from './admin.ts'
import type { ConfigurationRequest } from './configuration.ts'
import { type Printer, UsageError, printJson } from './output.ts'
import { openStateDirectory, stateDirectory } from './state.ts'
import type { ToolOptions } from './tools.ts'

export interface Given {
  readonly config?: string
  readonly envFile?: string
  readonly state?: string
  readonly host?: string
  readonly port?: string
  readonly publicUrl?: string
  readonly debug?: boolean
  readonly logLevel?: string
  readonly workers?: string
  readonly printSignInLink?: boolean
  /** The name of the same flag in 0.1.0. */
  readonly printLoginLink?: boolean
  readonly json?: boolean
  /** `-o`, of commands that list or show something. */
  readonly output?: string
}

export const wantedOf = ({
  config,
  envFile,
  host,
  port,
  publicUrl,
  debug,
  logLevel,
  workers,
}: Given): ConfigurationRequest => {
  const flags: Flags = { host, port, issuer: publicUrl, debug, log_level: logLevel, workers }
  return { file: config, envFile, flags }
}

/** The error for a word that is not a command. */
export const noVerb = (command: Command, word: string): UsageError => {
  const verbs = command.commands.map((known) => known.name())
  const path = command.parent ? `postern ${command.name()}` : 'postern'
  const meant = suggest(word, verbs)
  return new UsageError(
    `Unknown command ${JSON.stringify(`${path} ${word}`)}${meant === undefined ? `. Commands: ${verbs.join(', ')}.` : `; did you mean "${path} ${meant}"?`}`,
  )
}

export const showHelp = (program: Command, words: readonly string[]): void => {
  let at = program
  for (const word of words) {
    const next = at.commands.find((command) => command.name() === word)
    if (!next) throw noVerb(at, word)
    at = next
  }
  at.outputHelp()
}

/** For a command that lists or shows something. */
export const withOutput = (command: Command, ...more: readonly string[]): Command =>
  command.addOption(
    new Option('-o, --output <form>', 'Output format.').choices(['table', 'json', 'yaml', ...more]),
  )

/** What prints a result for programs; undefined where people read it. */
export const printerOf = async ({ json, output }: Given): Promise<Printer | undefined> => {
  const form = output ?? (json ? 'json' : 'table')
  if (form === 'json') return printJson
  return form === 'yaml' ? (await import('./yaml-output.ts')).createYamlPrinter() : undefined
}

/** Adds a command with the settings that all commands share. */
export const verb = (parent: Command, name: string, about: string): Command => {
  const command = parent.command(name).description(about).allowExcessArguments(false)
  return name === 'ls' || name === 'show' ? withOutput(command) : command
}

/** Adds a command that only holds others. */
export const group = (program: Command, name: string, about: string): Command =>
  verb(program, name, about)
    .helpCommand(false)
    .allowExcessArguments(true)
    .action((_, command: Command) => {
      const [word] = command.args
      if (word === 'help') return showHelp(program, [name, ...command.args.slice(1)])
      throw word === undefined
        ? new UsageError(
            `Missing command after "postern ${name}". Commands: ${command.commands.map((known) => known.name()).join(', ')}.`,
          )
        : noVerb(command, word)
    })

/** What the commands on the state directory need. */
export const targetOf = async (command: Command): Promise<AdminTarget> => {
  const given = command.optsWithGlobals<Given>()
  const { loadOrThrow } = await import('./configuration.ts')
  const { config, env } = await loadOrThrow(wantedOf(given), process.env)
  const stateDir = stateDirectory(given.state, env)
  openStateDirectory(stateDir)
  return { config, stateDir, env, json: await printerOf(given) }
}

export const addServiceVerbs = (services: Command): void => {
  const load = () => import('./admin.ts')
  verb(services, 'ls', 'List all services, configured and added.').action(async (_, command: Command) =>
    (await load()).listServices(await targetOf(command)),
  )
  verb(services, 'show', 'Show a service and its URLs.')
    .argument('<id>')
    .action(async (id: string, _, command: Command) =>
      (await load()).showService(await targetOf(command), id),
    )
  verb(services, 'add', 'Check an MCP server and start serving it, without a restart.')
    .argument('<id>', 'Service ID, used in the URL.')
    .argument(
      '<server...>',
      'URL of the MCP server (without a path, /mcp is used), or a command and its arguments after --.',
    )
    .option('--name <text>', 'Display name.')
    .option('--description <text>', 'One sentence shown on the consent page.')
    .option('--alias <label>', 'Short label for its encoded host.')
    .option('--public', 'Allow access without sign-in.')
    .option('--force', 'Add the service even if the check fails.')
    .action(async (id: string, words: string[], options: AddOptions, command: Command) =>
      (await load()).addService(await targetOf(command), id, words, options),
    )
  verb(services, 'rm', 'Remove an added service and end its open streams.')
    .argument('<id>')
    .action(async (id: string, _, command: Command) =>
      (await load()).removeService(await targetOf(command), id),
    )
}

export const addFilter = (command: Command): Command =>
  command
    .option('--user <user>', 'Only of this user: provider:subject or email address.')
    .option('--client <id>', 'Only of the app with this client_id.')
    .option('--domain <host>', 'Only of apps with a metadata document at this host or below.')
    .option('--service <id>', 'Only for this service.')

const revokeUpstream = 'Remove the accounts of the users at the MCP servers, too, and revoke their tokens.'

export const addAccessVerbs = (grants: Command, blocks: Command): void => {
  const load = () => import('./access.ts')
  addFilter(verb(grants, 'ls', 'List which apps have access, to what and as whom.')).action(
    async (options: GrantOptions, command: Command) =>
      (await load()).listGrants(await targetOf(command), options),
  )
  verb(grants, 'show', 'Show a grant.')
    .argument('<id>')
    .action(async (id: string, _, command: Command) => (await load()).showGrant(await targetOf(command), id))
  addFilter(verb(grants, 'revoke', 'End a grant, or all grants of a user, an app or a service.'))
    .argument('[id]')
    .option('--dry-run', 'Print what would end.')
    .option('--revoke-upstream', revokeUpstream)
    .action(async (id: string | undefined, options: GrantOptions, command: Command) =>
      (await load()).revokeGrants(await targetOf(command), id, options),
    )
  verb(blocks, 'ls', 'List who is blocked.').action(async (_, command: Command) =>
    (await load()).listBlocks(await targetOf(command)),
  )
  const party = (command: Command): Command =>
    command
      .option('--user <user>', 'provider:subject or email address.')
      .option('--client <id>', 'client_id of an app.')
      .option('--domain <host>', 'Apps with a metadata document at this host or below.')
  party(
    verb(
      blocks,
      'add',
      'Block a user, an app, the apps of a domain, or those of a user, and end their access.',
    ),
  )
    .option('--force', 'Block the last administrator, too.')
    .option('--dry-run', 'Print what would end.')
    .option('--revoke-upstream', revokeUpstream)
    .action(async (options: BlockOptions, command: Command) =>
      (await load()).addBlock(await targetOf(command), options),
    )
  party(verb(blocks, 'rm', 'Unblock, with the same options.')).action(
    async (options: BlockOptions, command: Command) =>
      (await load()).removeBlock(await targetOf(command), options),
  )
}

/** `clients` and `people`: the grants by app and by user. */
export const addHolderVerbs = (clients: Command, people: Command): void => {
  const load = () => import('./access.ts')
  const sides = [
    ['clients', clients, 'apps', '<client-id>', 'client_id of the app.'],
    ['people', people, 'users', '<user>', 'provider:subject or email address.'],
  ] as const
  for (const [side, parent, many, argument, about] of sides) {
    addFilter(verb(parent, 'ls', `List the ${many} that have access.`)).action(
      async (options: GrantOptions, command: Command) =>
        (await load()).listHolders(await targetOf(command), side, options),
    )
    verb(parent, 'show', 'Show one of them with all grants.')
      .argument(argument, about)
      .action(async (id: string, _, command: Command) =>
        (await load()).showHolder(await targetOf(command), side, id),
      )
  }
}

/** `lock` and `unlock`, and the same for one service. */
export const addLockVerbs = (program: Command, services: Command): void => {
  const load = () => import('./access.ts')
  verb(
    program,
    'lock',
    'Answer every MCP request with 503 until unlock. Administrators keep their pages.',
  ).action(async (_, command: Command) => (await load()).closeAccess(await targetOf(command)))
  verb(program, 'unlock', 'Serve MCP requests again.').action(async (_, command: Command) =>
    (await load()).openAccess(await targetOf(command)),
  )
  const verbs = [
    ['disable', 'Answer every MCP request to a service with 503 until it is enabled.', 'closeAccess'],
    ['enable', 'Serve a disabled service again.', 'openAccess'],
  ] as const
  for (const [name, about, run] of verbs)
    verb(services, name, about)
      .argument('<id>')
      .action(async (id: string, _, command: Command) => (await load())[run](await targetOf(command), id))
}

const addRecordOptions = (command: Command): Command =>
  command
    .option('--user <user>', 'provider:subject or verified email address.')
    .option('--service <id...>', 'Services, or patterns of service IDs.')
    .option('--permission <permission...>', 'read (default), write, execute or admin.')
    .option('--group <name...>', 'Groups of access.groups.')

export const addRuleVerbs = (access: Command): void => {
  const load = () => import('./access.ts')
  verb(access, 'ls', 'List stored access rules.').action(async (_, command: Command) =>
    (await load()).listRules(await targetOf(command)),
  )
  verb(access, 'show', 'Show a stored access rule.')
    .argument('<id>')
    .action(async (id: string, _, command: Command) => (await load()).showRule(await targetOf(command), id))
  addRecordOptions(
    verb(access, 'grant', 'Let a user use services, make them a member of groups, or add a rule.'),
  )
    .option('--rule <json>', 'A rule as in access.allow.')
    .action(async (options: RuleOptions, command: Command) =>
      (await load()).grantAccess(await targetOf(command), options),
    )
  verb(access, 'deny', 'Add a rule that denies access.')
    .requiredOption('--rule <json>', 'A rule as in access.deny.')
    .action(async (options: { readonly rule: string }, command: Command) =>
      (await load()).denyAccess(await targetOf(command), options),
    )
  addRecordOptions(verb(access, 'revoke', 'Remove a stored access rule, or what a user was granted.'))
    .argument('[id]')
    .action(async (id: string | undefined, options: RecordOptions, command: Command) =>
      (await load()).revokeAccess(await targetOf(command), id, options),
    )
}

export const addToolVerbs = (tools: Command): void => {
  const load = () => import('./tools.ts')
  verb(tools, 'ls', 'List pinned tools and prompts, and whether their definitions are approved.')
    .option('--service <id>', 'Only of this service.')
    .addOption(
      new Option('--state <state>', 'Only in this state.').choices(['approved', 'new', 'changed', 'blocked']),
    )
    .action(async (options: ToolFilter, command: Command) =>
      (await load()).listTools(await targetOf(command), options),
    )
  const named = (name: string, about: string): Command =>
    verb(tools, name, about)
      .argument('<service>', 'Service ID.')
      .argument('<name>', 'Name of the tool.')
      .option('--prompt', 'The name is that of a prompt.')
  named('show', 'Show what changed in a definition since it was approved.').action(
    async (service: string, name: string, options: ToolOptions, command: Command) => {
      const { namedTool, showTool } = await load()
      await showTool(await targetOf(command), namedTool(service, name, options))
    },
  )
  named('approve', 'Approve the definition with this digest.')
    .argument('<digest>', 'The digest that ls and show print.')
    .action(async (service: string, name: string, digest: string, options: ToolOptions, command: Command) => {
      const { approveTool, namedTool } = await load()
      await approveTool(await targetOf(command), namedTool(service, name, options), digest)
    })
  named('block', 'Hide a tool and refuse its calls, whatever its definition.').action(
    async (service: string, name: string, options: ToolOptions, command: Command) => {
      const { blockTool, namedTool } = await load()
      await blockTool(await targetOf(command), namedTool(service, name, options))
    },
  )
}
