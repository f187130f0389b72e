// Everything the core asks of Workers.
import type { Config } from '../config/schema.ts'
import { createKeyRing } from '../kit/keyring.ts'
import { utf8 } from '../kit/bytes.ts'
import type { Log, LogLevel, Runtime } from '../ports/runtime.ts'
import { createMemoryCache } from '../stores/memory-cache.ts'
import type { Environment } from './environment.ts'
import { createOutbound } from './outbound.ts'
import { createPasswords } from './passwords.ts'
import { createKvCache, createObjectStore } from './store.ts'

const order: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 }

/** One JSON object an event; Workers Logs and Logpush take them as they are. */
const createLog =
  (level: LogLevel): Log =>
  (lineLevel, event, fields = {}) => {
    // oxlint-disable-next-line no-console -- the console is where a Worker's log goes
    if (order[lineLevel] >= order[level]) console.log(JSON.stringify({ level: lineLevel, event, ...fields }))
  }

interface WorkerRuntimeOptions {
  readonly config: Config
  readonly env: Environment
  readonly logLevel: LogLevel
  readonly waitUntil: (work: Promise<unknown>) => void
  readonly version: string
}

/** Throws RangeError when the deployment has no root secret: on Workers nothing can be generated and kept before the first request. */
export const createWorkerRuntime = async ({ config, env, logLevel, waitUntil, version }: WorkerRuntimeOptions): Promise<Runtime> => {
  const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
  const secrets = [...(config.session_secret === undefined ? [] : [config.session_secret]), ...config.previous_secrets].map(utf8)
  const now = (): number => Date.now()
  const kv = env.OAUTH_KV ?? env.SESSIONS
  const log = createLog(logLevel)
  return {
    now,
    random,
    outbound: createOutbound({ allowOrigins: Object.values(config.oauth_providers).flatMap(({ issuer }) => (issuer === undefined ? [] : [new URL(issuer).origin])) }),
    defer: (work) => waitUntil(work.catch((error: unknown) => log('error', 'deferred.failed', { why: String(error) }))),
    log,
    store: createObjectStore(env.STORE),
    cache: kv ? createKvCache(kv) : createMemoryCache({ now, most: 1000 }),
    keys: await createKeyRing(secrets, random),
    passwords: createPasswords(),
    about: { version, runtime: 'workers', storage: 'durable-object' },
  }
}
