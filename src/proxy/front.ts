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
  /** The origin that this Host means. Throws `request.host` for a malformed value and `request.host-unknown` for a name the gateway does not go by. */
  host(host: string | undefined): string
}

export const createFront = ({ config, directory }: FrontOptions): Front => {
  const whole = new Map<string, string>()
  const anyPort = new Set<string>()
  for (const origin of directory.origins) {
    const authority = origin.slice(origin.indexOf('://') + 3).toLowerCase()
    whole.set(authority, origin)
    if (!/:\d+$/.test(authority)) whole.set(`${authority}:${origin.startsWith('https:') ? 443 : 80}`, origin)
  }
  const issuer = directory.origins[0] as string
  for (const entry of config.allowed_hosts) {
    if (/:\d+$/.test(entry)) whole.set(entry.toLowerCase(), issuer)
    else anyPort.add(entry.toLowerCase())
  }
  return {
    host(host) {
      if (host === undefined || !isHost(host)) throw new Refusal('request.host', String(host).slice(0, 80))
      const name = host.toLowerCase()
      const origin = whole.get(name) ?? (anyPort.has(name.replace(/:\d+$/, '')) ? issuer : undefined)
      if (origin !== undefined) return origin
      throw new Refusal('request.host-unknown', name)
    },
  }
}
