// Redis with more than one server: which of them keeps what, and a connection to each. Sentinels say which server is the
// master; the nodes of a Redis Cluster say which of them keeps which records. They are asked again whenever a connection
// ends, or a server says that it is not the one. The driver has clients for both: the one repeats commands that may have
// been carried out, and with the other a node that says nothing would hold up the records of all.
import type { RedisSettings } from '../config/storage-keys.ts'
import {
  type ServerAddress,
  type RedisConnection,
  type RedisConnectionOptions,
  type RedisLink,
  type RedisRoute,
  type RedisServer,
  RedisError,
  askOnce,
  createConnection,
  failureOf,
  nameOf,
  nameOfAddress,
  serverOf,
} from './redis-connection.ts'
import { type Failure, createRareLog, within } from './remote-store.ts'

/** What keeps the records: one server or several. */
export interface RedisServers {
  /** In messages. */
  readonly location: string
  /** The records are spread over so many parts, each of which is on one server. */
  readonly shards: number
  route(shard: number): RedisRoute
  /** Those that keep records. */
  nodes(): readonly RedisConnection[]
  close(): void
}

type Failed = (error: Error) => void
/** The server of each shard. */
type Masters = readonly (ServerAddress | undefined)[]

/** The connections, each made when it is first needed, and closed when it keeps nothing any more. */
const createNodes = (options: RedisConnectionOptions, shards: number, failed: Failed) => {
  const nodes = new Map<string, RedisConnection>()
  /** Nodes to which records are being moved. */
  const asked = new Set<string>()
  let masters: readonly (string | undefined)[] = Array.from({ length: shards }, () => undefined)
  const followers = new Set<() => void>()
  const at = (address: ServerAddress): RedisConnection => {
    const name = nameOfAddress(address)
    const server = { ...serverOf(options.settings), ...address }
    const made = nodes.get(name) ?? createConnection(options, failed, server)
    nodes.set(name, made)
    return made
  }
  return {
    at,
    asked,
    followers,
    all: () => [...nodes.values()],
    ofShard: (shard: number) => nodes.get(masters[shard] ?? ''),
    keeping: () => [...nodes].flatMap(([name, node]) => (masters.includes(name) ? [node] : [])),
    own(found: Masters): void {
      for (const address of found) if (address) at(address)
      masters = found.map((address) => address && nameOfAddress(address))
      for (const [name, node] of nodes) {
        if (masters.includes(name) || asked.has(name)) continue
        nodes.delete(name)
        node.close()
      }
      for (const follow of followers) follow()
    },
  }
}

type Nodes = ReturnType<typeof createNodes>

/** A command that was answered with a redirection is sent on, so often. */
const mostHops = 4
const redirection = /^(MOVED|ASK) \d+ (\S*):(\d+)$/
const isStale = /^(?:READONLY|CLUSTERDOWN|MASTERDOWN)\b/

interface NodeLink extends RedisLink {
  node: RedisConnection | undefined
}

interface Redirection {
  readonly word: 'MOVED' | 'ASK'
  readonly address: ServerAddress
}

/** Without a host it is another port of the one that says so. */
const redirectionIn = (message: string, from: ServerAddress): Redirection | undefined => {
  const [, word, host = '', port = ''] = redirection.exec(message) ?? []
  if (word !== 'MOVED' && word !== 'ASK') return undefined
  return { word, address: { host: host || from.host, port: Number(port) } }
}

/** It does not wait for a connection: the repetition of the operation does. */
const sendBy = async <T>(
  link: NodeLink,
  args: readonly string[],
  { at, asked }: Nodes,
  soon: () => void,
): Promise<T> => {
  for (let [hops, asking] = [0, false]; ; hops++) {
    const { node } = link
    const client = node?.current()
    if (!node || !client?.isReady)
      throw new RedisError({ kind: 'passes', why: 'there is no connection to Redis' })
    try {
      // Nothing comes between two commands of one turn.
      if (asking) client.sendCommand(['ASKING']).catch(() => undefined)
      return await client.sendCommand<T>([...args])
    } catch (error) {
      const message = error instanceof Error ? error.message : ''
      const to = redirectionIn(message, node.address)
      if (to?.word === 'MOVED' || isStale.test(message)) soon()
      if (!to) throw error
      if (hops === mostHops)
        throw new RedisError({ kind: 'passes', why: 'Redis is moving these keys between nodes' })
      asking = to.word === 'ASK'
      if (asking) asked.add(nameOfAddress(to.address))
      link.node = at(to.address)
    }
  }
}

