// How the tables in PostgreSQL came to be. A step that was released never changes: what its text was is kept beside the
// tables. A change is one more step.

export interface Migration {
  /** From 1, without a gap. */
  readonly number: number
  readonly name: string
  /** Statements, each without a semicolon at its end. `schema` is an identifier that needs no quotes. */
  readonly statements: (schema: string) => readonly string[]
}

/**
 * Byte order is what lists are in, whatever the language of the database. Rows change often and live briefly: some room in
 * each page, and vacuum before a fifth of the table is dead.
 */
const records = (schema: string): readonly string[] => [
  `CREATE TABLE ${schema}.records (
  key text COLLATE "C" PRIMARY KEY,
  value text NOT NULL,
  mark text NOT NULL,
  expires_at timestamptz,
  taken text
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)`,
  `CREATE INDEX records_by_expiry ON ${schema}.records (expires_at) WHERE expires_at IS NOT NULL`,
]

/**
 * Counts may be lost. Several are written in one step: whoever writes the same ones waits, and finds that they are not as
 * they were read.
 */
const counts = (schema: string): readonly string[] => [
  `CREATE UNLOGGED TABLE ${schema}.counts (
  name text COLLATE "C" PRIMARY KEY,
  used bigint NOT NULL,
  until timestamptz NOT NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02)`,
  `CREATE FUNCTION ${schema}.write_counts(names text[], befores bigint[], afters bigint[], untils float8[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  held bigint;
BEGIN
  FOR i IN 1 .. cardinality(names) LOOP
    PERFORM pg_advisory_xact_lock(hashtextextended('${schema} ' || names[i], 0));
  END LOOP;
  FOR i IN 1 .. cardinality(names) LOOP
    SELECT c.used INTO held FROM ${schema}.counts AS c
      WHERE c.name = names[i] AND c.until > clock_timestamp();
    IF held IS DISTINCT FROM befores[i] THEN
      RETURN false;
    END IF;
  END LOOP;
  FOR i IN 1 .. cardinality(names) LOOP
    IF afters[i] IS NOT NULL THEN
      INSERT INTO ${schema}.counts AS c (name, used, until)
        VALUES (names[i], afters[i], to_timestamp(untils[i] / 1000))
        ON CONFLICT (name) DO UPDATE SET used = excluded.used, until = excluded.until;
    END IF;
  END LOOP;
  RETURN true;
END
$$`,
]

export const migrations: readonly Migration[] = [
  { number: 1, name: 'records', statements: records },
  { number: 2, name: 'counts', statements: counts },
]

/** Where the steps that were taken are kept. */
export const migrationsTable = (schema: string): readonly string[] => [
  `CREATE SCHEMA IF NOT EXISTS ${schema}`,
  `CREATE TABLE IF NOT EXISTS ${schema}.migrations (
  number integer PRIMARY KEY,
  name text NOT NULL,
  digest text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
)`,
]
