// `postern store migrate`: the tables in PostgreSQL, by hand.
import { Refusal } from '../kit/refusal.ts'
import { migratePostgres, plannedMigration } from '../node/postgres.ts'
import { timer } from '../node/runtime.ts'
import type { AdminTarget } from './admin.ts'
import { StartError, UsageError, print } from './output.ts'

/** Where the gateway has a user who may not change tables, somebody else runs this, or what `--dry-run` prints. */
export const migrateStore = async ({ config, json }: AdminTarget, dryRun: boolean): Promise<void> => {
  const { postgres: settings } = config.storage
  if (!settings) throw new UsageError('Only PostgreSQL has tables to migrate: set storage.postgres.url.')
  try {
    if (dryRun) {
      const sql = await plannedMigration({ settings, timer })
      if (json) return json({ sql })
      return print(sql === '' ? '-- The tables are up to date.' : sql.trimEnd())
    }
    const steps = await migratePostgres({ settings, timer })
    if (json) return json({ steps })
    print(steps.length === 0 ? 'The tables are up to date.' : `Changed the tables: ${steps.join(', ')}.`)
  } catch (error) {
    throw error instanceof Refusal
      ? new StartError('storage.unusable', `Cannot use the storage: ${error.why}.`)
      : error
  }
}
