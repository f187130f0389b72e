// Verifies an export of the audit trail (JSON Lines), without the trail: its sum, the hashes of its rows, and their
// signatures.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { ChainFault, ChainHead, ChainedRow } from '../ports/store.ts'
import { type AuditKey, createSignatureCheck } from '../stores/audit-signatures.ts'
import { createChainCheck, removedIn } from '../stores/audit-chain.ts'
import { exportFormat } from '../stores/audit-formats.ts'
import { createVerify } from './audit-keys.ts'
import { digest } from './audit-database.ts'

export interface ExportCheck {
  readonly fault?: ChainFault | undefined
  readonly rows: number
  readonly chains: number
  /** Rows that stand before a signature in their chain. */
  readonly signed: number
  /** It was made with terms, so that rows are missing by intention. */
  readonly partial: boolean
}

const linesOf = (path: string): AsyncIterable<string> =>
  createInterface({ input: createReadStream(path), crlfDelay: Infinity })

interface Outline {
  readonly partial: boolean
  readonly rows: number
  readonly fault?: ChainFault
  /** Of each chain its first row, and where rows of the trail say that it goes on. */
  readonly first: ReadonlyMap<string, number>
  readonly removed: readonly ChainHead[]
}

const damaged = (say: string): ChainFault => ({ what: 'damaged', say })

/** Reads it once for its sum, and for where its chains begin. */
const outlineOf = async (path: string): Promise<Outline> => {
  const first = new Map<string, number>()
  const removed: ChainHead[] = []
  const sum = createHash('sha256')
  let partial: boolean | undefined
  let rows = 0
  let waiting: string | undefined
  const take = (line: string): void => {
    const row = JSON.parse(line) as ChainedRow
    sum.update(`${line}\n`)
    rows++
    if (!first.has(row.chain)) first.set(row.chain, row.seq)
    if (row.kind === 'audit.cut')
      removed.push(...removedIn(row).map(([chain, seq, hash]) => ({ chain, seq, hash })))
  }
  for await (const line of linesOf(path)) {
    if (partial === undefined) {
      const header = JSON.parse(line) as { readonly format?: unknown; readonly filter?: readonly unknown[] }
      if (header.format !== exportFormat) throw new Error('it is not an export of postern audit export')
      partial = (header.filter ?? []).length > 0
      continue
    }
    // The last line is no row.
    if (waiting !== undefined) take(waiting)
    waiting = line
  }
  const end = JSON.parse(waiting ?? '{}') as { readonly rows?: unknown; readonly sha256?: unknown }
  const whole = end.rows === rows && end.sha256 === sum.digest('hex')
  return {
    partial: partial ?? false,
    rows,
    first,
    removed,
    ...(!whole && {
      fault: damaged('the export is not complete, or was changed: its last line does not fit'),
    }),
  }
}

/** Rejects with what is wrong with the file itself. `keys`: what it must be signed with. */
export const checkExport = async (
  path: string,
  keys: readonly AuditKey[] | undefined,
): Promise<ExportCheck> => {
  const { partial, rows, fault, first, removed } = await outlineOf(path)
  if (fault || partial) return { fault, rows, chains: first.size, signed: 0, partial }
  const starts = [...first].flatMap(
    ([chain, seq]) => removed.find((head) => head.chain === chain && head.seq === seq - 1) ?? [],
  )
  const signatures = keys && createSignatureCheck(createVerify(keys), true)
  const check = createChainCheck(digest, starts, signatures)
  let read = -1
  for await (const line of linesOf(path)) {
    read++
    if (read === 0 || read > rows) continue
    const wrong = check.next(JSON.parse(line) as ChainedRow)
    if (wrong) return { fault: wrong, rows: check.rows(), chains: check.chains(), signed: 0, partial }
  }
  const signed = [...(signatures?.signed ?? [])]
    .map(([chain, seq]) => seq - (first.get(chain) ?? 1) + 1)
    .reduce((sum, some) => sum + some, 0)
  return { fault: check.end(), rows, chains: first.size, signed, partial }
}
