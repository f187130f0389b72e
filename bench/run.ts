// `npm run bench`: Postern beside the smallest proxy that does the job, and beside what Debian offers, in one
// run on this machine. Options: --rounds 3 --seconds 4 (12 rounds of 2 seconds with --against) --connections
// 1,32,256 --only calls,answers,bodies,streams,stdio,oauth,processes,workers,rules,dpop --streams 5000 --without nginx,caddy
// --against COMMIT: that commit's gateway beside this checkout's, and nothing else (against.ts). --client
// undici: this checkout on undici beside its own HTTP/1.1 client, and nothing else; --only
// calls,answers,bodies unless told otherwise.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { table } from '../scripts/harness/table.ts'
import { measureAgainst, measureClients } from './against.ts'
import { measure, mediansOf, type Load, type Measured } from './calls.ts'
import {
  type Candidate,
  direct,
  startCaddy,
  startHaproxy,
  startMinimal,
  startNginx,
  startPostern,
  startUpstream,
} from './candidates.ts'
import { has, machine } from './machine.ts'
import { measureDpop } from './dpop.ts'
import { measureOAuth } from './oauth.ts'
import { measureProcesses, oneProcess } from './processes.ts'
import { measureRules } from './rules.ts'
import { measureBridges, startBridges, stdioServers } from './stdio.ts'
import { streamBytes } from './streams.ts'
import { plainWorker, startWorkers } from './workers.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    connections: { type: 'string', default: '1,32,256' },
    only: { type: 'string' },
    streams: { type: 'string', default: '5000' },
    without: { type: 'string', default: '' },
    against: { type: 'string' },
    client: { type: 'string' },
  },
})
if (values.client !== undefined && values.client !== 'undici') {
  console.error('--client takes one value: undici')
  process.exit(64)
}
const comparing = values.against !== undefined || values.client !== undefined
const sections = new Set(
  (
    values.only ??
    (values.client === undefined
      ? 'oauth,streams,calls,answers,bodies,stdio,processes,workers,rules,dpop'
      : 'calls,answers,bodies')
  ).split(','),
)
const without = new Set(values.without.split(','))
// Many short turns: what else the machine does meanwhile then falls on both alike. An even number, because
// every second round is in reverse order.
const rounds = Number(values.rounds ?? (comparing ? 12 : 3))
const seconds = Number(values.seconds ?? (comparing ? 2 : 4))
const connectionCounts = values.connections.split(',').map(Number)

for (const program of ['wrk', 'cc']) {
  if (has(program)) continue
  console.error(`The benchmark needs ${program}: apt-get install wrk gcc libc6-dev nginx haproxy caddy`)
  process.exit(69)
}

