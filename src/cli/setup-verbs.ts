// Commands that bring a gateway into being, and servers into it and out of it: init, import, export, dev.
import { type Command, Option } from 'commander'
import { exportForms, signIns } from '../config/flags.ts'
import type { DevOptions } from './dev.ts'
import type { ExportServicesOptions } from './export.ts'
import type { ImportOptions } from './import.ts'
import type { InitOptions } from './init.ts'
import { type Given, printerOf, targetOf, verb, wantedOf } from './verbs.ts'

const several = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

const addInit = (program: Command): void => {
  verb(program, 'init', 'Ask what a first configuration needs, and write postern.yaml.')
    .addOption(new Option('--sign-in <method>', 'Who signs in. Default: you, with a link.').choices(signIns))
    .option('--user <name>', 'Username or email address, for --sign-in local.')
    .option('--client-id <id>', 'client_id at the identity provider.')
    .option('--tenant <id>', 'Directory (tenant) ID, for entra.')
    .option('--issuer <url>', 'Issuer, for openid.')
    .option('--allow <list>', 'Email domains or addresses that may sign in.')
    .option('--server <url-or-command>', 'The first MCP server.')
    .option('--force', 'Replace an existing file.')
    .option('--yes', 'Do not ask.')
    .action(async (options: InitOptions, command: Command) => {
      const { init } = await import('./init.ts')
      await init(wantedOf(command.optsWithGlobals<Given>()), options, process.env)
    })
}

const addImport = (program: Command): void => {
  verb(
    program,
    'import',
    'Make services of the MCP servers in a client’s configuration, or of an entry of the MCP registry.',
  )
    .argument(
      '<source>',
      'claude-desktop, claude-code, cursor, vscode, windsurf, gemini-cli, lm-studio, a file, the URL of a registry entry, or -.',
    )
    .option('--write', 'Add them to the configuration file, and their secrets to .env, after asking.')
    .option('--yes', 'Do not ask.')
    .action(async (source: string, options: ImportOptions, command: Command) => {
      const given = command.optsWithGlobals<Given>()
      const { importServers } = await import('./import.ts')
      await importServers(source, options, {
        wanted: wantedOf(given),
        env: process.env,
        json: await printerOf(given),
      })
    })
}

const addExport = (program: Command): void => {
  verb(
    program,
    'export',
    'Print the services of this gateway for a client’s configuration, or the MCP registry.',
  )
    .addOption(
      new Option('--form <form>', 'mcpServers, servers of VS Code, or server.json.')
        .choices(exportForms)
        .default('mcp-servers'),
    )
    .option('--service <id...>', 'Only these.')
    .action(async (options: ExportServicesOptions, command: Command) => {
      const { exportServices } = await import('./export.ts')
      await exportServices(await targetOf(command), options)
    })
}

const addDev = (program: Command): void => {
  verb(
    program,
    'dev',
    'Try a server as several users, on this computer: postern dev --as ana@example.com:staff -- node server.js.',
  )
    .argument('<server...>', 'A command and its arguments, after --, or the URL of a server that runs.')
    .option(
      '--as <user[:groups]>',
      'A user, and their groups. Repeatable. Default: dev@example.com.',
      several,
    )
    .option('--name <id>', 'Service ID, used in the URL. Default: derived from the command.')
    .option('-e, --env <name[=value]>', 'Environment variable for the command. Repeatable.', several)
    .action(async (words: string[], options: DevOptions, command: Command) => {
      const { dev } = await import('./dev.ts')
      await dev(words, options, command.optsWithGlobals<Given>())
    })
}

export const addSetupVerbs = (program: Command): void => {
  addInit(program)
  addImport(program)
  addExport(program)
  addDev(program)
}
