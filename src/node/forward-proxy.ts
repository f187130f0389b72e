// The forward proxies of the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), read as curl reads
// them.
import { BlockList, type Socket, connect as connectPlain, isIP, isIPv6 } from 'node:net'
import { connect as connectTls } from 'node:tls'

type Environment = Readonly<Record<string, string | undefined>>

export interface ForwardProxy {
  readonly host: string
  readonly port: number
  /** Whether the connection to the proxy uses TLS (`https://` in the variable). */
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

const bare = (host: string): string =>
  (host.startsWith('[') ? host.slice(1, -1) : host).toLowerCase().replace(/\.$/, '')

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
    throw new RangeError(
      `${name} must be the URL of an HTTP proxy such as http://proxy.example.com:3128. SOCKS proxies are not supported.`,
    )
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

/**
 * An address or a range (CIDR) in NO_PROXY, which matches addresses in URLs. Names are not resolved for it.
 */
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
  const matches: Exception =
    isIP(address) === 0
      ? (asked) => asked === domain || asked.endsWith(`.${domain}`)
      : exceptAddress(address, bits)
  return (asked, askedPort) => (port === undefined || port === askedPort) && matches(asked, askedPort)
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' ||
  host.endsWith('.localhost') ||
  host === '::1' ||
  (isIP(host) === 4 && host.startsWith('127.'))

const secure = new Set(['https:', 'wss:'])

/**
 * Lower-case names take precedence, `ALL_PROXY` is for both schemes, and an empty value is none. Loopback
 * hosts (localhost, 127.0.0.0/8, ::1) never use a proxy, whatever NO_PROXY says: the proxy has another
 * localhost. Throws RangeError for a value that is not an HTTP proxy.
 */
export const readForwardProxies = (env: Environment): ForwardProxies => {
  const read = (...names: readonly string[]): ForwardProxy | undefined => {
    const name = names.find((each) => (env[each] ?? '').trim() !== '')
    return name === undefined ? undefined : parseProxy(name, (env[name] ?? '').trim())
  }
  const [https, http] = [
    read('https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'),
    read('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'),
  ]
  if (!https && !http) return noProxies
  const exceptions = (env['no_proxy'] || env['NO_PROXY'] || '')
    .split(/[\s,]+/)
    .filter(Boolean)
    .map(exception)
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

// Connections to a forward proxy, and through it (CONNECT, RFC 9110 §9.3.6).

const mostHead = 16_384
const connectTimeoutMs = 30_000

const proxyError = ({ shown }: ForwardProxy, what: string): Error =>
  Object.assign(new Error(`the proxy ${shown} ${what}`), { code: 'ERR_PROXY' })

/** A connection to the proxy. Rejects with an error that names it. */
export const connectToProxy = (proxy: ForwardProxy): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const { host, port, tls } = proxy
    const options = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }
    const socket = tls
      ? connectTls({
          ...options,
          ALPNProtocols: ['http/1.1'],
          ...(isIP(host) === 0 ? { servername: host } : {}),
        })
      : connectPlain(options)
    const late = setTimeout(() => socket.destroy(new Error('timed out')), connectTimeoutMs)
    const failed = (error: Error): void => {
      clearTimeout(late)
      reject(proxyError(proxy, `cannot be reached: ${error.message}`))
    }
    socket.once('error', failed)
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      clearTimeout(late)
      socket.off('error', failed)
      resolve(socket)
    })
  })

/** Reads the proxy's response to CONNECT; resolves once the tunnel is open. */
const opened = (proxy: ForwardProxy, socket: Socket, target: string): Promise<void> =>
  new Promise((resolve, reject) => {
    let head = ''
    const settle = (error?: Error): void => {
      clearTimeout(late)
      socket.off('data', read).off('error', broken).off('close', ended)
      if (!error) {
        resolve()
        return
      }
      socket.on('error', () => undefined).destroy()
      reject(error)
    }
    const broken = (error: Error): void => settle(proxyError(proxy, `broke off: ${error.message}`))
    const ended = (): void =>
      settle(proxyError(proxy, `closed the connection instead of connecting to ${target}`))
    const read = (piece: Buffer): void => {
      head += piece.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end === -1) {
        if (head.length > mostHead) settle(proxyError(proxy, 'sent a response head that is too large'))
        return
      }
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]
      if (status === undefined || !status.startsWith('2'))
        settle(proxyError(proxy, `answered ${status ?? 'something that is not HTTP'} to CONNECT ${target}`))
      // The server only speaks after the gateway did, so earlier bytes are not from the server.
      else if (head.length > end + 4) settle(proxyError(proxy, `sent unexpected data before ${target} did`))
      else settle()
    }
    const late = setTimeout(
      () => settle(proxyError(proxy, `did not connect to ${target} in time`)),
      connectTimeoutMs,
    )
    socket.on('data', read).on('error', broken).on('close', ended)
  })

/**
 * A connection to the host through the proxy, which resolves the name. Rejects with an error that names the
 * proxy.
 */
export const openTunnel = async (proxy: ForwardProxy, host: string, port: number): Promise<Socket> => {
  const socket = await connectToProxy(proxy)
  const target = `${host.includes(':') ? `[${host}]` : host}:${port}`
  socket.write(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${proxy.authorization === undefined ? '' : `Proxy-Authorization: ${proxy.authorization}\r\n`}\r\n`,
    'latin1',
  )
  await opened(proxy, socket, target)
  return socket
}
