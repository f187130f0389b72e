// `postern audit query`, `export` and `verify`: read the audit trail of a state directory, whether or not a
// gateway is running.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { styleText } from 'node:util'
import { printable } from '../config/tree.ts'
import { createVerify } from '../node/audit-keys.ts'
import { type AuditReader, openAuditReader } from '../node/audit-reader.ts'
import { checkExport } from '../node/audit-exported.ts'
import { trailFile } from '../node/runtime.ts'
import { canonicalJson } from '../kit/bytes.ts'
import type { ChainedRow } from '../ports/store.ts'
import type { AuditKey } from '../stores/audit-signatures.ts'
import { type Anchor, readAnchors } from '../stores/audit-anchors.ts'
import { csvHeader, csvLine, exportPieces } from '../stores/audit-formats.ts'
import { type Search, readSearch } from '../stores/audit.ts'
import { listedBody, listedCheck, listedEvent } from '../admin/audit-api.ts'
import type { AdminTarget } from './admin.ts'
import { type RecordingTarget, createDigests, recordUse } from './audit-secret.ts'
import { count, print, type Printer, printJson, printNote, StartError, UsageError } from './output.ts'

export interface AuditTarget extends RecordingTarget {
  readonly json: Printer | undefined
}

const isSqlite = (error: unknown): boolean =>
  error instanceof Error && (error as NodeJS.ErrnoException).code === 'ERR_SQLITE_ERROR'

const settleMs = 2_000

/** A busy gateway makes rows of what it records when it has time; one that was killed, at its next start. */
const settle = async (reader: AuditReader): Promise<void> => {
  const until = Date.now() + settleMs
  while (reader.waiting() > 0 && Date.now() < until) await pause(100)
  const left = reader.waiting()
  if (left > 0)
    printNote(
      `${count(left, 'event')} cannot be read yet: the gateway is busy, or it was killed and has to be started again.`,
    )
}

/** Throws `StartError`. */
export const withReader = async <T>(
  { stateDir }: Pick<AuditTarget, 'stateDir'>,
  work: (reader: AuditReader) => T | Promise<T>,
): Promise<T> => {
  const path = trailFile(stateDir)
  const unusable = (error: unknown): StartError =>
    new StartError(
      'audit.unusable',
      `Cannot read ${path}: ${(error as Error).message}. Check its permissions; if it is damaged, restore it from a backup.`,
    )
  const opened = (): AuditReader | undefined => {
    try {
      return openAuditReader(path)
    } catch (error) {
      throw unusable(error)
    }
  }
  const reader = opened()
  if (!reader)
    throw new StartError(
      'audit.none',
      `There is no audit trail in ${stateDir}. To keep one, add "audit: {}" to the configuration and restart the gateway. If it is elsewhere, name the state directory with --state.`,
    )
  try {
    await settle(reader)
    return await work(reader)
  } catch (error) {
    throw isSqlite(error) ? unusable(error) : error
  } finally {
    reader.close()
  }
}

/** Throws `UsageError`. */
export const searchOf = (terms: readonly string[]): Search => {
  try {
    return readSearch(terms, Date.now())
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(error.message)
    throw error
  }
}

// `postern audit query`.

export interface QueryOptions {
  readonly since: string
  readonly limit: string
  readonly output?: 'table' | 'json' | 'yaml' | 'csv'
}

const mostRows = 100_000

const limitOf = (text: string): number => {
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (limit < 1 || limit > mostRows) throw new UsageError(`--limit must be a number from 1 to ${mostRows}.`)
  return limit
}

const signs = {
  allowed: ['green', '✓'],
  denied: ['red', '✗'],
  'step-up': ['yellow', '↑'],
  failed: ['yellow', '!'],
} as const

const cell = (text: string | number | null | undefined, width: number): string =>
  printable(String(text ?? ''), width).padEnd(width)

const tableLine = (row: ChainedRow): string => {
  const [colour, sign] = signs[row.decision]
  const what = row.kind === 'call' ? [row.method, row.name] : [row.kind, row.name]
  return [
    new Date(row.at).toISOString().slice(0, 19).replace('T', ' '),
    styleText(colour, sign),
    cell(row.person, 24),
    cell(row.service, 14),
    cell(what.filter(Boolean).join(' '), 36),
    cell(row.code ?? row.status, 20),
    cell(row.ms === null ? '' : `${row.ms} ms`, 8),
    printable(row.request ?? '', 40),
  ]
    .join(' ')
    .trimEnd()
}

