// The command line: verbs, flags, help. Each verb loads its own code, so that `postern version` does not load a gateway.
import { Command, InvalidArgumentError, Option } from 'commander'
import { faultText } from '../config/fault.ts'
import { type Flags, configFlags, otherFlags } from '../config/flags.ts'
import { suggest } from '../config/suggest.ts'
import { ConfigError, UsageError, print, printJson, printNote } from './answer.ts'
import type { Wanted } from './configuration.ts'
import type { AddOptions } from './services-add.ts'
import { commandFor, programName } from './started-as.ts'
import { openStateDirectory, stateDirectory } from './state.ts'
import { versionOf, versionText } from './version.ts'
import type { Place } from './services.ts'
import type { WrapOptions } from './wrap.ts'

interface Given {
  readonly config?: string
  readonly envFile?: string
  readonly state?: string
  readonly host?: string
  readonly port?: string
  readonly publicUrl?: string
  readonly debug?: boolean
  readonly logLevel?: string
  readonly printLoginLink?: boolean
  readonly json?: boolean
}

const port = (text: string): string => {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) throw new InvalidArgumentError('It must be a number from 0 to 65535.')
  return text
}

const option = ({ option: form, note, choices }: { readonly option: string; readonly note: string; readonly choices?: readonly string[] }): Option => {
  const made = new Option(form, note)
  if (form.startsWith('--port')) return made.argParser(port)
  return choices ? made.choices(choices) : made
}

const wantedOf = ({ config, envFile, host, port, publicUrl, debug, logLevel }: Given): Wanted => {
  const flags: Flags = { host, port, issuer: publicUrl, debug, log_level: logLevel }
  return { file: config, envFile, flags }
}

/** What to say of a word that is no verb of this command. */
const noVerb = (command: Command, word: string): UsageError => {
  const verbs = command.commands.map((known) => known.name())
  const path = command.parent ? `postern ${command.name()}` : 'postern'
  const meant = suggest(word, verbs)
  return new UsageError(meant === undefined ? `There is no command ${JSON.stringify(`${path} ${word}`)}; there are: ${verbs.join(', ')}.` : `There is no command ${JSON.stringify(`${path} ${word}`)}, did you mean "${path} ${meant}"?`)
}

const serve = async (given: Given, more: Flags = {}): Promise<void> => {
  const { loadConfiguration, loadOrThrow, privateFilesOf } = await import('./configuration.ts')
  const wanted = { ...wantedOf(given), flags: { ...wantedOf(given).flags, ...more } }
  const { config, warnings, file, path, env, privateFiles, unusable } = await loadOrThrow(wanted, process.env)
  if (more.wrapped && unusable.length > 0) throw new ConfigError(unusable)
  const { start } = await import('./start.ts')
  await start({
    config,
    source: { file, path, load: () => loadConfiguration(wanted, process.env) },
    warnings: [...warnings, ...unusable].map(faultText),
    stateDir: stateDirectory(given.state, env),
    env,
    privateFiles: privateFilesOf(wanted, { path, privateFiles }),
    tty: process.stdout.isTTY,
    logLevel: config.debug ? 'debug' : config.log_level,
    showStderr: more.wrapped !== undefined && process.stdout.isTTY,
    wrapped: more.wrapped?.id,
    printLink: given.printLoginLink === true,
    program: programName(process.env),
    command: commandFor(process.env, given),
  })
}

const several = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

