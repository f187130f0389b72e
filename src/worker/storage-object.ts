// The Durable Object of the store: one shard of the records. Each operation is one SQL statement on its
// database.
import { DurableObject } from 'cloudflare:workers'
import type { CountAction, Entry, ListOptions, Mark, PutOptions, SweptStore } from '../ports/store.ts'
import { type SqlDriver, createSqlStore } from '../stores/sql.ts'
import { createCountObject } from './counts.ts'

// The messages between a subscriber and the object that has its record.

/** What a subscriber sends regularly, and what the platform responds without waking the object. */
export const [alive, living] = ['alive?', 'alive']

/** The URL of a WebSocket on which an object reports every change of a record. */
export const followUrl = (key: string): string =>
  `https://records.invalid/follow?key=${encodeURIComponent(key)}`

/** Expired records are absent at once and deleted within the hour. */
const sweepMs = 3_600_000
const batch = 1000
const expiring = 'SELECT 1 FROM records WHERE expires_at IS NOT NULL LIMIT 1'

const driverOf = (sql: SqlStorage): SqlDriver => ({
  all: (text, values) => sql.exec<Record<string, string | number | null>>(text, ...values).toArray(),
})

const close = (socket: WorkerSocket, code: number): void => {
  try {
    socket.close(code === 1005 || code === 1006 ? 1000 : code, '')
  } catch {
    // Closed already.
  }
}

export class RecordObject extends DurableObject {
  readonly #store: SweptStore
  readonly #driver: SqlDriver
  #alarmed = false
  #counts: ReturnType<typeof createCountObject> | undefined

  constructor(ctx: DurableObjectState, env: unknown) {
    super(ctx, env)
    this.#driver = driverOf(ctx.storage.sql)
    this.#store = createSqlStore(this.#driver, { now: () => this.now() })
    ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(alive, living))
  }

  /** A subscription to one record. The socket hibernates: it keeps the object neither running nor billed. */
  override fetch(request: Request): Response {
    const key = new URL(request.url).searchParams.get('key')
    if (key === null || request.headers.get('upgrade') !== 'websocket')
      return new Response(null, { status: 400 })
    const { 0: theirs, 1: ours } = new WebSocketPair()
    this.ctx.acceptWebSocket(ours, [key])
    return new Response(null, { status: 101, webSocket: theirs })
  }

  override webSocketClose(socket: WorkerSocket, code: number): void {
    close(socket, code)
  }

  override webSocketError(socket: WorkerSocket): void {
    close(socket, 1011)
  }

  /** Never fails the write: a subscriber that cannot be reached notices the silence. */
  #tell(key: string): void {
    for (const socket of this.ctx.getWebSockets(key)) {
      try {
        socket.send('changed')
      } catch {
        close(socket, 1011)
      }
    }
  }

  /** Epoch ms; the machine's clock unless a test moves it. */
  protected now(): number {
    return Date.now()
  }

  read(key: string): Promise<Entry | undefined> {
    return this.#store.get(key)
  }

  async write(key: string, value: string, options: PutOptions): Promise<Mark | undefined> {
    const mark = await this.#store.put(key, value, options)
    if (mark !== undefined) this.#tell(key)
    if (options.ttlMs !== undefined && !this.#alarmed) this.ctx.waitUntil(this.#alarm())
    return mark
  }

  async remove(key: string): Promise<Entry | undefined> {
    const taken = await this.#store.take(key)
    if (taken) this.#tell(key)
    return taken
  }

  /** One call for many keys, each taken as by `remove`. */
  async removeMany(keys: readonly string[]): Promise<ReadonlyMap<string, Entry>> {
    const taken = new Map<string, Entry>()
    for (const key of keys) {
      const entry = await this.remove(key)
      if (entry) taken.set(key, entry)
    }
    return taken
  }

  /** Such an object contains nothing else; its name says what it counts. */
  async count(_of: string, actions: readonly CountAction[]): Promise<number> {
    this.#counts ??= createCountObject(this.ctx.storage.sql, () => this.now())
    if (!this.#alarmed) this.ctx.waitUntil(this.#alarm())
    return this.#counts.act(actions)
  }

  list(
    prefix: string,
    options: ListOptions,
  ): Promise<readonly { readonly key: string; readonly value: string }[]> {
    return this.#store.list(prefix, options)
  }

  /** The platform calls again after an error, later each time. */
  override async alarm(): Promise<void> {
    this.#alarmed = false
    const swept = await this.#store.sweep(batch)
    // An alarm may wake the object before it is asked to count.
    const counted = await this.#driver.all("SELECT 1 FROM sqlite_master WHERE name = 'counts'", [])
    if (counted.length > 0) this.#counts ??= createCountObject(this.ctx.storage.sql, () => this.now())
    const counts = this.#counts?.sweep() ?? false
    if (swept === batch) await this.#alarm(1000)
    else if (counts || (await this.#driver.all(expiring, [])).length > 0) await this.#alarm()
  }

  async #alarm(inMs = sweepMs): Promise<void> {
    this.#alarmed = true
    // Alarms use the platform's clock.
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now() + inMs)
  }
}