/** Prints what matches, the newest first. */
export const queryAudit = (
  terms: readonly string[],
  { since, limit, output }: QueryOptions,
  target: AuditTarget,
): Promise<void> =>
  withReader(target, (reader) => {
    const timed = terms.some((term) => /^(?:since|until):/.test(term))
    const search = searchOf(timed ? terms : [...terms, `since:${since}`])
    const rows = reader.search(search, limitOf(limit))
    const form = output ?? (target.json ? 'json' : 'table')
    if (form === 'csv') print([csvHeader, ...rows.map(csvLine)].join('').trimEnd())
    else if (form === 'yaml') target.json?.(rows.map(listedEvent))
    else if (form === 'json') for (const row of rows) printJson(listedEvent(row))
    else if (rows.length === 0) print('No events match.')
    else for (const row of rows) print(tableLine(row))
  })

// `postern audit show`.

/** Prints the events of a request as JSON, or YAML; with `body` each with what is kept of its arguments and results. */
export const showAudit = (
  request: string,
  { body }: { readonly body?: true },
  target: AuditTarget,
): Promise<void> =>
  withReader(target, async (reader) => {
    const rows = reader.search(searchOf([`request:${request}`]), mostRows)
    if (rows.length === 0) throw new UsageError(`There is no event of a request with the ID ${request}.`)
    const show = target.json ?? printJson
    for (const row of rows) {
      show(listedEvent(row))
      const { body: hash } = JSON.parse(row.detail ?? '{}') as { readonly body?: unknown }
      const kept = body && typeof hash === 'string' ? reader.body(hash) : undefined
      if (!kept) continue
      await recordUse(target, { event: 'admin.viewed', what: 'body', body: kept.hash, of: kept.request })
      show(listedBody(kept))
    }
  })

// `postern audit match`: calls of a tool with exactly these arguments, which only whoever has the root secret can find.

export interface MatchOptions {
  readonly tool: string
  readonly arguments: string
  readonly since: string
  readonly limit: string
}

/** Throws `UsageError`. */
const canonicalOf = (text: string): string => {
  try {
    const canonical = canonicalJson(JSON.parse(text))
    if (canonical !== undefined) return canonical
  } catch {
    // Said below.
  }
  throw new UsageError('--arguments must be the arguments of the call as JSON, for example {"id":42}.')
}

/** Prints the calls, the newest first. */
export const matchAudit = async (
  { tool, arguments: args, since, limit }: MatchOptions,
  target: AdminTarget,
): Promise<void> => {
  const [canonical, most] = [canonicalOf(args), limitOf(limit)]
  const digestsOf = await createDigests(target)
  await withReader(target, async (reader) => {
    const found: ChainedRow[] = []
    for (const row of reader.all(searchOf(['method:tools/call', 'digest:*', `since:${since}`]))) {
      if (row.name !== tool || row.digest === null) continue
      const digests = await digestsOf(row.at, `${row.person ?? ''}\0${tool}\0${canonical}`)
      if (digests.includes(row.digest)) found.push(row)
    }
    const rows = found.toReversed().slice(0, most)
    if (target.json) for (const row of rows) target.json(listedEvent(row))
    else if (rows.length === 0) print('No call matches.')
    else for (const row of rows) print(tableLine(row))
  })
}

// `postern audit export`.

export interface ExportOptions {
  readonly output: 'jsonl' | 'csv'
}

/**
 * Prints everything that matches, the oldest first. JSON Lines begin with what the export is, and end with how
 * many rows there are and the SHA-256 of their lines.
 */
export const exportAudit = (
  terms: readonly string[],
  { output }: ExportOptions,
  target: AuditTarget,
): Promise<void> => {
  searchOf(terms)
  return withReader(target, async (reader) => {
    await recordUse(target, { event: 'audit.exported', format: output, filter: terms, everybody: true })
    const sum = createHash('sha256')
    const pieces = exportPieces(
      (search) => Promise.resolve(reader.page(search, Date.now(), () => true)),
      { terms },
      output,
      { add: (text) => void sum.update(text), end: () => sum.digest('hex') },
    )
    for await (const piece of pieces) if (!process.stdout.write(piece)) await once(process.stdout, 'drain')
  })
}

