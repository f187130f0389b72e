// A Store and counts in PostgreSQL: each operation is one statement that can be repeated with the same mark or receipt, so
// that an answer that was lost loses nothing. Time is the server's.
import { encodeBase64url } from '../kit/bytes.ts'
import { closuresKey } from '../kit/records.ts'
import type {
  Counters,
  Entry,
  HitResult,
  Mark,
  PutOptions,
  StoredRecord,
  StoredRecords,
  SweptStore,
} from '../ports/store.ts'
import { type ComparedOptions, type CountValues, createComparedCounters } from './counts.ts'

/** The server parses a text once for each connection, by its name. */
export interface PostgresStatement {
  readonly name: string
  readonly text: string
}

export type PostgresValue = string | number | null | readonly (string | number | null)[]
export type PostgresRows = readonly Readonly<Record<string, unknown>>[]

/**
 * What a runtime knows of its connections. It carries the statement out, once more when no answer came, and rejects with
 * `Refusal('storage.unavailable')`. `long`: it may take longer than others.
 */
export type PostgresDriver = (
  statement: PostgresStatement,
  values: readonly PostgresValue[],
  long?: boolean,
) => Promise<PostgresRows>

/** As long as a taker whose answer was lost may ask again. */
const receipt = `interval '5 seconds'`
/** Of a row `r`. Not `now()`, which is the time at which a transaction began. */
const isLive = '(r.expires_at IS NULL OR r.expires_at > clock_timestamp())'
const expiry = (ttl: string): string => `clock_timestamp() + ${ttl}::float8 * interval '1 millisecond'`

/** With the announcement to those who follow the record, in the transaction that changes it. */
const announced = (schema: string, name: string, text: string, fields: string): PostgresStatement => ({
  name: `${name}-announced`,
  text: `WITH done AS (${text}) SELECT ${fields}, pg_notify('${schema}', $1) IS NULL AS announced FROM done`,
})

const recordStatements = (schema: string) => {
  const table = `${schema}.records`
  const insert = (where: string): string => `INSERT INTO ${table} AS r (key, value, mark, expires_at)
    VALUES ($1, $2, $3, ${expiry('$4')})
    ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, mark = excluded.mark, expires_at = excluded.expires_at, taken = NULL
    WHERE CASE WHEN r.mark = excluded.mark THEN r.taken IS NULL ELSE ${where} END RETURNING r.mark`
  const texts = {
    put: insert('true'),
    // Written before by this caller, or free.
    'put-absent': insert('(r.taken IS NOT NULL OR r.expires_at <= clock_timestamp())'),
    'put-marked': `UPDATE ${table} AS r SET value = $2, mark = $3, expires_at = ${expiry('$4')}
      WHERE r.key = $1 AND r.taken IS NULL AND ((r.mark = $5 AND ${isLive}) OR r.mark = $3) RETURNING r.mark`,
    'take': `UPDATE ${table} AS r SET taken = $2, expires_at = clock_timestamp() + ${receipt}
      WHERE r.key = $1 AND (r.taken IS NULL OR r.taken = $2) AND ${isLive} RETURNING r.value, r.mark`,
  }
  const plain = (name: string, text: string): PostgresStatement => ({ name, text })
  const list = (above: string) => `SELECT r.key, r.value FROM ${table} AS r
    WHERE r.key ${above} $1 AND r.key < $2 AND r.taken IS NULL AND ${isLive} ORDER BY r.key LIMIT $3`
  return {
    get: plain('get', `SELECT value, mark FROM ${table} AS r WHERE key = $1 AND taken IS NULL AND ${isLive}`),
    list: plain('list', list('>=')),
    listAfter: plain('list-after', list('>')),
    // Processes that sweep at once do not wait for one another.
    sweep: plain(
      'sweep',
      `DELETE FROM ${table} WHERE ctid = ANY (ARRAY(SELECT r.ctid FROM ${table} AS r
        WHERE r.expires_at <= clock_timestamp() LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING 1`,
    ),
    records: plain(
      'records',
      `SELECT r.key, r.value, extract(epoch FROM r.expires_at - clock_timestamp())::float8 * 1000 AS left_ms
        FROM ${table} AS r WHERE r.key > $1 AND r.taken IS NULL AND ${isLive} ORDER BY r.key LIMIT $2`,
    ),
    count: plain(
      'count',
      `SELECT count(*)::float8 AS n FROM ${table} AS r WHERE r.taken IS NULL AND ${isLive}`,
    ),
    /** One that changes a record. */
    changing: (name: keyof typeof texts, isAnnounced: boolean): PostgresStatement => {
      if (!isAnnounced) return plain(name, texts[name])
      return announced(schema, name, texts[name], name === 'take' ? 'value, mark' : 'mark')
    },
  }
}

/**
 * Records that somebody may follow (ports/store.ts, Subscribe). Each tells takes a lock that all of a database share, so
 * those that change with calls are none of them.
 */
const isFollowed = (key: string): boolean =>
  key.startsWith('grant:') || key === 'services-version' || key === closuresKey

const entryOf = ([row]: PostgresRows): Entry | undefined =>
  row && { value: row['value'] as string, mark: row['mark'] as Mark }

/** Keys are ASCII: above every one of them that starts with the prefix, below every other that follows. */
const endOf = (prefix: string): string => `${prefix}\u{10FFFF}`

/** A text that PostgreSQL does not take (22021), so that no record has it. */
const cannotBe = (text: string): boolean => text.includes('\0')

interface PostgresStoreOptions {
  /** Where the tables are; an identifier that needs no quotes. */
  readonly schema: string
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
}

