// A Redis server of a test's own: on a free port of the loopback address, in a folder that goes with it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../scripts/harness/free-port.ts'
import { findProgram } from '../../scripts/system-programs.mjs'

export interface RedisServer {
  readonly port: number
  readonly pid: number
  /** Ends it; whoever is connected is cut off. */
  close(): Promise<void>
}

interface RedisServerOptions {
  /** Further arguments, as in `--appendonly yes`. */
  readonly args?: readonly string[]
  /** Default: a free one. */
  readonly port?: number
  /** Where its files are; it stays. Default: a folder that is removed. */
  readonly folder?: string
  /** A configuration file: it is a Sentinel. */
  readonly sentinel?: string
}

const start = async (port: number, folder: string, args: readonly string[], sentinel?: string) => {
  const child = spawn(
    findProgram('redis-server') ?? 'redis-server',
    [
      ...(sentinel === undefined ? ['--save', ''] : [sentinel, '--sentinel']),
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, ...args],
    ],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const end = (): boolean => child.kill('SIGKILL')
  process.once('exit', end)
  const ended = once(child, 'exit').finally(() => process.off('exit', end))
  let said = ''
  const ready = await new Promise<boolean>((resolve) => {
    child.stdout.on('data', (text: Buffer) => {
      said += text.toString()
      if (/Ready to accept connections|Sentinel ID is/.test(said)) resolve(true)
    })
    child.once('exit', () => resolve(false))
  })
  return { child, ended, said, ready }
}

/** Nothing is written to disk unless the arguments say so. */
export const startRedis = async ({
  args = [],
  ...options
}: RedisServerOptions = {}): Promise<RedisServer> => {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'postern-redis-'))
  // Somebody may take the port in between.
  for (let tries = 1; ; tries++) {
    const port = options.port ?? (await freePort())
    const { child, ended, said, ready } = await start(port, folder, args, options.sentinel)
    if (!ready && (tries === 5 || !/Address already in use/.test(said)))
      throw new Error(`redis-server ended: ${said}`)
    if (!ready) continue
    return {
      port,
      pid: child.pid as number,
      async close() {
        child.kill('SIGKILL')
        await ended
        if (options.folder === undefined) rmSync(folder, { recursive: true, force: true })
      },
    }
  }
}
