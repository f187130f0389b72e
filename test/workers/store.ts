// The Store of the Workers house behind one address, for the contract that every backend keeps: POST { space,
// call, args }. Its clock stands still unless it is moved.
import { Refusal } from '../../src/kit/refusal.ts'
import { RecordObject as Deployed } from '../../src/worker/storage-object.ts'
import { createObjectStore, shardOf } from '../../src/worker/storage.ts'
import { TrailObject as DeployedTrail } from '../../src/worker/trail-object.ts'
import { noTimer } from '../runtimes/clock.ts'

export { SessionObject } from './no-sessions.ts'

let time = 1_700_000_000_000

export class RecordObject extends Deployed {
  protected override now(): number {
    return time
  }

  /** Rows in the database, expired ones too; and when the next alarm is set for, from now. */
  async inside(): Promise<{ rows: number; alarmInMs: number | null }> {
    const [row] = this.ctx.storage.sql.exec<{ n: number }>('SELECT count(*) AS n FROM records').toArray()
    const alarm = await this.ctx.storage.getAlarm()
    return { rows: row?.n ?? 0, alarmInMs: alarm === null ? null : alarm - Date.now() }
  }

  /** What the platform does when the alarm is due. */
  async due(): Promise<void> {
    await this.ctx.storage.deleteAlarm()
    await this.alarm()
  }

  /** A failure inside the object, of the kind that its errors say to try again. */
  async breaks(): Promise<void> {
    this.ctx.abort('broken by a test')
  }
}

/** The object of the audit trail, which the calls `trail` reach by the name of their space. */
export class TrailObject extends DeployedTrail {
  protected override now(): number {
    return time
  }

  async due(): Promise<void> {
    await this.ctx.storage.deleteAlarm()
    await this.alarm()
  }

  async breaks(): Promise<void> {
    this.ctx.abort('broken by a test')
  }

  async alarmInMs(): Promise<number | undefined> {
    const alarm = await this.ctx.storage.getAlarm()
    return alarm === null ? undefined : alarm - Date.now()
  }

  /** What somebody does who reaches the database itself. */
  async edit(sql: string): Promise<readonly object[]> {
    return this.ctx.storage.sql.exec(sql).toArray()
  }
}

interface Environment {
  readonly STORE: DurableObjectNamespace<RecordObject>
  readonly TRAIL: DurableObjectNamespace<TrailObject>
}

interface Asked {
  readonly space: string
  readonly call: string
  readonly args: readonly unknown[]
}

const perform = async (
  { space, call, args }: Asked,
  { STORE: namespace, TRAIL: trails }: Environment,
): Promise<unknown> => {
  if (call === 'trail') {
    const [method, ...given] = args as readonly [string, ...unknown[]]
    const trail = trails.getByName(space) as unknown as Record<string, (...given: unknown[]) => unknown>
    return (await trail[method]?.(...given)) ?? null
  }
  if (call === 'advance') return void (time += Number(args[0]))
  if (call === 'now') return time
  if (call === 'shardOf') return shardOf(String(args[0]))
  const [shard, ...rest] = args
  const object = namespace.getByName(`${space}-${String(shard)}`)
  if (call === 'inside') return object.inside()
  if (call === 'due') return object.due()
  if (call === 'breaks') return object.breaks()
  // Straight to one object, whatever the key: records that the hash would have put elsewhere.
  if (call === 'write') return object.write(String(rest[0]), String(rest[1]), {})
  const store = createObjectStore(namespace as DurableObjectNamespace<never>, { space, timer: noTimer })
  const method = store[call as keyof typeof store] as (...args: readonly unknown[]) => Promise<unknown>
  const answer = await method(...args)
  return answer instanceof Map ? [...answer] : answer
}

export default {
  async fetch(request: Request, env: Environment): Promise<Response> {
    try {
      return Response.json({ answer: await perform((await request.json()) as Asked, env) })
    } catch (error) {
      return Response.json(
        error instanceof Refusal ? { refused: error.code, why: error.why } : { fault: String(error) },
      )
    }
  },
}
