// What protects the HTTP server: requests that Node's parser accepts and no request to the gateway needs are
// refused before routing (RFC 9112 §3.2, §6.1, §11), and connections are limited in number.
import { readFileSync } from 'node:fs'
import { IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { networkOf } from '../kit/addresses.ts'
import { fieldOf, isHost, isRoutablePath } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'

/** As Node builds them: an object of all fields, at the first reading. */
const allFields = Object.getOwnPropertyDescriptor(IncomingMessage.prototype, 'headers')

/**
 * Before Node hands a request over, it reads Host and Expect, and would build the object of all fields for
 * these two: 4 % of the processor time of a call, which reads `rawHeaders` alone.
 */
class LeanRequest extends IncomingMessage {
  /** From now on `headers` are all fields. */
  handedOver = false
  /** As Node's parser sets it. */
  declare readonly upgrade: boolean | null

  /** Whether Node needs another field than Host: Expect, `TE` of HTTP/1.0, or those of an upgrade. */
  get unusual(): boolean {
    return (
      this.upgrade === true || this.httpVersionMinor !== 1 || fieldOf(this.rawHeaders, 'expect') !== undefined
    )
  }
}

Object.defineProperty(LeanRequest.prototype, 'headers', {
  get(this: LeanRequest): unknown {
    if (this.handedOver || this.unusual) return allFields?.get?.call(this)
    return { host: fieldOf(this.rawHeaders, 'host') }
  },
  set(this: LeanRequest, fields: unknown) {
    allFields?.set?.call(this, fields)
  },
})

/**
 * For `createServer`. A head may take 15 s and 16 KiB, a body 30 s, both including the delay of a busy
 * machine. Responses may stream for ever.
 */
export const serverOptions: ServerOptions = {
  headersTimeout: 12_000,
  requestTimeout: 27_000,
  connectionsCheckingInterval: 1000,
  keepAliveTimeout: 65_000,
  maxHeaderSize: 16_384,
  keepAlive: true,
  keepAliveInitialDelay: 30_000,
  noDelay: true,
  insecureHTTPParser: false,
  requireHostHeader: true,
  rejectNonStandardBodyWrites: false,
  IncomingMessage: LeanRequest,
}

const mostHeaders = 200

const parseErrors: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Content Too Large',
}

/** The response on a connection whose bytes are not a request. */
const bare = (status: string): string =>
  `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`

const refuseSocket = (socket: Duplex, status: string): void => {
  if (socket.writable) socket.end(bare(status))
  else socket.destroy()
}

const waiting = new WeakSet<IncomingMessage>()
/**
 * Connections whose last request was malformed: nothing else that came on them is answered (RFC 9112 §11.2).
 */
const refused = new WeakSet<Duplex>()

/**
 * `Expect: 100-continue`: tells the client to send its body, once the caller has been let in (RFC 9110
 * §10.1.1). Nothing for a client that does not wait.
 */
export const proceed = (request: IncomingMessage, response: ServerResponse): void => {
  if (waiting.delete(request) && !response.headersSent) response.writeContinue()
}

