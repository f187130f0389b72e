// Stores on the PostgreSQL server of this run, for the tests of one file.
import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { findProgram, inCI } from '../../scripts/system-programs.mjs'
import { type PostgresSettings, postgresKeys } from '../../src/config/storage-keys.ts'
import { openPostgresStore } from '../../src/node/postgres.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Log, Timer } from '../../src/ports/runtime.ts'
import { type PostgresServer, sharedPostgres } from '../runtimes/postgres-server.ts'

export const withoutPostgres = findProgram('postgres') === undefined && !inCI()

export type Line = Parameters<Log>

/** Time limits are not what most of these tests are about, and a computer may be slow. */
const patient: Timer = (ms, run) => timer(ms * 20, run)

/** Called at the top of a file. */
export const usePostgres = () => {
  let server: PostgresServer
  let admin: Client
  const opened = new Set<() => void>()
  const spaces: string[] = []
  beforeAll(async () => {
    if (withoutPostgres) return
    server = await sharedPostgres()
    admin = new Client({ connectionString: server.url })
    await admin.connect()
  })
  afterEach(() => {
    for (const close of opened) close()
    opened.clear()
  })
  afterAll(async () => {
    if (spaces.length > 0) await admin.query(`DROP SCHEMA IF EXISTS ${spaces.join(', ')} CASCADE`)
    await admin?.end()
  })
  const openKept = (settings: Partial<PostgresSettings> = {}, lines: Line[] = [], wait = patient) =>
    openPostgresStore({
      settings: postgresKeys.parse({ url: server.url, ...settings }),
      now: Date.now,
      timer: wait,
      random: (n) => new Uint8Array(randomBytes(n)),
      log: (...line) => void lines.push(line),
      product: '0.0.0-test',
    })
  return {
    server: () => server,
    /** A connection of the superuser. */
    admin: () => admin,
    /** A schema that no other test has; it goes at the end. */
    space(): string {
      const name = `test_${randomBytes(6).toString('hex')}`
      spaces.push(name)
      return name
    },
    /** Closed by the caller. */
    openKept,
    /** Closed after the test. */
    async open(...args: Parameters<typeof openKept>) {
      const made = await openKept(...args)
      opened.add(made.close)
      return made
    },
  }
}
