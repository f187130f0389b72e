// Starts Postern as its own process on a free port, with a configuration and a state directory that are
// thrown away.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { commandLine } from '../../test/runtimes/process.ts'
import { root } from './peers.ts'
import { type Started, startProcess } from './process.ts'

export interface Running {
  /** The issuer: scheme, host and port. */
  readonly url: string
  readonly loginLink: string | undefined
  readonly process: Started
  readonly stop: () => Promise<void>
}

/** The one person of harness configurations. */
export const person = {
  username: 'ada',
  password: 'correct horse battery',
  email: 'ada@example.test',
  name: 'Ada',
} as const

export interface PosternOptions {
  /** The configuration, written as JSON, which is YAML too; absent: none, as in the first minute. */
  readonly config?: Readonly<Record<string, unknown>>
  /** How to start it; default: this checkout's command line. */
  readonly command?: readonly [program: string, ...args: string[]]
  readonly env?: Readonly<Record<string, string>>
  /** Arguments that must stand behind all others. */
  readonly after?: readonly string[]
}

/** Starts it and waits for its first line, `{"event":"listening",…}`. */
export const startPostern = async ({
  config,
  command = [process.execPath, commandLine],
  env,
  after = [],
}: PosternOptions): Promise<Running> => {
  const home = mkdtempSync(join(tmpdir(), 'postern-'))
  const file = join(home, 'config.yaml')
  if (config) writeFileSync(file, JSON.stringify(config, null, 2))
  const [program, ...args] = command
  const started = startProcess(program, {
    args: [
      ...args,
      '--state',
      join(home, 'state'),
      '--port',
      '0',
      '--print-sign-in-link',
      ...(config ? ['--config', file] : []),
      ...after,
    ],
    env: { PATH: process.env['PATH'], HOME: home, ...env },
    cwd: root,
  })
  const stop = async (): Promise<void> => {
    await started.stop()
    rmSync(home, { recursive: true, force: true })
  }
  try {
    const [line] = await started.until(/^\{.*"event":"listening".*\}$/m, 20_000)
    const { url, sign_in_link: loginLink } = JSON.parse(line) as { url: string; sign_in_link?: string }
    return { url, loginLink, process: started, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
