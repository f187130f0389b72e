// A PostgreSQL server for tests: on a free port of the loopback address, in a folder that goes with it. It refuses to run as
// root, and gets a user without rights then. A run of the tests has one, which the first test that needs it starts.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { selfSigned } from '../../scripts/harness/certificate.ts'
import { freePort } from '../../scripts/harness/free-port.ts'
import { findProgram } from '../../scripts/system-programs.mjs'

export interface PostgresServer {
  readonly port: number
  readonly pid: number
  /** Its superuser, without a password. */
  readonly url: string
  /** File with its certificate, which signs itself, for `localhost`. */
  readonly certificate: string
}

interface PostgresServerOptions {
  /** An empty folder, or one that had a server. Only its owner may see into it. */
  readonly folder: string
  /** Default: a free one. */
  readonly port?: number
  /** Settings, as in `fsync=on`. */
  readonly settings?: readonly string[]
}

/** Nobody, as Debian numbers them. */
const nobody = { uid: 65_534, gid: 65_534 }
const isRoot = process.getuid?.() === 0
const asWhom = isRoot ? nobody : {}

/** Members of the role `passwords` need theirs. Others have none. */
const hba = `host all +passwords 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
`

/** What only its owner may read. */
const writeOwned = (path: string, text: string): void => {
  writeFileSync(path, text, { mode: 0o600 })
  if (isRoot) chownSync(path, nobody.uid, nobody.gid)
}

const create = (program: string, folder: string): void => {
  const data = join(folder, 'data')
  execFileSync(
    join(dirname(program), 'initdb'),
    [
      '-D',
      data,
      '-U',
      'postern',
      '-A',
      'trust',
      '--no-sync',
      '--no-instructions',
      '-E',
      'UTF8',
      '--locale=C.UTF-8',
    ],
    { stdio: ['ignore', 'ignore', 'inherit'], cwd: folder, ...asWhom },
  )
  writeOwned(join(data, 'pg_hba.conf'), hba)
  const { key, cert } = selfSigned(['localhost'])
  writeOwned(join(data, 'server.key'), key)
  writeOwned(join(data, 'server.crt'), cert)
}

/** It goes on when this process ends. Files are written without waiting for the disk, unless the settings say so. */
export const startPostgres = async ({
  folder,
  settings = [],
  ...options
}: PostgresServerOptions): Promise<PostgresServer & { readonly ended: Promise<unknown> }> => {
  const program = realpathSync(findProgram('postgres') ?? 'postgres')
  const data = join(folder, 'data')
  if (isRoot) chownSync(folder, nobody.uid, nobody.gid)
  if (!existsSync(data)) create(program, folder)
  // Somebody may take the port in between.
  for (let tries = 1; ; tries++) {
    const port = options.port ?? (await freePort())
    const quick = [
      'fsync=off',
      'synchronous_commit=off',
      'full_page_writes=off',
      'max_connections=200',
      'ssl=on',
    ]
    const all = [
      `port=${port}`,
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      ...quick,
      ...settings,
    ]
    const log = join(folder, 'log')
    const fd = openSync(log, 'w', 0o600)
    const child = spawn(program, ['-D', data, ...all.flatMap((setting) => ['-c', setting])], {
      stdio: ['ignore', 'ignore', fd],
      cwd: folder,
      ...asWhom,
    })
    closeSync(fd)
    const ended = once(child, 'exit')
    // It goes on without this process, which it does not keep.
    child.unref()
    const said = (): string => readFileSync(log, 'utf8')
    while (child.exitCode === null && !said().includes('ready to accept connections')) await pause(20)
    if (child.exitCode === null)
      return {
        port,
        pid: child.pid as number,
        url: `postgres://postern@127.0.0.1:${port}/postgres`,
        certificate: join(data, 'server.crt'),
        ended,
      }
    if (tries === 5 || !/Address already in use/.test(said())) throw new Error(`postgres ended: ${said()}`)
  }
}

// The one of this run.

const variable = 'TEST_POSTGRES_FOLDER'

/** Before the first test file of a run (vitest `globalSetup`): the workers inherit where it will be. */
export const setup = (): void => {
  process.env[variable] ??= mkdtempSync(join(tmpdir(), 'postern-postgres-'))
}

export const teardown = async (): Promise<void> => {
  const folder = process.env[variable]
  if (folder === undefined) return
  delete process.env[variable]
  const told = join(folder, 'server.json')
  if (existsSync(told)) {
    const { pid } = JSON.parse(readFileSync(told, 'utf8')) as Partial<PostgresServer>
    try {
      if (pid !== undefined) process.kill(pid, 'SIGQUIT')
    } catch {
      // It has ended by itself.
    }
  }
  // What it writes at its end comes a moment later.
  for (let tries = 0; tries < 100 && existsSync(folder); tries++) {
    try {
      rmSync(folder, { recursive: true, force: true })
    } catch {
      await pause(50)
    }
  }
}

/** The server of this run, started when nobody has. */
export const sharedPostgres = async (): Promise<PostgresServer> => {
  const folder = process.env[variable]
  if (folder === undefined)
    throw new Error('vitest.config.ts has test/runtimes/postgres-server.ts in globalSetup')
  const told = join(folder, 'server.json')
  const tell = (what: PostgresServer | { readonly failed: string }): void => {
    writeFileSync(`${told}.new`, JSON.stringify(what))
    renameSync(`${told}.new`, told)
  }
  let mine = true
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  try {
    mkdirSync(join(folder, 'claimed'))
  } catch {
    mine = false
  }
  if (mine)
    try {
      const { ended: _, ...server } = await startPostgres({ folder })
      tell(server)
    } catch (error) {
      tell({ failed: String(error) })
    }
  while (!existsSync(told)) await pause(20)
  const server = JSON.parse(readFileSync(told, 'utf8')) as PostgresServer & { readonly failed?: string }
  if (server.failed !== undefined) throw new Error(server.failed)
  return server
}
