// Which of the hostile cases must hold, and which are not due yet, and why.
import type { HostileId } from './hostile.ts'

/** Should hold, and no release waits for them; every other case must hold. */
export const should: readonly HostileId[] = ['A18', 'B20', 'G21', 'J16', 'P11', 'T11']

/** Hold where the feature exists. */
export const whereOffered: readonly HostileId[] = ['B23', 'L10', 'O2', 'O3', 'O4', 'O7', 'O8', 'S16']

/** Cases of what the gateway does not offer yet, each with the feature it comes with. The gate fails for an entry that has a test. */
export const later: Readonly<Partial<Record<HostileId, string>>> = {
  J15: 'lists that are trimmed for a person',
  Q4: 'tools made from other HTTP interfaces',
  S5: 'storage in Redis',
  S9: 'storage in Redis',
  S12: 'storage in Redis',
}

/** Cases that need more time or load than a test may have, each with the command that measures them. */
export const measured: Readonly<Partial<Record<HostileId, string>>> = {
  T10: 'npm run prove fuzz',
}

/** Due now and without a test so far. The gate fails for an entry that has one: this list only shrinks. */
export const pending: readonly HostileId[] = []
