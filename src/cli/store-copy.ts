// `postern store copy`: moves the records of a gateway to another storage.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import { createRandomBytes } from '../node/crypto.ts'
import { timer } from '../node/runtime.ts'
import { openStorage } from '../node/store.ts'
import { copyRecords } from '../stores/copy.ts'
import type { AdminTarget } from './admin.ts'
import { packageVersion, print, StartError, UsageError } from './output.ts'
import { runningAt } from './state.ts'

export interface CopyStoreOptions {
  readonly from: Config['storage']['type']
  readonly to: Config['storage']['type']
}

/** How often a person is told how far it is, ms. */
const tellMs = 500

/** One line, written again and again; nothing where no person looks. */
export const createProgress = () => {
  const { stderr } = process
  let told = 0
  return {
    tell(step: string, records: number, of: number | undefined): void {
      if (!stderr.isTTY || performance.now() - told < tellMs) return
      told = performance.now()
      const share = of ? ` of ${of} (${Math.min(100, Math.floor((100 * records) / of))} %)` : ''
      stderr.write(`\r\u{1B}[K${records}${share} records ${step}`)
    },
    end: (): void => void (told > 0 && stderr.write('\r\u{1B}[K')),
  }
}

export const requireStopped = (stateDir: string): void => {
  const [url] = runningAt(stateDir)
  if (url !== undefined)
    throw new StartError(
      'store.running',
      `A gateway is running at ${url}. Stop it, and every other process that uses either storage, and run this command again.`,
    )
}

/** The configured storage, or one of another type. Rejects with `Refusal('storage.unavailable')`. */
const openOne = ({ config, stateDir }: AdminTarget, type: Config['storage']['type']) =>
  openStorage({
    config: { storage: { ...config.storage, type } },
    stateDir,
    now: Date.now,
    timer,
    random: createRandomBytes(),
    log: () => undefined,
    product: packageVersion(),
  })

/** Its records can be read. Rejects as `openStorage` does; throws `UsageError` where there is nothing to be read. */
export const openConfigured = async (target: AdminTarget) => {
  const { config, stateDir } = target
  const { type } = config.storage
  if (type === 'memory') throw new UsageError('Records in memory are known to the running gateway alone.')
  const { records, ...storage } = await openOne(target, type)
  if (!records) throw new UsageError(`Records in ${storage.location} (${stateDir}) cannot be read.`)
  return { ...storage, records }
}

const requireUsable = ({ config, stateDir }: AdminTarget, { from, to }: CopyStoreOptions): void => {
  if (from === to) throw new UsageError('--from and --to must be different.')
  if ([from, to].includes('redis') && config.storage.redis === undefined)
    throw new StartError(
      'store.unconfigured',
      'There is no Redis server in the configuration. Set storage.redis, or REDIS_URL.',
    )
  if ([from, to].includes('postgres') && config.storage.postgres === undefined)
    throw new StartError(
      'store.unconfigured',
      'There is no PostgreSQL server in the configuration. Set storage.postgres.url.',
    )
  if ([from, to].includes('vault') && config.storage.vault?.url === undefined)
    throw new StartError(
      'store.unconfigured',
      'There is no Vault server in the configuration. Set storage.vault.url, or VAULT_URL.',
    )
  const file = join(stateDir, 'postern.db')
  if (from === 'sqlite' && !existsSync(file))
    throw new StartError(
      'store.none',
      `There is no database in ${stateDir}. If it is elsewhere, name the state directory with --state.`,
    )
  requireStopped(stateDir)
}

export const copyStore = async (target: AdminTarget, options: CopyStoreOptions): Promise<void> => {
  requireUsable(target, options)
  const { json } = target
  const progress = createProgress()
  const closing: (() => void)[] = []
  try {
    const from = await openOne(target, options.from)
    closing.push(from.close)
    const to = await openOne(target, options.to)
    closing.push(to.close)
    if (!from.records) throw new UsageError('Records in memory cannot be copied.')
    const records = await copyRecords({
      from: from.records,
      fromWhere: from.location,
      to: to.store,
      toWhere: to.location,
      onProgress: progress.tell,
    })
    progress.end()
    if (json) return json({ from: from.location, to: to.location, records })
    print(
      `Copied and compared ${records} records from ${from.location} to ${to.location}. Set storage.type to ${options.to}, and start the gateway with the same secrets.`,
    )
  } catch (error) {
    progress.end()
    throw error instanceof Refusal
      ? new StartError('store.copy', `The records were not copied: ${error.why}.`)
      : error
  } finally {
    for (const close of closing) close()
  }
}
