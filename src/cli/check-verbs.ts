// Commands that check a configuration or a gateway, and connect clients to it: validate, doctor, status, healthcheck,
// connect.
import { type Command, Option } from 'commander'
import type { ConnectOptions } from './connect.ts'
import type { DoctorOptions } from './doctor/doctor.ts'
import { exitCodes } from './output.ts'
import { stateDirectory } from './state.ts'
import { type Given, printerOf, targetOf, verb, wantedOf, withOutput } from './verbs.ts'

export const addValidate = (program: Command): void => {
  verb(program, 'validate', 'Check the configuration without starting the gateway.')
    .option('--connect', 'Also contact identity providers and MCP servers, and start each command once.')
    .action(async (_, command: Command) => {
      const given = command.optsWithGlobals<Given & { readonly connect?: true }>()
      const { validate } = await import('./config.ts')
      const valid = await validate(wantedOf(given), process.env, {
        connect: given.connect === true,
        json: await printerOf(given),
        stateDir: (env) => stateDirectory(given.state, env),
      })
      if (!valid) process.exitCode = exitCodes.failed
    })
}

export const addDoctor = (program: Command): void => {
  verb(
    program,
    'doctor',
    'Find out why clients cannot connect: to an MCP URL, or to the services of this gateway.',
  )
    .argument('[url]', 'URL of any MCP server. Without it: this gateway and its configuration.')
    .option('--token-env <name>', 'Environment variable with an access token, for the last step.')
    .option('--no-register', 'Do not register clients at the authorization server.')
    .addOption(
      new Option('--fail-on <severity>', 'Exit with 1 from this severity on.')
        .choices(['error', 'warning'])
        .default('error'),
    )
    .option('--junit', 'Print the result as JUnit XML.')
    .action(async (url: string | undefined, options: DoctorOptions, command: Command) => {
      const given = command.optsWithGlobals<Given>()
      const { runDoctor } = await import('./doctor/doctor.ts')
      await runDoctor(url, options, {
        wanted: wantedOf(given),
        env: process.env,
        json: given.json === true,
        stateDir: (env) => stateDirectory(given.state, env),
      })
    })
}

export const addStatus = (program: Command): void => {
  withOutput(
    verb(
      program,
      'status',
      'Show whether the gateway runs, what it serves, who has access and what is locked.',
    ),
  ).action(async (_, command: Command) => {
    const { showStatus } = await import('./status.ts')
    await showStatus(await targetOf(command))
  })
}

export const addHealthcheck = (program: Command): void => {
  verb(program, 'healthcheck', 'Exit with 0 if the gateway answers, for containers.').action(
    async (_, command: Command) => {
      const given = command.optsWithGlobals<Given>()
      const { checkHealth } = await import('./healthcheck.ts')
      await checkHealth(wantedOf(given), process.env, await printerOf(given))
    },
  )
}

export const addConnect = (program: Command): void => {
  verb(
    program,
    'connect',
    'Print how to connect a client to a service, or connect it: postern connect cursor.',
  )
    .argument('[client]', 'claude-code, codex, cursor, vscode, … Without it: the list of clients.')
    .option('--service <id>', 'The service. Default: the only one.')
    .option('--write', "Run the client's own command, or change its configuration file, after asking.")
    .option('--yes', 'Do not ask.')
    .action(async (client: string | undefined, options: ConnectOptions, command: Command) => {
      const { connectClient } = await import('./connect.ts')
      await connectClient(client, options, await targetOf(command))
    })
}
