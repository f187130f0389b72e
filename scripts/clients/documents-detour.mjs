// Preloaded into Postern by the client trials: the names in DETOUR_HOSTS resolve to a public address, as they
// do on the internet, and connections to them arrive at DETOUR_PORT on loopback. Everything between the two,
// the guard above all, stays as it is.
import { promises } from 'node:dns'
import { syncBuiltinESMExports } from 'node:module'
import tls from 'node:tls'

const { DETOUR_HOSTS = '', DETOUR_PORT } = process.env
const hosts = new Set(DETOUR_HOSTS.split(' '))

const { lookup } = promises
promises.lookup = async (host, ...rest) =>
  hosts.has(host) ? [{ address: '160.79.104.10', family: 4 }] : lookup(host, ...rest)

const { connect } = tls
tls.connect = (options, ...rest) => {
  if (typeof options !== 'object' || !hosts.has(options.host ?? options.servername))
    return connect(options, ...rest)
  return connect(
    {
      ...options,
      host: '127.0.0.1',
      port: Number(DETOUR_PORT),
      lookup: undefined,
      servername: options.servername ?? options.host,
    },
    ...rest,
  )
}
syncBuiltinESMExports()
