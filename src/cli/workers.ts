// `--workers N`: N processes serve one port (node:cluster). The first process hands out connections, starts the others
// and replaces those that die; it opens no storage and holds no keys. What they print is one log, of whole lines.
import cluster, { type Worker } from 'node:cluster'
import { type Server, Socket, createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Config } from '../config/schema.ts'
import { networkReason } from '../kit/log.ts'
import { type NodeLog, createJsonLog, createLineWriter, createTerminalLog } from '../node/log.ts'
import { type PeerListener, openHop } from '../node/peers.ts'
import type { NodeRuntime } from '../node/runtime.ts'
import { quietTurn } from '../node/serve.ts'
import { type HandedConnections, listen } from '../node/listen.ts'
import { listenError } from './state.ts'
import type { LogLevel } from '../ports/runtime.ts'
import { StartError, exitCodes as startCodes } from './output.ts'
import { type StopSignal, exitAfter, exitCodes, ignoreClosedOutput, untilSignal } from './terminal.ts'

/** What the processes tell one another. The first one to a worker: */
type Order =
  | { readonly postern: 'begin' }
  | { readonly postern: 'reload' }
  | { readonly postern: 'stop'; readonly signal: NodeJS.Signals }
  | { readonly postern: 'force' }
  | { readonly postern: 'count'; readonly id: number }
/** A worker to the first one: */
type Report =
  | { readonly postern: 'ready' }
  | { readonly postern: 'counted'; readonly id: number; readonly metrics: object[] }

const isOurs = (message: unknown): message is { readonly postern: string } =>
  typeof message === 'object' && message !== null && 'postern' in message

// A worker.

export interface WorkerRole {
  /** Which of the workers it is, from 0; one that replaces another has its number. */
  readonly slot: number
  readonly handed: HandedConnections
  /** Whether it prints where the gateway listens. */
  readonly leads: boolean
  /** Says that requests are answered here. Resolves when all others are ready too. */
  ready(): Promise<void>
  /** As `untilSignal`: workers end when they are told to, or when the first process is gone. */
  untilStopped(about: StopSignal): Promise<NodeJS.Signals>
  /** Answers what is asked for the metrics of all. */
  count(metrics: () => Promise<object[]>): void
}

const [slotName, portName] = ['WORKER_SLOT', 'WORKER_PORT']

/** Undefined in the process that starts the workers. */
export const workerRole = (): WorkerRole | undefined => {
  const { worker } = cluster
  if (!worker) return undefined
  // Otherwise Node ends it at once when the first process is gone, and its calls with it.
  worker.exitedAfterDisconnect = true
  const send = (report: Report): void => void (process.connected && process.send?.(report))
  const heard = (hear: (order: Order) => void): void =>
    void process.on('message', (message) => isOurs(message) && hear(message as Order))
  return {
    slot: Number(process.env[slotName] ?? 0),
    handed: {
      port: Number(process.env[portName]),
      connections: (taken) =>
        void process.on('message', (message, socket) => {
          // Absent when the client has left meanwhile.
          if (isOurs(message) && message.postern === 'connection' && socket instanceof Socket) taken(socket)
        }),
    },
    leads: worker.id === 1,
    ready: () =>
      new Promise((resolve) => {
        heard(({ postern }) => postern === 'begin' && resolve())
        process.once('disconnect', () => resolve())
        send({ postern: 'ready' })
      }),
    untilStopped: ({ log, again }) =>
      new Promise((resolve) => {
        // A terminal, and some supervisors, send a signal to each process: one of them decides.
        for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined)
        heard((order) => {
          if (order.postern === 'stop') resolve(order.signal)
          if (order.postern === 'reload') again()
          if (order.postern === 'force') exitAfter(log, exitCodes.forced)
        })
        process.once('disconnect', () => resolve('SIGTERM'))
      }),
    count: (metrics) =>
      heard((order) => {
        if (order.postern !== 'count') return
        const { id } = order
        metrics().then(
          (counted) => send({ postern: 'counted', id, metrics: counted }),
          () => send({ postern: 'counted', id, metrics: [] }),
        )
      }),
  }
}

// How the processes reach one another.

const hostAndPort = (text: string): { readonly host: string; readonly port: number } => ({
  host: text.replace(/:\d+$/, '').replaceAll(/[[\]]/g, ''),
  port: Number(/\d+$/.exec(text)?.[0]),
})

/** Where the other processes reach this one. Undefined where it is one. Throws `StartError`. */
export const startHop = async (
  { cluster, workers }: Config,
  slot: number | undefined,
  runtime: NodeRuntime,
): Promise<PeerListener | undefined> => {
  if (!cluster && slot === undefined) return undefined
  const { host, port } = hostAndPort(cluster?.listen ?? '127.0.0.1:0')
  // Each process of this computer has a port of its own.
  const own = (first: number): number => (first === 0 ? 0 : first + (slot ?? 0))
  const told = cluster?.address === undefined ? undefined : hostAndPort(cluster.address)
  return openHop({
    listen: { host, port: own(port) },
    address: told && { host: told.host, port: own(told.port) },
    siblings: slot === undefined ? 1 : workers,
    runtime,
  }).catch((error: unknown) => {
    throw new StartError(
      'cluster.port',
      `The other processes cannot be served on ${host}, port ${own(port)} (${networkReason(error)}). Change cluster.listen${workers > 1 ? `: ${workers} ports from there on are used` : ''}.`,
    )
  })
}