const folder = mkdtempSync(join(tmpdir(), 'postern-bench-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
const count = (n: number): string => Math.round(n).toLocaleString('en-US')

/** One table: a row a candidate, with its ratio to the measure. */
const show = (
  title: string,
  turns: ReadonlyMap<string, readonly Measured[]>,
  candidates: readonly Pick<Candidate, 'name' | 'job'>[],
  measureName = 'minimal proxy',
): void => {
  const results = mediansOf(turns)
  const base = results.get(measureName)
  const rows = candidates.flatMap(({ name, job }) => {
    const one = results.get(name)
    if (!one) return []
    return [
      [
        name,
        count(one.perSecond),
        base ? (one.perSecond / base.perSecond).toFixed(2) : '–',
        name === 'no gateway' ? '–' : one.cpu.toFixed(1),
        one.p50.toFixed(2),
        one.p99.toFixed(2),
        job,
      ],
    ]
  })
  console.log(
    `\n${title}\n${table([['candidate', 'calls/s', '× minimal', 'CPU µs', 'p50 ms', 'p99 ms', 'what it does for a call'], ...rows])}`,
  )
}

console.log(machine())
if (comparing) {
  const options = {
    folder,
    rounds,
    seconds,
    connections: connectionCounts,
    streams: Number(values.streams),
    sections,
  }
  if (values.against === undefined) await measureClients(options)
  else await measureAgainst(values.against, options)
  process.exit()
}
if (sections.delete('oauth')) await measureOAuth(folder, { rounds, seconds })
if (sections.size === 0) process.exit(0)

const overHttp = async (): Promise<void> => {
  const upstream = await startUpstream(folder)
  const postern = await startPostern(folder, upstream.origin)
  const token = postern.token('json')
  const minimal = await startMinimal(upstream.origin, 'job', token)
  const peers = await Promise.all([
    without.has('bare') ? undefined : startMinimal(upstream.origin, 'bare', token),
    without.has('nginx') ? undefined : startNginx(folder, upstream.origin, token),
    without.has('haproxy') ? undefined : startHaproxy(folder, upstream.origin, postern),
    without.has('caddy') ? undefined : startCaddy(folder, upstream.origin, token),
    without.has('nginx') ? undefined : startNginx(folder, upstream.origin, undefined),
  ])
  const candidates: readonly Candidate[] = [
    direct(upstream.origin, upstream.process),
    postern,
    minimal,
    ...peers.filter((peer) => peer !== undefined),
  ]
  const pair = [postern, minimal]
  const load = (more: Partial<Load>): Load => ({
    workload: 'json',
    connections: 32,
    rounds,
    seconds,
    folder,
    ...more,
  })

  // First, while no gateway has memory to spare from other work.
  if (sections.has('streams')) {
    const rows: string[][] = []
    for (const candidate of pair)
      rows.push([
        candidate.name,
        (((await streamBytes(candidate, Number(values.streams))) ?? 0) / 1024).toFixed(1),
      ])
    console.log(
      `\n${count(Number(values.streams))} open event streams that say nothing\n${table([['candidate', 'resident kB a stream'], ...rows])}`,
    )
  }

  if (sections.has('calls')) {
    for (const connections of connectionCounts)
      show(
        `tools/call, JSON answer, ${connections} connections`,
        await measure(candidates, load({ connections })),
        candidates,
      )
  }
  if (sections.has('answers')) {
    show(
      'tools/call, answered as an event stream, 32 connections',
      await measure(candidates, load({ workload: 'sse' })),
      candidates,
    )
    show('tools/call, answer of 64 kB, 32 connections', await measure(pair, load({ workload: 'big' })), pair)
  }
  if (sections.has('bodies')) {
    for (const bodyBytes of [4096, 65_536])
      show(
        `tools/call of ${bodyBytes / 1024} kB, 32 connections`,
        await measure(pair, load({ bodyBytes })),
        pair,
      )
  }
  for (const candidate of candidates) await candidate.stop()
  await upstream.process.stop()
}

const overStdio = async (): Promise<void> => {
  for (const [what, command] of await stdioServers()) {
    const place = mkdtempSync(join(folder, 'stdio-'))
    const bridges = await startBridges(place, command)
    for (const connections of connectionCounts) {
      show(
        `tools/call to one warm process of ${what}, ${connections} connections`,
        await measureBridges(bridges, { connections, rounds, seconds }),
        bridges,
        'minimal bridge',
      )
    }
    await Promise.all(bridges.map(({ process: running }) => running.stop()))
  }
}

if (['streams', 'calls', 'answers', 'bodies'].some((section) => sections.has(section))) await overHttp()
if (sections.has('stdio')) await overStdio()
if (sections.has('processes')) {
  const { candidates, turns } = await measureProcesses(folder, { rounds, seconds })
  show('tools/call, JSON answer, 64 connections, all cores shared', turns, candidates, oneProcess)
}
if (sections.has('dpop')) await measureDpop({ folder, rounds, seconds })
if (sections.has('rules')) await measureRules(folder, { rounds, seconds })
if (sections.has('workers')) {
  const upstream = await startUpstream(folder)
  const workers = await startWorkers(folder, upstream.origin)
  const load = { workload: 'json' as const, connections: 32, rounds, seconds, folder }
  const results = await measure(workers, load)
  show('tools/call on Workers (workerd), JSON answer, 32 connections', results, workers, plainWorker)
  const medians = mediansOf(results)
  // A runtime of one thread: what a call costs is what it may serve, also where the computer has other work.
  const shares = workers.map(
    ({ name }) =>
      `${name} ${((medians.get(plainWorker)?.cpu ?? 0) / (medians.get(name)?.cpu ?? 1)).toFixed(2)}`,
  )
  console.log(
    `\nThe plain Worker’s processor time for a call, divided by that of each: ${shares.join(' · ')}`,
  )
  await Promise.all([...workers.map(({ stop }) => stop()), upstream.process.stop()])
}
