// The hash chain of the audit trail. Each process writes a chain of its own, because a chain that several write needs
// a lock over all of them at every commit, and forks without it. Each row holds the hash of the row before it
// in its chain, so a row that is changed, missing or moved is found.
import type { AuditRow, ChainFault, ChainHead, ChainedRow } from '../ports/store.ts'
import type { SignatureCheck } from './audit-signatures.ts'

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
const hashedValues = (chain: string, seq: number, row: AuditRow): (string | number | null)[] => [
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

/** The end of the chain with this row behind it, and the row as it is stored: the values of the columns. */
export const appended = (
  { chain, seq: last, hash: previous }: ChainHead,
  row: AuditRow,
  digest: Digest,
): { readonly head: ChainHead; readonly values: (string | number | null)[] } => {
  const seq = last + 1
  const values = hashedValues(chain, seq, row)
  const hash = digest(previous + JSON.stringify(values))
  // In place of the format come the columns, and the hash is the last of them.
  values.shift()
  values.push(hash)
  return { head: { chain, seq, hash }, values }
}

/** The end of the chain with this row behind it. */
export const nextInChain = (head: ChainHead, row: AuditRow, digest: Digest): ChainHead =>
  appended(head, row, digest).head

export interface ChainCheck {
  /** Takes the rows in the order in which they were written; returns what is wrong with this one. */
  next(row: ChainedRow): ChainFault | undefined
  /** After the last row. `heads`: what the trail says of the end of each chain; absent: nothing. */
  end(heads?: readonly ChainHead[]): ChainFault | undefined
  readonly rows: () => number
  readonly chains: () => number
}

/** Where chains go on after a removed segment, by a row that says so. */
export const removedIn = ({ detail }: Pick<ChainedRow, 'detail'>): readonly [string, number, string][] =>
  (JSON.parse(detail ?? '{}') as { readonly chains?: [string, number, string][] }).chains ?? []

/** A row names an end of another chain that is not there. */
const endedEarly = ({ chain, seq }: ChainHead, found = 0): ChainFault => ({
  what: 'cut',
  chain,
  seq: Math.min(seq, found + 1),
  say: `row ${seq} of chain ${chain} is named by another chain, and is missing or was changed`,
})

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

/** Ends of chains that a row of the trail's own names, each as it was when the row was written. */
const headsIn = ({ kind, detail }: ChainedRow): readonly (ChainHead & { readonly signed: boolean })[] => {
  if (kind !== 'audit.opened' && kind !== 'audit.anchor') return []
  const { heads = [], kid } = JSON.parse(detail ?? '{}') as {
    readonly heads?: readonly [string, number, string][]
    readonly kid?: unknown
  }
  return heads.map(([chain, seq, hash]) => ({ chain, seq, hash, signed: kid !== undefined }))
}

/** `starts`: where chains go on whose first rows were removed with their segment. */
export const createChainCheck = (
  digest: Digest,
  starts: readonly ChainHead[] = [],
  signatures?: Pick<SignatureCheck, 'row'>,
): ChainCheck => {
  const last = new Map<string, ChainHead>(starts.map((start) => [start.chain, start]))
  /** What rows of the trail say was removed. */
  const removed = new Set<string>()
  const removedChains = new Map<string, number>()
  /** Chains that are named and have no row left. */
  const gone = new Map<string, ChainHead>()
  let rows = 0
  /** The first of the named ends at which the chain does not stand now. Rows are in the order in which they were written. */
  const misnamed = (row: ChainedRow): ChainFault | undefined => {
    for (const head of headsIn(row)) {
      const known = last.get(head.chain)
      if (known && (known.seq !== head.seq || known.hash !== head.hash)) return endedEarly(head, known.seq)
      if (!known && head.seq > 0 && head.signed) gone.set(head.chain, head)
    }
    return undefined
  }
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
      const unsigned = signatures?.row(row, before)
      if (unsigned) return unsigned
      const other = misnamed(row)
      if (other) return other
      last.set(chain, { chain, seq, hash: row.hash })
      rows++
      if (row.kind === 'audit.cut')
        for (const each of removedIn(row)) {
          removed.add(JSON.stringify(each))
          removedChains.set(each[0], each[1])
        }
      return undefined
    },
    end: (heads) =>
      starts
        .filter((start) => !removed.has(JSON.stringify([start.chain, start.seq, start.hash])))
        .map(unexplained)[0] ??
      [...gone.values()]
        .filter(({ chain, seq }) => (removedChains.get(chain) ?? 0) < seq)
        .map((head) => endedEarly(head))[0] ??
      (heads && endFault(last, heads)),
  }
}
