// Calls a second, latency and processor time of each candidate, turn by turn, every answer checked.
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { root } from '../scripts/harness/peers.ts'
import type { Candidate, Workload } from './candidates.ts'
import { cpuUs, type Place, placed } from './machine.ts'

export interface Measured {
  readonly perSecond: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** Processor time of the gateway for one call, microseconds. */
  readonly cpu: number
}

export interface Load {
  readonly workload: Workload
  readonly connections: number
  readonly rounds: number
  readonly seconds: number
  /** Bytes of the request body; about 250 when absent. */
  readonly bodyBytes?: number
  /** tools/list in place of tools/call. */
  readonly list?: boolean
  readonly folder: string
  /** Where wrk runs; default: the core of the load. */
  readonly place?: Place
}

const message =
  'The quick brown fox jumps over the lazy dog and back again, over and over, until the body has about two hundred and fifty bytes in all.'

export const body = (bytes = 0): string => {
  const of = (text: string): string =>
    JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'echo', arguments: { message: text } },
    })
  const small = of(message)
  return bytes <= small.length ? small : of(message + 'x'.repeat(bytes - small.length))
}

const bodyOf = ({ bodyBytes, list }: Pick<Load, 'bodyBytes' | 'list'>): string =>
  list ? JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }) : body(bodyBytes)

/** The middle one; of an even number the mean of the two in the middle. */
export const median = (numbers: readonly number[]): number => {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.slice((sorted.length - 1) >> 1, (sorted.length >> 1) + 1)
  return middle.reduce((sum, one) => sum + one, 0) / middle.length
}

const headersOf = (token: string): Record<string, string> => ({
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  'mcp-protocol-version': '2025-11-25',
  authorization: `Bearer ${token}`,
})

/** The answer that every later one must equal; it must be a JSON-RPC result. */
const expectedOf = async (candidate: Candidate, load: Load): Promise<string> => {
  const response = await fetch(candidate.url(load.workload) ?? '', {
    method: 'POST',
    headers: headersOf(candidate.token(load.workload)),
    body: bodyOf(load),
  })
  const text = await response.text()
  if (response.status !== 200 || !text.includes('"result"'))
    throw new Error(`${candidate.name} answered ${response.status}: ${text.slice(0, 300)}`)
  return text
}

export interface Turn {
  readonly name: string
  readonly url: string
  readonly pids: readonly number[]
  readonly connections: number
  readonly seconds: number
  /** Below bench/. */
  readonly script: string
  readonly env: Readonly<Record<string, string>>
  /** Where wrk runs; default: the core of the load. */
  readonly place?: Place | undefined
}

/** One run of wrk. Throws when an answer was wrong or broken. */
export const drive = async ({
  name,
  url,
  pids,
  connections,
  seconds,
  script,
  env,
  place = 'load',
}: Turn): Promise<Measured> => {
  const args = [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--timeout',
    '10s',
    '-s',
    join(root, 'bench', script),
    url,
  ]
  const [program, all] = placed(place, 'wrk', args)
  const cpu = (): number => pids.reduce((sum, pid) => sum + cpuUs(pid), 0)
  const before = cpu()
  const { stdout } = await promisify(execFile)(program, all, {
    env: { ...process.env, REPORT: join(root, 'bench/report.lua'), ...env },
  })
  const spent = cpu() - before
  const told = JSON.parse(stdout.slice(stdout.indexOf('{"requests"'))) as {
    requests: number
    seconds: number
    p50: number
    p99: number
    wrong: number
    broken: number
  }
  if (told.wrong > 0 || told.broken > 0)
    throw new Error(`${name} gave ${told.wrong} wrong answers and broke ${told.broken} of ${told.requests}`)
  return {
    perSecond: told.requests / told.seconds,
    p50: told.p50 / 1000,
    p99: told.p99 / 1000,
    cpu: spent / told.requests,
  }
}

const turn = (
  candidate: Candidate,
  { workload, connections, folder, place }: Load,
  seconds: number,
): Promise<Measured> =>
  drive({
    name: candidate.name,
    url: candidate.url(workload) ?? '',
    pids: candidate.pids,
    place,
    connections,
    seconds,
    script: 'load.lua',
    env: { EXPECT: join(folder, 'expected'), BODY: join(folder, 'body'), TOKEN: candidate.token(workload) },
  })

/** Of each figure by itself. */
export const mediansOf = (turns: ReadonlyMap<string, readonly Measured[]>): Map<string, Measured> => {
  const of = (all: readonly Measured[], key: keyof Measured): number => median(all.map((one) => one[key]))
  return new Map(
    [...turns].map(([name, all]) => [
      name,
      { perSecond: of(all, 'perSecond'), p50: of(all, 'p50'), p99: of(all, 'p99'), cpu: of(all, 'cpu') },
    ]),
  )
}

/**
 * Gives each candidate a turn in every round, in the reverse order every second time, so that a machine that
 * gets faster or slower is the same to all. Round -1 is not counted: it warms up.
 */
export const turnByTurn = async <C extends { readonly name: string }, T>(
  candidates: readonly C[],
  rounds: number,
  take: (candidate: C, round: number) => Promise<T>,
): Promise<Map<string, T[]>> => {
  const turns = new Map<string, T[]>(candidates.map(({ name }) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const candidate of round % 2 === 0 ? candidates : candidates.toReversed()) {
      const measured = await take(candidate, round)
      if (round >= 0) turns.get(candidate.name)?.push(measured)
    }
  }
  return turns
}

export const measure = async (
  candidates: readonly Candidate[],
  load: Load,
): Promise<Map<string, Measured[]>> => {
  const able = candidates.filter((candidate) => candidate.url(load.workload) !== undefined)
  writeFileSync(join(load.folder, 'body'), bodyOf(load))
  return turnByTurn(able, load.rounds, async (candidate, round) => {
    writeFileSync(join(load.folder, 'expected'), await expectedOf(candidate, load))
    return turn(candidate, load, round < 0 ? Math.min(2, load.seconds) : load.seconds)
  })
}
