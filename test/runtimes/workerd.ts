// workerd as a process of its own, with a Worker, its Durable Objects on disk, and nothing between it and the
// test.
import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { bundleWorker } from './bundle.ts'

export interface WorkerdOptions {
  /** The Worker's main file, from the checkout. Default: the deployed one with a clock that moves. */
  readonly entry?: string
  /** Another checkout than this one. */
  readonly checkout?: string
  /** Variables and secrets: in workerd they are the same. */
  readonly vars?: Readonly<Record<string, unknown>>
  /** Where the Durable Objects keep their databases; a folder of its own, removed at the end, when absent. */
  readonly disk?: string
  /** Where its standard output goes instead of `lines`: a file descriptor. */
  readonly stdout?: number
  /** A second isolate of the same Worker, with the same Durable Objects, at `twin`. Default false. */
  readonly twin?: boolean
  /** Without them the Worker has none of the Durable Objects that wrangler.jsonc binds. Default true. */
  readonly objects?: boolean
}

export interface Workerd {
  readonly origin: string
  /** The second isolate, where one was asked for. */
  readonly twin: string
  readonly pid: number
  /** Every line the Worker and the runtime wrote so far. */
  readonly lines: readonly string[]
  /**
   * Ends the process; SIGTERM lets it finish what it answers, which an open stream never is. Default SIGKILL.
   */
  close(signal?: NodeJS.Signals): Promise<void>
}

const ownCheckout = fileURLToPath(new URL('../..', import.meta.url))

// wrangler brings the runtime; the path of its program for this platform is all that is wanted.
const fromWrangler = createRequire(join(ownCheckout, 'node_modules', 'wrangler', 'package.json'))
const program = (fromWrangler('workerd') as { readonly default: string }).default

interface WranglerConfig {
  readonly compatibility_date: string
  readonly compatibility_flags: readonly string[]
  readonly durable_objects: {
    readonly bindings: readonly { readonly name: string; readonly class_name: string }[]
  }
}

/**
 * JSON with its comments; no string in that file holds two slashes but the schema's name, which has none
 * before it.
 */
const readWranglerConfig = (checkout: string): WranglerConfig =>
  JSON.parse(
    readFileSync(join(checkout, 'wrangler.jsonc'), 'utf8').replaceAll(/^\s*\/\/.*$/gm, ''),
  ) as WranglerConfig

const quoted = (text: string): string => JSON.stringify(text)

const bindings = (
  { vars = {}, objects = true }: WorkerdOptions,
  { durable_objects: bound }: WranglerConfig,
  of?: string,
): string =>
  [
    ...(objects ? bound.bindings : []).map(
      ({ name, class_name: className }) =>
        `(name = "${name}", durableObjectNamespace = (className = "${className}"${of === undefined ? '' : `, serviceName = "${of}"`}))`,
    ),
    ...Object.entries(vars).map(([name, value]) =>
      typeof value === 'string'
        ? `(name = ${quoted(name)}, text = ${quoted(value)})`
        : `(name = ${quoted(name)}, json = ${quoted(JSON.stringify(value))})`,
    ),
  ].join(',\n    ')

const code = (
  wrangler: WranglerConfig,
): string => `  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = ${quoted(wrangler.compatibility_date)},
  compatibilityFlags = [${wrangler.compatibility_flags.map(quoted).join(', ')}],`

/**
 * workerd's own configuration language (workerd.capnp). Loopback is the internet of a test, and a request
 * says in `X-Scheme` whether it came by https.
 */
const configuration = (
  options: WorkerdOptions,
  wrangler: WranglerConfig,
): string => `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    ${options.twin ? '(name = "twin", worker = .twin),' : ''}
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    (name = "disk", disk = (path = "disk", writable = true)),
  ],
  sockets = [
    (name = "http", address = "127.0.0.1:0", http = (forwardedProtoHeader = "X-Scheme"), service = "main"),
    ${options.twin ? '(name = "twin", address = "127.0.0.1:0", http = (forwardedProtoHeader = "X-Scheme"), service = "twin"),' : ''}
  ],
);
const worker :Workerd.Worker = (
${code(wrangler)}
  durableObjectNamespaces = [${wrangler.durable_objects.bindings.map(({ name, class_name: className }) => `(className = "${className}", uniqueKey = "${name}", enableSql = true)`).join(', ')}],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [
    ${bindings(options, wrangler)}
  ],
);
const twin :Workerd.Worker = (
${code(wrangler)}
  bindings = [
    ${bindings(options, wrangler, 'main')}
  ],
);
`

/** Resolves when it listens; rejects with what it printed when it does not. */
export const startWorkerd = async (options: WorkerdOptions = {}): Promise<Workerd> => {
  const checkout = options.checkout ?? ownCheckout
  const bundle = await bundleWorker(options.entry ?? 'test/workers/entry.ts', checkout)
  const folder = mkdtempSync(join(tmpdir(), 'postern-workerd-'))
  const disk = options.disk ?? join(folder, 'disk')
  mkdirSync(disk, { recursive: true })
  copyFileSync(bundle, join(folder, 'worker.js'))
  writeFileSync(join(folder, 'config.capnp'), configuration(options, readWranglerConfig(checkout)))
  const child = spawn(
    program,
    ['serve', join(folder, 'config.capnp'), `--directory-path=disk=${disk}`, '--control-fd=3'],
    { stdio: ['ignore', options.stdout ?? 'pipe', 'pipe', 'pipe'] },
  )
  const lines: string[] = []
  const [, out, error, control] = child.stdio
  for (const stream of [out, error])
    if (stream)
      createInterface({ input: stream as NodeJS.ReadableStream }).on('line', (line) => lines.push(line))
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  // A test that fails before it can close takes nothing with it otherwise.
  const last = (): void => void child.kill('SIGKILL')
  process.once('exit', last)
  const ports = new Map<string, number>()
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: control as NodeJS.ReadableStream }).on('line', (line) => {
      const message = JSON.parse(line) as { event: string; socket: string; port?: number }
      if (message.event === 'listen' && message.port !== undefined) ports.set(message.socket, message.port)
      if (ports.size === (options.twin ? 2 : 1)) resolve()
    })
    child.once('error', reject)
    void ended.then(() => reject(new Error(`workerd ended before it listened:\n${lines.join('\n')}`)))
  })
  return {
    origin: `http://localhost:${ports.get('http')}`,
    twin: `http://localhost:${ports.get('twin')}`,
    pid: child.pid as number,
    lines,
    async close(signal = 'SIGKILL') {
      process.off('exit', last)
      child.kill(signal)
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
