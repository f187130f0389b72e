// Refuses, before routing, requests that Node's parser accepts and no request to the gateway needs (RFC 9112
// §3.2, §6.1, §11).
import type { IncomingMessage, Server, ServerOptions, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { isHost, isRoutablePath } from '../../kit/http.ts'
import { Refusal } from '../../kit/refusal.ts'
import { connectionLimit, evictIdle } from './connections.ts'

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
