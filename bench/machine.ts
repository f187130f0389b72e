// What the benchmark runs on, and how its processes are kept apart: the gateway on one core, load and
// upstream on another.
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'

const works = (program: string, ...args: string[]): boolean => {
  try {
    execFileSync(program, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const pinning = availableParallelism() > 1 && works('taskset', '-c', '0', 'true')

/** `both`: every core, also those of the others. */
export type Place = 'gateway' | 'load' | 'both'

/** The command as it runs on the core of its place. */
export const placed = (place: Place, program: string, args: readonly string[]): [string, string[]] =>
  pinning && place !== 'both'
    ? ['taskset', ['-c', place === 'gateway' ? '0' : '1', program, ...args]]
    : [program, [...args]]

/** The same for a process that runs already, with all its threads. */
export const pin = (place: Place, pid: number): void => {
  if (pinning)
    execFileSync('taskset', ['-a', '-c', '-p', place === 'gateway' ? '0' : '1', String(pid)], {
      stdio: 'ignore',
    })
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => process.exit(1))

export interface Running {
  readonly pid: number
  /** The first match in what it writes to standard output or error. */
  until(pattern: RegExp): Promise<RegExpExecArray>
  /** What it wrote so far. */
  output(): string
  stop(): Promise<void>
}

export interface StartOptions {
  readonly place: Place
  readonly env?: Readonly<Record<string, string>>
  /** Where its standard output goes instead: a file descriptor. */
  readonly stdout?: number
}

export const start = (
  program: string,
  args: readonly string[],
  { place, env = {}, stdout }: StartOptions,
): Running => {
  const [command, all] = placed(place, program, args)
  const child = spawn(command, all, {
    stdio: ['ignore', stdout ?? 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  running.add(child)
  let output = ''
  const heard = (text: Buffer): void => {
    if (output.length < 65_536) output += text.toString()
  }
  child.stdout?.on('data', heard)
  child.stderr?.on('data', heard)
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => {
      running.delete(child)
      resolve()
    })
  })
  return {
    pid: child.pid ?? 0,
    async until(pattern) {
      const deadline = Date.now() + 15_000
      for (;;) {
        const found = pattern.exec(output)
        if (found) return found
        if (Date.now() > deadline || child.exitCode !== null)
          throw new Error(`${program} did not say ${String(pattern)}:\n${output}`)
        await pause(20)
      }
    },
    output: () => output,
    async stop() {
      child.kill('SIGTERM')
      const hard = setTimeout(() => child.kill('SIGKILL'), 3000)
      await exited
      clearTimeout(hard)
    },
  }
}

export const pause = (ms: number): Promise<void> =>
  new Promise((wake) => {
    setTimeout(wake, ms)
  })

/** The process and its descendants: some gateways are a master and workers. */
const family = (pid: number): number[] => {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [
          [
            Number(name),
            Number(readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]),
          ] as const,
        ]
      } catch {
        return []
      }
    })
  const all = [pid]
  for (const one of all) for (const [child, parent] of parents) if (parent === one) all.push(child)
  return all
}

/** User and system time of a process and its descendants, microseconds (proc_pid_stat(5), 10 ms a tick). */
export const cpuUs = (pid: number): number =>
  family(pid).reduce((sum, one) => {
    const fields = readFileSync(`/proc/${one}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return sum + (Number(fields[11]) + Number(fields[12])) * 10_000
  }, 0)

/** Resident memory of a process, bytes. */
export const residentBytes = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024

const versionOf = (program: string, ...args: string[]): string =>
  /\d+\.\d+[.\w-]*/.exec(spawnSync(program, args, { encoding: 'utf8' }).output.join(' '))?.[0] ?? '?'

export const has = (program: string): boolean => works('which', program)

export const machine = (): string => {
  const peers = [
    ['wrk', '-v'],
    ['nginx', '-v'],
    ['haproxy', '-v'],
    ['caddy', 'version'],
  ] as const
  const lines = [
    `${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores, ${pinning ? 'gateway on core 0, load and upstream on core 1' : 'nothing pinned'}`,
    `Node ${process.versions.node}; ${peers
      .filter(([program]) => has(program))
      .map(([program, flag]) => `${program} ${versionOf(program, flag)}`)
      .join(', ')}`,
    `load average before the run: ${readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' ')}`,
  ]
  return lines.join('\n')
}
