// Rows of the audit trail in the formats of other systems: JSON lines, syslog (RFC 5424) and OpenTelemetry logs.
import { utf8 } from '../kit/bytes.ts'
import { jsonLine } from '../kit/log.ts'
import type { TrailFormat, TrailReader, TrailSearch } from '../ports/runtime.ts'
import type { ChainedRow } from '../ports/store.ts'
import { columns } from './audit-chain.ts'
import { csvCell } from './audit.ts'

/** One line, as an export has it. */
export const rowLine = (row: ChainedRow): string =>
  jsonLine(Object.fromEntries(columns.map((name) => [name, row[name]])))

// An export.

export const exportFormat = 'postern-audit-v1'

export const csvHeader = `${columns.join(',')}\r\n`
export const csvLine = (row: ChainedRow): string =>
  `${columns.map((name) => csvCell(row[name])).join(',')}\r\n`

/** `filter`: its terms. */
const exportHeader = (filter: readonly string[]): string =>
  `${JSON.stringify({ format: exportFormat, filter, columns })}\n`
const exportLine = (row: ChainedRow): string =>
  `${JSON.stringify(Object.fromEntries(columns.map((name) => [name, row[name]])))}\n`

/** A sum over text that comes in pieces. */
export interface TextSum {
  add(text: string): void
  /** SHA-256 in hexadecimal digits. */
  end(): string | Promise<string>
}

const exportPage = 1000

/**
 * JSON Lines begin with what the export is, and end with how many rows there are and the SHA-256 of their lines.
 * Nothing comes before the search has been read.
 */
export async function* exportPieces(
  page: TrailReader['page'],
  { terms, person }: Pick<TrailSearch, 'terms' | 'person'>,
  format: TrailFormat,
  sum: TextSum,
): AsyncGenerator<string> {
  const filter = person === undefined ? terms : [...terms, `user:${person}`]
  const lineOf = format === 'csv' ? csvLine : exportLine
  let head = format === 'csv' ? csvHeader : exportHeader(filter)
  let from: TrailSearch['from']
  let count = 0
  do {
    const found = await page({ terms, person, order: 'oldest', from, limit: exportPage })
    const lines = found.rows.map(lineOf).join('')
    sum.add(lines)
    count += found.rows.length
    yield head + lines
    head = ''
    from = found.next
  } while (from)
  if (format === 'jsonl') yield `${JSON.stringify({ rows: count, sha256: await sum.end() })}\n`
}

/** What somebody on duty is woken for. */
const grave: ReadonlySet<string> = new Set([
  'refresh.reuse',
  'code.replayed',
  'device.replayed',
  'device.reported',
  'proof.replayed',
  'assertion.replayed',
  'session.foreign',
  'audit.lost',
])

/** What happened, in one sentence. */
export const rowSentence = ({ kind, person, client, service, method, name, decision, code }: ChainedRow) => {
  const what = kind === 'call' ? [method, name] : [kind, name]
  const who = person ?? client ?? 'somebody'
  const where = service === null ? '' : ` at ${service}`
  return `${who}: ${what.filter(Boolean).join(' ')}${where}: ${decision}${code === null ? '' : ` (${code})`}`
}

// Syslog (RFC 5424).

export interface SyslogOrigin {
  readonly host: string
  readonly pid: number
  /** SD-ID of the facts (RFC 5424 §6.3.2). */
  readonly id: string
}

/** Log audit. */
const facility = 13
const severityOf = ({ kind, decision }: ChainedRow): number =>
  grave.has(kind) ? 2 : decision === 'allowed' ? 5 : 4

const controls = /[\u0000-\u001F\u007F-\u009F]/g
const plain = (text: string): string => text.replaceAll(controls, ' ')

