// Connections by way of a forward proxy: to the proxy itself, and through it (CONNECT, RFC 9110 §9.3.6).
import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { ForwardProxy } from './forward-proxy.ts'

const mostHead = 16_384
const patienceMs = 30_000

const proxyError = ({ shown }: ForwardProxy, what: string): Error => Object.assign(new Error(`the proxy ${shown} ${what}`), { code: 'ERR_PROXY' })

/** A connection to the proxy. Rejects with an error that names it. */
export const connectToProxy = (proxy: ForwardProxy): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const { host, port, tls } = proxy
    const options = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }
    const socket = tls ? connectTls({ ...options, ALPNProtocols: ['http/1.1'], ...(isIP(host) === 0 ? { servername: host } : {}) }) : connectPlain(options)
    const late = setTimeout(() => socket.destroy(new Error('timed out')), patienceMs)
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

/** Reads the proxy's answer to CONNECT; resolves once the connection is the other end's. */
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
    const ended = (): void => settle(proxyError(proxy, `closed the connection instead of connecting to ${target}`))
    const read = (piece: Buffer): void => {
      head += piece.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end === -1) {
        if (head.length > mostHead) settle(proxyError(proxy, 'sent a response head that is too large'))
        return
      }
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]
      if (status === undefined || !status.startsWith('2')) settle(proxyError(proxy, `answered ${status ?? 'something that is not HTTP'} to CONNECT ${target}`))
      // Whoever is asked first speaks second: bytes of the other end before ours are not its own.
      else if (head.length > end + 4) settle(proxyError(proxy, `sent unexpected data before ${target} did`))
      else settle()
    }
    const late = setTimeout(() => settle(proxyError(proxy, `did not connect to ${target} in time`)), patienceMs)
    socket.on('data', read).on('error', broken).on('close', ended)
  })

/** A connection to the host through the proxy, which resolves the name. Rejects with an error that names the proxy. */
export const openTunnel = async (proxy: ForwardProxy, host: string, port: number): Promise<Socket> => {
  const socket = await connectToProxy(proxy)
  const target = `${host.includes(':') ? `[${host}]` : host}:${port}`
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${proxy.authorization === undefined ? '' : `Proxy-Authorization: ${proxy.authorization}\r\n`}\r\n`, 'latin1')
  await opened(proxy, socket, target)
  return socket
}
