// Rotation of refresh tokens: which generation answers the one that was presented, and what is remembered of
// each (RFC 9700 §4.14.2).
//
// A lost answer, two processes of one client that share a stored token, and a thief who keeps step with the
// client look alike: each presents a token that was presented before. Until the successor is used nobody can
// tell, so a late repeat from another network is given a new successor in place of the unused one. A lost
// answer costs nothing then, because nobody holds the replaced one; a client or a thief who does shows itself
// by presenting it.

/** What a grant remembers of its refresh tokens. Members that 0.1.0 did not write may be absent. */
export interface Rotation {
  /** The newest refresh token handed out; nobody has presented it yet. */
  readonly generation: number
  /** When each generation was first presented, epoch ms: the newest of them, and those within the grace. */
  readonly usedAt: Readonly<Record<number, number>>
  /** From which network (a keyed digest). */
  readonly usedBy?: Readonly<Record<number, string>>
  /** The successor of a generation, where that is not the next number. */
  readonly next?: Readonly<Record<number, number>>
  /**
   * Generations that were replaced before anybody used them: by which, and from which network that one was
   * asked for.
   */
  readonly replaced?: Readonly<Record<number, Replacement>>
  /** When and to which network the newest was handed out. */
  readonly handed?: { readonly at: number; readonly by: string }
  /**
   * The root key under which each generation was made: the same parent yields the same successor after a
   * rotation of roots too.
   */
  readonly keyIds: Readonly<Record<number, string>>
}

interface Replacement {
  readonly to: number
  readonly by: string
}

/** What a repeat means that comes after the grace, while the successor is unused. */
export type LateRepeat = 'by-network' | 'allow' | 'refuse'

export interface Presented {
  readonly generation: number
  readonly now: number
  readonly graceMs: number
  readonly lateRepeat: LateRepeat
  /** Whether a digest is that of the network the request came from; one that 0.1.0 did not keep may be. */
  readonly isHere: (network: string | undefined) => boolean
}

/** `late`: it came after the grace, while the successor was unused. */
export type RefreshVerdict =
  | { readonly kind: 'advance' }
  | { readonly kind: 'repeat'; readonly successor: number; readonly late: boolean }
  | { readonly kind: 'replace'; readonly parent: number }
  | { readonly kind: 'reuse' }

/** Generations remembered within the grace; beyond it a client loops. */
const maxRemembered = 200

const reuse = { kind: 'reuse' } as const

/**
 * The generation for which the presented one stands: itself, or its replacement, for who comes from where
 * that was asked for. Undefined for everybody else.
 */
const heirOf = (
  { replaced = {} }: Rotation,
  { generation, lateRepeat, isHere }: Presented,
): number | undefined => {
  let heir = generation
  for (let by = replaced[heir]; by; by = replaced[heir]) {
    if (lateRepeat === 'refuse' || (lateRepeat === 'by-network' && !isHere(by.by))) return undefined
    heir = by.to
  }
  return heir
}

/** A repeat while the successor is unused. */
const judgeRepeat = (
  { generation, usedAt, usedBy = {}, handed }: Rotation,
  parent: number,
  { now, graceMs, lateRepeat, isHere }: Presented,
): RefreshVerdict => {
  const since = Math.max(usedAt[parent] ?? -Infinity, handed?.at ?? -Infinity)
  if (now - since < graceMs) return { kind: 'repeat', successor: generation, late: false }
  if (lateRepeat === 'refuse') return reuse
  const known =
    lateRepeat === 'allow' || isHere(usedBy[parent]) || (handed !== undefined && isHere(handed.by))
  return known ? { kind: 'repeat', successor: generation, late: true } : { kind: 'replace', parent }
}

/** What presenting a refresh token of a live grant means now. */
export const judgeRefresh = (rotation: Rotation, presented: Presented): RefreshVerdict => {
  const heir = heirOf(rotation, presented)
  if (heir === undefined) return reuse
  if (heir === rotation.generation) return { kind: 'advance' }
  const successor = rotation.next?.[heir] ?? heir + 1
  if (successor === rotation.generation) return judgeRepeat(rotation, heir, presented)
  const used = rotation.usedAt[successor]
  return used !== undefined && presented.now - used < presented.graceMs
    ? { kind: 'repeat', successor, late: false }
    : reuse
}

/** A presentation that changes the grant. */
export interface RotationStep {
  readonly now: number
  readonly graceMs: number
  /** Of the root key that makes the new generation. */
  readonly keyId: string
  /** Digest of the network it came from. */
  readonly by: string
}

const kept = <T>(
  entries: Readonly<Record<number, T>>,
  keep: (generation: number, value: T) => boolean,
): Record<number, T> =>
  Object.fromEntries(
    Object.entries(entries)
      .filter(([generation, value]) => keep(Number(generation), value))
      .slice(-maxRemembered),
  )

/** After the newest refresh token was presented; what lies beyond the grace is forgotten. */
export const movedOn = <R extends Rotation>(rotation: R, { now, graceMs, keyId, by }: RotationStep): R => {
  const { generation, usedBy = {}, next = {}, replaced = {} } = rotation
  const made = generation + 1
  const usedAt = kept({ ...rotation.usedAt, [generation]: now }, (_, at) => at === now || now - at < graceMs)
  // It, or its replacement, would still be answered: it was used a moment ago, or its successor was.
  const answered = (of: number): boolean =>
    replaced[of] ? answered(replaced[of].to) : of in usedAt || (next[of] ?? of + 1) in usedAt
  return {
    ...rotation,
    generation: made,
    usedAt,
    usedBy: kept({ ...usedBy, [generation]: by }, (of) => of in usedAt),
    next: kept(next, (_, successor) => successor in usedAt),
    replaced: kept(replaced, (_, { to }) => answered(to)),
    handed: { at: now, by },
    keyIds: kept({ ...rotation.keyIds, [made]: keyId }, (of) => of in usedAt || of >= generation),
  }
}

/** After a late repeat of `parent` from elsewhere: another successor in place of the unused one. */
export const replacedNewest = <R extends Rotation>(
  rotation: R,
  parent: number,
  { now, keyId, by }: RotationStep,
): R => {
  const { generation, next = {}, replaced = {} } = rotation
  const made = generation + 1
  return {
    ...rotation,
    generation: made,
    next: { ...next, [parent]: made },
    replaced: kept({ ...replaced, [generation]: { to: made, by } }, () => true),
    handed: { at: now, by },
    keyIds: kept({ ...rotation.keyIds, [made]: keyId }, (of) => of in rotation.usedAt || of >= generation),
  }
}
