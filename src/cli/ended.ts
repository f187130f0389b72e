// What a command that ends access prints: what ended, or would, and where it is in force.
import type { AccessAdmin } from '../admin/access-api.ts'
import type { Confirmation, GrantFilter, Impact } from '../ports/people.ts'
import type { AdminTarget } from './admin.ts'
import { print } from './output.ts'

const counted = (count: number, what: string, plural = 's'): string =>
  `${count} ${what}${count === 1 ? '' : plural}`
export const impactText = ({ grants, users, clients, accounts }: Impact): string =>
  [
    `${counted(grants, 'grant')} of ${counted(users, 'user')} and ${counted(clients, 'app')}`,
    ...(accounts === undefined ? [] : [counted(accounts, 'account')]),
  ].join(', and ')

/** What would end, with the calls that run in the gateway now. */
export const tellWouldEnd = async (
  { json }: AdminTarget,
  access: Pick<AccessAdmin, 'runningCalls'>,
  impact: Impact,
  filter: GrantFilter,
): Promise<void> => {
  const running = await access.runningCalls(filter)
  if (json)
    return json({ would_end: { ...impact, ...(running !== undefined && { running_calls: running }) } })
  const calls = running === undefined ? '' : ` Calls in progress: ${running}.`
  print(`This would end ${impactText(impact)}.${calls}`)
}

/** In how many processes of a running gateway it is in force. */
export const printHeard = (heard: Confirmation | undefined): void => {
  if (!heard) return
  const { processes, applied, ms } = heard
  if (applied === processes)
    return print(`In force in ${counted(processes, 'process', 'es')} after ${ms} ms.`)
  print(
    `In force in ${applied} of ${counted(processes, 'process', 'es')}. The others have not said so within a second: they may be busy, or were killed.`,
  )
}

export const printRevoked = ({
  accounts = 0,
  revoked = 0,
  pending = 0,
  not_revoked: left = [],
}: Partial<Impact>): void => {
  if (accounts === 0) return
  print(`Removed ${counted(accounts, 'account')} at MCP servers. Tokens revoked: ${revoked}.`)
  if (pending > 0) print(`Not answered yet: ${pending}.`)
  if (left.length > 0)
    print(
      `Not revoked, because the authorization server did not: ${left.join(', ')}. These tokens stay valid until they expire.`,
    )
}
