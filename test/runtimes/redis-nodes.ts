// Redis with more than one server: six nodes of a cluster, or a master with a replica and a Sentinel, each on a free port of
// the loopback address. Nothing is written to disk but what they know of one another.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RedisClientType, createClient } from '@redis/client'
import { freePort } from '../../scripts/harness/free-port.ts'
import { type RedisServer, startRedis } from './redis-server.ts'

export interface RedisNode {
  readonly server: RedisServer
  /** A connection that may do everything. */
  readonly admin: RedisClientType
}

const adminOf = async (port: number): Promise<RedisClientType> => {
  const admin = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: false } })
  admin.on('error', () => undefined)
  await admin.connect()
  return admin as RedisClientType
}

const until = async (done: () => Promise<boolean>, mostMs = 30_000): Promise<void> => {
  const began = performance.now()
  while (!(await done())) {
    if (performance.now() - began > mostMs) throw new Error(`not done within ${mostMs} ms: ${String(done)}`)
    await new Promise((resolve) => void setTimeout(resolve, 20))
  }
}

export interface RedisCluster {
  /** The first three are the masters, and each of the others the replica of one of them. */
  readonly nodes: readonly RedisNode[]
  /** The masters of now. */
  masters(): Promise<readonly RedisNode[]>
  close(): Promise<void>
}

const isMaster = async ({ admin }: RedisNode): Promise<boolean> =>
  admin.isReady && (await admin.sendCommand<readonly unknown[]>(['ROLE']))[0] === 'master'

/** How long a node of a cluster is silent before others take its place, ms. */
const nodeTimeoutMs = 1000
const slots = 16_384
const mastersOf = 3

interface PlannedNode {
  readonly id: string
  readonly port: number
  /** For the other nodes. */
  readonly bus: number
}

/** What the nodes would learn of one another in some seconds. */
const fileOf = (planned: readonly PlannedNode[], self: PlannedNode): string => {
  const lines = planned.map((node, i) => {
    const { id, port, bus } = node
    const myself = node === self ? 'myself,' : ''
    const [from, to] = [i, i + 1].map((part) => Math.floor((part * slots) / mastersOf)) as [number, number]
    const role =
      i < mastersOf
        ? `${myself}master - 0 0 ${i + 1} connected ${from}-${to - 1}`
        : `${myself}slave ${planned[i - mastersOf]?.id} 0 0 ${i - mastersOf + 1} connected`
    return `${id} 127.0.0.1:${port}@${bus} ${role}`
  })
  return `${lines.join('\n')}\nvars currentEpoch ${mastersOf} lastVoteEpoch 0\n`
}

const startNode = async (
  folder: string,
  planned: readonly PlannedNode[],
  self: PlannedNode,
): Promise<RedisNode> => {
  const file = `nodes-${self.port}.conf`
  writeFileSync(join(folder, file), fileOf(planned, self))
  const cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', String(nodeTimeoutMs)]
  const between = ['--cluster-port', String(self.bus), '--cluster-config-file', file]
  const fast = ['--repl-diskless-sync-delay', '0', '--cluster-replica-validity-factor', '0']
  const server = await startRedis({ folder, port: self.port, args: [...cluster, ...between, ...fast] })
  return { server, admin: await adminOf(server.port) }
}

const isFormed = async (nodes: readonly RedisNode[]): Promise<boolean> => {
  const formed = await Promise.all(
    nodes.map(async ({ admin }, i) => {
      const info = await admin.sendCommand<string>(['CLUSTER', 'INFO'])
      const replication = await admin.sendCommand<string>(['INFO', 'replication'])
      const isLinked = i < mastersOf ? /connected_slaves:1/ : /master_link_status:up/
      return /cluster_state:ok/.test(info) && isLinked.test(replication)
    }),
  )
  return formed.every(Boolean)
}

const end = async (nodes: readonly RedisNode[], folder: string): Promise<void> => {
  for (const { admin } of nodes) admin.destroy()
  await Promise.all(nodes.map(({ server }) => server.close()))
  rmSync(folder, { recursive: true, force: true })
}

const startNodes = async (folder: string): Promise<readonly RedisNode[]> => {
  const planned: PlannedNode[] = []
  for (let i = 0; i < 2 * mastersOf; i++)
    planned.push({ id: randomBytes(20).toString('hex'), port: await freePort(), bus: await freePort() })
  const started = await Promise.allSettled(planned.map((self) => startNode(folder, planned, self)))
  const nodes = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  try {
    if (nodes.length < started.length) throw new Error('a node did not start')
    await until(() => isFormed(nodes))
    return nodes
  } catch (error) {
    await end(nodes, folder)
    throw error
  }
}

export const startCluster = async (): Promise<RedisCluster> => {
  // Somebody may take one of twelve ports before its node does.
  for (let tries = 1; ; tries++) {
    const folder = mkdtempSync(join(tmpdir(), 'postern-cluster-'))
    const nodes = await startNodes(folder).catch((error: unknown) => {
      if (tries === 3) throw error
      return undefined
    })
    if (!nodes) continue
    return {
      nodes,
      async masters() {
        const are = await Promise.all(nodes.map((node) => isMaster(node).catch(() => false)))
        return nodes.filter((_, i) => are[i])
      },
      close: () => end(nodes, folder),
    }
  }
}

export interface WatchedRedis {
  readonly master: RedisNode
  readonly replica: RedisNode
  readonly sentinel: RedisNode
  close(): Promise<void>
}

/** The Sentinel calls the master `gw`. */
export const startWatched = async (): Promise<WatchedRedis> => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-sentinel-'))
  const master = await startRedis({ folder, args: ['--repl-diskless-sync-delay', '0'] })
  const replica = await startRedis({ folder, args: ['--replicaof', `127.0.0.1 ${master.port}`] })
  const file = join(folder, 'sentinel.conf')
  writeFileSync(
    file,
    `sentinel monitor gw 127.0.0.1 ${master.port} 1
sentinel down-after-milliseconds gw 500
sentinel failover-timeout gw 1000\n`,
  )
  const sentinel = await startRedis({ folder, args: [], sentinel: file })
  const [one, two, three] = await Promise.all(
    [master, replica, sentinel].map(async (server) => ({ server, admin: await adminOf(server.port) })),
  )
  const watched = { master: one as RedisNode, replica: two as RedisNode, sentinel: three as RedisNode }
  await until(async () =>
    /master_link_status:up/.test(await watched.replica.admin.sendCommand<string>(['INFO', 'replication'])),
  )
  // It hears of the replica from the master, which it asks every ten seconds, and sooner when it is told to look.
  await until(async () => {
    const found = await watched.sentinel.admin.sendCommand<readonly unknown[]>(['SENTINEL', 'REPLICAS', 'gw'])
    return found.length > 0
  })
  return {
    ...watched,
    async close() {
      for (const { admin, server } of Object.values(watched)) {
        admin.destroy()
        await server.close()
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