const addWrap = (program: Command, verb: (parent: Command, name: string, about: string) => Command): void => {
  verb(program, 'wrap', 'Serve one command on this computer: postern wrap -- npx -y some-server.')
    .argument('<command...>', 'The command and its arguments, after --.')
    .option('--name <id>', 'Its name in the path; otherwise made from the command.')
    .option('-e, --env <name[=value]>', 'A variable for it, from here or with this value; may stand several times.', several)
    .option('--cwd <dir>', 'Its working directory; otherwise this one, unless that is a home.')
    .option('--read <path>', 'A further place it may read; may stand several times.', several)
    .option('--write <path>', 'A place it may change; may stand several times.', several)
    .option('--no-network', 'Without the network.')
    .option('--no-sandbox', 'Without isolation.')
    .action(async (words: string[], options: WrapOptions, command: Command) => {
      const given = command.optsWithGlobals<Given>()
      const [{ wrapped }, { readVariables }] = await Promise.all([import('./wrap.ts'), import('./env-file.ts')])
      await serve(given, wrapped(words, options, readVariables(given.envFile, process.env).env, process.cwd()))
    })
}

const adminLink = async (given: Given): Promise<void> => {
  const { loadOrThrow } = await import('./configuration.ts')
  const { config, env } = await loadOrThrow(wantedOf(given), process.env)
  const { adminLink: mint } = await import('./admin.ts')
  const stateDir = stateDirectory(given.state, env)
  openStateDirectory(stateDir)
  const { link, others } = await mint({ config, stateDir })
  if (given.json) printJson({ login_link: link, ...(others.length > 0 ? { other_gateways: others } : {}) })
  else print(link)
  if (others.length > 0 && !given.json) {
    printNote(`${others.length + 1} gateways run on this state directory. The link is for ${new URL(link).origin}, which started last; it works once, at any of them: put its ?t=… behind ${others.map((url) => `${url}/`).join(' or ')} instead.`)
  }
}

/** What every verb of `postern services` needs. */
const servicesPlace = async (given: Given): Promise<Place> => {
  const { loadOrThrow } = await import('./configuration.ts')
  const { config, env } = await loadOrThrow(wantedOf(given), process.env)
  const stateDir = stateDirectory(given.state, env)
  openStateDirectory(stateDir)
  return { config, stateDir, env, json: given.json === true }
}

const addServiceVerbs = (services: Command, verb: (parent: Command, name: string, about: string) => Command): void => {
  const load = () => import('./services.ts')
  verb(services, 'ls', 'List the services: those of the configuration, and those that were added.').action(async (_, command: Command) =>
    (await load()).listServices(await servicesPlace(command.optsWithGlobals<Given>())),
  )
  verb(services, 'show', 'Show one service and its addresses.')
    .argument('<id>')
    .action(async (id: string, _, command: Command) => (await load()).showService(await servicesPlace(command.optsWithGlobals<Given>()), id))
  verb(services, 'add', 'Look at an MCP server step by step, and serve it from now on, without a restart.')
    .argument('<id>', 'Its name here and in its path.')
    .argument('<server...>', 'Its MCP endpoint (without a path, /mcp is added), or a command on this computer and its arguments, after --.')
    .option('--name <text>', 'Display name.')
    .option('--description <text>', 'One sentence for the consent page.')
    .option('--alias <label>', 'Short name of its encoded host.')
    .option('--public', 'Nobody signs in for it.')
    .option('--force', 'Add it although nothing useful answers there yet.')
    .action(async (id: string, words: string[], options: AddOptions, command: Command) => (await import('./services-add.ts')).addService(await servicesPlace(command.optsWithGlobals<Given>()), id, words, options))
  verb(services, 'rm', 'Remove a service that was added; its open streams end.')
    .argument('<id>')
    .action(async (id: string, _, command: Command) => (await load()).removeService(await servicesPlace(command.optsWithGlobals<Given>()), id))
}

const showHelp = (program: Command, words: readonly string[]): void => {
  let at = program
  for (const word of words) {
    const next = at.commands.find((command) => command.name() === word)
    if (!next) throw noVerb(at, word)
    at = next
  }
  at.outputHelp()
}

const showVersion = (given: Given): void => {
  const version = versionOf()
  if (given.json) printJson(version)
  else print(versionText(version))
}

