// Anchors that were sent to another place, against the trail: they show that its end was cut off together with what the
// file says of it, or that the whole file is an older copy.
import type { ChainFault, ChainedRow } from '../ports/store.ts'

/** Rows that the trail writes about itself, which name ends of chains. */
export const anchorKinds = [
  'audit.opened',
  'audit.damaged',
  'audit.anchor',
  'audit.cut',
  'audit.closed',
] as const

export type Anchor = Pick<ChainedRow, 'chain' | 'seq' | 'hash' | 'at'>

const isAnchor = (value: unknown): value is Anchor => {
  const { chain, seq, hash, at } = (value ?? {}) as Partial<Record<keyof Anchor, unknown>>
  return (
    typeof chain === 'string' &&
    typeof hash === 'string' &&
    typeof at === 'number' &&
    Number.isSafeInteger(seq)
  )
}

/** JSON Lines, some of them perhaps twice. Throws RangeError for what is none. */
export const readAnchors = (text: string): readonly Anchor[] =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line, i) => {
      let value: unknown
      try {
        value = JSON.parse(line)
      } catch {
        // Said below.
      }
      if (!isAnchor(value)) throw new RangeError(`line ${i + 1} is no event of an audit trail`)
      return value
    })

export interface AnchorCheck {
  row(row: ChainedRow): ChainFault | undefined
  /** `oldest`: time of the oldest row that is left. What is older may have been removed in time. */
  end(oldest: number | undefined): ChainFault | undefined
}

export const createAnchorCheck = (anchors: readonly Anchor[]): AnchorCheck => {
  const keyOf = ({ chain, seq }: Pick<Anchor, 'chain' | 'seq'>): string => `${seq} ${chain}`
  const left = new Map(anchors.map((anchor) => [keyOf(anchor), anchor]))
  return {
    row(row) {
      const anchor = left.get(keyOf(row))
      if (!anchor) return undefined
      left.delete(keyOf(row))
      if (anchor.hash === row.hash) return undefined
      const { chain, seq } = row
      return {
        what: 'changed',
        chain,
        seq,
        say: `row ${seq} of chain ${chain} is not the one in the anchors`,
      }
    },
    end(oldest = -Infinity) {
      const missing = [...left.values()].find(({ at }) => at >= oldest)
      if (!missing) return undefined
      const { chain, seq } = missing
      return {
        what: 'cut',
        chain,
        seq,
        say: `row ${seq} of chain ${chain}, which is in the anchors, is missing`,
      }
    },
  }
}
