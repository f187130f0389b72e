// The connection to Redis on Node: how it is made, which one is used, and what its errors mean.
import { readFileSync } from 'node:fs'
import { type RedisClientOptions, createClient } from '@redis/client'
import type { RedisSettings } from '../config/storage-keys.ts'
import type { Log, Timer } from '../ports/runtime.ts'
import { type Failure, createRareLog, unavailable } from './remote-store.ts'

export type RedisClient = ReturnType<typeof createClient>

// The server, from the configuration.

interface Server {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: string | undefined
  readonly db: number
}

/** `url` and the single keys agree, or one of them is absent (config/rules/storage.ts). */
export const serverOf = (settings: RedisSettings): Server => {
  const {
    url: text,
    host = 'localhost',
    port = 6379,
    ssl: tls = false,
    db = 0,
    username,
    password,
  } = settings
  const single = { host, port, tls, db, username, password }
  if (text === undefined) return single
  const url = new URL(text)
  return {
    host: url.hostname.replaceAll(/[[\]]/g, ''),
    port: Number(url.port || 6379),
    tls: url.protocol === 'rediss:',
    db: Number(url.pathname.slice(1) || 0),
    username: url.username ? decodeURIComponent(url.username) : username,
    password: url.password ? decodeURIComponent(url.password) : password,
  }
}

/** As people write it, without what is secret. */
const nameOf = ({ host, port, tls }: Server): string =>
  `${tls ? 'rediss' : 'redis'}://${host.includes(':') ? `[${host}]` : host}:${port}`

/** 50, 100, 200, 400, then 500 ms, each with jitter, for ever. */
const reconnectMs = (retries: number, chance: number): number =>
  Math.min(500, 50 * 2 ** Math.min(retries, 4)) * (0.8 + 0.4 * chance)

/** How often an idle connection is tried, ms: a peer that went away without a word is noticed. */
const pingMs = 10_000

const certificatesIn = (path: string): Buffer => {
  try {
    return readFileSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw unavailable(`cannot read storage.redis.ssl_ca_certs, ${path} (${code})`)
  }
}

/** Throws `Refusal('storage.unavailable')`. */
const clientOptions = (settings: RedisSettings, random: (n: number) => Uint8Array): RedisClientOptions => {
  const server = serverOf(settings)
  const { host, port, username, password, db } = server
  const common = {
    host,
    port,
    connectTimeout: 2000,
    reconnectStrategy: (retries: number) => reconnectMs(retries, (random(1)[0] as number) / 255),
  }
  const { ssl_ca_certs: path } = settings
  const ca = path === undefined ? undefined : certificatesIn(path)
  return {
    socket: server.tls
      ? {
          ...common,
          tls: true,
          rejectUnauthorized: settings.ssl_cert_reqs !== 'none',
          ...(ca && { ca }),
        }
      : { ...common, tls: false },
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    database: db,
    name: 'postern',
    disableOfflineQueue: true,
    commandsQueueMaxLength: 2000,
    // Its own time limit covers only the wait before a command is written; ours covers all.
    commandOptions: { timeout: 0 },
    maintNotifications: 'disabled',
    pingInterval: pingMs,
  }
}

// Errors, by the first word of what the server says, or by their class.

const replies: Readonly<Record<string, Failure>> = {
  OOM: { kind: 'passes', why: 'Redis is out of memory: raise maxmemory' },
  MISCONF: { kind: 'passes', why: 'Redis cannot write to its disk and refuses writes: see its log' },
  READONLY: { kind: 'passes', why: 'this Redis server is a replica: connect to the master' },
  LOADING: { kind: 'passes', why: 'Redis is loading its data from disk' },
  BUSY: { kind: 'passes', why: 'Redis is busy with a script' },
  TRYAGAIN: { kind: 'passes', why: 'Redis is moving these keys between nodes' },
  CLUSTERDOWN: { kind: 'passes', why: 'the Redis Cluster is down' },
  NOREPLICAS: { kind: 'passes', why: 'Redis has fewer replicas than min-replicas-to-write asks for' },
  NOAUTH: { kind: 'refused', why: 'Redis asks for a password: set storage.redis.password' },
  WRONGPASS: {
    kind: 'refused',
    why: 'Redis does not accept the username and password: correct them in storage.redis',
  },
  NOPERM: { kind: 'refused', why: 'the Redis user lacks a permission: see the guide' },
  MOVED: {
    kind: 'refused',
    why: 'this server is part of a Redis Cluster, which is not supported: use a server of its own',
  },
}