/** §6.3.3: these three are escaped, and nothing else is. */
const escaped = (value: string | number): string =>
  plain(String(value)).replaceAll(/["\\\]]/g, String.raw`\$&`)

/** §6: printable ASCII without spaces; `-` where there is nothing. */
const header = (text: string, most: number): string =>
  text.replaceAll(/[^\x21-\x7E]/g, '').slice(0, most) || '-'

/** The columns as they are called there. `tool`: the name. */
const syslogFacts = [
  ...['chain', 'seq', 'person', 'actor', 'client', 'service', 'method', 'tool', 'decision', 'code', 'rule'],
  ...['status', 'is_error', 'ms', 'ip', 'request', 'flow', 'grant', 'digest', 'subject', 'detail', 'hash'],
] as const

/** Longest message over UDP, bytes (RFC 5424 §6.1). */
export const mostDatagram = 2048

/** `short`: what does not fit into a datagram is left out. */
export const syslogMessage = (row: ChainedRow, { host, pid, id }: SyslogOrigin, short = false): string => {
  const facts: Readonly<Record<string, string | number | null>> = { ...row, tool: row.name }
  const make = (names: readonly string[]): string => {
    const data = names
      .flatMap((name) => {
        const value = facts[name] ?? null
        return value === null ? [] : [` ${name}="${escaped(value)}"`]
      })
      .join('')
    const message = plain(rowSentence(row))
    // §6.4: UTF-8 is announced by its mark.
    const mark = /[^\x00-\x7F]/.test(message) ? '\uFEFF' : ''
    const time = new Date(row.at).toISOString()
    const start = `<${facility * 8 + severityOf(row)}>1 ${time} ${header(host, 255)} postern ${pid}`
    return `${start} ${header(row.kind, 32)} [${id}${data}] ${mark}${message}`
  }
  const names: string[] = [...syslogFacts]
  const whole = make(names)
  if (!short || utf8(whole).length <= mostDatagram) return whole
  for (const name of ['detail', 'subject', 'rule', 'client', 'tool']) {
    names.splice(names.indexOf(name), 1)
    const less = make(names)
    if (utf8(less).length <= mostDatagram) return less
  }
  return make(['chain', 'seq', 'decision', 'hash'])
}

// OpenTelemetry logs, JSON over HTTP.

type Value =
  | { readonly stringValue: string }
  | { readonly intValue: string }
  | { readonly boolValue: boolean }

const valueOf = (name: string, value: string | number): Value =>
  name === 'is_error'
    ? { boolValue: value === 1 }
    : typeof value === 'number'
      ? { intValue: String(value) }
      : { stringValue: value }

/** Names by the semantic conventions, where they have one. */
const conventional: Readonly<Partial<Record<keyof ChainedRow, string>>> = {
  method: 'mcp.method.name',
  person: 'enduser.id',
  ip: 'client.address',
  status: 'http.response.status_code',
  code: 'error.type',
}

const attributesOf = (row: ChainedRow) =>
  columns
    .filter((name) => row[name] !== null && !['chain', 'at', 'kind'].includes(name))
    .map((name) => ({
      key:
        name === 'name' && row.method === 'tools/call'
          ? 'gen_ai.tool.name'
          : (conventional[name] ?? `postern.${name}`),
      value: valueOf(name, row[name] ?? ''),
    }))

const logRecord = (row: ChainedRow) => {
  const [number, text] = grave.has(row.kind)
    ? [17, 'ERROR']
    : row.decision === 'allowed'
      ? [9, 'INFO']
      : [13, 'WARN']
  const time = `${row.at}000000`
  return {
    timeUnixNano: time,
    observedTimeUnixNano: time,
    severityNumber: number,
    severityText: text,
    eventName: `postern.${row.kind}`,
    body: { stringValue: rowSentence(row) },
    attributes: attributesOf(row),
  }
}

/** The body of an export request (ExportLogsServiceRequest). */
export const otlpBody = (rows: readonly ChainedRow[], version: string): string =>
  JSON.stringify({
    resourceLogs: [...new Set(rows.map(({ chain }) => chain))].map((chain) => ({
      resource: {
        attributes: [
          { key: 'service.name', value: { stringValue: 'postern' } },
          { key: 'service.version', value: { stringValue: version } },
          { key: 'service.instance.id', value: { stringValue: chain } },
        ],
      },
      scopeLogs: [
        {
          scope: { name: 'postern.audit', version },
          logRecords: rows.filter((row) => row.chain === chain).map((row) => logRecord(row)),
        },
      ],
    })),
  })
