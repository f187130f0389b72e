// Everything the core asks of Workers.
import packageJson from '../../package.json' with { type: 'json' }
import type { Config } from '../config/schema.ts'
import { utf8 } from '../kit/bytes.ts'
import { createKeyRing } from '../kit/keyring.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Environment } from './environment.ts'
import { createCache } from './kv.ts'
import { createLog } from './log.ts'
import { createLines } from './lines.ts'
import { createOutbound } from './outbound.ts'
import { createPasswords } from './passwords.ts'
import { createObjectStore } from './store.ts'

interface WorkerRuntimeOptions {
  readonly config: Config
  readonly env: Environment
  /** Epoch ms. */
  readonly now: () => number
  readonly waitUntil: (work: Promise<unknown>) => void
}

/** Throws RangeError when the deployment has no root secret or no STORE binding: on Workers neither can be made at the first request. */
export const createWorkerRuntime = async ({ config, env, now, waitUntil }: WorkerRuntimeOptions): Promise<Runtime> => {
  if (config.session_secret === undefined || env.STORE === undefined) throw new RangeError('a Worker needs SESSION_SECRET and the binding STORE')
  const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
  const log = createLog(config.debug ? 'debug' : config.log_level)
  return {
    now,
    random,
    outbound: createOutbound({ allowOrigins: [] }),
    lines: createLines(),
    defer: (work) => waitUntil(work.catch((error: unknown) => log('error', 'deferred.failed', { why: String(error) }))),
    log,
    store: createObjectStore(env.STORE),
    cache: createCache(env.OAUTH_KV ?? env.SESSIONS, { log, now }),
    keys: await createKeyRing([config.session_secret, ...config.previous_secrets].map(utf8), random, config.token_encryption_key === undefined ? undefined : utf8(config.token_encryption_key)),
    passwords: createPasswords(),
    about: { version: packageJson.version, runtime: 'workers', storage: 'durable-object' },
  }
}
