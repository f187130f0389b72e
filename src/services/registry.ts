// The services that were added while the gateway runs: one sealed record each, and one version record by
// which every process notices a change.
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service, Serving } from '../ports/services.ts'
import type { LiveDirectory } from './directory.ts'
import type { Added } from './from-config.ts'
import { parseServiceConfig } from './validation.ts'

export interface ServiceRecord {
  /**
   * As in `mcp_services` of the configuration; validated when it was added, and parsed again when it is read.
   */
  readonly service: Readonly<Record<string, unknown>>
  /** Person key, or `cli`. */
  readonly addedBy: string
  /** Epoch ms. */
  readonly addedAt: number
  /**
   * It may be on a private network, because it was added on the gateway's own computer. Otherwise every
   * connection goes to a public address.
   */
  readonly anywhere?: true
}

export interface ServiceRecords {
  /** In order of id. */
  all(): Promise<readonly (ServiceRecord & { readonly id: string })[]>
  /** False when the id is taken. */
  add(id: string, record: ServiceRecord): Promise<boolean>
  /** False when there was none. */
  remove(id: string): Promise<boolean>
  /** Changes whenever a service was added or removed. Undefined while none ever was. */
  version(): Promise<string | undefined>
}

const page = 100
const prefix = 'service:'
/** Every addition and removal writes this record. */
export const servicesRecord = 'services-version'

export const createServiceRecords = (runtime: Pick<Runtime, 'store' | 'keys' | 'log'>): ServiceRecords => {
  const records = createRecords<ServiceRecord>(runtime, prefix)
  const changed = async (): Promise<void> => void (await runtime.store.put(servicesRecord, '{}'))
  return {
    async all() {
      const found: (ServiceRecord & { readonly id: string })[] = []
      for (let after: string | undefined; ;) {
        const some = await records.list({ limit: page, ...(after === undefined ? {} : { after }) })
        found.push(...some.map(({ id, value }) => ({ id, ...value })))
        after = some.at(-1)?.id
        if (some.length < page) return found
      }
    },
    async add(id, record) {
      if ((await records.put(id, record, { only: 'absent' })) === undefined) return false
      await changed()
      return true
    },
    async remove(id) {
      // A record that cannot be read is removed as well.
      if (!(await runtime.store.take(`${prefix}${id}`))) return false
      await changed()
      return true
    },
    async version() {
      return (await runtime.store.get(servicesRecord))?.mark
    },
  }
}

interface AddedServicesDeps {
  readonly records: ServiceRecords
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'defer'>
  readonly directory: LiveDirectory
  /** Serves these beside those of the configuration. */
  readonly apply: (added: readonly Added[]) => void
  /** Whether the service comes from the configuration. */
  readonly isConfigured: (service: Service) => boolean
}

export interface AddedServices {
  readonly all: readonly Added[]
  /** Whether any service was ever added; undefined until the storage has responded. */
  readonly everAdded: boolean | undefined
  readonly serving: Serving
  /** Reads changes. Rejects if the storage does not respond. */
  load(): Promise<void>
  /** The same without rejecting: if the storage does not respond, nothing changes. */
  refresh(): Promise<void>
  /** `refresh`, unless the last one began less than `maxAgeMs` ago. */
  fresh(maxAgeMs: number): Promise<void> | undefined
}

/** An open stream ends at most this long after its service was removed elsewhere. */
const recheckMs = 500

const missing = (some: readonly Added[], others: readonly Added[]): string[] =>
  some.filter(({ id }) => !others.some((other) => other.id === id)).map(({ id }) => id)

const readAll = async (records: ServiceRecords, { log }: Pick<Runtime, 'log'>): Promise<readonly Added[]> =>
  (await records.all()).flatMap(({ id, service, anywhere, addedAt }): Added[] => {
    const config = parseServiceConfig(id, service)
    if (!config)
      log('error', 'service.unreadable', {
        service: id,
        why: 'its stored registration is not valid in this version',
      })
    return config ? [{ id, config, publicOnly: anywhere !== true, addedAt }] : []
  })

export const createAddedServices = ({
  records,
  runtime,
  directory,
  apply,
  isConfigured,
}: AddedServicesDeps): AddedServices => {
  const singleFlight = createSingleFlight(runtime)
  let all: readonly Added[] = []
  let seen: string | undefined
  let loaded = false
  let failing = false
  let checkedAt = Number.NEGATIVE_INFINITY

  const reload = async (version: string | undefined): Promise<void> => {
    const before = all
    all = await readAll(records, runtime)
    seen = version
    apply(all)
    runtime.log('info', 'services.changed', { added: missing(all, before), removed: missing(before, all) })
  }

  const load = async (): Promise<void> => {
    const version = await records.version()
    if (version !== seen) await reload(version)
    failing = false
    loaded = true
    directory.complete()
  }

  const refresh = (): Promise<void> =>
    singleFlight('services', async () => {
      checkedAt = runtime.now()
      await load().catch((error: unknown) => {
        if (!failing) runtime.log('warn', 'services.refresh-failed', { why: String(error) })
        failing = true
      })
    })

  const serving: Serving = {
    known: (service) => directory.serves(service),
    record: (service) => (isConfigured(service) ? undefined : servicesRecord),
    async served(service) {
      if (!directory.serves(service) || isConfigured(service)) return directory.serves(service)
      if (runtime.now() - checkedAt >= recheckMs) await refresh()
      if (failing || !loaded) throw new Refusal('storage.unavailable', 'added services could not be loaded')
      return directory.serves(service)
    },
  }

  return {
    get all() {
      return all
    },
    get everAdded() {
      return loaded ? seen !== undefined : undefined
    },
    serving,
    load,
    refresh,
    // Until the first result every request waits for it, because a 404 for a service that exists would be
    // wrong.
    fresh: (maxAgeMs) => (loaded && runtime.now() - checkedAt < maxAgeMs ? undefined : refresh()),
  }
}
