// The connection to Redis on Node: how it is made, which one is used, and what its errors mean.
import { readFileSync } from 'node:fs'
import { type RedisClientOptions, createClient } from '@redis/client'
import type { RedisSettings } from '../config/storage-keys.ts'
import type { Log, Timer } from '../ports/runtime.ts'
import { type Failure, createRareLog, unavailable, within } from './remote-store.ts'

export type RedisClient = ReturnType<typeof createClient>

// The server, from the configuration.

/** Where a server listens. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
}

export interface RedisServer extends ServerAddress {
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: string | undefined
  readonly db: number
}

/** `url` and the single keys agree, or one of them is absent (config/rules/storage.ts). */
export const serverOf = (settings: RedisSettings): RedisServer => {
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

export const nameOfAddress = ({ host, port }: ServerAddress): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`

/** As people write it, without what is secret. */
export const nameOf = (server: RedisServer): string =>
  `${server.tls ? 'rediss' : 'redis'}://${nameOfAddress(server)}`

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
const clientOptions = (
  server: RedisServer,
  settings: RedisSettings,
  random: (n: number) => Uint8Array,
): RedisClientOptions => {
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
  MOVED: { kind: 'refused', why: 'this server is part of a Redis Cluster: set storage.redis.cluster' },
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

/** Says itself what it means. */
export class RedisError extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure.why)
    this.failure = failure
  }
}

/** Undefined: a fault of this program. */
export const failureOf = (error: unknown): Failure | undefined => {
  if (error instanceof RedisError) return error.failure
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

/** One command to one server, on a connection of its own. */
export const askOnce = async <T>(
  server: RedisServer,
  { settings, random, timer }: Pick<RedisConnectionOptions, 'settings' | 'random' | 'timer'>,
  args: readonly string[],
): Promise<T> => {
  const how = clientOptions(server, settings, random)
  const client = createClient({ ...how, socket: { ...how.socket, reconnectStrategy: false } } as typeof how)
  client.on('error', () => undefined)
  const asked = client.connect().then(() => client.sendCommand<T>(args))
  try {
    return await within(timer, askMs, asked)
  } finally {
    client.destroy()
  }
}

// The connection to one server: one client at a time, and another one after a command that got no answer.

export interface RedisConnectionOptions {
  readonly settings: RedisSettings
  readonly timer: Timer
  readonly clock: () => number
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
  readonly log: Log
}

/** A server that takes the connection must say hello within so many ms; the driver would wait for ever. */
const helloMs = 2000
/** One that is asked one thing only has so many ms for all of it. */
const askMs = 1000

/** What one operation speaks to. */
export interface RedisLink {
  sendCommand<T>(args: readonly string[]): Promise<T>
}

/** Leads to the server that keeps some of the records, or all. */
export interface RedisRoute<Link extends RedisLink = RedisLink> {
  current(): Link
  /** Told of a link once there is a usable one, unless what is returned is called before. */
  ready(use: (link: Link) => void): () => void
  /** Makes another one. */
  drop(dropped: Link): void
}

export interface RedisConnection extends RedisRoute<RedisClient> {
  /** The server, in messages. */
  readonly location: string
  readonly address: ServerAddress
  close(): void
}

/** `failed` is told each time that a connection could not be made, or ended. */
export const createConnection = (
  { settings, random, log, clock, timer }: RedisConnectionOptions,
  failed: (error: Error) => void,
  server: RedisServer = serverOf(settings),
): RedisConnection => {
  const location = nameOf(server)
  const how = clientOptions(server, settings, random)
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
    address: server,
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
      waiting.clear()
      client.destroy()
    },
  }
}
