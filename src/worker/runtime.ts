// Everything the core asks of Workers.
// oxlint-disable-next-line no-restricted-imports -- part of nodejs_compat; WebCrypto has no digest that answers at once
import { hash } from 'node:crypto'
import packageJson from '../../package.json' with { type: 'json' }
import type { Config } from '../config/schema.ts'
import { refusedHost } from '../kit/addresses.ts'
import { utf8 } from '../kit/bytes.ts'
import { atOrigin } from '../kit/http.ts'
import { type KeyRing, createKeyRing, fitOf, sealedRefusal } from '../kit/keyring.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Outbound, OutboundOptions, Runtime, Timer } from '../ports/runtime.ts'
import type { Store } from '../ports/store.ts'
import type { WorkerEnvironment } from './configuration.ts'
import { createLog } from './log.ts'
import { behindRateLimit, createPasswords } from './passwords.ts'
import { createCache, openStore } from './storage.ts'
import type { WorkerTrail, WorkerTrailOptions } from './trail.ts'
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

const openKeys = async (
  secret: string,
  {
    previous_secrets: previous,
    token_encryption_key: sealing,
  }: Pick<Config, 'previous_secrets' | 'token_encryption_key'>,
  { random, store }: Pick<Runtime, 'random' | 'store'>,
): Promise<KeyRing> => {
  const ring = await createKeyRing(
    [secret, ...previous].map(utf8),
    random,
    sealing === undefined ? undefined : utf8(sealing),
  )
  return sealingOnlyWhereItFits(ring, store)
}

// Guarded outbound fetch. The platform reaches only the public internet; private address literals and local
// host names are refused here as well.

const publicOnly =
  'A Worker reaches only public https addresses. For a server on a private network, run the gateway on Node.'

const readAtMost = async (response: Response, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> => {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body ?? []) {
    size += (part as Uint8Array).length
    if (size > maxBytes) throw new Refusal('outbound.failed', `more than ${maxBytes} bytes`)
    parts.push(part as Uint8Array)
  }
  const whole = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Throws `outbound.refused` where the URL may not be fetched. `origins`: as of `OutboundOptions`. */
const judge = (raw: string, origins: readonly string[]): URL => {
  const url = URL.canParse(raw) ? new URL(raw) : undefined
  if (!url || url.username || url.password) throw new Refusal('outbound.refused', 'not a plain URL')
  if (!atOrigin(url, origins) && (url.protocol !== 'https:' || refusedHost(url.hostname)))
    throw new Refusal('outbound.refused', url.origin, { say: publicOnly })
  return url
}

const exchange = async (
  url: URL,
  {
    method = 'GET',
    headers = {},
    body,
    timeoutMs = 5000,
    maxBytes = 1_048_576,
    headOnly = false,
  }: OutboundOptions,
) => {
  const response = await fetch(url, {
    method,
    headers,
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
    ...(body === undefined ? {} : { body }),
  })
  if (headOnly) await response.body?.cancel()
  return {
    status: response.status,
    headers: response.headers,
    body: headOnly ? new Uint8Array() : await readAtMost(response, maxBytes),
  }
}

const outbound: Outbound = async (raw, options = {}) => {
  const url = judge(raw, options.origins ?? [])
  try {
    return await exchange(url, options)
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new Refusal('outbound.failed', `${url.origin}: ${String(error)}`)
  }
}

// The runtime.

const digest = (text: string): string => hash('sha256', text, 'base64url')

/** On Workers a timer belongs to the request that started it, and ends with it. */
const timer: Timer = (ms, run) => {
  const timeout = setTimeout(run, ms)
  return () => clearTimeout(timeout)
}

/** There is one object, in the location and the jurisdiction of the records. Undefined where no trail is configured. */
const openTrail = async (
  config: Config,
  { TRAIL: namespace, LOCATION_HINT: locationHint, JURISDICTION: jurisdiction }: WorkerEnvironment,
  options: Pick<WorkerTrailOptions, 'keys' | 'log' | 'now' | 'waitUntil'>,
): Promise<WorkerTrail | undefined> => {
  if (!config.audit?.enabled || !namespace) return undefined
  const there = jurisdiction ? namespace.jurisdiction(jurisdiction) : namespace
  const hint = locationHint ? { locationHint } : undefined
  // Gateways without a trail evaluate none of its code.
  const { createTrail } = await import('./trail.ts')
  return createTrail({ ...options, object: () => there.getByName('trail', hint) })
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
  const keys = await openKeys(config.session_secret, config, { random, store })
  const defer = (work: Promise<unknown>): void =>
    waitUntil(work.catch((error: unknown) => log('error', 'deferred.failed', { why: String(error) })))
  const trail = await openTrail(config, env, { keys, log, now, waitUntil: defer })
  return {
    now,
    timer: startTimer,
    random,
    outbound,
    transports: createTransports(
      jurisdiction ? env.SESSION_OBJECTS.jurisdiction(jurisdiction) : env.SESSION_OBJECTS,
      url.href,
    ),
    defer,
    log: trail?.log ?? log,
    trail,
    store,
    subscribe: store.subscribe,
    cache: createCache(env.OAUTH_KV ?? env.SESSIONS, { log, now }),
    keys,
    counters: { ...store.counters, act: behindRateLimit(env.SIGN_IN_RATE, store.counters.act) },
    digest,
    passwords: createPasswords({ now }),
    readAssertion: ({ env: name = '' }) =>
      Promise.resolve(typeof env[name] === 'string' ? env[name] : undefined),
    // An isolate has 128 MiB for everything, the code included.
    bodyBytes: 32 * 1024 * 1024,
    about: { version: packageJson.version, runtime: 'workers', storage: 'durable-object' },
  }
}
