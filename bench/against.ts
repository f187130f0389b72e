// `npm run bench -- --against <commit>`: the gateway of another commit and that of this checkout, turn by
// turn in one run. `npm run bench -- --client undici`: this checkout on undici and on its own HTTP/1.1
// client. Absolute figures of a shared machine mean little; the ratio of two turns that follow each other
// means something.
import { join } from 'node:path'
import { root } from '../scripts/harness/peers.ts'
import { table } from '../scripts/harness/table.ts'
import { type Load, measure, type Measured, median, turnByTurn } from './calls.ts'
import { startPostern, startUpstream } from './candidates.ts'
import { afterwards, type Build, checkOut, onUndici, thisCheckout } from './gateway.ts'
import { measureStep, oauthSteps, rateOf, startPosternOAuth } from './oauth.ts'
import { measureBridges, startPosternBridge } from './stdio.ts'
import { streamBytes } from './streams.ts'
import { startPosternWorker } from './workers.ts'

export interface AgainstOptions {
  readonly folder: string
  readonly rounds: number
  readonly seconds: number
  readonly connections: readonly number[]
  /** How many idle streams are open at once. */
  readonly streams: number
  readonly sections: ReadonlySet<string>
}

interface Figures {
  /** More is better. */
  readonly score: number
  /** Processor time for one, microseconds. */
  readonly cpu?: number
}

interface Row {
  readonly title: string
  readonly unit: string
  readonly before: number
  readonly after: number
  /** Of each round: after divided by before, above 1 when after is better. */
  readonly ratios: readonly number[]
  readonly cpu: number | undefined
}

const tolerated = 0.97
const pair = async <T>(
  builds: readonly [Build, Build],
  begin: (build: Build) => Promise<T>,
): Promise<T[]> => [await begin(builds[0]), await begin(builds[1])]

const rowOf = (
  title: string,
  unit: string,
  turns: ReadonlyMap<string, readonly Figures[]>,
  shown = (score: number): number => score,
): Row => {
  const [before = [], after = []] = [...turns.values()]
  const ratiosOf = (of: (figures: Figures) => number | undefined): number[] =>
    after.flatMap((one, i) => {
      const [now, then] = [of(one), of(before[i] ?? one)]
      return now === undefined || then === undefined ? [] : [now / then]
    })
  const cpu = ratiosOf((one) => one.cpu)
  return {
    title,
    unit,
    before: shown(median(before.map(({ score }) => score))),
    after: shown(median(after.map(({ score }) => score))),
    ratios: ratiosOf(({ score }) => score),
    cpu: cpu.length === 0 ? undefined : median(cpu),
  }
}

const figuresOf = (turns: ReadonlyMap<string, readonly Measured[]>): Map<string, Figures[]> =>
  new Map(
    [...turns].map(([name, all]) => [name, all.map(({ perSecond, cpu }) => ({ score: perSecond, cpu }))]),
  )

/** What is measured, by section, each with its own processes. */
const sections: Readonly<
  Record<
    string,
    (builds: readonly [Build, Build], options: AgainstOptions, add: (row: Row) => void) => Promise<void>
  >
> = {
  async streams(builds, { folder, rounds, streams }, add) {
    const upstream = await startUpstream(folder)
    // A process that has held streams keeps their memory: each turn has one of its own.
    const turns = await turnByTurn(builds, Math.min(rounds, 2), async (build, round) => {
      if (round < 0) return { score: 0 }
      const candidate = await startPostern(folder, upstream.origin, build)
      const bytes = (await streamBytes(candidate, streams)) ?? 0
      await candidate.stop()
      return { score: 1024 / bytes }
    })
    await upstream.process.stop()
    add(rowOf(`${streams} idle streams`, 'kB each', turns, (score) => 1 / score))
  },

  async calls(builds, options, add) {
    await overHttp(
      builds,
      options,
      options.connections.map((connections) => [`calls, ${connections} connections`, { connections }]),
      add,
    )
  },

  async answers(builds, options, add) {
    const loads = [
      ['calls answered as an event stream', { workload: 'sse' }],
      ['calls with an answer of 64 kB', { workload: 'big' }],
    ] as const
    await overHttp(builds, options, loads, add)
  },

  async bodies(builds, options, add) {
    const loads = [4096, 65_536].map(
      (bodyBytes) => [`calls of ${bodyBytes / 1024} kB`, { bodyBytes }] as const,
    )
    await overHttp(builds, options, loads, add)
  },

  async stdio(builds, { folder, connections, rounds, seconds }, add) {
    const command = [process.execPath, join(root, 'bench/stdio-server.ts')]
    const bridges = await pair(builds, (build) => startPosternBridge(folder, command, build))
    for (const count of connections) {
      const turns = await measureBridges(bridges, { connections: count, rounds, seconds })
      add(rowOf(`stdio calls, ${count} connections`, '/s', figuresOf(turns)))
    }
    await Promise.all(bridges.map(({ process: running }) => running.stop()))
  },

  async oauth(builds, { folder, rounds, seconds }, add) {
    const servers = await pair(builds, (build) => startPosternOAuth(folder, build))
    for (const step of Object.keys(oauthSteps) as (keyof typeof oauthSteps)[]) {
      const turns = await measureStep(servers, step, { rounds, seconds })
      const figures = [...turns].map(
        ([name, all]) => [name, all.map((told) => ({ score: rateOf(told), cpu: told.cpu }))] as const,
      )
      add(rowOf(`oauth ${step}`, '/s', new Map(figures)))
    }
    await Promise.all(servers.map(({ running }) => running.stop()))
  },

  async workers(builds, { folder, rounds, seconds }, add) {
    const upstream = await startUpstream(folder)
    const workers = await pair(builds, (build) => startPosternWorker(folder, upstream.origin, 'info', build))
    const turns = await measure(workers, { workload: 'json', connections: 32, rounds, seconds, folder })
    add(rowOf('calls on Workers, 32 connections', '/s', figuresOf(turns)))
    await Promise.all([...workers.map(({ stop }) => stop()), upstream.process.stop()])
  },
}