const createRoute = (nodes: Nodes, shard: number, soon: () => void): RedisRoute<NodeLink> => {
  const current = (): NodeLink => {
    const link: NodeLink = {
      node: nodes.ofShard(shard),
      sendCommand: (args) => sendBy(link, args, nodes, soon),
    }
    return link
  }
  return {
    current,
    ready(use) {
      let leave = (): void => undefined
      const end = (): void => {
        leave()
        nodes.followers.delete(follow)
      }
      // Meanwhile another server may have become the one.
      const follow = (): void => {
        leave()
        const used = (): void => {
          end()
          use(current())
        }
        leave = nodes.ofShard(shard)?.ready(used) ?? (() => undefined)
      }
      nodes.followers.add(follow)
      follow()
      return end
    },
    drop({ node }) {
      node?.drop(node.current())
      soon()
    },
  }
}

interface RoutedOptions {
  readonly location: string
  readonly shards: number
  /** Rejects where nobody knows. */
  readonly find: (known: readonly RedisConnection[]) => Promise<Masters>
  readonly failed: Failed
  readonly connection: RedisConnectionOptions
}

/** After something failed it is asked again in so many ms, and in any case each so many. */
const [soonMs, againMs] = [100, 10_000]

const createRouted = ({ location, shards, find, failed, connection }: RoutedOptions): RedisServers => {
  const { timer, log, clock } = connection
  const rareLog = createRareLog(log, clock)
  let closed = false
  let planned = false
  let finding: Promise<void> | undefined
  const nodes = createNodes(connection, shards, (error) => {
    failed(error)
    soon()
  })
  const look = async (): Promise<void> => {
    try {
      const found = await find(nodes.all())
      if (!closed) nodes.own(found)
    } catch (error) {
      if (closed) return
      failed(error as Error)
      rareLog('warn', 'storage.disconnected', { location, why: failureOf(error)?.why ?? String(error) })
      soon()
    }
  }
  const refresh = (): void => {
    finding ??= look().finally(() => (finding = undefined))
  }
  const soon = (): void => {
    if (planned || closed) return
    planned = true
    timer(soonMs, () => {
      planned = false
      if (!closed) refresh()
    })
  }
  const routes = Array.from({ length: shards }, (_, shard) => createRoute(nodes, shard, soon))
  refresh()
  const again = setInterval(() => {
    nodes.asked.clear()
    refresh()
  }, againMs).unref()
  return {
    location,
    shards,
    route: (shard) => routes[shard] as RedisRoute,
    nodes: nodes.keeping,
    close() {
      closed = true
      clearInterval(again)
      for (const node of nodes.all()) node.close()
    },
  }
}

// Sentinel.

type SentinelSettings = NonNullable<RedisSettings['sentinel']>
type ClusterSettings = NonNullable<RedisSettings['cluster']>

/** `host:port`, or `[address]:port`. */
const addressOf = (text: string, usual: number): ServerAddress => {
  const [, host = '', port] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(text) ?? []
  return { host, port: Number(port ?? usual) }
}

/** What a server answers that is of another kind than it is configured as. */
const otherKind: Readonly<Record<string, string>> = {
  'ERR unknown command': 'this server is not a Sentinel: correct storage.redis.sentinel.nodes',
  'ERR This instance has cluster support disabled':
    'this server is not part of a Redis Cluster: remove storage.redis.cluster',
}

const reasonOf = (error: unknown): Failure | undefined => {
  const message = error instanceof Error ? error.message : ''
  const [, why] = Object.entries(otherKind).find(([start]) => message.startsWith(start)) ?? []
  return why === undefined ? failureOf(error) : { kind: 'refused', why }
}

/** Why none of several answered. */
const none = (
  results: readonly PromiseSettledResult<unknown>[],
  why: (cause: string) => string,
): RedisError => {
  const failures = results.flatMap((one) => (one.status === 'rejected' ? [reasonOf(one.reason)] : []))
  const [worst] = [...failures.filter((failure) => failure?.kind === 'refused'), ...failures]
  return new RedisError({ kind: worst?.kind ?? 'passes', why: why(worst?.why ?? 'no answer') })
}