/** The response in progress on a connection, as node:http notes it on the socket. */
export const answerOn = (socket: Socket): ServerResponse | undefined =>
  (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined

// The connection limit: as many as the process can serve with the files that it may have open.

/** More than one process can use. */
const mostConnections = 20_000
const leastConnections = 64
/** For the database, the log and idle upstream connections. */
const keptFiles = 400

/**
 * From the limits of the process (proc_pid_limits(5)). A proxied call needs two files: the client's
 * connection and the upstream's.
 */
export const limitFor = (limits: string): number => {
  const [, files] = /^Max open files\s+(\d+)/m.exec(limits) ?? []
  return files === undefined
    ? mostConnections
    : Math.max(leastConnections, Math.min(mostConnections, Math.floor((Number(files) - keptFiles) / 2)))
}

/**
 * Without this limit, a server that ran out of files could reach neither its database nor an upstream for the
 * clients it already serves.
 */
const connectionLimit = (): number => {
  try {
    return limitFor(readFileSync('/proc/self/limits', 'utf8'))
  } catch {
    return mostConnections
  }
}

// Eviction: a full server closes an idle connection for each new one, so that no number of idle connections
// keeps clients out.

/** The connections of one network, the oldest first. */
type Network = Set<Socket>

/**
 * The oldest connection without any request, else the oldest between two requests. Connections with a
 * response in progress, and upgraded ones, stay.
 */
const idleOf = (
  network: Network,
  silent: ReadonlySet<Socket>,
  upgraded: ReadonlySet<Socket>,
): Socket | undefined => {
  let idle: Socket | undefined
  for (const socket of network) {
    if (silent.has(socket)) return socket
    if (idle === undefined && !upgraded.has(socket) && !answerOn(socket)) idle = socket
  }
  return idle
}

/**
 * Holds a server to `most` connections. The network with the most connections loses one first; a network is
 * an IPv4 address or a /64. When all have a response in progress, the new connection is closed. `nameOf`: the
 * network of an address.
 */
const evictIdle = (server: Server, most: number, nameOf: (address: string) => string = networkOf): void => {
  const networks = new Map<string, Network>()
  /** Where each connection that counts comes from. */
  const nameOfSocket = new Map<Socket, string>()
  const silent = new Set<Socket>()
  const upgraded = new Set<Socket>()
  // Many may come in one turn of the event loop, before closed ones are gone. Connections without a request
  // use no upstream connection, so there are files for them.
  server.maxConnections = most * 2
  server.on('request', ({ socket }) => void silent.delete(socket))
  server.on('upgrade', ({ socket }) => {
    silent.delete(socket)
    upgraded.add(socket)
  })
  const leastNeeded = (): Socket | undefined => {
    for (const network of [...networks.values()].toSorted((a, b) => b.size - a.size)) {
      const idle = idleOf(network, silent, upgraded)
      if (idle) return idle
    }
    return undefined
  }
  const forget = (socket: Socket): void => {
    const name = nameOfSocket.get(socket)
    if (name === undefined) return
    nameOfSocket.delete(socket)
    const network = networks.get(name)
    network?.delete(socket)
    if (network?.size === 0) networks.delete(name)
    silent.delete(socket)
    upgraded.delete(socket)
  }
  function closed(this: Socket): void {
    forget(this)
  }
  server.on('connection', (socket) => {
    const name = nameOf(socket.remoteAddress ?? '')
    const network = networks.get(name) ?? new Set()
    networks.set(name, network.add(socket))
    nameOfSocket.set(socket, name)
    silent.add(socket)
    // It closes once, and one function does for all.
    socket.on('close', closed)
    if (nameOfSocket.size <= most) return
    const closing = leastNeeded() ?? socket
    // It no longer counts: many may come before its close event.
    forget(closing)
    closing.destroy()
  })
}

interface Hardening {
  /**
   * Beyond this number an idle connection is closed for each new one. Default: as many as the process has
   * files for.
   */
  readonly maxConnections?: number
  /** The network that an address belongs to; default: kit/addresses.ts. */
  readonly networkOf?: (address: string) => string
  /** Takes a request for another protocol; false leaves it to be refused. */
  readonly upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => boolean
}

export const protectServer = (server: Server, options: Hardening = {}): void => {
  evictIdle(server, options.maxConnections ?? connectionLimit(), options.networkOf)
  server.maxHeadersCount = mostHeaders
  server.prependListener('request', (request) => {
    if (request instanceof LeanRequest) request.handedOver = true
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || refused.has(socket)) socket.destroy()
    else refuseSocket(socket, parseErrors[error.code ?? ''] ?? '400 Bad Request')
  })
  server.on('checkContinue', (request, response) => {
    waiting.add(request)
    server.emit('request', request, response)
  })
  server.on('checkExpectation', (request, response) => {
    refused.add(request.socket)
    response.writeHead(417, { Connection: 'close', 'Content-Length': 0 }).end()
  })
  // Without a listener Node would answer an upgrade as if it had not been asked for; what follows on the
  // socket is not HTTP any more.
  server.on('upgrade', (request, socket, head) => {
    // The response to HEAD has no body, and HEAD starts no handshake.
    if (request.method === 'HEAD' || !options.upgrade?.(request, socket, head))
      refuseSocket(socket, '400 Bad Request')
  })
  server.on('connect', (_request, socket) => refuseSocket(socket, '405 Method Not Allowed'))
}

