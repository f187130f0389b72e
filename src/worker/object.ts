// The Durable Object: one shard of the records, each operation one SQL statement on its own database.
import { DurableObject } from 'cloudflare:workers'
import type { Entry, ListOptions, Mark, PutOptions, Store } from '../ports/store.ts'
import { createSqlStore, type SqlDriver } from '../stores/sql.ts'

const hourMs = 3_600_000

const driverOf = (sql: SqlStorage): SqlDriver => ({
  all: (text, values) => sql.exec<Record<string, string | number | null>>(text, ...values).toArray(),
})

export class RecordObject extends DurableObject {
  readonly #store: Store & { sweep(limit: number): Promise<number> }

  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env)
    this.#store = createSqlStore(driverOf(ctx.storage.sql), { now: () => Date.now() })
  }

  read(key: string): Promise<Entry | undefined> {
    return this.#store.get(key)
  }

  async write(key: string, value: string, options: PutOptions): Promise<Mark | undefined> {
    const mark = await this.#store.put(key, value, options)
    // Expired rows leave once an hour; they are absent to every operation long before.
    if (options.ttlMs !== undefined && (await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now() + hourMs)
    return mark
  }

  remove(key: string): Promise<Entry | undefined> {
    return this.#store.take(key)
  }

  list(prefix: string, options: ListOptions): Promise<readonly { readonly key: string; readonly value: string }[]> {
    return this.#store.list(prefix, options)
  }

  override async alarm(): Promise<void> {
    const swept = await this.#store.sweep(1000)
    await this.ctx.storage.setAlarm(Date.now() + (swept === 1000 ? 1000 : hourMs))
  }
}
