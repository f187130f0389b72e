// The forward proxy of the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), read as curl reads it: which one a URL takes, if any.
import { BlockList, isIP, isIPv6 } from 'node:net'

type Environment = Readonly<Record<string, string | undefined>>

export interface ForwardProxy {
  readonly host: string
  readonly port: number
  /** The proxy itself is spoken to over TLS (`https://` in the variable). */
  readonly tls: boolean
  /** Value of `Proxy-Authorization`. */
  readonly authorization: string | undefined
  /** For messages: without user name and password. */
  readonly shown: string
}

export interface ForwardProxies {
  /** Undefined: the URL is connected to directly. */
  for(url: URL): ForwardProxy | undefined
}

/** Every URL is connected to directly. */
export const noProxies: ForwardProxies = { for: () => undefined }

const bare = (host: string): string => (host.startsWith('[') ? host.slice(1, -1) : host).toLowerCase().replace(/\.$/, '')

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    // A stray %, so it was never encoded.
    return text
  }
}

const parseProxy = (name: string, value: string): ForwardProxy => {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.hostname === '') {
    throw new RangeError(`${name} must be the URL of an HTTP proxy such as http://proxy.example.com:3128. SOCKS proxies are not supported.`)
  }
  const tls = url.protocol === 'https:'
  const [user, password] = [decoded(url.username), decoded(url.password)]
  return {
    host: bare(url.hostname),
    port: url.port === '' ? (tls ? 443 : 80) : Number(url.port),
    tls,
    authorization: user === '' ? undefined : `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
    shown: `${url.protocol}//${url.host}`,
  }
}

type Exception = (host: string, port: string) => boolean

const never: Exception = () => false
const family = (address: string): 'ipv4' | 'ipv6' => (isIPv6(address) ? 'ipv6' : 'ipv4')

/** An address or a range (CIDR) in NO_PROXY; it is compared with addresses in URLs, names are not resolved for it. */
const exceptAddress = (address: string, bits: string | undefined): Exception => {
  const list = new BlockList()
  if (bits === undefined) list.addAddress(address, family(address))
  else if (!/^\d{1,3}$/.test(bits) || Number(bits) > (isIPv6(address) ? 128 : 32)) return never
  else list.addSubnet(address, Number(bits), family(address))
  return (host) => isIP(host) !== 0 && list.check(host, family(host))
}

const exception = (entry: string): Exception => {
  if (entry === '*') return () => true
  const [, bracketed, bracketedPort] = /^\[([\da-f:.]+)\](?::(\d+))?$/i.exec(entry) ?? []
  const [, named, namedPort] = /^([^:]+):(\d+)$/.exec(entry) ?? []
  const port = bracketedPort ?? namedPort
  const host = (bracketed ?? named ?? entry).toLowerCase()
  const [address = '', bits] = host.split('/')
  const domain = host.replace(/^\*?\./, '').replace(/\.$/, '')
  if (domain === '') return never
  const matches: Exception = isIP(address) === 0 ? (asked) => asked === domain || asked.endsWith(`.${domain}`) : exceptAddress(address, bits)
  return (asked, askedPort) => (port === undefined || port === askedPort) && matches(asked, askedPort)
}

const isLoopback = (host: string): boolean => host === 'localhost' || host.endsWith('.localhost') || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

const secure = new Set(['https:', 'wss:'])

/**
 * Lower-case names count before upper-case ones, `ALL_PROXY` for both schemes; an empty value is none. Hosts of this computer (localhost, 127.0.0.0/8, ::1)
 * never take a proxy, whatever NO_PROXY says: a proxy elsewhere has another localhost. Throws RangeError for a value that is no HTTP proxy.
 */
export const readForwardProxies = (env: Environment): ForwardProxies => {
  const read = (...names: readonly string[]): ForwardProxy | undefined => {
    const name = names.find((each) => (env[each] ?? '').trim() !== '')
    return name === undefined ? undefined : parseProxy(name, (env[name] ?? '').trim())
  }
  const [https, http] = [read('https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'), read('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY')]
  if (!https && !http) return noProxies
  const exceptions = (env['no_proxy'] || env['NO_PROXY'] || '').split(/[\s,]+/).filter(Boolean).map(exception)
  return {
    for(url) {
      const tls = secure.has(url.protocol)
      const host = bare(url.hostname)
      const port = url.port === '' ? (tls ? '443' : '80') : url.port
      if (isLoopback(host) || exceptions.some((matches) => matches(host, port))) return undefined
      return tls ? https : http
    },
  }
}
