// Under which names the gateway answers: the Host check against DNS rebinding (MCP transports, security warning) and Host confusion.
import type { Config } from '../config/schema.ts'
import { isHost } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Directory } from '../ports/services.ts'
import { spellings } from './host-addresses.ts'

export interface FrontOptions {
  /** `allowed_hosts`: further `host` or `host:port`; one without a port holds for every port. */
  readonly config: Pick<Config, 'allowed_hosts'>
  readonly directory: Pick<Directory, 'origins' | 'host' | 'unknownHost' | 'assertComplete'>
}

export interface Front {
  /**
   * The origin that this Host means: one of the gateway's, or that of a service's own host. Throws `request.host` for a malformed value, `route.unknown` for a
   * host below one of the services' domains at which there is no service, and `request.host-unknown` for any other name the gateway does not go by.
   */
  host(host: string | undefined): string
}

export const createFront = ({ config, directory }: FrontOptions): Front => {
  const whole = new Map<string, string>()
  const anyPort = new Set<string>()
  for (const origin of directory.origins) {
    for (const spelling of spellings(origin)) whole.set(spelling, origin)
  }
  // A proxy in front may send the name without the port. It is the name that protects against rebinding.
  for (const origin of directory.origins) {
    const name = (spellings(origin)[0] as string).replace(/:\d+$/, '')
    if (!whole.has(name)) whole.set(name, origin)
  }
  const issuer = directory.origins[0] as string
  const publicHost = new URL(issuer).host
  for (const entry of config.allowed_hosts) {
    if (/:\d+$/.test(entry)) whole.set(entry.toLowerCase(), issuer)
    else anyPort.add(entry.toLowerCase())
  }
  return {
    host(host) {
      const known = host === undefined ? undefined : whole.get(host)
      if (known !== undefined) return known
      if (host === undefined || !isHost(host)) throw new Refusal('request.host', String(host).slice(0, 80))
      const name = host.toLowerCase()
      const origin = whole.get(name) ?? directory.host(name)?.origin ?? (anyPort.has(name.replace(/:\d+$/, '')) ? issuer : undefined)
      if (origin !== undefined) return origin
      directory.assertComplete()
      const nobody = directory.unknownHost(name)
      if (nobody !== undefined) throw new Refusal('route.unknown', nobody)
      throw new Refusal('request.host-unknown', `${name} instead of ${publicHost}`, {
        say: `The public host of this gateway is ${publicHost}, but the request was for ${name}. Make the reverse proxy forward the original Host header, or add ${name} to allowed_hosts.`,
      })
    },
  }
}
