// Connections to PostgreSQL. An operation has one to itself for as long as it takes; one that gave no answer in time is
// ended, and with it those that wait idle, because the network may have dropped them all.
import { Socket } from 'node:net'
import { type Client, DatabaseError } from 'pg'
import type { Timer } from '../ports/runtime.ts'
import type { PostgresRows, PostgresStatement, PostgresValue } from '../stores/postgres.ts'
import { ConnectError } from './postgres-connection.ts'
import { within } from './remote-store.ts'

interface PoolOptions {
  readonly create: () => Client
  /** At most so many connections. */
  readonly most: number
  readonly timer: Timer
  /** Milliseconds of any clock that never goes back. */
  readonly clock: () => number
  /** Statements keep no name: what parsed them may be another connection next time. */
  readonly unnamed: boolean
}

/** What an operation runs on: one statement, and it is over. */
interface Lease {
  run(statement: PostgresStatement, values: readonly PostgresValue[]): Promise<PostgresRows>
  /** It gave no answer in time. */
  drop(): void
  /** It is not needed: gives back the connection that it was made with. */
  leave(): void
}

/** A server must take a connection in so many ms. */
const connectMs = 2000
/** Connections are closed after so many ms without work, and replaced after so many in all (failover by DNS). */
const [idleMs, oldMs] = [30_000, 1_800_000]
/** A new attempt to connect, while an operation waits for its repetition, ms. */
const againMs = 50

interface PooledClient {
  readonly client: Client
  readonly since: number
  readonly generation: number
  idleSince: number
  broken: boolean
}

const closedError = (): ConnectError =>
  new ConnectError('no connection', { cause: new Error('the storage was closed') })

interface Waiting {
  readonly take: (pooled: PooledClient) => void
  readonly fail: (error: unknown) => void
}

/** `politely`: the server is told, which a connection that gives no answer is not waited for. */
const endClient = (client: Client, politely: boolean): void => {
  client.end().catch(() => undefined)
  const { stream } = client.connection
  if (politely && stream instanceof Socket) stream.destroySoon()
  else stream.destroy()
}

/** Those that are open, and those of them that nobody uses. */
const createOpenClients = ({ create, timer, clock }: PoolOptions) => {
  const open = new Set<PooledClient>()
  const idle: PooledClient[] = []
  /** Those before it are not used again. */
  let generation = 0
  const end = (pooled: PooledClient, politely = false): void => {
    if (pooled.broken) return
    pooled.broken = true
    open.delete(pooled)
    const at = idle.indexOf(pooled)
    if (at >= 0) idle.splice(at, 1)
    endClient(pooled.client, politely)
  }
  return {
    open,
    idle,
    end,
    /** Rejects with ConnectError. */
    async connect(): Promise<PooledClient> {
      const client = create()
      const pooled: PooledClient = { client, since: clock(), generation, idleSince: 0, broken: false }
      open.add(pooled)
      // Without a listener an error ends the process.
      client.on('error', () => end(pooled))
      client.on('end', () => end(pooled))
      try {
        await within(timer, connectMs, client.connect())
        return pooled
      } catch (error) {
        end(pooled)
        throw new ConnectError('no connection', { cause: error })
      }
    },
    keep(pooled: PooledClient): void {
      if (pooled.generation < generation || clock() - pooled.since > oldMs) end(pooled, true)
      if (pooled.broken) return
      pooled.idleSince = clock()
      idle.push(pooled)
    },
    /** It gave no answer, or was lost: so are others, for all that anybody knows. */
    drop(pooled?: PooledClient): void {
      generation++
      if (pooled) end(pooled)
      for (const one of [...idle]) end(one)
    },
  }
}