const knownMethods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])

/** Answered for every caller, under any host name. */
const healthPaths = new Set(['/health', '/healthz', '/readyz'])

interface Seen {
  hosts: number
  host: string
  coding: string | undefined
  lengths: number
}

const scan = (rawHeaders: readonly string[]): Seen => {
  const seen: Seen = { hosts: 0, host: '', coding: undefined, lengths: 0 }
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    // The three names of interest have these lengths; anything else is not worth a lower-casing.
    if (name.length === 4) {
      if (name === 'Host' || name.toLowerCase() === 'host') {
        seen.hosts++
        seen.host = rawHeaders[i + 1] as string
      }
    } else if (name.length === 17) {
      if (name.toLowerCase() === 'transfer-encoding')
        seen.coding = seen.coding === undefined ? rawHeaders[i + 1] : `${seen.coding}, ${rawHeaders[i + 1]}`
    } else if (name.length === 14 && name.toLowerCase() === 'content-length') seen.lengths++
  }
  return seen
}

/** Well-formed Host values: most requests carry the same one. */
const seenHosts = new Set<string>()

const wellFormed = (host: string): boolean => {
  if (seenHosts.has(host)) return true
  if (!isHost(host)) return false
  if (seenHosts.size < 100) seenHosts.add(host)
  return true
}

/** Routable paths: clients call the same few. */
const seenPaths = new Set<string>()

/**
 * A path that a URL parser would change is never a path of the gateway, and a proxy in front may have taken
 * it for another one.
 */
export const isRoutable = (target: string): boolean => {
  const query = target.indexOf('?')
  const path = query === -1 ? target : target.slice(0, query)
  if (seenPaths.has(path)) return true
  if (!isRoutablePath(path)) return false
  if (seenPaths.size < 1000 && path.length < 200) seenPaths.add(path)
  return true
}

/** The Host field and the framing (RFC 9112 §3.2, §6.1). */
const fieldFault = (request: IncomingMessage): Refusal | undefined => {
  const { hosts, host, coding, lengths } = scan(request.rawHeaders)
  if (hosts === 0 && isHealthProbe(request)) request.headers.host = 'localhost'
  else if (hosts !== 1 || !wellFormed(host))
    return new Refusal('request.host', `${hosts} Host fields, ${host.slice(0, 80)}`)
  if (coding !== undefined && (coding.toLowerCase() !== 'chunked' || lengths > 0))
    return new Refusal('request.malformed', `Transfer-Encoding ${coding.slice(0, 40)}`)
  return undefined
}

/** HAProxy and others check the process by HTTP/1.0, which needs no Host (RFC 9112 §3.2). */
const isHealthProbe = ({ httpVersionMinor, method, url = '' }: IncomingMessage): boolean =>
  httpVersionMinor === 0 && method !== 'POST' && healthPaths.has(url)

const targetFault = (url: string): Refusal | undefined => {
  // `OPTIONS *` and absolute-form name no resource of ours; `//` and `\` are read as authorities by URL
  // parsers (WHATWG URL, special schemes).
  if (url.charCodeAt(0) !== 0x2f || url.startsWith('//') || url.startsWith('/\\'))
    return new Refusal('request.malformed', `request target ${url.slice(0, 80)}`)
  return /[^\x21-\x7e]|#/.test(url)
    ? new Refusal('request.malformed', 'request target contains characters outside visible ASCII')
    : undefined
}

const faultOf = (request: IncomingMessage): Refusal | undefined => {
  const { method = '', url = '' } = request
  if (request.httpVersionMajor !== 1) return new Refusal('request.malformed', `HTTP/${request.httpVersion}`)
  if (!knownMethods.has(method))
    return new Refusal('request.method', method.slice(0, 20), {
      headers: { allow: [...knownMethods].join(', ') },
    })
  return fieldFault(request) ?? targetFault(url)
}

/** Undefined for a request that may be routed. For a refusal the caller closes the connection. */
export const validateRequest = (request: IncomingMessage): Refusal | undefined => {
  const fault = faultOf(request)
  if (fault) refused.add(request.socket)
  return fault
}
