// Which of the hostile cases must hold, and which are not due yet, and why.
import type { HostileId } from './hostile.ts'

/** Should hold, and no release waits for them; every other case must hold. */
export const should: readonly HostileId[] = ['H-A18', 'H-B20', 'H-G21', 'H-J16', 'H-P11', 'H-T11']

/** Hold where the feature exists. */
export const whereOffered: readonly HostileId[] = [
  'H-B23',
  'H-L10',
  'H-O2',
  'H-O3',
  'H-O4',
  'H-O7',
  'H-O8',
  'H-S16',
]

/**
 * Cases of what the gateway does not offer yet, each with the feature it comes with. The gate fails for an
 * entry that has a test.
 */
export const later: Readonly<Partial<Record<HostileId, string>>> = {
  'H-Q4': 'tools made from other HTTP interfaces',
}

/** Cases that need more time or load than a test may have, each with the command that measures them. */
export const measured: Readonly<Partial<Record<HostileId, string>>> = {
  'H-S5': 'npm run prove faults',
  'H-T10': 'npm run prove fuzz',
}

/** Due now and without a test so far. The gate fails for an entry that has one: this list only shrinks. */
export const pending: readonly HostileId[] = []