const overHttp = async (
  builds: readonly [Build, Build],
  { folder, rounds, seconds }: AgainstOptions,
  loads: readonly (readonly [title: string, more: Partial<Load>])[],
  add: (row: Row) => void,
): Promise<void> => {
  const upstream = await startUpstream(folder)
  const gateways = await pair(builds, (build) => startPostern(folder, upstream.origin, build))
  for (const [title, more] of loads) {
    const turns = await measure(gateways, {
      workload: 'json',
      connections: 32,
      rounds,
      seconds,
      folder,
      ...more,
    })
    add(rowOf(title, '/s', figuresOf(turns)))
  }
  await Promise.all([...gateways.map(({ stop }) => stop()), upstream.process.stop()])
}

const number = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toFixed(1)
const ratio = (value: number): string => value.toFixed(3)
const cells = ({ title, unit, before, after, ratios, cpu }: Row): string[] => [
  title,
  `${number(before)} ${unit}`,
  `${number(after)} ${unit}`,
  ratio(median(ratios)),
  `${ratio(Math.min(...ratios))} – ${ratio(Math.max(...ratios))}`,
  cpu === undefined ? '–' : ratio(cpu),
]

/**
 * Measures two builds turn by turn and prints a table with a row for each measurement. A section that fails
 * is named, and the others go on.
 */
const compare = async (builds: readonly [Build, Build], options: AgainstOptions): Promise<readonly Row[]> => {
  const rows: Row[] = []
  const failures: string[] = []
  for (const [name, run] of Object.entries(sections)) {
    if (!options.sections.has(name)) continue
    await run(builds, options, (row) => {
      rows.push(row)
      console.error(`  ${cells(row).join('  ')}`)
    }).catch((error: unknown) =>
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`),
    )
  }
  const heading = ['row', builds[0].name, builds[1].name, 'ratio', 'of the rounds', 'CPU ratio']
  console.log(`\n${table([heading, ...rows.map(cells)])}`)
  console.log(
    `\nThe ratio is the median over the rounds, above 1 when ${builds[1].name} is better; the CPU ratio is below 1 when it is cheaper.`,
  )
  for (const failure of failures) console.log(`Not measured: ${failure}`)
  if (failures.length > 0) process.exitCode = 1
  return rows
}

/** Rejects when the commit cannot be checked out. */
export const measureAgainst = async (commit: string, options: AgainstOptions): Promise<void> => {
  const rows = await compare([await checkOut(commit, options.folder), afterwards()], options)
  const worse = rows.filter(({ ratios }) => median(ratios) < tolerated).map(({ title }) => title)
  console.log(
    worse.length === 0 ? `No row is below ${tolerated}.` : `Below ${tolerated}: ${worse.join(', ')}.`,
  )
}

/**
 * The gateway keeps a client of its own as long as calls through it are at least this much faster, end to
 * end.
 */
const kept = 1.1

/** This checkout's own HTTP/1.1 client beside undici. */
export const measureClients = async (options: AgainstOptions): Promise<void> => {
  const rows = await compare([onUndici, { ...thisCheckout, name: 'own client' }], options)
  if (rows.length === 0) return
  const slower = rows.filter(({ ratios }) => median(ratios) < kept).map(({ title }) => title)
  console.log(
    slower.length === 0
      ? `The own client is at least ${kept} × undici in every row.`
      : `Below ${kept} × undici: ${slower.join(', ')}.`,
  )
}