export const createPostgresStore = (
  run: PostgresDriver,
  { schema, random }: PostgresStoreOptions,
): SweptStore => {
  const statements = recordStatements(schema)
  const newMark = (): Mark => encodeBase64url(random(16)) as Mark
  const put = async (key: string, value: string, { ttlMs, only }: PutOptions): Promise<Mark | undefined> => {
    if (only !== undefined && (cannotBe(key) || cannotBe(only))) return undefined
    const name = only === undefined ? 'put' : only === 'absent' ? 'put-absent' : 'put-marked'
    // Nobody follows a grant that is not there yet.
    const isAnnounced = isFollowed(key) && !(only === 'absent' && key.startsWith('grant:'))
    const values = [key, value, newMark(), ttlMs ?? null, ...(name === 'put-marked' ? [only as Mark] : [])]
    const [row] = await run(statements.changing(name, isAnnounced), values)
    return row?.['mark'] as Mark | undefined
  }
  return {
    get: async (key) => (cannotBe(key) ? undefined : entryOf(await run(statements.get, [key]))),
    put: (key, value, options = {}) => put(key, value, options),
    async take(key) {
      if (cannotBe(key)) return undefined
      return entryOf(await run(statements.changing('take', isFollowed(key)), [key, newMark()]))
    },
    async list(prefix, { after = '', limit = 100 } = {}) {
      if (cannotBe(prefix)) return []
      const isAfter = after >= prefix
      const values = [isAfter ? after : prefix, endOf(prefix), limit]
      const rows = await run(isAfter ? statements.listAfter : statements.list, values, true)
      return rows as readonly { readonly key: string; readonly value: string }[]
    },
    sweep: async (limit) => (await run(statements.sweep, [limit], true)).length,
  }
}

/** All records, for a copy. */
export const createPostgresRecords = (run: PostgresDriver, schema: string): StoredRecords => {
  const statements = recordStatements(schema)
  return {
    async records(after, limit) {
      const rows = await run(statements.records, [after, limit], true)
      return rows.map(({ key, value, left_ms: left }): StoredRecord => ({
        key: key as string,
        value: value as string,
        ttlMs: left === null ? undefined : Math.max(1, left as number),
      }))
    },
    count: async () => (await run(statements.count, [], true))[0]?.['n'] as number,
  }
}

// Counts, in a table that a crash of the server empties.

const countStatements = (schema: string) => {
  const table = `${schema}.counts`
  const isOver = 'c.until <= clock_timestamp()'
  const millis = (time: string): string => `extract(epoch FROM ${time})::float8 * 1000`
  return {
    read: {
      name: 'read-counts',
      text: `SELECT ${millis('clock_timestamp()')} AS now, c.name, c.used::float8 AS used, ${millis('c.until')} AS until
        FROM (SELECT) AS one LEFT JOIN ${table} AS c ON c.name = ANY ($1) AND NOT ${isOver}`,
    },
    write: {
      name: 'write-counts',
      text: `SELECT ${schema}.write_counts($1::text[], $2::bigint[], $3::bigint[], $4::float8[]) AS written`,
    },
    // Not allowed: nothing is written, and what was counted before is answered.
    hit: {
      name: 'hit',
      text: `WITH done AS (
        INSERT INTO ${table} AS c (name, used, until) SELECT $1, $2::bigint, ${expiry('$4')} WHERE $2::bigint <= $3::bigint
        ON CONFLICT (name) DO UPDATE SET
          used = CASE WHEN ${isOver} THEN excluded.used ELSE c.used + excluded.used END,
          until = CASE WHEN ${isOver} THEN excluded.until ELSE c.until END
        WHERE ${isOver} OR c.used + excluded.used <= $3::bigint RETURNING c.used, c.until)
        SELECT true AS allowed, used::float8 AS used, ${millis('until - clock_timestamp()')} AS left_ms FROM done
        UNION ALL
        SELECT false, c.used::float8, ${millis('c.until - clock_timestamp()')} FROM ${table} AS c
        WHERE c.name = $1 AND NOT EXISTS (SELECT FROM done)`,
    },
    sweep: { name: 'sweep-counts', text: `DELETE FROM ${table} AS c WHERE ${isOver}` },
  } as const
}

export interface PostgresCounters extends Counters {
  /** Removes those that are over. */
  sweep(): Promise<void>
}

export const createPostgresCounters = (
  run: PostgresDriver,
  schema: string,
  options: ComparedOptions,
): PostgresCounters => {
  const statements = countStatements(schema)
  const act = createComparedCounters(
    {
      async read(names) {
        const rows = await run(statements.read, [names])
        const values = new Map<string, CountValues>()
        for (const { name, used, until } of rows)
          if (name !== null)
            values.set(name as string, { used: used as number, until: Math.round(until as number) })
        return { now: Math.floor(rows[0]?.['now'] as number), values }
      },
      async write(changes) {
        // In one order, so that two who write the same counts never wait for each other.
        const sorted = changes.toSorted((a, b) => (a.name < b.name ? -1 : 1))
        const [row] = await run(statements.write, [
          sorted.map(({ name }) => name),
          sorted.map(({ before }) => before?.used ?? null),
          sorted.map(({ after }) => after ?? null),
          sorted.map(({ until }) => until),
        ])
        return row?.['written'] === true
      },
    },
    options,
  )
  return {
    act,
    async hit(key, { cost, limit, windowMs }): Promise<HitResult> {
      const [row] = await run(statements.hit, [`calls ${key}`, cost, limit, windowMs])
      const used = (row?.['used'] as number | undefined) ?? limit
      const leftMs = (row?.['left_ms'] as number | undefined) ?? windowMs
      return {
        allowed: row?.['allowed'] === true,
        remaining: Math.max(0, limit - used),
        resetMs: Math.max(1, Math.round(leftMs)),
      }
    },
    sweep: async () => void (await run(statements.sweep, [], true)),
  }
}