const addAboutVerbs = (program: Command, verb: (parent: Command, name: string, about: string) => Command): void => {
  verb(program, 'help', 'Print the help of a command: postern help services add.')
    .argument('[command...]')
    .action((words: string[]) => showHelp(program, words))
  verb(program, 'version', 'Print the version.').action((_, command: Command) => showVersion(command.optsWithGlobals<Given>()))
}

/** The whole command tree. Flags stand before or after the verb; where a verb has no use for one it is ignored. */
export const createProgram = (): Command => {
  const program = new Command('postern')
    .description('One door in front of any number of MCP servers.')
    .version(versionText(versionOf()), '-V, --version', 'Print the version.')
    .helpOption('-h, --help', 'Print this help.')
    .helpCommand(false)
    .allowExcessArguments(true)
    .showSuggestionAfterError(true)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ outputError: () => undefined })
    .exitOverride()
  for (const flag of [...otherFlags, ...configFlags]) program.addOption(option(flag))
  program.option('--json', 'Print results and errors as JSON.')
  const group = (name: string, about: string): Command =>
    verb(program, name, about)
      .helpCommand(false)
      .allowExcessArguments(true)
      .action((_, command: Command) => {
        const [word] = command.args
        if (word === 'help') return showHelp(program, [name, ...command.args.slice(1)])
        throw word === undefined ? new UsageError(`postern ${name} needs one of: ${command.commands.map((known) => known.name()).join(', ')}.`) : noVerb(command, word)
      })
  const verb = (parent: Command, name: string, about: string): Command => parent.command(name).description(about).copyInheritedSettings(program).allowExcessArguments(false)

  verb(program, 'serve', 'Start the gateway (also without a command).').action((_, command: Command) => serve(command.optsWithGlobals<Given>()))
  addWrap(program, verb)
  verb(program, 'validate', 'Check the configuration without starting the gateway; with --connect also everything that it names.')
    .option('--connect', 'Ask identity providers for their metadata and keys, and servers whether they speak MCP; start commands once.')
    .action(async (_, command: Command) => {
      const given = command.optsWithGlobals<Given & { readonly connect?: true }>()
      const { validate } = await import('./config-verbs.ts')
      if (!(await validate(wantedOf(given), process.env, { connect: given.connect === true, json: given.json === true, stateDir: (env) => stateDirectory(given.state, env) }))) process.exitCode = 1
    })
  const config = group('config', 'Look at the configuration: schema, explain.')
  verb(config, 'schema', 'Print the JSON Schema of the configuration file, for editors.').action(async () => (await import('./config-verbs.ts')).printSchema())
  verb(config, 'explain', 'Print each key, its value and where that came from; secrets are masked.')
    .argument('[key]', 'A key or a section, e.g. cors or mcp_services.calculator.url.')
    .action(async (key: string | undefined, _, command: Command) => {
      const given = command.optsWithGlobals<Given>()
      await (await import('./config-verbs.ts')).explainConfig(key, wantedOf(given), process.env, given.json === true)
    })
  verb(program, 'hash-password', 'Read a password and print the hash for local_users; with --scrypt one that Workers can verify too.')
    .option('--scrypt', 'scrypt in place of argon2id, which Workers do not have.')
    .action(async (_, command: Command) => {
      const given = command.optsWithGlobals<Given & { readonly scrypt?: true }>()
      await (await import('./hash-password.ts')).hashPassword({ json: given.json === true, scrypt: given.scrypt === true })
    })
  const admin = group('admin', 'Administer a gateway on this computer: link.')
  verb(admin, 'link', 'Print a new one-time login link for the built-in person.').action((_, command: Command) => adminLink(command.optsWithGlobals<Given>()))
  addServiceVerbs(group('services', 'Add and remove MCP servers while the gateway runs: ls, show, add, rm.'), verb)
  addAboutVerbs(program, verb)

  return program.action(async (given: Given, command: Command) => {
    const [word] = command.args
    if (word !== undefined) throw noVerb(command, word)
    await serve(given)
  })
}
