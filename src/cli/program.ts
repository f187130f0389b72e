// The command line: commands, flags, help. Each command loads its own code, so that `postern version` does
// not load a gateway.
import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import { type Flags, configFlags, otherFlags } from '../config/flags.ts'
import { type Fault, faultText } from '../config/tree.ts'
import { addConnect, addDoctor, addHealthcheck, addStatus, addValidate } from './check-verbs.ts'
import { type Shell, shells } from './completion.ts'
import { addBindingVerbs } from './client-bindings.ts'
import { addConnectionVerbs } from './connections.ts'
import { ConfigError, commandFor, exitCodes, packageVersion, print, programName } from './output.ts'
import type { ExplainOptions } from './policy.ts'
import type { ReplayOptions } from './replay.ts'
import { stateDirectory } from './state.ts'
import { addIssuerVerbs } from './issuers.ts'
import { addSetupVerbs } from './setup-verbs.ts'
import { addKeyVerbs, addSessionVerbs } from './sessions.ts'
import type { BackupOptions, RestoreOptions } from './backup.ts'
import type { CopyStoreOptions } from './store-copy.ts'
import { addLogin, addTokenVerbs } from './token-verbs.ts'
import { addAuditVerbs, addFlowVerbs } from './trail-verbs.ts'
import {
  type Given,
  addAccessVerbs,
  addRuleVerbs,
  addHolderVerbs,
  addLockVerbs,
  addServiceVerbs,
  addToolVerbs,
  group,
  noVerb,
  printerOf,
  showHelp,
  targetOf,
  verb,
  wantedOf,
  withOutput,
} from './verbs.ts'
import type { Ready, WrapOptions } from './wrap.ts'

// `postern version`.

export interface Version {
  readonly version: string
  readonly node: string
  readonly platform: string
}

export const versionOf = (): Version => ({
  version: packageVersion(),
  node: process.versions.node,
  platform: `${process.platform} ${process.arch}`,
})

export const versionText = ({ version, node, platform }: Version): string =>
  `postern ${version} · node ${node} · ${platform}`

const port = (text: string): string => {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535)
    throw new InvalidArgumentError('Use a number from 0 to 65535.')
  return text
}

const option = ({
  option: form,
  note,
  choices,
}: {
  readonly option: string
  readonly note: string
  readonly choices?: readonly string[]
}): Option => {
  const made = new Option(form, note)
  if (form.startsWith('--port')) return made.argParser(port)
  return choices ? made.choices(choices) : made
}

const renamedFlag: Fault = {
  key: '',
  origin: { from: 'flag', name: '--print-login-link' },
  what: 'is the former name of --print-sign-in-link; use the new one',
}

const serve = async (given: Given, more: Flags = {}, ready?: Ready): Promise<void> => {
  const { loadConfiguration, loadOrThrow, privateFilesOf } = await import('./configuration.ts')
  const wanted = { ...wantedOf(given), flags: { ...wantedOf(given).flags, ...more } }
  const loaded = await loadOrThrow(wanted, process.env)
  const { config, sources, warnings, file, path, env, privateFiles, unusable } = loaded
  if (more.wrapped && unusable.length > 0) throw new ConfigError(unusable)
  const { start } = await import('./serve.ts')
  await start({
    config,
    source: {
      file,
      path,
      load: () => loadConfiguration(wanted, process.env),
      sources: { now: sources },
    },
    warnings: [...warnings, ...unusable, ...(given.printLoginLink ? [renamedFlag] : [])].map(faultText),
    stateDir: stateDirectory(given.state, env),
    env,
    privateFiles: privateFilesOf(wanted, { path, privateFiles }),
    tty: process.stdout.isTTY,
    logLevel: config.debug ? 'debug' : config.log_level,
    showStderr: more.wrapped !== undefined && process.stdout.isTTY,
    wrapped: more.wrapped?.id,
    printLink: given.printSignInLink === true || given.printLoginLink === true,
    program: programName(process.env),
    command: commandFor(process.env, given),
    ...(ready && { ready }),
  })
}

