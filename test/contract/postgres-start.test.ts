// What refuses a start on PostgreSQL, and in which words; what can lose records; how the tables are made; TLS.
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { freePort } from '../../scripts/harness/free-port.ts'
import { type PostgresSettings, postgresKeys } from '../../src/config/storage-keys.ts'
import type { Refusal } from '../../src/kit/refusal.ts'
import { findingsOf, migratePostgres, plannedMigration } from '../../src/node/postgres.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Timer } from '../../src/ports/runtime.ts'
import { type Line, usePostgres, withoutPostgres } from './postgres-world.ts'

const { server, admin, space, open } = usePostgres()

const why = (settings: Partial<PostgresSettings>, wait?: Timer): Promise<unknown> =>
  open(settings, [], wait).then(
    () => 'opened',
    (error: Refusal) => error.why,
  )
const at = (): string => `postgres://127.0.0.1:${server().port}/postgres`
const patient: Timer = (ms, run) => timer(ms * 20, run)
const settingsOf = (settings: Partial<PostgresSettings>): PostgresSettings =>
  postgresKeys.parse({ url: server().url, ...settings })
/** A user that no other test has; it goes with what it may. */
const createUser = async (options: string): Promise<string> => {
  const name = `user_${randomBytes(6).toString('hex')}`
  await admin().query(`CREATE ROLE ${name} LOGIN ${options}`)
  return name
}

