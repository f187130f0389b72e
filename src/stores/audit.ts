// How rows of the audit trail are searched and exported, and the tables of its file; the file is the runtime's.
import { type Column, columns, laterColumns } from './audit-chain.ts'

// How the trail is searched: terms of the form `field:value`, joined by AND, and words. Values are always bound.

type Value = string | number

export interface Search {
  /**
   * SQL condition on one row; empty when everything matches. `names`: the table with the values of
   * `namedColumns`, where there is one.
   */
  readonly where: (names?: string) => string
  readonly values: readonly Value[]
  /** Which columns it looks at, beside the time. */
  readonly columns: ReadonlySet<Column>
  /** An index of a full segment finds what it can match. */
  readonly indexed: boolean
  /** Each of them is part of some value in a row that matches. */
  readonly words: readonly string[]
  /** Epoch milliseconds: from, and before. */
  readonly since: number | undefined
  readonly until: number | undefined
}

const textFields: Readonly<Record<string, Column>> = {
  user: 'person',
  client: 'client',
  service: 'service',
  method: 'method',
  tool: 'name',
  name: 'name',
  decision: 'decision',
  code: 'code',
  rule: 'rule',
  actor: 'actor',
  ip: 'ip',
  request: 'request',
  flow: 'flow',
  grant: 'grant',
  kind: 'kind',
  chain: 'chain',
  digest: 'digest',
}
const numberFields: Readonly<Record<string, Column>> = { status: 'status', ms: 'ms', error: 'is_error' }

export const searchFields: readonly string[] = [
  ...Object.keys(textFields),
  ...Object.keys(numberFields),
  'since',
  'until',
]

/** Of which a full segment has an index, and few rows the same value. */
const indexedFields: ReadonlySet<string> = new Set(
  'user client service tool name code ip request grant'.split(' '),
)

/** Columns in which a word is looked for; a full segment has a table of the values in them. */
export const namedColumns = [
  'person',
  'client',
  'service',
  'name',
  'kind',
  'code',
] as const satisfies readonly Column[]

const units: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

/** `7d`, `24h`, `30m`, or a date or time of ISO 8601 (a date: at 0:00 UTC). */
export const readTime = (text: string, now: number): number => {
  const [, count, unit] = /^(\d{1,6})([smhdw])$/.exec(text) ?? []
  if (count !== undefined) return now - Number(count) * (units[unit ?? ''] ?? 0)
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(time))
    throw new RangeError(
      `${JSON.stringify(text)} is not a time. Use for example 24h, 7d or 2026-11-29T10:00Z.`,
    )
  return time
}

interface Condition {
  readonly sql: (names?: string) => string
  readonly values: readonly Value[]
  readonly columns: readonly Column[]
  /** It has to be true, and asks for values as a whole. */
  readonly exact?: boolean
  readonly word?: string
}

const quoted = (column: Column): string => `"${column}"`

/** The text that follows all texts with this beginning. */
const afterAll = (prefix: string): string => `${prefix}\u{10FFFF}`

/** Whether one of the columns has a value of which the test is true. */
const among = (
  tested: readonly Column[],
  test: (value: string) => string,
  names: string | undefined,
): string =>
  `(${tested
    .map((column) =>
      names === undefined
        ? test(quoted(column))
        : `${quoted(column)} IN (SELECT value FROM ${names} WHERE ${test('value')})`,
    )
    .join(' OR ')})`

const textCondition = (field: string, column: Column, value: string): Omit<Condition, 'columns'> => {
  const name = quoted(column)
  if (value.endsWith('*')) {
    const prefix = value.slice(0, -1)
    if (prefix === '') return { sql: () => `${name} IS NOT NULL`, values: [] }
    return { sql: () => `(${name} >= ? AND ${name} < ?)`, values: [prefix, afterAll(prefix)] }
  }
  // A person by the name alone, whichever provider it is from.
  if (field === 'user' && !value.includes(':'))
    return {
      sql: (names) => among([column], (each) => `(${each} = ? OR substr(${each}, -?) = ?)`, names),
      values: [value, value.length + 1, `:${value}`],
    }
  return { sql: () => `${name} = ?`, values: [value] }
}

const numberCondition = (field: string, column: Column, value: string): Omit<Condition, 'columns'> => {
  const [, operator = '', digits] = /^(>=|<=|>|<)?(\d{1,12})$/.exec(value) ?? []
  if (digits === undefined)
    throw new RangeError(`${field} needs a number, for example ${field}:500 or ${field}:>500.`)
  return { sql: () => `${quoted(column)} ${operator || '='} ?`, values: [Number(digits)] }
}

const fieldCondition = (field: string, text: string): Condition => {
  const column = textFields[field]
  const number = numberFields[field]
  const each = text
    .split(',')
    .filter(Boolean)
    .map((value) =>
      column === undefined
        ? numberCondition(field, number as Column, value)
        : textCondition(field, column, value),
    )
  if (each.length === 0) throw new RangeError(`${field} needs a value, for example ${field}:x.`)
  const any = (names?: string): string => `(${each.map(({ sql }) => sql(names)).join(' OR ')})`
  return {
    sql: field === 'tool' ? (names) => `(${any(names)} AND method = 'tools/call')` : any,
    values: each.flatMap(({ values }) => values),
    columns: [column ?? (number as Column), ...(field === 'tool' ? (['method'] as const) : [])],
    exact: indexedFields.has(field) && !text.includes('*'),
  }
}

