// PostgreSQL on Node: the connections of stores/postgres.ts, and what can be trusted of the server.
import { Client } from 'pg'
import type { PostgresSettings } from '../config/storage-keys.ts'
import { createSharedCounters } from '../gateway.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Log, Timer } from '../ports/runtime.ts'
import type { Counters, StoredRecords, Subscribe, SweptStore } from '../ports/store.ts'
import { createMeta } from '../stores/meta.ts'
import {
  type PostgresDriver,
  type PostgresStatement,
  createPostgresCounters,
  createPostgresRecords,
  createPostgresStore,
} from '../stores/postgres.ts'
import { ConnectError, clientOptions, failureOf, nameOf, serverOf } from './postgres-connection.ts'
import { createSubscriptions } from './postgres-listen.ts'
import { migrate, migrationSql } from './postgres-migrate.ts'
import { createPool } from './postgres-pool.ts'
import { createOperations, listMs, unavailable, within } from './remote-store.ts'
import { type Look, createChecks } from './store-checks.ts'

// What can be trusted of the server.

const lookAt: PostgresStatement = {
  name: 'look',
  text: `SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby,
    current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync,
    current_setting('synchronous_commit') AS commit, current_setting('full_page_writes') AS pages,
    current_setting('default_transaction_isolation') AS isolation,
    extract(epoch FROM clock_timestamp())::float8 * 1000 AS now`,
}

interface Found {
  /** 150018 for 15.18. */
  readonly version: number
  readonly standby: boolean
  readonly encoding: string
  readonly fsync: string
  readonly commit: string
  readonly pages: string
  readonly isolation: string
}

/** What is wrong with the server, and the line that mends it. */
export const findingsOf = (found: Found): Omit<Look, 'offsetMs'> => {
  const { version, standby, encoding, fsync, commit, pages, isolation } = found
  return {
    faults: [
      ...(version >= 150_000
        ? []
        : [`PostgreSQL ${Math.floor(version / 10_000)} is too old: use 15 or later`]),
      ...(standby ? ['this server is a standby: set storage.postgres.url to the primary'] : []),
      ...(encoding === 'UTF8'
        ? []
        : [`the database is encoded in ${encoding}: create it with ENCODING 'UTF8'`]),
      ...(isolation === 'read committed'
        ? []
        : [
            `transactions of this user are ${isolation}: ALTER ROLE … SET default_transaction_isolation = 'read committed'`,
          ]),
    ],
    unsafe: [
      ...(fsync === 'on'
        ? []
        : ['PostgreSQL can lose all records in a power cut: set `fsync = on` in postgresql.conf']),
      ...(commit === 'off'
        ? ['PostgreSQL loses the last writes in a crash: set `synchronous_commit = on` in postgresql.conf']
        : []),
      ...(pages === 'on'
        ? []
        : ['PostgreSQL can lose records in a power cut: set `full_page_writes = on` in postgresql.conf']),
    ],
  }
}

const look = async (run: PostgresDriver, now: () => number): Promise<Look> => {
  const [row] = await run(lookAt, [])
  const found = row as object as Found & { readonly now: number }
  return { ...findingsOf(found), offsetMs: found.now - now() }
}

// The start: one connection, on which the tables are made.

/** A server that says nothing is waited for so long, ms. */
const silentMs = 5000
/** One that refuses connections, as while it starts, is asked so often, with so many ms in between. */
const [mostTries, againMs] = [10, 100]

type StartOptions = Pick<PostgresStoreOptions, 'settings' | 'timer'>

const connected = async ({ settings, timer }: StartOptions): Promise<Client> => {
  for (let tries = 1; ; tries++) {
    const client = new Client(clientOptions(settings))
    client.on('error', () => undefined)
    try {
      await within(timer, silentMs, client.connect())
      return client
    } catch (error) {
      client.end().catch(() => undefined)
      client.connection.stream.destroy()
      const failure = failureOf(new ConnectError('no connection', { cause: error }))
      if (failure?.kind !== 'passes' || tries === mostTries) throw unavailable(failure?.why ?? String(error))
      await new Promise<void>((resolve) => void timer(againMs, resolve))
    }
  }
}

