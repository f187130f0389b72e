// What `postern doctor` needs of Node: names, certificates, and requests by the forward proxy of the environment.
import { once } from 'node:events'
import { connect } from 'node:tls'
import { createOutbound, systemLookup } from '../../node/outbound.ts'
import type { Timer } from '../../ports/runtime.ts'
import { forwardProxies } from '../configuration.ts'
import { isAddress } from '../../kit/addresses.ts'
import type { DoctorNetwork } from './exchange.ts'

const certificateMs = 5_000

/** Undefined where the connection fails: the request itself says why. */
const certificateEnd = async ({ hostname, port }: URL): Promise<number | undefined> => {
  const host = hostname.replace(/^\[|\]$/g, '')
  const socket = connect({
    host,
    port: Number(port || 443),
    ...(isAddress(hostname) ? {} : { servername: host }),
    timeout: certificateMs,
    rejectUnauthorized: false,
  })
  socket.on('timeout', () => socket.destroy(new Error('no answer')))
  try {
    await once(socket, 'secureConnect')
    const { valid_to: end } = socket.getPeerCertificate()
    return Date.parse(end) || undefined
  } catch {
    return undefined
  } finally {
    socket.destroy()
  }
}

/** Behind a forward proxy names may not be known here, and connections cannot be made. */
export const createDoctorNetwork = (
  env: Readonly<Record<string, string | undefined>>,
): DoctorNetwork & { readonly timer: Timer } => {
  const proxies = forwardProxies(env)
  return {
    outboundTo: (...allowOrigins) => createOutbound({ allowOrigins, proxies }),
    addresses: async (host) =>
      isAddress(host) ? [] : (await systemLookup(host).catch(() => [])).map(({ address }) => address),
    certificateEnd: async (url) => (proxies.for(url) ? undefined : certificateEnd(url)),
    now: () => performance.timeOrigin + performance.now(),
    timer: (ms, run) => {
      const timer = setTimeout(run, ms)
      return () => clearTimeout(timer)
    },
  }
}
