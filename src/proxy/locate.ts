// Where services are: from a request path or a resource indicator to one address. Pure look-ups over what the configuration says.
import type { Address, Directory, Service } from '../ports/services.ts'

/**
 * A path is routed, authorised and forwarded in one spelling only: ASCII segments without empty, dot or `;` segments, and without
 * percent-encodings that another parser could undo into structure (`%2f %5c %2e %25 %23 %3f %3b`, controls) or need not have been used (letters,
 * digits, `-._~`; RFC 3986 §6.2.2.2). Dots with spaces behind them are dots to parsers that trim. One slash may end it. Everything else is simply not there.
 */
const normalForm = /^(?:\/(?!\.(?:\.|%20)*(?:\/|$))(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%(?:2[0-246-9A-Ca-c]|3[ACDEacde]|40|5[BbDdEe]|60|7[B-Db-d]|[89A-Fa-f][0-9A-Fa-f]))+)+\/?$/

const hasWholeCharacters = (path: string): boolean => {
  if (!path.includes('%')) return true
  try {
    decodeURIComponent(path)
    return true
  } catch {
    // Overlong or broken UTF-8 behind the percent signs.
    return false
  }
}

export const isNormalPath = (path: string): boolean => path.length <= 4096 && normalForm.test(path) && hasWholeCharacters(path)

const absolute = /^([a-z][a-z0-9+.-]*):\/\/([^/?#@\\\s]+)(\/[^?#\\\s]*)?$/i

/** Scheme and host in lower case without the default port, and the path; undefined for what is no plain http(s) URL. */
const splitUrl = (url: string): { readonly origin: string; readonly path: string } | undefined => {
  const parts = absolute.exec(url)
  if (!parts) return undefined
  const scheme = (parts[1] as string).toLowerCase()
  if (scheme !== 'http' && scheme !== 'https') return undefined
  const host = (parts[2] as string).toLowerCase().replace(scheme === 'https' ? /:443$/ : /:80$/, '')
  return { origin: `${scheme}://${host}`, path: parts[3] ?? '' }
}

const withoutSlash = (path: string): string => (path.endsWith('/') ? path.slice(0, -1) : path)

export interface DirectoryOptions {
  readonly issuer: string
  readonly origins: readonly string[]
  readonly services: readonly Service[]
  /** Id of the service at `/mcp`. Absent: the only service, when there is one. */
  readonly defaultService?: string | undefined
}

export const createDirectory = ({ issuer, origins, services, defaultService }: DirectoryOptions): Directory => {
  const byId = new Map(services.map((service) => [service.id, service]))
  const at = (service: Service, path: string): Address => ({ service, path, resource: `${issuer}${path}` })
  const main = defaultService === undefined ? (services.length === 1 ? services[0] : undefined) : byId.get(defaultService)
  const addresses = [...services.map((service) => at(service, `/${service.id}/mcp`)), ...(main ? [at(main, '/mcp')] : [])]
  const byPath = new Map(addresses.map((address) => [address.path, address]))
  const bySlash = new Map(addresses.map((address) => [`${address.path}/`, address]))
  const known = new Set(origins.map((origin) => origin.toLowerCase()))
  const exact = new Map([...byPath, ...bySlash].map(([path, address]) => [path, { address, rest: '' }]))

  const locateBelow = (path: string): { readonly address: Address; readonly rest: string } | undefined => {
    if (!isNormalPath(path)) return undefined
    const second = path.indexOf('/', 1)
    const third = second === -1 ? -1 : path.indexOf('/', second + 1)
    for (const end of [second, third]) {
      const address = end > 0 ? byPath.get(path.slice(0, end)) : undefined
      if (!address) continue
      const rest = path.slice(end)
      // Metadata below an endpoint is the gateway's own to answer (RFC 9728 §3.1 as clients probe it).
      return rest === '/.well-known' || rest.startsWith('/.well-known/') ? undefined : { address, rest }
    }
    return undefined
  }

  return {
    issuer,
    origins,
    services,
    addresses,
    only: main ? byPath.get(`/${main.id}/mcp`) : undefined,
    service: (id) => byId.get(id),
    resolve(resource) {
      if (resource.length > 2048) return undefined
      const url = splitUrl(resource)
      return url && known.has(url.origin) ? byPath.get(withoutSlash(url.path)) : undefined
    },
    locate: (path) => exact.get(path) ?? locateBelow(path),
  }
}