const several = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

const addWrap = (program: Command): void => {
  verb(
    program,
    'wrap',
    'Serve one stdio server without a configuration file: postern wrap -- npx -y some-server.',
  )
    .argument('<command...>', 'The command and its arguments, after --.')
    .option('--name <id>', 'Service ID, used in the URL. Default: derived from the command.')
    .option(
      '-e, --env <name[=value]>',
      'Environment variable for the command; without a value, copied from this environment. Repeatable.',
      several,
    )
    .option(
      '--cwd <dir>',
      'Working directory of the command. Default: the current directory, unless it is a home directory.',
    )
    .option('--read <path>', 'Additional path the command may read. Repeatable.', several)
    .option('--write <path>', 'Path the command may change. Repeatable.', several)
    .option('--no-network', 'Block network access.')
    .option('--no-sandbox', 'Run without isolation.')
    .addOption(
      new Option(
        '--tunnel [program]',
        'Start a tunnel program that is installed, and serve at its public URL.',
      ).choices(['cloudflared', 'tailscale', 'ngrok']),
    )
    .action(async (words: string[], options: WrapOptions, command: Command) => {
      const given = command.optsWithGlobals<Given>()
      const [{ wrapped }, { readVariables }] = await Promise.all([
        import('./wrap.ts'),
        import('./configuration.ts'),
      ])
      const flags = wrapped(words, options, readVariables(given.envFile, process.env).env, process.cwd())
      const { serveWrapped } = await import('./tunnel.ts')
      await serveWrapped(given, options, (more, ready) => serve({ ...given, ...more }, flags, ready))
    })
}

const showVersion = async (given: Given): Promise<void> => {
  const version = versionOf()
  const show = (await printerOf(given)) ?? (() => print(versionText(version)))
  show(version)
}

const addAboutVerbs = (program: Command): void => {
  verb(program, 'help', 'Print help for a command: postern help services add.')
    .argument('[command...]')
    .action((words: string[]) => showHelp(program, words))
  verb(program, 'completion', 'Print a completion script for a shell: source <(postern completion bash).')
    .addArgument(new Argument('<shell>').choices(shells))
    .action(async (shell: Shell) => (await import('./completion.ts')).printCompletion(shell, program))
  withOutput(verb(program, 'version', 'Print the version.')).action((_, command: Command) =>
    showVersion(command.optsWithGlobals<Given>()),
  )
}

const addConfigVerbs = (config: Command): void => {
  const load = () => import('./config.ts')
  verb(config, 'schema', 'Print the JSON Schema of the configuration file.').action(async () =>
    (await load()).printSchema(),
  )
  withOutput(verb(config, 'explain', 'Print each key with its value and source. Secrets are masked.'))
    .argument('[key]', 'Key or section, e.g. cors or mcp_services.calculator.url.')
    .action(async (key: string | undefined, _, command: Command) => {
      const given = command.optsWithGlobals<Given>()
      await (await load()).explainConfig(key, wantedOf(given), process.env, await printerOf(given))
    })
}