/** Each is asked; what most of them say is so: one that is cut off from the others may not know of a new master. */
const findMaster =
  ({ name, nodes, username, password }: SentinelSettings, connection: RedisConnectionOptions) =>
  async (): Promise<Masters> => {
    const how: RedisServer = { ...serverOf(connection.settings), db: 0, username, password }
    const ask = (node: string): Promise<readonly [host: string, port: string] | null> =>
      askOnce<readonly [string, string] | null>({ ...how, ...addressOf(node, 26_379) }, connection, [
        'SENTINEL',
        'GET-MASTER-ADDR-BY-NAME',
        name,
      ])
    const results = await Promise.allSettled(nodes.map(ask))
    const said = results.flatMap((one) => (one.status === 'fulfilled' && one.value ? [one.value] : []))
    const votes = said.map(([host, port]) => ({
      host,
      port: Number(port),
      votes: said.filter((other) => other[0] === host && other[1] === port).length,
    }))
    const [master] = votes.sort((a, b) => b.votes - a.votes)
    if (master) return [{ host: master.host, port: master.port }]
    if (results.some((one) => one.status === 'fulfilled'))
      throw new RedisError({
        kind: 'refused',
        why: `no Sentinel knows a master of the name ${name}: correct storage.redis.sentinel.name`,
      })
    throw none(results, (cause) => `no Sentinel says which server is the master: ${cause}`)
  }

export const createSentinelServers = (
  settings: SentinelSettings,
  connection: RedisConnectionOptions,
  failed: Failed,
): RedisServers => {
  const [first = ''] = settings.nodes
  const sentinel = nameOf({ ...serverOf(connection.settings), ...addressOf(first, 26_379) })
  return createRouted({
    location: `${sentinel} (Sentinel, ${settings.name})`,
    shards: 1,
    ...{ find: findMaster(settings, connection), failed, connection },
  })
}

// Cluster.

/** How many parts the records of a cluster are spread over. It can never change (stores/meta.ts). */
const clusterShards = 16

/** CRC16 of the hash tag, as Redis computes it. */
const slotOf = (tag: string): number => {
  let crc = 0
  for (let i = 0; i < tag.length; i++) {
    crc ^= tag.charCodeAt(i) << 8
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff
  }
  return crc % 16_384
}

const slotOfShard = Array.from({ length: clusterShards }, (_, shard) => slotOf(String(shard)))

type SlotRange = readonly [from: number, to: number, master: readonly [host: string | null, port: number]]

const askSlots = ['CLUSTER', 'SLOTS']

const ownersIn = (ranges: readonly SlotRange[], asked: ServerAddress): Masters => {
  if (ranges.length === 0) throw new RedisError({ kind: 'passes', why: 'its nodes keep no slots yet' })
  return slotOfShard.map((slot) => {
    const [, , master] = ranges.find(([from, to]) => from <= slot && slot <= to) ?? []
    // Without a host it is the one that was asked.
    return master && { host: master[0] || asked.host, port: master[1] }
  })
}

/** The first node that answers: of those that are connected, else of those that are configured. */
const findOwners =
  ({ nodes }: ClusterSettings, connection: RedisConnectionOptions) =>
  async (known: readonly RedisConnection[]): Promise<Masters> => {
    const connected = known.flatMap(({ address, current }) => {
      const client = current()
      return client.isReady ? [{ address, ask: client.sendCommand<readonly SlotRange[]>([...askSlots]) }] : []
    })
    const answered = Promise.any(
      connected.map(async ({ address, ask }) => ownersIn(await within(connection.timer, 1000, ask), address)),
    )
    const found = await answered.catch(() => undefined)
    if (found) return found
    const server = serverOf(connection.settings)
    const results = await Promise.allSettled(
      nodes.map(async (node) => {
        const address = addressOf(node, 6379)
        return ownersIn(await askOnce({ ...server, ...address }, connection, askSlots), address)
      }),
    )
    for (const one of results) if (one.status === 'fulfilled') return one.value
    throw none(results, (cause) => `no node of the Redis Cluster says which of them keeps what: ${cause}`)
  }

export const createClusterServers = (
  settings: ClusterSettings,
  connection: RedisConnectionOptions,
  failed: Failed,
): RedisServers => {
  const [first = ''] = settings.nodes
  const node = nameOf({ ...serverOf(connection.settings), ...addressOf(first, 6379) })
  return createRouted({
    location: `${node} (Redis Cluster)`,
    shards: clusterShards,
    ...{ find: findOwners(settings, connection), failed, connection },
  })
}
