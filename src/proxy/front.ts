// Under which names the gateway answers: the Host check against DNS rebinding (MCP transports, security warning) and Host confusion.
import type { Config } from '../config/schema.ts'
import { isHost } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Directory } from '../ports/services.ts'

export interface FrontOptions {
  /** `allowed_hosts`: further `host` or `host:port`; one without a port holds for every port. */
  readonly config: Pick<Config, 'allowed_hosts'>
  readonly directory: Pick<Directory, 'origins'>
}

export interface Front {
  /** Throws `request.host` for a malformed value and `request.host-unknown` for a name the gateway does not go by. */
  host(host: string | undefined): void
}

export const createFront = ({ config, directory }: FrontOptions): Front => {
  const whole = new Set<string>()
  const anyPort = new Set<string>()
  for (const origin of directory.origins) {
    const authority = origin.slice(origin.indexOf('://') + 3).toLowerCase()
    whole.add(authority)
    if (!/:\d+$/.test(authority)) whole.add(`${authority}:${origin.startsWith('https:') ? 443 : 80}`)
  }
  for (const entry of config.allowed_hosts) (/:\d+$/.test(entry) ? whole : anyPort).add(entry.toLowerCase())
  return {
    host(host) {
      if (host !== undefined && whole.has(host)) return
      if (host === undefined || !isHost(host)) throw new Refusal('request.host', String(host).slice(0, 80))
      const name = host.toLowerCase()
      if (whole.has(name) || anyPort.has(name.replace(/:\d+$/, ''))) return
      throw new Refusal('request.host-unknown', name)
    },
  }
}
