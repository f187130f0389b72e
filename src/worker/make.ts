// One gateway for one place: its names, its runtime, its services.
import { waitUntil } from 'cloudflare:workers'
import type { Config } from '../config/schema.ts'
import { createGateway, type Gateway, startedEvent } from '../gateway.ts'
import type { Lack } from './configured.ts'
import { demoService } from './demo.ts'
import type { Environment } from './environment.ts'
import { isLoopback, loopbackOrigins, type Origins } from './loopback.ts'
import { createWorkerRuntime } from './runtime.ts'

export type Found = { readonly gateway: Gateway } | { readonly lacks: readonly Lack[] }

/** A pinned issuer as it is written; on loopback its other names beside it. */
const originsOf = (url: URL, pinned: string | undefined): Origins => {
  if (!isLoopback(url)) return { issuer: pinned ?? url.origin, aliases: [] }
  const { issuer, aliases } = loopbackOrigins(url)
  return pinned === undefined ? { issuer, aliases } : { issuer: pinned, aliases: [issuer, ...aliases].filter((origin) => origin !== pinned) }
}

/** No name below a public domain leads to a developer's computer; every name below localhost does (RFC 6761 §6.3). */
const namesHere = (config: Config, at: URL): Config => {
  const here = (root: string | undefined): string | undefined => (root === undefined || `.${root}`.endsWith('.localhost') ? root : `${root}.localhost`)
  if (!isLoopback(at)) return config
  const [domain, base] = [here(config.domain_root), here(config.base_domain)]
  return { ...config, ...(domain === undefined ? {} : { domain_root: domain }), ...(base === undefined ? {} : { base_domain: base }) }
}

interface Place {
  readonly config: Config
  readonly env: Environment
  /** Where the request came to; it counts on loopback alone, when no issuer is pinned. */
  readonly url: URL
  readonly now: () => number
}

/** Rejects with whatever may pass; what a room says of a configuration that it cannot work with will not. */
export const makeGateway = async ({ config: written, env, url, now }: Place): Promise<Found> => {
  try {
    const at = written.issuer === undefined ? url : new URL(written.issuer)
    const config = namesHere(written, at)
    const runtime = await createWorkerRuntime({ config, env, url: at, now, waitUntil })
    const services = Object.keys(config.mcp_services).length === 0 ? [demoService(runtime.about.version)] : []
    const gateway = createGateway({ config, runtime, ...originsOf(at, config.issuer), services })
    gateway.record(startedEvent(gateway, runtime.about))
    return { gateway }
  } catch (error) {
    if (error instanceof RangeError) return { lacks: [{ text: error.message, open: false }] }
    throw error
  }
}
