// How rows of the audit trail are chained, searched and exported; the file is the runtime's.
import type { AuditRow, ChainFault, ChainHead, ChainedRow } from '../ports/store.ts'

// The hash chain. Each process writes a chain of its own, because a chain that several write needs
// a lock over all of them at every commit, and forks without it. Each row holds the hash of the row before it
// in its chain, so a row that is changed, missing or moved is found.

/** In the order in which they are hashed and stored. */
export const columns = [
  'chain',
  'seq',
  'at',
  'kind',
  'person',
  'actor',
  'client',
  'service',
  'method',
  'name',
  'decision',
  'code',
  'rule',
  'status',
  'is_error',
  'ms',
  'ip',
  'request',
  'flow',
  'grant',
  'digest',
  'subject',
  'detail',
  'hash',
] as const satisfies readonly (keyof ChainedRow)[]

export type Column = (typeof columns)[number]

/** Columns of files that an earlier version began do not have these. */
export const laterColumns = ['actor', 'is_error', 'flow', 'subject'] as const satisfies readonly Column[]

/** SHA-256 of a text in UTF-8, base64url. */
export type Digest = (text: string) => string

/** What of a row is hashed, in the order of the columns. */
const hashedValues = (chain: string, seq: number, row: AuditRow): readonly (string | number | null)[] => [
  'postern-event-v2',
  chain,
  seq,
  row.at,
  row.kind,
  row.person,
  row.actor,
  row.client,
  row.service,
  row.method,
  row.name,
  row.decision,
  row.code,
  row.rule,
  row.status,
  row.is_error,
  row.ms,
  row.ip,
  row.request,
  row.flow,
  row.grant,
  row.digest,
  row.subject,
  row.detail,
]

/** What an earlier version hashed, which had no `laterColumns`. */
const formerValues = (chain: string, seq: number, row: AuditRow): readonly (string | number | null)[] => [
  ...['postern-event-v1', chain, seq, row.at, row.kind, row.person, row.client, row.service, row.method],
  ...[row.name, row.decision, row.code, row.rule, row.status, row.ms, row.ip, row.request, row.grant],
  ...[row.digest, row.detail],
]

/** `previous`: the hash of the row before it; empty for the first. */
const hashOf = (previous: string, { chain, seq }: Omit<ChainHead, 'hash'>, row: AuditRow, digest: Digest) =>
  digest(previous + JSON.stringify(hashedValues(chain, seq, row)))

/** Whether a row has the hash that it says, by the format of today or by the one before. */
const isHashed = (previous: string, row: ChainedRow, digest: Digest): boolean =>
  hashOf(previous, row, row, digest) === row.hash ||
  (laterColumns.every((name) => row[name] === null) &&
    digest(previous + JSON.stringify(formerValues(row.chain, row.seq, row))) === row.hash)

/** The row that follows in the chain, as it is stored. */
export const nextInChain = (head: ChainHead, row: AuditRow, digest: Digest): ChainHead => {
  const next = { chain: head.chain, seq: head.seq + 1 }
  return { ...next, hash: hashOf(head.hash, next, row, digest) }
}

/** The values of the columns. */
export const storedValues = ({ chain, seq, hash }: ChainHead, row: AuditRow) => {
  const [, ...values] = hashedValues(chain, seq, row)
  return [...values, hash]
}

export interface ChainCheck {
  /** Takes the rows in the order in which they were written; returns what is wrong with this one. */
  next(row: ChainedRow): ChainFault | undefined
  /** After the last row. `heads`: what the trail says of the end of each chain. */
  end(heads: readonly ChainHead[]): ChainFault | undefined
  readonly rows: () => number
  readonly chains: () => number
}

/** Where chains go on after a removed segment, by a row that says so. */
const removedIn = ({ detail }: ChainedRow): readonly string[] => {
  const { chains } = JSON.parse(detail ?? '{}') as { readonly chains?: readonly unknown[] }
  return (chains ?? []).map((each) => JSON.stringify(each))
}