/** Of a host with several addresses each has an error. */
const textOf = (error: Error): string =>
  error instanceof AggregateError
    ? error.errors.map((one) => (one as Error).message).join(', ')
    : error.message || error.name

const tlsFailures: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID:
    'its certificate is for another host: use a host of the certificate in storage.redis',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'nobody signed its certificate: set storage.redis.ssl_ca_certs to its CA',
  SELF_SIGNED_CERT_IN_CHAIN: 'its CA is not known: set storage.redis.ssl_ca_certs to it',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its CA is not known: set storage.redis.ssl_ca_certs to it',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its CA is not known: set storage.redis.ssl_ca_certs to it',
}

/** Undefined: a fault of this program. */
export const failureOf = (error: unknown): Failure | undefined => {
  if (!(error instanceof Error)) return undefined
  const { message, constructor } = error
  const [word = ''] = message.split(' ')
  const known = replies[word]
  if (known)
    return word === 'NOPERM' || word === 'BUSY' ? { ...known, why: `${known.why} (${message})` } : known
  const tls = tlsFailures[(error as NodeJS.ErrnoException).code ?? '']
  if (tls !== undefined) return { kind: 'refused', why: `no connection to Redis: ${tls}` }
  switch (constructor.name) {
    case 'ClientOfflineError':
    case 'ClientClosedError':
      return { kind: 'passes', why: 'there is no connection to Redis' }
    case 'SimpleError':
    case 'BlobError':
    case 'ErrorReply':
      // CROSSSLOT, or a script of ours that is wrong.
      return undefined
    default:
      return message === 'The queue is full'
        ? { kind: 'passes', why: 'too many commands wait for Redis' }
        : { kind: 'lost', why: `no connection to Redis (${textOf(error)})` }
  }
}

// The connection: one client at a time, and another one after a command that got no answer.

interface RedisConnectionOptions {
  readonly settings: RedisSettings
  readonly timer: Timer
  readonly clock: () => number
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
  readonly log: Log
}

/** A server that takes the connection must say hello within so many ms; the driver would wait for ever. */
const helloMs = 2000

export interface RedisConnection {
  /** The server, in messages. */
  readonly location: string
  current(): RedisClient
  /** Told of whichever is the client once there is a usable one, unless what is returned is called before. */
  ready(use: (client: RedisClient) => void): () => void
  /** Makes another one. */
  drop(dropped: RedisClient): void
  close(): void
}

/** `failed` is told each time that a connection could not be made, or ended. */
export const createConnection = (
  { settings, random, log, clock, timer }: RedisConnectionOptions,
  failed: (error: Error) => void,
): RedisConnection => {
  const location = nameOf(serverOf(settings))
  const how = clientOptions(settings, random)
  const rareLog = createRareLog(log, clock)
  const waiting = new Set<(client: RedisClient) => void>()
  let closed = false
  const make = (): RedisClient => {
    const made = createClient(how) as RedisClient
    let cancel = (): void => undefined
    // Without a listener an error ends the process.
    made.on('error', (error: Error) => {
      cancel()
      if (closed || made !== client) return
      failed(error)
      rareLog('warn', 'storage.disconnected', { location, why: failureOf(error)?.why ?? error.message })
    })
    made.on('connect', () => {
      cancel()
      cancel = timer(helloMs, () => drop(made))
    })
    made.on('ready', () => {
      cancel()
      if (made !== client) return
      for (const use of waiting) use(client)
      waiting.clear()
    })
    made.on('end', () => cancel())
    // It pends until there is a connection, and rejects only when the client is ended.
    made.connect().catch(() => undefined)
    return made
  }
  const drop = (dropped: RedisClient): void => {
    if (dropped !== client || closed) return
    client = make()
    dropped.destroy()
  }
  let client = make()
  return {
    location,
    current: () => client,
    ready(use) {
      if (client.isReady) use(client)
      else waiting.add(use)
      return () => void waiting.delete(use)
    },
    drop,
    close() {
      if (closed) return
      closed = true
      client.destroy()
    },
  }
}