const addPolicyVerbs = (policy: Command): void => {
  const load = () => import('./policy.ts')
  withOutput(verb(policy, 'explain', 'Explain whether a user may call a tool, rule by rule.'))
    .requiredOption('--as <user>', 'The user: provider:subject, an email address, or anonymous.')
    .requiredOption('--tool <service:tool>', 'The tool, e.g. jira:create_issue.')
    .option('--groups <names>', 'Groups of the user, separated by commas. Default: those of the local user.')
    .option('--client <id>', 'client_id of the app. Default: an app that registered itself.')
    .option('--redirect <host>', 'https host that the authorization code of the app went to. Default: none.')
    .option('--arguments <json>', 'Arguments of the call, as a JSON object.')
    .option('--consent <level>', 'What the user let the app do: read, write, execute or admin (the default).')
    .action(async (options: ExplainOptions, command: Command) => {
      const given = command.optsWithGlobals<Given>()
      await (await load()).explainPolicy(options, wantedOf(given), process.env, await printerOf(given))
    })
  verb(policy, 'test', 'Run the examples in access.tests.').action(async (_, command: Command) => {
    const given = command.optsWithGlobals<Given>()
    const passed = await (await load()).testPolicy(wantedOf(given), process.env, await printerOf(given))
    if (!passed) process.exitCode = exitCodes.failed
  })
  verb(policy, 'replay', 'Print which calls of the audit trail other rules would have refused or allowed.')
    .argument('<config>', 'A configuration file with the changed rules.')
    .option('--since <time>', 'How far back: 24h, 7d, or a date.', '24h')
    .addOption(
      new Option('--groups <when>', 'Groups of users: as they were, or as local_users has them now.')
        .choices(['then', 'now'])
        .default('then'),
    )
    .addOption(
      new Option(
        '--fail-on <change>',
        'Exit with 1 if a call would be refused, or allowed, that was not.',
      ).choices(['refused', 'granted']),
    )
    .action(async (file: string, options: ReplayOptions, command: Command) => {
      const { replayPolicy } = await import('./replay.ts')
      const failed = await replayPolicy(file, options, await targetOf(command))
      if (failed) process.exitCode = exitCodes.failed
    })
}

const addHashPassword = (program: Command): void => {
  verb(program, 'hash-password', 'Read a password and print its hash for local_users.')
    .option('--scrypt', 'Use scrypt instead of argon2id. Required for Workers.')
    .action(async (_, command: Command) => {
      const given = command.optsWithGlobals<Given & { readonly scrypt?: true }>()
      const { hashPassword } = await import('./admin.ts')
      await hashPassword({ json: await printerOf(given), scrypt: given.scrypt === true })
    })
}

const createRoot = (): Command => {
  const program = new Command('postern')
    .description('OAuth gateway for MCP servers.')
    .version(versionText(versionOf()), '-V, --version', 'Print the version.')
    .helpOption('-h, --help', 'Print this help.')
    .helpCommand(false)
    .allowExcessArguments(true)
    .showSuggestionAfterError(true)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: () => undefined })
    .exitOverride()
  for (const flag of [...otherFlags, ...configFlags]) program.addOption(option(flag))
  return program
    .addOption(new Option('--print-login-link').hideHelp())
    .option('--json', 'Print results and errors as JSON.')
}

/**
 * The words with those behind `--` that begin with `-` and are no flags: the ID of a grant (one of 64 does) and a
 * negated search term, `-decision:allowed`.
 */
export const argumentsOf = (words: readonly string[]): readonly string[] => {
  const end = words.indexOf('--')
  const before = end === -1 ? words : words.slice(0, end)
  if (before.includes('wrap')) return words
  const isValue = (word: string): boolean => /^-(?:[a-z_]+:.*|[\w-]{31})$/s.test(word)
  const values = before.filter(isValue)
  return values.length === 0
    ? words
    : [...before.filter((word) => !isValue(word)), '--', ...values, ...words.slice(before.length + 1)]
}

// `postern store`.

const addStoreVerbs = (store: Command): void => {
  const type = (flags: string, about: string): Option =>
    new Option(`${flags} <type>`, about)
      .choices(['sqlite', 'redis', 'postgres', 'vault'])
      .makeOptionMandatory()
  verb(store, 'copy', 'Copy all records to another storage, and compare them. The gateway must be stopped.')
    .addOption(type('--from', 'Where the records are.'))
    .addOption(type('--to', 'Where they go: an empty storage, or one where this copy was interrupted.'))
    .action(async (options: CopyStoreOptions, command: Command) =>
      (await import('./store-copy.ts')).copyStore(await targetOf(command), options),
    )
  verb(store, 'migrate', 'Make or change the tables in PostgreSQL, as the start of the gateway does.')
    .option('--dry-run', 'Print the SQL, and change nothing.')
    .action(async ({ dryRun }: { readonly dryRun?: true }, command: Command) =>
      (await import('./store-migrate.ts')).migrateStore(await targetOf(command), dryRun === true),
    )
}

