// The services that were added while the gateway runs, as the storage has them: read again when somebody added or removed one.
import { parsed } from './additions.ts'
import { createOnce } from './kit/once.ts'
import { Refusal } from './kit/refusal.ts'
import type { Added } from './placement.ts'
import type { Runtime } from './ports/runtime.ts'
import type { Service } from './ports/services.ts'
import type { LivingDirectory } from './proxy/locate.ts'
import type { Serving } from './proxy/watch.ts'
import { type Registry, servicesRecord } from './services/registry.ts'

interface AddedDeps {
  readonly registry: Registry
  readonly runtime: Pick<Runtime, 'now' | 'log' | 'defer'>
  readonly directory: LivingDirectory
  /** Serves these from now on, beside those of the configuration. */
  readonly apply: (added: readonly Added[]) => void
  /** Whether only a configuration changes this service. */
  readonly fixed: (service: Service) => boolean
}

export interface AddedServices {
  readonly all: readonly Added[]
  /** Whether any was ever added; undefined while the storage has not answered. */
  readonly grows: boolean | undefined
  readonly serving: Serving
  /** Reads what is new. Rejects when the storage does not answer. */
  load(): Promise<void>
  /** The same, and never rejects: without storage everything stays as it is. */
  refresh(): Promise<void>
  /** `refresh`, unless that was done less than `mostMs` ago. */
  fresh(mostMs: number): Promise<void> | undefined
}

/** How old what a stream lives by may be. */
const askMs = 500

const missing = (some: readonly Added[], others: readonly Added[]): string[] =>
  some.filter(({ id }) => !others.some((other) => other.id === id)).map(({ id }) => id)

const readAll = async (registry: Registry, { log }: Pick<Runtime, 'log'>): Promise<readonly Added[]> =>
  (await registry.all()).flatMap(({ id, service, anywhere, addedAt }): Added[] => {
    const config = parsed(id, service)
    if (!config) log('error', 'service.unreadable', { service: id, why: 'its stored registration is not valid in this version' })
    return config ? [{ id, config, publicOnly: anywhere !== true, addedAt }] : []
  })

export const createAdded = ({ registry, runtime, directory, apply, fixed }: AddedDeps): AddedServices => {
  const once = createOnce(runtime)
  let all: readonly Added[] = []
  let seen: string | undefined
  let loaded = false
  let failing = false
  let checkedAt = Number.NEGATIVE_INFINITY

  const take = async (version: string | undefined): Promise<void> => {
    const before = all
    all = await readAll(registry, runtime)
    seen = version
    apply(all)
    runtime.log('info', 'services.changed', { added: missing(all, before), removed: missing(before, all) })
  }

  const load = async (): Promise<void> => {
    const version = await registry.version()
    if (version !== seen) await take(version)
    failing = false
    loaded = true
    directory.complete()
  }

  const refresh = (): Promise<void> =>
    once('services', async () => {
      checkedAt = runtime.now()
      await load().catch((error: unknown) => {
        if (!failing) runtime.log('warn', 'services.refresh-failed', { why: String(error) })
        failing = true
      })
    })

  const serving: Serving = {
    known: (service) => directory.serves(service),
    record: (service) => (fixed(service) ? undefined : servicesRecord),
    async served(service) {
      if (!directory.serves(service) || fixed(service)) return directory.serves(service)
      if (runtime.now() - checkedAt >= askMs) await refresh()
      if (failing || !loaded) throw new Refusal('storage.unavailable', 'added services could not be loaded')
      return directory.serves(service)
    },
  }

  return {
    get all() {
      return all
    },
    get grows() {
      return loaded ? seen !== undefined : undefined
    },
    serving,
    load,
    refresh,
    // Until the first answer everybody waits for it: nobody may be told of a service that it is not there.
    fresh: (mostMs) => (loaded && runtime.now() - checkedAt < mostMs ? undefined : refresh()),
  }
}
