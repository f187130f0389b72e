// Sockets to upstreams, plain or TLS, direct or by way of a forward proxy.
import { connect as connectPlain, isIP, type LookupFunction, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { ForwardProxy } from './forward-proxy.ts'
import { refuseInner } from './public-hosts.ts'
import { connectToProxy, openTunnel } from './tunnel.ts'

export interface UpstreamAddress {
  readonly tls: boolean
  readonly host: string
  readonly port: number
  /** What finds the host's addresses in place of the system's resolver; it decides where connections may lead. */
  readonly lookup: LookupFunction | undefined
  readonly proxy: ForwardProxy | undefined
  /** Resumes TLS sessions (RFC 8446 §2.2). */
  session: Buffer | undefined
}

/** One piece of memory for what every plain connection reads: each read is dealt with before the next one begins. */
const readBuffer = Buffer.allocUnsafeSlow(65_536)

/** A direct connection. Throws `outbound.refused` where it may not lead to such a host. */
export const open = ({ tls, host, port, lookup, session }: UpstreamAddress, deliver: (piece: Buffer) => void): Socket => {
  if (lookup) refuseInner(host)
  const options = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000, ...(lookup ? { lookup } : {}) }
  if (!tls) {
    return connectPlain({
      ...options,
      onread: {
        buffer: readBuffer,
        callback(length) {
          deliver(length === readBuffer.length ? readBuffer : readBuffer.subarray(0, length))
          return true
        },
      },
    })
  }
  return connectTls({ ...options, ALPNProtocols: ['http/1.1'], ...(isIP(host) === 0 ? { servername: host } : {}), ...(session ? { session } : {}) }).on('data', deliver)
}

/** The connection by way of the forward proxy; a name that may be on public addresses alone is resolved and judged before the proxy hears it. */
export const openByProxy = async ({ tls, host, port, lookup, session }: UpstreamAddress, proxy: ForwardProxy): Promise<Socket> => {
  if (lookup && isIP(host) === 0) await new Promise<void>((resolve, reject) => lookup(host, { all: true }, (error) => (error ? reject(error) : resolve())))
  if (!tls) return connectToProxy(proxy)
  const socket = await openTunnel(proxy, host, port)
  return connectTls({ socket, ALPNProtocols: ['http/1.1'], ...(isIP(host) === 0 ? { servername: host } : {}), ...(session ? { session } : {}) })
}