/** The connections, and those who wait for one. */
const createConnections = (options: PoolOptions) => {
  const { most, clock } = options
  const clients = createOpenClients(options)
  const { open, idle, end } = clients
  const waiting = new Set<Waiting>()
  let closed = false
  /** Whoever waits gets one; a new one is made where there is room. */
  const serve = (): void => {
    const [next] = waiting
    if (!next || closed) return
    const pooled = idle.pop()
    if (!pooled && open.size >= most) return
    waiting.delete(next)
    if (pooled) return next.take(pooled)
    clients.connect().then(next.take, (error: unknown) => {
      next.fail(error)
      serve()
    })
  }
  const give = (pooled: PooledClient): void => {
    if (closed) end(pooled, true)
    clients.keep(pooled)
    serve()
  }
  return {
    /** What it returns cancels it; a connection that comes after that goes to others. */
    get(take: (pooled: PooledClient) => void, fail: (error: unknown) => void): () => void {
      let over = false
      const mine: Waiting = {
        take: (pooled) => (over ? give(pooled) : take(pooled)),
        fail: (error) => void (over || fail(error)),
      }
      if (closed) fail(closedError())
      else waiting.add(mine)
      serve()
      return () => {
        over = true
        waiting.delete(mine)
      }
    },
    give,
    drop(pooled?: PooledClient): void {
      clients.drop(pooled)
      serve()
    },
    closeIdle(): void {
      for (const pooled of [...idle]) if (clock() - pooled.idleSince > idleMs) end(pooled, true)
    },
    close(): void {
      closed = true
      for (const pooled of [...open]) end(pooled, idle.includes(pooled))
      for (const one of [...waiting]) one.fail(closedError())
      waiting.clear()
    },
  }
}

/** What the server says when it ends connections, or is not the one that takes writes any more; or no word of it. */
const isLost = (error: unknown): boolean =>
  !(error instanceof ConnectError) &&
  (!(error instanceof DatabaseError) || /^(?:57P|08|25006)/.test(error.code ?? ''))

type Connections = ReturnType<typeof createConnections>

/** `given`: the connection that it runs on. Default: the first that is free. */
const createLease = (connections: Connections, unnamed: boolean, given?: PooledClient): Lease => {
  let pooled = given
  let used = false
  let dropped = false
  let cancel = (): void => undefined
  const acquire = (): Promise<PooledClient> =>
    new Promise((resolve, reject) => {
      cancel = connections.get(resolve, reject)
    })
  return {
    async run({ name, text }, values) {
      used = true
      const mine = (pooled ??= await acquire())
      try {
        // A connection that came too late for whoever asked.
        if (dropped) throw new ConnectError('too late', { cause: new Error('too late') })
        const query = { text, values: [...values], ...(unnamed ? {} : { name }) }
        return (await mine.client.query(query)).rows as PostgresRows
      } catch (error) {
        if (isLost(error)) connections.drop(mine)
        throw error
      } finally {
        pooled = undefined
        connections.give(mine)
      }
    },
    drop() {
      if (dropped) return
      dropped = true
      cancel()
      connections.drop(pooled)
    },
    leave() {
      if (pooled && !used) connections.give(pooled)
    },
  }
}

/** Its parts are what `createOperations` asks for (remote-store.ts). */
export const createPool = (options: PoolOptions) => {
  const { timer, unnamed } = options
  const connections = createConnections(options)
  return {
    current: (): Lease => createLease(connections, unnamed),
    /** Tries until there is a connection, or nobody waits for it any more. */
    ready(use: (lease: Lease) => void): () => void {
      let over = false
      let cancel = (): void => undefined
      let lease: Lease | undefined
      const attempt = (): void => {
        if (over) return
        cancel = connections.get(
          (pooled) => use((lease = createLease(connections, unnamed, pooled))),
          () => {
            cancel = timer(againMs, attempt)
          },
        )
      }
      attempt()
      return () => {
        over = true
        cancel()
        lease?.leave()
      }
    },
    drop: (lease: Lease): void => lease.drop(),
    closeIdle: connections.closeIdle,
    close: connections.close,
  }
}
