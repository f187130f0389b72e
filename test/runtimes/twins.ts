// Two gateways of one issuer on one SQLite file, as two processes would be, each with a clock and secrets of
// its own; requests reach them as a balancer would send them.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConfigInput, parseConfig } from '../../src/config/schema.ts'
import { createGateway } from '../../src/gateway.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { type PeerListener, openHop } from '../../src/node/peers.ts'
import { createNodeRuntime } from '../../src/node/runtime.ts'
import type { PeerCall, Runtime } from '../../src/ports/runtime.ts'
import type { Store } from '../../src/ports/store.ts'
import { createServiceRecords } from '../../src/services/registry.ts'
import type { LoginTarget } from './login.ts'
import { createTestClock } from './clock.ts'
import { person } from './login.ts'
import { addressIn } from './networks.ts'
import { withoutDelay } from './runtimes.ts'

export interface Twin extends LoginTarget {
  readonly log: {
    readonly level: string
    readonly event: string
    readonly fields: Readonly<Record<string, unknown>>
  }[]
  /** The next operations of its storage fail, so many of them. */
  breakStorage(count: number): void
  /** Its clock is set back, or forward; timers do not follow. */
  setClock(ms: number): void
  /** Adds a service, as somebody at this process's own computer does. */
  supply(id: string, service: Readonly<Record<string, unknown>>): Promise<void>
  remove(id: string): Promise<void>
  readonly runtime: Runtime
  /** Where the others reach it, if they do. */
  readonly hop: PeerListener | undefined
  /** What it has asked of the others. */
  readonly asked: PeerCall[]
  close(): Promise<void>
}

export interface Twins {
  /** Starts a gateway on the shared file. `ahead`: how far its clock is before the others', ms. */
  open(config: ConfigInput, ahead?: number): Promise<Twin>
  /** Moves everybody's clock. */
  advance(ms: number): void
  /** A house whose requests go to these in turn. */
  inTurn(...twins: readonly Twin[]): LoginTarget
  close(): Promise<void>
}

const origin = 'http://localhost:8080'

/** The store, but for the operations of which `broken` says so. */
const breakable = (store: Store, broken: () => boolean): Store => {
  const around =
    <Args extends unknown[], T>(work: (...args: Args) => Promise<T>) =>
    (...args: Args): Promise<T> =>
      broken() ? Promise.reject(new Refusal('storage.unavailable', 'broken by a test')) : work(...args)
  return {
    get: around(store.get),
    put: around(store.put),
    take: around(store.take),
    list: around(store.list),
  }
}

export const createTwins = (upstream: string): Twins => {
  const stateDir = mkdtempSync(join(tmpdir(), 'postern-twins-'))
  const open: Twin[] = []
  const clock = createTestClock({ runs: true })
  return {
    advance: clock.advance,
    async open(input, ahead = 0) {
      const config = parseConfig({
        local_users: [person],
        ...input,
        mcp_services: { echo: { url: upstream }, ...input.mcp_services },
      })
      const log: Twin['log'] = []
      let moved = 0
      const own = await createNodeRuntime({
        config,
        stateDir,
        version: '0.0.0-test',
        now: () => clock.now() + ahead + moved,
        log: (level, event, fields = {}) => void log.push({ level, event, fields }),
      })
      let failing = 0
      const store = breakable(own.store, () => failing-- > 0)
      const base = { ...own, store, timer: clock.timer, passwords: withoutDelay(own.passwords) }
      const listen = { host: '127.0.0.1', port: 0 }
      const hop = config.cluster && (await openHop({ listen, runtime: base }))
      const asked: PeerCall[] = []
      const find: PeerListener['find'] = async (node) => {
        const send = await hop?.find(node)
        return send && ((call) => (asked.push(call), send(call)))
      }
      const runtime: Runtime = hop ? { ...base, peers: { node: hop.node, siblings: 1, find } } : base
      const gateway = createGateway({ config, runtime, issuer: origin })
      await gateway.warm()
      if (gateway.peers) hop?.open(gateway.peers.answer)
      let count = 0
      const twin: Twin = {
        origin,
        log,
        runtime,
        hop,
        asked,
        breakStorage: (count) => void (failing = count),
        setClock: (ms) => void (moved = ms),
        async supply(id, service) {
          await createServiceRecords(runtime).add(id, {
            service,
            addedBy: 'cli',
            addedAt: runtime.now(),
            anywhere: true,
          })
        },
        remove: (id) =>
          createServiceRecords(runtime)
            .remove(id)
            .then(() => undefined),
        fetch: (url, init) =>
          gateway.handle(
            new Request(url, {
              ...init,
              headers: { host: new URL(url).host, ...Object.fromEntries(new Headers(init?.headers)) },
            }),
            { requestId: `request-${count++}`, ip: addressIn(init) },
            fetch,
          ),
        async close() {
          await hop?.close()
          await gateway.bridges.close(0)
          await own.close()
          open.splice(open.indexOf(twin), 1)
        },
      }
      open.push(twin)
      return twin
    },
    inTurn(...twins) {
      let next = 0
      return { origin, fetch: (url, init) => (twins[next++ % twins.length] as Twin).fetch(url, init) }
    },
    async close() {
      for (const twin of [...open]) await twin.close()
      rmSync(stateDir, { recursive: true, force: true })
    },
  }
}
