// Reads the audit trail in its object.
import { Refusal } from '../kit/refusal.ts'
import type { TrailReader } from '../ports/runtime.ts'
import type { AuditCheck } from '../ports/store.ts'
import { createTrailCheck } from '../stores/audit-check.ts'
import { exportPieces } from '../stores/audit-formats.ts'
import { readSearch } from '../stores/audit.ts'
import { createSum, createVerify, digest } from './audit-crypto.ts'
import type { TrailCalls } from './trail-calls.ts'

interface ReaderOptions {
  /** A stub whose object failed stays broken, so each call gets its own. */
  readonly object: () => TrailCalls
  readonly now: () => number
}

const verifiedRows = 2_000

/** The object hands over its rows, so that it can write others meanwhile. */
const verifyTrail = async (object: ReaderOptions['object']): Promise<AuditCheck> => {
  const [outline, keys] = [await object().outline(), await object().keys()]
  const check = createTrailCheck(outline, { digest, verify: createVerify(keys), signed: true })
  for (const { n, rows: most } of outline.segments)
    for (let at = 0; at < most;) {
      const rows = await object().rows(n, at, Math.min(verifiedRows, most - at))
      if (rows.length === 0) break
      for (const row of rows) {
        const fault = check.row(row)
        if (fault) return check.found(fault)
      }
      at += rows.length
    }
  return check.found(check.end() ?? (await object().kept()))
}

export const unavailable = (error: unknown): never => {
  throw error instanceof Refusal ? error : new Refusal('storage.unavailable', String(error))
}

export const createTrailReader = ({ object, now }: ReaderOptions): TrailReader => {
  /** A search that cannot be read is said here: not all of an error comes back from an object. */
  const readable = (terms: readonly string[]): void => void readSearch(terms, now())
  const page: TrailReader['page'] = async (search) => {
    readable(search.terms)
    return object().page(search).catch(unavailable)
  }
  return {
    page,
    async counts(asked) {
      readable(asked.terms)
      return object().counts(asked).catch(unavailable)
    },
    async combinations(terms) {
      readable(terms)
      return object().combinations(terms).catch(unavailable)
    },
    export: (search, format) => exportPieces(page, search, format, createSum()),
    verify: () => verifyTrail(object).catch(unavailable),
    body: (hash) => object().body(hash).catch(unavailable),
  }
}