const wordCondition = (word: string): Condition => ({
  sql: (names) => among(namedColumns, (value) => `instr(lower(${value}), ?) > 0`, names),
  values: namedColumns.map(() => word.toLowerCase()),
  columns: namedColumns,
  word: word.toLowerCase(),
})

/** Negated, a row without the fact matches too. */
const negated = ({ sql, values, columns: looked }: Condition): Condition => ({
  values,
  columns: looked,
  sql: (names) => `NOT coalesce(${sql(names)}, 0)`,
})

const isField = (name: string): boolean =>
  Object.hasOwn(textFields, name) || Object.hasOwn(numberFields, name)

/** Throws RangeError with what is wrong, in one sentence. */
export const readSearch = (terms: readonly string[], now: number): Search => {
  const conditions: Condition[] = []
  let since: number | undefined
  let until: number | undefined
  for (const term of terms.filter(Boolean)) {
    const [, minus = '', field, value = ''] = /^(-?)([a-z_]+):(.*)$/s.exec(term) ?? []
    if (field === undefined) {
      const not = term.length > 1 && term.startsWith('-')
      conditions.push(not ? negated(wordCondition(term.slice(1))) : wordCondition(term))
    } else if (field === 'since' || field === 'until') {
      if (minus) throw new RangeError(`${field} cannot be negated.`)
      if (field === 'since') since = readTime(value, now)
      else until = readTime(value, now)
    } else if (isField(field)) {
      const condition = fieldCondition(field, value)
      conditions.push(minus ? negated(condition) : condition)
    } else throw new RangeError(`Unknown field ${JSON.stringify(field)}. Fields: ${searchFields.join(', ')}.`)
  }
  return {
    where: (names) => conditions.map(({ sql }) => sql(names)).join(' AND '),
    values: conditions.flatMap(({ values }) => values),
    columns: new Set(conditions.flatMap(({ columns: looked }) => looked)),
    indexed: conditions.some(({ exact }) => exact),
    words: conditions.flatMap(({ word }) => word ?? []),
    since,
    until,
  }
}

// What a search prints for other programs.

/** One cell of CSV (RFC 4180). A spreadsheet must not take what somebody sent for a formula. */
export const csvCell = (value: string | number | null): string => {
  if (value === null) return ''
  if (typeof value === 'number') return String(value)
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

// The tables of the file. Rows lie in segments, one table each.

export const trailSchema = `
CREATE TABLE IF NOT EXISTS segment (
  n INTEGER PRIMARY KEY, day INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL,
  rows INTEGER NOT NULL, sealed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS head (chain TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL, ended INTEGER NOT NULL DEFAULT 0, kid TEXT, sig TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS key (kid TEXT PRIMARY KEY, jwk TEXT NOT NULL, sealed TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS subject (hash TEXT PRIMARY KEY, snapshot TEXT NOT NULL, segment INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS body (hash TEXT PRIMARY KEY, text TEXT NOT NULL, at INTEGER NOT NULL, person TEXT, request TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS body_at ON body (at);
CREATE TABLE IF NOT EXISTS verified (one INTEGER PRIMARY KEY, at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS start (chain TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS piece (segment INTEGER NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, PRIMARY KEY (segment, low)) WITHOUT ROWID;
`
const integers: ReadonlySet<string> = new Set(['seq', 'at', 'status', 'is_error', 'ms'])
export const columnList = columns.map((name) => `"${name}"`).join(', ')
export const segmentSchema = (n: number): string =>
  `CREATE TABLE event_${n} (id INTEGER PRIMARY KEY, ${columns
    .map((name) => `"${name}" ${integers.has(name) ? 'INTEGER' : 'TEXT'}`)
    .join(', ')});
CREATE INDEX event_${n}_refused ON event_${n} (id) WHERE decision <> 'allowed';
CREATE INDEX event_${n}_other ON event_${n} (kind) WHERE kind <> 'call';
CREATE INDEX event_${n}_flow ON event_${n} (flow) WHERE flow IS NOT NULL;`
/** Brings a segment of an earlier version to today's columns; `known`: those that it has. */
export const migratedSegment = (n: number, known: ReadonlySet<string>): string =>
  laterColumns
    .filter((name) => !known.has(name))
    .map((name) => `ALTER TABLE event_${n} ADD COLUMN "${name}" ${integers.has(name) ? 'INTEGER' : 'TEXT'};`)
    .join('\n')
/** What is selected from a segment; one of an earlier version that nobody has opened for writing lacks columns. */
export const segmentRows = (n: number, known: ReadonlySet<string>): string => {
  const missing = laterColumns.filter((name) => !known.has(name))
  if (missing.length === 0) return `event_${n}`
  return `(SELECT *, ${missing.map((name) => `NULL AS "${name}"`).join(', ')} FROM event_${n})`
}
/** Of a full segment. */
export const searchIndexes: Readonly<Record<string, string>> = {
  person: '(person)',
  client: '(client)',
  service: '(service)',
  name: '(name)',
  request: '(request)',
  ip: '(ip)',
  grant: '("grant")',
  kind_all: '(kind)',
  decision: '(decision)',
  status: '(status)',
  ms: '(ms)',
  code: '(code) WHERE code IS NOT NULL',
}
/** What words are looked for in: each value once. */
export const namesSchema = (n: number): string =>
  `CREATE TABLE name_${n} (value TEXT PRIMARY KEY) WITHOUT ROWID;
${namedColumns.map((name) => `INSERT OR IGNORE INTO name_${n} SELECT DISTINCT "${name}" FROM event_${n} WHERE "${name}" IS NOT NULL;`).join('\n')}`
