// `postern connections`: the accounts of users at MCP servers, and the end of one.
import type { Command } from 'commander'
import { printable } from '../config/tree.ts'
import type { AdminTarget } from './admin.ts'
import { print, printTable, StartError } from './output.ts'
import { issuerOf } from './state.ts'
import { targetOf, verb } from './verbs.ts'

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

const states = {
  connected: 'connected',
  expiring: 'expires soon',
  reconnect: 'user must reconnect',
  unused: 'not used',
} as const

interface Filter {
  readonly user?: string
  readonly service?: string
}

const listConnections = async (target: AdminTarget, { user, service }: Filter): Promise<void> => {
  const { withRecords } = await import('./access.ts')
  await withRecords(target, async ({ access, connections }) => {
    const { grants } = await access.list({})
    const emails = new Map(grants.map(({ user: key, email }) => [key, email]))
    const { connections: all, truncated } = await connections.list([...emails.keys()])
    const found = all.filter(
      (one) =>
        (service === undefined || one.service === service) &&
        (user === undefined ||
          one.user === user ||
          emails.get(one.user ?? '')?.toLowerCase() === user.toLowerCase()),
    )
    if (target.json)
      return target.json({
        connections: found.map(({ connectedAt, renewedAt, expiresAt, ...one }) => ({
          ...one,
          connected_at: new Date(connectedAt).toISOString(),
          renewed_at: new Date(renewedAt).toISOString(),
          ...(expiresAt !== undefined && { expires_at: new Date(expiresAt).toISOString() }),
        })),
        truncated,
      })
    if (found.length === 0) return print('No connections.')
    printTable([
      ['ID', 'ACCOUNT', 'USER', 'SERVICE', 'STATUS', 'CONNECTED', 'RENEWED'],
      ...found.map(({ id, account, user: whose = 'unknown', service: at, state, connectedAt, renewedAt }) => [
        id,
        printable(account, 60),
        printable(emails.get(whose) ?? whose, 80),
        at,
        states[state],
        day(connectedAt),
        day(renewedAt),
      ]),
    ])
    if (truncated) print('There are more: only the first 1,000 were read.')
  })
}

const endConnection = async (target: AdminTarget, id: string, account: string): Promise<void> => {
  const { withRecords } = await import('./access.ts')
  await withRecords(target, async ({ connections }) => {
    await connections.end(id, account, 'cli')
    if (target.json) target.json({ id, account, disconnected: true })
    else print('Disconnected. The next call asks the user to connect again. Apps keep their access.')
  })
}

const connectAccount = async (target: AdminTarget, service: string, owner: string): Promise<void> => {
  if (issuerOf(target.config, target.stateDir) === undefined)
    throw new StartError(
      'connection.port',
      'The port is chosen when the gateway starts (port 0), and the link is for one URL. Start the gateway, then run this command again.',
    )
  const { withRecords } = await import('./access.ts')
  await withRecords(target, async ({ connections }) => {
    const { url, expiresAt } = await connections.link(service, owner)
    if (target.json) return target.json({ url, expires_at: new Date(expiresAt).toISOString() })
    print(url)
    process.stderr.write(
      `Open this link in a browser and sign in as an administrator, to connect an account for ${printable(owner, 80)}. It works once, within 10 minutes.\n`,
    )
  })
}

export const addConnectionVerbs = (connections: Command): void => {
  verb(connections, 'connect', 'Print a one-time link to connect an account for a service account.')
    .argument('<service>', 'The service whose server requires an account.')
    .requiredOption('--as <account>', 'The service account: service:<id>.')
    .action(async (service: string, { as }: { readonly as: string }, command: Command) =>
      connectAccount(await targetOf(command), service, as),
    )
  verb(connections, 'ls', 'List accounts of users at MCP servers, and whether they still work.')
    .option('--user <user>', 'Of this user: provider:subject or email address.')
    .option('--service <id>', 'At this service.')
    .action(async (options: Filter, command: Command) => listConnections(await targetOf(command), options))
  verb(connections, 'rm', 'Disconnect an account, and revoke its tokens at the server.')
    .argument('<id>', 'The ID that ls prints.')
    .option('--account <name>', 'The account, where the user has several at this service.', 'default')
    .action(async (id: string, { account }: { readonly account: string }, command: Command) =>
      endConnection(await targetOf(command), id, account),
    )
}
