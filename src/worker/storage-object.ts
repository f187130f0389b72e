// The Durable Object of the store: one shard of the records, or all counts of one kind. Each operation on
// records is one SQL statement on its database.
import { DurableObject } from 'cloudflare:workers'
import { closuresKey, dueKeys, dueTime } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type {
  CountAction,
  Entry,
  Hit,
  HitResult,
  ListOptions,
  Mark,
  PutOptions,
  Subscribe,
  SweptStore,
} from '../ports/store.ts'
import { createSharedCounters } from '../gateway.ts'
import { type SqlDriver, countsSchema, createSqlCounts, createSqlStore } from '../stores/sql.ts'

// Counts that all isolates share (policy/rate-limit.ts). Each kind is in one Durable Object, so that another
// isolate or data centre gives no further attempts.

/** For the object. Its counts are stored, because the platform ends an idle object. */
const createCountObject = (sql: SqlStorage, now: () => number) => {
  sql.exec(countsSchema)
  const table = createSqlCounts(
    (text, values) => sql.exec<Record<string, string | number | null>>(text, ...values).toArray(),
    now,
  )
  return {
    ...createSharedCounters(now, table),
    /** Returns whether rows are left. */
    sweep(): boolean {
      table.sweep()
      return sql.exec('SELECT 1 FROM counts LIMIT 1').toArray().length > 0
    },
  }
}

// The object.

/** What a subscriber sends regularly, and what the platform responds without waking the object. */
const [alive, living] = ['alive?', 'alive']

/** The URL of a WebSocket on which an object reports every change of a record. */
const followUrl = (key: string): string => `https://records.invalid/follow?key=${encodeURIComponent(key)}`

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

/** `closures`: the record of that name in the same object; null where there is none. */
export interface NoticingEntry extends Entry {
  readonly closures: Entry | null
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
    // What is closed concerns whoever has something open.
    for (const socket of this.ctx.getWebSockets(...(key === closuresKey ? [] : [key]))) {
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

  /** Every part of the store has a copy of what is closed, so that a call costs no read beside that of its grant. */
  async read(key: string): Promise<NoticingEntry | undefined> {
    const entry = await this.#store.get(key)
    return entry && { ...entry, closures: (await this.#store.get(closuresKey)) ?? null }
  }

  async write(key: string, value: string, options: PutOptions): Promise<Mark | undefined> {
    const mark = await this.#store.put(key, value, options)
    if (mark !== undefined) this.#tell(key)
    if (key.startsWith(dueKeys)) this.ctx.waitUntil(this.#alarm(dueTime(key) - this.now()))
    else if (options.ttlMs !== undefined && !this.#alarmed) this.ctx.waitUntil(this.#alarm())
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

  #counting(): ReturnType<typeof createCountObject> {
    this.#counts ??= createCountObject(this.ctx.storage.sql, () => this.now())
    if (!this.#alarmed) this.ctx.waitUntil(this.#alarm())
    return this.#counts
  }

  /** Such an object contains nothing else; its name says what it counts. */
  async count(_of: string, actions: readonly CountAction[]): Promise<number> {
    return this.#counting().act(actions)
  }

  async hit(key: string, hit: Hit): Promise<HitResult> {
    return this.#counting().hit(key, hit)
  }

  list(
    prefix: string,
    options: ListOptions,
  ): Promise<readonly { readonly key: string; readonly value: string }[]> {
    return this.#store.list(prefix, options)
  }

  /** Deadlines of flows are over (flows/deadlines.ts). The deployed class has a gateway that hears of it. */
  protected tellOf(_issuer: string, _deadlines: readonly string[]): Promise<void> {
    return Promise.resolve()
  }

  /** When they have been told of, they go. */
  async #deadlines(): Promise<void> {
    const rows = await this.#store.list(dueKeys, { limit: batch })
    const over = rows.filter(({ key }) => dueTime(key) <= this.now())
    const next = rows[over.length]
    for (const [issuer, some] of Map.groupBy(over, ({ value }) => value)) {
      const keys = some.map(({ key }) => key)
      await this.tellOf(issuer, keys)
      await this.removeMany(keys)
    }
    if (next) await this.#alarm(dueTime(next.key) - this.now())
  }

  /** The platform calls again after an error, later each time. */
  override async alarm(): Promise<void> {
    this.#alarmed = false
    const deadlines = this.#deadlines()
    await Promise.allSettled([deadlines])
    const swept = await this.#store.sweep(batch)
    // An alarm may wake the object before it is asked to count.
    const counted = await this.#driver.all("SELECT 1 FROM sqlite_master WHERE name = 'counts'", [])
    if (counted.length > 0) this.#counts ??= createCountObject(this.ctx.storage.sql, () => this.now())
    const counts = this.#counts?.sweep() ?? false
    if (swept === batch) await this.#alarm(1000)
    else if (counts || (await this.#driver.all(expiring, [])).length > 0) await this.#alarm()
    // A gateway that does not start stops nothing else.
    await deadlines
  }

  async #alarm(inMs = sweepMs): Promise<void> {
    this.#alarmed = true
    const set = await this.ctx.storage.getAlarm()
    // Alarms use the platform's clock.
    const at = Date.now() + Math.max(inMs, 0)
    if (set === null || at < set) await this.ctx.storage.setAlarm(at)
  }
}

// A subscriber hears of changes of a record at its object: one hibernating WebSocket instead of a read every
// few seconds.

/** How often the connection is checked. The platform responds without waking the object. */
const beatMs = 15_000

const unavailable = (why: string): Refusal =>
  new Refusal('storage.unavailable', why, { headers: { 'retry-after': '1' } })

interface SubscribeOptions {
  readonly objectOf: (key: string) => Fetcher
  /** Longest wait for the connection, ms. */
  readonly timeoutMs: number
}

/** The open socket. One that opens after the timeout is closed. */
const dial = async ({ objectOf, timeoutMs }: SubscribeOptions, key: string): Promise<WorkerSocket> => {
  const opening = objectOf(key)
    .fetch(new Request(followUrl(key), { headers: { upgrade: 'websocket' } }))
    .then(({ webSocket, status }) => {
      if (!webSocket) throw unavailable(`the object answered ${status}`)
      webSocket.accept()
      return webSocket
    })
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs)
  })
  try {
    const socket = await Promise.race([opening, late])
    if (socket) return socket
    opening.then(
      (tooLate) => tooLate.close(1000, ''),
      () => undefined,
    )
    throw unavailable(`no connection within ${timeoutMs} ms`)
  } catch (error) {
    throw error instanceof Refusal
      ? error
      : unavailable(error instanceof Error ? error.message : String(error))
  } finally {
    clearTimeout(timer)
  }
}

export const createSubscribe =
  (options: SubscribeOptions): Subscribe =>
  async (key, heard) => {
    const socket = await dial(options, key)
    let over = false
    let answered = true
    const stop = (): void => {
      if (over) return
      over = true
      clearInterval(timer)
      try {
        socket.close(1000, '')
      } catch {
        // Closed already.
      }
    }
    const lost = (): void => {
      if (over) return
      stop()
      heard('lost')
    }
    const timer = setInterval(() => {
      if (!answered) return lost()
      answered = false
      try {
        socket.send(alive)
      } catch {
        lost()
      }
    }, beatMs)
    socket.addEventListener('message', ({ data }) => {
      answered = true
      if (data !== living && !over) heard('changed')
    })
    socket.addEventListener('close', lost)
    socket.addEventListener('error', lost)
    return stop
  }