// `postern backup`, `postern restore`.

const addBackup = (program: Command): void => {
  verb(program, 'backup', 'Write all records of the gateway to a file. The gateway may be running.')
    .argument('<file>', 'A new file.')
    .option(
      '--with-root-key',
      'Include root.key, sealed with a passphrase from the terminal or standard input.',
    )
    .action(async (file: string, options: BackupOptions, command: Command) =>
      (await import('./backup.ts')).backUp(await targetOf(command), file, options),
    )
  verb(program, 'restore', 'Restore a backup, and compare it. The gateway must be stopped.')
    .argument('<file>', 'What `postern backup` wrote.')
    .option('--replace', 'First remove all records that are there. Without it, the storage must be empty.')
    .action(async (file: string, options: RestoreOptions, command: Command) =>
      (await import('./backup.ts')).restore(await targetOf(command), file, options),
    )
}

/**
 * The whole command tree. Flags can come before or after the command; those that a command does not use are
 * ignored.
 */
export const createProgram = (): Command => {
  const program = createRoot()
  verb(program, 'serve', 'Start the gateway (the default command).').action((_, command: Command) =>
    serve(command.optsWithGlobals<Given>()),
  )
  addWrap(program)
  addSetupVerbs(program)
  addValidate(program)
  addDoctor(program)
  addStatus(program)
  addHealthcheck(program)
  addConnect(program)
  addConfigVerbs(group(program, 'config', 'Inspect the configuration: schema, explain.'))
  addPolicyVerbs(group(program, 'policy', 'Check the access rules: explain, test, replay.'))
  addAuditVerbs(group(program, 'audit', 'Read the audit trail: query, export, verify.'))
  addFlowVerbs(
    group(program, 'flows', 'See how apps got access, and where they stopped: ls, show, report, tail.'),
  )
  addLogin(program)
  addHashPassword(program)
  const admin = group(program, 'admin', 'Manage a gateway on this computer: link.')
  verb(admin, 'link', 'Print a new one-time sign-in link for the built-in user.').action(
    async (_, command: Command) => (await import('./admin.ts')).printLink(await targetOf(command)),
  )
  const services = group(
    program,
    'services',
    'Manage MCP servers while the gateway runs: ls, show, add, rm, disable, enable.',
  )
  addServiceVerbs(services)
  addLockVerbs(program, services)
  addRuleVerbs(group(program, 'access', 'Manage stored access rules: ls, show, grant, deny, revoke.'))
  addAccessVerbs(
    group(program, 'grants', 'See and end the access of apps: ls, show, revoke.'),
    group(program, 'blocks', 'Block users and apps: ls, add, rm.'),
  )
  const clients = group(
    program,
    'clients',
    'See which apps have access, and bind those that act as service accounts: ls, show, bind, unbind, bindings.',
  )
  addBindingVerbs(clients)
  addHolderVerbs(clients, group(program, 'people', 'See which users have access: ls, show.'))
  addToolVerbs(group(program, 'tools', 'See and approve changes of tools: ls, show, approve, block.'))
  addStoreVerbs(group(program, 'store', 'Move the records of the gateway, and its tables: copy, migrate.'))
  addBackup(program)
  addTokenVerbs(group(program, 'token', 'Manage personal access tokens: create, ls, revoke, mint.'))
  addIssuerVerbs(group(program, 'issuers', 'See issuers of assertions, and test an assertion: ls, test.'))
  addConnectionVerbs(
    group(program, 'connections', 'See, connect and end accounts at MCP servers: ls, connect, rm.'),
  )
  addSessionVerbs(group(program, 'sessions', 'See and end browser sessions: ls, end.'))
  addKeyVerbs(group(program, 'keys', 'See and rotate the keys that sign access tokens: ls, rotate.'))
  addAboutVerbs(program)
  return program.action(async (given: Given, command: Command) => {
    const [word] = command.args
    if (word !== undefined) throw noVerb(command, word)
    await serve(given)
  })
}
