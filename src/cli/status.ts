// `postern status`: one look at the gateway of this configuration: whether it runs, what it serves, who has access, and
// what is locked. Readiness is asked of the running gateway; the rest is read from the state directory.
import { networkReason } from '../kit/log.ts'
import { withRecords } from './access.ts'
import type { AdminTarget } from './admin.ts'
import { healthUrl } from './healthcheck.ts'
import { count, exitCodes, printTable, programName } from './output.ts'
import { issuerOf, runningAt } from './state.ts'

const waitMs = 2_000

interface Readiness {
  readonly state: 'ready' | 'not_ready' | 'not_running'
  readonly url?: string
  readonly why?: string
}

/** Where its processes on this computer listen; a gateway in a container has no pid file here. */
const probed = ({ config, stateDir }: AdminTarget): string | undefined => {
  if (config.port !== 0) return healthUrl(config.host, config.port).replace(/\/healthz$/, '')
  return runningAt(stateDir)[0]
}

const readiness = async (target: AdminTarget): Promise<Readiness> => {
  const url = probed(target)
  if (url === undefined) return { state: 'not_running' }
  try {
    const answer = await fetch(`${url}/readyz`, { redirect: 'manual', signal: AbortSignal.timeout(waitMs) })
    await answer.body?.cancel()
    return answer.status === 200
      ? { state: 'ready', url }
      : { state: 'not_ready', url, why: `/readyz answered with status ${answer.status}` }
  } catch (error) {
    return { state: 'not_running', url, why: networkReason(error) }
  }
}

interface Records {
  readonly services: {
    readonly configured: number
    readonly added: number
    readonly disabled: readonly string[]
  }
  readonly locked: boolean
  readonly users: number
  readonly clients: number
  readonly grants: number
  /** There are more than were read. */
  readonly more: boolean
  readonly blocks: number
  readonly connections: { readonly all: number; readonly need_users: number }
  readonly sessions: number
}

const readRecords = async (target: AdminTarget): Promise<Records | undefined> => {
  if (target.config.storage.type === 'memory') return undefined
  let records: Records | undefined
  await withRecords(target, async ({ registry, access, connections }) => {
    const [services, { grants, truncated }, { gateway, services: disabled }, blocks, { sessions }] =
      await Promise.all([
        registry.list(),
        access.list({}),
        access.closures(),
        access.blocks(),
        access.browserSessions.list(),
      ])
    const { connections: all } = await connections.list([...new Set(grants.map(({ user }) => user))])
    records = {
      services: {
        configured: services.filter(({ from }) => from === 'config').length,
        added: services.filter(({ from }) => from !== 'config').length,
        disabled: Object.keys(disabled),
      },
      locked: gateway !== undefined,
      users: new Set(grants.map(({ user }) => user)).size,
      clients: new Set(grants.map(({ client }) => client)).size,
      grants: grants.length,
      more: truncated,
      blocks: blocks.length,
      connections: { all: all.length, need_users: all.filter(({ state }) => state === 'reconnect').length },
      sessions: sessions.length,
    }
  })
  return records
}

const stateWords = { ready: 'ready', not_ready: 'not ready', not_running: 'not running' } as const

const gatewayText = ({ state, url, why }: Readiness): string =>
  [stateWords[state], url && `at ${url}`, why && `(${why})`].filter(Boolean).join(' ')

const accessText = ({ users, clients, grants, more, blocks }: Records): string =>
  `${more ? 'more than ' : ''}${count(users, 'user')}, ${count(clients, 'client')}, ${count(grants, 'grant')}${blocks > 0 ? `, ${count(blocks, 'block')}` : ''}`

const servicesText = ({ services: { configured, added, disabled } }: Records): string =>
  [
    count(configured + added, 'service'),
    added > 0 && `${added} of them added at run time`,
    disabled.length > 0 && `disabled: ${disabled.join(', ')}`,
  ]
    .filter(Boolean)
    .join('; ')

const rowsOf = (records: Records | undefined): readonly (readonly string[])[] => {
  if (!records) return [['Records', 'in the memory of the gateway (storage.type: memory)']]
  const { all, need_users: waiting } = records.connections
  return [
    ...(records.locked ? [['Locked', `yes; serve again: ${programName(process.env)} unlock`]] : []),
    ['Services', servicesText(records)],
    ['Access', accessText(records)],
    ['Sessions', count(records.sessions, 'browser')],
    ['Connections', `${count(all, 'account')}${waiting > 0 ? `, ${waiting} to reconnect` : ''}`],
  ]
}

/** Sets the exit code: 4 where no gateway answers, 1 where it is not ready or locked. */
export const showStatus = async (target: AdminTarget): Promise<void> => {
  const [gateway, records] = await Promise.all([readiness(target), readRecords(target)])
  const { config, stateDir, json } = target
  const processes = runningAt(stateDir)
  if (json)
    json({
      gateway,
      public_url: issuerOf(config, stateDir) ?? null,
      running: processes,
      state: stateDir,
      storage: config.storage.type,
      ...records,
    })
  else
    printTable([
      ['Gateway', gatewayText(gateway)],
      ['Public URL', issuerOf(config, stateDir) ?? 'chosen at the start'],
      ['State', `${stateDir} (${config.storage.type})`],
      ...rowsOf(records),
    ])
  if (gateway.state === 'not_running') process.exitCode = exitCodes.unreachable
  else if (gateway.state === 'not_ready' || records?.locked) process.exitCode = exitCodes.failed
}