describe.skipIf(withoutPostgres)('the start on PostgreSQL', () => {
  test('what can lose records is said, and refuses the start where it must not be', async () => {
    const lines: Line[] = []
    const schema = space()
    await open({ schema }, lines)
    const messages = [
      'PostgreSQL can lose all records in a power cut: set `fsync = on` in postgresql.conf',
      'PostgreSQL loses the last writes in a crash: set `synchronous_commit = on` in postgresql.conf',
      'PostgreSQL can lose records in a power cut: set `full_page_writes = on` in postgresql.conf',
    ]
    expect(lines).toEqual(messages.map((message) => ['warn', 'storage.unsafe', { location: at(), message }]))
    expect(await why({ schema, require_persistence: true })).toBe(`${at()}: ${messages[0]}`)
  })

  test('a wrong password, a user who may not, a database that is not there: each in its words', async () => {
    await admin().query(`DO $$ BEGIN CREATE ROLE passwords; EXCEPTION WHEN duplicate_object THEN END $$`)
    const user = await createUser(`PASSWORD 'hunter2-of-postgres' IN ROLE passwords`)
    const url = (password: string, database = 'postgres') =>
      `postgres://${user}${password}@127.0.0.1:${server().port}/${database}`
    const wrong = `${at()}: PostgreSQL does not accept the user and password: correct them in storage.postgres`
    expect(await why({ url: url(':hunter3') })).toBe(wrong)
    expect(await why({ url: url(''), password: 'hunter3' })).toBe(wrong)
    expect(await why({ url: url('') })).toBe(
      `${at()}: PostgreSQL asks for a password: set storage.postgres.password`,
    )
    expect(await why({ url: url(':hunter2-of-postgres', 'none') })).toBe(
      `postgres://127.0.0.1:${server().port}/none: there is no such database: create it, or correct storage.postgres.url`,
    )
    const schema = space()
    expect(await why({ url: url(':hunter2-of-postgres'), schema })).toBe(
      `${at()}: its tables have to be made or changed, and this user may not: run \`postern store migrate\` as one who may`,
    )
    // Once they are there, less is enough.
    await migratePostgres({ settings: settingsOf({ schema }), timer: patient })
    await admin().query(`GRANT USAGE ON SCHEMA ${schema} TO ${user};
      GRANT SELECT ON ${schema}.migrations TO ${user};
      GRANT SELECT, INSERT, UPDATE, DELETE ON ${schema}.records, ${schema}.counts TO ${user}`)
    const { store, counters } = await open({ url: url(''), password: 'hunter2-of-postgres', schema })
    await store.put('k', 'one', { ttlMs: 60_000 })
    expect(await store.sweep(10)).toBe(0)
    expect((await store.take('k'))?.value).toBe('one')
    expect(await counters.hit('a', { cost: 1, limit: 1, windowMs: 1000 })).toMatchObject({ allowed: true })
    expect(await counters.act([{ do: 'wrong', account: 'ana' }])).toBe(0)
    await admin().query(`REVOKE INSERT ON ${schema}.records FROM ${user}`)
    await expect(store.put('k', 'two')).rejects.toMatchObject({
      why: 'the PostgreSQL user lacks a permission: see the guide (permission denied for table records)',
    })
    await admin().query(`DROP OWNED BY ${user}; DROP ROLE ${user}`)
  })

  test('a role whose transactions are of another kind is refused', async () => {
    const user = await createUser('SUPERUSER')
    await admin().query(`ALTER ROLE ${user} SET default_transaction_isolation = 'repeatable read'`)
    const schema = space()
    const url = `postgres://${user}@127.0.0.1:${server().port}/postgres`
    // Behind a pooler nothing is set with a connection.
    expect(await why({ url, schema, pooled: true })).toBe(
      `${at()}: transactions of this user are repeatable read: ALTER ROLE … SET default_transaction_isolation = 'read committed'`,
    )
    expect(await why({ url, schema })).toBe('opened')
    await admin().query(`REASSIGN OWNED BY ${user} TO postern; DROP ROLE ${user}`)
  })

  test('ten processes that start at once make the tables once', async () => {
    const schema = space()
    const settings = settingsOf({ schema })
    const all = await Promise.all(
      Array.from({ length: 10 }, () => migratePostgres({ settings, timer: patient })),
    )
    // Each by any of them.
    expect(all.flat().toSorted()).toEqual(['counts', 'records'])
    const { rows } = await admin().query(`SELECT number, name FROM ${schema}.migrations ORDER BY number`)
    expect(rows).toEqual([
      { number: 1, name: 'records' },
      { number: 2, name: 'counts' },
    ])
  })

  test('what the tables would become can be read, and run by somebody else', async () => {
    const schema = space()
    const settings = settingsOf({ schema })
    const sql = await plannedMigration({ settings, timer: patient })
    expect(
      sql.match(/^(?:CREATE [^(;]*|INSERT INTO \S+migrations|BEGIN;|COMMIT;)/gm)?.map((line) => line.trim()),
    ).toEqual([
      ...[
        'BEGIN;',
        `CREATE SCHEMA IF NOT EXISTS ${schema}`,
        `CREATE TABLE IF NOT EXISTS ${schema}.migrations`,
      ],
      ...[`CREATE TABLE ${schema}.records`, `CREATE INDEX records_by_expiry ON ${schema}.records`],
      ...[`INSERT INTO ${schema}.migrations`, 'COMMIT;', 'BEGIN;', `CREATE UNLOGGED TABLE ${schema}.counts`],
      ...[`CREATE FUNCTION ${schema}.write_counts`],
      ...[`INSERT INTO ${schema}.migrations`, 'COMMIT;'],
    ])
    expect(await plannedMigration({ settings, timer: patient })).toBe(sql)
    await admin().query(sql)
    expect(await plannedMigration({ settings, timer: patient })).toBe('')
    expect(await why({ schema })).toBe('opened')
  })

  test('tables of a newer version, of another text, or of another layout refuse the start', async () => {
    const schema = space()
    const { store } = await open({ schema })
    await store.put('meta:store', JSON.stringify({ layout: 2, shards: 1 }))
    expect(await why({ schema })).toMatch(/^postgres:.*another layout \(2\)/)
    await admin().query(`INSERT INTO ${schema}.migrations (number, name, digest) VALUES (99, 'later', 'x')`)
    expect(await why({ schema })).toBe(
      `${at()}: a newer version of the gateway has changed its tables (step 99, later): use that version`,
    )
    await admin().query(`UPDATE ${schema}.migrations SET digest = 'y' WHERE number = 1`)
    expect(await why({ schema })).toBe(
      `${at()}: step 1 of its tables (records) is not the one of this version: use the version that made them`,
    )
  })

  test('a list is in byte order in a database of any language, and another encoding is refused', async () => {
    const names = [`icu_${randomBytes(6).toString('hex')}`, `latin_${randomBytes(6).toString('hex')}`]
    await admin().query(
      `CREATE DATABASE ${names[0]} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' STRATEGY file_copy`,
    )
    await admin().query(
      `CREATE DATABASE ${names[1]} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C' STRATEGY file_copy`,
    )
    const [icu, latin] = names.map((name) => `postgres://postern@127.0.0.1:${server().port}/${name}`)
    const { store, close } = await open({ url: icu as string })
    for (const key of ['p:b', 'p:B', 'p:_', 'p:10', 'p:9', 'p:~', 'p:a']) await store.put(key, '')
    expect((await store.list('p:')).map(({ key }) => key)).toEqual([
      'p:10',
      'p:9',
      'p:B',
      'p:_',
      'p:a',
      'p:b',
      'p:~',
    ])
    expect(await why({ url: latin as string })).toMatch(
      /encoded in SQL_ASCII: create it with ENCODING 'UTF8'$/,
    )
    close()
    for (const name of names) await admin().query(`DROP DATABASE ${name} WITH (FORCE)`)
  })

  test('a closed port refuses the start in words', async () => {
    const port = await freePort()
    const quick: Timer = (ms, run) => timer(ms <= 100 ? 1 : ms * 20, run)
    expect(await why({ url: `postgres://postern@127.0.0.1:${port}/postgres` }, quick)).toBe(
      `postgres://127.0.0.1:${port}/postgres: no connection to PostgreSQL (connect ECONNREFUSED 127.0.0.1:${port})`,
    )
  })

  test('TLS: a certificate that its CA vouches for is accepted, and no other', async () => {
    const { port, certificate } = server()
    const schema = space()
    const url = (host: string, mode: string) => `postgres://postern@${host}:${port}/postgres?sslmode=${mode}`
    const ca = { schema, ssl_ca_certs: certificate }
    const place = (host: string) => `postgres://${host}:${port}/postgres`
    const unknown =
      'no connection to PostgreSQL: nobody signed its certificate: set storage.postgres.ssl_ca_certs to its CA'
    expect([
      await why({ ...ca, url: url('localhost', 'verify-full') }),
      await why({ ...ca, url: url('127.0.0.1', 'verify-ca') }),
      await why({ schema, url: url('127.0.0.1', 'require') }),
      await why({ ...ca, url: url('127.0.0.1', 'verify-full') }),
      await why({ schema, url: url('localhost', 'verify-full') }),
      await why({ schema, url: url('localhost', 'verify-ca') }),
      await why({ ...ca, url: url('localhost', 'verify-full'), ssl_ca_certs: `${certificate}.none` }),
    ]).toEqual([
      ...['opened', 'opened', 'opened'],
      `${place('127.0.0.1')}: no connection to PostgreSQL: its certificate is for another host: use a host of the certificate`,
      `${place('localhost')}: ${unknown}`,
      `${place('localhost')}: ${unknown}`,
      `${place('localhost')}: cannot read storage.postgres.ssl_ca_certs, ${certificate}.none (ENOENT)`,
    ])
  })

  test('variables of other programs, and files of passwords, have no say', async () => {
    const schema = space()
    const before = { ...process.env }
    Object.assign(process.env, {
      PGHOST: '192.0.2.1',
      PGPORT: '1',
      PGUSER: 'nobody',
      PGDATABASE: 'none',
      PGPASSWORD: 'x',
      PGSSLMODE: 'require',
    })
    try {
      expect(await why({ schema })).toBe('opened')
    } finally {
      for (const name of ['PGHOST', 'PGPORT', 'PGUSER', 'PGDATABASE', 'PGPASSWORD', 'PGSSLMODE'])
        if (before[name] === undefined) delete process.env[name]
    }
  })
})

const good = {
  version: 150_018,
  standby: false,
  encoding: 'UTF8',
  fsync: 'on',
  commit: 'on',
  pages: 'on',
  isolation: 'read committed',
}

test.each([
  [{ version: 140_012 }, 'PostgreSQL 14 is too old: use 15 or later'],
  [{ standby: true }, 'this server is a standby: set storage.postgres.url to the primary'],
])('a server that says %j is not used', (found, text) =>
  expect(findingsOf({ ...good, ...found }).faults).toEqual([text]),
)

test('a server that keeps what it is told is used', () =>
  expect(findingsOf(good)).toEqual({ faults: [], unsafe: [] }))
