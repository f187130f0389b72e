// `postern healthcheck`: whether the gateway of this configuration answers, for containers and service managers.
import { isIP } from 'node:net'
import { networkReason } from '../kit/log.ts'
import { type ConfigurationRequest, loadOrThrow } from './configuration.ts'
import { print, type Printer, StartError } from './output.ts'

const waitMs = 2_000

/** Where a process on the same computer reaches a gateway that listens on `host`. */
export const healthUrl = (host: string, port: number): string => {
  const wildcards: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }
  const near = wildcards[host] ?? host
  return `http://${isIP(near) === 6 ? `[${near}]` : near}:${port}/healthz`
}

/** What an answer says; undefined for a gateway that lives. */
const whyNot = async (url: string): Promise<string | undefined> => {
  try {
    const { status, body } = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(waitMs) })
    await body?.cancel()
    return status === 200 ? undefined : `it answered with status ${status}`
  } catch (error) {
    return networkReason(error)
  }
}

/**
 * Liveness alone: storage and servers that are away are no reason to restart it. Throws `StartError` where it
 * does not answer within two seconds.
 */
export const checkHealth = async (
  wanted: ConfigurationRequest,
  env: NodeJS.ProcessEnv,
  json: Printer | undefined,
): Promise<void> => {
  const { config } = await loadOrThrow(wanted, env)
  if (config.port === 0)
    throw new StartError(
      'health.port',
      'The port is chosen when the gateway starts (port 0). Set a port to check its health.',
    )
  const url = healthUrl(config.host, config.port)
  const why = await whyNot(url)
  if (why !== undefined) throw new StartError('health.none', `No healthy gateway at ${url}: ${why}.`)
  if (json) json({ ok: true, url })
  else print(`healthy: ${url}`)
}
