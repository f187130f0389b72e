// `postern clients bind`, `unbind` and `bindings`: clients that registered themselves, as service accounts.
import type { Command } from 'commander'
import { printable } from '../config/tree.ts'
import type { BoundClient, UnboundClient } from '../ports/people.ts'
import type { AdminTarget } from './admin.ts'
import { print, printTable } from './output.ts'
import { targetOf, verb } from './verbs.ts'

const timeText = (ms: number): string => new Date(ms).toISOString()

const bindClient = async (target: AdminTarget, client: string, account: string): Promise<void> => {
  const { withRecords } = await import('./access.ts')
  await withRecords(target, async ({ boundClients }) => {
    const { at, ...bound } = await boundClients.bind(client, account, 'cli')
    if (target.json) return target.json({ ...bound, at: timeText(at) })
    print(`${printable(client, 200)} now gets tokens with client_credentials, as service:${account}.`)
  })
}

const unbindClient = async (target: AdminTarget, client: string): Promise<void> => {
  const { withRecords } = await import('./access.ts')
  await withRecords(target, async ({ boundClients }) => {
    const ended = await boundClients.unbind(client, 'cli')
    if (target.json) return target.json({ ended })
    print(`Unbound. Grants that ended: ${ended}. What users allowed this client stays.`)
  })
}

const printBound = (bound: readonly BoundClient[]): void =>
  printTable([
    ['CLIENT', 'ACCOUNT', 'SINCE', 'BY'],
    ...bound.map(({ client, account, at, by }) => [
      printable(client, 100),
      account,
      timeText(at).slice(0, 10),
      printable(by, 80),
    ]),
  ])

const printUnbound = (clients: readonly UnboundClient[], truncated: boolean): void => {
  print('')
  print('Registered, and not bound. Anyone can use these names:')
  printTable([
    ['CLIENT', 'NAME', 'AUTHENTICATES WITH', 'REGISTERED'],
    ...clients.map(({ client, name, method, at }) => [
      printable(client, 100),
      printable(name, 48),
      method,
      timeText(at).slice(0, 10),
    ]),
  ])
  if (truncated) print('There are more.')
}

const listBindings = async (target: AdminTarget): Promise<void> => {
  const { withRecords } = await import('./access.ts')
  await withRecords(target, async ({ boundClients }) => {
    const [bound, { clients, truncated }] = await Promise.all([boundClients.list(), boundClients.unbound()])
    if (target.json)
      return target.json({
        client_bindings: bound.map(({ at, ...one }) => ({ ...one, at: timeText(at) })),
        unbound_clients: clients.map(({ at, ...one }) => ({ ...one, registered_at: timeText(at) })),
        truncated,
      })
    if (bound.length === 0) print('No client is bound to a service account.')
    else printBound(bound)
    if (clients.length > 0) printUnbound(clients, truncated)
  })
}

export const addBindingVerbs = (clients: Command): void => {
  verb(clients, 'bind', 'Let a client that registered itself act as a service account.')
    .argument('<client-id>', 'client_id of the client.')
    .requiredOption('--account <id>', 'The service account, an entry of service_accounts.')
    .action(async (client: string, { account }: { readonly account: string }, command: Command) =>
      bindClient(await targetOf(command), client, account),
    )
  verb(clients, 'unbind', 'End that, and the grants that came of it.')
    .argument('<client-id>', 'client_id of the client.')
    .action(async (client: string, _, command: Command) => unbindClient(await targetOf(command), client))
  verb(
    clients,
    'bindings',
    'List clients that are bound to service accounts, and those that wait for it.',
  ).action(async (_, command: Command) => listBindings(await targetOf(command)))
}
