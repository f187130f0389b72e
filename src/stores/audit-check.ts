// Verifies the audit trail: the hashes of its rows, their signatures, the ends of its chains, and what is kept beside
// them.
import type { AuditCheck, ChainFault, ChainHead, ChainedRow } from '../ports/store.ts'
import { type Anchor, createAnchorCheck } from './audit-anchors.ts'
import { bodyFault } from './audit-bodies.ts'
import { type Digest, createChainCheck } from './audit-chain.ts'
import { type RecordedHead, type VerifySignature, createSignatureCheck } from './audit-signatures.ts'
import { type Segment, type TrailDatabase, hasTable, segmentsOf, startsOf } from './audit-tables.ts'
import { columnList, segmentRows } from './audit.ts'

export const damaged = (error: unknown): ChainFault => ({
  what: 'damaged',
  say: `the file is damaged: ${(error as Error).message}`,
})

/** Not even the tables can be read that say which rows there are. */
export const unreadable = (error: unknown): AuditCheck => ({
  ...{ fault: damaged(error), rows: 0, chains: 0, open: [], keys: [], aside: [] },
})

/** A snapshot has the hash by which rows name it. */
const subjectFault = (db: TrailDatabase, digest: Digest): ChainFault | undefined => {
  // A file that only an earlier version has written has none.
  if (!hasTable(db, 'subject')) return undefined
  for (const found of db.prepare('SELECT hash, snapshot FROM subject').iterate()) {
    const { hash, snapshot } = found as { readonly hash: string; readonly snapshot: string }
    if (digest(snapshot) !== hash)
      return { what: 'changed', say: `what is kept of the caller ${hash} was changed` }
  }
  return undefined
}

/** What is kept beside the rows has the hash by which they name it. */
export const keptFault = (db: TrailDatabase, digest: Digest): ChainFault | undefined =>
  subjectFault(db, digest) ?? bodyFault(db, digest)

/** What of a trail has to be known before its rows are checked. */
export interface TrailOutline {
  /** The oldest first. */
  readonly segments: readonly Segment[]
  readonly starts: readonly ChainHead[]
  /** The ends of all chains. */
  readonly heads: readonly RecordedHead[]
}

export const outlineOf = (db: TrailDatabase): TrailOutline => {
  // An earlier version signed none.
  const signed = db.columns('head').has('sig') ? 'kid, sig' : 'NULL AS kid, NULL AS sig'
  return {
    segments: segmentsOf(db),
    starts: startsOf(db),
    heads: db.prepare(`SELECT chain, seq, hash, ended, ${signed} FROM head`).all() as readonly RecordedHead[],
  }
}

export interface CheckOptions {
  readonly digest: Digest
  readonly verify: VerifySignature
  /** What is not signed is a fault. */
  readonly signed: boolean
  /** Rows that are kept elsewhere. */
  readonly anchors?: readonly Anchor[]
}

const fileIn = ({ detail }: ChainedRow): string =>
  String((JSON.parse(detail ?? '{}') as { readonly file?: unknown }).file)

export interface TrailCheck {
  /** Takes the rows in the order in which they were written; returns what is wrong with this one. */
  row(row: ChainedRow): ChainFault | undefined
  /** After the last row: what is wrong with the ends. */
  end(): ChainFault | undefined
  found(fault: ChainFault | undefined): AuditCheck
}

export const createTrailCheck = (
  { segments, starts, heads }: TrailOutline,
  { digest, verify, signed, anchors = [] }: CheckOptions,
): TrailCheck => {
  const signatures = createSignatureCheck(verify, signed)
  const chains = createChainCheck(digest, starts, signatures)
  const anchored = createAnchorCheck(anchors)
  const aside = new Map<string, number>()
  return {
    row(row) {
      const fault = chains.next(row) ?? anchored.row(row)
      if (!fault && row.kind === 'audit.damaged') aside.set(fileIn(row), row.at)
      return fault
    },
    end: () =>
      chains.end(heads) ??
      anchored.end(segments[0]?.first_at) ??
      heads.map((head) => signatures.head(head)).find(Boolean),
    found: (fault) => ({
      ...(fault && { fault }),
      rows: chains.rows(),
      chains: chains.chains(),
      open: heads.filter(({ ended }) => ended === 0),
      keys: [...signatures.kids],
      aside: [...aside].map(([file, at]) => ({ file, at })),
    }),
  }
}

/** The whole of it at once. Throws the database's error where its tables cannot be read. */
export const checkTrail = (db: TrailDatabase, options: CheckOptions): AuditCheck => {
  const outline = outlineOf(db)
  const check = createTrailCheck(outline, options)
  try {
    for (const { n } of outline.segments) {
      const table = segmentRows(n, db.columns(`event_${n}`))
      for (const row of db.prepare(`SELECT ${columnList} FROM ${table} ORDER BY id`).iterate()) {
        const fault = check.row(row as ChainedRow)
        if (fault) return check.found(fault)
      }
    }
  } catch (error) {
    return check.found(damaged(error))
  }
  return check.found(check.end() ?? keptFault(db, options.digest))
}