const unexplained = ({ chain, seq }: ChainHead): ChainFault => ({
  what: 'missing',
  chain,
  seq,
  say: `rows 1 to ${seq} of chain ${chain} are missing, and no audit.cut says that they were removed`,
})

/** Whether the chains end where the trail says that they do. */
const endFault = (
  last: ReadonlyMap<string, ChainHead>,
  heads: readonly ChainHead[],
): ChainFault | undefined => {
  for (const { chain, seq, hash } of heads) {
    const found = last.get(chain) ?? { chain, seq: 0, hash: '' }
    if (found.seq === seq && found.hash === hash) continue
    const say =
      seq > found.seq
        ? `the newest rows of chain ${chain} are missing, from row ${found.seq + 1} to row ${seq}`
        : `the recorded end of chain ${chain}, row ${seq}, does not match its rows`
    return { what: 'cut', chain, seq: Math.min(seq, found.seq + 1), say }
  }
  const known = new Set(heads.map(({ chain }) => chain))
  for (const { chain, seq } of last.values())
    if (!known.has(chain))
      return { what: 'cut', chain, seq, say: `the end of chain ${chain} is not recorded` }
  return undefined
}

/** `starts`: where chains go on whose first rows were removed with their segment. */
export const createChainCheck = (digest: Digest, starts: readonly ChainHead[] = []): ChainCheck => {
  const last = new Map<string, ChainHead>(starts.map((start) => [start.chain, start]))
  /** What rows of the trail say was removed. */
  const removed = new Set<string>()
  let rows = 0
  const place = (chain: string, seq: number): string => `row ${seq} of chain ${chain}`
  return {
    rows: () => rows,
    chains: () => last.size,
    next(row) {
      const { chain, seq } = row
      const before = last.get(chain) ?? { chain, seq: 0, hash: '' }
      const expected = before.seq + 1
      if (seq > expected) {
        const missing = seq - expected === 1 ? `row ${expected}` : `rows ${expected} to ${seq - 1}`
        const say = `${missing} of chain ${chain} ${seq - expected === 1 ? 'is' : 'are'} missing`
        return { what: 'missing', chain, seq: expected, say }
      }
      if (seq < expected)
        return { what: 'moved', chain, seq, say: `${place(chain, seq)} follows row ${before.seq}` }
      if (!isHashed(before.hash, row, digest))
        return { what: 'changed', chain, seq, say: `${place(chain, seq)} was changed` }
      last.set(chain, { chain, seq, hash: row.hash })
      rows++
      if (row.kind === 'audit.cut') for (const each of removedIn(row)) removed.add(each)
      return undefined
    },
    end: (heads) =>
      starts
        .filter((start) => !removed.has(JSON.stringify([start.chain, start.seq, start.hash])))
        .map(unexplained)[0] ?? endFault(last, heads),
  }
}

// How the trail is searched: terms of the form `field:value`, joined by AND, and words. Values are always bound.

type Value = string | number

export interface Search {
  /**
   * SQL condition on one row; empty when everything matches. `names`: the table with the values of
   * `namedColumns`, where there is one.
   */
  readonly where: (names?: string) => string
  readonly values: readonly Value[]
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

const textCondition = (field: string, column: Column, value: string): Condition => {
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

const numberCondition = (field: string, column: Column, value: string): Condition => {
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
  }
}

const wordCondition = (word: string): Condition => ({
  sql: (names) => among(namedColumns, (value) => `instr(lower(${value}), ?) > 0`, names),
  values: namedColumns.map(() => word.toLowerCase()),
})

/** Negated, a row without the fact matches too. */
const negated = ({ sql, values }: Condition): Condition => ({
  sql: (names) => `NOT coalesce(${sql(names)}, 0)`,
  values,
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
CREATE TABLE IF NOT EXISTS head (chain TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL, ended INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subject (hash TEXT PRIMARY KEY, snapshot TEXT NOT NULL, segment INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS start (chain TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL) WITHOUT ROWID;
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
