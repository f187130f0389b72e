// Everything the core asks of Workers.
// oxlint-disable-next-line no-restricted-imports -- part of nodejs_compat; WebCrypto has no digest that answers at once
import { hash } from 'node:crypto'
import packageJson from '../../package.json' with { type: 'json' }
import type { Config } from '../config/schema.ts'
import { utf8 } from '../kit/bytes.ts'
import { type KeyRing, createKeyRing, fitOf, sealedRefusal } from '../kit/keyring.ts'
import type { Runtime, Timer } from '../ports/runtime.ts'
import type { Store } from '../ports/store.ts'
import type { WorkerEnvironment } from './configuration.ts'
import { createLog } from './log.ts'
import { createOutbound } from './outbound.ts'
import { behindRateLimit, createPasswords } from './passwords.ts'
import { createCache, openStore } from './storage.ts'
import { createTransports } from './websocket.ts'

// The gateway's secrets on Workers: the key ring over the root secrets.

/**
 * The ring, which seals nothing for a store that another secret sealed: there is no start that could be
 * refused here, and what is written beside the records of another secret is lost when the right one is back.
 * Asked once, with the first record that is written.
 */
const sealingOnlyWhereItFits = (ring: KeyRing, store: Store): KeyRing => {
  let fits = false
  return {
    ...ring,
    async seal(text, context) {
      if (!fits) {
        const fit = await fitOf(store, ring)
        if (typeof fit !== 'string') throw sealedRefusal(fit)
        fits = true
      }
      return ring.seal(text, context)
    },
  }
}

interface Around {
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
  readonly store: Store
}

export const openKeys = async (
  secret: string,
  {
    previous_secrets: previous,
    token_encryption_key: sealing,
  }: Pick<Config, 'previous_secrets' | 'token_encryption_key'>,
  { random, store }: Around,
): Promise<KeyRing> => {
  const ring = await createKeyRing(
    [secret, ...previous].map(utf8),
    random,
    sealing === undefined ? undefined : utf8(sealing),
  )
  return sealingOnlyWhereItFits(ring, store)
}

export const digest = (text: string): string => hash('sha256', text, 'base64url')

/** On Workers a timer belongs to the request that started it, and ends with it. */
export const timer: Timer = (ms, run) => {
  const timeout = setTimeout(run, ms)
  return () => clearTimeout(timeout)
}

interface WorkerRuntimeOptions {
  readonly config: Config
  readonly env: WorkerEnvironment
  /** One of this gateway. */
  readonly url: URL
  /** Epoch ms. */
  readonly now: () => number
  /** The runtime's own unless a test moves the time. */
  readonly timer?: Timer | undefined
  readonly waitUntil: (work: Promise<unknown>) => void
}

/**
 * Throws RangeError when the deployment has no root secret or lacks a binding: on Workers neither can be made
 * at the first request.
 */
export const createWorkerRuntime = async ({
  config,
  env,
  url,
  now,
  timer: startTimer = timer,
  waitUntil,
}: WorkerRuntimeOptions): Promise<Runtime> => {
  if (config.session_secret === undefined || env.STORE === undefined || env.SESSION_OBJECTS === undefined)
    throw new RangeError('a Worker needs SESSION_SECRET and the bindings STORE and SESSION_OBJECTS')
  const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
  const log = createLog(config.debug ? 'debug' : config.log_level, now)
  const store = await openStore(env.STORE, env, { now, timer: startTimer })
  const { JURISDICTION: jurisdiction } = env
  return {
    now,
    timer: startTimer,
    random,
    outbound: createOutbound({ allowOrigins: [] }),
    transports: createTransports(
      jurisdiction ? env.SESSION_OBJECTS.jurisdiction(jurisdiction) : env.SESSION_OBJECTS,
      url.href,
    ),
    defer: (work) =>
      waitUntil(work.catch((error: unknown) => log('error', 'deferred.failed', { why: String(error) }))),
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
