// The commands `postern token`: their options and help.
import { type Command, Option } from 'commander'
import type { TokenOptions } from './tokens.ts'
import type { LoginOptions } from './login.ts'
import { type Given, printerOf, targetOf, verb } from './verbs.ts'

export const addTokenVerbs = (token: Command): void => {
  const load = () => import('./tokens.ts')
  const described = (command: Command): Command =>
    command
      .option('--service <id...>', 'Services that the token is good for.')
      .option(
        '--permissions <list>',
        'read, write, execute or admin; several separated by commas. Default: read, or everything without access rules.',
      )
      .option('--expires <time>', 'How long it lives: 1h, 30d. Default: personal_tokens.default_lifetime.')
      .option('--name <text>', 'What it is for.')
      .option('--user <user>', 'Whose it is: provider:subject or email address. Default: the only user.')
  described(verb(token, 'create', 'Create a personal access token and print it, once.'))
    .option('--api', 'For the API of the gateway, as an administrator, instead of services.')
    .action(async (options: TokenOptions, command: Command) =>
      (await load()).createToken(await targetOf(command), options),
    )
  verb(token, 'ls', 'List personal access tokens, with their last use.')
    .option('--user <user>', 'Only of this user: provider:subject.')
    .action(async (options: Pick<TokenOptions, 'user'>, command: Command) =>
      (await load()).listTokens(await targetOf(command), options),
    )
  verb(token, 'revoke', 'End a personal access token at once.')
    .argument('<id>', 'Its ID, or the token itself.')
    .option('--leaked', 'Strangers know it: say so in the audit trail.')
    .action(async (id: string, options: { readonly leaked?: true }, command: Command) =>
      (await load()).revokeToken(await targetOf(command), id, options),
    )
  described(verb(token, 'mint', 'Create a short-lived token for the tests of one service and print it.'))
    .addOption(new Option('--for <purpose>', 'What it is for.').choices(['tests']).makeOptionMandatory())
    .option('--yes', 'With NODE_ENV=production, too.')
    .action(async (options: TokenOptions, command: Command) =>
      (await load()).mintToken(await targetOf(command), options),
    )
}

export const addLogin = (program: Command): void => {
  verb(program, 'login', 'Sign in to a service in a browser, here or elsewhere, and print its access token.')
    .argument('<url>', 'URL of the service, e.g. https://mcp.example.com/jira/mcp.')
    .option('--scope <scopes>', 'Scopes to ask for, separated by spaces. Default: those of the service.')
    .option('--client <id>', 'client_id to sign in as. Default: postern-cli.')
    .option('--device', 'Sign in on another device with a code, though this computer has a browser.')
    .action(async (url: string, options: LoginOptions, command: Command) => {
      const { login } = await import('./login.ts')
      await login(url, options, await printerOf(command.optsWithGlobals<Given>()))
    })
}
