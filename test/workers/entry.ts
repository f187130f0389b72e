// The Worker as it is deployed, with a clock that a test moves, and services that come and go as if somebody
// typed them at the gateway's own computer: POST /__clock?ahead=<ms>, /__slow?ms=<how long reads and writes
// of the store take>, /__limit?calls=<calls to objects that one invocation may make>, /__calls for the calls
// to objects since it was last asked, /__trail?away=<1 while its object cannot be reached>, /__alarms for what the platform does when alarms
// are due, POST /__service?id=<id> with the service, or null to remove it.
import { waitUntil } from 'cloudflare:workers'
import type { Timer } from '../../src/ports/runtime.ts'
import { createServiceRecords } from '../../src/services/registry.ts'
import { type WorkerEnvironment, readConfiguration } from '../../src/worker/configuration.ts'
import { createWorkerHandler } from '../../src/worker/handler.ts'
import { createWorkerRuntime } from '../../src/worker/runtime.ts'
import { createSessionObject } from '../../src/worker/sessions.ts'
import { RecordObject as Deployed } from '../../src/worker/storage-object.ts'
import { TrailObject as DeployedTrail } from '../../src/worker/trail-object.ts'
import { trim } from './trim.ts'
import { invocation, limitCalls, metered, takeCalls } from './metered.ts'

// The objects live in the isolate of their Worker, so one clock is theirs too.
let ahead = 0
/** How long an operation of the store takes at least. */
let slowMs = 0
const slowly = async <T>(work: () => Promise<T>): Promise<T> => {
  if (slowMs > 0) await new Promise((resolve) => setTimeout(resolve, slowMs))
  return work()
}
const now = (): number => Date.now() + ahead
/**
 * Looks at the moved clock again and again, because a timer runs in the request that started it and nowhere
 * else.
 */
const lookMs = 25
const timer: Timer = (ms, run) => {
  const due = now() + ms
  const look = (): void => (now() >= due ? run() : wait())
  let timeout: ReturnType<typeof setTimeout> | undefined
  const wait = (): void => void (timeout = setTimeout(look, Math.max(0, Math.min(lookMs, due - now()))))
  wait()
  return () => clearTimeout(timeout)
}

export class RecordObject extends Deployed {
  protected override now(): number {
    return now()
  }

  override read(key: string): ReturnType<Deployed['read']> {
    return slowly(() => super.read(key))
  }

  protected override tellOf(issuer: string, deadlines: readonly string[]): Promise<void> {
    return handler.tellOf(metered(this.env as WorkerEnvironment), issuer, deadlines)
  }

  /** What the platform does when an alarm is due. */
  async due(): Promise<void> {
    await this.ctx.storage.deleteAlarm()
    await this.alarm()
  }

  override write(...what: Parameters<Deployed['write']>): ReturnType<Deployed['write']> {
    return slowly(() => super.write(...what))
  }
}

/** Whether the object of the audit trail cannot be reached. */
let trailAway = false

export class TrailObject extends DeployedTrail {
  protected override now(): number {
    return now()
  }

  override append(...what: Parameters<DeployedTrail['append']>): ReturnType<DeployedTrail['append']> {
    if (trailAway) throw new Error('away')
    return super.append(...what)
  }

  /** As of a record object. */
  async due(): Promise<void> {
    await this.ctx.storage.deleteAlarm()
    await this.alarm()
  }
}

const handler = createWorkerHandler({ now, timer, trim })

export const SessionObject = createSessionObject((env, url, id) => handler.session(metered(env), url, id))

const supply = async (
  env: WorkerEnvironment,
  url: URL,
  service: Readonly<Record<string, unknown>> | null,
): Promise<Response> => {
  const configured = await readConfiguration(env)
  if ('lacks' in configured) return new Response('not configured', { status: 503 })
  const registry = createServiceRecords(
    await createWorkerRuntime({ config: configured.config, env, url, now, waitUntil }),
  )
  const id = url.searchParams.get('id') ?? ''
  await (service
    ? registry.add(id, { service, addedBy: 'cli', addedAt: now(), anywhere: true })
    : registry.remove(id))
  return new Response('supplied')
}

export default {
  async fetch(request: Request, env: WorkerEnvironment): Promise<Response> {
    // What is no URL is for the handler to refuse.
    if (/\/__service\?id=/.test(request.url))
      return supply(
        env,
        new URL(request.url),
        (await request.json()) as Readonly<Record<string, unknown>> | null,
      )
    const slow = /\/__slow\?ms=(\d+)$/.exec(request.url)
    if (slow) {
      slowMs = Number(slow[1])
      return new Response('slow')
    }
    const away = /\/__trail\?away=([01])$/.exec(request.url)
    if (away) {
      trailAway = away[1] === '1'
      return new Response('told')
    }
    const limit = /\/__limit\?calls=(\d+)$/.exec(request.url)
    if (limit) {
      limitCalls(Number(limit[1]))
      return new Response('limited')
    }
    if (request.url.endsWith('/__alarms')) {
      const objects = env.STORE as DurableObjectNamespace<RecordObject>
      await Promise.all(Array.from({ length: 16 }, (_, shard) => objects.getByName(`records-${shard}`).due()))
      return new Response('due')
    }
    if (request.url.endsWith('/__calls')) return Response.json(takeCalls())
    const moved = /\/__clock\?ahead=(\d+)$/.exec(request.url)
    if (!moved) return invocation(() => handler.fetch(request, metered(env)))
    ahead = Number(moved[1])
    return new Response('moved')
  },
}
