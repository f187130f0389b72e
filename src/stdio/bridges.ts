// The services that are commands on this computer, each behind a bridge of its own.
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service, ServiceState } from '../ports/services.ts'
import { type Bridge, createBridge } from './bridge.ts'

/** What is left of a removed service ends within five seconds. */
const goneMs = 3000

type ServiceConfig = Config['mcp_services'][string]

export interface Bridges {
  /** The bridge of a command, made when first asked for. */
  of(id: string, service: ServiceConfig): Service['upstream']
  /** For the operator, service by service: the processes that run, and those that failed last. */
  all(): readonly (Pick<Bridge, 'processes' | 'failures'> & { readonly service: string })[]
  /** Whether the command behind a service can be started, as far as is known. */
  state(upstream: Service['upstream']): ServiceState
  /**
   * Ends the processes of what a service that is gone stood in front of; calls that are going get a moment.
   */
  end(upstream: Service['upstream']): void
  /** Lets calls that are going finish for `graceMs`, then ends every process. Resolves when all are gone. */
  close(graceMs: number): Promise<void>
}

const bridgeOf = (
  id: string,
  service: ServiceConfig & { readonly command: string },
  runtime: Runtime,
  keepAliveMs: number,
): Bridge | undefined =>
  runtime.spawn &&
  createBridge(
    {
      name: service.name ?? id,
      plan: {
        service: id,
        command: service.command,
        args: service.args,
        env: service.env,
        cwd: service.cwd,
        sandbox: service.sandbox,
        network: service.sandbox_network,
        read: service.sandbox_read,
        write: service.sandbox_write,
      },
      shared: service.shared,
      timeoutMs: service.timeout,
      startMs: service.start_timeout,
      sessionIdleMs: service.session_idle * 1000,
      sleepMs: service.sleep_after * 1000,
      holdMs: service.reconnect_after,
      keepAliveMs,
      maxProcesses: service.max_processes,
      maxProcessesPerPerson: service.max_processes_per_person,
    },
    {
      spawn: runtime.spawn,
      now: runtime.now,
      timer: runtime.timer,
      random: runtime.random,
      digest: runtime.digest,
      log: runtime.log,
      about: runtime.about,
    },
  )

/** `keepAliveMs`: how often a comment goes out on an idle stream. */
export const createBridges = (runtime: Runtime, keepAliveMs: number): Bridges => {
  const bridges = new Map<Bridge['carry'], { readonly service: string; readonly bridge: Bridge }>()
  return {
    of(id, service) {
      const { command } = service
      const bridge =
        command === undefined ? undefined : bridgeOf(id, { ...service, command }, runtime, keepAliveMs)
      if (bridge) bridges.set(bridge.carry, { service: id, bridge })
      return {
        kind: 'bridge',
        carry:
          bridge?.carry ??
          (() => Promise.reject(new Refusal('process.unsupported', 'this runtime cannot start programs'))),
        attend: bridge?.attend,
      }
    },
    all: () =>
      [...bridges.values()].map(({ service, bridge: { processes, failures } }) => ({
        service,
        processes,
        failures,
      })),
    state: (upstream) =>
      (upstream.kind === 'bridge' ? bridges.get(upstream.carry)?.bridge.state : undefined) ?? 'unknown',
    end(upstream) {
      const gone = upstream.kind === 'bridge' ? bridges.get(upstream.carry) : undefined
      if (!gone || upstream.kind !== 'bridge') return
      bridges.delete(upstream.carry)
      runtime.defer(gone.bridge.close(goneMs))
    },
    async close(graceMs) {
      await Promise.all([...bridges.values()].map(({ bridge }) => bridge.close(graceMs)))
    },
  }
}
