// A full server: whoever has been connected longest without a request makes room for whoever comes, so that silence alone keeps nobody out (hostile case R2).
import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** Holds a server to `most` connections. Of those that have made a request none is closed for another: when there are no others, it is the newcomer. */
export const makeRoom = (server: Server, most: number): void => {
  /** Without a request so far, the oldest first. */
  const silent = new Set<Socket>()
  let open = 0
  // Many may come in one turn of the event loop, in which nobody closed is gone yet. Who has not asked needs no connection to an upstream: the files for it are free.
  server.maxConnections = most * 2
  const spoke = ({ socket }: { readonly socket: Socket }): void => void silent.delete(socket)
  server.on('request', spoke)
  server.on('upgrade', spoke)
  server.on('connection', (socket) => {
    open++
    silent.add(socket)
    socket.once('close', () => {
      open--
      silent.delete(socket)
    })
    if (open <= most) return
    const [oldest = socket] = silent
    silent.delete(oldest)
    oldest.destroy()
  })
}
