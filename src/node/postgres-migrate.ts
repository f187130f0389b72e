// The tables in PostgreSQL: made and changed in steps, each in a transaction of its own, by one process at a time.
import { createHash } from 'node:crypto'
import type { Client } from 'pg'
import { type Migration, migrations, migrationsTable } from '../stores/postgres-migrations.ts'
import { unavailable } from './remote-store.ts'

interface Applied {
  readonly number: number
  readonly name: string
  readonly digest: string
}

/** The same for every schema. */
const digestOf = ({ statements }: Migration): string =>
  createHash('sha256').update(statements('schema').join(';\n')).digest('hex')

const appliedIn = async (client: Client, schema: string): Promise<readonly Applied[]> => {
  // Not by `to_regclass`, which may remember from before the lock that there was none.
  const found = await client.query<{ there: boolean }>(
    `SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relname = 'migrations') AS there`,
    [schema],
  )
  if (found.rows[0]?.there !== true) return []
  const text = `SELECT number, name, digest FROM ${schema}.migrations ORDER BY number`
  return (await client.query<Applied>(text)).rows
}

/** Rejects with `Refusal('storage.unavailable')` where the tables are not those of this version, or of one before it. */
const pendingIn = async (client: Client, schema: string): Promise<readonly Migration[]> => {
  const applied = await appliedIn(client, schema)
  for (const { number, name, digest } of applied) {
    const known = migrations.find((one) => one.number === number)
    if (!known)
      throw unavailable(
        `a newer version of the gateway has changed its tables (step ${number}, ${name}): use that version`,
      )
    if (digestOf(known) !== digest)
      throw unavailable(
        `step ${number} of its tables (${name}) is not the one of this version: use the version that made them`,
      )
  }
  const last = applied.at(-1)?.number ?? 0
  return migrations.filter(({ number }) => number > last)
}

/** The first step makes the table of steps, too. */
const textsOf = (migration: Migration, schema: string): readonly string[] => [
  ...(migration.number === 1 ? migrationsTable(schema) : []),
  ...migration.statements(schema),
  `INSERT INTO ${schema}.migrations (number, name, digest)
  VALUES (${migration.number}, '${migration.name}', '${digestOf(migration)}')`,
]

const lockOf = (schema: string): string =>
  `SELECT pg_advisory_xact_lock(hashtextextended('postern migrations ${schema}', 0))`

/** Undefined: there was nothing to do. */
const takeStep = async (client: Client, schema: string): Promise<Migration | undefined> => {
  await client.query('BEGIN')
  try {
    await client.query('SET LOCAL statement_timeout = 0')
    await client.query(lockOf(schema))
    // Only now: another process may have taken it.
    const [next] = await pendingIn(client, schema)
    for (const text of next ? textsOf(next, schema) : []) await client.query(text)
    await client.query('COMMIT')
    return next
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined)
    throw error
  }
}

/** Names of the steps it took. A user who may not change tables needs no permission where there is nothing to do. */
export const migrate = async (client: Client, schema: string): Promise<readonly string[]> => {
  const taken: string[] = []
  if ((await pendingIn(client, schema)).length === 0) return taken
  for (let step = await takeStep(client, schema); step; step = await takeStep(client, schema))
    taken.push(step.name)
  return taken
}

/** What `migrate` would do, for whoever lets somebody else do it. Empty: nothing. */
export const migrationSql = async (client: Client, schema: string): Promise<string> => {
  const pending = await pendingIn(client, schema)
  return pending
    .map((migration) =>
      ['BEGIN', lockOf(schema), ...textsOf(migration, schema), 'COMMIT'].map((text) => `${text};\n`).join(''),
    )
    .join('\n')
}
