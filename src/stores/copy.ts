// Copies all records of one storage to another, as they are: sealed, each with what is left of its lifetime.
import { Refusal } from '../kit/refusal.ts'
import type { Store, StoredRecord, StoredRecords } from '../ports/store.ts'
import { copyKey, metaKey } from './meta.ts'

/** What a storage keeps about itself stays where it is. */
const own: ReadonlySet<string> = new Set([metaKey, copyKey])

/** Records that are read, written and compared at once. */
const pageLength = 200

interface CopyPlace {
  readonly from: string
  readonly after: string
}

export interface CopyOptions {
  readonly from: StoredRecords
  /** The storage that is copied from, in messages and for a copy that goes on. */
  readonly fromWhere: string
  readonly to: Store
  readonly toWhere: string
  /** `of`: undefined where nobody knows how many there are. */
  readonly onProgress: (step: 'copied' | 'compared', records: number, of: number | undefined) => void
}

const placeOf = (text: string | undefined): Partial<CopyPlace> | undefined =>
  text === undefined ? undefined : (JSON.parse(text) as Partial<CopyPlace>)

/** Where a copy that was interrupted goes on. Rejects where the storage holds records of another origin. */
const begun = async ({ to, toWhere, fromWhere }: CopyOptions): Promise<string> => {
  const place = placeOf((await to.get(copyKey))?.value)
  if (place?.from === fromWhere) return place.after ?? ''
  const held = (await to.list('', { limit: own.size + 1 })).find(({ key }) => !own.has(key))
  if (place === undefined && held === undefined) return ''
  throw new Refusal(
    'storage.unavailable',
    place === undefined
      ? `${toWhere} holds records already: copy to an empty storage, or to another prefix`
      : `${toWhere} holds part of a copy of ${place.from}: finish that copy first`,
  )
}

async function* pagesOf(from: StoredRecords, after: string): AsyncGenerator<readonly StoredRecord[]> {
  for (let last: string | undefined = after; last !== undefined;) {
    const page = await from.records(last, pageLength)
    last = page.at(-1)?.key
    if (last !== undefined) yield page.filter(({ key }) => !own.has(key))
  }
}

/** Keys whose value is not there, but for those whose lifetime has ended meanwhile. */
const missingFrom = async (to: Store, page: readonly StoredRecord[]): Promise<readonly string[]> => {
  const found = await Promise.all(page.map(async ({ key }) => (await to.get(key))?.value))
  return page.flatMap(({ key, value, ttlMs }, i) =>
    found[i] === value || (found[i] === undefined && ttlMs !== undefined && ttlMs < 5000) ? [] : [key],
  )
}

/**
 * Both storages must be at rest: no gateway may use either. A copy that was interrupted goes on where it was. Resolves
 * with the number of records that are in both; rejects with `Refusal('storage.unavailable')`, also when one of them is
 * missing at the end.
 */
export const copyRecords = async (options: CopyOptions): Promise<number> => {
  const { from, fromWhere, to, toWhere, onProgress } = options
  const of = await from.count?.()
  const mark = (after: string): Promise<unknown> =>
    to.put(copyKey, JSON.stringify({ from: fromWhere, after }))
  let after = await begun(options)
  await mark(after)
  let copied = 0
  for await (const page of pagesOf(from, after)) {
    await Promise.all(
      page.map(({ key, value, ttlMs }) =>
        // Written already by a copy that was interrupted after it.
        to.put(key, value, { only: 'absent', ...(ttlMs === undefined ? {} : { ttlMs }) }),
      ),
    )
    after = page.at(-1)?.key ?? after
    await mark(after)
    onProgress('copied', (copied += page.length), of)
  }
  let compared = 0
  for await (const page of pagesOf(from, '')) {
    const [missing] = await missingFrom(to, page)
    if (missing !== undefined)
      throw new Refusal('storage.unavailable', `${toWhere} does not hold ${missing} as ${fromWhere} does`)
    onProgress('compared', (compared += page.length), of)
  }
  await to.take(copyKey)
  return compared
}
