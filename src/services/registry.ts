// Services that were added while the gateway runs: one sealed record each, and one mark by which every process sees that something changed.
import { createRecords } from '../kit/records.ts'
import type { Runtime } from '../ports/runtime.ts'

export interface Registered {
  /** As in `mcp_services` of the configuration; checked when it was added, and parsed again by whoever reads it. */
  readonly service: Readonly<Record<string, unknown>>
  /** Person key, or `cli`. */
  readonly addedBy: string
  /** Epoch ms. */
  readonly addedAt: number
  /** It may be on a private network: somebody at the gateway's own computer said so. Otherwise every connection to it goes to a public address. */
  readonly anywhere?: true
}

export interface ServiceRecords {
  /** In order of id. */
  all(): Promise<readonly (Registered & { readonly id: string })[]>
  /** False when the id is taken. */
  add(id: string, registered: Registered): Promise<boolean>
  /** False when there was none. */
  remove(id: string): Promise<boolean>
  /** Changes whenever a service was added or removed. Undefined while none ever was. */
  version(): Promise<string | undefined>
}

const page = 100
const prefix = 'service:'
/** The record that every addition and removal writes anew. */
export const servicesRecord = 'services-version'

export const createServiceRecords = (runtime: Pick<Runtime, 'store' | 'keys' | 'log'>): ServiceRecords => {
  const records = createRecords<Registered>(runtime, prefix)
  const changed = async (): Promise<void> => void (await runtime.store.put(servicesRecord, '{}'))
  return {
    async all() {
      const found: (Registered & { readonly id: string })[] = []
      for (let after: string | undefined; ;) {
        const some = await records.list({ limit: page, ...(after === undefined ? {} : { after }) })
        found.push(...some.map(({ id, value }) => ({ id, ...value })))
        after = some.at(-1)?.id
        if (some.length < page) return found
      }
    },
    async add(id, registered) {
      if ((await records.put(id, registered, { only: 'absent' })) === undefined) return false
      await changed()
      return true
    },
    async remove(id) {
      // Whether it can be read or not: a damaged one is removed like any other.
      if (!(await runtime.store.take(`${prefix}${id}`))) return false
      await changed()
      return true
    },
    async version() {
      return (await runtime.store.get(servicesRecord))?.mark
    },
  }
}
