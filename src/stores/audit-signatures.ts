// What is signed of the audit trail (ES256): the rows that the trail writes about itself, and the end of each
// chain. Hashes alone can be computed again by whoever can write the file; signatures need the key.
import type { ChainFault, ChainHead, ChainedRow } from '../ports/store.ts'

/** A public key as `/audit/jwks` publishes it (RFC 7517). */
export interface AuditKey {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
  readonly kid: string
  readonly alg: 'ES256'
  readonly use: 'sig'
}

export interface AuditSigner {
  readonly kid: string
  /** ES256 (RFC 7518 §3.4) of the text in UTF-8, base64url. */
  sign(text: string): string
}

/** Undefined: that key is not known. */
export type VerifySignature = (kid: string, text: string, signature: string) => boolean | undefined

/** Rows that are signed by themselves. */
const signedKinds: ReadonlySet<string> = new Set([
  'audit.opened',
  'audit.damaged',
  'audit.anchor',
  'audit.cut',
  'audit.closed',
])

interface SignedRow {
  readonly kind: string
  readonly at: number
}

const rowText = ({ kind, at }: SignedRow, before: ChainHead, facts: object): string =>
  JSON.stringify([
    'postern-signed-row-v1',
    kind,
    before.chain,
    before.seq + 1,
    before.hash,
    at,
    JSON.stringify(facts),
  ])

/** The detail of a row that follows `before`, with the signature among the facts. */
export const signedDetail = (
  row: SignedRow,
  before: ChainHead,
  facts: object,
  { kid, sign }: AuditSigner,
): string => {
  const named = { ...facts, kid }
  return JSON.stringify({ ...named, sig: sign(rowText(row, before, named)) })
}

const headText = ({ chain, seq, hash }: ChainHead, ended: number): string =>
  JSON.stringify(['postern-signed-head-v1', chain, seq, hash, ended])

export const signedHead = (head: ChainHead, ended: number, { sign }: AuditSigner): string =>
  sign(headText(head, ended))

/** The end of a chain as the file has it. */
export interface RecordedHead extends ChainHead {
  readonly ended: number
  readonly kid: string | null
  readonly sig: string | null
}

export interface SignatureCheck {
  /** `before`: the end of its chain before this row. */
  row(row: ChainedRow, before: ChainHead): ChainFault | undefined
  head(head: RecordedHead): ChainFault | undefined
  /** Up to where each chain is signed: the last row of the trail's own that has a signature. */
  readonly signed: ReadonlyMap<string, number>
  /** Keys with which something is signed. */
  readonly kids: ReadonlySet<string>
}

const notSigned = (what: string, { chain, seq }: Pick<ChainHead, 'chain' | 'seq'>): ChainFault => ({
  what: 'signature',
  chain,
  seq,
  say: `${what} of chain ${chain} is not signed with the key of this trail`,
})

/** `required`: what has no signature is a fault; an earlier version wrote none. */
export const createSignatureCheck = (verify: VerifySignature, required: boolean): SignatureCheck => {
  const signed = new Map<string, number>()
  const kids = new Set<string>()
  const isSigned = (kid: unknown, text: string, sig: unknown): boolean => {
    if (typeof kid !== 'string' || typeof sig !== 'string' || verify(kid, text, sig) !== true) return false
    kids.add(kid)
    return true
  }
  return {
    signed,
    kids,
    row(row, before) {
      if (!signedKinds.has(row.kind)) return undefined
      const { sig, ...facts } = JSON.parse(row.detail ?? '{}') as Readonly<Record<string, unknown>>
      // A chain that has begun with signatures goes on with them.
      const needed = required || signed.has(row.chain)
      if (sig === undefined && facts['kid'] === undefined && !needed) return undefined
      if (!isSigned(facts['kid'], rowText(row, before, facts), sig)) return notSigned(`row ${row.seq}`, row)
      signed.set(row.chain, row.seq)
      return undefined
    },
    head(head) {
      if (head.kid === null && !required && !signed.has(head.chain)) return undefined
      return isSigned(head.kid, headText(head, head.ended), head.sig)
        ? undefined
        : notSigned(`the recorded end, row ${head.seq},`, head)
    },
  }
}
