// The configuration once an isolate, and the gateway of a place once for each place.
import { type Configured, lacksIssuer, type Lack, readConfiguration } from './configured.ts'
import type { Environment } from './environment.ts'
import { createLog } from './log.ts'
import { isLoopback } from './loopback.ts'
import { type Found, makeGateway } from './make.ts'

/** A developer's computer has a port or two; who invents more shall not fill the isolate with gateways. */
export const mostLoopback = 4

/** The gateway of the pinned issuer, or that of this loopback port; a public one is never guessed from what a request says. */
export type Find = (env: Environment, url: URL) => Promise<Found>

/** The same fault is told once, however many requests meet it. */
export const createTell = (now: () => number): ((lack: Lack) => void) => {
  const told = new Set<string>()
  return ({ text }) => {
    if (!told.has(text) && told.size < 100) createLog('error', now)('error', 'config.fault', { message: text })
    told.add(text)
  }
}

/**
 * What is kept for later requests are finished values alone, never a promise: a request that is cut off takes its unfinished work with it, and whoever
 * waited for that would wait for ever. A failure is not kept either; a configuration at fault is, because it does not change while the isolate lives.
 */
export const createFind = (now: () => number, tell: (lack: Lack) => void): Find => {
  let configured: Configured | undefined
  const gateways = new Map<string, Found>()

  const configuration = async (env: Environment): Promise<Configured> => {
    if (configured) return configured
    const read = await readConfiguration(env)
    if ('lacks' in read) for (const lack of read.lacks) tell(lack)
    else if (!configured) for (const message of read.warnings) createLog(read.config.log_level, now)('warn', 'config.warning', { message })
    return (configured ??= read)
  }

  return async (env, url) => {
    const known = await configuration(env)
    if ('lacks' in known) return known
    const { config } = known
    if (config.issuer === undefined && !isLoopback(url)) return { lacks: [lacksIssuer(url.origin)] }
    const key = config.issuer ?? `${url.protocol}${url.port}`
    const made = gateways.get(key)
    if (made) return made
    const found = await makeGateway({ config, env, url, now })
    if (gateways.size >= mostLoopback) gateways.clear()
    if (!gateways.has(key)) gateways.set(key, found)
    return gateways.get(key) ?? found
  }
}