// The process that starts them.

export interface WorkersOptions {
  readonly config: Config
  readonly tty: boolean
  readonly logLevel: LogLevel
}

/** Workers that die so often within a minute are not replaced any more. */
const mostDeaths = 3
const deathsMs = 60_000
const restMs = 500
/** Longer than a worker takes to end in order. */
const stopMs = 40_000
/** Longest wait for a worker that is asked for its metrics. */
const countMs = 3_000

interface Crew {
  readonly config: Config
  /** What listens on the port. */
  readonly servers: Server[]
  port: number
  /** Connections that came before a worker was ready. */
  waiting: Socket[]
  /** Whose turn it is. */
  turn: number
  readonly log: NodeLog
  /** Whole lines, each with its end. */
  readonly print: (lines: string) => void
  readonly workers: Map<Worker, number>
  readonly ready: Set<Worker>
  /** Where the metrics of all are. */
  metrics: string | undefined
  /** The first line is printed. */
  begun: boolean
  stopping: boolean
  deaths: number[]
  /** Of those that ended when they were told to, the worst. */
  code: number
}

const tell = (worker: Worker, order: Order): void => {
  if (worker.isConnected()) worker.send(order)
}

const begin = (crew: Crew): void => {
  if (crew.begun) return
  crew.begun = true
  for (const worker of crew.ready) tell(worker, { postern: 'begin' })
  if (crew.metrics !== undefined) crew.log.log('info', 'metrics.listening', { url: crew.metrics })
}

/**
 * Calls `print` with the lines that each piece completes. Every call writes one, so that they are not looked at one by
 * one.
 */
const wholeLines = (print: (lines: string) => void): ((piece: Buffer) => void) => {
  let rest: Buffer[] = []
  return (piece) => {
    const end = piece.lastIndexOf(10) + 1
    if (end > 0) {
      print(Buffer.concat([...rest, piece.subarray(0, end)]).toString())
      rest = []
    }
    if (end < piece.length) rest.push(piece.subarray(end))
  }
}

/** Why a start fails is said once. */
const readOutput = (crew: Crew, worker: Worker, slot: number): void => {
  const { stdout, stderr } = worker.process
  const print = (lines: string): void => {
    crew.print(lines)
    // Programs read the first line: the others print nothing before it.
    begin(crew)
  }
  stdout?.on('data', wholeLines(print))
  const complain = (lines: string): void => {
    if (slot === 0 || crew.begun) process.stderr.write(lines)
  }
  stderr?.on('data', wholeLines(complain))
}

// Connections are accepted here and handed out in turn. The way of node:cluster itself drops those that it has accepted
// and not handed out yet when the last worker stops listening; here the port is closed first.

const mostWaiting = 10_000

const hand = (crew: Crew, socket: Socket): void => {
  const workers = [...crew.ready]
  const worker = workers[crew.turn++ % workers.length]
  if (worker?.isConnected())
    worker.send({ postern: 'connection' }, socket, (error) => {
      if (error) socket.destroy()
    })
  else if (crew.waiting.length < mostWaiting) crew.waiting.push(socket)
  else socket.destroy()
}

const handWaiting = (crew: Crew): void => {
  const { waiting } = crew
  crew.waiting = []
  for (const socket of waiting) hand(crew, socket)
}

const accept = async (crew: Crew): Promise<void> => {
  const { host, port } = crew.config
  crew.port = await listen(host, port, () => {
    const server = createServer({ pauseOnConnect: true }, (socket) => {
      socket.on('error', () => undefined)
      hand(crew, socket)
    })
    crew.servers.push(server)
    return server
  }).catch((error: unknown) => {
    throw listenError(error, crew.config)
  })
}

const fork = (crew: Crew, slot: number): Worker => {
  const worker = cluster.fork({ [slotName]: String(slot), [portName]: String(crew.port) })
  crew.workers.set(worker, slot)
  readOutput(crew, worker, slot)
  return worker
}

/** Resolves when the worker answers requests; rejects when it ended before. */
const untilReady = (crew: Crew, worker: Worker): Promise<void> =>
  new Promise((resolve, reject) => {
    worker.on('message', (message) => {
      if (!isOurs(message) || message.postern !== 'ready') return
      crew.ready.add(worker)
      handWaiting(crew)
      if (crew.begun) tell(worker, { postern: 'begin' })
      resolve()
    })
    worker.once('exit', (code) => reject(new Error(`ended with ${code}`)))
  })

const stop = async (crew: Crew, signal: NodeJS.Signals): Promise<void> => {
  crew.stopping = true
  await quietTurn()
  for (const server of crew.servers) server.close()
  // What was handed out before is there before the order to stop.
  for (const worker of crew.workers.keys()) tell(worker, { postern: 'stop', signal })
}