// `postern audit verify`.

export interface VerifyOptions {
  readonly strict?: true
  /** A file with an export, to be verified instead of the trail. */
  readonly export?: string
  /** A file with the public keys that must have signed. */
  readonly key?: string
  /** A file with what was sent to `audit.anchors`. */
  readonly anchors?: string
}

/** JSON Web Keys (RFC 7517), one or a set of them. Throws `UsageError`. */
const keysIn = (path: string): readonly AuditKey[] => {
  const unusable = (why: string): UsageError => new UsageError(`Cannot use the key in ${path}: ${why}.`)
  try {
    const value = JSON.parse(readFileSync(path, 'utf8')) as AuditKey | { readonly keys: readonly AuditKey[] }
    const keys = 'keys' in value ? value.keys : [value]
    createVerify(keys)
    if (keys.length > 0) return keys
  } catch (error) {
    throw unusable((error as Error).message)
  }
  throw unusable('there is none')
}

/** Throws `UsageError`. */
const anchorsIn = (path: string): readonly Anchor[] => {
  try {
    return readAnchors(readFileSync(path, 'utf8'))
  } catch (error) {
    throw new UsageError(`Cannot use the anchors in ${path}: ${(error as Error).message}.`)
  }
}

const verifyExport = async (
  file: string,
  keys: readonly AuditKey[] | undefined,
  json: Printer | undefined,
): Promise<boolean> => {
  const check = await checkExport(file, keys).catch((error: unknown) => {
    throw new UsageError(`Cannot read ${file}: ${(error as Error).message}`)
  })
  const { fault, rows, chains, signed, partial } = check
  if (json) json({ ok: fault === undefined, rows, chains, signed, partial, ...(fault && { fault }) })
  else if (fault) print(`${styleText('red', '✗')} ${fault.say}.`)
  else if (partial)
    print(
      `${styleText('yellow', '!')} Complete: ${count(rows, 'event')}. Only an export without terms can be checked against the hashes and signatures.`,
    )
  else
    print(
      `${styleText('green', '✓')} Unchanged: ${count(rows, 'event')} in ${count(chains, 'chain')}, ${signed} of them before a signature${keys ? '' : ' (not checked: no --key)'}.`,
    )
  return fault === undefined
}

/** Prints the first thing that is wrong; returns whether nothing is. */
export const verifyAudit = (
  { strict, export: exported, key, anchors }: VerifyOptions,
  target: AuditTarget,
): Promise<boolean> => {
  const required = key === undefined ? undefined : keysIn(key)
  const kept = anchors === undefined ? [] : anchorsIn(anchors)
  if (exported !== undefined) return verifyExport(exported, required, target.json)
  return withReader(target, async (reader) => {
    const check = reader.verify(required, kept)
    const { fault, rows, chains, open, keys, aside } = check
    await recordUse(target, {
      event: 'audit.verified',
      ...{ rows, chains, open: open.length, fault: fault?.say },
    })
    const sound = fault === undefined && !(strict && open.length + aside.length > 0)
    if (target.json) target.json(listedCheck(check, sound))
    else {
      for (const { chain, seq } of open)
        print(
          `${styleText('yellow', '!')} Chain ${chain} has no end yet: its process is running, or ended without warning after row ${seq}.`,
        )
      for (const { file, at } of aside)
        print(
          `${styleText('yellow', '!')} The file was damaged at ${new Date(at).toISOString()}. The events before are in ${file}, which is not verified.`,
        )
      print(
        fault
          ? `${styleText('red', '✗')} ${fault.say}. Unchanged before it: ${count(rows, 'event')}.`
          : `${styleText('green', '✓')} Unchanged: ${count(rows, 'event')} in ${count(chains, 'chain')}, ${keys.length === 0 ? 'not signed' : `signed with ${keys.join(', ')}`}.`,
      )
    }
    return sound
  })
}
