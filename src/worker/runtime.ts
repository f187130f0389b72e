// Everything the core asks of Workers.
import packageJson from '../../package.json' with { type: 'json' }
import type { Config } from '../config/schema.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Environment } from './environment.ts'
import { behindRateLimit } from './rate-limit.ts'
import { createCache } from './kv.ts'
import { createLog } from './log.ts'
import { digest, openKeys } from './keys.ts'
import { createLines } from './lines.ts'
import { createOutbound } from './outbound.ts'
import { createPasswords } from './passwords.ts'
import { openStore } from './open-store.ts'

interface WorkerRuntimeOptions {
  readonly config: Config
  readonly env: Environment
  /** One of this gateway. */
  readonly url: URL
  /** Epoch ms. */
  readonly now: () => number
  readonly waitUntil: (work: Promise<unknown>) => void
}

/** Throws RangeError when the deployment has no root secret or lacks a binding: on Workers neither can be made at the first request. */
export const createWorkerRuntime = async ({ config, env, url, now, waitUntil }: WorkerRuntimeOptions): Promise<Runtime> => {
  if (config.session_secret === undefined || env.STORE === undefined || env.LINES === undefined) throw new RangeError('a Worker needs SESSION_SECRET and the bindings STORE and LINES')
  const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
  const log = createLog(config.debug ? 'debug' : config.log_level, now)
  const store = await openStore(env.STORE, env, now)
  const { JURISDICTION: jurisdiction } = env
  return {
    now,
    random,
    outbound: createOutbound({ allowOrigins: [] }),
    lines: createLines(jurisdiction ? env.LINES.jurisdiction(jurisdiction) : env.LINES, url.href),
    defer: (work) => waitUntil(work.catch((error: unknown) => log('error', 'deferred.failed', { why: String(error) }))),
    log,
    store,
    subscribe: store.subscribe,
    cache: createCache(env.OAUTH_KV ?? env.SESSIONS, { log, now }),
    keys: await openKeys(config.session_secret, config, { random, store }),
    counts: behindRateLimit(env.SIGN_IN_RATE, store.counts),
    digest,
    passwords: createPasswords({ now }),
    // An isolate has 128 MiB for everything, the code included.
    bodyBytes: 32 * 1024 * 1024,
    about: { version: packageJson.version, runtime: 'workers', storage: 'durable-object' },
  }
}
