// A process that a harness starts, reads and ends, whatever happens to the harness.
import { type ChildProcess, spawn } from 'node:child_process'

export interface Started {
  readonly pid: number
  /** Everything written so far, standard output and error in order of arrival. */
  readonly output: () => string
  /** Standard output alone. */
  readonly stdout: () => string
  /**
   * The first match of the pattern in the output, waiting for it; rejects when the process ends first or time
   * runs out.
   */
  readonly until: (pattern: RegExp, timeoutMs?: number) => Promise<RegExpExecArray>
  /** Exit code, or 128 + signal number as shells count. */
  readonly exited: Promise<number>
  readonly write: (text: string) => void
  /** SIGTERM, and SIGKILL after three seconds; the process and what it started. Resolves when it is gone. */
  readonly stop: () => Promise<void>
}

export interface StartOptions {
  readonly args?: readonly string[]
  /** The whole environment; default: this process's. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
}

const running = new Set<ChildProcess>()

/** Ends whatever the work started and left running, for instance because nobody waited for it any longer. */
export const leavingNothing = async <T>(work: () => Promise<T>): Promise<T> => {
  const before = new Set(running)
  try {
    return await work()
  } finally {
    for (const child of running) if (!before.has(child)) signal(child, 'SIGKILL')
  }
}

const signal = (child: ChildProcess, name: NodeJS.Signals): void => {
  try {
    // Each child leads a group of its own, so that what it started ends with it.
    if (child.pid !== undefined) process.kill(-child.pid, name)
  } catch {
    // Gone already.
  }
}

process.once('exit', () => {
  for (const child of running) signal(child, 'SIGKILL')
})
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => process.exit(1))

/** Starts a program; its output is kept and shown by nobody. */
export const startProcess = (
  command: string,
  { args = [], env = process.env, cwd }: StartOptions = {},
): Started => {
  const child = spawn(command, args, {
    env: { ...env },
    stdio: 'pipe',
    detached: true,
    ...(cwd !== undefined && { cwd }),
  })
  running.add(child)
  let all = ''
  let out = ''
  let ended = false
  const listeners = new Set<() => void>()
  const heard = (text: string): void => {
    all += text
    for (const listener of listeners) listener()
  }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
    heard(text)
  })
  child.stderr.setEncoding('utf8').on('data', heard)
  child.stdin.on('error', () => {})
  const exited = new Promise<number>((resolve) => {
    const end = (code: number): void => {
      running.delete(child)
      ended = true
      heard('')
      resolve(code)
    }
    child.once('error', (error) => {
      heard(`${error.message}\n`)
      end(127)
    })
    child.once('close', (code) => end(code ?? 143))
  })
  const until = (pattern: RegExp, timeoutMs = 15_000): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(timer)
        listeners.delete(look)
        settle()
      }
      const fail = (why: string): void =>
        finish(() =>
          reject(new Error(`${command} ${why} before it wrote ${String(pattern)}:\n${all.slice(-4000)}`)),
        )
      const timer = setTimeout(() => fail(`took more than ${timeoutMs} ms`), timeoutMs)
      const look = (): void => {
        const found = pattern.exec(all)
        if (found) finish(() => resolve(found))
        else if (ended) fail('ended')
      }
      listeners.add(look)
      look()
    })
  const stop = async (): Promise<void> => {
    if (!ended) {
      signal(child, 'SIGTERM')
      const timer = setTimeout(() => signal(child, 'SIGKILL'), 3000)
      await exited
      clearTimeout(timer)
    }
    signal(child, 'SIGKILL')
  }
  return {
    pid: child.pid ?? -1,
    output: () => all,
    stdout: () => out,
    until,
    exited,
    write: (text) => void child.stdin.write(text),
    stop,
  }
}

/** Runs a program to its end; rejects with its output when it fails or takes too long. */
export const run = async (
  command: string,
  options: StartOptions & { readonly timeoutMs?: number } = {},
): Promise<Started> => {
  const started = startProcess(command, options)
  const timer = setTimeout(() => void started.stop(), options.timeoutMs ?? 120_000)
  const code = await started.exited
  clearTimeout(timer)
  if (code !== 0)
    throw new Error(
      `${command} ${(options.args ?? []).join(' ')} ended with ${code}:\n${started.output().slice(-4000)}`,
    )
  return started
}