const mayNot =
  'its tables have to be made or changed, and this user may not: run `postern store migrate` as one who may'

/** Runs it on a connection of its own. Rejects with `Refusal('storage.unavailable')`. */
const onOneConnection = async <T>(
  options: StartOptions,
  work: (client: Client, schema: string) => Promise<T>,
): Promise<T> => {
  const location = nameOf(serverOf(options.settings))
  let client: Client | undefined
  try {
    client = await connected(options)
    return await work(client, options.settings.schema)
  } catch (error) {
    const failure = error instanceof Refusal ? { why: error.why } : failureOf(error)
    if (!failure) throw error
    const isDenied = (error as { readonly code?: unknown }).code === '42501'
    throw unavailable(`${location}: ${isDenied ? mayNot : failure.why}`)
  } finally {
    await client?.end().catch(() => undefined)
  }
}

/** Makes and changes the tables. Resolves with the names of the steps it took. */
export const migratePostgres = (options: StartOptions): Promise<readonly string[]> =>
  onOneConnection(options, migrate)

/** What `migratePostgres` would do, in SQL. */
export const plannedMigration = (options: StartOptions): Promise<string> =>
  onOneConnection(options, migrationSql)

// The store.

export interface PostgresStoreOptions {
  readonly settings: PostgresSettings
  readonly now: () => number
  readonly timer: Timer
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
  readonly log: Log
  /** Version of the gateway. */
  readonly product: string
}

interface OpenedPostgresStore {
  /** The server, in messages. */
  readonly location: string
  readonly store: SweptStore
  readonly records: StoredRecords
  readonly counters: Counters
  /** Absent behind a pooler, which hands on nothing of what is told. */
  readonly subscribe?: Subscribe
  /** Looks at the server again, as it does every minute by itself, and logs what has become of it. */
  readonly check: () => Promise<void>
  readonly close: () => void
}

/** How often connections that nobody needs are closed, ms. */
const tidyMs = 10_000

const createDriver = (options: PostgresStoreOptions) => {
  const { settings, timer, random } = options
  const clock = (): number => performance.now()
  const create = (): Client => new Client(clientOptions(settings))
  const pool = createPool({
    ...{ create, timer, clock, most: settings.max_connections, unnamed: settings.pooled },
  })
  const operate = createOperations({ ...pool, timer, clock, random, failureOf })
  const run: PostgresDriver = (statement, values, long) =>
    operate((lease) => lease.run(statement, values), long ? listMs : undefined)
  const tidying = setInterval(() => pool.closeIdle(), tidyMs).unref()
  return {
    run,
    create,
    close() {
      clearInterval(tidying)
      pool.close()
    },
  }
}

/**
 * Rejects with `Refusal('storage.unavailable')` when the server cannot be reached within five seconds, or must not be
 * used.
 */
export const openPostgresStore = async (options: PostgresStoreOptions): Promise<OpenedPostgresStore> => {
  const { settings, now, timer, random, log, product } = options
  const { schema, pooled, require_persistence: requirePersistence = false } = settings
  const location = nameOf(serverOf(settings))
  await migratePostgres({ settings, timer })
  const { run, create, close } = createDriver(options)
  const counters = createPostgresCounters(run, schema, {
    steps: createSharedCounters,
    now: () => performance.now(),
  })
  const store = createPostgresStore(run, { schema, random })
  const meta = createMeta(store, { shards: 1, product, now })
  const checks = createChecks({
    look: () => look(run, now),
    ...{ server: 'PostgreSQL', meta, location, requirePersistence, log },
  })
  try {
    await checks.start()
  } catch (error) {
    close()
    throw error instanceof Refusal ? unavailable(`${location}: ${error.why}`) : error
  }
  const stopChecking = checks.every()
  const subscriptions = pooled ? undefined : createSubscriptions({ create, channel: schema, timer })
  return {
    location,
    store: {
      ...store,
      async sweep(limit) {
        await counters.sweep()
        return store.sweep(limit)
      },
    },
    records: createPostgresRecords(run, schema),
    counters,
    ...(subscriptions && { subscribe: subscriptions.subscribe }),
    check: checks.again,
    close() {
      stopChecking()
      subscriptions?.close()
      close()
    },
  }
}