/** Replaces a worker that died, or ends all where that happens again and again. */
const replace = async (crew: Crew, slot: number, why: string): Promise<void> => {
  const now = performance.now()
  crew.deaths = [...crew.deaths.filter((at) => now - at < deathsMs), now]
  const { length } = crew.deaths
  crew.log.log('error', 'worker.died', { worker: slot, why, within_a_minute: length })
  if (length >= mostDeaths) {
    crew.log.log('error', 'workers.ended', {
      message: `${length} workers died within a minute: ending all of them`,
    })
    crew.code = startCodes.failed
    await stop(crew, 'SIGTERM')
    return
  }
  await pause(restMs * 2 ** (length - 1))
  if (crew.stopping) return
  await untilReady(crew, fork(crew, slot)).catch(() => undefined)
}

const worse = (one: number, other: number): number => (one === 0 ? other : one)

/** Resolves when all have ended. */
const untilEnded = (crew: Crew): Promise<void> =>
  new Promise((resolve) => {
    cluster.on('exit', (worker, code, signal) => {
      const slot = crew.workers.get(worker)
      if (slot === undefined) return
      crew.workers.delete(worker)
      const wasReady = crew.ready.delete(worker)
      if (crew.stopping) crew.code = worse(crew.code, code ?? startCodes.failed)
      else if (wasReady || crew.begun)
        replace(crew, slot, signal ?? `exit code ${code}`).catch(() => undefined)
      if (crew.workers.size === 0 && crew.stopping) resolve()
    })
  })

/** All at once; false when one of them cannot start. */
const startAll = async (crew: Crew): Promise<boolean> => {
  const all = Array.from({ length: crew.config.workers }, (_, slot) => fork(crew, slot))
  const [first] = all as [Worker, ...Worker[]]
  try {
    await Promise.all(all.map((worker) => untilReady(crew, worker)))
  } catch {
    return false
  }
  tell(first, { postern: 'begin' })
  // At a terminal each worker writes by itself.
  if (!first.process.stdout) begin(crew)
  return true
}

/** The metrics of all workers, as each knows them. */
const askMetrics = (crew: Crew): Promise<object[][]> => {
  const id = Math.random()
  const ask = (worker: Worker): Promise<object[]> =>
    new Promise((resolve) => {
      const late = setTimeout(resolve, countMs, [])
      const hear = (message: unknown): void => {
        if (!isOurs(message) || message.postern !== 'counted') return
        const report = message as Extract<Report, { postern: 'counted' }>
        if (report.id !== id) return
        clearTimeout(late)
        worker.off('message', hear)
        resolve(report.metrics)
      }
      worker.on('message', hear)
      tell(worker, { postern: 'count', id })
    })
  return Promise.all([...crew.ready].map(ask))
}

const serveMetrics = async (crew: Crew): Promise<void> => {
  const { metrics } = crew.config
  if (!metrics) return
  const { openSummedMetrics } = await import('../node/metrics.ts')
  const { url } = await openSummedMetrics({ ...metrics, ask: () => askMetrics(crew) }).catch(
    (error: unknown) => {
      throw new StartError(
        'metrics.port',
        `Metrics cannot be served on ${metrics.host}, port ${metrics.port} (${networkReason(error)}). Change metrics.host or metrics.port.`,
      )
    },
  )
  crew.metrics = url
}

/**
 * Starts the workers, and ends with them. SIGTERM or SIGINT ends all in order, a second one at once. Throws
 * `StartError`.
 */
export const runWorkers = async ({ config, tty, logLevel }: WorkersOptions): Promise<void> => {
  const writer = createLineWriter(1)
  const log = tty ? createTerminalLog(logLevel) : createJsonLog(logLevel, false, writer)
  const crew: Crew = {
    config,
    log,
    print: writer.write,
    ...{ servers: [], port: 0, waiting: [], turn: 0 },
    ...{ workers: new Map(), ready: new Set(), metrics: undefined, begun: false },
    ...{ stopping: false, deaths: [], code: 0 },
  }
  ignoreClosedOutput()
  cluster.setupPrimary({ silent: !tty })
  const ended = untilEnded(crew)
  const asked = untilSignal({
    terminal: tty,
    log,
    again: () => [...crew.workers.keys()].forEach((worker) => tell(worker, { postern: 'reload' })),
  })
  await serveMetrics(crew)
  await accept(crew)
  const started = await startAll(crew)
  if (started) asked.then((signal) => stop(crew, signal)).catch(() => undefined)
  else {
    crew.code = startCodes.failed
    await stop(crew, 'SIGTERM')
  }
  // A second signal ends this process at once, and with it the workers.
  process.once('exit', () => {
    for (const worker of crew.workers.keys()) worker.process.kill('SIGKILL')
  })
  if (crew.workers.size > 0) await Promise.race([ended, asked.then(() => pause(stopMs)).then(() => ended)])
  await writer.end()
  await log.end()
  process.exit(crew.code)
}
